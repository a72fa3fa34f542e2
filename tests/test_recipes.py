"""What the recipes, the citation and the package say of themselves is the same."""

import re
import tomllib
from pathlib import Path

import pytest

import hitfinder

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IN_CONDA = {"matplotlib": "matplotlib-base"}
"""Packages that have another name there."""


def pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.partition("==")[0] for line in lines if "==" in line)
    return {name.lower().replace("_", "-") for name in pins}


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("recipe/recipe.yaml", r'version: "(\S+)"'),
        ("CITATION.cff", r"\nversion: (\S+)"),
        ("CHANGELOG.md", r"\n## (\d\S+)"),
    ],
)
def test_the_version_is_the_same_everywhere(file, pattern):
    assert re.search(pattern, (ROOT / file).read_text())[1] == hitfinder.__version__


def test_the_conda_recipe_needs_what_the_package_needs():
    text = (ROOT / "recipe" / "recipe.yaml").read_text()
    run = re.search(r"\n  run:\n(.*?)\n\n", text, re.S)[1]
    listed = dict(re.findall(r"- (\S+) (>=\S+)", run))
    assert listed.pop("python") == ">=${{"
    needed = dict(re.match(r"([\w-]+)(>=\S+)", line).groups() for line in PROJECT["dependencies"])
    assert listed == {IN_CONDA.get(name, name): least for name, least in needed.items()}
    least_python = re.search(r'python_min: "(.*)"', text)[1]
    assert PROJECT["requires-python"] == f">={least_python}"


def test_every_dependency_has_a_version_that_the_tests_run_with():
    extras = PROJECT["optional-dependencies"].values()
    needed = [*PROJECT["dependencies"], *(name for extra in extras for name in extra)]
    names = {re.match(r"[\w-]+", name)[0].lower() for name in needed} - {"hitfinder"}
    assert not names - pinned()


def test_images_are_made_of_files_that_exist():
    for file, pattern in (
        ("Dockerfile", r"\nCOPY (.*) \S+"),
        ("hitfinder.def", r"\n    (\S+) /opt"),
    ):
        copied = " ".join(re.findall(pattern, (ROOT / file).read_text())).split()
        assert copied
        assert all((ROOT / name).exists() for name in copied)
