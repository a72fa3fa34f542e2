import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.finding.registry import make_finder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.metrics.calibration import reliability
from hitfinder.network.finder import NetworkFinder, distinct
from hitfinder.network.model import ModelError
from hitfinder.network.training.experiment import EDGE_PX, draw_experiment
from hitfinder.network.training.frames import draw_frame

SPOTS = np.array([(60.3, 80.8), (300.5, 40.2), (350.7, 350.6), (120.2, 300.9)])


@pytest.fixture(scope="module")
def network(small_geometry):
    return NetworkFinder(small_geometry)


def with_spots(background, photons, rng, sigma=0.6):
    frame = rng.poisson(background).astype(np.uint16)
    for fs, ss in SPOTS:
        at_fs = np.floor(rng.normal(fs, sigma, photons)).astype(int)
        at_ss = np.floor(rng.normal(ss, sigma, photons)).astype(int)
        np.add.at(frame, (at_ss, at_fs), 1)
    return frame


@pytest.mark.parametrize(("level", "photons"), [(0.0003, 12), (0.02, 20), (1.0, 60), (10.0, 150)])
def test_spots_are_found_where_they_are_with_their_photons(network, water_like, level, photons):
    rng = np.random.default_rng(1)
    off, z, n_false = [], [], 0
    for _ in range(12):
        result = network(with_spots(water_like * level, photons, rng))
        assert result.hit
        assert result.hit_probability > 0.95
        peaks = result.peaks
        apart = np.hypot(peaks["fs"][:, None] - SPOTS[:, 0], peaks["ss"][:, None] - SPOTS[:, 1])
        assert (apart.min(axis=0) < 2).all()
        n_false += int((peaks["probability"][apart.min(axis=1) > 4] > 0.3).sum())
        near = apart.argmin(axis=0)
        off.append(apart.min(axis=0))
        assert (peaks["probability"][near] > 0.9).all()
        z.append((peaks["photons"][near] - photons) / peaks["photons_sigma"][near])
    assert np.median(off) < 0.35
    assert np.abs(z).mean() < 2
    assert n_false <= 2


@pytest.mark.parametrize("level", [0.0003, 0.02, 1.0, 10.0])
def test_blank_frames_hold_next_to_nothing(network, water_like, level):
    rng = np.random.default_rng(2)
    results = [network(rng.poisson(water_like * level).astype("u2")) for _ in range(60)]
    assert sum(len(r.peaks) for r in results) <= 4
    assert sum(r.hit for r in results) <= 3
    assert np.mean([r.hit_probability for r in results]) < 0.35


def test_false_peaks_in_blank_frames_are_as_many_as_allowed(small_geometry, water_like):
    rng = np.random.default_rng(9)
    frames = [rng.poisson(water_like).astype("u2") for _ in range(60)]
    n = {}
    for allowed in (0.001, 0.5):
        finder = NetworkFinder(small_geometry, FinderSettings(false_peaks=allowed))
        n[allowed] = sum(len(finder(frame).peaks) for frame in frames)
    assert n[0.001] <= 1
    assert n[0.001] < n[0.5] <= 60


def probabilities_and_truth(seed, edge_px, n_experiments, least):
    """Of the peaks in four frames of each of many experiments."""
    rng = np.random.default_rng(seed)
    settings = FinderSettings(false_peaks=0.95, peak_probability=least)
    predicted, true = [], []
    # Candidates of one experiment are alike, for better or worse: many experiments, few frames.
    for _ in range(n_experiments):
        experiment = draw_experiment(rng, edge_px)
        network = NetworkFinder(experiment.assumed, settings)
        for _ in range(4):
            frame = draw_frame(experiment, rng)
            peaks = network(frame.counts).peaks
            padded = np.pad(frame.bragg, 3)
            i, j = (np.clip(peaks[n].astype(int), 0, None) for n in ("ss", "fs"))
            for a, b, p in zip(i, j, peaks["probability"], strict=True):
                predicted.append(p)
                true.append(padded[a : a + 7, b : b + 7].sum() >= 2)
    return np.array(predicted), np.array(true)


@pytest.mark.slow
def test_probabilities_mean_what_they_say_on_frames_of_new_experiments():
    predicted, true = probabilities_and_truth(77, EDGE_PX, 16, least=0.01)
    assert len(true) > 500
    assert reliability(predicted, true).error < 0.04


@pytest.mark.slow
@pytest.mark.parametrize(("edge_px", "n_experiments"), [((250, 400), 40), ((1500, 1900), 8)])
def test_probabilities_mean_what_they_say_on_frames_of_any_size(edge_px, n_experiments):
    p, came_true = probabilities_and_truth(78, edge_px, n_experiments, least=0.05)
    assert reliability(p, came_true).error < 0.05
    unsure = (p > 0.1) & (p < 0.9)
    assert unsure.sum() > 100
    assert abs(p[unsure].mean() - came_true[unsure].mean()) < 0.15


def test_two_spots_close_together_are_both_located(network, water_like):
    frame = np.random.default_rng(8).poisson(water_like * 0.01).astype("u2")
    frame[94:108, 94:108] = 0
    frame[99, 99], frame[102, 101] = 60, 25
    peaks = network(frame).peaks
    peaks = peaks[np.hypot(peaks["fs"] - 100, peaks["ss"] - 100) < 8]
    peaks = peaks[np.argsort(-peaks["photons"])]
    assert peaks["fs"].tolist() == pytest.approx([99.5, 101.5], abs=0.5)
    assert peaks["ss"].tolist() == pytest.approx([99.5, 102.5], abs=0.5)
    assert peaks["photons"] == pytest.approx([60, 25], rel=0.2)


def test_results_do_not_depend_on_the_type_of_the_counts(network, water_like):
    frame = with_spots(water_like * 0.05, 20, np.random.default_rng(3))
    reference = network(frame)
    for kind in (np.uint8, np.uint32, np.int32, np.float32):
        result = network(frame.astype(kind))
        assert result.peaks.tobytes() == reference.peaks.tobytes()
        assert result.hit_probability == reference.hit_probability


def test_a_mask_hides_a_spot(network, water_like):
    frame = with_spots(water_like * 0.05, 30, np.random.default_rng(4))
    mask = np.zeros(frame.shape, bool)
    fs, ss = SPOTS[0].astype(int)
    mask[ss - 6 : ss + 7, fs - 6 : fs + 7] = True
    peaks = network(frame, mask).peaks
    assert np.hypot(peaks["fs"] - fs, peaks["ss"] - ss).min() > 8
    assert len(peaks) >= 3


@pytest.mark.parametrize("fill", [0, 65535])
def test_frames_that_say_nothing(network, fill):
    result = network(np.full((400, 420), fill, np.uint16))
    assert not result.hit
    assert len(result.peaks) == 0


def test_a_frame_of_nan_and_one_of_masked_pixels(network, small_geometry):
    assert not network(np.full((400, 420), np.nan, np.float32)).hit
    everything = np.ones((400, 420), bool)
    detector = small_geometry.detector.with_mask(everything)
    masked = NetworkFinder(dataclasses.replace(small_geometry, detector=detector))
    result = masked(np.ones((400, 420), np.uint16))
    assert not result.hit
    assert np.isnan(result.hit_probability)


def test_a_frame_smaller_than_the_crops():
    panel = Panel("p0", 0, 0, 9, 6, 10.0, 10.0)
    tiny = NetworkFinder(Geometry(Detector("tiny", (6, 9), (panel,)), 0.1, 6000.0))
    frame = np.zeros((6, 9), np.uint16)
    frame[3, 4] = 30
    peaks = tiny(frame).peaks
    assert len(peaks) <= 1
    assert tiny(np.zeros((6, 9), np.uint16)).peaks.size == 0


def test_the_settings_choose_the_finder(small_geometry):
    assert isinstance(make_finder(small_geometry, FinderSettings()), NetworkFinder)
    likelihood = make_finder(small_geometry, FinderSettings(finder="likelihood"))
    assert isinstance(likelihood, LikelihoodFinder)


def test_an_unknown_model_is_named(small_geometry):
    with pytest.raises(ModelError, match="no model 'other'"):
        NetworkFinder(small_geometry, FinderSettings(model="other"))


def test_two_peaks_on_one_spot_are_one():
    peaks = np.zeros(4, PEAK_DTYPE)
    peaks["fs"], peaks["ss"] = [10.0, 11.5, 12.8, 40.0], [5.0, 5.0, 5.0, 5.0]
    # The third is near the second alone, which is dropped.
    assert distinct(peaks).tolist() == [True, False, True, True]


def test_the_core_installation_is_enough():
    """No module of the train extra is needed to judge a frame."""
    code = """
import sys
for name in ("torch", "lightning", "safetensors", "onnx"):
    sys.modules[name] = None
import numpy as np
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.finding.registry import make_finder
from hitfinder.finding.settings import FinderSettings
geometry = Geometry(named_detector("eiger-x-500k"), 0.1, 6000.0)
frame = np.zeros(geometry.shape, np.uint16)
frame[100, 200] = 20
print(len(make_finder(geometry, FinderSettings())(frame).peaks))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "1"


def test_a_spot_at_the_edge_stays_on_the_frame(network):
    frame = np.random.default_rng(6).poisson(0.02, (400, 420)).astype(np.uint16)
    frame[0, 0] = frame[399, 419] = frame[0, 200] = frame[250, 419] = 15
    peaks = network(frame).peaks
    assert (peaks["probability"] > 0.5).sum() == 4
    assert (peaks["fs"] >= 0).all()
    assert (peaks["fs"] < 420).all()
    assert (peaks["ss"] >= 0).all()
    assert (peaks["ss"] < 400).all()
    assert np.isfinite(peaks["resolution_a"]).all()


def test_a_single_spot_that_no_blank_shows_is_kept(network, water_like):
    rng = np.random.default_rng(8)
    kept = 0
    for _ in range(10):
        frame = rng.poisson(water_like * 0.02).astype(np.uint16)
        frame[120, 300] += 6
        peaks = network(frame).peaks
        kept += bool((np.hypot(peaks["fs"] - 300.5, peaks["ss"] - 120.5) < 1.5).any())
    assert kept >= 9


def test_the_shipped_model_gives_the_answers_it_was_shipped_with():
    panel = Panel("p0", 0, 0, 128, 96, -64.0, -48.0)
    geometry = Geometry(Detector("small", (96, 128), (panel,)), 0.05, 6000.0)
    rng = np.random.default_rng(3)
    frame = rng.poisson(0.05, (96, 128)).astype(np.uint16)
    for (i, j), n in zip([(20, 30), (40, 80), (70, 25), (60, 100)], [25, 9, 14, 6], strict=True):
        square = rng.multinomial(n, [0.4, 0.3, 0.2, 0.1]).reshape(2, 2)
        frame[i : i + 2, j : j + 2] += square.astype(np.uint16)
    found = NetworkFinder(geometry)(frame)
    assert found.hit
    assert (found.score, found.hit_probability) == pytest.approx((15.231374, 0.9981207), rel=1e-4)
    names = ["fs", "ss", "photons", "photons_sigma", "probability"]
    peaks = np.stack([found.peaks[name] for name in names], axis=1)
    assert peaks == pytest.approx(
        np.array(
            [
                [30.80023, 20.9363, 26.00173, 5.9911, 0.99913],
                [26.03875, 70.8334, 16.08356, 2.06143, 0.99912],
                [81.14122, 40.65411, 9.4902, 0.99963, 0.99907],
                [101.27928, 60.93916, 7.10956, 4.00334, 0.95694],
            ]
        ),
        rel=1e-3,
    )


def test_a_streak_is_as_likely_as_the_likeliest_of_its_pieces(network, water_like):
    frame = np.random.default_rng(2).poisson(water_like * 0.002).astype("u2")
    frame[110:145, 290:311] = 0
    frame[120:127, 300] = frame[129:135, 300] = 3
    proposed = network.finder.propose(frame)
    streak = proposed.piece_of[0]
    assert (proposed.piece_of == streak).sum() == len(proposed.pieces) == 2
    assert proposed.pieces["ss"].tolist() == pytest.approx([123.5, 132], abs=0.01)
    assert proposed.peaks["ss"][streak] == pytest.approx(127.42, abs=0.01)
    own = network._answers(proposed)[0][streak]
    pieces = network._answers(dataclasses.replace(proposed, peaks=proposed.pieces))[0]
    assert len(set(pieces.tolist())) == 2
    peaks, logit, _ = network._judged(proposed)
    near = np.hypot(peaks["fs"] - 300.5, peaks["ss"] - 127.4) < 8
    assert logit[near].tolist() == [max(own, *pieces)]
