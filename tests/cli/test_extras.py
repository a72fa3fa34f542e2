"""What commands say where only the core is installed."""

import json
import subprocess
import sys

import pytest

MODULES = ("zmq", "cbor2", "msgpack", "starlette", "uvicorn", "prometheus_client")

CORE_ONLY = """
import contextlib, io, json, sys
for name in {missing!r}:
    sys.modules[name] = None
from hitfinder.cli.main import main
said = {{}}
for command in {commands!r}:
    with contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(command)
        except SystemExit as stop:
            said[" ".join(command)] = stop.code, err.getvalue()
import hitfinder.job.run, hitfinder.job.indexing.index, hitfinder.report.page
print(json.dumps(said))
"""


def said_without(missing, commands, folder):
    code = CORE_ONLY.format(missing=missing, commands=commands)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("missing", "extra", "commands"),
    [
        (
            MODULES,
            "live",
            [["live", "tcp://detector:31001", "--out", "out"], ["stream-sim", "frames_master.h5"]],
        ),
        (
            MODULES[3:],
            "monitor",
            [
                ["monitor", "run7"],
                ["live", "tcp://detector:31001", "--out", "out", "--page", "8421"],
            ],
        ),
    ],
)
def test_without_an_extra_its_commands_say_which_one_to_install(tmp_path, missing, extra, commands):
    (tmp_path / "frames_master.h5").touch()
    for code, words in said_without(missing, commands, tmp_path).values():
        assert code == 2
        assert words == (
            f"hitfinder: error: this needs {missing[0]}, which is not installed. "
            f"Install it with: pip install 'hitfinder[{extra}]'\n"
        )
    assert not (tmp_path / "out").exists()
