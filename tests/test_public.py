"""The public names: lazy, typed, and the same whatever was imported before."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import hitfinder as hf
from hitfinder.finding.settings import FinderOptions

INIT = Path(hf.__file__)


def in_fresh_python(code):
    """What a Python of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def typed_names():
    """Public names and their modules as the type checker sees them."""
    for node in ast.walk(ast.parse(INIT.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("hitfinder."):
            for alias in node.names:
                place = node.module
                name = alias.asname or alias.name
                yield name, place if name == alias.name else f"{place}:{alias.name}"


def test_type_checkers_see_the_names_that_python_gives():
    assert dict(typed_names()) == dict(hf.PUBLIC)
    assert (INIT.parent / "py.typed").is_file()


@pytest.mark.parametrize("name", sorted(hf.PUBLIC))
def test_every_name_is_there_and_says_what_it_is(name):
    found = getattr(hf, name)
    assert not inspect.ismodule(found)
    assert len(inspect.getdoc(found).splitlines()[0]) > 10
    assert name in dir(hf)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="module 'hitfinder' has no attribute 'find_peeks'"):
        hf.find_peeks  # noqa: B018
    with pytest.raises(ImportError):
        exec("from hitfinder import find_peeks")


def test_import_takes_little_time_as_it_loads_little():
    code = "import sys; before = {*sys.modules}; import hitfinder; print(*{*sys.modules} - before)"
    loaded = in_fresh_python(code).split()
    own = {name for name in loaded if name.partition(".")[0] == "hitfinder"}
    assert own == {"hitfinder", "hitfinder.compilecache", "hitfinder.lazy"}
    assert {name.partition(".")[0] for name in loaded} <= {"hitfinder", *sys.stdlib_module_names}
    assert len(loaded) < 50


def test_no_name_is_that_of_a_module_in_the_package():
    folder = INIT.parent
    modules = {path.stem for path in folder.glob("*.py")}
    modules |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert not modules & set(hf.PUBLIC)


@pytest.mark.parametrize("name", ["run", "simulate", "index"])
def test_modules_are_imported_under_any_name_beside_the_functions(name):
    place = hf.PUBLIC[name]
    module = importlib.import_module(place)
    names = {"hf": hf}
    exec(f"import {place}\nimport {place} as chosen", names)
    assert names["chosen"] is module
    assert getattr(hf, name) is getattr(module, name)


def test_keywords_of_finders_are_their_settings():
    fields = {field for field in hf.FinderSettings.__dataclass_fields__ if field != "finder"}
    assert set(FinderOptions.__annotations__) == fields


@pytest.fixture(scope="module")
def geometry():
    return hf.Geometry.flat((96, 128), 75e-6, camera_length_m=0.05, photon_energy_ev=6000)


@pytest.fixture(scope="module")
def frame():
    counts = np.random.default_rng(0).poisson(0.02, (96, 128)).astype(np.uint16)
    counts[[20, 40, 70], [30, 80, 25]] += 25
    return counts


PLACES = {"fs": [30.5, 80.5, 25.5], "ss": [20.5, 40.5, 70.5]}


def test_a_frame_to_peaks_takes_three_lines():
    code = """
import hitfinder as hf, numpy as np
frame = np.zeros((96, 128), np.uint16); frame[[20, 40, 70], [30, 80, 25]] = 25
geometry = hf.Geometry.flat(frame.shape, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
peaks = hf.find_peaks(frame, geometry).peaks
print(sorted(zip(peaks["fs"].astype(int), peaks["ss"].astype(int))))
"""
    assert eval(in_fresh_python(code), {"np": np}) == [(25, 70), (30, 20), (80, 40)]


def test_found_peaks_are_a_table(geometry, frame):
    found = hf.find_peaks(frame, geometry)
    assert found.hit
    assert found.score > 2
    table = found.to_table()
    assert isinstance(table, pa.Table)
    assert table.num_rows == len(found.peaks) == 3
    assert table.schema.field("photons").metadata[b"unit"] == b"photon"
    np.testing.assert_array_equal(table["fs"].to_numpy(), found.peaks["fs"])
    assert hf.compare(table, PLACES).recall == hf.compare(found.peaks, PLACES).recall == 1
    likelihood = hf.LikelihoodFinder(geometry)(frame).to_table()
    assert likelihood["probability"].null_count == len(likelihood)


def test_what_python_shows_is_short(geometry, frame):
    assert repr(hf.find_peaks(frame, geometry)).startswith("<FrameResult: ")
    assert len(repr(hf.find_peaks(frame, geometry))) < 80
    assert repr(geometry).startswith("<Geometry: flat, ")
    assert repr(hf.open(frame)).startswith(f"<ArraySource: 1 frames of {frame.shape[0]} x ")


def test_finders_take_lists_and_masks_of_any_kind(geometry, frame):
    find = hf.LikelihoodFinder(geometry)
    mask = np.zeros(frame.shape, np.uint8)
    mask[15:25, 25:35] = 1
    assert len(find(frame.tolist()).peaks) == 3
    assert len(find(frame, mask=mask).peaks) == len(find(frame, mask.tolist()).peaks) == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f, g: hf.find_peaks(f[:50], g), ValueError, r"frame shape \(50, 128\) is not the"),
        (lambda f, g: hf.find_peaks(f[None], g), ValueError, r"frame shape \(1, 96, 128\)"),
        (lambda f, g: hf.find_peaks(f.astype(complex), g), ValueError, "complex128 are not counts"),
        (lambda f, g: hf.find_peaks(f.astype(str), g), ValueError, "are not counts"),
        (lambda f, g: hf.find_peaks(f, g, mask=f[:5]), ValueError, r"mask shape \(5, 128\)"),
        (lambda f, g: hf.find_peaks(f, "x.geom"), ValueError, "geometry must be a Geometry, got s"),
        (lambda f, g: hf.find_peaks(f, g, finder="netwrk"), hf.ConfigError, "mean 'network'"),
        (lambda f, g: hf.find_peaks(f, g, finder="no.such:F"), hf.ConfigError, "be imported"),
        (lambda f, g: hf.find_peaks(f, g, false_hit=0.1), hf.ConfigError, "mean 'false_hits'"),
        (lambda f, g: hf.find_peaks(f, g, false_hits="x"), hf.ConfigError, "a finite number"),
        (lambda f, g: hf.find_peaks(f, g, false_hits=2.0), hf.ConfigError, "between 0 and 1"),
        (lambda f, g: hf.find_peaks(f, g, model="nothing"), hf.HitfinderError, "nothing"),
        (lambda f, g: hf.NetworkFinder(g, min_peak=1), hf.ConfigError, "Did you mean 'min_peaks'"),
    ],
)
def test_bad_input_of_finders_is_named(geometry, frame, call, error, message):
    with pytest.raises(error, match=message):
        call(frame, geometry)


def flat(shape=(96, 128), pixel=75e-6, **changes):
    return hf.Geometry.flat(
        shape, pixel, **{"camera_length_m": 0.1, "photon_energy_ev": 6e3, **changes}
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: flat((96,)), ValueError, r"\(rows, columns\), got \(96,\)"),
        (lambda: flat((96.5, 10)), ValueError, r"\(rows, columns\)"),
        (lambda: flat((0, 10)), ValueError, "no pixels"),
        (lambda: flat(pixel=-1.0), ValueError, "pixel size must be positive"),
        (lambda: flat(camera_length_m=0), ValueError, "camera length must be positive"),
        (lambda: flat(photon_energy_ev=-5), ValueError, "photon energy must be positive"),
        (lambda: flat(beam_center=(1, np.nan)), ValueError, "beam_center must be finite"),
        (lambda: flat(mask=np.zeros((3, 4))), ValueError, r"mask shape \(3, 4\)"),
        (lambda: flat(polarisation=2), ValueError, "polarisation"),
        (
            lambda: hf.Geometry.named("eigr2-x-4m", camera_length_m=1, photon_energy_ev=6e3),
            hf.GeometryError,
            "no detector is called 'eigr2-x-4m'",
        ),
        (lambda: hf.read_geom("no.geom"), hf.GeometryError, "no.geom: cannot be read"),
    ],
)
def test_bad_geometries_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_geometries_say_where_the_beam_is():
    middle = flat()
    moved = flat(beam_center=(30.5, 20.5), mask=np.eye(96, 128))
    for geometry, at in ((middle, (64.0, 48.0)), (moved, (30.5, 20.5))):
        assert geometry.detector.beam_center == pytest.approx(at)
    assert moved.detector.full_mask.sum() == 96
    named = hf.Geometry.named("eiger2-x-1m", camera_length_m=0.15, photon_energy_ev=7e3)
    assert named.detector.name == "eiger2-x-1m"
    assert named.detector.full_mask.sum() == 38 * 1028


def test_registered_finders_are_listed():
    known = hf.finders()
    assert list(known)[:2] == ["network", "likelihood"]
    assert all(":" in place for place in known.values())


def test_peak_tables_say_what_is_unknown():
    table = hf.peak_table([1.5], [2.5], photons=[7])
    assert (table["fs"][0], table["photons"][0]) == (1.5, 7)
    assert np.isnan(table["probability"][0])


TRUTH = {"fs": [10.0, 30.0, 50.0, 70.0], "ss": [5.0, 5, 5, 5], "photons": [20, 20, 20, 4]}


def test_compare_counts_what_is_found_missed_and_false():
    found = np.array(
        [(10.3, 5.4), (50.0, 6.0), (69.0, 5.0), (90.0, 5.0)], [("fs", "f8"), ("ss", "f8")]
    )
    all_of_them = hf.compare(found, TRUTH)
    assert (all_of_them.n_true, all_of_them.n_found, all_of_them.n_matched) == (4, 4, 3)
    assert (all_of_them.recall, all_of_them.precision) == (0.75, 0.75)
    assert all_of_them.position_error_px == 1.0
    assert all_of_them.missed.tolist() == [1]
    assert all_of_them.false.tolist() == [3]
    assert all_of_them.matched_found.tolist() == [0, 1, 2]
    assert all_of_them.matched_true.tolist() == [0, 2, 3]
    bright = hf.compare(found, TRUTH, min_photons=8)
    assert (bright.n_true, bright.n_matched, bright.n_missed, bright.n_false) == (3, 2, 1, 1)
    assert (bright.recall, bright.precision) == (2 / 3, 0.75)
    assert hf.compare(found, TRUTH, tolerance_px=0.6).n_matched == 1


def test_compare_keeps_frames_apart():
    found = {"fs": [10.0, 10.0, 30.0], "ss": [5.0, 5, 5], "frame": [2, 1, 7]}
    truth = {"fs": [30.0, 10.0, 10.0], "ss": [5.0, 5, 5], "frame": [1, 3, 2]}
    apart = hf.compare(found, truth)
    assert apart.matched_found.tolist() == [0]
    assert apart.matched_true.tolist() == [2]
    assert sorted(apart.missed) == [0, 1]
    assert sorted(apart.false) == [1, 2]
    del truth["frame"]
    assert hf.compare(found, truth).n_matched == 3


@pytest.mark.parametrize(
    "kind", [dict, pa.table, lambda columns: np.stack(list(columns.values()), 1)]
)
def test_compare_takes_tables_of_any_kind(kind):
    places = {"fs": [10.0, 30.0], "ss": [5.0, 5.0]}
    same = hf.compare(kind(places), kind(places))
    assert (same.recall, same.precision, same.position_error_px) == (1, 1, 0)


def test_compare_of_nothing_has_no_shares():
    none = hf.peak_table([], [])
    nothing = hf.compare(none, none)
    assert (nothing.n_true, nothing.n_found) == (0, 0)
    assert np.isnan([nothing.recall, nothing.precision, nothing.position_error_px]).all()
    assert hf.compare(none, TRUTH).recall == 0
    assert hf.compare(TRUTH, none).precision == 0
    assert hf.compare([], TRUTH).n_missed == 4


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        ([{"x": [1]}, TRUTH], {}, "found has no column 'fs'; it has x"),
        ([TRUTH, np.zeros((3, 4))], {}, r"truth needs columns fs and ss, or shape \(n, 2\)"),
        ([TRUTH, "truth"], {}, "truth is no table of peaks: it is a str"),
        ([{"fs": [1, 2], "ss": [1]}, TRUTH], {}, "found has columns of different lengths"),
        ([{"fs": [np.nan], "ss": [1]}, TRUTH], {}, "found positions must be finite"),
        ([TRUTH, TRUTH], {"tolerance_px": 0}, "tolerance_px must be positive"),
        ([TRUTH, {"fs": [1], "ss": [1]}], {"min_photons": 3}, "needs a truth with the column"),
    ],
)
def test_bad_input_of_compare_is_named(arguments, changes, message):
    with pytest.raises(ValueError, match=message):
        hf.compare(*arguments, **changes)
