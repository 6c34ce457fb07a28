PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test setup
setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --require-hashes -r requirements.lock
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

run: setup
	$(BIN)/python -m reconciler.samples images
	$(BIN)/reconciler run

test: setup
	$(BIN)/mypy
	$(BIN)/ruff check reconciler tests
	$(BIN)/pytest
