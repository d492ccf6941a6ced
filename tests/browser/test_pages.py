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
    expect(page.locator("#session-title")).to_have_text("Night run 2")
    # the heading stands before the script has run: what the script did is what to wait for
    expect(page.locator("#reading-pane").get_by_role("button", name="Mark unread")).to_be_visible()
    page.keyboard.press("u")
    expect(row(page, "Night run 2").locator(".row-title")).to_be_focused()
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


def test_rows_go_on_below_without_leaving_the_page(
    page: Page, live_server: Any, store: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions_app.views.inbox.PAGE_SIZE", 2)
    page.set_viewport_size({"width": 1440, "height": 280})  # so low that the link to the next rows is below
    page.goto(f"{live_server.url}/sessions/")
    page.evaluate("window.here = true")
    expect(page.locator("#result-count")).to_have_text("4 sessions, 3 unread")
    expect(page.locator(".session-row")).to_have_count(2)
    page.locator("#next-page").scroll_into_view_if_needed()  # seen, it loads by itself
    expect(page.locator(".session-row")).to_have_count(4)
    expect(page.locator("#next-page")).to_have_count(0)
    assert page.evaluate("window.here")
    assert "after=" not in page.url
    assert len(set(page.locator(".row-title").all_text_contents())) == 4


def test_filters_swap_the_list_and_back_brings_it_again(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.evaluate("window.here = true")
    page.get_by_role("link", name="Unread", exact=True).click()
    expect(page.locator(".session-row")).to_have_count(3)
    expect(page.locator("#result-said")).to_have_text("Inbox: 3 sessions")
    assert page.url.endswith("?read=unread")
    page.get_by_role("button", name="Filter").click()
    page.locator("#filter-channel summary").click()
    page.locator("#filter-channel").get_by_role("link", name="Web chat").click()
    expect(page.locator(".chip", has_text="Web chat")).to_be_visible()
    expect(page.locator("#filter-menu")).to_be_hidden()
    assert page.url.endswith("?read=unread&channel=main")
    page.get_by_role("button", name="Newest").click()
    page.get_by_role("link", name="Dearest").click()
    expect(page.get_by_role("button", name="Dearest")).to_be_visible()
    assert page.evaluate("window.here")
    page.go_back()
    page.wait_for_url("**/?read=unread&channel=main")
    expect(page.get_by_role("button", name="Newest")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page.locator(".session-row")).to_have_count(4)
    page.go_forward()
    expect(page.locator(".session-row")).to_have_count(3)


def test_search_as_you_type_keeps_the_field_and_the_address(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/sessions/?read=unread")
    field = page.get_by_label("Search sessions")
    field.focus()
    page.keyboard.type("night run 1", delay=20)
    expect(page.locator(".session-row")).to_have_count(1)
    expect(field).to_be_focused()
    expect(field).to_have_value("night run 1")
    expect(page.locator(".chip", has_text="night run 1")).to_be_visible()
    page.wait_for_url("**/?read=unread&q=night+run+1")
    page.get_by_role("link", name="Remove filter: Text").click()
    expect(page.locator(".session-row")).to_have_count(3)
    expect(field).to_have_value("")


def test_bulk_actions_take_the_rows_away_and_undo_brings_them_back(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.evaluate("window.here = true")
    for number in (0, 2):
        page.get_by_role("checkbox", name=f"Select: Night run {number}").check()
    expect(page.locator(".bulk-bar")).to_be_visible()
    page.locator(".bulk-bar").get_by_role("button", name="Archive").click()
    expect(page.locator(".session-row")).to_have_count(2)
    expect(page.locator(".toast")).to_contain_text("2 sessions archived.")
    expect(page.locator("#result-count")).to_have_text("2 sessions, 1 unread")
    expect(page.locator("#unread-count")).to_have_text("1 unread")
    expect(page.locator(".bulk-bar")).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".session-row")).to_have_count(4)
    page.get_by_role("checkbox", name="Select all").check()
    expect(page.get_by_text("All 4 selected")).to_be_visible()
    page.get_by_role("button", name="More to do").click()
    page.get_by_label("Tag", exact=True).fill("checked")
    page.get_by_label("Tag", exact=True).press("Enter")  # goes by the field that is filled in
    expect(page.locator(".session-row .mark", has_text="checked")).to_have_count(4)
    assert not Session.objects.exclude(closed_at=None).exists()
    page.get_by_role("button", name="Mark all read").click()
    expect(page.locator("#unread-count")).to_have_text("")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#unread-count")).to_have_text("3 unread")
    assert page.evaluate("window.here")


def test_a_long_action_goes_on_by_itself(page: Page, live_server: Any, store: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from sessions_app.services import actions

    monkeypatch.setattr(actions.Pace, "FIRST", 1)
    monkeypatch.setattr(actions.Pace, "MOST", 1)
    monkeypatch.setattr(actions, "monotonic", iter(range(0, 1_000_000, 100)).__next__)  # every look at the clock is later: one batch a call
    page.goto(f"{live_server.url}/sessions/")
    page.get_by_role("checkbox", name="Select all").check()
    page.locator(".bulk-bar").get_by_role("button", name="Archive").click()
    expect(page.locator(".toast")).to_contain_text("4 sessions archived.")
    expect(page.get_by_text("Nothing here")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".session-row")).to_have_count(4)


def test_signed_out_in_between(page: Page, live_server: Any, store: SimpleNamespace, context: Any) -> None:
    page.goto(f"{live_server.url}/sessions/")
    context.clear_cookies(name="sessionsite_login")
    row(page, "Night run 0").hover()
    row(page, "Night run 0").get_by_role("button", name="Mark read").click()
    page.wait_for_url("**/signin/**")


# --- the transcript


def test_opening_in_the_pane_marks_read_there_and_in_the_list(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.set_viewport_size(DESK)
    page.goto(f"{live_server.url}/sessions/")
    row(page, "Night run 1").locator(".row-title").click()
    expect(page.locator("#result-count")).to_have_text("4 sessions, 2 unread")
    page.locator("#reading-pane").get_by_role("button", name="Mark unread").click()
    expect(page.locator("#unread-count")).to_have_text("3 unread")
    page.goto(f"{live_server.url}/sessions/?read=unread")
    row(page, "Night run 0").locator(".row-title").click()
    pane = page.locator("#reading-pane")
    expect(pane.get_by_role("button", name="Mark unread")).to_be_visible()
    expect(page.locator("#unread-count")).to_have_text("2 unread")
    expect(row(page, "Night run 0").locator(".unread")).to_have_count(0)  # it stays where it is: nothing jumps away
    expect(row(page, "Night run 0").locator(".row-title")).to_have_attribute("aria-current", "true")
    assert not ReadMark.objects.get(session=store.unread[0]).is_unread
    page.wait_for_url(f"**{store.unread[0].get_absolute_url()}?read=unread")
    page.go_back()
    page.wait_for_url("**/sessions/?read=unread")
    expect(page.locator(".session-row")).to_have_count(2)


def test_opening_on_a_narrow_screen_is_a_page_of_its_own(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.set_viewport_size({"width": 800, "height": 900})
    page.goto(f"{live_server.url}/sessions/")
    row(page, "Night run 0").locator(".row-title").click()
    expect(page.locator("h1")).to_have_text("Night run 0")
    expect(page.locator("#unread-count")).to_have_text("2 unread")
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


def test_prompts_and_errors_by_key(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    page.set_viewport_size({"width": 1440, "height": 500})
    page.goto(f"{live_server.url}{store.rich.get_absolute_url()}")
    page.keyboard.press("f")
    expect(page.locator(".tool-call.is-failed > summary")).to_be_focused()
    page.keyboard.press("n")
    expect(page.locator(".window > .is-prompt").nth(1)).to_be_in_viewport()


# --- how it stands


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    page: Page, live_server: Any, store: SimpleNamespace, scheme: str, size: dict[str, int]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    services.save_view("Everything that is " + "unread " * 10, viewer=store.cast.alice, fields={"unread": True})
    for path in (
        "/sessions/",
        "/sessions/?status=nope&read=unread&agent=nobody&errors=1",
        "/sessions/?status=archived",
        "/sessions/?read=unread",
        "/sessions/filters/?read=unread",
        store.rich.get_absolute_url(),
    ):
        page.goto(f"{live_server.url}{path}")
        page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
        if page.locator(".row-check").count():
            page.locator(".row-check").first.check()
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
    for path in ("/sessions/", "/sessions/?status=closed", "/sessions/not-there/"):
        page.goto(f"{live_server.url}{path}")
        check_width(page, size["width"])
        check_axe(page)
    page.complaints[:] = [line for line in page.complaints if "404" not in line]  # type: ignore[attr-defined]


def test_menus_pass_axe_when_they_are_open(page: Page, live_server: Any, store: SimpleNamespace) -> None:
    view = services.save_view("Unread", viewer=store.cast.alice, fields={"unread": True})
    for size in (DESK, PHONE):
        page.set_viewport_size(size)
        page.goto(f"{live_server.url}/sessions/?read=unread")
        page.get_by_role("button", name="This view").click()
        check_axe(page)
        page.goto(f"{live_server.url}/sessions/?channel=main")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator("#filter-agent, #filter-channel").first).to_be_visible()
        check_axe(page)
        check_width(page, size["width"])
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Save", exact=True).click()
        check_axe(page)
        page.keyboard.press("Escape")
        page.locator(".row-check").first.check()
        page.get_by_role("button", name="More to do").click()
        check_axe(page)
        check_width(page, size["width"])
    assert view.pk


def test_phone_selects_by_touch(browser: Any, live_server: Any, store: SimpleNamespace) -> None:
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
    check = page.get_by_role("checkbox", name="Select: Night run 0")
    box = check.bounding_box()
    assert box["width"] >= 44
    assert box["height"] >= 44
    check.tap()
    button = page.locator(".bulk-bar").get_by_role("button", name="Mark read")
    assert button.bounding_box()["height"] >= 44
    button.tap()
    expect(row(page, "Night run 0").locator(".unread")).to_have_count(0)
    page.get_by_role("button", name="Menu").tap()
    expect(page.locator("#rail")).to_be_visible()
    expect(page.locator("#unread-count")).to_have_text("2 unread")
    check_width(page, 360)
    context.close()
