# Everything here needs make and Python 3.11 or newer, nothing else: `make demo`, `make test`.
# Choose another interpreter with `make PYTHON=python3.12 ...`.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# Written when .venv holds what pyproject.toml and constraints.txt ask for: all that it takes to work on physode, or
# physode alone, which is enough for the demo.
STAMP := $(VENV)/.installed
PLAIN := $(VENV)/.installed-plain
DEMO := $(if $(wildcard $(STAMP)),$(STAMP),$(PLAIN))
PIP := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv install demo test test-all test-lowest check lint types reproduction docs bench sdist clean

help: ## Show this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

# $(1): the folder of the environment.
define new_venv
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "Error: no '$(PYTHON)' on the PATH; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Error: '$(PYTHON)' is $$($(PYTHON) --version 2>&1); physode needs Python 3.11 or newer, name one: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || { \
	  rm -rf $(1); \
	  echo "Error: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef

$(STAMP): pyproject.toml constraints.txt
	$(call new_venv,$(VENV))
	$(BIN)/python $(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(PLAIN): pyproject.toml constraints.txt
	$(call new_venv,$(VENV))
	$(BIN)/python $(PIP) --constraint constraints.txt --editable .
	@touch $@

venv: $(STAMP) ## Create .venv with physode, editable, and the tools to work on it

install: $(DEMO) ## Create .venv with physode alone, and say how to start it
	@echo "physode is installed: run $(BIN)/physode --help"

demo: $(DEMO) ## Simulate three bodies, fit their masses, draw the figures (into demo/)
	@mkdir -p demo
	cd demo && ../$(BIN)/physode simulate threebody --preset aca --t-end 2 --points 2000 --force
	cd demo && ../$(BIN)/physode fit --rhs physical --force
	cd demo && ../$(BIN)/physode plot runs/threebody-physical --force

test: $(STAMP) ## Run the tests, without the slow ones
	$(BIN)/python -m pytest -n $(WORKERS)

test-all: $(STAMP) ## Run every test
	$(BIN)/python -m pytest -n $(WORKERS) -m ''

# Tests of what has broken under low versions: the command line, figures, animations, files. Tests of extras are others'.
LOWEST := $(VENV)-lowest
LOWEST_TESTS := tests/test_solve.py tests/test_packaging.py tests/simulators/test_core.py tests/datasets/test_hdf5.py \
  tests/cli/test_main.py tests/cli/test_options.py tests/cli/test_gradcheck.py tests/cli/test_animate.py tests/cli/test_plot.py

$(LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	$(call new_venv,$(LOWEST))
	$(LOWEST)/bin/python $(PIP) --constraint constraints-lowest.txt --editable . pytest hypothesis
	@touch $@

test-lowest: $(LOWEST)/.installed ## Run the README's commands and the tests of the core with the lowest versions allowed
	rm -rf $(LOWEST)/run && mkdir $(LOWEST)/run
	cd $(LOWEST)/run && ../bin/physode simulate threebody --preset aca --t-end 2 --points 2000
	cd $(LOWEST)/run && ../bin/physode fit --rhs physical
	cd $(LOWEST)/run && ../bin/physode plot runs/threebody-physical
	cd $(LOWEST)/run && ../bin/physode animate runs/threebody-physical --format gif --seconds 1
	cd $(LOWEST)/run && ../bin/physode gradcheck van_der_pol
	$(LOWEST)/bin/python -m pytest $(LOWEST_TESTS)

lint: $(STAMP) ## Check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Check the types
	$(BIN)/mypy

check: lint types test ## Style, types and tests: what a change must pass

reproduction: $(STAMP) ## Run every experiment of the papers, shortened, and make docs/reproduction.md (40 minutes)
	$(BIN)/physode reproduce all --quick --jobs $(WORKERS) --out build/reproduction --force
	$(BIN)/python docs/reproduction.py build/reproduction

docs: $(STAMP) ## Make the documentation's site, with the examples executed (into docs/_build/html)
	$(BIN)/python $(PIP) --constraint constraints.txt --editable '.[dev,docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html $(if $(QUICK),-D plot_gallery=0) docs docs/_build/html

bench: $(STAMP) ## Time physode beside its peers (installs these)
	$(BIN)/python $(PIP) --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks

sdist: $(STAMP) ## Make the source archive and its wheel (into dist/)
	$(BIN)/python $(PIP) build
	$(BIN)/python -m build

clean: ## Remove what make made, .venv included
	rm -rf $(VENV) $(LOWEST) docs/_build docs/_pictures docs/api docs/api.rst docs/gallery demo build dist physode.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
