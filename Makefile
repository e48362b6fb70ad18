# Everything a newcomer needs is a target here; `make help` lists them.
PYTHON ?= python3
# Tests mostly wait for servers, so more of them than cores run side by side.
JOBS ?= 4
# What happens in a run of chaos follows from its seed.
SEED ?= 1
ROUNDS ?= 200
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help setup run test check format bench bench-long fuzz chaos rehearsal outage screenshots panels openapi manual dashboards lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(RUN_STAMP)  ## create .venv with what Torii needs to run, from hash-pinned requirements

run: $(RUN_STAMP)  ## set up and start a whole gateway on this machine, then print a curl line that works
	@$(BIN)/torii up

test: $(DEV_STAMP)  ## set up, start the real servers the suite needs, run all tests
	@tests/support/install-servers
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(DEV_STAMP)  ## lint, types, import rules, formatting, and the schemas of Dockerfile, compose and Kubernetes files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint --no-color deploy/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yml
	$(BIN)/pytest -q -n 0 tests/deploy/test_kubernetes.py -k valid

format: $(DEV_STAMP)  ## rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV_STAMP)  ## run the published measurements and print their table
	$(BIN)/python -m bench

bench-long: $(DEV_STAMP)  ## measure what takes long: 2,000 jobs in flight, ten minutes of memory, 5,000 waiters (about 25 minutes)
	$(BIN)/python -m bench flight memory waiters

chaos: $(DEV_STAMP)  ## kill and cut everything for SEED and ROUNDS, prove the books, write docs/reliability.md
	@tests/support/install-servers
	$(BIN)/python -m tests.e2e.chaos --seed $(SEED) --rounds $(ROUNDS) --write

rehearsal: $(DEV_STAMP)  ## restart each part in turn under load, two releases side by side, write docs/reliability.md
	@tests/support/install-servers
	$(BIN)/python -m tests.e2e.rehearsal --rounds $(or $(REHEARSALS),2) --write

outage: $(DEV_STAMP)  ## the upstream away for a whole minute under load, in three ways
	@tests/support/install-servers
	OUTAGE_S=60 $(BIN)/pytest -q tests/e2e/test_upstream_outage.py

bench-lag: $(DEV_STAMP)  ## measure the lag behind the upstream and the calls a picture takes, in real time (about 9 minutes)
	$(BIN)/python -m bench lag --json /dev/stdout

fuzz: $(DEV_STAMP)  ## ask a gateway everything its OpenAPI document allows and forbids, about 5 minutes
	@tests/support/install-servers
	$(BIN)/python -m tests.fuzz --examples $(or $(EXAMPLES),25) $(ARGS)

screenshots: $(DEV_STAMP)  ## picture every page of the console into docs/console, from a real run
	@tests/support/install-servers
	$(BIN)/python -m tests.e2e.screenshots $(ARGS)

panels: $(DEV_STAMP)  ## picture every dashboard into docs/dashboards, from a real run of four minutes
	@tests/support/install-servers
	$(BIN)/python -m tests.deploy.panels $(ARGS)

openapi: $(RUN_STAMP)  ## regenerate openapi/torii.json from the routes
	$(BIN)/torii openapi --output openapi/torii.json

manual: $(RUN_STAMP)  ## rewrite the commands' part of docs/cli.md from the commands
	$(BIN)/python -m cli.manual docs/cli.md

dashboards: $(DEV_STAMP)  ## rebuild deploy/grafana/dashboards from deploy/grafana/build
	$(BIN)/python -m deploy.grafana.build

lock:  ## pin requirements/*.txt anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    pyproject.toml requirements/build.in -o requirements/run.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    pyproject.toml requirements/build.in --group dev -c requirements/run.txt -o requirements/dev.txt

clean:  ## remove the virtual environment and caches; never var/, which holds pictures and keys
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Torii needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "installing what Torii needs to run (once, about a minute)"
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	@echo "installing what the tests and checks need (once)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
