"""What is said and what it costs: every rule of storing, what stands in the tables afterwards, and the same event twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from sessions_app import queries, services
from sessions_app.errors import EventIdReused, InvalidMessage, InvalidUsage, SessionNotFound
from sessions_app.events import CompactionEvent, Event, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Compaction, Message, Session, ToolDay, ToolDayByName, UsageDay, UsageDayBy, UsageRecord
from tests.factories import T0, at, make_session, make_usage

pytestmark = pytest.mark.django_db


def again(session: Session) -> Session:
    return Session.objects.get(pk=session.pk)


def nothing_to_mend() -> None:
    result = services.recount(dry_run=True)
    assert result.differences == []


# --- messages -----------------------------------------------------------------------------------------------------------------------


def test_a_message_is_stored_whole_counted_and_moves_the_session() -> None:
    session = make_session()
    saved = services.save_message(
        session.id, "assistant", "Hello\n", timestamp=at(5), agent="claude-code", extra={"a": [1]}, response_id="r1", source="s", now=at(6)
    )
    stored = Message.objects.get()
    assert stored.pk == saved.pk
    assert (stored.role, stored.content, stored.timestamp, stored.received_at) == ("assistant", "Hello\n", at(5), at(6))
    assert (stored.agent, stored.extra, stored.response_id, stored.source, stored.event_id) == ("claude-code", {"a": [1]}, "r1", "s", "")
    row = again(session)
    assert (row.message_count, row.last_message_at, row.agent, row.is_read) == (1, at(5), "claude-code", True)
    nothing_to_mend()


@pytest.mark.parametrize("role", ["user", "assistant", "system", "thinking", "tool_use", "tool_result"])
def test_every_role_is_stored_in_order_and_counted(role: str) -> None:
    session = make_session()
    for number in range(3):
        services.save_message(session.id, role, f"{number}", now=at(number))
    assert [message.content for message in queries.get_messages(session.id)] == ["0", "1", "2"]
    assert again(session).message_count == 3


@pytest.mark.parametrize("role", ["", "User", "tool", "developer", None, 5, []])
def test_an_unknown_role_is_refused(role: Any) -> None:
    session = make_session()
    with pytest.raises(InvalidMessage) as caught:
        services.save_message(session.id, role, "x")
    assert "assistant" in caught.value.detail
    assert not Message.objects.exists()
    assert again(session).message_count == 0


@pytest.mark.parametrize("content", [None, 5, b"x", {"type": "text"}])
def test_content_is_text(content: Any) -> None:
    with pytest.raises(InvalidMessage):
        services.save_message(make_session().id, "user", content)


@pytest.mark.parametrize(
    "when", [T0.replace(tzinfo=None), "2026-09-01T00:00:00Z", datetime(1969, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
)
def test_a_naive_or_impossible_time_is_refused(when: Any) -> None:
    session = make_session()
    with pytest.raises(InvalidMessage):
        services.save_message(session.id, "user", "x", timestamp=when)
    with pytest.raises(InvalidUsage):
        services.record_usage(session.id, model="m", input_tokens=1, output_tokens=1, timestamp=when)
    with pytest.raises(InvalidMessage):
        services.record_compaction(session.id, trigger="auto", pre_tokens=1, summary="", messages_compacted=1, timestamp=when)
    assert not Message.objects.exists() and not UsageRecord.objects.exists() and not Compaction.objects.exists()


def test_what_no_database_holds_becomes_a_mark_and_is_counted() -> None:
    session = make_session()
    services.save_message(session.id, "user", "a\x00b\ud83dc\udc00", extra={"k\x00": ["\ud800", float("nan"), float("inf"), None, 1.5]})
    stored = Message.objects.get()
    assert stored.content == "a\ufffdb\ufffdc\ufffd"
    assert stored.extra == {"k\ufffd": ["\ufffd", "nan", "inf", None, 1.5], "replaced_characters": 3}
    assert again(session).title == "a\ufffdb\ufffdc\ufffd"


def test_last_message_at_never_goes_back() -> None:
    session = make_session()
    for minutes in (10, 3, 20, 7):
        services.save_message(session.id, "user", "x", timestamp=at(minutes), now=at(30))
    assert again(session).last_message_at == at(20)
    assert [message.timestamp for message in queries.get_messages(session.id)] == [at(10), at(3), at(20), at(7)]


def test_of_two_times_in_the_hour_that_comes_twice_the_later_one_counts() -> None:
    zurich = ZoneInfo("Europe/Zurich")
    first = datetime(2026, 10, 25, 2, 45, tzinfo=zurich)
    second = datetime(2026, 10, 25, 2, 15, tzinfo=zurich, fold=1)  # half an hour later
    session = make_session()
    services.store_events(session, [MessageEvent(role="user", content="x", timestamp=when) for when in (second, first)], now=at(days=90))
    assert again(session).last_message_at == second.astimezone(UTC)


def test_a_message_without_a_time_gets_ours() -> None:
    session = make_session()
    services.save_message(session.id, "user", "x", now=at(9))
    assert Message.objects.get().timestamp == again(session).last_message_at == at(9)


def test_the_first_user_message_becomes_the_title() -> None:
    session = make_session()
    services.save_message(session.id, "assistant", "Welcome")
    services.save_message(session.id, "user", " \n ")
    services.save_message(session.id, "user", "from the sub-agent", subagent_id="a1")
    services.save_message(session.id, "user", "Fix  the\nparser ")
    services.save_message(session.id, "user", "another")
    assert again(session).title == "Fix the parser"


def test_a_title_of_ones_own_stays() -> None:
    session = make_session()
    services.set_title_if_empty(session.id, "Mine")
    services.save_message(session.id, "user", "prompt")
    assert again(session).title == "Mine"


def test_a_closed_session_keeps_the_message_and_stays_closed() -> None:
    session = make_session(messages=1)
    services.close_session(session.id, "done", now=at(1))
    services.save_message(session.id, "user", "late", timestamp=at(2), now=at(3))
    make_usage(session)
    row = again(session)
    assert (row.closed_at, row.summary, row.message_count, row.last_message_at, row.total_turns) == (at(1), "done", 2, at(2), 1)


def test_an_archived_session_keeps_the_message_too() -> None:
    session = make_session(archived_at=T0)
    services.save_message(session.id, "user", "late")
    assert again(session).is_archived and again(session).message_count == 1


# --- tools --------------------------------------------------------------------------------------------------------------------------


def tool_rows() -> list[tuple[str, str, int, int]]:
    rows = ToolDayByName.objects.order_by("day", "tool_name")
    return [(f"{row.day:%d}", row.tool_name, row.invocations, row.errors) for row in rows if row.invocations or row.errors]


def test_a_call_and_its_result_are_paired_by_their_json() -> None:
    session = make_session()
    services.save_message(
        session.id, "tool_use", json.dumps({"type": "tool_use", "id": "c1", "name": "Bash", "input": {"command": "ls"}}), now=T0
    )
    services.save_message(
        session.id,
        "tool_result",
        json.dumps({"type": "tool_result", "tool_use_id": "c1", "content": "x", "is_error": True}),
        now=at(days=1),
    )
    call, result = queries.get_messages(session.id)
    assert (call.tool_name, call.tool_call_id, call.is_error) == ("Bash", "c1", False)
    assert (result.tool_name, result.tool_call_id, result.is_error) == ("Bash", "c1", True)
    row = again(session)
    assert (row.tool_call_count, row.error_count) == (1, 1)
    # the call on its own day, the error on its result's
    assert tool_rows() == [("01", "Bash", 1, 0), ("02", "Bash", 0, 1)]
    assert queries.cost_overview().by_tool == [queries.ToolUse("Bash", 1, 1)]
    nothing_to_mend()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "ls -la",
        "{",
        "[1, 2]",
        '"text"',
        "null",
        '{"type": "other", "name": "Bash"}',
        '{"type": "tool_use"}',
        '{"type": "tool_use", "id": 5, "name": ["x"]}',
        '{"type": "tool_use", "id": "", "name": " "}',
        "[" * 100_000,
    ],
    ids=range(11),
)
def test_content_that_is_no_such_json_is_kept_under_unknown(content: str) -> None:
    session = make_session()
    services.save_message(session.id, "tool_use", content, now=T0)
    services.save_message(session.id, "tool_result", content, now=T0)
    call, result = queries.get_messages(session.id)
    assert (call.tool_name, call.tool_call_id, call.content) == ("unknown", "", content)
    assert (result.tool_name, result.is_error) == ("unknown", False)
    assert tool_rows() == [("01", "unknown", 1, 0)]
    nothing_to_mend()


def test_a_mad_tool_name_is_cut_and_the_whole_stays_in_the_content() -> None:
    session = make_session()
    content = json.dumps({"type": "tool_use", "id": "i" * 999, "name": "n\x00" * 300, "input": {}})
    services.save_message(session.id, "tool_use", content, now=T0)
    stored = Message.objects.get()
    assert (stored.tool_name, stored.tool_call_id, stored.content) == (("n\ufffd" * 300)[:255], "i" * 255, content)


def test_a_result_that_comes_before_its_call_gets_the_name_later() -> None:
    session = make_session()
    services.store_events(session, [tool_result("c1", "boom", is_error=True, timestamp=at(1))], now=at(1))
    assert tool_rows() == [("01", "unknown", 0, 1)]
    services.store_events(session, [tool_use("c1", "Bash", {}, timestamp=at(days=-1))], now=at(2))
    assert tool_rows() == [("01", "Bash", 0, 1), ("31", "Bash", 1, 0)] or tool_rows() == [("31", "Bash", 1, 0), ("01", "Bash", 0, 1)]
    assert Message.objects.get(role="tool_result").tool_name == "Bash"
    nothing_to_mend()


def test_a_result_before_its_call_in_one_batch_too() -> None:
    session = make_session()
    services.store_events(session, [tool_result("c1", "boom", is_error=True), tool_use("c1", "Bash", {})], now=T0)
    assert tool_rows() == [("01", "Bash", 1, 1)]
    nothing_to_mend()


def test_results_find_their_call_in_their_own_session_only() -> None:
    one, other = make_session(key="1"), make_session(key="2")
    services.store_events(one, [tool_use("c1", "Bash", {})], now=T0)
    services.store_events(other, [tool_result("c1", "x", is_error=True)], now=T0)
    assert Message.objects.get(session=other).tool_name == "unknown"


def test_a_reported_tool_name_of_a_result_holds_where_no_call_is_known() -> None:
    session = make_session()
    event = tool_result("c9", "x", is_error=True)
    event.tool_name = "Fetch"
    services.store_events(session, [event], now=T0)
    assert tool_rows() == [("01", "Fetch", 0, 1)]


# --- usage --------------------------------------------------------------------------------------------------------------------------


def test_usage_is_stored_priced_and_added_up() -> None:
    session = make_session()
    record = services.record_usage(
        session.id,
        model="claude-sonnet-4-5",
        input_tokens=1000,
        output_tokens=100,
        cache_read_tokens=10_000,
        cache_write_tokens=2000,
        cache_write_1h_tokens=500,
        provider="anthropic",
        timestamp=at(1),
        now=at(2),
    )
    stored = UsageRecord.objects.get()
    assert stored.pk == record.pk
    # $3 input, $15 output, $0.30 read, $3.75 write, $6 one-hour write, a million
    cost = Decimal("0.003") + Decimal("0.0015") + Decimal("0.003") + Decimal("0.005625") + Decimal("0.003")
    assert (stored.cost_usd, stored.cost_source, stored.turn, stored.user_id) == (cost, "computed", 1, "alice")
    assert (stored.timestamp, stored.received_at) == (at(1), at(2))
    row = again(session)
    assert (row.total_turns, row.unpriced_turns, row.cost_usd, row.priced_tokens, row.model) == (1, 0, cost, 13_100, "claude-sonnet-4-5")
    usage = queries.session_usage(session.id)
    assert (usage.total_input_tokens, usage.total_output_tokens) == (13_000, 100)
    assert (usage.total_cache_read, usage.total_cache_write, usage.total_cost_usd, usage.total_turns) == (10_000, 2000, cost, 1)
    day = UsageDay.objects.get()
    assert (day.day.isoformat(), day.owner, day.user_id, day.model, day.channel, day.cost_source) == (
        "2026-09-01", "alice", "alice", "claude-sonnet-4-5", "main", "computed",
    )  # fmt: skip
    assert (day.turns, day.input_tokens, day.cache_write_1h_tokens, day.cost_usd) == (1, 1000, 500, cost)
    assert UsageDayBy.objects.count() == len(UsageDayBy.DIMENSIONS)
    nothing_to_mend()


def test_a_reported_cost_wins_and_zero_is_a_reported_zero() -> None:
    session = make_session()
    assert make_usage(session, cost_usd=Decimal("1.25")).cost_source == "reported"
    assert make_usage(session, cost_usd=0).cost_usd == 0
    row = again(session)
    assert (row.cost_usd, row.unpriced_turns, row.cost_known) == (Decimal("1.25"), 0, Decimal("1.25"))


def test_an_unknown_model_has_an_unknown_cost_never_zero() -> None:
    session = make_session()
    record = make_usage(session, model="made-up-9000")
    assert (record.cost_usd, record.cost_source) == (None, "unknown")
    row = again(session)
    assert (row.cost_usd, row.cost_known, row.unpriced_turns, row.priced_tokens) == (0, None, 1, 0)
    overview = queries.cost_overview()
    assert (overview.total_cost_usd, overview.by_model[0].cost_usd, overview.by_user[0].cost_usd) == (0, None, None)
    assert (overview.by_day[0].total_cost_usd, overview.unpriced_turns, overview.priced_tokens) == (None, 1, 0)
    make_usage(session)
    assert again(session).cost_known == again(session).cost_usd > 0


@pytest.mark.parametrize(
    ("cost", "stored"),
    [
        (0.1, "0.100000000"),
        ("0.0000000005", "0.000000000"),  # half-even, down to 0
        ("0.0000000015", "0.000000002"),
        ("0.0000000025", "0.000000002"),
        (Decimal("1e-400"), "0.000000000"),
        (1_000_000, "1000000.000000000"),
        (1e-9, "0.000000001"),
        (-0.0, "0.000000000"),
    ],
)
def test_a_cost_is_rounded_once_to_nano_dollars(cost: Any, stored: str) -> None:
    record = make_usage(make_session(), cost_usd=cost)
    assert UsageRecord.objects.get(pk=record.pk).cost_usd == Decimal(stored)
    nothing_to_mend()


@pytest.mark.parametrize(
    "cost",
    [-1, -1e-9, float("nan"), float("inf"), float("-inf"), "NaN", "sNaN", "Infinity", Decimal("sNaN"), 1_000_000.01, "1e400", 10**5000, "a lot", "", True, [], {}, b"1"],
    ids=range(18),
)  # fmt: skip
def test_a_cost_that_is_no_amount_is_refused(cost: Any) -> None:
    session = make_session()
    with pytest.raises(InvalidUsage) as caught:
        make_usage(session, cost_usd=cost)
    assert caught.value.field == "cost_usd"
    assert not UsageRecord.objects.exists() and not UsageDay.objects.exists()
    assert again(session).total_turns == 0


@pytest.mark.parametrize("column", ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"])
@pytest.mark.parametrize("value", [-1, 100_000_001, 10**5000, 1.5, "5", None, True], ids=range(7))
def test_a_count_that_is_none_is_refused(column: str, value: Any) -> None:
    session = make_session()
    with pytest.raises(InvalidUsage) as caught:
        services.record_usage(session.id, **{"model": "m", "input_tokens": 1, "output_tokens": 1, column: value})
    assert caught.value.field == column
    assert not UsageRecord.objects.exists()


def test_one_hour_writes_are_a_part_of_the_writes() -> None:
    with pytest.raises(InvalidUsage):
        make_usage(make_session(), cache_write_tokens=1, cache_write_1h_tokens=2)


def test_the_largest_call_is_stored() -> None:
    session = make_session()
    make_usage(
        session,
        input_tokens=100_000_000,
        output_tokens=100_000_000,
        cache_read_tokens=100_000_000,
        cache_write_tokens=100_000_000,
        cost_usd=1_000_000,
    )
    assert queries.cost_overview().total_tokens == 400_000_000
    nothing_to_mend()


def test_turns_are_numbered_and_need_not_be_unique() -> None:
    session = make_session()
    assert [make_usage(session, turn=turn).turn for turn in (None, 7, 7, None, 3, None)] == [1, 7, 7, 8, 3, 9]
    assert again(session).total_turns == 6
    nothing_to_mend()


@pytest.mark.parametrize("turn", [-1, 2_000_000_001, "1", 1.0, True])
def test_a_turn_is_a_number(turn: Any) -> None:
    with pytest.raises(InvalidUsage):
        make_usage(make_session(), turn=turn)


def test_the_user_of_a_record_may_be_another_than_the_sessions_owner() -> None:
    session = make_session(user_id="alice")
    make_usage(session, user_id="bob", cost_usd=1)
    make_usage(session, cost_usd=2)
    assert [(row.user_id, row.cost_usd) for row in queries.cost_overview().by_user] == [("alice", 2), ("bob", 1)]
    nothing_to_mend()


@pytest.mark.parametrize(("field", "value"), [("model", "m" * 256), ("model", None), ("user_id", "u" * 256), ("provider", "p" * 101)])
def test_names_of_a_record_are_text_of_a_length(field: str, value: Any) -> None:
    with pytest.raises(InvalidUsage) as caught:
        make_usage(make_session(), **{field: value})
    assert caught.value.field == field


def test_an_empty_model_is_unknown() -> None:
    assert make_usage(make_session(), model="  ").model == "unknown"


def test_the_sessions_model_is_the_main_threads_newest() -> None:
    session = make_session()
    make_usage(session, model="sub-1", subagent_id="a")
    assert again(session).model == "sub-1"
    make_usage(session, model="main-1")
    make_usage(session, model="sub-2", subagent_id="a")
    assert again(session).model == "main-1"
    make_usage(session, model="main-2")
    assert again(session).model == "main-2"
    nothing_to_mend()


def test_a_price_is_the_one_of_its_day() -> None:
    from sessions_app import pricing

    session = make_session()
    early = datetime(2024, 4, 1, tzinfo=UTC)
    for when in (early, T0):
        record = make_usage(session, model="gpt-4o-mini", when=when)
        assert record.cost_usd == pricing.price_call(model="gpt-4o-mini", input_tokens=1000, output_tokens=100, at=when)


def test_a_fast_call_may_cost_more() -> None:
    session = make_session()
    slow = make_usage(session, model="claude-opus-5", provider="anthropic")
    fast = make_usage(session, model="claude-opus-5", provider="anthropic", extra={"speed": "fast"})
    assert fast.cost_usd > slow.cost_usd
    assert make_usage(session, model="claude-opus-5", provider="anthropic", extra={"speed": ["fast"]}).cost_usd == slow.cost_usd


def test_days_are_cut_in_the_business_zone(settings: Any) -> None:
    services.recount(time_zone="Europe/Zurich")
    settings.TIME_ZONE = "Europe/Zurich"
    session = make_session()
    make_usage(session, when=datetime(2026, 9, 1, 22, 0, tzinfo=UTC), cost_usd=1)  # midnight in Zurich
    make_usage(session, when=datetime(2026, 9, 1, 21, 59, 59, tzinfo=UTC), cost_usd=2)
    assert [(str(day.date), day.total_cost_usd) for day in queries.cost_overview().by_day] == [("2026-09-01", 2), ("2026-09-02", 1)]
    nothing_to_mend()


# --- compactions --------------------------------------------------------------------------------------------------------------------


def test_a_compaction_stands_beside_the_originals() -> None:
    session = make_session(messages=4)
    made = services.record_compaction(
        session.id,
        trigger="auto",
        pre_tokens=163_204,
        summary="short\x00",
        messages_compacted=4,
        timestamp=at(9),
        extra={"k": 1},
        now=at(10),
    )
    stored = Compaction.objects.get()
    assert stored.pk == made.pk
    assert (stored.trigger, stored.pre_tokens, stored.summary, stored.messages_compacted) == ("auto", 163_204, "short\ufffd", 4)
    assert (stored.timestamp, stored.received_at, stored.extra) == (at(9), at(10), {"k": 1, "replaced_characters": 1})
    assert Message.objects.count() == again(session).message_count == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [("trigger", "t" * 41), ("pre_tokens", -1), ("pre_tokens", "5"), ("messages_compacted", -1), ("messages_compacted", None)],
)
def test_a_compaction_that_is_none_is_refused(field: str, value: Any) -> None:
    words: dict[str, Any] = {"trigger": "auto", "pre_tokens": 1, "summary": "", "messages_compacted": 1, field: value}
    with pytest.raises(InvalidMessage) as caught:
        services.record_compaction(make_session().id, **words)
    assert caught.value.field == field


# --- the same event twice -----------------------------------------------------------------------------------------------------------


def test_a_resend_is_stored_once() -> None:
    session = make_session()
    message = [services.save_message(session.id, "user", "x", event_id="e", source="s", timestamp=T0, now=at(n)).pk for n in range(3)]
    usage = [make_usage(session, event_id="e", source="s").pk for _ in range(3)]
    words: dict[str, Any] = {"trigger": "auto", "pre_tokens": 1, "summary": "s", "messages_compacted": 1, "event_id": "e", "source": "s"}
    compaction = [services.record_compaction(session.id, **words).pk for _ in range(3)]
    assert len(set(message)) == len(set(usage)) == len(set(compaction)) == 1
    row = again(session)
    assert (row.message_count, row.total_turns, Compaction.objects.count()) == (1, 1, 1)
    nothing_to_mend()


def test_the_same_id_with_another_body_is_refused_and_changes_nothing() -> None:
    session, other = make_session(key="1"), make_session(key="2")
    services.save_message(session.id, "user", "x", event_id="e")
    make_usage(session, event_id="e")
    services.record_compaction(session.id, trigger="auto", pre_tokens=1, summary="s", messages_compacted=1, event_id="e")
    before = (Message.objects.get(), again(session).cost_usd)
    calls = [
        lambda: services.save_message(session.id, "user", "y", event_id="e"),
        lambda: services.save_message(session.id, "assistant", "x", event_id="e"),
        lambda: services.save_message(other.id, "user", "x", event_id="e"),  # another session
        lambda: make_usage(session, event_id="e", output_tokens=101),
        lambda: make_usage(session, event_id="e", cost_usd=1),
        lambda: make_usage(other, event_id="e"),
        lambda: services.record_compaction(session.id, trigger="auto", pre_tokens=2, summary="s", messages_compacted=1, event_id="e"),
    ]
    for call in calls:
        with pytest.raises(EventIdReused) as caught:
            call()
        assert (caught.value.code, caught.value.http_status, caught.value.field) == ("event_id_reused", 409, "event_id")
    assert (Message.objects.get(), again(session).cost_usd) == before
    assert again(other).message_count == again(other).total_turns == 0
    nothing_to_mend()


def test_ids_are_unique_within_their_source_and_kind_only() -> None:
    session = make_session()
    for source in ("", "a", "b"):
        services.save_message(session.id, "user", source, event_id="e", source=source)
        make_usage(session, event_id="e", source=source)
    for _ in range(2):
        services.save_message(session.id, "user", "same")  # without an id nothing is a resend
    assert (again(session).message_count, again(session).total_turns) == (5, 3)


@pytest.mark.parametrize("field", ["event_id", "agent", "subagent_id", "response_id"])
def test_a_name_of_a_message_that_is_too_long_is_refused(field: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        services.save_message(make_session().id, "user", "x", **{field: "x" * 256})
    assert caught.value.field == field


# --- many at once -------------------------------------------------------------------------------------------------------------------


def some_events() -> list[Event]:
    return [
        MessageEvent(role="user", content="Hi", timestamp=at(1), event_id="1"),
        UsageEvent(model="claude-sonnet-4-5", input_tokens=10, output_tokens=5, timestamp=at(2), event_id="2"),
        tool_use("c1", "Bash", {}, timestamp=at(2), event_id="3"),
        tool_result("c1", "no", is_error=True, timestamp=at(3), event_id="4"),
        CompactionEvent(trigger="auto", pre_tokens=5, summary="s", messages_compacted=2, timestamp=at(4), event_id="5"),
    ]


def test_a_batch_is_the_same_as_one_by_one() -> None:
    session = make_session()
    result = services.store_events(session, some_events(), source="log", now=at(9))
    assert (result.stored, result.messages, result.usage_records, result.compactions) == (5, 3, 1, 1)
    assert (result.duplicates, result.updated, result.refused) == (0, 0, [])
    row = again(session)
    assert (row.title, row.message_count, row.tool_call_count, row.error_count, row.total_turns) == ("Hi", 3, 1, 1, 1)
    assert row.last_message_at == at(3)
    nothing_to_mend()
    second = services.store_events(session, some_events(), source="log", now=at(10))
    assert (second.stored, second.duplicates) == (0, 5)
    assert again(session).message_count == 3
    nothing_to_mend()


def test_a_refused_event_does_not_take_the_others_with_it() -> None:
    session = make_session()
    events = some_events()
    events[1] = UsageEvent(model="m", input_tokens=-1, output_tokens=5)
    events.append(MessageEvent(role="nobody", content="x"))
    events.append(MessageEvent(role="user", content="other body", timestamp=at(1), event_id="1"))
    result = services.store_events(session, events, source="log", now=at(9))
    assert [(refusal.index, refusal.error.code) for refusal in result.refused] == [
        (1, "invalid_usage"),
        (5, "invalid_message"),
        (6, "event_id_reused"),
    ]
    assert [row is None for row in result.rows] == [False, True, False, False, False, True, True]
    assert again(session).message_count == 3
    nothing_to_mend()


def test_a_batch_may_hold_the_same_event_twice() -> None:
    session = make_session()
    result = services.store_events(session, [*some_events(), *some_events()], source="log", now=T0)
    assert (result.stored, result.duplicates) == (5, 5)
    nothing_to_mend()


def test_several_sessions_at_once_each_get_their_own() -> None:
    sessions = [make_session(key=str(number)) for number in range(3)]
    batch: list[tuple[Session | UUID | str, list[Event]]] = [
        (
            session,
            [
                MessageEvent(role="user", content=f"{number}", event_id=f"{number}"),
                UsageEvent(model="m", input_tokens=number, output_tokens=1),
            ],
        )
        for number, session in enumerate(sessions)
    ]
    results = services.store_batch(batch, source="log", now=T0)
    assert [result.stored for result in results] == [2, 2, 2]
    assert [(again(session).title, again(session).input_tokens) for session in sessions] == [("0", 0), ("1", 1), ("2", 2)]
    nothing_to_mend()


def test_a_missing_session_in_a_batch_stores_nothing() -> None:
    session = make_session()
    with pytest.raises(SessionNotFound):
        services.store_batch([(session, some_events()), (UUID(int=7), some_events())])
    assert again(session).message_count == 0


def test_imported_history_stays_read_and_moves_the_beginning_back() -> None:
    session = make_session(triggered_by="nightly", now=at(100))
    services.store_events(session, [MessageEvent(role="assistant", content="x", timestamp=at(1))], imported=True, now=at(200))
    row = again(session)
    assert (row.is_read, row.created_at, row.last_message_at) == (True, at(1), at(100))


def test_new_sessions_with_all_their_history_in_one_go() -> None:
    session = Session(channel_id="main", key="k", user_id="alice", agent="bot", created_at=T0, last_message_at=T0)
    results = services.transcript.store_new_sessions([(session, some_events())], now=at(9))
    assert [result.stored for result in results] == [5]
    row = again(session)
    assert (row.title, row.message_count, row.total_turns, row.cost_usd > 0) == ("Hi", 3, 1, True)
    nothing_to_mend()


# --- a body that replaces another ---------------------------------------------------------------------------------------------------


def running(
    output: int, *, model: str = "claude-sonnet-4-5", when: datetime = T0, subagent_id: str = "", event_id: str = "call"
) -> UsageEvent:
    return UsageEvent(
        model=model, input_tokens=10, output_tokens=output, timestamp=when, event_id=event_id, replaces=True, subagent_id=subagent_id
    )


@pytest.mark.parametrize("batches", [[[5], [30], [20]], [[5, 30, 20]], [[5], [30, 20]], [[30], [5, 20]], [[20, 5], [30]]], ids=str)
def test_of_a_running_figure_the_largest_stays(batches: list[list[int]]) -> None:
    session = make_session()
    for outputs in batches:
        services.store_events(session, [running(output) for output in outputs], source="log", now=T0)
    record = UsageRecord.objects.get()
    assert (record.output_tokens, record.turn) == (30, 1)
    row = again(session)
    assert (row.total_turns, row.output_tokens, row.cost_usd) == (1, 30, record.cost_usd)
    nothing_to_mend()


def test_a_replaced_record_takes_its_day_model_and_price_along() -> None:
    session = make_session()
    services.store_events(session, [running(5)], source="log", now=T0)
    make_usage(session, model="other", subagent_id="a")
    services.store_events(session, [running(50, model="claude-opus-4-5", when=at(days=1))], source="log", now=T0)
    assert again(session).model == "claude-opus-4-5"
    assert [(str(day.date), [model.model for model in day.by_model]) for day in queries.cost_overview().by_day] == [
        ("2026-09-01", ["other"]),
        ("2026-09-02", ["claude-opus-4-5"]),
    ]
    nothing_to_mend()


def test_a_replacement_in_another_session_is_copied_history() -> None:
    one, other = make_session(key="1"), make_session(key="2")
    services.store_events(one, [running(5)], source="log", now=T0)
    result = services.store_events(other, [running(50)], source="log", now=T0)
    assert (result.duplicates, result.updated, result.refused) == (1, 0, [])
    assert (again(one).output_tokens, again(other).output_tokens) == (5, 0)


# --- what is learned later ------------------------------------------------------------------------------------------------------------


def test_an_agent_learned_later_takes_the_day_rows_along() -> None:
    session = make_session()
    make_usage(session, cost_usd=1)
    services.store_events(session, [tool_use("c1", "Bash", {}), tool_result("c1", "no", is_error=True)], now=T0)
    assert set(UsageDay.objects.values_list("agent", flat=True)) == {""}
    # the batch that names the agent brings a call and an error of its own
    named = [tool_use("c2", "Read", {}, agent="claude-code"), tool_result("c2", "no", is_error=True)]
    services.store_events(session, [*named, UsageEvent(model="m", input_tokens=1, output_tokens=1)], now=T0)
    assert again(session).agent == "claude-code"
    assert {row.agent for row in UsageDay.objects.all() if row.turns} == {"claude-code"}
    assert {row.agent for row in ToolDay.objects.all() if row.invocations or row.errors} == {"claude-code"}
    nothing_to_mend()
    services.save_message(session.id, "assistant", "x", agent="someone-else")
    assert again(session).agent == "claude-code"


def test_facts_filled_in_stay_and_move_the_sums() -> None:
    from sessions_app import day_rows

    session = make_session()
    make_usage(session, cost_usd=1)
    for project in ("ledger", "other"):
        with day_rows.writing():
            services.set_session_facts(again(session), project=project, git_branch="main")
    assert (again(session).project, again(session).git_branch) == ("ledger", "main")
    assert [row.project for row in UsageDay.objects.all() if row.turns] == ["ledger"]
    nothing_to_mend()


# --- one transaction ------------------------------------------------------------------------------------------------------------------


def test_what_fails_leaves_nothing_behind() -> None:
    session = make_session()
    with pytest.raises(RuntimeError), transaction.atomic():
        make_usage(session)
        services.store_events(session, some_events())
        raise RuntimeError
    assert (
        not Message.objects.exists() and not UsageRecord.objects.exists() and not UsageDay.objects.exists() and not ToolDay.objects.exists()
    )
    make_usage(session)
    assert UsageDay.objects.get().turns == 1
    nothing_to_mend()


def test_a_failed_part_of_a_larger_write_adds_nothing_to_its_sums() -> None:
    from sessions_app import day_rows

    session = make_session()
    with day_rows.writing():
        make_usage(session, cost_usd=1)
        with pytest.raises(RuntimeError), day_rows.writing():
            make_usage(session, cost_usd=2)
            raise RuntimeError
    assert (again(session).cost_usd, UsageDay.objects.get().cost_usd) == (1, 1)
    nothing_to_mend()


def test_a_sender_in_any_zone_means_one_moment() -> None:
    session = make_session()
    services.save_message(session.id, "user", "x", timestamp=datetime(2026, 9, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    assert Message.objects.get().timestamp == T0
