"""Every command that takes a path, given one of every bad kind: one line of error each."""

import contextlib
import ctypes
import os
import shutil

import h5py
import numpy as np
import pytest

pytest.importorskip("torch")

import hitfinder as hf
from hitfinder.cli.main import COMMANDS, main
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from hitfinder.network.folder import shipped
from hitfinder.study.dataset.split import split
from hitfinder.study.dataset.tree import open_tree
from hitfinder.study.networks import attribute, trained
from hitfinder.study.networks.registry import network

SHAPE = (96, 100)
PLACE = ("--photon-energy-ev", "6000", "--camera-length-m", "0.1")
SMALL = ("--n", "1", "--detector", "eiger2-x-500k")
GEOM = """photon_energy = 6000 eV
clen = 0.1 m
res = 13333.3
p0/min_fs = 0
p0/max_fs = 99
p0/min_ss = 0
p0/max_ss = 95
p0/corner_x = -50
p0/corner_y = -48
p0/fs = x
p0/ss = y
"""
PDB = """CRYST1   60.000   60.000   90.000  90.00  90.00  90.00 P 43 21 2     8
ATOM      1  CA  ALA A   1      11.104  13.207   2.100  1.00 20.00           C
END
"""
CELL = """CrystFEL unit cell file version 1.0

lattice_type = tetragonal
centering = P
unique_axis = c
a = 60.0 A
b = 60.0 A
c = 90.0 A
al = 90.0 deg
be = 90.0 deg
ga = 90.0 deg
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory, tree_builder):
    """One good thing of each kind, by name."""
    root = tmp_path_factory.mktemp("good")
    made = {name: root / name for name in ("run", "tree", "model", "net")}
    made["frames"] = root / "run7_master.h5"
    rng = np.random.default_rng(3)
    geometry = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    with NexusWriter(made["frames"], geometry, np.uint16) as writer:
        for _ in range(6):
            frame = rng.poisson(0.05, SHAPE).astype(np.uint16)
            frame[rng.integers(5, 90, 8), rng.integers(5, 90, 8)] += 30
            writer.write(frame)
    hf.run(made["frames"], made["run"], finder="likelihood", workers=1)
    tree_builder(made["tree"], (6000.0,), (0.15,), frames=4, frames_per_file=3)
    split(open_tree(made["tree"]))
    shutil.copytree(shipped()["low-flux"], made["model"])
    _network(made["net"])
    texts = {
        "geom": GEOM,
        "pdb": PDB,
        "cell": CELL,
        "toml": "[finder]\nfalse_hits = 0.01\nfalse_peaks = 0.01\n",
        "lst": f"{made['frames']} //0\n{made['frames']} //1\n",
        "csv": "astar_x,astar_y,astar_z\n1,2,3\n",
    }
    for suffix, text in texts.items():
        made[suffix] = root / f"good.{suffix}"
        made[suffix].write_text(text)
    made["npy"] = root / "mask.npy"
    np.save(made["npy"], np.zeros(SHAPE, np.uint8))
    made["h5"] = root / "other.h5"
    with h5py.File(made["h5"], "w") as file:
        file["x"] = np.arange(5)
    return made


def _network(path):
    """Write a network of the study, whose weights are what they began with."""
    config = attribute.packaged("peak")
    net = network(config.network).build((32, 28), config.n_outputs)
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    trained.save(path, trained.TrainedNetwork(config, (32, 28), 0.5), weights)


CASES = {
    "run": ("frames", "run BAD --out OUT"),
    "run list": ("lst", "run BAD --out OUT"),
    "run geometry": ("geom", "run frames -g BAD --out OUT"),
    "run mask": ("npy", "run frames --mask BAD --out OUT"),
    "run config": ("toml", "run frames --config BAD --out OUT"),
    "run model": ("model", "run frames --model BAD --out OUT"),
    "run structure": ("pdb", "run frames --structure BAD --out OUT"),
    "run cell": ("cell", "run frames --cell BAD --out OUT"),
    "run pipeline": ("model", "run frames --pipeline BAD --out OUT"),
    "live": ("frames", "live BAD --out OUT --timeout 1"),
    "live geometry": ("geom", "live frames -g BAD --out OUT --timeout 1"),
    "live config": ("toml", "live frames --config BAD --out OUT --timeout 1"),
    "finish": ("run", "finish BAD"),
    "index": ("run", "index BAD --cell 60,60,90"),
    "index cell": ("cell", "index run --cell BAD"),
    "index structure": ("pdb", "index run --structure BAD"),
    "rehit": ("run", "rehit BAD --false-hits 0.1"),
    "monitor": ("run", "monitor BAD --port 0"),
    "view": ("frames", "view BAD -o OUT.png"),
    "view run": ("run", "view frames --run BAD -o OUT.png"),
    "view geometry": ("geom", "view frames -g BAD -o OUT.png"),
    "view mask": ("npy", "view frames --mask BAD -o OUT.png"),
    "info geometry": ("geom", "info frames -g BAD"),
    "simulate config": ("toml", "simulate SMALL --config BAD --out OUT"),
    "simulate detector": ("geom", "simulate --n 1 --detector BAD --out OUT"),
    "simulate structure": ("pdb", "simulate SMALL --structure BAD --out OUT"),
    "simulate spectrum": ("csv", "simulate SMALL --spectrum BAD --out OUT"),
    "simulate orientations": ("csv", "simulate SMALL --orientations BAD --out OUT"),
    "plan config": ("toml", "plan SMALL --config BAD"),
    "plan structure": ("pdb", "plan SMALL --structure BAD"),
    "plan detector": ("geom", "plan --n 1 --detector BAD"),
    "plan orientations": ("csv", "plan SMALL --orientations BAD"),
    "stream-sim": ("frames", "stream-sim BAD --bind tcp://127.0.0.1:*"),
    "dataset import": ("tree", "dataset import BAD --out OUT"),
    "dataset select": ("tree", "dataset select BAD --out OUT"),
    "dataset show": ("tree", "dataset show BAD"),
    "dataset split": ("tree", "dataset split BAD"),
    "dataset validate": ("tree", "dataset validate BAD"),
    "train data": ("tree", "train peak --data BAD --out OUT"),
    "train config": ("toml", "train peak --data tree --config BAD --out OUT"),
    "train pretrained": ("model", "train peak --data tree --pretrained BAD --out OUT"),
    "train recalibrate": ("model", "train low-flux --recalibrate BAD --out OUT"),
    "evaluate": ("model", "evaluate BAD --data tree --out OUT"),
    "evaluate data": ("tree", "evaluate net --data BAD --out OUT"),
    "evaluate real": ("frames", "evaluate --suite low-flux --quick --real BAD --out OUT"),
    "evaluate pattern_sim": ("h5", "evaluate --suite low-flux --quick --pattern-sim BAD --out OUT"),
    "evaluate peers": ("run", "evaluate --suite low-flux --quick --peers BAD --out OUT"),
    "models check": ("model", "models check BAD"),
    "models export": ("model", "models export BAD --out OUT.onnx"),
    "models show": ("model", "models show BAD"),
    "geometry-template": ("frames", "geometry-template BAD --out OUT.geom"),
}
"""Path that is bad -> what a good one would be, and the command with it."""

NOTHING_WRONG = {
    ("run config", "empty"),
    ("live config", "empty"),
    ("simulate config", "empty"),
    ("plan config", "empty"),
    ("dataset show", "emptied files"),  # counts them as unreadable
}
"""No settings are settings, and an answer that counts faults is an answer."""


def kinds(sample):
    """Kinds of bad paths for what should be a file or a folder."""
    both = ("missing", "loop", "no permission", "under a file", "bytes")
    if sample in ("run", "tree", "model"):
        return (*both, "empty folder", "other folder", "a file", "emptied files")
    # A pipe is a fine file of text, as a shell's <(command) is one.
    pipes = ("pipe",) if sample in ("frames", "npy", "h5") else ()
    return (*both, "empty", "a folder", "cut", "noise", *pipes)


def bad(kind, good, folder):
    """Make a bad path; whatever its kind, its name ends as that of the good one."""
    path = folder / f"bad{good.suffix}"
    match kind:
        case "loop":
            path.symlink_to(path.name)
        case "no permission":
            shutil.copytree(good, path) if good.is_dir() else shutil.copy(good, path)
            path.chmod(0)
        case "under a file":
            path.write_text("")
            path = path / good.name
        case "bytes":
            path = folder / os.fsdecode(b"\xff\x1b[31m" + good.name.encode())
        case "empty" | "a file":
            path.write_bytes(b"")
        case "a folder" | "empty folder":
            path.mkdir()
        case "other folder":
            path.mkdir()
            (path / "notes.txt").write_text("nothing")
        case "emptied files":
            shutil.copytree(good, path)
            for file in (file for file in path.rglob("*") if file.is_file()):
                file.write_bytes(b"")
        case "cut":
            content = good.read_bytes()
            path.write_bytes(content[: len(content) // 3])
        case "noise":
            path.write_bytes(np.random.default_rng(0).bytes(3000))
        case "pipe":
            os.mkfifo(path)
    return path


@contextlib.contextmanager
def as_any_user():
    """Heed the permissions of files, as root does not: it loses that right for the block."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the call, this thread
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(head, before) == 0
    less = (ctypes.c_uint32 * 6)(*before)
    less[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of the effective ones
    assert libc.capset(head, less) == 0
    try:
        yield
    finally:
        assert libc.capset(head, before) == 0


def told(capfd, words):
    """Do a command; return its exit code and what it said."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capfd.readouterr()
    return stop.value.code or 0, said.out, said.err


def words_of(line, good, path, out):
    """Return the words of a command, with paths in place of their names."""
    for word in line.split():
        if word == "SMALL":
            yield from SMALL
        elif word == "BAD":
            yield str(path)
        elif word.startswith("OUT"):
            yield str(out) + word[3:]
        elif word in good and word not in COMMANDS:
            yield str(good[word])
        elif word == "run" and word != line.split()[0]:
            yield str(good["run"])
        else:
            yield word


QUICK = ("missing", "no permission", "cut", "empty", "emptied files")
"""Kinds that are tried without being asked for the slow tests."""

BAD = [
    pytest.param(case, kind, marks=() if kind in QUICK else pytest.mark.slow, id=f"{case}-{kind}")
    for case, (sample, _) in CASES.items()
    for kind in kinds(sample)
    if (case, kind) not in NOTHING_WRONG
]


@pytest.mark.parametrize(("case", "kind"), BAD)
def test_a_bad_path_is_one_line_of_error(good, tmp_path, capfd, case, kind):
    sample, line = CASES[case]
    out = tmp_path / "out"
    path = bad(kind, good[sample], tmp_path)
    words = list(words_of(line, good, path, out))
    with as_any_user() if kind == "no permission" else contextlib.nullcontext():
        code, said, err = told(capfd, words)
    assert code in (1, 2), (code, said, err)
    assert "Traceback" not in err
    if case == "dataset validate" and code == 1:
        return
    lines = [one for one in err.splitlines() if "error:" in one.lower()]
    assert len(lines) == 1, err
    assert "\x1b" not in err
    # Which path it is; what is in a list is told by its own name, or what is left of it.
    names = ["bad", good[sample].name, "good0"]
    if (sample, kind) == ("lst", "cut"):
        names += path.read_text().split()[-1:]
    assert any(name in err for name in names), err


OUTPUTS = {
    "run": "run frames --finder likelihood --no-estimate --out OUT",
    "live": "live frames --finder likelihood -j 1 --timeout 1 --out OUT",
    "view": "view frames -o OUT.png",
    "simulate": "simulate SMALL --out OUT",
    "plan": "plan SMALL --out OUT",
    "demo": "demo --out OUT",
    "dataset build": "dataset build --frames 1 --bin 8 --matrix grid --photon-energy-ev 6000 "
    "--camera-length-m 0.15 --out OUT",
    "dataset select": "dataset select tree --out OUT",
    "dataset show": "dataset show tree --png OUT.png",
    "train": "train peak --data tree --epochs 1 --accelerator cpu --out OUT",
    "train low-flux": "train low-flux --experiments 2 --epochs 1 --accelerator cpu --out OUT",
    "evaluate": "evaluate net --data tree --out OUT",
    "evaluate suite": "evaluate --suite low-flux --quick --only bright --out OUT",
    "reproduce": "reproduce --out OUT --only data/paper-normal",
    "models export": "models export model --out OUT.onnx",
    "geometry-template": "geometry-template frames --out OUT.geom",
}
"""Commands that write, and where to."""


WRITTEN = [
    pytest.param(case, kind, marks=pytest.mark.slow if kind == "under a file" else ())
    for case in OUTPUTS
    for kind in ("under a file", "read-only", "full")
    if (case, kind) != ("evaluate suite", "full")  # told when all is computed
]


@pytest.mark.parametrize(("case", "kind"), WRITTEN)
def test_an_output_that_cannot_be_written_is_one_line_of_error(
    good, tmp_path, capfd, request, case, kind
):
    folder, rights = tmp_path / "bad", contextlib.nullcontext()
    if kind == "under a file":
        folder.write_text("")
    elif kind == "full":
        folder = request.getfixturevalue("small_disk")(0)
    else:
        folder.mkdir()
        folder.chmod(0o500)
        rights = as_any_user()
    with rights:
        code, said, err = told(capfd, list(words_of(OUTPUTS[case], good, "", folder / "out")))
    assert code == 2, (code, said, err)
    assert "Traceback" not in err
    assert len([one for one in err.splitlines() if "error:" in one.lower()]) == 1, err
    assert str(folder) in err, err
    left = [] if kind == "under a file" else [p for p in folder.rglob("*") if p.is_file()]
    assert [path.name for path in left if path.stat().st_size and path.name != "ballast"] == []
