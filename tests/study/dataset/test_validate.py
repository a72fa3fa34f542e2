import shutil

import h5py
import numpy as np
import pytest

from hitfinder.study.dataset.layout import FOLDERS
from hitfinder.study.dataset.validate import validate

OVERLAY = "peaks_water_overlay"
NAME = "02/02_7keV_clen01_000002.h5"


def faults(root, **options):
    return [str(fault) for fault in validate(root, **options)]


def without_manifest(root):
    """As a tree from elsewhere: one row of the report's matrix."""
    (root / "manifest.json").unlink()


@pytest.mark.parametrize("protocol", ["realistic", "paper"])
@pytest.mark.parametrize("per_file", [1, 4])
def test_a_sound_tree_has_no_faults(make_tree, protocol, per_file):
    assert faults(make_tree(protocol=protocol, frames_per_file=per_file)) == []


def test_a_sound_tree_from_elsewhere_is_held_against_the_reports_matrix(make_tree):
    root = make_tree(energies=(6000.0, 7000.0, 8000.0), lengths=(0.15,))
    without_manifest(root)
    assert faults(root) == []
    wrong = make_tree("wrong")
    without_manifest(wrong)
    found = faults(wrong, contents=False)
    assert found, "03 is 8 keV and 0.15 m in the report, here it is 6 keV and 0.25 m"
    assert all("not those of setting 03" in f or "not those of setting 04" in f for f in found)


def edit(path, name, row, value):
    with h5py.File(path, "r+") as file:
        values = file[f"entry/data/{name}"][()]
        values[row] = value
        file[f"entry/data/{name}"][...] = values


def test_wrong_attributes_are_named_frame_by_frame(make_tree):
    root = make_tree()
    edit(root / OVERLAY / NAME, "clen", 1, 0.35)
    found = faults(root, contents=False)
    assert (
        f"attribute: {OVERLAY}/{NAME} //1: photon_energy 7000 eV, clen 0.35 m: not those"
        in (found[0])
    )
    assert any(f"peaks/{NAME} //1: clen is 0.15, in {OVERLAY} it is 0.35" in f for f in found)


def test_contradicting_peak_attributes(make_tree):
    root = make_tree()
    with h5py.File(root / OVERLAY / NAME) as file:
        row = int(np.flatnonzero(file["entry/data/peak"][()] == 1)[0])
    for folder in FOLDERS:
        edit(root / folder / NAME, "peak", row, 0)
    found = faults(root)
    expected = f"contents: {OVERLAY}/{NAME} //{row}: peak is false, but there are Bragg photons"
    assert any(f.startswith(expected) for f in found)
    assert sum(f.startswith("checksum") for f in found) == 4


def test_missing_attributes(make_tree):
    root = make_tree(frames_per_file=1)
    path = root / "peaks_water_overlay/01/01_6keV_clen01_000003.h5"
    with h5py.File(path, "r+") as file:
        del file.attrs["clen"], file.attrs["peak"]
    found = faults(root, contents=False)
    assert f"attribute: {OVERLAY}/01/{path.name}: has no clen" in found


def test_missing_and_extra_files_and_folders(make_tree):
    root = make_tree()
    (root / "labels" / NAME).unlink()
    shutil.copy(root / "peaks" / NAME, root / "peaks/02/02_7keV_clen01_000099.h5")
    shutil.rmtree(root / "water/03")
    (root / OVERLAY / "17").mkdir()
    found = faults(root, contents=False)
    assert f"missing: labels/02: there is no counterpart of peaks/{NAME}" in found
    assert (
        f"missing: {OVERLAY}/02: there is no counterpart of peaks/02/02_7keV_clen01_000099.h5"
        in found
    )
    assert "missing: water/03: there is no such folder" in found
    assert "extra: 17: no such setting belongs to the tree" in found
    assert f"missing: labels/{NAME}: the manifest lists it" in found
    assert "extra: peaks/02/02_7keV_clen01_000099.h5: the manifest does not list it" in found


def test_a_missing_top_folder(make_tree):
    root = make_tree()
    shutil.rmtree(root / "water")
    assert "missing: water: there is no such folder" in faults(root, contents=False)


def test_unreadable_files_and_frames(make_tree):
    root = make_tree()
    (root / "peaks" / NAME).write_bytes(b"nonsense")
    path = root / "water/01/01_6keV_clen01_000001.h5"
    with h5py.File(path) as file:
        info = file["entry/data/data"].id.get_chunk_info(2)
    with open(path, "r+b") as file:
        file.seek(info.byte_offset)
        file.write(b"\xff" * info.size)
    found = faults(root)
    assert f"unreadable: peaks/{NAME}: this is not an HDF5 file" in found
    assert any(f.startswith("unreadable: water/01/01_6keV_clen01_000001.h5 //2") for f in found)


def test_wrong_shape(make_tree):
    root = make_tree()
    path = root / "labels" / NAME
    with h5py.File(path, "r+") as file:
        del file["entry/data/data"]
        file["entry/data/data"] = np.zeros((4, 12, 28), np.uint8)
    found = faults(root)
    expected = f"shape: labels/{NAME}: frames of (12, 28), the first file has (32, 28)"
    assert expected in found


def test_frames_that_are_not_the_sum_of_their_parts(make_tree):
    root = make_tree()
    without_manifest(root)
    with h5py.File(root / OVERLAY / NAME, "r+") as file:
        frame = file["entry/data/data"][3]
        frame[5, 5] += 1
        file["entry/data/data"][3] = frame
    found = [f for f in faults(root) if f.startswith("contents")]
    assert found == [f"contents: {OVERLAY}/{NAME} //3: is not the sum of its peaks and its water"]


def test_an_unfinished_tree(make_tree):
    import dataclasses

    from hitfinder.study.dataset import manifest

    root = make_tree()
    made = manifest.read(root)
    dataclasses.replace(made, files=()).write(root)
    assert "missing: manifest.json: the tree was not built to its end" in faults(root)
