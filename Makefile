# A newcomer needs two of these: `make demo` and `make test`. ARGS goes to the program that the target runs.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test check bench proof lock clean
bin := .venv/bin
compile := $(bin)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

demo:  ## the whole loop on simulated meters, e.g. ARGS="--for 60 --json"
	@scripts/install runtime
	@exec $(bin)/wattgate demo $(ARGS)

test: check  ## checks and all tests, e.g. ARGS=tests/protocols
	@scripts/install mosquitto
	$(bin)/pytest -q -n 2 --dist loadfile $(ARGS)

check:  ## ruff and mypy
	@scripts/install dev
	$(bin)/ruff check
	$(bin)/mypy

bench:  ## what it costs, on this machine
	@scripts/install dev
	@$(bin)/python -m tests.bench $(ARGS)

proof:  ## the tests at full scale (long); their figures are added to tests/PROOF.md
	@scripts/install dev
	@scripts/install mosquitto
	$(bin)/pytest -q --proof --timeout 3600 $(ARGS)

lock:  ## write the locks anew after a change in pyproject.toml; ARGS=--upgrade for newer versions
	@scripts/install dev
	$(compile) $(ARGS) --extra postgres --group build pyproject.toml -o requirements.lock
	$(compile) $(ARGS) --group dev -c requirements.lock -o requirements-dev.lock

clean:  ## remove what make has made here
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
