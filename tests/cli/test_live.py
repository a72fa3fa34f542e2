import pytest

from hitfinder.cli.main import main

pytest.importorskip("zmq")

COMMAND = ("live", "tcp://127.0.0.1:1", "--out")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--bandwidth", "0.02"), ("--index-workers", "2"), ("--space-group", "P1")],
)
def test_what_only_indexing_takes_needs_a_cell(capsys, tmp_path, option, value):
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, str(tmp_path / "out"), option, value])
    assert stop.value.code == 2
    assert f"a live run without --cell takes no {option}" in capsys.readouterr().err


def test_the_page_is_not_opened_for_options_that_cannot_be_used(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, str(tmp_path / "out"), "--page", "0", "--offer", "localhost:5555"])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert "localhost:5555: is no address to hand on hits at" in err
    assert "http" not in out
