# Every target but `help` and `clean` sets up .venv first, from requirements-dev.txt, and only when it changed; `bench-peers`
# sets up build/peers too, from requirements-peers.txt.
# Another interpreter: `make test PYTHON=/path/to/python3.12`. Further options for pytest: `make test ARGS="-k router -x"`.

BIN := .venv/bin
STAMP := .venv/set-up
PEERS := build/peers
PEERS_STAMP := $(PEERS)/set-up
MYPY := $(BIN)/mypy --strict $(wildcard src tests benchmarks tools examples)

.PHONY: help demo test check docs bench guard bench-peers fuzz chaos soak test-windows lock clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1#\2/p' Makefile | while IFS='#' read -r target what; do printf 'make %-14s%s\n' "$$target" "$$what"; done

demo: $(STAMP) ## see a worker, a call and an event, by real processes
	@$(BIN)/rob demo

test: $(STAMP) ## run the test suite
	$(BIN)/python -m pytest -n auto $(ARGS)

check: $(STAMP) ## lint, formatting and types, for Linux and for Windows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MYPY)
	$(MYPY) --platform win32 --cache-dir .mypy_cache/windows

docs: $(STAMP) ## build the pages of docs/ into build/site, without the network (DO=serve shows them while you write)
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=src $(BIN)/mkdocs $(or $(DO),build) --strict $(ARGS)

bench: $(STAMP) ## measure calls and events against the floor of plain sockets, and what faults cost (ARGS="--only faults")
	$(BIN)/python -m benchmarks $(ARGS)

guard: $(STAMP) ## has a call or an event become slower than it was? In seconds, and on any machine
	$(BIN)/python -m benchmarks.guard

bench-peers: $(PEERS_STAMP) ## the same work for this bus and for others, in an environment of its own (ARGS="--page docs/benchmarks.md")
	PYTHONPATH=src $(PEERS)/bin/python -m benchmarks.peers $(ARGS)

fuzz: $(STAMP) ## give broker, clients, workers and rob a million broken inputs (ARGS="--inputs N --seed N")
	$(BIN)/python -m tests.fuzz $(ARGS)

chaos: $(STAMP) ## kill, freeze and restart processes at random for a minute (ARGS="--seconds N --seed N"; not on Windows)
	$(BIN)/python -m tests.chaos $(ARGS)

soak: $(STAMP) ## ten minutes of load and churn: does anything grow, fail or get lost? (ARGS="--minutes N --seed N")
	$(BIN)/python -m tests.soak $(ARGS)

test-windows: $(STAMP) ## run the Windows tests under Wine (Linux only)
	$(BIN)/python tools/windows.py -- -m pytest -p no:cacheprovider tests/windows $(ARGS)

lock: $(STAMP) ## bring requirements-*.txt up to date with pyproject.toml and with new releases
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command 'make lock' --group dev pyproject.toml --output-file requirements-dev.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command 'make lock' --group peers pyproject.toml --output-file requirements-peers.txt

clean: ## remove .venv and everything else that was made here
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist bench.json peers.json
	find src tests benchmarks tools examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A candidate is tried by running it: a name on PATH may belong to a broken shim, or lack what makes environments.
$(STAMP): pyproject.toml requirements-dev.txt
	@set -e; for python in $(or $(PYTHON),$(BIN)/python python3.11 python3 python3.12 python3.13 python3.14); do \
		"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
		test "$$python" = $(BIN)/python && "$$python" -m ensurepip >/dev/null 2>&1 || "$$python" -m venv --clear .venv; \
		echo "setting up .venv with $$($(BIN)/python --version)"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
		touch $@; exit 0; \
	done; \
	echo 'No Python 3.11 or newer with venv and ensurepip was found: install one (Debian: python3 python3-venv), or name it: make PYTHON=/path/to/python3' >&2; exit 1

# Apart from .venv: what others need is nothing that this package is developed with.
$(PEERS_STAMP): $(STAMP) requirements-peers.txt
	@echo "setting up $(PEERS) with $$($(BIN)/python --version)"
	@$(BIN)/python -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-peers.txt
	@touch $@
