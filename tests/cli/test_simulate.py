"""`hitfinder simulate` as it is run."""

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitfinder.cli.main import main
from hitfinder.crystal.orientation import COLUMNS
from hitfinder.simulation.presets import PRESETS, load_settings

SMALL = ("--detector", "eiger2-x-500k", "--structure", "random", "--cell", "80,80,100",
         "--space-group", "P 43 21 2", "--set", "crystal.d_min_a=4", "-j", "1")  # fmt: skip


def run(capsys, *arguments):
    """Exit code, standard output and standard error of a command in this process."""
    with pytest.raises(SystemExit) as stop:
        main(["simulate", *map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


def shots(folder):
    return pq.read_table(folder / "shots.parquet").to_pydict()


def test_options_reach_the_frames(capsys, tmp_path):
    code, out, _ = run(
        capsys, *SMALL, "--out", tmp_path / "s", "--n", 3, "--flux", "1e9..2e9", "--seed", 4,
        "--photon-energy-ev", 7000, "--camera-length-m", 0.2, "--bandwidth", 0.005,
        "--crystal-size-um", 4, "--water-um", 3, "--background-shots", 2, "--bragg-scale", 0.5,
        "--blank-fraction", 0.5, "--mosaicity-deg", 0.01, "--set", "beam.divergence_mrad=0.1",
        "--set", "beam.profile=gaussian",
    )  # fmt: skip
    assert code == 0
    assert out == f"3 frames: {tmp_path / 's' / 'frames_master.h5'}\n"
    table = shots(tmp_path / "s")
    for name, value in {
        "photon_energy_ev": 7000, "camera_length_m": 0.2, "bandwidth": 0.005, "water_um": 3,
        "shots": 2, "bragg_scale": 0.5, "divergence_mrad": 0.1,
    }.items():  # fmt: skip
        assert table[name] == [value] * 3
    assert all(1e9 <= flux <= 2e9 for flux in table["flux"])
    assert len(set(table["flux"])) == 3
    written = load_settings(tmp_path / "s" / "settings.toml")
    assert (written.seed, written.blank_fraction, written.beam.profile) == (4, 0.5, "gaussian")


def test_config_file_then_options(capsys, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('preset = "integrated"\nseed = 9\n[background]\nwater_um = 4\n')
    code, out, _ = run(capsys, "--config", config, "--water-um", "7", "--show-settings")
    assert code == 0
    (tmp_path / "shown.toml").write_text(out)
    shown = load_settings(tmp_path / "shown.toml")
    assert (shown.seed, shown.background.water_um.nominal) == (9, 7)
    assert shown.background.shots.nominal == 2000


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(capsys, preset, tmp_path):
    code, out, _ = run(capsys, "--preset", preset, "--show-settings")
    (tmp_path / "shown.toml").write_text(out)
    assert code == 0
    assert load_settings(tmp_path / "shown.toml") == load_settings(preset=preset)


def test_a_frame_for_each_orientation(capsys, tmp_path):
    axes = [np.eye(3) * 1e8, np.diag([1.1e8, 1e8, 0.9e8])]
    path = tmp_path / "o.csv"
    lines = [",".join(f"{v:.4e}" for v in a.T.ravel()) for a in axes]
    path.write_text(",".join(COLUMNS) + "\n" + "\n".join(lines))
    code, out, _ = run(
        capsys, *SMALL, "--orientations", path, "--out", tmp_path / "s", "--no-noise"
    )
    assert (code, out.split()[0]) == (0, "2")
    assert shots(tmp_path / "s")["astar_x"] == pytest.approx([1e8, 1.1e8])
    with h5py.File(tmp_path / "s" / "frames_master.h5") as file:
        assert file["entry/data/data"].dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--flux", "-1"), ("flux", "-1")),
        (("--camera-length-m", "0"), ("camera_length_m", "0")),
        (("--bandwidth", "2"), ("bandwidth", "2")),
        (("--photon-energy-ev", "fast"), ("photon_energy_ev", "fast")),
        (("--water-um", "normal:5"), ("water_um", "normal:5")),
        (("--space-group", "P 9"), ("P 9",)),
        (("--cell", "10,10,10,60,60,120"), ("volume",)),
        (("--cell", "0,1,1"), ("edges", "0")),
        (("--structure", "missing.pdb"), ("missing.pdb", "no such file")),
        (("--structure", "bad.pdb"), ("bad.pdb", "no unit cell")),
        (("--structure", "bad.mtz"), ("bad.mtz", "MTZ")),
        (("--detector", "eigr"), ("eigr",)),
        (("--spectrum", "rainbow"), ("rainbow",)),
        (("--preset", "none"), ("none", "single-shot")),
        (("--config", "missing.toml"), ("missing.toml",)),
        (("--orientations", "missing.csv"), ("missing.csv",)),
        (("--set", "beam.colour=3"), ("beam.colour",)),
        (("--set", "flux"), ("flux", "KEY=VALUE")),
        (("--set", "crystal.shape=\"sphere\""), ("sphere", "gaussian")),
        (("--set", "background.air_m=3"), ("air",)),
        (("--seed", "-1"), ("seed", "-1")),
        (("--blank-fraction", "2"), ("blank_fraction", "2")),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pdb").write_text(
        "ATOM      1  CA  GLY A   1       2.000   3.000   4.000  1.00 10.00           C\nEND\n"
    )
    (tmp_path / "bad.mtz").write_text("nothing")
    code, out, errors = run(capsys, *SMALL, "--out", "s", "--n", 1, *arguments)
    assert code == 2
    assert out == ""
    lines = [line for line in errors.splitlines() if not line.startswith("beam.photon")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
    left = list((tmp_path / "s").iterdir()) if (tmp_path / "s").exists() else []
    assert left == []


def test_a_cell_that_is_not_the_structures_is_warned_of(hitfinder, tmp_path):
    done = hitfinder(
        "simulate", "--detector", "eiger2-x-500k", "--cell", "58.3,58.3,63.6", "--n", 1,
        "--out", tmp_path / "s", "-j", 1,
    )  # fmt: skip
    assert done.returncode == 0
    (warning,) = [line for line in done.stderr.splitlines() if "warning" in line]
    assert "58.3 58.3 63.6" in warning
    assert "67.288 67.288 106.582" in warning


def test_out_is_needed(capsys):
    code, _, errors = run(capsys, "--n", 1)
    assert code == 2
    assert "--out" in errors


def test_a_small_molecule_is_simulated(capsys, tmp_path):
    path = Path(__file__).parents[1] / "crystal" / "data" / "small.cif"
    code, _, err = run(
        capsys, "--structure", path, "--out", tmp_path / "s", "--n", 6, "-j", "1", "--preset",
        "report", "--detector", "eiger2-x-500k", "--bandwidth", "0.1", "--camera-length-m", "0.05",
    )  # fmt: skip
    assert (code, err) == (0, "")
    truth = pq.read_table(tmp_path / "s" / "truth.parquet").to_pydict()
    assert len(truth["h"]) >= 3
    for h, k, el, d in zip(truth["h"], truth["k"], truth["l"], truth["d_a"], strict=True):
        inverse = (h * h + k * k) / 9.5**2 + el * el / 12.1**2
        assert 1 / d**2 == pytest.approx(inverse, rel=1e-6)


def test_what_is_done_with_an_odd_structure_is_told(capsys, tmp_path):
    atom = "{}      2.000   3.000   4.000  1.00 10.00          {}\n"
    lines = (
        atom.format("ATOM      1  CA  GLY A   1 ", " C"),
        atom.format("HETATM    2  UNK UNX A   2 ", " X"),
    )
    path = tmp_path / "odd.pdb"
    path.write_text("CRYST1   61.000   65.000   69.000  90.00  90.00  90.00 P 1\n" + "".join(lines))
    code, _, err = run(
        capsys, "--structure", path, "--out", tmp_path / "s", "--n", 1, "-j", "1",
        "--detector", "eiger2-x-500k", "--set", "crystal.d_min_a=5",
    )  # fmt: skip
    assert code == 0
    assert "1 atom is of no known element (A/UNX 2/UNK): taken as oxygen" in err


@pytest.mark.parametrize(
    ("end", "told"),
    [("\n", "cut.hkl: is cut short"), ("\n  12  7", "cut.hkl, line 3: bad reflection")],
)
def test_a_list_of_reflections_that_is_cut_short_is_refused(end, told, capsys, tmp_path):
    cut = tmp_path / "cut.hkl"
    whole = "Symmetry: 4/mmm\n   0    0    4     100.50        -       1.00       1"
    cut.write_text(whole + end)
    code, _, err = run(
        capsys, "--structure", cut, "--cell", "68,68,108", "--out", tmp_path / "t", "--n", 1
    )
    assert code == 2
    assert told in err
    assert not (tmp_path / "t").exists()
