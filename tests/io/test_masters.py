"""What masters of other writers say of their frames, in whatever words, and what they leave out."""

import h5py
import numpy as np
import pytest

from hitfinder.io.metadata import Metadata
from hitfinder.io.open import open_source
from hitfinder.io.quantities import PHOTON_ENERGY, PIXEL_SIZE, WAVELENGTH, converted

SHAPE = (20, 30)
DETECTOR = "entry/instrument/detector"


def write(path, fields, classes=None, links=None):
    """Write frames with fields, ``(value, unit)`` or a value, and groups with an ``NX_class``."""
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((2, *SHAPE), np.uint16)
        for group, nx_class in (classes or {}).items():
            file.require_group(group).attrs["NX_class"] = nx_class
        for name, value in fields.items():
            value, unit = value if isinstance(value, tuple) else (value, None)
            file[name] = value
            if unit is not None:
                file[name].attrs["units"] = unit
        for name, (target, inside) in (links or {}).items():
            file[name] = h5py.ExternalLink(target, inside)
    return path


def said(path) -> Metadata:
    with open_source(path) as source:
        return source.metadata


def test_a_detector_of_another_name_is_found_by_its_class(tmp_path):
    mask = np.zeros(SHAPE, np.uint32)
    mask[3:6, 4:8] = 8
    group = "entry/instrument/eiger"
    fields = {
        f"{group}/pixel_mask": mask,
        f"{group}/distance": (100.0, "mm"),
        f"{group}/beam_center_x": (14.0, "pixel"),
        f"{group}/beam_center_y": (6.0, "pixel"),
        f"{group}/x_pixel_size": (75.0, "um"),
        f"{group}/description": "EIGER2 of the line",
        "entry/instrument/diode/distance": (2.0, "m"),
    }
    classes = {group: "NXdetector", "entry/instrument/diode": b"NXdetector"}
    found = said(write(tmp_path / "e.h5", fields, classes))
    assert found.camera_length_m == pytest.approx(0.1)
    assert found.beam_center == (14, 6)
    assert found.pixel_size_m == pytest.approx(75e-6)
    assert found.detector == "EIGER2 of the line"
    np.testing.assert_array_equal(found.mask, mask != 0)


def test_two_camera_lengths_and_a_flat_field_that_is_left_out_are_told(tmp_path):
    fields = {
        f"{DETECTOR}/detector_distance": (0.2, "m"),
        f"{DETECTOR}/distance": (150.0, "mm"),
        f"{DETECTOR}/flatfield": np.ones(SHAPE, np.float32),
        f"{DETECTOR}/flatfield_applied": 0,
    }
    found = said(write(tmp_path / "two.h5", fields))
    assert found.camera_length_m == 0.2
    length, flat = found.notes
    assert "is 200 mm at /entry/instrument/detector/detector_distance, which is used" in length
    assert "but 150 mm at /entry/instrument/detector/distance" in length
    assert "flat field that was not applied" in flat
    fields |= {f"{DETECTOR}/distance": (200.0, "mm"), f"{DETECTOR}/flatfield_applied": 1}
    assert said(write(tmp_path / "one.h5", fields)).notes == ()


def test_the_usual_group_goes_before_others_of_its_class(tmp_path):
    fields = {f"{DETECTOR}/distance": (0.2, "m"), "entry/instrument/a/distance": (0.1, "m")}
    found = said(write(tmp_path / "e.h5", fields, {"entry/instrument/a": "NXdetector"}))
    assert found.camera_length_m == 0.2


@pytest.mark.parametrize(
    ("fields", "classes", "energy"),
    [
        ({"entry/instrument/monochromator/energy": (9.0, "keV")}, {}, 9000),
        ({"entry/instrument/monochromator/wavelength": (1.2398419843, "A")}, {}, 10000),
        ({"entry/line/mono/energy": (9.0, "keV")}, {"entry/line/mono": "NXmonochromator"}, 9000),
        ({"scan/x/incident_energy": (9.0, "keV")}, {"scan/x": "NXbeam"}, 9000),
        (
            {
                "entry/instrument/beam/incident_wavelength": (2.0664033, "angstrom"),
                "entry/instrument/monochromator/energy": (9.0, "keV"),
            },
            {},
            6000,
        ),
        # The energy of an NXsource is that of its electrons.
        ({"entry/source/energy": (3.0, "GeV")}, {"entry/source": "NXsource"}, None),
    ],
)
def test_the_photon_energy_is_that_of_the_beam_else_of_its_monochromator(
    tmp_path, fields, classes, energy
):
    found = said(write(tmp_path / "e.h5", fields, classes)).photon_energy_ev
    assert found == (None if energy is None else pytest.approx(energy, rel=1e-6))


@pytest.mark.parametrize(
    ("kind", "value", "unit", "expected"),
    [
        (PIXEL_SIZE, 75.0, "micron", 75e-6),
        (PIXEL_SIZE, 75.0, " μm", 75e-6),  # the Greek letter
        (PIXEL_SIZE, 75.0, "\u00b5m", 75e-6),  # the sign
        (PIXEL_SIZE, 0.075, "millimeter", 75e-6),
        (PIXEL_SIZE, 0.075, "Millimetres", 75e-6),
        (PIXEL_SIZE, 75000, "nm", 75e-6),
        (WAVELENGTH, 0.1, "nanometer", 1.0),
        (WAVELENGTH, 1.0, "\u212b", 1.0),  # the sign of the ångström
        (WAVELENGTH, 1.0, "Ångström", 1.0),
        (WAVELENGTH, 1e-10, "m", 1.0),
        (WAVELENGTH, 100.0, "pm", 1.0),
        (PHOTON_ENERGY, 9.0, "keV", 9000.0),
        (PHOTON_ENERGY, 9.0, "KEV", 9000.0),
        (PHOTON_ENERGY, 9000 * 1.602176634e-19, "joule", 9000.0),
    ],
)
def test_units_are_known_in_their_usual_spellings(kind, value, unit, expected):
    found, notes = converted(kind, np.array([value]), unit, "/x")
    assert found == pytest.approx(expected)
    assert not notes


@pytest.mark.parametrize(
    ("kind", "value", "unit", "expected", "words"),
    [
        (PIXEL_SIZE, 75.0, "furlong", None, "'furlong', which is not known: it is not used"),
        (PIXEL_SIZE, 0.172, "", 172e-6, "has no unit: 0.172 is taken as mm"),
        (PIXEL_SIZE, 172.0, "", 172e-6, "has no unit: 172 is taken as µm"),
        (PIXEL_SIZE, 1e9, "", None, "has no unit, and 1e+09 tells none"),
        (PIXEL_SIZE, 0.172, "m", 0.172, "is 0.172 m: is its unit right?"),
        (WAVELENGTH, 0.1, "", 0.1, "is 0.1 Å: is its unit right?"),
        (PHOTON_ENERGY, 9.0, "", 9000.0, "has no unit: 9 is taken as keV"),
        (PHOTON_ENERGY, 9.0, "eV", 9.0, "is 9 eV: is its unit right?"),
    ],
)
def test_what_a_unit_leaves_open_is_said(kind, value, unit, expected, words):
    found, notes = converted(kind, np.array([value]), unit, "/x")
    assert found == (None if expected is None else pytest.approx(expected))
    assert words in " ".join(notes)
    assert f"the {kind.name} at /x" in notes[0]


def test_beam_centres_of_unknown_unit_are_not_used(tmp_path):
    fields = {f"{DETECTOR}/beam_center_{axis}": (12.0, "inch") for axis in "xy"}
    found = said(write(tmp_path / "e.h5", fields))
    assert found.beam_center is None
    assert "'inch', which is not known" in found.notes[0]


def test_a_mask_in_a_file_that_is_missing_is_a_problem(tmp_path):
    links = {f"{DETECTOR}/{name}": ("meta.h5", f"/{name}") for name in ("pixel_mask", "distance")}
    path = write(tmp_path / "run.nxs", {f"{DETECTOR}/description": "x"}, links=links)
    with open_source(path) as source:
        (problem,) = source.problems
        assert problem.status == "missing-source"
        assert "linked file meta.h5 is missing" in str(problem)
        assert f"/{DETECTOR}/pixel_mask" in str(problem)
        assert f"/{DETECTOR}/distance" in str(problem)
        assert "no pixel is masked by it" in str(problem)
        assert source.n_readable == 2
        assert source.metadata.mask is None
        assert source.has_lost_mask


def test_another_mask_stands_in_for_one_that_is_missing(tmp_path):
    links = {f"{DETECTOR}/pixel_mask": ("meta.h5", "/mask")}
    path = write(tmp_path / "run.nxs", {"entry/data/mask": np.eye(*SHAPE, dtype="u1")}, links=links)
    with open_source(path) as source:
        assert source.metadata.mask.sum() == 20
        assert len(source.problems) == 1
        assert not source.has_lost_mask
