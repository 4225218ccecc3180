# `make demo` and `make test` need Python 3.11 or newer and nothing else; they make .venv.
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .venv-conformance
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT ?= runs/demo

.PHONY: demo test check format bench conformance clean

demo: $(VENV)/.lab
	$(BIN)/softtargets compare --data digits --seeds 5 --out $(OUT)

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -q --doctest-modules src tests/repo

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.import_time
	$(BIN)/softtargets bench cross-entropy --record records/benchmarks
	$(BIN)/softtargets bench linear --record records/benchmarks
	$(BIN)/softtargets bench growth --record records/benchmarks
	$(BIN)/python -m benchmarks.readme

# Asks other libraries what softtargets promises; they live in an environment of their own.
conformance: constraints.txt pyproject.toml
	$(MAKE) VENV=$(PEERS) $(PEERS)/.peers
	PYTHONPATH=. $(PEERS)/bin/python -m tests.conformance.page

$(PEERS)/.peers: $(PEERS)/.lab
	$(PEERS)/bin/python -m pip install --quiet --constraint constraints.txt --group conformance
	$(PEERS)/bin/python -m pip install --quiet --no-deps --group conformance-alone
	-$(PEERS)/bin/python -m pip install --quiet --no-deps --group conformance-compiled
	touch $@

# torch comes first and by itself: the pinned version decides which build the rest is given.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("softtargets needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt torch
	touch $@

$(VENV)/.lab: $(VENV)/.torch pyproject.toml
	$(PIP) install --quiet --constraint constraints.txt --editable '.[lab]'
	touch $@

$(VENV)/.dev: $(VENV)/.lab
	$(PIP) install --quiet --constraint constraints.txt --group dev
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .hypothesis
