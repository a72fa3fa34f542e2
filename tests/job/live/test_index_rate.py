"""Hits indexed on the way, by a pool that skips rather than stalls."""

import numpy as np
import pytest

from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.crystal.orientation import random_rotation
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.live.index_rate import WAITING_PER_WORKER, IndexPool
from hitfinder.job.live.work import LiveChunk
from hitfinder.results.chunk import OK, ChunkResult, empty_rows
from hitfinder.units import HC_EV_ANGSTROM
from waiting import wait_for

WAVELENGTH_A, PIXEL_M, LENGTH_M, N_PX = 2.0, 150e-6, 0.15, 1200


@pytest.fixture(scope="module")
def geometry():
    return Geometry.flat(
        (N_PX, N_PX), PIXEL_M, camera_length_m=LENGTH_M,
        photon_energy_ev=HC_EV_ANGSTROM / WAVELENGTH_A,
    )  # fmt: skip


def crystal_peaks(lattice, rng, n):
    """Places, in pixels from the beam, of lattice points that diffract (Ewald)."""
    axes = random_rotation(rng) @ lattice.primitive
    limit = int(0.25 / np.linalg.norm(lattice.primitive, axis=0).min()) + 1
    h = np.stack(np.meshgrid(*[np.arange(-limit, limit + 1)] * 3), -1).reshape(-1, 3)
    g = h @ axes.T
    squared = (g**2).sum(axis=1)
    g, squared = (
        g[(squared > 1e-3) & (squared < 0.06)],
        squared[(squared > 1e-3) & (squared < 0.06)],
    )
    wavelength = -2 * g[:, 2] / squared
    on = np.abs(wavelength / WAVELENGTH_A - 1) < 0.005
    s = g[on] * wavelength[on, None] + [0, 0, 1]
    at = s[:, :2] / s[:, 2:] * (LENGTH_M / PIXEL_M)
    return at[rng.permutation(len(at))[:n]]


def hits(geometry, places, first):
    """A chunk of hits with peaks at these places."""
    rows = empty_rows(len(places), OK)
    rows["hit"], rows["n_peaks"] = True, [len(at) for at in places]
    peaks = np.zeros(rows["n_peaks"].sum(), PEAK_DTYPE)
    # From the beam axis along x, as the geometry has it.
    q = geometry.scattering_vectors(np.array([N_PX / 2.0, N_PX / 2 + 9]), np.full(2, N_PX / 2.0))
    sign = np.sign(q[1, 0])
    both = np.concatenate(places)
    peaks["fs"], peaks["ss"] = N_PX / 2 + sign * both[:, 0], N_PX / 2 + both[:, 1]
    peaks["probability"] = 0.99
    numbers = np.arange(first, first + len(places))
    chunk = LiveChunk(first, first + len(places), dict.fromkeys(numbers.tolist(), ""), {})
    return chunk, ChunkResult(numbers, rows, peaks)


def test_what_comes_while_all_indexers_are_busy_is_skipped(geometry):
    """None of them has begun yet."""
    pool = IndexPool(geometry, read_lattice("68,68,108", "P 43 21 2"), 2)
    places = np.random.default_rng(2).uniform(-500, 500, (30, 5, 2))
    pool.take(*hits(geometry, [*places, places[0, :2]], 0), geometry)
    told = pool.told()["index_rate"]
    assert (told["hits"], told["waiting"]) == (31, 2 * WAITING_PER_WORKER)
    # Two peaks tell no orientation, which needs no indexer.
    assert (told["skipped"], told["searched"], told["too_few_peaks"]) == (22, 1, 1)


@pytest.mark.slow
def test_what_can_be_indexed_is_told_and_what_comes_while_it_is_busy_skipped(geometry):
    lattice, rng = read_lattice("68,68,108", "P 43 21 2"), np.random.default_rng(1)
    crystals = [crystal_peaks(lattice, rng, 25) for _ in range(3)]
    stray = [rng.uniform(-500, 500, (12, 2)), np.array([[40.0, 50.0]])]
    pool = IndexPool(geometry, lattice, 1)
    assert pool.told()["index_rate"]["rate"] is None
    with pool:
        for k, places in enumerate((crystals, stray)):
            pool.take(*hits(geometry, places, 10 * k), geometry)
            wait_for(lambda: not pool.told()["index_rate"]["waiting"])
        told = pool.told()["index_rate"]
        assert (told["hits"], told["searched"], told["indexed"]) == (5, 5, 3)
        assert (told["too_few_peaks"], told["skipped"], told["by_chance"]) == (1, 0, 0)
        assert told["rate"] == told["rate_of_last_100"] == 0.6
        assert told["rate_low"] < 0.6 < told["rate_high"]
        assert told["cell"] == str(lattice.cell)
        assert pool.line() == {"index_searched": 5, "indexed": 3}
        pool.take(*hits(geometry, 20 * crystals, 100), geometry)
        told = pool.told()["index_rate"]
        # However many of the new ones are searched by then, the others wait or are skipped.
        assert told["skipped"] >= 60 - WAITING_PER_WORKER - 2 - (told["searched"] - 5)
        assert told["skipped"] > 0
    told = pool.told()["index_rate"]
    assert told["hits"] == 65
    assert told["hits"] == told["searched"] + told["skipped"] + told["failed"]
    assert told["waiting"] == 0
