"""Frames of a condition are made once, are the same again, and are known by their fingerprint."""

import dataclasses
import json

import numpy as np
import pytest

from hitfinder.suite.condition import prepared


def test_the_folder_alone_describes_the_frames(frames):
    meta = json.loads((frames.folder / "meta.json").read_text())
    assert np.load(frames.folder / "frames.npy").shape == (26, 195, 487)
    assert meta["n_hits"] == 6
    assert meta["geometries"][0]["beam_fs"] == 487 / 2
    assert not np.load(frames.folder / "mask.npy").any()


def test_frames_are_kept_and_made_again_the_same(recipe, tmp_path):
    first = prepared(recipe, tmp_path / "a")
    (first.folder / "kept").touch()
    assert prepared(recipe, tmp_path / "a").fingerprint == first.fingerprint
    assert (first.folder / "kept").exists()
    again = prepared(recipe, tmp_path / "b")
    assert np.array_equal(again.frames, first.frames)
    assert again.fingerprint == first.fingerprint
    assert len({frame.tobytes() for frame in first.frames}) == len(first)


def test_other_frames_have_another_fingerprint(small_recipe, recipe, tmp_path):
    first = prepared(recipe, tmp_path).fingerprint
    fewer = prepared(recipe.reduced(1, 5), tmp_path)
    assert (fewer.condition.n_hits, fewer.condition.n_blanks) == (2, 5)
    assert len(fewer) == 7
    # The same condition by its name and numbers, but made of other photons.
    brighter = prepared(small_recipe(photons=50), tmp_path / "other").fingerprint
    assert len({first, fewer.fingerprint, brighter}) == 3


def test_a_folder_that_was_not_finished_is_made_again(recipe, tmp_path):
    first = prepared(recipe, tmp_path)
    (first.folder / "meta.json").write_text("{")
    np.save(first.folder / "frames.npy", np.zeros((2, 2)))
    assert prepared(recipe, tmp_path).frames.shape == (26, 195, 487)


def test_hits_come_first_and_groups_take_turns(frames):
    assert frames.is_hit.tolist() == [True] * 6 + [False] * 20
    assert frames.group.tolist() == [0, 1, 0, 1, 0, 1]
    assert [frames.number(k) for k in (5, 6, 7)] == [5, 0, 1]
    assert len(frames.spots(3)) == 3
    assert len(frames.spots(6)) == 0


def test_counts_that_do_not_fit_stop_short_of_the_value_for_no_reading(recipe, tmp_path):
    def bright(rng, number):
        frame, spots = recipe.hit(rng, number)
        frame[0, 0] = 100_000
        return frame, spots

    made = prepared(dataclasses.replace(recipe, hit=bright), tmp_path)
    assert made.frames[0, 0, 0] == 65534


def test_blanks_without_a_way_to_make_them_are_an_error(recipe, tmp_path):
    with pytest.raises(ValueError, match="'small' has no way to make blanks"):
        prepared(dataclasses.replace(recipe, blank=None), tmp_path)
