# Two commands matter: `make demo` and `make test`. Both install into .venv first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-out
CUTOUTS ?= data/cutouts

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[engine,up,dev]'
	@touch $@

.PHONY: install demo test gates docker-test check format data help
install: $(VENV)/.installed ## Install everything into .venv

demo: install ## Run two sample recipes on the shipped miniature (CPU, local folder, no server)
	$(BIN)/kontext run recipes/product-backgrounds.yaml --out $(OUT)
	$(BIN)/kontext run recipes/journey.yaml --out $(OUT)

# The suite starts some hundred processes: none of them should compile all modules anew.
test gates: export PYTHONDONTWRITEBYTECODE :=

test: install ## Run the test suite, on four processes: much of it waits for servers
	$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder

gates: install ## Run the long rounds, too: kills, outages and nights before servers (ten minutes more)
	$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m gate

docker-test: install ## Build the images and run one recipe through them (root, podman, 15 GB, an hour at most)
	timeout 3900 $(BIN)/python -m tests.docker.trial

check: install ## Lint and type-check; no warning passes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

data: install ## Fetch the cut-outs that kontext-mini is trained on (18 MB, needs npm)
	$(BIN)/kontext data $(CUTOUTS)

help: ## Show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 18
