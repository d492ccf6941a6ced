"""The list of sessions: every filter alone and with others, against a plain condition; pages that neither repeat nor skip; a constant number of queries."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sessions_app import day_rows, queries, services, session_groups
from sessions_app.day_rows import day_start
from sessions_app.errors import SessionAlreadyOpen
from sessions_app.events import tool_result
from sessions_app.models import ReadMark, ReadWatermark, Session, SessionCount, SessionGroup, SessionHome, SessionTag
from sessions_app.queries import SessionFilter, session_list
from sessions_app.queries.sessions import SORT_COLUMNS, matching
from tests.factories import T0, at, change_rows, make_session, make_user

pytestmark = pytest.mark.django_db

NOW = at(days=20)
MODELS = ("claude-sonnet-4-5", "gpt-5-mini", "claude-3-opus", "")
CHANNELS = ("main", "cli", "slack", "email")
AGENTS = ("codex", "bot", "")
USERS = ("alice", "bob", "carol")
PROJECTS = ("shop", "blog", "")
TRIGGERS = (None, None, "nightly", "weekly", "__heartbeat__")
TAGS = ("red", "green", 'a "b"')


def store(count: int, *, seed: int = 1, days: int = 20) -> list[Session]:
    """Sessions of every kind, spread over some days; some of them at the same moment."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        started = T0 + timedelta(minutes=rng.randrange(days * 24 * 4) * 15)
        ran = rng.choice([timedelta(0), timedelta(minutes=30), timedelta(hours=5), timedelta(days=2), timedelta(days=9)])
        session = make_session(
            rng.choice(CHANNELS), f"{seed}.{number}", user_id=rng.choice(USERS), triggered_by=rng.choice(TRIGGERS), now=started
        )
        made.append(session)
        ended = started + ran
        state = rng.choice(["open", "open", "closed", "archived"])
        change_rows(
            Session.objects.filter(pk=session.pk),
            agent=rng.choice(AGENTS),
            project=rng.choice(PROJECTS),
            model=rng.choice(MODELS),
            last_message_at=ended,
            title=rng.choice(["Tax return", "Über 100 %", "a_b", ""]),
            summary=rng.choice(["", "taxes paid"]),
            closed_at=ended if state == "closed" else None,
            archived_at=ended if state == "archived" else None,
            unread_since=rng.choice([None, ended, at(days=rng.randrange(days))]),
            error_count=rng.choice([0, 0, 3]),
            message_count=rng.randrange(6),
            cost_usd=rng.choice([Decimal(0), Decimal("0.000000001"), Decimal("0.25"), Decimal(2)]),
            tags=rng.sample(TAGS, rng.choice([0, 0, 1, 2])),
        )
    return made


FILTERS = st.builds(
    SessionFilter,
    status=st.sampled_from(queries.STATUSES),
    unread=st.sampled_from([None, None, None, True, False]),
    channel=st.sampled_from(["", "", "", *CHANNELS]),
    user_id=st.sampled_from(["", "", "", *USERS, "nobody"]),
    agent=st.sampled_from(["", "", "", "codex"]),
    project=st.sampled_from(["", "", "", "shop"]),
    model=st.sampled_from(["", "", "", *MODELS]),
    trigger=st.sampled_from(["", "", "", "person", "cron", "heartbeat", "cron:nightly", "cron:unknown"]),
    has_errors=st.sampled_from([None, None, None, True, False]),
    cost_min=st.sampled_from([None, None, None, Decimal("0.000000001"), Decimal(1)]),
    cost_max=st.sampled_from([None, None, None, Decimal("0.25")]),
    since=st.sampled_from([None, None, date(2026, 9, 5), date(2026, 9, 12)]),
    until=st.sampled_from([None, None, date(2026, 9, 8), date(2026, 9, 13)]),
    tag=st.sampled_from(["", "", "", *TAGS, "blue"]),
    text=st.sampled_from(["", "", "", "TAX", "%", "_b", "1"]),
    sort=st.sampled_from(queries.SORTS),
)


def expected(filter: SessionFilter, viewer: User | None) -> list[Any]:
    """The ids that the plain condition gives, in the order of the filter's sort."""
    column = SORT_COLUMNS[filter.sort]
    return list(matching(filter, viewer=viewer, now=NOW).order_by(f"-{column}", "-pk").values_list("pk", flat=True))


def pages(filter: SessionFilter, viewer: User | None, limit: int) -> Iterator[Session]:
    """Every row, page after page, and beyond where a bounded search stops."""
    after: str | None = None
    for _ in range(1000):
        page = queries.session_page(filter, viewer=viewer, after=after, limit=limit, now=NOW)
        yield from page.rows
        assert page.next_cursor is None or page.searched_to is None
        after = page.next_cursor or page.searched_to
        if after is None:
            return
    raise AssertionError("the pages have no end")


@pytest.fixture
def viewers() -> dict[str, User | None]:
    """Nobody; one who sees all and marked nothing; one with marks; one with a watermark and marks; one who sees only her own, with marks."""
    store(60)
    found: dict[str, User | None] = {"system": None, "staff": make_user("staff", staff=True)}
    rng = random.Random(2)
    for name, staff, watermark in (("marks", True, False), ("watermark", True, True), ("alice", False, False)):
        viewer = found[name] = make_user(name, staff=staff)
        if watermark:
            ReadWatermark.objects.create(viewer=viewer, at=at(days=9))
        for session in rng.sample(list(Session.objects.order_by("pk")), 25):
            ReadMark.objects.create(viewer=viewer, session=session, at=at(days=rng.randrange(20)), is_unread=rng.random() < 0.4)
    return found


LIMITS = {
    "as it is": {},
    "everything is frequent": {"GATHER": 0, "LARGEST_GROUPS": 3},
    "walks are short": {"GATHER": 0, "WALK": 5, "LARGEST_GROUPS": 2},
    "searches are short": {"GATHER": 0, "DRIVE": 4, "WALK": 3, "SCAN_LIMIT": 7},
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_any_filter_finds_what_its_plain_condition_finds_page_after_page(
    viewers: dict[str, User | None], limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(session_list, name, value)

    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        max_examples=settings().max_examples * 2,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(FILTERS, st.sampled_from(sorted(viewers)), st.integers(1, 20))
    def check(filter: SessionFilter, who: str, limit: int) -> None:
        viewer = viewers[who]
        rows = list(pages(filter, viewer, limit))
        found, wanted = [row.pk for row in rows], expected(filter, viewer)
        if limits.get("SCAN_LIMIT") and filter.sort != "activity":
            assert sorted(found) == sorted(wanted)  # in order within each stretch that is looked at
        else:
            assert found == wanted
        if filter.unread is not None:
            assert {row.unread for row in rows} <= {filter.unread}  # type: ignore[attr-defined]
        total = queries.session_total(filter, viewer=viewer, now=NOW)
        assert total.count == len(wanted) if total.is_exact else total.count <= len(wanted)
        batch, after, ids = None, None, []
        while batch is None or after:
            batch = queries.matching_ids(filter, viewer=viewer, after=after, limit=limit, now=NOW)
            ids += batch.ids
            after = batch.next_cursor
        assert sorted(ids) == sorted(wanted)

    check()


# --- each filter by hand ------------------------------------------------------------------------------------------------------------------


def titles(viewer: User | None = None, **wanted: Any) -> list[str]:
    rows = queries.session_page(SessionFilter(**{"status": "all", **wanted}), viewer=viewer, now=NOW).rows
    return [row.key for row in rows]


def test_dates_find_what_overlaps_them_to_the_moment() -> None:
    def ran(key: str, began: str, ended: str) -> None:
        change_rows(
            Session.objects.filter(pk=make_session(key=key).pk),
            created_at=datetime.fromisoformat(f"2026-09-{began}+00:00"),
            last_message_at=datetime.fromisoformat(f"2026-09-{ended}+00:00"),
        )

    ran("before", "06T10:00", "06T23:59:59.999999")
    ran("to the first moment", "01T10:00", "07T00:00")
    ran("within", "07T10:00", "07T10:00:05")
    ran("from the last moment", "07T23:59:59.999999", "08T00:30")
    ran("all week", "01T00:00", "13T00:00")
    ran("after", "08T00:00", "08T00:00")
    tuesday = ["all week", "from the last moment", "within", "to the first moment"]
    assert titles(since=date(2026, 9, 7), until=date(2026, 9, 8)) == tuesday
    assert titles(since=date(2026, 9, 7)) == ["all week", "from the last moment", "after", "within", "to the first moment"]
    assert titles(until=date(2026, 9, 7)) == ["all week", "to the first moment", "before"]
    assert titles(since=date(2026, 9, 8), until=date(2026, 9, 7)) == ["all week"]  # nonsense, and still what was going on around it


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York", "Pacific/Apia"])
def test_dates_are_days_of_the_business_time_zone(zone: str, settings: Any) -> None:
    settings.TIME_ZONE = zone
    midnight = day_start(date(2026, 9, 7))
    for key, moment in (("last of the day before", midnight - timedelta(microseconds=1)), ("first of the day", midnight)):
        change_rows(Session.objects.filter(pk=make_session(key=key).pk), created_at=moment, last_message_at=moment)
    assert titles(since=date(2026, 9, 7), until=date(2026, 9, 8)) == ["first of the day"]
    assert titles(since=date(2026, 9, 6), until=date(2026, 9, 7)) == ["last of the day before"]


def test_stale_is_open_and_idle_for_its_channels_gap() -> None:
    gap = timedelta(minutes=360)
    for key, idle in (("just now stale", gap), ("not yet", gap - timedelta(microseconds=1)), ("long ago", 9 * gap)):
        make_session("slack", key, now=NOW - idle)
    make_session("slack", "closed", now=NOW - 9 * gap, closed_at=NOW)
    make_session("slack", "archived", now=NOW - 9 * gap, archived_at=NOW)
    make_session("main", "explicit", now=NOW - 9 * gap)
    assert titles(status="stale") == ["just now stale", "long ago"]
    assert queries.session_total(SessionFilter(status="stale"), viewer=None, now=NOW) == queries.Total(2, is_exact=True)


def test_a_search_that_is_too_wide_says_how_far_back_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_list, "GATHER", 0)
    monkeypatch.setattr(session_list, "WALK", 1)
    monkeypatch.setattr(session_list, "SCAN_LIMIT", 3)
    for number in range(8):
        make_session(key=str(number), now=at(number), title="needle" if number in (1, 6) else "hay")
    filter = SessionFilter(text="needle")
    first = queries.session_page(filter, viewer=None, now=NOW)
    assert ([row.key for row in first.rows], first.next_cursor) == (["6"], None)
    assert first.searched_to is not None
    second = queries.session_page(filter, viewer=None, after=first.searched_to, now=NOW)
    assert [row.key for row in second.rows] == ["1"]
    dearest = queries.session_page(SessionFilter(sort="messages"), viewer=None, limit=2, now=NOW)
    assert len(dearest.rows) == 2
    assert dearest.next_cursor


def test_a_cursor_of_another_kind_of_sort_or_a_broken_one_begins_at_the_start() -> None:
    store(12)
    for sort in queries.SORTS:
        whole = [row.pk for row in queries.session_page(SessionFilter(status="all", sort=sort), viewer=None, now=NOW).rows]
        for other in queries.SORTS:
            page = queries.session_page(SessionFilter(status="all", sort=other), viewer=None, limit=5, now=NOW)
            found = queries.session_page(SessionFilter(status="all", sort=sort), viewer=None, after=page.next_cursor, now=NOW)
            is_alike = {sort, other} <= {"started", "activity"} or {sort, other} <= {"cost", "messages"}
            assert is_alike or [row.pk for row in found.rows] == whole
        broken = queries.session_page(SessionFilter(status="all", sort=sort), viewer=None, after="nonsense", now=NOW)
        assert [row.pk for row in broken.rows] == whole


# --- counts -------------------------------------------------------------------------------------------------------------------------------


def test_facets_count_what_choosing_them_would_find(viewers: dict[str, User | None]) -> None:
    for who in ("system", "staff", "alice"):
        viewer = viewers[who]
        for filter in (
            SessionFilter(),
            SessionFilter(status="all"),
            SessionFilter(status="closed", channel="main"),
            SessionFilter(user_id="alice"),
        ):
            for name, facets in queries.session_facets(filter, viewer=viewer, now=NOW).items():
                column = {"user": "user_id"}.get(name, name)
                for facet in facets:
                    if facet.count is None:
                        continue
                    value: Any = {"unread": True, "read": False}[facet.value] if name == "read" else facet.value
                    chosen = replace(filter, **{"unread" if name == "read" else column: value})
                    assert facet.count == matching(chosen, viewer=viewer, now=NOW).count(), (who, filter, name, facet)


def test_the_rail_counts_what_its_links_show(viewers: dict[str, User | None]) -> None:
    for who, viewer in viewers.items():
        rail = queries.rail_counts(viewer)
        for status, count in (
            ("inbox", rail.inbox),
            ("all", rail.all),
            ("open", rail.open),
            ("closed", rail.closed),
            ("archived", rail.archived),
        ):
            assert count == len(expected(SessionFilter(status=status), viewer)), (who, status)
        assert rail.unread == len(expected(SessionFilter(unread=True), viewer)) == queries.unread_count(viewer), who
        assert {channel.pk: count for channel, count in rail.channels if count} == {
            slug: count for slug in CHANNELS if (count := len(expected(SessionFilter(channel=slug), viewer)))
        }


def test_the_number_of_queries_does_not_grow_with_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = make_user("staff", staff=True)
    filters = [
        SessionFilter(),
        SessionFilter(status="stale"),
        SessionFilter(unread=True, channel="slack"),
        SessionFilter(user_id="alice", model="gpt-5-mini"),
        SessionFilter(since=date(2026, 9, 5), until=date(2026, 9, 13)),
        SessionFilter(sort="cost", tag="red"),
    ]

    def asked() -> list[int]:
        counts = []
        for filter in filters:
            for read in (queries.session_page, queries.session_total, queries.session_facets):
                with CaptureQueriesContext(connection) as captured:
                    read(filter, viewer=User.objects.get(pk=viewer.pk), now=NOW)  # type: ignore[operator]
                counts.append(len(captured))
        with CaptureQueriesContext(connection) as captured:
            queries.rail_counts(User.objects.get(pk=viewer.pk))
        return [*counts, len(captured)]

    store(40)
    before = asked()
    store(40, seed=2)
    assert asked() == before
    assert max(before) <= 8


# --- the groups follow whatever is done ---------------------------------------------------------------------------------------------------


def test_the_counts_are_right_after_whatever_the_services_did() -> None:
    rng = random.Random(3)
    viewer = make_user("staff", staff=True)
    ids: list[Any] = []
    for number in range(150):
        now = at(number * 10)
        if not ids or rng.random() < 0.25:
            opened = services.open_session(
                rng.choice(CHANNELS), rng.choice("abc"), user_id=rng.choice(USERS), triggered_by=rng.choice(TRIGGERS), now=now
            )
            ids.append(opened.session.pk)
        session = rng.choice(ids)
        action = rng.randrange(9)
        with contextlib.suppress(SessionAlreadyOpen):
            if action == 0:
                services.save_message(session, "assistant", "x", agent=rng.choice(["", "bot"]), now=now)
            elif action == 1:
                services.record_usage(session, model=rng.choice(MODELS[:3]), input_tokens=1, output_tokens=1, now=now)
            elif action == 2:
                services.close_session(session, "done", now=now)
            elif action == 3:
                services.reopen_session(session, now=now)
            elif action == 4:
                services.archive_session(session, rng.random() < 0.5, now=now)
            elif action == 5:
                services.mark_read(session, rng.random() < 0.5, viewer=rng.choice([None, viewer]), now=now)
            elif action == 6:
                services.touch_session(session, now=now)
            elif action == 7:
                services.store_events(session, [tool_result("c", "x", is_error=rng.random() < 0.5, timestamp=now)], now=now)
            else:
                services.set_tags(session, rng.sample(TAGS, 2), now=now)
        if number % 50 == 0:
            services.close_stale_sessions(now=now + timedelta(days=1))
            ids = list(Session.objects.values_list("pk", flat=True))
    assert services.recount(dry_run=True).differences == []
    assert Session.objects.filter(group_id=0).count() == Session.objects.filter(home_id=0).count() == 0


def test_a_refused_change_moves_nothing() -> None:
    first = make_session(key="k")
    services.close_session(first.pk)
    make_session(key="k")
    with pytest.raises(SessionAlreadyOpen):
        services.reopen_session(first.pk)
    with pytest.raises(SessionAlreadyOpen):
        services.create_session("main", "k", user_id="alice")
    with contextlib.suppress(ZeroDivisionError), day_rows.writing():
        services.archive_session(first.pk)
        raise ZeroDivisionError
    assert services.recount(dry_run=True).differences == []
    assert queries.rail_counts(None).archived == 0


def test_recount_mends_places_counts_and_tags() -> None:
    made = store(12)
    services.recount()  # what the sessions say of messages that they do not have
    before = sorted(SessionCount.objects.filter(sessions__gt=0).values_list("home_id", "group_id", "sessions"))
    Session.objects.filter(pk=made[0].pk).update(group_id=5, span=9)
    SessionGroup.objects.order_by("-sessions").first().delete()  # type: ignore[union-attr]
    SessionHome.objects.update(in_inbox=77)
    SessionTag.objects.all().delete()
    assert services.recount(dry_run=True).total >= 4
    assert services.recount().total >= 4
    assert services.recount().differences == []
    assert sorted(SessionCount.objects.filter(sessions__gt=0).values_list("home_id", "group_id", "sessions")) == before


def test_the_migration_places_what_is_there() -> None:
    store(12)
    services.recount()  # what the sessions say of messages that they do not have
    tables = (SessionGroup, SessionHome, SessionCount, SessionTag)
    for table in tables:
        table._default_manager.all().delete()
    Session.objects.update(group_id=0, home_id=0, span=0)
    session_groups.place_everything()
    assert services.recount(dry_run=True).differences == []
    assert queries.rail_counts(None).all == 12


@pytest.mark.django_db(transaction=True)
def test_writers_of_the_same_groups_at_once_neither_wait_for_each_other_for_ever_nor_lose_a_count() -> None:
    ids = [make_session(key=str(number)).pk for number in range(12)]
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(12):
                session = rng.choice(ids)
                rng.choice(
                    [
                        lambda: services.archive_session(session, rng.random() < 0.5),  # noqa: B023
                        lambda: services.save_message(session, "user", "x"),  # noqa: B023
                        lambda: services.close_session(session),  # noqa: B023
                        lambda: services.mark_read(session, rng.random() < 0.5),  # noqa: B023
                    ]
                )()
        except BaseException as error:  # noqa: BLE001  # told to the test below
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert services.recount(dry_run=True).differences == []
