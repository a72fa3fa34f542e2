"""Outputs: ours keep the contract, and those of others are written, refused and told."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet
import pytest

import hitfinder as hf
from hitfinder.atomic import replacing
from hitfinder.contracts import BrokenContractError
from hitfinder.errors import ConfigError, OutputError
from hitfinder.executors.inline import Inline
from hitfinder.job.outputs.checking import check_output
from hitfinder.job.outputs.crystfel import CxiOutput
from hitfinder.job.outputs.page import ReportOutput
from hitfinder.job.outputs.registry import make_outputs
from hitfinder.job.outputs.tables import ListOutput, TablesOutput
from hitfinder.job.settings import OutputSettings
from waiting import LONGEST_S

CRYSTFEL = Path(shutil.which("indexamajig") or "/opt/crystfel/bin/indexamajig")
LIBRARIES = ":".join(map(str, (CRYSTFEL.parent.parent / "lib").glob("*")))
GEOMETRY = hf.Geometry.flat((96, 100), 75e-6, camera_length_m=0.05, photon_energy_ev=6000)


class Numbers:
    """The numbers of the hits and of their peaks."""

    files = ("numbers.json",)

    def __init__(self, settings):
        pass

    def write(self, found, folder):
        numbers = {hit.frame: len(hit.peaks) for hit in found.hits()}
        with replacing(folder / self.files[0]) as part:
            part.write_text(json.dumps(numbers))


class Broken(Numbers):
    broken = True

    def write(self, found, folder):
        if self.broken:
            raise ZeroDivisionError("no")
        super().write(found, folder)


def changed(**attributes):
    return type("Changed", (Numbers,), attributes)


@pytest.fixture(autouse=True)
def module(monkeypatch):
    monkeypatch.setitem(sys.modules, "outputs_of_others", sys.modules[__name__])


@pytest.fixture
def frames():
    rng = np.random.default_rng(1)
    frames = rng.poisson(0.05, (20, 96, 100)).astype(np.uint16)
    for frame in frames[::2]:
        frame[rng.integers(5, 90, 6), rng.integers(5, 90, 6)] += 30
    return frames


def search(frames, out, *outputs, **options):
    options = {"show": quiet, "executor": Inline(), **options}
    beside = {"geometry": GEOMETRY, "finder": "likelihood"} | options
    return hf.run(frames, out, outputs=outputs or None, **beside)


def quiet(what, total):
    return nullcontext(lambda n, note="": None)


@pytest.mark.parametrize("build", [TablesOutput, ListOutput, CxiOutput, ReportOutput, Numbers])
def test_sound_outputs_keep_the_contract(build):
    check_output(build)


def test_settings_of_outputs_keep_the_contract():
    settings = OutputSettings(csv=True, copy_frames=True, gallery=0)
    for build in (TablesOutput, CxiOutput, ReportOutput):
        check_output(build, settings)


def test_doubtful_peaks_are_kept_from_crystfel_unless_asked_for(tmp_path):
    rng = np.random.default_rng(2)
    frames = rng.poisson(0.05, (6, 96, 100)).astype(np.uint16)
    for frame in frames:
        frame[rng.integers(5, 90, 5), rng.integers(5, 90, 5)] += 30
        frame[rng.integers(5, 90, 12), rng.integers(5, 90, 12)] += 2
    for every in (False, True):
        done = search(
            frames, tmp_path / str(every), finder="network", peak_probability=0.01,
            all_peaks=every, estimate=False,
        )  # fmt: skip
        hits = np.flatnonzero(done.frames["hit"].to_numpy(zero_copy_only=False))
        frame, p = (done.peaks[name].to_numpy() for name in ("frame", "probability"))
        sure = p >= 0.5
        assert (~sure).sum() > 0
        assert sure.sum() >= 20
        wanted = frame if every else frame[sure]
        with h5py.File(done.folder / "hits.cxi") as cxi:
            n_peaks = cxi["entry_1/result_1/nPeaks"][()].tolist()
            probability = cxi["entry_1/result_1/peakProbability"][()]
        assert n_peaks == [int((wanted == hit).sum()) for hit in hits]
        assert (probability[probability > 0] >= 0.5).all() != every


def leave_out_pending(self, found, folder):
    if found.n_frames is None:
        raise TypeError("how many frames are there?")
    Numbers.write(self, found, folder)


def need_a_hit(self, found, folder):
    next(found.hits())
    Numbers.write(self, found, folder)


def only_once(self, found, folder):
    with open(folder / "numbers.json", "x"):
        pass


def elsewhere(self, found, folder):
    Numbers.write(self, found, folder)
    (folder / "more.txt").touch()


def unguarded(self, found, folder):
    (folder / "numbers.json").write_text("{}")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda settings: 1 / 0, "building the output raises ZeroDivisionError"),
        (lambda settings: 3, "an output has files and write"),
        (changed(files=["numbers.json"]), "files must be a tuple of names"),
        (changed(files=("a/numbers.json",)), "files must be a tuple of names"),
        (changed(files=("a.txt", "a.txt")), "files must name each file once"),
        (changed(files=("numbers.json", "b.txt")), r"there is no b\.txt"),
        (changed(write=elsewhere), r"more\.txt is not among its files"),
        (changed(write=leave_out_pending), "nobody knows how many frames raises TypeError"),
        (changed(write=need_a_hit), "a run without hits raises StopIteration"),
        (changed(write=only_once), "a run once more, over its files raises FileExistsError"),
        (changed(write=unguarded), "a folder that is none raises NotADirectoryError"),
    ],
)
def test_broken_outputs_are_told(broken, message):
    with pytest.raises(BrokenContractError, match=message):
        check_output(broken)


def test_an_output_of_others_is_written_beside_the_usual(frames, tmp_path):
    run = search(frames, tmp_path / "out", "usual", Numbers)
    numbers = json.loads((tmp_path / "out/numbers.json").read_text())
    assert list(numbers) == [str(i) for i in range(0, 20, 2)]
    assert sum(numbers.values()) == run.summary.peaks
    assert run.report.exists()
    told = json.loads((tmp_path / "out/run.json").read_text())
    assert told["files"][-1] == "numbers.json"
    assert told["settings"]["output.outputs"] == ["usual", f"{__name__}:Numbers"]


def test_what_is_not_asked_for_is_not_written(frames, tmp_path):
    search(frames, tmp_path / "out", "lst")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"frames.parquet", "peaks.parquet", "totals.npz", "hits.lst", "run.json"}
    listed = (tmp_path / "out/hits.lst").read_text().splitlines()
    assert listed == [f"array //{i}" for i in range(0, 20, 2)]


@pytest.fixture
def listed(frames, tmp_path, monkeypatch):
    """The list of a run over a file that was named from the folder it was started in."""
    (tmp_path / "day").mkdir()
    monkeypatch.chdir(tmp_path / "day")
    with h5py.File("frames.h5", "w") as file:
        file["entry/data/data"] = frames
    done = search("frames.h5", "run", "lst")
    assert done.inputs == ["frames.h5"]
    monkeypatch.chdir(tmp_path)
    return tmp_path / "day" / "run" / "hits.lst"


def test_the_list_of_hits_is_read_from_any_folder(frames, listed):
    with hf.open("day/run/hits.lst") as hits:
        assert len(hits) == 10
        np.testing.assert_array_equal(hits[3], frames[6])
    assert listed.read_text().split()[0] == str(listed.parents[1] / "frames.h5")


@pytest.mark.skipif(not CRYSTFEL.exists(), reason="needs CrystFEL")
def test_crystfel_reads_the_list_of_hits_from_any_folder(listed):
    Path("own.geom").write_text(
        "photon_energy = 6000 eV\nclen = 0.05 m\nres = 13333\nadu_per_photon = 1\n"
        "data = /entry/data/data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
        "p/min_fs = 0\np/max_fs = 99\np/min_ss = 0\np/max_ss = 95\n"
        "p/corner_x = -50\np/corner_y = -48\np/fs = x\np/ss = y\n"
    )
    command = [
        CRYSTFEL, "-i", listed, "-g", "own.geom", "--peaks=zaef", "--indexing=none",
        "-o", "out.stream", "-j", "1",
    ]  # fmt: skip
    environment = os.environ | {"LD_LIBRARY_PATH": LIBRARIES}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=LONGEST_S
    )
    assert done.returncode == 0, done.stderr
    stream = Path("out.stream").read_text()
    assert re.findall(r"^Event: //(\d+)$", stream, re.MULTILINE) == [
        str(i) for i in range(0, 20, 2)
    ]


def test_files_of_a_run_before_are_no_more(frames, tmp_path):
    search(frames, tmp_path / "out", "usual", Numbers)
    (tmp_path / "out/mine.txt").touch()
    search(frames, tmp_path / "out", "tables", overwrite=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"frames.parquet", "peaks.parquet", "totals.npz", "run.json", "mine.txt"}


def test_a_file_of_an_output_that_fails_is_not_that_of_a_run_before(frames, tmp_path):
    """Though no run.json tells whose it is, as after a run that was killed."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/numbers.json").write_text("of a run before")
    with pytest.raises(OutputError, match="Broken' of a module of your own fails"):
        search(frames, tmp_path / "out", "tables", Broken, overwrite=True)
    assert not (tmp_path / "out/numbers.json").exists()


def test_a_forged_list_of_files_deletes_nothing_elsewhere(frames, tmp_path):
    (tmp_path / "precious.txt").touch()
    search(frames, tmp_path / "out", "tables")
    told = json.loads((tmp_path / "out/run.json").read_text())
    told["files"] = ["../precious.txt", str(tmp_path / "precious.txt"), 3, ""]
    (tmp_path / "out/run.json").write_text(json.dumps(told))
    search(frames, tmp_path / "out", "tables", overwrite=True)
    assert (tmp_path / "precious.txt").exists()


def test_an_output_that_fails_costs_nothing_that_was_found(frames, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"Broken' of a module of your own fails .ZeroDiv.*--res"):
        search(frames, tmp_path / "out", "usual", Broken)
    assert not (tmp_path / "out/run.json").exists()
    assert (tmp_path / "out/report.html").exists()
    monkeypatch.setattr(Broken, "broken", False)
    run = search(frames, tmp_path / "out", "usual", Broken, resume=True)
    assert run.summary.complete
    assert len(json.loads((tmp_path / "out/numbers.json").read_text())) == 10
    assert not (tmp_path / "out/.parts").exists()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (("tabels",), "no output is called 'tabels'. Did you mean 'tables'"),
        (("outputs_of_others:Nothing",), "cannot be imported"),
        (("outputs_of_others:GEOMETRY",), "cannot be built"),
        (("outputs_of_others:Numbers", "outputs_of_others:Broken"), "both write numbers.json"),
    ],
)
def test_outputs_are_refused_before_anything_is_done(frames, tmp_path, outputs, message):
    with pytest.raises(ConfigError, match=message):
        search(frames, tmp_path / "out", *outputs)
    assert not (tmp_path / "out").exists()


def test_an_output_must_name_its_files():
    for files in (["a.txt"], ("../a.txt",), (".hidden",), ("run.json",)):
        sys.modules["outputs_of_others"].Odd = changed(files=files)
        with pytest.raises(ConfigError, match=r"names of files|both write run\.json"):
            make_outputs(OutputSettings(("outputs_of_others:Odd",)))


def test_names_stand_for_what_they_say():
    usual = ("tables", "lst", "cxi", "report")
    assert OutputSettings().names == usual
    assert OutputSettings(("mine:Output",)).names == ("tables", "mine:Output")
    assert OutputSettings(("report", "usual", "report")).names == ("tables", "report", "lst", "cxi")
    assert list(hf.outputs())[:4] == list(usual)
    assert dataclasses.replace(OutputSettings(), outputs=()).names == ("tables",)


def stopping(what, total):
    """Stop the run once some frames are done."""
    done = []

    def advance(n, note=""):
        done.append(n)
        if sum(done) >= 8:
            raise KeyboardInterrupt

    return nullcontext(advance)


def test_a_run_that_goes_on_leaves_no_file_behind_that_is_not_its_own(frames, tmp_path):
    out = tmp_path / "out"
    run = search(frames, out, "tables", Numbers, csv=True, show=stopping)
    assert not run.summary.complete
    status = pyarrow.parquet.read_table(out / "frames.parquet")["status"].to_pylist()
    assert status == ["ok"] * 8 + ["pending"] * 12
    assert (out / "frames.csv").exists()
    assert len(json.loads((out / "numbers.json").read_text())) == 4
    run = search(frames, out, "tables", resume=True)
    assert run.summary.complete
    assert {path.name for path in out.iterdir()} == {
        "frames.parquet",
        "peaks.parquet",
        "totals.npz",
        "run.json",
    }


def test_no_thread_of_a_report_is_there_before_what_it_imports():
    """Threads that import one library at a time find it half imported."""
    code = (
        "import sys, hitfinder.job.outputs.page as page\n"
        "from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "from hitfinder.job.outputs.checking import check_output\n"
        "def pool(n):\n"
        "    assert set(page.ReportOutput.imports) <= sys.modules.keys()\n"
        "    return Pool(n)\n"
        "page.ThreadPoolExecutor = pool\n"
        "check_output(page.ReportOutput)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
