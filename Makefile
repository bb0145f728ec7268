# The ways in. Each target installs what it needs and can be run again; see scripts/setup.
#   make up      runs Ostiary with a demo, http://localhost:8000/
#   make check   lint and the quick tests        make test   every check and every test
#   make docs    the documents as a site, in build/docs
#   make chaos   kills, stops, cuts and fills each part of a cluster under load; CASES="store-kill …", RATE=200
#   make bench   the benchmarks                  make clean  removes what these made, never data
#   make test-debian13   make up and the gateway's tests on Debian 13, in a chroot
#   make test-image      builds the image of Dockerfile and starts it
#   make lock    renews the lock files           make sbom   the bill of materials (CycloneDX)

.PHONY: setup setup-dev up lint check test chaos test-debian13 test-image docs bench lock sbom clean

VENV := .venv/bin
DATA ?= ostiary-data
GATEWAY_BIND ?= 127.0.0.1:8080
CONTROL_BIND ?= 127.0.0.1:8000
# A file stays on one worker, which starts at most one product that its files share. Files are taken in
# the order of tests/conftest.py: long ones first.
PYTEST := $(VENV)/pytest --dist loadfile --no-loadscope-reorder
# The quick tests compute. The others wait most of their time: for processes, browsers and clocks.
QUICK := $(PYTEST) -n $(shell nproc) -m "not slow"
# Tests start some hundred processes of ours; each would compile every module anew.
export PYTHONDONTWRITEBYTECODE :=

setup:
	@scripts/setup

setup-dev:
	@scripts/setup --dev

up: setup
	@exec $(VENV)/ostiary up --demo --data "$(DATA)" \
		--gateway-bind "$(GATEWAY_BIND)" --control-bind "$(CONTROL_BIND)"

lint: setup-dev
	@scripts/lint

check: lint
	$(QUICK)

test: lint
	@scripts/dialect-tools
	@scripts/coverage-floors
	@scripts/all-tests --dist loadfile --no-loadscope-reorder -n $(shell expr 2 '*' $$(nproc) + 1)

test-debian13:
	@scripts/debian13

test-image:
	@scripts/test-image

# A link that leads nowhere is a warning, and a warning fails.
docs: setup-dev
	@$(VENV)/sphinx-build -q -W --keep-going -n -b html docs build/docs
	@echo "build/docs/index.html"

chaos: setup-dev
	@$(VENV)/python -m tests.chaos $(if $(RATE),--rate $(RATE)) $(CASES)

bench: setup-dev
	@scripts/bench

# UPGRADE=1 takes the newest versions that pyproject.toml allows.
lock:
	@scripts/lock $(if $(UPGRADE),--upgrade)

sbom: setup-dev
	@scripts/sbom

clean:
	rm -rf .venv build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
