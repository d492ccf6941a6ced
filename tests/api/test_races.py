"""Two who send the same at once: from threads of their own, on a database that is real."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from sessions_app import queries, services
from sessions_app.models import Message, Receipt, Session, UsageRecord

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 4  # as many as the pool has connections


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)
    connection.close()  # back to the pool, of which the threads take all

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            results[number] = call(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.fixture
def post(settings: Any) -> Callable[[str, Any], Any]:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "zeal" not in name]
    secret = services.create_token("racer", scope="admin").secret

    def post(path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {secret}"}
        return Client().post(f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=headers)

    return post


def statuses(answers: list[Any]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("event_id", [None, "e"])
def test_one_session_for_all_who_open_it(post: Any, event_id: str | None) -> None:
    body = {"key": "k", **({"event_id": event_id} if event_id else {})}
    answers = at_once(THREADS, lambda number: post("/sessions/open", body))
    assert statuses(answers) == {201: 1, 200: THREADS - 1}
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert Session.objects.count() == 1


def test_the_same_turn_is_stored_once(post: Any) -> None:
    turn = {
        "session": {"key": "k"},
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "usage": {"model": "gpt-5-mini", "input_tokens": 5, "output_tokens": 5},
        "event_id": "t",
    }
    answers = at_once(THREADS, lambda number: post("/turns", turn))
    assert statuses(answers) == {201: 1, 200: THREADS - 1}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert (Session.objects.count(), Message.objects.count(), UsageRecord.objects.count(), Receipt.objects.count()) == (1, 2, 1, 1)
    assert services.recount().differences == []


@pytest.mark.parametrize("kind", ["messages", "usage"])
def test_the_same_event_is_stored_once_and_another_body_is_refused(post: Any, kind: str) -> None:
    session = post("/sessions/open", {"key": "k"}).json()["session_id"]
    bodies = {
        "messages": lambda number: {"role": "user", "content": f"{number % 2}", "event_id": "e"},
        "usage": lambda number: {"model": "gpt-5-mini", "input_tokens": number % 2, "output_tokens": 1, "event_id": "e"},
    }
    answers = at_once(THREADS, lambda number: post(f"/sessions/{session}/{kind}", bodies[kind](number)))
    assert statuses(answers) == {201: 1, 200: THREADS // 2 - 1, 409: THREADS // 2}
    assert Message.objects.count() + UsageRecord.objects.count() == 1
    assert services.recount().differences == []


def test_batches_of_the_same_events_in_other_orders(post: Any) -> None:
    sessions = [post("/sessions/open", {"key": str(number)}).json()["session_id"] for number in range(4)]
    events: list[dict[str, Any]] = []
    for number in range(40):
        session = sessions[number % 4]
        events.append({"type": "message", "session_id": session, "role": "user", "content": str(number), "event_id": f"m{number}"})
        events.append(
            {
                "type": "usage",
                "session_id": session,
                "model": "gpt-5-mini",
                "input_tokens": number,
                "output_tokens": 1,
                "event_id": f"u{number}",
            }
        )
        if number % 10 == 9:
            events.append({"type": "touch", "session_id": session, "event_id": f"t{number}"})
            events.append({"type": "open", "key": f"new {number}", "event_id": f"o{number}"})
            events.append(
                {"type": "message", "session": {"key": f"new {number}"}, "role": "user", "content": "x", "event_id": f"n{number}"}
            )
    orders = [events, events[::-1], events[20:] + events[:20], events]
    answers = at_once(len(orders), lambda number: post("/batch", {"events": orders[number]}))
    assert statuses(answers) == {200: len(orders)}, [answer.content[:300] for answer in answers]
    assert sum(answer.json()["refused"] for answer in answers) == 0
    # Opened by its own event or by the message that names its key: whichever came first, so only what was said is counted here.
    said = [
        result["status"]
        for order, answer in zip(orders, answers, strict=True)
        for event, result in zip(order, answer.json()["results"], strict=True)
        if event["type"] in ("message", "usage")
    ]
    assert said.count(201) == 40 + 40 + 4
    assert (Message.objects.count(), UsageRecord.objects.count(), Session.objects.count()) == (44, 40, 8)
    assert sum(Session.objects.values_list("touch_count", flat=True)) == 4
    assert queries.cost_overview().total_turns == 40
    assert services.recount().differences == []
