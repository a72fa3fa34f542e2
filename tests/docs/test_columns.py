"""The page of columns: every schema in the code is on it, and every column says what it means."""

import importlib.util
import re
from pathlib import Path

import pytest

from hitfinder.export.tables import PEAK_COLUMNS
from hitfinder.finding.peaks import PEAK_DTYPE

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "hitfinder"
PAGE = (ROOT / "docs" / "columns.md").read_text(encoding="utf-8")
SCHEMA = re.compile(r"^([A-Z]\w*_(?:COLUMNS|KEYS)) = \{$", re.MULTILINE)


def load_hook():
    spec = importlib.util.spec_from_file_location("columns", ROOT / "docs" / "hooks" / "columns.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


HOOK = load_hook()
SHOWN = dict(HOOK.named(PAGE))


def test_every_schema_is_on_the_page():
    defined = {
        f"hitfinder.{'.'.join(path.relative_to(PACKAGE).with_suffix('').parts)}:{name}"
        for path in PACKAGE.rglob("*.py")
        for name in SCHEMA.findall(path.read_text(encoding="utf-8"))
    }
    assert set(SHOWN) == defined


@pytest.mark.parametrize("place", SHOWN)
def test_every_column_says_what_it_means(place):
    for name, (kind, unit, meaning) in SHOWN[place].items():
        assert kind, name
        assert unit in HOOK.UNITS, name
        assert len(meaning.split()) > 1, name


def test_the_page_has_a_row_for_each():
    made = HOOK.on_page_markdown(PAGE)
    assert "<!-- columns" not in made
    for columns in SHOWN.values():
        for name in columns:
            assert f"| `{name}` |" in made


def test_what_the_page_says_of_peaks_in_python():
    assert set(PEAK_DTYPE.names) == set(PEAK_COLUMNS) - {"frame"} | {"maximum"}
