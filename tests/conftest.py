"""What every test may use: the database chosen by TEST_DATABASE, a browser, and a cast of three.

Tests that use the browser (the fixtures page, context, browser) are marked `browser` here. What cannot run on this machine is skipped
with its reason in a section of its own at the end; with REQUIRE_ALL=1 it fails instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest

from tests import tools
from tests.shared import NO_SHARED

REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"
BROWSER_FIXTURES = {"page", "context", "browser", "new_context"}
CHROMIUM = tools.find_chromium()
NO_CHROMIUM = "no Chromium on this machine (apt-get install chromium)"

# The same examples each time: a red run can be repeated. More of them: pytest --hypothesis-profile=thorough.
hypothesis.settings.register_profile("usual", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("usual")

run = contextlib.ExitStack()  # what the whole run holds and gives back at its end


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of xdist's workers: the controller keeps folder and server for all of them."""
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: drives Chromium (set by tests/conftest.py)")
    if is_worker(config):
        return
    folder = Path(os.environ["TEST_DIR"])
    run.callback(shutil.rmtree, folder, ignore_errors=True)
    if os.environ.get("TEST_DATABASE") == "postgresql" and not config.option.collectonly:
        try:
            run.enter_context(tools.postgresql_server(folder))
        except RuntimeError as error:
            run.close()
            tell_skipped(f"every test on PostgreSQL: {error}")
            pytest.exit(f"No PostgreSQL: {error}", returncode=1 if REQUIRE_ALL else 0)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not is_worker(config):
        run.close()


def tell_skipped(line: str) -> None:
    """Keep the line for the end of `make test`, which runs pytest several times."""
    if path := os.environ.get("SKIPPED_LOG"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if BROWSER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if CHROMIUM is None and item.get_closest_marker("browser"):
        if REQUIRE_ALL:
            pytest.fail(NO_CHROMIUM, pytrace=False)
        pytest.skip(NO_CHROMIUM)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if is_worker(config):
        return
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        terminalreporter.section("SKIPPED", sep="!", yellow=True, bold=True)
        for reason, count in sorted(reasons.items()):
            line = f"{count} test{'s' if count > 1 else ''}: {reason.removeprefix('Skipped: ')}"
            terminalreporter.write_line(line, yellow=True)
            if NO_SHARED not in reason:
                tell_skipped(line)


# The database


@pytest.fixture
def child_env(transactional_db: None) -> dict[str, str]:
    """The environment for a process that works on this test's database with the site's own settings (manage.py, gunicorn)."""
    from django.db import connection

    name = str(connection.settings_dict["NAME"])
    socket = quote(os.environ["TEST_DIR"], safe="")
    url = f"sqlite:///{name}" if connection.vendor == "sqlite" else f"postgresql://postgres@{socket}/{name}"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_", "PYTEST_", "TEST_"))}
    return {**kept, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "sessionsite.settings", "TIME_ZONE": "UTC"}


# The cast: alice owns sessions, bob may view all, charlie neither.


@pytest.fixture
def cast(db: None) -> SimpleNamespace:
    from tests.factories import make_user

    return SimpleNamespace(alice=make_user("alice"), bob=make_user("bob", permissions=["view_all_sessions"]), charlie=make_user("charlie"))


@pytest.fixture
def alice(cast: SimpleNamespace) -> Any:
    return cast.alice


@pytest.fixture
def bob(cast: SimpleNamespace) -> Any:
    return cast.bob


@pytest.fixture
def charlie(cast: SimpleNamespace) -> Any:
    return cast.charlie


# The browser


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    # No sandbox: as root, as in a container, Chromium refuses to start with it. The others keep it from asking the world.
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": flags}


@pytest.fixture
def page(page: Any) -> Iterator[Any]:
    """Playwright's page; what the browser complains about (a script error, a blocked inline style, a missing file) fails the test."""
    page.set_default_timeout(10_000)  # ms
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
    page.on(
        "console", lambda message: complaints.append(f"{message.type}: {message.text}") if message.type in ("error", "warning") else None
    )
    page.complaints = complaints
    yield page
    assert not complaints, complaints


@pytest.fixture
def sign_in(context: Any, live_server: Any) -> Any:
    """sign_in(user): the browser is this user's from now on."""
    from django.conf import settings
    from django.test import Client

    def sign_in(user: Any) -> None:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])

    return sign_in


@pytest.fixture
def assert_accessible() -> Any:
    """assert_accessible(page): axe finds nothing against WCAG 2.2 AA and no sideways scrolling, in light and in dark."""
    from axe_playwright_python.sync_playwright import Axe

    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

    def assert_accessible(page: Any) -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = Axe().run(page, options=rules)
            assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"
        width = page.viewport_size["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"scrolls sideways at {width} px"

    return assert_accessible
