import json
import struct
import tracemalloc

import cbor2
import h5py
import hdf5plugin
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.io.simplon import cbor
from hitfinder.io.simplon.images import PackedImage, packing_of
from hitfinder.io.simplon.messages import (
    MalformedMessageError,
    OtherProtocolError,
    SeriesEnd,
    SeriesImage,
    SeriesStart,
)
from hitfinder.io.simplon.protocols import decode
from oracles.captured import SHARED, read, stream1, stream2

FILTERS = {"bslz4": hdf5plugin.Bitshuffle(cname="lz4"), "lz4": hdf5plugin.LZ4()}


def unpacked_by_hdf5(content, packing, shape, dtype):
    """Unpack counts by the filters of HDF5, another program than ours uses."""
    with h5py.File("unpacked", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset(
            "data", (1, *shape), dtype, chunks=(1, *shape), **FILTERS[packing]
        )
        data.id.write_direct_chunk((0, 0, 0), content)
        return data[0]


def packed_by_hdf5(counts, packing):
    with h5py.File("packed", "w", driver="core", backing_store=False) as file:
        chunks = (1, *counts.shape)
        data = file.create_dataset("data", chunks, counts.dtype, chunks=chunks, **FILTERS[packing])
        data[0] = counts
        return data.id.read_direct_chunk((0, 0, 0))[1]


def check_pixels(image):
    """Compare every pixel with what HDF5 unpacks; return the counts."""
    content, packing = image.content, image.packing
    if packing == "lz4-block":
        content = struct.pack(">QII", image.nbytes, image.nbytes, len(content)) + content
        packing = "lz4"
    counts = image.unpacked()
    np.testing.assert_array_equal(
        counts, unpacked_by_hdf5(content, packing, image.shape, image.dtype)
    )
    return counts


def test_a_header_of_stream_v1():
    start = decode(stream1("header"), "v1")
    assert isinstance(start, SeriesStart)
    assert start.series.number == 71
    assert start.said["sensor_material"] == "Si"
    assert start.n_images == start.said["nimages"] * start.said["ntrigger"]
    assert start.photon_energy_ev == start.said["photon_energy"]
    assert start.pixel_size_m == 75e-6
    assert start.saturation == 1702012
    # This detector was never told where it is.
    assert start.camera_length_m is None
    assert start.beam_center is None
    assert start.arrays["countrate_table"].shape == (1001, 2)


def test_an_image_and_the_end_of_stream_v1():
    image, end = decode(stream1("image")), decode(stream1("end"))
    assert isinstance(image, SeriesImage)
    assert (image.series.number, image.number) == (14, 0)
    counts = check_pixels(image.images[""])
    assert counts.shape == (1065, 1030)
    assert counts.dtype == np.uint32
    assert image.said["real_time"] == 994339020
    assert isinstance(end, SeriesEnd)
    assert end.series.number == 71


def test_the_messages_of_stream2():
    start, image, end = (decode(stream2(kind), "stream2") for kind in ("start", "image_16m", "end"))
    assert isinstance(start, SeriesStart)
    assert isinstance(end, SeriesEnd)
    assert start.series == image.series == end.series
    assert start.series.unique == "01HBV3JPF9T4ZDPADX6EMK6XMZ"
    # Two thresholds are listed, of which one is active.
    assert start.channels == ("threshold_1",)
    assert start.camera_length_m == 0.23715919962215962
    assert start.beam_center == (2049.3840906675064, 2163.621048575148)
    counts = check_pixels(image.images["threshold_1"])
    assert counts.shape == (4362, 4148)
    assert counts.dtype == np.uint16
    # The frame's bytes are what is left of the gaps' 2^16 - 1.
    assert counts.max() == 65535
    assert (counts == 65535).mean() == pytest.approx(0.07, abs=0.05)
    small = decode(stream2("image"))
    assert check_pixels(small.images["threshold_1"]).dtype == np.uint32


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the captured messages")
def test_every_captured_image_pixel_for_pixel():
    sessions = SHARED / "captured_stream1_eiger_1m", SHARED / "stream1"
    numbers = [f"{number:03d}" for number in range(7)]
    messages = [
        [read(path) for path in sorted(sessions[0].glob(f"{number}_part*"))] for number in numbers
    ]
    parts = [read(path) for path in sorted(sessions[1].iterdir())]
    for first in (0, 49):
        messages += [parts[first : first + 8]]
        messages += [parts[at : at + 4] for at in range(first + 8, first + 48, 4)]
        messages += [parts[first + 48 : first + 49]]
    messages += [[read(path)] for path in sorted(SHARED.glob("*stream2*/*"))]
    found = [decode(message) for message in messages]
    kinds = [type(message).__name__ for message in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "SeriesStart": 5,
        "SeriesImage": 41,
        "SeriesEnd": 8,
    }
    images = [m for m in found if isinstance(m, SeriesImage)]
    assert not any(image.damage for image in images)
    for image in images:
        for packed in image.images.values():
            check_pixels(packed)
    depths = {p.dtype.itemsize for image in images for p in image.images.values()}
    assert depths == {1, 2, 4}
    three = [image for image in images if len(image.images) == 3]
    assert {tuple(image.images) for image in three} == {
        ("threshold_1", "threshold_2", "difference")
    }
    starts = [m for m in found if isinstance(m, SeriesStart)]
    assert starts[0].mask("", (1065, 1030)).astype(bool).sum() == 38129
    assert starts[0].said["number_of_excluded_pixels"] == 38129
    assert starts[0].appendix == b'{"filename": "", "rotate": 0}'


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("encoding", ["<", "lz4<", "-lz4<", "bs{}-lz4<", "bs{}lz4<", ">", "lz4>"])
def test_encodings_of_stream_v1(encoding, dtype):
    counts = np.random.default_rng(1).poisson(3, (37, 53)).astype(dtype)
    encoding = encoding.format(8 * counts.itemsize)
    packing, stored = packing_of(encoding, counts.dtype)
    content = counts.astype(stored)
    if "bs" in encoding:
        content = packed_by_hdf5(content, "bslz4")
    elif "lz4" in encoding:
        content = packed_by_hdf5(content, "lz4")[16:]
    else:
        content = content.tobytes()
    found = PackedImage(counts.shape, stored, packing, content).unpacked()
    assert found.dtype == counts.dtype
    np.testing.assert_array_equal(found, counts)


@pytest.mark.parametrize("detail", ["none", "basic", "all"])
@pytest.mark.parametrize("appendix", [None, b"run 7"])
def test_detail_of_a_header(detail, appendix):
    parts = stream1("header")
    parts[0] = json.dumps({**json.loads(parts[0]), "header_detail": detail}).encode()
    parts = parts[: {"none": 1, "basic": 2, "all": 8}[detail]]
    start = decode([*parts, *([] if appendix is None else [appendix])])
    assert start.appendix == appendix
    assert bool(start.said) == (detail != "none")
    assert bool(start.arrays) == (detail == "all")
    assert (start.photon_energy_ev is None) == (detail == "none")


def test_old_and_new_tag_hooks(monkeypatch):
    content = stream2("image")
    expected = decode(content).images["threshold_1"].unpacked()
    loads = cbor2.loads

    def old_loads(given, tag_hook):
        return loads(given, tag_hook=lambda tag, immutable: tag_hook(object(), tag))

    monkeypatch.setattr(cbor2, "loads", old_loads)
    np.testing.assert_array_equal(decode(content).images["threshold_1"].unpacked(), expected)


def test_the_other_protocol_is_named():
    with pytest.raises(OtherProtocolError, match="speaks v1, stream2 was expected"):
        decode(stream1("header"), "stream2")
    with pytest.raises(OtherProtocolError, match="speaks stream2, v1 was expected"):
        decode(stream2("end"), "v1")


def image2(array, **changes):
    said = {"type": "image", "series_id": 1, "series_unique_id": "A", "image_id": 0}
    return [cbor2.dumps({**said, "data": {"threshold_1": array}, **changes})]


def array2(shape, content, dtype_tag=69, packing="bslz4", size=2):
    packed = cbor2.CBORTag(56500, [packing, size, content]) if packing else content
    return cbor2.CBORTag(40, [shape, cbor2.CBORTag(dtype_tag, packed)])


HEAD = struct.pack(">QI", 4, 8192)
BOMBS = {
    "nested tags": b"\xd8\x28" * 1_000_000,
    "nested arrays": b"\x81" * 1_000_000,
    "array of 2^60 items": b"\xa1\x64type\x9b" + struct.pack(">Q", 1 << 60),
    "map of 10^9 items": b"\xba" + struct.pack(">I", 10**9),
    "string of 10^9 bytes": b"\xa1\x64type\x5a" + struct.pack(">I", 10**9) + b"x",
    "a million numbers": b"\xa1\x64type\x9a" + struct.pack(">I", 10**6) + b"\x01" * 10**6,
    "a regular expression": b"\xa1\x64type\xd8\x23\x61(",
    "a number of any size": b"\xa1\x64type\xc2\x41x",
    "cut short": b"\xd9\xd9\xf7\xa4\x64type\x63en",
    "break out of place": b"\xa1\xff",
    "more than one": cbor2.dumps({"type": "end", "series_id": 1}) + b"\x01",
    "reserved head": b"\xa1\x64type\x1c",
    "keys of numbers": cbor2.dumps({1: 2}),
    "no series": cbor2.dumps({"type": "end"}),
    "series of 2^70": cbor2.dumps({"type": "end", "series_id": "1"}),
    "bool for a series": cbor2.dumps({"type": "end", "series_id": True}),
    "other type": cbor2.dumps({"type": "picture", "series_id": 1}),
    "tag on a number": cbor2.dumps({"type": "end", "x": cbor2.CBORTag(40, 5)}),
    "compressed number": cbor2.dumps({"type": "end", "x": cbor2.CBORTag(56500, 5)}),
    "bad date": cbor2.dumps({"type": "end", "series_id": 1, "d": cbor2.CBORTag(0, "no")}),
    "not UTF-8": b"\xa1\x64type\x62\xff\xff",
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_cbor_is_malformed_and_costs_nothing(name):
    message = BOMBS[name]
    tracemalloc.start()
    with pytest.raises(MalformedMessageError):
        cbor.decode([message])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


DAMAGED = {
    "10^9 pixels": array2([31_623, 31_623], struct.pack(">QI", 2 * 31_623**2, 8192)),
    "pixels beyond 2^64": array2([1 << 40, 1 << 40], HEAD),
    "head of another size": array2([2, 2], struct.pack(">QI", 1 << 60, 8192) + b"x" * 50),
    "too few bytes to unpack": array2([4000, 4000], struct.pack(">QI", 32_000_000, 8192) + b"x"),
    "no bytes": array2([2, 2], b""),
    "other element size": array2([2, 2], struct.pack(">QI", 8, 8192) + b"x", size=4),
    "garbage": array2([40, 40], struct.pack(">QI", 3200, 8192) + b"garbage" * 20),
    "no pixels": array2([0, 5], b"", packing=""),
    "too few raw bytes": array2([2, 2], b"1234567", packing=""),
    "no array": 5,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_an_image_that_cannot_be_unpacked_is_known_by_its_number(name):
    found = decode(image2(DAMAGED[name], image_id=7))
    assert (found.series.number, found.number) == (1, 7)
    if not found.damage:
        with pytest.raises(SourceError, match="damaged"):
            found.images["threshold_1"].unpacked()


def test_the_limit_of_pixels_is_that_of_files():
    with pytest.raises(SourceError, match="more than any frame has"):
        PackedImage((1, MOST_PIXELS + 1), np.dtype("u1"), "lz4-block", b"x" * MOST_PIXELS)


def part(**said):
    return json.dumps(said).encode()


IMAGE = part(htype="dimage-1.0", series=1, frame=7)
LAYOUT = {"htype": "dimage_d-1.0", "shape": [2, 2], "type": "uint16", "encoding": "<"}
TIMES = part(htype="dconfig-1.0")


@pytest.mark.parametrize(
    "rest",
    [
        [],
        [part(**LAYOUT)],
        [b"no JSON", b"x" * 8, TIMES],
        [part(**LAYOUT | {"shape": [2]}), b"x" * 8, TIMES],
        [part(**LAYOUT | {"shape": [1e9, 1e9]}), b"x" * 8, TIMES],
        [part(**LAYOUT | {"shape": [31623, 31623], "encoding": "lz4<"}), b"x" * 8, TIMES],
        [part(**LAYOUT | {"type": "float16"}), b"x" * 8, TIMES],
        [part(**LAYOUT | {"encoding": "zip"}), b"x" * 8, TIMES],
        [part(**LAYOUT | {"encoding": "bs32-lz4<"}), b"x" * 20, TIMES],
        [part(**LAYOUT), b"x" * 9, TIMES],
    ],
)
def test_a_damaged_image_of_stream_v1_is_known_by_its_number(rest):
    found = decode([IMAGE, *rest], "v1")
    assert found.number == 7
    assert found.damage
    assert not found.images


@pytest.mark.parametrize(
    "parts",
    [
        [b"{"],
        [b'{"htype": 5}'],
        [b"[" * 100_000],
        [b'{"x":' * 100_000],
        [part(htype="dimage-1.0", series=1, frame=-1)],
        [part(htype="dimage-1.0", series=1.5, frame=1)],
        [part(htype="dimage-1.0", series=1, frame=10**30)],
        [part(htype="deseries_end-1.0", series=1)],
        [b"{" + b" " * 2_000_000 + b"}"],
        [IMAGE] * 100,
        [],
        [b""],
    ],
)
def test_what_is_no_message_is_malformed(parts):
    with pytest.raises(MalformedMessageError):
        decode(parts)


def test_damaged_counts_are_named():
    image = decode(stream1("image")).images[""]
    cut = PackedImage(image.shape, image.dtype, image.packing, image.content[:-500])
    with pytest.raises(SourceError, match="the counts are damaged"):
        cut.unpacked()
