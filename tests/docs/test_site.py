"""The documentation as a site: it is whole, and fetches nothing from elsewhere."""

import base64
import importlib.util
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hitfinder as hf
from hitfinder.study.assess import study_page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
FETCHED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]+)\"")


def test_every_public_name_is_in_the_reference():
    shown = re.findall(r"^::: (\S+)\n    options:\n      heading: hf\.(\w+)$",
                       (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)  # fmt: skip
    assert {name: place for place, name in shown} == {
        name: f"{place}.{name}" for name, place in hf.PUBLIC.items()
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages, built."""
    for module in ("mkdocs", "material", "mkdocstrings", "mkdocs_jupyter", "latex2mathml"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_and_fetches_nothing(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text()
        assert FETCHED.findall(text) == []
        assert not re.search(r"import\(\s*['\"]https?:", text)
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", style.read_text())
    reference = (site / "reference.html").read_text()
    for name in hf.PUBLIC:
        assert f"hf.{name}" in reference


@pytest.mark.slow
def test_the_site_is_searched_from_disk(site):
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto((site / "index.html").as_uri())
        page.click("input.md-search__input")
        page.keyboard.type("indexamajig")
        found = page.wait_for_selector(".md-search-result__link", timeout=60_000)
        page.goto(found.get_attribute("href"))
        assert "indexamajig" in page.inner_text("article")
        browser.close()


@pytest.mark.slow
def test_samples_are_published(site):
    page = site / "samples" / "report.html"
    assert "Verdict: keep" in page.read_text(encoding="utf-8")
    assert page.stat().st_size < 2_000_000
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="samples/report.html"' in home
    assert 'href="samples/study.html"' in home
    assert (site / "samples" / "study.html").exists()


@pytest.fixture
def samples():
    """The hook that makes the samples."""
    pytest.importorskip("mkdocs")
    place = ROOT / "docs" / "hooks" / "samples.py"
    spec = importlib.util.spec_from_file_location("samples_hook", place)
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


def test_the_sample_of_a_study_shows_the_results_that_are_kept(samples):
    page = samples.study()
    for result in study_page.REPORT:
        assert result.what in page
    binary = (
        "<td>95 to 97 % of peak frames found, no false alarm</td><td>97.7 % (95.8 to 98.7) found"
    )
    assert binary in page
    assert "<td>52.2 % (42.0 to 62.2) found" in page
    assert page.count("data:image/png;base64,") == 24
    assert "resnet50 and dncnn" in page
    assert not re.search(r"src=\"(?!data:)", page)


def test_pictures_of_the_sample_get_lighter(samples):
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    page = f'<img src="data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}" alt="x">'
    light = samples.lighter(page)
    picture = base64.b64decode(samples.PICTURE.search(light)[1])
    assert len(picture) < len(out.getvalue()) / 2
    with Image.open(io.BytesIO(picture)) as shown:
        assert shown.size == (80, 60)
    assert light.endswith('" alt="x">')


LINK = re.compile(r"\]\(([^)#\s]+\.(?:md|ipynb))(?:#[^)]*)?\)")


def linked_from(page):
    """Pages that the text of a page links."""
    if page.suffix != ".md":
        return set()
    found = LINK.findall(page.read_text(encoding="utf-8"))
    return {(page.parent / target).resolve() for target in found if "://" not in target}


def test_the_home_page_leads_anywhere_in_two_clicks():
    """By the links in the text, without the menu, which a phone hides."""
    docs = ROOT / "docs"
    first = linked_from(docs / "index.md")
    reached = first | set().union(*map(linked_from, first)) | {docs / "index.md"}
    pages = {page.resolve() for page in [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]}
    assert {str(page.relative_to(docs)) for page in pages - reached} == set()
    assert all(page.exists() for page in reached)


def test_every_page_is_in_the_menu():
    docs = ROOT / "docs"
    menu = (
        (ROOT / "mkdocs.yml")
        .read_text(encoding="utf-8")
        .partition("nav:")[2]
        .partition("theme:")[0]
    )
    listed = set(re.findall(r"- (?:\w+: )?([\w/.-]+\.(?:md|ipynb))", menu))
    assert listed == {
        str(page.relative_to(docs)) for page in [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]
    }
