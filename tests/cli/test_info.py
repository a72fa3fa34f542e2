import json
import os

import h5py
import hdf5plugin
import numpy as np
import pytest
from click.testing import CliRunner

from hitfinder.cli.info import info

SHAPE = (20, 24)


def run(*arguments):
    result = CliRunner().invoke(info, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def entry_of(*arguments):
    result = run("--json", *arguments)
    (entry,) = json.loads(result.output)
    return entry, result.exit_code


@pytest.fixture
def master(tmp_path):
    """A master with two data files of two frames and 10 masked pixels."""
    for number in (1, 2):
        stack = np.zeros((2, *SHAPE), np.uint16)
        stack[:, 5, :6] = 7 * number
        stack[:, 0] = 65535
        with h5py.File(tmp_path / f"x_data_{number:06d}.h5", "w") as file:
            packing = hdf5plugin.Bitshuffle(cname="lz4")
            file.create_dataset("entry/data/data", data=stack, chunks=(1, *SHAPE), **packing)
    bits = np.zeros(SHAPE, np.uint32)
    bits[0], bits[1, :2] = 1, 2 + 16
    with h5py.File(tmp_path / "x_master.h5", "w") as file:
        for number in (1, 2):
            link = h5py.ExternalLink(f"x_data_{number:06d}.h5", "/entry/data/data")
            file[f"entry/data/data_{number:06d}"] = link
        detector = file.create_group("entry/instrument/detector")
        detector["pixel_mask"] = bits
        detector["description"] = "toy"
        detector["detector_distance"] = 0.15
        detector["beam_center_x"], detector["beam_center_y"] = 12.0, 10.0
        detector["x_pixel_size"] = 75e-6
        file["entry/instrument/beam/incident_wavelength"] = 2.0664033
    return tmp_path / "x_master.h5"


def test_a_sound_file_is_described_and_exits_0(master):
    entry, code = entry_of(master)
    assert code == 0
    assert (entry["frames"], entry["readable"], entry["shape"]) == (4, 4, list(SHAPE))
    assert entry["compression"] == "bitshuffle-lz4"
    assert entry["metadata"]["photon_energy_ev"] == pytest.approx(6000, abs=0.01)
    assert entry["metadata"]["camera_length_m"] == 0.15
    assert entry["mask"] == {
        "pixels": 26,
        "bits": {
            "0": {"meaning": "gap", "pixels": 24},
            "1": {"meaning": "dead", "pixels": 2},
            "4": {"meaning": "noisy", "pixels": 2},
        },
    }
    assert [file["status"] for file in entry["linked_files"]] == ["ok", "ok"]
    assert (entry["problems"], entry["notes"]) == ([], [])


def test_counts_are_of_pixels_that_count(master):
    entry, _ = entry_of(master, "--frames", 2)
    first, last = entry["looks"]
    assert (first["frame"], last["frame"]) == (0, 3)
    assert (first["photons"], first["max"], last["photons"]) == (42, 7, 84)
    assert first["n_pixels"] == 20 * 24 - 26
    assert first["zero_fraction"] == pytest.approx(1 - 6 / 454)
    assert first["n_saturated"] == 0


def test_a_missing_data_file_is_a_problem_and_exits_1(master):
    master.with_name("x_data_000002.h5").unlink()
    entry, code = entry_of(master)
    assert code == 1
    assert [file["status"] for file in entry["linked_files"]] == ["ok", "missing-source"]
    assert {problem["status"] for problem in entry["problems"]} == {"missing-source"}
    text = run(master).output
    assert "x_data_000002.h5 is missing" in text
    assert "missing-source" in text


def test_what_the_file_leaves_out_is_noted_but_no_problem(tmp_path):
    np.save(tmp_path / "x.npy", np.full((2, *SHAPE), 3, np.uint16))
    entry, code = entry_of(tmp_path / "x.npy")
    assert code == 0
    assert len(entry["notes"]) == 4
    assert "photon energy" in entry["notes"][0]


def test_an_energy_that_differs_between_frames_is_noted(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/data/data"] = np.ones((3, *SHAPE), np.uint16)
        file["photon_energy_ev"] = [6000.0, 7000.0, 8000.0]
        file["camera_length_m"] = [0.15, 0.15, 0.15]
    notes = entry_of(tmp_path / "x.h5")[0]["notes"]
    assert "the photon energy differs between frames: 6000 to 8000 eV" in notes
    assert not any("camera length differs" in note for note in notes)


def test_gaps_that_no_mask_covers_are_noted(master):
    with h5py.File(master, "a") as file:
        file["entry/instrument/detector/pixel_mask"][...] = 0
    entry, code = entry_of(master)
    assert code == 0
    assert "24 pixels or more are saturated" in entry["notes"][0]


def test_the_text_names_what_matters(master, tmp_path):
    text = run(master, tmp_path / "gone.h5").output
    for words in (
        "NXmx master with data files",
        "20 x 24",
        "6000.00 eV",
        "fs 12.00, ss 10.00",
        "24 gap (bit 0)",
        "Linked files (2)",
        "Problems",
        "there is no such file",
    ):
        assert words in text


def test_a_folder_of_sound_and_broken_files(master, tmp_path):
    (tmp_path / "text.h5").write_text("text")
    np.save(tmp_path / "y.npy", np.zeros((1, 20, 30), np.uint16))
    entry, code = entry_of(tmp_path)
    assert code == 1
    assert [(file["frames"], file["readable"]) for file in entry["files"]] == [
        (1, 0),
        (4, 4),
        (1, 0),
    ]
    assert [problem["status"] for problem in entry["problems"]] == ["unreadable", "wrong-shape"]


@pytest.mark.parametrize("frame", [np.full(SHAPE, np.nan), np.full(SHAPE, 65535, np.uint16)])
def test_a_frame_without_a_count_gives_null_not_nan(tmp_path, frame):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/data/data"] = frame
    entry, _ = entry_of(tmp_path / "x.h5")
    assert entry["looks"][0]["mean"] is None
    assert entry["looks"][0]["n_pixels"] == 0
    assert "nan" in run(tmp_path / "x.h5").output


def test_a_damaged_frame_is_found_by_looking(master):
    with h5py.File(master.with_name("x_data_000001.h5"), "r+") as file:
        file["entry/data/data"].id.write_direct_chunk((0, 0, 0), b"rubbish" * 5)
    entry, code = entry_of(master)
    assert code == 1
    assert "damaged" in entry["problems"][0]["text"]
    assert entry_of(master, "--frames", 0)[1] == 0


def test_of_two_candidates_the_option_chooses(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = file["b"] = np.ones((2, *SHAPE), np.uint16)
        del file["b"]
        file["b"] = np.ones((2, *SHAPE), np.uint16)
    assert entry_of(tmp_path / "x.h5")[1] == 1
    assert entry_of(tmp_path / "x.h5", "--dataset", "/b")[1] == 0


def test_wrong_usage_exits_2(tmp_path):
    assert run().exit_code == 2
    assert run("--frames", "-1", tmp_path).exit_code == 2


def test_real_files_are_told_apart(shared):
    entry, code = entry_of(shared / "real" / "DLS_I03_smargon_0001.cbf.gz")
    assert code == 0
    assert entry["detectors_of_this_shape"] == ["pilatus-6m"]
    entry, code = entry_of(shared / "real" / "dectris_eiger_master.h5")
    assert code == 1
    assert entry["linked_files"] == [
        {"path": "dectris_eiger_data_000001.h5", "frames": 1, "status": "missing-source"}
    ]


def test_files_that_differ_in_mask_and_beam_centre_are_noted(tmp_path):
    for name, masked, center in (("a", 2, 12.0), ("b", 5, 15.0)):
        mask = np.zeros(SHAPE, np.uint8)
        mask[:masked] = 1
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["entry/data/data"] = np.ones((2, *SHAPE), np.uint16)
            detector = file.create_group("entry/instrument/detector")
            detector["pixel_mask"] = mask
            detector["beam_center_x"], detector["beam_center_y"] = center, 10.0
    entry, _ = entry_of(tmp_path)
    notes = " ".join(entry["notes"])
    assert "the masks differ between frames" in notes
    assert "a.h5 masks 10 %" in notes
    assert "beam centre differs between files: fs 12.00, ss 10.00 in" in notes


def test_a_mask_that_does_not_fit_is_noted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = np.ones((2, *SHAPE), np.uint16)
        file["mask"] = np.ones((5, 5), np.uint8)
    entry, code = entry_of(tmp_path / "a.h5")
    assert code == 0
    assert any("the mask is not used, its shape (5, 5)" in note for note in entry["notes"])
    assert entry["mask"] is None


def test_a_file_that_is_not_there_has_no_frames(tmp_path):
    result = run(tmp_path / "nosuch.h5")
    assert result.exit_code == 1
    assert "there is no such file" in result.output
    assert "frames  none that can be read" in result.output
    assert "unreadable" not in result.output


def test_a_list_is_counted_by_its_lines(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["entry/data/data"] = np.ones((12, *SHAPE), np.uint16)
    (tmp_path / "part.lst").write_text("f.h5 //1\nf.h5 //3\n")
    entry, code = entry_of(tmp_path / "part.lst")
    assert (entry["frames"], entry["readable"], code) == (2, 2, 0)
    assert (entry["files"][0]["frames"], entry["files"][0]["readable"]) == (2, 2)


def test_a_mask_that_is_lost_is_a_problem(master):
    with h5py.File(master, "a") as file:
        del file["entry/instrument/detector/pixel_mask"]
        link = h5py.ExternalLink("x_meta.h5", "/mask")
        file["entry/instrument/detector/pixel_mask"] = link
    entry, code = entry_of(master)
    assert code == 1
    assert "linked file x_meta.h5 is missing, so no pixel" in entry["problems"][0]["text"]
    assert "there is no pixel mask in the file" not in entry["notes"]


def test_names_and_descriptions_that_a_terminal_obeys_are_spelled_out(master, tmp_path):
    evil = "\x1b]0;owned\x07\x9b2J\u202e"
    path = master.rename(tmp_path / f"{evil}_master.h5")
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/description"]
        file["entry/instrument/detector/description"] = evil
    shown = run(path).output
    assert not set(shown) & set(evil[:1] + "\x07\x9b\u202e")
    assert "\\x1b]0;owned" in shown
    text = run("--json", path).output
    assert not set(text) & set(evil[:1] + "\x07\x9b\u202e")
    (entry,) = json.loads(text)
    assert entry["metadata"]["detector"] == evil
    assert entry["input"] == str(path)


def test_names_that_are_no_text_can_be_told(master, tmp_path):
    path = master.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff_master.h5"))
    assert "\\xff_master.h5" in run(path).output
    (entry,) = json.loads(run("--json", path).output)
    assert entry["input"] == str(path)


GEOM = """photon_energy = 9300
clen = 0.13
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
p0/min_fs = 0
p0/max_fs = 23
p0/min_ss = 0
p0/max_ss = 19
p0/corner_x = -10
p0/corner_y = -8
p0/fs = x
p0/ss = y
p0/res = 5000
p0/adu_per_eV = 0.01
p0/max_adu = inf
bad_a/min_fs = 0
bad_a/max_fs = 9
bad_a/min_ss = 3
bad_a/max_ss = 3
p0/rail_x = 1
"""


def test_info_shows_what_a_geometry_file_gives(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["entry/data/data"] = np.ones((2, *SHAPE), np.int32)
    (tmp_path / "g.geom").write_text(GEOM)
    geom = str(tmp_path / "g.geom")
    entry, code = entry_of(tmp_path / "d.h5", "--geometry", geom)
    assert code == 0
    said = entry["metadata"]
    assert said["photon_energy_ev"] == 9300
    assert said["camera_length_m"] == 0.13
    assert said["beam_center"] == [10, 8]
    assert said["pixel_size_m"] == pytest.approx(200e-6)
    assert said["adu_per_photon"] == pytest.approx(93)
    assert entry["mask"] == {"pixels": 10, "bits": {}}
    assert {entry["origin"][name] for name in ("photon_energy_ev", "beam_center")} == {geom}
    assert "saturation" not in entry["origin"]
    assert not any("not in the file" in note for note in entry["notes"])
    assert any("rail_x" in note for note in entry["notes"])
    shown = run(tmp_path / "d.h5", "--geometry", geom).output
    assert "9300.00 eV" in shown
    assert "93 of the stored units" in shown


def test_a_geometry_file_that_does_not_fit_is_a_problem(master, tmp_path):
    (tmp_path / "g.geom").write_text(GEOM.replace("max_fs = 23", "max_fs = 99"))
    entry, code = entry_of(master, "--geometry", tmp_path / "g.geom")
    assert code == 1
    assert "need frames of 20 x 100 pixels" in " ".join(p["text"] for p in entry["problems"])


@pytest.mark.parametrize("given", [True, False])
def test_info_tells_the_noise_of_a_detector_that_does_not_count(tmp_path, given):
    rng = np.random.default_rng(2)
    values = 41 * (rng.poisson(0.05, (2, 100, 200)) + rng.normal(0.1, 0.15, (2, 100, 200)))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["entry/data/data"] = values.astype(np.float32)
    text = GEOM.replace("p0/max_fs = 19", "p0/max_fs = 199").replace("max_ss = 15", "max_ss = 99")
    (tmp_path / "g.geom").write_text(text.replace("adu_per_eV = 0.01", "adu_per_photon = 41"))
    options = ("--geometry", str(tmp_path / "g.geom")) if given else ()
    entry, _ = entry_of(tmp_path / "d.h5", *options)
    assert entry["noise"].startswith("noise 0.15 photons, offset +0.")
    assert ("their values show photons of 4" in entry["noise"]) is not given


def test_a_bare_file_is_told_with_the_options_for_what_is_not_in_it(tmp_path):
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["images"] = np.ones((3, *SHAPE), np.int32)
    entry, _ = entry_of(tmp_path / "bare.h5")
    told = "\n".join(entry["notes"])
    for option in ("--photon-energy-ev", "--camera-length-m", "--beam-center"):
        assert f"not in the file: to hitfinder run, give {option}" in told
    assert "2147483647 counts" in run(tmp_path / "bare.h5").output


def test_datasets_that_could_all_be_meant_are_named_with_a_way_to_choose(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a/data"] = file["b/data"] = np.ones((3, *SHAPE), np.int32)
    told = run(tmp_path / "two.h5").output
    assert "/a/data (3, 20, 24), /b/data (3, 20, 24)" in told
    assert "hitfinder info --dataset PATH" in told
