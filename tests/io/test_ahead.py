"""Many files are opened by workers, and are what they are when this process opens them."""

import numpy as np
import pytest

from hitfinder.executors.processes import Processes
from hitfinder.geometry.geometry import Geometry
from hitfinder.io import open as opening
from hitfinder.io.open import open_source
from hitfinder.io.write import NexusWriter

SHAPE = (24, 32)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for k in range(6):
        length = 0.1 if k != 2 else 0.2
        geometry = Geometry.flat(SHAPE, 75e-6, camera_length_m=length, photon_energy_ev=6000)
        paths.append(tmp_path / f"run{k}_master.h5")
        with NexusWriter(paths[-1], geometry, np.uint16) as writer:
            for _ in range(2):
                writer.write(rng.poisson(0.1, SHAPE).astype(np.uint16))
    content = paths[3].read_bytes()
    paths[3].write_bytes(content[: len(content) // 2])
    (tmp_path / "run4_data_000001.h5").unlink()
    return [*paths, tmp_path / "gone_master.h5"]


def told(source):
    return (
        [(str(source.ref(k)), repr(source.frame_metadata(k))) for k in range(len(source))],
        [str(problem) for problem in source.problems],
        source.remarks,
        source.contents,
        source.readable(np.arange(len(source))).tolist(),
    )


@pytest.mark.parametrize("how", ["list", "paths", "folder"])
def test_files_that_workers_open_are_what_they_are_otherwise(files, how, monkeypatch, tmp_path):
    listed = tmp_path / "all.lst"
    listed.write_text("".join(f"{file}\n" for file in files))
    inputs = {"list": [listed], "paths": files, "folder": [tmp_path]}[how]
    alone = told(open_source(inputs))
    here = []
    open_file = opening.open_file
    monkeypatch.setattr(opening, "FEWEST_FILES", 2)
    monkeypatch.setattr(opening, "open_file", lambda f, *a: here.append(f) or open_file(f, *a))
    with Processes(2) as workers:
        source = open_source(inputs, executor=workers)
    assert told(source) == alone
    assert not [file for file in here if file.endswith("master.h5")]
    with source:
        assert source.read(0).sum() > 0


def test_few_files_are_opened_here(files):
    class NoOne:
        def run(self, work, tasks):
            raise AssertionError("nobody was to be asked")

    assert len(open_source(files, executor=NoOne())) == len(open_source(files))
