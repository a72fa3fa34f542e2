"""The packages depend on one another in one direction, and start-up loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hitfinder

PACKAGE = Path(hitfinder.__file__).parent
LEVELS = (
    ("units", "errors", "config", "logs", "atomic", "interrupts"),
    ("geometry",),
    ("crystal", "io"),
    ("simulate",),
    ("dataset",),
    ("metrics", "models"),
    ("inference",),
    ("training",),
    ("evaluate", "export", "monitor"),
    ("cli", "__main__"),
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
MAY_IMPORT_TORCH = {"models", "training", "inference"}
TORCH_FILE = ("dataset", "torch.py")
HEAVY = (
    *("numpy", "scipy", "h5py", "hdf5plugin", "numba", "pyarrow", "matplotlib", "fabio", "gemmi"),
    *("torch", "rich", "pyFAI", "dectris", "PIL"),
)


def imported_modules(path):
    """Every absolute module name imported anywhere in a file, relative ones made absolute."""
    parts = ["hitfinder", *path.relative_to(PACKAGE).with_suffix("").parts]
    package = parts if path.name == "__init__.py" else parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base == "hitfinder":
                yield from (f"hitfinder.{alias.name}" for alias in node.names)
            else:
                yield base


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def wrong_imports(path):
    own = part_of(path)
    for module in imported_modules(path):
        names = module.split(".")
        if names[0] == "torch" and own not in MAY_IMPORT_TORCH and path.parts[-2:] != TORCH_FILE:
            yield f"{own} imports torch"
        if names[0] != "hitfinder" or len(names) == 1 or names[1] == "__version__":
            continue
        other = names[1]
        same_level_package = LEVEL[other] == LEVEL[own] > 0 and LEVEL[own] < LEVEL["cli"]
        if other != own and (LEVEL[other] > LEVEL[own] or same_level_package):
            yield f"{own} imports {other}"


SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    assert part_of(path) in LEVEL, "a new package needs its place in the order"
    assert not list(wrong_imports(path))


def loaded_by(*arguments):
    """Heavy modules in `sys.modules` after running Python with the arguments."""
    code = "import sys, runpy\n" + "\n".join(arguments) + "\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return sorted({name.split(".")[0] for name in done.stdout.split()} & set(HEAVY))


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import hitfinder, hitfinder.config, hitfinder.errors, hitfinder.units") == []


@pytest.mark.parametrize("arguments", [[], ["run"], ["view"], ["info"], ["simulate"], ["demo"]])
def test_help_loads_nothing_heavy(arguments):
    run = "try:\n    main(%r)\nexcept SystemExit as stop:\n    assert not stop.code"
    text = run % [*arguments, "--help"]
    assert loaded_by("from hitfinder.cli.main import main", text) == []


def test_the_check_of_the_order_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "io").mkdir()
    bad = tmp_path / "io" / "bad.py"
    bad.write_text("from hitfinder.crystal import cell\nfrom ..simulate import x\nimport torch\n")
    assert list(wrong_imports(bad)) == [
        "io imports crystal",
        "io imports simulate",
        "io imports torch",
    ]
