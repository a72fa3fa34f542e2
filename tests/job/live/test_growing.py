"""Files that another process is writing, read while they grow."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

import hitfinder as hf
from hitfinder.errors import HitfinderError, SourceError
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from hitfinder.job.live.feeds import FilesFeed
from hitfinder.job.live.live import live
from waiting import LONGEST_S, wait_for

SHAPE, N = (64, 70), 24
END_S = 15.0
"""Pause of what writes that ends a run: ten times what it ever pauses by itself."""

OPTIONS = {
    **{"finder": "likelihood", "workers": 1, "hot_pixel_frames": 0, "estimate": False},
    **{"photon_energy_ev": 6000, "camera_length_m": 0.05, "pixel_size_um": 75},
}

FRAMES = f"""
import os, sys, time
import numpy as np
rng = np.random.default_rng(3)
frames = rng.poisson(0.05, ({N}, *{SHAPE})).astype(np.uint16)
frames[::2, 5:60:9, 7:60:11] += 30
"""

SWMR = (
    FRAMES
    + f"""
import h5py, hdf5plugin
file = h5py.File(sys.argv[1], "w", libver="latest")
file["entry/definition"] = "NXmx"
for name, kind in (("entry", "NXentry"), ("entry/data", "NXdata")):
    file.require_group(name).attrs["NX_class"] = kind
data = file.create_dataset("entry/data/data", (0, *{SHAPE}), "u2", maxshape=(None, *{SHAPE}),
                           chunks=(1, *{SHAPE}), **hdf5plugin.Bitshuffle(cname="lz4"))
file.swmr_mode = True
print("there", flush=True)
for number, frame in enumerate(frames):
    data.resize(number + 1, axis=0)
    data[number] = frame
    data.flush()
    time.sleep(0.1)
"""
)

PIECES = (
    FRAMES
    + """
import io
for number in range(0, len(frames), 8):
    buffer = io.BytesIO()
    np.save(buffer, frames[number : number + 8])
    content = buffer.getvalue()
    with open(f"{sys.argv[1]}/frames_{number:03d}.npy", "wb") as file:
        for at in range(0, len(content), len(content) // 3 + 1):
            file.write(content[at : at + len(content) // 3 + 1])
            file.flush()
            if not number:
                print("there", flush=True)
            # Longer than it takes to look twice.
            time.sleep(1.3 if number == 8 else 0.2)
"""
)


def while_written(code, place, source, out):
    writer = subprocess.Popen([sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline()
        (run,) = live(source, out, stop_at_end=True, timeout_s=END_S, **OPTIONS)
        assert writer.wait(LONGEST_S) == 0
    finally:
        writer.kill()
        writer.wait()
    return run


def check(run):
    assert run.summary.by_status == {"ok": N}
    assert run.frames["hit"].to_pylist() == [number % 2 == 0 for number in range(N)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grows_master.h5", "grows.nxs"])
def test_a_file_that_is_written_by_swmr(tmp_path, name):
    check(while_written(SWMR, tmp_path / name, tmp_path / name, tmp_path / "out"))


@pytest.mark.slow
def test_files_that_are_half_written_are_waited_for(tmp_path):
    folder = tmp_path / "coming"
    folder.mkdir()
    check(while_written(PIECES, folder, folder, tmp_path / "out"))


@pytest.mark.slow
def test_what_is_wrong_with_files_is_said_when_nothing_comes(tmp_path):
    (tmp_path / "broken_master.h5").write_bytes(b"no frames")
    with pytest.raises(HitfinderError, match=r"so far: 0 files .*the last problem: .*broken"):
        list(live(tmp_path / "broken_master.h5", tmp_path / "out", timeout_s=5, **OPTIONS))


def test_a_file_that_makes_a_reader_fail_does_not_end_the_reading(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.ones((2, *SHAPE), np.uint16))
    np.save(tmp_path / "b.npy", np.ones((3, *SHAPE), np.uint16))
    from hitfinder.job.live import feeds as module

    plain = module.open_source

    def fails(file, **options):
        if file.endswith("a.npy"):
            raise RuntimeError("the reader fails")
        return plain(file, **options)

    monkeypatch.setattr(module, "open_source", fails)
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.02)
    with FilesFeed(tmp_path, None, None) as feed:
        wait_for(lambda: feed._series.ledger.received == 4)
        assert "the reader fails" in feed.heard
    series = feed.next_series()
    series.end("the test does not wait")
    batch = series.batch(8)
    assert [isinstance(one.image, str) for one in batch.images.values()].count(True) == 1


def frames_file(path, n):
    """Write a file of frames, or another one in its place, whole at once."""
    part = path.with_suffix(".part")
    with h5py.File(part, "w") as file:
        frames = np.arange(1, n + 1, dtype=np.uint16)[:, None, None]
        file["entry/data/data"] = np.broadcast_to(frames, (n, *SHAPE))
    part.rename(path)


def numbers_taken(feed):
    """Take out what a feed has offered; return what is in the first pixel of each frame."""
    series, found = feed.next_series() or feed._series, []
    while (batch := series.batch(8, now_s=1e12)) is not None:
        for one in batch.images.values():
            found.append(int(one.image.unpacked()[0, 0]))
        series.settle(processed=len(batch.images))
    return found


def looks(feed, times=2):
    """Let a feed look at its folder."""
    for _ in range(times):
        for file in feed._files():
            feed._look_at(file)


def test_frames_that_are_added_after_a_pause_are_taken(tmp_path):
    frames_file(tmp_path / "a.h5", 3)
    feed = FilesFeed(tmp_path, None, None)
    looks(feed)
    assert numbers_taken(feed) == [1, 2, 3]
    frames_file(tmp_path / "a.h5", 5)
    looks(feed, 4)
    assert numbers_taken(feed) == [4, 5]


def test_a_file_that_is_replaced_after_its_frames_were_taken_is_told_once(tmp_path, caplog):
    frames_file(tmp_path / "a.h5", 3)
    feed = FilesFeed(tmp_path, None, None)
    looks(feed)
    assert numbers_taken(feed) == [1, 2, 3]
    assert not caplog.records
    frames_file(tmp_path / "a.h5", 2)
    looks(feed, 5)
    assert numbers_taken(feed) == []
    assert caplog.text.count("it has changed since its frames were taken") == 1


def test_frames_whose_file_is_missing_are_told_at_the_end(tmp_path, caplog):
    geometry = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    master = tmp_path / "a_master.h5"
    with NexusWriter(master, geometry, np.uint16, frames_per_file=2) as writer:
        for number in range(6):
            writer.write(np.full(SHAPE, number, np.uint16))
    (tmp_path / "a_data_000002.h5").unlink()
    with FilesFeed(tmp_path, None, None) as feed:
        wait_for(lambda: feed._series.ledger.received == 2)
    assert numbers_taken(feed) == [0, 1]
    assert "a_master.h5: 4 of its frames could not be read and are left out" in caplog.text


def test_an_array_that_is_cut_short_while_it_is_read_is_told(tmp_path):
    """Touching what is mapped of it would end the process."""
    path = tmp_path / "a.npy"
    np.save(path, np.ones((50, *SHAPE), np.uint16))
    with hf.open(path) as frames:
        whole = path.read_bytes()
        assert frames[40].sum() == SHAPE[0] * SHAPE[1]
        os.truncate(path, 20_000)
        with pytest.raises(SourceError, match="was cut short while it was read"):
            frames[40]
        path.write_bytes(whole)
        assert frames[40].any()
        other = tmp_path / "b.npy"
        np.save(other, np.zeros((2, *SHAPE), np.uint16))
        other.rename(path)
        assert frames[40].any()
