"""A message and a tool call in a real browser: raw and formatted, copy, show all, pictures, the fold of usage; with and without script."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from sessions_app import services
from sessions_app.events import MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Session
from tests.factories import at, make_session
from tests.test_message_files import png

pytestmark = pytest.mark.django_db(transaction=True)


def telling_session() -> Session:
    session = make_session("cli", "telling", agent="claude-code", title="Telling")
    picture = {"media_type": "image/png", "data": base64.b64encode(png(40, 20)).decode(), "title": "scan.png"}
    events: list[Any] = [
        MessageEvent(role="user", content="Look at **this**", extra={"attachments": [picture]}),
        MessageEvent(role="assistant", content="Done:\n\n```python\nprint(1)\n```\n\n- [x] one\n- [ ] two", response_id="r1"),
        tool_use("c1", "Bash", {"command": "seq 3000"}, response_id="r1"),
        tool_result("c1", "\n".join(map(str, range(3000)))),
        tool_use("c2", "Edit", {"file_path": "a.py", "old_string": "a", "new_string": "\n".join(map(str, range(300)))}, response_id="r1"),
        tool_result("c2", "ok"),
        *(
            event
            for n in range(8)
            for event in (tool_use(f"d{n}", "Read", {"file_path": f"{n}.py"}, response_id="r1"), tool_result(f"d{n}", "x"))
        ),
        tool_use("c3", "Bash", {"command": "sleep 9"}, response_id="r1"),
        UsageEvent(
            model="claude-sonnet-4-5", input_tokens=10, output_tokens=5, cache_read_tokens=900, cache_write_tokens=90, response_id="r1"
        ),
    ]
    for number, event in enumerate(events):
        event.timestamp = at() + timedelta(seconds=number)
    assert not services.store_events(session.id, events, source="test", now=at(60)).refused
    return session


@pytest.fixture
def shown(page: Page, sign_in: Any, cast: Any, live_server: Any) -> Page:
    sign_in(cast.alice)
    page.goto(f"{live_server.url}{telling_session().get_absolute_url()}")
    return page


def test_raw_and_back(shown: Page) -> None:
    message = shown.locator(".message").first
    link = message.locator(".as-raw")
    link.focus()
    link.press("Enter")
    expect(message.locator(".is-raw")).to_have_text("Look at **this**")
    expect(message.locator(".prose")).to_be_hidden()
    expect(link).to_have_text("Formatted")
    link.press("Enter")
    expect(message.locator(".prose")).to_be_visible()
    expect(message.locator(".is-raw")).to_be_hidden()


def test_copy(shown: Page) -> None:
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    block = shown.locator(".prose .code").first
    block.focus()
    # the button comes with the focus and is the next stop
    shown.keyboard.press("Tab")
    button = shown.get_by_role("button", name="Copy")
    expect(button).to_be_focused()
    button.press("Enter")
    expect(shown.get_by_role("button", name="Copied")).to_be_visible()
    assert shown.evaluate("navigator.clipboard.readText()") == "print(1)\n"


def test_show_all(shown: Page) -> None:
    shown.locator(".tool-group > summary").click()
    call = shown.locator(".tool-call").filter(has_text="seq 3000")
    call.locator(":scope > summary").click()
    call.get_by_role("link", name="Show all 14 kB").click()
    expect(call.locator("pre").last).to_contain_text("2999")
    edit = shown.locator(".tool-call").filter(has_text="a.py").first
    edit.locator(":scope > summary").click()
    edit.get_by_role("link", name="Show all 301 lines").click()
    expect(edit.locator(".diff tr")).to_have_count(301)


def test_picture(shown: Page) -> None:
    picture = shown.locator(".thumb img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 40
    expect(shown.locator(".thumb figcaption")).to_have_text("scan.png, 40 × 20, 93 bytes")


def test_a_run_folds_and_what_is_open_stands_out(shown: Page) -> None:
    group = shown.locator(".tool-group > summary")
    expect(group).to_contain_text("8 Read")
    expect(shown.locator(".tool-call.is-unanswered > summary")).to_contain_text("no result")
    group.click()
    expect(shown.locator(".tool-group .tool-call").first).to_be_visible()


def test_usage_is_read_when_its_fold_opens(shown: Page) -> None:
    expect(shown.locator("#usage-tables table")).to_have_count(0)
    shown.locator(".session-usage > summary").click()
    expect(shown.locator("#usage-tables table")).to_have_count(2)
    expect(shown.locator("#usage-tables")).to_contain_text("claude-sonnet-4-5")


@pytest.mark.parametrize("width", [1440, 360])
def test_accessible_with_everything_open(width: int, shown: Page, assert_accessible: Any) -> None:
    shown.set_viewport_size({"width": width, "height": 900})
    shown.locator(".session-usage > summary").click()
    expect(shown.locator("#usage-tables table")).to_have_count(2)
    shown.evaluate("for (const fold of document.querySelectorAll('main details')) fold.open = true")
    shown.locator(".prose .code").first.focus()
    assert_accessible(shown)
    shown.goto(shown.url.partition("?")[0] + "usage/")
    assert_accessible(shown)


def test_without_script_every_way_is_a_link(browser: Browser, sign_in: Any, cast: Any, live_server: Any, context: Any) -> None:
    sign_in(cast.alice)
    session = telling_session()
    plain = browser.new_context(java_script_enabled=False, storage_state=context.storage_state())
    page = plain.new_page()
    page.goto(f"{live_server.url}{session.get_absolute_url()}")
    page.locator(".message").first.hover()
    page.locator(".as-raw").first.click()
    assert page.locator("body").inner_text() == "Look at **this**"
    page.go_back()
    page.locator(".tool-group > summary").click()
    page.locator(".tool-call > summary").first.click()
    page.get_by_role("link", name="Show all 14 kB").click()
    assert "2999" in page.locator("body").inner_text()
    page.go_back()
    page.locator(".session-usage > summary").click()
    page.get_by_role("link", name="Show the tables").click()
    expect(page.get_by_role("heading", name="By tool")).to_be_visible()
    plain.close()
