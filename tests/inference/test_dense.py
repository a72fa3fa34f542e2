import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.errors import ConfigError  # noqa: E402
from hitfinder.geometry.detector import Detector, Panel  # noqa: E402
from hitfinder.geometry.experiment import Geometry  # noqa: E402
from hitfinder.inference.dense import DenseFinder  # noqa: E402
from hitfinder.inference.locator import NetworkFinder, make_finder  # noqa: E402
from hitfinder.inference.settings import FinderSettings  # noqa: E402


@pytest.fixture(scope="module")
def far_geometry():
    """Far from the beam axis, where the direction of the radius hardly changes in a crop."""
    mask = np.zeros((400, 420), bool)
    mask[196:206] = True
    panel = Panel("p0", 0, 0, 420, 400, 90000.0, 70000.0)
    return Geometry(Detector("far", (400, 420), (panel,), mask), 60.0, 6000.0)


@pytest.fixture(scope="module")
def dense(small_geometry, one_thread):
    return DenseFinder(small_geometry, device="cpu")


def frame_with_spots(water_like, level, rng):
    frame = rng.poisson(water_like * level).astype(np.uint16)
    for _ in range(12):
        at = rng.integers(5, 390, 2)
        frame[at[0], at[1]] += rng.integers(4, 30)
    return frame


@pytest.mark.parametrize(("dtype", "off"), [("float32", 2e-3), ("float16", 0.03)])
def test_the_whole_frame_gives_the_candidates_own_answers(far_geometry, one_thread, dtype, off):
    dense = DenseFinder(far_geometry, device="cpu", dtype=getattr(torch, dtype))
    rng = np.random.default_rng(5)
    frame = frame_with_spots(np.ones((400, 420)), 0.3, rng)
    frame[2, 3] = frame[397, 417] = 25
    proposed = dense.finder.propose(frame)
    peaks, logit = NetworkFinder._judged(dense, proposed)
    answers = dense._answers(proposed)[0].numpy()
    order = np.argsort(-logit, kind="stable")
    middle = np.stack([proposed.peaks["ss"], proposed.peaks["fs"]]).astype(int)
    whole = np.sort(answers[0, middle[0], middle[1]])[::-1]
    assert len(whole) > 12
    assert np.allclose(whole, logit[order], atol=off)
    assert len(peaks) == len(logit)


def test_it_finds_what_the_fast_path_finds(dense, small_geometry, water_like):
    rng = np.random.default_rng(6)
    fast = NetworkFinder(small_geometry)
    kept = both = 0
    for level in (0.001, 0.1, 3.0):
        for _ in range(4):
            frame = frame_with_spots(water_like, level, rng)
            some, all_of = fast.process(frame).peaks, dense.process(frame).peaks
            kept += len(some)
            for peak in some:
                near = np.hypot(all_of["fs"] - peak["fs"], all_of["ss"] - peak["ss"])
                both += bool(near.min(initial=99) < 1)
    assert kept > 60
    assert both >= 0.97 * kept


def test_blank_frames_stay_blank(dense, water_like):
    rng = np.random.default_rng(7)
    n = [len(dense.process(rng.poisson(water_like * 0.05).astype("u2")).peaks) for _ in range(25)]
    assert sum(n) <= 3


def test_a_device_that_is_not_there_is_named(small_geometry):
    with pytest.raises(ConfigError, match="'cuda:99' cannot be used"):
        make_finder(small_geometry, FinderSettings(device="cuda:99"))


def test_a_sharp_ring_off_centre_makes_no_hit(sharp_ring, one_thread):
    expected, geometry = sharp_ring
    finder = DenseFinder(geometry, device="cpu")
    rng = np.random.default_rng(4)
    results = [finder.process(rng.poisson(expected).astype("u2")) for _ in range(20)]
    assert sum(result.hit for result in results) <= 2
    assert sum(len(result.peaks) for result in results) <= 2
