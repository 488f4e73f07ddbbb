# `make` alone prints what there is. Everything runs in .venv, which is made from requirements.lock on first use.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
UV ?= $(shell command -v uv)
BIN := .venv/bin
ARGS ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 0)
CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
QUICK := not slow and not peer and not soak
PYTEST := $(BIN)/pytest
PARALLEL := $(if $(filter-out 0 1,$(JOBS)),-n $(JOBS))

.PHONY: help setup demo serve test test-all fuzz check fix bench bench-large docs vendor wheel lock browser clients clean

help: ## print this
	@echo "Usage: make TARGET [ARGS='...']"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

demo: setup ## the whole story on real flights, then the UI; ARGS=--once ends by itself, ARGS='--days 20' shortens it
	@$(BIN)/loopwright demo $(ARGS)

serve: setup ## the server on 127.0.0.1:7070: UI, API, scheduler and controller; ARGS='--port 8000'
	@$(BIN)/loopwright up $(ARGS)

test: check browser ## lint, types, floors, then the quick tests in random order, one process a core; JOBS=1 in one; ARGS goes to pytest
	@$(PYTEST) $(PARALLEL) -m "$(QUICK)$(if $(CHROMIUM),, and not browser)" $(ARGS)

test-all: test clients ## everything: the quick tests, then the slow ones one by one, since some measure the machine
	@$(PYTEST) -m "(slow or peer or soak)$(if $(CHROMIUM),, and not browser)" $(ARGS)

fuzz: setup ## attack everything that listens, ten times as long as the tests do; ARGS='-k spans' takes a part
	@$(PYTEST) $(PARALLEL) tests/attacks tests/surfaces tests/tracking --hypothesis-profile=deep \
		$(if $(CHROMIUM),,-m "not browser") $(ARGS)

check: setup ## what `make test` asks before the tests: ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

fix: setup ## sort, correct and format what ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup ## run every benchmark, or ARGS=benchmarks/startup.py; each prints JSON
	@for script in $(or $(ARGS),$(filter-out benchmarks/large.py,$(wildcard benchmarks/*.py))); do \
		echo "== $$script" >&2; $(BIN)/python $$script; done

bench-large: setup ## 20 GB are joined, checked and profiled within 4 GB: needs 60 GB of disk and half an hour
	@$(BIN)/python benchmarks/large.py $(ARGS)

docs: setup ## write the index of operations and the generated reference pages anew
	@$(BIN)/python -m loopwright.surfaces.cli.indexing
	@$(BIN)/python tools/reference.py $(ARGS)

vendor: setup ## fetch the UI's JavaScript libraries where they are missing or wrong
	@$(BIN)/python hatch_build.py

wheel: setup ## build the wheel and the sdist into dist/
	@$(BIN)/python -m build --no-isolation --sdist --wheel --outdir dist .

lock: setup ## solve requirements.lock anew from pyproject.toml (needs uv); ARGS=--upgrade takes newer versions
	@test -n "$(UV)" || { echo "make lock needs uv on the PATH" >&2; exit 1; }
	@$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		--python-version 3.11 --extra all --group dev $(ARGS) --output-file requirements.lock pyproject.toml

clean: ## remove what was built and cached, .venv too
	@rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf src/loopwright/surfaces/ui/static/vendor
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- the environment

setup: .venv/.project ## make .venv from the lock, if it is not right already

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Loopwright needs Python 3.11 or newer: set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11: set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making .venv with $(PYTHON)" >&2
ifneq ($(UV),)
	@$(UV) venv --quiet --allow-existing --python "$(PYTHON)" .venv
else
	@"$(PYTHON)" -m venv --without-pip .venv
endif

.venv/.lock: requirements.lock | .venv/bin/python
	@echo "Installing from requirements.lock" >&2
ifneq ($(UV),)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
else
	@"$(PYTHON)" -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
endif
	@touch $@

.venv/.project: .venv/.lock pyproject.toml hatch_build.py src/loopwright/surfaces/ui/vendor.lock.json
	@echo "Installing Loopwright in place, with the UI's libraries" >&2
ifneq ($(UV),)
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	@"$(PYTHON)" -m pip --python $(BIN)/python install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
endif
	@touch $@

# The browser tests drive Chromium. Where it is missing and may be installed it is; else those tests are left out.
browser:
ifeq ($(CHROMIUM),)
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "Installing Chromium for the browser tests" >&2; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } >&2 \
			|| echo "Chromium could not be installed: the browser tests are left out" >&2; \
	else echo "No Chromium on the PATH: the browser tests are left out" >&2; fi
endif

# One slow test is a session of R with httr and jsonlite. Where they are missing and may be installed they are; else it is skipped.
clients:
	@if Rscript -e 'library(httr); library(jsonlite)' >/dev/null 2>&1; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "Installing R for its session" >&2; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			r-base-core r-cran-httr r-cran-jsonlite >/dev/null; } >&2 \
			|| echo "R could not be installed: its session is skipped" >&2; \
	else echo "No R with httr and jsonlite: its session is skipped" >&2; fi
