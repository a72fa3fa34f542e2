"""The documentation as a site: it is whole, and fetches nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hitfinder as hf

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]+)\"")


def test_every_public_name_is_in_the_reference():
    shown = re.findall(r"^::: (\S+)\n    options:\n      heading: hf\.(\w+)$",
                       (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)  # fmt: skip
    assert {name: place for place, name in shown} == {
        name: f"{place}.{name}" for name, place in hf.PUBLIC.items()
    }


@pytest.mark.slow
def test_the_site_is_built_and_fetches_nothing(tmp_path):
    for module in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(module)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert FETCHED.findall(page.read_text()) == []
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", style.read_text())
    reference = (tmp_path / "reference" / "index.html").read_text()
    for name in hf.PUBLIC:
        assert f"hf.{name}" in reference
