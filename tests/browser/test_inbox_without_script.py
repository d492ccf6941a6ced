"""Every action of the inbox with JavaScript off: links, forms and popovers alone."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from playwright.sync_api import Page, expect

from sessions_app import services
from sessions_app.models import Action, Preference, SavedView, Session
from tests.factories import make_session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def plain(new_context: Any, live_server: Any, cast: SimpleNamespace) -> Page:
    """A page without script, on which alice is signed in."""
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    context = new_context(java_script_enabled=False, viewport={"width": 1440, "height": 1000})
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": client.cookies[settings.SESSION_COOKIE_NAME].value, "url": live_server.url}]
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    return page


@pytest.fixture
def store(cast: SimpleNamespace) -> list[Session]:
    """Six sessions of alice's, newest first: the first three unread, by two agents."""
    made = []
    for number in range(6):
        when = timezone.now() - timedelta(minutes=5 * number + 5)
        session = make_session(
            key=f"k{number}",
            title=f"Run {number}",
            now=when,
            triggered_by="nightly" if number < 3 else None,
            agent=("alpha", "beta")[number % 2],
        )
        services.save_message(session.id, "assistant", "done", timestamp=when, now=when)
        made.append(session)
    return made


def titles(page: Page) -> list[str]:
    return page.locator(".row-title").all_text_contents()


def tick(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_role("checkbox", name=f"Select: {name}").check()


def test_paging_sorting_and_filters_are_links(plain: Page, live_server: Any, store: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions_app.views.inbox.PAGE_SIZE", 4)
    plain.goto(f"{live_server.url}/sessions/")
    assert titles(plain) == ["Run 0", "Run 1", "Run 2", "Run 3"]
    plain.get_by_role("link", name="Older").click()
    assert titles(plain) == ["Run 4", "Run 5"]
    plain.get_by_role("link", name="Newest").click()
    plain.get_by_role("button", name="Newest").click()  # the menu of orders opens without script
    plain.get_by_role("link", name="Last started").click()
    assert "sort=started" in plain.url
    plain.get_by_role("link", name="Unread", exact=True).click()
    assert titles(plain) == ["Run 0", "Run 1", "Run 2"]
    plain.get_by_role("link", name="Filter", exact=True).click()
    expect(plain.get_by_role("heading", name="Filters")).to_be_visible()
    plain.locator("#filter-agent summary").click()
    plain.get_by_role("link", name="beta").click()
    assert titles(plain) == ["Run 1"]
    assert {"read=unread", "agent=beta", "sort=started"} <= set(plain.url.partition("?")[2].split("&"))
    plain.get_by_role("link", name="Remove filter: Unread").click()
    assert sorted(titles(plain)) == ["Run 1", "Run 3", "Run 5"]
    plain.get_by_role("link", name="Clear").or_(plain.get_by_role("link", name="Remove filter: Agent beta")).first.click()
    assert len(titles(plain)) == 4


def test_search_dates_and_costs_are_forms(plain: Page, live_server: Any, store: list[Session]) -> None:
    plain.goto(f"{live_server.url}/sessions/?agent=alpha")
    plain.get_by_label("Search sessions").fill("run 2")
    plain.get_by_label("Search sessions").press("Enter")
    assert titles(plain) == ["Run 2"]
    assert "agent=alpha" in plain.url
    plain.get_by_role("link", name="Remove filter: Text").click()
    plain.get_by_role("link", name="Filter", exact=True).click()
    plain.locator("#filter-dates summary").click()
    tomorrow = (timezone.localdate() + timedelta(days=1)).isoformat()
    plain.get_by_label("From", exact=True).fill(tomorrow)
    plain.locator("#filter-dates").get_by_role("button", name="Apply").click()
    assert titles(plain) == []
    assert f"since={tomorrow}" in plain.url
    expect(plain.get_by_text("No session matches")).to_be_visible()
    plain.goto(f"{live_server.url}/sessions/filters/?agent=alpha")
    plain.locator("#filter-cost summary").click()
    plain.get_by_label("From, USD").fill("0.5")
    plain.locator("#filter-cost").get_by_role("button", name="Apply").click()
    expect(plain.locator(".chip", has_text="$0.50 or more")).to_be_visible()
    assert "agent=alpha" in plain.url


def test_one_row_read_unread_archive_undo(plain: Page, live_server: Any, store: list[Session]) -> None:
    plain.goto(f"{live_server.url}/sessions/?agent=alpha")
    row = plain.locator(".session-row", has_text="Run 0")
    row.hover()
    row.get_by_role("button", name="Mark read").click()
    expect(plain.locator(".toast")).to_contain_text("Marked read")
    assert "agent=alpha" in plain.url
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator(".toast")).to_contain_text("Undone.")
    expect(plain.locator("#unread-count")).to_have_text("3 unread")
    row.hover()
    row.get_by_role("button", name="Archive").click()
    assert titles(plain) == ["Run 2", "Run 4"]
    plain.get_by_role("button", name="Undo").click()
    assert titles(plain) == ["Run 0", "Run 2", "Run 4"]


@pytest.mark.parametrize(
    ("start", "press", "value", "check"),
    [
        ("", "Mark read", None, lambda rows: True),
        ("", "Archive", None, lambda rows: all(row.is_archived for row in rows)),
        ("", "Close", None, lambda rows: all(row.is_closed for row in rows)),
        ("", "Mark unread", None, lambda rows: True),
        ("archived", "Back to the list", None, lambda rows: not any(row.is_archived for row in rows)),
        ("closed", "Reopen", None, lambda rows: not any(row.is_closed for row in rows)),
        ("", "Close with it", ("Summary", "Well done"), lambda rows: all(row.summary == "Well done" for row in rows)),
        ("", "Add", ("Tag", "billing"), lambda rows: all(row.tags == ["billing"] for row in rows)),
        ("tagged", "Remove", ("Tag", "billing"), lambda rows: all(row.tags == [] for row in rows)),
    ],
)  # fmt: skip
def test_every_action_on_a_selection_and_its_undo(
    plain: Page, live_server: Any, store: list[Session], start: str, press: str, value: tuple[str, str] | None, check: Any
) -> None:
    if start:
        when = timezone.now()
        fields: dict[str, Any] = {"archived": {"archived_at": when}, "closed": {"closed_at": when}, "tagged": {"tags": ["billing"]}}[start]
        for one in store[:2]:
            if start == "tagged":
                services.set_tags(one.pk, fields["tags"])
            elif start == "closed":
                services.close_session(one.pk)
            else:
                services.archive_session(one.pk)

    def state() -> list[Any]:
        return list(
            Session.objects.filter(pk__in=[one.pk for one in store])
            .order_by("pk")
            .values_list("archived_at", "closed_at", "summary", "tags")
        )

    before = state()
    plain.goto(f"{live_server.url}/sessions/?status=all")
    tick(plain, "Run 0", "Run 1")
    bar = plain.locator(".bulk-bar")
    expect(bar).to_be_visible()
    button = bar.get_by_role("button", name=press, exact=True)
    if not button.count():
        bar.get_by_role("button", name="More to do").click()
        button = plain.locator("#bulk-more").get_by_role("button", name=press, exact=True)
    if value:
        plain.get_by_label(value[0], exact=True).fill(value[1])
    button.click()
    expect(plain.locator(".toast")).to_be_visible()
    assert "status=all" in plain.url
    assert check(list(Session.objects.filter(pk__in=[one.pk for one in store[:2]])))
    expect(bar).to_be_hidden()  # the selection does not survive what was done with it
    if press != "Mark unread":  # of two that were unread: nothing was changed, so there is nothing to undo
        plain.get_by_role("button", name="Undo").click()
        expect(plain.locator(".toast")).to_contain_text("Undone")
        assert state() == before


def test_everything_that_the_filter_matches(plain: Page, live_server: Any, store: list[Session]) -> None:
    plain.goto(f"{live_server.url}/sessions/?agent=beta")
    plain.get_by_role("checkbox", name="Select all").check()
    expect(plain.get_by_text("All 3 selected")).to_be_visible()
    plain.locator(".bulk-bar").get_by_role("button", name="Archive").click()
    expect(plain.locator(".toast")).to_contain_text("3 sessions archived.")
    assert set(Session.objects.exclude(archived_at=None).values_list("agent", flat=True)) == {"beta"}
    plain.get_by_role("button", name="Undo").click()
    assert not Session.objects.exclude(archived_at=None).exists()
    plain.get_by_role("button", name="Mark all read").click()
    expect(plain.locator("#unread-count")).to_have_text("2 unread")  # those of alpha
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator("#unread-count")).to_have_text("3 unread")


def test_a_long_action_goes_on_by_a_button(plain: Page, live_server: Any, store: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    from sessions_app.services import actions

    monkeypatch.setattr(actions.Pace, "FIRST", 2)
    monkeypatch.setattr(actions.Pace, "MOST", 2)
    monkeypatch.setattr(actions, "monotonic", iter(range(0, 100_000, 100)).__next__)
    plain.goto(f"{live_server.url}/sessions/?status=all")
    plain.get_by_role("checkbox", name="Select all").check()
    plain.locator(".bulk-bar").get_by_role("button", name="Archive").click()
    expect(plain.get_by_role("heading", name="Not finished yet")).to_be_visible()
    plain.get_by_role("button", name="Continue").click()
    plain.get_by_role("link", name="Back to the list").click()  # left: the list offers it again
    plain.get_by_role("button", name="Go on").click()
    expect(plain.locator(".toast")).to_contain_text("6 sessions archived.")
    assert not Session.objects.filter(archived_at=None).exists()
    assert not Action.objects.get().is_running


def test_saved_views(plain: Page, live_server: Any, store: list[Session], cast: SimpleNamespace) -> None:
    cast.alice.user_permissions.add(Permission.objects.get(content_type__app_label="sessions_app", codename="change_session"))
    plain.goto(f"{live_server.url}/sessions/?agent=beta&period=7d")
    plain.get_by_role("button", name="Save", exact=True).click()
    plain.get_by_label("Name", exact=True).fill("Beta's")
    plain.get_by_label("Begin with this view").check()
    plain.locator("#save-menu").get_by_role("button", name="Save").click()
    expect(plain.locator("h1")).to_have_text("Beta's")
    link = plain.locator(".rail").get_by_role("link", name="Beta's")
    assert link.get_attribute("aria-current") == "page"
    expect(link).to_contain_text("1 unread")
    assert SavedView.objects.get().fields == {"agent": "beta", "period": "7d"}
    # the site begins there, and the whole inbox is one link away
    plain.goto(f"{live_server.url}/")
    expect(plain.locator("h1")).to_have_text("Beta's")
    plain.locator(".rail").get_by_role("link", name="Inbox").click()
    assert len(titles(plain)) == 6
    expect(plain.locator("h1")).to_have_text("Inbox")
    plain.locator(".rail").get_by_role("link", name="Beta's").click()
    plain.get_by_role("button", name="This view").click()
    plain.get_by_label("Name", exact=True).fill("Betas")
    plain.get_by_role("button", name="Rename").click()
    expect(plain.locator("h1")).to_have_text("Betas")
    plain.get_by_role("button", name="This view").click()
    plain.get_by_role("button", name="Share with everyone").click()
    assert SavedView.objects.get().is_shared
    plain.get_by_role("button", name="This view").click()
    plain.get_by_role("button", name="Begin with the inbox again").click()
    assert Preference.objects.get().default_view is None
    plain.get_by_role("button", name="This view").click()
    plain.get_by_role("button", name="Delete the view").click()
    expect(plain.locator(".rail").get_by_role("link", name="Betas")).to_have_count(0)
    plain.get_by_role("button", name="Undo").click()
    expect(plain.locator(".rail").get_by_role("link", name="Betas")).to_have_count(1)
    # another filter in its place
    plain.goto(f"{live_server.url}/sessions/?agent=alpha")
    plain.get_by_role("button", name="Save", exact=True).click()
    plain.get_by_label("Or in the place of").select_option("Betas")
    plain.locator("#save-menu").get_by_role("button", name="Save").click()
    expect(plain.locator("h1")).to_have_text("Betas")
    assert SavedView.objects.get().fields == {"agent": "alpha"}


def test_a_row_opens_the_page_of_its_session_and_back(plain: Page, live_server: Any, store: list[Session]) -> None:
    plain.goto(f"{live_server.url}/sessions/?agent=alpha")
    plain.get_by_role("link", name="Run 2", exact=True).click()
    expect(plain.locator("#session-title")).to_have_text("Run 2")
    plain.get_by_role("button", name="Mark read").click()
    plain.locator("#back").click()
    assert "agent=alpha" in plain.url
    expect(plain.locator("#unread-count")).to_have_text("2 unread")
