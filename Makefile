# Two commands: `make run` and `make test`. Everything else is for maintainers.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every process imports some 3,000 modules; compiled ones are kept even where the environment forbids it (tests start many).
export PYTHONDONTWRITEBYTECODE :=
# uv installs in a fifth of pip's processor time, but does not read pip's settings (mirrors, constraints, certificates): they
# are passed on, those of the environment last. If uv fails, pip installs. Neither compiles modules: one in ten is imported.
UV := 0.13.9
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
define install
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
  { echo "GPT Explorer needs Python 3.11 to 3.13; $(PYTHON) is another. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
@echo "Installing what $(2) (once, a minute or more) ..."
@$(PIP) uv==$(UV) && eval "$$($(BIN)/python -m pip config list | sort -r | sed -n -e 's/\\n/ /g' \
  -e "s/^.*\.index-url=/export UV_DEFAULT_INDEX=/p" -e "s/^.*\.extra-index-url=/export UV_EXTRA_INDEX_URL=/p" \
  -e "s/^.*\.find-links=/export UV_FIND_LINKS=/p" -e "s/^.*\.constraint=/export UV_CONSTRAINT=/p" \
  -e "s/^.*\.no-index=/export UV_NO_INDEX=/p" -e "s/^.*\.cert=/export SSL_CERT_FILE=/p")" && \
  $(BIN)/uv pip install $$(test -t 2 || echo --quiet) --python $(BIN)/python --index-strategy unsafe-best-match -r $(1) || \
  { echo "uv could not install it; now pip tries."; $(PIP) -r $(1); }
@touch $@
endef

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
	$(call install,requirements.txt,GPT Explorer needs)

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt
	$(call install,requirements-dev.txt,the tests need)
	@touch $(VENV)/.installed

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
