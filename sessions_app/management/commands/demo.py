"""manage.py demo: fill the site with invented sessions, and take them away again."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from sessions_app import demo, services
from sessions_app.management._cli import StoreCommand, counted, progress, stop_on_sigterm
from sessions_app.models import Message, Session, UsageRecord


class Command(StoreCommand):
    help = (
        "Make demo sessions: six weeks of invented work, the same each time, ending now. "
        f"From {demo.MANY:,} sessions on they are short and stored in batches. SIGTERM stops between two sessions or batches; --remove takes all away."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sessions", type=int, metavar="N", help=f"how many sessions (default {demo.DEFAULT_SESSIONS})")
        parser.add_argument("--messages", type=int, metavar="N", help="how many messages in all (default: as the stories go)")
        parser.add_argument("--usage", type=int, metavar="N", help="how many model calls in all (default: as the stories go)")
        parser.add_argument(
            "--days",
            type=int,
            metavar="N",
            help=f"over how many days (default {demo.DAYS}; {demo.YEAR} from {demo.YEAR_FROM:,} sessions on). Over more than {demo.DAYS}: a larger "
            "company's, with its messages left out",
        )
        parser.add_argument("--now", metavar="ISO", help="end the six weeks at this time instead, for pictures that can be made again")
        parser.add_argument("--remove", action="store_true", help="remove every demo session and what it added to the sums")

    def handle(self, **options: Any) -> None:
        if options["remove"]:
            if any(options[name] is not None for name in ("sessions", "messages", "usage", "days", "now")):
                raise CommandError("--remove takes away all demo sessions; it goes with no other option.")
            self.remove()
        else:
            self.make(options["sessions"], options["messages"], options["usage"], options["days"], _time(options["now"]))

    def make(self, sessions: int | None, messages: int | None, usage: int | None, days: int | None, now: datetime) -> None:
        sessions = demo.DEFAULT_SESSIONS if sessions is None else sessions
        if sessions < 1 or min(messages or 0, usage or 0) < 0 or not demo.DAYS <= (days or demo.DAYS) <= 10 * demo.YEAR:
            raise CommandError(
                f"--sessions is a number from 1, --messages and --usage from 0, --days from {demo.DAYS} to {10 * demo.YEAR:,}."
            )
        if Session.objects.filter(is_demo=True).exists():
            raise CommandError("There are demo sessions already. Remove them first: manage.py demo --remove")
        started = time.perf_counter()
        with stop_on_sigterm() as should_stop, progress("Making demo sessions", sessions) as advance:
            made = demo.make(
                sessions=sessions, messages=messages, usage=usage, days=days, now=now, should_stop=should_stop, progress=advance
            )
        seconds = time.perf_counter() - started
        whose = {"session__is_demo": True}
        parts = [
            counted(made, "demo session"),
            counted(Message.objects.filter(**whose).count(), "message"),
            counted(UsageRecord.objects.filter(**whose).count(), "model call"),
        ]
        stopped = "" if made == sessions else " Stopped before the end."
        self.stdout.write(f"Made {', '.join(parts[:-1])} and {parts[-1]} in {seconds:.1f} s.{stopped}")

    def remove(self) -> None:
        total = Session.objects.filter(is_demo=True).count()
        with stop_on_sigterm() as should_stop, progress("Removing demo sessions", total) as advance:
            removed = services.remove_demo(should_stop=should_stop, progress=advance)
        stopped = "" if removed >= total else " Stopped before the end: run it again for the rest."
        self.stdout.write(f"Removed {counted(removed, 'demo session')}.{stopped}")


def _time(text: str | None) -> datetime:
    if text is None:
        return timezone.now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--now {text!r} is not a time such as 2026-11-22T09:30:00+01:00.") from None
    if moment.tzinfo is None:
        raise CommandError("--now needs a time zone, such as 2026-11-22T09:30:00+01:00 or ...Z.")
    return moment
