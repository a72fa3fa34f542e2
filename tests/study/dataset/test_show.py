from hitfinder.study.dataset.show import contact_sheet, holdings
from hitfinder.study.dataset.tree import open_tree


def test_holdings_count_every_folder(make_tree):
    root = make_tree()
    (root / "labels/02/02_7keV_clen01_000003.h5").unlink()
    (root / "water/03/03_6keV_clen02_000001.h5").write_bytes(b"x")
    found = {h.setting: h for h in holdings(root)}
    assert list(found) == ["01", "02", "03", "04"]
    assert found["01"].frames == {"peaks": 9, "labels": 9, "peaks_water_overlay": 9, "water": 9}
    assert (found["01"].empty, found["01"].unreadable) == (3, 0)
    assert found["02"].frames["labels"] == 8
    assert (found["03"].frames["water"], found["03"].unreadable) == (5, 1)
    assert found["02"].photon_energies_ev == (7000, 7000)
    on_disk = sum(p.stat().st_size for p in root.glob("*/04/*.h5"))
    assert found["04"].n_bytes == on_disk


def test_a_picture_of_each_setting(make_tree, tmp_path):
    contact_sheet(open_tree(make_tree()), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
