"""Geometry files of pyFAI, DIALS and XDS, against what these programs say of them."""

import json
import logging

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.errors import GeometryError
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.geometry.files import read_geometry

PONI = """# Nota: C-Order, 1 refers to the Y axis, 2 to the X axis
poni_version: 2.1
Detector: Detector
Detector_config: {{"pixel1": 0.0001, "pixel2": 0.00015, "orientation": {}, "max_shape": {}}}
Distance: 0.12
Poni1: 0.031
Poni2: 0.052
Rot1: 0.02
Rot2: -0.03
Rot3: 0.4
Wavelength: 1.3e-10
"""

PYFAI_MM = {
    1: [[17.120089, 10.020326, 120.394783], [32.073104, 0.070568, 121.042613]],
    2: [[44.601288, 21.658631, 120.991474], [41.325568, 3.988993, 121.243509]],
    3: [[56.239658, -5.8687, 121.88834], [41.286643, 4.081057, 121.24051]],
    4: [[28.758458, -17.507006, 121.291648], [32.034179, 0.162633, 121.039614]],
}
"""Centres of the pixels (0, 0) and (150, 66), (ss, fs), by calc_pos_zyx of pyFAI 2026.9.0: its
axes 2 (turned round), 1 and 3."""

THAUMATIN = {
    "__id__": "ExperimentList",
    "beam": [
        {
            "direction": [-0.0034229667619783467, -0.0, 0.999994141632113],
            "wavelength": 0.9762458439949315,
            "polarization_normal": [0.0, 1.0, 0.0],
            "polarization_fraction": 0.999,
        }
    ],
    "detector": [
        {
            "panels": [
                {
                    "name": "/entry/instrument/detector/module",
                    "fast_axis": [0.9999343565703017, 0.008972928699089156, 0.007125243918478585],
                    "slow_axis": [0.009011312015482328, -0.9999449607587793, -0.005373240073119384],
                    "origin": [-154.36992588196173, 164.3947680648576, -198.15267891180412],
                    "raw_image_offset": [0, 0],
                    "image_size": [4148, 4362],
                    "pixel_size": [0.075, 0.075],
                    "mask": [[10, 20, 30, 50]],
                    "gain": 1.0,
                    "pedestal": 0.0,
                }
            ],
            "hierarchy": {
                "fast_axis": [1.0, 0.0, 0.0],
                "slow_axis": [0.0, 1.0, 0.0],
                "origin": [0.0, 0.0, 0.0],
                "children": [{"panel": 0}],
            },
        }
    ],
}
"""Models of a thaumatin crystal at Diamond I03, refined by DIALS (DiamondLightSource/fast-feedback-
service, tests/test_predict.py, BSD-3)."""
CELL_A = [
    [-18.3617922001806, -1.3985262449809124, -54.866705726818],
    [-32.09880690850544, 47.2184015325075, 9.47764074028691],
    [115.77476247140888, 86.89078795711316, -40.81230881268615],
]
PREDICTED = [  # h, k, l, and where DIALS predicts it
    [-28, 14, 93, 3937.314, 91.352],
    [-26, 14, 90, 3769.996, 214.530],
    [-14, -30, -11, 2979.930, 3628.805],
]


def read(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return read_geometry(path)


def at(described, shape, fs, ss):
    """Places in the lab, (n, 3), of positions in a frame."""
    placed = described.placement(shape)
    out = np.full((len(fs), 3), np.nan)
    for panel in placed.panels:
        on = np.array([panel.contains(*place) for place in zip(fs, ss, strict=True)])
        if on.any():
            out[on] = np.transpose(panel.positions(fs[on], ss[on], placed.camera_length_m))
    return out


def inverse_d(described, shape, fs, ss):
    place = at(described, shape, np.asarray(fs, float), np.asarray(ss, float))
    ray = place / np.linalg.norm(place, axis=1, keepdims=True)
    return np.linalg.norm(ray - [0, 0, 1], axis=1) * described.photon_energy_ev / 12398.419843


@pytest.mark.parametrize("size", ["[300, 200]", "null"])
@pytest.mark.parametrize("orientation", PYFAI_MM)
def test_a_poni_places_pixels_where_pyfai_does(tmp_path, orientation, size):
    found = read(tmp_path, "a.poni", PONI.format(orientation, size))
    places = at(found, (300, 200), np.array([0.5, 66.5]), np.array([0.5, 150.5]))
    assert 1e3 * places == pytest.approx(np.array(PYFAI_MM[orientation]), abs=2e-6)
    assert found.photon_energy_ev == pytest.approx(12398.42 / 1.3)
    assert bool(found.warnings) == (orientation in (1, 3))


def test_a_poni_takes_the_pixels_of_a_named_detector(tmp_path):
    old = "PixelSize1: 7.5e-05\nPixelSize2: 7.5e-05\nDistance: 0.1\nPoni1: 0.04\nPoni2: 0.03\n"
    named = "Detector: Eiger2_1M\nDetector_config: {}\nDistance: 0.1\nPoni1: 0.04\nPoni2: 0.03\n"
    for text in (old, named):
        placed = read(tmp_path, "a.poni", text).placement((1062, 1028))
        assert placed.beam_center == pytest.approx((400, 40 / 0.075))
        assert placed.camera_length_m == pytest.approx(0.1)


def test_an_experiment_list_gives_reflections_the_resolution_of_their_indices(tmp_path):
    found = read(tmp_path, "a.expt", THAUMATIN)
    table = np.array(PREDICTED)
    wanted = np.linalg.norm(table[:, :3] @ np.linalg.inv(CELL_A).T, axis=1)
    inverse = inverse_d(found, (4362, 4148), table[:, 3], table[:, 4])
    # Parallax, which DIALS takes into account, shifts spots by up to a pixel.
    assert inverse == pytest.approx(wanted, rel=1e-3)
    assert found.polarisation == pytest.approx(0.999)
    mask = found.mask((4362, 4148))
    assert mask.sum() == 20 * 30
    assert mask[20:50, 10:30].all()


def test_panels_of_a_hierarchy_are_placed_in_the_group_above(tmp_path):
    turn = [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    panel = {"image_size": [20, 10], "pixel_size": [0.1, 0.1], "fast_axis": [1, 0, 0]}
    panel |= {"slow_axis": [0, 1, 0], "raw_image_offset": [0, 0]}
    said = {
        "__id__": "ExperimentList",
        "beam": [{"direction": [0, 0, -1], "wavelength": 1.0}],
        "detector": [
            {
                "panels": [panel | {"origin": [1, 0, 0]}, panel | {"origin": [2, 3, 0]}],
                "hierarchy": {
                    **{"fast_axis": turn[0], "slow_axis": turn[1], "origin": [0, 0, 50]},
                    "children": [{"panel": 0}, {**panel, "origin": [0, 0, 4], "children": []}],
                },
            }
        ],
    }
    said["detector"][0]["hierarchy"]["children"][1]["children"] = [{"panel": 1}]
    found = read(tmp_path, "b.expt", said)
    # No offsets: modules apart, one below the other. The beam of this lab is along +z.
    places = at(found, (20, 20), np.array([5.0, 5.0]), np.array([0.0, 12.0]))
    assert 1e3 * places == pytest.approx(np.array([[0, 1.5, 50], [-3.2, 2.5, 54]]), abs=1e-9)
    for number, offset in enumerate(([0, 0], [30, 40])):
        said["detector"][0]["panels"][number]["raw_image_offset"] = offset
    places = at(read(tmp_path, "b.expt", said), (50, 50), np.array([35.0]), np.array([42.0]))
    assert 1e3 * places == pytest.approx(np.array([[-3.2, 2.5, 54]]), abs=1e-9)


def test_what_dials_corrects_and_is_not_corrected_here_is_told(tmp_path):
    said = json.loads(json.dumps(THAUMATIN))
    assert read(tmp_path, "a.expt", said).warnings == ()
    said["beam"].append(said["beam"][0] | {"direction": [0.0, 0.001, 1.0]})
    said["imageset"] = [{"__id__": "ImageSet", "mask": "bad.mask", "gain": "", "dx": None}]
    panel = said["detector"][0]["panels"][0]
    panel |= {"px_mm_strategy": {"type": "ParallaxCorrectedPxMmStrategy"}, "thickness": 0.45}
    panel["mu"] = 3.9  # of Si, per mm, at 12.7 keV
    beams, mask, parallax = read(tmp_path, "a.expt", said).warnings
    assert "directions of the beam differ, by up to 1.8 mrad" in beams
    assert "bad.mask" in mask
    # Panel.pixel_to_millimeter of dxtbx moves the corners by 1.90 to 1.92 pixels.
    assert "up to 1.9 pixels" in parallax


def test_beams_of_several_stills_give_the_middle_one(tmp_path):
    said = json.loads(json.dumps(THAUMATIN))
    first = said["beam"][0]
    said["beam"] = [first | {"direction": [0.01, 0.0, 2.0]}, first, first]
    wanted = read(tmp_path, "a.expt", THAUMATIN).placement((4362, 4148)).beam_center
    found = read(tmp_path, "a.expt", said).placement((4362, 4148)).beam_center
    assert found == pytest.approx(wanted, abs=0.01)


def xds_of(panel, beam):
    """The numbers of XDS for a panel of DIALS, in the same lab."""
    fast, slow, origin = (np.array(panel[name]) for name in ("fast_axis", "slow_axis", "origin"))
    normal = np.cross(fast, slow)
    centre = -(origin - (origin @ normal) * normal)
    return {
        "wavelength": (beam["wavelength"],),
        "beam": -np.array(beam["direction"]) / beam["wavelength"],
        "n": panel["image_size"],
        "q": panel["pixel_size"],
        "org": (centre @ fast / 0.075 + 0.5, centre @ slow / 0.075 + 0.5),
        "distance": (origin @ normal,),
        "x": fast,
        "y": slow,
        "normal": normal,
    }


def test_xds_describes_the_detector_that_dials_describes(tmp_path):
    panel, beam = THAUMATIN["detector"][0]["panels"][0], THAUMATIN["beam"][0]
    said = {
        key: " ".join(f"{value:.9g}" for value in values)
        for key, values in xds_of(panel, beam).items()
    }
    n, q, org = (said[key].split() for key in ("n", "q", "org"))
    inp = (
        f"! ORGX=1\nDETECTOR=EIGER OVERLOAD=46051\nNX={n[0]} NY={n[1]} QX={q[0]} QY={q[1]}\n"
        f"ORGX= {org[0]} ORGY= {org[1]}\nDETECTOR_DISTANCE= {said['distance']}\n"
        f"DIRECTION_OF_DETECTOR_X-AXIS= {said['x']}\nDIRECTION_OF_DETECTOR_Y-AXIS= {said['y']}\n"
        f"X-RAY_WAVELENGTH= {said['wavelength']}\nINCIDENT_BEAM_DIRECTION= {said['beam']}\n"
        "UNTRUSTED_RECTANGLE= 10 31 20 51 ! a comment\n!UNTRUSTED_RECTANGLE= 1 99 1 99\n"
    )
    xparm = (
        " XPARM.XDS    VERSION Jan 31, 2020\n     1 0.0 0.1 1.0 0.0 0.0\n"
        f" {said['wavelength']} {said['beam']}\n 1 58 58 150 90 90 90\n 58 0 0\n 0 58 0\n 0 0 150\n"
        f" 1 {said['n']} {said['q']}\n {said['org']} {said['distance']}\n"
        f" {said['x']}\n {said['y']}\n"
        f" {said['normal']}\n 1 1 4148 1 4362\n 0 0 0 1 0 0 0 1 0\n"
    )
    fs, ss = np.array([0.0, 4000.0, 2000.0]), np.array([0.0, 30.0, 4300.0])
    wanted = inverse_d(read(tmp_path, "a.expt", THAUMATIN), (4362, 4148), fs, ss)
    for name, text in (("XDS.INP", inp), ("GXPARM.XDS", xparm)):
        found = read(tmp_path, name, text)
        assert inverse_d(found, (4362, 4148), fs, ss) == pytest.approx(wanted, rel=1e-6)
    assert read(tmp_path, "XDS.INP", inp).saturation == 46051
    mask = read(tmp_path, "XDS.INP", inp).mask((4362, 4148))
    assert mask.sum() == 20 * 30
    # XDS names the pixels around it, counted from 1.
    assert mask[20:50, 10:30].all()


SEGMENTED = """NX=200 NY=300 QX=0.1 QY=0.15 ORGX= 90.5 ORGY= 160 DETECTOR_DISTANCE= 140
DIRECTION_OF_DETECTOR_X-AXIS= 0.96 0 0.28
DIRECTION_OF_DETECTOR_Y-AXIS= 0 1 0
X-RAY_WAVELENGTH= 1.1 INCIDENT_BEAM_DIRECTION= 0.01 0.02 0.9
SEGMENT= 1 95 1 300
SEGMENT_ORGX= 0 SEGMENT_ORGY= 0 SEGMENT_DISTANCE= 0 ! as the detector itself
REFINE_SEGMENT=POSITION ORIENTATION
SEGMENT= 100 200 1 150
DIRECTION_OF_SEGMENT_X-AXIS= 1 0.01 -0.03
DIRECTION_OF_SEGMENT_Y-AXIS= 0.01 0.8 0.6
SEGMENT_ORGX= 4.25 SEGMENT_ORGY= -7.5
SEGMENT_DISTANCE= -12.5
UNTRUSTED_RECTANGLE= 110 121 10 21
"""


def xds_pixel(x, y, segment_axes, segment_org, segment_distance):
    """A pixel's centre in the lab of XDS, mm: the formula of its page on coordinate systems."""
    ed = np.array([[0.96, 0, 0.28], [0, 1, 0], [-0.28, 0, 0.96]]).T
    org = ed @ [-90.5 * 0.1, -160 * 0.15, 140]
    eds = np.array([axis / np.linalg.norm(axis) for axis in segment_axes])
    edsl = ed @ np.array([*eds, np.cross(*eds)]).T
    return edsl @ [0.1 * (x - segment_org[0]), 0.15 * (y - segment_org[1]), segment_distance] + org


def test_segments_of_xds_are_where_its_formula_has_them(tmp_path):
    tilted = ([[1, 0.01, -0.03], [0.01, 0.8, 0.6]], (4.25, -7.5), -12.5)
    whole = (np.eye(3)[:2], (0, 0), 0)
    pixels = np.array([(1, 1), (95, 300), (90, 160), (100, 1), (200, 150), (101, 77)], float)
    wanted = [xds_pixel(*pixel, *(tilted if pixel[0] > 95 else whole)) for pixel in pixels]
    beam = np.array([0.01, 0.02, 0.9]) / np.linalg.norm([0.01, 0.02, 0.9])
    ray = np.array([place / np.linalg.norm(place) for place in wanted])
    wanted_inverse_d = np.linalg.norm(ray - beam, axis=1) / 1.1
    xparm = (
        "XPARM.XDS\n1 0 0.1 1 0 0\n1.1 0.01 0.02 0.9\n1 58 58 150 90 90 90\n"
        "58 0 0\n0 58 0\n0 0 150\n2 200 300 0.1 0.15\n90.5 160 140\n"
        "0.96 0 0.28\n0 1 0\n-0.28 0 0.96\n"
        "1 1 95 1 300\n0 0 0 1 0 0 0 1 0\n2 100 200 1 150\n"
        "4.25 -7.5 -12.5 1 0.01 -0.03 0.01 0.8 0.6\n"
    )
    for name, text in (("XDS.INP", SEGMENTED), ("XPARM.XDS", xparm)):
        found = read(tmp_path, name, text)
        got = inverse_d(found, (300, 200), *(pixels - 0.5).T)
        assert got == pytest.approx(wanted_inverse_d, rel=1e-6)
    assert read(tmp_path, "XDS.INP", SEGMENTED).mask((300, 200)).sum() == 10 * 10


def test_frames_of_another_size_than_segmented_xds_tells_are_refused(tmp_path):
    found = read(tmp_path, "XDS.INP", SEGMENTED)
    with pytest.raises(GeometryError, match="300 x 200"):
        found.placement((310, 200))


def test_frames_are_placed_by_such_a_file(tmp_path, caplog):
    frames = np.random.default_rng(1).poisson(0.1, (3, 300, 200)).astype(np.uint16)
    path = tmp_path / "a.poni"
    path.write_text(PONI.format(3, "null"))
    with caplog.at_level(logging.WARNING):
        experiment = hf.open_experiment(frames, GeometrySettings(file=str(path)))
    assert "the hand of a crystal" in caplog.text
    assert experiment.geometry.photon_energy_ev == pytest.approx(12398.42 / 1.3)
    assert experiment.origin["camera_length_m"] == str(path)
    tilt = np.cos(0.02) * np.cos(-0.03)
    assert experiment.geometry.camera_length_m == pytest.approx(0.12 / tilt)
    nearer = hf.open_experiment(frames, GeometrySettings(file=str(path), camera_length_m=0.1))
    assert nearer.geometry.camera_length_m == 0.1
    with pytest.raises(GeometryError, match="300 x 201"):
        hf.open_experiment(frames[:, :, :150], GeometrySettings(file=str(_sized(path))))


def test_the_largest_value_of_dials_and_xds_is_the_saturation(tmp_path):
    frames = np.random.default_rng(1).poisson(2.0, (3, 300, 200)).astype(np.uint16)
    path = tmp_path / "XDS.INP"
    path.write_text(SEGMENTED + "OVERLOAD= 900\n")
    settings = GeometrySettings(file=str(path), adu_per_photon=2.0)
    experiment = hf.open_experiment(frames, settings)
    assert experiment.geometry.detector.saturation == 450
    assert experiment.origin["saturation"] == str(path)
    said = json.loads(json.dumps(THAUMATIN))
    assert read(tmp_path, "a.expt", said).saturation is None
    said["detector"][0]["panels"][0]["trusted_range"] = [-1.0, 46051.0]
    assert read(tmp_path, "a.expt", said).saturation == 46051


def _sized(path):
    path.write_text(PONI.format(3, "[300, 201]"))
    return path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1, 2", "experiment list"),
        ('{"a": 1}', "no experiment list"),
        ('{"__id__": "ExperimentList", "beam": [], "detector": []}', "no detector"),
        ('{"__id__": "ExperimentList", "beam": 3}', "cannot be used"),
        (json.dumps(THAUMATIN).replace("-198.15", "1e999"), "cannot be used"),
        (PONI.format(5, "null"), "orientation 5"),
        (PONI.format(3, '[300, "a"]'), "no shape"),
        (PONI.format(3, "null").replace("Distance: 0.12", "Distance: far"), "distance"),
        (PONI.format(3, "null").replace("Distance: 0.12", "Distance: 0"), "distance"),
        (PONI.format(3, "null").replace("1.3e-10", "1.3"), "none of X-rays"),
        (PONI.format(3, "null").replace("0.0001", "0.1"), "pixel size"),
        ("ORGX= 3 ORGY= 4 QX=0.1 QY=0.1 NX=10\n", "is not told"),
        (SEGMENTED.replace("SEGMENT= 100", "SEGMENT= 0"), "segment 0 "),
        (SEGMENTED.replace("SEGMENT= 100 200 1 150", "SEGMENT= all"), "four pixels"),
        (SEGMENTED.replace("0.01 0.8 0.6", "1 0 0"), "right angles"),
        (SEGMENTED.replace("0.01 0.8 0.6", "0 0 0"), "no direction"),
        ("XPARM.XDS\n" + "2 " * 43, "2 segments"),
        ("XPARM.XDS\n 1 2 3\n", "XPARM"),
        ("Detector: none\n", "CrystFEL"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, text, why):
    with pytest.raises(GeometryError, match=why):
        read(tmp_path, "odd", text).placement((300, 200))
