# `make demo` and `make test` set up everything they need, in a virtual environment of their own.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow test-campaign test-browser lint format docs dist clean

demo: $(VENV)/installed  ## reconstruct a real video with the model in the box, and export it
	$(BIN)/openloger reconstruct examples/data/lab.mp4 --out demo/recording --overwrite
	$(BIN)/openloger export demo/recording --to ply --out demo/lab.ply --overwrite
	$(BIN)/openloger export demo/recording --to glb --out demo/lab.glb --overwrite
	$(BIN)/openloger info demo/recording

test: $(VENV)/installed-for-tests  ## everything that fits in minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(VENV)/installed-for-tests  ## full-width networks and long runs
	$(BIN)/python -m pytest -m slow --timeout 3600 --ignore tests/campaign

test-campaign: $(VENV)/installed-for-tests  ## harmed inputs, kills, failing disks, soak: hours; OPENLOGER_CAMPAIGN_SHARE=0.02 takes minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/campaign --timeout 0 -s

test-browser: $(VENV)/installed-for-tests  ## the viewer and the web demo in a headless Chromium
	$(INSTALL) -e '.[test,test-browser]'
	$(BIN)/python -m pytest -m browser

lint: $(VENV)/installed-for-lint
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/basedpyright

format: $(VENV)/installed-for-lint
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: $(VENV)/installed-for-tests  ## the pages, into site/; they need no network to be read
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist: $(VENV)/bin/python  ## the wheel and the sdist, checked
	$(INSTALL) build twine
	rm -rf dist && $(BIN)/python -m build --quiet --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	.ci/check_wheel dist/*.whl

clean:
	rm -rf demo out site build dist $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "openloger needs Python 3.11 or newer (zarr 3 does)")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e .
	touch $@

$(VENV)/installed-for-tests: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-for-lint: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e '.[test,lint]'
	touch $@ $(VENV)/installed $(VENV)/installed-for-tests
