"""Frames of a run together."""

import dataclasses
import pickle

import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.run import RunSums


@pytest.fixture(scope="module")
def make(estimator, draw):
    """Frames as (number, sums, estimate)."""

    def make(n, energy, length, photons, energy_drift=0.0, seed=0):
        rng = np.random.default_rng(seed)
        frames = []
        for i in range(n):
            sums = draw(rng, energy + energy_drift * i / n, length, photons * rng.uniform(0.5, 1.5))
            frames.append((i, sums, estimator.estimate_sums(sums)))
        return frames

    return make


def added(estimator, frames):
    run = RunSums.of(estimator)
    for frame in frames:
        run.add(*frame)
    return run


def sigmas(estimate):
    return np.array([estimate.photon_energy_sigma_ev, estimate.camera_length_sigma_m])


def test_a_run_is_better_than_a_frame_by_the_square_root(estimator, make):
    """Single frames hardly tell anything; 400 of them have 1/20 of the bound of one."""
    frames = make(400, 7000.0, 0.25, 2200)
    result = added(estimator, frames).result(estimator)
    one = np.sqrt(np.diag(estimator.bound(7000.0, 0.25, frames[0][1])))
    one *= np.sqrt(frames[0][1].counts.sum() / 2200)
    assert sigmas(result.estimate) == pytest.approx(one / 20, rel=0.12)
    assert abs(result.estimate.photon_energy_ev - 7000) < 4 * sigmas(result.estimate)[0]
    assert abs(result.estimate.camera_length_m - 0.25) < 4 * sigmas(result.estimate)[1]
    assert result.n_frames == 400
    assert not result.drift.drifts
    # Averaging the frames' own estimates does not get there: each is drawn to the middle.
    mean = np.mean([e.photon_energy_ev for _, _, e in frames])
    assert abs(mean - 7000) > 4 * sigmas(result.estimate)[0]


def test_a_drift_is_noticed_and_measured(estimator, make):
    steady = added(estimator, make(160, 6000.0, 0.15, 2e4)).result(estimator).drift
    drifting = added(estimator, make(160, 6000.0, 0.15, 2e4, 300.0)).result(estimator).drift
    assert not steady.drifts
    assert drifting.drifts
    assert steady.parts_chi2 < 2 * steady.parts_freedom
    # From the middle of the first third to that of the last: 11/16 of the whole.
    away = drifting.energy_change_ev - 300 * 11 / 16
    assert abs(away) < 4 * drifting.energy_change_sigma_ev
    assert drifting.frames_freedom == 2 * 159
    assert drifting.frames_chi2 > drifting.frames_freedom


def test_order_processes_and_storage_do_not_matter(estimator, make):
    frames = make(48, 6000.0, 0.15, 5000)
    whole = added(estimator, frames).result(estimator)
    halves = [added(estimator, frames[::-1][i::2]) for i in range(2)]
    halves = [pickle.loads(pickle.dumps(half)) for half in halves]
    table = halves[1].to_array()
    halves[0].merge(RunSums.from_array(estimator.bins.n_rings, table))
    again = halves[0].result(estimator)
    assert again.n_frames == whole.n_frames == 48
    assert sigmas(again.estimate).tolist() == sigmas(whole.estimate).tolist()
    assert again.estimate.photon_energy_ev == whole.estimate.photon_energy_ev
    assert again.drift == whole.drift


@pytest.mark.parametrize("n", [128, 129, 1000])
def test_a_run_of_unknown_length_is_kept_in_blocks(estimator, make, n):
    """Frames far apart join the same few blocks in whatever order they come."""
    step, made = n // 40, make(40, 6000.0, 0.15, 2e4, 300.0)
    frames = [(step * number, *rest) for number, *rest in made]
    one, other = added(estimator, frames), added(estimator, frames[::-1])
    table = one.to_array()
    assert np.array_equal(table, other.to_array())
    assert len(table) <= 40
    assert table[0, 0] == 2 ** max(0, np.ceil(np.log2((frames[-1][0] + 1) / 128)))
    early, late = added(estimator, frames[:3]), added(estimator, frames[3:])
    early.merge(late)
    assert np.array_equal(table, early.to_array())
    result = one.result(estimator, n)
    assert result.n_frames == 40
    assert result.drift.energy_change_ev == pytest.approx(
        added(estimator, make(40, 6000.0, 0.15, 2e4, 300.0))
        .result(estimator, 40)
        .drift.energy_change_ev,
        rel=0.1,
    )


def test_frames_that_are_not_water_are_left_out(estimator, make):
    frames = make(10, 6000.0, 0.15, 5000)
    bad = [(i, s, dataclasses.replace(e, flag="not-water")) for i, s, e in frames[:4]]
    assert added(estimator, bad + frames[4:]).result(estimator).n_frames == 6


def test_a_run_of_nothing_says_so(estimator):
    result = RunSums.of(estimator).result(estimator)
    assert result.n_frames == 0
    assert result.estimate.flag == "few-photons"
    assert not result.drift.drifts


def test_a_known_energy_leaves_the_length_to_drift(coarse_geometry, draw):
    known = GeometryEstimator(coarse_geometry, photon_energy_ev=6000.0)
    rng = np.random.default_rng(3)
    run = RunSums.of(known)
    for i in range(60):
        sums = draw(rng, 6000.0, 0.15 + 0.01 * i / 60, 8000)
        run.add(i, sums, known.estimate_sums(sums))
    drift = run.result(known).drift
    assert drift.drifts
    assert drift.length_change_m == pytest.approx(0.01 * 11 / 16, rel=0.3)
    assert drift.parts_freedom == 15


def test_wrong_runs_are_refused(estimator, make):
    run = RunSums.of(estimator)
    frame = make(1, 6000.0, 0.15, 5000)[0]
    with pytest.raises(ValueError, match="negative"):
        run.add(-1, *frame[1:])
    with pytest.raises(ValueError, match="different detectors"):
        run.merge(RunSums(3))
    with pytest.raises(ValueError, match="table"):
        RunSums.from_array(estimator.bins.n_rings, np.zeros((2, 5)))
    with pytest.raises(ValueError, match="needs rings"):
        RunSums(0)
    with pytest.raises(ValueError, match="another detector"):
        RunSums(3).result(estimator)
