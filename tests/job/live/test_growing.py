"""Files that another process is writing, read while they grow."""

import subprocess
import sys

import numpy as np
import pytest

from hitfinder.errors import HitfinderError
from hitfinder.job.live.feeds import FilesFeed
from hitfinder.job.live.live import live

SHAPE, N = (64, 70), 24
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
        (run,) = live(source, out, stop_at_end=True, timeout_s=4, **OPTIONS)
        assert writer.wait(60) == 0
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
        list(live(tmp_path / "broken_master.h5", tmp_path / "out", timeout_s=1, **OPTIONS))


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
    with FilesFeed(tmp_path, None, 0.5) as feed:
        feed._thread.join(20)
        assert not feed._thread.is_alive()
        series = feed.next_series()
        assert series.ledger.received == 4
        batch = series.batch(8)
        assert [isinstance(one.image, str) for one in batch.images.values()].count(True) == 1
        assert "the reader fails" in feed.heard
