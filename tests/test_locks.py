import os
import signal
import subprocess
import sys

import pytest

from hitfinder import locks
from hitfinder.errors import OutputError
from hitfinder.locks import LOCK, Lock, locked

HOLD = """
import signal, sys, time
from pathlib import Path
from hitfinder.locks import locked
# Shells start what runs in the background with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with locked(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(600)  # until it is killed
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_of_one_process_at_a_time(tmp_path, other):
    with pytest.raises(OutputError, match="another run is writing here"), locked(tmp_path, "run"):
        pytest.fail("must not be reached")
    assert (tmp_path / LOCK).exists(), "the lock of the other must stay"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_dead_process_does_not_keep_it(tmp_path, other, how):
    other.send_signal(how)
    other.wait()
    assert (tmp_path / LOCK).exists() == (how == signal.SIGKILL)
    with locked(tmp_path, "run"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_none(tmp_path, own_module):
    """Who opens the file just before its holder removes it would hold what nobody else sees."""
    real, removed = os.open, []

    def open_late(path, *arguments):
        descriptor = real(path, *arguments)
        if not removed:
            removed.append(path)
            os.unlink(path)
        return descriptor

    own_module(locks, "os", open=open_late)
    with locked(tmp_path, "run"):
        assert (tmp_path / LOCK).exists()
        with pytest.raises(OutputError, match="another run"):
            Lock(tmp_path / LOCK, "run")
    assert removed


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="cannot be written"), locked(tmp_path, "run"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
