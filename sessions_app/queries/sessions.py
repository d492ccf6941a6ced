"""The list of sessions, one session, and the numbers in the rail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import BooleanField, Case, Count, Q, Value, When

from sessions_app.models import Channel, Session, SessionQuerySet, unread_condition
from sessions_app.queries import cursors

if TYPE_CHECKING:
    from django.contrib.auth.models import User

STATES = ("inbox", "all", "open", "closed", "archived")


@dataclass(frozen=True, slots=True)
class SessionPage:
    """rows: sessions, each with `unread` (bool) for the viewer and its channel. next_cursor: for `after`, None on the last page."""

    rows: list[Session]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RailCounts:
    """How many sessions the viewer would find behind each link of the rail. channels: (channel, its sessions in the inbox)."""

    unread: int
    inbox: int
    all: int
    open: int
    closed: int
    archived: int
    channels: list[tuple[Channel, int]]


def list_sessions(
    limit: int = 50,
    *,
    viewer: User | None = None,
    state: str = "inbox",
    channel: str | None = None,
    unread: bool | None = None,
    after: str | None = None,
) -> list[Session]:
    """Return sessions, newest activity first, archived left out unless the state asks for them. See `session_page`."""
    return session_page(viewer=viewer, state=state, channel=channel, unread=unread, after=after, limit=limit).rows


def session_page(
    *,
    viewer: User | None,
    state: str = "inbox",
    channel: str | None = None,
    unread: bool | None = None,
    user_id: str | None = None,
    agent: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> SessionPage:
    """Return one page of the list by keyset: newest activity first, ties by id, so that pages neither repeat nor skip a row.
    state: one of STATES; inbox = not archived. unread: True, False or None = both. after: a page's next_cursor."""
    if limit <= 0:
        return SessionPage([], None)
    rows = _with_unread(_in_state(Session.objects.visible_to(viewer), state), viewer)
    if channel:
        rows = rows.filter(channel=channel)
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    if agent is not None:
        rows = rows.filter(agent=agent)
    if unread is not None:
        rows = rows.filter(Q(unread=unread))
    place = cursors.decode(after)
    if place is not None and (last := _uuid(place[1])) is not None:
        rows = rows.filter(Q(last_message_at__lt=place[0]) | Q(last_message_at=place[0], pk__lt=last), last_message_at__lte=place[0])
    found = list(rows.order_by("-last_message_at", "-pk")[: limit + 1])
    more = len(found) > limit
    del found[limit:]
    return SessionPage(found, cursors.encode(found[-1].last_message_at, found[-1].pk) if more else None)


def session_row(session_id: UUID | str, viewer: User | None) -> Session | None:
    """Return one session just as a page of the list shows it, to be shown again after a change; None when it is not there for the viewer."""
    pk = _uuid(session_id)
    return None if pk is None else _with_unread(Session.objects.visible_to(viewer), viewer).filter(pk=pk).first()


def get_session(session_id: UUID | str, *, viewer: User | None = None) -> Session | None:
    """Return the session, archived or not, with its channel; None when there is none for the viewer."""
    pk = _uuid(session_id)
    return None if pk is None else Session.objects.visible_to(viewer).select_related("channel").filter(pk=pk).first()


def unread_count(viewer: User | None) -> int:
    """Count the unread sessions of the viewer's inbox."""
    return _in_state(Session.objects.visible_to(viewer), "inbox").unread_by(viewer).count()


def rail_counts(viewer: User | None) -> RailCounts:
    """Count what is behind the rail's links: one query by channel and state, one for the unread."""
    visible = Session.objects.visible_to(viewer)
    counted = {
        row["channel"]: row
        for row in visible.values("channel")
        .annotate(
            total=Count("pk"),
            archived=Count("pk", filter=Q(archived_at__isnull=False)),
            open=Count("pk", filter=Q(archived_at=None, closed_at=None)),
            closed=Count("pk", filter=Q(archived_at=None, closed_at__isnull=False)),
        )
        .order_by()
    }
    total, archived, open_, closed = (sum(row[column] for row in counted.values()) for column in ("total", "archived", "open", "closed"))
    channels = [
        (channel, counted[channel.pk]["total"] - counted[channel.pk]["archived"])
        for channel in Channel.objects.all()
        if channel.pk in counted
    ]
    return RailCounts(
        unread=unread_count(viewer), inbox=total - archived, all=total, open=open_, closed=closed, archived=archived, channels=channels
    )


def _in_state(rows: SessionQuerySet, state: str) -> SessionQuerySet:
    if state == "all":
        return rows
    if state == "archived":
        return rows.filter(archived_at__isnull=False)
    rows = rows.filter(archived_at=None)
    if state == "open":
        return rows.filter(closed_at=None)
    if state == "closed":
        return rows.filter(closed_at__isnull=False)
    return rows


def _with_unread(rows: SessionQuerySet, viewer: User | None) -> SessionQuerySet:
    """Add `unread` for this viewer, and what a row shows; long text stays behind."""
    condition = Q(unread_since__isnull=False)
    if viewer is not None:
        rows = rows.with_marks_of(viewer)
        condition = unread_condition(viewer)
    unread = Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())
    return rows.annotate(unread=unread).select_related("channel").defer("summary", "extra")


def _uuid(value: UUID | str) -> UUID | None:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(str(value))
    except ValueError:
        return None
