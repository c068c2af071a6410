# Everything a contributor does. Needed by hand: Linux, Python 3.11 or newer, git and make.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
READY := $(VENV)/.ready
NODES ?= best
KIND ?=
# The operator runs from its sources; `operator/` is a source root, the root of the repository gives `testbed`.
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)

.PHONY: help demo test test-deep cluster run down status lint format crds bench image lock binaries clean

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## A release goes wrong and is rolled back, from nothing, on a cluster of its own; KIND=statefulset|daemonset|helm|argocd
	$(PY) -m testbed.demo --kind "$(KIND)"

test: $(READY) ## Every test from unit to end-to-end, and how long each suite took
	$(PY) -m testbed.suites

test-deep: $(READY) ## The same with the long randomised runs
	$(PY) -m testbed.suites --deep

cluster: $(READY) ## A cluster for .testbed/kubeconfig; NODES=fake|real|kind, by default the best possible here
	$(PY) -m testbed up --nodes $(NODES)

run: $(READY) ## The operator in the foreground against that cluster
	KUBECONFIG=$(CURDIR)/.testbed/kubeconfig ROLLBACK_HELM="$${ROLLBACK_HELM:-$(CURDIR)/.testbed/bin/helm}" \
		$(PY) -m rollback_operator

down: $(READY) ## End that cluster and leave nothing of it
	$(PY) -m testbed down

status: $(READY) ## What runs of that cluster
	$(PY) -m testbed status

lint: $(READY) ## Style, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(READY) ## Rewrite the sources in the project's style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

crds: $(READY) ## Generate crds/ from the models
	$(PY) -m rollback_operator.api.crds crds/

bench: $(READY) ## Measure the operator
	$(PY) -m benchmarks

image: $(READY) ## The operator's container image as an archive, without Docker
	$(PY) -m testbed image

binaries: $(READY) ## Build what the best possible cluster here needs (once; cached by version)
	$(PY) -m testbed build --nodes $(NODES)

# Locks name no index, so that each machine uses the one it is set up with.
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" $(LOCK_FLAGS)
lock: $(READY) ## Renew requirements/*.txt from pyproject.toml (LOCK_FLAGS=--upgrade for newer versions)
	$(COMPILE) requirements/bootstrap.in -o requirements/bootstrap.txt
	$(COMPILE) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt

clean: ## Remove the virtual environment and what tools left here; the cluster is `make down`
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(READY): requirements/bootstrap.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(PY) && test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "Python's venv module is incomplete; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(UV) pip sync --quiet --python $(PY) --require-hashes requirements/dev.txt
	@touch $@
