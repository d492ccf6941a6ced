"""What is said in a session and what it costs: messages, usage records, compactions, stored together with everything they add up to.

`store_events` is the one way in; `save_message`, `record_usage` and `record_compaction` are its one-element cases. In one transaction:
the session is locked, known events are recognised, new ones are stored, the session's cached numbers and, last, the day rows follow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any, TypeVar
from uuid import UUID

from django.utils import timezone

from sessions_app import day_rows, pricing
from sessions_app.errors import EventIdReused, InvalidMessage, InvalidUsage, SessionError
from sessions_app.events import ROLES, UNKNOWN_TOOL, CompactionEvent, Event, MessageEvent, UsageEvent
from sessions_app.models import MODEL_LENGTH, Compaction, Message, Session, UsageRecord
from sessions_app.money import rounded
from sessions_app.services.bulk import LOOKUP_SIZE, chunks, insert_rows
from sessions_app.services.cleaning import REPLACED, aware, name, storable_counted, storable_json, title_of
from sessions_app.services.lifecycle import locked, set_session_facts

MAX_TOKENS_PER_CALL = 100_000_000
MAX_COST_PER_CALL = Decimal(1_000_000)  # dollars
MAX_TURN = 2_000_000_000
UNKNOWN_MODEL = "unknown"

Row = TypeVar("Row", Message, UsageRecord, Compaction)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that was not stored. index: its place among the events given."""

    index: int
    error: SessionError


@dataclass(slots=True)
class StoreResult:
    """What became of the events. rows: for each event its row, stored now or before (without primary key when stored in bulk), or None when refused."""

    rows: list[Message | UsageRecord | Compaction | None]
    stored: int = 0
    duplicates: int = 0
    updated: int = 0
    refused: list[Refusal] = field(default_factory=list)


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
    return _store_one(session_id, event, source, now)


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
    return _store_one(session_id, event, source, now)


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
    return _store_one(session_id, event, source, now)


def store_events(
    session: Session | UUID | str, events: Iterable[Event], *, source: str = "", imported: bool = False, now: datetime | None = None
) -> StoreResult:
    """Store events of one session in their order, in one transaction; a refused one does not take the others with it.
    source: who sends them; event ids are unique within it. imported: history, which stays read. Raises SessionNotFound."""
    return _store(session, list(events), source=source, imported=imported, now=now or timezone.now(), with_ids=False)


def _store_one(session_id: UUID | str, event: Event, source: str, now: datetime | None) -> Any:
    result = _store(session_id, [event], source=source, imported=False, now=now or timezone.now(), with_ids=True)
    if result.refused:
        raise result.refused[0].error
    return result.rows[0]


def _store(
    session: Session | UUID | str, events: list[Event], *, source: str, imported: bool, now: datetime, with_ids: bool
) -> StoreResult:
    with day_rows.writing() as tally:
        row = locked(session.pk if isinstance(session, Session) else session)
        batch = _Batch(row, source, imported, now, tally, with_ids)
        result = batch.store(events)
        if isinstance(session, Session):
            for column in batch.changed:
                setattr(session, column, getattr(row, column))
    return result


class _Batch:
    """The storing of one list of events into one locked session."""

    def __init__(self, session: Session, source: str, imported: bool, now: datetime, tally: day_rows.Tally, with_ids: bool) -> None:
        self.session = session
        self.source = name(source, "source", length=64)
        self.imported = imported
        self.now = now
        self.tally = tally
        self.with_ids = with_ids
        self.changed: set[str] = set()

    def store(self, events: list[Event]) -> StoreResult:
        self.result = StoreResult(rows=[None] * len(events))
        messages: list[tuple[int, Message, MessageEvent]] = []
        usage: list[tuple[int, UsageRecord, UsageEvent]] = []
        compactions: list[tuple[int, Compaction, CompactionEvent]] = []
        for index, event in enumerate(events):
            try:
                if isinstance(event, MessageEvent):
                    messages.append((index, self.message_row(event), event))
                elif isinstance(event, UsageEvent):
                    usage.append((index, self.usage_row(event), event))
                else:
                    compactions.append((index, self.compaction_row(event), event))
            except SessionError as error:
                self.result.refused.append(Refusal(index, error))
        self.add_messages(self.only_new(Message, messages))
        self.add_usage(self.only_new(UsageRecord, usage))
        self.insert(self.only_new(Compaction, compactions))
        if self.changed:
            Session.objects.filter(pk=self.session.pk).update(**{column: getattr(self.session, column) for column in self.changed})
        self.result.refused.sort(key=lambda refusal: refusal.index)
        return self.result

    def change(self, **values: Any) -> None:
        for column, value in values.items():
            setattr(self.session, column, value)
        self.changed.update(values)

    # --- from event to row: checked and cleaned ---------------------------------------------------------------------------------

    def received(self, event: Event, error: type[SessionError]) -> dict[str, Any]:
        timestamp = self.now if event.timestamp is None else aware(event.timestamp, "timestamp", error)
        event_id = name(event.event_id, "event_id", error=error) if event.event_id else ""
        return {"session": self.session, "timestamp": timestamp, "received_at": self.now, "source": self.source, "event_id": event_id}

    def message_row(self, event: MessageEvent) -> Message:
        if event.role not in ROLES:
            raise InvalidMessage(f"There is no role {str(event.role)[:40]!r}. Roles: {', '.join(ROLES)}.", field="role")
        if not isinstance(event.content, str):
            raise InvalidMessage(f"content must be text, not {type(event.content).__name__}.", field="content")
        content, replaced = storable_counted(event.content)
        extra = storable_json(event.extra) if event.extra else {}
        if replaced:
            extra[REPLACED] = replaced
        tool_name, call_id, is_error = "", "", False
        if event.role in ("tool_use", "tool_result"):
            tool_name, call_id, is_error = tool_columns(event)
        return Message(
            **self.received(event, InvalidMessage),
            fingerprint=_fingerprint(event.role, event.content, event.timestamp) if event.event_id else None,
            role=event.role,
            agent=name(event.agent, "agent", length=100, error=InvalidMessage) if event.agent else "",
            subagent_id=name(event.subagent_id, "subagent_id", length=100, error=InvalidMessage) if event.subagent_id else "",
            response_id=name(event.response_id, "response_id", error=InvalidMessage) if event.response_id else "",
            tool_name=tool_name,
            tool_call_id=call_id,
            is_error=is_error,
            extra=extra,
            content=content,
        )

    def usage_row(self, event: UsageEvent) -> UsageRecord:
        counts = {column: _count(getattr(event, column), column) for column in TOKEN_COLUMNS}
        if counts["cache_write_1h_tokens"] > counts["cache_write_tokens"]:
            raise InvalidUsage("cache_write_1h_tokens is a part of cache_write_tokens, and can't be more.", field="cache_write_1h_tokens")
        if event.turn is not None and (isinstance(event.turn, bool) or not isinstance(event.turn, int) or not 0 <= event.turn <= MAX_TURN):
            raise InvalidUsage(f"turn must be a whole number from 0 to {MAX_TURN:,}.", field="turn")
        received = self.received(event, InvalidUsage)
        model = name(event.model, "model", length=MODEL_LENGTH, error=InvalidUsage).strip() or UNKNOWN_MODEL
        provider = name(event.provider, "provider", length=100, error=InvalidUsage)
        cost, cost_source = _reported(event.cost_usd), "reported"
        if cost is None:
            speed = event.extra.get("speed", "") if event.extra else ""
            cost = pricing.price_call(
                model=model, provider=provider, at=received["timestamp"], speed=speed if isinstance(speed, str) else "", **counts
            )
            cost_source = "unknown" if cost is None else "computed"
        sent = (event.model, *counts.values(), event.cost_usd, event.turn, event.user_id, event.provider, event.timestamp)
        return UsageRecord(
            **received,
            **counts,
            fingerprint=_fingerprint(*sent) if event.event_id else None,
            turn=event.turn,
            model=model,
            provider=provider,
            user_id=self.session.user_id if event.user_id is None else name(event.user_id, "user_id", error=InvalidUsage),
            cost_usd=cost,
            cost_source=cost_source,
            subagent_id=name(event.subagent_id, "subagent_id", length=100, error=InvalidUsage) if event.subagent_id else "",
            response_id=name(event.response_id, "response_id", error=InvalidUsage) if event.response_id else "",
            extra=storable_json(event.extra) if event.extra else {},
        )

    def compaction_row(self, event: CompactionEvent) -> Compaction:
        summary, replaced = storable_counted(event.summary)
        return Compaction(
            **self.received(event, InvalidMessage),
            fingerprint=_fingerprint(event.trigger, event.summary, event.pre_tokens, event.timestamp) if event.event_id else None,
            trigger=name(event.trigger, "trigger", length=40, error=InvalidMessage),
            pre_tokens=_count(event.pre_tokens, "pre_tokens", InvalidMessage),
            summary=summary,
            messages_compacted=_count(event.messages_compacted, "messages_compacted", InvalidMessage),
            extra={**(storable_json(event.extra) if event.extra else {}), **({REPLACED: replaced} if replaced else {})},
        )

    # --- known or new -----------------------------------------------------------------------------------------------------------

    def only_new(self, model: type[Row], rows: list[tuple[int, Row, Any]]) -> list[tuple[int, Row]]:
        """Sort out what was stored before: the same id and body again is a duplicate, another body is refused, unless the event replaces."""
        with_id = [row.event_id for _, row, _ in rows if row.event_id]
        known: dict[str, Row] = {}
        for some in chunks(with_id, LOOKUP_SIZE):
            known.update({row.event_id: row for row in _known(model, self.source, some, whole=self.with_ids)})
        new: list[tuple[int, Row]] = []
        places: dict[str, int] = {}  # of the new ones, so that a later event of the same id finds the earlier one
        for index, row, event in rows:
            earlier = known.get(row.event_id) if row.event_id else None
            if earlier is None:
                if row.event_id:
                    known[row.event_id] = row
                    places[row.event_id] = len(new)
                new.append((index, row))
                continue
            self.result.rows[index] = earlier
            if isinstance(event, UsageEvent) and event.replaces:
                if row.total_tokens <= earlier.total_tokens:
                    self.result.duplicates += 1
                elif row.event_id in places:
                    first, _ = new[places[row.event_id]]
                    new[places[row.event_id]] = (index, row)
                    self.result.rows[first] = self.result.rows[index] = row
                    known[row.event_id] = row
                    self.result.duplicates += 1
                elif earlier.session_id != self.session.pk:
                    self.result.duplicates += 1  # copied history: counted where it was first seen
                else:
                    self.replace_usage(earlier, row)
            elif earlier.fingerprint == row.fingerprint and earlier.session_id == row.session_id:
                self.result.duplicates += 1
            else:
                self.result.rows[index] = None
                self.result.refused.append(Refusal(index, EventIdReused(row.event_id)))
        return new

    def insert(self, rows: list[tuple[int, Row]]) -> list[Row]:
        """Write the new rows to their table."""
        for index, row in rows:
            self.result.rows[index] = row
        self.result.stored += len(rows)
        only = [row for _, row in rows]
        if self.with_ids:
            for row in only:
                row.save(force_insert=True)
        elif only:
            insert_rows(only)
        return only

    # --- messages ---------------------------------------------------------------------------------------------------------------

    def add_messages(self, rows: list[tuple[int, Message]]) -> None:
        if not rows:
            return
        self.name_tools([row for _, row in rows])
        messages = self.insert(rows)
        session = self.session
        if not session.agent and (agent := next((message.agent for message in messages if message.agent and not message.subagent_id), "")):
            set_session_facts(session, agent=agent)
        names = day_rows.session_names(session)
        calls = errors = 0
        for message in messages:
            entry = day_rows.tool_entry(names, message)
            if entry is not None:
                self.tally.add(*entry)
                calls += message.role == "tool_use"
                errors += message.role == "tool_result"
        self.change(
            message_count=session.message_count + len(messages),
            last_message_at=max(session.last_message_at, max(message.timestamp for message in messages)),
        )
        if calls or errors:
            self.change(tool_call_count=session.tool_call_count + calls, error_count=session.error_count + errors)
        if self.imported:
            self.change(created_at=min(session.created_at, min(message.timestamp for message in messages)))
        if not session.title and (title := self.first_prompt(messages)):
            self.change(title=title)
        if (
            not self.imported
            and (session.triggered_by or session.channel.marks_unread)
            and any(message.role == "assistant" for message in messages)
        ):
            # By our clock: a message that arrives late is new to every reader, whatever time its sender wrote on it.
            self.change(unread_since=max(session.unread_since or self.now, self.now))

    def first_prompt(self, messages: list[Message]) -> str:
        for message in messages:
            if (
                message.role == "user"
                and not message.subagent_id
                and not message.extra.get("is_meta")
                and (title := title_of(message.content))
            ):
                return title
        return ""

    def name_tools(self, messages: list[Message]) -> None:
        """Give results the name of their call, and results that came before their call the name when it comes."""
        in_batch = {message.tool_call_id for message in messages if message.tool_call_id}
        names: dict[str, str] = {}
        early: dict[str, list[Message]] = {}
        if in_batch and self.session.message_count:
            for some in chunks(list(in_batch), LOOKUP_SIZE):
                stored = Message.objects.filter(session=self.session, tool_call_id__in=some).exclude(tool_call_id="").order_by("id")
                for message in stored.only("tool_call_id", "tool_name", "role", "is_error", "timestamp"):
                    if message.role == "tool_use":
                        names.setdefault(message.tool_call_id, message.tool_name)
                    else:
                        early.setdefault(message.tool_call_id, []).append(message)
        for message in messages:
            if message.role == "tool_use" and message.tool_call_id and message.tool_call_id not in names:
                names[message.tool_call_id] = message.tool_name
                self.rename_results(early.get(message.tool_call_id, []), message.tool_name)
        for message in messages:
            if message.role == "tool_result":
                message.tool_name = names.get(message.tool_call_id) or message.tool_name or UNKNOWN_TOOL

    def rename_results(self, results: list[Message], tool_name: str) -> None:
        session_names = day_rows.session_names(self.session)
        for result in results:
            if result.tool_name == tool_name:
                continue
            if entry := day_rows.tool_entry(session_names, result):
                self.tally.add(*entry, times=-1)
            result.tool_name = tool_name
            if entry := day_rows.tool_entry(session_names, result):
                self.tally.add(*entry)
            result.save(update_fields=["tool_name"])

    # --- usage ------------------------------------------------------------------------------------------------------------------

    def add_usage(self, rows: list[tuple[int, UsageRecord]]) -> None:
        if not rows:
            return
        session = self.session
        last_turn = session.last_turn
        for _, record in rows:
            if record.turn is None:
                record.turn = last_turn + 1
            last_turn = max(last_turn, record.turn)
        records = self.insert(rows)
        self.change(last_turn=last_turn)
        model = session.model
        for record in records:
            self.count_usage(record)
            if not record.subagent_id or not model:
                model = record.model
        if model != session.model:
            self.change(model=model)

    def count_usage(self, record: UsageRecord, times: int = 1) -> None:
        """Add a record to the session's sums and the day rows; times=-1 takes it away."""
        session = self.session
        self.tally.add(*day_rows.usage_entry(day_rows.session_names(session), record), times=times)
        priced = record.cost_usd is not None
        self.change(
            total_turns=session.total_turns + times,
            unpriced_turns=session.unpriced_turns + (0 if priced else times),
            input_tokens=session.input_tokens + times * record.input_tokens,
            output_tokens=session.output_tokens + times * record.output_tokens,
            cache_read_tokens=session.cache_read_tokens + times * record.cache_read_tokens,
            cache_write_tokens=session.cache_write_tokens + times * record.cache_write_tokens,
        )
        if priced:
            self.change(
                priced_tokens=session.priced_tokens + times * record.total_tokens,
                cost_usd=session.cost_usd + times * (record.cost_usd or 0),
            )

    def replace_usage(self, earlier: UsageRecord, record: UsageRecord) -> None:
        """Put a later, larger body of the same call in the place of the earlier one: its counts, its cost, its turn's number kept."""
        earlier = UsageRecord.objects.get(pk=earlier.pk)
        self.count_usage(earlier, times=-1)
        record.pk, record.turn = earlier.pk, earlier.turn
        record.save(force_update=True)
        self.count_usage(record)
        self.result.updated += 1


TOKEN_COLUMNS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")


def tool_columns(event: MessageEvent) -> tuple[str, str, bool]:
    """Return tool name, call id and error flag of a tool message: as the edge gave them, else from its JSON, else the name `unknown`."""
    tool_name, call_id, is_error = event.tool_name, event.tool_call_id, event.is_error
    if not tool_name and not call_id:
        try:
            body = json.loads(event.content)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and body.get("type") == event.role:
            tool_name = body.get("name") if event.role == "tool_use" else None
            call_id = body.get("id") if event.role == "tool_use" else body.get("tool_use_id")
            is_error = body.get("is_error") is True
    tool_name = tool_name if isinstance(tool_name, str) else ""
    call_id = call_id if isinstance(call_id, str) else ""
    return _short(tool_name) or UNKNOWN_TOOL, _short(call_id), is_error


def _short(text: str) -> str:
    """A tool's name or call id is the model's word, so a mad one is cut instead of refused: the whole stands in the content."""
    return storable_counted(text.strip())[0][:255]


def _count(value: object, column: str, error: type[SessionError] = InvalidUsage) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise error(f"{column} must be a whole number, not {str(value)[:40]!r}.", field=column)
    if not 0 <= value <= MAX_TOKENS_PER_CALL:
        raise error(f"{column} is {value}; it must lie between 0 and {MAX_TOKENS_PER_CALL:,} a call.", field=column)
    return value


def _reported(cost: object) -> Decimal | None:
    """Return a reported cost as exact dollars. Raises InvalidUsage for what is no amount of money."""
    if cost is None:
        return None
    try:
        dollars = cost if isinstance(cost, Decimal) else Decimal(str(cost))  # str: a float's shortest form, which is what its sender meant
    except (InvalidOperation, ValueError):
        raise InvalidUsage(f"cost_usd must be an amount in dollars, not {str(cost)[:40]!r}.", field="cost_usd") from None
    if isinstance(cost, bool) or not dollars.is_finite() or not 0 <= dollars <= MAX_COST_PER_CALL:
        raise InvalidUsage(
            f"cost_usd is {str(cost)[:40]}; it must lie between 0 and {MAX_COST_PER_CALL:,} dollars a call.", field="cost_usd"
        )
    return rounded(dollars)


def _fingerprint(*parts: object) -> int:
    """Digest a body to 64 bits: enough to tell a resend from a reused id, where the two are already known to share it."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else repr(part).encode())
        digest.update(b"\0")
    return int.from_bytes(digest.digest(), "big", signed=True)


def _known(model: type[Row], source: str, event_ids: list[str], *, whole: bool) -> Iterable[Row]:
    """Fetch the stored rows of these event ids; whole: with their long texts, for a caller that is given the row."""
    rows = model._default_manager.filter(source=source, event_id__in=event_ids).exclude(event_id="")
    if not whole:
        columns = ["event_id", "fingerprint", "session_id"]
        rows = rows.only(*columns, *TOKEN_COLUMNS) if model is UsageRecord else rows.only(*columns)
    return rows
