"""How a page of the list is found: the ids of the sessions that a filter matches, in order, at a cost that hardly grows with the store.

What a filter says of a session is of three kinds. Its group and its home are few and counted (see session_groups), so that it is known beforehand
how many sessions there are of the kind, and the indexes by group and by home lead to each of them. Its times are the order of the indexes. The rest
(a part of the text, a cost, a tag, a viewer's own marks) is asked of each candidate.

There are two ways to the newest matches. `walk` goes back in time through all sessions and keeps what matches: right for what is frequent. `pick` takes
the newest of each group or home that matches: right for what is rare, or was long ago. A walk that has looked at WALK sessions and found too few
gives way to a pick, so the cost is bounded by the two, whatever the data. What only the candidates themselves can tell is looked for in at most
SCAN_LIMIT sessions; the page then says how far back it looked.

SQL by hand: which index a statement goes through is the whole point, and the ORM cannot say it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, models

from sessions_app.day_rows import day_start
from sessions_app.models import (
    HEARTBEAT,
    MAX_GAP_MINUTES,
    Channel,
    ReadMark,
    ReadWatermark,
    Session,
    SessionCount,
    SessionGroup,
    SessionHome,
    SessionTag,
    own_name,
    sees_everything,
)
from sessions_app.money import to_nano
from sessions_app.queries.session_filter import SessionFilter
from sessions_app.session_groups import SPAN_UNIT, GroupNames

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WALK = 3_000  # sessions that a walk looks at before it gives way to a pick
GATHER = 5_000  # rare enough to look at all of them at once
DRIVE = 20_000  # the same of a tag, or a range of costs
LARGEST_GROUPS = 64  # whose newest sessions tell a pick how far back it need not look
SCAN_LIMIT = 100_000  # sessions that are looked at for what no index knows
COUNT_SCAN = 5_000  # sessions that are looked at to count what no group knows
COUNT_SEARCHED = 1_000  # the same of what no index knows
COUNT_LIMIT = 10_000  # beyond it a number of unread sessions is "more than"
SPANS = 20  # 2^20 hours are more than a century

SESSION, GROUP, HOME, COUNT, TAG, MARK = (
    model._meta.db_table for model in (Session, SessionGroup, SessionHome, SessionCount, SessionTag, ReadMark)
)
TIME = models.DateTimeField()

Place = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL with its parameters."""

    text: str
    params: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text)


NOTHING = Sql("")


def all_of(parts: Iterable[Sql]) -> Sql:
    """Join conditions by AND."""
    some = [part for part in parts if part]
    return Sql(" AND ".join(part.text for part in some), tuple(param for part in some for param in part.params))


def any_of(parts: Sequence[Sql]) -> Sql:
    return Sql("(" + " OR ".join(part.text for part in parts) + ")", tuple(param for part in parts for param in part.params))


def sql(text: str, *parts: Any) -> Sql:
    """Fill `?` with pieces of SQL, whose parameters follow in order; other values become parameters."""
    pieces = text.split("?")
    out = pieces[0]
    params: list[Any] = []
    for value, rest in zip(parts, pieces[1:], strict=True):
        if isinstance(value, Sql):
            out += value.text
            params += value.params
        else:
            out += "%s"
            params.append(value)
        out += rest
    return Sql(out, tuple(params))


def time(moment: datetime) -> Any:
    return TIME.get_db_prep_value(moment, connection)


def key(pk: UUID) -> Any:
    return Session._meta.pk.get_db_prep_value(pk, connection)


def through(index: str) -> str:
    """Say which index the table of sessions is read by. PostgreSQL takes no hints; its planner finds it, since the conditions leave no other."""
    return f"{SESSION} AS s INDEXED BY {index}" if connection.vendor == "sqlite" else f"{SESSION} AS s"


def among(column: str, rows: Sql) -> Sql:
    """Ask whether the column is one of the rows, from a table built once."""
    # Not as a join: PostgreSQL would lose the order of the index, and with it the end after 51 rows.
    return sql(f"(({column} IN (?)) IS TRUE)" if connection.vendor == "postgresql" else f"{column} IN (?)", rows)


@dataclass(slots=True)
class Search:
    """A filter, as the statements take it. groups, homes: conditions on SessionGroup g and SessionHome h. rows: on the session s, its viewer's mark m.
    searched: the same, of what no index knows. since, before: bounds of last_message_at, half-open."""

    viewer: User | None
    groups: Sql = NOTHING
    homes: Sql = NOTHING
    rows: Sql = NOTHING
    searched: Sql = NOTHING
    since: datetime | None = None
    before: datetime | None = None
    begun_before: datetime | None = None
    unread: bool | None = None
    marks: Marks | None = None
    tag: str = ""
    cost: Sql = NOTHING
    is_empty: bool = False
    plain: Search | None = None  # without the viewer's marks, where nothing else is asked beside groups and homes
    fresh: Search | None = None  # what the groups count and is not stale, where nothing else is asked
    is_exact: bool = True  # the counts of the groups are those of the matches

    @property
    def joins_mark(self) -> bool:
        return self.marks is not None


@dataclass(frozen=True, slots=True)
class Marks:
    """What one viewer has read. watermark: everything until then."""

    viewer_id: int
    watermark: datetime | None
    has_marks: bool


def search_of(filter: SessionFilter, viewer: User | None, now: datetime) -> Search:
    """Translate a filter. Costs a query for a stale status, and one for a viewer's marks where the read state is asked."""
    search = Search(viewer)
    groups: list[Sql] = []
    searched: list[Sql] = []
    for column in ("channel", "agent", "model"):
        if value := getattr(filter, column):
            groups.append(sql(f"g.{column} = ?", value))
    if filter.trigger:
        groups.append(_trigger(filter.trigger))
    if filter.has_errors is not None:
        groups.append(Sql("g.has_errors" if filter.has_errors else "NOT g.has_errors"))
    if filter.status == "inbox":
        groups.append(Sql("g.state <> 'archived'"))
    elif filter.status == "stale":
        _add_stale(search, groups, now)
    elif filter.status != "all":
        groups.append(sql("g.state = ?", filter.status))
    homes = _homes_of(filter, viewer)
    search.homes, search.is_empty = homes or NOTHING, search.is_empty or homes is None
    if filter.since is not None:
        search.since = day_start(filter.since)
    if filter.until is not None:
        search.begun_before = day_start(filter.until)
    search.tag = filter.tag
    if filter.tag:
        # IS TRUE: else PostgreSQL makes a join of it, and begins at the tag, however frequent that is
        searched.append(sql(f"(EXISTS (SELECT 1 FROM {TAG} t WHERE t.session_id = s.id AND t.tag = ?)) IS TRUE", filter.tag))
    costs = [
        sql(f"s.cost_usd {sign} ?", to_nano(bound))
        for sign, bound in ((">=", filter.cost_min), ("<=", filter.cost_max))
        if bound is not None
    ]
    search.cost = all_of(costs)
    searched += costs
    if filter.text:
        searched.append(_text(filter.text))
    if filter.unread is not None:
        search.unread = filter.unread
        search.marks = marks_of(viewer)
        if search.marks is None:
            groups.append(Sql("g.is_unread" if filter.unread else "NOT g.is_unread"))
        else:
            search.rows = all_of([search.rows, _unread(search.marks) if filter.unread else sql("NOT ?", _unread(search.marks))])
    search.groups, search.searched = all_of(groups), all_of(searched)
    if search.fresh is not None:
        only_stale = not (search.searched or search.since or search.begun_before or search.marks)
        search.fresh = replace(search.fresh, groups=search.groups, homes=search.homes) if only_stale else None
    if search.marks is not None and not (search.searched or search.since or search.begun_before or filter.status == "stale"):
        search.plain = replace(search, rows=NOTHING, marks=None)
    search.is_exact = not (search.rows or search.searched or search.since or search.begun_before)
    return search


def _trigger(trigger: str) -> Sql:
    if trigger == "person":
        return Sql("g.triggered_by = ''")
    if trigger == "heartbeat":
        return sql("g.triggered_by = ?", HEARTBEAT)
    if trigger == "cron":
        return sql("g.triggered_by NOT IN ('', ?)", HEARTBEAT)
    return sql("g.triggered_by = ?", trigger.removeprefix("cron:"))


def _add_stale(search: Search, groups: list[Sql], now: datetime) -> None:
    """Open, and idle for the channel's gap or longer."""
    ends = {
        channel.pk: now - timedelta(minutes=min(channel.gap_minutes, MAX_GAP_MINUTES))
        for channel in Channel.objects.all()
        if channel.gap_minutes is not None
    }
    if not ends:
        search.is_empty = True
        return
    groups.append(sql(f"g.state = 'open' AND g.channel IN ({', '.join('?' * len(ends))})", *ends))
    search.before = max(ends.values()) + timedelta(microseconds=1)
    search.rows = any_of([sql("(s.channel_id = ? AND s.last_message_at <= ?)", slug, time(end)) for slug, end in ends.items()])
    search.fresh = Search(search.viewer, rows=sql("NOT ?", search.rows), since=min(ends.values()))


def _text(text: str) -> Sql:
    like = "ILIKE" if connection.vendor == "postgresql" else "LIKE"
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    return any_of([sql(f"s.{column} {like} ? ESCAPE '\\'", pattern) for column in ("title", "key", "summary")])


def marks_of(viewer: User | None) -> Marks | None:
    """Return what the viewer has marked, None when nothing: then the shared default is the viewer's state."""
    if viewer is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (SELECT at FROM {ReadWatermark._meta.db_table} WHERE viewer_id = %s), EXISTS (SELECT 1 FROM {MARK} WHERE viewer_id = %s)",
            [viewer.pk, viewer.pk],
        )
        at, has_marks = cursor.fetchone()
    return Marks(viewer.pk, None if at is None else moment(at), bool(has_marks)) if at is not None or has_marks else None


def _unread(marks: Marks) -> Sql:
    """The rule of models.unread_condition, on s and m; never NULL, so that it can be negated."""
    return any_of([_unread_by_default(marks), _unread_by_hand(marks)])


def _unread_by_default(marks: Marks) -> Sql:
    later = Sql("s.unread_since IS NOT NULL AND (m.at IS NULL OR m.is_unread OR s.unread_since > m.at)")
    if marks.watermark is not None:
        later = all_of([later, sql("s.unread_since > ?", time(marks.watermark))])
    return sql("(?)", later)


def _unread_by_hand(marks: Marks) -> Sql:
    by_hand = Sql("m.at IS NOT NULL AND m.is_unread")
    if marks.watermark is not None:
        by_hand = all_of([by_hand, sql("m.at > ?", time(marks.watermark))])
    return sql("(?)", by_hand)


# --- counting ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """What the groups tell of the candidates: how many sessions, in how many groups (or groups of homes)."""

    sessions: int
    places: int


def known(search: Search) -> Known:
    """Count the sessions of the groups and homes that match. Costs a query, of a few thousand rows at most."""
    if search.is_empty:
        return Known(0, 0)
    found = _fetch(sql("SELECT COALESCE(SUM(p.sessions), 0), COUNT(*) FROM (?) AS p", _places(search)))
    return Known(int(found[0][0]), int(found[0][1]))


def _places(search: Search) -> Sql:
    """The groups that match, or the groups of the homes that match: the rows through which `pick` comes to the sessions."""
    if not search.homes:
        return sql(f"SELECT g.id AS group_id, g.sessions FROM {GROUP} g WHERE ?", all_of([Sql("g.sessions > 0"), search.groups]))
    of_group = f"JOIN {GROUP} g ON g.id = c.group_id" if search.groups else ""
    return sql(
        f"SELECT c.home_id, c.group_id, c.sessions FROM {HOME} h JOIN {COUNT} c ON c.home_id = h.id {of_group} WHERE ?",
        all_of([Sql("c.sessions > 0"), search.homes, search.groups]),
    )


def total(search: Search) -> tuple[int, bool]:
    """Return how many sessions match, and whether that is all of them. Exact where the groups know it, and where the candidates are few; else as many
    as are among the newest COUNT_SCAN."""
    there = known(search)
    if search.is_exact or not there.sessions:
        return there.sessions, True
    if search.fresh is not None:
        return there.sessions - _count(_pick(search.fresh, None, there.sessions)), True
    if search.plain is not None and search.marks is not None:
        unread, is_exact = _unread_among(search.plain, search.marks)
        if search.unread or is_exact:
            return unread if search.unread else there.sessions - unread, is_exact
    others = 0
    if search.begun_before is not None:
        others = _count(_still_going_on(search, search.begun_before, None, COUNT_LIMIT))
        search = replace(search, before=search.begun_before, begun_before=None)
    if there.sessions <= GATHER:
        if search.marks is not None:
            return others + len(_find(search, None, GATHER, there).places), True
        return others + _count(_pick(search, None, GATHER)), True
    if search.searched and (driver := _driver(search, COUNT_SEARCHED)):
        return others + _count(_drive(search, driver, None, COUNT_SEARCHED)), True
    steps = COUNT_SEARCHED if search.searched else COUNT_SCAN
    window = _window(search, None, steps)
    conditions = [*window.conditions, *_membership(search), search.rows, search.searched]
    return others + _count(_select(_by_activity(search), conditions, steps + 1)), window.end is None


def _count(rows: Sql) -> int:
    return int(_fetch(sql("SELECT COUNT(*) FROM (?) AS f", rows))[0][0])


def counted_groups(search: Search) -> list[tuple[GroupNames, int]]:
    """Return all groups and how many sessions of the search's homes are in each, for the facets, which leave out one condition after the other."""
    if search.is_empty:
        return []
    names = ", ".join(f"g.{column}" for column in GroupNames._fields)
    if search.homes:
        rows = sql(
            f"SELECT {names}, SUM(c.sessions) FROM {HOME} h JOIN {COUNT} c ON c.home_id = h.id JOIN {GROUP} g ON g.id = c.group_id "
            f"WHERE c.sessions > 0 AND ? GROUP BY {names}",
            search.homes,
        )
    else:
        rows = sql(f"SELECT {names}, g.sessions FROM {GROUP} g WHERE g.sessions > 0")
    return [
        (GroupNames(channel, agent, model, triggered_by, state, bool(is_unread), bool(has_errors)), int(sessions))
        for channel, agent, model, triggered_by, state, is_unread, has_errors, sessions in _fetch(rows)
    ]


def counted_homes(filter: SessionFilter, viewer: User | None, column: str, sums: str, limit: int) -> list[tuple[str, int]]:
    """Return the users or the projects of the homes that the filter's user and project leave, with so many sessions."""
    homes = _homes_of(filter, viewer)
    if homes is None:
        return []
    rows = sql(
        f"SELECT h.{column}, SUM(h.{sums}) AS sessions FROM {HOME} h ? GROUP BY h.{column} HAVING SUM(h.{sums}) > 0 "
        f"ORDER BY sessions DESC, h.{column} LIMIT {int(limit) + 1}",
        _where([homes, Sql(f"h.{column} <> ''")]),
    )
    return [(value, int(sessions)) for value, sessions in _fetch(rows)][:limit]


def counted_states(viewer: User | None) -> list[tuple[str, str, bool, int]]:
    """Return channel, state, whether unread by default, and how many sessions the viewer sees of these."""
    homes = _homes_of(SessionFilter(), viewer)
    if homes is None:
        return []
    source = f"{HOME} h JOIN {COUNT} c ON c.home_id = h.id JOIN {GROUP} g ON g.id = c.group_id" if homes else f"{GROUP} g"
    counts = "c" if homes else "g"
    rows = sql(
        f"SELECT g.channel, g.state, g.is_unread, SUM({counts}.sessions) FROM {source} ? GROUP BY g.channel, g.state, g.is_unread",
        _where([Sql(f"{counts}.sessions > 0"), homes]),
    )
    return [(channel, state, bool(is_unread), int(sessions)) for channel, state, is_unread, sessions in _fetch(rows)]


def tags(viewer: User | None, limit: int) -> list[tuple[str, int, bool]]:
    """Return the tags among the newest COUNT_LIMIT that were given, the most frequent first: tag, times, whether that is all of them. Of all sessions,
    or of the viewer's own."""
    if sees_everything(viewer):
        newest = sql(f"SELECT t.tag FROM {TAG} t ORDER BY t.id DESC LIMIT {COUNT_LIMIT + 1}")
    elif own := own_name(viewer):
        mine = sql(f"SELECT h.id FROM {HOME} h WHERE h.user_id = ?", own)
        newest = sql(
            f"SELECT t.tag FROM {TAG} t JOIN {SESSION} s ON s.id = t.session_id WHERE s.home_id IN (?) LIMIT {COUNT_LIMIT + 1}", mine
        )
    else:
        return []
    found = _fetch(sql("SELECT t.tag, COUNT(*) AS times FROM (?) AS t GROUP BY t.tag ORDER BY times DESC, t.tag", newest))
    is_all = sum(times for _, times in found) <= COUNT_LIMIT
    return [(tag, times, is_all) for tag, times in found[:limit]]


def count_unread(viewer: User | None, by_default: int | None = None) -> int:
    """Count the viewer's unread sessions in the inbox, up to COUNT_LIMIT. by_default: how many the groups know, where that is at hand."""
    marks = marks_of(viewer)
    homes = _homes_of(SessionFilter(), viewer)
    if homes is None:
        return 0
    inbox = Search(viewer, groups=Sql("g.state <> 'archived'"), homes=homes)
    if marks is not None:
        return min(_unread_among(inbox, marks)[0], COUNT_LIMIT)
    return min(_by_default(inbox) if by_default is None else by_default, COUNT_LIMIT)


def _by_default(search: Search) -> int:
    return known(replace(search, groups=all_of([search.groups, Sql("g.is_unread")]))).sessions


def _unread_among(search: Search, marks: Marks) -> tuple[int, bool]:
    """Count what is unread, for a viewer who has marked anything, of a search that asks for groups and homes only; tell whether that is all. It is, but
    of a viewer with more than COUNT_LIMIT marks, or as many unread sessions since everything was marked read: then only the newest are looked at."""
    seen = all_of(_membership(search))
    source = sql(f"{MARK} m JOIN {SESSION} s ON s.id = m.session_id ?", _where([sql("m.viewer_id = ?", marks.viewer_id), seen]))
    if marks.watermark is None:
        few = sql(f"SELECT COUNT(*) FROM (SELECT 1 FROM {MARK} m WHERE m.viewer_id = ? LIMIT {COUNT_LIMIT + 1}) AS m", marks.viewer_id)
        if _fetch(few)[0][0] <= COUNT_LIMIT:
            # what is unread by default, less what was read, and what was put back to unread
            change = sql(
                "SELECT COALESCE(SUM(CASE WHEN ? THEN 1 ELSE 0 END - CASE WHEN s.unread_since IS NULL THEN 0 ELSE 1 END), 0) FROM ?",
                _unread(marks),
                source,
            )
            return _by_default(search) + int(_fetch(change)[0][0]), True
    since = Sql("s.unread_since IS NOT NULL") if marks.watermark is None else sql("s.unread_since > ?", time(marks.watermark))
    newest = sql(
        f"SELECT s.id, s.unread_since FROM {through('session_unread')} ? ORDER BY s.unread_since DESC LIMIT {COUNT_LIMIT}",
        _where([since, seen]),
    )
    found = _fetch(
        sql(
            f"SELECT COUNT(*), COALESCE(SUM(CASE WHEN ? THEN 1 ELSE 0 END), 0) FROM (?) AS s LEFT JOIN {MARK} m ON m.session_id = s.id AND m.viewer_id = ?",
            _unread_by_default(marks),
            newest,
            marks.viewer_id,
        )
    )
    by_hand = sql(
        f"SELECT s.id, s.last_message_at FROM ? AND m.is_unread AND ? AND NOT ? LIMIT {COUNT_LIMIT}",
        source,
        _unread_by_hand(marks),
        _unread_by_default(marks),
    )
    looked, unread = found[0]
    put_back = _count(by_hand)
    return int(unread) + put_back, looked < COUNT_LIMIT and put_back < COUNT_LIMIT


def _homes_of(filter: SessionFilter, viewer: User | None) -> Sql | None:
    """Return the condition on the homes, None when none can match."""
    homes = [sql(f"h.{column} = ?", value) for column, value in (("user_id", filter.user_id), ("project", filter.project)) if value]
    if not sees_everything(viewer):
        own = own_name(viewer)
        if not own:
            return None
        homes.append(sql("h.user_id = ?", own))
    return all_of(homes)


# --- finding ----------------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    """places: time and id of the matches, in order. searched_to: where a bounded search stopped; None when it went to the end, or found enough."""

    places: list[Place] = field(default_factory=list)
    searched_to: Place | None = None


def find(search: Search, after: Place | None, limit: int, *, there: Known | None = None) -> Found:
    """Return the newest `limit` matches after a place, newest activity first, ties by id."""
    there = there or known(search)
    if not there.sessions:
        return Found()
    found: list[Place] = []
    until = search.begun_before
    if until is not None:
        if after is None or after[0] >= until:
            # What was still going on then ended later, so it comes first.
            found = _read(_still_going_on(search, until, after, limit))
            after = None
        if len(found) >= limit:
            return Found(found)
        search = replace(search, before=until, begun_before=None)
    rest = _find(search, after, limit - len(found), there)
    return Found(found + rest.places, rest.searched_to)


def _find(search: Search, after: Place | None, limit: int, there: Known) -> Found:
    if search.searched:
        return _find_searched(search, after, limit, there)
    if there.sessions > GATHER:
        found = _read(_walk(search, after, limit, WALK))
        if len(found) >= limit:
            return Found(found)
    return Found(_merged([_read(one) for one in _picks(search, after, limit, there)], limit))


def _find_searched(search: Search, after: Place | None, limit: int, there: Known) -> Found:
    if there.sessions <= GATHER:
        return Found(_read(_pick(search, after, limit)))
    found = _read(_walk(search, after, limit, WALK))
    if len(found) >= limit:
        return Found(found)
    if driver := _driver(search, DRIVE):
        return Found(_read(_drive(search, driver, after, limit)))
    window = _window(search, after, SCAN_LIMIT)
    found = _read(_select(_by_activity(search), [*window.conditions, *_membership(search), search.rows, search.searched], limit))
    return Found(found, window.end if len(found) < limit else None)


@dataclass(frozen=True, slots=True)
class _Window:
    """The next so many sessions after a place, whatever they are. end: the last of them, None where there are no more."""

    conditions: list[Sql]
    end: Place | None


def _window(search: Search, after: Place | None, steps: int) -> _Window:
    """Costs a query."""
    end = _end_of_walk(search, after, steps)
    if end is None:
        return _Window([_bounds(search, after)], None)
    at = time(end[0])
    return _Window([_bounds(search, after, since=sql("?", at)), sql("(s.last_message_at > ? OR s.id >= ?)", at, key(end[1]))], end)


def _by_activity(search: Search) -> Sql:
    return sql(f"{through('session_by_activity')} ?", _mark_join(search))


# --- in another order -------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sorted:
    """places: value and id, in order. searched_to: where the newest SCAN_LIMIT sessions, which were looked at, end; None when all were."""

    places: list[tuple[Any, UUID]] = field(default_factory=list)
    searched_to: Place | None = None


def find_sorted(search: Search, column: str, after: tuple[Any, UUID] | None, since: Place | None, limit: int) -> Sorted:
    """Return the first `limit` matches by a column, falling, ties by id. after: a value and id of that order. since: the place by activity at which
    the newest sessions that are looked at begin."""
    there = known(search)
    if not there.sessions:
        return Sorted()
    begun = NOTHING if search.begun_before is None else sql("s.created_at < ?", time(search.begun_before))
    keyset = NOTHING
    if after is not None:
        keyset = sql(f"s.{column} <= ? AND (s.{column} < ? OR s.id < ?)", after[0], after[0], key(after[1]))
    conditions = [begun, keyset, *_membership(search), search.rows, search.searched]
    order = f"ORDER BY s.{column} DESC, s.id DESC LIMIT {int(limit)}"

    def read(source: Sql, conditions: Sequence[Sql]) -> list[tuple[Any, UUID]]:
        found = _fetch(sql(f"SELECT s.id, s.{column} FROM ? ? {order}", source, _where(conditions)))
        return [(value, pk if isinstance(pk, UUID) else UUID(pk)) for pk, value in found]

    if there.sessions <= GATHER:
        few = sql("s.id IN (SELECT f.id FROM (?) AS f)", _pick(search, since, GATHER))
        return Sorted(read(sql(f"{SESSION} s ?", _mark_join(search)), [few, *conditions]))
    if column == "cost_usd" and since is None:
        # the dearest first, as far as the index of costs goes in so many steps
        end = sql(
            f"(SELECT s.cost_usd FROM {through('session_by_cost')} ? ORDER BY s.cost_usd DESC LIMIT 1 OFFSET {SCAN_LIMIT})",
            _where([keyset]),
        )
        near = sql("s.cost_usd >= COALESCE(?, 0)", end)
        found = read(sql(f"{through('session_by_cost')} ?", _mark_join(search)), [near, _bounds(search, None), *conditions])
        if len(found) >= limit:
            return Sorted(found)
    window = _window(search, since, SCAN_LIMIT)
    return Sorted(read(_by_activity(search), [*window.conditions, *conditions]), window.end)


def _end_of_walk(search: Search, after: Place | None, steps: int) -> Place | None:
    """Return the last session that a walk of so many steps looks at, None when it reaches the end."""
    rows = sql(
        f"SELECT s.id, s.last_message_at FROM {through('session_by_activity')} ? ORDER BY s.last_message_at DESC, s.id DESC LIMIT 1 OFFSET {int(steps)}",
        _where([_bounds(search, after)]),
    )
    return next(iter(_read(rows)), None)


def _merged(lists: list[list[Place]], limit: int) -> list[Place]:
    if len(lists) == 1:
        return lists[0]
    return sorted({place for one in lists for place in one}, key=lambda place: (place[0], place[1].int), reverse=True)[:limit]


def _walk(search: Search, after: Place | None, limit: int, steps: int) -> Sql:
    """Go back in time through at most so many sessions."""
    end = sql(
        f"(SELECT s.last_message_at FROM {through('session_by_activity')} ? ORDER BY s.last_message_at DESC LIMIT 1 OFFSET {int(steps)})",
        _where([_bounds(search, after)]),
    )
    conditions = [_bounds(search, after, since=_no_earlier(search, end)), *_membership(search)]
    return _select(_by_activity(search), [*conditions, search.rows, search.searched], limit)


def _membership(search: Search) -> list[Sql]:
    conditions = []
    if search.groups:
        conditions.append(among("s.group_id", sql(f"SELECT g.id FROM {GROUP} g WHERE ?", search.groups)))
    if search.homes:
        conditions.append(among("s.home_id", sql(f"SELECT h.id FROM {HOME} h WHERE ?", search.homes)))
    return conditions


def _picks(search: Search, after: Place | None, limit: int, there: Known) -> list[Sql]:
    """The statements that together find the matches, each through what is rarest in it."""
    marks = search.marks
    if marks is None:
        return [_pick(search, after, limit, there)]
    if search.unread:
        by_hand = replace(search, rows=all_of([search.rows, _unread_by_hand(marks)]))
        if marks.watermark is not None:
            later = sql("s.unread_since > ?", time(marks.watermark))
            by_default = _select(
                sql(f"{through('session_unread')} ?", _mark_join(search)),
                [later, _bounds(search, after), *_membership(search), search.rows],
                limit,
            )
        else:
            flagged = replace(search, groups=all_of([search.groups, Sql("g.is_unread")]))
            by_default = _pick(flagged, after, limit, there)
        return [by_default, _from_marks(by_hand, Sql("m.is_unread"), after, limit)]
    if marks.watermark is not None:
        return [_pick(search, after, limit, there)]
    read = replace(search, groups=all_of([search.groups, Sql("NOT g.is_unread")]))
    return [_pick(read, after, limit, there), _from_marks(search, Sql("NOT m.is_unread"), after, limit)]


def _pick(search: Search, after: Place | None, limit: int, there: Known | None = None) -> Sql:
    """Take the newest of each group, or each group of a home, that matches."""
    index = "session_by_home" if search.homes else "session_by_group"
    match = Sql("s.group_id = p.group_id" + (" AND s.home_id = p.home_id" if search.homes else ""))
    mark = _mark_join(search)
    rest = [search.rows, search.searched]
    conditions = [match, _bounds(search, after), *rest]
    places = _places(search)
    if there is not None and there.sessions > GATHER and not search.searched:
        # The page ends no earlier than the 51st of any one group: of the largest ones, the latest of these times.
        largest = sql(f"SELECT * FROM places ORDER BY sessions DESC LIMIT {LARGEST_GROUPS}")
        nth = sql(
            f"SELECT s.last_message_at FROM {through(index)} ? ? ORDER BY s.last_message_at DESC LIMIT 1 OFFSET {int(limit) - 1}",
            mark,
            _where(conditions),
        )
        end = sql("SELECT MAX((?)) AS at FROM (?) AS p", nth, largest)
        conditions = [match, _bounds(search, after, since=_no_earlier(search, Sql("(SELECT at FROM ended)"))), *rest]
        head = sql("WITH places AS MATERIALIZED (?), ended AS MATERIALIZED (?) ", places, end)
    else:
        head = sql("WITH places AS MATERIALIZED (?) ", places)
    order = f"ORDER BY s.last_message_at DESC, s.id DESC LIMIT {int(limit)}"
    if connection.vendor == "postgresql":
        inner = sql(f"SELECT s.id, s.last_message_at FROM {through(index)} ? ? {order}", mark, _where(conditions))
        return sql(f"? SELECT s.id, s.last_message_at FROM places p CROSS JOIN LATERAL (?) AS s {order}", head, inner)
    return sql(f"? SELECT s.id, s.last_message_at FROM places p CROSS JOIN {through(index)} ? ? {order}", head, mark, _where(conditions))


def _from_marks(search: Search, which: Sql, after: Place | None, limit: int) -> Sql:
    """Take what the viewer has marked."""
    assert search.marks is not None
    mine = sql("m.viewer_id = ?", search.marks.viewer_id)
    source = Sql(
        f"{MARK} m CROSS JOIN {SESSION} s" if connection.vendor == "sqlite" else f"{MARK} m JOIN {SESSION} s ON s.id = m.session_id"
    )
    return _select(
        source, [mine, which, Sql("s.id = m.session_id"), _bounds(search, after), *_membership(search), search.rows, search.searched], limit
    )


def _driver(search: Search, most: int) -> Sql:
    """Return the source of the sessions that a tag or a range of costs leads to, where these are few. Costs a query each."""
    if search.tag:
        few = sql(f"SELECT COUNT(*) FROM (SELECT 1 FROM {TAG} t WHERE t.tag = ? LIMIT {most + 1}) AS t", search.tag)
        if _fetch(few)[0][0] <= most:
            join = "CROSS JOIN" if connection.vendor == "sqlite" else "JOIN"
            return sql(f"(SELECT t.session_id FROM {TAG} t WHERE t.tag = ?) AS t {join} {SESSION} s ON s.id = t.session_id", search.tag)
    if search.cost:
        index = through("session_by_cost")
        few = sql(f"SELECT COUNT(*) FROM (SELECT 1 FROM {index} WHERE ? LIMIT {most + 1}) AS t", search.cost)
        if _fetch(few)[0][0] <= most:
            return Sql(index)
    return NOTHING


def _drive(search: Search, driver: Sql, after: Place | None, limit: int) -> Sql:
    conditions = [_bounds(search, after), *_membership(search), search.rows, search.searched]
    found = sql("SELECT s.id, s.last_message_at FROM ? ? ?", driver, _mark_join(search), _where(conditions))
    # materialized: else PostgreSQL reads in the order that is wanted, and hopes to meet what is rare early
    return sql(
        f"WITH s AS MATERIALIZED (?) SELECT s.id, s.last_message_at FROM s ORDER BY s.last_message_at DESC, s.id DESC LIMIT {int(limit)}",
        found,
    )


def _still_going_on(search: Search, until: datetime, after: Place | None, limit: int) -> Sql:
    """Find what ended at `until` or later and began before it. A session that ran for less than 2^k hours ended less than 2^k hours after: of the many short
    ones, the few of an hour are looked at, and more hours only of those that ran so long."""
    ends = [(span, _later(until, (1 << span) * SPAN_UNIT)) for span in range(SPANS + 1)]
    search = replace(search, since=until if search.since is None else max(search.since, until))
    within = replace(search, before=ends[0][1] if search.before is None else min(search.before, ends[0][1]))
    common = [sql("s.created_at < ?", time(until)), *_membership(search), search.rows, search.searched]
    mark = _mark_join(search)
    short = sql(
        f"SELECT s.id, s.last_message_at FROM {through('session_by_activity')} ? ?",
        mark,
        _where([Sql("s.span = 0"), _bounds(within, after), *common]),
    )
    if connection.vendor == "postgresql":
        windows = sql(
            "(SELECT * FROM unnest(?::int[], ?::timestamptz[]) AS w(span, ends)) AS w", [span for span, _ in ends], [end for _, end in ends]
        )
    else:
        windows = sql(
            "(SELECT value ->> 0 AS span, value ->> 1 AS ends FROM json_each(?)) AS w",
            json.dumps([(span, str(time(end))) for span, end in ends]),
        )
    long = sql(
        f"SELECT s.id, s.last_message_at FROM ? CROSS JOIN {through('session_long')} ? ?",
        windows,
        mark,
        _where([Sql("s.span = w.span AND s.span > 0 AND s.last_message_at < w.ends"), _bounds(search, after), *common]),
    )
    return sql(
        f"SELECT id, last_message_at FROM (? UNION ALL ?) AS f ORDER BY last_message_at DESC, id DESC LIMIT {int(limit)}", short, long
    )


EVER = datetime(1, 1, 1, tzinfo=UTC)


def _later(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _mark_join(search: Search) -> Sql:
    if search.marks is None:
        return NOTHING
    return sql(f"LEFT JOIN {MARK} m ON m.session_id = s.id AND m.viewer_id = ?", search.marks.viewer_id)


def _bounds(search: Search, after: Place | None, *, since: Sql = NOTHING) -> Sql:
    """The times between which the list is read. since: a lower bound instead of the search's own. One of each kind: SQLite takes only one to its index."""
    conditions = []
    if since:
        conditions.append(sql("s.last_message_at >= ?", since))
    elif search.since is not None:
        conditions.append(sql("s.last_message_at >= ?", time(search.since)))
    if after is not None and (search.before is None or after[0] < search.before):
        at, pk = time(after[0]), key(after[1])
        conditions.append(sql("s.last_message_at <= ? AND (s.last_message_at < ? OR s.id < ?)", at, at, pk))
    elif search.before is not None:
        conditions.append(sql("s.last_message_at < ?", time(search.before)))
    return all_of(conditions)


def _no_earlier(search: Search, end: Sql) -> Sql:
    """Return the time before which need not be read: `end`, where there is one."""
    return sql("COALESCE(?, ?)", end, time(EVER if search.since is None else search.since))


def _where(conditions: Sequence[Sql]) -> Sql:
    joined = all_of(conditions)
    return sql("WHERE ?", joined) if joined else NOTHING


def _select(source: Sql, conditions: Sequence[Sql], limit: int) -> Sql:
    return sql(
        f"SELECT s.id, s.last_message_at FROM ? ? ORDER BY s.last_message_at DESC, s.id DESC LIMIT {int(limit)}", source, _where(conditions)
    )


def _fetch(statement: Sql) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _read(statement: Sql) -> list[Place]:
    return [(moment(at), pk if isinstance(pk, UUID) else UUID(pk)) for pk, at in _fetch(statement)]


def moment(value: Any) -> datetime:
    """Read a time as the database gave it: SQLite's are in UTC without saying so, and text where they were computed."""
    found: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found if found.tzinfo else found.replace(tzinfo=UTC)
