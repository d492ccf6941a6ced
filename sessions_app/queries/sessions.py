"""The list of sessions, one session, and the numbers in the rail."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, Case, Count, Q, Value, When
from django.db.models.expressions import RawSQL
from django.utils import timezone

from sessions_app.day_rows import day_start
from sessions_app.id_sets import IdBatch
from sessions_app.models import HEARTBEAT, MAX_GAP_MINUTES, Channel, Session, SessionQuerySet, unread_condition
from sessions_app.money import from_nano, to_nano
from sessions_app.queries import cursors
from sessions_app.queries.session_filter import STATUSES, SessionFilter

if TYPE_CHECKING:
    from django.contrib.auth.models import User

FACET_LIMIT = 100  # values of one facet that are listed
SORT_COLUMNS = {"activity": "last_message_at", "started": "created_at", "cost": "cost_usd", "messages": "message_count"}


@dataclass(frozen=True, slots=True)
class SessionPage:
    """rows: sessions, each with `unread` (bool) for the viewer and its channel. next_cursor: for `after`, None on the last page.
    searched_to: where a bounded search stopped before the end; None when all was looked at."""

    rows: list[Session]
    next_cursor: str | None
    searched_to: str | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """How many sessions there are; not exact: at least that many."""

    count: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Facet:
    """One value of a filter as the page offers it. count: None where it is not cheap; not exact: at least that many."""

    value: str
    label: str
    count: int | None
    is_exact: bool = True


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
    limit: int = 50, filter: SessionFilter | None = None, *, viewer: User | None = None, after: str | None = None
) -> list[Session]:
    """Return sessions, newest activity first, archived left out unless the filter asks for them. See `session_page`."""
    return session_page(filter or SessionFilter(), viewer=viewer, after=after, limit=limit).rows


def session_page(
    filter: SessionFilter, *, viewer: User | None, after: str | None = None, limit: int = 50, now: datetime | None = None
) -> SessionPage:
    """Return one page of the list by keyset: ties by id, so that pages neither repeat nor skip a row. after: a page's next_cursor."""
    if limit <= 0:
        return SessionPage([], None)
    rows = matching(filter, viewer=viewer, now=now or timezone.now())
    column = SORT_COLUMNS[filter.sort]
    rows = _after(rows, filter.sort, after)
    found = list(_with_unread(rows, viewer).order_by(f"-{column}", "-pk")[: limit + 1])
    more = len(found) > limit
    del found[limit:]
    return SessionPage(found, _cursor(filter.sort, found[-1]) if more else None)


def _cursor(sort: str, row: Session) -> str:
    value = getattr(row, SORT_COLUMNS[sort])
    return cursors.encode(to_nano(value) if sort == "cost" else value, row.pk)


def _after(rows: SessionQuerySet, sort: str, after: str | None) -> SessionQuerySet:
    """Keep what comes after a cursor; one of another sort, or a broken one, reads as from the start."""
    place = cursors.decode(after)
    last = None if place is None else _uuid(place[1])
    if place is None or last is None or isinstance(place[0], int) != (sort in ("cost", "messages")):
        return rows
    column = SORT_COLUMNS[sort]
    value = from_nano(place[0]) if sort == "cost" and isinstance(place[0], int) else place[0]
    return rows.filter(Q(**{f"{column}__lt": value}) | Q(**{column: value}, pk__lt=last))


def matching_ids(
    filter: SessionFilter, *, viewer: User | None, after: str | None = None, limit: int, now: datetime | None = None
) -> IdBatch:
    """Return the ids of the sessions that the filter matches, newest activity first, whatever its sort, a batch at a time. after: a batch's next_cursor."""
    rows = _after(matching(filter, viewer=viewer, now=now or timezone.now()), "activity", after)
    found = list(rows.order_by("-last_message_at", "-pk").values_list("last_message_at", "pk")[: limit + 1])
    more = len(found) > limit
    del found[limit:]
    return IdBatch([pk for _, pk in found], cursors.encode(*found[-1]) if more else "")


def session_total(filter: SessionFilter, *, viewer: User | None, now: datetime | None = None) -> Total:
    """Count what the filter matches."""
    return Total(matching(filter, viewer=viewer, now=now or timezone.now()).count(), is_exact=True)


def session_facets(filter: SessionFilter, *, viewer: User | None, now: datetime | None = None) -> dict[str, list[Facet]]:
    """Return the values that each filter can take beside the others, the most frequent first, at most FACET_LIMIT of each."""
    now = now or timezone.now()

    def counted(name: str, column: str, any_value: Any) -> list[Facet]:
        rows = matching(replace(filter, **{name: any_value}), viewer=viewer, now=now)
        found = rows.values_list(column).annotate(count=Count("pk")).order_by("-count", column)[:FACET_LIMIT]
        return [Facet(str(value), str(value), count) for value, count in found if value]

    labels = {channel.pk: channel.label for channel in Channel.objects.all()}
    triggers: dict[str, int] = {}
    for value, count in (
        matching(replace(filter, trigger=""), viewer=viewer, now=now).values_list("triggered_by").annotate(count=Count("pk")).order_by()
    ):
        word = "heartbeat" if value == HEARTBEAT else f"cron:{value}" if value else "person"
        triggers[word] = triggers.get(word, 0) + count
    tags: dict[str, int] = {}
    for some in matching(replace(filter, tag=""), viewer=viewer, now=now).exclude(tags=[]).values_list("tags", flat=True):
        for tag in some:
            tags[tag] = tags.get(tag, 0) + 1
    return {
        "channel": [Facet(facet.value, labels[facet.value], facet.count) for facet in counted("channel", "channel", "")],
        "user": counted("user_id", "user_id", ""),
        "agent": counted("agent", "agent", ""),
        "project": counted("project", "project", ""),
        "model": counted("model", "model", ""),
        "trigger": _most_frequent((word, word, count) for word, count in triggers.items()),
        "status": [Facet(status, status, matching(replace(filter, status=status), viewer=viewer, now=now).count()) for status in STATUSES],
        "read": [
            Facet(word, word, matching(replace(filter, unread=unread), viewer=viewer, now=now).count())
            for word, unread in (("unread", True), ("read", False))
        ],
        "tag": _most_frequent((tag, tag, count) for tag, count in tags.items()),
    }


def _most_frequent(counts: Iterable[tuple[str, str, int]]) -> list[Facet]:
    return [Facet(*one) for one in sorted(counts, key=lambda one: (-one[2], one[0]))[:FACET_LIMIT]]


def matching(filter: SessionFilter, *, viewer: User | None, now: datetime) -> SessionQuerySet:
    """Return what the filter matches, as one plain condition: the meaning of the filter, whatever way `session_page` takes to it."""
    rows = _in_status(Session.objects.visible_to(viewer), filter.status, now)
    for column in ("channel", "user_id", "agent", "project", "model"):
        if value := getattr(filter, column):
            rows = rows.filter(**{column: value})
    if filter.trigger:
        rows = rows.filter(_trigger(filter.trigger))
    if filter.has_errors is not None:
        rows = rows.filter(error_count__gt=0) if filter.has_errors else rows.filter(error_count=0)
    if filter.cost_min is not None:
        rows = rows.filter(cost_usd__gte=filter.cost_min)
    if filter.cost_max is not None:
        rows = rows.filter(cost_usd__lte=filter.cost_max)
    if filter.since is not None:
        rows = rows.filter(last_message_at__gte=day_start(filter.since))
    if filter.until is not None:
        rows = rows.filter(created_at__lt=day_start(filter.until))
    if filter.tag:
        rows = rows.filter(_tagged(filter.tag))
    if filter.text:
        rows = rows.filter(Q(title__icontains=filter.text) | Q(key__icontains=filter.text) | Q(summary__icontains=filter.text))
    if filter.unread is not None:
        condition = Q(unread_since__isnull=False)
        if viewer is not None:
            rows, condition = rows.with_marks_of(viewer), unread_condition(viewer)
        unread = Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())
        rows = rows.annotate(unread=unread).filter(unread=filter.unread)
    return rows


def _in_status(rows: SessionQuerySet, status: str, now: datetime) -> SessionQuerySet:
    if status == "all":
        return rows
    if status == "archived":
        return rows.filter(archived_at__isnull=False)
    rows = rows.filter(archived_at=None)
    if status == "open":
        return rows.filter(closed_at=None)
    if status == "closed":
        return rows.filter(closed_at__isnull=False)
    if status == "stale":
        stale = Q(pk__in=[])
        for channel in Channel.objects.all():
            if channel.gap_minutes is not None:
                gap = timedelta(minutes=min(channel.gap_minutes, MAX_GAP_MINUTES))
                stale |= Q(channel=channel, last_message_at__lte=now - gap)
        return rows.filter(stale, closed_at=None)
    return rows


def _trigger(trigger: str) -> Q:
    nobody = Q(triggered_by=None) | Q(triggered_by="")
    if trigger == "person":
        return nobody
    if trigger == "heartbeat":
        return Q(triggered_by=HEARTBEAT)
    if trigger == "cron":
        return ~nobody & ~Q(triggered_by=HEARTBEAT)
    return Q(triggered_by=trigger.removeprefix("cron:"))


def _tagged(tag: str) -> Q:
    if connection.vendor == "postgresql":
        return Q(tags__contains=[tag])
    each = RawSQL("EXISTS (SELECT 1 FROM json_each(sessions_app_session.tags) WHERE value = %s)", [tag], output_field=BooleanField())
    return Q(each)


def session_row(session_id: UUID | str, viewer: User | None) -> Session | None:
    """Return one session just as a page of the list shows it, to be shown again after a change; None when it is not there for the viewer."""
    pk = _uuid(session_id)
    return None if pk is None else _with_unread(Session.objects.visible_to(viewer), viewer).filter(pk=pk).first()


def session_rows(session_ids: Collection[UUID], *, viewer: User | None) -> list[Session]:
    """Return those of the sessions that the viewer may see, just as a page of the list shows them, in no order."""
    return list(_with_unread(Session.objects.visible_to(viewer), viewer).filter(pk__in=session_ids)) if session_ids else []


def get_session(session_id: UUID | str, *, viewer: User | None = None) -> Session | None:
    """Return the session, archived or not, with its channel; None when there is none for the viewer."""
    pk = _uuid(session_id)
    return None if pk is None else Session.objects.visible_to(viewer).select_related("channel").filter(pk=pk).first()


def unread_count(viewer: User | None) -> int:
    """Count the unread sessions of the viewer's inbox."""
    return Session.objects.visible_to(viewer).filter(archived_at=None).unread_by(viewer).count()


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
