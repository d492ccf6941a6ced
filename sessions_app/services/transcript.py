"""What is said in a session and what it costs: messages, usage records, compactions, stored together with everything they add up to.

`store_events` is the one way in; `save_message`, `record_usage` and `record_compaction` are its one-element cases. In one transaction:
the session is locked, known events are recognised, new ones are stored, the session's cached numbers and, last, the day rows follow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F, Value
from django.utils import timezone

from sessions_app import day_rows, pricing, session_groups
from sessions_app.database import vendor
from sessions_app.errors import EventIdReused, InvalidMessage, InvalidUsage, SessionError
from sessions_app.events import ROLES, UNKNOWN_TOOL, CompactionEvent, Event, MessageEvent, UsageEvent
from sessions_app.models import KEY_LENGTH, MODEL_LENGTH, Compaction, Message, Received, Session, UsageRecord
from sessions_app.money import rounded
from sessions_app.services.bulk import LOOKUP_SIZE, chunks, insert_rows, new_row, update_rows
from sessions_app.services.cleaning import REPLACED, aware, fingerprint, name, storable_counted, storable_json, title_of
from sessions_app.services.lifecycle import Opened, locked_all, open_session_within, set_session_facts

MAX_TOKENS_PER_CALL = 100_000_000
MAX_COST_PER_CALL = Decimal(1_000_000)  # dollars
MAX_TURN = 2_000_000_000
UNKNOWN_MODEL = "unknown"
COST_SOURCES = tuple(source for source, _ in UsageRecord.SOURCES)
NO_TITLE = "no_title"  # in a message's extra: a user message that nobody typed, which must not name the session

Row = TypeVar("Row", Message, UsageRecord, Compaction)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that was not stored. index: its place among the events given."""

    index: int
    error: SessionError


@dataclass(slots=True)
class StoreResult:
    """What became of the events: how many of each kind are new, how many were known, or replaced an earlier body. rows: for each event its row as stored now, without its
    number when stored in bulk; None when refused; of a known event the row stored before, in bulk None."""

    rows: list[Message | UsageRecord | Compaction | None]
    messages: int = 0
    usage_records: int = 0
    compactions: int = 0
    duplicates: int = 0
    updated: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def stored(self) -> int:
        return self.messages + self.usage_records + self.compactions


def save_message(
    session_id: UUID | str,
    role: str,
    content: str,
    *,
    timestamp: datetime | None = None,
    event_id: str | None = None,
    agent: str | None = None,
    extra: dict[str, Any] | None = None,
    subagent_id: str = "",
    response_id: str = "",
    source: str = "",
    now: datetime | None = None,
) -> Message:
    """Store one message whole, move the session's last_message_at, count it; the first user message becomes the title.
    A closed session keeps the message and stays closed. Raises SessionNotFound, InvalidMessage, EventIdReused."""
    event = MessageEvent(
        role=role,
        content=content,
        timestamp=timestamp,
        event_id=event_id or "",
        agent=agent or "",
        extra=extra or {},
        subagent_id=subagent_id,
        response_id=response_id,
    )
    return cast(Message, _store_one(session_id, event, source, now))


def record_usage(
    session_id: UUID | str,
    *,
    turn: int | None = None,
    model: str,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    cost_usd: Decimal | int | float | str | None = None,
    user_id: str | None = None,
    provider: str | None = None,
    cache_write_1h_tokens: int = 0,
    timestamp: datetime | None = None,
    event_id: str | None = None,
    extra: dict[str, Any] | None = None,
    subagent_id: str = "",
    response_id: str = "",
    source: str = "",
    now: datetime | None = None,
) -> UsageRecord:
    """Store one model call's tokens and cost.
    Four disjoint counts, whole tokens; input_tokens is the uncached part, cache_write_1h_tokens a part of cache_write_tokens. cost_usd: dollars
    as reported; None = priced from the table at the call's time, or unknown. turn=None takes the next number, user_id=None the session's.
    extra["speed"] = "fast" takes part in the price. Raises SessionNotFound, InvalidUsage, EventIdReused."""
    event = UsageEvent(
        model=model,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=cache_write_1h_tokens,
        cost_usd=cost_usd,  # type: ignore[arg-type]  # checked and turned into a Decimal below
        turn=turn,
        user_id=user_id,
        provider=provider or "",
        timestamp=timestamp,
        event_id=event_id or "",
        extra=extra or {},
        subagent_id=subagent_id,
        response_id=response_id,
    )
    return cast(UsageRecord, _store_one(session_id, event, source, now))


def record_compaction(
    session_id: UUID | str,
    *,
    trigger: str,
    pre_tokens: int,
    summary: str,
    messages_compacted: int,
    timestamp: datetime | None = None,
    event_id: str | None = None,
    extra: dict[str, Any] | None = None,
    source: str = "",
    now: datetime | None = None,
) -> Compaction:
    """Note that older messages were summed up; they stay. pre_tokens: the context's size before. Raises SessionNotFound, InvalidMessage, EventIdReused."""
    event = CompactionEvent(
        trigger=trigger,
        pre_tokens=pre_tokens,
        summary=summary,
        messages_compacted=messages_compacted,
        timestamp=timestamp,
        event_id=event_id or "",
        extra=extra or {},
    )
    return cast(Compaction, _store_one(session_id, event, source, now))


def store_events(
    session: Session | UUID | str, events: Iterable[Event], *, source: str = "", imported: bool = False, now: datetime | None = None
) -> StoreResult:
    """Store events of one session in their order, in one transaction; a refused one does not take the others with it.
    source: who sends them; event ids are unique within it. imported: history, which stays read. Raises SessionNotFound."""
    return store_batch([(session, list(events))], source=source, imported=imported, now=now)[0]


def store_batch(
    batch: Sequence[tuple[Session | UUID | str, list[Event]]], *, source: str = "", imported: bool = False, now: datetime | None = None
) -> list[StoreResult]:
    """Store events of several sessions (each named once) in one transaction, each table written once; a result for each session.
    The sessions are locked in order of their ids, so two batches at once cannot deadlock. Raises SessionNotFound before anything is stored."""
    return _store(batch, source=source, imported=imported, now=now or timezone.now(), with_ids=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """What `save_turn` did. rows: of its events, in their order."""

    opened: Opened
    rows: list[Message | UsageRecord | Compaction]


def save_turn(
    events: Iterable[Event],
    *,
    session_id: UUID | str | None = None,
    source: str = "",
    now: datetime | None = None,
    **opening: Any,
) -> Turn:
    """Store what an agent did in one turn, all or nothing: in the session named, or in the one that `open_session` gives for `opening` (its arguments).
    Raises what open_session raises, SessionNotFound, and the first refusal of an event."""
    now = now or timezone.now()
    with day_rows.writing(savepoint=False):
        if session_id is None:
            opened = open_session_within(**opening, now=now)
        else:
            opened = Opened(locked_all([session_id])[0], created=False)
        [result] = _store([(opened.session, list(events))], source=source, imported=False, now=now, with_ids=True, held=True)
        for refusal in result.refused:
            raise refusal.error
    return Turn(opened, [row for row in result.rows if row is not None])


def _store_one(session_id: UUID | str, event: Event, source: str, now: datetime | None) -> Message | UsageRecord | Compaction | None:
    result = _store([(session_id, [event])], source=source, imported=False, now=now or timezone.now(), with_ids=True)[0]
    if result.refused:
        raise result.refused[0].error
    return result.rows[0]


def _store(
    batch: Sequence[tuple[Session | UUID | str, list[Event]]],
    *,
    source: str,
    imported: bool,
    now: datetime,
    with_ids: bool,
    held: bool = False,
) -> list[StoreResult]:
    """Store the batch. held: the sessions are rows that the caller has just read and holds locked, in a transaction that fails when this does."""
    if held and vendor() == "sqlite":  # nobody else writes meanwhile, so that an id which is not found stays free
        return _store_once(batch, source=source, imported=imported, now=now, with_ids=with_ids, held=True, savepoint=False)
    for attempt in range(4):
        try:
            return _store_once(batch, source=source, imported=imported, now=now, with_ids=with_ids, held=held and attempt == 0)
        except IntegrityError:
            # Another transaction stored one of these event ids meanwhile, in another session (ours are locked). It is over, or we would still
            # be waiting for it, so next time its row is found, and ours is a resend or a reused id.
            continue
    return _store_once(batch, source=source, imported=imported, now=now, with_ids=with_ids, held=False)


def _store_once(
    batch: Sequence[tuple[Session | UUID | str, list[Event]]],
    *,
    source: str,
    imported: bool,
    now: datetime,
    with_ids: bool,
    held: bool,
    savepoint: bool = True,
) -> list[StoreResult]:
    with day_rows.writing(savepoint=savepoint) as tally:
        writer = _Writer(source, imported, now, tally, with_ids)
        given = [session for session, _ in batch]
        sessions = (
            [session for session in given if isinstance(session, Session)] if held else locked_all([_id_of(session) for session in given])
        )
        targets = [
            _Target(session, StoreResult(rows=[None] * len(events)), events) for session, (_, events) in zip(sessions, batch, strict=True)
        ]
        writer.store(targets)
        changed = [target.session for target in targets if target.is_changed]
        for session in changed:
            session_groups.place(session, tally)
        update_rows(changed, CHANGED_BY_EVENTS)
    return [target.result for target in targets]


def _id_of(session: Session | UUID | str) -> UUID | str:
    return session.pk if isinstance(session, Session) else session


def store_new_sessions(batch: Sequence[tuple[Session, list[Event]]], *, now: datetime | None = None) -> list[StoreResult]:
    """Store sessions that are in no table yet, whose own facts are set, with the history that belongs to them, in one transaction. No session is
    looked for, locked or updated: a third less work than `store_batch` after an insert. Raises IntegrityError for a key that is open already."""
    with day_rows.writing() as tally:
        targets = [_Target(session, StoreResult(rows=[None] * len(events)), events) for session, events in batch]
        _Writer("", True, now or timezone.now(), tally, with_ids=False).store(targets)
        for session, _ in batch:
            session_groups.place(session, tally)
        insert_rows([session for session, _ in batch])  # last, with the numbers they have now: references are checked at the commit
        if tagged := [session.pk for session, _ in batch if session.tags]:
            session_groups.index_tags(tagged)
    return [target.result for target in targets]


@dataclass(slots=True)
class _Target:
    """A locked session, what is to be stored in it, and what became of that."""

    session: Session
    result: StoreResult
    events: list[Event]
    is_changed: bool = False

    @property
    def is_restored(self) -> bool:
        """Whether these are events as an export recorded them, in a session whose own facts stand."""
        return bool(self.events) and self.events[0].recorded is not None

    def change(self, **values: Any) -> None:
        for column, value in values.items():
            setattr(self.session, column, value)
        self.is_changed = True

    def refuse(self, index: int, error: SessionError) -> None:
        self.result.refused.append(Refusal(index, error))


@dataclass(slots=True)
class _Incoming(Generic[Row]):
    """An event on its way: where it belongs, the row made of it, and the event itself."""

    target: _Target
    index: int
    row: Row
    event: Event


class _Writer:
    """The storing of one batch, in the transaction of its caller."""

    def __init__(self, source: str, imported: bool, now: datetime, tally: day_rows.Tally, with_ids: bool) -> None:
        self.source = name(source, "source", length=64)
        self.imported = imported
        self.now = now
        self.tally = tally
        self.with_ids = with_ids

    def store(self, targets: list[_Target]) -> None:
        messages: list[_Incoming[Message]] = []
        usage: list[_Incoming[UsageRecord]] = []
        compactions: list[_Incoming[Compaction]] = []
        for target in targets:
            for index, event in enumerate(target.events):
                try:
                    if isinstance(event, MessageEvent):
                        messages.append(_Incoming(target, index, self.message_row(target.session, event), event))
                    elif isinstance(event, UsageEvent):
                        usage.append(_Incoming(target, index, self.usage_row(target.session, event), event))
                    else:
                        compactions.append(_Incoming(target, index, self.compaction_row(target.session, event), event))
                except SessionError as error:
                    target.refuse(index, error)
        self.add_messages(self.only_new(Message, messages))
        self.add_usage(self.only_new(UsageRecord, usage))
        for target, rows in self.insert(self.only_new(Compaction, compactions)):
            target.result.compactions = len(rows)
        for target in targets:
            target.result.refused.sort(key=lambda refusal: refusal.index)

    # --- from event to row: checked and cleaned ---------------------------------------------------------------------------------

    def received(self, session: Session, event: Event, error: type[SessionError]) -> dict[str, Any]:
        timestamp = self.now if event.timestamp is None else aware(event.timestamp, "timestamp", error)
        event_id = name(event.event_id, "event_id", error=error) if event.event_id else ""
        source, received_at = self.source, self.now
        if event.recorded is not None:
            source = name(event.recorded.source, "source", length=64, error=error)
            received_at = aware(event.recorded.received_at, "received_at", error)
        return {"session_id": session.pk, "timestamp": timestamp, "received_at": received_at, "source": source, "event_id": event_id}

    def message_row(self, session: Session, event: MessageEvent) -> Message:
        if event.role not in ROLES:
            raise InvalidMessage(f"There is no role {str(event.role)[:40]!r}. Roles: {', '.join(ROLES)}.", field="role")
        if not isinstance(event.content, str):
            raise InvalidMessage(f"content must be text, not {type(event.content).__name__}.", field="content")
        content, replaced = storable_counted(event.content)
        extra = storable_json(event.extra) if event.extra else {}
        if replaced:
            extra[REPLACED] = replaced
        if not event.titles:
            extra[NO_TITLE] = True
        tool_name, call_id, is_error = "", "", event.is_error
        if event.role in ("tool_use", "tool_result"):
            tool_name, call_id, is_error = tool_columns(event)
        return new_row(
            Message,
            {
                **self.received(session, event, InvalidMessage),
                "fingerprint": _mark(event, event.role, event.content, event.timestamp),
                "role": event.role,
                "agent": name(event.agent, "agent", length=100, error=InvalidMessage) if event.agent else "",
                "subagent_id": name(event.subagent_id, "subagent_id", length=100, error=InvalidMessage) if event.subagent_id else "",
                "response_id": name(event.response_id, "response_id", error=InvalidMessage) if event.response_id else "",
                "tool_name": tool_name,
                "tool_call_id": call_id,
                "is_error": is_error,
                "extra": extra,
                "content": content,
            },
        )

    def usage_row(self, session: Session, event: UsageEvent) -> UsageRecord:
        counts = {column: _count(getattr(event, column), column) for column in TOKEN_COLUMNS}
        if counts["cache_write_1h_tokens"] > counts["cache_write_tokens"]:
            raise InvalidUsage("cache_write_1h_tokens is a part of cache_write_tokens, and can't be more.", field="cache_write_1h_tokens")
        if event.turn is not None and (isinstance(event.turn, bool) or not isinstance(event.turn, int) or not 0 <= event.turn <= MAX_TURN):
            raise InvalidUsage(f"turn must be a whole number from 0 to {MAX_TURN:,}.", field="turn")
        received = self.received(session, event, InvalidUsage)
        model = name(event.model, "model", length=MODEL_LENGTH, error=InvalidUsage).strip() or UNKNOWN_MODEL
        provider = name(event.provider, "provider", length=100, error=InvalidUsage)
        cost, cost_source = _reported(event.cost_usd), "reported"
        if event.recorded is not None:
            cost_source = _recorded_source(cost, event.recorded.cost_source)
        elif cost is None:
            speed = event.extra.get("speed", "") if event.extra else ""
            cost = pricing.price_call(
                model=model, provider=provider, at=received["timestamp"], speed=speed if isinstance(speed, str) else "", **counts
            )
            cost_source = "unknown" if cost is None else "computed"
        sent = (event.model, *counts.values(), event.cost_usd, event.turn, event.user_id, event.provider, event.timestamp)
        return new_row(
            UsageRecord,
            {
                **received,
                **counts,
                "fingerprint": _mark(event, *sent),
                "turn": event.turn,
                "model": model,
                "provider": provider,
                "user_id": session.user_id if event.user_id is None else name(event.user_id, "user_id", error=InvalidUsage),
                "cost_usd": cost,
                "cost_source": cost_source,
                "subagent_id": name(event.subagent_id, "subagent_id", length=100, error=InvalidUsage) if event.subagent_id else "",
                "response_id": name(event.response_id, "response_id", error=InvalidUsage) if event.response_id else "",
                "extra": storable_json(event.extra) if event.extra else {},
            },
        )

    def compaction_row(self, session: Session, event: CompactionEvent) -> Compaction:
        summary, replaced = storable_counted(event.summary)
        return new_row(
            Compaction,
            {
                **self.received(session, event, InvalidMessage),
                "fingerprint": _mark(event, event.trigger, event.summary, event.pre_tokens, event.timestamp),
                "trigger": name(event.trigger, "trigger", length=40, error=InvalidMessage),
                "pre_tokens": _count(event.pre_tokens, "pre_tokens", InvalidMessage),
                "summary": summary,
                "messages_compacted": _count(event.messages_compacted, "messages_compacted", InvalidMessage),
                "extra": {**(storable_json(event.extra) if event.extra else {}), **({REPLACED: replaced} if replaced else {})},
            },
        )

    # --- known or new -----------------------------------------------------------------------------------------------------------

    def only_new(self, model: type[Row], incoming: list[_Incoming[Row]]) -> list[_Incoming[Row]]:
        """Sort out what was stored before: the same id and body again is a duplicate, another body is refused, unless the event replaces."""
        by_source: dict[str, list[str]] = {}
        for item in incoming:
            if item.row.event_id:
                by_source.setdefault(item.row.source, []).append(item.row.event_id)
        known: dict[tuple[str, str], Row | _Stored] = {}
        for source, event_ids in by_source.items():
            for some in chunks(event_ids, LOOKUP_SIZE):
                known.update({(source, row.event_id): row for row in _known(model, source, some, whole=self.with_ids)})
        new: list[_Incoming[Row]] = []
        # of the new ones by source and event id, so that a later event of the same id finds the earlier one
        first: dict[tuple[str, str], _Incoming[Row]] = {}
        for item in incoming:
            event_id, result = item.row.event_id, item.target.result
            key = (item.row.source, event_id)
            before = first.get(key) if event_id else None
            earlier = before.row if before else known.get(key) if event_id else None
            if earlier is None:
                if event_id:
                    first[key] = item
                new.append(item)
                continue
            result.rows[item.index] = None if isinstance(earlier, _Stored) else earlier
            if isinstance(item.event, UsageEvent) and item.event.replaces:
                if isinstance(item.row, UsageRecord) and _has_grown(item.row, earlier):
                    if before is None:
                        self.replace_usage(item.target, earlier.pk, item.row)
                        known[key] = result.rows[item.index] = item.row
                        continue
                    before.row = item.row
                result.duplicates += 1
            elif earlier.fingerprint == item.row.fingerprint and earlier.session_id == item.row.session_id:
                result.duplicates += 1
            else:
                result.rows[item.index] = None
                item.target.refuse(item.index, EventIdReused(event_id))
        return new

    def insert(self, incoming: list[_Incoming[Row]]) -> list[tuple[_Target, list[Row]]]:
        """Write the new rows to their table, and return them by session, in their order."""
        by_session: dict[UUID, tuple[_Target, list[Row]]] = {}
        for item in incoming:
            item.target.result.rows[item.index] = item.row
            by_session.setdefault(item.target.session.pk, (item.target, []))[1].append(item.row)
        if incoming:
            insert_rows([item.row for item in incoming], with_ids=self.with_ids)
        if self.with_ids:
            for item in incoming:
                item.row._state.fields_cache["session"] = item.target.session  # as an assignment would, whose id stands in the row already
        return list(by_session.values())

    # --- messages ---------------------------------------------------------------------------------------------------------------

    def add_messages(self, incoming: list[_Incoming[Message]]) -> None:
        self.name_tools(incoming)
        for item in incoming:
            if item.row.agent and not item.row.subagent_id and not item.target.session.agent:
                # Before the rows are in their table: what stands there moves to the new name's sums, what is new is added to them below.
                set_session_facts(item.target.session, agent=item.row.agent)
        for target, messages in self.insert(incoming):
            target.result.messages = len(messages)
            self.count_messages(target, messages)

    def count_messages(self, target: _Target, messages: list[Message]) -> None:
        """Let the session's numbers and the tools' day rows follow the messages just stored."""
        session = target.session
        names = day_rows.session_names(session)
        calls = errors = 0
        for message in messages:
            entry = day_rows.tool_entry(names, message)
            if entry is not None:
                self.tally.add(*entry)
                calls += message.role == "tool_use"
                errors += message.role == "tool_result"
        times = [message.timestamp for message in messages]
        target.change(
            message_count=session.message_count + len(messages),
            last_message_at=max(session.last_message_at, *times),
            tool_call_count=session.tool_call_count + calls,
            error_count=session.error_count + errors,
        )
        if self.imported and not target.is_restored:
            target.change(created_at=min(session.created_at, *times))
        if not session.title and not target.is_restored:
            target.change(title=_first_prompt(messages))
        if (
            not self.imported
            and (session.triggered_by or session.channel.marks_unread)
            and any(message.role == "assistant" for message in messages)
        ):
            # By our clock: a message that arrives late is new to every reader, whatever time its sender wrote on it.
            target.change(unread_since=max(session.unread_since or self.now, self.now))

    def name_tools(self, incoming: list[_Incoming[Message]]) -> None:
        """Give results the name of their call, and results that came before their call the name when it comes."""
        tools = [item for item in incoming if item.row.role in ("tool_use", "tool_result")]
        grown = {item.target.session.pk for item in tools if item.target.session.message_count}
        wanted = [item.row.tool_call_id for item in tools if item.row.tool_call_id and item.target.session.pk in grown]
        names: dict[tuple[UUID, str], str] = {}
        early: dict[tuple[UUID, str], list[Message]] = {}
        for some in chunks(wanted, LOOKUP_SIZE):
            stored = Message.objects.filter(session__in=grown, tool_call_id__in=some).exclude(tool_call_id="").order_by("id")
            for message in stored.only("session_id", "tool_call_id", "tool_name", "role", "is_error", "timestamp"):
                key = (message.session_id, message.tool_call_id)
                if message.role == "tool_use":
                    names.setdefault(key, message.tool_name)
                else:
                    early.setdefault(key, []).append(message)
        for item in tools:
            key = (item.row.session_id, item.row.tool_call_id)
            if item.row.role == "tool_use" and item.row.tool_call_id and key not in names:
                names[key] = item.row.tool_name
                self.rename_results(item.target.session, early.get(key, []), item.row.tool_name)
        for item in tools:
            if item.row.role == "tool_result":
                item.row.tool_name = names.get((item.row.session_id, item.row.tool_call_id)) or item.row.tool_name or UNKNOWN_TOOL

    def rename_results(self, session: Session, results: list[Message], tool_name: str) -> None:
        names = day_rows.session_names(session)
        for result in results:
            if result.tool_name == tool_name:
                continue
            if entry := day_rows.tool_entry(names, result):
                self.tally.add(*entry, times=-1)
            result.tool_name = tool_name
            if entry := day_rows.tool_entry(names, result):
                self.tally.add(*entry)
            result.save(update_fields=["tool_name"])

    # --- usage ------------------------------------------------------------------------------------------------------------------

    def add_usage(self, incoming: list[_Incoming[UsageRecord]]) -> None:
        for item in incoming:
            session = item.target.session
            if item.row.turn is None:
                item.row.turn = session.last_turn + 1
            session.last_turn = max(session.last_turn, item.row.turn)
        for target, records in self.insert(incoming):
            target.result.usage_records = len(records)
            for record in records:
                self.count_usage(target, record)
                if not record.subagent_id or not target.session.model:
                    target.session.model = record.model

    def count_usage(self, target: _Target, record: UsageRecord, times: int = 1) -> None:
        """Add a record to the session's sums and the day rows; times=-1 takes it away."""
        session = target.session
        self.tally.add(*day_rows.usage_entry(day_rows.session_names(session), record), times=times)
        priced = record.cost_usd is not None
        session.total_turns += times
        session.unpriced_turns += 0 if priced else times
        session.input_tokens += times * record.input_tokens
        session.output_tokens += times * record.output_tokens
        session.cache_read_tokens += times * record.cache_read_tokens
        session.cache_write_tokens += times * record.cache_write_tokens
        if record.cost_usd is not None:
            session.priced_tokens += times * record.total_tokens
            session.cost_usd += times * record.cost_usd
        target.is_changed = True

    def replace_usage(self, target: _Target, stored: int, record: UsageRecord) -> None:
        """Put a later, larger body of the same call in the place of the earlier one: its counts, its cost, its turn's number kept."""
        earlier = UsageRecord.objects.get(pk=stored)
        self.count_usage(target, earlier, times=-1)
        record.pk, record.turn = earlier.pk, earlier.turn
        record.save(force_update=True)
        self.count_usage(target, record)
        if record.model != earlier.model:
            records = UsageRecord.objects.filter(session=target.session)
            newest = records.filter(subagent_id="").order_by("-pk").first() or records.order_by("pk")[0]
            target.session.model = newest.model
        target.result.updated += 1


# The columns of a session that storing events may change.
CHANGED_BY_EVENTS = (
    "created_at",
    "last_message_at",
    "title",
    "unread_since",
    "message_count",
    "tool_call_count",
    "error_count",
    "total_turns",
    "unpriced_turns",
    "last_turn",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "priced_tokens",
    "cost_usd",
    "model",
    *session_groups.PLACED,
)
TOKEN_COLUMNS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")


def tool_columns(event: MessageEvent) -> tuple[str, str, bool]:
    """Return tool name, call id and error flag of a tool message: as the edge gave them, else from its JSON, else the name `unknown`."""
    tool_name: object = event.tool_name
    call_id: object = event.tool_call_id
    is_error = event.is_error
    if not tool_name and not call_id:
        try:
            body = json.loads(event.content)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and body.get("type") == event.role:
            tool_name = body.get("name") if event.role == "tool_use" else None
            call_id = body.get("id") if event.role == "tool_use" else body.get("tool_use_id")
            is_error = body.get("is_error") is True
    return _short(tool_name) or UNKNOWN_TOOL, _short(call_id), is_error


def _mark(event: Event, *body: object) -> int | None:
    """Return the fingerprint of an event's body, None for one without an id; of a recorded one as it was recorded."""
    if event.recorded is not None:
        return event.recorded.fingerprint
    return fingerprint(*body) if event.event_id else None


def _recorded_source(cost: Decimal | None, source: str) -> str:
    """Return the cost source of a recorded call. Raises InvalidUsage where it does not fit the cost."""
    if (source == "unknown") != (cost is None) or source not in COST_SOURCES:
        raise InvalidUsage(f"cost_source is {_words(source)}, with {'no cost' if cost is None else 'a cost'}.", field="cost_source")
    return source


def _first_prompt(messages: list[Message]) -> str:
    """Return the title that the first prompt of the main thread gives, "" when there is none among these."""
    for message in messages:
        if message.role == "user" and not message.subagent_id and not message.extra.get(NO_TITLE) and (title := title_of(message.content)):
            return title
    return ""


def _short(text: object) -> str:
    """A tool's name or call id is the model's word, so a mad one is cut instead of refused: the whole stands in the content."""
    return storable_counted(text.strip())[0][:KEY_LENGTH] if isinstance(text, str) else ""


def _words(value: object) -> str:
    """Return the beginning of a refused value; Python itself refuses to write out a number of thousands of digits."""
    return "a number beyond all bounds" if isinstance(value, int) and value.bit_length() > 200 else repr(value)[:40]


def _count(value: object, column: str, error: type[SessionError] = InvalidUsage) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise error(f"{column} must be a whole number, not {_words(value)}.", field=column)
    if not 0 <= value <= MAX_TOKENS_PER_CALL:
        raise error(f"{column} is {_words(value)}; it must lie between 0 and {MAX_TOKENS_PER_CALL:,} a call.", field=column)
    return value


def _reported(cost: object) -> Decimal | None:
    """Return a reported cost as exact dollars. Raises InvalidUsage for what is no amount of money."""
    if cost is None:
        return None
    try:
        dollars = cost if isinstance(cost, Decimal) else Decimal(str(cost))  # str: a float's shortest form, which is what its sender meant
    except (InvalidOperation, ValueError):
        raise InvalidUsage(f"cost_usd must be an amount in dollars, not {_words(cost)}.", field="cost_usd") from None
    if isinstance(cost, bool) or not dollars.is_finite() or not 0 <= dollars <= MAX_COST_PER_CALL:
        raise InvalidUsage(f"cost_usd is {_words(cost)}; it must lie between 0 and {MAX_COST_PER_CALL:,} dollars a call.", field="cost_usd")
    return rounded(dollars)


def _has_grown(row: UsageRecord, earlier: Received | _Stored) -> bool:
    """Tell whether a usage record is the later body of a stored one. One in another session is copied history: counted where it was first seen."""
    return isinstance(earlier, UsageRecord | _Stored) and row.total_tokens > earlier.total_tokens and row.session_id == earlier.session_id


class _Stored(NamedTuple):
    """As much of a stored row as tells a resend from a reused id."""

    event_id: str
    fingerprint: int | None
    session_id: UUID
    pk: int
    total_tokens: int


def _known(model: type[Row], source: str, event_ids: Sequence[str], *, whole: bool) -> Iterable[Row | _Stored]:
    """Fetch the stored rows of these event ids; whole: the rows themselves, for a caller that is given them."""
    rows = model._default_manager.filter(source=source, event_id__in=event_ids).exclude(event_id="")
    if whole:
        return rows
    tokens = F("input_tokens") + F("output_tokens") + F("cache_read_tokens") + F("cache_write_tokens") if model is UsageRecord else Value(0)
    return map(_Stored._make, rows.values_list("event_id", "fingerprint", "session_id", "pk", tokens))
