"""From an agent's logs to the store: finds the files, has them read, and hands what they hold to the services in batches.

A batch is one transaction over as many groups of files as fit BATCH_BYTES, so that ten thousand small files do not cost ten thousand
waits for the disk, and one large file is never held whole. Importing again stores nothing twice: every event carries its id.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

from django.utils import timezone

from sessions_app import services
from sessions_app.day_rows import writing
from sessions_app.errors import SessionError
from sessions_app.events import Event, MessageEvent
from sessions_app.importers import Found
from sessions_app.importers.logs import LogItem, LogWarning, RecordedFacts, SessionEvent, SessionFacts, Skipped
from sessions_app.models import Session
from sessions_app.services.cleaning import is_storable_time, storable

BATCH_BYTES = 8_000_000  # of log read before what it held is written
BATCH_EVENTS = 5_000


@dataclass(frozen=True, slots=True)
class Group:
    """Files that are read together: a session and its sub-agents. size: bytes."""

    module: ModuleType
    paths: list[Path]
    size: int

    @property
    def agent(self) -> str:
        agent: str = self.module.AGENT
        return agent

    def read(self) -> Iterator[LogItem]:
        items: Iterator[LogItem] = self.module.read(self.paths)
        return items


def groups_of(found: Found) -> list[Group]:
    """Return what `importers.discover` found as groups with their sizes."""
    return [Group(module, paths, sum(_size(path) for path in paths)) for module, groups in found for paths in groups]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the reading reports what is wrong with it


class _DryRun(Exception):
    """Takes a batch back after it was stored, so that a dry run says exactly what a real one would do."""


@dataclass(slots=True)
class ImportResult:
    """What an import did, or would do. bytes: of the files read. refused: events that the store would not take, as warnings too."""

    files: int = 0
    bytes: int = 0
    messages: int = 0
    usage_records: int = 0
    compactions: int = 0
    updated: int = 0
    known: int = 0
    refused: int = 0
    created_sessions: set[str] = field(default_factory=set)
    seen_sessions: set[str] = field(default_factory=set)
    changed_sessions: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    warnings: list[LogWarning] = field(default_factory=list)


@dataclass(slots=True)
class _Pending:
    """Events of one session that wait to be stored."""

    facts: SessionFacts
    agent: str
    path: Path
    events: list[Event] = field(default_factory=list)


def import_groups(
    groups: Iterable[Group],
    *,
    user_id: str = "admin",
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    now: datetime | None = None,
) -> ImportResult:
    """Import groups of log files (see `groups_of`). user_id: owner of sessions not yet in the store. progress: called with the bytes read
    so far. should_stop: asked between batches. Everything stored before an interruption stays stored."""
    run = _Import(user_id, dry_run, now or timezone.now())
    with _fewer_collections():
        for group in groups:
            run.facts = {}
            for item in group.read():
                run.take(group, item)
                if run.events >= BATCH_EVENTS or run.text >= BATCH_BYTES:
                    run.write()
            run.result.files += len(group.paths)
            run.result.bytes += group.size
            run.read += group.size
            if run.read >= BATCH_BYTES:
                run.write()
                if should_stop():
                    break
            if progress:
                progress(run.result.bytes)
        run.write()
        run.settle()
    return run.result


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Look for cyclic garbage less often: a batch is many thousand objects without cycles, and looking at them again and again was a fifth of
    an import's time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Import:
    def __init__(self, user_id: str, dry_run: bool, now: datetime) -> None:
        self.user_id = user_id
        self.dry_run = dry_run
        self.now = now
        self.result = ImportResult()
        self.facts: dict[tuple[str, str], SessionFacts] = {}
        self.pending: dict[tuple[str, str], _Pending] = {}
        self.grown: set[UUID] = set()  # sessions of exports that the store knew before
        self.events = self.text = self.read = 0  # what waits: events, characters of their text, bytes of the files read whole

    def take(self, group: Group, item: LogItem) -> None:
        if isinstance(item, SessionEvent):
            key = (group.agent, storable(item.agent_session_id))
            waiting = self.pending.get(key)
            if waiting is None:
                facts = self.facts.get(key) or SessionFacts(agent_session_id=item.agent_session_id)
                waiting = self.pending[key] = _Pending(facts, group.agent, group.paths[0])
            waiting.events.append(item.event)
            self.events += 1
            if isinstance(item.event, MessageEvent):
                self.text += len(item.event.content) + _attached(item.event.extra)
        elif isinstance(item, SessionFacts):
            key = (group.agent, storable(item.agent_session_id))
            self.facts[key] = item
            if isinstance(item, RecordedFacts) and key in self.pending:
                self.write()  # two exports of one session: neither's facts are the other's
            if key in self.pending:
                self.pending[key].facts = item
            elif isinstance(item, RecordedFacts) or key[1] in self.result.seen_sessions:
                # an export may hold a session without events; a log may tell a title, say, after its last event
                self.pending[key] = _Pending(item, group.agent, group.paths[0])
        elif isinstance(item, LogWarning):
            self.result.warnings.append(item)
        elif isinstance(item, Skipped):
            self.result.skipped.update(item.counts)

    def write(self) -> None:
        """Store what waits, in one transaction. Sessions in order of their ids, so that two imports at once lock them in the same order."""
        pending, self.pending = self.pending, {}
        self.events = self.text = self.read = 0
        if not pending:
            return
        try:
            with writing():
                for agent in sorted({agent for agent, _ in pending}):
                    self.store(agent, {session_id: waiting for (of, session_id), waiting in pending.items() if of == agent})
                if self.dry_run:
                    raise _DryRun
        except _DryRun:
            pass

    def store(self, agent: str, pending: dict[str, _Pending]) -> None:
        if any(isinstance(waiting.facts, RecordedFacts) for waiting in pending.values()):
            self.restore(pending)
            return
        logged = [_logged_session(waiting) for waiting in pending.values()]
        opened = services.open_logged_sessions(agent, logged, user_id=self.user_id, now=self.now)
        batch: list[tuple[Session, list[Event]]] = []
        for session_id, one in opened.items():
            if isinstance(one, SessionError):
                self.refuse(pending[session_id], one, len(pending[session_id].events))
                continue
            if one.created and session_id not in self.result.seen_sessions:
                self.result.created_sessions.add(session_id)
            self.result.seen_sessions.add(session_id)
            batch.append((one.session, pending[session_id].events))
        for (session, _), stored in zip(batch, services.store_batch(batch, source=agent, imported=True, now=self.now), strict=True):
            self.note(pending[session.agent_session_id], stored)
        services.replace_telemetry([session for session, _ in batch], now=self.now)

    def restore(self, pending: dict[str, _Pending]) -> None:
        """Store what this site's own exports hold."""
        batch = [(one.facts.recorded, one.events) for one in pending.values() if isinstance(one.facts, RecordedFacts)]
        for session_id, one in services.restore_sessions(batch, now=self.now).items():
            waiting = pending[str(session_id)]
            if isinstance(one, SessionError):
                self.refuse(waiting, one, len(waiting.events))
                continue
            if str(session_id) not in self.result.seen_sessions:
                self.result.seen_sessions.add(str(session_id))
                if one.created:
                    self.result.created_sessions.add(str(session_id))
                else:
                    self.grown.add(one.session.pk)
                if one.note:
                    self.result.warnings.append(LogWarning(waiting.path, 1, one.note))
            self.note(waiting, one.stored)

    def settle(self) -> None:
        """Let the logs that exports brought to known sessions take the place of what telemetry told of them: now that they are whole."""
        if not self.dry_run:
            services.replace_telemetry(Session.objects.filter(pk__in=self.grown), now=self.now)

    def note(self, waiting: _Pending, stored: services.StoreResult) -> None:
        result = self.result
        result.messages += stored.messages
        result.usage_records += stored.usage_records
        result.compactions += stored.compactions
        result.updated += stored.updated
        result.known += stored.duplicates
        if stored.stored or stored.updated:
            result.changed_sessions.add(waiting.facts.agent_session_id)
        by_reason: dict[str, list[SessionError]] = {}
        for refusal in stored.refused:
            by_reason.setdefault(refusal.error.detail, []).append(refusal.error)
        for errors in by_reason.values():
            self.refuse(waiting, errors[0], len(errors))

    def refuse(self, waiting: _Pending, error: SessionError, times: int) -> None:
        self.result.refused += times
        reason = f"{times:,} events of session {waiting.facts.agent_session_id[:64]} were not stored: {error.detail}"
        self.result.warnings.append(LogWarning(waiting.path, 0, reason))


def _attached(extra: dict[str, Any]) -> int:
    """Return the size of the images that come with a message; of an export they may be anything."""
    attachments = extra.get("attachments")
    images = [image for image in attachments if isinstance(image, dict)] if isinstance(attachments, list) else []
    return sum(len(str(image.get("data", ""))) for image in images)


def _logged_session(waiting: _Pending) -> services.LoggedSession:
    facts = waiting.facts
    return services.LoggedSession(
        agent_session_id=storable(facts.agent_session_id),
        project=facts.project,
        git_branch=facts.git_branch,
        title=facts.title,
        extra=facts.extra,
        started_at=min((event.timestamp for event in waiting.events if is_storable_time(event.timestamp)), default=None),
    )
