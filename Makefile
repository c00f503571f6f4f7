# The two commands a newcomer needs are `make demo` and `make test`; both set themselves up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test audit lint chaos bench lock clean fuzz

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Replay a stream through Apache Kafka, train on 1 % of it, show what was gained (ARGS="--kill --seed 1")
	@$(BIN)/stream-coreset demo $(ARGS)

test: $(READY) ## Run all the tests, on a real Apache Kafka (ARGS="-k sampler -x")
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## Check style (ruff), types (mypy --strict) and the direction of imports (import-linter)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

audit: $(READY) ## Look for known vulnerabilities in everything that is pinned; fails on one that has been fixed
	@$(BIN)/python .ci/audit.py

chaos: $(READY) ## Attack the service, verify what it promises (FAULTS=300 SEED=1 NODES=3 JSON=chaos.json)
	@PYTHONPATH=tests $(BIN)/python -m chaos --faults $(or $(FAULTS),100) --nodes $(or $(NODES),1) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(JSON))

bench: $(READY) ## Measure examples per second end to end, beside two peers
	@$(BIN)/python -m benchmarks.end_to_end $(ARGS)

fuzz: $(READY) ## Hostile bytes through every parser (INPUTS=1000000 SEED=1 JSON=file; ARGS="--children 4")
	@PYTHONPATH=.:tests $(BIN)/python -m fuzz $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(JSON)) $(ARGS)

lock: ## Pin every dependency by hash again (needs uv)
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --extra surrogate pyproject.toml -o requirements/service.lock
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --extra test pyproject.toml requirements/build.in -o requirements/dev.lock
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --extra demo pyproject.toml -c requirements/dev.lock -o requirements/demo.lock
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 requirements/build.in -c requirements/dev.lock -o requirements/build.lock
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 requirements/mlserver.in -o requirements/mlserver.lock

clean: ## Remove everything that make set up
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stream-coreset needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.12" % sys.version.split()[0])'
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
