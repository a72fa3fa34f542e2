"""Results of parts of a run, merged in any order and grouping, are those of the whole."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.contracts import BrokenContractError
from hitfinder.estimate.bins import N_AZIMUTHS
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.result import GeometryEstimate
from hitfinder.estimate.run import RunSums
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.results.binned import ImageMaximum, ImageSum, add_frame
from hitfinder.results.checking import check_mergeable
from hitfinder.results.chunk import ChunkResult, Counts, empty_rows
from hitfinder.results.totals import ProfileSum, Totals
from hitfinder.sums import ExactSum

N_RINGS, SHAPE = 3, (7, 9)


def bytes_of(totals):
    return {name: (array.shape, array.tobytes()) for name, array in totals.to_arrays().items()}


def content_of(result):
    rows = [result.rows[name].tobytes() for name in result.rows.dtype.names]
    told = result.frames.tobytes(), result.peaks.tobytes(), tuple(result.problems.items())
    return rows, told, bytes_of(result.totals)


def water(rng):
    """What a frame says of photon energy and camera length; not always anything."""
    bins = BinSums(rng.poisson(3, (N_RINGS, N_AZIMUTHS)), rng.random((N_RINGS, N_AZIMUTHS)))
    flag = ("ok", "not-water", "few-photons")[rng.integers(3)]
    sigma, energy = 10.0 ** rng.uniform(-3, 3), 6000 + rng.normal()
    ends = energy - sigma, energy + sigma
    length = 0.2, sigma * 1e-5, 0.1, 0.3
    return bins, GeometryEstimate(energy, sigma, *ends, *length, 0.5, flag, 0.5, 1e3)


def frame_result(seed, number):
    """The result of one frame."""
    rng = np.random.default_rng([seed, number])
    row, peaks = empty_rows(1, "ok"), np.zeros(rng.integers(4), PEAK_DTYPE)
    row["n_peaks"], row["hit"], row["score"] = len(peaks), rng.random() < 0.5, rng.normal()
    peaks["fs"] = rng.random(len(peaks))
    result = ChunkResult(np.array([number]), row, peaks)
    if rng.random() < 0.2:
        result.problems[number] = f"frame {number} is odd"
    totals = result.totals
    totals.geometry = RunSums(N_RINGS)
    totals.geometry.add(number, *water(rng))
    image = rng.exponential(2, SHAPE)
    mask = np.zeros(SHAPE, bool)
    add_frame(totals.image, totals.maximum, image, mask, np.float64(np.inf))
    totals.profile.add(np.where(rng.random(5) < 0.2, np.nan, rng.exponential(1e3, 5)))
    return result


@st.composite
def partitions(draw):
    """Frames of a run, shuffled and cut into groups."""
    n, seed = draw(st.integers(1, 12)), draw(st.integers(0, 1000))
    step = draw(st.sampled_from([1, 3, 1000]))
    order = draw(st.permutations(range(n)))
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
    frames = [step * number for number in order]
    groups = [frames[a:b] for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    return seed, sorted(frames), groups


def merged(results):
    whole = ChunkResult()
    for result in results:
        whole.merge(result)
    return whole


@settings(max_examples=60)
@given(partitions())
def test_the_order_and_grouping_of_frames_do_not_matter(partition):
    seed, frames, groups = partition
    whole = merged(frame_result(seed, number) for number in frames)
    parts = [merged(frame_result(seed, number) for number in group) for group in groups]
    assert content_of(merged(parts)) == content_of(whole)
    assert whole.frames.tolist() == frames
    assert len(whole.peaks) == whole.rows["n_peaks"].sum()
    counts = Counts()
    for part in parts:
        counts.merge(Counts.of(part))
    assert counts == Counts.of(whole)
    again = Totals.from_arrays(whole.totals.to_arrays())
    assert bytes_of(again) == bytes_of(whole.totals)


RESULTS = [frame_result(1, number) for number in (4, 0, 900, 7)]


@pytest.mark.parametrize(
    ("nothing", "take", "content"),
    [
        (ChunkResult, lambda r: r, content_of),
        (Counts, Counts.of, lambda c: (c.frames, c.hits, c.problems)),
        (Totals, lambda r: r.totals, bytes_of),
        (ImageSum, lambda r: r.totals.image, lambda s: s.to_array().tobytes()),
        (ImageMaximum, lambda r: r.totals.maximum, lambda s: s.to_array().tobytes()),
        (ProfileSum, lambda r: r.totals.profile, lambda s: s.to_array().tobytes()),
        (lambda: RunSums(N_RINGS), lambda r: r.totals.geometry, lambda s: s.to_array().tobytes()),
    ],
    ids=["chunk", "counts", "totals", "image", "maximum", "profile", "geometry"],
)
def test_every_result_keeps_the_contract(nothing, take, content):
    check_mergeable(nothing, [copy.deepcopy(take(result)) for result in RESULTS], content)


def test_sums_keep_the_contract():
    sums = [ExactSum((2,)) for _ in range(4)]
    for number, total in enumerate(sums):
        total.add([0.1 * number, 1e9])
    check_mergeable(lambda: ExactSum((2,)), sums, lambda s: s.to_array().tobytes())


class Plain:
    """A sum of floating-point numbers, or something that breaks another rule."""

    def __init__(self, value=0.0, fault=""):
        self.value, self.fault = value, fault

    def merge(self, other):
        if self.fault == "order":
            self.value = self.value * 2 + other.value
        elif self.fault == "group":
            self.value = (self.value + other.value) / (2 if self.value else 1)
        elif self.fault == "changes":
            self.value += other.value
            other.value = 0.0
        elif self.fault == "raises":
            raise RuntimeError("no")
        else:
            self.value += other.value


@pytest.mark.parametrize(
    ("values", "fault", "message"),
    [
        ((1e16, 1.0, 1.0, -1e16), "", "another order"),
        ((1.0, 2.0, 4.0), "order", "order"),
        ((1.0, 2.0, 4.0), "changes", "what is merged|the same"),
        ((1.0, 2.0, 4.0), "raises", "merging raises RuntimeError: no"),
    ],
)
def test_the_check_of_the_contract_can_fail(values, fault, message):
    made = [Plain(value, fault) for value in values]
    with pytest.raises(BrokenContractError, match=message):
        check_mergeable(lambda: Plain(fault=fault), made, lambda s: s.value)


def test_a_frame_has_results_once():
    one = frame_result(1, 4)
    with pytest.raises(ValueError, match="in both"):
        one.merge(frame_result(2, 4))
    other = ProfileSum()
    other.add(np.zeros(3))
    with pytest.raises(ValueError, match="bins"):
        one.totals.profile.merge(other)
