# What a person and CI both run. `make help` lists the targets.

# The first of these that is Python 3.10 or later; name another with make PYTHON=...
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$p -c $(SUPPORTED) 2>/dev/null && echo $$p && break; done)
SUPPORTED = 'import sys; sys.exit(sys.version_info < (3, 10))'
# Where Lava has been tried; `make install LAVA=` leaves it out, and tests that run it are skipped.
RUNS_LAVA = 'import sys; sys.exit(sys.version_info >= (3, 14))'
LAVA ?= $(shell $(PYTHON) -c $(RUNS_LAVA) 2>/dev/null && echo lava-nc lava-dl)

PY = .venv/bin/python
PIP = $(PY) -m pip -qq --disable-pip-version-check --no-input install -c constraints.txt
SOURCES = neurodeploy models targets tests docs setup.py

export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test test-kernels lint types docs clean

help:
	@echo "make install       make .venv with the pinned dependencies, neurodeploy and, to Python 3.13, Lava"
	@echo "make demo          train, export, simulate and validate a small network, in demo/"
	@echo "make test          lint, types and the quick tests; what CI runs"
	@echo "make test-kernels  the quick tests as processors of other kinds would run them"
	@echo "make lint          formatting and lint"
	@echo "make types         type check"
	@echo "make docs          write the generated pages, README's figures if demo/ is there, and site/"
	@echo "make clean         remove .venv, demo/, site/, build products and caches"

install: .venv/.installed

# setuptools comes first because the later lines build without isolation, so with the pinned one.
# Lava and the other frameworks come without their dependencies: what their metadata ask for is
# wrong or unused, and would replace PyTorch (see [tool.uv] in pyproject.toml).
.venv/.installed: pyproject.toml setup.py constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "neurodeploy needs Python 3.10 or later and found none; name one with" \
			"make install PYTHON=/path/to/python" >&2; exit 1; fi
	@$(PYTHON) -c $(SUPPORTED) 2>/dev/null || { \
		echo "neurodeploy needs Python 3.10 or later; $(PYTHON) --version says:" \
			"$$($(PYTHON) --version 2>&1 | head -n 1)" >&2; exit 1; }
	@$(PY) -c $(SUPPORTED) 2>/dev/null && $(PY) -m pip --version >/dev/null 2>&1 \
		|| $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv; the first time takes a few minutes, most of it PyTorch."
	@$(PIP) setuptools setuptools-scm
	@$(PIP) --no-build-isolation --no-warn-conflicts -e '.[dev,docs]'
	@$(PIP) --no-build-isolation --no-deps --ignore-requires-python $(LAVA) neurobench nirtorch \
		norse sinabs snntorch spikingjelly
	@echo "Lava: $(if $(strip $(LAVA)),$(LAVA),left out; the other engines work without it)"
	@touch $@

demo: install
	@rm -rf demo && mkdir demo
	@cd demo && start=$$(date +%s) && \
	{ for step in "train digits_lean" "export --target loihi2" simulate validate; do \
		echo "$$ neurodeploy $$step"; \
		../.venv/bin/neurodeploy $$step || { touch failed; exit; }; \
	done; \
	echo "The demo took $$(($$(date +%s) - start)) s; its files are in demo/."; } | tee demo.log; \
	test ! -e failed
	@echo "Next: source .venv/bin/activate"

lint: install
	$(PY) -m ruff format --check $(SOURCES)
	$(PY) -m ruff check $(SOURCES)

docs: install
	$(PY) docs/make_commands.py
	$(PY) docs/make_recipe.py
	$(PY) docs/make_json.py
	$(PY) docs/make_glossary.py
	$(PY) docs/make_matrix.py
	@test ! -d demo || { $(PY) docs/make_pipeline.py demo && $(PY) docs/make_readme.py demo; }
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "The site is in site/; open site/index.html"

types: install
	$(PY) -m basedpyright --pythonpath $(PY)

test: lint types
	$(PY) -m pytest --durations=15 --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# PyTorch, oneDNN and MKL add up in an order that suits the processor: here without vectors, with
# those of AVX2, and on one thread.
test-kernels: install
	ATEN_CPU_CAPABILITY=default $(PY) -m pytest
	ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 $(PY) -m pytest
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest

clean:
	rm -rf .venv demo site build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
