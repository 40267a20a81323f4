# The commands of the README. `make book` and `make test` set everything up by themselves.
PYTHON  ?= python3
PROFILE ?= cpu
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready

# Some images set it; without kept bytecode every process would compile torch anew, twice the time to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup book test test-random check fuzz bench mutate reproduce-demo format lock clean
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY)  ## .venv with the locked packages and cdmllab, editable

# The stamp is written last, so an interrupted set-up starts again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "CDML Lab needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d. Name another one: make setup PYTHON=python3.12" % v)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -E '^uv==' requirements.lock)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

book: setup  ## run what changed, then build book/_build/html/index.html (PROFILE=cpu|gpu)
	$(BIN)/cdmllab book build --profile $(PROFILE)

test: setup  ## every test; the browser tests need Chromium
	$(BIN)/python -m pytest --numprocesses auto --max-worker-restart 0 --dist loadfile --no-loadscope-reorder

test-random: setup  ## TESTS in another order and on other random numbers, both from SEED
	$(BIN)/python -m pytest --numprocesses auto --max-worker-restart 0 --dist loadfile \
	  --random-order-bucket=module --random-order-seed=$(or $(SEED),1) --seed $(or $(SEED),1) $(or $(TESTS),tests)

check: setup  ## ruff, mypy, import rules, workflows, wording, notebooks in step with chapters, results with their provenance
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy src
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/python tests/prose.py
	$(BIN)/cdmllab book sync --check
	$(BIN)/cdmllab results check

fuzz: setup  ## damage 100,000 files and read each: an hour or two, stopped it goes on; report in results/faults/fuzz.json
	$(BIN)/python -m tests.fuzz.fuzz --inputs $(or $(INPUTS),100000)

bench: setup  ## the benchmarks that fit this machine, into results/benchmarks/, in less than half an hour
	$(BIN)/cdmllab bench all

mutate: setup  ## mutation scores of PACKAGES (margins, heads and metrics) into results/mutation/; hours, or minutes with SAMPLE=400 mutants of each, drawn by SEED
	$(BIN)/python -m tests.mutation.measure $(PACKAGES) $(if $(SAMPLE),--sample $(SAMPLE) --seed $(or $(SEED),0))

reproduce-demo: setup  ## a row from plan to verdict on rendered faces, in a few minutes on two cores
	$(BIN)/cdmllab reproduce demo --probe 10

format: setup  ## ruff's fixes and formatting
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: setup  ## renew requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --all-extras --no-header --no-annotate --no-emit-index-url \
	  pyproject.toml --output-file requirements.lock

clean:  ## remove what was generated; .venv stays
	rm -rf book/_build book/executed mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache book/chapters/.ruff_cache
