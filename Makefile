# What a person types. The work is done by scripts in tools/; .venv is made by tools/setup_env.py.
PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=

.PHONY: help demo test lint conformance bench bench-check fuzz test-board clean

help:
	@echo "make demo         a telemetry node on MicroPython, a broker, and what a subscriber sees (DEMO_SECONDS=10)"
	@echo "make test         all tests on CPython, MicroPython and 32-bit MicroPython (ARGS='-k wire')"
	@echo "make lint         ruff, and mypy against the stubs of both boards"
	@echo "make conformance  every statement of the specification and the test that witnesses it"
	@echo "make bench        all figures, written into the README; make bench-check compares them with the recorded ones"
	@echo "make fuzz         fuzzing for SECONDS=60 on each interpreter, with SEED=1"
	@echo "make test-board   the host's scenarios on a board: PORT=/dev/ttyACM0"
	@echo "make clean        removes .venv and everything generated"

demo:
	@$(PYTHON) tools/setup_env.py demo
	@$(PY) tools/demo.py

test:
	@$(PYTHON) tools/setup_env.py test
	$(PY) -m pytest $(ARGS)

lint:
	@$(PYTHON) tools/setup_env.py lint
	$(PY) -m ruff check .
	$(PY) tools/typecheck.py

conformance:
	@$(PYTHON) tools/setup_env.py test
	$(PY) tools/conformance.py $(ARGS)

bench:
	@$(PYTHON) tools/setup_env.py bench
	$(PY) tools/bench/run.py $(ARGS)

bench-check:
	@$(PYTHON) tools/setup_env.py bench
	$(PY) tools/bench/run.py --check

fuzz:
	@$(PYTHON) tools/setup_env.py test
	UMQTT5_FUZZ_SECONDS=$(or $(SECONDS),60) UMQTT5_FUZZ_SEED=$(or $(SEED),1) $(PY) -m pytest tests/fuzz $(ARGS)

test-board:
	@$(PYTHON) tools/setup_env.py test
	$(PY) tools/test_board.py --port $(or $(PORT),auto) $(ARGS)

clean:
	rm -rf .venv .cache build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
