# A newcomer needs two of these: `make demo` and `make test`. ARGS goes to the program that the target runs.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test check bench fuzz mutants proof lock clean
bin := .venv/bin
compile := $(bin)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"
mutants := pytest pytest-asyncio pytest-timeout hypothesis alembic msgspec sqlalchemy structlog tzdata

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

demo:  ## the whole loop on simulated meters, e.g. ARGS="--for 60 --json"
	@scripts/install runtime
	@exec $(bin)/wattgate demo $(ARGS)

# Four workers for two cores: whole programs and lines in real time wait more than they work. Bytecode is kept, whatever the shell says:
# without it every worker and every program compiles all of it anew.
test: check  ## checks and all tests, e.g. ARGS=tests/protocols
	@scripts/install mosquitto
	@scripts/install mbpoll
	@scripts/install strace
	@scripts/install iptables
	@scripts/install peers
	@scripts/install node
	PYTHONDONTWRITEBYTECODE= $(bin)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check:  ## ruff and mypy
	@scripts/install dev
	$(bin)/ruff check
	$(bin)/mypy

bench:  ## what it costs, on this machine; ARGS=--write puts the figures into tests/bench/RESULTS.md
	@scripts/install dev
	@scripts/install peers
	@$(bin)/python -m tests.bench $(ARGS)

fuzz:  ## 10^6 structure-aware and 10^6 random inputs (minutes), e.g. ARGS="--inputs 10000 deframer"
	@scripts/install dev
	@scripts/install fuzz
	@python=.venv-fuzz/bin/python; [ -e .venv-fuzz/installed ] || python=$(bin)/python; exec $$python -m tests.fuzz $(ARGS)

mutants:  ## does a test notice each change in the money's code? (half an hour), e.g. ARGS=books or ARGS=--write for tests/MUTANTS.md
	@scripts/install dev
	@scripts/install mutation
	@exec nice .venv-mutation/bin/python -m tests.mutants $(ARGS)

proof:  ## the tests at full scale (long); their figures are added to tests/PROOF.md
	@scripts/install dev
	@scripts/install mosquitto
	@scripts/install mbpoll
	@scripts/install strace
	@scripts/install iptables
	@scripts/install peers
	@scripts/install node
	$(bin)/pytest -q --proof --timeout 3600 $(ARGS)

lock:  ## write the locks anew after a change in pyproject.toml; ARGS=--upgrade for newer versions
	@scripts/install dev
	$(compile) $(ARGS) --extra postgres --extra sm --group build pyproject.toml -o requirements.lock
	$(compile) $(ARGS) --group dev -c requirements.lock -o requirements-dev.lock
	echo beancount==3.2.3 | $(compile) $(ARGS) - -o requirements-peers-beancount.lock
	echo dlt645==3.2.0 | $(compile) $(ARGS) - -o requirements-peers-dlt645.lock
	echo py8583==1.3 | $(compile) $(ARGS) - -o requirements-peers-py8583.lock
	echo python-dlt645==0.1.4 | $(compile) $(ARGS) - -o requirements-peers-python-dlt645.lock
	echo tahutils==0.1.11 | $(compile) $(ARGS) - -o requirements-peers-tahutils.lock
	npm install --prefix tests/peers/node --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved
	printf 'atheris==3.0.0\npymodbus\n' | $(compile) $(ARGS) -c requirements.lock - -o requirements-fuzz.lock
	echo mutmut==3.8.1 $(mutants) | tr ' ' '\n' | \
		$(compile) $(ARGS) -c requirements.lock -c requirements-dev.lock - -o requirements-mutation.lock

clean:  ## remove what make has made here
	rm -rf .venv .venv-fuzz .venv-mutation .venv-peers dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
