"""Sessions as traces tell of them: piecemeal, and out of order. Any span may name the session of its whole trace, also after other spans of it were
stored; those then move.

Runs in one transaction with the day rows, which stay right: `recount` finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError
from django.db.models import Q
from django.utils import timezone

from sessions_app import day_rows, session_groups
from sessions_app.models import Channel, Message, Session, TraceSession, UsageRecord
from sessions_app.services.bulk import LOOKUP_SIZE, chunks, insert_rows, update_rows
from sessions_app.services.cleaning import storable
from sessions_app.services.coding_agents import TELEMETRY
from sessions_app.services.lifecycle import channel_named, locked, locked_all, open_session, set_session_facts
from sessions_app.services.maintenance import rebuild_numbers

REMEMBERED = timedelta(days=30)  # how long a trace's session is known by the trace alone; the longest runs of an agent take days
FORGOTTEN_AT_ONCE = 1_000  # rows of one statement


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
        found += rows.only("event_id", "response_id", "extra", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    return found


def forget_traces(*, now: datetime | None = None, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Delete the rows of traces that began longer than REMEMBERED ago, and return how many: no more spans of them will come. Their sessions stay.
    The rows stand in the order of their numbers in order of time, so that none but the oldest is looked at."""
    limit = (now or timezone.now()) - REMEMBERED
    forgotten = 0
    while not should_stop():
        oldest = TraceSession.objects.order_by("pk").values_list("pk", "seen_at")[:FORGOTTEN_AT_ONCE]
        gone = [pk for pk, seen_at in oldest if seen_at < limit]
        if not gone:
            break
        TraceSession.objects.filter(pk__in=gone).delete()
        forgotten += len(gone)
    return forgotten
