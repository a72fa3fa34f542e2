"""Photon energy and camera length while a run goes on."""

import numpy as np
import pytest

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.run import RunSums
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.live.beam import BeamWatch
from hitfinder.job.live.work import LiveChunk
from hitfinder.results.chunk import ChunkResult
from hitfinder.results.totals import Totals

N, WINDOW = 10, 100
"""Frames of a chunk and of the window."""


@pytest.fixture(scope="module")
def geometry():
    panel = Panel("p0", 0, 0, 520, 540, -255.0, -276.5, pixel_size_m=3e-4)
    return Geometry(Detector("coarse", (540, 520), (panel,)), 0.15, 6000.0)


@pytest.fixture(scope="module")
def feed(geometry):
    """Give chunks of frames of the estimator's own model to a watch."""
    estimator = GeometryEstimator(geometry)
    exposure = estimator.bins.exposure

    def feed(watch, energies, length=0.15, first=0):
        rng, one = np.random.default_rng(first), None
        for begin in range(0, len(energies), N):
            sums = RunSums.of(estimator)
            for k, energy in enumerate(energies[begin : begin + N]):
                model = estimator.model.per_pixel(energy, length) * exposure
                counts = rng.poisson(model * (3e3 / model.sum())).astype(float)
                frame = BinSums(counts, exposure)
                # What single frames say by themselves does not matter here.
                one = one or estimator.estimate_sums(frame)
                sums.add(first + begin + k, frame, one)
            result = ChunkResult(totals=Totals(geometry=sums))
            numbers = range(first + begin, first + begin + N)
            chunk = LiveChunk(numbers[0], numbers[-1] + 1, dict.fromkeys(numbers, ""), {})
            watch.take(chunk, result, geometry)

    return feed


def test_a_drift_is_told_in_words_and_one_that_went_by_is_remembered(geometry, feed, caplog):
    watch = BeamWatch(geometry, {}, WINDOW)
    assert watch.told()["energy"] == {"set_ev": 6000.0, "run": None, "start": None, "recent": None}
    steady = np.full(WINDOW, 6000.0)
    feed(watch, steady)
    watch.look()
    told = watch.told()
    for when in ("run", "start", "recent"):
        one = told["energy"][when]
        assert (one["flag"], one["frames"]) == ("ok", WINDOW)
        assert abs(one["ev"] - 6000) < 4 * one["sigma_ev"]
        assert abs(told["camera_length"][when]["m"] - 0.15) < 0.01
    # What is compared with the start must not be the start.
    assert told["drift"]["p"] is None
    feed(watch, steady, first=WINDOW)
    watch.look()
    assert watch.told()["drift"]["p"] > 1e-4
    assert not watch.told()["drift"]["drifts"]
    assert watch.told()["drift"]["words"] == watch.told()["drift"]["against_set"] == []
    feed(watch, 1.1 * steady, first=2 * WINDOW)
    watch.look()
    drift = watch.told()["drift"]
    assert drift["drifts"]
    assert drift["first_seen_at_frame"] == 3 * WINDOW
    assert abs(drift["energy_change_ev"] - 600) < 4 * drift["energy_change_sigma_ev"]
    assert "since the start of the run" in drift["words"][0]
    assert drift["words"][0] in caplog.text
    assert watch.told()["energy"]["run"]["frames"] == 3 * WINDOW
    feed(watch, steady, first=3 * WINDOW)
    watch.look()
    drift = watch.told()["drift"]
    assert not drift["drifts"]
    assert drift["first_seen_at_frame"] == 3 * WINDOW


def test_values_that_were_set_wrong_are_told(geometry, feed):
    watch = BeamWatch(geometry, {"photon_energy_ev": "the header"}, WINDOW)
    with watch:
        feed(watch, np.full(5 * WINDOW, 7500.0))
    (said,) = watch.told()["drift"]["against_set"]
    assert said.startswith("the water says photon energy")
    assert said.endswith("6000 eV was used (the header)")
    assert watch.line()["photon_energy_ev"] == watch.told()["energy"]["recent"]["ev"]


def test_no_water_tells_nothing(geometry):
    watch = BeamWatch(geometry, {}, WINDOW)
    watch.take(LiveChunk(0, 1, {0: ""}, {}), ChunkResult(), geometry)
    watch.look()
    assert watch.told()["energy"]["recent"] is None
