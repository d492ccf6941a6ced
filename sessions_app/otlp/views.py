"""OTLP over HTTP: POST /v1/traces, /v1/logs, /v1/metrics, protobuf or JSON, gzip, a bearer token.

Answers by the protocol: 200 with what was not taken as partial success; 4xx with a google.rpc.Status in the request's own encoding, which a
client must not repeat; 429 and 503 with Retry-After, which it must. What was not taken is kept as dead letters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from sessions_app.api.auth import Caller, caller_of
from sessions_app.api.limits import load_json, read_body
from sessions_app.api.problems import Problem
from sessions_app.errors import SessionError
from sessions_app.otlp import decode, store
from sessions_app.otlp.decode import Malformed, Rejected
from sessions_app.services.dead_letters import keep_dead_letter

PROTOBUF, JSON = "application/x-protobuf", "application/json"
RETRY_AFTER_S = 2  # when the database was busy for longer than a writer waits
MAX_LETTERS = 50  # kept of one request; the rest of a reason is counted on its last one
GRPC = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 409: 6, 413: 8, 415: 3, 422: 3, 429: 8, 503: 14}  # google.rpc.Code for an HTTP status
COUNTED_AS = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}

Take = Callable[..., list[Rejected]]
KINDS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Any], Take]] = {
    "traces": (decode.spans_from_protobuf, decode.spans_from_json, store.take_spans),
    "logs": (decode.logs_from_protobuf, decode.logs_from_json, store.take_records),
    "metrics": (decode.points_from_protobuf, decode.points_from_json, store.take_points),
}


@csrf_exempt
@login_not_required
def traces(request: HttpRequest) -> HttpResponse:
    return _export(request, "traces")


@csrf_exempt
@login_not_required
def logs(request: HttpRequest) -> HttpResponse:
    return _export(request, "logs")


@csrf_exempt
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    return _export(request, "metrics")


def _export(request: HttpRequest, kind: str) -> HttpResponse:
    is_json = (request.content_type or "").lower() == JSON
    try:
        if request.method != "POST":
            raise Problem(405, "method_not_allowed", "Send telemetry with POST.", headers={"Allow": "POST"})
        caller = caller_of(request, "write")
        if not is_json and (request.content_type or "").lower() != PROTOBUF:
            raise Problem(415, "wrong_content_type", f"Send {PROTOBUF} or {JSON}, not {(request.content_type or 'nothing')[:80]!r}.")
        rejected = _take(kind, read_body(request), is_json, caller)
    except Malformed as error:
        return _status(400, error.detail, is_json)
    except SessionError as error:
        headers = error.headers if isinstance(error, Problem) else {}
        return _status(error.http_status, error.detail, is_json, headers)
    except OperationalError:
        return _status(503, "The database is busy. Send the same again a little later.", is_json, {"Retry-After": str(RETRY_AFTER_S)})
    return _answer(kind, rejected, is_json)


def _take(kind: str, body: bytes, is_json: bool, caller: Caller) -> list[Rejected]:
    from_protobuf, from_json, take = KINDS[kind]
    now = timezone.now()
    decoded = from_json(load_json(body, decode.MAX_JSON_DEPTH)) if is_json else from_protobuf(body)
    rejected: list[Rejected] = decoded.rejected
    if decoded.items:
        rejected = rejected + take(decoded.items, caller, now=now)
    _keep(kind, rejected, store.source_of(caller))
    return rejected


def _keep(kind: str, rejected: list[Rejected], source: str) -> None:
    """Keep what was not taken, the same once with its count, and of a flood the first ones."""
    letters: dict[tuple[str, str], tuple[Rejected, int]] = {}
    last: dict[str, tuple[str, str]] = {}
    for one in rejected:
        key = (one.reason, one.payload)
        if key not in letters and len(letters) >= MAX_LETTERS and one.reason in last:
            key = last[one.reason]
        first, times = letters.get(key, (one, 0))
        letters[key] = (first, times + one.times)
        last[one.reason] = key
    for one, times in letters.values():
        keep_dead_letter(kind, one.reason, one.detail, one.payload, source=source, times=times)


# --- answers --------------------------------------------------------------------------------------------------------------------------


def _answer(kind: str, rejected: list[Rejected], is_json: bool) -> HttpResponse:
    """Answer 200, with the partial success when something was not taken. Both messages are two fields, so they are written by hand."""
    if not rejected:
        return HttpResponse(b"{}" if is_json else b"", content_type=JSON if is_json else PROTOBUF)
    total = sum(one.times for one in rejected)
    words = _in_words(rejected)
    if is_json:
        body = orjson.dumps({"partialSuccess": {COUNTED_AS[kind]: str(total), "errorMessage": words}})
        return HttpResponse(body, content_type=JSON)
    partial = b"\x08" + _varint(total) + _text_field(b"\x12", words)
    return HttpResponse(b"\x0a" + _varint(len(partial)) + partial, content_type=PROTOBUF)


def _in_words(rejected: list[Rejected]) -> str:
    by_reason: dict[str, tuple[int, str]] = {}
    for one in rejected:
        times, detail = by_reason.get(one.reason, (0, one.detail))
        by_reason[one.reason] = (times + one.times, detail)
    return "; ".join(f"{times} x {reason}: {detail}" for reason, (times, detail) in by_reason.items())[:2000]


def _status(status: int, words: str, is_json: bool, headers: dict[str, str] | None = None) -> HttpResponse:
    """Answer with a google.rpc.Status (code, message) in the request's encoding."""
    code = GRPC.get(status, 2)
    if is_json:
        return HttpResponse(orjson.dumps({"code": code, "message": words}), status=status, content_type=JSON, headers=headers)
    body = b"\x08" + _varint(code) + _text_field(b"\x12", words)
    return HttpResponse(body, status=status, content_type=PROTOBUF, headers=headers)


def _text_field(tag: bytes, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return tag + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
