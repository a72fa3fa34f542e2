import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from hitfinder.finding.joined import connected, lit_pixels
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.support import PIXEL, SPOT, TRACK
from hitfinder.geometry.geometry import Geometry
from hitfinder.network.finder import NetworkFinder


@pytest.fixture(scope="module", params=[LikelihoodFinder, NetworkFinder])
def find(request, small_geometry):
    return request.param(small_geometry)


@pytest.fixture
def blank(water_like):
    return np.random.default_rng(3).poisson(0.02 * water_like).astype(np.uint16)


def spread_spot(frame, ss, fs, photons, rng, sigma=0.5):
    at = np.floor(rng.normal([ss, fs], sigma, (photons, 2))).astype(int)
    np.add.at(frame, tuple(at.T), 1)


def track(frame, ss, fs, angle, length=12, photons=5):
    steps = np.arange(length)
    rows, columns = ss + steps * np.sin(angle), fs + steps * np.cos(angle)
    frame[rows.astype(int), columns.astype(int)] += photons


def to_beam(ss, fs):
    """Angle of the radius at a place; the beam is at (210.5, 180) (see the test of powder)."""
    return np.arctan2(ss - 210.5, fs - 180)


def test_a_hit_that_rests_on_one_bright_pixel_is_doubtful(find, blank):
    blank[90, 300] += 30
    found = find(blank)
    assert (found.hit, found.doubt, found.support.kind) == (True, PIXEL, PIXEL)
    assert (found.support.n_alone, found.support.n_bright) == (1, 1)
    assert found.support.score < 1 < 2 < found.score
    assert (found.support.fs, found.support.ss) == pytest.approx((300.5, 90.5), abs=0.3)


def test_faint_things_are_told_from_bright_ones(find, blank):
    blank[90, 300] += 5
    support = find(blank).support
    assert (support.n_alone, support.n_bright) == (1, 0)
    assert 1 <= support.strength < 2


@pytest.mark.parametrize("off", [np.pi / 4, np.pi / 2, 2.0])
def test_a_track_is_no_spot(find, blank, off):
    track(blank, 100, 60, to_beam(100, 60) + off)
    found = find(blank)
    assert (found.hit, found.doubt) == (True, TRACK)


@pytest.mark.parametrize("where", [(100, 60), (60, 330), (330, 90)])
def test_a_streak_along_a_radius_is_a_spot(find, blank, where):
    track(blank, *where, to_beam(*where))
    found = find(blank)
    assert (found.hit, found.doubt, found.support.kind) == (True, "", SPOT)


def test_a_spot_with_light_beside_it_is_no_lone_pixel(find, blank):
    spread_spot(blank, 90.7, 300.4, 40, np.random.default_rng(1))
    found = find(blank)
    assert (found.hit, found.doubt, found.support.kind) == (True, "", SPOT)
    assert (found.support.n_seen, found.support.n_sharp) == (1, 0)


def test_two_lone_pixels_leave_no_doubt(find, blank):
    blank[90, 300] += 30
    blank[320, 60] += 20
    found = find(blank)
    assert (found.hit, found.doubt, found.support.n_alone) == (True, "", 2)
    assert found.support.score < 1


def test_other_peaks_are_what_is_left_without_a_lone_pixel(find, blank):
    blank[90, 300] += 30
    rng = np.random.default_rng(2)
    for ss, fs in ((40.5, 60.6), (330.2, 330.4), (120.6, 120.5)):
        spread_spot(blank, ss, fs, 30, rng)
    found = find(blank)
    assert (found.hit, found.doubt, found.support.n_alone) == (True, "", 1)
    assert found.support.score > 2


def test_how_near_to_the_beam_a_thing_is_is_counted_in_pixels(find, blank):
    blank[212, 184] += 40
    near = find(blank).support.nearer
    blank[212, 184] = 0
    blank[395, 410] += 40
    far = find(blank).support.nearer
    assert near < 0.01
    assert far > 0.9


def test_a_frame_that_is_no_hit_rests_on_nothing(find, blank):
    found = find(blank)
    assert (found.hit, found.doubt, found.support) == (False, "", None)


def test_what_one_ray_leaves_in_pieces_is_one_thing(find, blank):
    angle = to_beam(100, 60) + np.pi / 3
    for start in (0, 14, 28):
        ss, fs = 100 + start * np.sin(angle), 60 + start * np.cos(angle)
        track(blank, ss, fs, angle, length=8)
    support = find(blank).support
    assert (support.kind, support.n_alone, support.n_spots) == (TRACK, 1, 0)
    assert support.score < 1


def test_pixels_that_are_close_together_are_one_thing(find, blank):
    blank[90, 300] += 30
    blank[104, 312] += 20
    found = find(blank)
    assert (found.doubt, found.support.n_alone) == (PIXEL, 1)


def test_spots_of_a_small_detector_are_not_put_together():
    frame = np.random.default_rng(4).poisson(0.02, (60, 70)).astype(np.uint16)
    frame[[8, 20, 30, 44, 50], [12, 40, 20, 50, 15]] += 25
    flat = Geometry.flat(frame.shape, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    assert LikelihoodFinder(flat)(frame).support.n_alone == 5


def test_what_looks_like_spots_is_counted_and_left_out_too(find, blank):
    rng = np.random.default_rng(1)
    for ss, fs in ((90.7, 300.4), (320.2, 60.5)):
        spread_spot(blank, ss, fs, 60, rng, sigma=1.0)
    blank[300, 380] += 30
    support = find(blank).support
    assert (support.kind, support.n_alone, support.n_spots) == (PIXEL, 1, 2)
    assert support.bare_score < 1 < 2 < support.score


def lit_pixels_slowly(pixel, proposed, rings):
    """Pixels that chance does not light, joined to one: every pixel around is looked at."""
    part = tuple(slice(max(k - 24, 0), k + 25) for k in pixel)
    work, ring = proposed.counts[part], rings.index[part]
    counts = np.where(work < -1, -2 - work, work)
    means = proposed.rate[np.maximum(ring, 0)] * rings.weight[part]
    lit = (ring >= 0) & (counts > 0) & (counts >= critical_counts(means, np.log(1e-3)))
    joined, _ = ndimage.label(ndimage.binary_dilation(lit), np.ones((3, 3)))
    own = joined[tuple(k - s.start for k, s in zip(pixel, part, strict=True))]
    rows, columns = np.nonzero(lit & (joined == own))
    return np.stack([rows + part[0].start, columns + part[1].start])


@pytest.mark.parametrize("rate", [0.02, 2.0])
def test_the_pixels_of_a_thing_are_those_of_a_search_of_all_around(
    small_geometry, water_like, rate
):
    rng = np.random.default_rng(8)
    frame = rng.poisson(rate * water_like).astype(np.uint16)
    for ss, fs, angle in ((1, 3, 0.0), (90, 300, 0.7), (200, 20, 2.0), (150, 150, 1.2)):
        track(frame, ss, fs, angle, length=18, photons=6 + int(9 * rate))
    finder = LikelihoodFinder(small_geometry)
    proposed, sizes = finder.propose(frame), []
    shape = np.array(frame.shape)
    for pixel in [*np.argwhere(frame >= 6), [0, 0], shape - 1, *rng.integers(0, shape, (50, 2))]:
        found = lit_pixels(np.asarray(pixel), proposed, finder.rings)
        slow = lit_pixels_slowly([int(k) for k in pixel], proposed, finder.rings)
        assert np.array_equal(np.stack(found), slow)
        sizes.append(slow.shape[1])
    assert max(sizes) > 15
    assert min(sizes) == 0


@pytest.mark.parametrize("n", [0, 1, 2, 12, 30])
def test_things_are_connected_as_a_graph_is(n):
    rng = np.random.default_rng(n)
    for share in (0.0, 0.03, 0.1, 0.9):
        one = rng.random((n, n)) < share
        n_together, label = connected_components(sparse.coo_array(one), directed=False)
        slow = [np.flatnonzero(label == k).tolist() for k in range(n_together)]
        assert [k.tolist() for k in connected(one)] == slow
