import fabio
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.io.imageheader import ImageHeader
from hitfinder.io.open import open_source

SHAPE = (30, 40)
SMV = {
    "HEADER_BYTES": "512",
    "DIM": "2",
    "BYTE_ORDER": "little_endian",
    "TYPE": "unsigned_short",
    "SIZE1": "40",
    "SIZE2": "30",
    "PIXEL_SIZE": "0.1024",
    "DISTANCE": "150.0",
    "WAVELENGTH": "1.2398419843",
    "BEAM_CENTER_X": "2.1",
    "BEAM_CENTER_Y": "1.6",
    "CCD_IMAGE_SATURATION": "65000",
}


def counts(n=1):
    return np.random.default_rng(3).poisson(1, (n, *SHAPE)).astype(np.uint16)


def test_smv_tells_beam_and_detector_in_its_own_units(tmp_path):
    fabio.adscimage.AdscImage(data=counts()[0], header=SMV).write(str(tmp_path / "x.img"))
    source = open_source(tmp_path / "x.img")
    assert (len(source), source.shape, source.dtype) == (1, SHAPE, np.uint16)
    np.testing.assert_array_equal(source[0], counts()[0])
    said = source.metadata
    assert said.photon_energy_ev == pytest.approx(10000)
    assert said.camera_length_m == pytest.approx(0.15)
    assert said.pixel_size_m == pytest.approx(102.4e-6)
    assert said.saturation == 65000
    assert said.beam_center is None
    assert "SMV files do not agree" in said.notes[0]


def test_a_pedestal_is_taken_away(tmp_path):
    header = SMV | {"IMAGE_PEDESTAL": "40"}
    stored = counts()[0] + np.uint16(40)
    stored[0, :3] = 35, 65535, 0
    fabio.adscimage.AdscImage(data=stored, header=header).write(str(tmp_path / "x.img"))
    source = open_source(tmp_path / "x.img")
    assert source.dtype == np.int32
    frame = source[0]
    assert frame[0, :3].tolist() == [-5, 65495, np.iinfo(np.int32).max]
    np.testing.assert_array_equal(frame[1:], counts()[0][1:])
    assert source.metadata.saturation == 64960
    assert "40, is taken away" in " ".join(source.metadata.notes)


def test_an_arm_at_an_angle_is_told(tmp_path):
    header = SMV | {"TWOTHETA": "-15.5"}
    fabio.adscimage.AdscImage(data=counts()[0], header=header).write(str(tmp_path / "x.img"))
    notes = " ".join(open_source(tmp_path / "x.img").metadata.notes)
    assert "stands at 2θ = -15.5 degrees (TWOTHETA of the header)" in notes
    for angle, told in ((0.0, False), (20.0, True)):
        text = f"# Pixel_size 172e-6 m x 172e-6 m\n# Detector_2theta {angle:.4f} deg.\n"
        assert bool(ImageHeader(text).metadata(None).notes) == told


def test_dtrek_headers_tell_what_smv_headers_do(tmp_path):
    header = {key: SMV[key] for key in ("HEADER_BYTES", "DIM", "BYTE_ORDER", "SIZE1", "SIZE2")}
    header |= {
        **{"HEADER_BYTES": "1024", "Data_type": "unsigned short int", "DETECTOR_NAMES": "CCD_"},
        "SOURCE_WAVELENGTH": "1 1.2398419843",
        "SATURATED_VALUE": "262000",
        "CCD_GONIO_NAMES": "RotZ RotX/Swing RotY TransX TransY TransZ/Dist",
        "CCD_GONIO_UNITS": "deg deg deg mm mm mm",
        "CCD_GONIO_VALUES": "90.0 -20.0000 0.0000 0.0000 0.0000 55.0000",
        "CCD_SPATIAL_DISTORTION_INFO": "20.1 15.2 0.09 0.09",
    }
    fabio.dtrekimage.DtrekImage(data=counts()[0], header=header).write(str(tmp_path / "x.img"))
    said = open_source(tmp_path / "x.img").metadata
    assert said.photon_energy_ev == pytest.approx(10000)
    assert said.camera_length_m == pytest.approx(0.055)
    assert said.pixel_size_m == pytest.approx(90e-6)
    assert said.saturation == 262000
    assert "stands at 2θ = -20 degrees" in " ".join(said.notes)


@pytest.mark.parametrize("name", ["x.tif", "x.TIFF", "x.edf", "tiff-without-its-ending"])
def test_images_are_known_by_their_names_or_beginnings(tmp_path, name):
    kind = fabio.edfimage.EdfImage if name == "x.edf" else fabio.tifimage.TifImage
    kind(data=counts()[0]).write(str(tmp_path / name))
    source = open_source(tmp_path / name)
    assert source.reader == "image"
    assert source.ref(0).event == ""
    np.testing.assert_array_equal(source[0], counts()[0])
    assert source.index_of("//0") == 0


def test_an_image_file_may_hold_several_frames(tmp_path):
    image = fabio.edfimage.EdfImage(data=counts(3)[0])
    for frame in counts(3)[1:]:
        image.append_frame(data=frame)
    image.write(str(tmp_path / "x.edf"))
    source = open_source(tmp_path / "x.edf")
    np.testing.assert_array_equal(np.stack(list(source)), counts(3))
    assert source.ref(2).event == "//2"
    assert source.index_of("//1") == 1


def test_pilatus_images_mark_pixels_by_negative_counts(tmp_path):
    frame = counts()[0].astype(np.int32)
    frame[3] = -1
    fabio.tifimage.TifImage(data=frame).write(str(tmp_path / "x.tif"))
    assert open_source(tmp_path / "x.tif").metadata.underload == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tif", b""),
        ("x.tif", b"II*\0"),
        ("x.tif", b"no image at all, whatever it is called"),
        ("x.img", b"{\nHEADER_BYTES=512;\nSIZE1=1000000;\nSIZE2=1000000;\n}\n"),
        ("x.img", b"{\nHEADER_BYTES=-1;\nSIZE1=abc;\n}\n"),
        ("x.edf", b"{\nDim_1 = 1000000;\nDim_2 = 1000000;\nDataType = UnsignedShort;\n}\n"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    source = open_source(tmp_path / name)
    assert source.problems[0].status in ("unreadable", "truncated")
    with pytest.raises(SourceError):
        source.read(0)
