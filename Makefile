# For users: `make quickstart`. For developers: `make test` (everything), `make check` (quick), `make bench` (figures).
SHELL := /bin/bash
PYTHON ?= python3.11
WORKERS ?= $(shell echo $$(($$(nproc) + 4)))

BIN := .venv/bin
ENVIRONMENT := .venv/installed
TRITON := .venv/triton
INSTALL := install --quiet --disable-pip-version-check --no-compile
ARMS := configs/sweeps/quickstart-arms.yaml

# Every process would compile our modules again, and pytest's workers all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quickstart env slurm programs check test bench wheels gpu-check

quickstart: $(ENVIRONMENT)
	@$(BIN)/detour run $(ARMS)
	@$(BIN)/detour report
	@$(BIN)/detour compare quickstart quickstart-mlm-baseline
	@$(BIN)/detour card quickstart
	@echo "Next: source $(BIN)/activate, then detour status quickstart, or open report.html."

env: $(ENVIRONMENT)

# Composer's own pins contradict torch 2.13, so it comes last and alone. pip would compile all that it installs, 20,000
# modules; the import compiles those that are used.
$(ENVIRONMENT): pyproject.toml | $(BIN)/pip
	@echo "Installing into .venv: some minutes and 2 GB, once."
	@$(BIN)/pip $(INSTALL) --editable '.[train,quickstart,test]' torch==2.13.0
	@$(BIN)/pip $(INSTALL) --no-deps mosaicml==0.32.1
	@$(BIN)/python -c 'import detour.jobs.pretrain, detour.jobs.evaluate'
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -m venv .venv || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends python3-venv >/dev/null && $(PYTHON) -m venv .venv; } || { \
		echo "No virtual environment: install Python 3.11, 3.12 or 3.13 with its venv module, and set PYTHON=." >&2; exit 1; }

# Our GPU kernels are tested in Triton's interpreter, apart: torch for CPUs is not made for a Triton beside it.
$(TRITON): | $(BIN)/pip
	@$(BIN)/pip $(INSTALL) --no-deps --target $@ triton==3.6.0

# The environment may need apt-get too, of which only one can run.
slurm: | $(BIN)/pip
	@tests/slurm/cluster/install.sh .cache/slurm-24.11

# After the Slurms, for the same reason.
programs: | slurm
	@tests/install_programs.sh

check: $(ENVIRONMENT)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Slurm mostly downloads while the environment is unpacked; the tests on Slurm mostly wait, hence more workers than cores.
test:
	@$(MAKE) --no-print-directory --jobs=2 check programs $(TRITON)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

bench: $(ENVIRONMENT)
	@for name in $(notdir $(basename $(wildcard tests/benchmarks/*.py))); do \
		echo "== $$name"; $(BIN)/python -m tests.benchmarks.$$name || exit 1; done

# What a bare GPU machine with Python 3.12 lacks; it has no network.
WHEELS := .cache/wheels
wheels: | $(BIN)/pip
	@$(BIN)/pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
		--platform manylinux2014_x86_64 --platform any --dest $(WHEELS) --requirement tests/gpu/wheels.txt
	@$(BIN)/pip wheel --quiet --no-deps --wheel-dir $(WHEELS) seqeval==1.2.2
	@du -ch $(WHEELS)/*.whl | tail -1

# On the GPU machine, with its own Python: `make gpu-check PYTHON=python3`. What it finds is in $(OUT).
OUT ?= gpu-check
gpu-check:
	@$(PYTHON) tests/gpu/check.py $(OUT) $(if $(wildcard $(WHEELS)/*.whl),--wheels $(WHEELS)) $(GPU_CHECK)
