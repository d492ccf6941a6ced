"""What coding agents' telemetry counted, beside what their own log tells of the same sessions.

What telemetry counted gives way to what the log says of the same time, and what metrics say counts only beyond both. Runs in one transaction with
the day rows, which stay right: `recount` finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from sessions_app import day_rows
from sessions_app.events import Event, UsageEvent
from sessions_app.models import Compaction, Message, Session, UsageRecord
from sessions_app.services.bulk import LOOKUP_SIZE, chunks
from sessions_app.services.lifecycle import locked
from sessions_app.services.maintenance import rebuild_numbers
from sessions_app.services.transcript import StoreResult, store_batch

OTLP = "otlp:"  # begins the source of everything that came as telemetry
TELEMETRY = "telemetry"  # in a session's extra: telemetry made it, or wrote to a coding agent's
METRIC = "metric"  # in a usage record's extra: it is what a metric counted beyond the calls that are known
METRIC_EVENT = "metric:"
SAME_CALL_WITHIN = timedelta(minutes=5)  # between a call's telemetry and its line in the log
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


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
