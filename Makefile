# `make chat` and `make test` each work as the first and only command after a clone.
# PYTHON picks the interpreter, VENV the folder of the environment.
PYTHON ?= python3
VENV ?= .venv
# Windows keeps the programs of an environment in Scripts.
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
MODEL ?= gpt-mini-ko
# How many tests run at once; each process takes about 1 GB.
JOBS ?= 2

.PHONY: chat test check format docs lowest bench clean

chat: $(VENV)/.installed
	@$(BIN)/dgm chat --model $(MODEL)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate_help.py

lowest: constraints-lowest.txt
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet -c constraints-lowest.txt -e ".[data]" pytest
	$(VENV)-lowest/bin/python -m pytest tests/unit/test_imports.py

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/sampling.py --out benchmarks/results/sampling.json

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Setting up in $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	@echo "Setting up with the development tools in $(VENV) (once; about two minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(VENV)/.installed $@
