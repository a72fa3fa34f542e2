import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import hitfinder
from hitfinder import compilecache

PACKAGE = Path(hitfinder.__file__).parent
COUNT = """
import os
import numpy as np
from hitfinder.results.binned import add_binned
total = np.zeros((2, 2), np.int64)
add_binned(np.ones((4, 4), np.float32), np.zeros((4, 4), bool), np.float32(9), 2, total, total)
print(total.sum(), os.environ.get("NUMBA_CACHE_DIR", "-"))
"""


@pytest.fixture
def read_only(tmp_path):
    """Run Python where neither the package nor the home can be written to."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted read-only here")
    home = tmp_path / "home"
    home.mkdir()

    def run(*code, **variables):
        lines = [
            f"mount --bind {shlex.quote(str(folder))} {shlex.quote(str(folder))} && "
            f"mount -o remount,ro,bind {shlex.quote(str(folder))}"
            for folder in (PACKAGE, home)
        ]
        lines.append(shlex.join(["exec", sys.executable, "-c", *code]))
        removed = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
        kept = {name: value for name, value in os.environ.items() if name not in removed}
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", " && ".join(lines)],
            capture_output=True,
            text=True,
            env={**kept, "HOME": str(home), "TMPDIR": str(tmp_path), **variables},
            check=False,
        )

    return run


def test_compiled_code_is_kept_where_nothing_else_can_be_written(tmp_path, read_only):
    kept = []
    for _ in range(2):
        done = read_only(COUNT)
        assert done.returncode == 0, done.stderr
        total, folder = done.stdout.split()
        assert total == str(16 * 4096)
        assert Path(folder).parent == tmp_path
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        kept.append({path: path.stat().st_mtime_ns for path in Path(folder).rglob("*.nbc")})
    assert kept[0]
    assert kept[0] == kept[1], "the second process must not compile again"


def test_numba_alone_would_refuse(tmp_path, read_only):
    done = read_only("import numba\nimport hitfinder.finding.poisson", TMPDIR="/proc")
    assert "cannot cache function" in done.stderr


def test_a_folder_is_writable_only_if_it_can_be_made(tmp_path):
    assert compilecache._is_writable(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
    # Root may write to /proc, by its rights, but nothing can be made there.
    assert not compilecache._is_writable("/proc/none/.cache/numba")
    (tmp_path / "file").write_text("")
    assert not compilecache._is_writable(str(tmp_path / "file" / "numba"))


@pytest.mark.parametrize("danger", ["link", "open"])
def test_a_folder_others_can_write_to_is_not_used(tmp_path, monkeypatch, danger):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    usual = tmp_path / f"hitfinder-{os.getuid()}"
    assert compilecache._temporary() == str(usual)
    assert compilecache._temporary() == str(usual)
    if danger == "link":
        usual.rename(tmp_path / "elsewhere")
        usual.symlink_to(tmp_path / "elsewhere")
    else:
        usual.chmod(0o777)
    other = Path(compilecache._temporary())
    assert other != usual
    assert other.parent == tmp_path
    assert stat.S_IMODE(other.stat().st_mode) == 0o700


def test_nothing_is_chosen_where_it_is_not_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compilecache, "_temporary", lambda: pytest.fail("not needed"))
    compilecache.ensure()
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setattr(compilecache, "_is_writable", lambda folder: False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compilecache.ensure()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path)


def test_bytecode_is_kept_though_the_environment_forbids_it(tmp_path):
    """Of what was imported before, of what comes then, and of what other processes import."""
    for name in ("before", "then", "elsewhere"):
        (tmp_path / f"{name}.py").write_text("")
    code = (
        "import subprocess, sys, before\n"
        "from hitfinder.compilecache import keep_bytecode\n"
        "keep_bytecode()\n"
        "import then\n"
        "subprocess.run([sys.executable, '-c', 'import elsewhere'], check=True)"
    )
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTHONPYCACHEPREFIX": str(tmp_path / "kept")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    kept = {file.name.partition(".")[0] for file in (tmp_path / "kept").rglob("*.pyc")}
    assert kept >= {"before", "then", "elsewhere", "compilecache"}


MINE = {
    "__init__.py": "",
    "limits.py": "MOST = 1\n",
    "other.py": "import numba\n@numba.njit(cache=True)\ndef three():\n    return 3\n",
    "room/__init__.py": "",
    "room/inner.py": "from mine import (\n    limits,\n)\nMOST = limits.MOST\n",
    "room/kernel.py": "import numba\nfrom mine.room import inner\nMOST = inner.MOST\n"
    "@numba.njit(cache=True)\ndef most():\n    return MOST\n",
}


def test_code_compiled_from_what_has_changed_is_forgotten(tmp_path):
    package = tmp_path / "mine"
    for name, text in MINE.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)

    def forget():
        compilecache.forget_stale(str(package), lambda room: f"{room}/__pycache__")

    def said():
        code = "from mine.room.kernel import most; from mine.other import three\n"
        code += "print(most(), three())"
        command = [sys.executable, "-B", "-c", code]
        environment = {k: v for k, v in os.environ.items() if k != compilecache.VARIABLE}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    (package / ".#limits.py").symlink_to("nobody@nowhere")
    forget()
    assert said() == ["1", "3"]
    forget()
    kept = sorted(path.name for path in package.rglob("*.nbc"))
    assert len(kept) == 2
    (package / "limits.py").write_text("MOST = 20\n")
    assert said() == ["1", "3"], "Numba alone goes on with what it compiled"
    forget()
    assert [path.name for path in package.rglob("*.nb[ci]") if "three" not in path.name] == []
    assert len(list(package.rglob("*.nbc"))) == 1, "what does not depend on it stays"
    assert said() == ["20", "3"]


def test_the_package_itself_is_looked_through():
    package = str(PACKAGE)
    files = dict(compilecache._files(package))
    found = compilecache._with_importers(package, files, {"finding/thresholds.py"})
    assert "finding/candidates.py" in found
    assert "docs/__init__.py" not in found


def test_what_is_not_compiled_can_be_refused(tmp_path):
    """What was compiled before is loaded all the same."""
    (tmp_path / "mine.py").write_text(MINE["other.py"])
    code = "from hitfinder.compilecache import NotCompiledError, nothing_compiled\n"
    code += "from mine import three\ntry:\n    with nothing_compiled():\n        print(three())\n"
    code += "except NotCompiledError:\n    print('refused', three())"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ | {compilecache.VARIABLE: str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["refused", "3"], ["3"]]
