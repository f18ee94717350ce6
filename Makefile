# Two commands for a new machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_FLAGS ?= --output=demo_out

.PHONY: demo test lint format clean help

help:
	@echo "make demo    train EDTN on procedural codes, show the result (demo_out/)"
	@echo "             DRIVING=clip.mp4: a clip of a face drives the character"
	@echo "make test    lint, import arrows, fast tests, then slow tests"
	@echo "make lint    ruff check and format check"
	@echo "make format  let ruff rewrite the files"
	@echo "make clean   remove .venv and what the demo wrote"

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python main.py demo $(DEMO_FLAGS) $(if $(DRIVING),--driving="$(DRIVING)")

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow"
	$(BIN)/python -m pytest -n 2 -m slow

clean:
	rm -rf $(VENV) demo_out
