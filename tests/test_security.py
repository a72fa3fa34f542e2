"""What can run code is used in few places, each of which docs/security.md answers for."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hitfinder"
ALLOWED = {
    "pickle.loads": {
        "executors/dask.py",
        "executors/processes.py",
        "executors/worker.py",
        "io/checking.py",
    },
    "subprocess": {"executors/nursery.py", "network/training/train.py"},
    "eval": set(),
    "exec": set(),
    "os.system": set(),
    "pickle.load": set(),
    "torch.load": set(),
    "marshal.loads": set(),
    "shelve.open": set(),
    "yaml.load": set(),
}
"""Functions, or modules any function of which is meant, and the files that may call them."""


@pytest.fixture(scope="module")
def calls():
    """Every call in the package: its file, what is called, and the keywords."""
    return [
        (
            str(path.relative_to(SOURCE)),
            ast.unparse(node.func),
            {word.arg: ast.unparse(word.value) for word in node.keywords},
        )
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def is_one_of(called, name):
    return called == name or (name == "subprocess" and called.startswith("subprocess."))


@pytest.mark.parametrize("name", ALLOWED)
def test_only_where_it_is_answered_for(calls, name):
    assert {path for path, called, _ in calls if is_one_of(called, name)} == ALLOWED[name]


def test_arrays_of_objects_are_never_loaded(calls):
    for path, called, given in calls:
        if called in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False", path


def test_no_shell_is_started(calls):
    assert not [path for path, _, given in calls if "shell" in given]
