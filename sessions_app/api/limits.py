"""What a door takes in: a body of bounded size whatever its compression, JSON that means one thing only, and so many requests a second."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator
from math import ceil
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from sessions_app.api.problems import Problem

CHUNK = 65_536  # bytes
MAX_DEPTH = 64  # objects and lists inside each other; what is deeper is no message, and would exhaust whoever walks it
MAX_TOKENS_REMEMBERED = 10_000  # buckets of the rate, per process


# --- the body -------------------------------------------------------------------------------------------------------------------------


def read_body(request: HttpRequest) -> bytes:
    """Return the request's body, decompressed; read once, and kept on the request. Raises Problem: 413 when it is larger than
    settings.API_MAX_BODY_BYTES at any stage (so a gzip bomb costs no more memory than an honest body), 415, 400."""
    kept: bytes | None = getattr(request, "_body", None)  # where Django keeps it too
    if kept is not None:
        return kept
    body = b"".join(_decompressed(_chunks(request), request.META.get("HTTP_CONTENT_ENCODING", "")))
    request._body = body
    return body


def too_large(what: str, limit: int, field: str = "") -> Problem:
    return Problem(
        413, "too_large", f"{what} is larger than {limit:,} bytes, the most that is taken at once. Send it in parts.", field=field
    )


def _chunks(request: HttpRequest) -> Iterator[bytes]:
    limit = settings.API_MAX_BODY_BYTES
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > limit:
        raise too_large("The body", limit)
    stream: Any = request
    if not length and request.META.get("wsgi.input_terminated"):
        # Sent in chunks, as some exporters do: Django reads no further than a Content-Length, which such a request does not have.
        stream = request.META["wsgi.input"]
    total = 0
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        if total > limit:
            raise too_large("The body", limit)
        yield chunk


def _decompressed(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Problem(
            415,
            "wrong_content_encoding",
            f"Content-Encoding {encoding[:40]!r} is not understood. Send gzip, deflate, or none.",
            field="Content-Encoding",
        )
    limit, total = settings.API_MAX_BODY_BYTES, 0
    decoder: Any = None
    try:
        for chunk in chunks:
            if decoder is None:
                # 47: gzip or zlib, by its first bytes. "deflate" was meant to be zlib, and some senders leave its frame away.
                decoder = zlib.decompressobj(-15 if encoding == "deflate" and chunk[0] & 0x0F != 8 else 47)
            data = chunk
            while data:
                piece = decoder.decompress(data, CHUNK)
                total += len(piece)
                if total > limit:
                    raise too_large("The decompressed body", limit)
                yield piece
                data = decoder.unconsumed_tail
                if decoder.eof and decoder.unused_data:  # gzip may be several members, one after the other
                    data, decoder = decoder.unused_data, zlib.decompressobj(47)
        if decoder is not None:
            while piece := decoder.decompress(decoder.unconsumed_tail, CHUNK):
                total += len(piece)
                if total > limit:
                    raise too_large("The decompressed body", limit)
                yield piece
            if not decoder.eof:
                raise Problem(400, "bad_encoding", f"The {encoding} body ends before its end.", field="Content-Encoding")
    except zlib.error as error:
        raise Problem(
            400, "bad_encoding", f"The body is not {encoding}, as its Content-Encoding says: {error}.", field="Content-Encoding"
        ) from None


# --- JSON -----------------------------------------------------------------------------------------------------------------------------


def load_json(body: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON strictly. Refused, because two readers would read it differently or a database cannot hold it: a key that comes twice in one
    object, NaN, infinities and numbers that become one, more than max_depth levels, text that is not UTF-8. Raises Problem 400 not_json."""
    try:
        value = _decoder.decode(body.decode())
    except UnicodeDecodeError as error:
        raise _not_json(f"it is not UTF-8 from byte {error.start} on") from None
    except RecursionError:
        raise _not_json(f"it is nested more than {max_depth} levels deep") from None
    except ValueError as error:
        raise _not_json(str(error)) from None
    _check_depth(value, max_depth)
    return value


def _not_json(why: str) -> Problem:
    return Problem(400, "not_json", f"The body is not JSON that can be taken: {why[:300]}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} comes twice in one object")
    return made


def _number(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"the number {text[:40]} is beyond all bounds")
    return value


def _integer(text: str) -> int:
    if len(text) > 1000:
        raise ValueError(f"a number has {len(text):,} digits")
    return int(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no number that JSON knows")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_constant)


def _check_depth(value: Any, max_depth: int) -> None:
    level = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            raise _not_json(f"it is nested more than {max_depth} levels deep")
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]


# --- the rate -------------------------------------------------------------------------------------------------------------------------


class Buckets:
    """A token bucket for each key: `rate` a second, twice as many at once. In this process alone: each worker gives as much."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._levels: dict[int, tuple[float, float]] = {}  # key -> (what is left, as of when)

    def wait(self, key: int, rate: float, now: float) -> float:
        """Take one, and return 0; or return the seconds after which there is one again."""
        burst = max(1.0, 2 * rate)
        with self._lock:
            left, at = self._levels.get(key, (burst, now))
            left = min(burst, left + (now - at) * rate)
            if left < 1:
                return (1 - left) / rate
            if len(self._levels) >= MAX_TOKENS_REMEMBERED and key not in self._levels:
                self._levels.clear()
            self._levels[key] = (left - 1, now)
            return 0.0

    def clear(self) -> None:
        self._levels.clear()


buckets = Buckets()


def slow_down(key: int) -> None:
    """Count a request of a token. Raises Problem 429, with the whole seconds to wait, beyond settings.API_RATE_PER_TOKEN a second; 0 = no bound."""
    rate = settings.API_RATE_PER_TOKEN
    if rate and (seconds := buckets.wait(key, rate, time.monotonic())):
        raise Problem(
            429,
            "slow_down",
            f"More than {rate:,} requests a second with one token. Wait, or send many events at once to /api/v1/batch.",
            headers={"Retry-After": str(max(1, ceil(seconds)))},
        )
