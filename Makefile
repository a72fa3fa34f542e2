# Targets for people and for continuous integration. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
INSTALLED := $(VENV)/.installed

# Where it is set, each process would compile every module anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test test-all lint bench docs clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(INSTALLED) ## make a virtual environment in .venv with everything the tests need

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	$(BIN)/hitfinder compile
	touch $(CORE) $@

# The demo needs neither torch nor the tools of the tests, which take minutes to install.
$(CORE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt -e .
	$(BIN)/hitfinder compile
	touch $@

demo: $(CORE) ## simulate 200 frames, find and index the hits, compare with the truth
	$(BIN)/hitfinder demo --out demo-output --overwrite

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint ## check style and types, run the fast tests
	$(BIN)/pytest -n auto --dist loadfile -m "not slow"

test-all: lint ## the same with the slow tests
	$(BIN)/pytest -n auto --dist loadfile

bench: setup ## measure recall, false peaks, speed and memory beside other finders
	$(BIN)/python benchmarks/finder.py
	$(BIN)/python benchmarks/indexing.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/real.py
	$(BIN)/python benchmarks/static.py
	$(BIN)/python benchmarks/rays.py

docs: setup ## build the documentation into site/
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## delete what the other targets made, but for .venv
	rm -rf demo-output site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
