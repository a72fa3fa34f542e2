"""The report's pipeline, with networks whose answers are set by hand."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.errors import ConfigError
from hitfinder.study.networks import trained
from hitfinder.study.pipeline import Predictor, StudyPipeline, peaks_of_heatmap

SHAPE = (12, 10)


@pytest.fixture
def save(save_network):
    def of_shape(path, name, net, state, shape=SHAPE):
        return save_network(path, name, net, state, shape)

    return of_shape


@pytest.fixture
def peak(save, tmp_path):
    """A hit from 100 photons on."""
    return save(tmp_path / "peak", "peak", "linear", {"linear.weight": 0.1, "linear.bias": -10})


@pytest.fixture
def energy(save, tmp_path):
    """6 keV up to 200 photons, then 8 keV."""
    weight = np.array([[0.0], [-1.0], [0.1]])
    state = {"linear.weight": weight, "linear.bias": np.array([0.0, -9.0, -20.0])}
    return save(tmp_path / "energy", "photon_energy", "linear", state)


@pytest.fixture
def length(save, tmp_path):
    state = {"linear.bias": np.array([0.0, 5.0, 0.0])}
    return save(tmp_path / "length", "camera_length", "linear", state)


@pytest.fixture
def location(save, tmp_path):
    """The counts themselves, less nothing, as logits: a peak wherever there are photons."""
    return save(tmp_path / "location", "peak_location", "dncnn", {})


def frame(total):
    counts = np.zeros(SHAPE, np.uint16)
    counts[3, 4] = total
    return counts


def test_none_without_peaks_and_values_with(peak, energy, length):
    pipeline = StudyPipeline.load([peak, energy, length], device="cpu")
    assert pipeline.run(frame(50)) is None
    answer = pipeline.run(frame(150))
    assert (answer.photon_energy_ev, answer.camera_length_m) == (6000, 0.25)
    assert answer.hit_probability == pytest.approx(1 / (1 + np.exp(-5)))
    assert len(answer.peaks) == 0
    assert pipeline.run(frame(300)).photon_energy_ev == 8000


def test_batches_give_what_single_frames_give(peak, energy, length):
    pipeline = StudyPipeline.load([peak, energy, length], device="cpu")
    frames = np.stack([frame(n) for n in (0, 150, 99, 300)])
    answers = pipeline.run_batch(frames)
    assert [a is None for a in answers] == [True, False, True, False]
    for one, several in zip(map(pipeline.run, frames), answers, strict=True):
        assert (one is None) == (several is None)
        assert one is None or one.photon_energy_ev == several.photon_energy_ev


def test_positions_are_told_where_there_is_a_network_for_them(peak, location):
    pipeline = StudyPipeline.load([peak, location], device="cpu")
    counts = frame(150)
    counts[7, 7] = counts[7, 8] = 20
    answer = pipeline.run(counts)
    # Every pixel has probability one half or more; those without photons have exactly one half.
    assert np.isnan(answer.photon_energy_ev)
    peaks, largest = peaks_of_heatmap(1 / (1 + np.exp(-counts.astype(float))), 0.6)
    assert peaks.tolist() == [[4.5, 3.5], [8.0, 7.5]]
    assert largest == pytest.approx([1, 1])
    assert len(answer.peaks) == 1


def test_a_pipeline_needs_networks_that_belong_together(save, tmp_path, peak, energy):
    with pytest.raises(ConfigError, match="tells peaks from none"):
        StudyPipeline.load([energy], device="cpu")
    with pytest.raises(ConfigError, match="two networks are for peak"):
        StudyPipeline.load([peak, peak], device="cpu")
    other = save(tmp_path / "other", "camera_length", "linear", {}, shape=(9, 9))
    with pytest.raises(ConfigError, match="different shapes"):
        StudyPipeline.load([peak, other], device="cpu")


def test_frames_of_another_size_are_refused(peak):
    with pytest.raises(ConfigError, match=r"frames have 9 x 9 pixels.*trained on 12 x 10"):
        StudyPipeline.load([peak], device="cpu").run(np.zeros((9, 9), np.uint16))


def test_networks_that_need_more_than_the_frame(save, tmp_path):
    shape = (24, 20)
    dual = save(tmp_path / "dual", "peak", "dual-input", {}, shape)
    with pytest.raises(ConfigError, match=r"clean signal.*no real frame has"):
        StudyPipeline.load([dual], device="cpu")
    told = save(tmp_path / "told", "peak", "binary-parameters", {}, shape)
    with pytest.raises(ConfigError, match="needs the camera length and photon energy"):
        StudyPipeline.load([told], device="cpu")
    known = StudyPipeline.load([told], "cpu", camera_length_m=0.15, photon_energy_ev=6000.0)
    assert known.run(np.zeros(shape, np.uint16)) is not None, "one half is the threshold"


def test_an_absent_device_is_said(peak):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(ConfigError, match="device 'cuda' cannot be used"):
        Predictor(trained.load(peak), "cuda")


def test_importing_the_module_does_not_import_torch():
    code = "import sys, hitfinder.study.pipeline; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
