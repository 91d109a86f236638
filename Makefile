# Everything a person needs: `make demo` and `make test`. Both set up what is missing.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
JOBS   ?= 3

KERNEL := CMakeLists.txt $(wildcard vecdb/kernel/src/*)
SHELL  := /bin/bash
# Python compiles each source once, and not at every start of a server, of which tests make hundreds.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-torch check lint types layers generate generated sanitize fuzz soak bench lifecycle image-size clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

# A stamp per installation: made again when what it was made from changes.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vecdb needs Python 3.11 or later; set PYTHON=/path/to/it" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || \
	  { echo "vecdb needs a C++ compiler to build its kernel (Debian: apt install g++)" >&2; exit 1; }
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.server: $(PY) pyproject.toml clients/python/pyproject.toml $(KERNEL)
	@echo "installing vecdb and what it needs; the kernel is compiled (about a minute)"
	@HNSWLIB_NO_NATIVE=1 $(PY) -m pip install -q --disable-pip-version-check \
	  -e ./clients/python -e '.[embed,documents]'
	@touch $@

# All at once: installed after .server, the kernel would be compiled twice.
$(VENV)/.dev: $(PY) pyproject.toml clients/python/pyproject.toml $(KERNEL)
	@echo "installing vecdb and what the tests need; the kernel is compiled (about a minute)"
	@HNSWLIB_NO_NATIVE=1 $(PY) -m pip install -q --disable-pip-version-check \
	  -e ./clients/python -e '.[embed,documents,dev]'
	@touch $(VENV)/.server $@

demo: $(VENV)/.server ## Start a server, index Python's own documentation, ask it questions
	@exec $(VENV)/bin/vecdb demo

test: $(VENV)/.dev ## Run all tests
	@$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-torch: $(VENV)/.dev ## Run the tests that hold models against their reference implementations
	@echo "installing torch and the reference implementations (a gigabyte)"
	@$(PY) -m pip install -q --disable-pip-version-check -e '.[embed,dev,torch]' 'sentence-transformers>=5'
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps gritlm
	@$(PY) -m pytest $(shell grep -lE 'torch|sentence_transformers' tests/embed/test_*.py) $(ARGS)

check: lint types layers ## Style, types and layers

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.dev
	$(VENV)/bin/mypy
	$(VENV)/bin/stubtest vecdb.kernel._native --allowlist vecdb/kernel/stubtest.txt

layers: $(VENV)/.dev
	$(VENV)/bin/lint-imports

generate: ## Generate the protocol's Python code from proto/, and the async client
	scripts/generate.sh

generated: generate ## Fail when the committed code is not what is generated
	git diff --exit-code -- '*/pb/*' '*/aio/*'

sanitize: $(VENV)/.dev ## Run the kernel's tests under ASan and UBSan
	scripts/sanitize.sh $(PY)

MINUTES ?= 10

fuzz: $(VENV)/.dev ## Send every call random and mutated messages for MINUTES=n
	$(PY) -m tests.fuzz --minutes $(MINUTES) $(ARGS)

soak: $(VENV)/.dev ## Load and faults on a node for MINUTES=n, held against a model
	$(PY) -m tests.soak --minutes $(MINUTES) $(ARGS)

$(VENV)/.bench: $(VENV)/.dev
	@echo "installing the peers that the benchmarks are held against"
	@$(PY) -m pip install -q --disable-pip-version-check -e '.[embed,image,dev,bench]'
	@touch $@

bench: $(VENV)/.bench ## Run the benchmarks (minutes); figures go to build/bench/
	mkdir -p build/bench
	$(PY) benchmarks/ingest.py --json build/bench/ingest.json
	$(PY) benchmarks/search.py --json build/bench/search.json
	$(PY) benchmarks/graph.py --json build/bench/graph.json
	$(PY) benchmarks/peers.py --json build/bench/peers.json
	$(PY) benchmarks/distributions.py --json build/bench/distributions.json
	$(PY) benchmarks/server.py --json build/bench/server.json
	$(PY) benchmarks/guarded.py --json build/bench/guarded.json
	$(PY) benchmarks/backup.py --json build/bench/backup.json
	$(PY) benchmarks/bulk.py --json build/bench/bulk.json
	$(PY) benchmarks/text.py --json build/bench/text.json
	$(PY) benchmarks/hybrid.py --json build/bench/hybrid.json
	$(PY) benchmarks/images.py --json build/bench/images.json
	$(PY) benchmarks/late_interaction.py --json build/bench/late_interaction.json
	$(PY) benchmarks/shapes.py --json build/bench/shapes.json
	$(PY) benchmarks/embed.py --json build/bench/embed.json
	$(PY) benchmarks/documents.py --json build/bench/documents.json
	$(PY) benchmarks/documents_load.py --json build/bench/documents_load.json

lifecycle: $(VENV)/.dev ## Make 10,000 collections, restart, and query them (minutes)
	VECDB_TEST_COLLECTIONS=10000 $(PY) -m pytest -s tests/lifecycle/test_many_collections.py $(ARGS)

image-size: $(VENV)/.server ## Make what the container image holds, measure it, serve from it (needs root)
	@scripts/image_size.sh $(PY)

clean: ## Remove what was built, and the virtual environment
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
