"""The check of finders: ours keep the contract, and what does not keep it is told."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from hitfinder.contracts import BrokenContractError
from hitfinder.finding.checking import check_finder
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.peaks import peak_table
from hitfinder.finding.result import FrameResult
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.network.finder import NetworkFinder


@pytest.fixture(scope="module")
def geometry():
    mask = np.zeros((90, 120), bool)
    mask[:, 60:63] = True
    panel = Panel("p0", 0, 0, 120, 90, -60.0, -45.0)
    return Geometry(Detector("small", (90, 120), (panel,), mask), 0.02, 6000.0)


@pytest.mark.parametrize("build", [LikelihoodFinder, NetworkFinder])
def test_our_finders_keep_the_contract(geometry, build):
    check_finder(build, geometry)


class Threshold:
    """Takes connected pixels of ten counts and more for a peak."""

    def __init__(self, geometry, settings):
        self.bad = geometry.detector.full_mask

    def counts(self, frame, mask):
        if frame.shape != self.bad.shape:
            raise ValueError("wrong shape")
        top = np.iinfo(frame.dtype).max if frame.dtype.kind in "iu" else np.inf
        bad = self.bad | ~((frame >= 0) & (frame < top))
        return np.where(bad if mask is None else bad | mask, 0, frame)

    def __call__(self, frame, mask=None):
        counts = self.counts(frame, mask)
        label, n = ndimage.label(counts >= 10)
        places = ndimage.center_of_mass(counts, label, np.arange(1, n + 1))
        return self.result(*np.array(places).reshape(-1, 2).T + 0.5, counts)

    def result(self, ss, fs, counts):
        peaks = peak_table(fs, ss)
        return FrameResult(float(len(peaks)), len(peaks) > 3, peaks, int(counts.sum()))


def changed(**methods):
    return type("Changed", (Threshold,), methods)


def result(**fields):
    def make(self, ss, fs, counts):
        return dataclasses.replace(Threshold.result(self, ss, fs, counts), **fields)

    return changed(result=make)


def shifted(d_fs, d_ss):
    return changed(
        result=lambda self, ss, fs, counts: Threshold.result(self, ss + d_ss, fs + d_fs, counts)
    )


def swapped(self, ss, fs, counts):
    keep = (ss < self.bad.shape[1]) & (fs < self.bad.shape[0])
    return Threshold.result(self, fs[keep], ss[keep], counts)


class WritesIntoTheFrame(Threshold):
    def counts(self, frame, mask):
        frame[self.bad] = 0
        return super().counts(frame, mask)


class Remembers(Threshold):
    seen = 0

    def result(self, ss, fs, counts):
        self.seen += 1
        return dataclasses.replace(super().result(ss, fs, counts), score=float(self.seen))


class KeepsMasks(Threshold):
    def counts(self, frame, mask):
        if mask is not None:
            self.bad = self.bad | mask
        return super().counts(frame, mask)


class ReusesItsTable(Threshold):
    table = peak_table(np.zeros(50), np.zeros(50))

    def result(self, ss, fs, counts):
        found = super().result(ss, fs, counts)
        kept = self.table[: len(found.peaks)]
        kept[:] = found.peaks
        return dataclasses.replace(found, peaks=kept)


class IgnoresMasks(Threshold):
    def counts(self, frame, mask):
        return super().counts(frame, None)


class ReadsTheTop(Threshold):
    def counts(self, frame, mask):
        bad = self.bad if mask is None else self.bad | mask
        return np.where(bad | ~(frame >= 0), 0, frame).astype(float)

    def __call__(self, frame, mask=None):
        if frame.shape != self.bad.shape:
            raise ValueError("wrong shape")
        return super().__call__(frame, mask)


class OfOneType(Threshold):
    def counts(self, frame, mask):
        if frame.dtype != np.uint16:
            raise TypeError("only 16 bits")
        return super().counts(frame, mask)


class AnyShape(Threshold):
    def counts(self, frame, mask):
        if frame.shape != self.bad.shape:
            return np.zeros((1, 1))
        return super().counts(frame, mask)


def test_a_sound_finder_of_others_passes(geometry):
    check_finder(Threshold, geometry)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda geometry: None, "building the finder raises TypeError"),
        (lambda geometry, settings: 3, "can be called with a frame"),
        (changed(OPTIONS={"least": 3}), "OPTIONS must map"),
        (changed(least_score="high"), "least_score must be a number"),
        (changed(fingerprint=7), "fingerprint must be a string"),
        (changed(result=lambda *given: None), "a FrameResult is due"),
        (result(score=np.nan), "the score must be finite"),
        (result(hit=None), "hit must be True or False"),
        (result(photons=-1), "photons must not be negative"),
        (result(hit_probability=2.0), r"hit_probability must be in 0\.\.1"),
        (result(peaks=np.zeros(3)), "peaks are made by peak_table"),
        (shifted(-0.5, -0.5), r"peaks are off by -0.50 \(fs\) and -0.50 \(ss\) pixels"),
        (shifted(0, 0.5), r"peaks are off by \+0.00 \(fs\) and \+0.50 \(ss\) pixels"),
        (shifted(-200, 0), "peaks must lie in the frame"),
        (changed(result=swapped), "fs and ss of the peaks are swapped"),
        (WritesIntoTheFrame, "the frame must stay as it is"),
        (Remembers, "must give the same, whatever was searched before; score differs"),
        (ReusesItsTable, "its peaks must not change when others are searched"),
        (KeepsMasks, "a mask must hold for its own frame only"),
        (IgnoresMasks, "half of which is masked: there must be no peak in that half"),
        (ReadsTheTop, r"half of which reads 65535 \(uint16\): there must be no peak"),
        (OfOneType, "a frame of type uint32 raises TypeError"),
        (AnyShape, r"a frame of shape \(89, 120\) must raise ValueError"),
    ],
)
def test_broken_finders_are_told(geometry, build, message):
    with pytest.raises(BrokenContractError, match=message):
        check_finder(build, geometry)
