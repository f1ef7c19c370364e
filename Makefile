# The same targets as make.ps1. Every target does its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DELIVERY := $(VENV)/.delivery
CDK := node_modules/.bin/cdk
WHEELS := build/wheels/.ready
# two model processes side by side, one thread each, are faster than one with two
WORKERS ?= 2

# the cdk command starts python and node: those of the virtual environment
export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_OFFLINE ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup setup-delivery wheels demo test check lint typecheck synth diagram test-infra bench build images docs all clean

help:
	@echo "make demo        train, gate, register, compile and package the sample's classifier (2 minutes)"
	@echo "make test        every test"
	@echo "make wheels      fetch what the component installs on a device, into build/wheels/"
	@echo "make check       lint and typecheck"
	@echo "make lint        ruff and the layers between packages"
	@echo "make typecheck   pyright"
	@echo "make synth       write every environment's CloudFormation templates to build/cdk/"
	@echo "make diagram     draw the infrastructure and write down its roles, from the templates"
	@echo "make test-infra  only the tests of what is deployed"
	@echo "make bench       us beside our peers, with ratios"
	@echo "make docs        the documentation site, into build/docs/; a warning fails"
	@echo "make build       the wheel, into dist/"
	@echo "make setup-delivery   what the builds of the delivery pipeline need, and no more"
	@echo "make images      the container images, with docker or podman"
	@echo "make all         check, test, synth and build"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned requirements into $(VENV) (about three minutes, once)"
	@$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)

$(CDK): package.json $(READY)
	@echo "installing the cdk command into node_modules"
	@npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $(CDK)

$(WHEELS): edge/requirements.txt $(READY)
	@$(BIN)/python -m steps.package.wheels build/wheels
	@touch $(WHEELS)

setup: $(READY) $(CDK) $(WHEELS)

# what deploys and follows, without what trains: a build of the delivery pipeline begins with it
$(DELIVERY): requirements.txt pyproject.toml package.json
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python containers/requirements_of.py cdk > $(VENV)/delivery.txt
	@$(BIN)/python -m pip install --quiet --constraint requirements.txt --requirement $(VENV)/delivery.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $(DELIVERY)

setup-delivery: $(DELIVERY)

# what the component carries for a device without an index to install from
wheels: $(WHEELS)

demo: $(READY) $(WHEELS)
	$(BIN)/slm run

test: $(READY) $(CDK) $(WHEELS)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=
	$(BIN)/python -m coverage report --fail-under=90

check: lint typecheck

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: $(READY)
	$(BIN)/pyright --pythonpath $(BIN)/python

# two at a time: each is a process of one core
synth: $(READY) $(CDK)
	@$(MAKE) --no-print-directory --jobs 2 $(addprefix synth-,dev staging prod)

synth-%:
	@$(CDK) synth --quiet --no-version-reporting --context env=$* --output build/cdk/$*
	@rm -f build/cdk/$*/performance-counters.json  # timings, for the cdk command alone
	@echo "build/cdk/$*"

diagram: $(READY) $(CDK)
	$(BIN)/python -m cdk.drawing

test-infra: $(READY) $(CDK)
	$(BIN)/python -m pytest -m infra

bench: demo  # prediction is measured on the model that it makes
	$(BIN)/python -m benchmarks

build: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

images:
	$(PYTHON) containers/build.py

docs: $(READY)
	$(BIN)/python docs/build.py

all: check test synth build

clean:
	rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache htmlcov .coverage*
