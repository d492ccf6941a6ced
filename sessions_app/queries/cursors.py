"""Cursors: the place after which a page begins, as a short word for a URL. Opaque to clients; a broken one reads as "from the start"."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime


def encode(moment: datetime, tie: object) -> str:
    """Return the cursor of a row by its time and the id that parts rows of one time."""
    return urlsafe_b64encode(f"{moment.isoformat()} {tie}".encode()).decode().rstrip("=")


def decode(cursor: str | None) -> tuple[datetime, str] | None:
    """Return time and id of a cursor, or None for none and for a broken one."""
    if not cursor or len(cursor) > 200:
        return None
    try:
        moment, _, tie = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(" ")
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (parsed, tie) if parsed.tzinfo and tie else None
