# `make demo` and `make test` each do everything that a fresh clone needs, given Python 3.10 to 3.12 with its venv.
# Another Python: make PYTHON=python3.12 demo. Without a GPU, PyTorch's smaller build saves gigabytes:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help demo test check soak bench clean

help:
	@echo "make demo    watch livespot spot expressions of a virtual camera"
	@echo "make test    install everything, then make check"
	@echo "make check   ruff, mypy and pytest, as CI runs them"
	@echo "make soak    the tests that take minutes: cameras that fail again and again, memory over time"
	@echo "make bench   measure speed, latency, alignment and memory on this machine"
	@echo "make clean   remove the virtual environment and everything built"

demo: $(VENV)/.installed-demo
	$(BIN)/livespot demo

test: $(VENV)/.installed-all
	@$(MAKE) --no-print-directory check

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

soak: $(VENV)/.installed-all
	$(BIN)/pytest -m soak

bench: $(VENV)/.installed-demo
	$(BIN)/livespot bench

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "$(PYTHON) does not run: install Python 3.10 to 3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo "$$($(PYTHON) --version) does not fit: livespot needs Python 3.10 to 3.12; make PYTHON=python3.12 chooses one"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) has no venv: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.made pyproject.toml
	@echo "installing livespot into $(VENV): some minutes the first time"
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-all: $(VENV)/.made pyproject.toml
	@echo "installing livespot and what its tests need into $(VENV): some minutes the first time"
	$(PIP) --editable '.[train,dev]'
	@touch $@ $(VENV)/.installed-demo
