# The same commands for everybody: you, the tests of a change, a release.
#   make up ARGS="--lan"      make test ARGS="-k join"      make up PYTHON=python3.12
PYTHON ?= python3
ARGS ?=
export PYTHON
BIN := .venv/bin
PYTEST_JOBS ?= 2

.PHONY: up setup setup-test setup-fuzz demo test check bench fuzz soak clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

up: setup ## install what is missing, then start everything until Ctrl-C
	@$(BIN)/bandroom up $(ARGS)

setup: ## install what `make up` needs
	@scripts/setup.sh

setup-test: ## install what the tests need as well
	@scripts/setup.sh --test

setup-fuzz: ## install what `make fuzz` and `make soak` need as well
	@scripts/setup.sh --fuzz

demo: setup ## a class of eight virtual instruments plays a round
	@$(BIN)/bandroom demo $(ARGS)

test: setup-test ## all tests, a real broker included
	@$(BIN)/pytest -n $(PYTEST_JOBS) --dist loadfile $(ARGS)

check: setup-test ## lint, types, import rules, schemas, docs
	@$(BIN)/python scripts/check.py

bench: setup-test ## measure: beats, broker (make bench ARGS=time)
	@$(BIN)/python -m bench $(ARGS)

fuzz: setup-fuzz ## the gate under a fuzzer, bounded in time
	@$(BIN)/pytest -q -rs -m fuzz --override-ini addopts="--import-mode=importlib --strict-markers" $(ARGS)

soak: setup-fuzz ## long randomised runs, bounded in time
	@$(BIN)/pytest -q -rs -m soak --override-ini addopts="--import-mode=importlib --strict-markers" $(ARGS)

clean: ## remove what was built (not the data folder)
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache broker/gate/build
	find service devices tests bench -name __pycache__ -type d -exec rm -rf {} + 2>/dev/null || true
