"""The protocol around the telemetry: status codes, encodings, partial success, dead letters, and what nobody should send."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from sessions_app import services
from sessions_app.models import DeadLetter, Message, Session, UsageRecord
from tests.otlp.convert import to_protobuf
from tests.otlp.tools import Sender, chat, only, pairs, said, span, traces

pytestmark = pytest.mark.django_db
PROTOBUF, JSON = "application/x-protobuf", "application/json"
GOOD = traces(chat(1, [("user", "hi")], "hello"))


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.mark.parametrize("kind", ["traces", "logs", "metrics"])
@pytest.mark.parametrize(("content_type", "empty"), [(PROTOBUF, b""), (JSON, b"{}")])
def test_an_empty_request_is_a_success(sender: Sender, kind: str, content_type: str, empty: bytes) -> None:
    answer = sender.post(kind, empty, content_type)
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, empty, content_type)


def test_who_may_send(sender: Sender) -> None:
    for header, status in (
        ({}, 401),
        ({"Authorization": "Bearer sst_wrong"}, 401),
        ({"Authorization": f"Bearer {services.create_token('r', scope='read', sees_all=True).secret}"}, 403),
        ({"Authorization": f"Bearer {services.create_token('a', scope='admin').secret}"}, 200),
    ):
        answer = Client().post("/v1/traces", json.dumps(GOOD), content_type=JSON, headers=header)
        assert answer.status_code == status, header
        if status == 401:
            assert answer["WWW-Authenticate"].startswith("Bearer")
            assert answer.json()["code"] == 16  # google.rpc.Code UNAUTHENTICATED
    services.revoke_token(sender.made.token)
    assert sender.post("traces", b"", PROTOBUF).status_code == 401


@pytest.mark.parametrize(
    ("content_type", "body", "headers", "status"),
    [
        ("text/plain", b"hi", {}, 415),
        (JSON, b"not json", {}, 400),
        (JSON, b'{"resourceSpans": [], "resourceSpans": []}', {}, 400),
        (JSON, b'{"resourceSpans": [NaN]}', {}, 400),
        (JSON, b'{"resourceSpans": [1e999]}', {}, 400),
        (JSON, b"[]", {}, 400),
        (JSON, b'{"resourceSpans": {}}', {}, 400),
        (JSON, b"\xff\xfe", {}, 400),
        (JSON, b"[" * 100_000, {}, 400),
        (PROTOBUF, to_protobuf(GOOD)[:-9], {}, 400),
        (PROTOBUF, b"\xff" * 50, {}, 400),
        (PROTOBUF, b"plain", {"Content-Encoding": "gzip"}, 400),
        (PROTOBUF, gzip.compress(to_protobuf(GOOD))[:-9], {"Content-Encoding": "gzip"}, 400),
        (PROTOBUF, b"x", {"Content-Encoding": "zstd"}, 415),
        (PROTOBUF, gzip.compress(b"\0" * 30_000_000), {"Content-Encoding": "gzip"}, 413),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_for_good(
    sender: Sender, content_type: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = sender.post("traces", body, content_type, **headers)
    assert answer.status_code == status
    assert answer["Content-Type"] == (JSON if content_type == JSON else PROTOBUF)
    assert answer.content
    assert not Session.objects.exists()


def test_only_post(sender: Sender) -> None:
    answer = sender.client.get("/v1/traces", headers={"Authorization": f"Bearer {sender.made.secret}"})
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_too_fast_is_told_when_to_come_again(sender: Sender, settings: Any) -> None:
    settings.API_RATE_PER_TOKEN = 1
    answers = [sender.post("traces", b"", PROTOBUF) for _ in range(4)]
    assert answers[-1].status_code == 429
    assert int(answers[-1]["Retry-After"]) >= 1


def test_a_busy_database_is_worth_a_retry(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: object, **kwargs: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("sessions_app.otlp.store.open_traces", busy)
    answer = sender.post("traces", json.dumps(GOOD).encode(), JSON)
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")


def test_what_is_not_taken_is_said_and_kept_and_takes_nothing_with_it(sender: Sender) -> None:
    document = traces(
        chat(1, [("user", "hi")], "hello"),
        {**chat(2, [("user", "x")]), "traceId": "not an id"},
        {**chat(3, [("user", "x")]), "spanId": 7},
        {**chat(4, [("user", "x")]), "startTimeUnixNano": "9223372036854775807000"},  # the year 292277
        {**chat(5, [("user", "x")]), "startTimeUnixNano": "yesterday"},
        chat(6, [("user", "x")], input_tokens=-5),
        chat(7, [("user", "x")], attributes={"gen_ai.usage.input_tokens": "NaN"}),
        chat(8, [("user", "x")], input_tokens=10**12),
    )
    rejected, words = sender.rejected(document)
    assert rejected == 7
    assert "invalid_id" in words
    assert "invalid_time" in words
    assert UsageRecord.objects.get().event_id.endswith(f"{1:016x}")
    assert dict(DeadLetter.objects.values_list("reason", "door")) == dict.fromkeys(
        ("invalid_id", "invalid_time", "invalid_usage"), "traces"
    )
    assert DeadLetter.objects.filter(source=sender.source).count() == 7


def test_partial_success_in_protobuf(sender: Sender) -> None:
    body = to_protobuf(traces(chat(1, [("user", "hi")], "hello"), chat(2, [("user", "hi")], input_tokens=-1)))
    answer = ExportTraceServiceResponse.FromString(sender.post("traces", body, PROTOBUF).content)
    assert answer.partial_success.rejected_spans == 1
    assert "invalid_usage" in answer.partial_success.error_message


def test_deep_attributes_do_not_matter(sender: Sender) -> None:
    deep: Any = {"stringValue": "bottom"}
    for _ in range(90):  # each four levels of JSON
        deep = {"kvlistValue": {"values": [{"key": "k", "value": deep}]}}
    one = chat(1, [("user", "hi")], "hello")
    one["attributes"].append({"key": "deep", "value": deep})
    sender.send(traces(one))
    assert said(only()) == [("user", "hi"), ("assistant", "hello")]
    text = '{"arrayValue": {"values": [' * 1000 + '{"stringValue": "x"}' + "]}}" * 1000
    body = json.dumps(traces(chat(9, [("user", "hi")]))).replace(
        '"attributes": [', '"attributes": [{"key": "d", "value": ' + text + "}, ", 1
    )
    answer = sender.post("traces", body.encode(), JSON)
    assert (answer.status_code, "nested more than 400 levels deep" in answer.json()["message"]) == (400, True)
    field = b"\x0a\x02\x0a\x00"  # lists in lists in protobuf, built from the inside
    for _ in range(1000):
        field = b"\x2a" + varint(len(field) + 1 + len(varint(len(field)))) + b"\x0a" + varint(len(field)) + field
    assert sender.post("traces", field, PROTOBUF).status_code in (200, 400)


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def test_strange_values_are_stored_or_refused_never_fatal(sender: Sender) -> None:
    strange = {
        "gen_ai.conversation.id": "c" * 400 + "\x00",
        "gen_ai.agent.name": "a" * 300,
        "gen_ai.input.messages": '[{"role": 5, "parts": [null, 7, {"type": "text", "content": null}, {"type": "tool_call", "id": 3}]}, 8, "x"]',
        "gen_ai.output.messages": "[[[",
        "gen_ai.response.model": "m" * 300,
        "gen_ai.provider.name": "",
    }
    one = span(1, {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, **strange})
    one["attributes"] += [*pairs({"gen_ai.tool.name": "x"}), {"key": "k"}, {"value": {}}, 5, {"key": "n", "value": {"doubleValue": "NaN"}}]
    one["events"] = [5, {"name": 7, "attributes": "x"}]
    sender.send(traces(one))
    sender.send(
        traces(
            span(
                2,
                {
                    "gen_ai.operation.name": "chat",
                    "llm.input_messages.0.message.role": "user",
                    "llm.input_messages.0.message": "x",
                    "llm.input_messages.0.message.content.deep": "y",
                },
            )
        )
    )
    assert Message.objects.exists()


def test_no_cookie_opens_this_door(sender: Sender, alice: Any) -> None:
    client = Client()
    client.force_login(alice)
    assert client.post("/v1/traces", "{}", content_type=JSON).status_code == 401
