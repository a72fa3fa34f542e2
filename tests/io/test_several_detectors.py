import h5py
import numpy as np
import pytest

from hitfinder.io.open import open_source
from hitfinder.io.summary import summarise

SHAPE = (20, 24)


@pytest.fixture
def two_detectors(tmp_path):
    """A file of two detectors at different distances; of the far one there is no mask."""
    path = tmp_path / "two.cxi"
    with h5py.File(path, "w") as file:
        for number, distance in ((1, 0.1), (2, 0.5)):
            detector = file.create_group(f"entry_1/instrument_1/detector_{number}")
            detector["data"] = np.full((3, *SHAPE), number, np.uint16)
            detector["distance"] = distance
            file[f"entry_1/data_{number}/data"] = h5py.SoftLink(f"{detector.name}/data")
            file[f"entry_1/image_{number}/data"] = np.full((3, *SHAPE), 10 * number, np.uint16)
            file[f"entry_1/image_{number}/detector_1"] = h5py.SoftLink(detector.name)
        file["entry_1/instrument_1/detector_1/mask"] = np.ones(SHAPE, np.uint8)
    return path


@pytest.mark.parametrize("path", ["instrument_1/detector_2/data", "data_2/data", "image_2/data"])
def test_the_detector_is_that_of_the_frames(two_detectors, path):
    said = open_source(two_detectors, dataset=f"/entry_1/{path}").metadata
    assert said.camera_length_m == 0.5
    assert said.mask is None


def test_frames_of_other_detectors_are_told(two_detectors):
    remarks = " ".join(open_source(two_detectors).remarks)
    assert "/entry_1/data_1/data" in remarks
    assert "/entry_1/data_2/data" in remarks
    assert "/entry_1/image_1/data" in remarks


def test_what_is_said_of_frames_does_not_stand_for_a_mask(two_detectors):
    with h5py.File(two_detectors, "a") as file:
        del file["entry_1/instrument_1/detector_1/mask"]
    notes = summarise(open_source(two_detectors), "two")["notes"]
    assert "there is no pixel mask in the file" in notes


def test_links_to_the_same_frames_are_not_told(tmp_path):
    with h5py.File(tmp_path / "one.cxi", "w") as file:
        file["entry_1/instrument_1/detector_1/data"] = np.zeros((3, *SHAPE), np.uint16)
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        file["entry_1/image_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
    assert not open_source(tmp_path / "one.cxi").remarks
