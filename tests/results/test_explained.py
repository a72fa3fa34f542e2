"""Hits of ice and hits on a line are told from those of crystals."""

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.finding.explained import explained
from hitfinder.finding.peaks import PEAK_DTYPE, peak_table
from hitfinder.results.chunk import OK, ChunkResult, empty_rows
from hitfinder.results.doubts import Doubts
from hitfinder.results.explained import ICE, LINE, mostly_on_ice, mostly_on_line

GRID = hf.Geometry.flat((1000, 900), 75e-6, camera_length_m=0.1, photon_energy_ev=9000)


def hits(*tables):
    """Hits that hold some peaks each."""
    rows = empty_rows(len(tables), OK)
    rows["hit"], rows["score"], rows["n_peaks"] = True, 9.0, [len(table) for table in tables]
    for row, table in zip(rows, tables, strict=True):
        for name, n in explained(table, GRID)._asdict().items():
            row["support"][name] = n
    peaks = np.concatenate([np.empty(0, PEAK_DTYPE), *tables])
    return ChunkResult(np.arange(len(tables)), rows, peaks)


def decided(chunk):
    """Return the doubts of a run of these hits and what is left of them."""
    doubts = Doubts.of(lambda: [chunk], 2.0, 10**6)
    return doubts, doubts.decided(chunk).rows


def at(resolutions, probability=0.9):
    """Peaks at some resolutions (Å), anywhere."""
    rng = np.random.default_rng(5)
    fs, ss = rng.uniform((0, 0), (900, 1000), (len(resolutions), 2)).T
    return peak_table(fs, ss, resolution_a=resolutions, probability=probability)


def crystals(n_hits, n_peaks, rng):
    """Resolutions of crystals that reach to 2 Å, (n_hits, n_peaks)."""
    return 2 * np.pi / np.cbrt(rng.uniform(0, 3.2**3, (n_hits, n_peaks)))


def test_hits_of_ice_are_none_and_those_of_crystals_that_reach_as_far_are():
    rng = np.random.default_rng(4)
    crystal = crystals(300, 12, rng)
    rings, often = [3.897, 3.669, 3.441, 2.249, 1.948, 1.721], [0.2, 0.2, 0.25, 0.15, 0.1, 0.1]
    ice = rng.choice(rings, (30, 12), p=often)
    ice = ice * rng.normal(1, 0.002, ice.shape)
    doubts, rows = decided(hits(*map(at, crystal)))
    assert not doubts.has_ice
    assert rows["hit"].all()
    doubts, rows = decided(hits(*map(at, crystal), *map(at, ice)))
    assert doubts.has_ice
    assert rows["hit"][:300].sum() >= 297
    assert (rows["doubt"][300:] == ICE).sum() >= 27
    assert not rows["hit"][rows["doubt"] == ICE].any()


def test_a_crystal_among_ice_is_a_hit():
    rng = np.random.default_rng(6)
    ice = rng.choice([3.897, 3.669, 3.441], (30, 12))
    both = np.concatenate([ice, np.tile([8.1, 5.2, 2.9], (30, 1))], 1)
    chunk = hits(*map(at, both))
    assert mostly_on_ice(chunk.rows).all()
    assert decided(chunk)[1]["hit"].all()
    # Doubtful peaks say nothing of a crystal.
    doubtful = hits(*(at(one, [0.9] * 12 + [0.4] * 3) for one in both))
    assert not decided(doubtful)[1]["hit"].any()


def on_line(places):
    """Peaks at places (fs, ss), shape (n, 2), of no ring of ice."""
    return peak_table(*np.transpose(places), resolution_a=5.0, probability=0.9)


def test_peaks_on_one_line_are_no_crystals():
    rng = np.random.default_rng(3)
    spread = [on_line(rng.uniform((0, 0), (900, 1000), (n, 2))) for n in range(2, 42)]
    chunk = hits(*spread)
    assert not mostly_on_line(chunk.rows).any()
    assert decided(chunk)[1]["hit"].all()
    along = rng.uniform(-400, 400, 12)
    row = np.stack([450 + along, np.full(12, 301.4) + rng.normal(0, 0.3, 12)], 1)
    # On the edge between two sectors, and the beam between its ends.
    streaks = [
        np.stack([450 + along * np.cos(a), 500 + along * np.sin(a)], 1) + rng.normal(0, 2, (12, 2))
        for a in (0.0, np.radians(30), np.radians(93), np.pi)
    ]
    _, rows = decided(hits(*map(on_line, (row, row[:, ::-1], *streaks))))
    assert (rows["doubt"] == LINE).all()
    assert not rows["hit"].any()
    beside = hits(*(np.concatenate([on_line(row), one]) for one in spread[-10:]))
    assert decided(beside)[1]["hit"].all()
    assert decided(hits(on_line(row[:5])))[1]["hit"].all()


@pytest.mark.parametrize("n", [0, 2])
def test_of_few_peaks_nothing_is_said(n):
    assert not any(explained(at([3.897] * n), GRID))
