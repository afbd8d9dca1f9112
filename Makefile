# `make demo` needs Python 3.11 or newer and make. `make test` and `make lint` need nothing more. `make e2e` installs a browser,
# two web servers, PHP and Node packages where they are missing (Debian, as root) or says what to install; so does `make bench`, with
# web servers and a load generator.
#
# Every target does its own set-up: packages come from the hash-pinned locks in requirements/, stamp files make a second run quick.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
E2E := tests/e2e

# Application servers behind the door, each lock with a virtual environment of its own.
SERVERS := $(patsubst requirements/servers/%.lock,build/servers/%/.installed,$(wildcard requirements/servers/*.lock))

.PHONY: help
help: ## what can be asked for
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## (.*)/  make \1\t\2/' | expand -t 14

# --- what people ask for ----------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.runtime ## the whole product with sample applications, on this machine
	@exec $(BIN)/doorward demo

.PHONY: test
test: $(VENV)/.dev ## the test-suite; two processes a core, since half of its time is waiting
	@env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX=$(CURDIR)/build/compiled \
		$(BIN)/pytest --numprocesses $$(( 2 * $$(getconf _NPROCESSORS_ONLN) )) $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## ruff, mypy, and a mutant for each security comment
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m tests.mutate --check

.PHONY: e2e
e2e: $(VENV)/.e2e $(E2E)/node_modules/.installed $(SERVERS) ## the product in a real browser, with a certified provider
	@$(BIN)/python $(E2E)/needs.py
	@$(BIN)/pytest $(E2E) $(ARGS)

.PHONY: servers
servers: $(VENV)/.e2e $(E2E)/node_modules/.installed $(SERVERS) ## many real application servers behind the door, attacked; ARGS="-k puma" chooses (Debian)
	@$(BIN)/python -m tests.servers.needs
	@$(BIN)/pytest tests/servers $(ARGS)

.PHONY: fronts
fronts: $(VENV)/.fronts build/fronts/traefik ## Traefik and Envoy before and beside Doorward; builds Traefik once, which takes long (Linux)
	@$(BIN)/pytest tests/fronts $(ARGS)

.PHONY: bench
bench: $(VENV)/.bench ## what a request costs, beside nginx, haproxy and Envoy; nothing is asserted
	@$(BIN)/python -m tests.bench $(ARGS)

.PHONY: soak
soak: $(VENV)/.runtime ## the data plane at full size: gigabytes, crowds, slow clients, a million messages; ARGS="bodies slow" chooses (Linux)
	@$(BIN)/python -m tests.soak $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.runtime ## Redis, provider, directory, network and workers fail under load; what must hold is judged (Linux)
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## coverage-guided fuzzing; FUZZ_SECONDS=20 for each target, ARGS="target streams" chooses (Linux on x86_64)
	@$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: mutate
mutate: $(VENV)/.dev ## takes out each defence, one at a time, and prints those that no test misses; ARGS="--named gate.py" chooses (hours)
	@nice -n 15 $(BIN)/python -m tests.mutate $(ARGS)

.PHONY: clean
clean: ## take away all that the other targets made
	rm -rf $(VENV) build dist $(E2E)/node_modules .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: messages
messages: $(VENV)/.dev ## the pages' messages from the source into the catalogues, where new ones wait for a translation
	@$(BIN)/python -m tests.messages

# --- set-up -----------------------------------------------------------------------------------------------------------

# The first interpreter that is new enough; PYTHON=... chooses another.
$(VENV)/.made:
	@python=""; \
	for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer was not found. Install it, or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "$$python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV)
	@touch $@

# $(1): a lock. Everything from the lock with its hashes checked, then this project itself; nothing is resolved anew.
define install
	@echo "Installing from $(1)"
	@$(PIP) install --require-hashes --requirement $(1) --requirement requirements/build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
endef

$(VENV)/.runtime: requirements/runtime.lock requirements/build.lock pyproject.toml $(VENV)/.made
	$(call install,$<)
	@touch $@

$(VENV)/.dev: requirements/dev.lock requirements/build.lock pyproject.toml $(VENV)/.made
	$(call install,$<)
	@touch $(VENV)/.runtime $@

$(VENV)/.e2e: requirements/e2e.lock requirements/build.lock pyproject.toml $(VENV)/.made
	$(call install,$<)
	@touch $(VENV)/.runtime $(VENV)/.dev $@

$(VENV)/.bench: requirements/bench.lock requirements/build.lock pyproject.toml $(VENV)/.made
	$(call install,$<)
	@touch $(VENV)/.runtime $@

$(VENV)/.fronts: requirements/fronts.lock requirements/build.lock pyproject.toml $(VENV)/.made
	$(call install,$<)
	@touch $(VENV)/.runtime $@

build/fronts/traefik: tests/fronts/traefik/go.mod tests/fronts/build.py $(VENV)/.fronts
	@$(BIN)/python -m tests.fronts.build

$(VENV)/.fuzz: requirements/fuzz.lock requirements/build.lock pyproject.toml $(VENV)/.made
	$(call install,$<)
	@touch $(VENV)/.runtime $@

build/servers/%/.installed: requirements/servers/%.lock $(VENV)/.made
	@echo "Installing from $<"
	@rm -rf $(@D)
	@$(BIN)/python -m venv --without-pip $(@D)
	@$(PIP) --python $(@D)/bin/python install --require-hashes --requirement $<
	@touch $@

$(E2E)/node_modules/.installed: $(E2E)/package.json $(E2E)/package-lock.json
	@command -v npm >/dev/null || { echo "make e2e needs Node.js 20 or newer with npm." >&2; exit 1; }
	@echo "Installing from $(E2E)/package-lock.json"
	@cd $(E2E) && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

# --- maintenance ------------------------------------------------------------------------------------------------------

# The largest lock holds everything; it is resolved first and constrains the others: a package has one version in all of them.
UV := build/lock/bin/uv
COMPILE = $(UV) pip compile --universal --generate-hashes --python-version 3.11 --no-header \
	--quiet --no-emit-index-url --no-emit-find-links $(UPGRADE)

.PHONY: lock
lock: $(UV) ## resolve the dependencies again; UPGRADE=--upgrade takes the newest that pyproject.toml allows
	@$(COMPILE) pyproject.toml --group dev --group e2e --group build --output-file requirements/e2e.lock
	@$(COMPILE) --constraint requirements/e2e.lock --no-annotate pyproject.toml --group dev --output-file requirements/dev.lock
	@$(COMPILE) --constraint requirements/e2e.lock --no-annotate pyproject.toml --output-file requirements/runtime.lock
	@$(COMPILE) --constraint requirements/e2e.lock --no-annotate pyproject.toml --group bench --output-file requirements/bench.lock
	@$(COMPILE) --constraint requirements/e2e.lock --no-annotate pyproject.toml --group fronts --output-file requirements/fronts.lock
	@$(COMPILE) --constraint requirements/e2e.lock --no-annotate pyproject.toml --group fuzz --output-file requirements/fuzz.lock
	@$(COMPILE) --constraint requirements/e2e.lock --no-annotate --group build --output-file requirements/build.lock
	@for wanted in requirements/servers/*.in; do $(COMPILE) $$wanted --output-file $${wanted%.in}.lock; done
	@wc -l requirements/*.lock requirements/servers/*.lock

$(UV): $(VENV)/.made
	@$(BIN)/python -m venv build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check --quiet install 'uv>=0.9,<1'
