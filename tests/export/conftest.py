import numpy as np
import pytest

from hitfinder.export.hits import SCORES, Hit
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter

PEAK = [(name, "f8") for name in ("fs", "ss", "photons", "background", "log_p", "snr", "maximum")]
PEAK += [("n_pixels", "i4"), ("probability", "f8")]
SHAPE = (12, 16)


@pytest.fixture
def geometry():
    mask = np.zeros(SHAPE, bool)
    mask[5] = True
    panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -8, -6)
    return Geometry(Detector("small", SHAPE, (panel,), mask), 0.15, 6000.0)


@pytest.fixture
def frames():
    """25 frames that differ."""
    return np.random.default_rng(5).poisson(3, (25, *SHAPE)).astype(np.uint16)


@pytest.fixture
def master(tmp_path, geometry, frames):
    """An NXmx master whose three data files hold 10, 10 and 5 frames."""
    folder = tmp_path / "raw"
    folder.mkdir()
    path = folder / "x_master.h5"
    with NexusWriter(path, geometry, np.uint16, frames_per_file=10, mark_masked=False) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def make_peaks(n, seed=0):
    rng = np.random.default_rng(seed)
    peaks = np.zeros(n, PEAK)
    for name in peaks.dtype.names:
        peaks[name] = rng.integers(1, 100, n) / 8
    return peaks


def make_hit(frame, n_peaks, **more):
    row = np.zeros((), [(name, "f8") for name in SCORES])
    for k, name in enumerate(SCORES):
        row[name] = 10 * frame + k
    return Hit(frame, make_peaks(n_peaks, frame), row[()], **more)
