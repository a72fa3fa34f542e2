import json
from pathlib import Path

import numpy as np
import pytest

from hitfinder.errors import ConfigError, OutputError
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.select import Selection, link_selection, select
from hitfinder.study.dataset.split import read_split, split, stratified
from hitfinder.study.dataset.tree import open_tree
from hitfinder.study.dataset.validate import validate


def names(tree):
    return [tree.frame_name(i) for i in range(len(tree))]


def test_a_split_is_stratified_and_complete(make_tree):
    tree = open_tree(make_tree(frames=10, percent_empty=50))
    split(tree, 0.2, seed=1)
    parts = read_split(tree)
    assert sorted(names(parts["train"]) + names(parts["test"])) == sorted(names(tree))
    for setting in ("01", "02", "03", "04"):
        test = parts["test"]
        peak = test.attributes.peak[test.settings == setting]
        assert (peak == 1).sum() == 2
        assert (peak == 0).sum() == 1


def test_a_few_frames_of_each_kind_still_give_the_fraction(make_tree):
    tree = open_tree(make_tree(frames=3, percent_empty=100))
    chosen = stratified(tree, 0.125, seed=0)
    assert chosen.sum() == 3
    for setting in ("01", "02", "03", "04"):
        for kind in (0, 1):
            own = (tree.settings == setting) & (tree.attributes.peak == kind)
            assert chosen[own].sum() in (0, 1)


def test_the_seed_decides(make_tree):
    tree = open_tree(make_tree())
    first = split(tree, seed=1).read_text()
    with pytest.raises(OutputError, match="split already"):
        split(tree, seed=2)
    assert split(tree, seed=1, overwrite=True).read_text() == first
    assert split(tree, seed=2, overwrite=True).read_text() != first


def test_a_selection_keeps_the_parts_of_the_split(make_tree):
    tree = open_tree(make_tree())
    split(tree)
    whole = read_split(tree)
    chosen = read_split(select(tree, Selection(settings=("02",))))
    for part in ("train", "test"):
        assert names(chosen[part]) == [n for n in names(whole[part]) if n.startswith("02/")]


def test_frames_the_split_does_not_know(make_tree):
    tree = open_tree(make_tree())
    with pytest.raises(ConfigError, match="not split"):
        read_split(tree)
    path = split(tree)
    table = json.loads(path.read_text())
    del table["parts"]["train"]["03/03_6keV_clen02_000001"]
    path.write_text(json.dumps(table))
    with pytest.raises(ConfigError, match=r"03/03_6keV_clen02_000001 //. is in no part"):
        read_split(tree)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_split(tree)


@pytest.mark.parametrize("fraction", [0, 1, -0.2])
def test_impossible_fractions(make_tree, fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split(open_tree(make_tree()), fraction)


def test_select_by_setting_energy_and_length(make_tree):
    tree = open_tree(make_tree())
    assert np.unique(select(tree, Selection(("01", "04"))).settings).tolist() == ["01", "04"]
    by_energy = select(tree, Selection(photon_energies_ev=(7000.0,)))
    assert np.unique(by_energy.settings).tolist() == ["02", "04"]
    both = select(tree, Selection(photon_energies_ev=(7000.0,), camera_lengths_m=(0.15,)))
    assert np.unique(both.settings).tolist() == ["02"]
    assert len(select(tree, Selection())) == len(tree)


def test_select_what_is_not_there(make_tree):
    tree = open_tree(make_tree())
    with pytest.raises(ConfigError, match=r"no setting 09.*01, 02, 03, 04"):
        select(tree, Selection(("01", "09")))
    with pytest.raises(ConfigError, match=r"photon energy of 9000 eV.*6000, 7000"):
        select(tree, Selection(photon_energies_ev=(9000.0,)))
    with pytest.raises(ConfigError, match="no frame meets all"):
        select(tree, Selection(("01",), photon_energies_ev=(7000.0,)))


def test_a_selection_as_a_tree_of_its_own(make_tree, tmp_path):
    tree = open_tree(make_tree())
    out = tmp_path / "chosen"
    assert link_selection(select(tree, Selection(camera_lengths_m=(0.25,))), out) == ["03", "04"]
    linked = open_tree(out)
    assert len(linked) == 18
    assert np.array_equal(linked.read("peaks", 0), tree.read("peaks", 18))
    assert list(validate(out)) == []
    assert {Path(r.path).parts[1] for r in manifest.read(out).files} == {"03", "04"}
    with pytest.raises(OutputError, match="something is there already"):
        link_selection(tree, out)


def test_part_of_a_setting_cannot_be_linked(make_tree, tmp_path):
    tree = open_tree(make_tree())
    with pytest.raises(ConfigError, match="only some frames of setting 01"):
        link_selection(tree.take(tree.attributes.peak == 1), tmp_path / "part")
    assert not (tmp_path / "part").exists()
