import json
import multiprocessing
import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hitfinder.errors import OutputError
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.build import add_counts, build
from hitfinder.study.dataset.layout import FOLDERS, grid, report_matrix
from hitfinder.study.dataset.recipe import Conditions, Recipe
from hitfinder.study.dataset.tree import open_tree
from waiting import LONGEST_S


def contents(root):
    """Every frame and attribute of a tree by folder, setting and frame number."""
    found = {}
    for path in sorted(root.glob("*/*/*.h5")):
        with h5py.File(path) as file:
            data = file["entry/data/data"][()]
            for frame in data if data.ndim == 3 else data[None]:
                key = path.relative_to(root).parent.as_posix()
                found.setdefault(key, []).append(frame.tobytes())
    return found


def test_the_tree_has_the_reports_layout(make_tree):
    root = make_tree()
    assert sorted(p.name for p in root.iterdir()) == sorted([*FOLDERS, "manifest.json"])
    for folder in FOLDERS:
        assert sorted(p.name for p in (root / folder).iterdir()) == ["01", "02", "03", "04"]
        names = sorted(p.name for p in (root / folder / "02").iterdir())
        assert names == [f"02_7keV_clen01_00000{n}.h5" for n in (1, 2, 3)]


def test_frames_and_attributes_as_any_hdf5_reader_sees_them(make_tree):
    root = make_tree()
    name = "03/03_6keV_clen02_000001.h5"
    files = {folder: h5py.File(root / folder / name) for folder in FOLDERS}
    data = {folder: file["entry/data/data"][()] for folder, file in files.items()}
    for file in files.values():
        assert file["entry/data/clen"][()].tolist() == [0.25] * 4
        assert file["entry/data/photon_energy"][()].tolist() == [6000.0] * 4
    peak = files["peaks_water_overlay"]["entry/data/peak"][()].astype(bool)
    assert np.array_equal(data["peaks_water_overlay"], data["peaks"] + data["water"])
    assert np.array_equal(data["labels"], data["peaks"] >= 3)
    assert np.array_equal(data["peaks"].any(axis=(1, 2)), peak)
    assert data["labels"].sum(axis=(1, 2)).tolist() == (3 * peak).tolist()
    fs = files["peaks"]["entry/spots/fs"][()]
    ss = files["peaks"]["entry/spots/ss"][()]
    frame = files["peaks"]["entry/spots/frame"][()]
    assert len(fs) == 3 * peak.sum()
    assert np.all(data["peaks"][frame, ss.astype(int), fs.astype(int)] == 50)


def test_empty_frames_are_a_percentage_of_those_with_peaks(make_tree):
    tree = open_tree(make_tree(percent_empty=150))
    assert (tree.attributes.peak == 1).sum() == 4 * 6
    assert (tree.attributes.peak == 0).sum() == 4 * 9
    for setting in ("01", "04"):
        peak = tree.attributes.peak[tree.settings == setting]
        assert np.count_nonzero(np.diff(peak)) > 1, "empties are mixed with the others"


def test_realistic_water_differs_and_the_reports_does_not(make_tree):
    for protocol, n_waters in (("realistic", 4), ("paper", 1)):
        tree = open_tree(make_tree(protocol, protocol=protocol, percent_empty=100))
        waters = [tree.read("water", i).tobytes() for i in range(len(tree))]
        first = tree.sets[0]
        assert len({first.read("water", i).tobytes() for i in range(4)}) == n_waters
        empties = np.flatnonzero((tree.attributes.peak == 0) & (tree.settings == "01"))
        overlays = {tree.read("peaks_water_overlay", i).tobytes() for i in empties}
        assert len(overlays) == (6 if protocol == "realistic" else 1)
        assert {waters[i] for i in empties} == overlays


def test_paper_keeps_one_water_file(make_tree):
    root = make_tree(protocol="paper")
    assert [p.name for p in (root / "water/01").iterdir()] == ["01_6keV_clen01_water.h5"]


def test_frames_do_not_depend_on_frames_per_file(make_tree):
    many = contents(make_tree("many", frames_per_file=100))
    few = contents(make_tree("few", frames_per_file=2))
    assert many == few
    assert contents(make_tree("other", seed=4)) != many


def test_single_frame_files_keep_attributes_as_the_report_does(make_tree):
    root = make_tree(frames_per_file=1)
    with h5py.File(root / "peaks_water_overlay/04/04_7keV_clen02_000002.h5") as file:
        assert file["entry/data/data"].shape == (32, 28)
        assert (file.attrs["clen"], file.attrs["photon_energy"]) == (0.25, 7000.0)
        assert file.attrs["peak"] in (True, False)
    single, shards = open_tree(root), open_tree(make_tree("shards"))
    assert single.attributes.peak.tolist() == shards.attributes.peak.tolist()
    assert len(list((root / "labels/01").iterdir())) == 9


def test_manifest_holds_recipe_and_checksums(make_tree):
    import hashlib

    root = make_tree()
    table = json.loads((root / "manifest.json").read_text())
    assert table["recipe"]["seed"] == 3
    assert table["recipe"]["conditions"]["flux_photons"] == 3e8
    files = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*/*.h5"))
    assert sorted(table["files"]) == files
    record = table["files"][files[0]]
    assert record["sha256"] == hashlib.sha256((root / files[0]).read_bytes()).hexdigest()
    assert manifest.read(root).settings == grid((6000.0, 7000.0), (0.15, 0.25))


def test_a_finished_tree_is_never_built_over(make_tree, point_maker):
    root = make_tree()
    before = contents(root)
    recipe = Recipe(6, 50, frames_per_file=4, seed=3)
    with pytest.raises(OutputError, match="finished tree already"):
        build(root, grid((6000.0, 7000.0), (0.15, 0.25)), recipe, point_maker(recipe))
    assert contents(root) == before


def test_files_of_unknown_origin_are_left_alone(tmp_path, point_maker):
    (tmp_path / "peaks").mkdir()
    recipe = Recipe(2)
    with pytest.raises(OutputError, match="no manifest"):
        build(tmp_path, report_matrix(), recipe, point_maker(recipe))
    assert [p.name for p in tmp_path.iterdir()] == ["peaks"]


class Dying:
    """A maker that ends its process in the middle of a file."""

    def __init__(self, maker, after):
        self.maker, self.left = maker, after

    def water(self, setting):
        return self.maker.water(setting)

    def frame(self, *arguments):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.maker.frame(*arguments)


@pytest.mark.parametrize("protocol", ["realistic", "paper"])
def test_a_build_that_was_killed_goes_on_to_the_same_tree(
    tmp_path, make_tree, point_maker, protocol
):
    whole = make_tree("whole", protocol=protocol)
    settings = grid((6000.0, 7000.0), (0.15, 0.25))
    recipe = Recipe(6, 50, protocol, 3, frames_per_file=4)
    root = tmp_path / "cut"
    target = (root, settings, recipe, Dying(point_maker(recipe), 14))
    process = multiprocessing.get_context("fork").Process(target=build, args=target)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not manifest.read(root).is_complete
    assert all(h5py.is_hdf5(p) for p in root.glob("*/*/[!.]*.h5"))
    maker = point_maker(recipe)
    counted = []
    build(root, settings, recipe, maker, progress=counted.append)
    assert len(maker.made) == 36 - 13, "9 frames in each setting, 4 + 4 + 1 a file; 13 were done"
    assert sum(counted) == 36
    assert contents(root) == contents(whole)
    same = [(t.files, t.recipe) for t in map(manifest.read, (root, whole))]
    assert same[0] == same[1]


def test_another_recipe_does_not_go_on_with_an_unfinished_tree(tmp_path, point_maker):
    recipe = Recipe(6, seed=3)
    settings = report_matrix()[:1]
    manifest.Manifest(recipe.as_dict(), settings).write(tmp_path)
    other = Recipe(6, seed=4)
    with pytest.raises(OutputError, match=r"another recipe \(seed: 3 there, 4 asked for\)"):
        build(tmp_path, settings, other, point_maker(other))
    with pytest.raises(OutputError, match="other settings"):
        build(tmp_path, report_matrix(), recipe, point_maker(recipe))


def test_full_pixels_stay_full():
    a = np.array([[65535, 65000, 3]], np.uint16)
    b = np.array([[1, 1000, 4]], np.uint16)
    assert add_counts(a, b).tolist() == [[65535, 65535, 7]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "at least 1"),
        ({"percent_empty": -1}, "percent_empty"),
        ({"bragg_scale": (0.0, 1.0)}, "bragg_scale"),
        ({"bragg_scale": (1.0, 0.1)}, "rising"),
        ({"label_photons": 0}, "label_photons"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_recipes(changes, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"frames": 2, **changes})


FULL_DISK = """
import resource, sys
import numpy as np
from hitfinder.study.dataset.framefile import Attributes
from hitfinder.study.dataset.framewriter import FrameFileWriter
from hitfinder.errors import OutputError

path, limit, single = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "single"
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
noise = np.random.default_rng(0).integers(0, 65535, (100, 120)).astype("u2")
try:
    with FrameFileWriter(path, single=single) as first, FrameFileWriter(path + "2") as second:
        for _ in range(1 if single else 3):
            first.append(noise)
            second.append(noise[:20])
        rows = np.arange(1 if single else 3)
        for writer in (first, second):
            writer.describe(Attributes(rows * 1.0, rows * 1.0, rows.astype("i1")))
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("single", ["single", "stack"])
@pytest.mark.parametrize("limit", [300, 2_500, 12_000, 30_000])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, limit, single):
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", FULL_DISK, str(path), str(limit), single]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a.h5" in done.stdout
    assert "cannot be written (File too large)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_more_photons_than_counts_can_tell_are_refused():
    with pytest.raises(ValueError, match=r"background_shots must be 1e\+09 at most"):
        Conditions(background_shots=1e308)
    with pytest.raises(ValueError, match=r"bragg_scale must be 1e\+06 at most"):
        Recipe(frames=1, bragg_scale=(1.0, 1e308))
