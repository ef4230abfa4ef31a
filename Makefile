# Two commands do all the set-up: `make serve` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.13 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
# Each process has a database of its own.
PARALLEL := --numprocesses logical --maxprocesses 4
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-emit-index-url

.PHONY: help
help: ## List every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  %-16s %s\n", $$1, $$2 }'

# ---------------------------------------------------------------- set-up

$(UV): requirements/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13) and "churn needs Python 3.13: make PYTHON=/path/to/python3.13 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# The editable install also fetches the browser assets (hatch_build.py).
.venv/serve.stamp: $(UV) requirements/serve.txt requirements/build.txt pyproject.toml hatch_build.py package-lock.json
	$(INSTALL) --require-hashes --requirement requirements/serve.txt
	$(INSTALL) --require-hashes --requirement requirements/build.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: .venv/serve.stamp requirements/dev.txt
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	@touch $@

.PHONY: install
install: .venv/dev.stamp ## Install everything a developer needs into .venv

# ---------------------------------------------------------------- running

.PHONY: serve train
serve: .venv/serve.stamp ## Serve on http://127.0.0.1:8000 with an embedded PostgreSQL
	@$(BIN)/churn serve

train: .venv/dev.stamp ## Train a model on the public data and make it the active one
	$(BIN)/churn train
	$(BIN)/python -m churn.training.card models docs

# ---------------------------------------------------------------- checking

.PHONY: rules
rules: ## Check the rules for Prometheus with promtool (Debian: prometheus)
	promtool check rules docs/monitoring/rules.yml

.PHONY: fmt lint type test migrations test-browser test-container test-faults test-kserve docs screenshots ci
fmt: .venv/dev.stamp ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: .venv/dev.stamp ## Check style, spelling and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports

type: .venv/dev.stamp ## Check types, strictly
	$(BIN)/mypy

test: .venv/dev.stamp ## Run every test but the browser's and the containers', with branch coverage ≥ 95 %
	$(BIN)/coverage erase
	@# The tests of a file stay together: they share what takes long to set up. In their order the long ones come first.
	$(BIN)/coverage run -m pytest $(PARALLEL) --dist loadfile --no-loadscope-reorder \
		-m 'not browser and not container and not faults and not kserve'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

migrations: .venv/dev.stamp ## Run the migrations up, down and up, and check them against the tables
	$(BIN)/pytest -q tests/migrations

test-browser: .venv/dev.stamp ## Run the tests of the pages in Chromium
	$(BIN)/pytest $(PARALLEL) --dist worksteal -m browser tests/browser

test-container: .venv/dev.stamp ## Build the image and test it, alone and with compose
	$(BIN)/pytest -m container tests/container

test-faults: .venv/dev.stamp ## Kill, starve and overload the service and its database (docs/reliability.md)
	$(BIN)/pytest $(PARALLEL) --dist worksteal -m faults tests/faults/test_kills.py
	@# The others measure, and so have the machine to themselves.
	$(BIN)/pytest -m faults tests/faults --ignore tests/faults/test_kills.py

# Its libraries are older than ours, so it has an environment of its own.
build/kserve.stamp: $(UV) requirements/kserve.txt
	$(PYTHON) -m venv --without-pip --clear build/kserve
	$(UV) pip install --quiet --compile-bytecode --python build/kserve/bin/python --require-hashes \
		--requirement requirements/kserve.txt
	@touch $@

test-kserve: .venv/dev.stamp build/kserve.stamp ## Run KServe's client against the service
	$(BIN)/pytest -m kserve tests/e2e

docs: .venv/dev.stamp ## Build the documentation site
	$(BIN)/mkdocs build --strict --quiet

screenshots: .venv/dev.stamp ## Take the pictures of the console anew, into docs/console/
	$(BIN)/python -m tests.browser.screenshots

ci: lint type migrations docs audit sbom test-browser test-container test-faults test-kserve ## Everything that CI runs after `make test`

# ---------------------------------------------------------------- measuring

.PHONY: soak bench-hostile bench-peers bench bench-batch bench-batch-http bench-model bench-drift bench-counts year
bench: .venv/dev.stamp build/serving.stamp ## Measure the prediction path against a bare endpoint
	$(BIN)/python -m bench.serving --python build/serving/bin/python

bench-batch-http: .venv/dev.stamp build/serving.stamp ## Measure POST /predict/batch, and single predictions meanwhile
	$(BIN)/python -m bench.batch_http --python build/serving/bin/python

bench-export: .venv/dev.stamp ## Measure the memory of an export of the history
	$(BIN)/python -m bench.export

bench-console: .venv/dev.stamp ## Measure the console's pages with a million predictions
	$(BIN)/python -m bench.console

bench-model: .venv/dev.stamp ## Measure scoring in the process
	$(BIN)/python -m bench.model

bench-drift: .venv/dev.stamp ## Simulate how often the drift rule is wrong
	$(BIN)/python -m bench.drift

year: .venv/dev.stamp ## Live a scripted year, with a drift in August, and print the reports
	$(BIN)/python -m tests.e2e.year

bench-counts: .venv/dev.stamp ## Measure what counting costs, and the drift report on a year
	$(BIN)/python -m bench.counts

bench-batch: .venv/dev.stamp build/serving.stamp ## Measure the scoring of whole files against pandas
	$(BIN)/python -m bench.batch --python build/serving/bin/python

bench-hostile: .venv/dev.stamp ## Send 100,000 hostile requests over every route
	$(BIN)/python -m bench.hostile

bench-peers: .venv/dev.stamp build/serving.stamp build/peers.stamp ## Measure churn beside other ways to serve the same, and beside itself
	$(BIN)/python -m bench.peers.compare --python build/serving/bin/python
	$(BIN)/python -m bench.scaling --python build/serving/bin/python

build/peers.stamp: $(UV) requirements/peers-mlserver.txt requirements/peers-bentoml.txt requirements/peers-original.txt
	for peer in mlserver bentoml original; do \
		$(PYTHON) -m venv --without-pip --clear build/peers-$$peer; \
		$(UV) pip install --quiet --compile-bytecode --python build/peers-$$peer/bin/python --require-hashes \
			--requirement requirements/peers-$$peer.txt; \
	done
	@touch $@

soak: .venv/dev.stamp ## Serve for 20 minutes under load: memory and file descriptors must stay flat
	$(BIN)/python -m bench.soak

# What the image has and no more: scikit-learn imports pandas where it finds it, which costs time and memory.
build/serving.stamp: $(UV) requirements/serve.txt .venv/serve.stamp
	$(PYTHON) -m venv --without-pip build/serving
	$(UV) pip install --quiet --compile-bytecode --python build/serving/bin/python --require-hashes \
		--requirement requirements/serve.txt
	$(UV) pip install --quiet --python build/serving/bin/python --require-hashes --requirement requirements/build.txt
	$(UV) pip install --quiet --python build/serving/bin/python --no-deps --no-build-isolation --editable .
	build/serving/bin/python -m compileall -q src bench
	@touch $@

# ---------------------------------------------------------------- supply

.PHONY: audit sbom
audit: .venv/dev.stamp ## Look the pins up among the known vulnerabilities; fails on a finding, warns when nobody answers
	@for pins in requirements/serve.txt requirements/dev.txt requirements/build.txt; do \
		status=0; \
		report=$$($(BIN)/pip-audit --requirement $$pins --disable-pip --require-hashes --progress-spinner off --timeout 15 2>&1) || status=$$?; \
		if [ $$status = 0 ]; then echo "$$pins: no known vulnerability"; \
		elif grep -q '^Found [0-9]' <<< "$$report"; then echo "$$report"; exit 1; \
		else echo "$$pins: NOT CHECKED, the advisory service cannot be reached"; fi; \
	done

sbom: .venv/dev.stamp ## Write the bill of materials of what is served, as CycloneDX, into build/sbom.json
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-format JSON \
		--output-file build/sbom.json requirements/serve.txt

# ---------------------------------------------------------------- pinning

.PHONY: lock clean
lock: $(UV) ## Compile the pins anew after a change of a dependency in pyproject.toml
	$(COMPILE) pyproject.toml -o requirements/serve.txt
	$(COMPILE) --extra otel --extra train --extra dask --group dev --group docs pyproject.toml -o requirements/dev.txt
	printf 'hatchling>=1.27\nnodejs-wheel>=22\n' | $(COMPILE) - -o requirements/build.txt
	printf 'uv\n' | $(COMPILE) - -o requirements/uv.txt
	printf 'kserve\n' | $(COMPILE) - -o requirements/kserve.txt
	printf 'bentoml\nscikit-learn\n' | $(COMPILE) - -o requirements/peers-bentoml.txt
	printf 'mlserver\nmlserver-sklearn\nscikit-learn\nuvloop<0.22\n' | $(COMPILE) - -o requirements/peers-mlserver.txt
	printf 'bcrypt\nfastapi\nhttptools\npandas\npsycopg[binary]\nscikit-learn\nsqlalchemy\nuvicorn\nuvloop\n' | \
		$(COMPILE) - -o requirements/peers-original.txt

clean: ## Remove what can be made again, but no data
	rm -rf .venv build dist node_modules site htmlcov .coverage* .mypy_cache .pytest_cache .ruff_cache src/churn/http/assets
