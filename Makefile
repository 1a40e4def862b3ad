# Everything runs from .venv, which is made from requirements.lock, and again when that file changes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SEEDS  ?= 1-300
RUNS   ?= 5
ROUNDS ?= 10
SEED   ?= 1
SECONDS ?= 60
MINUTES ?= 60
REDIS  ?= redis-server
READY  := $(VENV)/.ready
# Many tests wait for real processes, so that more run at once than there are cores; the files that take longest
# come first, so that none of them is left over at the end.
FOLDERS := $(addprefix tests/,chaos acceptance simulation integration mutation docs unit)
PYTEST := pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(FOLDERS)

.DEFAULT_GOAL := help
.PHONY: help venv demo test slow check lint types imports format coverage reference simulate chaos soak failovers versions test-redis mutants lock dist clean
.PHONY: bench bench-quick bench-report bench-venv lock-arq

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=…")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

venv: $(READY)  ## make .venv

demo: $(READY)  ## a server, the simulator and a worker on loopback; KEEP=1 leaves them running
	@$(BIN)/scaleout demo $(if $(KEEP),--keep)

test: $(READY)  ## every test but those of `make slow`
	$(BIN)/python -m $(PYTEST) -m "not slow"

slow: $(READY)  ## tests that `make test` leaves out: Chromium, load, rights, benchmarks, releases of Redis, Python, Celery
	$(BIN)/python -m $(PYTEST) -m slow

lint: $(READY)  ## ruff, spelling, and the words that we do not use
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/codespell $(shell git ls-files)
	$(BIN)/python -m tests.docs.words

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

imports: $(READY)  ## import-linter: workers → tasks → config
	$(BIN)/lint-imports

check: lint types imports test  ## lint, types, import rules, tests; before a release also `make slow`

coverage: $(READY)  ## every test, measured by branches, worker processes included; tasks/ must reach 95 %
	$(BIN)/coverage erase
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(BIN)/coverage run -m $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include='tasks/*' --fail-under=95 --format=total

reference: $(READY)  ## write what docs/ takes from the code: schemas, settings, states
	$(BIN)/python -m docs.generate

simulate: $(READY)  ## random histories; SEEDS=1-300
	PYTHONHASHSEED=0 SEEDS=$(SEEDS) $(BIN)/python -m pytest -q -s tests/simulation/test_random_histories.py

chaos: $(READY)  ## real processes killed, stopped and cut off under load; RUNS=5 SEED=1
	$(BIN)/python -m tests.chaos.run --runs $(RUNS) --seed $(SEED)

soak: $(READY)  ## requests and faults for an hour: memory, descriptors, keys and logs stay bounded; MINUTES=60 SEED=1
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) --seed $(SEED)

failovers: $(READY)  ## failovers of Redis under load; ROUNDS=10 SEED=1
	$(BIN)/python -m tests.chaos.failovers --rounds $(ROUNDS) --seed $(SEED)

versions: $(READY)  ## a worker of an earlier commit beside one of this code; SECONDS=60 SEED=1
	$(BIN)/python -m tests.chaos.versions --seconds $(SECONDS) --seed $(SEED)

test-redis: $(READY)  ## the tests that say most of the server, on REDIS=/path/to/redis-server
	$(BIN)/python -m tests.on_redis $(REDIS)

mutants: $(READY)  ## switch each safeguard off in turn: the tests must notice
	$(BIN)/python -m tests.mutation.mutants

# arq wants redis-py below 6, so it cannot be in .venv.
ARQ_LOCK  := benchmarks/alternatives/requirements-arq.txt
ARQ_READY := .bench-venv/.ready

$(ARQ_READY): $(ARQ_LOCK)
	$(PYTHON) -m venv --clear .bench-venv
	.bench-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(ARQ_LOCK)
	@touch $@

bench-venv: $(ARQ_READY)  ## make .bench-venv, in which arq runs

bench: $(READY) $(ARQ_READY)  ## measure beside the alternatives, and write docs/performance.md (ten minutes)
	$(BIN)/python -m benchmarks all

bench-quick: $(READY) $(ARQ_READY)  ## the same, smaller, in four minutes or so; writes into .bench/ only
	$(BIN)/python -m benchmarks all --quick

bench-report: $(READY)  ## write plots and docs/performance.md again from docs/benchmarks/*.json
	$(BIN)/python -m benchmarks report

format: $(READY)  ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY)  ## write requirements.lock again (needs uv); UPGRADE=--upgrade moves the pins
	tail -n +2 requirements.lock > requirements.lock.new
	uv pip compile pyproject.toml --group dev --group bench --universal --generate-hashes --python-version 3.11 --no-header --quiet \
	 $(UPGRADE) --output-file requirements.lock.new > /dev/null
	(echo "# Made by 'make lock' from pyproject.toml; every archive is pinned by its hash."; cat requirements.lock.new) > requirements.lock
	rm requirements.lock.new

lock-arq: $(READY)  ## write the lock of .bench-venv again (needs uv)
	(echo "# Made by 'make lock-arq' from requirements-arq.in; arq wants redis-py below 6."; \
	 uv pip compile $(ARQ_LOCK:.txt=.in) --universal --generate-hashes --python-version 3.11 --no-header --quiet) > $(ARQ_LOCK).new
	mv $(ARQ_LOCK).new $(ARQ_LOCK)

dist: $(READY)  ## wheel and sdist in dist/, checked, and the wheel tried in an empty venv
	rm -rf dist
	$(BIN)/python -m build --outdir dist > /dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents --toplevel config,scaleout_client,tasks,workers dist/*.whl
	$(BIN)/python -m tests.try_wheel dist/*.whl

clean:  ## remove what make has made
	rm -rf dist $(VENV) .bench-venv .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
