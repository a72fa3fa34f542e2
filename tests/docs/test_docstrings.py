"""Every public function has an example in its docstring, and every example does what it says."""

import doctest
import inspect
import sys

import matplotlib
import pytest

import hitfinder as hf

FLAGS = doctest.NORMALIZE_WHITESPACE


def examples():
    """Return the examples of all public names by where they are."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in sorted(hf.PUBLIC):
        found = getattr(hf, name)
        module = sys.modules[found.__module__]
        for one in finder.find(found, name, module, globs={}):
            if one.examples:
                yield one


EXAMPLES = {one.name: one for one in examples()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_do_what_they_say(name, small):
    matplotlib.use("Agg")
    said = []
    failed = doctest.DocTestRunner(optionflags=FLAGS).run(
        EXAMPLES[name], out=said.append, clear_globs=False
    )
    assert not failed.failed, "".join(said)


@pytest.mark.parametrize("name", sorted(hf.PUBLIC))
def test_every_function_has_an_example(name):
    found = getattr(hf, name)
    if inspect.isfunction(found):
        assert name in EXAMPLES
