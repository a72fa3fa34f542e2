import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.executors.processes import Processes
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.static.visits import BRIGHT, LIT, PEAK, Visits
from hitfinder.io.open import open_source
from hitfinder.job.static import learn_static


@pytest.fixture
def frames(water_like):
    rng = np.random.default_rng(1)
    stack = rng.poisson(water_like * 0.02, (40, *water_like.shape)).astype(np.uint16)
    for frame in stack[::3]:
        at = rng.integers(10, 390, (20, 2))
        frame[at[:, 0], at[:, 1]] += 30
    return stack


def add_spot(frame, ss, fs, photons, rng, sigma=0.5):
    """Drop photons around the middle of a pixel with a Gaussian footprint."""
    at = np.floor(rng.normal([ss + 0.5, fs + 0.5], sigma, (rng.poisson(photons), 2))).astype(int)
    np.add.at(frame, tuple(at.T), 1)


def test_pixels_that_fire_in_frame_after_frame_are_hot(small_geometry, frames):
    rng = np.random.default_rng(2)
    frames[:, 50, 60] += 5
    frames[:, 300, 20] += rng.poisson(1.6, 40).astype(np.uint16)
    hot = learn_static(open_source(frames), small_geometry).mask
    assert {tuple(p) for p in np.argwhere(hot).tolist()} == {(50, 60), (300, 20)}


def test_what_is_static_does_not_depend_on_the_executor(small_geometry, frames):
    frames[:, 100, 200] += 30
    # Beside it, and fainter: seen only in the second round, when the other one is masked.
    frames[::2, 100, 201] += 4
    alone = learn_static(open_source(frames), small_geometry)
    assert alone.mask[100, 200]
    with Processes(2) as executor:
        found = learn_static(open_source(frames), small_geometry, executor=executor)
    assert found.table.tobytes() == alone.table.tobytes()
    assert np.array_equal(found.mask, alone.mask)


@pytest.mark.parametrize(
    ("kind", "n_looked"),
    [pytest.param("plain", 20, marks=pytest.mark.slow), ("mixed", 18), ("dies", 12)],
)
def test_frames_that_cannot_be_looked_at_are_passed_over(tmp_path, monkeypatch, kind, n_looked):
    """So are those that were looked at together with one that ends its workers."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from odd_sources import SHAPE, OddSource

    geometry = hf.Geometry.flat(SHAPE, 75e-6, camera_length_m=0.02, photon_energy_ev=6000)
    with Processes(2) as executor:
        found = learn_static(OddSource(kind, tmp_path), geometry, executor=executor)
    assert found.n_looked == n_looked


@pytest.mark.parametrize("n_frames", [8, 20, 30])
def test_spots_that_stay_for_a_while_are_not_hot(small_geometry, frames, n_frames):
    rng = np.random.default_rng(3)
    for frame in frames[:n_frames]:
        add_spot(frame, 120, 130, 40, rng)
        add_spot(frame, 60, 230, 12, rng)
    assert not learn_static(open_source(frames), small_geometry).mask.any()


def test_one_pattern_in_every_frame_is_not_taken_for_hot_pixels(small_geometry, frames, caplog):
    rng = np.random.default_rng(4)
    # As in simulations without a point spread, two fifths of the spots are in one pixel.
    for k, (ss, fs) in enumerate(rng.integers(5, 390, (40, 2))):
        for frame in frames:
            add_spot(frame, ss, fs, 12, rng, sigma=0.5 if k % 5 < 3 else 0.01)
    assert not learn_static(open_source(frames[1::3]), small_geometry).mask.any()
    assert "never turns" in caplog.text


@pytest.mark.parametrize(
    ("share", "level"),
    [
        *((0.6, 0.002), (0.0, 0.05), (0.2, 2.0)),
        *(
            pytest.param(share, level, marks=pytest.mark.slow)
            for share, level in ((0.0, 0.002), (0.2, 0.002), (0.2, 0.05), (0.6, 0.05))
        ),
        *(pytest.param(share, 2.0, marks=pytest.mark.slow) for share in (0.0, 0.6)),
    ],
)
def test_many_hot_pixels_are_masked_with_and_without_hits(
    small_geometry, water_like, share, level, caplog
):
    rng = np.random.default_rng(6)
    frames = rng.poisson(water_like * level, (64, *water_like.shape)).astype(np.uint16)
    at = rng.integers(5, 390, (60, 2))
    frames[:, at[:, 0], at[:, 1]] += rng.poisson(rng.uniform(5, 30, 60), (64, 60)).astype("u2")
    for frame in frames[rng.random(64) < share]:
        for ss, fs in rng.integers(5, 390, (30, 2)):
            add_spot(frame, ss, fs, 40, rng)
    hot = learn_static(open_source(frames), small_geometry).mask
    assert hot[at[:, 0], at[:, 1]].mean() > 0.9
    assert hot.sum() <= 61
    assert "never turns" not in caplog.text


def test_pixels_that_flicker_are_hot_if_they_are_bright_alone(small_geometry, frames):
    rng = np.random.default_rng(7)
    at = rng.integers(5, 390, (30, 2))
    for frame in frames:
        on = at[rng.random(30) < 0.25]
        frame[on[:, 0], on[:, 1]] += 12
    hot = learn_static(open_source(frames), small_geometry).mask
    assert hot[at[:, 0], at[:, 1]].mean() > 0.8
    assert hot.sum() <= 30


@pytest.mark.parametrize("crystal", [False, True])
def test_pixels_that_all_turn_bad_in_mid_run_are_masked_and_a_crystal_of_sharp_spots_is_not(
    small_geometry, water_like, crystal
):
    rng = np.random.default_rng(8)
    frames = rng.poisson(water_like * 0.01, (64, *water_like.shape)).astype(np.uint16)
    at = rng.integers(5, 390, (25, 2))
    for frame in frames[32:]:
        # The spots of a crystal change their brightness together.
        strength = rng.lognormal(0, 0.5) if crystal else 1.0
        frame[at[:, 0], at[:, 1]] += rng.poisson(30 * strength, 25).astype("u2")
    for frame in frames[rng.random(64) < 0.3]:
        for ss, fs in rng.integers(5, 390, (20, 2)):
            add_spot(frame, ss, fs, 40, rng)
    hot = learn_static(open_source(frames), small_geometry).mask
    assert hot[at[:, 0], at[:, 1]].mean() == pytest.approx(0.0 if crystal else 1.0, abs=0.1)
    assert hot.sum() <= 26


def test_a_scratch_that_never_moves_is_masked(small_geometry, frames):
    frames[:, 100:140, 200:203] += 2
    places = learn_static(open_source(frames), small_geometry)
    assert places.mask[100:140, 200:203].all()
    assert places.mask.sum() <= 42 * 5 + 20
    (place,) = places.masked
    assert (place["kind"], place["n_frames"]) == ("line", 40)
    assert 100 <= place["ss"] < 140
    assert 200 <= place["fs"] < 203


def test_frames_without_a_place_in_common_have_none(small_geometry, water_like):
    frames = np.random.default_rng(9).poisson(water_like * 0.02, (20, *water_like.shape))
    places = learn_static(open_source(frames.astype(np.uint16)), small_geometry)
    assert (places.n_looked, len(places.table), places.mask.any()) == (20, 0, False)


def test_what_is_bright_is_the_same_by_the_pixels_that_hold_photons(small_geometry, water_like):
    rng, finder = np.random.default_rng(9), LikelihoodFinder(small_geometry)
    frame = rng.poisson(water_like * 0.002).astype(np.uint16)
    frame[[50, 60, 120], [70, 300, 20]] += 12
    frame[200:202, 100:102] += 4
    frame[300:330:3, 300] = 2
    proposed = finder.propose(frame)
    assert proposed.lit is not None
    by_all = dataclasses.replace(proposed, lit=None)
    found, known = (Visits.of(3, one, finder.rings) for one in (proposed, by_all))
    assert found.table.tobytes() == known.table.tobytes()
    assert {*found.table["level"]} == {LIT, BRIGHT, PEAK}
    assert found.table["sharp"].any()


def test_too_few_frames_teach_nothing(small_geometry, frames):
    frames[:, 50, 60] += 5
    assert not learn_static(open_source(frames[:11]), small_geometry).mask.any()


def grid_scan(water, rng, n_crystal, n_blank, spots, scale=0.2, level=0.03):
    """Frames of one crystal that never turns among blanks, in random order, and which is which."""
    truth = rng.permutation(np.r_[np.ones(n_crystal, bool), np.zeros(n_blank, bool)])
    frames = rng.poisson(water * level, (len(truth), *water.shape)).astype(np.uint16)
    for frame in frames[truth]:
        strength = rng.lognormal(0, scale)
        for ss, fs, photons in spots:
            add_spot(frame, ss, fs, strength * photons, rng)
    return frames, truth


def bright_spots(rng, n, least=6.0):
    """Places of spots in the open, and their mean photons."""
    ss = np.r_[rng.integers(8, 186, n // 2), rng.integers(216, 390, n - n // 2)]
    return np.stack([ss, rng.integers(8, 410, n), least + rng.exponential(12, n)], 1)


def masked_spots(places, spots):
    return int(places.mask[spots[:, 0].astype(int), spots[:, 1].astype(int)].sum())


def test_a_pair_beside_a_masked_pixel_is_masked_and_a_crystal_that_never_turns_is_not(
    small_geometry, water_like
):
    rng = np.random.default_rng(5)
    spots = bright_spots(rng, 60)
    frames, truth = grid_scan(water_like, rng, 28, 60, spots)
    lit = ~truth & (rng.random(88) < 0.75)
    frames[lit, 207, 300] += rng.poisson(600, lit.sum()).astype(np.uint16)
    frames[lit, 206, 300] += rng.poisson(280, lit.sum()).astype(np.uint16)
    places = learn_static(open_source(frames), small_geometry)
    assert places.mask[206:208, 300].all()
    assert places.mask.sum() <= 25
    assert masked_spots(places, spots) == 0
    (place,) = places.table
    assert (place["kind"], place["masked"]) == ("edge", True)
    assert place["n_frames"] == place["n_hits"] == lit[np.linspace(0, 87, 64).astype(int)].sum()


@pytest.mark.parametrize("extra", [0.0, 0.5, 1.0], ids=["bare", "half", "always"])
def test_a_grid_scan_over_one_crystal_keeps_its_spots(small_geometry, water_like, extra):
    rng = np.random.default_rng(6)
    spots = bright_spots(rng, 50)
    frames, _ = grid_scan(water_like, rng, 14, 5, spots)
    lit = rng.random(19) < extra
    frames[lit, 100:102, 100:140] += rng.poisson(6, (lit.sum(), 2, 40)).astype(np.uint16)
    places = learn_static(open_source(frames), small_geometry)
    assert masked_spots(places, spots[abs(spots[:, 0] - 101) > 8]) == 0
    assert places.mask[100:102, 100:140].all() == (extra > 0)
    assert places.mask.sum() <= (0 if extra == 0 else 350)


def test_several_crystals_that_stay_for_a_while_keep_their_spots(small_geometry, water_like):
    rng = np.random.default_rng(7)
    some = [bright_spots(rng, 12) for _ in range(5)]
    frames = [grid_scan(water_like, rng, 12, 0, spots)[0] for spots in some]
    places = learn_static(open_source(np.concatenate(frames)), small_geometry)
    assert sum(masked_spots(places, spots) for spots in some) == 0


def glow(frame, ss, fs, photons, rng):
    add_spot(frame, ss, fs, photons, rng, sigma=1.5)


def halo(frame, ss, fs, photons, rng):
    """Light beside the gap of the detector, brightest at the gap."""
    columns = np.arange(fs, fs + 40)
    for row in range(5):
        mean = photons / 60 * np.exp(-row / 1.5)
        frame[206 + row, columns] += rng.poisson(mean, 40).astype(np.uint16)


def scratch(frame, ss, fs, photons, rng):
    steps = np.arange(30)
    frame[ss + steps // 2, fs + steps] += rng.poisson(photons / 8, 30).astype(np.uint16)


def pair(frame, ss, fs, photons, rng):
    frame[ss, fs : fs + 2] += rng.poisson([0.7 * photons, 0.3 * photons]).astype(np.uint16)


@pytest.mark.parametrize(
    ("share", "hits"),
    [pytest.param(1.0, 0.0, marks=pytest.mark.slow), (0.5, 0.4), (0.2, 0.0)],
)
@pytest.mark.parametrize("feature", [pair, glow, scratch, halo])
def test_what_does_not_move_is_masked_whatever_its_size(
    small_geometry, water_like, feature, share, hits
):
    rng = np.random.default_rng(8)
    frames = rng.poisson(water_like * 0.05, (64, *water_like.shape)).astype(np.uint16)
    clean = frames.copy()
    for frame, without in zip(frames, clean, strict=True):
        if rng.random() < hits:
            for ss, fs, photons in bright_spots(rng, 25):
                add_spot(frame, ss, fs, photons, rng)
            without[:] = frame
        if rng.random() < share:
            feature(frame, 80, 100, 40, rng)
    light = (frames - clean).sum(axis=0, dtype=float)
    is_lit = light > 0.25 * light.max()
    mask = learn_static(open_source(frames), small_geometry).mask
    assert mask[is_lit].mean() > 0.85
    assert mask.sum() < 4 * is_lit.sum() + 60


@pytest.mark.parametrize(
    "off_px", [pytest.param(0, marks=pytest.mark.slow), 2, pytest.param(5, marks=pytest.mark.slow)]
)
def test_a_powder_ring_is_not_masked(sharp_ring, off_px):
    ring, geometry = sharp_ring
    ring = np.roll(ring, off_px, axis=0)
    rng = np.random.default_rng(9)
    frames = rng.poisson(ring, (40, *ring.shape)).astype(np.uint16)
    places = learn_static(open_source(frames), geometry)
    on_ring = ring > 1
    assert places.mask[on_ring].mean() < 0.01


def test_rings_of_grains_that_turn_are_not_masked(small_geometry, water_like):
    rng = np.random.default_rng(10)
    frames = rng.poisson(water_like * 0.03, (64, *water_like.shape)).astype(np.uint16)
    for frame in frames:
        for angle in rng.uniform(0, 2 * np.pi, 40):
            radius = rng.normal(120, 1.5)
            ss, fs = 210.5 + radius * np.sin(angle), 180 + radius * np.cos(angle)
            add_spot(frame, ss, fs, 15, rng)
    assert learn_static(open_source(frames), small_geometry).mask.sum() < 20


def test_a_pixel_that_fires_in_few_frames_is_masked(small_geometry, water_like):
    rng = np.random.default_rng(11)
    frames = rng.poisson(water_like * 0.05, (64, *water_like.shape)).astype(np.uint16)
    at = rng.integers(5, 390, (40, 2))
    fires = rng.random((64, 40)) < 0.05
    for frame, which in zip(frames, fires, strict=True):
        frame[at[which, 0], at[which, 1]] = rng.integers(20, 2000, which.sum())
    mask = learn_static(open_source(frames), small_geometry).mask
    good = ~small_geometry.detector.full_mask[at[:, 0], at[:, 1]]
    several = good & (fires.sum(axis=0) >= 2)
    assert mask[at[several, 0], at[several, 1]].all()
    assert mask.sum() <= several.sum() + 1


def test_a_run_tells_what_it_masked(small_geometry, water_like, tmp_path):
    rng = np.random.default_rng(12)
    frames = rng.poisson(water_like * 0.05, (16, *water_like.shape)).astype(np.uint16)
    frames[1:, 300, 50] += 30
    for frame in frames:
        scratch(frame, 80, 100, 40, rng)
    run = hf.run(frames, tmp_path, geometry=small_geometry, finder="likelihood", workers=1)
    static = json.loads((tmp_path / "run.json").read_text())["static"]
    assert static["frames_looked_at"] == 16
    assert static["places_masked"] == len(static["places"]) == 2
    by_kind = {place["kind"]: place for place in static["places"]}
    assert by_kind["pixel"]["frames"] == by_kind["pixel"]["frames_it_would_make_hits"] == 15
    assert (by_kind["pixel"]["fs"], by_kind["pixel"]["ss"]) == (50.5, 300.5)
    assert by_kind["line"]["frames"] == 16
    assert sum(place["pixels"] for place in static["places"]) == static["pixels_masked"]
    assert run.summary.hits == 0
    assert 'id="static"' in run.report.read_text()


def flickering(shape, share, rng, n=64):
    """Blanks with forty single pixels that each fire in a share of the frames."""
    frames = rng.poisson(0.05, (n, *shape)).astype(np.uint16)
    at = rng.integers(0, shape, (40, 2))
    for row, column in at:
        frames[rng.random(n) < share, row, column] = rng.integers(20, 2000)
    return frames


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_pixels_that_flicker_make_no_hits(small_geometry, tmp_path, share):
    frames = flickering(small_geometry.shape, share, np.random.default_rng(3))
    run = hf.run(
        frames, tmp_path, geometry=small_geometry, workers=1, estimate=False, outputs=["lst"]
    )
    bare = hf.LikelihoodFinder(small_geometry)
    assert sum(bare(frame).hit for frame in frames) > 40
    assert run.summary.hits <= 1


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_light_around_a_beam_stop_makes_no_hits(small_geometry, water_like, share):
    """It is as even as a powder ring is: the background follows it, and nothing is masked."""
    rng = np.random.default_rng(13)
    ss, fs = np.ogrid[: water_like.shape[0], : water_like.shape[1]]
    at = np.hypot(ss + 0.5 - 210.5, fs + 0.5 - 180)
    stop = at < 22
    light = np.where(stop, 0, np.exp(-0.5 * ((at - 22) / 2) ** 2))
    detector = small_geometry.detector.with_mask(stop)
    geometry = dataclasses.replace(small_geometry, detector=detector)
    on = rng.random(64) < share
    mean = water_like * 0.02 + on[:, None, None] * light * 120 / light.sum()
    frames = rng.poisson(mean).astype(np.uint16)
    places = learn_static(open_source(frames), geometry)
    assert not places.mask.any()
    find = hf.LikelihoodFinder(geometry)
    assert sum(find(frame).hit for frame in frames) <= 2
