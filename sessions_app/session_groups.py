"""Where a session stands in the list: its group (the names and states of which there are few combinations) and its home (whose it is, in which project).

Both are counted: so many sessions of each group, of each home, of each group in each home. From these numbers come the totals and the facets of the
list, and by the two keys its indexes find what any filter asks for. A key is a digest of the names, so that a session's keys follow from the session
alone. `place` gives them to a session and notes the move in the transaction's tally; `day_rows.writing` writes the moves last, in the order of the
keys, so that two transactions can wait for each other but never both at once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from django.db import connection, models
from django.db.models.functions import Cast, Concat

from sessions_app.models import Session, SessionCount, SessionGroup, SessionHome, SessionQuerySet, SessionTag

BATCH = 500
Item = TypeVar("Item")
# The columns of a session that `place` sets.
PLACED = ("group_id", "home_id", "span")
SPAN_UNIT = timedelta(hours=1)


class GroupNames(NamedTuple):
    """The columns of a SessionGroup."""

    channel: str
    agent: str
    model: str
    triggered_by: str
    state: str
    is_unread: bool
    has_errors: bool


class HomeNames(NamedTuple):
    """The columns of a SessionHome."""

    user_id: str
    project: str


class HasPlace(Protocol):
    """A session, as far as its place follows from it."""

    channel_id: str
    agent: str
    model: str
    triggered_by: str | None
    closed_at: datetime | None
    archived_at: datetime | None
    unread_since: datetime | None
    error_count: int
    user_id: str
    project: str
    created_at: datetime
    last_message_at: datetime


class Tallied(Protocol):
    moves: Moves


# What `place_all` reads: the columns of HasPlace.
FACTS = (
    *("channel_id", "agent", "model", "triggered_by", "closed_at", "archived_at", "unread_since"),
    *("error_count", "user_id", "project", "created_at", "last_message_at"),
)


def group_names(session: HasPlace) -> GroupNames:
    """Return the names of the group that the session belongs to as it is now."""
    state = "archived" if session.archived_at else "closed" if session.closed_at else "open"
    return GroupNames(
        session.channel_id,
        session.agent,
        session.model,
        session.triggered_by or "",
        state,
        session.unread_since is not None,
        session.error_count > 0,
    )


def home_names(session: HasPlace) -> HomeNames:
    """Return the names of the home that the session belongs to as it is now."""
    return HomeNames(session.user_id, session.project)


@lru_cache(maxsize=4096)
def key_of(names: GroupNames | HomeNames) -> int:
    """Return the key of a group or a home: 63 bits, never 0. Two of a million names share one with a chance of one in ten million."""
    text = "".join(f"{len(name)}:{name}" for name in map(str, names))  # with lengths, so that no two lists of names read the same
    digest = blake2b(text.encode(), digest_size=8, person=type(names).__name__.encode()).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def span_of(created_at: datetime, last_message_at: datetime) -> int:
    """Return how long the session ran, coarsely: the k with a duration of less than 2^k hours."""
    return max((last_message_at - created_at) // SPAN_UNIT, 0).bit_length()


class Moves:
    """How many sessions came to, and left, each group of each home in one transaction."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, int], int] = {}  # by group and home
        self.groups: dict[int, GroupNames] = {}  # the names of keys, as far as they were met
        self.homes: dict[int, HomeNames] = {}

    def __bool__(self) -> bool:
        return any(self.counts.values())

    def add(self, group: int, home: int, times: int) -> None:
        self.counts[group, home] = self.counts.get((group, home), 0) + times

    def merge(self, other: Moves) -> None:
        for (group, home), times in other.counts.items():
            self.add(group, home, times)
        self.groups |= other.groups
        self.homes |= other.homes

    def flush(self) -> None:
        """Add the moves to the tables, in the order of table and key."""
        pairs = {key: times for key, times in self.counts.items() if times}
        self.counts.clear()
        if not pairs:
            return
        # What a session left was counted, so its names are in the table; a row that is missing there is for `recount`.
        _learn(SessionGroup, GroupNames, {group for group, _ in pairs}, self.groups)
        _learn(SessionHome, HomeNames, {home for _, home in pairs}, self.homes)
        groups: dict[int, int] = {}
        homes: dict[int, tuple[int, int]] = {}
        for (group, home), times in pairs.items():
            groups[group] = groups.get(group, 0) + times
            in_inbox = times if group in self.groups and self.groups[group].state != "archived" else 0
            before = homes.get(home, (0, 0))
            homes[home] = before[0] + times, before[1] + in_inbox
        group_rows = [(key, *self.groups[key], times) for key, times in sorted(groups.items()) if times and key in self.groups]
        home_rows = [(key, *self.homes[key], *sums) for key, sums in sorted(homes.items()) if any(sums) and key in self.homes]
        _add(SessionGroup, "id", ("id", *GroupNames._fields), ("sessions",), group_rows)
        _add(SessionHome, "id", ("id", *HomeNames._fields), ("sessions", "in_inbox"), home_rows)
        count_rows = [(home, group, times) for (group, home), times in sorted(pairs.items(), key=lambda item: item[0][::-1])]
        _add(SessionCount, "home_id, group_id", ("home_id", "group_id"), ("sessions",), count_rows)


def place_of(session: HasPlace) -> tuple[int, int, int]:
    """Return what PLACED must be for the session as it is now."""
    return key_of(group_names(session)), key_of(home_names(session)), span_of(session.created_at, session.last_message_at)


def misplaced(session: Session) -> dict[str, tuple[int, int]]:
    """Return those of PLACED that are not what they must be, as (what is, what must be)."""
    pairs = {column: (getattr(session, column), true) for column, true in zip(PLACED, place_of(session), strict=True)}
    return {column: pair for column, pair in pairs.items() if pair[0] != pair[1]}


def place(session: Session, tally: Tallied) -> bool:
    """Give the session the keys that follow from what it is now, and note the move. Tells whether one of PLACED changed; the caller saves them."""
    group, home = group_names(session), home_names(session)
    before = session.group_id, session.home_id, session.span
    session.group_id, session.home_id, session.span = place_of(session)
    moves = tally.moves
    if before[:2] != (session.group_id, session.home_id):
        if before[0]:
            moves.add(before[0], before[1], -1)
        moves.add(session.group_id, session.home_id, 1)
        moves.groups[session.group_id] = group
        moves.homes[session.home_id] = home
    return before != (session.group_id, session.home_id, session.span)


def place_all(ids: Collection[UUID], tally: Tallied) -> None:
    """Place sessions that the caller holds locked and has changed by a statement on many."""
    for some in _batches(list(ids)):
        rows = Session.objects.filter(pk__in=some).order_by("pk").only(*FACTS, *PLACED)
        changed = [row for row in rows if place(row, tally)]
        if changed:
            columns = ", ".join(f"{column} = %s" for column in PLACED)
            pk = Session._meta.pk
            values = [(row.group_id, row.home_id, row.span, pk.get_db_prep_value(row.pk, connection)) for row in changed]
            with connection.cursor() as cursor:
                cursor.executemany(f"UPDATE {Session._meta.db_table} SET {columns} WHERE id = %s", values)  # noqa: S608  # our own names


def restated(rows: SessionQuerySet, tally: Tallied, *, archived: bool | None = None, closed: bool | None = None) -> models.Func | None:
    """Return what group_id becomes, for the statement that archives, closes or brings back these locked sessions at once (archived, closed: what
    they are then; None: as they were), and note the moves. None: some are in no group that is known, and are for `place_all`."""
    is_archived = models.Q(archived_at__isnull=False) if archived is None else models.Value(archived)
    is_closed = models.Q(closed_at__isnull=False) if closed is None else models.Value(closed)
    state = models.Case(
        models.When(models.ExpressionWrapper(is_archived, models.BooleanField()), then=models.Value("archived")),
        models.When(models.ExpressionWrapper(is_closed, models.BooleanField()), then=models.Value("closed")),
        default=models.Value("open"),
    )
    found = list(rows.order_by().values_list("group_id", "home_id", state).annotate(sessions=models.Count("pk")))
    moves = tally.moves
    _learn(SessionGroup, GroupNames, {group for group, *_ in found}, moves.groups)
    if any(group not in moves.groups for group, *_ in found):
        return None
    after = {(group, to): moves.groups[group]._replace(state=to) for group, _, to, _ in found}
    for group, home, to, sessions in found:
        names = after[group, to]
        moves.groups[key_of(names)] = names
        moves.add(group, home, -sessions)
        moves.add(key_of(names), home, sessions)
    # One parameter, not a CASE of hundreds of branches: the ORM takes longer to write that than the database to do it all.
    to_keys = json.dumps({f"{group}:{to}": key_of(names) for (group, to), names in after.items()})
    key = Concat(Cast("group_id", models.TextField()), models.Value(":"), state)
    return _Lookup(models.Value(to_keys), key, output_field=models.BigIntegerField())


class _Lookup(models.Func):
    """The whole number that a JSON object has under a key."""

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="json_extract(%(expressions)s || '\"')", arg_joiner=", '$.\"' || ", **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="CAST((%(expressions)s) AS bigint)", arg_joiner="::jsonb ->> ", **context)


class _Tally:
    def __init__(self) -> None:
        self.moves = Moves()


def place_everything() -> None:
    """Place all sessions of a store that knew no groups, and their tags: of the migration. Reads and writes only the columns that this is about."""
    last: UUID | None = None
    tally = _Tally()
    while True:
        rows = Session.objects.order_by("pk")
        ids = list((rows.filter(pk__gt=last) if last else rows).values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        place_all(ids, tally)
        index_tags(ids)
        last = ids[-1]
    tally.moves.flush()


def take_away(ids: Collection[UUID], tally: Tallied) -> None:
    """Note that these sessions, which the caller holds locked and is about to delete, are gone."""
    for some in _batches(list(ids)):
        for group, home in Session.objects.filter(pk__in=some).values_list("group_id", "home_id"):
            if group:
                tally.moves.add(group, home, -1)


def index_tags(ids: Collection[UUID]) -> None:
    """Let the table of tags say what the sessions' own tags say, for sessions that the caller holds locked."""
    for some in _batches(list(ids)):
        SessionTag.objects.filter(session__in=some).delete()
        rows = Session.objects.filter(pk__in=some).order_by("pk").values_list("pk", "tags")
        SessionTag.objects.bulk_create([SessionTag(session_id=pk, tag=tag) for pk, tags in rows for tag in dict.fromkeys(tags)])


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


_seen: dict[type[models.Model], dict[int, Any]] = {}  # a key is a digest of the names, so that what was once read of one stays true
MOST_SEEN = 100_000


def _learn(table: type[models.Model], kind: Any, keys: Iterable[int], names: dict[int, Any]) -> None:
    """Add the names of these keys, as far as the table has them."""
    seen = _seen.setdefault(table, {})
    names.update((key, seen[key]) for key in keys if key not in names and key in seen)
    missing = [key for key in keys if key not in names]
    if len(seen) > MOST_SEEN:
        seen.clear()
    for start in range(0, len(missing), BATCH):
        for pk, *values in table._default_manager.filter(pk__in=missing[start : start + BATCH]).values_list("pk", *kind._fields):
            names[pk] = seen[pk] = kind(*values)


def _add(table: type[models.Model], key: str, names: tuple[str, ...], sums: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Insert the rows, or add their sums to those that are there."""
    if not rows:
        return
    name = table._meta.db_table
    columns = ", ".join((*names, *sums))
    marks = f"({', '.join(['%s'] * (len(names) + len(sums)))})"
    added = ", ".join(f"{column} = {name}.{column} + excluded.{column}" for column in sums)
    head, end = f"INSERT INTO {name} ({columns}) VALUES ", f" ON CONFLICT ({key}) DO UPDATE SET {added}"  # noqa: S608  # our own names
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(f"{head}{marks}{end}", rows)
        else:  # whose driver sends one statement a row otherwise
            for some in _batches(rows):
                cursor.execute(f"{head}{', '.join([marks] * len(some))}{end}", [value for row in some for value in row])


# --- recount --------------------------------------------------------------------------------------------------------------------------


def lock_tables() -> None:
    """Keep other writers' moves out until the transaction ends, so that sessions and counts can be compared. SQLite's write transaction does already."""
    if connection.vendor == "postgresql":
        tables = ", ".join(table._meta.db_table for table in (SessionGroup, SessionHome, SessionCount))
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")


def compare_and_replace(*, dry_run: bool) -> Iterator[tuple[str, str, int, int]]:
    """Hold the counts against the sessions' own keys: yield (row in words, column, cached, counted) for each difference, then write what was counted.
    A row that counts nothing, as sessions leave it behind, goes without a word."""
    lock_tables()
    counted = Session.objects.order_by().values_list("group_id", "home_id").annotate(sessions=models.Count("pk"))
    pairs = {(group, home): sessions for group, home, sessions in counted}
    wrong = False
    stored = {(row.group_id, row.home_id): row.sessions for row in SessionCount.objects.iterator()}
    for pair in sorted({*pairs, *stored}):
        if (old := stored.get(pair, 0)) != (new := pairs.get(pair, 0)):
            wrong = True
            yield f"sessioncount {pair[0]} {pair[1]}", "sessions", old, new
    groups: dict[int, int] = {}
    homes: dict[int, int] = {}
    for (group, home), sessions in pairs.items():
        groups[group] = groups.get(group, 0) + sessions
        homes[home] = homes.get(home, 0) + sessions
    group_rows = {row.pk: row for row in SessionGroup.objects.all()}
    for key in sorted({*groups, *group_rows}):
        old, new = group_rows[key].sessions if key in group_rows else 0, groups.get(key, 0)
        if old != new:
            wrong = True
            yield f"sessiongroup {group_rows.get(key) or key}", "sessions", old, new
    archived = {pk for pk, row in group_rows.items() if row.state == "archived"}
    inbox: dict[int, int] = {}
    for (group, home), sessions in pairs.items():
        inbox[home] = inbox.get(home, 0) + (0 if group in archived else sessions)
    home_rows = {row.pk: row for row in SessionHome.objects.all()}
    for key in sorted({*homes, *home_rows}):
        for column, true in (("sessions", homes), ("in_inbox", inbox)):
            old, new = getattr(home_rows[key], column) if key in home_rows else 0, true.get(key, 0)
            if old != new:
                wrong = True
                yield f"sessionhome {home_rows.get(key) or key}", column, old, new
    if dry_run:
        return
    if wrong:
        rebuild()
    else:
        for table in (SessionGroup, SessionHome, SessionCount):
            table._default_manager.filter(sessions=0).delete()


def rebuild() -> None:
    """Count all sessions anew by their keys, as they stand in the sessions."""
    for table in (SessionCount, SessionGroup, SessionHome):
        table._default_manager.all().delete()
    moves = Moves()
    for group, home, sessions in Session.objects.order_by().values_list("group_id", "home_id").annotate(sessions=models.Count("pk")):
        moves.add(group, home, sessions)
    # one session tells its group's names, one its home's
    for row in _one_of_each("group_id"):
        moves.groups[row.group_id] = group_names(row)
    for row in _one_of_each("home_id"):
        moves.homes[row.home_id] = home_names(row)
    moves.flush()


def _one_of_each(column: str) -> Iterator[Session]:
    # PostgreSQL before 18 knows no MIN of UUIDs
    pk: Any = Cast("pk", models.TextField()) if connection.vendor == "postgresql" else "pk"
    firsts = Session.objects.order_by().values(column).annotate(first=models.Min(pk)).values_list("first", flat=True)
    for some in _batches([pk if isinstance(pk, UUID) else UUID(str(pk)) for pk in firsts]):
        yield from Session.objects.filter(pk__in=some).only(*FACTS, *PLACED)


def compare_tags(ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
    """Return, of these sessions, those whose rows in the table of tags are not what their tags say: both, as JSON."""
    stored: dict[UUID, list[str]] = {}
    for pk, tag in SessionTag.objects.filter(session__in=ids).values_list("session_id", "tag"):
        stored.setdefault(pk, []).append(tag)
    wrong = {}
    for pk, tags in Session.objects.filter(pk__in=ids).values_list("pk", "tags"):
        cached, counted = sorted(stored.get(pk, [])), sorted(set(tags))
        if cached != counted:
            wrong[pk] = json.dumps(cached), json.dumps(counted)
    return wrong
