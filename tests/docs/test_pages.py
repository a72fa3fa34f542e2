"""The Python examples on the pages, run in order, page by page."""

import re
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r'title="([\w.]+)"')


def blocks(page, *languages):
    """Line number, title and text of the fenced blocks of a page."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        indent, language, rest, code = found.groups()
        if language in languages:
            title = TITLE.search(rest)
            lines = [line.removeprefix(indent) for line in code.splitlines(keepends=True)]
            line = text.count("\n", 0, found.start(4)) + 1
            yield line, title[1] if title else "", "".join(lines)


TRAINED = {
    "peak": ("peak", "linear"),
    "energy": ("photon_energy", "linear"),
    "length": ("camera_length", "linear"),
    "location": ("peak_location", "heatmap"),
}
"""Trained networks that the pages name: what for, and which network."""

WITH_PYTHON = [page for page in PAGES if any(blocks(page, "python"))]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_python_on_a_page_runs(page, small, make_tree, save_network):
    matplotlib.use("Agg")
    if "hitfinder.study" in page.read_text():
        pytest.importorskip("torch").set_num_threads(1)
        make_tree("work/images")
        for name, (attribute, network) in TRAINED.items():
            # There are peaks, but nowhere.
            last = {"peak": {"linear.bias": 5.0}, "location": {"heatmap.bias": -5.0}}.get(name, {})
            save_network(small / name, attribute, network, last, (512, 512))
    # As in a script or a notebook.
    names = {"__name__": "__main__"}
    for line, title, code in blocks(page, "python"):
        if title:
            # A file of its own, which another test runs.
            continue
        # Blank lines before it make errors name the line of the page.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)
