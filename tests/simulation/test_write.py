"""A simulation on disk: the same for any number of workers, complete or not there."""

import contextlib
import functools
import resource
import signal
import subprocess
import sys

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitfinder.errors import ConfigError, HitfinderError, OutputError
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.simulation import tables, write
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulation import simulate
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.workers import SeriesWork
from waiting import LONGEST_S, wait_for

RANDOM = {
    "crystal.structure": "random",
    "crystal.cell": "80,80,100",
    "crystal.space_group": "P 43 21 2",
    "crystal.d_min_a": 4.0,
    "beam.flux": "lognormal:3e10,0.3",
    "detector.name": "eiger2-x-500k",
    "detector.camera_length_m": 0.1,
    "crystal.count": "choice:1,0,2,1",
}
FILES = {
    "frames_master.h5", "frames_data_000001.h5", "truth.parquet", "shots.parquet",
    "crystals.parquet", "frames.geom", "settings.toml",
}  # fmt: skip


def settings(**changes):
    return load_settings(overrides={**RANDOM, **changes})


def frames_of(folder):
    with h5py.File(folder / "frames_master.h5") as file:
        return file["entry/data/data"][:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    simulate(out, 7, settings=settings(), frames_per_file=7)
    return out


def test_folder_holds_frames_truth_geometry_and_settings(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    simulator = Simulator.of(settings())
    frames = frames_of(folder)
    assert frames.dtype == np.uint16
    masked = simulator.geometry.detector.full_mask
    truth = pq.read_table(folder / "truth.parquet")
    rows = {name: truth[name].to_numpy() for name in truth.column_names}
    for number in range(7):
        made = simulator.frame(number)
        assert np.array_equal(frames[number][~masked], made.counts[~masked])
        assert (frames[number][masked] == 65535).all()
        own = rows["frame"] == number
        assert np.array_equal(rows["fs"][own], made.truth["fs"])
        assert np.array_equal(rows["counts"][own], made.truth["counts"])
        assert np.array_equal(rows["h"][own], made.truth["h"])
    assert truth.schema.field("fs").metadata[b"unit"] == b"pixel"
    assert set(truth.column_names) == set(tables.TRUTH_COLUMNS)


def test_tables_of_shots_and_crystals(folder):
    simulator = Simulator.of(settings())
    shots = pq.read_table(folder / "shots.parquet").to_pylist()
    crystals = pq.read_table(folder / "crystals.parquet").to_pylist()
    assert [row["frame"] for row in shots] == list(range(7))
    for row in shots:
        shot = simulator.shot(row["frame"])
        assert row["flux"] == shot.flux
        assert row["blank"] == shot.is_blank
        assert row["n_crystals"] == len(shot.crystals)
        assert (row["beam_fs"], row["beam_ss"]) == pytest.approx(
            (514 + shot.shift_fs_px, 256 + shot.shift_ss_px)
        )
        own = [c for c in crystals if c["frame"] == row["frame"]]
        assert [c["crystal"] for c in own] == list(range(len(shot.crystals)))
        for listed, crystal in zip(own, shot.crystals, strict=True):
            assert listed["bstar_z"] == pytest.approx(crystal.axes[2, 1] * 1e10)
            assert listed["hit_fraction"] == crystal.hit_fraction
        if own:
            assert row["astar_x"] == own[0]["astar_x"]
        else:
            assert np.isnan(row["astar_x"])
    assert len({row["n_crystals"] for row in shots}) > 1


def test_geometry_file_describes_the_frames(folder):
    geom = read_geom(folder / "frames.geom")
    detector = geom.detector()
    assert detector.shape == (512, 1028)
    assert geom.photon_energy_ev == 6000


def test_settings_file_makes_the_same_frames(folder, tmp_path):
    again = load_settings(folder / "settings.toml", preset="report")
    assert again == settings()
    simulate(tmp_path / "again", 2, settings=again)
    assert np.array_equal(frames_of(tmp_path / "again"), frames_of(folder)[:2])


@pytest.mark.slow  # so do those of which some are killed, below
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_do_not_change_the_files(folder, tmp_path, workers):
    simulate(tmp_path, 7, settings=settings(), workers=workers, frames_per_file=3)
    assert np.array_equal(frames_of(tmp_path), frames_of(folder))
    for name in ("truth", "shots", "crystals"):
        one, other = (pq.read_table(d / f"{name}.parquet") for d in (folder, tmp_path))
        assert one.equals(other)
    assert len(list(tmp_path.glob("frames_data_*.h5"))) == 3


def test_frames_without_noise_are_floats(tmp_path):
    simulate(tmp_path, 1, settings=settings(noise=False))
    frames = frames_of(tmp_path)
    assert frames.dtype == np.float32
    assert 0 < frames[frames > 0].min() < 0.5


def test_an_existing_simulation_is_kept_unless_told(folder, tmp_path):
    simulate(tmp_path, 1, settings=settings())
    with pytest.raises(OutputError, match="exists already"):
        simulate(tmp_path, 2, settings=settings())
    assert len(frames_of(tmp_path)) == 1
    simulate(tmp_path, 2, settings=settings(), overwrite=True)
    assert len(frames_of(tmp_path)) == 2


class StoppedError(Exception):
    pass


@contextlib.contextmanager
def stopping_after(frames, what, total):
    done = 0

    def stop(n, note=""):
        nonlocal done
        done += n
        if done >= frames:
            raise StoppedError

    yield stop


def made_for(executor, monkeypatch):
    """Return a list that gets the number of each data file that an executor is given."""
    given = []
    run = executor.run

    def noting(work, tasks, **more):
        tasks = list(tasks)
        given.extend(task.number for task in tasks)
        return run(work, tasks, **more)

    monkeypatch.setattr(executor, "run", noting)
    return given


def test_a_simulation_that_was_cut_short_goes_on_with_what_is_done(folder, tmp_path, monkeypatch):
    with pytest.raises(StoppedError):
        simulate(
            tmp_path, 7, settings=settings(), workers=1, frames_per_file=2,
            show=functools.partial(stopping_after, 4),
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [".parts"]
    executor = Inline()
    given = made_for(executor, monkeypatch)
    simulate(tmp_path, 7, settings=settings(), executor=executor, frames_per_file=2)
    assert given == [3, 4]
    assert not (tmp_path / ".parts").exists()
    assert np.array_equal(frames_of(tmp_path), frames_of(folder))
    for name in ("truth", "shots", "crystals"):
        one, other = (pq.read_table(d / f"{name}.parquet") for d in (folder, tmp_path))
        assert one.equals(other)


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"n": 6}, {"frames_per_file": 1}, {"spacing": 0.02}]
)
def test_another_simulation_uses_nothing_of_one_that_was_cut_short(tmp_path, monkeypatch, change):
    def make(*, seed=1, n=4, frames_per_file=2, spacing=0.01, **more):
        listed = tmp_path / "axes.csv"
        names = ",".join(f"{name}star_{axis}" for name in "abc" for axis in "xyz")
        listed.write_text(f"{names}\n1e8,0,0,0,1e8,0,0,0,{spacing}e10\n")
        own = settings(seed=seed, **{"crystal.orientations": str(listed)})
        simulate(tmp_path / "out", n, settings=own, frames_per_file=frames_per_file, **more)

    with pytest.raises(StoppedError):
        make(workers=1, show=functools.partial(stopping_after, 2))
    assert len(list(tmp_path.glob("out/.parts/*/data*"))) == 1
    executor = Inline()
    given = made_for(executor, monkeypatch)
    make(**change, executor=executor)
    assert given[0] == 1


def test_a_damaged_table_of_what_is_done_is_told(tmp_path):
    few = {"settings": settings(), "workers": 1, "frames_per_file": 1}
    with pytest.raises(StoppedError):
        simulate(tmp_path, 2, **few, show=functools.partial(stopping_after, 1))
    (table,) = tmp_path.glob(".parts/*/shots_000001.parquet")
    table.write_bytes(table.read_bytes()[:-7])
    with pytest.raises(HitfinderError, match=r"shots_000001\.parquet: the table cannot be read"):
        simulate(tmp_path, 2, **few)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


def test_an_error_before_a_data_file_is_done_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise StoppedError

    monkeypatch.setattr(Simulator, "frame", fail)
    with pytest.raises(StoppedError):
        simulate(tmp_path, 4, settings=settings(), workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("n", "per_file", "lengths"),
    [(7, 3, [3, 3, 1]), (1, None, [1]), (100, None, [4] * 25), (20_000, None, [250] * 80)],
)
def test_the_frames_of_each_data_file(n, per_file, lengths):
    files = write.file_tasks(n, per_file)
    assert [len(file) for file in files] == lengths
    assert [file.first for file in files] == [0, *np.cumsum(lengths)[:-1]]
    assert [file.number for file in files] == list(range(1, len(files) + 1))


def test_impossible_numbers(tmp_path):
    with pytest.raises(ConfigError, match="0"):
        simulate(tmp_path, 0, settings=settings())
    with pytest.raises(ValueError, match="workers"):
        simulate(tmp_path, 1, settings=settings(), workers=0)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_worker_reaches_the_caller(tmp_path):
    simulator = Simulator.of(settings())
    simulator.stages = simulator.stages[1:]  # nothing draws the shot
    work = SeriesWork(simulator, tmp_path)
    with Processes(2) as executor, pytest.raises(HitfinderError, match="no stage has drawn"):
        next(executor.run(work, write.file_tasks(2, 1)))
    assert list(tmp_path.iterdir()) == []


def run_in_process(out, n, *options, **kwargs):
    arguments = [sys.executable, "-m", "hitfinder", "simulate", "--out", str(out), "--n", str(n)]
    for name, value in RANDOM.items():
        arguments += ["--set", f"{name}={value}"]
    return subprocess.Popen([*arguments, *options], **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_stopped_process_leaves_no_finished_file(tmp_path, how):
    def heed_interrupts():
        # Shells start what runs in the background with Ctrl-C ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = run_in_process(
        tmp_path, 100000, "-j", "2", stderr=subprocess.DEVNULL, preexec_fn=heed_interrupts
    )
    try:
        wait_for(lambda: list(tmp_path.glob(".parts/*/data*.h5")))
        process.send_signal(how)
        code = process.wait(LONGEST_S)
    finally:
        process.kill()
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    left = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert left == set()
    if how != signal.SIGKILL:
        assert list(tmp_path.glob("**/.*.part")) == []


def test_a_full_disk_gets_one_line_and_no_file(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    process = run_in_process(
        tmp_path, 200, "-j", "1", stderr=subprocess.PIPE, text=True, preexec_fn=limit
    )
    _, errors = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("hitfinder: error:")
    assert "File too large" in errors.splitlines()[-1]
    assert len(errors.splitlines()) == 2  # and a note that the photon energy varies
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "delay_s",
    [*(pytest.param(d, marks=pytest.mark.slow) for d in (0.0, 0.1, 0.3)), None],
)
def test_workers_that_are_killed_cost_no_frame(folder, tmp_path, kill_workers, delay_s):
    """While they start, when their work is not sent yet, and within a frame."""
    with Processes(2) as executor:
        killed = kill_workers(executor, 2, delay_s)
        simulate(tmp_path, 7, settings=settings(), executor=executor, frames_per_file=3)
    assert len(killed) == 2
    assert np.array_equal(frames_of(tmp_path), frames_of(folder))
    for name in ("truth", "shots", "crystals"):
        one, other = (pq.read_table(d / f"{name}.parquet") for d in (folder, tmp_path))
        assert one.equals(other)


@pytest.mark.parametrize(("fs", "ss"), [(30.5, 40.25), (-12.0, 7.0)])
def test_beam_position_is_where_it_was_put(fs, ss):
    panel = Panel("p", 0, 0, 60, 50, -30, -25, fs_vector=(0.8, 0.6, 0.0), ss_vector=(-0.6, 0.8, 0))
    detector = Detector("d", (50, 60), (panel,)).with_beam_center(fs, ss)
    assert detector.beam_center == pytest.approx((fs, ss))
