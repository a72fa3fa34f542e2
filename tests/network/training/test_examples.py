import dataclasses

import numpy as np
import pytest

from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.network.training.examples import (
    FRAMES_PER_EXPERIMENT,
    Examples,
    draw_examples,
    label,
    simulate_examples,
)
from hitfinder.network.training.experiment import draw_experiment
from hitfinder.network.training.frames import TrainingFrame, draw_frame


def peaks_at(*places, photons=5.0):
    peaks = np.zeros(len(places), PEAK_DTYPE)
    peaks["fs"], peaks["ss"] = np.array(places, float).T
    peaks["photons"] = photons
    return peaks


def frame_of(bragg, spots):
    return TrainingFrame(bragg.copy(), bragg, np.array(spots, float), 0.1, None)


def test_a_candidate_on_bragg_photons_is_true_and_knows_its_spot():
    bragg = np.zeros((40, 50), np.uint16)
    bragg[10, 20] = 6
    frame = frame_of(bragg, [(20.8, 10.3, 6)])
    found = label(peaks_at((20.4, 10.6), (35.0, 30.0)), frame)
    assert found["true"].tolist() == [True, False]
    assert found["d_fs"][0] == pytest.approx(0.3)
    assert found["d_ss"][0] == pytest.approx(-0.2)
    assert found["photons"][0] == 6


def test_chance_that_meets_a_bragg_photon_is_still_chance():
    bragg = np.zeros((40, 50), np.uint16)
    bragg[10, 20] = 1
    frame = frame_of(bragg, [(20.5, 10.5, 1)])
    assert not label(peaks_at((20.4, 10.6)), frame)["true"].any()


def test_the_end_of_a_streak_is_true_without_a_position():
    bragg = np.zeros((40, 50), np.uint16)
    bragg[10, 5:45] = 2
    frame = frame_of(bragg, [(25.0, 10.5, 80)])
    found = label(peaks_at((40.5, 10.5)), frame)
    assert found["true"].all()
    assert np.isnan(found["d_fs"]).all()


@pytest.mark.slow
def test_the_same_number_gives_the_same_examples_in_any_process():
    alone = [draw_examples(5, k) for k in range(2)]
    spread = list(simulate_examples(5, range(2), 2))
    for a, b in zip(alone, spread, strict=True):
        for field in dataclasses.fields(Examples):
            one, other = getattr(a, field.name), getattr(b, field.name)
            assert one.tobytes() == other.tobytes(), field.name


def test_frames_and_candidates_go_together():
    joined = Examples.joined([draw_examples(5, k) for k in range(2)])
    assert len(joined.frames) == 2 * FRAMES_PER_EXPERIMENT
    assert len(joined.frame) == len(joined) == len(joined.counts)
    hit = joined.frames["hit"][joined.frame]
    assert not joined.labels["true"][~hit].any()


def test_frames_cover_the_ranges_and_bragg_photons_are_among_the_counts():
    rng = np.random.default_rng(4)
    levels, n_spots = [], []
    for _ in range(6):
        experiment = draw_experiment(rng)
        assert experiment.geometry.shape == experiment.assumed.shape
        for _ in range(4):
            frame = draw_frame(experiment, rng)
            levels.append(frame.background)
            n_spots.append(len(frame.spots))
            if frame.saturation is None:
                assert (frame.counts >= frame.bragg).all()
            assert frame.spots[:, 2].sum() >= frame.bragg.sum()
    assert min(levels) < 1e-2 < 1 < max(levels)
    assert 0 in n_spots
    assert max(n_spots) > 5


def test_the_finder_proposes_most_bright_spots():
    rng = np.random.default_rng(8)
    found = total = 0
    for _ in range(4):
        experiment = draw_experiment(rng)
        finder = LikelihoodFinder(experiment.assumed)
        for _ in range(4):
            frame = draw_frame(experiment, rng)
            bright = frame.spots[frame.spots[:, 2] > 60 * (1 + np.sqrt(frame.background))]
            peaks = finder.propose(frame.counts).peaks
            for fs, ss, _ in bright:
                total += 1
                found += bool(np.hypot(peaks["fs"] - fs, peaks["ss"] - ss).min(initial=99) < 4)
    assert total > 20
    assert found > 0.85 * total
