# The commands of this project; `make help` lists them. Everything is installed into .venv, nothing outside it but the
# model (user's cache folder) and, for `make test` with CI=true on Debian, chromium.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?=
TEXTS ?=
WORKSPACE ?= demo.lmsys
SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find src -name '*.rs' 2>/dev/null)

.PHONY: help setup build demo test test-rust test-python lint fix docs bench web clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.built ## virtual environment, build, development tools

build: $(VENV)/.built ## the extension, installed editable into .venv

# pip first: the one that venv brings may be older than the metadata of the packages
$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip 'maturin>=1.9.4,<2'
	@touch $@

$(VENV)/.built: $(VENV)/.created $(SOURCES)
	VIRTUAL_ENV='$(abspath $(VENV))' $(BIN)/maturin develop --release --extras dev
	@touch $@

demo: build ## analyse DATA=path (or a synthetic sample), print the clusters, write map.html
ifeq ($(strip $(DATA)),)
	$(BIN)/lmsys sample synthetic-sample.parquet
	$(BIN)/lmsys run synthetic-sample.parquet --workspace $(WORKSPACE) --map map.html
else
	$(BIN)/lmsys run '$(DATA)' --workspace $(WORKSPACE) --map map.html
endif

test: test-rust test-python ## every test

# without the Python layer: a test program can't be linked against every Python
test-rust:
	cargo test --no-default-features

test-python: build
	$(BIN)/python -m pytest

lint: build ## what CI checks beside the tests; warnings are errors
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo check --no-default-features
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest lmsys_rs._core

fix: build ## format and mend what can be mended
	cargo fmt
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: build ## write docs/cli.md anew, and the Rust documentation
	$(BIN)/python docs/write_cli.py
	cargo doc --no-deps --no-default-features

bench: build ## the benchmarks beside their peers (installed, 6 GB); TEXTS=turns.parquet for clusters, map and search
	cargo bench --no-default-features
	$(BIN)/python benches/workflow.py
	$(BIN)/python benches/embedding.py
ifneq ($(strip $(TEXTS)),)
	$(BIN)/python benches/clustering.py --texts '$(TEXTS)'
endif

web: ## rebuild the map's page from web/ (needs Node)
	cd web && npm ci --no-audit --no-fund && npm run build

clean: ## what this project's commands wrote, the model's cache excepted
	rm -rf $(VENV) target demo.lmsys synthetic-sample.parquet map.html
