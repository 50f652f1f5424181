# make demo   sets up, then plays a shop's day against the shipped head office
# make test   sets up, then runs the tests
# make check  lint, types, known faults of what it depends on, docs, the longer suites (minutes)
# make evidence  runs the fault suites and prints what they count: trials, lost, doubled, stuck
# make soak   the simulator for as long as you like: SIM_RUNS=100000 make soak
# make bench  prints the speed table and writes it to bench/README.md
#
# Needs Python 3.11 or newer, make and the package registry; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
endif
READY := $(VENV)/.ready
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links

.PHONY: demo test check evidence soak bench lock clean

demo: $(READY)
	$(BIN)/edge-agent demo

# Two workers a core: a test waits for its disk and its processes about half of the time.
test: export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(2 * (os.cpu_count() or 1), 16))")
test: $(READY)
	$(BIN)/python -m pytest -n auto -m "not slow"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/audit.py
	$(BIN)/python -m pytest -n auto

evidence: $(READY)
	$(BIN)/python scripts/evidence.py

soak: export SIM_RUNS ?= 20000
soak: $(READY)
	$(BIN)/python -m pytest -n auto -s tests/sim

bench: $(READY)
	$(BIN)/python -m bench

$(READY): pyproject.toml requirements/dev.txt
	$(PYTHON) scripts/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q edge_agent ho_stub
	$(BIN)/python -c "open('$(READY)', 'w').close()"

# Pins everything the project uses, for every platform; run it after changing dependencies in pyproject.toml.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --extra stub --extra metrics --extra postgres --group dev --output-file requirements/dev.txt pyproject.toml

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('$(VENV)', 'dist', 'build', '.mypy_cache', '.ruff_cache')]"
