"""Whatever stands in a geometry file, it is read or refused: there is no other error."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel import directives_of, read_geom

DATA = Path(__file__).parent / "data"
TEXTS = [(DATA / f"{name}.geom").read_text() for name in ("asics", "modules", "written")]
KEYS = sorted(
    {
        line.split("=")[0].split("/")[-1].strip()
        for t in TEXTS
        for line in t.splitlines()
        if "=" in line
    }
)
VALUES = st.one_of(
    st.sampled_from(
        ["", "%", "ss", "fs", "x", "-0.5x+y", "inf", "-inf", "nan", "1e308", "-1e400", "0x", "0xff"]
    ),
    st.sampled_from(["/a/%/b", "/a\0b", "1_0", "²", "٣", "1 eV", "/p mm", "true"]),
    st.sampled_from(["9" * 5000, "0x" + "f" * 5000]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.text(max_size=12),
)
LINE = st.tuples(
    st.sampled_from(["", "p0/", "q1a0/", "bad_a/", "bad/", "/", "group_"]),
    st.one_of(
        st.sampled_from(KEYS),
        st.sampled_from(["dim", "dim99", "max_adu", "flag_equal", "mask3_file"]),
    ),
    VALUES,
).map(lambda parts: f"{parts[0]}{parts[1]} = {parts[2]}")
FUZZ = settings(max_examples=100)


def read_and_use(path, content):
    path.write_bytes(content)
    said = ""
    try:
        geom = read_geom(path)
        geom.geometry(9000.0, 0.1)
        directives_of(geom)
    except GeometryError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 600


@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.floats(0, 1), LINE), max_size=4))
@FUZZ
def test_lines_put_into_a_good_file(tmp_path, text, lines):
    listed = text.splitlines()
    for place, line in lines:
        listed.insert(int(place * len(listed)), line)
    read_and_use(tmp_path / "a.geom", "\n".join(listed).encode("utf-8", "surrogatepass"))


@given(
    st.sampled_from(TEXTS), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3)), max_size=3)
)
@FUZZ
def test_bytes_put_into_a_good_file(tmp_path, text, bits):
    content = bytearray(text.encode())
    for place, new in bits:
        at = int(place * len(content))
        content[at : at + 2] = new
    read_and_use(tmp_path / "a.geom", bytes(content))


@given(st.binary(max_size=200))
@FUZZ
def test_any_bytes(tmp_path, content):
    path = tmp_path / "a.geom"
    path.write_bytes(content)
    with pytest.raises(GeometryError):
        read_geom(path)
