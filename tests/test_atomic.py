import errno
import os

import pytest

from hitfinder.atomic import replacing
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
