# Nothing but CPython 3.11 with pip is needed: each target installs and starts the rest.
# Paths are relative, since make cannot handle a space in one.

IS_3_11 = import sys; sys.exit(sys.version_info[:2] != (3, 11))
PYTHON ?= $(shell for name in python3.11 python3 python; do \
	"$$name" -c '$(IS_3_11)' 2>/dev/null && command -v "$$name" && break; done)
VENV_PYTHON = .venv/bin/python
INSTALLED = .venv/installed

.DEFAULT_GOAL := help
.PHONY: help run manage test test-fast test-matrix lint bench simulate soak sbom dist clean \
	requirements

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /make \1|/' | \
		while IFS='|' read -r target text; do printf '  %-18s %s\n' "$$target" "$$text"; done

run: $(INSTALLED) ## start everything: PostgreSQL, Redis, a sandbox Spotify, web, worker, beat
	@exec $(VENV_PYTHON) -m dev.run

manage: $(INSTALLED) ## a management command against what `make run` started; ARGS="tokens status"
	@exec $(VENV_PYTHON) -m dev.manage $(ARGS)

test: $(INSTALLED) ## run every test; ARGS="tests/accounts -x" is passed to pytest
	@exec $(VENV_PYTHON) -m dev.test $(ARGS)

test-fast: $(INSTALLED) ## the tests without worker processes, browser and long waits: about 70 s on two cores
	@exec $(VENV_PYTHON) -m dev.test --fast $(ARGS)

test-matrix: $(INSTALLED) ## install the wheel with each Python and Django that can be had, and run a project with it
	@exec $(VENV_PYTHON) -m dev.matrix $(ARGS)

lint: $(INSTALLED) ## ruff, mypy, import-linter, migrations, system checks, bandit, pip-audit
	@exec $(VENV_PYTHON) -m dev.lint

bench: $(INSTALLED) ## run the benchmarks, ten minutes; ARGS="reading burst" for some of them
	@exec $(VENV_PYTHON) -m dev.bench $(ARGS)

soak: $(INSTALLED) ## inject failures under load for 15 minutes; ARGS="--minutes 5 --users 200 --seed 7"
	@exec $(VENV_PYTHON) -m dev.soak $(ARGS)

simulate: $(INSTALLED) ## simulate outages and refusals, and write docs/measurements/simulation*.md; ARGS="refusals" for a part
	@exec $(VENV_PYTHON) -m benchmarks.simulation $(ARGS)

sbom: $(INSTALLED) ## list what production installs in sbom.cdx.json, as CycloneDX JSON
	@exec $(VENV_PYTHON) -m dev.sbom

dist: $(INSTALLED) ## build spotify_auth for other projects: a wheel and an sdist in dist/
	@exec $(VENV_PYTHON) -m dev.dist

# The extras stay in the pins: without them pip before 23.3 takes coverage[toml] for another
# package than coverage, and refuses the newer one that it finds because it has no hash.
requirements: $(INSTALLED) ## pin requirements/*.txt again from requirements/*.in
	@for name in base production asgi local peers; do \
		$(VENV_PYTHON) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
			--generate-hashes --no-strip-extras --no-header \
			requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## remove what the other targets made, local data included
	@if "$(PYTHON)" -c '$(IS_3_11)' 2>/dev/null; then "$(PYTHON)" -m dev.clean; fi
	@rm -rf .venv .venv-bench .local staticfiles .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis .coverage .coverage.* sbom.cdx.json dist build *.egg-info .nox
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements/local.txt
	@"$(PYTHON)" -c '$(IS_3_11)' 2>/dev/null || \
		{ echo 'CPython 3.11 is needed: put it on PATH, or call `make PYTHON=/path/to/python3.11 …`.'; exit 1; }
	@echo 'Installing the pinned packages into .venv (one to three minutes).'
	@rm -rf .venv
	@"$(PYTHON)" -m venv --without-pip .venv
	@# All is pinned, so pip need not resolve; it would look beyond the pin of coverage[toml].
	@"$(PYTHON)" -m pip --python $(VENV_PYTHON) install -qq --disable-pip-version-check \
		--no-deps --require-hashes -r requirements/local.txt
	@touch $(INSTALLED)
