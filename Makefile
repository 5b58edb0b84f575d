# For everybody: `make quickstart`. For developers: `make test` (everything), `make check` (quick), `make bench` (figures).
SHELL := /bin/bash
PYTHON ?= python3.11
WORKERS ?= $(shell echo $$((2 * $$(nproc))))

BIN := .venv/bin
ENVIRONMENT := .venv/installed
RECIPE := configs/recipes/quickstart.yaml

.PHONY: quickstart env slurm check test bench

quickstart: $(ENVIRONMENT)
	@$(BIN)/detour run $(RECIPE)
	@$(BIN)/detour report

env: $(ENVIRONMENT)

# Composer's own pins contradict torch 2.13, so it comes last and alone.
$(ENVIRONMENT): pyproject.toml
	@echo "Installing into .venv: some minutes and 2 GB, once."
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends python3-venv >/dev/null && $(PYTHON) -m venv .venv; } || { \
		echo "No virtual environment: install Python 3.11, 3.12 or 3.13 with its venv module, and set PYTHON=." >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[train,quickstart,test]' torch==2.13.0
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps mosaicml==0.32.1
	@touch $@

slurm:
	@tests/slurm/cluster/install.sh .cache/slurm-24.11

check: $(ENVIRONMENT)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

# More workers than cores: the tests on Slurm mostly wait.
test: $(ENVIRONMENT) slurm check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

bench: $(ENVIRONMENT)
	@for name in $(notdir $(basename $(wildcard tests/benchmarks/*.py))); do \
		echo "== $$name"; $(BIN)/python -m tests.benchmarks.$$name || exit 1; done
