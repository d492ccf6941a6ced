"""A session as a file: JSON Lines (complete, comes back through `import_sessions`), Markdown and HTML (to read).

Each format is a function that yields the file's bytes piece by piece, in memory that does not grow with the session.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import regex

from sessions_app.exporting import html, json_lines, markdown
from sessions_app.models import Session

JSON_LINES = "application/jsonl"
PIECE_BYTES = 65_536
NO_NAME = regex.compile(r"(?:[^\p{L}\p{N}\p{M}]|\p{Default_Ignorable_Code_Point})+")
NAME_LENGTH = 80  # characters of the title in a file's name; as UTF-8 below the 255 bytes that file systems allow


@dataclass(frozen=True, slots=True)
class Format:
    """What a session can be written as. pieces(session, now=): the file, in UTF-8."""

    suffix: str
    content_type: str
    pieces: Callable[..., Iterator[bytes]]


FORMATS = {
    "json": Format("jsonl", JSON_LINES, json_lines.lines),
    "md": Format("md", "text/markdown; charset=utf-8", markdown.pieces),
    "html": Format("html", "text/html; charset=utf-8", html.pieces),
}


def export(session: Session, format: str, *, now: datetime) -> Iterator[bytes]:
    """Yield the session in this format, a key of FORMATS, in pieces of a size that a network likes."""
    waiting: list[bytes] = []
    size = 0
    for piece in FORMATS[format].pieces(session, now=now):
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def file_name(session: Session, format: str) -> str:
    """Return a name for the file: the title's letters and digits with their marks, the id's last characters (its first ones are the time), the format's suffix. No path,
    no control character and no quote can be in it."""
    words = NO_NAME.sub("-", unicodedata.normalize("NFC", session.title)).strip("-")[:NAME_LENGTH].rstrip("-")
    while len(words.encode()) > 2 * NAME_LENGTH:
        words = words[:-1]
    return f"{words or 'session'}-{session.pk.hex[-8:]}.{FORMATS[format].suffix}"


def content_disposition(name: str) -> str:
    """Return the header that has a browser save the answer under this name (RFC 6266): for old clients in ASCII, then whole."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lstrip("-.") or "session"
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"
