"""Whatever stands in a run.json, the run is read or refused: there is no other error."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.results.run import Run

GOOD = {
    "started": "2026-01-01 10:00:00",
    "complete": True,
    "inputs": ["a_master.h5"],
    "directory": "/somewhere",
    "counts": {"frames": 2, "processed": 2, "hits": 1, "peaks": 3, "by_status": {"ok": 2}},
    "origin": {"detector": "settings"},
    "settings": {
        "geometry.file": None,
        "geometry.detector": "eiger-x-1m",
        "geometry.beam_center": [3.0, 4.0],
        "geometry.camera_length_m": 0.1,
        "workers": None,
    },
}
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=True),
        st.text(max_size=5),
        st.sampled_from(["a\0b", "\ud800", "/dev/null", "frames"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
PLACES = [("complete",), ("inputs",), ("inputs", 0), ("directory",), ("counts",), ("origin",)]
PLACES += [("counts", name) for name in GOOD["counts"]] + [("settings",)]
PLACES += [("settings", name) for name in GOOD["settings"]]
FUZZ = settings(max_examples=120)


@pytest.fixture
def folder(tmp_path):
    table = pa.table({"file": ["a.h5", "a.h5"], "event": ["//0", "//1"]})
    pa.parquet.write_table(table, tmp_path / "frames.parquet")
    return tmp_path


def use(folder):
    """Ask a run for all that its run.json tells."""
    try:
        run = Run(folder)
        repr(run)
        assert isinstance(run.summary.unreadable, bool)
        assert all(isinstance(name, str) for name in run.inputs)
        assert isinstance(run.has_given_geometry, bool)
        assert run.ref(1).event == "//1"
        run.geometry_settings()
    except HitfinderError as error:
        return str(error)
    return ""


def test_a_good_one_is_read(folder):
    (folder / "run.json").write_text(json.dumps(GOOD))
    assert use(folder) == ""
    assert Run(folder).summary.hits == 1


@given(st.sampled_from(PLACES), st.one_of(JSON, st.just("leave out")))
@FUZZ
def test_one_value_is_another(folder, place, value):
    changed = json.loads(json.dumps(GOOD))
    *way, last = place
    inner = changed
    for name in way:
        inner = inner[name]
    if value == "leave out":
        del inner[last]
    else:
        inner[last] = value
    (folder / "run.json").write_text(json.dumps(changed))
    assert "\n" not in use(folder)


@given(st.binary(max_size=60), st.floats(0, 1))
@FUZZ
def test_bytes_are_others(folder, new, place):
    text = bytearray(json.dumps(GOOD).encode())
    at = int(place * len(text))
    text[at : at + len(new)] = new
    (folder / "run.json").write_bytes(text)
    use(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", 100_000 * "[", '{"settings": ' + 5000 * "9" + "}", "\ufeff{}"]
)
def test_what_is_no_run_is_named(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(ConfigError, match="holds no results of a run"):
        Run(folder)
