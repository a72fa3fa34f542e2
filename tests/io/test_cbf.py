import bz2
import contextlib
import gzip
import re
from pathlib import Path

import fabio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import SourceError
from hitfinder.io.cbf_sections import BINARY_START
from hitfinder.io.open import open_source

DATA = Path(__file__).parent / "data"

SHAPE = (30, 40)
HEADER = """
# Detector: PILATUS3 toy, S/N 1
# Pixel_size 172e-6 m x 172e-6 m
# Count_cutoff 91795 counts
# Wavelength 0.97625 A
# Detector_distance 0.29147 m
# Beam_xy (12.30, 20.48) pixels
"""


def counts(seed=0):
    frame = np.random.default_rng(seed).poisson(0.7, SHAPE).astype(np.int32)
    frame[3, 4], frame[10:12], frame[20, 20], frame[0, 0] = 70000, -1, -2, 300
    return frame


def write(path, frame, header=HEADER):
    image = fabio.cbfimage.CbfImage(data=frame)
    image.header["_array_data.header_convention"] = "PILATUS_1.2"
    image.header["_array_data.header_contents"] = header
    image.write(str(path))
    return path


def failure(source, index=0):
    with pytest.raises(SourceError) as caught:
        source.read(index)
    return caught.value


def test_a_frame_written_by_fabio_is_read(tmp_path):
    source = open_source(write(tmp_path / "x.cbf", counts()))
    assert (len(source), source.shape, source.dtype) == (1, SHAPE, np.int32)
    assert source.ref(0).event == ""
    out = np.empty(SHAPE, np.int32)
    assert source.read(0, out) is out
    np.testing.assert_array_equal(out, counts())
    assert source.h5_location(0) is None


def test_the_header_tells_beam_and_detector_and_negative_counts_are_masked(tmp_path):
    said = open_source(write(tmp_path / "x.cbf", counts())).metadata
    assert said.photon_energy_ev == pytest.approx(12398.41984 / 0.97625)
    assert said.camera_length_m == 0.29147
    assert said.beam_center == (12.30, 20.48)
    assert said.pixel_size_m == 172e-6
    assert said.saturation == 91795
    assert said.underload == 0
    assert said.detector == "PILATUS3 toy, S/N 1"
    np.testing.assert_array_equal(said.mask, counts() < 0)


def test_a_header_without_fields_says_nothing(tmp_path):
    said = open_source(write(tmp_path / "x.cbf", counts(), header="# nothing\n")).metadata
    assert said.photon_energy_ev is None
    assert said.beam_center is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Detector_distance 0.29147 m", "Detector_distance 291.47 mm"),
        ("Detector_distance 0.29147 m", "Detector_distance = 0.29147 m"),
        ("Pixel_size 172e-6 m x 172e-6 m", "Pixel_size 0.172 mm x 0.172 mm"),
        ("Wavelength 0.97625 A", "Wavelength = 0.97625 A"),
        ("Wavelength 0.97625 A", "Wavelength 0.097625 nm"),
        ("Beam_xy (12.30, 20.48) pixels", "Beam_xy (2.1156, 3.52256) mm"),
        ("Beam_xy (12.30, 20.48) pixels", "Beam_xy = 12.30, 20.48"),
    ],
)
def test_the_header_may_be_in_other_units_and_have_equals_signs(tmp_path, old, new):
    assert old in HEADER
    usual = open_source(write(tmp_path / "x.cbf", counts())).metadata
    said = open_source(write(tmp_path / "y.cbf", counts(), HEADER.replace(old, new))).metadata
    for name in ("photon_energy_ev", "camera_length_m", "beam_center", "pixel_size_m"):
        assert getattr(said, name) == pytest.approx(getattr(usual, name))


@pytest.mark.parametrize("center", ["(12.30, 20.48) pixels", "(2.1156, 7.04512) mm"])
def test_pixels_that_are_no_squares_are_told(tmp_path, center):
    header = HEADER.replace("172e-6 m x 172e-6 m", "172e-6 m x 344e-6 m")
    header = header.replace("(12.30, 20.48) pixels", center)
    said = open_source(write(tmp_path / "x.cbf", counts(), header)).metadata
    assert (said.pixel_size_m, said.pixel_height_m) == (172e-6, 344e-6)
    assert said.beam_center == pytest.approx((12.30, 20.48))


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("0.29147", "-0.29147", "camera_length_m"),
        ("0.29147 m", "0.29147 furlongs", "camera_length_m"),
        ("0.97625", "0", "photon_energy_ev"),
        ("0.97625", "1e999", "photon_energy_ev"),
        ("0.97625", "1-2", "photon_energy_ev"),
        ("91795", "lots", "saturation"),
        ("12.30", "nan", "beam_center"),
    ],
)
def test_what_the_header_cannot_mean_is_not_taken(tmp_path, old, new, name):
    said = open_source(write(tmp_path / "x.cbf", counts(), HEADER.replace(old, new))).metadata
    assert getattr(said, name) is None


def test_a_damaged_byte_among_the_counts_is_noticed(tmp_path):
    path = write(tmp_path / "x.cbf", counts())
    content = bytearray(path.read_bytes())
    content[content.index(BINARY_START) + 100] ^= 1
    path.write_bytes(content)
    error = failure(open_source(path))
    assert error.status == "unreadable"
    assert "Content-MD5" in error.what
    path.write_bytes(re.sub(rb"Content-MD5: \S+", b"Content-MD5: none", content))
    assert (open_source(path)[0] != counts()).any()


@pytest.mark.parametrize(
    ("columns", "number"),
    [
        (b"41", "Number-of-Elements: 1200"),
        (b"99999999999", "Number-of-Elements: 1200"),
        (b"99999999999", "Number-of-Elements: unknown"),
    ],
)
def test_dimensions_that_cannot_be_are_named(tmp_path, columns, number):
    path = write(tmp_path / "x.cbf", counts())
    content = path.read_bytes().replace(b"Number-of-Elements: 1200", number.encode())
    path.write_bytes(content.replace(b"Fastest-Dimension: 40", b"Fastest-Dimension: " + columns))
    error = failure(open_source(path))
    assert error.status == "unreadable"
    assert f"30 x {columns.decode()} pixels" in error.what


def test_a_gzipped_frame_is_read(tmp_path):
    plain = write(tmp_path / "x.cbf", counts())
    (tmp_path / "y.cbf.gz").write_bytes(gzip.compress(plain.read_bytes()))
    np.testing.assert_array_equal(open_source(tmp_path / "y.cbf.gz")[0], counts())


def test_a_series_is_one_source_with_each_frames_own_header(tmp_path):
    for number in range(1, 12):
        header = HEADER.replace("0.29147", f"0.{number:02d}")
        write(tmp_path / f"run_{number}.cbf", counts(number), header)
    source = open_source(str(tmp_path / "run_*.cbf"))
    assert len(source) == 11
    np.testing.assert_array_equal(source[9], counts(10))
    assert source.frame_metadata(9).camera_length_m == 0.10


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("kept", [0.95, 0.3, 0.0])
def test_a_file_cut_short_is_named(tmp_path, gzipped, kept):
    path = write(tmp_path / "x.cbf", counts())
    content = path.read_bytes()
    if gzipped:
        path = tmp_path / "x.cbf.gz"
        content = gzip.compress(content)
    else:
        # What follows the counts may be missing.
        size = re.search(rb"X-Binary-Size: (\d+)", content)
        content = content[: content.index(BINARY_START) + len(BINARY_START) + int(size[1])]
        path.write_bytes(content)
        np.testing.assert_array_equal(open_source(path)[0], counts())
    path.write_bytes(content[: int(kept * len(content))])
    error = failure(open_source(path))
    assert error.status == "truncated"
    assert str(path) in str(error)


def test_what_is_no_cbf_is_named(tmp_path):
    (tmp_path / "x.cbf").write_text("something else")
    assert failure(open_source(tmp_path / "x.cbf")).status == "unreadable"
    (tmp_path / "y.cbf.gz").write_text("something else")
    assert failure(open_source(tmp_path / "y.cbf.gz")).status == "unreadable"


@pytest.mark.parametrize(
    ("name", "shape", "energy", "center", "counts_at_most"),
    [
        ("DLS_I03_smargon_0001.cbf.gz", (2527, 2463), 12700.05, (1229.30, 1200.48), 336),
        ("dlsnxs2cbf_therm_0001.cbf.gz", (4362, 4148), 12647.96, (2216.06, 2300.41), 404),
    ],
)
def test_real_frames_are_read_as_fabio_reads_them(
    shared, name, shape, energy, center, counts_at_most
):
    source = open_source(shared / "real" / name)
    assert source.shape == shape
    frame = source[0]
    np.testing.assert_array_equal(frame, fabio.open(str(shared / "real" / name)).data)
    assert frame.max() == counts_at_most
    assert source.metadata.photon_energy_ev == pytest.approx(energy, abs=0.01)
    assert source.metadata.beam_center == center


@pytest.mark.parametrize(
    ("name", "format_", "compression"),
    [
        ("packed_i32", "CBF of 2 sections", "packed"),
        ("packed_v2_u16", "CBF", "packed v2"),
        ("packed_i16", "CBF", "packed"),
        ("none_u32", "CBF", ""),
        ("bo_i32", "CBF of 2 sections", "byte offset"),
    ],
)
def test_frames_are_read_as_cbflib_reads_them(name, format_, compression):
    source = open_source(DATA / f"{name}.cbf")
    with np.load(DATA / "cbflib.npz") as expected:
        assert source.dtype == expected[name].dtype
        np.testing.assert_array_equal(source[0], expected[name])
    assert (source.contents.format, source.contents.compression) == (format_, compression)


def test_layers_are_modules_one_below_the_other(shared):
    """Sums of each section as CBFlib reads it."""
    source = open_source(shared / "real" / "lcls_cspad_thermolysin_401.cbf")
    assert (source.shape, source.dtype) == ((4 * 8 * 185, 388), np.int32)
    quarters = source[0].reshape(4, -1)
    assert quarters.min(axis=1).tolist() == [-66, -5136, -4095, -63]
    assert quarters.max(axis=1).tolist() == [16383] * 4
    means = [14.281168152688771, 15.952511145165785, 11.61556317915854, 15.407176441905824]
    np.testing.assert_allclose(quarters.mean(axis=1), means, rtol=1e-12)
    assert source.metadata.photon_energy_ev == pytest.approx(9742.54, abs=0.01)
    # Values below zero are noise here, and mark nothing.
    assert source.metadata.mask is None
    assert source.metadata.underload is None


def test_a_frame_packed_by_bzip2_is_read(tmp_path):
    path = write(tmp_path / "x.cbf", counts())
    (tmp_path / "x.cbf.bz2").write_bytes(bz2.compress(path.read_bytes()))
    source = open_source(tmp_path / "x.cbf.bz2")
    np.testing.assert_array_equal(source[0], counts())
    assert source.contents.compression == "byte offset + bzip2"
    (tmp_path / "y.cbf.bz2").write_bytes(bz2.compress(path.read_bytes())[:-40])
    assert failure(open_source(tmp_path / "y.cbf.bz2")).status == "truncated"


def test_a_beam_centre_of_zero_was_never_set(tmp_path):
    header = HEADER.replace("(12.30, 20.48)", "(0.00, 0.00)")
    assert open_source(write(tmp_path / "x.cbf", counts(), header)).metadata.beam_center is None


@pytest.mark.parametrize(
    "size", ["abc", "-5", "19²", "0", "100000000000", 5000 * "9", "1e3", "5", ""]
)
def test_sizes_of_counts_that_cannot_be_are_named(tmp_path, size):
    path = write(tmp_path / "x.cbf", counts())
    content = re.sub(rb"X-Binary-Size: *\d+", b"X-Binary-Size: " + size.encode(), path.read_bytes())
    path.write_bytes(content)
    error = failure(open_source(path))
    assert error.status == "unreadable"
    assert "the header is damaged" in error.what


def test_a_frame_of_300_million_pixels_in_a_small_file_is_refused(tmp_path):
    side = 17400
    header = re.sub(
        rb"(-Dimension:) \d+", rb"\1 %d" % side, write(tmp_path / "x", counts()).read_bytes()
    )
    header = header[: header.index(BINARY_START) + 4]
    for name, number in (("Size", side**2), ("Number-of-Elements", side**2)):
        header = re.sub(rb"(X-Binary-%b:) *\d+" % name.encode(), rb"\1 %d" % number, header)
    with gzip.open(tmp_path / "x.cbf.gz", "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(10):
            file.write(bytes(1 << 20))
    error = failure(open_source(tmp_path / "x.cbf.gz"))
    assert "17400 x 17400 pixels are more than any frame has" in error.what


def test_a_file_cut_between_its_sections_is_no_smaller_frame(tmp_path):
    content = (DATA / "packed_i32.cbf").read_bytes()
    second = content.index(BINARY_START, content.index(BINARY_START) + 4)
    for cut in (second - 400, second + 50):
        (tmp_path / "x.cbf").write_bytes(content[:cut])
        assert failure(open_source(tmp_path / "x.cbf")).status == "truncated"


@given(
    st.sampled_from(["packed_i32", "packed_v2_u16", "none_u32", "bo_i32"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=3),
    st.floats(0.2, 1),
)
@settings(max_examples=120)
def test_damaged_files_are_read_or_named(tmp_path, name, changes, kept):
    content = bytearray((DATA / f"{name}.cbf").read_bytes().replace(b"Content-MD5", b"Content-Md6"))
    for place, new in changes:
        at = int(place * len(content))
        content[at : at + len(new)] = new
    (tmp_path / "x.cbf").write_bytes(content[: int(kept * len(content))])
    source = open_source(tmp_path / "x.cbf")
    if source.n_readable:
        with contextlib.suppress(SourceError):
            assert source.read(0).shape == source.shape
        assert len(str(source.metadata.detector)) < 1000
