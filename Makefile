PYTHON ?= python3
BIN := .venv/bin
# Number of test processes.
JOBS ?= 2

.PHONY: setup run test check unit hypervisor bench clean

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

# Runs the conformance tests against a real StratoVirt: STRATOVIRT_REAL=/usr/bin/stratovirt.
hypervisor: setup
	$(BIN)/pytest tests/hypervisor tests/simulator

bench: setup
	$(BIN)/python -m bench.start

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
