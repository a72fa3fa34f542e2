import numpy as np
import pytest

from hitfinder.finding.peaks import peak_table
from hitfinder.results.chunk import OK, ChunkResult, empty_rows
from hitfinder.results.doubts import STATIC, Doubts

N_PIXELS = 1_000_000


def frames(n, hit=False, **support):
    rows = empty_rows(n, OK)
    rows["hit"], rows["score"] = hit, 5.0 if hit else 0.3
    for name, values in support.items():
        rows["support"][name] = values
    return rows


def lone(n, rng, strength=5.0, score=None, nearer=None, kind="one-pixel", number=1):
    """Frames that rest on things bright alone; by default anywhere, with nothing else."""
    return frames(
        n,
        hit=True,
        kind=kind,
        n_alone=number,
        n_bright=number if strength >= 2 else 0,
        strength=strength,
        score=-np.log10(rng.random(n)) if score is None else score,
        nearer=rng.random(n) if nearer is None else nearer,
        fs=rng.uniform(0, 1000, n),
        ss=rng.uniform(0, 1000, n),
    )


def sure(n, n_seen=10, n_sharp=10):
    return frames(n, hit=True, score=20.0, n_seen=n_seen, n_sharp=n_sharp)


def decide(*parts, peaks=None):
    rows = np.concatenate(parts)
    whole = ChunkResult(
        np.arange(len(rows)), rows, peaks if peaks is not None else peak_table([], [])
    )
    doubts = Doubts.of(lambda: [whole], 2.0, N_PIXELS)
    return doubts, doubts.decided(whole).rows


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.6])
def test_frames_with_a_ray_are_hits_as_rarely_as_is_stated(rate):
    rng = np.random.default_rng(1)
    n = 4000
    number = rng.poisson(rate, n)
    hits = [lone((number == k).sum(), rng, number=k) for k in (1, 2, 3)]
    doubts, rows = decide(frames((number == 0).sum()), *hits)
    assert doubts.rate == pytest.approx(rate, rel=0.3)
    assert rows["hit"].mean() <= 0.012
    assert (rows["doubt"][~rows["hit"]] == "one-pixel").sum() > 0.8 * (number > 0).sum()


def test_a_run_without_rays_keeps_hits_of_one_faint_or_inner_pixel():
    rng = np.random.default_rng(2)
    inner = lone(10, rng, nearer=rng.uniform(0, 0.2, 10), score=rng.uniform(0.3, 1.5, 10))
    faint = lone(10, rng, strength=1.3)
    for parts in ((sure(30),), (sure(5), frames(60)), (frames(200),)):
        _, rows = decide(inner, faint, *parts)
        assert rows["hit"][:20].all()


def test_a_thing_far_from_the_beam_where_many_are_is_no_hit_and_a_near_one_is():
    rng = np.random.default_rng(3)
    rays = lone(20, rng, nearer=np.linspace(0.35, 1, 20), score=0.3)
    near = lone(2, rng, nearer=0.002, score=0.9)
    _, rows = decide(rays, near, frames(400))
    assert not rows["hit"][:20].any()
    assert rows["hit"][20:22].all()


def test_hits_of_several_sharp_spots_stay_where_rays_are_rare():
    rng = np.random.default_rng(4)
    several = lone(20, rng, number=2)
    _, rows = decide(lone(12, rng, score=0.2), several, frames(400))
    assert rows["hit"][12:32].all()


def test_two_things_are_no_hit_where_every_frame_holds_one():
    rng = np.random.default_rng(5)
    two = lone(20, rng, number=2, score=0.2)
    _, rows = decide(lone(40, rng, score=0.2), two, frames(40))
    assert not rows["hit"][40:60].any()


def test_sharp_things_are_no_hits_where_the_spots_of_the_run_spread():
    rng = np.random.default_rng(6)
    one = lone(1, rng, nearer=0.01, score=0.5)
    doubts, rows = decide(one, sure(20, n_seen=10, n_sharp=0), frames(100))
    assert doubts.spots_spread
    assert not rows["hit"][0]
    doubts, rows = decide(one, sure(20, n_seen=10, n_sharp=10), frames(100))
    assert not doubts.spots_spread
    assert rows["hit"][0]


def on_place(n, kind="spot", jitter=0.3):
    rng = np.random.default_rng(7)
    found = lone(n, rng, kind=kind, score=0.3, number=0)
    found["support"]["fs"] = 300 + rng.uniform(-jitter, jitter, n)
    found["support"]["ss"] = 400 + rng.uniform(-jitter, jitter, n)
    return found


def test_frames_that_rest_on_one_place_are_no_hits():
    rng = np.random.default_rng(8)
    rows = np.concatenate([on_place(4), lone(6, rng, kind="spot", number=0), frames(90)])
    order = rng.permutation(len(rows))
    _, decided = decide(rows[order])
    own = np.isin(order, np.arange(4))
    assert (decided["doubt"][own] == STATIC).all()
    assert not decided["hit"][own].any()
    assert decided["hit"][np.isin(order, np.arange(4, 10))].all()


def test_a_spot_in_frames_in_a_row_may_be_a_crystal_that_stays():
    rng = np.random.default_rng(9)
    _, decided = decide(frames(40), on_place(5), frames(45), lone(4, rng, kind="spot", number=0))
    assert decided["hit"][40:45].all()


def test_a_place_that_hits_with_other_peaks_show_too_is_a_crystals():
    company = sure(8)
    company["n_peaks"] = 1
    peaks = peak_table(np.full(8, 300.0), np.full(8, 400.0))
    rows = np.concatenate([on_place(4), company, frames(90)])
    order = np.random.default_rng(10).permutation(len(rows))
    _, decided = decide(rows[order], peaks=peaks)
    assert decided["hit"][np.isin(order, np.arange(4))].all()


def test_the_second_look_does_not_depend_on_how_a_run_is_cut():
    rng = np.random.default_rng(11)
    rows = np.concatenate([lone(40, rng), on_place(4), sure(10), frames(200)])
    rows = rows[rng.permutation(len(rows))]
    whole = ChunkResult(np.arange(len(rows)), rows)
    parts = [ChunkResult(np.arange(k, k + 127), rows[k : k + 127]) for k in (127, 0)]
    one = Doubts.of(lambda: [whole], 2.0, N_PIXELS)
    other = Doubts.of(lambda: parts, 2.0, N_PIXELS)
    assert one.told() == other.told()
    assert one.static.tolist() == other.static.tolist()
    joined = np.concatenate([other.decided(part).rows for part in parts[::-1]])
    assert np.array_equal(one.decided(whole).rows["hit"], joined["hit"])


def test_rows_are_not_changed_in_place():
    rng = np.random.default_rng(12)
    rows = np.concatenate([lone(10, rng, score=0.2, nearer=0.8), frames(20)])
    whole = ChunkResult(np.arange(30), rows)
    Doubts.of(lambda: [whole], 2.0, N_PIXELS).decided(whole)
    assert rows["hit"].sum() == 10


def lone_spots(n, rng, alone=0, spots=1, **more):
    """Frames that rest on things that look like spots, with others bright alone or without."""
    kind = "one-pixel" if alone else "spot" if spots == 1 else ""
    found = lone(n, rng, kind=kind, number=alone, **more)
    found["support"]["n_spots"] = spots
    found["support"]["bare_score"] = found["support"]["score"]
    if alone:
        # Without what is bright alone the spot is left.
        found["support"]["score"] = 6.0
    return found


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.6])
def test_rays_that_look_like_spots_are_hits_as_rarely_as_is_stated(rate):
    rng = np.random.default_rng(13)
    number = rng.poisson([rate, rate / 2], (4000, 2))
    kinds = [(alone, spots) for alone in range(4) for spots in range(4) if alone + spots]
    n = {kind: int((number == kind[::-1]).all(1).sum()) for kind in kinds}
    parts = [lone_spots(n[a, s], rng, a, s) if s else lone(n[a, s], rng, number=a) for a, s in n]
    blank = frames(4000 - sum(n.values()))
    blank["score"] = -np.log10(rng.random(len(blank)))
    doubts, rows = decide(blank, *parts)
    assert doubts.spot_rate == pytest.approx(rate, rel=0.35)
    false = rows["hit"][len(blank) :].sum() / 4000
    assert false <= 0.016
    rests = (rows["support"]["kind"] == "spot") & (rows["support"]["bare_score"] < 2)
    spots = rows[rests]
    assert (spots["doubt"] == "spot").all()


def test_a_run_without_such_rays_keeps_hits_that_rest_on_a_spot_without_a_word():
    rng = np.random.default_rng(14)
    spots = lone_spots(12, rng, nearer=rng.uniform(0, 0.25, 12))
    both = lone_spots(12, rng, alone=1)
    for parts in ((sure(30),), (sure(5), frames(60)), (frames(200),)):
        _, rows = decide(spots, both, *parts)
        assert rows["hit"][:24].all()
        assert (rows["doubt"][:24] == "").all()


def test_low_scores_tell_no_more_than_the_blank_frames_of_the_run_let_them():
    rng = np.random.default_rng(15)
    found = lone(8, rng, score=1.1, nearer=0.05)
    for usual, kept in ((0.2, True), (1.2, False)):
        blank = frames(400)
        blank["score"] = usual
        _, rows = decide(found, lone(12, rng, score=0.2, nearer=0.8), blank)
        assert rows["hit"][:8].all() == kept


@pytest.mark.parametrize(("reach", "kept"), [(1.0, True), (0.4, False)])
def test_spots_all_over_the_detector_are_a_crystals_where_good_crystals_show_them(reach, kept):
    rng = np.random.default_rng(16)
    good = lone_spots(60, rng, spots=6, score=20.0, nearer=rng.uniform(0, reach, 60))
    _, rows = decide(lone_spots(40, rng, score=0.3), good, frames(400))
    assert rows["hit"][40:100].all()
    assert rows["hit"][:40].mean() > 0.95 if kept else rows["hit"][:40].mean() < 0.1


def test_things_alone_all_over_the_detector_are_hits_where_good_crystals_show_them_there():
    rng = np.random.default_rng(17)
    good = lone(40, rng, number=6, score=20.0)
    few = lone(10, rng, score=0.4, nearer=rng.uniform(0.35, 0.9, 10))
    _, rows = decide(few, good, frames(100))
    assert rows["hit"][:50].all()
