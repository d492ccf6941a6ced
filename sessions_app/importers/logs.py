"""The seam between an agent's log format and the store: what a format module gives, in values without a database.

A format module (claude_code.py, codex.py, ...) has
    AGENT: str                                  the agent's name, as `--agent` takes it and as sessions carry it
    recognise(path: Path, head: bytes) -> bool  does this file, by its name and first 64 kB, look like one of mine?
    group(paths: list[Path]) -> list[list[Path]]   the files that must be read together (a session and its sub-agents), each group in reading order
    companions(path: Path) -> list[Path]         the files that belong to this one and must be read with it, where a person names only the one
    read(paths: list[Path]) -> Iterator[LogItem]   one group, line by line, in constant memory
`read` yields a SessionFacts before the first event of each session (again when a fact becomes known), events in the order they
stand in the files, and LogWarnings. The events of several sessions may alternate. It must not raise on anything a file may hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sessions_app.events import Event, RecordedSession


class NoLogsFound(Exception):
    """A path given to an importer does not exist or holds no log of a known agent; the text says which."""


@dataclass(slots=True, kw_only=True)
class SessionFacts:
    """What a log says of its session as a whole. "" = not said. title: the agent's own title, better than the first prompt's."""

    agent_session_id: str
    project: str = ""
    title: str = ""
    git_branch: str = ""
    started_at: datetime | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class RecordedFacts(SessionFacts):
    """What this site's own export says of its session. agent_session_id: the session's own id, as text; each of its events has `recorded`."""

    recorded: RecordedSession


@dataclass(slots=True)
class SessionEvent:
    """One event of the session with the agent's own id."""

    agent_session_id: str
    event: Event


@dataclass(slots=True)
class LogWarning:
    """Something in a file that could not be taken: the line is skipped, the rest goes on. line: counted from 1."""

    path: Path
    line: int
    reason: str


@dataclass(slots=True)
class Skipped:
    """Lines that hold nothing for us (snapshots, unknown types), by type, once at the end of a group."""

    counts: dict[str, int]


LogItem = SessionFacts | SessionEvent | LogWarning | Skipped
