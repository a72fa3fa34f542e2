import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from hitfinder.cli.detectors import detectors
from hitfinder.cli.geometry_template import geometry_template
from hitfinder.errors import GeometryError, OutputError
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.named import named_detector

SHAPE = (20, 24)


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_detectors_are_listed_with_their_layout():
    lines = run(detectors).output.splitlines()
    (line,) = (line for line in lines if line.startswith("eiger2-x-4m"))
    assert line.split() == [
        "eiger2-x-4m",
        "2162",
        "x",
        "2068",
        "4",
        "x",
        "2",
        "512",
        "x",
        "1028",
        "38",
        "x",
        "12",
        "75",
        "µm",
    ]
    assert len(lines) == 21
    assert [line.split()[0] for line in run(detectors, "Jungfrau").output.splitlines()[1:]] == [
        "jungfrau-4m"
    ]


def test_detectors_are_found_by_the_shape_of_their_frames():
    shown = run(detectors, "--shape", 2163, 2069).output.splitlines()
    assert [line.split()[0] for line in shown[1:]] == ["eiger-4m-report"]
    result = run(detectors, "--shape", 2164, 2069)
    assert result.exit_code == 1
    assert "Close are eiger-4m-report 2163 x 2069" in result.output


def stack(path, dtype=np.uint16, **fields):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.ones((3, *SHAPE), dtype)
        for name, value in fields.items():
            file[f"entry/instrument/detector/{name}"] = value
    return path


def test_a_template_has_what_the_files_tell(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[3] = 1
    told = {"distance": 0.2, "beam_center_x": 11.0, "beam_center_y": 9.0, "x_pixel_size": 1e-4}
    path = stack(tmp_path / "d.h5", **told, pixel_mask=mask)
    with h5py.File(path, "a") as file:
        file["entry/instrument/beam/incident_energy"] = 9000.0
    result = run(geometry_template, path, "--out", tmp_path / "a.geom")
    assert "1 lines to look at" in result.output
    geom = read_geom(tmp_path / "a.geom")
    assert not geom.warnings
    geometry = geom.geometry()
    assert (geometry.photon_energy_ev, geometry.camera_length_m) == (9000, 0.2)
    assert geometry.detector.beam_center == pytest.approx((11, 9))
    assert geometry.detector.panels[0].pixel_size_m == pytest.approx(1e-4)
    assert geom.layout.slabs[0].dims == ("%", "ss", "fs")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(geom.data_mask(file), mask != 0)


def test_what_a_template_lacks_is_asked_for_and_not_made_up(tmp_path):
    path = stack(tmp_path / "d.h5", np.float32)
    out = tmp_path / "a.geom"
    result = run(geometry_template, path, "--pixel-size-um", 55, "--out", out)
    assert "5 lines to look at" in result.output
    geom = read_geom(out)
    assert geom.photon_energy is None
    assert geom.clen is None
    assert geom.adu_per_photon() is None
    with pytest.raises(GeometryError, match="says nothing of the photon energy"):
        geom.geometry()
    assert geom.geometry(9000.0, 0.1).detector.beam_center == (12, 10)


def test_a_template_of_a_named_detector_has_its_gaps(tmp_path):
    arguments = ("--detector", "eiger2-x-1m", "--photon-energy-ev", 6000, "--beam-center", 500, 300)
    run(geometry_template, *arguments, "--out", tmp_path / "a.geom")
    detector = read_geom(tmp_path / "a.geom").geometry(camera_length_m=0.1).detector
    np.testing.assert_array_equal(detector.full_mask, named_detector("eiger2-x-1m").full_mask)
    assert detector.beam_center == pytest.approx((500, 300))


def test_a_template_replaces_nothing_unless_told(tmp_path):
    out = tmp_path / "a.geom"
    out.write_text("mine")
    with pytest.raises(OutputError, match="the file exists"):
        run(geometry_template, "--detector", "eiger-x-1m", "--out", out)
    assert out.read_text() == "mine"
    run(geometry_template, "--detector", "eiger-x-1m", "--out", out, "--overwrite")
    assert read_geom(out).panels[0].max_fs == 1029
    assert run(geometry_template, "--out", out).exit_code == 2


def test_frames_of_an_unknown_detector_need_a_pixel_size(tmp_path):
    with pytest.raises(GeometryError, match="Give --pixel-size-um"):
        run(geometry_template, stack(tmp_path / "d.h5"), "--out", tmp_path / "a.geom")
    assert not (tmp_path / "a.geom").exists()
