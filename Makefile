# Two commands: `make run` and `make test`. Everything else is for maintainers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every process imports some 3,000 modules; compiled ones are kept even where the environment forbids it (tests start many).
export PYTHONDONTWRITEBYTECODE :=
# Ten times as many modules are installed as are imported: those compile at their first import, in a quarter of the time.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: run test check lint format words gallery bench clean

run: $(VENV)/.installed
	@$(BIN)/python -m explorer $(ARGS)

# While the linters read, one process compiles the kernels of generation; several processes of the tests would do it at once.
test: $(VENV)/.installed-dev
	@$(BIN)/python -c "from core.fast.sampling_kernels import warm_up; warm_up()" & $(MAKE) --no-print-directory lint && wait
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not e2e" $(ARGS)
	$(BIN)/python -m tests.e2e.browser
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m e2e tests/e2e

check: lint
	$(BIN)/node --test tests/js/*.test.js
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "not e2e" tests/test_house.py $$($(BIN)/python -m tests.changed)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/biome lint && $(BIN)/pyrefly check --summary=none

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

words: $(VENV)/.installed-dev
	$(BIN)/python -m tests.words

gallery: $(VENV)/.installed
	$(BIN)/python -m core.runs.gallery

bench: $(VENV)/.installed-dev
	$(BIN)/python -m tests.benchmarks $(if $(TEXT),--text "$(TEXT)") $(if $(NANOGPT),--nanogpt "$(NANOGPT)") \
	  $(if $(MINBPE),--minbpe "$(MINBPE)") $(if $(LLAMA2),--llama2 "$(LLAMA2)") $(ARGS)

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "GPT Explorer needs Python 3.11 to 3.13; $(PYTHON) is another. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what GPT Explorer needs (once, a few minutes) ..."
	@$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "GPT Explorer needs Python 3.11 to 3.13; $(PYTHON) is another. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what the tests need (once, a few minutes) ..."
	@$(INSTALL) -r requirements-dev.txt
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
