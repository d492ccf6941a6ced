"""Many events in one request: in their order, in one transaction, a result for each.

Neighbouring messages, usage and compactions, of whatever sessions, are stored together by one `services.store_batch`; everything else stands
between two such runs, in a savepoint of its own. A bad event is refused with its reason, and the others are stored all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from sessions_app import models, queries, services
from sessions_app.api import schema, writes
from sessions_app.api.answers import JSON
from sessions_app.api.auth import Caller
from sessions_app.api.problems import problem_of
from sessions_app.api.validation import invalid
from sessions_app.day_rows import writing
from sessions_app.errors import SessionError, SessionNotFound

BATCH_EVENT: TypeAdapter[Any] = TypeAdapter(schema.BatchEvent)
KINDS: dict[str, Any] = {"message": models.Message, "usage": models.UsageRecord, "compaction": models.Compaction}
STORED_TOGETHER = schema.BatchMessage | schema.BatchUsage | schema.BatchCompaction


def store(caller: Caller, events: list[Any], now: datetime) -> JSON:
    """Store the events. Raises nothing for a bad one; what the database itself cannot do takes them all back."""
    batch = _Batch(caller, now)
    with writing():
        parsed = [batch.parse(index, event) for index, event in enumerate(events)]
        batch.lock(parsed)
        for index, event in enumerate(parsed):
            if event is not None:
                batch.take(index, event)
        batch.flush()
    results = [batch.results[index] for index in range(len(events))]
    refused = sum("error" in result for result in results)
    stored = sum(result["status"] == 201 for result in results)
    return {"results": results, "stored": stored, "repeated": len(results) - refused - stored, "refused": refused}


class _Batch:
    def __init__(self, caller: Caller, now: datetime) -> None:
        self.caller = caller
        self.now = now
        self.results: dict[int, JSON] = {}
        self.sessions: dict[UUID, models.Session] = {}  # that may be written to, locked
        self.stored: dict[tuple[str, str], models.Session] = {}  # where events that name no session id came to stand the first time
        self.opened: dict[tuple[str, ...], UUID] = {}  # by what found them, since the last event that may have closed one
        self.waiting: dict[UUID, list[tuple[int, Any]]] = {}  # events that are stored together at the next flush

    def parse(self, index: int, event: Any) -> Any:
        try:
            return BATCH_EVENT.validate_python(event)
        except ValidationError as error:
            kind = event.get("type") if isinstance(event, dict) else None
            self.refuse(index, invalid(error, (str(kind),)))
            return None

    def lock(self, events: list[Any]) -> None:
        """Lock every session that is named by its id, in the order of the ids, so that two batches rarely wait for each other crosswise."""
        for kind, model in KINDS.items():
            again = {event.event_id for event in events if event and event.type == kind and event.session and event.event_id}
            found_again = queries.where_stored(self.caller.source, model, again)
            self.stored.update({(kind, event_id): session for event_id, session in found_again.items()})
        named = {parsed for event in events if (parsed := _uuid(getattr(event, "session_id", None))) is not None}
        named |= {session.pk for session in self.stored.values()}
        found = services.lock_sessions(named)
        self.sessions = {session.pk: session for session in found if self.caller.may_write_to(session)}

    def take(self, index: int, event: Any) -> None:
        try:
            if isinstance(event, STORED_TOGETHER):
                writes.check_which(event)
                writes.check_event(self.caller, event)
                plain = event.event(event.event_id)
                session_id = self.session_known(event)
                if session_id is None:
                    self.open_with(index, event, plain)
                else:
                    self.waiting.setdefault(session_id, []).append((index, plain))
            else:
                self.flush()
                self.opened.clear()
                try:
                    with writing():
                        self.results[index] = self.do(event)
                except SessionError:
                    self.opened.clear()  # what it opened is taken back
                    raise
        except SessionError as error:
            self.refuse(index, error)

    def open_with(self, index: int, event: Any, plain: Any) -> None:
        """Open the session that an event names, and store the event in it: one that is refused takes the session back, and leaves no empty one."""
        self.flush()  # what was said counts for the gap, and stays whatever becomes of this one
        try:
            with writing():
                self.waiting = {self.session_of(event): [(index, plain)]}
                self.flush()
                if "error" in self.results[index]:
                    raise _TakenBack
        except _TakenBack:
            del self.opened[_key(event)]

    def do(self, event: Any) -> JSON:
        """Do one event that stands by itself, once."""
        caller, now = self.caller, self.now
        action: Callable[[], tuple[int, JSON]]
        if isinstance(event, schema.BatchOpen):
            action = lambda: writes.open_session(caller, event, now)  # noqa: E731
        elif isinstance(event, schema.BatchTurn):
            action = lambda: writes.save_turn(caller, event, now)  # noqa: E731
        else:
            writes.check_which(event)
            action = lambda: self.change(event)  # noqa: E731
        done = writes.once(caller, event.event_id, event.type, event, action, now)
        body = done.body
        return {
            "status": done.status,
            "session_id": body.get("session_id") or body["session"]["id"],
            **({"created": body["created"], "closed_session_id": body["closed_session_id"]} if "created" in body else {}),
        }

    def change(self, event: Any) -> tuple[int, JSON]:
        caller, now, session_id = self.caller, self.now, self.session_of(event)
        if isinstance(event, schema.BatchClose):
            return writes.close_session(caller, session_id, event, now)
        if isinstance(event, schema.BatchReopen):
            return writes.reopen_session(caller, session_id, now)
        if isinstance(event, schema.BatchTouch):
            return writes.touch_session(caller, session_id, now)
        return writes.update_session(caller, session_id, event, now)

    def session_known(self, event: schema.WhichSession) -> UUID | None:
        """Return the session that an event names, None when it must be opened first. Raises SessionNotFound."""
        if event.session is None:
            session_id = _uuid(event.session_id)
            if session_id is None or session_id not in self.sessions:
                raise SessionNotFound(event.session_id)
            return session_id
        before = self.stored.get((getattr(event, "type", ""), getattr(event, "event_id", "") or ""))
        if before is not None and before.pk in self.sessions:
            place = writes.place_of(self.caller, event.session)
            if place == {"channel": before.channel_id, "key": before.key, "user_id": before.user_id}:
                return before.pk  # sent again: whatever session is open there by now, it belongs to this one
        return self.opened.get(_key(event))

    def session_of(self, event: schema.WhichSession) -> UUID:
        """Return the session that an event names; opened where it must be. Raises SessionNotFound, and what opening one raises."""
        known = self.session_known(event)
        if known is not None:
            return known
        assert event.session is not None
        self.flush()  # what was said counts for the gap
        with writing():
            session = writes.opened_for(self.caller, event.session, self.now).session
        self.opened[_key(event)] = session.pk
        self.sessions[session.pk] = session
        return session.pk

    def flush(self) -> None:
        """Store what waits."""
        waiting, self.waiting = self.waiting, {}
        if not waiting:
            return
        stored = services.store_batch(
            [(session_id, [event for _, event in events]) for session_id, events in waiting.items()],
            source=self.caller.source,
            now=self.now,
        )
        for (session_id, events), result in zip(waiting.items(), stored, strict=True):
            seen: set[int] = set()
            text = str(session_id)
            for (index, _), row in zip(events, result.rows, strict=True):
                # A known event has no row here, or the row of the same event earlier in this batch.
                self.results[index] = {"status": 200 if row is None or id(row) in seen else 201, "session_id": text}
                seen.add(id(row))
            for refusal in result.refused:
                self.refuse(events[refusal.index][0], refusal.error)

    def refuse(self, index: int, error: SessionError) -> None:
        self.results[index] = {"status": error.http_status, "error": problem_of(error)}


class _TakenBack(Exception):
    """An event was refused together with the session that was opened for it."""


def _key(event: schema.WhichSession) -> tuple[str, ...]:
    return tuple(map(str, event.session.model_dump().values())) if event.session else ()


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None
