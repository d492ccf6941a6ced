"""Refusals of the doors, and how every refusal looks on the wire: RFC 9457 problem JSON with a stable code, the field at fault, and words."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpResponse

from sessions_app.errors import SessionAlreadyOpen, SessionError, UnknownChannel

PROBLEM_JSON = "application/problem+json"
LENGTH_OF_FIELD = 200  # characters of a field's name that are said back


class Problem(SessionError):
    """A refusal that the domain knows nothing of: of the request, the token, or the way it was sent."""

    def __init__(
        self,
        http_status: int,
        code: str,
        detail: str,
        *,
        field: str = "",
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(detail, field=field)
        self.http_status = http_status
        self.code = code
        self.headers = headers or {}
        self.errors = errors or []  # {field, detail} of each, where several fields are at fault


def problem_of(error: SessionError) -> dict[str, Any]:
    """Return an error as the JSON that a client reads. code and field are for programs; detail is for people."""
    status = error.http_status
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": error.code,
        "detail": error.detail,
        "field": error.field[:LENGTH_OF_FIELD] or None,
    }
    if isinstance(error, UnknownChannel):
        body["known_channels"] = error.known
    if isinstance(error, SessionAlreadyOpen):
        body["session_id"] = str(error.session_id)
    if isinstance(error, Problem) and error.errors:
        body["errors"] = error.errors
    return body


def json_response(status: int, body: dict[str, Any]) -> HttpResponse:
    try:
        text: bytes | str = orjson.dumps(body)
    except TypeError:  # a number beyond 64 bits in what a client keeps in `extra`
        text = json.dumps(body, ensure_ascii=False)
    return HttpResponse(text, status=status, content_type="application/json")


def problem_response(error: SessionError) -> HttpResponse:
    headers = error.headers if isinstance(error, Problem) else None
    return HttpResponse(orjson.dumps(problem_of(error)), status=error.http_status, content_type=PROBLEM_JSON, headers=headers)
