"""What each write of the API does, whether it comes by its own path or in a batch: a checked body in, status and plain JSON out.

Messages, usage and compactions keep their event ids in their own rows. Everything else keeps its first answer as a receipt, in the transaction of
what it did (`services.answer_once`), so that a resend gets it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import orjson
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from pydantic import BaseModel

from sessions_app import models, queries, services
from sessions_app.api import answers, schema
from sessions_app.api.answers import JSON
from sessions_app.api.auth import DEFAULT_CHANNEL, DEFAULT_USER, Caller
from sessions_app.api.problems import Problem
from sessions_app.day_rows import writing
from sessions_app.errors import SessionNotFound
from sessions_app.services.lifecycle import channel_named

Result = TypeVar("Result")
DEADLOCKS = ("40P01", "40001")  # PostgreSQL: one of two that wait for each other is sent back, and may simply try again
TRIES = 4


@dataclass(frozen=True, slots=True)
class Done:
    """status: 201 = something new. replayed: it had been done before, and nothing was done now."""

    status: int
    body: JSON
    replayed: bool = False


def settled(action: Callable[[], Result]) -> Result:
    """Run an action that is one transaction; again when the database broke it off to end a deadlock."""
    for _ in range(TRIES - 1):
        try:
            return action()
        except OperationalError as error:
            if connection.in_atomic_block or getattr(error.__cause__, "sqlstate", "") not in DEADLOCKS:
                raise
    return action()


def once(
    caller: Caller,
    event_id: str | None,
    what: str,
    body: BaseModel,
    action: Callable[[], tuple[int, JSON]],
    now: datetime,
    session_id: str = "",
) -> Done:
    """Run the action once for this event id. what: the operation, the same by its own path and in a batch. session_id: of the path. What was sent
    tells a resend from a reused id."""
    if not event_id:
        with writing():
            return Done(*action())
    sent = body.model_dump(exclude={"event_id", "type"}, exclude_unset=True)
    if session_id:
        sent["session_id"] = session_id
    answer = services.answer_once(caller.source, event_id, f"{what}\0{_in_one_way(sent)}", action, now=now)
    return Done(200 if answer.replayed else answer.status, answer.body, answer.replayed)


def _in_one_way(sent: JSON) -> str:
    """Write what was sent as text that is the same for the same, whatever the order of its keys."""
    try:
        return orjson.dumps(sent, default=str, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # half of a surrogate pair, or a number beyond 64 bits
        return json.dumps(sent, sort_keys=True, default=str)


# --- the life of a session ------------------------------------------------------------------------------------------------------------


def open_session(caller: Caller, body: schema.OpenSession, now: datetime) -> tuple[int, JSON]:
    opened = opened_for(caller, body, now)
    return 201 if opened.created else 200, {
        "session_id": str(opened.session.pk),
        "created": opened.created,
        "closed_session_id": answers.text_id(opened.closed_session_id),
        "session": answers.session_facts(opened.session),
    }


def resolve_session(caller: Caller, body: schema.ResolveBody, now: datetime) -> tuple[int, JSON]:
    place = place_of(caller, body)
    gap = body.gap_minutes if "gap_minutes" in body.model_fields_set else channel_named(place["channel"]).gap_minutes
    found = services.resolve_session(**place, gap_minutes=gap, now=now)
    if isinstance(found, services.Continue):
        _check_agent(caller, queries.get_session(found.session_id))
        return 200, {"action": "continue", "session_id": str(found.session_id), "closed_session_id": None}
    return 200, {"action": "new", "session_id": None, "closed_session_id": answers.text_id(found.closed_session_id)}


def create_session(caller: Caller, body: schema.CreateBody, now: datetime) -> tuple[int, JSON]:
    session = services.create_session(**_new(caller, body), now=now)
    return 201, {"session": answers.session_facts(session)}


def close_session(caller: Caller, session_id: UUID | str, body: schema.CloseBody, now: datetime) -> tuple[int, JSON]:
    schema.check_message_size(body.summary, "summary")
    caller.check_session(session_id)
    services.close_session(session_id, body.summary, now=now)
    return _facts(session_id)


def reopen_session(caller: Caller, session_id: UUID | str, now: datetime) -> tuple[int, JSON]:
    caller.check_session(session_id)
    services.reopen_session(session_id, now=now)
    return _facts(session_id)


def touch_session(caller: Caller, session_id: UUID | str, now: datetime) -> tuple[int, JSON]:
    caller.check_session(session_id)
    services.touch_session(session_id, now=now)
    return _facts(session_id)


def update_session(caller: Caller, session_id: UUID | str, body: schema.PatchBody, now: datetime) -> tuple[int, JSON]:
    caller.check_session(session_id)
    if body.title is not None:
        services.rename_session(session_id, body.title, now=now)
    if body.summary is not None:
        schema.check_message_size(body.summary, "summary")
        services.set_summary(session_id, body.summary, now=now)
    if body.tags is not None:
        services.set_tags(session_id, body.tags, now=now)
    if body.read is not None:
        viewer = User.objects.filter(username=caller.user_id).first() if caller.user_id else None
        services.mark_read(session_id, body.read, viewer=viewer, now=now)
    if body.archived is not None:
        services.archive_session(session_id, body.archived, now=now)
    return _facts(session_id)


def opened_for(caller: Caller, body: schema.OpenSession, now: datetime) -> services.Opened:
    """Open a session as the token may. Raises Problem token_bound also when the open session belongs to another agent than the token's."""
    opened = services.open_session(**_opening(caller, body), now=now)
    _check_agent(caller, opened.session)
    return opened


def _opening(caller: Caller, body: schema.OpenSession) -> JSON:
    """Return the arguments of services.open_session. A gap that was left away is the channel's."""
    gap = {"gap_minutes": body.gap_minutes} if "gap_minutes" in body.model_fields_set else {}
    return {**_new(caller, body), **gap}


def _new(caller: Caller, body: schema.NewSession) -> JSON:
    caller.check_binding(agent=body.agent)
    return {**place_of(caller, body), "triggered_by": body.triggered_by, "agent": body.agent or caller.agent, "project": body.project}


def place_of(caller: Caller, body: schema.SessionKey) -> JSON:
    caller.check_binding(user_id=body.user_id, channel=body.channel)
    user_id = body.user_id if body.user_id is not None else caller.user_id or DEFAULT_USER
    if caller.user_id and user_id != caller.user_id:  # "" is somebody else too
        caller.check_binding(user_id=user_id or "(nobody)")
    return {"channel": body.channel or caller.channel or DEFAULT_CHANNEL, "key": body.key, "user_id": user_id}


def _check_agent(caller: Caller, session: models.Session | None) -> None:
    if session is not None and not caller.may_write_to(session):
        raise Problem(
            403,
            "token_bound",
            f"The session that is open under this key belongs to another agent, and this token writes as {caller.agent!r} only.",
            field="key",
        )


def _facts(session_id: UUID | str) -> tuple[int, JSON]:
    session = queries.get_session(session_id)
    if session is None:
        raise SessionNotFound(session_id)
    return 200, {"session": answers.session_facts(session)}


# --- what happens in it ---------------------------------------------------------------------------------------------------------------


def save_message(caller: Caller, session_id: UUID | str, body: schema.MessageFields, event_id: str | None, now: datetime) -> Done:
    check_event(caller, body)
    [row] = _save(caller, session_id, body.event(event_id), now)
    return _stored(answers.stored_message(row, created=row.received_at == now))


def record_usage(caller: Caller, session_id: UUID | str, body: schema.UsageFields, event_id: str | None, now: datetime) -> Done:
    check_event(caller, body)
    [row] = _save(caller, session_id, body.event(event_id), now)
    return _stored(answers.stored_usage(row, created=row.received_at == now))


def record_compaction(caller: Caller, session_id: UUID | str, body: schema.CompactionFields, event_id: str | None, now: datetime) -> Done:
    [row] = _save(caller, session_id, body.event(event_id), now)
    return _stored(answers.stored_compaction(row, created=row.received_at == now))


def save_turn(caller: Caller, body: schema.TurnBody, now: datetime) -> tuple[int, JSON]:
    """All or nothing; runs inside the transaction of its caller. 200 when there was nothing new in it."""
    check_which(body)
    parts: list[schema.MessageBody | schema.UsageBody] = [*body.messages, *body.usage]
    for position, part in enumerate(parts):
        check_event(caller, part, _part(body, position))
    events = [part.event(part.event_id) for part in parts]
    if body.session is None:
        caller.check_session(str(body.session_id))
        where: JSON = {"session_id": body.session_id}
    else:
        where = _opening(caller, body.session)
    turn = services.save_turn(events, source=caller.source, now=now, **where)
    if body.session is not None:
        _check_agent(caller, turn.opened.session)
    messages, usage = _parts(turn.rows, now)
    is_new = turn.opened.created or any(part["created"] for part in (*messages, *usage))
    return 201 if is_new else 200, {
        "session_id": str(turn.opened.session.pk),
        "created": turn.opened.created,
        "closed_session_id": answers.text_id(turn.opened.closed_session_id),
        "messages": messages,
        "usage": usage,
    }


def check_which(body: schema.WhichSession) -> None:
    if (body.session_id is None) == (body.session is None):
        raise Problem(
            422,
            "invalid_session",
            "Name the session by session_id, or by session (what finds or opens it): one of the two.",
            field="session_id",
        )


def check_event(caller: Caller, body: schema.MessageFields | schema.UsageFields | schema.CompactionFields, part: str = "") -> None:
    """Raise Problem token_bound for an event that is written as somebody else."""
    try:
        if isinstance(body, schema.MessageFields):
            caller.check_binding(agent=body.agent)
        elif isinstance(body, schema.UsageFields):
            caller.check_binding(user_id=body.user_id)
    except Problem as error:
        error.field = f"{part}{error.field}"
        raise


def _part(body: schema.TurnBody, position: int) -> str:
    return f"messages.{position}." if position < len(body.messages) else f"usage.{position - len(body.messages)}."


def _parts(rows: Sequence[Any], now: datetime) -> tuple[list[JSON], list[JSON]]:
    messages = [answers.stored_message(row, created=row.received_at == now) for row in rows if isinstance(row, models.Message)]
    usage = [answers.stored_usage(row, created=row.received_at == now) for row in rows if isinstance(row, models.UsageRecord)]
    return messages, usage


def _save(caller: Caller, session_id: UUID | str, event: Any, now: datetime) -> list[Any]:
    caller.check_session(session_id)
    return services.save_turn([event], session_id=session_id, source=caller.source, now=now).rows


def _stored(body: JSON) -> Done:
    created: bool = body["created"]
    return Done(201 if created else 200, body, replayed=not created)
