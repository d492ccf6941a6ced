"""The hostile corpus in a real browser with the policy on: nothing runs, nothing asks another host, nothing leaves its place, and the page can be used."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from sessions_app.models import Session
from tests import hostile
from tests.test_hostile import SAMPLE, hostile_session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def watched(page: Page, live_server: Any) -> Any:
    """Yield the page with what it asked for and what popped up; both are looked at when the test ends."""
    asked: list[str] = []
    opened: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    page.on("popup", lambda popup: opened.append(popup.url))
    yield page
    ours = urlsplit(live_server.url).netloc
    assert [url for url in asked if urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc != ours] == []
    assert [url for url in asked if urlsplit(url).scheme not in ("http", "https", "data", "blob")] == []
    assert opened == []
    assert page.evaluate("window.hit") is None


def open_everything(page: Page) -> None:
    page.evaluate("for (const fold of document.querySelectorAll('main details')) fold.open = true")


def stranger(page: Page) -> str:
    return page.locator("main").inner_text()


@pytest.mark.parametrize("part", range(4))
def test_nothing_runs_and_nothing_is_loaded(part: int, watched: Page, sign_in: Any, cast: Any, live_server: Any) -> None:
    sign_in(cast.alice)
    session = hostile_session(SAMPLE[part::4])
    watched.goto(f"{live_server.url}{session.get_absolute_url()}", wait_until="load")
    open_everything(watched)
    # what waits for a pointer, a focus or an animation gets them
    for place in watched.locator(".prose").all()[:12]:
        place.hover(force=True, timeout=2000)
    watched.keyboard.press("Tab")
    watched.wait_for_load_state("networkidle")
    assert watched.locator("main :is(script, iframe, object, embed, style, base, form[action^='http'], img[src^='http'])").count() == 0
    # a stranger's links, where there are any, lead out without a trace
    for link in watched.locator(".prose a").all():
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    # no wider than the window, nothing over it, and what is ours still works
    assert watched.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(watched.locator("#session-title")).to_be_visible()
    expect(watched.get_by_role("link", name="Costs").first).to_be_visible()
    call = watched.locator(".tool-call").first
    call.locator(":scope > summary").click()
    assert call.get_attribute("open") is None


def test_raw_and_whole_texts_are_texts(watched: Page, sign_in: Any, cast: Any, live_server: Any) -> None:
    sign_in(cast.alice)
    long = "\n\n".join(hostile.HTML) * 3
    session = hostile_session([long])
    watched.goto(f"{live_server.url}{session.get_absolute_url()}", wait_until="load")
    open_everything(watched)
    links = watched.get_by_role("link", name="Show all")
    # one click shows all of a call, which may have several
    while left := links.count():
        links.first.click()
        expect(links).not_to_have_count(left)
    for link in watched.locator(".as-raw").all()[:2]:
        link.focus()
        link.press("Enter")
    expect(watched.locator(".is-raw").first).to_contain_text("<script")
    assert watched.locator("main :is(script, iframe, object, style)").count() == 0


def test_a_line_of_five_megabytes_leaves_the_page_usable(watched: Page, sign_in: Any, cast: Any, live_server: Any) -> None:
    sign_in(cast.alice)
    session: Session = hostile_session(["x" * 4_900_000])
    watched.goto(f"{live_server.url}{session.get_absolute_url()}", wait_until="load")
    assert watched.evaluate("document.documentElement.outerHTML.length") < 600_000
    assert watched.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(watched.get_by_role("link", name="Show all 4.9 MB").first).to_be_attached()
