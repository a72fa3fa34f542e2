"""Simulators as sequences, and `hitfinder.simulate`, from Python as from the command line."""

import numpy as np
import pytest

import hitfinder as hf

SMALL = {"detector": "eiger2-x-500k", "structure": "random", "cell": "60,60,90"}
SMALL |= {"space_group": "P 43 21 2", "d_min_a": 4.0, "seed": 3}


@pytest.fixture(scope="module")
def simulator():
    return hf.Simulator.preset("single-shot", n=3, flux="1e10..3e10", **SMALL)


def test_a_simulator_is_a_sequence(simulator):
    assert len(simulator) == 3
    frame, truth = simulator[1]
    assert frame.shape == simulator.shape == (512, 1028)
    assert frame.sum() >= truth["counts"].sum() > 0
    listed = list(simulator)
    assert len(listed) == 3
    for index in (1, -2, np.int64(1)):
        np.testing.assert_array_equal(simulator[index][0], listed[1][0])
    assert simulator.frame(7).counts.shape == (512, 1028)
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"frame {index} of 3"):
            simulator[index]


def test_settings_are_known_by_their_last_name():
    simulator = hf.Simulator.preset(
        flux=1e9, crystal_size_um=5, background_shots=100, **SMALL | {"cell": (60, 60, 80)}
    )
    shot = simulator.shot(0)
    assert (shot.flux, shot.shots, shot.crystals[0].size_um) == (1e9, 100, 5)
    assert len(simulator) == 100


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated")
    return hf.simulate(out, 3, preset="single-shot", flux="1e10..3e10", workers=1, **SMALL)


def test_files_hold_what_the_simulator_makes(simulation, simulator):
    assert simulation.n_frames == 3
    with hf.open(simulation) as frames:
        np.testing.assert_array_equal(frames[1], simulator[1][0])
    truth = simulation.truth
    rows = truth.filter(np.asarray(truth["frame"]) == 1)
    np.testing.assert_array_equal(rows["fs"], simulator[1][1]["fs"])
    assert simulation.shots.num_rows == simulation.crystals.num_rows == 3
    assert hf.read_geom(simulation.geometry_file).geometry().shape == (512, 1028)
    again = hf.Simulation(simulation.folder)
    assert again.master == simulation.master


def test_a_run_is_compared_with_the_truth(simulation, tmp_path):
    run = hf.run(simulation, tmp_path / "run", workers=1, estimate=False)
    judged = hf.compare(run.peaks, simulation.truth, min_photons=8)
    assert judged.recall > 0.9
    assert judged.precision > 0.95
    assert judged.position_error_px < 0.5
    assert judged.n_true == np.sum(np.asarray(simulation.truth["photons"]) >= 8)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"preset": "singel-shot"}, hf.ConfigError, "unknown preset 'singel-shot'"),
        ({"flx": 1e8}, hf.ConfigError, "unknown setting 'flx'. Did you mean 'flux'"),
        ({"zzz": 3}, hf.ConfigError, "unknown setting 'zzz'. `hitfinder simulate --show"),
        ({"flux": "bright"}, hf.ConfigError, "'bright' is not a number, LOW..HIGH"),
        ({"flux": -1}, hf.ConfigError, "flux must be"),
        ({"n": 0}, hf.ConfigError, "the number of frames must be at least 1, got 0"),
        ({"workers": 0}, ValueError, "workers"),
        ({"detector": "eigr2-x-4m"}, hf.GeometryError, "no detector is called 'eigr2-x-4m'"),
        ({"structure": "no.pdb"}, hf.HitfinderError, "no.pdb"),
        ({"settings": "no.toml"}, hf.ConfigError, "no.toml: No such file"),
        ({"settings": hf.SimulationSettings()}, hf.ConfigError, "given in full"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        hf.simulate(tmp_path / "out", **{"n": 1, **SMALL, **changes})
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_simulation_is_refused(tmp_path):
    with pytest.raises(hf.ConfigError, match="holds no simulation"):
        hf.Simulation(tmp_path)
