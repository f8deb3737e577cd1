# Everything here needs make and Python 3.11 or newer, nothing else: `make demo`, `make test`.
# Choose another interpreter with `make PYTHON=python3.12 ...`.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# Written when .venv holds what pyproject.toml and constraints.txt ask for.
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv install demo test test-all check lint types reproduction bench clean

help: ## Show this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "Error: no '$(PYTHON)' on the PATH; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Error: '$(PYTHON)' is $$($(PYTHON) --version 2>&1); physode needs Python 3.11 or newer, name one: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "Error: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

venv: $(STAMP) ## Create .venv with physode, editable, and the tools to work on it

install: $(STAMP) ## The same, and say how to start physode
	@echo "physode is installed: run $(BIN)/physode --help"

demo: $(STAMP) ## Simulate three bodies, fit their masses, draw the figures (into demo/)
	@mkdir -p demo
	cd demo && ../$(BIN)/physode simulate threebody --preset aca --t-end 2 --points 2000 --force
	cd demo && ../$(BIN)/physode fit --rhs physical --force
	cd demo && ../$(BIN)/physode plot runs/threebody-physical --force

test: $(STAMP) ## Run the tests, without the slow ones
	$(BIN)/python -m pytest -n $(WORKERS)

test-all: $(STAMP) ## Run every test
	$(BIN)/python -m pytest -n $(WORKERS) -m ''

lint: $(STAMP) ## Check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Check the types
	$(BIN)/mypy

check: lint types test ## Style, types and tests: what a change must pass

reproduction: $(STAMP) ## Run every experiment of the papers, shortened, and make docs/reproduction.md (40 minutes)
	$(BIN)/physode reproduce all --quick --jobs $(WORKERS) --out build/reproduction --force
	$(BIN)/python docs/reproduction.py build/reproduction

bench: $(STAMP) ## Time physode beside its peers (installs these)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks

clean: ## Remove what make made, .venv included
	rm -rf $(VENV) demo build dist physode.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
