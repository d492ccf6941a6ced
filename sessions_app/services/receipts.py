"""Once and only once: the answer to an event is kept in the transaction of what the event did, so that a resend gets it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection
from django.utils import timezone

from sessions_app.database import run, time_value
from sessions_app.day_rows import writing
from sessions_app.errors import EventIdReused, InvalidMessage
from sessions_app.models import Receipt
from sessions_app.services.cleaning import fingerprint, name, storable_json

TABLE = connection.ops.quote_name(Receipt._meta.db_table)


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of HTTP. body: plain JSON. replayed: it was given before, and nothing was done now."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


def answer_once(
    source: str, event_id: str, body: str, action: Callable[[], tuple[int, dict[str, Any]]], *, now: datetime | None = None
) -> Answer:
    """Run the action once for this event of this source, and keep its answer with what it did; again, also when the two race: the first answer.
    event_id "" = not resendable: the action just runs. body: what was sent, as text that is the same for the same. An error of the action leaves no
    receipt, so the event can be sent again. Raises EventIdReused for the same id with another body, and what the action raises."""
    if not event_id:
        with writing():
            return Answer(*action())
    now = now or timezone.now()
    event_id, mark = name(event_id, "event_id", error=InvalidMessage), fingerprint(body)
    with writing():
        # Claimed first: a second sender waits here for the first one's commit, and has then done nothing that must be undone.
        claimed = _claim(source, event_id, mark, now)
        if claimed is None:
            receipt = Receipt.objects.get(source=source, event_id=event_id)
            if receipt.fingerprint != mark:
                raise EventIdReused(event_id)
            return Answer(receipt.status, receipt.answer, replayed=True)
        status, answer = action()
        _keep(claimed, status, answer)
    return Answer(status, answer)


def _keep(claimed: int, status: int, answer: dict[str, Any]) -> None:
    """Write the answer on the receipt that was claimed."""
    run(f"UPDATE {TABLE} SET status = %s, answer = %s WHERE id = %s", [status, _as_text(answer), claimed])  # noqa: S608


def _as_text(answer: dict[str, Any]) -> str:
    """Write an answer as JSON that both databases can hold. Almost every one is just that: only a refusal in a batch says a client's words back."""
    try:
        text = orjson.dumps(answer).decode()
        if "\\u0000" not in text:
            return text
    except TypeError:  # half of a surrogate pair, or a number beyond 64 bits
        pass
    return json.dumps(storable_json(answer))


def _claim(source: str, event_id: str, mark: int, now: datetime) -> int | None:
    """Insert a receipt without answer and return its number; None when there is one already. As one statement, where the ORM needs a savepoint too."""
    rows = run(
        f"INSERT INTO {TABLE} (source, event_id, fingerprint, status, answer, received_at) VALUES (%s, %s, %s, 0, '{{}}', %s) "  # noqa: S608
        "ON CONFLICT (source, event_id) DO NOTHING RETURNING id",
        [source, event_id, mark, time_value(now)],
    )
    return rows[0][0] if rows else None
