"""Sessions as an export recorded them come back: the same id, facts, messages, usage and costs. The one way in besides living through them.

What the store has already stands: its facts are only filled in, and events that it knows stay as they are. An event without an id is known by
the number of its row and of the store that it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import IntegrityError
from django.utils import timezone

from sessions_app import day_rows, session_groups
from sessions_app.errors import InvalidSession, SessionError, SessionIdTaken
from sessions_app.events import CompactionEvent, Event, MessageEvent, RecordedChannel, RecordedSession, UsageEvent
from sessions_app.models import KEY_LENGTH, PROJECT_LENGTH, TITLE_LENGTH, Channel, Compaction, Message, Session, UsageRecord
from sessions_app.services.bulk import LOOKUP_SIZE, chunks
from sessions_app.services.cleaning import aware, name, storable, storable_json, title_of
from sessions_app.services.facts import clean_tags
from sessions_app.services.lifecycle import change, locked, set_session_facts
from sessions_app.services.transcript import StoreResult, store_events
from sessions_app.store_id import store_id

SOURCE_LENGTH = 64
MAX_TOUCHES = 2_000_000_000
TABLES: dict[type, type[Message] | type[UsageRecord] | type[Compaction]] = {
    MessageEvent: Message,
    UsageEvent: UsageRecord,
    CompactionEvent: Compaction,
}
ROW_OF = "exported-row:{store}:{row}"  # the id that an event without one gets
ROW_OF_STORE = re.compile(r"exported-row:([0-9a-f]+):([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Restored:
    """session: where the events went. created: by this call. note: what a person should know about it, "" = nothing."""

    session: Session
    created: bool
    note: str
    stored: StoreResult


def restore_sessions(
    batch: Iterable[tuple[RecordedSession, list[Event]]], *, now: datetime | None = None
) -> dict[UUID, Restored | SessionError]:
    """Store exported sessions with these of their events (each with `recorded`), and say what became of each, by the id in the export; a
    session that cannot be taken gets its error, and does not take the others with it. Again changes nothing. The events are changed on the way."""
    now = now or timezone.now()
    result: dict[UUID, Restored | SessionError] = {}
    with day_rows.writing():
        # In order of their ids, so that two imports at once lock them in the same order.
        for recorded, events in sorted(batch, key=lambda one: one[0].id):
            try:
                with day_rows.writing():
                    result[recorded.id] = _restore(recorded, events, now)
            except SessionError as error:
                result[recorded.id] = error
    return result


def _restore(recorded: RecordedSession, events: list[Event], now: datetime) -> Restored:
    session, created, note = _found_or_made(recorded)
    missing = _not_here(session, events)
    stored = store_events(session, missing, imported=True, now=now)
    stored.duplicates += len(events) - len(missing)
    return Restored(session, created, note, stored)


# --- the session ----------------------------------------------------------------------------------------------------------------------


def _known(recorded: RecordedSession) -> tuple[Session | None, str]:
    """Return the session that the store has already, locked: by its id, else by the agent's own id. Raises SessionIdTaken."""
    pk = Session.objects.filter(pk=recorded.id).values_list("pk", flat=True).first()
    if pk is not None:
        session = locked(pk)
        if (session.channel_id, session.key, session.user_id) != (
            recorded.channel.slug,
            storable(recorded.key),
            storable(recorded.user_id),
        ):
            raise SessionIdTaken(recorded.id)
        return session, ""
    if recorded.agent and recorded.agent_session_id:
        rows = Session.objects.filter(agent=storable(recorded.agent), agent_session_id=storable(recorded.agent_session_id))
        pk = rows.values_list("pk", flat=True).first()
        if pk is not None:
            words = f"The session is here already, as {pk}: the same agent gave both the id {recorded.agent_session_id[:64]}. What is new went there."
            return locked(pk), words
    return None, ""


def _found_or_made(recorded: RecordedSession) -> tuple[Session, bool, str]:
    """Return the session, whether it is new, and what a person should know about it."""
    for last in (False, True):
        session, note = _known(recorded)
        if session is not None:
            _fill_in(session, recorded)
            return session, False, note
        try:
            made, note = _created(recorded)
        except IntegrityError:  # another import was faster, or somebody opened a session under the key: it is visible now
            if last:
                raise
        else:
            return made, True, note
    raise AssertionError


def _created(recorded: RecordedSession) -> tuple[Session, str]:
    session, note = _new(recorded), ""
    if recorded.closed_at is None and (open_one := _open_beside(session)) is not None:
        session.closed_at = session.last_message_at
        note = f"It was open; here {open_one} is open under the same channel, key and user, which stays so. This one is kept beside it, closed."
    with day_rows.writing() as tally:
        session_groups.place(session, tally)
        session.save(force_insert=True)
        session_groups.index_tags([session.pk])
    return session, note


def _new(recorded: RecordedSession) -> Session:
    """Return the session as a row, unsaved. Raises InvalidSession for what no session can carry."""
    return Session(
        id=recorded.id,
        channel=_channel(recorded.channel),
        key=name(recorded.key, "key"),
        user_id=name(recorded.user_id, "user_id"),
        title=_title(recorded.title),
        title_is_given=recorded.title_is_given,
        summary=storable(recorded.summary),
        triggered_by=None if recorded.triggered_by is None else name(recorded.triggered_by, "triggered_by"),
        agent=name(recorded.agent, "agent", length=100),
        agent_session_id=name(recorded.agent_session_id, "agent_session_id"),
        project=name(recorded.project, "project", length=PROJECT_LENGTH),
        git_branch=name(recorded.git_branch, "git_branch", length=KEY_LENGTH),
        created_at=aware(recorded.created_at, "created_at", InvalidSession),
        last_message_at=aware(recorded.last_message_at, "last_message_at", InvalidSession),
        closed_at=None if recorded.closed_at is None else aware(recorded.closed_at, "closed_at", InvalidSession),
        archived_at=None if recorded.archived_at is None else aware(recorded.archived_at, "archived_at", InvalidSession),
        tags=clean_tags(recorded.tags),
        extra=storable_json(recorded.extra),
        is_demo=recorded.is_demo,
        touch_count=_touches(recorded),
        message_count=_touches(recorded),  # the messages are counted as they come
    )


def _channel(recorded: RecordedChannel) -> Channel:
    """Return the channel; one that the store does not have is made, as the export describes it."""
    found = Channel.objects.filter(pk=storable(recorded.slug)).first()
    if found is not None:
        return found
    try:
        validate_slug(recorded.slug)
    except ValidationError:
        raise InvalidSession(f"{recorded.slug[:50]!r} cannot be a channel's name.", field="channel") from None
    gap = recorded.gap_minutes
    if gap is not None and not 0 <= gap <= MAX_TOUCHES:
        raise InvalidSession("gap_minutes must be a number of minutes.", field="channel")
    channel, _ = Channel.objects.get_or_create(
        pk=name(recorded.slug, "channel", length=50),
        defaults={
            "label": name(recorded.label, "channel", length=100) or recorded.slug,
            "gap_minutes": gap,
            "marks_unread": recorded.marks_unread,
        },
    )
    return channel


def _open_beside(session: Session) -> UUID | None:
    others = Session.objects.filter(channel=session.channel, key=session.key, user_id=session.user_id, closed_at=None)
    return others.values_list("pk", flat=True).first()


def _title(title: str) -> str:
    """Return a stored title as it is; title_of would put an ellipsis behind the ellipsis of one that was cut."""
    kept = storable(title)
    return kept if len(kept) <= TITLE_LENGTH and kept == " ".join(kept.split()) else title_of(title)


def _touches(recorded: RecordedSession) -> int:
    if not 0 <= recorded.touch_count <= MAX_TOUCHES:
        raise InvalidSession(f"touch_count must lie between 0 and {MAX_TOUCHES:,}.", field="touch_count")
    return recorded.touch_count


def _fill_in(session: Session, recorded: RecordedSession) -> None:
    """Let a session that the store knows learn what it did not know: nothing that it has is replaced, and its tags, its archiving and its
    reading are the people's here. It is closed where the export says so and nothing was said here since."""
    facts = {"agent": name(recorded.agent, "agent", length=100)} if not session.agent else {}
    facts |= {"project": storable(recorded.project)[:PROJECT_LENGTH], "git_branch": storable(recorded.git_branch)[:KEY_LENGTH]}
    set_session_facts(session, **facts)
    before = {column: getattr(session, column) for column in FILLED_IN}
    given = storable(recorded.agent_session_id)[:KEY_LENGTH]
    taken = Session.objects.filter(agent=session.agent, agent_session_id=given)
    if given and not session.agent_session_id and session.agent == recorded.agent and not taken.exists():
        session.agent_session_id = given
    if recorded.title and (not session.title or (recorded.title_is_given and not session.title_is_given)):
        session.title, session.title_is_given = _title(recorded.title), recorded.title_is_given
    if recorded.closed_at is not None and session.closed_at is None and recorded.closed_at >= session.last_message_at:
        session.closed_at = aware(recorded.closed_at, "closed_at", InvalidSession)
    session.summary = session.summary or storable(recorded.summary)
    session.extra = storable_json(recorded.extra) | session.extra
    session.created_at = min(session.created_at, aware(recorded.created_at, "created_at", InvalidSession))
    session.last_message_at = max(session.last_message_at, aware(recorded.last_message_at, "last_message_at", InvalidSession))
    touches = max(_touches(recorded) - session.touch_count, 0)
    session.touch_count += touches
    session.message_count += touches
    learned = {column: getattr(session, column) for column, value in before.items() if getattr(session, column) != value}
    if learned:
        with day_rows.writing() as tally:
            change(session, tally, **learned)


FILLED_IN = (
    "agent_session_id",
    "title",
    "title_is_given",
    "closed_at",
    "summary",
    "extra",
    "created_at",
    "last_message_at",
    "touch_count",
    "message_count",
)


# --- its events -----------------------------------------------------------------------------------------------------------------------


def _not_here(session: Session, events: list[Event]) -> list[Event]:
    """Give the events the ids and sources under which this store knows them, and leave out the rows that never left it."""
    own = store_id()
    rows: dict[type[Message] | type[UsageRecord] | type[Compaction], dict[int, list[Event]]] = {}
    for event in events:
        recorded = event.recorded
        if recorded is None:
            raise InvalidSession("An event to restore must say how it was recorded.")
        event.event_id = event.event_id or ROW_OF.format(store=recorded.store, row=recorded.row)
        match = ROW_OF_STORE.fullmatch(event.event_id)
        recorded.source = _source_here(recorded.source, recorded.store, own, has_id=match is None)
        if match and match[1] == own:
            rows.setdefault(TABLES[type(event)], {}).setdefault(int(match[2]), []).append(event)
    here: set[int] = set()
    for table, numbered in rows.items():
        for some in chunks(list(numbered), LOOKUP_SIZE):
            stored = table._default_manager.filter(pk__in=some, session=session, event_id="").values_list("pk", "timestamp", "received_at")
            for pk, timestamp, received_at in stored:
                for event in numbered[pk]:
                    # The times as well: two copies of one store go on with the same row numbers.
                    if event.recorded is not None and (event.timestamp, event.recorded.received_at) == (timestamp, received_at):
                        here.add(id(event))
    return [event for event in events if id(event) not in here]


def _source_here(source: str, store: str, own: str, *, has_id: bool) -> str:
    """Return the name under which this store knows a source. A token's number, and the missing name of a Python caller, mean something in their
    own store only: elsewhere that store's number stands behind them. An agent's name means the same everywhere, so that its log, imported
    here as well, finds what it told."""
    base, at, of = source.rpartition("@")
    if at and of == own:
        return base
    if store == own or at or (":" not in source and (source or not has_id)):
        return source
    scoped = f"{source}@{store}"
    return scoped if len(scoped) <= SOURCE_LENGTH else f"{blake2b(source.encode(), digest_size=16).hexdigest()}@{store}"
