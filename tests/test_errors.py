import logging
import os
import re

import pytest

from hitfinder import logs
from hitfinder.errors import HitfinderError, OutputError, SourceError, harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("µ-run 7 – 0.1 Å", "µ-run 7 – 0.1 Å"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x9b2J\nb\x7f", "a\\x9b2J\\x0ab\\x7f"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        (b"r\xff.h5".decode("utf-8", "surrogateescape"), "r\\xff.h5"),
        ("half \ud800", "half \\ud800"),
        ("no\u00a0break", "no\u00a0break"),
    ],
)
def test_what_a_terminal_obeys_is_spelled_out(text, shown):
    assert harmless(text) == shown


def test_errors_are_one_harmless_line():
    error = SourceError("unreadable", "holds \x1b]0;x\x07", "a\nb.h5", "Try c\rd.")
    assert str(error) == "a\\x0ab.h5: holds \\x1b]0;x\\x07. Try c\\x0dd."
    assert error.where == "a\nb.h5", "the file's own name is kept"


def test_a_long_part_loses_its_middle():
    said = str(HitfinderError("'x = " + 9000 * "9" + "': not a number", "a.geom:3"))
    assert said.startswith("a.geom:3: 'x = 999")
    assert said.endswith("999': not a number")
    assert len(said) < 450


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (28, "Make room there, .*--resume"),
        (30, "that you may write to"),
        (27, "ulimit -f"),
        (5, ""),
    ],
)
def test_what_cannot_be_written_comes_with_what_to_do(number, mend):
    error = OutputError.unwritable(os.strerror(number), "out/hits.cxi")
    assert re.search(mend, error.hint) if mend else not error.hint
    assert str(error).startswith(f"out/hits.cxi: cannot be written ({os.strerror(number)})")


def test_log_messages_are_harmless(capsys):
    logs.configure()
    logging.getLogger("hitfinder.test").warning("file %s", "\x1b[2J.h5")
    assert capsys.readouterr().err == "hitfinder: warning: file \\x1b[2J.h5\n"
