"""How the writes of every turn reach the database: SQL that is built once, past the layers that the ORM and Django's cursors put between, where those cost
more than the database itself; and SQLite's writers one after the other.

Nothing here knows a table. On PostgreSQL both are Django's own: there the way to the server is what costs, and writers wait in the server.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


@cache
def vendor() -> str:
    """Return sqlite or postgresql; the same as connection.vendor, which goes through three objects each time."""
    name: str = connections[DEFAULT_DB_ALIAS].vendor
    return name


def time_value(moment: datetime | None) -> Any:
    """Return an aware time as the database takes it: on SQLite as Django writes it, UTC without saying so."""
    if moment is None or vendor() != "sqlite":
        return moment
    return moment.astimezone(UTC).isoformat(" ")[:-6]


def run(sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement of ours (%s for each value, no other %) and return its rows, as the driver gives them; errors are Django's."""
    database: Any = connections[DEFAULT_DB_ALIAS]
    if vendor() != "sqlite" or database.queries_logged or database.execute_wrappers:
        with database.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []
    if database.connection is None:
        database.ensure_connection()
    database.validate_no_broken_transaction()
    with database.wrap_database_errors:
        rows: list[tuple[Any, ...]] = database.connection.execute(_as_sqlite_writes_it(sql), values).fetchall()
    return rows


def run_for_each(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement of ours for each of the rows of values."""
    database: Any = connections[DEFAULT_DB_ALIAS]
    if vendor() != "sqlite" or database.queries_logged or database.execute_wrappers:
        with database.cursor() as cursor:
            cursor.executemany(sql, rows)
        return
    if database.connection is None:
        database.ensure_connection()
    database.validate_no_broken_transaction()
    with database.wrap_database_errors:
        database.connection.executemany(_as_sqlite_writes_it(sql), rows)


@lru_cache(maxsize=256)
def _as_sqlite_writes_it(sql: str) -> str:
    return sql.replace("%s", "?")


@contextmanager
def one_writer_at_a_time() -> Iterator[None]:
    """Let SQLite's writers go in one after the other, whatever process and thread they belong to. Without it each that finds another writing sleeps
    for 1, 2, 5, 10 ms and more before it looks again: with eight at once nobody wrote a third of the time. The kernel wakes the next one at once, and
    takes the lock from whoever dies; a writer that does not queue here (the ORM on its own) is still kept out by SQLite."""
    database: Any = connections[DEFAULT_DB_ALIAS]
    name = database.settings_dict["NAME"]
    # Who is in a transaction already holds SQLite's lock: to wait for someone who waits for that would be for ever.
    if vendor() != "sqlite" or database.in_atomic_block or database.is_in_memory_db():
        yield
        return
    queue = os.open(
        f"{name}-queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )  # a file of its own: SQLite has locks of its own on its files
    try:
        fcntl.flock(queue, fcntl.LOCK_EX)
        yield
    finally:
        os.close(queue)  # and with it the lock
