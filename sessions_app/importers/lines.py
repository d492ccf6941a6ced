"""From the bytes of a log file to JSON records, and the small readings that every format shares. Nothing in here raises on bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha1
from pathlib import Path
from typing import Any

import orjson

from sessions_app.events import MessageEvent

# Agents' clocks lie within these; anything else is not a time (0, a placeholder, a number of another meaning).
FIRST_YEAR, LAST_YEAR = 2000, 2200
# The store's limit for one call; a count beyond it is a damaged line.
MAX_TOKENS = 100_000_000
NAME_LENGTH = 120  # of one name or id: an event's id is made of two, and the store keeps 255

_lenient = json.JSONDecoder(strict=False)  # strict refuses raw control characters inside strings, which some writers leave in


def records(line: bytes) -> tuple[list[Any], str]:
    """Return the JSON values of one line and, if not all of it could be read, why not.

    The fast reader takes a clean line. The slow one takes what it refuses: lone surrogates, control characters, bytes that are not
    UTF-8, NUL padding after a crash, several records glued together on one line (decoded one after another).
    """
    try:
        return [orjson.loads(line)], ""
    except ValueError:
        pass
    text = line.decode("utf-8-sig", "replace").strip("\x00\ufeff \t\r\n")
    found: list[Any] = []
    position = 0
    while position < len(text):
        try:
            value, position = _lenient.raw_decode(text, position)
        except ValueError:
            return found, "not JSON" if not found else f"not JSON after the first {position} characters"
        except RecursionError:
            return found, "nested too deeply"
        found.append(value)
        while position < len(text) and text[position] in "\x00 \t\r\n":
            position += 1
    return found, ""


def read_head(path: Path, size: int) -> bytes:
    """Return the first bytes of a file; nothing when it can't be read (the reading itself reports that)."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def head_records(head: bytes, limit: int = 20) -> Iterator[dict[str, Any]]:
    """Yield the first whole records of a file's head."""
    for line in head.split(b"\n", limit)[:limit]:
        for record in records(line)[0]:
            if isinstance(record, dict):
                yield record


def read_time(value: object) -> tuple[datetime | None, bool]:
    """Return a log's time, aware, and whether its zone had to be assumed. None: not a time.

    Text in ISO form, or a number of seconds, milliseconds or microseconds since 1970, also as text. A time without zone is taken as
    UTC: agents write UTC, and the reader's zone would move days and prices with the machine that imports.
    """
    try:
        if isinstance(value, str):
            if not value.isdecimal():
                moment = datetime.fromisoformat(value.strip())
                assumed = moment.tzinfo is None
                if assumed:
                    moment = moment.replace(tzinfo=UTC)
                return (moment, assumed) if FIRST_YEAR <= moment.year < LAST_YEAR else (None, False)
            value = int(value[:20])
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            seconds = value / (1e6 if value > 1e14 else 1e3 if value > 1e11 else 1)
            moment = datetime.fromtimestamp(seconds, UTC)
            return (moment, False) if FIRST_YEAR <= moment.year < LAST_YEAR else (None, False)
    except (ValueError, OverflowError, OSError):
        pass
    return None, False


def count_of(value: object) -> int | None:
    """Return a token count; None for anything that can't be one (negative, not whole, NaN, absurdly many)."""
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_TOKENS:
        return None
    return value


def name_of(value: object) -> str:
    """Return a name or id from a log; "" for what is none."""
    return value if isinstance(value, str) and len(value) <= NAME_LENGTH else ""


def digest_of(line: bytes, index: int = 0) -> str:
    """Return a name for a record that has no id of its own: the same after the file has grown or moved."""
    digest = sha1(line.strip(), usedforsecurity=False).hexdigest()[:24]
    return f"{digest}-{index}" if index else digest


def to_json(value: object) -> str:
    """Return compact JSON text; keeps lone surrogates, which the store replaces and counts."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tool_use(call_id: str, name: str, arguments: Any, **fields: Any) -> MessageEvent:
    """Return events.tool_use, encoded by the faster writer."""
    content = to_json({"type": "tool_use", "id": call_id, "name": name, "input": arguments})
    return MessageEvent(role="tool_use", content=content, tool_name=name, tool_call_id=call_id, **fields)


def tool_result(call_id: str, output: Any, *, is_error: bool = False, **fields: Any) -> MessageEvent:
    """Return events.tool_result, encoded by the faster writer."""
    content = to_json({"type": "tool_result", "tool_use_id": call_id, "content": output, "is_error": is_error})
    return MessageEvent(role="tool_result", content=content, tool_call_id=call_id, is_error=is_error, **fields)
