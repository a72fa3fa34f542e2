"""Reflections of indexed frames: measured, written, and read by CrystFEL's programs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

import hitfinder as hf
from hitfinder.crystal.orientation import from_columns
from hitfinder.crystal.tables import write_mtz
from hitfinder.errors import ConfigError
from hitfinder.job.indexing import integrate, pixels
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.presets import load_settings
from waiting import LONGEST_S

CELL, GROUP = (60, 60, 90), "P 43 21 2"
CRYSTFEL = Path(shutil.which("process_hkl") or "/opt/crystfel/bin/process_hkl").parent
LIBRARIES = ":".join(map(str, (CRYSTFEL.parent / "lib").glob("*")))
ENVIRONMENT = os.environ | {"LD_LIBRARY_PATH": LIBRARIES}
N = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over weak frames of a crystal, on a detector of two panels."""
    folder = tmp_path_factory.mktemp("integrated")
    settings = {
        "seed": 6,
        "bragg_scale": 0.3,
        "background.shots": 1,
        "detector.name": "eiger2-x-1m",
        "detector.camera_length_m": 0.1,
        "crystal.structure": "random",
        "crystal.cell": "60,60,90",
        "crystal.space_group": GROUP,
        "crystal.d_min_a": 3.0,
    }
    given = load_settings(preset="report", overrides=settings)
    write_mtz(folder / "crystal.mtz", structure_factors(given))
    hf.simulate(folder / "sim", N, settings=given, workers=1)
    frames = folder / "sim" / "frames_master.h5"
    return hf.run(frames, folder / "run", workers=1, estimate=False)


@pytest.fixture(scope="module")
def found(run):
    return hf.index(run, CELL, space_group=GROUP, csv=True)


def chunks(stream):
    return stream.read_text().split("----- Begin chunk -----\n")[1:]


def test_reflections_are_a_table_of_the_run(run, found):
    table = found.reflections
    assert table.num_rows == found.n_reflections > 20
    assert table.equals(run.reflections)
    assert (run.folder / "reflections.csv").is_file()
    assert pc.unique(table["frame"]).to_pylist() == list(range(N))
    assert np.isfinite(table["intensity"].to_numpy()).all()
    assert (table["sigma"].to_numpy() > 0).all()
    assert np.isnan(table["expected"].to_numpy()).all()
    # Reflections are where the crystal's axes put them.
    row = run.crystals.slice(0, 1).to_pylist()[0]
    first = table.filter(pc.equal(table["frame"], row["frame"])).to_pylist()
    q = np.array([[one[n] for n in "hkl"] for one in first]) @ from_columns(row).T
    assert 1 / np.linalg.norm(q, axis=1) == pytest.approx([one["resolution_a"] for one in first])
    told = json.loads((run.folder / "indexed.json").read_text())["intensities"]
    assert told["reflections"] == table.num_rows
    assert told["frames"] == N
    # Spots are a fraction of a pixel wide, and are predicted to a fraction of a pixel.
    assert told["spread_px"] <= 0.6


def test_bright_peaks_are_found_again_as_reflections(run, found):
    peaks, table = run.peaks, found.reflections
    near = 0
    bright = [p for p in peaks.to_pylist() if p["photons"] > 60]
    rows = table.to_pylist()
    for peak in bright:
        close = [
            r
            for r in rows
            if r["frame"] == peak["frame"]
            and np.hypot(r["fs"] - peak["fs"], r["ss"] - peak["ss"]) < 1.5
        ]
        near += any(abs(r["intensity"] / peak["photons"] - 1) < 0.15 for r in close)
    assert len(bright) > 5
    assert near >= 0.8 * len(bright)


def test_the_stream_holds_the_same(run, found):
    parts = chunks(found.stream)
    assert len(parts) == N
    table = found.reflections
    for number, part in enumerate(parts):
        assert f"Image filename: {(run.folder / 'hits.cxi').resolve()}\nEvent: //{number}\n" in part
        lines = part.split("panel\n")[1].split("\nEnd of reflections")[0].splitlines()
        rows = table.filter(pc.equal(table["frame"], number)).to_pylist()
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            words = line.split()
            assert [int(w) for w in words[:3]] == [row[n] for n in "hkl"]
            factor = row["polarisation"] / row["weight"]
            assert float(words[3]) == pytest.approx(row["intensity"] * factor, rel=1e-4)
            assert float(words[4]) == pytest.approx(row["sigma"] * factor, rel=1e-4)
            assert float(words[7]) == pytest.approx(row["fs"], abs=0.06)
            assert words[9] == row["panel"]
    geom = (run.folder / "hits.geom").read_text()
    assert geom.strip() in found.stream.read_text()
    assert {row["panel"] for row in table.to_pylist()} == {p.name for p in run.geometry.detector}


@pytest.mark.skipif(not (CRYSTFEL / "process_hkl").exists(), reason="needs CrystFEL")
@pytest.mark.parametrize("model", ["", "unity", "xsphere"])
def test_crystfel_merges_the_stream(found, tmp_path, model):
    merged = tmp_path / "merged.hkl"
    command = [CRYSTFEL / "process_hkl", "--min-measurements=1"]
    if model:
        command = [
            CRYSTFEL / "partialator", f"--model={model}", "--iterations=1", "--min-measurements=1",
            "--no-logs",
        ]  # fmt: skip
    done = subprocess.run(
        [*command, "-i", found.stream, "-o", merged, "-y", "4/mmm"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_S, check=False,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = merged.read_text().split("nmeas\n")[1].split("End of reflections")[0].splitlines()
    assert len(lines) > 15
    if model == "":
        measured = sum(int(line.split()[-1]) for line in lines)
        assert measured == found.n_reflections


def test_the_report_tells_of_intensities(run, found):
    page = run.report.read_text(encoding="utf-8")
    assert page.count('<section id="intensities">') == 1
    assert f"Reflections of {N} frames" in page
    assert "completeness in every shell" in page
    assert "the slope is a B factor of" in page


def test_intensities_can_be_left_off(run, found):
    shutil.copytree(run.folder, run.folder.parent / "other", dirs_exist_ok=True)
    other = run.folder.parent / "other"
    again = hf.index(other, CELL, space_group=GROUP, overwrite=True, intensities=False)
    assert again.n_reflections == 0
    assert not again.stream.exists()
    assert '<section id="intensities">' not in (other / "report.html").read_text(encoding="utf-8")
    with pytest.raises(hf.HitfinderError, match="no reflections were measured"):
        _ = again.reflections


@pytest.mark.slow
def test_with_a_structure_what_is_expected_is_told(run, found, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)
    monkeypatch.setattr(pixels, "CHANCE_FRAMES", 5)
    structure = run.folder.parent / "crystal.mtz"
    again = hf.index(folder, structure=structure, overwrite=True, frames="hits", workers=1)
    table = again.reflections
    expected, intensity = (table[n].to_numpy() for n in ("expected", "intensity"))
    known = np.isfinite(expected)
    assert known.mean() > 0.8
    frames = table["frame"].to_numpy()
    alike = [
        np.corrcoef(expected[known & (frames == frame)], intensity[known & (frames == frame)])[0, 1]
        for frame in np.unique(frames)
    ]
    assert np.median(alike) > 0.95


def test_frames_that_are_gone_cost_the_intensities_alone(run, found, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)

    def gone(_):
        raise ConfigError("the inputs are gone", "frames.h5")

    monkeypatch.setattr(integrate, "frames_of", gone)
    again = hf.index(folder, CELL, space_group=GROUP, overwrite=True)
    assert again.n_indexed == N
    assert again.n_reflections == 0
    assert "no intensities are measured: frames.h5: the inputs are gone" in caplog.text
    monkeypatch.undo()
    again = hf.index(folder, CELL, space_group=GROUP, overwrite=True, bandwidth=0)
    assert "that takes the bandwidth of the beam" in caplog.text
    assert again.n_reflections == 0


def test_a_width_is_sought_between_those_tried():
    tried = integrate.SPREADS_PX
    logs = np.log(tried)
    for right in (0.12, 0.3, 0.5):
        evidence = -7 * (logs - np.log(right)) ** 2
        assert integrate.likeliest(tried, evidence) == pytest.approx(right)
    assert integrate.likeliest(tried, -logs) == tried[0]
    assert integrate.likeliest(tried, logs) == tried[-1]


def test_what_comes_after_a_maximum_is_not_worked_out():
    """Of mosaicities: wide ones make thousands of reflections overlap."""
    values = iter([3.0, 2.0, 5.0, 7.0, 6.0, 4.0, 9.0, 8.0])
    assert integrate.until_they_fall(values, 8) == [3, 2, 5, 7, 6, 4, -np.inf, -np.inf]
    assert next(values) == 9
    assert integrate.until_they_fall([1.0, 2.0], 2) == [1, 2]
