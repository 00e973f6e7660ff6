# Every target does its own set-up and may be run again at any time. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Tests wait more than they compute: so many run side by side.
LANES ?= 4
# By their first line or their name: many scripts that nodes run have no suffix.
SHELL_SCRIPTS = $(shell find . \( -name .git -o -name .venv -o -name build \) -prune -o -type f -print0 | \
	xargs -0 awk 'FNR == 1 { if (/^\#!.*[\/ ](ba|da)?sh( |$$)/ || FILENAME ~ /\.sh$$/) print FILENAME; nextfile }')

.PHONY: help demo devcloud lab test prepare check lint unit notebooks bench scale faults clean

help:  ## list the targets
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

demo:  ## set everything up, make a Hadoop cluster on this machine and prove it
	@./bootstrap.sh nodes
	@./demo.sh

devcloud:  ## a real OpenStack on this machine, whose servers are real nodes
	@./bootstrap.sh devcloud
	@devcloud/devcloud up

lab:  ## four machines to try bare metal with, on this machine, until Ctrl-C
	@./bootstrap.sh test
	@$(BIN)/python -m tests.support.lab

test:  ## set everything up, lint, run all tests (real nodes included)
	@./bootstrap.sh test
	@$(MAKE) --jobs=2 --output-sync lint prepare
	@$(PYTEST) --numprocesses=$(LANES) --no-loadscope-reorder $(ARGS)

prepare:
	@$(BIN)/python -m tests.support.prepare

check:  ## lint and unit tests: no root, no nodes
	@./bootstrap.sh check
	@$(MAKE) --jobs=2 --output-sync lint unit

unit:
	@$(PYTEST) tests/unit --numprocesses=$(LANES) --no-loadscope-reorder $(ARGS)

lint:  ## ruff, codespell, imports, mypy, shellcheck, root's work in folders of others, yamllint
	@./bootstrap.sh check
	@echo "lint: ruff";       $(BIN)/ruff check --quiet --output-format=concise .; $(BIN)/ruff format --quiet --check .
	@echo "lint: codespell";  $(BIN)/codespell
	@echo "lint: imports";    $(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	@echo "lint: mypy";       $(BIN)/mypy --no-error-summary
	@echo "lint: shellcheck"; shellcheck --external-sources $(SHELL_SCRIPTS)
	@echo "lint: root writes"; $(BIN)/python -m tests.support.root_writes scripts/*/
	@echo "lint: yamllint";   $(BIN)/yamllint --strict .

notebooks:  ## run the tutorials in notebooks/ and save what they answer (ARGS=01 for some)
	@./bootstrap.sh test
	@$(BIN)/python -m tests.support.notebooks $(ARGS)

bench:  ## measure what the README claims, as ratios in one run
	@./bootstrap.sh bench
	@$(BIN)/python -m benchmarks.run $(ARGS)

scale:  ## 64 nodes on this machine; 100 servers and whole clusters on OpenStack against Heat alone; timed
	@./bootstrap.sh nodes
	@$(BIN)/python -m benchmarks.scale $(ARGS)
	@if [[ $$EUID -ne 0 ]]; then echo "openstack: left out: devcloud needs root"; else \
		./bootstrap.sh devcloud && $(BIN)/python -m benchmarks.openstack; fi

faults:  ## let things go wrong at every step, and print what was left and what was called ready (ARGS='--only WORDS')
	@./bootstrap.sh test
	@$(BIN)/python -m tests.faults.run $(ARGS)

clean:  ## remove what was made in this tree (clusters and CM_CACHE stay)
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache *.egg-info cloudmesh_cluster/_data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
