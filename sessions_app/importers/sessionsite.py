"""This site's own export of a session (docs/export.md): JSON Lines, read back as it was written, in this store or another.

The first line tells the session, the last one how many lines there were between them; each line names its session, so that a damaged or a
glued file can put nothing into another one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from sessions_app.events import CompactionEvent, Event, MessageEvent, Recorded, RecordedChannel, RecordedSession, UsageEvent
from sessions_app.importers.lines import head_records, records
from sessions_app.importers.logs import LogItem, LogWarning, RecordedFacts, SessionEvent

AGENT = "sessionsite"
FORMAT = "sessionsite.session"
VERSION = 1
FIRST_KEYS = b'{"type":"session","format":"sessionsite.session"'
KINDS = {"message": "messages", "usage": "usage_records", "compaction": "compactions"}

LONG_NUMBER = re.compile(rb"[0-9]{19}")

Value = TypeVar("Value")


class Damaged(ValueError):
    """A line that is not what it says; the text tells why."""


def recognise(path: Path, head: bytes) -> bool:
    """Tell whether a file is an export: by its first line, also where that is longer than the head."""
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(FIRST_KEYS):
        return True
    # written again by another program, with its fields in another order
    return FORMAT.encode() in head[:2000] and any(record.get("format") == FORMAT for record in head_records(head, 1))


def group(paths: list[Path]) -> list[list[Path]]:
    """Every export stands alone."""
    return [[path] for path in sorted(paths)]


def companions(path: Path) -> list[Path]:
    """Return nothing: a session is one file."""
    return []


def read(paths: list[Path]) -> Iterator[LogItem]:
    """Yield what the files of one group hold, in their order."""
    for path in paths:
        yield from _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.session: RecordedSession | None = None
        self.store = ""
        self.counts: Counter[str] = Counter()
        self.homeless = 0  # lines of a session whose first line is missing
        self.homeless_from = 0

    def read(self) -> Iterator[LogItem]:
        try:
            with self.path.open("rb") as file:
                for line in file:
                    self.number += 1
                    if line.strip(b"\0 \t\r\n"):
                        yield from self.line(line)
        except OSError as error:
            yield self.warning(f"cannot be read ({error})")
        yield from self.end()
        if self.homeless:
            words = f"{self.homeless:,} lines of a session whose first line is missing or damaged were left out"
            yield LogWarning(self.path, self.homeless_from, words)

    def line(self, line: bytes) -> Iterator[LogItem]:
        found, reason = _values(line)
        for record in found:
            try:
                yield from self.record(record)
            except Damaged as error:
                yield self.warning(str(error))
        if reason:
            yield self.warning(reason)

    def record(self, record: Any) -> Iterator[LogItem]:
        if not isinstance(record, dict):
            raise Damaged("no JSON object")
        kind = record.get("type")
        if kind == "session":
            yield from self.end()
            if record.get("format") != FORMAT:
                raise Damaged(f"not the format {FORMAT}")
            if record.get("version") != VERSION:
                raise Damaged(f"written in version {str(record.get('version'))[:20]} of the format; this program reads version {VERSION}")
            self.store, self.session = _store(record), _session(record)
            yield RecordedFacts(agent_session_id=str(self.session.id), recorded=self.session)
            return
        if kind not in ("message", "usage", "compaction", "end"):
            raise Damaged(f"a line of the unknown type {str(kind)[:40]!r}")
        if self.session is None or record.get("session_id") != str(self.session.id):
            self.homeless_from = self.homeless_from or self.number
            self.homeless += 1
            return
        if kind == "end":
            yield from self.end(record)
            return
        self.counts[kind] += 1
        yield SessionEvent(str(self.session.id), MAKERS[kind](record, self.store))

    def end(self, record: dict[str, Any] | None = None) -> Iterator[LogItem]:
        """Close the session that is being read, and say what is missing of it. record: its last line, None where it has none."""
        if self.session is None:
            return
        if record is None:
            yield self.warning(f"session {self.session.id} has no last line: the file was cut, and a part of it may be missing")
        else:
            for kind, plural in KINDS.items():
                if record.get(plural) != self.counts[kind]:
                    words = f"session {self.session.id} was written with {str(record.get(plural))[:20]} {plural}, and {self.counts[kind]} are here"
                    yield self.warning(words)
        self.session = None
        self.counts.clear()

    def warning(self, reason: str) -> LogWarning:
        return LogWarning(self.path, self.number, reason)


def _values(line: bytes) -> tuple[list[Any], str]:
    """Return what `records` does, with whole numbers beyond 64 bits, which the fast reader makes floats of, as they are."""
    if LONG_NUMBER.search(line):
        with suppress(ValueError, RecursionError):
            return [json.loads(line)], ""
    return records(line)


# --- from a line's JSON to values -----------------------------------------------------------------------------------------------------


def _store(record: dict[str, Any]) -> str:
    store: str = _value(record, "store", str)
    if not 1 <= len(store) <= 32 or not set(store) <= set("0123456789abcdef"):
        raise Damaged("store is no store's number")
    return store


def _session(record: dict[str, Any]) -> RecordedSession:
    session, channel = _value(record, "session", dict), _value(record, "channel", dict)
    try:
        session_id = UUID(_value(session, "id", str))
    except ValueError:
        raise Damaged("id is no UUID") from None
    return RecordedSession(
        id=session_id,
        channel=RecordedChannel(
            slug=_value(channel, "slug", str),
            label=_value(channel, "label", str, ""),
            gap_minutes=_value(channel, "gap_minutes", int, None),
            marks_unread=_value(channel, "marks_unread", bool, False),
        ),
        created_at=_time(session, "created_at"),
        last_message_at=_time(session, "last_message_at"),
        closed_at=_time_or_none(session, "closed_at"),
        archived_at=_time_or_none(session, "archived_at"),
        triggered_by=_value(session, "triggered_by", str, None),
        tags=[tag for tag in _value(session, "tags", list, []) if isinstance(tag, str)],
        extra=_value(session, "extra", dict, {}),
        touch_count=_value(session, "touch_count", int, 0),
        title_is_given=_value(session, "title_is_given", bool, False),
        is_demo=_value(session, "is_demo", bool, False),
        **{name: _value(session, name, str) for name in ("key", "user_id")},
        **{name: _value(session, name, str, "") for name in ("title", "summary", "agent", "agent_session_id", "project", "git_branch")},
    )


def _message(record: dict[str, Any], store: str) -> MessageEvent:
    return MessageEvent(
        role=_value(record, "role", str),
        content=_value(record, "content", str),
        tool_name=_value(record, "tool_name", str, "") or None,
        is_error=_value(record, "is_error", bool, False),
        **{name: _value(record, name, str, "") for name in ("agent", "tool_call_id", *THREAD)},
        **_event(record, store),
    )


def _usage(record: dict[str, Any], store: str) -> UsageEvent:
    cost = _value(record, "cost_usd", str, None)
    try:
        dollars = None if cost is None else Decimal(cost)
    except InvalidOperation:
        raise Damaged("cost_usd is no amount of dollars") from None
    return UsageEvent(
        model=_value(record, "model", str),
        cost_usd=dollars,
        turn=_value(record, "turn", int),
        user_id=_value(record, "user_id", str),
        replaces=True,  # a log's running figure may have grown since an earlier export
        **{name: _value(record, name, int) for name in ("input_tokens", "output_tokens")},
        **{name: _value(record, name, int, 0) for name in ("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens")},
        **{name: _value(record, name, str, "") for name in ("provider", *THREAD)},
        **_event(record, store, cost_source=_value(record, "cost_source", str)),
    )


def _compaction(record: dict[str, Any], store: str) -> CompactionEvent:
    return CompactionEvent(
        trigger=_value(record, "trigger", str),
        pre_tokens=_value(record, "pre_tokens", int, 0),
        summary=_value(record, "summary", str, ""),
        messages_compacted=_value(record, "messages_compacted", int, 0),
        **_event(record, store),
    )


MAKERS: dict[str, Callable[[dict[str, Any], str], Event]] = {"message": _message, "usage": _usage, "compaction": _compaction}
THREAD = ("subagent_id", "response_id")


def _event(record: dict[str, Any], store: str, cost_source: str = "") -> dict[str, Any]:
    """Return what all kinds of events have."""
    mark = _value(record, "fingerprint", str, None)
    if mark is not None and not (mark.removeprefix("-").isascii() and mark.removeprefix("-").isdigit() and len(mark) <= 20):
        raise Damaged("fingerprint is no number")
    row = _value(record, "id", int)
    if not 0 <= row < 10**18:
        raise Damaged("id is no row's number")
    fingerprint = None if mark is None else int(mark)
    if fingerprint is not None and not -(2**63) <= fingerprint < 2**63:
        raise Damaged("fingerprint is no number of 64 bits")
    return {
        "timestamp": _time(record, "timestamp"),
        "event_id": _value(record, "event_id", str, ""),
        "extra": _value(record, "extra", dict, {}),
        "recorded": Recorded(
            store=store,
            row=row,
            source=_value(record, "source", str, ""),
            received_at=_time(record, "received_at"),
            fingerprint=fingerprint,
            cost_source=cost_source,
        ),
    }


_REQUIRED: Any = object()


def _value(record: dict[str, Any], name: str, kind: type[Value], default: Any = _REQUIRED) -> Any:
    """Return a field of this kind; the default where it is missing or null. Raises Damaged."""
    value = record.get(name)
    if value is None and default is not _REQUIRED:
        return default
    if type(value) is not kind:  # a bool is no number here
        raise Damaged(f"{name} is missing" if value is None else f"{name} is not {WORDS[kind]}")
    return value


WORDS: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


def _time(record: dict[str, Any], name: str) -> datetime:
    text = _value(record, name, str)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Damaged(f"{name} is no time") from None
    if moment.tzinfo is None:
        raise Damaged(f"{name} has no time zone")
    return moment


def _time_or_none(record: dict[str, Any], name: str) -> datetime | None:
    return None if record.get(name) is None else _time(record, name)
