"""Cursors: the place after which a page begins, as a short word for a URL. Opaque to clients; a broken one reads as "from the start"."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime

Place = tuple[datetime | int, str]
LARGEST = 2**63 - 1


def encode(value: datetime | int, tie: object) -> str:
    """Return the cursor of a row by what the list is sorted by (a time, or a number) and the id that parts rows which are equal in it."""
    word = str(value) if isinstance(value, int) else value.isoformat()
    return urlsafe_b64encode(f"{word} {tie}".encode()).decode().rstrip("=")


def decode(cursor: str | None) -> Place | None:
    """Return value and id of a cursor, or None for none and for a broken one."""
    if not cursor or len(cursor) > 200:
        return None
    try:
        word, _, tie = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(" ")
        if not tie:
            return None
        if word.isascii() and word.isdigit() and len(word) < 20:
            return (int(word), tie) if int(word) <= LARGEST else None
        moment = datetime.fromisoformat(word)
    except ValueError:
        return None
    return (moment, tie) if moment.tzinfo else None
