# make run     set everything up and start the assistant
# make test    set everything up and pass the checks and tests (PACKAGES=no installs none with apt)
# make bench   measure the figures that the documentation states
# make docs    write the generated files anew
# make catalog take the models' sizes and prices anew from maintained packages (needs uv)
.DEFAULT_GOAL := run
.PHONY: run test packages lint bench docs catalog clean

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
PACKAGES ?= yes
RUN := .venv/.ready-to-run
DEVELOP := .venv/.ready-to-develop

run: $(RUN)
	@$(BIN)/famulus serve $(ARGS)

test: packages lint
	$(BIN)/pytest -n auto --dist loadgroup $(ARGS)

packages:
ifneq ($(PACKAGES),no)
	@sh scripts/test_packages.sh
endif

lint: $(DEVELOP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(DEVELOP)
	$(BIN)/python benchmarks $(ARGS)

docs: $(DEVELOP)
	$(BIN)/python -m famulus.core.describe

catalog:
	@uv run --isolated --no-project --with litellm --with genai-prices scripts/make_catalog.py

clean:
	rm -rf .venv

# With uv the versions are those of uv.lock; with pip they are what pyproject.toml allows.
$(RUN): pyproject.toml uv.lock
ifdef UV
	@uv sync --quiet --frozen --inexact --no-dev --extra web
else
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet --editable '.[web]'
endif
	@touch $@

$(DEVELOP): pyproject.toml uv.lock
ifdef UV
	@uv sync --quiet --frozen --extra cluster --extra web
else
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet --editable '.[cluster,web]' --group dev
endif
	@touch $@ $(RUN)
