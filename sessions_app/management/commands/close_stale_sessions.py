"""manage.py close_stale_sessions: close what has been silent for too long, and forget what can no longer be undone. For a timer, every few minutes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from sessions_app import services
from sessions_app.management._cli import StoreCommand, counted, stop_on_sigterm


class Command(StoreCommand):
    help = (
        "Close open sessions that were idle for their channel's gap or longer. Channels without a gap only with --older-than. "
        "Also deletes what was kept to undo people's actions, once that time is over (UNDO_HOURS), and which session a trace of a month ago belonged to. "
        "Safe to run at any time, also twice at once; SIGTERM stops it between two batches; it says what it closed until then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--channel", metavar="SLUG", help="this channel only")
        parser.add_argument(
            "--older-than",
            type=int,
            metavar="MINUTES",
            help="idle this long, instead of each channel's gap; closes on channels without a gap too",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be closed, and close nothing")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *, channel: str | None, older_than: int | None, dry_run: bool, **options: Any) -> None:
        if older_than is not None and older_than < 0:
            raise CommandError(f"--older-than is a number of minutes, 0 or more, not {older_than}.")
        with stop_on_sigterm() as should_stop:
            result = services.close_stale_sessions(channel=channel, older_than_minutes=older_than, dry_run=dry_run, should_stop=should_stop)
            if not dry_run:
                services.prune_actions(should_stop=should_stop)
                services.forget_traces(should_stop=should_stop)
        by_channel = {slug: number for slug, number in result.by_channel.items() if number}
        if options["json"]:
            self.write_json(
                {
                    "dry_run": dry_run,
                    "stopped": result.stopped,
                    "closed": len(result.session_ids),
                    "by_channel": by_channel,
                    "session_ids": result.session_ids,
                }
            )
        else:
            for session_id in result.session_ids if options["verbosity"] > 1 else ():
                self.stdout.write(str(session_id))
            split = ", ".join(f"{slug} {number:,}" for slug, number in by_channel.items())
            words = f"{'Would close' if dry_run else 'Closed'} {counted(len(result.session_ids), 'stale session')}"
            self.stdout.write(words + (f" ({split})" if split else "") + ("; stopped before the end." if result.stopped else "."))
