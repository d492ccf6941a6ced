"""The inbox by keyboard alone, and where the focus goes: never lost after a swap, given back by Back and Forward."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from sessions_app import services
from sessions_app.models import Preference, ReadMark, Session
from tests.factories import make_session

pytestmark = pytest.mark.django_db(transaction=True)

DESK = {"width": 1440, "height": 1000}


def night_run(number: int, **fields: Any) -> Session:
    when = timezone.now() - timedelta(minutes=10 * number + 5)
    session = make_session(key=f"n{number}", triggered_by="nightly", title=f"Night run {number}", now=when, **fields)
    services.save_message(session.id, "user", f"prompt {number}", timestamp=when, now=when)
    services.save_message(session.id, "assistant", "done", timestamp=when, now=when)
    return session


@pytest.fixture
def runs(cast: SimpleNamespace, sign_in: Any, page: Page) -> list[Session]:
    """Six unread sessions, newest first, the last two on another channel; alice is signed in."""
    page.set_viewport_size(DESK)
    sign_in(cast.alice)
    return [night_run(number, **({"channel": "slack"} if number > 3 else {})) for number in range(6)]


def row(page: Page, number: int) -> Any:
    return page.locator(".session-row", has_text=f"Night run {number}")


def title(page: Page, number: int) -> Any:
    return row(page, number).locator(".row-title")


def unread(page: Page, count: int) -> None:
    expect(page.locator("#unread-count")).to_have_text(f"{count} unread" if count else "")


def press(page: Page, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def test_the_whole_triage_by_keyboard_alone(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.evaluate("window.here = true")
    # through the list, and open one in the pane: the focus goes along, and it is read
    press(page, "j j k j")
    expect(title(page, 1)).to_be_focused()
    press(page, "Enter")
    expect(page.locator("#reading-pane h1")).to_have_text("Night run 1")
    expect(page.locator("#reading-pane h1")).to_be_focused()
    expect(title(page, 1)).to_have_attribute("aria-current", "true")
    unread(page, 5)
    # reading on: the next session, and the one before
    press(page, "j")
    expect(page.locator("#reading-pane h1")).to_have_text("Night run 2")
    expect(page.locator("#reading-pane h1")).to_be_focused()
    unread(page, 4)
    press(page, "k")
    expect(page.locator("#reading-pane h1")).to_have_text("Night run 1")
    # back to its row; archive it: the next row has the focus
    press(page, "u")
    expect(title(page, 1)).to_be_focused()
    press(page, "e")
    expect(row(page, 1)).to_have_count(0)
    expect(title(page, 2)).to_be_focused()
    # undo: the row is there again, with the focus
    press(page, "z")
    expect(title(page, 1)).to_be_focused()
    # unread again
    press(page, "r")
    unread(page, 5)
    expect(title(page, 1)).to_be_focused()
    # select some, one by one and as far as here, and archive them together
    press(page, "x j j X")
    expect(page.locator(".row-check:checked")).to_have_count(3)
    press(page, "e")
    expect(page.locator(".session-row")).to_have_count(3)
    expect(title(page, 4)).to_be_focused()
    assert set(Session.objects.exclude(archived_at=None)) == set(runs[1:4])
    press(page, "z")
    expect(page.locator(".session-row")).to_have_count(6)
    expect(page.locator(".session-row .row-title:focus")).to_have_count(1)
    assert not Session.objects.exclude(archived_at=None).exists()
    # all on the page, and none
    press(page, "* a")
    expect(page.locator(".row-check:checked")).to_have_count(6)
    press(page, "* n")
    expect(page.locator(".row-check:checked")).to_have_count(0)
    # search: the field, then the list again
    press(page, "/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("run 4")
    expect(page.locator(".session-row")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#q")).to_have_value("run 4")
    expect(title(page, 4)).to_be_focused()
    assert page.evaluate("window.here"), "no page was loaded on the way"


def test_a_filter_is_set_and_removed_by_keyboard(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-input")).to_be_focused()
    page.keyboard.type("slack")
    expect(page.locator('[role="option"]', has_text="Slack").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("channel=slack"))
    expect(page.locator(".session-row")).to_have_count(2)
    page.locator("#chips .chip a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".session-row")).to_have_count(6)


def test_archiving_while_reading_goes_on_to_the_next(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    press(page, "j o")
    expect(page.locator("#reading-pane h1")).to_be_focused()
    press(page, "e")
    expect(row(page, 0)).to_have_count(0)
    expect(page.locator("#reading-pane h1")).to_have_text("Night run 1")
    expect(page.locator("#reading-pane h1")).to_be_focused()
    runs[0].refresh_from_db()
    assert runs[0].is_archived


def test_back_and_forward_give_back_list_and_focus(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/?status=inbox")
    press(page, "j j")
    expect(title(page, 1)).to_be_focused()
    page.locator("#add-unread").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("read=unread"))
    press(page, "j j")  # on from where it was
    expect(title(page, 3)).to_be_focused()
    page.goto(f"{live_server.url}/sessions/?channel=slack&status=inbox")
    expect(page.locator(".session-row")).to_have_count(2)
    press(page, "j")
    page.go_back()
    expect(page).to_have_url(re.compile("read=unread"))
    expect(page.locator(".session-row")).to_have_count(6)
    expect(title(page, 3)).to_be_focused()
    page.go_back()
    expect(page).to_have_url(re.compile(r"/sessions/\?status=inbox$"))
    expect(page.locator("#add-unread")).to_be_focused()
    page.go_forward()
    expect(page).to_have_url(re.compile("read=unread"))
    expect(title(page, 3)).to_be_focused()
    expect(page.locator(".rail")).to_have_count(1)


def test_back_from_the_pane_returns_to_the_row(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/?status=inbox")
    press(page, "j j o")
    expect(page.locator("#reading-pane h1")).to_have_text("Night run 1")
    unread(page, 5)
    page.go_back()
    expect(page.locator(".session-row")).to_have_count(6)
    expect(title(page, 1)).to_be_focused()


def test_every_key_stands_in_the_sheet_and_keys_can_be_switched_off(page: Page, live_server: Any, runs: list[Session], alice: Any) -> None:
    page.goto(f"{live_server.url}/sessions/")
    press(page, "?")
    expect(page.locator("#keys")).to_be_visible()
    told = page.eval_on_selector_all(
        "#keys dt",
        "terms => terms.flatMap(dt => { const keys = [...dt.querySelectorAll('kbd')].map(key => key.textContent); return [keys.join(' '), ...keys] })",
    )
    missing = [name for name in page.evaluate("sessionsite.keyNames()") if name not in told]
    assert not missing
    # with the sheet open the other keys rest
    press(page, "j")
    expect(page.locator(".row-title:focus")).to_have_count(0)
    with page.expect_response("**/preferences/"):
        page.locator("#keys-switch").uncheck()
    press(page, "Escape")
    expect(page.locator("#keys")).to_be_hidden()
    for _ in range(2):  # here, and after the server has told the page
        press(page, "j ?")
        expect(page.locator("#keys")).to_be_hidden()
        expect(page.locator(".row-title:focus")).to_have_count(0)
        page.reload()
    assert not Preference.objects.get(viewer=alice).keys
    # a key with Ctrl is no single key
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()


def test_buttons_name_their_key(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    press(page, "j o")
    expect(page.locator("#reading-pane h1")).to_be_focused()
    named = page.eval_on_selector_all("[data-key]", "all => all.map(one => [one.dataset.key, one.title || one.getAttribute('aria-label')])")
    assert len(named) > 10
    assert not [pair for pair in named if f"({pair[0]})" not in pair[1]]


def test_no_key_works_in_a_field(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    press(page, "/")
    page.keyboard.type("xj")
    expect(page.locator("#q")).to_have_value("xj")
    expect(page.locator("#q")).to_be_focused()
    assert not ReadMark.objects.exists()


def test_the_palette_by_keyboard(page: Page, live_server: Any, runs: list[Session], cast: SimpleNamespace) -> None:
    make_session(user_id="charlie", key="secret", title="Night run of somebody else")
    page.goto(f"{live_server.url}/costs/")
    page.keyboard.press("Control+k")
    field, options = page.locator("#palette-input"), page.locator('#palette-choices [role="option"]')
    expect(field).to_be_focused()
    expect(options.first).to_have_attribute("aria-selected", "true")
    # up from the first is the last; the input names the option
    page.keyboard.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", options.last.get_attribute("id") or "")
    page.keyboard.type("night run 3")
    expect(options.first).to_contain_text("Night run 3")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(str(runs[3].pk)))
    # an id, an action on the session in sight, and nothing of somebody else's
    page.keyboard.press("Control+k")
    page.keyboard.type(str(runs[2].pk))
    expect(options.first).to_contain_text("Night run 2")
    field.fill("somebody")
    expect(page.locator("#palette-said")).to_contain_text("Nothing has this name")
    expect(options).to_have_count(1)
    field.fill("archive")
    expect(options.first).to_contain_text("Archive")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("Archived.")
    runs[3].refresh_from_db()
    assert runs[3].is_archived


def test_the_palette_says_when_the_site_is_away_and_gives_the_focus_back(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    press(page, "j")
    page.route("**/go/**", lambda route: route.abort())
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-said")).to_contain_text("cannot be reached")
    page.keyboard.press("Escape")
    expect(title(page, 0)).to_be_focused()
    page.complaints.clear()  # type: ignore[attr-defined]  # Chromium reports the aborted request itself


def test_without_script_the_palette_is_a_page(new_context: Any, live_server: Any, runs: list[Session], cast: SimpleNamespace) -> None:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    context = new_context(java_script_enabled=False)
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value, "url": live_server.url}]
    )
    page = context.new_page()
    page.goto(f"{live_server.url}/go/")
    page.locator("#go-q").fill("run 2")
    page.get_by_role("button", name="Find").click()
    page.locator(".choices a", has_text="Night run 2").click()
    expect(page.locator("h1")).to_have_text("Night run 2")
    # the look, too
    page.get_by_role("button", name="Account").or_(page.locator("#rail-account")).first.click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("h1")).to_have_text("Night run 2")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_theme_and_density_are_kept_for_the_person(page: Page, live_server: Any, runs: list[Session], alice: Any) -> None:
    page.goto(f"{live_server.url}/sessions/")
    page.locator("#rail-account").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("#rail-account").click()
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Compact").click()
    expect(page.locator("html")).to_have_attribute("data-density", "compact")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    kept = Preference.objects.get(viewer=alice)
    assert (kept.theme, kept.density) == ("dark", "compact")
    page.goto(f"{live_server.url}/sessions/not-there/")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.complaints[:] = [line for line in page.complaints if "404" not in line]  # type: ignore[attr-defined]


def test_a_hover_fetches_once_what_the_click_shows(page: Page, live_server: Any, runs: list[Session]) -> None:
    page.goto(f"{live_server.url}/sessions/")
    with page.expect_response(lambda response: str(runs[2].pk) in response.url) as preloaded:
        title(page, 2).hover()
    assert "max-age=10" in preloaded.value.headers["cache-control"]
    assert not ReadMark.objects.exists(), "a GET marks nothing"
    title(page, 2).click()
    expect(page.locator("#reading-pane h1")).to_have_text("Night run 2")
    sizes = page.evaluate(
        "path => performance.getEntriesByType('resource').filter(one => new URL(one.name).pathname === path).map(one => one.transferSize)",
        f"/sessions/{runs[2].pk}/",
    )
    assert len(sizes) == 2
    assert sizes[0] > 0
    assert sizes[1] == 0, "the click was answered from the browser's own store"
