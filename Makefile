# make demo: install and run the main job.  make test: install what the tests need and run them.
PYTHON ?= python3
PIP_FLAGS ?=
LAB_FLAGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_FLAGS)
TORCH := torch==2.13.0

.PHONY: demo test test-slow chaos nbdev_test export lab docs clean

demo: .venv/lab.stamp
	@echo "demo: running the main job"
	$(BIN)/timemoe-lab demo

test: nbdev_test
	@echo "test: running pytest"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-slow: .venv/dev.stamp
	@echo "test-slow: what make test leaves out and needs no GPU"
	OMP_NUM_THREADS=1 $(BIN)/nbdev-test nbs --flags slow --n-workers 2
	$(BIN)/python -m pytest -m "slow and not cuda"

CHAOS ?=
chaos: .venv/dev.stamp
	@echo "chaos: kills commands, $(or $(COUNT),50) times each; make chaos COUNT=5 CHAOS='score train'"
	OMP_NUM_THREADS=1 $(BIN)/python tests/chaos.py --count $(or $(COUNT),50) $(CHAOS)

nbdev_test: .venv/dev.stamp
	@echo "nbdev_test: running every notebook"
	OMP_NUM_THREADS=1 $(BIN)/nbdev-test nbs --n-workers 2

export: .venv/dev.stamp
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean

lab: .venv/dev.stamp
	$(BIN)/jupyter-lab --ip=127.0.0.1 --LabApp.default_url=/lab/tree/nbs $(LAB_FLAGS)

docs: .venv/docs.stamp
	@echo "docs: building the site from notebooks, pages and code"
	@OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q -f docs/mkdocs.yml
	@echo "docs: open site/index.html"

# `unfinished` stands while an install runs; where one was interrupted, .venv is made anew.
.venv/lab.stamp: settings.ini setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11+ is needed: make PYTHON=...")'
	@echo "install: making .venv"
	@if test -e .venv/unfinished; then rm -rf .venv/bin .venv/include .venv/lib* .venv/share; fi
	@mkdir -p .venv && touch .venv/unfinished
	@$(PYTHON) -m venv .venv
	@echo "install: $(TORCH), a large download, some minutes"
	@$(PIP) $(TORCH)
	@echo "install: timemoe-lab and the notebooks' packages"
	@$(PIP) -c constraints.txt -e '.[lab]'
	@mv .venv/unfinished $@ && touch $@

.venv/dev.stamp: .venv/lab.stamp tests/js/package.json
	@echo "install: what the tests need"
	@mv $< .venv/unfinished
	@$(PIP) -c constraints.txt -e '.[lab,operator,formats,dev]'
	@npm install --prefix tests/js --no-package-lock --silent --no-audit --no-fund || \
		echo "install: no npm, so the test of the panels' types will fail: install Node.js 20 or newer"
	@mv .venv/unfinished $< && touch $@

.venv/docs.stamp: .venv/lab.stamp
	@echo "install: what the site is built with"
	@mv $< .venv/unfinished
	@$(PIP) -c constraints.txt -e '.[lab,docs]'
	@mv .venv/unfinished $< && touch $@

clean:
	rm -rf .venv site build dist *.egg-info .pytest_cache .hypothesis .ruff_cache tests/js/node_modules
	rm -rf tests/browser/screenshots/*.png
	find nbs tests timemoe_lab -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
