# Needs python3 (3.11 or newer, with venv), make and git; everything else is set up in .venv.
# Paths are relative, so that the checkout may be in a directory with spaces in its name.

# One more than processors: a test that waits for a server leaves its own to another.
WORKERS ?= 3
ARGS ?=
BIN := .venv/bin

.PHONY: help demo test lint types mypy pyright docs bench mutants clean
help:
	@echo 'make demo | test | lint | types | docs | bench | mutants | clean   (ARGS="..." goes to all but lint, types, docs and clean)'

demo: .venv/demo.stamp
	$(BIN)/billing demo $(ARGS)

test: .venv/dev.stamp
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# Both need one core. Each says what it says in one piece, where make knows how (macOS' does not).
types:
	@$(MAKE) --no-print-directory -j2 $(and $(filter output-sync,$(.FEATURES)),-Otarget) mypy pyright

mypy: .venv/dev.stamp
	$(BIN)/mypy

# The wrapper would ask the network whether there is a newer pyright.
pyright: .venv/dev.stamp
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

# The site, in site/index.html. The theme would advertise its successor.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/dev.stamp
	$(BIN)/python -m benchmarks $(ARGS)

# Which small changes of the code no test notices: see tests/support/mutants.py.
mutants: .venv/dev.stamp
	$(BIN)/python tests/support/mutants.py $(ARGS)

clean:
	rm -rf .venv build dist site .hypothesis .mutants .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv installs: where it is, the environment is whole.
.venv/bin/pip:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Setting up .venv with $$($$python --version)"; \
	        exec $$python -m venv --clear .venv; \
	    fi; \
	done; \
	echo 'Python 3.11 or newer is needed: none of python3, python3.14 to python3.11 is.' >&2; \
	exit 1

# `-qq`: pip's warnings about the machine's own settings are not this project's.
.venv/demo.stamp: pyproject.toml | .venv/bin/pip
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[cli]'
	@touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/pip
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	$(BIN)/python tests/support/browser.py
	$(BIN)/python tests/support/pooler.py
	@touch $@ .venv/demo.stamp

.venv/docs.stamp: pyproject.toml | .venv/bin/pip
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[docs]'
	@touch $@
