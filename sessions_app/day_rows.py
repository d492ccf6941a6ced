"""The day rows: what a record adds to which sums, and how the sums reach the database.

A record is taken as a fact (`usage_entry`, `tool_entry`), and one function maps a fact to its keys (`keys_of`). A `writing()` block is one transaction with one `Tally`;
the tally is written last, in the order of table and key, once per transaction, so that two batches can wait for each other but never
both at once: no deadlock. An upsert that adds, which the ORM cannot say, and the look at the zone are the only SQL written by hand here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, models, transaction

from sessions_app.database import one_writer_at_a_time, run, run_for_each, vendor
from sessions_app.errors import WrongTimeZone
from sessions_app.models import Message, StoreFact, ToolDay, ToolDayByName, UsageDay, UsageDayBy, UsageRecord
from sessions_app.money import to_nano
from sessions_app.session_groups import Moves

USAGE_MEASURES = ("turns", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "cost_usd")
TOOL_MEASURES = ("invocations", "errors")
SESSION_NAMES = ("owner", "channel", "agent", "project", "triggered_by")
# In the order in which they are written. Table, the columns of its key, the columns that add up.
TABLES: dict[type[models.Model], tuple[tuple[str, ...], tuple[str, ...]]] = {
    UsageDay: (("day", *SESSION_NAMES, "user_id", "model", "cost_source"), USAGE_MEASURES),
    UsageDayBy: (("day", "dimension", "value", "cost_source"), USAGE_MEASURES),
    ToolDay: (("day", *SESSION_NAMES, "tool_name"), TOOL_MEASURES),
    ToolDayByName: (("day", "tool_name"), TOOL_MEASURES),
}
TIME_ZONE_FACT = "time_zone"
DAY = models.DateField()  # how a day is written to the database; the same in every table


class HasNames(Protocol):
    """A session, as far as the day rows look at it."""

    user_id: str
    channel_id: str
    agent: str
    project: str
    triggered_by: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """One row of a day table: its names in the order of TABLES, and the digest of them that is its primary key."""

    table: type[models.Model]
    names: tuple[Any, ...]

    @property
    def id(self) -> UUID:
        text = "".join(f"{len(name)}:{name}" for name in map(str, self.names))  # with lengths, so that no two lists of names read the same
        digest = blake2b(text.encode(), digest_size=12, person=self.table.__name__.encode()[:16]).digest()
        day: date = self.names[0]
        # The day first: what is written today stands together in the index, however many years there are.
        return UUID(bytes=day.toordinal().to_bytes(4, "big") + digest)


def session_names(session: HasNames) -> tuple[str, str, str, str, str]:
    """Return what the day rows take from the session, in the order of SESSION_NAMES."""
    return session.user_id, session.channel_id, session.agent, session.project, session.triggered_by or ""


class UsageFact(NamedTuple):
    """All that the day rows look at in a usage record: the names of a UsageDay row, in the order of TABLES."""

    day: date
    owner: str
    channel: str
    agent: str
    project: str
    triggered_by: str
    user_id: str
    model: str
    cost_source: str


class ToolFact(NamedTuple):
    """The same of a tool call, or of the error of one: the names of a ToolDay row."""

    day: date
    owner: str
    channel: str
    agent: str
    project: str
    triggered_by: str
    tool_name: str


Fact = UsageFact | ToolFact
Entry = tuple[Fact, tuple[int, ...]]


def keys_of(fact: Fact) -> list[Key]:
    """Map a record to the rows it adds to."""
    if isinstance(fact, UsageFact):
        dimensions = [Key(UsageDayBy, (fact.day, name, getattr(fact, name), fact.cost_source)) for name in UsageDayBy.DIMENSIONS]
        return [Key(UsageDay, tuple(fact)), *dimensions]
    return [Key(ToolDay, tuple(fact)), Key(ToolDayByName, (fact.day, fact.tool_name))]


def usage_entry(names: tuple[str, str, str, str, str], record: UsageRecord) -> Entry:
    """Return what a usage record adds. names: `session_names` of its session."""
    measures = (
        1,
        record.input_tokens,
        record.output_tokens,
        record.cache_read_tokens,
        record.cache_write_tokens,
        record.cache_write_1h_tokens,
        0 if record.cost_usd is None else to_nano(record.cost_usd),
    )
    return UsageFact(day_of(record.timestamp), *names, record.user_id, record.model, record.cost_source), measures


def tool_entry(names: tuple[str, str, str, str, str], message: Message) -> Entry | None:
    """Return what a message adds to the tools' rows: a call on its own day, an error on its result's. None for other messages."""
    if message.role == "tool_use":
        measures = (1, 0)
    elif message.role == "tool_result" and message.is_error:
        measures = (0, 1)
    else:
        return None
    return ToolFact(day_of(message.timestamp), *names, message.tool_name), measures


class Tally:
    """What one transaction adds to the day rows: whole numbers (tokens, nano-dollars) by fact; and where it moved sessions (see session_groups)."""

    def __init__(self) -> None:
        self.facts: dict[Fact, list[int]] = {}
        self.moves = Moves()

    def add(self, fact: Fact, measures: Iterable[int], times: int = 1) -> None:
        """Add a record's numbers; times=-1 takes them away again."""
        sums = self.facts.get(fact)
        if sums is None:
            self.facts[fact] = [times * measure for measure in measures]
        else:
            for position, measure in enumerate(measures):
                sums[position] += times * measure

    def merge(self, other: Tally) -> None:
        for fact, measures in other.facts.items():
            self.add(fact, measures)
        self.moves.merge(other.moves)

    def rows(self) -> dict[Key, list[int]]:
        """Return the sums by row of the day tables."""
        rows: dict[Key, list[int]] = {}
        for fact, measures in self.facts.items():
            for key in keys_of(fact):
                sums = rows.setdefault(key, [0] * len(measures))
                for position, measure in enumerate(measures):
                    sums[position] += measure
        return rows

    def flush(self) -> None:
        """Add the sums to the tables, in the order of TABLES and of key."""
        sums: dict[type[models.Model], dict[tuple[Any, ...], list[int]]] = {}
        for fact, measures in self.facts.items():
            for table, rows_of_fact in _rows_of_fact(fact):
                rows = sums.setdefault(table, {})
                for columns in rows_of_fact:
                    before = rows.get(columns)
                    rows[columns] = measures if before is None else [old + new for old, new in zip(before, measures, strict=True)]
        for table in TABLES:
            if values := [(*columns, *measures) for columns, measures in sorted(sums.get(table, {}).items()) if any(measures)]:
                run_for_each(_upsert(table), values)
        self.facts.clear()


@lru_cache(maxsize=4096)  # an agent's turns of one day are all the same fact
def _rows_of_fact(fact: Fact) -> list[tuple[type[models.Model], list[tuple[Any, ...]]]]:
    """Return the rows that a fact adds to, by table: id and names as the database takes them."""
    found: dict[type[models.Model], list[tuple[Any, ...]]] = {}
    for key in keys_of(fact):
        day, *names = key.names
        id_ = key.table._meta.pk.get_db_prep_value(key.id, connection)
        found.setdefault(key.table, []).append((id_, DAY.get_db_prep_value(day, connection), *names))
    return list(found.items())


@cache
def _upsert(table: type[models.Model]) -> str:
    names, measures = TABLES[table]
    name = table._meta.db_table
    columns = ", ".join(("id", *names, *measures))
    marks = ", ".join(["%s"] * (1 + len(names) + len(measures)))
    sums = ", ".join(f"{measure} = {name}.{measure} + excluded.{measure}" for measure in measures)
    return f"INSERT INTO {name} ({columns}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {sums}"  # noqa: S608  # names of our own columns


def lock_tables() -> None:
    """Keep other writers from the day rows until the transaction ends, so that records and sums can be compared. A writer that waits adds its
    sums afterwards; one that has added them is waited for. SQLite's write transaction already excludes the others."""
    if vendor() == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {', '.join(table._meta.db_table for table in TABLES)} IN EXCLUSIVE MODE")


def stored_days() -> set[date]:
    """Return the days that have rows."""
    return {day for table in TABLES for day in table._default_manager.order_by().values_list("day", flat=True).distinct()}


def compare_and_replace(day: date, counted: Tally, *, dry_run: bool) -> Iterator[tuple[str, str, int, int]]:
    """Hold the rows of one day against what was counted: yield (row in words, column, cached, counted) for each difference, then write what was
    counted. A row that adds up to nothing, as a removed session leaves it, goes without a word."""
    wrong = False
    empty: list[models.Model] = []
    expected = {key.id: (key, measures) for key, measures in counted.rows().items() if any(measures)}
    for table, (names, measures) in TABLES.items():
        for row in _rows_of(table, day).iterator(chunk_size=2000):
            cached = [to_nano(value) if isinstance(value, Decimal) else value for value in (getattr(row, column) for column in measures)]
            key = Key(table, tuple(getattr(row, column) for column in names))
            nothing = [0] * len(measures)
            _, true = expected.pop(row.pk, (key, nothing)) if key.id == row.pk else (key, nothing)
            if not any(cached) and not any(true):
                empty.append(row)
            for column, old, new in zip(measures, cached, true, strict=True):
                if old != new:
                    wrong = True
                    yield _in_words(key), column, old, new
    for key, true in expected.values():
        wrong = True
        yield from ((_in_words(key), column, 0, new) for column, new in zip(TABLES[key.table][1], true, strict=True) if new)
    if wrong and not dry_run:
        for table in TABLES:
            _rows_of(table, day).delete()
        counted.flush()
    elif not dry_run:
        for row in empty:
            row.delete()


def _rows_of(table: type[models.Model], day: date) -> models.QuerySet[Any]:
    rows = table._default_manager.filter(day=day)
    # The dimension is named because the index begins with it.
    return rows.filter(dimension__in=UsageDayBy.DIMENSIONS) if table is UsageDayBy else rows


def delete_empty() -> None:
    """Delete rows that add up to nothing, as removed sessions leave them."""
    for table, (_, measures) in TABLES.items():
        table._default_manager.filter(**dict.fromkeys(measures, 0)).delete()


def _in_words(key: Key) -> str:
    return f"{key.table._meta.model_name} {' '.join(str(name) for name in key.names if name)}"


_current = threading.local()


@contextmanager
def writing(*, savepoint: bool = True) -> Iterator[Tally]:
    """Run the block as one transaction and write its day rows at the end of it. Inside another such block: a savepoint of that one, whose
    sums join the outer tally only when the block succeeds; or, without savepoint, a part of it, and its failure is that of the outer one."""
    outer: Tally | None = getattr(_current, "tally", None)
    if outer is None:
        tally = _current.tally = Tally()
        try:
            with one_writer_at_a_time(), transaction.atomic():
                yield tally
                if tally.facts:
                    tally.flush()
                    check_time_zone()  # after it: a recount that cut the days anew meanwhile held the tables, and is over now
                tally.moves.flush()
        finally:
            _current.tally = None
    elif not savepoint:
        try:
            yield outer
        except BaseException:
            transaction.set_rollback(True)  # so that whoever catches this cannot go on inside
            raise
    else:
        tally = _current.tally = Tally()
        try:
            with transaction.atomic():
                yield tally
        finally:
            _current.tally = outer
        outer.merge(tally)


# --- the business time zone -------------------------------------------------------------------------------------------------------


def business_zone() -> ZoneInfo:
    """Return the zone in which days are cut: TIME_ZONE."""
    return ZoneInfo(settings.TIME_ZONE)


def day_of(moment: datetime) -> date:
    """Return the business day of an aware time."""
    return moment.astimezone(business_zone()).date()


def day_start(day: date, zone: ZoneInfo | None = None) -> datetime:
    """Return the first moment of a business day (zone: of a day there). A midnight that the clocks skip starts the day an hour later: fold=0
    gives just that."""
    return datetime.combine(day, time.min, tzinfo=zone or business_zone())


def next_day(day: date) -> date:
    return day + timedelta(days=1)


def check_time_zone() -> None:
    """Raise WrongTimeZone when the store's days are cut in another zone than this process was started with. Costs a query: also in each
    transaction that adds to the day rows, because `recount --time-zone` may run while an older process still serves. Without the ORM, which
    would make it an eighth of recording a call instead of a hundredth."""
    for (zone,) in run(f"SELECT value FROM {StoreFact._meta.db_table} WHERE name = %s", [TIME_ZONE_FACT]):  # noqa: S608  # our own name
        if zone != settings.TIME_ZONE:
            raise WrongTimeZone(zone, settings.TIME_ZONE)


def keep_time_zone(zone: str, *, replace: bool = False) -> None:
    """Write down the zone in which the days of this store are cut: once, at the first migration, and by `recount --time-zone`."""
    if replace:
        StoreFact.objects.update_or_create(pk=TIME_ZONE_FACT, defaults={"value": zone})
    else:
        StoreFact.objects.get_or_create(pk=TIME_ZONE_FACT, defaults={"value": zone})
