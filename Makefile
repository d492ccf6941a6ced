# make run     start the site on http://127.0.0.1:8000 (HOST, PORT, DATA_DIR, and the settings in README.md)
# make test    everything that is checked: style, types, migrations, settings, and the tests on SQLite and PostgreSQL
# Both may be repeated at any time; neither loses anything. They need Python 3.11 or newer and nothing else.

# the first Python that is new enough; another: make PYTHON=/usr/local/bin/python3.13 ...
PYTHON ?= $(or $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done),python3)
HOST ?= 127.0.0.1
PORT ?= 8000
WORKERS_OF_TESTS ?= 2
export HOST PORT DATA_DIR

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check --no-input
PYTEST := $(PY) -m pytest
SKIPPED := $(VENV)/skipped.log
# in this order; the last one builds a million sessions, twice
BENCHES := import_speed day_rows doors transcript bulk_actions inbox
# what a site behind HTTPS on its own domain is started with
DEPLOYED := HTTPS=1 BEHIND_PROXY=1 HSTS_SECONDS=31536000 HSTS_WHOLE_DOMAIN=1 ALLOWED_HOSTS=sessions.example.com

# Collecting and compressing takes ten seconds: only when something that goes in has changed.
STATIC = made=$$(cat requirements.txt sessionsite/settings.py $$(find static -type f | sort) | cksum); stamp="$${DATA_DIR:-var}/static.made-from"; \
	[ "$$made" = "$$(cat "$$stamp" 2>/dev/null)" ] || { echo 'Compressing the static files ...'; \
	$(PY) manage.py collectstatic --no-input --verbosity 0 && echo "$$made" > "$$stamp"; }

.PHONY: run test lint format types check test-sqlite test-browser test-postgresql bench screenshots requirements clean venv venv-dev tools

run: venv
	@$(PY) manage.py migrate --verbosity 0
	@$(STATIC)
	@$(PY) manage.py first_run --base-url "http://$(HOST):$(PORT)"
	@exec $(PY) -m gunicorn --config sessionsite/gunicorn.conf.py

test: venv-dev tools
	@rm -f $(SKIPPED)
	@$(MAKE) --no-print-directory --keep-going lint types check test-sqlite test-browser test-postgresql; status=$$?; \
	if [ -s $(SKIPPED) ]; then printf '\n!!! NOT EVERYTHING WAS TESTED. Skipped:\n'; sort -u $(SKIPPED) | sed 's/^/!!!   /'; fi; \
	if [ $$status = 0 ]; then printf '\nAll that ran passed.\n'; else printf '\nSomething failed: see above.\n'; fi; exit $$status

lint: venv-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/djade --target-version 5.2 --check $$(find templates -name '*.html')

format: venv-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	-$(VENV)/bin/djade --target-version 5.2 $$(find templates -name '*.html')

types: venv-dev
	$(PY) -m mypy

# In a data folder of its own: looking at the settings must not touch the site's.
check: venv-dev
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && export DATA_DIR="$$folder" && unset DATABASE_URL TIME_ZONE && \
	$(PY) manage.py makemigrations --check --dry-run && \
	$(DEPLOYED) $(PY) manage.py check --deploy --fail-level WARNING

test-sqlite: venv-dev
	TEST_DATABASE=sqlite SKIPPED_LOG=$(SKIPPED) $(PYTEST) -n $(WORKERS_OF_TESTS) -m "not browser"

test-browser: venv-dev
	TEST_DATABASE=sqlite SKIPPED_LOG=$(SKIPPED) $(PYTEST) -n $(WORKERS_OF_TESTS) -m browser

test-postgresql: venv-dev
	TEST_DATABASE=postgresql SKIPPED_LOG=$(SKIPPED) $(PYTEST) -n $(WORKERS_OF_TESTS) -m "not browser"

bench: venv-dev
	@for name in $(BENCHES); do $(PY) -m bench.$$name || exit 1; done

screenshots: venv-dev tools
	$(PY) -m bench.screenshots docs/pictures

# The pinned files, from the two short lists.
requirements: venv-dev
	@$(PIP) install uv
	@for name in requirements requirements-dev; do $(PY) -m uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--no-header --no-emit-index-url $(UPGRADE) $$name.in -o $$name.txt || exit 1; done

# What can be built again. Never the data.
clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment: made when it is missing or broken, filled when a requirements file changed.
venv:
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && $(PY) -m pip --version >/dev/null 2>&1 || { \
		command -v $(PYTHON) >/dev/null || { echo 'Python 3.11 or newer is needed, and "$(PYTHON)" was not found. Name another: make PYTHON=python3.12 ...'; exit 1; }; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 ..."; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'This Python cannot make virtual environments (no ensurepip). On Debian and Ubuntu: sudo apt-get install python3-venv'; exit 1; }; \
		echo 'Making the virtual environment $(VENV) ...'; $(PYTHON) -m venv --clear $(VENV) || exit 1; }
	@cmp -s requirements.txt $(VENV)/requirements.txt || { echo 'Installing what runs the site ...' && \
		$(PIP) install --require-hashes -r requirements.txt && cp requirements.txt $(VENV)/requirements.txt; }

venv-dev: venv
	@cmp -s requirements-dev.txt $(VENV)/requirements-dev.txt || { echo 'Installing what tests the site ...' && \
		$(PIP) install --require-hashes -r requirements-dev.txt && cp requirements-dev.txt $(VENV)/requirements-dev.txt; }

tools: venv-dev
	@$(PY) -m tests.tools
