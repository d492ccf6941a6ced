"""manage.py recount: rebuild every cached number from the records, and say which were wrong."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from sessions_app import services
from sessions_app.errors import WrongTimeZone
from sessions_app.management._cli import StoreCommand, counted, progress, stop_on_sigterm
from sessions_app.models import Session

SHOWN = 20  # differences printed for a person; --json has them all, up to the service's own limit


class Command(StoreCommand):
    help = (
        "Rebuild the sessions' cached numbers and the day rows from messages and usage records, and say what differed. "
        "With --time-zone: cut all days anew in that zone, after TIME_ZONE was changed to it."
    )
    checks_time_zone = False  # this is the command that mends it

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--time-zone", metavar="ZONE", help="cut the days in this zone from now on, such as Europe/Zurich")
        parser.add_argument("--dry-run", action="store_true", help="say what differs, and change nothing")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *, time_zone: str | None, dry_run: bool, **options: Any) -> None:
        if time_zone is not None and time_zone not in available_timezones():
            raise CommandError(f"There is no time zone {time_zone!r}. Zones are named like Europe/Zurich or UTC.")
        try:
            self.check_time_zone()
        except WrongTimeZone:
            if time_zone is None:
                raise
        with stop_on_sigterm() as should_stop, progress("Recounting", Session.objects.count()) as advance:
            result = services.recount(time_zone=time_zone, dry_run=dry_run, progress=advance, should_stop=should_stop)
        if options["json"]:
            self.write_json(
                {
                    "dry_run": dry_run,
                    "stopped": result.stopped,
                    "time_zone": time_zone or settings.TIME_ZONE,
                    "sessions": result.sessions,
                    "day_rows": result.day_rows,
                    "differences": result.total,
                    "listed": [
                        {"where": found.where, "column": found.column, "cached": found.cached, "counted": found.counted}
                        for found in result.differences
                    ],
                }
            )
        else:
            self.say(result, dry_run)
            if time_zone is not None and not dry_run and not result.stopped:
                self.stdout.write(f"The store's days are now cut in {time_zone}.")
                if time_zone != settings.TIME_ZONE:
                    self.stdout.write(f"TIME_ZONE is still {settings.TIME_ZONE}: start the site with TIME_ZONE={time_zone} from now on.")

    def say(self, result: services.RecountResult, dry_run: bool) -> None:
        for found in result.differences[:SHOWN]:
            self.stdout.write(f"{found.where}: {found.column} was {found.cached!s}, counted {found.counted!s}")
        if result.total > SHOWN:
            self.stdout.write(f"... and {result.total - SHOWN:,} more.")
        checked = f"{counted(result.sessions, 'session')} and {counted(result.day_rows, 'day row')}"
        if result.stopped:
            self.stdout.write(
                f"Stopped after {counted(result.sessions, 'session')}; the day rows were not looked at. Run it again for the rest."
            )
        if not result.total:
            self.stdout.write(f"Nothing to mend: {checked} agree with their records.")
        else:
            self.stdout.write(f"{'Would mend' if dry_run else 'Mended'} {counted(result.total, 'number')} in {checked}.")
