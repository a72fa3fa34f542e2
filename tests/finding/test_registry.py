"""Finders by name, also those of others."""

import sys

import numpy as np
import pytest

from hitfinder.errors import ConfigError
from hitfinder.finding.peaks import peak_table
from hitfinder.finding.registry import make_finder
from hitfinder.finding.result import FrameResult
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.memory import ArraySource
from hitfinder.job.chunks import Chunk, ChunkFinder, ChunkWork
from hitfinder.job.finder_trial import FinderTrial

GEOMETRY = Geometry(named_detector("pilatus-100k"), 0.1, 8000.0)


class Brightest:
    """Finds the brightest pixel, and knows the beam."""

    OPTIONS = {"least": "counts of a hit"}  # noqa: RUF012

    def __init__(self, geometry, settings):
        self.least = int(settings.options.get("least", "10"))

    def __call__(self, frame, mask=None):
        ss, fs = np.unravel_index(frame.argmax(), frame.shape)
        top = int(frame[ss, fs])
        if top == 99:
            return FrameResult(1.0, True, np.zeros(1, [("fs", "f8"), ("ss", "f8")]))
        peaks = peak_table([fs + 0.5], [ss + 0.5], maximum=[top])
        return FrameResult(float(top), top >= self.least, peaks, photon_energy_ev=7e3)


class Unbuilt:
    def __init__(self, geometry, settings):
        raise TypeError("no such luck")


class Failing:
    def __init__(self, geometry, settings):
        pass

    def __call__(self, frame, mask=None):
        return 1 / int(frame.max())


class Silent:
    def __init__(self, geometry, settings):
        pass


@pytest.fixture(autouse=True)
def module(monkeypatch):
    monkeypatch.setitem(sys.modules, "finders_of_others", sys.modules[__name__])


def settings(name, **options):
    return FinderSettings(finder=f"finders_of_others:{name}", options=options)


def test_a_finder_gets_its_options():
    frame = np.zeros(GEOMETRY.shape, np.uint16)
    frame[7, 9] = 20
    assert make_finder(GEOMETRY, settings("Brightest"))(frame).hit
    assert not make_finder(GEOMETRY, settings("Brightest", least="30"))(frame).hit
    with pytest.raises(ConfigError, match=r"takes no option 'most'. It takes least"):
        make_finder(GEOMETRY, settings("Brightest", most="30"))
    with pytest.raises(ConfigError, match=r"'likelihood' takes no option 'least'. It takes none"):
        make_finder(GEOMETRY, FinderSettings(finder="likelihood", options={"least": "3"}))


def test_what_is_wrong_with_a_finder_is_one_line():
    source = ArraySource(np.zeros((1, *GEOMETRY.shape), np.uint16))
    with pytest.raises(ConfigError, match=r"cannot be built \(TypeError: no such luck\)"):
        make_finder(GEOMETRY, settings("Unbuilt"))
    with pytest.raises(ConfigError, match="is no finder: it cannot be called with a frame"):
        make_finder(GEOMETRY, settings("Silent"))
    with pytest.raises(ConfigError, match=r"fails on an empty frame \(ZeroDivisionError"):
        FinderTrial.of(source, GEOMETRY, settings("Failing")).finder()
    assert isinstance(FinderTrial.of(source, GEOMETRY, settings("Brightest")).finder(), Brightest)


def test_what_a_finder_tells_of_the_beam_is_in_the_rows():
    frames = np.zeros((3, *GEOMETRY.shape), np.uint16)
    frames[:, 7, 9] = 20, 99, 5
    source = ArraySource(frames)
    work = ChunkWork(source, source.shape, source.dtype, GEOMETRY, settings("Brightest"))
    part = ChunkFinder(work).find(Chunk(range(3), 0))
    assert part.rows["status"].tolist() == ["ok", "failed", "ok"]
    assert "peaks are not made by" in part.problems[1]
    assert part.rows["hit"].tolist() == [True, False, False]
    assert part.rows["photon_energy_ev"][[0, 2]].tolist() == [7000, 7000]
    assert np.isnan(part.rows["camera_length_m"]).all()
    assert part.rows["geometry"].tolist() == ["finder", "", "finder"]
    assert part.peaks["maximum"].tolist() == [20, 5]
    assert part.frame_of_peak.tolist() == [0, 2]
