"""The list of sessions, one session, and the numbers in the rail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, Case, Q, Value, When
from django.db.models.expressions import RawSQL
from django.utils import timezone

from sessions_app.day_rows import day_start
from sessions_app.id_sets import IdBatch
from sessions_app.models import HEARTBEAT, MAX_GAP_MINUTES, Channel, Session, SessionQuerySet, unread_condition
from sessions_app.queries import cursors, session_list
from sessions_app.queries.session_filter import STATUSES, SessionFilter
from sessions_app.session_groups import GroupNames

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
    """Return one page of the list by keyset: ties by id, so that pages neither repeat nor skip a row. after: a page's next_cursor, or its
    searched_to. A broken cursor, or a time where the sort is by a number, reads as from the start. How it is found: see session_list."""
    if limit <= 0:
        return SessionPage([], None)
    search = session_list.search_of(filter, viewer, now or timezone.now())
    if filter.sort == "activity":
        found = session_list.find(search, _place(after), limit + 1)
        more = len(found.places) > limit
        places: list[tuple[Any, UUID]] = list(found.places[:limit])
        next_cursor = cursors.encode(*places[-1]) if more else None
        searched_to = cursors.encode(*found.searched_to) if found.searched_to else None
    else:
        column = SORT_COLUMNS[filter.sort]
        last, since = _sorted_place(after, filter.sort)
        found_so = session_list.find_sorted(search, column, last, since, limit + 1)
        more = len(found_so.places) > limit
        places = found_so.places[:limit]
        next_cursor = _sorted_cursor(*places[-1], since) if more else None
        searched_to = _sorted_cursor(0, None, found_so.searched_to) if found_so.searched_to and not more else None
    rows = {row.pk: row for row in _with_unread(Session.objects.filter(pk__in=[pk for _, pk in places]), viewer)} if places else {}
    return SessionPage([rows[pk] for _, pk in places if pk in rows], next_cursor, searched_to)


def _place(cursor: str | None) -> session_list.Place | None:
    """Read a cursor by activity."""
    place = cursors.decode(cursor)
    last = None if place is None else _uuid(place[1])
    return (place[0], last) if place is not None and last is not None and isinstance(place[0], datetime) else None


def _sorted_cursor(value: Any, pk: UUID | None, since: session_list.Place | None) -> str:
    """Return the cursor of another sort: the last row's value and id, and the place by activity at which the search had begun."""
    if not isinstance(value, int):
        value = session_list.moment(value)
    tie = pk.hex if pk else "-"
    return cursors.encode(value, tie if since is None else f"{tie} {since[0].isoformat()} {since[1].hex}")


def _sorted_place(cursor: str | None, sort: str) -> tuple[tuple[Any, UUID] | None, session_list.Place | None]:
    place = cursors.decode(cursor)
    if place is None:
        return None, None
    tie, *rest = place[1].split(" ")
    since = None
    if len(rest) == 2:
        try:
            since = datetime.fromisoformat(rest[0]), UUID(rest[1])
        except ValueError:
            return None, None
        if since[0].tzinfo is None:
            return None, None
    pk = None if tie == "-" else _uuid(tie)
    if pk is None or isinstance(place[0], int) == (sort == "started"):
        return None, since if tie == "-" else None
    return (session_list.time(place[0]) if isinstance(place[0], datetime) else place[0], pk), since


def matching_ids(
    filter: SessionFilter, *, viewer: User | None, after: str | None = None, limit: int, now: datetime | None = None
) -> IdBatch:
    """Return the ids of the sessions that the filter matches, newest activity first, whatever its sort, a batch at a time. after: a batch's next_cursor."""
    search = session_list.search_of(filter, viewer, now or timezone.now())
    place = _place(after)
    ids: list[session_list.Place] = []
    while True:
        found = session_list.find(search, place, limit + 1 - len(ids))
        ids += found.places
        if len(ids) > limit or found.searched_to is None:
            break
        place = found.searched_to  # nothing is left out: where a page would stop and ask, a batch goes on
    more = len(ids) > limit
    del ids[limit:]
    return IdBatch([pk for _, pk in ids], cursors.encode(*ids[-1]) if more else "")


def session_total(filter: SessionFilter, *, viewer: User | None, now: datetime | None = None) -> Total:
    """Count what the filter matches: exactly where the groups know it, or where it is little."""
    return Total(*session_list.total(session_list.search_of(filter, viewer, now or timezone.now())))


def session_facets(filter: SessionFilter, *, viewer: User | None, now: datetime | None = None) -> dict[str, list[Facet]]:
    """Return the values that each filter can take beside the others, the most frequent first, at most FACET_LIMIT of each. Counted where the groups know it:
    not beside dates, costs, tags and text, nor beside what a viewer has marked."""
    now = now or timezone.now()
    search = session_list.search_of(filter, viewer, now)
    labels = {channel.pk: channel.label for channel in Channel.objects.all()}
    is_counted = not (search.rows or search.searched or search.since or search.begun_before)
    marks = session_list.marks_of(viewer)
    counts = session_list.counted_groups(search)
    wanted = _wanted(filter if marks is None else replace(filter, unread=None))

    def facet(name: str, word: Callable[[GroupNames], str]) -> list[Facet]:
        others = [test for one, test in wanted.items() if one != name]
        found: dict[str, int] = {}
        for names, sessions in counts:
            if all(test(names) for test in others):
                value = word(names)
                found[value] = found.get(value, 0) + sessions
        return _most_frequent(found, is_counted)

    statuses = {one.value: one.count or 0 for one in facet("status", lambda names: names.state)} if is_counted else {}
    inbox = sum(count for state, count in statuses.items() if state != "archived")
    totals = {**statuses, "inbox": inbox, "all": sum(statuses.values())}
    read = {one.value: one for one in facet("read", lambda names: "unread" if names.is_unread else "read")} if marks is None else {}
    return {
        "channel": [replace(one, label=labels.get(one.value, one.value)) for one in facet("channel", lambda names: names.channel)],
        "user": _homes(filter, search, "user_id", is_counted=is_counted),
        "agent": facet("agent", lambda names: names.agent),
        "project": _homes(filter, search, "project", is_counted=is_counted),
        "model": facet("model", lambda names: names.model),
        "trigger": facet("trigger", lambda names: _trigger_word(names.triggered_by)),
        "status": [
            Facet(status, status, totals.get(status, 0) if is_counted and status != "stale" else None, is_exact=True) for status in STATUSES
        ],
        "read": [Facet(word, word, (read[word].count if word in read else 0) if read else None) for word in ("unread", "read")],
        "tag": [
            Facet(tag, tag, count if is_all and filter == SessionFilter(status="all") else None)
            for tag, count, is_all in session_list.tags(viewer, FACET_LIMIT)
        ],
    }


def _wanted(filter: SessionFilter) -> dict[str, Callable[[GroupNames], bool]]:
    """Return what the filter asks of a group, by facet."""
    tests: dict[str, Callable[[GroupNames], bool]] = {}
    for column in ("channel", "agent", "model"):
        if value := getattr(filter, column):
            tests[column] = lambda names, column=column, value=value: getattr(names, column) == value  # type: ignore[misc]
    if filter.trigger == "cron":
        tests["trigger"] = lambda names: _trigger_word(names.triggered_by).startswith("cron:")
    elif filter.trigger:
        tests["trigger"] = lambda names: _trigger_word(names.triggered_by) == filter.trigger
    if filter.status == "inbox":
        tests["status"] = lambda names: names.state != "archived"
    elif filter.status == "stale":
        tests["status"] = lambda names: names.state == "open"
    elif filter.status != "all":
        tests["status"] = lambda names: names.state == filter.status
    if filter.has_errors is not None:
        tests["errors"] = lambda names: names.has_errors == filter.has_errors
    if filter.unread is not None:
        tests["read"] = lambda names: names.is_unread == filter.unread
    return tests


def _trigger_word(triggered_by: str) -> str:
    return "heartbeat" if triggered_by == HEARTBEAT else f"cron:{triggered_by}" if triggered_by else "person"


def _homes(filter: SessionFilter, search: session_list.Search, column: str, *, is_counted: bool) -> list[Facet]:
    """The users or the projects. Counted for the whole list and the plain inbox; beside other filters, by how frequent they are without these."""
    other = replace(filter, user_id="") if column == "user_id" else replace(filter, project="")
    plain = replace(other, user_id="", project="", sort="activity", status="inbox") == SessionFilter()
    found = session_list.counted_homes(other, search.viewer, column, "in_inbox" if filter.status != "all" else "sessions", FACET_LIMIT)
    return [Facet(value, value, count if is_counted and plain and filter.status in ("inbox", "all") else None) for value, count in found]


def _most_frequent(counts: dict[str, int], is_counted: bool) -> list[Facet]:
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [Facet(value, value, count if is_counted else None) for value, count in ordered if value][:FACET_LIMIT]


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
    """Count the unread sessions of the viewer's inbox, up to session_list.COUNT_LIMIT."""
    return session_list.count_unread(viewer)


def rail_counts(viewer: User | None) -> RailCounts:
    """Count what is behind the rail's links, from the groups."""
    by_channel: dict[str, int] = {}
    by_state: dict[str, int] = {}
    unread = 0
    for channel, state, is_unread, sessions in session_list.counted_states(viewer):
        by_state[state] = by_state.get(state, 0) + sessions
        by_channel[channel] = by_channel.get(channel, 0) + (0 if state == "archived" else sessions)
        unread += sessions if is_unread and state != "archived" else 0
    open_, closed, archived = (by_state.get(state, 0) for state in ("open", "closed", "archived"))
    return RailCounts(
        unread=session_list.count_unread(viewer, by_default=unread),
        inbox=open_ + closed,
        all=open_ + closed + archived,
        open=open_,
        closed=closed,
        archived=archived,
        channels=[(channel, by_channel[channel.pk]) for channel in Channel.objects.all() if channel.pk in by_channel],
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
