import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.crystfel.entries import PanelEntry
from hitfinder.geometry.crystfel.overlaps import overlapping
from hitfinder.geometry.layout import Slab

DATA = Path(__file__).parent / "data"
BASE = """
photon_energy = 9000 eV
clen = 0.1 m
adu_per_photon = 1
res = 10000
p/min_fs = 0
p/max_fs = 9
p/min_ss = 0
p/max_ss = 4
p/fs = x
p/ss = y
p/corner_x = -5
p/corner_y = -2.5
"""


def read(tmp_path, text, base=BASE):
    path = tmp_path / "test.geom"
    path.write_text(base + text)
    return read_geom(path)


def refuse(tmp_path, text, *words, base=BASE):
    with pytest.raises(GeometryError) as caught:
        read(tmp_path, text, base).geometry()
    for word in words:
        assert word in str(caught.value)
    assert "test.geom" in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert read(tmp_path, BASE, base="\ufeffmax_adu = 7\n").panels[0].max_adu == 7


def test_a_bad_region_that_is_the_wrong_way_round_is_told(tmp_path):
    bounds = {"min_fs": 7, "max_fs": 2, "min_ss": 0, "max_ss": 3}
    text = "".join(f"bad1/{name} = {value}\n" for name, value in bounds.items())
    geom = read(tmp_path, f"{text}bad1/panel = p\n")
    assert len(geom.warnings) == 1
    assert "bad region 'bad1' ends before it begins: it masks nothing" in geom.warnings[0]


@pytest.mark.parametrize("name", ["asics", "modules"])
def test_agrees_with_an_independent_reader(name):
    geom = read_geom(DATA / f"{name}.geom")
    theirs = json.loads((DATA / f"{name}.json").read_text())
    assert [p.name for p in geom.panels] == list(theirs["panels"])
    for panel in geom.panels:
        expected = theirs["panels"][panel.name]
        for ours, key in [(panel.fs, "fs"), (panel.ss, "ss")]:
            assert ours == tuple(expected[f"{key}{axis}"] for axis in "xyz")
        assert (panel.corner_x, panel.corner_y) == (expected["cnx"], expected["cny"])
        for key in ("min_fs", "max_fs", "min_ss", "max_ss", "res", "data", "no_index"):
            assert getattr(panel, key) == expected[key], key
        assert panel.coffset_m == expected["coffset"]
        assert list(panel.dims) == expected["dim_structure"]
        assert (panel.max_adu or np.inf) == expected["max_adu"]
        if expected["mask"]:
            (mask,) = panel.masks
            assert mask.location == expected["mask"]
            assert [mask.good_bits, mask.bad_bits] == theirs["mask"]
        assert (panel.clen.location or "") == expected["clen_from"]
        assert panel.clen.value == (None if expected["clen_from"] else expected["clen"])
    assert (geom.photon_energy.location or "") == theirs["beam"]["photon_energy_from"]
    for region in geom.bad_regions:
        expected = theirs["bad"][region.name]
        axes = ("x", "y") if region.in_lab else ("fs", "ss")
        assert list(region.low) == [float(expected[f"min_{a}"]) for a in axes]
        assert list(region.high) == [float(expected[f"max_{a}"]) for a in axes]
        assert str(not region.in_lab) == expected["is_fsss"]
    assert not geom.warnings


def test_ranges_are_inclusive_and_corners_are_corners(tmp_path):
    geometry = read(tmp_path, "").geometry()
    assert geometry.shape == (5, 10)
    (panel,) = geometry.detector.panels
    assert (panel.n_ss, panel.n_fs) == (5, 10)
    # The centre of the first pixel is half a pixel from the corner.
    x, y, z = panel.positions(np.array([0.5]), np.array([0.5]), geometry.camera_length_m)
    assert (x[0], y[0], z[0]) == pytest.approx((-4.5e-4, -2e-4, 0.1))


def test_default_counts_for_panels_after_it_and_own_line_anywhere(tmp_path):
    text = BASE.replace("p/", "a/") + BASE.replace("res = 10000", "res = 5000").replace("p/", "b/")
    geom = read(tmp_path, text + "a/coffset = 2 mm\nb/min_ss = 5\nb/max_ss = 9\n", base="")
    a, b = geom.geometry().detector.panels
    assert (a.pixel_size_m, b.pixel_size_m) == (1e-4, 2e-4)
    assert geom.camera_length_m == pytest.approx(0.102)
    assert (a.coffset_m, b.coffset_m) == (0.0, -0.002)
    assert geom.layout.shape == (10, 10)


def test_default_after_the_last_panel_is_reported(tmp_path):
    geom = read(tmp_path, "coffset = 0.1\n")
    assert geom.panels[0].coffset_m == 0
    assert len(geom.warnings) == 1
    assert "coffset = 0.1" in geom.warnings[0]


def test_camera_length_may_stand_at_the_end(tmp_path):
    geom = read(tmp_path, "clen = 80 mm\n", base=BASE.replace("clen = 0.1 m", ""))
    assert geom.camera_length_m == pytest.approx(0.08)
    assert not geom.warnings


@pytest.mark.parametrize(
    ("text", "vector"),
    [
        ("x", (1, 0, 0)),
        ("-y", (0, -1, 0)),
        ("-0.999x +0.01y -0.002z", (-0.999, 0.01, -0.002)),
        ("-0.999x+0.01y-0.002z", (-0.999, 0.01, -0.002)),
        ("- 0.999 x + .01 y\t-0.002z", (-0.999, 0.01, -0.002)),
        ("+1.x", (1, 0, 0)),
        ("1e-3y + x", (1, 1e-3, 0)),
        ("0.5x + 0.25x", (0.75, 0, 0)),
    ],
)
def test_directions(tmp_path, text, vector):
    geom = read(tmp_path, f"p/fs = {text}\np/ss = 0.1x+0.2y+z\n")
    assert geom.panels[0].fs == pytest.approx(vector)


@pytest.mark.parametrize("text", ["", "1", "0.5", "xy", "0.5x 0.5y", "0.5a", "+-x", "x+"])
def test_wrong_direction_is_quoted(tmp_path, text):
    refuse(tmp_path, f"p/fs = {text}\n", ":14:", f"'p/fs = {text}'")


@pytest.mark.parametrize(
    ("line", "energy"),
    [
        ("photon_energy = 9537", 9537),
        ("photon_energy = 9537 eV", 9537),
        ("photon_energy = 9.537 keV", 9537),
        ("photon_energy = 9.537e-3 MeV", 9537),
        ("photon_energy = 9537eV", 9537),
        ("wavelength = 1.3 A", 12398.419843 / 1.3),
        ("wavelength = 1.3e-10 m", 12398.419843 / 1.3),
    ],
)
def test_photon_energy_units(tmp_path, line, energy):
    geom = read(tmp_path, "", base=BASE.replace("photon_energy = 9000 eV", line))
    assert geom.geometry().photon_energy_ev == pytest.approx(energy, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "length"),
    [("0.15", 0.15), ("0.15 m", 0.15), ("150 mm", 0.15), ("150mm", 0.15)],
)
def test_camera_length_units(tmp_path, text, length):
    geom = read(tmp_path, "", base=BASE.replace("0.1 m", text))
    assert geom.geometry().camera_length_m == pytest.approx(length)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("photon_energy = 9000 eV", "photon_energy = 9000 J", ("unit 'J'", ":2:")),
        ("photon_energy = 9000 eV", "photon_energy = -1", ("must be positive",)),
        ("photon_energy = 9000 eV", "photon_energy = 9o00", ("neither a number",)),
        ("photon_energy = 9000 eV", "wavelength = 1.3", ("has no unit", "A")),
        ("photon_energy = 9000 eV", "electron_voltage = 200 kV", ("electron",)),
        ("photon_energy = 9000 eV", "", ("photon energy", "--photon-energy-ev")),
        ("clen = 0.1 m", "clen = 0.1 inch", ("unit 'inch'",)),
        ("clen = 0.1 m", "", ("camera length", "--camera-length-m")),
        ("clen = 0.1 m", "clen = /encoder mm", ("kept in the data file", "/encoder")),
        ("clen = 0.1 m", "clen = 0", ("camera length must be positive",)),
        ("res = 10000", "res = 0", ("'res = 0'", "positive", ":5:")),
        ("res = 10000", "", ("panel 'p' has no res", ":6:")),
        ("p/max_fs = 9", "p/max_fs = 9.5", ("'p/max_fs = 9.5'", "whole", ":7:")),
        ("p/max_fs = 9", "p/max_fs = nine", ("'p/max_fs = nine'", "not a number")),
        ("p/max_fs = 9", "", ("panel 'p' has no max_fs",)),
        ("p/min_fs = 0", "p/min_fs = 10", ("less than min_fs",)),
        ("p/min_fs = 0", "p/min_fs = -1", ("negative",)),
        ("p/corner_x = -5", "p/corner_x = inf", ("finite",)),
        ("p/ss = y", "p/ss = 2x", ("parallel",)),
        ("p/fs = x", "p/fs x", ("'p/fs x'", ":10:")),
        ("p/fs = x", "p/ = x", ("'p/ = x'",)),
        ("res = 10000", "res = 10000\ndata = entry/data", ("HDF5 path",)),
        ("res = 10000", "res = 10000\ndim0 = %", ("%, fs",)),
        ("res = 10000", "res = 10000\ndim3 = %", ("nothing",)),
        ("res = 10000", "res = 10000\ndim0 = slow", ("'dim0 = slow'",)),
        ("res = 10000", "res = 10000\nmask_file = bad.h5", ("no location of the mask",)),
        ("res = 10000", "res = 10000\npeak_list_type = hdf5", ("cxi, list3",)),
        ("res = 10000", "res = 10000\nno_index = yes", ("'no_index = yes'",)),
        ("res = 10000", "res = 1_0000", ("'res = 1_0000'", "not a number")),
        ("res = 10000", "res = 10000\nmax_adu = -inf", ("not a finite number",)),
        ("res = 10000", "res = 10000\nmax_adu = nan", ("not a number",)),
        ("res = 10000", "res = 10000\ndim999999999999 = ss", ("16 axes at most", ":6:")),
        ("res = 10000", f"res = 10000\ndim{'9' * 5000} = ss", ("16 axes at most", ":6:")),
        ("res = 10000", f"res = 10000\ndim2 = {'9' * 5000}", ("not ss, fs, % or a number",)),
        ("res = 10000", f"res = 10000\nmask = /m\nmask_bad = 0x{'f' * 17}", ("64 bits",)),
        ("res = 10000", "res = 10000\ncoffset = 1e400", ("not a finite number",)),
        ("p/fs = x", "p/fs = 1e400x", ("not a finite direction",)),
        ("p/fs = x", "p/fs = x\0", ("not 'name = value'", ":10:")),
        ("p/max_fs = 9", "p/max_fs = 999999999", ("pixels are more than any frame has",)),
        ("p/max_fs = 9", "p/max_fs = 1e300", ("pixels are more than any frame has",)),
        ("p/max_fs = 9", f"p/max_fs = {'9' * 5000}", ("not a finite number",)),
    ],
)
def test_unusable_lines_are_quoted_with_their_place(tmp_path, old, new, words):
    refuse(tmp_path, "", *words, base=BASE.replace(old, new))


def test_file_without_panels(tmp_path):
    refuse(tmp_path, "", "describes no panel", base="clen = 0.1\n")


def test_missing_file(tmp_path):
    with pytest.raises(GeometryError, match="No such file"):
        read_geom(tmp_path / "none.geom")


def test_binary_file_is_refused(tmp_path):
    (tmp_path / "test.geom").write_bytes(bytes(range(256)))
    with pytest.raises(GeometryError, match=r"test\.geom"):
        read_geom(tmp_path / "test.geom")


def test_unknown_names_are_warnings(tmp_path):
    geom = read(tmp_path, "p/colour = red ; a comment\nshutter = open\nbad_a/depth = 2\n")
    assert ["colour = red" in geom.warnings[0], "shutter" in geom.warnings[1]] == [True, True]
    assert ":14:" in geom.warnings[0]
    assert len(geom.warnings) == 3


def test_names_without_use_are_no_warnings(tmp_path):
    geom = read(
        tmp_path,
        "rigid_group_q0 = p\ngroup_all = p\nrigid_group_collection_c = q0\n"
        "p/badrow_direction = x\np/saturation_map = /sat\n",
    )
    assert not geom.warnings


def test_mask_bits_without_a_mask_are_reported(tmp_path):
    geom = read(tmp_path, BASE.replace("p/", "q/"), base="mask_bad = 0xFF ; old files do\n" + BASE)
    assert geom.panels[0].masks == ()
    assert sum("mask_bad = 0xFF" in warning for warning in geom.warnings) == 1


def test_overlapping_panels_are_reported(tmp_path):
    geom = read(tmp_path, BASE.replace("p/", "q/"))
    assert "panels 'p' and 'q' share pixels" in geom.warnings[0]


@given(
    st.lists(
        st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 6)] * 2), min_size=2, max_size=12
    )
)
@settings(max_examples=60)
def test_overlaps_are_those_that_pixels_show(boxes):
    panels = [make_panel(f"p{i}", *box) for i, box in enumerate(boxes)]
    found = [(one.name, two.name) for one, two in overlapping(panels)]
    claimed = np.zeros((20, 20), int)
    for panel in panels:
        claimed[panel.min_ss : panel.max_ss + 1, panel.min_fs : panel.max_fs + 1] += 1
    assert bool(found) == bool((claimed > 1).any())
    for one, two in found:
        a, b = (next(p for p in panels if p.name == name) for name in (one, two))
        assert a.min_fs <= b.max_fs
        assert b.min_fs <= a.max_fs
        assert a.min_ss <= b.max_ss
        assert b.min_ss <= a.max_ss


def make_panel(name, fs, ss, n_fs, n_ss):
    ranges = (fs, fs + n_fs - 1, ss, ss + n_ss - 1)
    return PanelEntry(name, *ranges, 0.0, 0.0, (1.0, 0, 0), (0, 1.0, 0), 1e4)


def test_many_panels_are_looked_through_quickly():
    # A time that grows with the square of their number would be hours.
    side = 300
    panels = [make_panel(f"p{k}", 3 * (k % side), 3 * (k // side), 3, 3) for k in range(side**2)]
    assert not list(overlapping(panels))


def test_more_panels_than_any_detector_has_are_refused(tmp_path):
    text = "".join(f"q{k}/min_fs = 0\n" for k in range(10_001))
    refuse(tmp_path, text, "more than 10000 panels")


def test_a_limit_that_is_infinite_is_none(tmp_path):
    geom = read(tmp_path, "p/max_adu = inf\n")
    assert geom.panels[0].max_adu is None
    assert geom.geometry().detector.saturation is None
    region = "bad_a/min_x = -inf\nbad_a/max_x = inf\nbad_a/min_y = -inf\nbad_a/max_y = -0.6\n"
    mask = read(tmp_path, region).geometry().detector.mask
    assert mask.any(axis=1).tolist() == [True, True, False, False, False]
    assert mask[:2].all()


def test_windows_line_ends(tmp_path):
    path = tmp_path / "test.geom"
    path.write_bytes(BASE.replace("\n", "\r\n").encode())
    assert read_geom(path).geometry().shape == (5, 10)


def test_bad_regions_of_the_data_are_inclusive(tmp_path):
    bounds = "bad_a/min_fs = 2\nbad_a/max_fs = 4\nbad_a/min_ss = 1\nbad_a/max_ss = 1\n"
    expected = np.zeros((5, 10), bool)
    expected[1, 2:5] = True
    for version in (bounds, "bad_a/panel = p\n" + bounds):
        np.testing.assert_array_equal(read(tmp_path, version).geometry().detector.mask, expected)


def test_bad_region_counts_from_its_panels_place(tmp_path):
    geom = read_geom(DATA / "asics.geom")
    mask = geom.geometry(9000, 0.1).detector.mask
    expected = np.zeros((30, 40), bool)
    expected[3, 20:23] = True
    expected[15:, :20] = True  # q1a0 is left out
    far_from_stop = np.zeros((30, 40), bool)
    far_from_stop[:15, 20:] = far_from_stop[15:, :20] = True
    np.testing.assert_array_equal(mask[far_from_stop], expected[far_from_stop])


def test_bad_regions_of_the_lab_hold_first_corners_strictly_inside(tmp_path):
    text = "bad_a/min_x = -3\nbad_a/max_x = 0\nbad_a/min_y = -1.5\nbad_a/max_y = 0.6\n"
    mask = read(tmp_path, text).geometry().detector.mask
    expected = np.zeros((5, 10), bool)
    # corners at x = -5 .. 4 and y = -2.5 .. 1.5; -3, 0 and -1.5 are outside
    expected[2:4, 3:5] = True
    np.testing.assert_array_equal(mask, expected)


def test_bad_region_mixing_coordinates(tmp_path):
    refuse(tmp_path, "bad_a/min_x = 0\nbad_a/max_fs = 1\n", "mixes fs/ss and x/y", ":14:")


def test_bad_region_without_all_bounds(tmp_path):
    refuse(tmp_path, "bad_a/min_x = 0\nbad_a/max_x = 1\nbad_a/min_y = 2\n", "no max_y")


def test_bad_region_on_unknown_panel(tmp_path):
    bounds = "bad_a/min_fs = 0\nbad_a/max_fs = 1\nbad_a/min_ss = 0\nbad_a/max_ss = 1\n"
    refuse(tmp_path, bounds + "bad_a/panel = r\n", "'r'", "does not exist")


def test_bad_region_beyond_its_panel_is_clipped_and_reported(tmp_path):
    bounds = "bad_a/min_fs = 8\nbad_a/max_fs = 12\nbad_a/min_ss = 0\nbad_a/max_ss = 0\n"
    geom = read(tmp_path, bounds + "bad_a/panel = p\n")
    assert "only where it is on its panel" in geom.warnings[0]
    assert np.argwhere(geom.geometry().detector.mask).tolist() == [[0, 8], [0, 9]]


def test_edges_and_left_out_panels(tmp_path):
    mask = read(tmp_path, "p/mask_edge_pixels = 2\n").geometry().detector.mask
    assert (~mask).sum() == 6
    assert not mask[2, 2:8].any()
    assert read(tmp_path, "p/no_index = true\n").geometry().detector.mask.all()
    assert read(tmp_path, "p/no_index = 0\n").geometry().detector.mask is None


def test_saturation_is_the_lowest_limit():
    assert read_geom(DATA / "asics.geom").geometry(9000, 0.1).detector.saturation == 9000


def test_flags_are_strict_and_equal_rounds(tmp_path):
    geom = read(tmp_path, "p/flag_lessthan = 0\np/flag_morethan = 5\np/flag_equal = 3\n")
    frame = np.full((5, 10), 1.0)
    frame[0, :6] = [-1, 0, 5, 6, 3.2, np.nan]
    assert np.flatnonzero(geom.flagged(frame)).tolist() == [0, 3, 4, 5]


def test_flags_set_before_and_for_a_panel_add_up(tmp_path):
    base = "flag_equal = 7\n" + BASE
    geom = read(tmp_path, "p/flag_morethan = 100\n", base=base)
    assert [(f.kind, f.value) for f in geom.panels[0].flags] == [("equal", 7), ("morethan", 100)]


def test_detector_units_per_photon(tmp_path):
    assert read(tmp_path, "").adu_per_photon() == 1
    per_ev = BASE.replace("adu_per_photon = 1", "adu_per_eV = 0.001")
    assert read(tmp_path, "", base=per_ev).adu_per_photon() == pytest.approx(9)
    assert read(tmp_path, "", base=per_ev).adu_per_photon(2000) == pytest.approx(2)
    assert read(tmp_path, "", base=BASE.replace("adu_per_photon = 1", "")).adu_per_photon() is None


def test_stacked_modules_make_one_frame_in_order_of_their_index():
    geom = read_geom(DATA / "modules.geom")
    path = "/entry_1/instrument_1/detector_1/data"
    assert geom.layout.slabs == (
        Slab(path, ("%", 0, "ss", "fs"), 0, 16, 16),
        Slab(path, ("%", 1, "ss", "fs"), 16, 16, 16),
    )
    assert geom.layout.shape == (32, 16)
    assert not geom.layout.is_plain
    assert geom.layout.data_paths == (path,)
    starts = {p.name: p.ss_start for p in geom.geometry().detector.panels}
    assert starts == {"p0a0": 0, "p0a1": 8, "p1a0": 16, "p1a1": 24}
    assert np.argwhere(geom.geometry().detector.mask)[0].tolist() == [24, 0]


def test_slabs_select_what_they_say():
    geom = read_geom(DATA / "modules.geom")
    data = np.arange(3 * 2 * 16 * 16).reshape(3, 2, 16, 16)
    frame = np.concatenate([data[slab.selection(2)] for slab in geom.layout.slabs])
    np.testing.assert_array_equal(frame, data[2].reshape(32, 16))


def test_dataset_for_each_module(tmp_path):
    one = BASE.replace("p/", "a/") + "a/data = /%/second\n"
    two = BASE.replace("p/", "b/") + "b/data = /%/first\n"
    geom = read(tmp_path, one + two, base="")
    assert geom.layout.data_paths == ("/%/second", "/%/first")
    assert [s.ss_start for s in geom.layout.slabs] == [0, 5]


def test_frame_larger_than_the_panels(tmp_path):
    geometry = read(tmp_path, "").geometry(shape=(7, 12))
    assert geometry.shape == (7, 12)
    assert geometry.detector.full_mask.sum() == 7 * 12 - 50
    with pytest.raises(GeometryError, match="5 x 10 pixels, these have 5 x 9"):
        read(tmp_path, "").geometry(shape=(5, 9))


def test_shift_moves_all_panels(tmp_path):
    geom = read(tmp_path, "detector_shift_x = 0.2 mm\ndetector_shift_y = -1e-4\n")
    panel = geom.geometry().detector.panels[0]
    assert (panel.corner_x, panel.corner_y) == pytest.approx((-3, -3.5))


def test_camera_length_of_each_panel_goes_to_its_offset(tmp_path):
    a = BASE.replace("p/", "a/") + "a/clen = 0.2\n"
    b = BASE.replace("p/", "b/") + "b/clen = 0.25\nb/min_ss = 5\nb/max_ss = 9\n"
    geometry = read(tmp_path, a + b, base="").geometry()
    assert geometry.camera_length_m == 0.2
    assert [p.coffset_m for p in geometry.detector.panels] == pytest.approx([0, 0.05])


def test_camera_length_from_two_places(tmp_path):
    text = BASE.replace("p/", "a/") + BASE.replace("p/", "b/") + "b/clen = /encoder m\n"
    refuse(tmp_path, text, "different places", base="")


@pytest.fixture
def cxi(tmp_path):
    with h5py.File(tmp_path / "data.cxi", "w") as h5file:
        h5file["/LCLS/photon_energy_eV"] = [9000.0, 9100.0, 9200.0]
        h5file["/LCLS/detector_1/EncoderValue"] = np.full((1, 1), -450.0)
        mask = h5file.create_dataset("/entry_1/data_1/mask", (3, 30, 40), np.uint16)
        mask[1, 2, 3] = 4
        h5file["/static/mask"] = np.eye(30, 40, dtype=np.uint8)
        h5file["/text"] = "nine"
        yield h5file


def test_values_of_the_data_file(cxi):
    geom = read_geom(DATA / "asics.geom")
    assert geom.unresolved == ("/LCLS/photon_energy_eV", "/LCLS/detector_1/EncoderValue")
    resolved = geom.resolve(cxi, 1)
    assert not resolved.unresolved
    geometry = resolved.geometry()
    assert geometry.photon_energy_ev == 9100
    # The encoder stands at -450 mm; coffset makes a distance of it.
    assert geometry.camera_length_m == pytest.approx(0.13210)
    assert [p.coffset_m for p in geometry.detector.panels] == pytest.approx([0, 0, 0, 0.0009])


def test_given_distance_is_that_of_the_first_panel():
    geometry = read_geom(DATA / "asics.geom").geometry(9000, 0.2)
    z = [p.positions(np.zeros(1), np.zeros(1), 0.2)[2][0] for p in geometry.detector.panels[::3]]
    assert geometry.camera_length_m == 0.2
    assert z[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("location", "index", "words"),
    [
        ("/nowhere", 0, "no dataset '/nowhere'"),
        ("/text", 0, "holds no number"),
        ("/LCLS/photon_energy_eV", 3, "has 3 values, none for frame 3"),
        ("/static/mask", 0, "not one number per frame"),
        ("/LCLS", 0, "no dataset"),
    ],
)
def test_value_that_is_not_in_the_data_file(tmp_path, cxi, location, index, words):
    geom = read(tmp_path, "", base=BASE.replace("clen = 0.1 m", f"clen = {location} mm"))
    with pytest.raises(GeometryError, match=words):
        geom.resolve(cxi, index)


def test_location_of_camera_length_without_unit_is_in_mm(tmp_path, cxi):
    for line, expected in [("clen = /l", 0.15), ("clen = /l mm", 0.15), ("clen = /l m", 150)]:
        cxi.require_dataset("/l", (), float)[()] = 150.0
        geom = read(tmp_path, "", base=BASE.replace("clen = 0.1 m", line))
        assert geom.resolve(cxi).camera_length_m == pytest.approx(expected)


def test_group_of_the_frame_goes_into_paths(tmp_path, cxi):
    cxi["/tag-7/energy"] = 7.5
    line = "photon_energy = /%/energy keV"
    geom = read(tmp_path, "", base=BASE.replace("photon_energy = 9000 eV", line))
    assert geom.resolve(cxi, 0, "tag-7").photon_energy_ev == pytest.approx(7500)


def test_each_percent_sign_of_a_path_takes_its_own_name(tmp_path, cxi):
    cxi["/run/3/shots/b-7/energy"] = 7.5
    line = "photon_energy = /run/%/shots/%/energy keV"
    geom = read(tmp_path, "", base=BASE.replace("photon_energy = 9000 eV", line))
    assert geom.resolve(cxi, 0, "3/b-7").photon_energy_ev == pytest.approx(7500)


def test_mask_beside_the_data_is_that_of_the_frame(cxi):
    geom = read_geom(DATA / "asics.geom")
    assert not geom.data_mask(cxi, 0).any()
    assert np.argwhere(geom.data_mask(cxi, 1)).tolist() == [[2, 3]]


def test_places_without_end_or_measure_are_not_read(tmp_path, cxi):
    layout = h5py.VirtualLayout((1,), "f8")
    layout[:] = h5py.VirtualSource(".", "/loop", (1,), "f8")
    cxi.create_virtual_dataset("/loop", layout)
    cxi.create_dataset("/many", (10**12,), "f8", chunks=(10**6,))
    cxi["/ring"] = h5py.SoftLink("/ring")
    for place, words in (
        ("/loop", "is made of itself"),
        ("/many", "one number per frame"),
        ("/ring", "no dataset"),
    ):
        line = f"photon_energy = {place} eV"
        geom = read(tmp_path, "", base=BASE.replace("photon_energy = 9000 eV", line))
        with pytest.raises(GeometryError, match=words):
            geom.resolve(cxi)


def test_mask_without_frame_axis_serves_all_frames(tmp_path, cxi):
    text = (DATA / "asics.geom").read_text().replace("/entry_1/data_1/mask", "/static/mask")
    geom = read(tmp_path, text, base="")
    np.testing.assert_array_equal(geom.data_mask(cxi, 2), np.eye(30, 40, dtype=bool))


def test_mask_bits(tmp_path, cxi):
    cxi["/bits"] = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]] * 5, np.uint32)
    base = "mask1_data = /bits\nmask1_goodbits = 0x1\nmask1_badbits = 4\n" + BASE
    bad = read(tmp_path, "", base=base).data_mask(cxi)
    assert bad[0].tolist() == [True, False, True, False, True, True, True, True, True, False]


def test_mask_that_does_not_fit(tmp_path, cxi):
    base = "mask = /LCLS/photon_energy_eV\nmask_bad = 1\n" + BASE
    with pytest.raises(GeometryError, match=r"shape \(3,\) does not hold 5 x 10"):
        read(tmp_path, "", base=base).data_mask(cxi)


def test_mask_file_beside_the_geometry_file(tmp_path):
    with h5py.File(tmp_path / "bad.h5", "w") as h5file:
        h5file["/m"] = np.eye(5, 10, dtype=np.uint8)
    base = "mask_file = bad.h5\nmask = /m\nmask_good = 0\nmask_bad = 1\n" + BASE
    mask = read(tmp_path, "p/no_index = 0\n", base=base).geometry().detector.mask
    np.testing.assert_array_equal(mask, np.eye(5, 10, dtype=bool))


def test_mask_file_of_another_format(tmp_path):
    import fabio.edfimage

    pixels = np.eye(5, 10, dtype=np.int32)
    fabio.edfimage.EdfImage(pixels).write(str(tmp_path / "bad.edf"))
    base = "mask_file = bad.edf\nmask = /m\nmask_good = 1\n" + BASE
    mask = read(tmp_path, "", base=base).geometry().detector.mask
    np.testing.assert_array_equal(mask, pixels == 0)


def test_missing_mask_file(tmp_path):
    base = "mask_file = bad.h5\nmask = /m\nmask_bad = 1\n" + BASE
    refuse(tmp_path, "", "'bad.h5' does not exist", base=base)


def test_geometry_file_travels_to_other_processes():
    geom = read_geom(DATA / "asics.geom")
    again = pickle.loads(pickle.dumps(geom))
    assert again == geom
