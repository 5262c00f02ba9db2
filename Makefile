# Two commands on a fresh machine: `make demo` and `make test`. Each sets up all it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test test-core test-lowest test-slow fuzz chaos coverage lint types docs wheel bench clean

demo: .venv/installed
	$(BIN)/convwright demo

test: lint types
	$(BIN)/pytest -n auto

# The tests that need no extra, and the same with the oldest versions that pyproject.toml allows.
test-core: .venv/installed-dev
	$(BIN)/python .ci/core.py -n auto

test-lowest:
	.ci/lowest

test-slow: .venv/installed-dev
	$(BIN)/pytest -m slow

# Random inputs for MINUTES: each works or ends in one clear line. `make test` does some seconds of it.
fuzz: .venv/installed-dev
	$(BIN)/pytest tests/fuzzing --fuzz-minutes $(or $(MINUTES),10)

# Kills, full disks and second writers, TIMES for each command; `make test` has one of each.
chaos: .venv/installed-dev
	$(BIN)/pytest tests/chaos -m 'slow or not slow' --chaos-times $(or $(TIMES),10)

# Branch coverage of the whole suite, and a page about it: build/coverage/html/index.html. PART measures some tests only.
coverage: .venv/installed-dev
	mkdir -p build/coverage
	$(BIN)/pytest -n auto $(PART) --cov --cov-report=term --cov-report=html $(if $(PART),--cov-fail-under=0)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: .venv/installed-dev
	$(BIN)/mypy

# The documentation as a site: open build/site/index.html. A warning is an error.
docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The source distribution, and the wheel for this processor with compiled kernels, which run on any Linux of its tag.
wheel: .venv/installed-dev
	rm -rf build/wheel
	$(BIN)/python -m hatchling build -t sdist -d dist
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(BIN)/python -m hatchling build -t wheel -d build/wheel
	PATH="$$PWD/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl

bench: .venv/installed-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/cost.py

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Convwright needs Python 3.11 or newer, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo 'no venv: install the package python3-venv'; exit 1; }

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable . onnx onnxruntime  # the demo exports its network
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-lowest demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
