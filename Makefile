# One command for each wish; CONTRIBUTING.md says more.
python := .venv/bin/python

.PHONY: install check test mutants docs site bench real-server clean

install: .venv/complete

.venv/complete: pyproject.toml
	python3 -m venv .venv
	$(python) -m pip install --quiet --editable ".[dev]"
	touch $@

check: install
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: install
	.venv/bin/pytest $(if $(TESTS),$(TESTS),-n auto)

SEED ?= 1
EACH ?= 15

mutants: install
	$(python) tests/mutants.py --seed $(SEED) --each $(EACH) $(MODULE) --tests $(TESTS)

real-server: install
	IMPORTSTATS_REAL_SERVER=1 .venv/bin/pytest tests/real_server

docs: install
	for page in docs/*.py; do $(python) $$page || exit 1; done

site: install
	rm -rf build/site docs/api
	.venv/bin/sphinx-build -q -W --keep-going -c docs/site . build/site

bench: install
	for benchmark in $(filter-out benchmarks/measures.py benchmarks/simulated.py benchmarks/publish.py,$(wildcard benchmarks/*.py)); do $(python) $$benchmark --smoke || exit 1; done

clean:
	rm -rf .venv build dist docs/api .mypy_cache .pytest_cache .ruff_cache
