# Every target sets up its own environment first, so that each works as the first thing typed:
#
#   make demo   a character mini has never seen, learnt and drawn in new situations
#   make test   all tests
#   make test-browser   the notebooks' sliders and buttons, in a browser (needs Chromium)
#   make lab    JupyterLab on the notebooks
#   make slides    the talk as two decks that need no network, in outputs/slides
#   make book    the course as a book to read in a browser, in book/_build/html
#   make book-pdf    the same as one PDF (needs Chromium)
#   make present   the talk live, in a browser: Alt+R begins
#   make lint   style and types
#   make notebooks   the learners' notebooks anew from notebooks/source
#   make solved    the solved notebooks that are stale, run and stored with their outputs
#
# What can be changed:
#   PYTHON    the Python to build the environment with (3.10 to 3.13): make demo PYTHON=python3.12
#   TORCH     the torch to install; it comes first and exactly, so that nothing else chooses it
#   PIP_ARGS  options for pip. On Linux, pip's default torch brings CUDA libraries of several GB;
#             for the small CPU build, give the options that PyTorch's "Get started" page shows.
#   CONSTRAINTS  the versions of everything else; /dev/null: the newest
#   WORKERS   processes that run tests at a time, of one thread and about 3 GB each
PYTHON ?= python3
TORCH ?= torch==2.13.0
PIP_ARGS ?=
WORKERS ?= 2
CONSTRAINTS ?= constraints.txt

VENV := .venv
VENV_COLAB := .venv-colab
VENV_LIVE := .venv-live
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
OFFLINE := HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
# a file is run by one worker: the cells of a notebook belong together
PYTEST := -m pytest -n $(WORKERS) --dist loadfile

.PHONY: demo test test-browser lab slides book book-pdf present lint notebooks solved test-colab clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(OFFLINE) $(VENV)/bin/sdlearn demo

# With nbgrader, which Colab's versions (`make test-colab`) rule out.
test: $(VENV)/installed-test,nbgrader
	$(OFFLINE) OMP_NUM_THREADS=1 $(VENV)/bin/python $(PYTEST)

# JupyterLab and a headless Chromium, which has to be there already (the tests say how).
test-browser: $(VENV)/installed-browser
	$(OFFLINE) $(VENV)/bin/python -m pytest tests/browser

# With jupytext, so that a source and its solved notebook can be edited on either side.
lab: $(VENV)/installed-notebooks
	$(VENV)/bin/jupyter lab --ServerApp.contents_manager_class=jupytext.TextFileContentsManager

slides: $(VENV)/installed-slides
	$(OFFLINE) $(VENV)/bin/python -m tools.slides

book: $(VENV)/installed-book
	$(OFFLINE) $(VENV)/bin/python -m tools.book

book-pdf: $(VENV)/installed-browser
	$(OFFLINE) $(VENV)/bin/python -m tools.book --pdf

# An environment of its own: RISE works in the classic notebook only.
present: $(VENV_LIVE)/installed-live
	$(OFFLINE) $(VENV_LIVE)/bin/jupyter nbclassic notebooks/talk.ipynb

lint: $(VENV)/installed-lint
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

notebooks: $(VENV)/installed-test
	$(VENV)/bin/python -m tools.notebooks

solved: $(VENV)/installed-test
	$(OFFLINE) OMP_NUM_THREADS=1 $(VENV)/bin/python -m tools.solved

# The same tests with the versions that Colab has; torch stays the CPU build.
test-colab: $(VENV_COLAB)/installed-test
	$(OFFLINE) OMP_NUM_THREADS=1 $(VENV_COLAB)/bin/python $(PYTEST)

clean:
	rm -rf $(VENV) $(VENV_COLAB) $(VENV_LIVE) build dist

# Stamp files: each step is done once, and again when the lists of packages change.
%/has-torch:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v < (3, 14) else \
	"$(PYTHON) is Python %d.%d: name one from 3.10 to 3.13, as in make demo PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP_INSTALL) --upgrade "pip>=24"
	$(@D)/bin/python $(PIP_INSTALL) $(PIP_ARGS) "$(TORCH)"
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt $(VENV)/has-torch
	$(VENV)/bin/python $(PIP_INSTALL) -c $(CONSTRAINTS) -e .
	touch $@

$(VENV)/installed-%: pyproject.toml constraints.txt $(VENV)/has-torch
	$(VENV)/bin/python $(PIP_INSTALL) -c $(CONSTRAINTS) -e ".[$*]"
	touch $@

$(VENV_COLAB)/installed-%: pyproject.toml constraints-colab.txt $(VENV_COLAB)/has-torch
	$(VENV_COLAB)/bin/python $(PIP_INSTALL) -c constraints-colab.txt -e ".[$*,notebooks]"
	touch $@

$(VENV_LIVE)/installed-%: pyproject.toml constraints.txt $(VENV_LIVE)/has-torch
	$(VENV_LIVE)/bin/python $(PIP_INSTALL) -c $(CONSTRAINTS) -e ".[$*]"
	touch $@

.PRECIOUS: %/has-torch $(VENV)/installed-% $(VENV_COLAB)/installed-% $(VENV_LIVE)/installed-%
