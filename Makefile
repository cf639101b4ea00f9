# Everything a newcomer types. `make demo` and `make test` need nothing before them but Python 3.11 or later.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SIZE   ?= full
STUDY  ?= thesis
# One seed is what the study had; from three on, differences get an interval.
SEEDS  ?= $(if $(filter tiny,$(SIZE)),1,3)
RESULTS ?= results/runs/$(STUDY)
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long lint bench check-reference reproduce-thesis clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv and install bnbench into it, with the versions of constraints.txt

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bnbench needs Python 3.11 or later; name one: make PYTHON=python3.12 setup" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,cluster,report]'
	@touch $@

demo: $(READY)  ## train five variants on real digits, rank them, draw their curves, report (two minutes)
	$(BIN)/bnbench run digits_3c3d --variant all --seeds 3 --results results/runs/demo
	$(BIN)/bnbench report --results results/runs/demo

# File by file on as many processes as cores: what a file's tests share is made once, and the slow files start early.
test: $(READY) lint  ## the test suite, linters and type checks included
	$(PYTEST) -m "not long" --durations=15

test-long: $(READY)  ## what `make test` has a small part of: long tests; runs killed, asleep, failing at every call (two hours)
	$(PYTEST) -m long --durations=15
	$(BIN)/python tests/kills.py
	$(BIN)/python tests/pauses.py
	$(BIN)/python tests/mutations.py

lint: $(READY)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-reference: $(READY)  ## every problem with a reference, five variants and seeds at tiny size (minutes)
	$(BIN)/bnbench check --fresh --seeds 5

bench: $(READY)  ## throughput, as ratios measured in one run (ten minutes, on a quiet machine)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only -s

reproduce-thesis: $(READY)  ## the whole study: SIZE=tiny in minutes; without it in full, resumable, estimate first
	$(BIN)/bnbench estimate cifar10_3c3d cifar100_3c3d cifar100_allcnnc --variant bn_gamma_beta --size $(SIZE)
	$(BIN)/bnbench study $(STUDY) --size $(SIZE) --seeds $(SEEDS) --results $(RESULTS) --dry-run
	$(BIN)/bnbench study $(STUDY) --size $(SIZE) --seeds $(SEEDS) --results $(RESULTS)
	$(BIN)/bnbench rank --size $(SIZE) --results $(RESULTS)
	$(BIN)/bnbench claims --study $(STUDY) --results $(RESULTS)
	$(BIN)/bnbench plot --all --size $(SIZE) --results $(RESULTS) --output $(RESULTS)/figures
	$(BIN)/bnbench report --results $(RESULTS)

clean:  ## remove caches and build products; results and .venv stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache
	find benchmark tests -name __pycache__ -type d -prune -exec rm -rf {} +
