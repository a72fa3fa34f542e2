"""Trees from frames of other programs: the report's own files, and pattern_sim's."""

import h5py
import numpy as np
import pytest

from hitfinder.errors import ConfigError, SourceError
from hitfinder.study.dataset.build import build
from hitfinder.study.dataset.importing import ImportedMaker, find_sources
from hitfinder.study.dataset.layout import report_matrix
from hitfinder.study.dataset.recipe import Recipe
from hitfinder.study.dataset.tree import open_tree
from hitfinder.study.dataset.validate import validate

SHAPE = (67, 64)  # the report's detector in blocks of 32


def recipe(**changes):
    return Recipe(**{"frames": 1, "percent_empty": 100, "bin": 32, "frames_per_file": 2, **changes})


@pytest.fixture
def lab(tmp_path):
    """Single-frame files in peaks/02 and peaks/05, as pattern_sim's users keep them."""
    rng = np.random.default_rng(0)
    for name, energy, length, n in (("02", 7000, 0.15, 3), ("05", 7000, 0.25, 2)):
        folder = tmp_path / "lab/peaks" / name
        folder.mkdir(parents=True)
        for k in range(n):
            with h5py.File(folder / f"img_{energy // 1000}keV_clen{k}.h5", "w") as file:
                image = np.zeros(SHAPE, np.float32)
                image.flat[rng.choice(image.size, 4, replace=False)] = 30 + k
                file["entry/data/data"] = image
                if name == "02":
                    file.attrs.update(clen=length, photon_energy=energy)
    return tmp_path / "lab"


@pytest.mark.parametrize("protocol", ["paper", "realistic"])
def test_a_lab_tree_becomes_a_sound_one(lab, tmp_path, protocol):
    settings, sources = find_sources(lab, report_matrix())
    assert [(s.name, s.frames) for s in settings] == [("02", 3), ("05", 2)]
    build(
        tmp_path / "t",
        settings,
        recipe(protocol=protocol),
        ImportedMaker(recipe(protocol=protocol), sources),
    )
    assert list(validate(tmp_path / "t")) == []
    tree = open_tree(tmp_path / "t")
    assert len(tree) == 10
    own = np.flatnonzero((tree.settings == "02") & (tree.attributes.peak == 1))
    brightest = [int(tree.read("peaks", i).max()) for i in own]
    assert brightest == [30, 31, 32], "each file once, in order"
    spots = tree.sets[0].spots()
    assert set(spots.photons.tolist()) <= {30.0, 31.0, 32.0, 60.0, 62.0, 64.0}


def test_water_kept_with_the_frames_is_used(lab, tmp_path):
    for name in ("02", "05"):
        (lab / "water" / name).mkdir(parents=True)
        with h5py.File(lab / "water" / name / "water_image.h5", "w") as file:
            file["entry/data/data"] = np.full(SHAPE, 9.0, np.float32)
    settings, sources = find_sources(lab, report_matrix())
    paper = recipe(protocol="paper")
    build(tmp_path / "t", settings, paper, ImportedMaker(paper, sources))
    assert (open_tree(tmp_path / "t").read("water", 0) == 9).all()


def test_expected_photons_are_counted(lab, tmp_path):
    path = next((lab / "peaks/05").iterdir())
    with h5py.File(path, "r+") as file:
        file["entry/data/data"][...] = 2.5
    settings, sources = find_sources(lab, report_matrix())
    maker = ImportedMaker(recipe(), sources)
    with_peaks = np.flatnonzero(maker.recipe.has_peaks(settings[1]))
    images = [maker.frame(settings[1], n, True).bragg for n in with_peaks]
    (drawn,) = [image for image in images if image.mean() > 1]
    assert drawn.mean() == pytest.approx(2.5, abs=0.15)
    assert drawn.var() == pytest.approx(2.5, abs=0.25)


def test_contradicting_attributes_are_named(lab):
    path = next((lab / "peaks/02").iterdir())
    with h5py.File(path, "r+") as file:
        file.attrs["photon_energy"] = 8000
    with pytest.raises(ConfigError, match=f"{path.name}: photon_energy 8000 eV.*setting 02"):
        find_sources(lab, report_matrix())


def test_what_cannot_be_imported(lab, tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        find_sources(tmp_path / "absent", report_matrix())
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no HDF5 files"):
        find_sources(tmp_path / "empty", report_matrix())
    (lab / "peaks/12").mkdir()
    with pytest.raises(ConfigError, match="'12' is no setting"):
        find_sources(lab, report_matrix())
    (lab / "peaks/12").rmdir()
    _, sources = find_sources(lab, report_matrix())
    with pytest.raises(ConfigError, match=r"frames have \(67, 64\)"):
        ImportedMaker(recipe(bin=16), sources)
    path = next((lab / "peaks/05").iterdir())
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(SourceError, match=path.name):
        find_sources(lab, report_matrix())


def test_frames_of_pattern_sim(pattern_sim, tmp_path):
    """One frame of each of the nine settings, full size, by CrystFEL 0.10.2."""
    with h5py.File(pattern_sim) as file:
        for k, setting in enumerate(report_matrix()[:2]):
            folder = tmp_path / "lab/peaks" / setting.name
            folder.mkdir(parents=True)
            with h5py.File(folder / "img_00001.h5", "w") as single:
                single["entry/data/data"] = file["entry/data/data"][k]
                single.attrs["photon_energy"] = file["photon_energy_ev"][k]
                single.attrs["clen"] = file["camera_length_m"][k]
        first = file["entry/data/data"][0]
    settings, sources = find_sources(tmp_path / "lab", report_matrix())
    full = Recipe(1, 100, seed=1)
    build(tmp_path / "t", settings, full, ImportedMaker(full, sources))
    assert list(validate(tmp_path / "t")) == []
    tree = open_tree(tmp_path / "t")
    index = int(np.flatnonzero(tree.attributes.peak == 1)[0])
    assert np.array_equal(tree.read("peaks", index), first)
    assert len(tree.sets[0].spots().fs) > 10
