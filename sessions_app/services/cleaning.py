"""What no database can hold, and what no session can carry: text made storable, names and times checked. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, TypeGuard

import regex

from sessions_app.errors import InvalidSession, SessionError
from sessions_app.models import KEY_LENGTH, TITLE_LENGTH

REPLACED = "replaced_characters"  # in a message's extra: how many characters became U+FFFD
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)  # every zone can still turn it into a day
_UNSTORABLE = regex.compile("[\x00\ud800-\udfff]")
_GRAPHEME = regex.compile(r"\X")


def storable(text: str) -> str:
    """Return the text with NUL and lone surrogates, which no database can hold, turned into U+FFFD; as it is when there are none."""
    return storable_counted(text)[0]


def storable_counted(text: str) -> tuple[str, int]:
    """The same, and how many characters were replaced. Looks before it copies: almost no text has any."""
    if "\x00" not in text:
        if text.isascii():
            return text, 0
        try:
            text.encode()
            return text, 0
        except UnicodeEncodeError:
            pass
    cleaned, replaced = _UNSTORABLE.subn("\ufffd", text)
    return cleaned, replaced


def storable_json(value: Any) -> Any:
    """Return plain JSON with every text in it storable, keys too; NaN and infinities, which JSON does not know, as text."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(key)): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return str(value)
    return value


def name(value: object, field: str, *, length: int = KEY_LENGTH, error: type[SessionError] = InvalidSession) -> str:
    """Return a name as it is stored. Raises `error` when it is no text or too long to be found again."""
    if not isinstance(value, str):
        raise error(f"{field} must be text, not {type(value).__name__}.", field=field)
    if len(value) > length:
        raise error(f"{field} is {len(value):,} characters long; at most {length} are possible.", field=field)
    return storable(value)


def aware(moment: object, field: str, error: type[SessionError]) -> datetime:
    """Return an aware time between 1970 and 9000, in UTC. Raises `error` for anything else."""
    if not isinstance(moment, datetime) or moment.tzinfo is None or moment.utcoffset() is None:
        raise error(f"{field} needs a time zone: send it as UTC, for example 2026-09-01T12:00:00Z.", field=field)
    if not is_storable_time(moment):
        raise error(f"{field} lies outside the years 1970 to 8999: {moment.isoformat()}.", field=field)
    return moment.astimezone(UTC)  # two times of one zone compare by their wall clocks, wrongly in the hour that comes twice


def fingerprint(*parts: object) -> int:
    """Digest a body to 64 bits: enough to tell a resend from a reused id, where the two are already known to share it."""
    text = "\0".join([part if isinstance(part, str) else str(part) for part in parts])
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def is_storable_time(moment: datetime | None) -> TypeGuard[datetime]:
    """Tell whether a time is aware and every zone can turn it into a day."""
    return moment is not None and moment.tzinfo is not None and EARLIEST <= moment < LATEST


def title_of(text: str) -> str:
    """Return the text as a title: blanks for white space, at most 100 code points and then an ellipsis, no grapheme cut in two unless that one
    grapheme is longer than 100."""
    limit = TITLE_LENGTH - 1
    words = " ".join(_first_words(storable(text), limit + 1))
    if len(words) <= limit:
        return words
    # Whether a grapheme ends at a place depends on the text before it and the one character after it, so limit + 1 characters decide.
    end = 0
    for match in _GRAPHEME.finditer(words[: limit + 1]):
        if match.end() > limit:
            break
        end = match.end()
    return words[: end or limit].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _first_words(text: str, length: int) -> Iterable[str]:
    """Yield words until they are longer than length together: a title does not need the other 300 kB."""
    total = 0
    for match in regex.finditer(r"[^\s\x1c-\x1f\x85]+", text):
        word = match.group()
        total += len(word) + 1
        yield word
        if total > length:
            return
