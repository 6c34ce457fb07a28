PYTHON ?= python3
BIN := .venv/bin
# Tests run in this many processes. Many of them wait for other processes most of the time, so twice
# the number of processors keeps these busy.
JOBS ?= $(shell echo $$((2 * $$(nproc))))
# For `make repeat`: how often. For `make mutants` and `make chaos`: how many minutes.
TIMES ?= 10
MINUTES ?= 30
SEED ?= $(shell date +%s)

.PHONY: setup run test check unit repeat failpoints kills chaos mutants lowest hypervisor bench clean

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

run: setup
	$(BIN)/python -m reconciler.samples config.yaml
	$(BIN)/reconciler run

test: check unit

check: setup
	$(BIN)/ruff check reconciler tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: setup
	$(BIN)/pytest -n $(JOBS) --dist worksteal

# The whole suite several times over, to find tests that fail only now and then.
repeat: setup
	$(BIN)/python -m tests.repeat $(TIMES) -n $(JOBS) --dist worksteal

# Every failure at every step of every action; `make test` tries each step in one action.
failpoints: setup
	RECONCILER_FAILURES=all $(BIN)/pytest -n $(JOBS) tests/simulated/test_failpoints.py

# kill -9 of the reconciler at a thousand random steps; RECONCILER_SEED replays a run.
kills: setup
	RECONCILER_KILLS=$${RECONCILER_KILLS:-1000} $(BIN)/pytest -n 4 tests/simulated/test_kills.py

# Everything at once for MINUTES, with many VMs; SEED replays a run.
chaos: setup
	RECONCILER_CHAOS_MINUTES=$(MINUTES) RECONCILER_CHAOS_VMS=50 RECONCILER_SEED=$(SEED) \
		$(BIN)/pytest -n 3 tests/simulated/test_chaos.py

.venv-mutation/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-mutation
	.venv-mutation/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-mutation/bin/pip install -q --disable-pip-version-check \
		"$$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["mutation"])')"
	touch $@

# What no test notices; see docs/how-to/run-mutation-tests.md.
mutants: .venv-mutation/ready
	.venv-mutation/bin/python -m tests.mutants $(MINUTES)

# The tests of what uses other packages, with the oldest versions that pyproject.toml allows.
lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest -n $(JOBS) tests/sources tests/engine tests/report \
		tests/settings tests/host tests/domain/test_xml.py tests/domain/test_schema.py \
		tests/cli/test_main.py tests/cli/test_schema.py tests/simulated/test_life.py

.venv-lowest/ready: pyproject.toml
	rm -rf .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python tests/lowest.py pyproject.toml > .venv-lowest/requirements
	.venv-lowest/bin/pip install -q --disable-pip-version-check -r .venv-lowest/requirements
	touch $@

# Runs the conformance tests against a real StratoVirt: STRATOVIRT_REAL=/usr/bin/stratovirt.
hypervisor: setup
	$(BIN)/pytest tests/hypervisor tests/simulator

bench: setup
	$(BIN)/python -m bench.start

clean:
	rm -rf .venv .venv-mutation .venv-lowest mutants .mypy_cache .ruff_cache .pytest_cache
