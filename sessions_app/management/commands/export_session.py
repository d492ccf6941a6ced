"""manage.py export_session ID: write one session to a file."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from sessions_app import exporting, queries
from sessions_app.management._cli import StoreCommand


class Command(StoreCommand):
    help = (
        "Write one session as JSON Lines (complete: import_sessions takes it in again, here or elsewhere), as Markdown, or as a single HTML file "
        "that opens without the site."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("session_id", metavar="ID", help="the session's id, as its address shows it")
        parser.add_argument("--format", choices=list(exporting.FORMATS), default="json", help="json (default), md or html")
        parser.add_argument(
            "--output", type=Path, metavar="FILE", help="where to; a file that is there is replaced. Without it: the standard output"
        )

    def handle(self, *, session_id: str, output: Path | None, **options: Any) -> None:
        session = queries.get_session(session_id)
        if session is None:
            raise CommandError(f"There is no session {session_id[:64]!r}.")
        pieces = exporting.export(session, options["format"], now=timezone.now())
        if output is None:
            for piece in pieces:
                self.stdout.write(piece.decode(), ending="")
            return
        # Beside it first: an export that is interrupted leaves the old file whole. Only its owner may read it: it is a transcript.
        part = output.with_name(f"{output.name}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.writelines(pieces)
            part.replace(output)
        except OSError as error:
            raise CommandError(f"{output}: cannot be written ({error}).") from error
        finally:
            part.unlink(missing_ok=True)
        self.stderr.write(f"Wrote {output} ({output.stat().st_size:,} bytes).")
