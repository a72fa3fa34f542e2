"""The reference data that come with the tests have an origin, and can be made again."""

import fnmatch
import gzip
import json
import re

import h5py
import numpy as np

from data.make import main


def files(folder):
    found = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return sorted(str(p.relative_to(folder)) for p in found)


def test_every_file_has_its_origin_noted(reference_data):
    patterns = []
    for row in re.findall(r"^\| (`.*?) \|", (reference_data / "README.md").read_text(), re.M):
        names = re.findall(r"`([^`]+)`", row)
        folder = names[0].rpartition("/")[0]
        patterns += [name if "/" in name or not folder else f"{folder}/{name}" for name in names]
    rest = set(files(reference_data)) - {"README.md", "make.py"}
    assert len(rest) > 15
    for name in rest:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_the_files_are_what_the_command_makes(shared, reference_data, tmp_path):
    main(shared, tmp_path)
    made = files(tmp_path)
    assert made == [n for n in files(reference_data) if n not in ("README.md", "make.py")]
    for name in made:
        one, other = (folder / name for folder in (tmp_path, reference_data))
        if name == "nanobragg_spots.h5":
            with h5py.File(one) as a, h5py.File(other) as b:
                assert sorted(a) == sorted(b)
                for key in a:
                    np.testing.assert_array_equal(a[key][()], b[key][()])
        else:
            assert one.read_bytes() == other.read_bytes()


def test_recorded_messages_are_whole(reference_data):
    def part(name):
        return gzip.decompress((reference_data / "simplon" / name).read_bytes())

    header = json.loads(part("stream1/header_part0.gz"))
    assert (header["htype"], header["header_detail"]) == ("dheader-1.0", "all")
    assert json.loads(part("stream1/image_part0.gz"))["htype"] == "dimage-1.0"
    about = json.loads(part("stream1/image_part1.gz"))
    assert len(part("stream1/image_part2.gz")) == about["size"]
    assert json.loads(part("stream1/end_part0.gz"))["htype"] == "dseries_end-1.0"
    for kind, name in (("start",) * 2, ("image",) * 2, ("image", "image_16m"), ("end",) * 2):
        message = part(f"stream2/{name}.cbor.gz")
        # A CBOR map whose first key is its type.
        text = bytes([0x60 + len(kind)]) + kind.encode()
        assert b"\x64type" + text in message[:20]
