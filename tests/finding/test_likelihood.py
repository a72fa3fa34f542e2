import numpy as np
import pytest

from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.network.finder import NetworkFinder


def blank(expected, seed, kind=np.uint16):
    return np.random.default_rng(seed).poisson(expected).astype(kind)


def add_spot(frame, fs, ss, photons, sigma, rng):
    """Drop photons around (fs, ss), corner convention, with a Gaussian footprint."""
    at_fs = np.floor(rng.normal(fs, sigma, photons)).astype(int)
    at_ss = np.floor(rng.normal(ss, sigma, photons)).astype(int)
    np.add.at(frame, (at_ss, at_fs), 1)


@pytest.mark.parametrize(
    "kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", np.longdouble]
)
def test_every_type_of_counts_gives_the_same_peaks(finder, water_like, kind):
    frame = blank(water_like * 0.05, 1)
    frame[50, 60] = 20
    frame[300, 350] = 30
    reference = finder(frame)
    result = finder(frame.astype(kind))
    assert result.peaks.tobytes() == reference.peaks.tobytes()
    assert result.score == reference.score
    assert result.hit


def test_a_photon_in_the_first_pixel_is_at_half_a_pixel(finder):
    frame = np.zeros((400, 420), np.uint16)
    frame[0, 0] = 12
    frame[10, 33] = 12
    peaks = np.sort(finder(frame).peaks, order="fs")
    assert peaks["fs"].tolist() == [0.5, 33.5]
    assert peaks["ss"].tolist() == [0.5, 10.5]
    assert peaks["photons"] == pytest.approx([12, 12], abs=0.1)


@pytest.mark.parametrize(("level", "sigma"), [(0.004, 0.4), (0.1, 0.9), (3.0, 0.7)])
def test_peaks_have_the_position_photons_and_background_put_in(finder, water_like, level, sigma):
    rng = np.random.default_rng(2)
    found = []
    for _ in range(30):
        frame = blank(water_like * level, rng.integers(1 << 31))
        fs, ss = rng.uniform(60, 360), rng.uniform(40, 160)
        add_spot(frame, fs, ss, 300, sigma, rng)
        peak = finder(frame).peaks[0]
        found.append((peak["fs"] - fs, peak["ss"] - ss, peak["photons"], peak["snr"]))
    dfs, dss, photons, snr = np.array(found).T
    assert np.hypot(dfs, dss).max() < 0.5
    assert abs(dfs.mean()) < 0.1
    assert abs(dss.mean()) < 0.1
    assert photons.mean() == pytest.approx(300, rel=0.05)
    assert snr.min() > 10


def test_two_spots_side_by_side_are_two_peaks(finder, water_like):
    frame = blank(water_like * 0.01, 3)
    frame[100, 100] = frame[100, 106] = 25
    peaks = finder(frame).peaks
    assert sorted(peaks["fs"].tolist()) == pytest.approx([100.5, 106.5], abs=0.3)


@pytest.mark.parametrize("apart", [(0, 3), (3, 0), (3, 2), (-2, 3)])
@pytest.mark.parametrize("level", [0.002, 0.1])
def test_spots_with_a_gap_between_them_are_told_apart(finder, water_like, level, apart):
    frame = blank(water_like * level, 5)
    frame[90:110, 90:110] = 0
    frame[100, 100], frame[100 + apart[0], 100 + apart[1]] = 60, 20
    peaks = finder(frame).peaks
    peaks = peaks[np.hypot(peaks["fs"] - 100.5, peaks["ss"] - 100.5) < 8]
    peaks = peaks[np.argsort(-peaks["photons"])]
    assert peaks["fs"].tolist() == pytest.approx([100.5, 100.5 + apart[1]], abs=0.1)
    assert peaks["ss"].tolist() == pytest.approx([100.5, 100.5 + apart[0]], abs=0.1)
    assert peaks["photons"] == pytest.approx([60, 20], abs=2)


def test_a_streak_is_one_peak(finder, water_like):
    rng = np.random.default_rng(6)
    n = []
    for _ in range(200):
        frame = blank(water_like * 0.002, rng.integers(1 << 31))
        at_fs, at_ss = 150 + rng.normal(0, 2.5, 80), 150 + rng.normal(0, 0.5, 80)
        np.add.at(frame, (at_ss.astype(int), at_fs.astype(int)), 1)
        peaks = finder(frame).peaks
        n.append((np.hypot(peaks["fs"] - 150.5, peaks["ss"] - 150.5) < 9).sum())
    assert np.mean(n) < 1.05


def test_one_broad_spot_is_one_peak(finder, water_like):
    frame = blank(water_like * 0.01, 4)
    add_spot(frame, 200.3, 80.2, 5000, 3.0, np.random.default_rng(5))
    peaks = finder(frame).peaks
    assert len(peaks) == 1
    assert peaks["n_pixels"][0] > 100
    assert (peaks["fs"][0], peaks["ss"][0]) == pytest.approx((200.3, 80.2), abs=0.2)


def test_frame_of_zeros(finder):
    result = finder(np.zeros((400, 420), np.uint32))
    assert (result.score, result.hit, len(result.peaks), result.photons) == (0.0, False, 0, 0)
    assert result.background_per_pixel == pytest.approx(0, abs=1e-4)
    assert np.isnan(result.resolution_a)


@pytest.mark.parametrize("kind", [np.uint16, np.int8, np.int16, np.int32, np.int64])
def test_the_top_of_an_integer_type_is_no_reading(finder, kind):
    frame = np.zeros((400, 420), kind)
    frame[60, 60], frame[80, 80] = np.iinfo(kind).max, 20
    result = finder(frame)
    assert result.photons == 20
    assert result.peaks["fs"].tolist() == [80.5]


def test_frame_all_masked(small_geometry, finder):
    frame = np.full((400, 420), 7, np.uint16)
    result = finder(frame, mask=np.ones(frame.shape, bool))
    assert (result.score, result.photons, len(result.peaks)) == (0.0, 0, 0)
    masked = Geometry(small_geometry.detector.with_mask(np.ones(frame.shape, bool)), 0.05, 6000.0)
    result = LikelihoodFinder(masked)(frame)
    assert (result.score, result.photons, len(result.peaks)) == (0.0, 0, 0)
    assert np.isnan(result.background_per_pixel)


def test_frame_without_a_reading_anywhere(finder):
    for frame in (
        np.full((400, 420), np.nan),
        np.full((400, 420), -1, np.int32),
        np.full((400, 420), 65535, np.uint16),
    ):
        for one in (finder, NetworkFinder(finder.geometry, FinderSettings(hit_threshold=0.0))):
            result = one(frame)
            assert (result.score, result.hit, result.photons) == (0.0, False, 0)
            assert len(result.peaks) == 0
            assert np.isnan([result.background_per_pixel, result.hit_probability]).all()
            assert np.isnan(result.profile).all()


def test_pixels_without_a_reading_are_ignored(finder, water_like):
    frame = blank(water_like * 0.5, 6, np.float64)
    reference = finder(frame)
    frame[20:40, 30:50] = np.nan
    frame[350:360, 100:300] = -2
    result = finder(frame)
    assert len(result.peaks) == len(reference.peaks) == 0
    assert result.background_per_pixel == pytest.approx(reference.background_per_pixel, rel=0.02)


def test_counts_are_cut_off_where_the_detector_saturates(small_geometry):
    frame = np.zeros((400, 420), np.uint16)
    frame[60, 60] = 30_000
    detector = small_geometry.detector
    saturating = Detector("s", detector.shape, detector.panels, detector.mask, saturation=20_000)
    peaks = LikelihoodFinder(Geometry(saturating, 0.05, 6000.0))(frame).peaks
    assert peaks["maximum"].tolist() == [20_000]


def test_uniformly_saturated_frame_is_no_hit(small_geometry):
    detector = small_geometry.detector
    saturating = Detector("s", detector.shape, detector.panels, detector.mask, saturation=65534)
    result = LikelihoodFinder(Geometry(saturating, 0.05, 6000.0))(
        np.full((400, 420), 65534, np.uint16)
    )
    assert len(result.peaks) == 0


def test_smear_of_background_gives_fewer_peaks_than_spots_would(finder, water_like):
    """The halo of a beam stop is bright over its surroundings, but it is no peak."""
    rng = np.random.default_rng(8)
    frame = blank(water_like * 0.05, 9)
    frame[60:130, 150:220] += rng.poisson(0.6, (70, 70)).astype(np.uint16)
    inside = finder(frame).peaks
    assert len(inside) <= 4


@pytest.mark.slow
def test_texture_of_the_background_is_allowed_for(small_geometry, water_like):
    """Azimuthal modulation by half would give false peaks against the ring average."""
    finder = LikelihoodFinder(small_geometry)
    maps = small_geometry.pixels
    depth = 0.5 * -np.expm1(-((np.hypot(maps.x, maps.y) / 75e-6 / 60) ** 2))
    texture = 1 + depth * np.sin(4 * np.arctan2(maps.y, maps.x))
    n_peaks = sum(len(finder(blank(water_like * texture * 20, s)).peaks) for s in range(8))
    assert n_peaks <= 4


def test_settings_decide_what_is_a_hit(small_geometry, water_like):
    frame = blank(water_like * 0.05, 10)
    frame[80, 80] = 8
    for settings, hit in (
        (FinderSettings(), True),
        (FinderSettings(min_peaks=2), False),
        (FinderSettings(hit_threshold=50.0), False),
        (FinderSettings(false_hits=1e-9), False),
    ):
        assert LikelihoodFinder(small_geometry, settings)(frame).hit is hit


@pytest.mark.parametrize(
    "wrong",
    [
        {"false_hits": 0.0},
        {"false_peaks": 1.5},
        {"min_peaks": -1},
        {"false_hits": -3},
        {"hit_threshold": np.nan},
        {"hit_threshold": np.inf},
    ],
)
def test_impossible_settings_are_named(wrong):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=name):
        FinderSettings(**wrong)


def test_frame_of_another_shape_is_refused(finder):
    with pytest.raises(ValueError, match=r"\(10, 10\)"):
        finder(np.zeros((10, 10), np.uint16))
    with pytest.raises(ValueError, match="mask shape"):
        finder(np.zeros((400, 420), np.uint16), mask=np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match="not counts"):
        finder(np.zeros((400, 420), complex))


def test_panels_apart_make_one_background():
    """Two panels, the second moved and turned in the plane: rings join across them."""
    panels = (
        Panel("a", 0, 0, 200, 150, -100.0, 20.0),
        Panel("b", 0, 150, 200, 150, 100.0, -20.0, (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    )
    geometry = Geometry(Detector("two", (300, 200), panels), 0.05, 6000.0)
    finder = LikelihoodFinder(geometry)
    assert np.array_equal(finder.rings.index[:150], finder.rings.index[150:])
    frame = blank(np.full((300, 200), 0.2), 11)
    frame[40, 50] = 15
    frame[220, 70] = 15
    peaks = np.sort(finder(frame).peaks, order="ss")
    assert peaks["ss"].tolist() == pytest.approx([40.5, 220.5], abs=0.4)
    assert peaks["resolution_a"] == pytest.approx(
        geometry.resolution_a(peaks["fs"], peaks["ss"]), rel=1e-5
    )


@pytest.mark.parametrize("level", [1, pytest.param(20_000, marks=pytest.mark.slow), 60_000])
def test_a_frame_of_one_count_everywhere_has_no_peak(finder, level):
    result = finder(np.full((400, 420), level, np.uint16))
    assert not result.hit
