"""POST /batch: events in their order, a result for each, bad ones refused alone."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sessions_app import services
from sessions_app.models import Compaction, Message, Receipt, Session, UsageRecord
from tests.api.conftest import Api, problem
from tests.factories import make_session

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def without_zeal(settings: Any) -> None:
    """Events that stand alone (open, close, turn) cost their queries each; those that are stored together are counted below."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "zeal" not in name]


def message(session: str, content: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "message", "session_id": session, "role": "user", "content": content, **more}


def usage(session: str, **more: Any) -> dict[str, Any]:
    return {"type": "usage", "session_id": session, "model": "gpt-5-mini", "input_tokens": 10, "output_tokens": 1, **more}


def test_every_kind_of_event(api: Api) -> None:
    session = api.open("one")
    events = [
        {"type": "open", "key": "two"},
        message(session, "first"),
        usage(session),
        {"type": "compaction", "session_id": session, "trigger": "auto", "summary": "s"},
        {"type": "turn", "session": {"key": "three"}, "messages": [{"role": "user", "content": "t"}], "usage": []},
        {"type": "message", "session": {"key": "four"}, "role": "user", "content": "4"},
        {"type": "message", "session": {"key": "four"}, "role": "assistant", "content": "5"},
        {"type": "touch", "session_id": session},
        {"type": "update", "session_id": session, "title": "named", "tags": ["t"]},
        {"type": "close", "session": {"key": "two"}, "summary": "done"},
        {"type": "close", "session_id": session, "summary": "done"},
        {"type": "reopen", "session_id": session},
    ]
    answer = api.post("/batch", {"events": events})
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert [result["status"] for result in body["results"]] == [201, 201, 201, 201, 201, 201, 201, 200, 200, 200, 200, 200]
    assert (body["stored"], body["repeated"], body["refused"]) == (7, 5, 0)
    by_key = {found.key: found for found in Session.objects.all()}
    assert set(by_key) == {"one", "two", "three", "four"}
    assert [result["session_id"] for result in body["results"]] == [
        str(by_key[key].pk) for key in ("two", "one", "one", "one", "three", "four", "four", "one", "one", "two", "one", "one")
    ]
    assert body["results"][0]["created"] is True
    assert (by_key["two"].summary, by_key["one"].title, by_key["one"].tags, by_key["one"].is_closed) == ("done", "named", ["t"], False)
    assert (Message.objects.count(), UsageRecord.objects.count(), Compaction.objects.count()) == (4, 1, 1)
    assert services.recount().differences == []


def test_bad_events_do_not_take_the_others_with_them(api: Api) -> None:
    session = api.open()
    bad: list[tuple[Any, int, str, str | None]] = [
        (5, 422, "invalid_value", None),
        (None, 422, "invalid_value", None),
        ({}, 422, "invalid_value", None),
        ({"type": "mess"}, 422, "invalid_value", None),
        ({"type": "message"}, 422, "invalid_value", "role"),
        (message(session, content=5), 422, "invalid_value", "content"),  # type: ignore[arg-type]
        (message("nope"), 404, "session_not_found", "session_id"),
        (message("01a204f2-2ad7-79d1-919c-2843404bf20b"), 404, "session_not_found", "session_id"),
        ({**message(session), "session": {"key": "k"}}, 422, "invalid_session", "session_id"),
        (message(session, timestamp="2026-09-01T12:00:00"), 422, "invalid_message", "timestamp"),
        (usage(session, cache_write_1h_tokens=5), 422, "invalid_usage", "cache_write_1h_tokens"),
        ({"type": "open", "key": "k", "channel": "pigeon"}, 422, "unknown_channel", "channel"),
        (
            {"type": "message", "session": {"key": "k", "channel": "pigeon"}, "role": "user", "content": "x"},
            422,
            "unknown_channel",
            "channel",
        ),
        ({"type": "turn", "session_id": session, "messages": [{"role": "x", "content": "x"}]}, 422, "invalid_value", "messages.0.role"),
        ({"type": "close", "session_id": "nope"}, 404, "session_not_found", "session_id"),
        (message(session, "else", event_id="known"), 409, "event_id_reused", "event_id"),
    ]
    events = [message(session, "known", event_id="known")]
    for event, *_ in bad:
        events += [event, message(session, "good")]
    answer = api.post("/batch", {"events": events})
    assert answer.status_code == 200, answer.content
    results = answer.json()["results"]
    assert [result["status"] for result in results[::2]] == [201] * (len(bad) + 1)
    for (event, status, code, field), result in zip(bad, results[1::2], strict=True):
        error = result["error"]
        assert (result["status"], error["status"], error["code"], error["field"]) == (status, status, code, field), event
    assert answer.json()["refused"] == len(bad)
    assert list(Message.objects.order_by("pk").values_list("content", flat=True)) == ["known", *["good"] * len(bad)]
    assert Session.objects.get().message_count == len(bad) + 1
    assert services.recount().differences == []


def test_sent_again_nothing_changes(api: Api) -> None:
    session = api.open()
    events = [
        message(session, "1", event_id="1"),
        message(session, "2", event_id="2"),
        message(session, "1", event_id="1"),  # twice in one batch
        usage(session, event_id="u"),
        {"type": "turn", "session": {"key": "t"}, "messages": [{"role": "user", "content": "x"}], "event_id": "t"},
        {"type": "touch", "session_id": session, "event_id": "touch"},
        {"type": "close", "session_id": session, "event_id": "c"},
    ]
    first = api.post("/batch", {"events": events}).json()
    assert [result["status"] for result in first["results"]] == [201, 201, 200, 201, 201, 200, 200]
    before = [list(model._default_manager.order_by("pk").values()) for model in (Session, Message, UsageRecord, Receipt)]
    again = api.post("/batch", {"events": events}).json()
    assert [result["status"] for result in again["results"]] == [200] * 7
    assert [result["session_id"] for result in again["results"]] == [result["session_id"] for result in first["results"]]
    assert (again["stored"], again["repeated"], again["refused"]) == (0, 7, 0)
    assert [list(model._default_manager.order_by("pk").values()) for model in (Session, Message, UsageRecord, Receipt)] == before
    # An event keeps its id whichever way it comes.
    assert api.post(f"/sessions/{session}/close", {"event_id": "c"})["Idempotent-Replayed"] == "true"
    assert api.post(f"/sessions/{session}/messages", {"role": "user", "content": "1", "event_id": "1"}).status_code == 200


def test_sent_again_after_the_session_was_closed_it_is_known_all_the_same(api: Api) -> None:
    events = [
        {"type": "message", "session": {"key": "k"}, "role": "user", "content": "x", "event_id": "m"},
        {"type": "usage", "session": {"key": "k"}, "model": "m", "input_tokens": 1, "output_tokens": 1, "event_id": "u"},
        {"type": "close", "session": {"key": "k"}, "event_id": "c"},
    ]
    first = api.post("/batch", {"events": events}).json()
    again = api.post("/batch", {"events": events}).json()
    assert [result["status"] for result in again["results"]] == [200, 200, 200]
    assert [result["session_id"] for result in again["results"]] == [result["session_id"] for result in first["results"]]
    assert Session.objects.count() == 1
    elsewhere = [{**event, "session": {"key": "other"}} for event in events]
    assert [result["status"] for result in api.post("/batch", {"events": elsewhere}).json()["results"]] == [409, 409, 409]


def test_the_order_of_a_session_is_the_batchs(api: Api) -> None:
    one, two = api.open("1"), api.open("2")
    api.post("/batch", {"events": [message((one, two)[number % 2], str(number)) for number in range(20)]})
    for session, first in ((one, 0), (two, 1)):
        texts = Message.objects.filter(session=session).order_by("pk").values_list("content", flat=True)
        assert list(texts) == [str(number) for number in range(first, 20, 2)]


def test_a_gap_is_counted_from_what_was_said_before_in_the_batch(api: Api) -> None:
    old = make_session("telegram", "chat", user_id="admin")
    place = {"key": "chat", "channel": "telegram"}
    answer = api.post(
        "/batch", {"events": [message(str(old.pk)), {"type": "message", "session": place, "role": "user", "content": "y"}]}
    ).json()
    assert [result["session_id"] for result in answer["results"]] == [str(old.pk)] * 2


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "events"), ({"events": {}}, "events"), ({"events": [{}] * 1001}, "events"), ({"events": [], "x": 1}, "x"), ([], ""), (None, "")],
)
def test_what_is_no_batch(api: Api, body: Any, field: str) -> None:
    status, code, at = problem(api.post("/batch", body))
    assert (status, code) == (422, "invalid_value")
    assert (at or "") == field or (body is None and at == "body")


def test_an_empty_batch(api: Api) -> None:
    assert api.post("/batch", {"events": []}).json() == {"results": [], "stored": 0, "repeated": 0, "refused": 0}


def test_a_token_writes_where_it_may_in_a_batch_too(make_api: Any) -> None:
    mine, other = make_session(user_id="alice", key="1"), make_session(user_id="bob", key="2")
    api = make_api("write", user_id="alice", agent="bot")
    events = [
        message(str(mine.pk)),
        message(str(other.pk)),
        message(str(mine.pk), agent="else"),
        usage(str(mine.pk), user_id="bob"),
        {"type": "open", "key": "k", "user_id": "bob"},
        {"type": "touch", "session_id": str(other.pk)},
        {"type": "turn", "session_id": str(mine.pk), "usage": {"model": "m", "input_tokens": 1, "output_tokens": 1, "user_id": "bob"}},
    ]
    results = api.post("/batch", {"events": events}).json()["results"]
    assert [(result["status"], result.get("error", {}).get("code")) for result in results] == [
        (201, None), (404, "session_not_found"), (403, "token_bound"), (403, "token_bound"), (403, "token_bound"), (404, "session_not_found"),
        (403, "token_bound"),
    ]  # fmt: skip
    assert Message.objects.count() == 1


def test_a_message_too_many_bytes_is_refused_alone(api: Api, settings: Any) -> None:
    settings.API_MAX_MESSAGE_BYTES = 1000
    session = api.open()
    results = api.post(
        "/batch", {"events": [message(session, "x" * 1001), message(session, "ü" * 501), message(session, "x" * 1000)]}
    ).json()["results"]
    assert [result["status"] for result in results] == [413, 413, 201]


def test_queries_do_not_grow_with_the_events(api: Api) -> None:
    sessions = [api.open(str(number)) for number in range(3)]

    def queries(size: int) -> int:
        events = [message(sessions[number % 3], event_id=f"{size}-{number}") for number in range(size)]
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert api.post("/batch", {"events": events}).json()["stored"] == size
        return len(captured)

    assert queries(9) == queries(90) == queries(300)


def test_an_event_that_is_refused_takes_back_the_session_that_was_opened_for_it(api: Api) -> None:
    kept = api.open("kept")
    new = {"key": "new"}
    answer = api.post(
        "/batch",
        {
            "events": [
                message(kept, "waits", event_id="1"),
                {"type": "usage", "session": new, "model": "m", "input_tokens": 1, "output_tokens": 1, "cache_write_1h_tokens": 5},
                {"type": "message", "session": new, "role": "user", "content": "reused", "event_id": "1"},
                message(kept, "after"),
            ]
        },
    ).json()
    assert [result["status"] for result in answer["results"]] == [201, 422, 409, 201]
    assert [session.key for session in Session.objects.all()] == ["kept"]
    assert [row.content for row in Message.objects.order_by("pk")] == ["waits", "after"]
    answer = api.post(
        "/batch",
        {
            "events": [
                {"type": "usage", "session": new, "model": "m", "input_tokens": 1, "output_tokens": 1, "cache_write_1h_tokens": 5},
                {"type": "message", "session": new, "role": "user", "content": "first"},
                {"type": "usage", "session": new, "model": "m", "input_tokens": 1, "output_tokens": 1, "cache_write_1h_tokens": 5},
                {"type": "message", "session": new, "role": "user", "content": "second"},
                {"type": "update", "session": {"key": "titled"}, "title": "x", "summary": "y" * 5_000_001},
                {"type": "message", "session": {"key": "titled"}, "role": "user", "content": "third"},
            ]
        },
    ).json()
    assert [result["status"] for result in answer["results"]] == [422, 201, 422, 201, 413, 201]
    assert {session.key: session.message_count for session in Session.objects.all()} == {"kept": 2, "new": 2, "titled": 1}
    assert services.recount().differences == []
