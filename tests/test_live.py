"""What an open page asks every few seconds: one statement and 204 while nothing happens, and only what changed for this viewer when something did."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from sessions_app import services
from sessions_app.queries import live as live_queries
from sessions_app.views import live
from tests.factories import T0, at, make_session, make_usage

pytestmark = pytest.mark.django_db


class Tab:
    """A page that is open in a browser: it keeps its token and asks with it, as live.js does."""

    def __init__(self, user: Any, path: str = "/sessions/") -> None:
        self.client = Client()
        self.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        page = self.client.get(path).content.decode()
        found = re.search(r'id="live-list" data-url="([^"]*)" data-token="([^"]*)"', page)
        self.url, self.token = (found[1].replace("&amp;", "&"), found[2]) if found else ("/sessions/live/?only=counts", "")

    def ask(self) -> Any:
        response = self.client.get(self.url, headers={"HX-Request": "true", "Live-Token": self.token})
        self.token = response.headers.get("Live-Token", self.token)
        return response

    def settle(self) -> None:
        """Ask until nothing is new."""
        for _ in range(4):
            if self.ask().status_code == 204 and self.ask().status_code == 204:
                return
        raise AssertionError("it never comes to rest")


def arrived(response: Any) -> list[str]:
    """The ids of the rows that came in."""
    part = response.content.decode().partition("</ol>")[0]
    return re.findall(r'id="session-([0-9a-f-]{36})"', part)


def changed(response: Any) -> list[str]:
    """The ids of the rows that are to be brought up to date."""
    part = response.content.decode().partition("</ol>")[2]
    return re.findall(r'id="session-([0-9a-f-]{36})"', part)


@pytest.fixture(autouse=True)
def clock() -> Any:
    """The clock stands, so that no page looks again by itself in the middle of a test."""
    with time_machine.travel(at(600), tick=False) as travel:
        yield travel


# --- what it costs


@pytest.mark.parametrize("who", ["alice", "bob", "charlie"])
@pytest.mark.parametrize("path", ["/sessions/", "/sessions/?status=all&read=unread&channel=main", "/sessions/?q=run&sort=cost", "/costs/"])
def test_unchanged_is_one_query_beside_the_sign_in(
    cast: SimpleNamespace, who: str, path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        make_session(key=f"k{number}", messages=2)
    tab = Tab(getattr(cast, who), path)
    tab.settle()
    with django_assert_num_queries(3) as queries:
        response = tab.ask()
    assert response.status_code == 204
    assert not response.content
    assert "Live-Token" not in response.headers
    assert "django_session" in queries[0]["sql"]
    assert "auth_user" in queries[1]["sql"]


def test_the_one_query_uses_indexes_alone(alice: Any, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    shown = [make_session(key=f"k{number}", messages=2).pk for number in range(60)][:50]
    with CaptureQueriesContext(
        connection,
    ) as caught:
        live_queries.pulse(alice, shown, now=T0)
    (asked,) = caught.captured_queries
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {asked['sql']}")
            steps = [row[3] for row in cursor.fetchall()]
            on_tables = [step for step in steps if "sessions_app" in step or re.search(r"\b[sm]\b", step)]
            scans = [
                step
                for step in on_tables
                if not step.startswith("SEARCH") and "USING COVERING INDEX" not in step and "ORDER BY" not in step
            ]
            assert not scans, steps
        else:
            cursor.execute("SET LOCAL enable_seqscan = off")  # the tables of a test are too small for an index to pay
            cursor.execute(f"EXPLAIN {asked['sql']}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan" not in plan, plan
            assert plan.count("Index") >= 7, plan


def test_a_change_costs_the_same_for_many_rows(cast: SimpleNamespace) -> None:
    def cost(rows: int) -> int:
        sessions = [make_session(key=f"{rows}-{number}", messages=1) for number in range(rows)]
        tab = Tab(cast.alice)
        tab.settle()
        for session in sessions:
            services.save_message(session.pk, "assistant", "more", timestamp=at(400), now=at(400))
        with CaptureQueriesContext(connection) as caught:
            assert len(changed(tab.ask())) >= rows
        return len(caught)

    assert cost(5) == cost(15)


# --- what it tells


def test_a_new_session_arrives_and_a_shown_one_is_brought_up_to_date(alice: Any) -> None:
    shown = make_session(key="shown", messages=2)
    tab = Tab(alice)
    tab.settle()
    services.save_message(shown.pk, "assistant", "more", timestamp=at(300), now=at(300))
    new = make_session(key="new", now=at(500), messages=1)
    response = tab.ask()
    assert response.status_code == 200
    assert arrived(response) == [str(new.pk)]
    assert changed(response) == [str(shown.pk)]
    assert "3 msg" in response.content.decode()
    tab.settle()


def test_nothing_is_lost_between_the_page_and_its_first_question(alice: Any) -> None:
    make_session(key="shown", messages=2)
    tab = Tab(alice)
    new = make_session(key="new", now=at(500), messages=1)
    assert arrived(tab.ask()) == [str(new.pk)]


def test_history_with_old_timestamps_is_news_where_the_list_shows_it(alice: Any) -> None:
    make_session(key="shown", now=at(), messages=2)
    inbox, closed = Tab(alice), Tab(alice, "/sessions/?status=closed")
    inbox.settle()
    closed.settle()
    old = make_session(key="old", now=at(days=-300), messages=1)
    assert arrived(inbox.ask()) == [str(old.pk)]
    assert not arrived(closed.ask())


def test_what_moves_up_from_below_is_not_new(alice: Any) -> None:
    sessions = [make_session(key=f"k{number}", now=at(number), messages=1) for number in range(live.WINDOW + 10)]
    tab = Tab(alice)
    tab.settle()
    services.archive_session(sessions[-1].pk, now=at(500))
    response = tab.ask()
    assert not arrived(response)
    assert str(sessions[-1].pk) in changed(response)
    tab.settle()
    new = make_session(key="new", now=at(500), messages=1)
    assert arrived(tab.ask()) == [str(new.pk)]


def test_what_left_the_list_is_told_as_what_it_is_now(alice: Any) -> None:
    session = make_session(messages=1)
    make_session(key="other", messages=1)
    tab = Tab(alice)
    tab.settle()
    services.archive_session(session.pk, now=at(500))
    response = tab.ask()
    assert changed(response) == [str(session.pk)]
    assert 'title="Archived"' in response.content.decode()


@pytest.mark.parametrize(
    "change",
    [
        lambda session, viewer: services.close_session(session.pk, "done", now=at(500)),
        lambda session, viewer: services.mark_read(session.pk, False, viewer=viewer, now=at(500)),
        lambda session, viewer: make_usage(session, when=at(500)),
        lambda session, viewer: services.touch_session(session.pk, now=at(500)),
        lambda session, viewer: services.rename_session(session.pk, "Another name"),
        lambda session, viewer: services.set_tags(session.pk, ["urgent"]),
    ],
    ids=["closed", "marked unread in another tab", "a model call", "touched", "renamed", "tagged"],
)
def test_every_change_of_a_shown_row_is_told(alice: Any, change: Any) -> None:
    session = make_session(messages=2)
    tab = Tab(alice)
    tab.settle()
    change(session, alice)
    assert changed(tab.ask()) == [str(session.pk)]
    tab.settle()


def test_the_counts_come_along_on_a_page_without_a_list(alice: Any) -> None:
    tab = Tab(alice, "/costs/")
    tab.settle()
    make_session(key="cron", triggered_by="nightly", messages=2)
    response = tab.ask()
    assert response.status_code == 200
    assert not arrived(response) + changed(response)
    assert re.search(r'id="unread-count"[^>]*>1<', response.content.decode())


def test_a_later_page_keeps_its_rows_fresh_and_announces_nothing(alice: Any) -> None:
    sessions = [make_session(key=f"k{number}", now=at(number), messages=1) for number in range(live.WINDOW + 2)]
    first = Client()
    first.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    after = re.search(r'href="(/sessions/\?[^"]*after=[^"]*)"', first.get("/sessions/").content.decode())
    assert after
    tab = Tab(alice, after[1].replace("&amp;", "&"))
    tab.settle()
    services.close_session(sessions[0].pk, "done", now=at(500))
    make_session(key="new", now=at(500), messages=1)
    response = tab.ask()
    assert not arrived(response)
    assert changed(response) == [str(sessions[0].pk)]


def test_it_looks_again_by_itself_after_a_while(alice: Any, clock: Any, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    make_session(messages=1)
    hidden = make_session(key="hidden", messages=1)
    services.archive_session(hidden.pk, now=at(1))
    tab = Tab(alice)
    tab.settle()
    services.archive_session(hidden.pk, False)  # by somebody else, and not on the page
    assert tab.ask().status_code == 204
    clock.shift(live_queries.LOOK_AGAIN_SECONDS)
    assert arrived(tab.ask()) == [str(hidden.pk)]


# --- who is told


def test_an_outsider_learns_nothing_of_others_sessions(cast: SimpleNamespace) -> None:
    mine = make_session(key="mine", user_id="charlie", messages=1)
    tab = Tab(cast.charlie)
    tab.settle()
    theirs = make_session(key="theirs", user_id="alice", triggered_by="nightly", messages=2, title="Secret plans")
    response = tab.ask()
    assert response.status_code == 204
    assert str(theirs.pk) not in response.content.decode()
    # a colleague who sees all does
    assert not arrived(Tab(cast.bob).ask())
    services.save_message(mine.pk, "assistant", "more", now=at(500))
    assert changed(tab.ask()) == [str(mine.pk)]


def test_a_token_is_good_for_its_viewer_alone(cast: SimpleNamespace) -> None:
    session = make_session(user_id="alice", messages=1)
    alices = Tab(cast.alice)
    assert live.Shown.of(alices.token, cast.alice).rows.keys() == {session.pk}
    assert live.Shown.of(alices.token, cast.charlie) == live.Shown()
    for broken in ("", "x", alices.token[:-1], "a" + alices.token, "\x00:\xff"):
        assert live.Shown.of(broken, cast.alice) == live.Shown()
    # one who may no longer see a session that the token names is told no more of it
    tab = Tab(cast.bob)
    tab.settle()
    cast.bob.user_permissions.clear()
    services.save_message(session.pk, "user", "seventy-seven", now=at(500))
    response = tab.ask()
    assert not arrived(response) + changed(response)
    assert not live.Shown.of(tab.token, cast.bob).rows


def test_signed_out_the_page_is_sent_to_the_door(alice: Any) -> None:
    tab = Tab(alice)
    tab.client.logout()
    response = tab.ask()
    assert response.headers["HX-Redirect"].startswith("/signin/")


def test_a_token_fits_into_a_header(alice: Any) -> None:
    shown = live.Shown(rows={uuid4(): bytes(4) for _ in range(500)})
    assert len(shown.signed(alice)) < 4000
    assert len(live.Shown.of(shown.signed(alice), alice).rows) == live.MAX_ROWS


def test_the_clock_is_part_of_the_pulse_and_nothing_is_kept(alice: Any) -> None:
    one = live_queries.pulse(alice, [], now=T0)
    assert one == live_queries.pulse(alice, [], now=T0 + timedelta(seconds=1))
    assert one != live_queries.pulse(alice, [], now=T0 + timedelta(seconds=live_queries.LOOK_AGAIN_SECONDS))
