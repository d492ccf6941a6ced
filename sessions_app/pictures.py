"""Pictures and other files inside messages: where they stand, what they are, and whether a browser may show them.

Pure. A log keeps them as base64 in a message's extra["attachments"] or in the blocks of a tool's result. What a file says it is counts for
nothing: its first bytes decide, and only four plain picture formats are shown. SVG is a document that can hold scripts, so it is none of them.
Nothing is ever loaded from elsewhere: an address is shown as a word.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from sessions_app.models import Message
from sessions_app.rendering import one_line, size_text

# Characters of base64 that are decoded to be shown; a longer one is a chip.
SHOWN_LIMIT = 14_000_000
# Pixels: a small file may unfold to more than a browser's memory.
PIXEL_LIMIT = 50_000_000
# Files of one message that are looked at.
FILE_LIMIT = 50
# Base64 characters that hold the size of a picture; a JPEG's may come after its preview.
HEAD = 88_000

NAME = re.compile(r"[^\w.\- ()]+")
TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+\-]{1,60}")
SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file of a message. number: its place, by which its own URL asks for it. size: bytes, 0 = not in the log. media_type: sniffed for a
    picture, otherwise as the log says it, shown and not believed. width, height: pixels. is_shown: whether it is drawn."""

    number: int
    name: str
    media_type: str
    size: int
    width: int = 0
    height: int = 0
    is_shown: bool = False
    url: str = ""  # where it would have to be loaded from; never is

    @property
    def link(self) -> str:
        """The address, where a person may follow it."""
        return self.url if self.url.startswith(("https://", "http://")) else ""

    @property
    def size_text(self) -> str:
        return size_text(self.size)


def is_file(block: Any) -> bool:
    """Tell whether a content block is a file and not text."""
    return isinstance(block, dict) and block.get("type") in (
        "image",
        "input_image",
        "document",
        "audio",
        "input_audio",
        "file",
        "resource",
        "image_url",
    )


def of_message(message: Message) -> list[Attachment]:
    """Return the files of a prompt or an answer."""
    return [_attachment(number, raw) for number, raw in enumerate(_of_extra(message))]


def of_result(data: Any, *, left_out: int = 0) -> list[Attachment]:
    """Return the files of a tool's result. data: its content, read as JSON. left_out: characters at its end that were not read."""
    raws = _of_blocks(data)
    return [_attachment(number, raw, left_out if number == len(raws) - 1 else 0) for number, raw in enumerate(raws)]


def read(message: Message, number: int) -> tuple[Attachment, bytes] | None:
    """Return one file of a message with its bytes; None where there is none, or the log does not hold its bytes."""
    raws = _of_extra(message)
    if message.role == "tool_result":
        try:
            raws = _of_blocks(json.loads(message.content))
        except (ValueError, RecursionError):
            raws = []
    if not 0 <= number < len(raws) or not raws[number]["data"]:
        return None
    data = _decoded(raws[number]["data"])
    return (_attachment(number, raws[number]), data) if data else None


def sniff(data: bytes) -> tuple[str, int, int]:
    """Return media type, width and height of a picture by its first bytes; ("", 0, 0) for anything else."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return "image/png", *struct.unpack(">II", data[16:24])
        if data.startswith((b"GIF87a", b"GIF89a")):
            return "image/gif", *struct.unpack("<HH", data[6:10])
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return "image/webp", *_webp_size(data)
        if data.startswith(b"\xff\xd8\xff"):
            return "image/jpeg", *_jpeg_size(data)
    except (struct.error, IndexError):
        pass
    return "", 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return 0, 0


def _attachment(number: int, raw: dict[str, str], left_out: int = 0) -> Attachment:
    data = raw["data"]
    length = len(data) + left_out
    size = length * 3 // 4 - data[-2:].count("=") if data else 0
    head = _decoded(data[:HEAD]) if data else b""
    kind, width, height = sniff(head)
    is_shown = bool(kind) and 0 < width * height <= PIXEL_LIMIT and length <= SHOWN_LIMIT
    stated = raw["media_type"].lower() if TYPE.fullmatch(raw["media_type"].lower()) else ""
    media_type = kind or stated or "application/octet-stream"
    name = one_line(NAME.sub("_", raw["name"]), 80) or (f"image {number + 1}" if media_type.startswith("image/") else f"file {number + 1}")
    return Attachment(number, name, media_type, size, width, height, is_shown, raw["url"][:300])


def _decoded(data: str) -> bytes:
    try:
        # all but whole groups of four: a head that was cut off may end within one
        return b64decode(data[: len(data) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _of_extra(message: Message) -> list[dict[str, str]]:
    found = message.extra.get("attachments") if isinstance(message.extra, dict) else None
    return [_raw(one) for one in found[:FILE_LIMIT] if isinstance(one, dict)] if isinstance(found, list) else []


def _of_blocks(data: Any) -> list[dict[str, str]]:
    blocks = data.get("content") if isinstance(data, dict) else None
    if not isinstance(blocks, list):
        return []
    return [_raw(block) for block in blocks if is_file(block)][:FILE_LIMIT]


def _raw(block: dict[str, Any]) -> dict[str, str]:
    """Return name, media type, base64 and address of a file, however its agent wrote it."""
    source = next(
        (block[key] for key in ("source", "resource", "input_audio", "file", "inlineData") if isinstance(block.get(key), dict)), block
    )
    data = _text(source, "data", "blob", "base64", "file_data")
    media_type = _text(source, "media_type", "mimeType", "mime_type", "mime") or _text(block, "media_type", "mimeType", "mime_type")
    address = block.get("image_url", source.get("url", source.get("uri")))
    address = address.get("url") if isinstance(address, dict) else address
    url = address if isinstance(address, str) else ""
    for text in (url, data):
        if text.startswith("data:"):
            head, comma, rest = text.partition(",")
            media_type = head[5:].partition(";")[0] or media_type
            data, url = (rest if comma and head.endswith(";base64") else ""), ""
    name = _text(block, "title", "name", "filename") or _text(source, "name", "filename")
    return {"name": name, "media_type": media_type, "data": data, "url": url}


def _text(block: dict[str, Any], *names: str) -> str:
    return next((block[name] for name in names if isinstance(block.get(name), str)), "")


def suffix(media_type: str) -> str:
    return SUFFIXES.get(media_type, "bin")
