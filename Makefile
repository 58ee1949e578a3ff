# Every target does its own set-up (bootstrap.py) on a fresh Debian machine with Python 3.11 or newer.
PYTHON ?= python3
RUN = .venv/bin/python
ARGS ?=
# tests on hosts mostly wait, and each file has hosts of its own: several files at a time, also on two cores; the browser's by
# themselves, since Playwright keeps an event loop running in its process, which Django's database does not like; and the API's schema,
# whose tests of one operation each share a name, which the distribution over processes takes for one test
SIDE_BY_SIDE ?= 3
ALONE = tests/web/test_api_schema.py

.DEFAULT_GOAL := help
.PHONY: help demo run test check bench proof lab-down lock

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: ## three real hosts, replication set up by the panel, the panel to click through (ARGS=--exit: prove it and leave)
	@$(PYTHON) bootstrap.py demo
	@$(RUN) -m lab.demo $(ARGS)

run: ## the panel by itself, for real hosts
	@$(PYTHON) bootstrap.py run
	@$(RUN) manage.py run_panel $(ARGS)

check: ## the fast part, under a minute: ruff, mypy, import contracts, migrations, tests without hosts
	@$(PYTHON) bootstrap.py test
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy .
	@.venv/bin/lint-imports --no-cache
	@$(RUN) manage.py makemigrations --check --dry-run
	@$(RUN) audit_dependencies.py
	@$(RUN) -m pytest -q tests/unit tests/plans $(ARGS)

test: ## everything: unit, plans, web, lab, browser
	@$(PYTHON) bootstrap.py test
	@$(RUN) -m pytest --durations=25 -n $(SIDE_BY_SIDE) --dist loadfile --ignore tests/browser --ignore $(ALONE) $(ARGS)
	@$(RUN) -m pytest --durations=10 $(ALONE) tests/browser $(ARGS)

bench: ## measure against the raw tools in the same run; writes bench/latest.json
	@$(PYTHON) bootstrap.py demo
	@$(RUN) -m bench $(ARGS)

proof: ## every kind of job on every version, layout and login (an hour); goes on where it stopped; writes docs/proof.md
	@$(PYTHON) bootstrap.py test
	@$(RUN) -m proof $(ARGS)

lab-down: ## end every lab that a crash left behind
	@$(RUN) -m lab down --all

lock: ## write the lock files anew from pyproject.toml and package.json
	@$(PYTHON) bootstrap.py test
	@$(RUN) -m piptools compile -q --upgrade $(LOCK_OPTIONS) -o requirements.lock pyproject.toml
	@$(RUN) -m piptools compile -q --upgrade $(LOCK_OPTIONS) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
LOCK_OPTIONS = --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
