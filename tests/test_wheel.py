"""The wheel alone, as pip installs it where there is no compiler, no tree and no home."""

import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST_WHEEL_MB = 4

pytestmark = pytest.mark.slow


def run(*command, **options):
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel as it is built from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    run(*pip, "-w", folder, sdist, cwd=folder)
    (archive,) = folder.glob("*.whl")
    return archive


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A new environment with the wheel and what it needs, none of it compiled here."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "-q", "--no-compile")
    run(*pip, "--only-binary=:all:", "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    return folder


def test_the_source_distribution_has_what_tests_and_docs_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = ("src", "tests", "docs", "examples", "recipe", "benchmarks/results")
    tracked = run("git", "ls-files", *needed, cwd=ROOT).split("\n")[:-1]
    assert tracked
    assert not {name for name in tracked if not Path(name).name.startswith(".")} - names


def test_the_wheel_has_all_of_the_package_and_nothing_else(wheel):
    assert wheel.stat().st_size < LARGEST_WHEEL_MB * 1e6
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = run("git", "ls-files", "src/hitfinder", cwd=ROOT).split("\n")[:-1]
    assert names == {name.removeprefix("src/") for name in tracked}
    assert any(name.endswith("network.onnx") for name in names)


@pytest.fixture(scope="module")
def hitfinder(installed):
    """Run the installed command where its environment cannot be written to."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted read-only here")
    read_only = (
        f"mount --bind {shlex.quote(str(installed))} {shlex.quote(str(installed))} && "
        f"mount -o remount,ro,bind {shlex.quote(str(installed))} && exec "
    )

    def call(*arguments, cwd, home):
        command = shlex.join([str(installed / "bin" / "hitfinder"), *map(str, arguments)])
        (cwd / "tmp").mkdir(exist_ok=True)
        # Nothing of this machine's settings, so no compiler's and no other package's either.
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(home)}
        env["TMPDIR"] = str(cwd / "tmp")
        return run("unshare", "-m", "sh", "-c", read_only + command, cwd=cwd, env=env)

    return call


def test_the_demo_runs_without_a_home_and_a_run_with_one(hitfinder, tmp_path):
    said = hitfinder("demo", "--frames", 24, "--out", "demo", cwd=tmp_path, home="/proc/none")
    assert float(re.search(r"hit efficiency ([\d.]+) %", said)[1]) > 90
    assert (tmp_path / "demo" / "run" / "report.html").exists()
    # What was compiled is kept for the next command, where only this user can write.
    (kept,) = (tmp_path / "tmp").glob("hitfinder-*")
    assert list(kept.rglob("*.nbc"))

    (tmp_path / "home").mkdir()
    frames = "demo/frames/demo_master.h5"
    hitfinder("run", frames, "--limit", 2, "--out", "r", cwd=tmp_path, home=tmp_path / "home")
    assert (tmp_path / "r" / "report.html").exists()
    assert list((tmp_path / "home" / ".cache" / "numba").rglob("*.nbc"))


def test_the_core_is_no_larger_than_the_documentation_says(installed):
    files = [p for p in installed.rglob("*") if p.is_file() and not p.is_symlink()]
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    stated = re.search(r"takes (\d+) MB", (ROOT / "docs" / "start.md").read_text())[1]
    assert megabytes < 1.03 * int(stated)
    assert not (installed / "lib" / "torch").exists()
    assert os.listdir(installed / "bin").count("hitfinder") == 1
