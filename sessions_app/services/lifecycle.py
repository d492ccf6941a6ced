"""When a session begins, goes on, ends and begins again; and what it is called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from sessions_app import day_rows, session_groups
from sessions_app.errors import InvalidSession, SessionAlreadyOpen, SessionError, SessionNotFound, UnknownChannel
from sessions_app.models import (
    KEY_LENGTH,
    MAX_GAP_MINUTES,
    PROJECT_LENGTH,
    Channel,
    Message,
    Session,
    SessionQuerySet,
    UsageRecord,
)
from sessions_app.services.bulk import LOOKUP_SIZE, chunks, fetch_row, insert_rows
from sessions_app.services.cleaning import name, storable, storable_json, title_of

AUTO_CLOSED = "Auto-closed: inactivity"
OF_THE_CHANNEL: Any = object()  # open_session's default gap: the channel row's


@dataclass(frozen=True, slots=True)
class Continue:
    """There is an open session: go on with it."""

    session_id: UUID


@dataclass(frozen=True, slots=True)
class New:
    """There is none, or it was idle too long and is now closed (its id is here, so that the caller can export it)."""

    closed_session_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """session: the open one. created: by this call. closed_session_id: the one that was idle too long, closed by this call."""

    session: Session
    created: bool
    closed_session_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedSession:
    """What an agent's log says of one of its sessions. agent_session_id: the agent's own id. started_at: aware."""

    agent_session_id: str
    project: str = ""
    git_branch: str = ""
    title: str = ""
    started_at: datetime | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def parse_id(session_id: UUID | str) -> UUID:
    """Return the id as a UUID. Raises SessionNotFound for what cannot be one."""
    if isinstance(session_id, UUID):
        return session_id
    try:
        return UUID(str(session_id))
    except ValueError:
        raise SessionNotFound(session_id) from None


def locked(session_id: UUID | str) -> Session:
    """Return the session with its channel, locked until the transaction ends (on SQLite every write transaction already excludes the others).
    Raises SessionNotFound."""
    found = fetch_row(Session, {"id": parse_id(session_id)}, join="channel", lock=True)
    if found is None:
        raise SessionNotFound(session_id)
    return found


def locked_all(session_ids: Sequence[UUID | str]) -> list[Session]:
    """Return the sessions as `locked` does, in the order given, locked in the order of their ids. Raises SessionNotFound for the first that is missing."""
    if len(session_ids) == 1:
        return [locked(session_ids[0])]
    parsed = [parse_id(session_id) for session_id in session_ids]
    found: dict[UUID, Session] = {}
    for some in chunks(sorted(set(parsed)), LOOKUP_SIZE):
        found.update({session.pk: session for session in _lockable().filter(pk__in=some)})
    for session_id in parsed:
        if session_id not in found:
            raise SessionNotFound(session_id)
    return [found[session_id] for session_id in parsed]


def lock_sessions(session_ids: Iterable[UUID]) -> list[Session]:
    """Return those of the sessions that there are, locked in the order of their ids, for whoever will write to several of them one after the other."""
    return [session for some in chunks(sorted(set(session_ids)), LOOKUP_SIZE) for session in _lockable().filter(pk__in=some)]


def channel_named(slug: str) -> Channel:
    """Return the channel. Raises UnknownChannel, with those there are."""
    found = Channel.objects.filter(pk=slug).first() if isinstance(slug, str) and "\x00" not in slug else None
    if found is None:
        raise UnknownChannel(slug, Channel.objects.values_list("slug", flat=True))
    return found


def resolve_session(
    channel: str, key: str, *, gap_minutes: int | None, user_id: str = "admin", now: datetime | None = None
) -> Continue | New:
    """Find the open session of (channel, key, user), and close it when it was idle for gap_minutes or longer (None: never).
    Raises UnknownChannel, InvalidSession."""
    now = now or timezone.now()
    with day_rows.writing() as tally:
        session, closed = _continued(channel, name(key, "key"), gap_minutes, name(user_id, "user_id"), now, tally)
    return New(closed) if session is None else Continue(session.pk)


def create_session(
    channel: str,
    key: str,
    *,
    user_id: str = "admin",
    triggered_by: str | None = None,
    agent: str = "",
    project: str = "",
    is_demo: bool = False,
    now: datetime | None = None,
) -> Session:
    """Open a new session: read, without messages. triggered_by: a cron job's name or HEARTBEAT; None = a person.
    Raises UnknownChannel, InvalidSession, SessionAlreadyOpen."""
    now = now or timezone.now()
    session = Session(
        channel=channel_named(channel),
        key=name(key, "key"),
        user_id=name(user_id, "user_id"),
        triggered_by=name(triggered_by, "triggered_by") if triggered_by else None,
        agent=name(agent, "agent", length=100),
        project=name(project, "project", length=PROJECT_LENGTH),
        is_demo=is_demo,
        created_at=now,
        last_message_at=now,
    )
    try:
        with day_rows.writing() as tally:  # a savepoint, so that the caller's transaction survives the refusal
            session_groups.place(session, tally)
            session.save(force_insert=True)
    except IntegrityError:
        taken = _open_sessions(session.channel, session.key, session.user_id).values_list("pk", flat=True).first()
        if taken is None:
            raise
        raise SessionAlreadyOpen(taken) from None
    return session


def open_session(
    channel: str,
    key: str,
    *,
    user_id: str = "admin",
    triggered_by: str | None = None,
    gap_minutes: int | None = OF_THE_CHANNEL,
    agent: str = "",
    project: str = "",
    now: datetime | None = None,
) -> Opened:
    """Continue the open session of (channel, key, user) or create one, in one step; any number of callers at once get the same one.
    Raises UnknownChannel, InvalidSession."""
    with day_rows.writing():
        return open_session_within(
            channel, key, user_id=user_id, triggered_by=triggered_by, gap_minutes=gap_minutes, agent=agent, project=project, now=now
        )


def open_session_within(
    channel: str,
    key: str,
    *,
    user_id: str = "admin",
    triggered_by: str | None = None,
    gap_minutes: int | None = OF_THE_CHANNEL,
    agent: str = "",
    project: str = "",
    now: datetime | None = None,
) -> Opened:
    """The same as a part of the caller's transaction, which must not go on when this raises: it may have closed a session by then."""
    now = now or timezone.now()
    key, user_id = name(key, "key"), name(user_id, "user_id")
    closed: UUID | None = None
    with day_rows.writing(savepoint=False) as tally:
        while True:
            session, closed_id = _continued(channel, key, gap_minutes, user_id, now, tally)
            if session is not None:
                return Opened(session, created=False, closed_session_id=closed)
            closed = closed_id or closed
            try:
                made = create_session(channel, key, user_id=user_id, triggered_by=triggered_by, agent=agent, project=project, now=now)
            except SessionAlreadyOpen:
                continue  # another caller was first, and its session is visible now: the constraint made us wait for it
            return Opened(made, created=True, closed_session_id=closed)


def open_logged_sessions(
    agent: str, logged: Sequence[LoggedSession], *, user_id: str = "admin", channel: str = "cli", now: datetime | None = None
) -> dict[str, Opened | SessionError]:
    """Return the sessions that an agent's own log or telemetry speaks of, by the agent's own ids, each of them named once.
    Found by (agent, id) whoever owns them by now; made where there is none, with that id as their key. What became known since (project,
    branch, title) is filled in. An id that no session can carry gets its error instead. Raises UnknownChannel, InvalidSession (agent, user)."""
    now = now or timezone.now()
    row, agent, user_id = channel_named(channel), name(agent, "agent", length=100), name(user_id, "user_id")
    result: dict[str, Opened | SessionError] = {}
    wanted: dict[str, LoggedSession] = {}
    for one in logged:
        try:
            wanted[name(one.agent_session_id, "agent_session_id")] = one
        except SessionError as error:
            result[one.agent_session_id] = error
    with day_rows.writing():
        sessions = _logged(agent, list(wanted))
        missing = [one for key, one in wanted.items() if key not in sessions]
        # Telemetry or a Python caller may have opened a session under the same key before its log was read.
        taken: set[str] = set()
        for some in chunks([one.agent_session_id for one in missing], LOOKUP_SIZE):
            for session in _lockable().filter(channel=row, key__in=some, closed_at=None):
                if session.agent in ("", agent) and not session.agent_session_id and session.key not in sessions:
                    set_session_facts(session, agent=agent)
                    session.agent_session_id = session.key
                    session.save(update_fields=["agent_session_id"])
                    sessions[session.key] = session
                elif session.user_id == user_id:
                    taken.add(session.key)
        for key, session in sessions.items():
            one = wanted[key]
            set_session_facts(session, project=storable(one.project)[:PROJECT_LENGTH], git_branch=storable(one.git_branch)[:KEY_LENGTH])
            _give_title(session, one.title)
            if extra := {key: value for key, value in storable_json(one.extra).items() if key not in session.extra}:
                session.extra |= extra
                session.save(update_fields=["extra"])
            result[key] = Opened(session, created=False)
        new = [_new_logged(row, agent, user_id, one, now) for one in missing if one.agent_session_id not in sessions]
        for session in new:
            if session.key in taken:
                session.closed_at = session.created_at  # another agent's session holds the key: the log is kept beside it, as history
        if new:
            try:
                with day_rows.writing() as tally:
                    for session in new:
                        session_groups.place(session, tally)
                    insert_rows(new)
            except IntegrityError:  # another import of the same logs was faster with some of them, and its sessions are visible now
                if len(new) > 1:
                    for session in new:
                        result.update(open_logged_sessions(agent, [wanted[session.key]], user_id=user_id, channel=channel, now=now))
                elif found := _logged(agent, [new[0].key]):
                    result[new[0].key] = Opened(found[new[0].key], created=False)
                else:
                    new[0].closed_at = new[0].created_at
                    with day_rows.writing() as tally:
                        new[0].group_id = new[0].home_id = 0  # where the refused insert would have put it
                        session_groups.place(new[0], tally)
                        insert_rows(new)
                    result[new[0].key] = Opened(new[0], created=True)
            else:
                result.update({session.key: Opened(session, created=True) for session in new})
    return result


def _lockable() -> SessionQuerySet:
    return Session.objects.select_related("channel").select_for_update(of=("self",), no_key=True).order_by("pk")


def _logged(agent: str, agent_session_ids: Sequence[str]) -> dict[str, Session]:
    """Return, locked, the stored sessions among an agent's own ids."""
    return {
        session.agent_session_id: session
        for some in chunks(agent_session_ids, LOOKUP_SIZE)
        for session in _lockable().filter(agent=agent, agent_session_id__in=some).exclude(agent_session_id="")
    }


def _new_logged(channel: Channel, agent: str, user_id: str, one: LoggedSession, now: datetime) -> Session:
    title = title_of(one.title)
    return Session(
        channel=channel,
        key=storable(one.agent_session_id),
        user_id=user_id,
        agent=agent,
        agent_session_id=storable(one.agent_session_id),
        created_at=one.started_at or now,
        last_message_at=one.started_at or now,
        title=title,
        title_is_given=bool(title),
        project=storable(one.project)[:PROJECT_LENGTH],
        git_branch=storable(one.git_branch)[:KEY_LENGTH],
        extra=storable_json(one.extra),
    )


def _give_title(session: Session, title: str) -> None:
    """Put the agent's own title in the place of the first prompt; a given one stays."""
    made = title_of(title)
    if made and not session.title_is_given:
        session.title, session.title_is_given = made, True
        Session.objects.filter(pk=session.pk).update(title=made, title_is_given=True)


def close_session(session_id: UUID | str, summary: str = "", *, now: datetime | None = None) -> None:
    """Close the session. Again is harmless: a new summary replaces the old one, the time of closing stays. Raises SessionNotFound."""
    now = now or timezone.now()
    pk = parse_id(session_id)
    summary = storable(summary)
    with day_rows.writing() as tally:
        session = locked(pk)
        if session.closed_at is None:
            change(session, tally, closed_at=now, summary=summary)
        elif summary:
            change(session, tally, summary=summary)


def reopen_session(session_id: UUID | str, *, now: datetime | None = None) -> None:
    """Undo a close; its summary goes with it. An open session stays as it is. Raises SessionNotFound, SessionAlreadyOpen."""
    with transaction.atomic():
        session = locked(session_id)
        if session.closed_at is None:
            return
        try:
            with day_rows.writing() as tally:
                change(session, tally, closed_at=None, summary="")
        except IntegrityError:
            taken = _open_sessions(session.channel, session.key, session.user_id).values_list("pk", flat=True).first()
            if taken is None:
                raise
            raise SessionAlreadyOpen(taken) from None


def archive_session(session_id: UUID | str, archived: bool = True, *, now: datetime | None = None) -> None:
    """Take the session out of the list, or bring it back; the first time of archiving stays. Raises SessionNotFound."""
    now = now or timezone.now()
    with day_rows.writing() as tally:
        session = locked(session_id)
        if archived != session.is_archived:
            change(session, tally, archived_at=now if archived else None)


def touch_session(session_id: UUID | str, *, now: datetime | None = None) -> None:
    """Count activity that leaves no stored message. Raises SessionNotFound."""
    now = now or timezone.now()
    with day_rows.writing() as tally:
        session = locked(session_id)
        change(
            session,
            tally,
            last_message_at=max(session.last_message_at, now),
            touch_count=session.touch_count + 1,
            message_count=session.message_count + 1,
        )


def set_title_if_empty(session_id: UUID | str, title: str, *, now: datetime | None = None) -> None:
    """Name the session, unless it has a name. Raises SessionNotFound."""
    rows = Session.objects.filter(pk=parse_id(session_id))
    made = title_of(title)
    if not (made and rows.filter(title="").update(title=made)) and not rows.exists():
        raise SessionNotFound(session_id)


def change(session: Session, tally: day_rows.Tally, **values: Any) -> None:
    """Write columns of a locked session, and let its place in the list follow."""
    for column, value in values.items():
        setattr(session, column, value)
    if session_groups.place(session, tally):
        values |= {column: getattr(session, column) for column in session_groups.PLACED}
    Session.objects.filter(pk=session.pk).update(**values)


def set_session_facts(session: Session, **facts: str) -> None:
    """Fill in what was not known of a locked session: agent, project, git_branch. What is known stays. Moves the day rows along, since they
    are kept by agent and project; runs inside the caller's `day_rows.writing()`."""
    before = day_rows.session_names(session)
    missing = {column: value for column, value in facts.items() if value and not getattr(session, column)}
    if not missing:
        return
    for column in missing:
        if column not in ("agent", "project", "git_branch"):
            raise InvalidSession(f"{column} cannot be filled in later.", field=column)
    with day_rows.writing() as tally:
        change(session, tally, **missing)
        after = day_rows.session_names(session)
        if before == after or not (session.total_turns or session.tool_call_count or session.error_count):
            return
        for record in UsageRecord.objects.filter(session=session).iterator():
            tally.add(*day_rows.usage_entry(before, record), times=-1)
            tally.add(*day_rows.usage_entry(after, record))
        for message in Message.objects.filter(session=session, role__in=("tool_use", "tool_result")).defer("content").iterator():
            if entry := day_rows.tool_entry(before, message):
                tally.add(*entry, times=-1)
            if entry := day_rows.tool_entry(after, message):
                tally.add(*entry)


def _open_sessions(channel: Channel, key: str, user_id: str) -> SessionQuerySet:
    return Session.objects.filter(channel=channel, key=key, user_id=user_id, closed_at=None)


def _continued(
    channel: str, key: str, gap_minutes: int | None, user_id: str, now: datetime, tally: day_rows.Tally
) -> tuple[Session | None, UUID | None]:
    """Return the open session, locked, when it goes on; else None and the id of the one that was idle too long and is closed now, if any.
    Raises UnknownChannel. The channel comes with the session: an agent's usual turn costs one query here."""
    found = None
    if isinstance(channel, str) and storable(channel) == channel:
        open_one = {"channel_id": channel, "key": key, "user_id": user_id, "closed_at": None}
        found = fetch_row(Session, open_one, join="channel", lock=True)
    if found is None:
        channel_named(channel)
        return None, None
    gap = found.channel.gap_minutes if gap_minutes is OF_THE_CHANNEL else gap_minutes
    if gap is None or now - found.last_message_at < timedelta(minutes=min(gap, MAX_GAP_MINUTES)):
        return found, None
    change(found, tally, closed_at=now, summary=AUTO_CLOSED)
    return None, found.pk
