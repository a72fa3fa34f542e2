"""The packages depend on one another in one direction, and start-up loads nothing heavy."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

import hitfinder
from hitfinder.lazy import import_all, import_meanwhile

PACKAGE = Path(hitfinder.__file__).parent
BASE = {
    "units",
    "errors",
    "config",
    "compilecache",
    "contracts",
    "logs",
    "locks",
    "atomic",
    "interrupts",
    "executors",
    "plugins",
    "progress",
    "sums",
    "sealed",
    "metrics",
    "lazy",
    "hdf5loops",
}
"""What any room may use."""
ROOMS = (
    *("geometry", "crystal", "io", "export", "simulation", "experiment", "finding", "network"),
    *("estimate", "indexing", "results", "report", "job", "monitor", "study", "suite"),
    *("testing", "cli", "__main__"),
)
"""A room imports only from rooms before it."""
ALONE = "study"
"""Nothing but the command line, and the public names of the checks, import it."""
MAY_IMPORT_TORCH = ("study", "network/training")
HEAVY = (
    *("numpy", "scipy", "h5py", "hdf5plugin", "numba", "pyarrow", "matplotlib", "fabio", "gemmi"),
    *("torch", "rich", "pyFAI", "PIL"),
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
            if base == "hitfinder" or (PACKAGE / "/".join(base.split(".")[1:])).is_dir():
                yield from (f"{base}.{alias.name}" for alias in node.names)
            else:
                yield base


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def rank(room):
    return 0 if room in BASE else 1 + ROOMS.index(room)


def wrong_imports(path):
    own, place = room_of(path), str(path.relative_to(PACKAGE).with_suffix(""))
    for module in imported_modules(path):
        names = module.split(".")
        if names[0] == "torch" and not place.startswith(MAY_IMPORT_TORCH):
            yield f"{own} imports torch"
        if names[0] != "hitfinder" or len(names) == 1 or names[1] == "__version__":
            continue
        other = names[1]
        if other == own:
            continue
        if rank(other) >= rank(own) > 0 or (rank(own) == 0 < rank(other)):
            yield f"{own} imports {other}"
        elif other == ALONE and own not in ("testing", "cli", "__main__"):
            yield f"{own} imports {ALONE}"


SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    assert room_of(path) in {*BASE, *ROOMS}, "a new room needs its place in the order"
    assert not list(wrong_imports(path))


def module_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(["hitfinder", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def circles(paths):
    """Return the modules that lead back to themselves by their imports."""
    modules = {module_of(path): path for path in paths}
    uses = {}
    for name, path in modules.items():
        found = set()
        for imported in imported_modules(path):
            while imported and imported not in modules:
                imported = imported.rpartition(".")[0]
            found.add(imported)
        uses[name] = found - {name, "hitfinder", ""}
    while True:
        ends = [name for name, used in uses.items() if not used & uses.keys()]
        if not ends:
            return sorted(uses)
        for name in ends:
            del uses[name]


def test_no_file_leads_back_to_itself():
    assert circles(SOURCES) == []


def loaded_by(*arguments):
    """Heavy modules in `sys.modules` after running Python with the arguments."""
    code = "import sys, runpy\n" + "\n".join(arguments) + "\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return sorted({name.split(".")[0] for name in done.stdout.split()} & set(HEAVY))


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import hitfinder, hitfinder.config, hitfinder.errors, hitfinder.units") == []
    assert loaded_by("import hitfinder.testing, hitfinder.contracts") == []


@pytest.mark.parametrize("arguments", [[], ["run"], ["view"], ["info"], ["simulate"], ["demo"]])
def test_help_loads_nothing_heavy(arguments):
    run = "try:\n    main(%r)\nexcept SystemExit as stop:\n    assert not stop.code"
    text = run % [*arguments, "--help"]
    assert loaded_by("from hitfinder.cli.main import main", text) == []


def test_the_check_of_the_order_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "io").mkdir()
    bad = tmp_path / "io" / "bad.py"
    bad.write_text(
        "from hitfinder.crystal import cell\nfrom ..simulation import x\n"
        "from hitfinder.study import y\nimport torch\nfrom hitfinder.io import worse\n"
    )
    assert list(wrong_imports(bad)) == [
        "io imports simulation",
        "io imports study",
        "io imports torch",
    ]
    worse = tmp_path / "io" / "worse.py"
    worse.write_text("from hitfinder.io.bad import z\n")
    assert circles([bad, worse]) == ["hitfinder.io.bad", "hitfinder.io.worse"]


VAGUE = {
    *("parts", "extras", "values", "sound", "counts", "setup", "local", "weak", "tell", "own"),
    *("utils", "util", "helpers", "misc", "common", "legacy"),
}
"""Names of modules that say nothing of what is in them."""


def repeated_classes(paths):
    """Return the names that top-level classes of several modules share, with these modules."""
    where = {}
    for path in paths:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(path.name)
    return {name: sorted(files) for name, files in where.items() if len(files) > 1}


def test_a_class_name_occurs_once():
    assert repeated_classes(SOURCES) == {}


def test_modules_have_names_that_tell():
    names = {name for path in SOURCES for name in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not names & VAGUE


def test_a_repeated_class_name_is_seen(tmp_path):
    for name, text in (("a.py", "class One: pass"), ("b.py", "class One: pass\nclass Two: pass")):
        (tmp_path / name).write_text(text)
    assert repeated_classes(tmp_path.iterdir()) == {"One": ["a.py", "b.py"]}


def test_modules_are_imported_meanwhile(tmp_path, monkeypatch):
    """What cannot be imported says so when it is needed, not before, and keeps nothing back."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(0.2)")
    (tmp_path / "not_to_import.py").write_text("raise OSError")
    import_meanwhile(["not_to_import", "slow_to_import"])()
    assert "slow_to_import" in sys.modules
    assert "not_to_import" not in sys.modules


def test_no_garbage_is_looked_for_while_modules_are_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("first_to_import", "second_to_import"):
        (tmp_path / f"{name}.py").write_text("import gc\nCOLLECTS = gc.isenabled()")
    import_all(["first_to_import"])
    assert gc.isenabled()
    gc.disable()
    try:
        import_all(["second_to_import"])
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert not sys.modules["first_to_import"].COLLECTS
