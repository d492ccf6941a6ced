"""Sessions as telemetry tells of them: piecemeal, out of order, and sometimes told again by the agent's own log.

Traces: any span may name the session of its whole trace, also after other spans of it were stored; those then move. Coding agents: what their
telemetry counted gives way to what their log says of the same time, and what their metrics say counts only beyond both.
Runs in one transaction with the day rows, which stay right: `recount` finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from sessions_app import day_rows, session_groups
from sessions_app.events import Event, UsageEvent
from sessions_app.models import Channel, Compaction, Message, Session, TraceSession, UsageRecord
from sessions_app.services.bulk import LOOKUP_SIZE, chunks, insert_rows, update_rows
from sessions_app.services.cleaning import storable
from sessions_app.services.lifecycle import channel_named, locked, locked_all, open_session, set_session_facts
from sessions_app.services.maintenance import rebuild_numbers
from sessions_app.services.transcript import StoreResult, store_batch

OTLP = "otlp:"  # begins the source of everything that came as telemetry
TELEMETRY = "telemetry"  # in a session's extra: telemetry made it, or wrote to a coding agent's
METRIC = "metric"  # in a usage record's extra: it is what a metric counted beyond the calls that are known
METRIC_EVENT = "metric:"
SAME_CALL_WITHIN = timedelta(minutes=5)  # between a call's telemetry and its line in the log
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


# --- traces ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePart:
    """What one request says of a trace. conversation: the session's own name, "" = not said. has_content: there is something to store."""

    trace_id: str
    conversation: str = ""
    user_id: str = ""
    agent: str = ""
    speaks: bool = False
    started_at: datetime | None = None
    has_content: bool = True


@dataclass(slots=True)
class TracePlace:
    """Where a trace belongs. session None: nowhere yet, or (is_foreign) in a session of another agent than the one the sender must write as.
    is_new: the session was made now, so that it holds nothing. was_known, spoke: whether the trace was, and had told what was said, before."""

    session: Session | None = None
    is_new: bool = False
    was_known: bool = False
    spoke: bool = False
    is_foreign: bool = False


def open_traces(
    parts: Sequence[TracePart],
    *,
    source: str,
    channel: str,
    user_id: str = "admin",
    bound_agent: str = "",
    now: datetime | None = None,
) -> dict[str, TracePlace]:
    """Find or open the session of each trace, and remember what its spans have said. user_id: where no span names one. A trace that is named only
    now moves, with all it has stored, to the session of that name. Raises UnknownChannel, InvalidSession."""
    now = now or timezone.now()
    places: dict[str, TracePlace] = {}
    wanted: dict[str, tuple[TraceSession, TracePart]] = {}
    changed: dict[str, TraceSession] = {}
    with day_rows.writing():
        row_of, known = _trace_rows(source, [part.trace_id for part in parts], now)
        medium = channel_named(channel)
        for part in parts:
            row = row_of[part.trace_id]
            place = places[part.trace_id] = TracePlace(was_known=part.trace_id in known, spoke=row.speaks)
            before = (row.conversation, row.user_id, row.agent, row.speaks)
            row.conversation = row.conversation or storable(part.conversation)
            row.user_id = row.user_id or storable(part.user_id)
            row.agent = bound_agent or row.agent or storable(part.agent)
            row.speaks = row.speaks or part.speaks
            if row.session is not None and before[:2] == (row.conversation, row.user_id):
                place.session = row.session
            elif row.session is not None or part.has_content:
                wanted[part.trace_id] = row, part
            if before != (row.conversation, row.user_id, row.agent, row.speaks):
                changed[row.trace_id] = row
        for trace_id, (session, is_new) in _open_all(medium, wanted, user_id, now).items():
            row, _ = wanted[trace_id]
            place = places[trace_id]
            if bound_agent and session.agent not in ("", bound_agent):
                place.is_foreign = True
                continue
            if row.session is not None and row.session.pk != session.pk:
                _move_trace(row, session)
                is_new = False
            if row.session is None or row.session.pk != session.pk:
                row.session = session
                changed[trace_id] = row
            place.session, place.is_new = session, is_new
        for row in row_of.values():
            if row.session is not None and row.agent and not row.session.agent:
                # Locked and read again: another request may be naming it too, and its day rows must move once.
                set_session_facts(locked(row.session.pk), agent=row.agent)
        update_rows(list(changed.values()), ("session", "conversation", "user_id", "agent", "speaks"))
    return places


def _trace_rows(source: str, trace_ids: Sequence[str], now: datetime) -> tuple[dict[str, TraceSession], set[str]]:
    """Return the rows of these traces, made where there are none, locked: two requests of one trace go on one after the other. And which there were."""
    rows = TraceSession.objects.select_for_update(of=("self",)).select_related("session__channel").order_by("trace_id")
    found: dict[str, TraceSession] = {}
    known: set[str] = set()
    for some in chunks(sorted(trace_ids), LOOKUP_SIZE):
        there = {row.trace_id: row for row in rows.filter(source=source, trace_id__in=some)}
        known.update(there)
        missing = [trace_id for trace_id in some if trace_id not in there]
        if missing:
            TraceSession.objects.bulk_create(
                [TraceSession(source=source, trace_id=trace_id, seen_at=now) for trace_id in missing], ignore_conflicts=True
            )
            there.update({row.trace_id: row for row in rows.filter(source=source, trace_id__in=missing)})
        found.update(there)
    return found, known


def _open_all(
    channel: Channel, wanted: dict[str, tuple[TraceSession, TracePart]], user_id: str, now: datetime
) -> dict[str, tuple[Session, bool]]:
    """Return for each trace the open session of its name and user, and whether it was made now; all the new ones with one statement."""
    names = {trace_id: (row.conversation or trace_id, row.user_id or user_id) for trace_id, (row, _) in wanted.items()}
    opened: dict[tuple[str, str], tuple[Session, bool]] = {}
    for some in chunks(sorted({key for key, _ in names.values()}), LOOKUP_SIZE):
        for session in Session.objects.select_related("channel").filter(channel=channel, key__in=some, closed_at=None):
            if channel.gap_minutes is None:
                opened[session.key, session.user_id] = session, False
    new: dict[tuple[str, str], Session] = {}
    for trace_id, name in names.items():
        row, part = wanted[trace_id]
        if name in opened or name in new:
            continue
        if channel.gap_minutes is not None:  # what was idle too long must be closed first
            one = open_session(channel.slug, name[0], user_id=name[1], agent=row.agent, now=now)
            opened[name] = one.session, one.created
            continue
        begun = min(part.started_at or now, now)
        new[name] = Session(
            channel=channel,
            key=name[0],
            user_id=name[1],
            agent=row.agent,
            created_at=begun,
            last_message_at=begun,
            extra={TELEMETRY: True},
        )
    if new:
        try:
            with day_rows.writing() as tally:
                for session in new.values():
                    session_groups.place(session, tally)
                insert_rows(list(new.values()))
        except IntegrityError:  # another request was faster with some of them
            for name, session in new.items():
                one = open_session(channel.slug, name[0], user_id=name[1], agent=session.agent, now=now)
                opened[name] = one.session, one.created
        else:
            opened.update({name: (session, True) for name, session in new.items()})
    return {trace_id: opened[name] for trace_id, name in names.items()}


def trace_event_id(session: Session, digest: str, place: int) -> str:
    """Name a message of a trace: unique by what it says, and by which of the session's messages that say the same it is."""
    return f"{session.pk.hex}:{digest}:{place}"


def _move_trace(row: TraceSession, target: Session) -> None:
    """Move what a trace has stored into the session that it turned out to belong to; what that has already (the conversation so far) is let go.
    The session it leaves is removed when telemetry made it and nothing else is in it."""
    if row.session is None:
        return
    old, new = locked_all([row.session.pk, target.pk])
    names, new_names = day_rows.session_names(old), day_rows.session_names(new)
    with day_rows.writing() as tally:
        if row.agent and not new.agent:
            set_session_facts(new, agent=row.agent)
            new_names = day_rows.session_names(new)
        messages = list(Message.objects.filter(session=old, source=row.source, extra__trace_id=row.trace_id).order_by("pk"))
        for message in messages:
            if entry := day_rows.tool_entry(names, message):
                tally.add(*entry, times=-1)
            if _give_place(message, new):
                message.session = new
                message.save(update_fields=["session", "event_id"])
                if entry := day_rows.tool_entry(new_names, message):
                    tally.add(*entry)
            else:
                message.delete()
        records = UsageRecord.objects.filter(session=old, source=row.source, event_id__startswith=f"{row.trace_id}:").order_by("pk")
        for place, record in enumerate(records, 1):
            tally.add(*day_rows.usage_entry(names, record), times=-1)
            record.session, record.turn = new, new.last_turn + place
            if record.user_id == old.user_id:
                record.user_id = new.user_id
            record.save(update_fields=["session", "turn", "user_id"])
            tally.add(*day_rows.usage_entry(new_names, record))
        if not new.title and old.title:
            new.title = old.title
        new.created_at = min(new.created_at, old.created_at)
        new.last_message_at = max(new.last_message_at, *(message.timestamp for message in messages), new.last_message_at)
        new.save(update_fields=["title", "created_at", "last_message_at"])
        rest = old.messages.exists() or old.usage.exists() or old.compactions.exists() or old.touch_count
        empty = old.extra.get(TELEMETRY) and not rest
        rebuild_numbers([new.pk] if empty else [old.pk, new.pk])
        if empty:
            TraceSession.objects.filter(session=old).update(session=None)
            session_groups.take_away([old.pk], tally)
            old.delete()


def _give_place(message: Message, session: Session) -> bool:
    """Rename a message for another session; False when that session has it."""
    _, digest, number = message.event_id.rsplit(":", 2)
    owner = message.extra.get("owner", "")
    place = int(number)
    while True:
        event_id = trace_event_id(session, digest, place)
        other = Message.objects.filter(source=message.source, event_id=event_id).values_list("extra__owner", flat=True)[:1]
        if not other:
            message.event_id = event_id
            return True
        if not owner or not other[0] or other[0] == owner:
            return False
        place += 1


def trace_owners(source: str, event_ids: Sequence[str]) -> dict[str, str]:
    """Return, of the messages among these that are stored, whose they are (see otlp.traces.Said.owner)."""
    found: dict[str, str] = {}
    for some in chunks(event_ids, LOOKUP_SIZE):
        rows = Message.objects.filter(source=source, event_id__in=some).exclude(event_id="").values_list("event_id", "extra")
        found.update({event_id: extra.get("owner", "") for event_id, extra in rows})
    return found


def trace_usage(source: str, trace_ids: Sequence[str]) -> list[UsageRecord]:
    """Return the calls that are stored of these traces: as much of them as tells a sum from a call."""
    found: list[UsageRecord] = []
    for some in chunks(trace_ids, 50):
        spans = Q()
        for trace_id in some:
            spans |= Q(event_id__gte=f"{trace_id}:", event_id__lt=f"{trace_id};")
        rows = UsageRecord.objects.filter(spans, source=source).exclude(event_id="")
        found += rows.only("event_id", "response_id", "extra")
    return found


# --- coding agents --------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Reading:
    """What a metric counted of one model in one session between two times: four disjoint counts, and dollars where it says so."""

    model: str
    start: datetime
    end: datetime
    counts: dict[str, int]
    cost_usd: Decimal | None = None
    provider: str = ""


def store_telemetry(batch: Sequence[tuple[Session, list[Event]]], *, source: str, now: datetime | None = None) -> list[StoreResult]:
    """Store what a coding agent's telemetry tells of its sessions, without what its own log has told already; and let what was known only from
    metrics shrink by it. A result for each session, about the events that were left."""
    now = now or timezone.now()
    with day_rows.writing():
        kept: list[tuple[Session | Any, list[Event]]] = []
        logged = _logged_until([session.pk for session, _ in batch])
        for session, events in batch:
            until = logged.get(session.pk)
            kept.append((session, [event for event in events if until is None or (event.timestamp or now) > until]))
        results = store_batch(kept, source=source, now=now)
        metered = UsageRecord.objects.filter(session__in=[session.pk for session, _ in batch], event_id__startswith=METRIC_EVENT)
        counted = set(metered.filter(source__startswith=OTLP).values_list("session_id", flat=True))
        for session, _ in batch:
            if session.pk in counted:
                _settle(session, now)
    return results


def store_readings(session: Session, readings: Iterable[Reading], *, source: str, now: datetime | None = None) -> None:
    """Count what a metric says beyond the calls that are known. The same reading again, or a later one of the same series, replaces the earlier."""
    now = now or timezone.now()
    with day_rows.writing():
        locked(session.pk)
        _settle(session, now, {(source, _metric_id(session, one)): one for one in readings})


def replace_telemetry(sessions: Iterable[Session], *, now: datetime | None = None) -> None:
    """Take away what telemetry told of sessions whose log has been imported, as far as the log goes. What the agent did since stays, until the
    log is imported again."""
    now = now or timezone.now()
    for session in sessions:
        if not session.extra.get(TELEMETRY):
            continue
        with day_rows.writing() as tally:
            session = locked(session.pk)
            until = _logged_until([session.pk]).get(session.pk)
            if until is None:
                continue
            told = Q(source__startswith=OTLP)
            _remove_messages(session, list(Message.objects.filter(told, session=session, timestamp__lte=until).defer("content")), tally)
            Compaction.objects.filter(told, session=session, timestamp__lte=until).delete()
            calls = UsageRecord.objects.filter(told, session=session).exclude(event_id__startswith=METRIC_EVENT)
            gone = list(calls.filter(timestamp__lte=until))
            # A log's line bears the time at which the answer began, its telemetry the time at which it was whole: the last call may be later.
            logged = list(UsageRecord.objects.filter(session=session, source=session.agent, timestamp__gte=until - SAME_CALL_WITHIN))
            gone += [call for call in calls.filter(timestamp__gt=until) if any(_is_same_call(call, one) for one in logged)]
            _remove_usage(session, gone, tally)
            rebuild_numbers([session.pk])
            _settle(session, now)


def _logged_until(session_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return the time of the last thing that the agent's own log told, for those of the sessions whose log was imported."""
    found: dict[UUID, datetime] = {}
    for some in chunks(session_ids, LOOKUP_SIZE):
        rows = Session.objects.filter(pk__in=some).exclude(agent="")
        for pk, *times in rows.annotate(said=_newest(Message), used=_newest(UsageRecord)).values_list("pk", "said", "used"):
            if known := [time for time in times if time is not None]:
                found[pk] = max(known)
    return found


def _newest(model: type[Message | UsageRecord]) -> Subquery:
    rows = model._default_manager.filter(session=OuterRef("pk"), source=OuterRef("agent"))
    return Subquery(rows.order_by("-timestamp").values("timestamp")[:1])


def _is_same_call(told: UsageRecord, logged: UsageRecord) -> bool:
    return (
        told.timestamp - logged.timestamp < SAME_CALL_WITHIN
        and told.model == logged.model
        and all(getattr(told, column) == getattr(logged, column) for column in COUNTS)
    )


def _remove_messages(session: Session, messages: list[Message], tally: day_rows.Tally) -> None:
    names = day_rows.session_names(session)
    for message in messages:
        if entry := day_rows.tool_entry(names, message):
            tally.add(*entry, times=-1)
    for some in chunks([message.pk for message in messages], LOOKUP_SIZE):
        Message.objects.filter(pk__in=some).delete()


def _remove_usage(session: Session, records: list[UsageRecord], tally: day_rows.Tally) -> None:
    names = day_rows.session_names(session)
    for record in records:
        tally.add(*day_rows.usage_entry(names, record), times=-1)
    for some in chunks([record.pk for record in records], LOOKUP_SIZE):
        UsageRecord.objects.filter(pk__in=some).delete()


def _metric_id(session: Session, reading: Reading) -> str:
    """Name a series: of one session and model, from one start. Deltas start anew each time; a running total goes on under its name."""
    text = f"{session.pk.hex}\0{reading.model}\0{reading.start.isoformat()}"
    return METRIC_EVENT + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _settle(session: Session, now: datetime, new: dict[tuple[str, str], Reading] | None = None) -> None:
    """Let each of the session's metric records hold what was counted between its times beyond the calls that are known of that time. A reading
    that is wholly known leaves no record, and comes to the same when it is sent again."""
    records = {
        (record.source, record.event_id): record
        for record in UsageRecord.objects.filter(session=session, source__startswith=OTLP, event_id__startswith=METRIC_EVENT)
    }
    readings = {key: _reading_of(record) for key, record in records.items()}
    for key, reading in (new or {}).items():
        stored = readings.get(key)
        if stored is None or (reading.end, sum(reading.counts.values())) >= (stored.end, sum(stored.counts.values())):
            readings[key] = reading
    if not readings:
        return
    until = _logged_until([session.pk]).get(session.pk)
    known = list(UsageRecord.objects.filter(session=session).exclude(source__startswith=OTLP, event_id__startswith=METRIC_EVENT))
    with day_rows.writing() as tally:
        wrong: list[UsageRecord] = []
        right: dict[str, list[Event]] = {}
        for (source, event_id), reading in readings.items():
            event = None if until is not None and reading.end <= until else _beyond(reading, known, event_id)
            stored_record = records.get((source, event_id))
            if stored_record is not None:
                if event is not None and _says_the_same(stored_record, event):
                    continue
                wrong.append(stored_record)
            if event is not None:
                right.setdefault(source, []).append(event)
        if wrong:
            _remove_usage(session, wrong, tally)
            rebuild_numbers([session.pk])
        for source, events in right.items():
            store_batch([(session.pk, events)], source=source, now=now)


def _beyond(reading: Reading, known: list[UsageRecord], event_id: str) -> UsageEvent | None:
    covered = [one for one in known if one.model == reading.model and reading.start < one.timestamp <= reading.end]
    counts = {column: max(0, reading.counts.get(column, 0) - sum(getattr(one, column) for one in covered)) for column in COUNTS}
    if not any(counts.values()):
        return None
    cost = reading.cost_usd
    if cost is not None:
        cost -= sum((one.cost_usd or Decimal(0) for one in covered), Decimal(0))
    raw = {
        "start": reading.start.isoformat(),
        "end": reading.end.isoformat(),
        "cost_usd": None if reading.cost_usd is None else str(reading.cost_usd),
        **reading.counts,
    }
    return UsageEvent(
        model=reading.model,
        **counts,
        cost_usd=cost if cost is not None and cost > 0 else None,
        provider=reading.provider,
        timestamp=reading.end,
        event_id=event_id,
        extra={METRIC: raw},
    )


def _reading_of(record: UsageRecord) -> Reading:
    raw = record.extra[METRIC]
    return Reading(
        model=record.model,
        start=datetime.fromisoformat(raw["start"]),
        end=datetime.fromisoformat(raw["end"]),
        counts={column: raw.get(column, 0) for column in COUNTS},
        cost_usd=None if raw["cost_usd"] is None else Decimal(raw["cost_usd"]),
        provider=record.provider,
    )


def _says_the_same(record: UsageRecord, event: UsageEvent) -> bool:
    return record.extra == event.extra and all(getattr(record, column) == getattr(event, column) for column in COUNTS)
