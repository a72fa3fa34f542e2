import errno
import os
import subprocess
import sys

import pytest

from hitfinder.atomic import _HOST, clear_unfinished, replacing
from hitfinder.errors import OutputError


def test_file_appears_at_the_end(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as part:
        part.write_text("new")
        assert part.parent == tmp_path
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_failure_keeps_what_was_there(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with replacing(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"no.*does not exist"), replacing(tmp_path / "no" / "a"):
        pytest.fail("must not be reached")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_trouble_of_the_disk_is_one_line(tmp_path, code):
    with (
        pytest.raises(OutputError, match=r"a\.txt: cannot be written"),
        replacing(tmp_path / "a.txt"),
    ):
        raise OSError(code, os.strerror(code))


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        open(tmp_path / "missing")  # noqa: SIM115


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    script = "import os, signal, sys\nfrom hitfinder.atomic import replacing\n"
    script += "with replacing(sys.argv[1]) as part:\n    part.write_text('half')\n"
    killed = subprocess.run(
        [sys.executable, "-c", script + "    os.kill(0, signal.SIGKILL)", tmp_path / "a.txt"],
        start_new_session=True,
        check=False,
    )
    assert killed.returncode == -9
    (left,) = tmp_path.iterdir()
    process = int(left.name.split("-")[-1].split(".")[0])
    elsewhere = tmp_path / left.name.replace(f"{_HOST}-", "other-")
    old, mine = tmp_path / ".b.other-5.part", tmp_path / ".notes.part"
    for path in (elsewhere, old, mine, tmp_path / f".c.{_HOST}-{10**30}.part"):
        path.write_text("x")
    os.utime(old, (0, 0))
    with replacing(tmp_path / "alive") as alive:
        alive.write_text("new")
        clear_unfinished(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {
            *(elsewhere.name, mine.name, alive.name)
        }
    assert process != os.getpid()
    assert (tmp_path / "alive").read_text() == "new"
