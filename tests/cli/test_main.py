import errno
import os
import shutil
import subprocess
import sys

import click
import h5py
import numpy as np
import pytest

import hitfinder
from hitfinder.cli import main as module
from hitfinder.cli.main import COMMANDS, cli, main
from hitfinder.errors import OutputError
from waiting import LONGEST_S


def exit_code(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return stop.value.code


def test_help_names_every_command_and_the_exit_codes(capsys):
    assert exit_code("--help") == 0
    said = capsys.readouterr().out
    for name, (_, text) in COMMANDS.items():
        assert name in said
        assert text.split()[0] in said
    assert "Exit codes: 0 done" in said


def test_every_listed_command_exists():
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command.name == name
        assert command.help


def test_version(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"hitfinder {hitfinder.__version__}\n"


def test_a_mistyped_command_gets_a_suggestion(capsys):
    assert exit_code("veiw") == 2
    assert "No such command 'veiw'. Did you mean 'view'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["find"], "No such command 'find'. Did you mean 'run'?"),
        (["run", "a.h5", "--distance", "1"], "'--distance'. Did you mean '--camera-length-m'?"),
        (["run", "a.h5", "--nproc", "2"], "'--nproc'. Did you mean '--workers'?"),
        (["info", "a.h5", "--nproc", "2"], "No such option '--nproc'."),
        (["run", "a.h5", "--beam-center", "3,4"], "requires 2 arguments. Put spaces between"),
    ],
)
def test_words_of_other_programs_get_a_suggestion(capsys, typed, said):
    assert exit_code(*typed) == 2
    assert said in capsys.readouterr().err


def test_suggestions_name_what_there_is():
    context = click.Context(cli)
    assert set(module.OTHER_COMMANDS.values()) <= set(COMMANDS)
    commands = [cli.get_command(context, name) for name in ("run", "simulate", "index")]
    options = {name for command in commands for param in command.params for name in param.opts}
    assert set(module.OTHER_OPTIONS.values()) <= options
    assert not options & set(module.OTHER_OPTIONS)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (OutputError("is full", "disk", "Make room."), 2, "error: disk: is full. Make room.\n"),
        (OSError(28, "No space left on device", "out.h5"), 2, "out.h5: No space left on device\n"),
        (KeyboardInterrupt(), 130, "hitfinder: interrupted\n"),
    ],
)
def test_errors_become_a_line_and_an_exit_code(monkeypatch, capsys, raised, code, said):
    @click.command()
    def run():
        raise raised

    monkeypatch.setattr(module.LazyGroup, "get_command", lambda *_: run)
    assert exit_code("run") == code
    captured = capsys.readouterr()
    assert captured.err.endswith(said)
    assert captured.err.strip().count("\n") == 0
    assert captured.out == ""


@pytest.mark.parametrize(
    "where",
    [
        # Python ignores it in a finaliser.
        "class Thing:\n"
        "    def __del__(self): stop()\n"
        "def run():\n"
        "    Thing()\n"
        "    time.sleep(60)\n",
        # As Numba reports it from a kernel.
        "def run():\n"
        "    try: stop(); time.sleep(60)\n"
        "    except KeyboardInterrupt as error: raise SystemError('result') from error\n",
    ],
    ids=["finaliser", "library"],
)
@pytest.mark.parametrize("signal_", ["SIGINT", "SIGTERM"])
def test_an_interruption_ends_a_command_wherever_it_comes(where, signal_):
    code = (
        "import os, signal, time, click, hitfinder.cli.main as m\n"
        "from hitfinder.interrupts import terminate_as_interrupt\n"
        f"stop = lambda: os.kill(os.getpid(), signal.{signal_})\n"
        # Shells start what runs in the background with Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.SIG_IGN if 'SIGTERM' == "
        f"'{signal_}' else signal.default_int_handler)\n"
        f"{where}"
        "def ending():\n"
        "    with terminate_as_interrupt(): run()\n"
        "m.LazyGroup.get_command = lambda *_: click.Command('run', callback=ending)\n"
        "m.main(['run'])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (
        130,
        "",
        "hitfinder: interrupted",
    )


def test_an_interruption_while_the_program_is_loaded_is_a_line_too():
    code = (
        "import runpy, signal, sys\n"
        "class Stopping:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': signal.raise_signal(signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Stopping())\n"
        "runpy.run_module('hitfinder', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "hitfinder: interrupted\n")


def test_an_error_in_the_program_has_a_code_of_its_own(monkeypatch, capsys):
    @click.command()
    def run():
        raise IndexError("oh")

    monkeypatch.setattr(module.LazyGroup, "get_command", lambda *_: run)
    assert exit_code("run") == 70
    said = capsys.readouterr().err
    assert "IndexError: oh" in said
    assert said.endswith("please report it\n")


def too_large():
    np.empty(1 << 60, np.uint8)


def within_a_library():
    try:
        too_large()
    except MemoryError as error:
        raise RuntimeError("cannot go on") from error


def unmapped():
    raise ImportError("libx.so: failed to map segment from shared object")


def no_process():
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


def no_thread():
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("fails", [too_large, within_a_library, unmapped, no_process, no_thread])
def test_want_of_memory_is_one_line(monkeypatch, capsys, fails):
    monkeypatch.setattr(module.LazyGroup, "get_command", lambda *_: click.command("run")(fails))
    assert exit_code("run") == 2
    said = capsys.readouterr().err
    assert said.startswith("hitfinder: error: memory is short. See the limits")
    assert said.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error():
    # More than a pipe holds, so that writing must fail.
    code = (
        "import click, hitfinder.cli.main as m\n"
        "run = click.Command('run', callback=lambda: click.echo('x' * 10**6))\n"
        "m.LazyGroup.get_command = lambda *_: run\n"
        "m.main(['run'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(LONGEST_S) == 141


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(capsys, shell):
    assert exit_code("completion", shell) == 0
    assert "_HITFINDER_COMPLETE" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_offers_options_and_commands():
    environment = {**os.environ, "_HITFINDER_COMPLETE": "bash_complete"}
    for words, number, offered in (("hitfinder ru", 1, "run"), ("hitfinder run --res", 2, "--res")):
        done = subprocess.run(
            [sys.executable, "-m", "hitfinder"],
            env={**environment, "COMP_WORDS": words, "COMP_CWORD": str(number)},
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
        )
        assert offered in done.stdout


def test_quiet_and_verbose_set_what_is_said(capsys):
    import logging

    for flags, level in (([], "INFO"), (["-q"], "WARNING"), (["-qq"], "ERROR"), (["-v"], "DEBUG")):
        assert exit_code(*flags, "completion", "bash") == 0
        assert logging.getLevelName(logging.getLogger("hitfinder").level) == level
    logging.getLogger("hitfinder.test").warning("careful")
    assert "hitfinder: warning:" in capsys.readouterr().err


def test_a_command_whose_output_is_closed_works(tmp_path):
    # The next file that is opened must not get the number of the output.
    said = [sys.executable, "-m", "hitfinder", "simulate", "--out", tmp_path / "out", "--n", "1"]
    said += ["--detector", "eiger2-x-500k", "--workers", "1"]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *said], check=False)
    assert done.returncode == 0
    with h5py.File(tmp_path / "out" / "frames_master.h5") as file:
        assert "entry" in file


def test_a_pool_of_threads_that_is_left_behind_keeps_no_command_from_its_end():
    code = (
        "import sys, hitfinder.cli.main as m, hitfinder.__main__ as command\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor(1)\n"
        "m.main = lambda: sys.exit(pool.submit(int, 3).result())\n"
        "command.main()"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], timeout=LONGEST_S, check=False).returncode == 3
    )
