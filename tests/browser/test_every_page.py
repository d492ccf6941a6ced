"""Every page of the site, in light and dark, wide and on a phone: axe finds nothing, nothing scrolls sideways, the browser complains of nothing.

The pages come from the URLconf: a new one fails here until it is named below.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from sessions_app import services
from sessions_app.signin import link_path
from tests.factories import make_session, make_usage, make_user

pytestmark = pytest.mark.django_db(transaction=True)

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 780}

# What answers a POST, or with something that is no page of ours: checked where its own tests are.
NO_PAGE = {
    *(
        "home",
        "signout",
        "preferences",
        "sessions:live",
        "sessions:act",
        "sessions:undo",
        "sessions:read",
        "sessions:archive",
        "sessions:close",
    ),
    *("sessions:facts", "sessions:message", "sessions:file", "sessions:view_save", "sessions:view_rename", "sessions:view_share"),
    *("sessions:view_default", "sessions:view_delete", "sessions:view_restore"),
}


def names(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of the paths of the site itself, those of admin and doors for agents left out."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name:
                yield prefix + pattern.name
        elif (
            isinstance(pattern, URLResolver)
            and pattern.namespace in (None, "sessions", "costs")
            and not str(pattern.pattern).startswith(("api", "v1"))
        ):
            yield from names(pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else prefix)


@pytest.fixture
def store(cast: SimpleNamespace, sign_in: Any) -> SimpleNamespace:
    """Some of everything, all of alice; alice is signed in."""
    sign_in(cast.alice)
    now = timezone.now()
    rich = make_session(
        "cli", "rich", now=now - timedelta(hours=3), agent="claude-code", project="/srv/site", title="One of everything", messages=6
    )
    make_usage(rich, when=now - timedelta(hours=2))
    services.set_tags(rich.pk, ["invoice", "urgent"])
    for number in range(4):
        made = make_session(key=f"n{number}", triggered_by="nightly", title=f"Night run {number}", now=now - timedelta(hours=number + 4))
        services.save_message(made.pk, "assistant", "done", timestamp=now - timedelta(hours=number + 4))
    closed = make_session("slack", "closed", title="Closed long ago", now=now - timedelta(days=40), messages=2)
    services.close_session(closed.pk, "done")
    services.archive_session(closed.pk)
    acted = services.act("archive", viewer=cast.alice, session_ids=[closed.pk])
    return SimpleNamespace(rich=rich, closed=closed, action=acted.action_id, cast=cast)


def paths(store: SimpleNamespace) -> dict[str, list[str]]:
    """The pages by name, each in its states."""
    detail = reverse("sessions:detail", args=[store.rich.pk])
    return {
        "sessions:list": [
            "/sessions/",
            "/sessions/?status=all&sort=cost",
            "/sessions/?status=archived",
            "/sessions/?read=unread&channel=main&errors=1&q=nothing+has+this",
            "/sessions/?status=nope&since=never",
        ],
        "sessions:filters": ["/sessions/filters/", "/sessions/filters/?read=unread"],
        "sessions:go_on": [reverse("sessions:go_on", args=[store.action])],
        "sessions:detail": [detail, f"{detail}?show=errors", f"{detail}?find=message", reverse("sessions:detail", args=[store.closed.pk])],
        "sessions:usage": [reverse("sessions:usage", args=[store.rich.pk])],
        "sessions:export": [],  # files to take along; the HTML one stands in test_export.py
        "costs:overview": ["/costs/", "/costs/?period=all", "/costs/?since=2001-01-01&through=2001-01-02"],
        "go": ["/go/", "/go/?q=run", "/go/?q=nothing+has+this"],
        "signin": [],  # in front of the door: below
        "signin_link": [],
    }


def complaints_but(page: Page, status: str) -> None:
    """Chromium reports a refusal itself."""
    page.complaints[:] = [line for line in page.complaints if status not in line]  # type: ignore[attr-defined]


def test_every_path_is_known(store: SimpleNamespace) -> None:
    assert set(names(get_resolver().url_patterns)) == paths(store).keys() | NO_PAGE


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_on_any_page(
    page: Page, live_server: Any, store: SimpleNamespace, assert_accessible: Any, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    for path in [path for states in paths(store).values() for path in states]:
        assert page.goto(f"{live_server.url}{path}").status == 200, path  # type: ignore[union-attr]
        page.evaluate("for (const fold of document.querySelectorAll('main details')) fold.open = true")
        assert_accessible(page)
    page.goto(f"{live_server.url}/sessions/not-there/")
    assert_accessible(page)
    complaints_but(page, "404")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_in_front_of_the_door(
    page: Page, live_server: Any, db: None, assert_accessible: Any, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    for path in ("/signin/", link_path(make_user("dora")), "/signin/link/MQ/used-up/"):
        page.goto(f"{live_server.url}{path}")
        assert_accessible(page)
    complaints_but(page, "410")


@pytest.mark.parametrize("is_staff", [True, False])
def test_axe_finds_nothing_on_an_empty_store(
    page: Page, live_server: Any, sign_in: Any, db: None, assert_accessible: Any, is_staff: bool
) -> None:
    sign_in(make_user("erik", staff=is_staff))
    for size in (DESK, PHONE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        for path in ("/sessions/", "/sessions/?status=closed", "/costs/", "/go/"):
            page.goto(f"{live_server.url}{path}")
            assert_accessible(page)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_in_what_floats(
    page: Page, live_server: Any, store: SimpleNamespace, assert_accessible: Any, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.goto(f"{live_server.url}/sessions/")
    if size is DESK:
        page.locator(".row-title", has_text="One of everything").click()
        expect(page.locator("#reading-pane h1")).to_have_text("One of everything")
        assert_accessible(page)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.locator('#palette [role="option"]').first).to_be_visible()
    assert_accessible(page)
    page.keyboard.type("night")
    expect(page.locator('#palette [role="option"]', has_text="Night run").first).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    if size is PHONE:
        page.get_by_role("button", name="Menu").click()
        expect(page.locator("#rail")).to_be_visible()
        assert_accessible(page)
    page.locator("#rail-account").click()
    expect(page.locator("#account-menu")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    make_session(key="fresh", title="Came in", messages=1)
    expect(page.locator("#new-sessions")).to_have_text("1 new")
    page.locator(".row-title", has_text="Night run 1").focus()
    page.keyboard.press("e")
    expect(page.locator(".toast")).to_contain_text("Undo")
    assert_accessible(page)


def test_the_phone_from_list_to_transcript_and_back(browser: Any, live_server: Any, store: SimpleNamespace) -> None:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(store.cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value, "url": live_server.url}]
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    page.goto(f"{live_server.url}/sessions/?status=inbox")
    fits()
    # a row opens the page, since there is no pane
    page.locator(".row-title", has_text="Night run 0").tap()
    expect(page.locator("h1")).to_have_text("Night run 0")
    fits()
    page.locator("#back").tap()
    expect(page).to_have_url(f"{live_server.url}/sessions/?status=inbox")
    expect(page.locator(".session-row.is-unread")).to_have_count(3)
    # to another session by the palette, from the tab bar
    page.get_by_role("link", name="Go to").tap()
    page.locator("#palette-input").fill("everything")
    page.locator('#palette [role="option"]', has_text="One of everything").tap()
    expect(page.locator("h1")).to_have_text("One of everything")
    # archive there, undo on the list
    page.locator("#session-archive-button").tap()
    expect(page.locator(".toast")).to_contain_text("rchived")
    expect(page.locator(".row-title", has_text="One of everything")).to_have_count(0)
    page.get_by_role("button", name="Undo").tap()
    expect(page.locator(".row-title", has_text="One of everything")).to_have_count(1)
    fits()
    # what comes in is announced here, too
    make_session(key="fresh", title="Came in", messages=1)
    expect(page.locator("#new-sessions")).to_have_text("1 new")
    page.locator("#new-sessions").tap()
    expect(page.locator(".row-title", has_text="Came in")).to_be_visible()
    fits()
    page.get_by_role("link", name="Costs").tap()
    expect(page.locator("h1")).to_have_text("Costs")
    fits()
    assert not complaints
    context.close()
