"""The transcript in a real browser: all of a long one scrolled through, jumps to parts not loaded yet, places in the address, the tail, a phone."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sessions_app import services
from sessions_app.events import Event, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Message, Session
from tests.factories import at, make_session

pytestmark = pytest.mark.django_db(transaction=True)

MOST_NODES = 4_000  # of one window
PHONE = {"width": 360, "height": 780}
DESK = {"width": 1440, "height": 900}
CODE = "```python\ndef total(rows):\n    return sum(row.amount for row in rows)  # once\n```"


def long_session(turns: int = 150, helper_at: int = 100) -> Session:
    """A prompt every 25 turns, one call in 30 failed, a long sub-agent at one of them; three messages a turn and more."""
    session = make_session("cli", "long", agent="claude-code", title="A long day")
    events: list[Event] = []
    for number in range(turns):
        moment = at(number)
        response = f"r{number}"
        if number % 25 == 0:
            events.append(MessageEvent(role="user", content=f"Prompt number {number}", timestamp=moment))
        events += [
            MessageEvent(role="assistant", content=f"Step **{number}** comes.\n\n{CODE}", timestamp=moment, response_id=response),
            tool_use(f"c{number}", "Bash", {"command": f"make step-{number}"}, timestamp=moment, response_id=response),
            tool_result(f"c{number}", f"Exit code {number}\nof step {number}", is_error=number % 30 == 29, timestamp=moment),
            UsageEvent(
                model="claude-sonnet-4-5",
                input_tokens=10,
                output_tokens=20,
                cache_read_tokens=1000 * number,
                timestamp=moment,
                response_id=response,
            ),
        ]
        if number == helper_at:
            inside = {"subagent_id": "helper", "timestamp": moment}
            events.append(tool_use("task", "Task", {"description": "Look around"}, timestamp=moment, response_id=response))
            events += [
                MessageEvent(role="assistant", content=f"Inner {n}", extra={"parent_tool_call_id": "task"}, **inside) for n in range(30)
            ]  # type: ignore[arg-type]
            events.append(tool_result("task", "seen", timestamp=moment))
    for number in range(0, len(events), 500):
        assert not services.store_events(session.pk, events[number : number + 500], source="test", now=at(turns)).refused
    return session


@pytest.fixture
def long(cast: SimpleNamespace, sign_in: Any) -> Session:
    sign_in(cast.alice)
    return long_session()


def at_top(page: Page, text: str) -> None:
    """Wait until the element with this text stands in the upper half of the window."""
    page.wait_for_function(
        """text => [...document.querySelectorAll('#entries :is(p, span, summary, td)')].some(one => {
            const box = one.getBoundingClientRect();
            return one.textContent.includes(text) && box.height && box.top >= 0 && box.top < innerHeight / 2;
        })""",
        arg=text,
    )


def open_page(page: Page, live_server: Any, session: Session, query: str = "") -> None:
    page.set_viewport_size(DESK)
    page.goto(f"{live_server.url}{session.get_absolute_url()}{query}")


def test_scrolling_through_all_of_it(page: Page, live_server: Any, long: Session) -> None:
    open_page(page, live_server, long)
    count = """() => [...document.querySelectorAll('#entries > .window')].map(one => one.querySelectorAll('*').length)"""
    seen: list[str] = []
    while True:
        nodes = page.evaluate(count)
        assert max(nodes) < MOST_NODES
        assert len(nodes) <= 6
        for id_ in page.locator("#entries > .window > .turn").evaluate_all("all => all.map(one => one.id)"):
            if id_ not in seen:
                seen.append(id_)
        if page.locator("#tail").count():
            break
        last = page.locator("#entries > .window").last.get_attribute("data-last")
        page.locator("#entries > .is-newer").scroll_into_view_if_needed()
        page.wait_for_function("last => [...document.querySelectorAll('#entries > .window')].at(-1).dataset.last !== last", arg=last)
    turns = [int(id_[1:]) for id_ in seen]
    assert turns == sorted(turns)
    assert len(turns) == 150 + 6
    # back up: what had gone comes again, and what is read stays where it is
    while page.locator("#entries > .is-older").count():
        first = page.locator("#entries > .window").first.get_attribute("data-first")
        page.evaluate("document.querySelector('.page').scrollTop = 0")
        page.wait_for_function("first => document.querySelector('#entries > .window').dataset.first !== first", arg=first)
        assert len(page.evaluate(count)) <= 6
    expect(page.locator(f"#{seen[0]}")).to_have_count(1)


def test_what_is_read_stays_when_something_comes_before_it(page: Page, live_server: Any, long: Session) -> None:
    middle = Message.objects.get(content__startswith="Step **75**")
    open_page(page, live_server, long, f"?at={middle.pk}")
    at_top(page, "Step 75")
    where = f"document.getElementById('m{middle.pk}').getBoundingClientRect().top"
    windows = page.locator("#entries > .window").count()
    # a little up, so that the link to what comes before is in view
    page.evaluate("document.querySelector('.is-older').scrollIntoView()")
    before = page.evaluate(where)
    page.wait_for_function("count => document.querySelectorAll('#entries > .window').length > count", arg=windows)
    page.wait_for_function(f"top => Math.abs({where} - top) < 200", arg=before)


def test_keys_jump_to_parts_not_loaded_yet(page: Page, live_server: Any, long: Session) -> None:
    open_page(page, live_server, long)
    expect(page.locator(".outline [data-marks=prompts] a")).to_have_count(6)
    for number in (0, 25, 50, 75, 100, 125):
        page.keyboard.press("n")
        at_top(page, f"Prompt number {number}")
        expect(page.locator(".outline [data-marks=prompts] a[aria-current]")).to_contain_text(f"Prompt number {number}")
        assert re.search(r"#m\d+$", page.url)
    page.keyboard.press("p")
    at_top(page, "Prompt number 100")
    page.keyboard.press("f")
    at_top(page, "make step-119")
    expect(page.locator(".tool-call.is-failed summary:focus")).to_contain_text("make step-119")
    # the address leads there again
    url = page.url
    page.goto("about:blank")
    page.goto(url)
    at_top(page, "make step-119")


def test_outline_and_chart_lead_anywhere(page: Page, live_server: Any, long: Session) -> None:
    open_page(page, live_server, long)
    page.locator(".outline a", has_text="Prompt number 125").click()
    at_top(page, "Prompt number 125")
    page.evaluate("window.here = true")
    page.locator(".outline .turns a").nth(20).press("Enter")
    expect(page.locator('#entries .turn[aria-label="Turn 61"]')).to_be_visible()
    assert page.evaluate("window.here")
    page.locator(".outline a", has_text="Look around").click()
    page.locator(".subagent-fold > summary").click()
    expect(page.locator(".subagent")).to_contain_text("Inner 29")


def test_search_goes_through_the_session(page: Page, live_server: Any, long: Session) -> None:
    open_page(page, live_server, long)
    page.locator("#find").fill("of step 14")
    page.keyboard.press("Enter")
    expect(page.locator(".find-line")).to_contain_text("1 of 11 messages")
    expect(page.locator(".tool-call[open] mark").first).to_have_text("of step 14")
    page.locator("#find").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".find-line")).to_contain_text("2 of 11")
    expect(page.locator(".tool-call pre", has_text="of step 140")).to_be_in_viewport()
    page.locator("[data-find=previous]").click()
    expect(page.locator(".find-line")).to_contain_text("1 of 11")
    page.get_by_label("End the search").click()
    expect(page.locator(".find-line")).to_have_count(0)


def test_modes_are_links_and_places_lead_back(page: Page, live_server: Any, long: Session) -> None:
    open_page(page, live_server, long)
    page.get_by_role("link", name="Errors", exact=True).click()
    expect(page.locator("#entries .tool-call")).to_have_count(5)
    assert page.url.endswith("?show=errors")
    page.locator("#entries .turn-mark a").nth(2).click()
    at_top(page, "make step-89")
    page.go_back()
    expect(page.locator("#entries .tool-call")).to_have_count(5)


def test_the_tail_follows_who_is_there(page: Page, live_server: Any, cast: SimpleNamespace, sign_in: Any) -> None:
    sign_in(cast.alice)
    session = long_session(30)
    open_page(page, live_server, session, "?at=end")
    expect(page.locator("#tail")).to_be_in_viewport()

    def say(number: int) -> None:
        when = at(100 + number)
        events = [MessageEvent(role="assistant", content=f"News {number}\n\n{CODE * 9}", timestamp=when, response_id=f"n{number}")]
        services.store_events(session.pk, events, source="test", now=when)
        page.evaluate("htmx.trigger('#tail', 'tail')")
        expect(page.locator("#entries")).to_contain_text(f"News {number}")

    say(1)
    expect(page.locator("#tail")).to_be_in_viewport()
    page.evaluate("document.querySelector('.page').scrollTop -= 600")
    held = page.evaluate("document.querySelector('.page').scrollTop")
    say(2)
    assert page.evaluate("document.querySelector('.page').scrollTop") == held
    services.close_session(session.pk, "done")
    page.evaluate("htmx.trigger('#tail', 'tail')")
    expect(page.locator("#tail")).to_contain_text("Closed: done")
    expect(page.locator("#tail[data-tail]")).to_have_count(0)


def test_a_result_that_comes_later_is_drawn_in_its_call(page: Page, live_server: Any, cast: SimpleNamespace, sign_in: Any) -> None:
    sign_in(cast.alice)
    session = make_session(messages=1)
    services.store_events(session.pk, [tool_use("c1", "Bash", {"command": "sleep"}, timestamp=at(2))], source="test", now=at(2))
    open_page(page, live_server, session)
    expect(page.locator(".tool-call")).to_contain_text("no result")
    services.store_events(session.pk, [tool_result("c1", "slept", timestamp=at(3))], source="test", now=at(3))
    page.evaluate("htmx.trigger('#tail', 'tail')")
    expect(page.locator(".tool-call")).to_contain_text("ok")
    expect(page.locator(".tool-call")).to_have_count(1)


def test_in_the_reading_pane(page: Page, live_server: Any, long: Session) -> None:
    page.set_viewport_size(DESK)
    page.goto(f"{live_server.url}/sessions/?status=all")
    page.locator(".row-title").first.click()
    expect(page.locator("#reading-pane h1")).to_have_text("A long day")
    assert "status=all" in page.url
    expect(page.locator("#outline")).to_be_hidden()
    page.keyboard.press("n")
    page.keyboard.press("n")
    at_top(page, "Prompt number 25")
    page.keyboard.press("n")
    at_top(page, "Prompt number 50")
    page.get_by_role("button", name="Outline").click()
    page.locator("#outline a", has_text="Prompt number 125").click()
    expect(page.locator("#outline")).to_be_hidden()
    at_top(page, "Prompt number 125")
    page.get_by_role("link", name="Conversation").click()
    expect(page.locator("#reading-pane .segmented [aria-current]")).to_have_text("Conversation")
    expect(page.locator(".list-pane")).to_be_visible()


def test_without_script(browser: Any, live_server: Any, cast: SimpleNamespace, context: Any, long: Session) -> None:
    plain = browser.new_context(java_script_enabled=False, viewport=DESK)
    plain.add_cookies(context.cookies())
    page = plain.new_page()
    page.goto(f"{live_server.url}{long.get_absolute_url()}")
    page.get_by_role("link", name="Show what comes next").click()
    expect(page.get_by_role("link", name="Show what comes before")).to_be_visible()
    page.locator(".outline a", has_text="Prompt number 100").click()
    expect(page.locator("#entries")).to_contain_text("Prompt number 100")
    page.locator(".subagent-fold > summary").first.evaluate("one => one.closest('.tool-call').open = true")
    page.goto(f"{live_server.url}{long.get_absolute_url()}?thread=helper")
    expect(page.locator("#entries")).to_contain_text("Inner 29")
    page.goto(f"{live_server.url}{long.get_absolute_url()}")
    page.locator("#find").fill("Step **99**")
    page.locator("#find").press("Enter")
    expect(page.locator(".find-line")).to_contain_text("1 of 1 message")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_role("button", name="Reopen")).to_be_visible()
    plain.close()


@pytest.mark.parametrize(
    ("size", "query"),
    [
        (DESK, ""),
        (DESK, "?show=errors"),
        (DESK, "?find=step"),
        (DESK, "?thread=helper"),
        ({"width": 900, "height": 800}, ""),
        (PHONE, ""),
        (PHONE, "?find=of step 8"),
    ],
)
def test_axe_in_light_and_dark(
    page: Page, live_server: Any, cast: SimpleNamespace, sign_in: Any, assert_accessible: Any, size: Any, query: str
) -> None:
    sign_in(cast.alice)
    session = long_session(32, helper_at=10)
    page.set_viewport_size(size)
    page.goto(f"{live_server.url}{session.get_absolute_url()}{query}")
    if query == "":
        for fold in page.locator(".subagent-fold > summary").all():
            fold.evaluate(
                "one => { for (let fold = one.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true; }"
            )
        expect(page.locator(".subagent").first).to_contain_text("Inner 29")
    assert_accessible(page)


def test_a_phone_has_it_all(page: Page, live_server: Any, long: Session) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{live_server.url}{long.get_absolute_url()}")
    for name in ("Close", "Archive", "Outline", "Export"):
        expect(page.locator(".toolbar").get_by_role("button", name=name)).to_be_in_viewport()
    expect(page.get_by_role("link", name="Back to the list")).to_be_in_viewport()
    page.get_by_role("button", name="Outline").click()
    page.locator("#outline a", has_text="Prompt number 100").click()
    at_top(page, "Prompt number 100")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function("() => document.querySelectorAll('#entries > .window').length > 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_by_keyboard_alone(page: Page, live_server: Any, long: Session) -> None:
    open_page(page, live_server, long)
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.press("Tab")
    for _ in range(12):
        focused = page.evaluate("document.activeElement.closest('#entries')?.id ?? ''")
        if focused:
            break
        page.keyboard.press("Tab")
    assert focused == "entries"
    page.keyboard.press("n")
    page.keyboard.press("f")
    expect(page.locator(".tool-call.is-failed summary:focus")).to_contain_text("make step-29")
    page.keyboard.press("Enter")
    expect(page.locator(".tool-call.is-failed:has(summary:focus)")).not_to_have_attribute("open", "")
    page.keyboard.press("u")
    page.wait_for_url("**/sessions/?*")


def test_title_and_tags_in_place(page: Page, live_server: Any, long: Session) -> None:
    open_page(page, live_server, long)
    page.evaluate("window.here = true")
    page.get_by_text("Title and tags").click()
    page.get_by_label("Title", exact=True).fill("Another name")
    page.get_by_label("Tags, parted by commas").fill("one, two")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("Another name")
    expect(page.locator(".byline")).to_contain_text("two")
    page.locator("#session-close-button").click()
    expect(page.locator("#session-close-button")).to_contain_text("Reopen")
    expect(page.locator(".byline")).to_contain_text("Closed")
    assert page.evaluate("window.here")
