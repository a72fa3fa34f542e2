"""`hitfinder plugins`."""

import pytest

from hitfinder.cli.main import main


def listed(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["plugins", *arguments])
    return stop.value.code, capsys.readouterr().out


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a finder that is there, one that is not, and a taken name."""
    info = tmp_path / "beamline-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: beamline\nVersion: 1.2\n")
    lines = ["good = collections:Counter", "gone = no_such_module:Finder", "network = a:B"]
    (info / "entry_points.txt").write_text("\n".join(["[hitfinder.finders]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_what_is_registered_is_listed_with_its_package(package, capsys):
    code, text = listed(capsys)
    assert code == 0
    assert "  likelihood  hitfinder, hitfinder.finding.likelihood:LikelihoodFinder\n" in text
    assert "  gone        beamline 1.2, no_such_module:Finder\n" in text
    assert "hitfinder.network.finder:NetworkFinder; not that of beamline\n" in text
    assert "dual-input" in text


def test_what_cannot_be_imported_is_told(package, capsys):
    code, text = listed(capsys, "--check")
    assert code == 1
    assert text.count("cannot be imported") == 1
    assert "finder 'gone' of beamline 1.2 cannot be imported (ModuleNotFoundError" in text


def test_ours_can_all_be_imported(capsys):
    pytest.importorskip("torch")
    assert listed(capsys, "--check")[0] == 0
