"""The OpenAPI document, the page made of it, and what the document promises, tried with generated calls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from sessions_app import services
from sessions_app.api.limits import buckets
from sessions_app.api.urls import api as ninja_api
from tests.api.conftest import Api
from tests.factories import make_session, make_usage

pytestmark = pytest.mark.django_db

DOCUMENT: dict[str, Any] = ninja_api.document
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}


def test_the_document_is_public_and_whole(client: Client) -> None:
    answer = client.get("/api/v1/openapi.json")
    assert (answer.status_code, answer.json()) == (200, DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")
    assert set(OPERATIONS) == {
        "POST /api/v1/sessions/open", "POST /api/v1/sessions/resolve", "POST /api/v1/sessions", "GET /api/v1/sessions",
        "GET /api/v1/sessions/{session_id}", "PATCH /api/v1/sessions/{session_id}", "POST /api/v1/sessions/{session_id}/close",
        "POST /api/v1/sessions/{session_id}/reopen", "POST /api/v1/sessions/{session_id}/touch", "POST /api/v1/sessions/{session_id}/messages",
        "GET /api/v1/sessions/{session_id}/messages", "POST /api/v1/sessions/{session_id}/usage", "GET /api/v1/sessions/{session_id}/usage",
        "GET /api/v1/sessions/{session_id}/export", "POST /api/v1/sessions/{session_id}/compactions", "GET /api/v1/costs", "POST /api/v1/turns", "POST /api/v1/batch",
    }  # fmt: skip
    for label, operation in OPERATIONS.items():
        declared = operation.definition.raw["responses"]
        assert {"401", "403", "429", "503"} <= set(declared), label
        assert label.startswith("GET") or {"400", "409", "413", "415", "422"} <= set(declared), label
        assert ("{session_id}" in label or "turns" in label) == ("404" in declared), label
        assert operation.definition.raw["security"], label


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere(client: Client) -> None:
    answer = client.get("/api/v1/docs")
    page = answer.content.decode()
    assert answer.status_code == 200
    for path, methods in DOCUMENT["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page
    assert not re.search(r"<script|<style| style=|https?://", page)
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


# --- what the document promises -------------------------------------------------------------------------------------------------------


@pytest.fixture
def known(api: Api) -> Iterator[list[str]]:
    """Sessions that generated calls may hit."""
    session = make_session(messages=2)
    make_usage(session)
    closed = make_session(key="closed")
    services.close_session(closed.pk)
    yield [str(session.pk), str(closed.pk)]


def sent(api: Api, case: Any, known: list[str], choice: int) -> Any:
    """Send a generated case; half of them to a session that there is."""
    path = case.path_parameters or {}
    if "session_id" in path and choice < len(known):
        path = {"session_id": known[choice]}
    url = case.operation.path
    for name, value in path.items():
        url = url.replace("{" + name + "}", quote(str(value), safe="") or "x")
    body = case.body if isinstance(case.body, dict | list) else None
    if body and choice < len(known):
        for event in (body, *body["events"]) if isinstance(body, dict) and isinstance(body.get("events"), list) else (body,):
            name_session(event, known[choice])
    content = "" if isinstance(case.body, schemathesis.core.NotSet) else json.dumps(case.body, default=str)
    headers = {name: value for name, value in (case.headers or {}).items() if name.lower() == "idempotency-key"}
    buckets.clear()
    return api.call(
        case.method,
        url.removeprefix("/api/v1"),
        content,
        headers=headers,
        query_params={name: str(value) for name, value in (case.query or {}).items()},
    )


def name_session(event: Any, session_id: str) -> None:
    """Let an event name a session that there is, where it names one: by its id and in no other way."""
    if isinstance(event, dict) and ({"session", "session_id"} & set(event) or event.get("type") in ("message", "usage", "close", "turn")):
        event["session_id"] = session_id
        event.pop("session", None)


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_answer_is_documented(api: Api, known: list[str], settings: Any, label: str, mode: str) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "zeal" not in name]
    operation = OPERATIONS[label]
    strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    seen: set[int] = set()

    @hypothesis.settings(suppress_health_check=list(HealthCheck), max_examples=25)
    @given(strategy, st.integers(0, 3))
    def check(case: Any, choice: int) -> None:
        answer = sent(api, case, known, choice)
        seen.add(answer.status_code)
        assert answer.status_code < 500
        declared = operation.definition.raw["responses"].get(str(answer.status_code))
        assert declared is not None, (case.method, case.path_parameters, answer.status_code)
        [media] = declared["content"]
        assert answer["Content-Type"] == media
        value = b"".join(answer.streaming_content).decode() if answer.streaming else answer.json()
        validate(value, declared["content"][media]["schema"])

    check()
    assert services.recount().differences == []
    assert mode == "negative" or seen & {200, 201}, seen  # else the cases would try nothing but refusals


def validate(value: Any, schema: dict[str, Any]) -> None:
    jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, value)
