import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import GeometryError, OutputError
from hitfinder.geometry.crystfel import directives_of, geom_lines, read_geom, write_geom
from hitfinder.geometry.crystfel.entries import Flag
from hitfinder.geometry.crystfel.writer import rectangles
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector

DATA = Path(__file__).parent / "data"


def two_panels():
    """Two panels that share a frame, turned and shifted against one another."""
    a = Panel("a", 0, 0, 8, 6, -3.25, 1.5, (0.9998, -0.02, 0.001), (0.02, 0.9998, 0.0))
    b = Panel("b", 10, 2, 5, 4, 7.1, -9.75, (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), 1e-4, 0.002)
    mask = np.zeros((6, 15), bool)
    mask[3, 2:5] = mask[4, 2:5] = mask[2, 10] = True
    return Detector("two", (6, 15), (a, b), mask)


def corners(geometry):
    """Lab positions of every panel's four corners, in pixels of that panel."""
    found = []
    for p in geometry.detector:
        fs = np.array([0, p.n_fs, 0, p.n_fs]) + p.fs_start
        ss = np.array([0, 0, p.n_ss, p.n_ss]) + p.ss_start
        found.append(np.array(p.positions(fs, ss, geometry.camera_length_m)) / p.pixel_size_m)
    return np.array(found)


def test_round_trip_of_panels_and_mask(tmp_path):
    geometry = Geometry(two_panels(), 0.1234567, 6543.21)
    write_geom(tmp_path / "a.geom", geom_lines(geometry, data_path="/data", comments=["one\ntwo"]))
    geom = read_geom(tmp_path / "a.geom")
    again = geom.geometry(shape=geometry.shape)
    np.testing.assert_allclose(corners(again), corners(geometry), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(again.detector.full_mask, geometry.detector.full_mask)
    assert again.photon_energy_ev == geometry.photon_energy_ev
    assert geom.adu_per_photon() == 1
    assert not geom.warnings
    assert (tmp_path / "a.geom").read_text().startswith("; one\n; two\n")


numbers = st.floats(-3000, 3000)
parts = st.floats(-1.5, 1.5)


@settings(max_examples=60)
@given(
    corner=st.tuples(numbers, numbers),
    fs=st.tuples(parts, parts, parts),
    ss=st.tuples(parts, parts, parts),
    pixel=st.floats(1e-6, 1e-3),
    coffset=st.floats(-0.05, 0.5),
    length=st.floats(0.051, 10),
)
def test_round_trip_to_a_millionth_of_a_pixel(tmp_path, corner, fs, ss, pixel, coffset, length):
    if np.linalg.norm(np.cross(fs, ss)) < 1e-3:
        return
    panel = Panel("p0", 3, 5, 4000, 4000, *corner, fs, ss, pixel, coffset)
    geometry = Geometry(Detector("d", (4010, 4010), (panel,)), length, 8000)
    write_geom(tmp_path / "a.geom", geom_lines(geometry, data_path="/data"))
    again = read_geom(tmp_path / "a.geom").geometry()
    np.testing.assert_allclose(corners(again), corners(geometry), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["eiger-x-4m", "pilatus-6m", "eiger-4m-report"])
def test_named_detectors_survive(tmp_path, name):
    geometry = Geometry(named_detector(name), 0.15, 6000)
    write_geom(tmp_path / "a.geom", geom_lines(geometry, data_path="/entry/data/data"))
    again = read_geom(tmp_path / "a.geom").geometry()
    np.testing.assert_array_equal(again.detector.full_mask, geometry.detector.full_mask)
    np.testing.assert_allclose(corners(again), corners(geometry), rtol=0, atol=1e-6)


def test_written_file_agrees_with_an_independent_reader(tmp_path):
    """The text of written.geom is what cfel_fmt's answer in written.json is about."""
    geometry = Geometry(two_panels(), 0.15, 6000)
    write_geom(
        tmp_path / "a.geom",
        geom_lines(
            geometry,
            data_path="/entry_1/data_1/data",
            mask_path="/entry_1/data_1/mask",
            mask_bad=1,
            peak_list="/entry_1/result_1",
        ),
    )
    assert (tmp_path / "a.geom").read_text() == (DATA / "written.geom").read_text()
    theirs = json.loads((DATA / "written.json").read_text())
    assert theirs["beam"]["photon_energy"] == 6000
    assert theirs["mask"] == [0, 1]
    for panel in geometry.detector:
        found = theirs["panels"][panel.name]
        assert found["dim_structure"] == ["%", "ss", "fs"]
        assert found["data"] == "/entry_1/data_1/data"
        assert found["mask"] == "/entry_1/data_1/mask"
        assert [found["min_fs"], found["max_fs"]] == [
            panel.fs_start,
            panel.fs_start + panel.n_fs - 1,
        ]
        assert [found["min_ss"], found["max_ss"]] == [
            panel.ss_start,
            panel.ss_start + panel.n_ss - 1,
        ]
        for key, vector in [("fs", panel.fs_vector), ("ss", panel.ss_vector)]:
            assert [found[f"{key}{axis}"] for axis in "xyz"] == pytest.approx(vector, abs=1e-12)
        assert [found["cnx"], found["cny"]] == pytest.approx([panel.corner_x, panel.corner_y])
        assert 1 / found["res"] == pytest.approx(panel.pixel_size_m, rel=1e-12)
        assert found["coffset"] == pytest.approx(panel.coffset_m)
        assert found["clen"] == 0.15


def test_values_may_be_left_to_the_data_file(tmp_path):
    write_geom(
        tmp_path / "a.geom",
        geom_lines(
            Geometry(two_panels(), 0.15, 6000),
            data_path="/data",
            clen="/distance",
            photon_energy="/energy",
        ),
    )
    geom = read_geom(tmp_path / "a.geom")
    assert geom.unresolved == ("/energy", "/distance")
    with h5py.File(tmp_path / "data.h5", "w") as h5file:
        h5file["/distance"], h5file["/energy"] = 170.0, [5000.0, 5100.0]
        geometry = geom.resolve(h5file, 1).geometry()
    assert (geometry.camera_length_m, geometry.photon_energy_ev) == (0.17, 5100)


@pytest.mark.parametrize("value", ["/distance m", "distance", "0.15 m"])
def test_location_is_a_path_alone(tmp_path, value):
    with pytest.raises(ValueError, match="neither an HDF5 path nor a key"):
        write_geom(
            tmp_path / "a", geom_lines(Geometry(two_panels(), 1, 1), data_path="/d", clen=value)
        )
    assert not list(tmp_path.iterdir())


def test_mask_file_needs_its_path(tmp_path):
    with pytest.raises(ValueError, match="path of the mask"):
        write_geom(
            tmp_path / "a",
            geom_lines(Geometry(two_panels(), 1, 1), data_path="/d", mask_file="m.h5"),
        )


def test_mask_file_and_bits(tmp_path):
    geometry = Geometry(two_panels(), 0.15, 6000)
    write_geom(
        tmp_path / "a.geom",
        geom_lines(
            geometry,
            data_path="/d",
            mask_path="/m",
            mask_file="mask.h5",
            mask_good=2,
            mask_bad=8,
        ),
    )
    geom = read_geom(tmp_path / "a.geom")
    (mask,) = geom.panels[0].masks
    assert (mask.location, mask.file, mask.good_bits, mask.bad_bits) == ("/m", "mask.h5", 2, 8)
    assert not geom.bad_regions


@pytest.mark.parametrize("name", ["bad1", "rigid_group", "group_a", "a/b", "a b", ""])
def test_names_crystfel_would_misread(tmp_path, name):
    detector = Detector("d", (2, 2), (Panel(name, 0, 0, 2, 2, 0, 0),))
    with pytest.raises(GeometryError, match="rename the panel"):
        write_geom(tmp_path / "a.geom", geom_lines(Geometry(detector, 1, 1000), data_path="/d"))
    assert not list(tmp_path.iterdir())


def test_ragged_mask_is_refused(tmp_path):
    noise = np.random.default_rng(1).random((100, 100)) < 0.3
    detector = Detector("d", (100, 100), (Panel("p", 0, 0, 100, 100, 0, 0),), noise)
    with pytest.raises(GeometryError, match="store it in a file"):
        write_geom(tmp_path / "a.geom", geom_lines(Geometry(detector, 1, 1000), data_path="/d"))
    assert not list(tmp_path.iterdir())


def test_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        write_geom(
            tmp_path / "no" / "a.geom", geom_lines(Geometry(two_panels(), 1, 1), data_path="/d")
        )


@settings(max_examples=100)
@given(st.integers(0, 2**30 - 1))
def test_rectangles_cover_the_mask_once(pattern):
    mask = np.array([pattern >> i & 1 for i in range(30)], bool).reshape(5, 6)
    cover = np.zeros(mask.shape, int)
    for top, bottom, left, right in rectangles(mask):
        cover[top:bottom, left:right] += 1
    np.testing.assert_array_equal(cover, mask)


GIVEN = """photon_energy = 6000 eV
clen = 0.1 m
bandwidth = 0.003
adu_per_photon = 2
res = 10000
data = /data
dim0 = %
dim1 = ss
dim2 = fs
rigid_group_q0 = a,b
rigid_group_collection_quads = q0
group_q0 = a,b
group_all = q0
flag_morethan = 60000
a/min_fs = 0
a/max_fs = 7
a/min_ss = 0
a/max_ss = 5
a/fs = x
a/ss = y
a/corner_x = 0
a/corner_y = 0
a/flag_lessthan = -100
a/max_adu = 9000
b/min_fs = 8
b/max_fs = 14
b/min_ss = 0
b/max_ss = 5
b/fs = x
b/ss = y
b/corner_x = 20
b/corner_y = 0
"""


def test_what_is_said_besides_the_geometry_is_kept(tmp_path):
    (tmp_path / "given.geom").write_text(GIVEN)
    given = read_geom(tmp_path / "given.geom")
    directives = directives_of(given, [Flag("equal", 65535.0), Flag("morethan", 60000.0)], 500.0)
    write_geom(
        tmp_path / "a.geom", geom_lines(given.geometry(), data_path="/data", directives=directives)
    )
    geom = read_geom(tmp_path / "a.geom")
    assert not geom.warnings
    assert geom.bandwidth == 0.003
    assert geom.groups == given.groups
    assert "rigid_group_collection_quads = q0" in geom.groups
    a, b = geom.panels
    told = {Flag("morethan", 60000.0), Flag("equal", 65535.0)}
    assert set(a.flags) == told | {Flag("lessthan", -100.0)}
    assert set(b.flags) == told
    assert len(a.flags) == 3
    assert (a.max_adu, b.max_adu) == (9000, None), "what the file says goes before what is known"


@pytest.mark.parametrize(
    ("flag", "lines"),
    [
        (Flag("equal", 65535.0), ["flag_equal = 65535"]),
        (Flag("equal", 2.0**31 - 1), ["flag_morethan = 2147483000"]),
        (Flag("equal", 2.0**32 - 1), ["flag_morethan = 2147483000"]),
        (Flag("morethan", 1e10), ["flag_morethan = 2147483000"]),
        (Flag("equal", -(2.0**31)), ["flag_lessthan = -2147483000"]),
        (Flag("lessthan", -(2.0**63)), ["flag_lessthan = -2147483000"]),
        (Flag("lessthan", -0.5), ["flag_lessthan = -1", "flag_equal = -1"]),
        (Flag("lessthan", 0.0), ["flag_lessthan = 0"]),
    ],
)
def test_flags_are_written_as_crystfel_can_keep_them(flag, lines):
    (told,) = {directives_of(None, [flag]).lines}
    assert list(told) == lines
    for value in (float(line.split("=")[1]) for line in lines):
        assert as_crystfel_keeps_it(value) == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize(
    ("flag", "stored"),
    [
        (Flag("equal", 2.0**32 - 1), np.array([0, 5, 2**31 - 2000, 2**32 - 1], np.uint32)),
        (Flag("equal", 2.0**31 - 1), np.array([-3, 0, 2**30, 2**31 - 1], np.int32)),
        (Flag("equal", 2.0**63 - 1), np.array([-3, 0, 2**30, 2**63 - 1], np.int64)),
        (Flag("equal", 65535.0), np.array([0, 65534, 65535], np.uint16)),
        (Flag("lessthan", -0.5), np.array([-2, -1.5, -1.2, -1, -0.6, -0.5, -0.4, 0, 1], "f4")),
    ],
)
def test_crystfel_marks_what_the_flags_say(flag, stored):
    marked = np.zeros(stored.shape, bool)
    for line in directives_of(None, [flag]).lines:
        name, _, value = line.partition(" = ")
        marked |= crystfel_marks(name, np.float32(as_crystfel_keeps_it(float(value))), stored)
    np.testing.assert_array_equal(marked, flag.bad(stored))


def as_crystfel_keeps_it(value):
    """Turn a number into a signed 32-bit integer by way of single precision (add_flag_value)."""
    whole = int(np.trunc(np.float32(value)))
    return float(np.float32(whole)) if -(2**31) <= whole < 2**31 else -(2.0**31)


def crystfel_marks(name, value, stored):
    """Compare counts with a flag in single precision (mark_flagged_pixels)."""
    counts = stored.astype(np.float32)
    if name == "flag_lessthan":
        return counts < value
    return counts > value if name == "flag_morethan" else np.rint(counts) == value


def test_saturation_is_written_where_the_file_gives_none(tmp_path):
    directives = directives_of(None, max_adu=499.0)
    write_geom(
        tmp_path / "a.geom",
        geom_lines(Geometry(two_panels(), 1, 1000), data_path="/d", directives=directives),
    )
    assert [panel.max_adu for panel in read_geom(tmp_path / "a.geom").panels] == [499, 499]


def test_saturation_in_photons_is_not_written(tmp_path):
    detector = dataclasses.replace(two_panels(), saturation=100.0)
    write_geom(tmp_path / "a.geom", geom_lines(Geometry(detector, 1, 1000), data_path="/d"))
    assert "max_adu" not in (tmp_path / "a.geom").read_text()
