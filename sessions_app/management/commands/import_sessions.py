"""manage.py import_sessions PATH...: take in the logs of coding agents."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from sessions_app.importers import AUTO, FORMATS, discover
from sessions_app.importers.logs import NoLogsFound
from sessions_app.importers.store import ImportResult, groups_of, import_groups
from sessions_app.management._cli import StoreCommand, counted, progress, stop_on_sigterm


class Command(StoreCommand):
    help = (
        "Import the sessions that coding agents logged: files, project folders or an agent's whole home; and what export_session wrote. "
        "Again imports only what is new."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "paths",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="a log file, a project folder, an agent's home such as ~/.claude or ~/.codex, or an export of this site (agent: sessionsite)",
        )
        parser.add_argument("--agent", choices=[AUTO, *FORMATS], default=AUTO, help="whose logs they are; auto: recognised file by file")
        parser.add_argument(
            "--user",
            default="admin",
            metavar="NAME",
            help="whose sessions they are, where the store does not have them yet (default: admin); an export names its own user",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be imported, and write nothing")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *, paths: list[Path], agent: str, user: str, dry_run: bool, **options: Any) -> None:
        try:
            groups = [group for path in paths for group in groups_of(discover(path, agent))]
        except NoLogsFound as error:
            raise CommandError(str(error)) from error
        started = time.perf_counter()
        with stop_on_sigterm() as should_stop, progress("Importing", sum(group.size for group in groups), of_bytes=True) as advance:
            result = import_groups(groups, user_id=user, dry_run=dry_run, should_stop=should_stop, progress=advance)
            stopped = should_stop() and result.files < sum(len(group.paths) for group in groups)
        seconds = time.perf_counter() - started
        for warning in result.warnings:
            self.stderr.write(f"warning: {warning.path}:{warning.line}: {warning.reason}")
        report = summary(result, dry_run=dry_run, stopped=stopped, seconds=seconds)
        if options["json"]:
            self.write_json(report)
        else:
            self.stdout.write(in_words(report))


def summary(result: ImportResult, *, dry_run: bool, stopped: bool, seconds: float) -> dict[str, Any]:
    """Return what an import did as plain JSON."""
    return {
        "dry_run": dry_run,
        "stopped": stopped,
        "files": result.files,
        "bytes": result.bytes,
        "seconds": round(seconds, 3),
        "sessions_created": len(result.created_sessions),
        "sessions_changed": len(result.changed_sessions - result.created_sessions),
        "sessions_unchanged": len(result.seen_sessions - result.changed_sessions),
        "messages": result.messages,
        "usage_records": result.usage_records,
        "compactions": result.compactions,
        "updated": result.updated,
        "already_known": result.known,
        "refused": result.refused,
        "skipped_lines": dict(sorted(result.skipped.items())),
        "warnings": [{"path": str(warning.path), "line": warning.line, "reason": warning.reason} for warning in result.warnings],
    }


def in_words(report: dict[str, Any]) -> str:
    """Return the report as one line for a person."""
    verb = "Would import" if report["dry_run"] else "Imported"
    parts = [
        f"{verb} {counted(report['sessions_created'], 'new session')} "
        f"({report['sessions_changed']:,} grown, {report['sessions_unchanged']:,} unchanged)",
        f"{counted(report['messages'], 'message')}, {counted(report['usage_records'], 'model call')} and "
        f"{counted(report['compactions'], 'compaction')}",
        f"from {counted(report['files'], 'file')} ({report['bytes'] / 1e6:.1f} MB) in {report['seconds']:.1f} s",
    ]
    if report["updated"]:
        parts.append(f"{counted(report['updated'], 'model call')} had grown")
    if report["warnings"]:
        parts.append(f"{counted(len(report['warnings']), 'warning')} above")
    if report["stopped"]:
        parts.append("stopped before the end: run it again for the rest")
    return "; ".join(parts) + "."
