"""The list and the transcript in a real browser: with and without script, by key, on a phone, and checked by axe in light and dark."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from sessions_app import services
from sessions_app.events import CompactionEvent, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import ReadMark, Session
from tests.factories import make_session

pytestmark = pytest.mark.django_db(transaction=True)

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PHONE = {"width": 360, "height": 780}
DESK = {"width": 1440, "height": 1000}
HOSTILE = "<img src=x onerror=alert(1)> ![p](https://evil.example/p.png) <script>alert(1)</script> [x](javascript:alert(1))"


def minutes_ago(minutes: float) -> Any:
    return timezone.now() - timedelta(minutes=minutes)


def unread_session(title: str, key: str, minutes: float) -> Session:
    when = minutes_ago(minutes)
    session = make_session(key=key, triggered_by="nightly", title=title, now=when)
    services.save_message(session.id, "assistant", "done", timestamp=when, now=when)
    return session


def rich_session() -> Session:
    """A transcript with one of everything."""
    start = minutes_ago(300)
    session = make_session(
        "cli", "rich", now=start, agent="claude-code", project="/srv/a/rather/long/path/to/the/project", title="One of everything"
    )
    events: list[Any] = [
        MessageEvent(
            role="user",
            content="Please **fix** it\n\n| Page | Total |\n|---|--:|\n| 1 | 5,242.10 |\n\n" + "averyveryverylongwordwithoutanyblank" * 9,
        ),
        MessageEvent(role="thinking", content="Hm.", response_id="r1"),
        MessageEvent(
            role="assistant",
            content="# Found\n\n```python\ndef f(a): return 'x' * 100  # " + "long " * 40 + "\n```\n\n" + HOSTILE,
            response_id="r1",
        ),
        tool_use("c1", "Bash", {"command": "pytest -q " + "tests/" * 30, "timeout": 5}, response_id="r1"),
        tool_result("c1", "Exit code 1\n" + "=" * 200, is_error=True),
        tool_use("c2", "Edit", {"file_path": "a.py", "old_string": "a\nb", "new_string": "a\nc " + "wide " * 50}, response_id="r1"),
        tool_result("c2", "ok"),
        UsageEvent(
            model="claude-sonnet-4-5",
            input_tokens=1312,
            output_tokens=688,
            cache_read_tokens=41_280,
            cache_write_tokens=6204,
            response_id="r1",
            event_id="u",
        ),
        MessageEvent(role="user", content="look", subagent_id="agent-1"),
        MessageEvent(role="assistant", content="looked", subagent_id="agent-1"),
        CompactionEvent(trigger="auto", pre_tokens=163_204, summary="So far: *fixed*.", messages_compacted=8),
        MessageEvent(role="user", content="Thanks. What next?"),
        MessageEvent(role="system", content="retrying"),
        MessageEvent(role="assistant", content="Nothing.", response_id="r2"),
        UsageEvent(model="never-heard-of-it", input_tokens=1, output_tokens=1, response_id="r2", event_id="u2"),
    ]
    for number, event in enumerate(events):
        event.timestamp = start + timedelta(seconds=10 * number) + (timedelta(minutes=90) if number > 10 else timedelta())
    assert not services.store_events(session.id, events, source="test", now=timezone.now()).refused
    return session


@pytest.fixture
def store(cast: SimpleNamespace, sign_in: Any) -> SimpleNamespace:
    """Three unread sessions, newest first, one rich one, and alice signed in."""
    sign_in(cast.alice)
    unread = [unread_session(f"Night run {number}", f"n{number}", 10 * number + 5) for number in range(3)]
    return SimpleNamespace(unread=unread, rich=rich_session(), cast=cast)


def row(page: Page, title: str) -> Any:
    return page.locator(".session-row", has_text=title)


def check_axe(page: Page) -> None:
    results = Axe().run(page, options=WCAG)
    assert results.violations_count == 0, results.generate_report()


def check_width(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# --- the list


def test_toggle_without_leaving_the_list(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.evaluate("window.here = true")
    expect(page.locator("#unread-count")).to_have_text("3 unread")
    first = row(page, "Night run 0")
    first.hover()
    first.get_by_role("button", name="Mark read").click()
    expect(page.locator("#unread-count")).to_have_text("2 unread")
    expect(first.locator(".unread")).to_have_count(0)
    first.get_by_role("button", name="Mark unread").click()
    expect(page.locator("#unread-count")).to_have_text("3 unread")
    assert page.evaluate("window.here")
    assert ReadMark.objects.get(session=store.unread[0]).is_unread


def test_keys(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.keyboard.press("j")
    expect(row(page, "Night run 0").locator(".row-title")).to_be_focused()
    page.keyboard.press("j")
    expect(row(page, "Night run 1").locator(".row-title")).to_be_focused()
    page.keyboard.press("r")
    expect(page.locator("#unread-count")).to_have_text("2 unread")
    page.keyboard.press("j")
    page.keyboard.press("k")
    # archive: the row goes, the focus moves on to the next one
    page.keyboard.press("e")
    expect(row(page, "Night run 1")).to_have_count(0)
    expect(row(page, "Night run 2").locator(".row-title")).to_be_focused()
    expect(page.locator(".toast")).to_contain_text("Archived.")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    expect(page.locator("h1")).to_have_text("Night run 2")
    # the heading stands before the script has run: what the script did is what to wait for
    expect(page.get_by_role("button", name="Mark unread")).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator("h1")).to_have_text("Inbox")
    # only where it leads: the costs page has tests of its own
    page.route("**/costs/", lambda route: route.fulfill(body="costs", content_type="text/plain"))
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/costs/")


def test_archive_and_undo(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/sessions/")
    row(page, "Night run 0").hover()
    row(page, "Night run 0").get_by_role("button", name="Archive").click()
    expect(row(page, "Night run 0")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "Night run 0")).to_have_count(1)
    store.unread[0].refresh_from_db()
    assert not store.unread[0].is_archived


def test_paging_keeps_the_page_and_the_address(
    page: Page, live_server: Any, store: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions_app.views.inbox.PAGE_SIZE", 2)
    page.goto(f"{live_server.url}/sessions/")
    page.evaluate("window.here = true")
    expect(page.locator("#result-count")).to_have_text("2 sessions on this page, 2 unread")
    page.get_by_role("link", name="Older").click()
    expect(row(page, "Night run 2")).to_have_count(1)
    expect(page.locator("#result-count")).to_have_text("2 sessions on this page, 1 unread")
    assert page.evaluate("window.here")
    assert "after=" in page.url
    page.reload()
    expect(row(page, "Night run 2")).to_have_count(1)
    page.get_by_role("link", name="Newest").click()
    expect(row(page, "Night run 0")).to_have_count(1)
    page.go_back()
    expect(row(page, "Night run 2")).to_have_count(1)
    expect(page.locator(".rail")).to_have_count(1)


def test_signed_out_in_between(page: Page, live_server: Any, store: SimpleNamespace, context: Any) -> None:
    page.goto(f"{live_server.url}/sessions/")
    context.clear_cookies(name="sessionsite_login")
    row(page, "Night run 0").hover()
    row(page, "Night run 0").get_by_role("button", name="Mark read").click()
    page.wait_for_url("**/signin/**")


# --- the transcript


def test_opening_reads_and_marking_unread_goes_back(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/sessions/")
    row(page, "Night run 0").locator(".row-title").click()
    expect(page.get_by_role("button", name="Mark unread")).to_be_visible()
    expect(page.locator("#unread-count")).to_have_text("2 unread")
    assert not ReadMark.objects.get(session=store.unread[0]).is_unread
    page.get_by_role("button", name="Mark unread").click()
    expect(page.locator("h1")).to_have_text("Inbox")
    expect(page.locator("#unread-count")).to_have_text("3 unread")


def test_nothing_of_a_stranger_runs_or_loads(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    page.goto(f"{live_server.url}{store.rich.get_absolute_url()}")
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if not url.startswith(live_server.url)]
    link = page.locator(".prose a", has_text="image: p")
    assert link.get_attribute("rel") == "noopener noreferrer nofollow"


def test_next_entries_are_appended(page: Page, live_server: Any, store: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions_app.views.transcript.PAGE_SIZE", 8)
    page.goto(f"{live_server.url}{store.rich.get_absolute_url()}")
    expect(page.locator(".transcript > .is-prompt")).to_have_count(1)
    page.get_by_role("link", name="Show what comes next").click()
    expect(page.locator(".transcript > .is-prompt")).to_have_count(2)
    expect(page.locator(".compaction")).to_have_count(1)


def test_prompts_and_errors_by_key(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.set_viewport_size({"width": 1440, "height": 500})
    page.goto(f"{live_server.url}{store.rich.get_absolute_url()}")
    page.keyboard.press("f")
    expect(page.locator(".tool-call.is-failed > summary")).to_be_focused()
    page.keyboard.press("n")
    expect(page.locator(".transcript > .is-prompt").nth(1)).to_be_in_viewport()


# --- without script


def test_everything_works_without_script(
    new_context: Any, live_server: Any, store: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings
    from django.test import Client

    monkeypatch.setattr("sessions_app.views.inbox.PAGE_SIZE", 2)
    monkeypatch.setattr("sessions_app.views.transcript.PAGE_SIZE", 8)
    client = Client()
    client.force_login(store.cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    context = new_context(java_script_enabled=False)
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value, "url": live_server.url}]
    )
    page = context.new_page()
    page.goto(f"{live_server.url}/sessions/")
    row(page, "Night run 0").hover()
    row(page, "Night run 0").get_by_role("button", name="Mark read").click()
    expect(page.locator("#unread-count")).to_have_text("2 unread")
    page.get_by_role("link", name="Older").click()
    row(page, "Night run 2").hover()
    row(page, "Night run 2").get_by_role("button", name="Mark read").click()
    expect(page.locator("#unread-count")).to_have_text("1 unread")
    assert "after=" in page.url  # back on the same page of the list
    row(page, "One of everything").locator(".row-title").click()
    page.get_by_role("link", name="Show what comes next").click()
    expect(page.locator(".prompt").last).to_contain_text("What next?")
    page.goto(f"{live_server.url}/sessions/")
    row(page, "Night run 1").hover()
    row(page, "Night run 1").get_by_role("button", name="Archive").click()
    expect(page.locator(".toast")).to_contain_text("Archived.")
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "Night run 1")).to_have_count(1)


# --- how it stands


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    page: Page, live_server: Any, store: SimpleNamespace, scheme: str, size: dict[str, int]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    for path in ("/sessions/", "/sessions/?state=nope&read=unread", "/sessions/?state=archived", store.rich.get_absolute_url()):
        page.goto(f"{live_server.url}{path}")
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
        check_width(page, size["width"])
        check_axe(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_empty_and_missing_pages_stand_too(
    page: Page, live_server: Any, cast: SimpleNamespace, sign_in: Any, scheme: str, size: dict[str, int]
) -> None:
    cast.alice.is_staff = True
    cast.alice.save()
    sign_in(cast.alice)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    for path in ("/sessions/", "/sessions/?state=closed", "/sessions/not-there/"):
        page.goto(f"{live_server.url}{path}")
        check_width(page, size["width"])
        check_axe(page)
    page.complaints[:] = [line for line in page.complaints if "404" not in line]  # type: ignore[attr-defined]


def test_phone_reads_by_the_dot(browser: Any, live_server: Any, store: SimpleNamespace) -> None:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(store.cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value, "url": live_server.url}]
    )
    page = context.new_page()
    page.goto(f"{live_server.url}/sessions/")
    button = row(page, "Night run 0").get_by_role("button", name="Mark read")
    box = button.bounding_box()
    assert box["width"] >= 44
    assert box["height"] >= 44
    button.tap()
    expect(row(page, "Night run 0").get_by_role("button", name="Mark unread")).to_be_visible()
    page.get_by_role("button", name="Menu").tap()
    expect(page.locator("#rail")).to_be_visible()
    expect(page.locator("#unread-count")).to_have_text("2 unread")
    check_width(page, 360)
    context.close()
