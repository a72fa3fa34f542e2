"""Things registered by name: whose a name is, and what is said of one that cannot be had."""

import logging
import sys

import pytest

from hitfinder.errors import ConfigError
from hitfinder.plugins import Registered, Registry

THINGS = Registry("thing", "hitfinder.things", {"plain": "collections:OrderedDict"})


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make packages that register things."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(package, version="1.2", **things):
        info = tmp_path / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        lines = [f"{name} = {path}" for name, path in things.items()]
        (info / "entry_points.txt").write_text("\n".join(["[hitfinder.things]", *lines]) + "\n")
        # A new folder on the path shows at once; a new file in one that was looked at, later.
        monkeypatch.syspath_prepend(str(tmp_path / "."))

    return make


def test_what_comes_with_the_package_is_there_without_an_installation():
    assert THINGS.known() == {"plain": Registered("plain", "collections:OrderedDict", "hitfinder")}
    assert THINGS.find("plain").is_ours
    assert THINGS.load("plain").__name__ == "OrderedDict"


def test_other_packages_register_theirs(install):
    install("beamline", other="collections:Counter")
    found = THINGS.find("other")
    assert (found.path, found.origin, found.is_ours) == (
        "collections:Counter",
        "beamline 1.2",
        False,
    )
    assert THINGS.load("other").__name__ == "Counter"
    assert list(THINGS.known()) == ["plain", "other"]


def test_a_name_has_one_owner(install, caplog):
    install("zebra", plain="collections:Counter", twice="collections:Counter")
    install("aardvark", twice="collections:OrderedDict")
    assert THINGS.find("plain").is_ours
    assert THINGS.find("twice").package == "aardvark"
    with caplog.at_level(logging.WARNING):
        assert THINGS.load("twice").__name__ == "OrderedDict"
    assert "thing 'twice' of aardvark 1.2 is used; zebra registers the same name" in caplog.text


def test_a_broken_one_names_its_package(install):
    install("beamline", gone="no_such_module:Thing", empty="collections:Nothing")
    with pytest.raises(ConfigError, match=r"thing 'gone' of beamline 1.2 cannot be imported"):
        THINGS.load("gone")
    with pytest.raises(ConfigError, match=r"thing 'empty' of beamline 1.2.*AttributeError"):
        THINGS.load("empty")
    assert THINGS.load("plain") is not None


def test_ones_own_need_no_registration(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text("class Box:\n    class Thing:\n        pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert THINGS.load("mine_here:Box.Thing").__qualname__ == "Box.Thing"
    with pytest.raises(ConfigError, match=r"thing 'mine_here:Bag' cannot be imported"):
        THINGS.load("mine_here:Bag")


@pytest.mark.parametrize("name", ["plian", "plian:", ":plain", ""])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ConfigError, match=r"no thing is called.*Known: plain; or name your own"):
        THINGS.find(name)
    with pytest.raises(ConfigError, match="Did you mean 'plain'"):
        THINGS.find("plian")
