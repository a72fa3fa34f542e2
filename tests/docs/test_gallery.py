"""The gallery: each script draws its picture, and the notebook's cells run."""

import importlib.util
import json
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples" / "gallery").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


@pytest.fixture(scope="module")
def hook():
    pytest.importorskip("mkdocs")
    place = ROOT / "docs" / "hooks" / "gallery.py"
    spec = importlib.util.spec_from_file_location("gallery_hook", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_draws_its_picture(script, hook):
    assert hook.picture(script, small=True).startswith(b"\x89PNG")


def test_the_page_shows_every_script(hook):
    page = hook.on_page_markdown((ROOT / "docs" / "gallery.md").read_text(encoding="utf-8"))
    for script in SCRIPTS:
        assert f"](gallery/{script.stem}.png)" in page
    assert page.count("\n## ") == page.count("??? note") == len(SCRIPTS)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_of_a_notebook_run(notebook):
    matplotlib.use("Agg")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs are made when the pages are built"
            exec(compile("".join(cell["source"]), str(notebook), "exec"), names)
    matplotlib.pyplot.close("all")
