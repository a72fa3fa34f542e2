"""What a master says is known from others that are the same in all that is read of it."""

import re

import h5py
import numpy as np
import pytest

from hitfinder.geometry.geometry import Geometry
from hitfinder.io import metadata, said
from hitfinder.io.alike import Alike
from hitfinder.io.open import open_source
from hitfinder.io.write import NexusWriter

SHAPE = (24, 32)
DETECTOR = "entry/instrument/detector"


@pytest.fixture
def looked_into(monkeypatch):
    """Names of the files whose fields were read in HDF5, step by step."""
    files = []

    def read(fields, *more):
        if fields.file.filename.endswith("_master.h5"):
            files.append(fields.file.filename.rpartition("/")[2])
        return real(fields, *more)

    real = metadata.read_metadata
    monkeypatch.setattr(metadata, "read_metadata", read)
    monkeypatch.setattr(said, "_ALIKE", Alike(said._read_anew))
    return files


def master(folder, number, **extra):
    """Write a master; all that this writes are of one size but for `extra`."""
    geometry = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.1, photon_energy_ev=6000)
    path = folder / f"run{number}_master.h5"
    with NexusWriter(path, geometry, np.uint16, extra=extra) as writer:
        writer.write(np.full(SHAPE, number, np.uint16))
    return path


def ask(path):
    with open_source(path) as source:
        assert not source.problems
        return source.metadata


def learned(folder, *numbers, change=None):
    """Return masters, all of which but the first two can be known from the second."""
    paths = [master(folder, number) for number in numbers]
    for path in paths:
        if change is not None:
            with h5py.File(path, "r+") as file:
                change(file)
    for path in paths[:2]:
        ask(path)
    return paths


def test_masters_that_differ_in_times_and_names_are_looked_into_once(tmp_path, looked_into):
    paths = learned(tmp_path, 0, 1, 2, 3)
    paths[3].write_bytes(re.sub(rb"\d{4}-\d\d-\d\dT", b"2031-02-03T", paths[3].read_bytes()))
    first, *others = map(ask, paths)
    assert looked_into == ["run0_master.h5", "run1_master.h5"]
    assert len({repr(one) for one in (first, *others)}) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("detector/detectorSpecific/photon_energy", 6500.0),
        ("detector/beam_center_x", 7.0),
        ("detector/detector_distance", 0.11),
        ("detector/module/module_offset", 1e-4),
        ("detector/transformations/translation", 0.12),
        ("detector/bit_depth_image", 8),
    ],
)
def test_a_master_with_another_value_says_it(tmp_path, looked_into, field, value):
    *_, known, other = learned(tmp_path, 0, 1, 2, 3)
    with h5py.File(other, "r+") as file:
        file[f"entry/instrument/{field}"][()] = value
    told = ask(other)
    assert looked_into[-1] == "run3_master.h5"
    assert repr(told) != repr(ask(known))


def test_a_master_with_another_mask_has_it(tmp_path, looked_into):
    *_, known, other = learned(tmp_path, 0, 1, 2, 3)
    with h5py.File(other, "r+") as file:
        bits = file[f"{DETECTOR}/pixel_mask"]
        changed = bits[()]
        changed[3, 4] = 8
        bits[...] = changed
    assert ask(other).mask[3, 4]
    assert not ask(known).mask[3, 4]


def test_what_lies_in_other_files_is_read_in_each(tmp_path, looked_into):
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["distance"] = 0.2

    def link(file):
        del file[f"{DETECTOR}/detector_distance"]
        file[f"{DETECTOR}/detector_distance"] = h5py.ExternalLink(
            str(tmp_path / "elsewhere.h5"), "/distance"
        )

    paths = learned(tmp_path, 0, 1, 2, 3, change=link)
    with h5py.File(tmp_path / "elsewhere.h5", "r+") as file:
        file["distance"][()] = 0.3
    assert ask(paths[3]).camera_length_m == pytest.approx(0.3)


def test_the_name_of_a_data_file_in_a_text_is_each_files_own(tmp_path, looked_into):
    for number in range(4):
        text = f"run{number}_data_000001.h5"
        told = ask(master(tmp_path, number, **{f"/{DETECTOR}/note": text}))
        assert "run" not in told.detector
    for number in range(4, 8):
        path = master(tmp_path, number)
        with h5py.File(path, "r+") as file:
            del file[f"{DETECTOR}/description"]
            file[f"{DETECTOR}/description"] = f"run{number}_data_000001.h5"
        assert ask(path).detector == f"run{number}_data_000001.h5"
