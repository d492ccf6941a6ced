"""What tests/test_concurrency.py runs in processes of their own: `python -m tests.workers JOB ARGUMENTS`, on the site's own settings.

A worker says "ready", waits for a line on stdin so that all begin at once, works with as many threads as its job says, and prints a JSON list
of what its calls returned, errors by the name of their class.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402

from sessions_app import selections, services  # noqa: E402
from sessions_app.events import Event, MessageEvent, UsageEvent, tool_result, tool_use  # noqa: E402
from sessions_app.models import Action, Session  # noqa: E402
from tests.factories import T0, at  # noqa: E402


def open_session(threads: int, gap: int | None = None) -> list[Any]:
    def call(number: int) -> Any:
        opened = services.open_session("telegram", "one", user_id="alice", gap_minutes=gap, now=at(999))
        services.save_message(opened.session.id, "user", "hello", now=at(999))
        return [str(opened.session.id), opened.created, opened.closed_session_id and str(opened.closed_session_id)]

    return in_threads(threads, call)


def create_session(threads: int) -> list[Any]:
    return in_threads(threads, lambda number: str(services.create_session("main", "one", now=T0).id))


def record(worker: int, rounds: int) -> list[Any]:
    """Record usage and tools in sessions that all workers share, one by one and in batches, and in one of this worker's own, whose records add to
    the same day rows as everybody's, in another order each time."""
    rng = random.Random(worker)
    sessions = list(Session.objects.filter(key__startswith="shared").order_by("key").values_list("pk", flat=True))
    own = Session.objects.get(key=f"own {worker}")
    days = list(range(25))
    for number in range(rounds):
        rng.shuffle(sessions)
        rng.shuffle(days)
        many: list[Event] = [
            UsageEvent(model="gpt-5-mini", input_tokens=10, output_tokens=1, timestamp=T0 + timedelta(days=day)) for day in days
        ]
        services.store_events(own, many, now=T0)
        for session in sessions[:3]:
            services.record_usage(
                session, model=rng.choice(["claude-sonnet-4-5", "gpt-5-mini", "made-up"]), input_tokens=1000, output_tokens=worker,
                timestamp=T0 + timedelta(hours=rng.randrange(200)), event_id=f"{worker} {number} {session}", source="one",
            )  # fmt: skip
        batch: list[tuple[Any, list[Event]]] = []
        for session in sessions[3:8]:
            when = T0 + timedelta(hours=rng.randrange(200))
            calls: list[Event] = [
                UsageEvent(model="gpt-5-mini", input_tokens=10, output_tokens=1, timestamp=when, user_id=f"user {rng.randrange(5)}"),
                tool_use("c", rng.choice(["Bash", "Read"]), {}, timestamp=when),
                tool_result("c", "x", is_error=True, timestamp=when),
            ]
            batch.append((session, calls))
        services.store_batch(batch, source="many", now=T0)
    return [rounds]


def resend(worker: int, rounds: int) -> list[Any]:
    """Store the same event ids as every other worker, each in a session of its own: the first one has it."""
    session = Session.objects.get(key=str(worker))
    order = list(range(rounds))
    random.Random(worker).shuffle(order)
    results = []
    for number in order:
        try:
            services.save_message(session.pk, "user", "the same", event_id=f"e{number}", source="s", now=T0)
            results.append("stored")
        except services.transcript.EventIdReused:
            results.append("reused")
        events: list[Event] = [MessageEvent(role="user", content="the same", event_id=f"b{number}-{part}") for part in range(3)]
        stored = services.store_events(session.pk, events, source="s", now=T0)
        results.append([stored.stored, len(stored.refused)])
    return results


def close_stale(batch: int) -> list[Any]:
    services.maintenance.BATCH = batch
    return [str(session_id) for session_id in services.close_stale_sessions(now=at(9999)).session_ids]


def read_all(threads: int) -> list[Any]:
    viewer = User.objects.get(username="bob")
    sessions = list(Session.objects.values_list("pk", flat=True))

    def call(number: int) -> Any:
        services.mark_all_read(viewer, now=at(number))
        for session in sessions:
            services.mark_read(session, number % 2 == 0, viewer=viewer, now=at(number))

    return in_threads(threads, call)


def run_action(threads: int, action_id: int, seconds: float) -> list[Any]:
    """Run one action, or its undo, from several threads at once, a batch or two a call."""
    viewer = User.objects.get(username="olga")

    def call(number: int) -> Any:
        action = Action.objects.get(pk=action_id)
        source = selections.source_of(action, viewer)
        while not (result := services.run_action(action_id, viewer=viewer, source=source, seconds=seconds, now=at(3000))).finished:
            pass
        return [result.done, result.changed, result.left_alone]

    return in_threads(threads, call)


def open_and_message(rounds: int) -> list[Any]:
    """Open the sessions' keys anew and write into them, while others close and reopen: what agents do all the time."""
    for number in range(rounds):
        opened = services.open_session("main", f"{number % 150:05}", user_id="olga", now=at(2000 + number / 100))
        services.save_message(opened.session.id, "user", "hello", now=at(2000 + number / 100))
    return [rounds]


def recount(rounds: int) -> list[Any]:
    return [services.recount().total for _ in range(rounds)]


def in_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            results[number] = call(number)
        except Exception as error:  # noqa: BLE001  # the test looks at it
            results[number] = type(error).__name__
        finally:
            connection.close()

    started = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return results


def main() -> None:
    job = globals()[sys.argv[1]]
    connection.ensure_connection()
    connection.close()  # back to the pool, of which the threads take all
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    print(json.dumps(job(*map(json.loads, sys.argv[2:]))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
