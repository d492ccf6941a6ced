"""Long silent runs of turns fold to one line; what a reader must see ends them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from sessions_app import services
from sessions_app.events import MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Session
from tests.factories import at, make_session

pytestmark = pytest.mark.django_db


def silent(number: int, *, calls: int = 2, bad: bool = False, answered: bool = True, model: str = "claude-sonnet-4-5") -> list[Any]:
    response = f"r{number}"
    events: list[Any] = [MessageEvent(role="thinking", content="Hm.", response_id=response)]
    for call in range(calls):
        events.append(tool_use(f"{number}-{call}", "Read", {"file_path": f"{number}.py"}, response_id=response))
        if answered:
            events.append(tool_result(f"{number}-{call}", "x", is_error=bad))
    return [*events, UsageEvent(model=model, input_tokens=100, output_tokens=0, response_id=response)]


def entries_of(client: Client, alice: Any, *turns: list[Any]) -> list[Any]:
    session: Session = make_session()
    events = [MessageEvent(role="user", content="go"), *(event for turn in turns for event in turn)]
    for number, event in enumerate(events):
        event.timestamp = at(number / 60)
    assert not services.store_events(session.id, events, source="test", now=at(60)).refused
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    response = client.get(session.get_absolute_url())
    assert response.status_code == 200
    return [entry for entry in response.context["entries"] if entry.kind in ("turn", "run")]


def test_a_run_folds_with_its_counts_and_cost(client: Client, alice: Any) -> None:
    (run,) = entries_of(client, alice, *[silent(number) for number in range(5)])
    assert run.kind == "run"
    assert (len(run.entries), run.calls.counts, run.numbers) == (5, "10 Read", [1, 5])
    assert run.cost == 5 * 100 * Decimal("0.000003")


@pytest.mark.parametrize(
    "turns",
    [
        [silent(number) for number in range(3)],
        [silent(number, calls=1) for number in range(5)],
        [*[silent(number) for number in range(3)], silent(3, bad=True), *[silent(number) for number in range(4, 7)]],
        [*[silent(number) for number in range(3)], silent(3, answered=False)],
        [*[silent(number) for number in range(3)], silent(3, model="claude-haiku-4-5"), *[silent(number, model="claude-haiku-4-5") for number in range(4, 7)]],
        [*[silent(number) for number in range(3)], [MessageEvent(role="assistant", content="So.", response_id="x")], *[silent(number) for number in range(4, 7)]],
    ],
    ids=["too few turns", "too few calls", "a failure", "no result", "another model", "a word"],
)  # fmt: skip
def test_what_is_not_folded(turns: list[Any], client: Client, alice: Any) -> None:
    assert {entry.kind for entry in entries_of(client, alice, *turns)} == {"turn"}


def test_nothing_is_lost_in_a_fold(client: Client, alice: Any) -> None:
    found = entries_of(client, alice, *[silent(number) for number in range(5)], silent(5, bad=True), silent(6))
    assert [entry.kind for entry in found] == ["run", "turn", "turn"]
    assert [turn.usage.turn for entry in found for turn in (entry.entries if entry.kind == "run" else [entry])] == list(range(1, 8))
