# Seven words to work with, and two to tidy up. ACCELERATOR=gpu takes vLLM's CUDA build instead of the CPU's.

ACCELERATOR ?= cpu
PYTHON := .venv/bin/python

.PHONY: run test lint bench chaos hostile theseus autotelic down clean setup setup-dev

run: setup  ## set everything up, start the service, hold the first conversation, leave the service running
	@.venv/bin/batos up --converse

WORKERS ?= 2
test: setup-dev  ## the whole test suite, in two processes; TESTS='tests/deploy -k settings' for a part, WORKERS=0 for one process
	@$(PYTHON) -m pytest -n $(WORKERS) $(TESTS)

lint: setup-dev  ## style and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy

bench: setup-dev  ## every benchmark, one after the other
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(PYTHON) "$$file"; done; echo "== benchmarks/ticks"; $(PYTHON) -m benchmarks.ticks

MESSAGES ?= 1000000
chaos: setup-dev  ## messages while processes die, stop, fill the disk and lose their clock; MESSAGES=10000 for a short run, SEED=7 to repeat one
	@$(PYTHON) -m tests.chaos --messages $(MESSAGES) $(if $(SEED),--seed $(SEED))

FRAMES ?= 100000
hostile: setup-dev  ## the whole corpus of hostile methods and messages, and FRAMES fuzzed frames, on a real service
	@$(PYTHON) -m tests.hostile
	@$(PYTHON) -m tests.hostile.frames --frames $(FRAMES)

autotelic: setup-dev  ## the whole autotelic loop with the real model, three gaps in a row, in a throwaway image; hours of two cores
	@$(PYTHON) -m tests.autotelic

PROBATION ?= 25
SOAK ?= 0
theseus: setup-dev  ## upgrades of a real service under load, good ones and bad ones; PROBATION=5 for a shorter run, SOAK=50 SEED=7 with kill -9 at random
	@$(PYTHON) -m tests.theseus --probation $(PROBATION) --soak $(SOAK) $(if $(SEED),--seed $(SEED))

down:  ## stop the service
	@if [ -x .venv/bin/batos ]; then .venv/bin/batos down; fi

clean: down  ## remove the environment and caches; the image in var/ stays
	rm -rf .venv .venv.upgrades .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@deploy/setup.sh $(ACCELERATOR) ui

setup-dev:
	@deploy/setup.sh $(ACCELERATOR) ui dev
