"""New activity in a real browser, while somebody works in the page: there within five seconds, and nothing moves under the cursor."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from sessions_app import services
from sessions_app.models import Session
from tests.factories import make_session

pytestmark = pytest.mark.django_db(transaction=True)

IN_TIME = 5_000  # ms from the service call to the page


@pytest.fixture
def shown(cast: SimpleNamespace, sign_in: Any, page: Page) -> list[Session]:
    """Four sessions of two messages, newest first; alice is signed in."""
    page.set_viewport_size({"width": 1440, "height": 900})
    sign_in(cast.alice)
    now = timezone.now()
    return [
        make_session(key=f"s{number}", title=f"Session {number}", now=now - timedelta(minutes=30 * (number + 1)), messages=2)
        for number in range(4)
    ]


def row(page: Page, session: Session) -> Any:
    return page.locator(f"#session-{session.pk}")


def settled(page: Page) -> None:
    """Wait until the page has asked for the first time, and knows what it shows."""
    with page.expect_response(lambda response: "/live/" in response.url):
        pass


def test_new_sessions_are_announced_and_nothing_moves(page: Page, live_server: Any, shown: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.evaluate("window.here = true")
    settled(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    place = row(page, shown[1]).bounding_box()
    new = make_session(key="new", title="Came in", triggered_by="nightly")
    services.save_message(new.pk, "assistant", "done")
    expect(page.locator("#new-sessions")).to_have_text("1 new", timeout=IN_TIME)
    expect(page.locator("#unread-count")).to_have_text("1 unread")
    expect(page.locator("#result-said")).to_have_text("1 new above the list")
    # a shown row that goes on says so where it stands, and keeps the focus, the tick and its place
    services.save_message(shown[1].pk, "user", "and another")
    expect(row(page, shown[1])).to_contain_text("3 msg", timeout=IN_TIME)
    expect(row(page, shown[1]).locator(".row-title")).to_be_focused()
    expect(row(page, shown[1]).locator(".row-check")).to_be_checked()
    assert row(page, shown[1]).bounding_box() == place
    expect(page.locator(".session-row")).to_have_count(4)
    second = make_session(key="second", title="Came in later", messages=1)
    expect(page.locator("#new-sessions")).to_have_text("2 new", timeout=IN_TIME)
    assert page.evaluate("window.here")
    page.locator("#new-sessions").click()
    expect(page.locator(".session-row")).to_have_count(6)
    expect(row(page, second)).to_be_visible()
    expect(page.locator("#new-sessions")).to_be_hidden()


def test_a_row_that_was_brought_up_to_date_still_works(page: Page, live_server: Any, shown: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    settled(page)
    services.save_message(shown[0].pk, "user", "more")
    expect(row(page, shown[0])).to_contain_text("3 msg", timeout=IN_TIME)
    page.evaluate("window.here = true")
    row(page, shown[0]).locator(".row-title").click()
    expect(page.locator("#reading-pane h1")).to_have_text("Session 0")
    row(page, shown[0]).hover()
    row(page, shown[0]).get_by_role("button", name="Archive").click()
    expect(row(page, shown[0])).to_have_count(0)
    assert page.evaluate("window.here")


def test_what_another_tab_does_shows_in_this_one(page: Page, context: Any, live_server: Any, shown: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    settled(page)
    other = context.new_page()
    other.goto(f"{live_server.url}/sessions/")
    other.locator(f"#title-{shown[2].pk}").focus()
    other.keyboard.press("r")
    expect(other.locator("#unread-count")).to_have_text("1 unread")
    page.bring_to_front()
    expect(row(page, shown[2])).to_have_class(re.compile("is-unread"), timeout=IN_TIME)
    expect(page.locator("#unread-count")).to_have_text("1 unread")


@pytest.mark.parametrize("place", ["pane", "page"])
def test_the_open_transcript_goes_on(page: Page, live_server: Any, shown: list[Session], place: str) -> None:
    if place == "pane":
        page.goto(f"{live_server.url}/sessions/")
        row(page, shown[0]).locator(".row-title").click()
    else:
        page.goto(f"{live_server.url}{shown[0].get_absolute_url()}")
    expect(page.locator(".transcript")).to_contain_text("message 1")
    settled(page)
    services.save_message(shown[0].pk, "user", "One more thing")
    expect(page.locator(".transcript")).to_contain_text("One more thing", timeout=IN_TIME)
    services.save_message(shown[0].pk, "assistant", "Of course")
    expect(page.locator(".transcript")).to_contain_text("Of course", timeout=IN_TIME)
    expect(page.get_by_text("One more thing")).to_have_count(page.locator(".prompt", has_text="One more thing").count() or 1)


def test_a_hidden_tab_asks_nothing_and_a_failing_site_less_often(page: Page, live_server: Any, shown: list[Session]) -> None:
    asked, answered = [], []
    page.on("request", lambda request: asked.append(request) if "/live/" in request.url else None)
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: answered.append(request) if "/live/" in request.url else None)  # type: ignore[call-overload]
    page.clock.install()
    page.goto(f"{live_server.url}/sessions/")

    def run(seconds: int) -> int:
        """Let the page's clock run, second by second, wait for each answer, and count the questions."""
        before = len(asked)
        for _ in range(seconds):
            page.clock.run_for(1_000)
            while len(answered) < len(asked):
                page.evaluate("0")
        return len(asked) - before

    def hide(hidden: bool) -> None:
        page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            hidden,
        )

    assert 8 <= run(30) <= 11
    hide(True)
    assert run(60) == 0
    hide(False)
    assert run(10) >= 2, "it resumes, at once"
    page.route("**/live/**", lambda route: route.abort())
    assert 3 <= run(60) <= 5, "each failure doubles the wait"
    page.unroute("**/live/**")
    assert run(120) >= 15, "and it recovers"
    page.complaints.clear()  # type: ignore[attr-defined]  # Chromium reports the aborted requests itself


def test_signed_out_elsewhere_it_says_so_and_stops(page: Page, live_server: Any, shown: list[Session], context: Any) -> None:
    page.goto(f"{live_server.url}/sessions/")
    context.clear_cookies(name="sessionsite_login")
    expect(page.locator("#toast")).to_contain_text("You are signed out.", timeout=IN_TIME)
    expect(page.locator("#toast").get_by_role("link", name="Sign in")).to_have_attribute("href", re.compile("/signin/"))
