"""Compiled functions name nothing that takes Numba seconds to compile.

Solvers, sorts and vector products of NumPy took up to ten seconds each, and what may fail with a
text that is put together, as a sum over an axis, two. Plain loops give the same numbers.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import hitfinder

PACKAGE = Path(hitfinder.__file__).parent
SLOW = re.compile(
    r"np\.linalg\.|np\.(cross|outer|sort|argsort|partition|searchsorted|unique|where)\(|"
    r".*\.(sort|argsort|partition)\(|.*\bsum\(.*axis="
)


def slow_to_compile(text: str) -> Iterator[str]:
    """Yield what is slow to compile in the compiled functions of a module."""
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef) or not is_compiled(function):
            continue
        for node in ast.walk(function):
            told = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
            row = isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
            if (
                (isinstance(node, ast.Call) and SLOW.match(told))
                or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult))
                or (row and any(isinstance(target, ast.Subscript) for target in node.targets))
            ):
                yield f"{function.name}: {told}"


def is_compiled(function: ast.FunctionDef) -> bool:
    return any("njit" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_no_kernel_is_slow_to_compile():
    found = {
        str(path.relative_to(PACKAGE)): slow
        for path in PACKAGE.rglob("*.py")
        if (slow := list(slow_to_compile(path.read_text())))
    }
    assert not found


@pytest.mark.parametrize(
    "line",
    ["np.linalg.solve(a, b)", "a.sort()", "np.sum(a, axis=0)", "b = a @ a", "a[0] = 1.0, 2.0"],
)
def test_what_is_slow_to_compile_is_seen(line):
    plain = f"def f(a, b):\n    {line}\n"
    assert len(list(slow_to_compile("@njit(cache=True)\n" + plain))) == 1
    assert not list(slow_to_compile(plain))
