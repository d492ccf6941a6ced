"""The overview of costs: exact answers of hand-made rows, days in three time zones, and sums that agree whatever was used."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.db.models import Count, Sum
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import day_rows, queries, services
from sessions_app.models import Session, StoreFact, UsageRecord
from sessions_app.queries import CostOverview, DayCost, DayModelCost, ToolUse
from tests.factories import T0, at, make_session, make_usage

pytestmark = pytest.mark.django_db
ZERO = Decimal(0)


@contextmanager
def business_zone(name: str) -> Iterator[ZoneInfo]:
    """Cut the days of this test's store in another zone."""
    with override_settings(TIME_ZONE=name):
        day_rows.keep_time_zone(name, replace=True)
        yield ZoneInfo(name)


@pytest.fixture
def two_days() -> SimpleNamespace:
    """alice and zoe on 1 and 2 September (UTC): priced, reported and unknown calls, and tools."""
    alice, zoe = make_session(key="a"), make_session(key="z", user_id="zoe", channel="slack")
    counts = {"input_tokens": 10, "output_tokens": 20, "cache_read_tokens": 300, "cache_write_tokens": 4000}
    make_usage(alice, model="m1", cost_usd="1.000000001", **counts)
    make_usage(alice, model="m1", cost_usd="0.25", when=at(days=1), user_id="guest", input_tokens=1, output_tokens=2)
    make_usage(alice, model="home-grown", when=at(5), input_tokens=7, output_tokens=8)
    make_usage(zoe, model="m2", cost_usd="2", when=at(days=1, minutes=1), input_tokens=5, output_tokens=6)
    make_usage(zoe, model="m1", cost_usd=0, when=at(days=1, minutes=2), input_tokens=1, output_tokens=1)
    for session, name, minutes, is_error in ((alice, "Bash", 1, True), (alice, "Bash", 2, False), (zoe, "Read", 3, False)):
        call = f"{name}{minutes}"
        use = {"type": "tool_use", "id": call, "name": name, "input": {}}
        services.save_message(session.id, "tool_use", json.dumps(use), timestamp=at(minutes), now=at(minutes))
        result = {"type": "tool_result", "tool_use_id": call, "content": "", "is_error": is_error}
        services.save_message(session.id, "tool_result", json.dumps(result), timestamp=at(minutes, days=1), now=at(minutes, days=1))
    return SimpleNamespace(alice=alice, zoe=zoe)


# --- exact answers


def test_nothing() -> None:
    costs = queries.cost_overview()
    assert (costs.total_cost_usd, costs.total_turns, costs.total_tokens, costs.priced_tokens, costs.unpriced_turns) == (0, 0, 0, 0, 0)
    assert (costs.by_user, costs.by_model, costs.by_day, costs.by_tool) == ([], [], [], [])


def test_everything(two_days: SimpleNamespace) -> None:
    costs = queries.cost_overview()
    assert costs.total_cost_usd == Decimal("3.250000001")
    assert (costs.total_turns, costs.unpriced_turns) == (5, 1)
    assert (costs.input_tokens, costs.total_output_tokens, costs.total_cache_read, costs.total_cache_write) == (24, 37, 300, 4000)
    assert (costs.total_input_tokens, costs.total_tokens, costs.priced_tokens) == (4324, 4361, 4346)
    assert [(row.user_id, row.total_cost_usd, row.total_turns, row.unpriced_turns, row.priced_tokens) for row in costs.by_user] == [
        ("zoe", Decimal(2), 2, 0, 13),
        ("alice", Decimal("1.000000001"), 2, 1, 4330),
        ("guest", Decimal("0.25"), 1, 0, 3),
    ]
    assert [(row.model, row.total_cost_usd, row.total_tokens) for row in costs.by_model] == [
        ("m2", Decimal(2), 11),
        ("m1", Decimal("1.250000001"), 4335),
        ("home-grown", None, 15),
    ]
    assert costs.by_day == [
        DayCost(date(2026, 9, 1), Decimal("1.000000001"), [DayModelCost("m1", Decimal("1.000000001")), DayModelCost("home-grown", None)]),
        DayCost(date(2026, 9, 2), Decimal("2.25"), [DayModelCost("m2", Decimal(2)), DayModelCost("m1", Decimal("0.25"))]),
    ]
    assert costs.by_tool == [ToolUse("Bash", 2, 1), ToolUse("Read", 1, 0)]


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (at(), at()),  # nothing lies in an empty range, not even what lies on its edge
        (at(1), at()),
        (at(days=-300), at(days=-299)),
        (at(days=300), None),
        (None, at(days=-300)),
        (at(days=-300, minutes=1), at(days=-300, minutes=2)),
    ],
)
def test_ranges_with_nothing_in_them(two_days: SimpleNamespace, since: datetime | None, until: datetime | None) -> None:
    costs = queries.cost_overview(since, until)
    assert (costs.total_cost_usd, costs.total_turns, costs.by_user, costs.by_model, costs.by_day, costs.by_tool) == (0, 0, [], [], [], [])


def test_a_range_takes_its_beginning_and_not_its_end(two_days: SimpleNamespace) -> None:
    assert queries.cost_overview(at(), at(0.001)).total_cost_usd == Decimal("1.000000001")
    assert queries.cost_overview(at(-1), at()).total_turns == 0
    costs = queries.cost_overview(at(0.001), at(days=1, minutes=2))
    assert (costs.total_cost_usd, costs.total_turns, costs.unpriced_turns) == (Decimal("2.25"), 3, 1)
    assert [day.total_cost_usd for day in costs.by_day] == [None, Decimal("2.25")]
    assert costs.by_tool == [ToolUse("Bash", 2, 1), ToolUse("Read", 1, 0)]


def test_a_tools_error_counts_on_its_results_day_under_the_calls_name(two_days: SimpleNamespace) -> None:
    assert queries.cost_overview(at(-600), at(days=0.9)).by_tool == [ToolUse("Bash", 2, 0), ToolUse("Read", 1, 0)]
    assert queries.cost_overview(at(days=0.9)).by_tool == [ToolUse("Bash", 0, 1)]


def test_a_naive_time_is_refused() -> None:
    naive = T0.replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        queries.cost_overview(naive)
    with pytest.raises(ValueError, match="time zone"):
        queries.cost_overview(None, naive)


def test_a_viewer_sees_the_costs_of_their_sessions(two_days: SimpleNamespace, cast: SimpleNamespace) -> None:
    own = queries.cost_overview(viewer=cast.alice)
    assert (own.total_cost_usd, own.total_turns) == (Decimal("1.250000001"), 3)
    # grouped by the record's user, who need not be the session's
    assert [(row.user_id, row.total_cost_usd) for row in own.by_user] == [("alice", Decimal("1.000000001")), ("guest", Decimal("0.25"))]
    assert own.by_tool == [ToolUse("Bash", 2, 1)]
    assert queries.cost_overview(viewer=cast.bob) == queries.cost_overview()
    assert queries.cost_overview(viewer=cast.charlie).total_turns == 0
    part = queries.cost_overview(at(-1), at(days=1, minutes=1), viewer=cast.alice)
    assert (part.total_cost_usd, part.by_tool) == (Decimal("1.250000001"), [ToolUse("Bash", 2, 0)])


def test_dearest_models(two_days: SimpleNamespace, cast: SimpleNamespace) -> None:
    assert queries.dearest_models() == ["m2", "m1"]
    assert queries.dearest_models(viewer=cast.bob) == ["m2", "m1"]
    assert queries.dearest_models(viewer=cast.alice) == ["m1"]
    assert queries.dearest_models(viewer=cast.charlie) == []


@pytest.mark.parametrize(("since", "until", "number"), [(None, None, 3), (at(), None, 6), (at(), at(days=9), 9), (at(), at(1), 6)])
def test_the_number_of_queries_does_not_grow(
    since: Any, until: Any, number: int, two_days: SimpleNamespace, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(number):
        queries.cost_overview(since, until)


# --- days in the business time zone


def test_days_are_cut_in_kathmandu() -> None:
    with business_zone("Asia/Kathmandu") as zone:  # 5 h 45 min ahead of UTC
        session = make_session()
        for second, cost in ((-1, "1"), (0, "2"), (86399, "4"), (86400, "8")):
            make_usage(session, model="m", cost_usd=cost, when=datetime(2026, 9, 1, tzinfo=zone) + timedelta(seconds=second))
        assert [(day.date.day, day.total_cost_usd) for day in queries.cost_overview().by_day] == [(31, 1), (1, 6), (2, 8)]
        # whole days from the day rows, and the same by UTC hours, which cut days in two
        assert queries.cost_overview(datetime(2026, 9, 1, tzinfo=zone), datetime(2026, 9, 2, tzinfo=zone)).total_cost_usd == 6
        assert (
            queries.cost_overview(datetime(2026, 8, 31, 18, 15, tzinfo=UTC), datetime(2026, 9, 1, 18, 15, tzinfo=UTC)).total_cost_usd == 6
        )
        assert queries.cost_overview(datetime(2026, 8, 31, tzinfo=UTC), datetime(2026, 9, 1, 18, 15, tzinfo=UTC)).total_cost_usd == 7
        part = queries.cost_overview(datetime(2026, 8, 31, 18, 15, 1, tzinfo=UTC), datetime(2026, 9, 1, 18, 15, 1, tzinfo=UTC))
        assert [(day.date.day, day.total_cost_usd) for day in part.by_day] == [(1, 4), (2, 8)]
        assert services.recount().total == 0


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 7, 1), 24)])
def test_days_of_st_johns_have_23_to_25_hours(day: date, hours: int) -> None:
    with business_zone("America/St_Johns") as zone:  # 2 h 30 min or 3 h 30 min behind UTC
        session = make_session(now=datetime(2026, 1, 1, tzinfo=UTC))
        start = datetime.combine(day, datetime.min.time(), tzinfo=zone).astimezone(UTC)
        end = datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=zone).astimezone(UTC)
        assert end - start == timedelta(hours=hours)
        for number in range(-2, hours + 2):
            make_usage(session, model="m", cost_usd=1, when=start + timedelta(hours=number))
        assert [(row.date, row.total_cost_usd) for row in queries.cost_overview().by_day] == [
            (day - timedelta(days=1), 2),
            (day, hours),
            (day + timedelta(days=1), 2),
        ]
        assert queries.cost_overview(start, end).total_cost_usd == hours
        # part-days on both sides: from the second hour to the last but one
        part = queries.cost_overview(start + timedelta(minutes=30), end - timedelta(minutes=30))
        assert (part.total_cost_usd, [row.date for row in part.by_day]) == (hours - 1, [day])
        around = queries.cost_overview(start - timedelta(minutes=90), end + timedelta(minutes=30))
        assert [row.total_cost_usd for row in around.by_day] == [1, hours, 1]
        assert services.recount().total == 0


def test_a_day_that_begins_at_one_o_clock() -> None:
    with business_zone("America/Havana") as zone:  # on 8 March 2026 the clocks go from 23:59 to 01:00
        session = make_session(now=datetime(2026, 1, 1, tzinfo=UTC))
        begin = datetime(2026, 3, 8, 5, tzinfo=UTC)
        make_usage(session, model="m", cost_usd=1, when=begin - timedelta(seconds=1))
        make_usage(session, model="m", cost_usd=2, when=begin)
        assert begin.astimezone(zone).hour == 1
        assert [(row.date.day, row.total_cost_usd) for row in queries.cost_overview().by_day] == [(7, 1), (8, 2)]
        assert queries.cost_overview(begin).total_cost_usd == 2
        assert queries.cost_overview(None, begin).total_cost_usd == 1
        assert services.recount().total == 0


# --- all sums agree


DAY = 86_400
MOMENTS = st.one_of(
    st.integers(0, 12 * DAY * 1_000_000),
    # the edges of days, in the zones below
    st.builds(
        lambda day, minutes, step: (day * DAY + minutes * 60) * 1_000_000 + step,
        st.integers(0, 12),
        st.sampled_from([0, 255, -345, 150, 210]),
        st.sampled_from([-1, 0, 1]),
    ),
).map(lambda micro: datetime(2026, 10, 25, tzinfo=UTC) + timedelta(microseconds=micro))
TOKENS = st.one_of(st.integers(0, 5), st.integers(0, 100_000_000))
CALL = st.fixed_dictionaries(
    {
        "session": st.integers(0, 5),
        "user_id": st.sampled_from([None, "alice", "zoe", "ünï", "z'; --"]),
        # with a price in the table, and without one
        "model": st.sampled_from(["claude-sonnet-4-5", "gpt-5.1", "home-grown", "m%s", "M%S"]),
        "cost_usd": st.one_of(st.none(), st.integers(0, 10**15).map(lambda nano: Decimal(nano).scaleb(-9)), st.just(0.1)),
        "input_tokens": TOKENS,
        "output_tokens": TOKENS,
        "cache_read_tokens": TOKENS,
        "cache_write_tokens": TOKENS,
        "timestamp": MOMENTS,
    }
)
TOKEN_COLUMNS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def sums_of(rows: list[Any]) -> tuple[Any, ...]:
    """Add up rows of the overview."""
    return (
        sum((row.total_cost_usd or ZERO for row in rows), ZERO),
        sum(row.total_turns for row in rows),
        sum(row.unpriced_turns for row in rows),
        sum(row.priced_tokens for row in rows),
        sum(row.input_tokens for row in rows),
        sum(row.total_output_tokens for row in rows),
        sum(row.total_cache_read for row in rows),
        sum(row.total_cache_write for row in rows),
        sum(row.total_input_tokens for row in rows),
    )


def truth(since: datetime | None, until: datetime | None) -> tuple[Any, ...]:
    """The same sums, straight from the records."""
    records = UsageRecord.objects.all()
    if since:
        records = records.filter(timestamp__gte=since)
    if until:
        records = records.filter(timestamp__lt=until)
    found = records.aggregate(turns=Count("pk"), cost=Sum("cost_usd"), **{name: Sum(name) for name in TOKEN_COLUMNS})
    priced = records.exclude(cost_usd=None).aggregate(count=Count("pk"), **{name: Sum(name) for name in TOKEN_COLUMNS})
    tokens = [found[name] or 0 for name in TOKEN_COLUMNS]
    return (
        found["cost"] or ZERO,
        found["turns"],
        found["turns"] - priced["count"],
        sum(priced[name] or 0 for name in TOKEN_COLUMNS),
        *tokens,
        tokens[0] + tokens[2] + tokens[3],
    )


def check_sums(costs: CostOverview, since: datetime | None, until: datetime | None) -> None:
    expected = truth(since, until)
    assert sums_of([costs]) == sums_of(costs.by_user) == sums_of(costs.by_model) == expected
    assert sum((day.total_cost_usd or ZERO for day in costs.by_day), ZERO) == expected[0]
    by_model: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for day in costs.by_day:
        assert day.total_cost_usd == (
            None if all(row.cost_usd is None for row in day.by_model) else sum((row.cost_usd or ZERO for row in day.by_model), ZERO)
        )
        for row in day.by_model:
            by_model[row.model] += row.cost_usd or ZERO
    assert {row.model: row.total_cost_usd or ZERO for row in costs.by_model} == by_model
    assert [day.date for day in costs.by_day] == sorted({day.date for day in costs.by_day})
    for row in (*costs.by_user, *costs.by_model):
        assert (row.total_cost_usd is None) == (row.total_turns == row.unpriced_turns)


@given(
    calls=st.lists(CALL, max_size=25),
    bounds=st.lists(st.tuples(st.none() | MOMENTS, st.none() | MOMENTS), min_size=1, max_size=4),
    zone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin"]),
)
def test_sum_of_users_models_days_sessions_and_records_are_one(calls: list[dict[str, Any]], bounds: list[Any], zone: str) -> None:
    with transaction.atomic(), business_zone(zone):
        start = datetime(2026, 10, 1, tzinfo=UTC)
        sessions = [make_session(key=str(number), user_id=user, now=start) for number, user in enumerate(["alice", "zoe", "ünï"] * 2)]
        for call in calls:
            services.record_usage(
                sessions[call["session"]].id, now=start, **{key: value for key, value in call.items() if key != "session"}
            )
        whole = queries.cost_overview()
        check_sums(whole, None, None)
        of_sessions = Session.objects.aggregate(cost=Sum("cost_usd"), turns=Sum("total_turns"), priced=Sum("priced_tokens"))
        assert (of_sessions["cost"], of_sessions["turns"], of_sessions["priced"]) == (
            whole.total_cost_usd,
            whole.total_turns,
            whole.priced_tokens,
        )
        for since, until in bounds:
            check_sums(queries.cost_overview(since, until), since, until)
            # two halves are the whole, wherever it is cut
            if since is not None:
                before, after = queries.cost_overview(None, since), queries.cost_overview(since)
                assert sums_of([before, after]) == sums_of([whole])
        if connection.vendor == "sqlite":
            kinds = {
                type(row[0])
                for row in _raw("SELECT cost_usd FROM sessions_app_usageday UNION SELECT cost_usd FROM sessions_app_usagerecord")
            }
            assert kinds <= {int, type(None)}
        result = services.recount()
        assert (result.total, result.differences) == (0, [])
        transaction.set_rollback(True)
    assert StoreFact.objects.get(pk="time_zone").value == "UTC"


def _raw(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
