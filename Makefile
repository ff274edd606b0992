# Needs git, make and Python 3.11 or newer; everything else is fetched, as locked in requirements.lock and kafka.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched when the environment is complete, so that a second setup has nothing to do.
READY := $(VENV)/.ready
UV := uv==0.13.9

.PHONY: help setup demo test test-containers stand-ins lint docs ci bench chaos lock clean

help: ## say what each target does (this text)
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1 \2/p' Makefile | awk '{ printf "%s %-15s", $$1, $$2; $$1 = $$2 = ""; print }'

setup: $(READY) ## make the environment in .venv, with the command .venv/bin/tally

demo: $(READY) ## start everything on this machine, load a month of usage, show the invoices
	@$(BIN)/tally demo

test: $(READY) ## run all tests, those that measure how fast something recovers by themselves
	$(BIN)/pytest tests/chaos
	$(BIN)/pytest tests --ignore tests/chaos --ignore tests/containers --numprocesses 4 --dist loadgroup

test-containers: $(READY) ## build the image, run deploy/compose.yaml, and some tests on servers in containers
	@$(BIN)/python -W ignore -c 'import docker; docker.from_env().ping()' 2>/dev/null || { \
	    echo "No container engine answers here: start Docker, or podman's API socket (podman system service)" \
	        "and name it in DOCKER_HOST." >&2; exit 1; }
	$(BIN)/pytest tests/containers tests/integration/test_setup_command.py tests/integration/test_keys_command.py \
	    tests/integration/test_closer.py tests/integration/test_producer.py

stand-ins: $(READY) ## build images to test with, on a machine that reaches no image registry
	@$(BIN)/python -m tests.containers.stand_ins

lint: $(READY) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY) ## generate the pages and dashboards that are made of the code
	$(BIN)/python -m deploy.settings_page > docs/settings.md
	$(BIN)/python -m deploy.metrics_page > docs/metrics.md
	$(BIN)/python -m deploy.dashboards

ci: lint test ## do what CI does

bench: $(READY) ## measure the engine, its latency and recovery, the gateway, verdicts, and closing
	$(BIN)/tally bench engine
	$(BIN)/tally bench latency
	$(BIN)/tally bench recovery
	$(BIN)/tally bench gateway
	$(BIN)/tally bench verdict
	$(BIN)/tally bench closing
	$(BIN)/tally bench closing --periods 1000 --meters 300000

chaos: $(READY) ## kill, freeze and spoil everything for MINUTES=10, from a SEED, and count what is left
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

COMPILE := build/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet

lock: ## resolve pyproject.toml anew into requirements.lock, and into requirements-production.lock for the image
	@rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet $(UV)
	$(COMPILE) --extra build --extra local --extra dev -o requirements.lock
	$(COMPILE) --extra build --constraint requirements.lock -o requirements-production.lock
	@rm -rf build/lock

clean: ## remove the environment and all caches in this directory, not the data in tally-data
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f schemas/*.so
	find schemas ingest aggregator deploy tests -name __pycache__ -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml $(wildcard schemas/c/*.[ch])
	@$(PYTHON) --version >/dev/null 2>&1 || { \
	    echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Tally needs Python 3.11 or newer, and $(PYTHON) is older: name another with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "Python's venv module is missing: install it (on Debian and Ubuntu the package python3-venv)." >&2; exit 1; }
	@echo "Making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing $$(grep -c '==' requirements.lock) locked packages (about 640 MB on disk)"
	@[ -t 1 ] || quiet=--quiet; $(BIN)/python -m pip install $$quiet --disable-pip-version-check --no-input \
	    --only-binary :all: --require-hashes -r requirements.lock || { \
	    echo "The packages could not be installed: see pip's words above; without a network, point pip to a mirror." >&2; \
	    exit 1; }
	@echo "Installing Tally"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation \
	    --no-index --editable .
	@$(BIN)/python -c 'import schemas._plain' 2>/dev/null || \
	    echo "There is no C compiler with Python's headers here: workers and gateways do the same, slower."
	@touch $@
	@echo "Ready: $(BIN)/tally"
