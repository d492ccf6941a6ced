"""Cached numbers are rebuilt from the records, what differed is said, and the business time zone is kept in the store."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from sessions_app import day_rows, queries, services
from sessions_app.errors import WrongTimeZone
from sessions_app.events import Event, UsageEvent, tool_result, tool_use
from sessions_app.models import (
    Session,
    SessionCount,
    SessionGroup,
    SessionHome,
    StoreFact,
    ToolDay,
    ToolDayByName,
    UsageDay,
    UsageDayBy,
    UsageRecord,
)
from sessions_app.services.transcript import CHANGED_BY_EVENTS
from sessions_app.session_groups import PLACED
from tests.factories import T0, at, make_session, make_usage

pytestmark = pytest.mark.django_db

BASE = django_settings.BASE_DIR


def fill(count: int = 6, *, seed: int = 1) -> list[Session]:
    """Sessions with all that the cached numbers are made of."""
    rng = random.Random(seed)
    sessions = []
    for number in range(count):
        session = make_session(
            rng.choice(["main", "cli"]),
            str(number),
            user_id=rng.choice(["alice", "bob"]),
            messages=rng.randrange(4),
            triggered_by=rng.choice([None, "cron"]),
        )
        events: list[Event] = []
        for call in range(rng.randrange(5)):
            when = T0 + timedelta(hours=rng.randrange(100))
            events.append(
                UsageEvent(
                    model=rng.choice(["claude-sonnet-4-5", "gpt-5-mini", "made-up"]),
                    input_tokens=rng.randrange(10_000),
                    output_tokens=rng.randrange(1000),
                    cache_read_tokens=rng.randrange(1000),
                    user_id=rng.choice([None, "carol"]),
                    timestamp=when,
                    subagent_id=rng.choice(["", "a"]),
                )
            )
            events += [
                tool_use(f"{call}", rng.choice(["Bash", "Read"]), {}, timestamp=when),
                tool_result(f"{call}", "x", is_error=rng.random() < 0.5, timestamp=when + timedelta(hours=9)),
            ]
        services.store_events(session, events, now=at(days=9))
        if rng.random() < 0.5:
            services.touch_session(session.id, now=at(days=9))
        sessions.append(Session.objects.get(pk=session.pk))
    return sessions


def everything() -> dict[str, Any]:
    rows: dict[str, Any] = {table.__name__: sorted(map(str, table._default_manager.values_list())) for table in day_rows.TABLES}
    counts: dict[str, Any] = {
        table.__name__: sorted(map(str, table._default_manager.filter(sessions__gt=0).values_list(*columns)))
        for table, columns in {SessionGroup: (), SessionHome: (), SessionCount: ("home_id", "group_id", "sessions")}.items()
    }
    return {**rows, **counts, "Session": sorted(map(str, Session.objects.values_list()))}


def command(**options: Any) -> str:
    out = StringIO()
    call_command("recount", stdout=out, **options)
    return out.getvalue()


def test_an_empty_store_has_nothing_to_mend() -> None:
    assert services.recount().total == 0
    assert "Nothing to mend" in command()


def test_what_was_written_by_the_services_needs_no_mending() -> None:
    fill(12)
    before = everything()
    for dry_run in (True, False):
        result = services.recount(dry_run=dry_run)
        assert (result.differences, result.total, result.sessions) == ([], 0, 12)
        assert everything() == before


WRONG: dict[str, Any] = {
    "message_count": 99, "tool_call_count": 99, "error_count": 99, "total_turns": 99, "unpriced_turns": 99, "last_turn": 99, "input_tokens": 99,
    "output_tokens": 99, "cache_read_tokens": 99, "cache_write_tokens": 99, "priced_tokens": 99, "cost_usd": 99, "model": "wrong",
}  # fmt: skip


@pytest.mark.parametrize("column", WRONG)
def test_each_number_of_a_session_is_rebuilt(column: str) -> None:
    assert set(WRONG) == set(CHANGED_BY_EVENTS) - {"created_at", "last_message_at", "title", "unread_since"} - set(PLACED)
    session = fill()[2]
    before = everything()
    true = getattr(session, column)
    Session.objects.filter(pk=session.pk).update(**{column: WRONG[column]})
    seen = services.recount(dry_run=True)
    assert [(found.where, found.column, found.cached, found.counted) for found in seen.differences] == [
        (f"session {session.pk}", column, WRONG[column], true)
    ]
    assert getattr(Session.objects.get(pk=session.pk), column) == WRONG[column]
    assert services.recount().total == 1
    assert everything() == before
    assert services.recount().total == 0


def test_touches_are_kept() -> None:
    session = make_session(messages=2)
    services.touch_session(session.id)
    Session.objects.filter(pk=session.pk).update(message_count=0)
    services.recount()
    assert Session.objects.get().message_count == 3


@pytest.mark.parametrize("table", [UsageDay, UsageDayBy, ToolDay, ToolDayByName])
def test_day_rows_that_are_wrong_missing_or_too_many_are_rebuilt(table: Any) -> None:
    fill()
    before = everything()
    first, second, third, *_ = table.objects.order_by("pk")
    measure = day_rows.TABLES[table][1][-1]
    table.objects.filter(pk=first.pk).update(**{measure: 77})
    second.delete()
    third.day = third.day - timedelta(days=400)
    third.save()  # under a key that is not its own
    kept = everything()
    assert services.recount(dry_run=True).total >= 3
    assert everything() == kept
    result = services.recount()
    assert result.total >= 3
    assert {found.where.split()[0] for found in result.differences} == {table._meta.model_name}
    assert everything() == before
    assert services.recount().total == 0


def test_rows_that_add_up_to_nothing_go_without_a_word() -> None:
    session = make_session()
    make_usage(session)
    UsageDay.objects.create(
        id="00000000-0000-0000-0000-000000000001",
        day="2026-01-01",
        owner="x",
        user_id="x",
        model="x",
        channel="main",
        cost_source="reported",
    )
    assert services.recount(dry_run=True).total == 0
    assert UsageDay.objects.count() == 2
    assert services.recount().total == 0
    assert UsageDay.objects.count() == 1


def test_records_changed_behind_the_services_are_counted() -> None:
    session = make_session()
    make_usage(session, cost_usd=1)
    UsageRecord.objects.update(cost_usd=3)
    services.recount()
    assert queries.cost_overview().total_cost_usd == Session.objects.get().cost_usd == 3


def test_many_differences_are_all_counted_and_the_first_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.maintenance, "MAX_DIFFERENCES", 3)
    fill()
    Session.objects.update(message_count=99)
    result = services.recount()
    assert (len(result.differences), result.total) == (3, 6)


def test_it_works_in_batches_and_stops_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.maintenance, "BATCH", 2)
    fill(5)
    Session.objects.update(message_count=99)
    done: list[int] = []
    assert services.recount(dry_run=True, progress=done.append).sessions == 5
    assert done == [2, 4, 5]
    done.clear()
    result = services.recount(progress=done.append, should_stop=lambda: len(done) == 1)
    assert (result.stopped, result.sessions) == (True, 2)
    assert Session.objects.filter(message_count=99).count() == 3
    assert not services.recount().stopped
    assert services.recount().total == 0


def calls(*answers: bool) -> Any:
    """A should_stop that answers these one after the other, and then no."""
    left = iter(answers)
    return lambda: next(left, False)


def test_it_stops_between_two_days_and_keeps_what_is_mended() -> None:
    session = make_session()
    for day in range(3):
        make_usage(session, when=at(days=day), cost_usd=1)
    UsageDay.objects.update(cost_usd=7)
    # asked before the one batch of sessions, and before each day
    result = services.recount(should_stop=calls(False, False, True))
    assert result.stopped
    assert list(UsageDay.objects.order_by("day").values_list("cost_usd", flat=True)) == [1, 7, 7]
    assert services.recount().total == 2
    assert services.recount().total == 0


def test_days_far_apart_are_found_without_looking_at_those_between() -> None:
    session = make_session()
    for year in (1970, 2026, 8999):
        make_usage(session, when=datetime(year, 1, 2, tzinfo=UTC))
    services.store_events(session, [tool_use("c", "Bash", {}, timestamp=datetime(4000, 1, 1, tzinfo=UTC))])
    UsageDay.objects.filter(day__year=8999).delete()
    assert services.recount().total > 0
    assert services.recount().differences == []


# --- the command ----------------------------------------------------------------------------------------------------------------------


def test_the_command_says_what_differed() -> None:
    session = fill()[0]
    Session.objects.filter(pk=session.pk).update(input_tokens=99)
    text = command(dry_run=True)
    assert f"session {session.pk}: input_tokens was 99, counted {session.input_tokens}" in text
    assert "Would mend 1 number in 6 sessions" in text
    assert "Mended 1 number" in command()
    assert "Nothing to mend: 6 sessions and" in command()


def test_the_command_prints_json() -> None:
    session = fill()[0]
    Session.objects.filter(pk=session.pk).update(cost_usd=99)
    report = json.loads(command(json=True))
    assert (report["sessions"], report["differences"], report["dry_run"], report["stopped"], report["time_zone"]) == (
        6,
        1,
        False,
        False,
        "UTC",
    )
    assert report["listed"] == [
        {"where": f"session {session.pk}", "column": "cost_usd", "cached": "99.000000000", "counted": f"{session.cost_usd:f}"}
    ]
    assert json.loads(command(json=True))["listed"] == []


def test_the_command_lists_no_more_than_a_screen() -> None:
    fill(25)
    Session.objects.update(message_count=99)
    assert "... and 5 more." in command()


# --- the business time zone -----------------------------------------------------------------------------------------------------------


def by_day() -> list[str]:
    return [f"{day.date} {day.total_cost_usd}" for day in queries.cost_overview().by_day]


def stored_zone() -> str:
    return StoreFact.objects.get(pk="time_zone").value


def test_the_zone_of_the_first_start_is_kept() -> None:
    assert stored_zone() == "UTC"
    day_rows.keep_time_zone("Asia/Tokyo")
    assert stored_zone() == "UTC"


def test_another_zone_stops_everything_that_reads_or_writes_days(settings: Any) -> None:
    session = make_session()
    settings.TIME_ZONE = "Europe/Zurich"
    words = r"The days in this store were cut in UTC, but TIME_ZONE is Europe/Zurich\. Set TIME_ZONE=UTC again, or .* recount --time-zone Europe/Zurich"
    with pytest.raises(WrongTimeZone, match=words):
        make_usage(session)
    with pytest.raises(WrongTimeZone, match=words):
        services.recount()
    for name in ("recount", "demo", "costs", "close_stale_sessions", "first_run"):
        with pytest.raises(CommandError, match=words):
            call_command(name, stdout=StringIO())
    assert not UsageRecord.objects.exists() and not UsageDay.objects.exists()
    services.save_message(session.id, "user", "what adds to no day is stored")


def test_recounting_into_a_zone_cuts_the_days_anew(settings: Any) -> None:
    session = make_session()
    make_usage(session, when=datetime(2026, 9, 1, 21, 30, tzinfo=UTC), cost_usd=1)
    make_usage(session, when=datetime(2026, 9, 1, 22, 30, tzinfo=UTC), cost_usd=2)
    services.store_events(session, [tool_use("c", "Bash", {}, timestamp=datetime(2026, 9, 1, 22, 30, tzinfo=UTC))])
    assert by_day() == ["2026-09-01 3.000000000"]
    settings.TIME_ZONE = "Europe/Zurich"  # as the words of the refusal have it: the setting first, then the command
    assert services.recount(time_zone="Europe/Zurich", dry_run=True).total > 0
    assert stored_zone() == "UTC"
    text = command(time_zone="Europe/Zurich")
    assert "The store's days are now cut in Europe/Zurich." in text and "TIME_ZONE is still" not in text
    assert stored_zone() == "Europe/Zurich"
    assert by_day() == ["2026-09-01 1.000000000", "2026-09-02 2.000000000"]
    assert [str(row.day) for row in ToolDayByName.objects.all()] == ["2026-09-02"]
    assert services.recount().total == 0
    make_usage(session, when=datetime(2026, 9, 2, 22, 30, tzinfo=UTC), cost_usd=4)
    assert by_day()[-1] == "2026-09-03 4.000000000"


def test_a_recount_into_a_zone_that_is_stopped_leaves_all_days_as_they_were() -> None:
    session = make_session()
    for day in range(3):
        make_usage(session, when=datetime(2026, 9, 1 + day, 21, 30, tzinfo=UTC), cost_usd=1)
    before = everything()
    assert services.recount(time_zone="Europe/Athens", should_stop=calls(False, False, False, True)).stopped
    assert (everything(), stored_zone()) == (before, "UTC")


def test_recounting_before_the_setting_says_to_change_it_too() -> None:
    assert "TIME_ZONE is still UTC: start the site with TIME_ZONE=Asia/Tokyo" in command(time_zone="Asia/Tokyo")
    with pytest.raises(WrongTimeZone):
        make_usage(make_session())


def test_a_server_that_still_runs_in_the_old_zone_is_stopped_at_its_next_write() -> None:
    session = make_session()
    make_usage(session)
    StoreFact.objects.update(value="Asia/Tokyo")  # as another process's recount leaves it
    with pytest.raises(WrongTimeZone):
        make_usage(session)
    assert UsageRecord.objects.count() == 1


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "europe/zurich", "../../etc/passwd", "CEST"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(CommandError, match="There is no time zone"):
        command(time_zone=zone)


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "America/Havana", "Europe/Dublin"])
def test_days_agree_with_the_counting_in_any_zone(zone: str, settings: Any) -> None:
    """Python cuts the days when a record comes, the database when they are counted anew: both must agree, also where clocks jump at midnight."""
    settings.TIME_ZONE = zone
    services.recount(time_zone=zone)
    session = make_session()
    moments = [
        datetime(2018, 11, 3, tzinfo=UTC),
        datetime(2011, 12, 29, tzinfo=UTC),
        datetime(2026, 3, 8, tzinfo=UTC),
        datetime(2026, 10, 31, tzinfo=UTC),
    ]
    for moment in moments:
        services.store_events(
            session,
            [
                UsageEvent(model="m", input_tokens=1, output_tokens=1, timestamp=moment + timedelta(minutes=30 * step))
                for step in range(120)
            ],
        )
    assert services.recount().differences == []


@pytest.mark.django_db(transaction=True)
def test_the_site_does_not_start_in_another_zone(child_env: dict[str, str]) -> None:
    def start(zone: str) -> subprocess.CompletedProcess[str]:
        environment = {**child_env, "TIME_ZONE": zone, "SECRET_KEY": "x" * 50}
        return subprocess.run(
            [sys.executable, "-c", "import sessionsite.wsgi"], cwd=BASE, env=environment, capture_output=True, text=True, check=False
        )

    assert start("UTC").returncode == 0
    refused = start("Europe/Zurich")
    assert refused.returncode != 0
    assert "Set TIME_ZONE=UTC again, or cut all days anew with: manage.py recount --time-zone Europe/Zurich" in refused.stderr


def test_a_store_that_is_not_made_yet_is_no_reason_not_to_start(tmp_path: Any) -> None:
    environment = {"PATH": "/usr/bin:/bin", "DATA_DIR": str(tmp_path), "TIME_ZONE": "Europe/Zurich"}
    done = subprocess.run(
        [sys.executable, "-c", "import sessionsite.wsgi"], cwd=BASE, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "cannot be asked" in done.stderr) == (0, True), done.stderr
    done = subprocess.run([sys.executable, "manage.py", "recount"], cwd=BASE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr and "Traceback" not in done.stderr
