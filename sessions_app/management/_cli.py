"""What the commands share: a polite stop, a progress bar on a terminal, one form of JSON, and the check of the time zone before the start."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from sessions_app import day_rows
from sessions_app.errors import SessionError

Advance = Callable[[int], None]


class StoreCommand(BaseCommand):
    """A command that works on the store. It refuses to start in another time zone than the one in which the store's days are cut, and says the
    domain's refusals without a traceback."""

    checks_time_zone = True

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            if self.checks_time_zone:
                self.check_time_zone()
            return super().execute(*args, **options)
        except SessionError as error:
            raise CommandError(error.detail) from error

    def check_time_zone(self) -> None:
        try:
            day_rows.check_time_zone()
        except DatabaseError as error:
            raise CommandError(f"The store cannot be read ({error}). Has `manage.py migrate` run?") from error

    def write_json(self, report: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> str:
    """Money and ids as text: a float would lose digits of either."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


@contextmanager
def stop_on_sigterm() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGTERM came, for a long loop to ask between its batches. The handler of before comes back afterwards."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield lambda: stopped
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress(words: str, total: int | None = None, *, of_bytes: bool = False) -> Iterator[Advance]:
    """Show a bar on stderr when that is a terminal, and nothing otherwise. Yield a function that takes how much is done; total None: not known."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn() if of_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)


def counted(number: int, noun: str) -> str:
    """Return "1 session", "2 sessions"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
