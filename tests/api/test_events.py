"""What happens in a session over HTTP: messages, usage, compactions and whole turns, and the money in them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from sessions_app import queries, services
from sessions_app.models import Compaction, Message, Session, UsageRecord
from tests.api.conftest import Api, problem

pytestmark = pytest.mark.django_db

USAGE = {"model": "claude-sonnet-4-5", "input_tokens": 1000, "output_tokens": 100}


def test_a_message_is_stored_whole(api: Api) -> None:
    session = api.open()
    body = {
        "role": "assistant", "content": "a\0b \ud800 🦩", "timestamp": "2026-09-01T14:00:00+02:00", "agent": "bot", "subagent_id": "s",
        "response_id": "r", "extra": {"k": [1, {"x": None}]}, "event_id": "e",
    }  # fmt: skip
    answer = api.post(f"/sessions/{session}/messages", body)
    assert answer.status_code == 201
    message = Message.objects.get()
    assert answer.json() == {"session_id": session, "message_id": message.pk, "created": True}
    assert (message.content, message.timestamp.isoformat(), message.agent) == ("a\ufffdb \ufffd 🦩", "2026-09-01T12:00:00+00:00", "bot")
    assert (message.subagent_id, message.response_id, message.source, message.event_id) == ("s", "r", api.token.source, "e")
    assert message.extra == {"k": [1, {"x": None}], "replaced_characters": 2}
    again = api.post(f"/sessions/{session}/messages", body)
    assert (again.status_code, again.json()) == (200, {"session_id": session, "message_id": message.pk, "created": False})
    assert problem(api.post(f"/sessions/{session}/messages", {**body, "content": "else"})) == (409, "event_id_reused", "event_id")
    other = api.open("other")
    assert problem(api.post(f"/sessions/{other}/messages", body)) == (409, "event_id_reused", "event_id")
    assert Message.objects.count() == 1


def test_a_tool_message_may_be_an_object_or_its_text(api: Api) -> None:
    session = api.open()
    call = {"type": "tool_use", "id": "c", "name": "Bash", "input": {"command": "ls"}}
    api.post(f"/sessions/{session}/messages", {"role": "tool_use", "content": call})
    result = {"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": True}
    api.post(f"/sessions/{session}/messages", {"role": "tool_result", "content": json.dumps(result)})
    assert list(Message.objects.order_by("pk").values_list("tool_name", "tool_call_id", "is_error")) == [
        ("Bash", "c", False),
        ("Bash", "c", True),
    ]
    assert [json.loads(row["content"]) for row in api.get(f"/sessions/{session}/messages").json()["messages"]] == [call, result]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"role": "robot"}, "role"),
        ({"role": None}, "role"),
        ({"content": None}, "content"),
        ({"content": 5}, "content"),
        ({"content": ["a"]}, "content"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2026-09-01T12:00:00"}, "timestamp"),
        ({"timestamp": "292277-01-01T00:00:00Z"}, "timestamp"),
        ({"timestamp": "9999-12-31T23:59:59Z"}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
        ({"timestamp": 9_223_372_036_854_775_807}, "timestamp"),
        ({"extra": []}, "extra"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": "x" * 256}, "event_id"),
        ({"event_id": 5}, "event_id"),
        ({"agent": "\ud800"}, "agent"),
        ({"agnet": "x"}, "agnet"),
    ],
)
def test_a_message_that_is_none(api: Api, change: dict[str, Any], field: str) -> None:
    session = api.open()
    refused = api.post(f"/sessions/{session}/messages", {"role": "user", "content": "x", **change})
    status, code, at = problem(refused)
    assert (status, at) == (422, field), refused.content
    assert code in ("invalid_value", "invalid_message")
    assert not Message.objects.exists()


def test_usage_is_priced_counted_and_answered(api: Api) -> None:
    session = api.open()
    answer = api.post(f"/sessions/{session}/usage", {**USAGE, "timestamp": "2026-09-01T12:00:00Z", "event_id": "u"})
    record = UsageRecord.objects.get()
    assert (answer.status_code, answer.json()) == (
        201,
        {
            "session_id": session,
            "usage_id": record.pk,
            "turn": 1,
            "cost_usd": f"{record.cost_usd:f}",
            "cost_source": "computed",
            "created": True,
        },
    )
    assert record.cost_usd
    again = api.post(f"/sessions/{session}/usage", {**USAGE, "timestamp": "2026-09-01T12:00:00Z", "event_id": "u"})
    assert (again.status_code, again.json()["created"], again.json()["usage_id"]) == (200, False, record.pk)
    assert problem(api.post(f"/sessions/{session}/usage", {**USAGE, "event_id": "u", "input_tokens": 1})) == (
        409,
        "event_id_reused",
        "event_id",
    )
    assert services.recount().differences == []


@pytest.mark.parametrize(
    ("sent", "stored", "source"),
    [
        ("0.123456789", Decimal("0.123456789"), "reported"),
        (0.1, Decimal("0.1"), "reported"),
        (3, Decimal(3), "reported"),
        ("0.0000000005", Decimal(0), "reported"),
        (0, None, "unknown"),  # an agent that does not know writes 0 by habit
        ("0.00", None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_a_reported_cost_is_exact(api: Api, sent: Any, stored: Decimal | None, source: str) -> None:
    session = api.open()
    answer = api.post(f"/sessions/{session}/usage", {**USAGE, "model": "made-up", "cost_usd": sent}).json()
    record = UsageRecord.objects.get()
    assert (record.cost_usd, record.cost_source, answer["cost_source"]) == (stored, source, source)
    assert answer["cost_usd"] == (None if stored is None else f"{stored:.9f}")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input_tokens": -1}, "input_tokens"),
        ({"input_tokens": 100_000_001}, "input_tokens"),
        ({"input_tokens": 1.0}, "input_tokens"),
        ({"input_tokens": "1"}, "input_tokens"),
        ({"input_tokens": True}, "input_tokens"),
        ({"output_tokens": None}, "output_tokens"),
        ({"cache_write_1h_tokens": 1}, "cache_write_1h_tokens"),
        ({"cost_usd": "NaN"}, "cost_usd"),
        ({"cost_usd": "-1"}, "cost_usd"),
        ({"cost_usd": "1e999"}, "cost_usd"),
        ({"cost_usd": "1e999999999"}, "cost_usd"),
        ({"cost_usd": 10**400}, "cost_usd"),
        ({"cost_usd": "a lot"}, "cost_usd"),
        ({"turn": -1}, "turn"),
        ({"turn": 2**31}, "turn"),
        ({"model": None}, "model"),
        ({"model": "m" * 256}, "model"),
        ({"timestamp": "2026-09-01"}, "timestamp"),
    ],
)
def test_usage_that_is_none(api: Api, change: dict[str, Any], field: str) -> None:
    session = api.open()
    refused = api.post(f"/sessions/{session}/usage", {**USAGE, **change})
    status, code, at = problem(refused)
    assert (status, at) == (422, field), refused.content
    assert code in ("invalid_value", "invalid_usage")
    assert not UsageRecord.objects.exists()


def test_a_compaction(api: Api) -> None:
    session = api.open()
    body = {"trigger": "auto", "summary": "so far", "pre_tokens": 5, "messages_compacted": 2, "event_id": "c"}
    answer = api.post(f"/sessions/{session}/compactions", body)
    stored = Compaction.objects.get()
    assert (answer.status_code, answer.json()) == (201, {"session_id": session, "compaction_id": stored.pk, "created": True})
    assert (stored.trigger, stored.summary, stored.pre_tokens, stored.messages_compacted) == ("auto", "so far", 5, 2)
    assert api.post(f"/sessions/{session}/compactions", body).status_code == 200
    assert problem(api.post(f"/sessions/{session}/compactions", {**body, "summary": "x"})) == (409, "event_id_reused", "event_id")
    assert problem(api.post(f"/sessions/{session}/compactions", {"trigger": "auto"})) == (422, "invalid_value", "summary")


def turn(**more: Any) -> dict[str, Any]:
    return {
        "session": {"key": "chat", "agent": "bot"},
        "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi", "response_id": "r"}],
        "usage": {**USAGE, "response_id": "r"},
        **more,
    }


def test_a_turn_opens_the_session_and_stores_all_of_it(api: Api) -> None:
    answer = api.post("/turns", turn(event_id="t"))
    assert answer.status_code == 201, answer.content
    body = answer.json()
    session = Session.objects.get()
    assert (session.title, session.message_count, session.total_turns, session.agent) == ("hello", 2, 1, "bot")
    assert (body["session_id"], body["created"], body["closed_session_id"]) == (str(session.pk), True, None)
    assert [part["message_id"] for part in body["messages"]] == list(Message.objects.order_by("pk").values_list("pk", flat=True))
    assert body["usage"][0]["turn"] == 1
    again = api.post("/turns", turn(event_id="t"))
    assert (again.status_code, again.json()) == (200, body)
    assert problem(api.post("/turns", turn(event_id="t", messages=[]))) == (409, "event_id_reused", "event_id")
    assert (Message.objects.count(), UsageRecord.objects.count()) == (2, 1)
    second = api.post("/turns", turn(session=None, session_id=str(session.pk)))
    assert (second.status_code, second.json()["created"]) == (201, False)
    assert services.recount().differences == []
    assert queries.cost_overview().total_turns == 2


def test_the_events_of_a_turn_may_have_ids_of_their_own(api: Api) -> None:
    sent = turn(messages=[{"role": "user", "content": "hello", "event_id": "m"}], usage=[{**USAGE, "event_id": "u"}])
    assert api.post("/turns", sent).status_code == 201
    again = api.post("/turns", sent)
    assert again.status_code == 200
    assert [part["created"] for part in (*again.json()["messages"], *again.json()["usage"])] == [False, False]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": 1}]}, "invalid_value", "messages.1.content"),
        ({"usage": [USAGE, {**USAGE, "cache_write_1h_tokens": 5}]}, "invalid_usage", "cache_write_1h_tokens"),
        ({"usage": [{**USAGE, "input_tokens": -5}]}, "invalid_value", "usage.0.input_tokens"),
        ({"session": {"key": "k", "channel": "pigeon"}}, "unknown_channel", "channel"),
        ({"session": None}, "invalid_session", "session_id"),
        ({"session_id": "x"}, "invalid_session", "session_id"),
    ],
)
def test_a_bad_turn_stores_nothing(api: Api, change: dict[str, Any], code: str, field: str) -> None:
    refused = api.post("/turns", turn(event_id="t", **change))
    assert problem(refused) == (422, code, field)
    assert not Session.objects.exists()
    assert not Message.objects.exists()
    assert api.post("/turns", turn(event_id="t")).status_code == 201


def test_a_turn_of_no_session(api: Api) -> None:
    assert problem(api.post("/turns", {"session_id": "nope"})) == (404, "session_not_found", "session_id")
