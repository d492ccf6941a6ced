"""The demo: the same each time, whole in every state, exact in its numbers, and gone without a trace."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from sessions_app import day_rows, demo, queries, services
from sessions_app.events import UsageEvent
from sessions_app.models import Channel, Compaction, Message, Session, UsageRecord
from tests.factories import make_session, make_usage

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)  # a Friday
ZONE = ZoneInfo("Europe/Zurich")


def command(**options: Any) -> str:
    out = StringIO()
    call_command("demo", stdout=out, **options)
    return out.getvalue()


def planned(sessions: int = demo.DEFAULT_SESSIONS, now: datetime = NOW, **options: Any) -> list[demo.DemoSession]:
    return list(demo.plan(sessions=sessions, now=now, zone=ZONE, **options))


# --- the plan, without a database ---------------------------------------------------------------------------------------------------


def test_it_is_the_same_each_time() -> None:
    assert repr(planned()) == repr(planned())
    assert repr(planned()) != repr(planned(seed=2))


def test_it_moves_with_the_day() -> None:
    week = timedelta(days=7)
    shapes = [[(made.title.split(":")[0], made.started_at) for made in planned(now=NOW + shift)] for shift in (timedelta(0), week)]
    assert shapes[1] == [(title, started + week) for title, started in shapes[0]]


@pytest.mark.parametrize("hour", [0, 3, 9, 17, 23])
@pytest.mark.parametrize("day", [15, 16, 20, 21])
def test_nothing_lies_in_the_future_or_before_the_six_weeks(day: int, hour: int) -> None:
    now = datetime(2026, 11, day, hour, 5, tzinfo=UTC)
    for made in planned(now=now):
        assert now - timedelta(days=44) < made.started_at <= made.ended_at <= now, made.title
        assert all(made.started_at <= event.timestamp <= made.ended_at for event in made.events)  # type: ignore[operator]
        for moment in (made.closed_at, made.archived_at):
            assert moment is None or made.ended_at <= moment <= now
        assert "«" not in made.title + made.user_id + made.project + made.branch + made.summary
        assert not any("«" in getattr(event, "content", "") for event in made.events)


def test_the_weeks_have_a_rhythm() -> None:
    days = Counter(made.started_at.astimezone(ZONE).date() for made in planned(2000 - 1))
    assert len(days) >= 40
    week = [sum(number for day, number in days.items() if day.weekday() == weekday and (NOW.date() - day).days > 2) for weekday in range(7)]
    assert min(week[:5]) > 2 * max(week[5:])


@pytest.mark.parametrize(
    ("sessions", "messages", "usage"), [(1, 0, 0), (1, 7, 3), (5, 100, 0), (7, 0, 50), (50, 51, 1), (3, 500, 400), (2500, 9999, 1234)]
)
def test_totals_are_exact(sessions: int, messages: int, usage: int) -> None:
    made = planned(sessions, messages=messages, usage=usage)
    assert len(made) == sessions
    kinds = Counter(type(event).__name__ for one in made for event in one.events)
    assert (kinds["MessageEvent"], kinds["UsageEvent"]) == (messages, usage)
    alone = planned(sessions, messages=messages)
    assert sum(type(event).__name__ == "MessageEvent" for one in alone for event in one.events) == messages
    alone = planned(sessions, usage=usage)
    assert sum(isinstance(event, UsageEvent) for one in alone for event in one.events) == usage


def test_titles_come_in_several_scripts_and_no_story_is_told_twice_in_a_row() -> None:
    made = planned()
    titles = " ".join(one.title for one in made)
    for script in ("ا", "書", "배", "Г", "ö", "¿", "म", "🔌"):
        assert script in titles
    assert all(one.title != after.title for one, after in pairwise(made))


# --- in the store -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(db: None) -> int:
    return demo.make(now=NOW)


def test_the_default_demo_covers_every_state(made: int) -> None:
    assert made == demo.DEFAULT_SESSIONS == Session.objects.filter(is_demo=True).count() == Session.objects.count()
    sessions = list(Session.objects.all())

    def count(**filters: Any) -> int:
        return Session.objects.filter(**filters).count()

    assert {session.channel_id for session in sessions} == {"main", "cli", "telegram", "slack", "email"}
    assert count(closed_at=None) >= 5 and count(closed_at__isnull=False) >= 50 and count(archived_at__isnull=False) >= 5
    assert 3 <= count(unread_since__isnull=False, archived_at=None) <= 40
    assert count(triggered_by="__heartbeat__") and count(triggered_by="nightly-reconcile") and count(triggered_by=None) > 80
    assert len({session.user_id for session in sessions}) >= 8
    assert len(services.close_stale_sessions(dry_run=True, now=NOW).session_ids) >= 1
    models = set(UsageRecord.objects.values_list("model", flat=True))
    assert len(models) >= 6
    assert set(UsageRecord.objects.values_list("cost_source", flat=True)) == {"reported", "computed", "unknown"}
    assert Message.objects.filter(role="thinking").exists() and Message.objects.exclude(subagent_id="").exists()
    assert Message.objects.filter(is_error=True).count() > 20 and Compaction.objects.count() >= 2
    assert not Message.objects.filter(tool_name="unknown").exists()
    assert count(project="") > 10 and count(git_branch="") > 10 and len({session.agent for session in sessions}) >= 6
    assert all(session.title and session.message_count for session in sessions)


def test_its_numbers_need_no_mending_and_go_without_a_trace(made: int) -> None:
    assert services.recount().differences == []
    real = make_session(messages=3)
    make_usage(real, cost_usd=5)
    assert services.remove_demo() == made
    assert services.remove_demo() == 0
    assert Session.objects.get().pk == real.pk
    assert (queries.cost_overview().total_cost_usd, queries.cost_overview().total_turns) == (5, 1)
    assert services.recount().differences == []
    for table in day_rows.TABLES:
        assert not table._default_manager.filter(**dict.fromkeys(day_rows.TABLES[table][1], 0)).exists()


def test_two_demos_of_one_time_are_alike(made: int) -> None:
    def shape() -> list[Any]:
        columns = ("key", "title", "user_id", "created_at", "closed_at", "unread_since", "message_count", "cost_usd", "summary")
        return list(Session.objects.order_by("key").values_list(*columns))

    first = shape()
    services.remove_demo()
    demo.make(now=NOW)
    assert shape() == first


def test_every_page_of_it_reads(made: int, client: Any, admin_user: Any) -> None:
    client.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")
    for session in Session.objects.filter(message_count__gt=0).order_by("-message_count")[:5]:
        assert client.get(session.get_absolute_url()).status_code == 200
    assert client.get("/sessions/").status_code == client.get("/costs/").status_code == 200


@pytest.mark.django_db
def test_many_are_stored_in_batches_by_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same plan, stored one by one and in bulk, leaves the same in every table."""

    def rows() -> dict[str, list[str]]:
        session = [str(list(row)) for row in Session.objects.order_by("key").values_list(*columns)]
        tables = {table.__name__: sorted(map(str, table._default_manager.values_list())) for table in day_rows.TABLES}
        messages = Message.objects.order_by("session__key", "pk").values_list(
            "role", "content", "timestamp", "tool_name", "is_error", "response_id"
        )
        usage = UsageRecord.objects.order_by("session__key", "pk").values_list(
            "turn", "model", "cost_usd", "cost_source", "user_id", "timestamp"
        )
        return {"session": session, "message": list(map(str, messages)), "usage": list(map(str, usage)), **tables}

    columns = [field.attname for field in Session._meta.concrete_fields if field.name not in ("id", "unread_since")]
    assert demo.make(sessions=30, now=NOW) == 30
    one_by_one = rows()
    services.remove_demo()
    channels = {channel.slug: channel for channel in Channel.objects.all()}
    demo.write_many(list(demo.plan(sessions=30, now=NOW, zone=day_rows.business_zone())), channels, now=NOW)
    assert {name: [pair for pair in zip(found, one_by_one[name], strict=True) if pair[0] != pair[1]] for name, found in rows().items()} == {
        name: [] for name in one_by_one
    }
    assert services.recount().differences == []


@pytest.mark.django_db
def test_a_large_demo_has_many_people_and_exact_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MANY", 300)
    monkeypatch.setattr(demo, "BATCH", 128)
    done: list[int] = []
    assert demo.make(sessions=301, messages=1000, usage=500, now=NOW, progress=done.append) == 301
    assert done == [128, 256, 301]
    assert (Session.objects.count(), Message.objects.count(), UsageRecord.objects.count()) == (301, 1000, 500)
    assert Session.objects.values("user_id").distinct().count() >= 9
    assert services.recount().differences == []
    assert services.remove_demo() == 301
    assert services.recount().differences == []
    assert not UsageRecord.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("many", [10**9, 20])
def test_it_stops_when_asked_and_what_is_stored_is_whole(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MANY", many)
    monkeypatch.setattr(demo, "BATCH", 7)
    stored = demo.make(sessions=40, now=NOW, should_stop=lambda: Session.objects.count() >= 7)
    assert stored == Session.objects.count() == 7
    assert services.recount().differences == []
    assert services.remove_demo(should_stop=lambda: True) == 0
    assert services.remove_demo() == 7


# --- the command --------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_command_makes_says_and_removes() -> None:
    assert command(sessions=3, messages=20, usage=8, now=NOW.isoformat()).startswith(
        "Made 3 demo sessions, 20 messages and 8 model calls in "
    )
    with pytest.raises(CommandError, match="already"):
        command(sessions=3)
    assert command(remove=True) == "Removed 3 demo sessions.\n"
    assert command(remove=True) == "Removed 0 demo sessions.\n"
    assert "Made 1 demo session, 2 messages and 0 model calls" in command(sessions=1, messages=2, usage=0)


@pytest.mark.django_db
def test_the_commands_numbers_are_checked() -> None:
    for options in (
        {"sessions": 0},
        {"sessions": -1},
        {"messages": -1},
        {"usage": -5},
        {"now": "yesterday"},
        {"now": "2026-11-20T09:00:00"},
    ):
        with pytest.raises(CommandError):
            command(**options)
    with pytest.raises(CommandError, match="goes with no other"):
        command(remove=True, sessions=5)
    assert not Session.objects.exists()


@pytest.mark.django_db
def test_it_does_not_touch_what_is_real() -> None:
    real = make_session("telegram", "demo-000001", user_id="noor.haddad", messages=1)
    demo.make(sessions=60, now=NOW)
    services.remove_demo()
    assert Session.objects.get() == real


@pytest.mark.django_db
def test_a_demo_of_a_year_is_a_larger_companys_and_leaves_its_messages_out() -> None:
    def shape() -> list[Any]:
        columns = (
            "key",
            "user_id",
            "project",
            "model",
            "created_at",
            "last_message_at",
            "closed_at",
            "archived_at",
            "unread_since",
            "tags",
        )
        return list(Session.objects.order_by("key").values_list(*columns))

    assert demo.make(sessions=601, days=demo.YEAR, now=NOW) == 601
    first = shape()
    assert Session.objects.filter(created_at__lt=NOW - timedelta(days=200)).count() > 100
    assert 0 < Message.objects.count() == Message.objects.filter(is_error=True).count() < 120
    assert UsageRecord.objects.count() == 601
    assert Session.objects.filter(span__gt=0).exists()
    assert Session.objects.exclude(tags=[]).exists()
    assert "claude-3-opus-20240229" in set(Session.objects.values_list("model", flat=True))
    assert services.recount(dry_run=True).differences == []
    services.remove_demo()
    demo.make(sessions=601, days=demo.YEAR, now=NOW)
    assert shape() == first
