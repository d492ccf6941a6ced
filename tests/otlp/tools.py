"""Small OTLP documents, and how to send them."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from typing import Any

from django.test import Client

from sessions_app import services
from sessions_app.models import Message, Session, UsageRecord
from tests.factories import T0
from tests.otlp.convert import to_protobuf

TRACE = "0af7651916cd43dd8448eb211c80319c"
OTHER_TRACE = "1af7651916cd43dd8448eb211c80319c"


def nano(moment: datetime) -> str:
    return str(int(moment.timestamp()) * 10**9 + moment.microsecond * 1000)


def any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": any_value(value)} for key, value in attributes.items()]


def span(
    number: int, attributes: dict[str, Any], *, trace: str = TRACE, parent: int = 0, second: float = 0, name: str = "chat", **more: Any
) -> dict[str, Any]:
    """A span of one second that begins so many seconds after T0."""
    start = T0 + timedelta(seconds=second)
    return {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "startTimeUnixNano": nano(start),
        "endTimeUnixNano": nano(start + timedelta(seconds=1)),
        "attributes": pairs(attributes),
        **more,
    }


def chat(
    number: int, said: list[tuple[str, str]], answer: str = "", *, input_tokens: int = 10, output_tokens: int = 5, **more: Any
) -> dict[str, Any]:
    """A span of one model call by today's conventions."""
    extra = more.pop("attributes", {})
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
        "gen_ai.input.messages": json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in said]),
        **extra,
    }
    if answer:
        attributes["gen_ai.output.messages"] = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answer}]}])
    return span(number, attributes, **more)


def traces(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "resourceSpans": [
            {"resource": {"attributes": pairs(resource or {})}, "scopeSpans": [{"scope": {"name": "test"}, "spans": list(spans)}]}
        ]
    }


def logs(*records: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "resourceLogs": [
            {"resource": {"attributes": pairs(resource or {})}, "scopeLogs": [{"scope": {"name": "test"}, "logRecords": list(records)}]}
        ]
    }


def record(name: str, attributes: dict[str, Any], second: float = 0) -> dict[str, Any]:
    """A log record as Claude Code writes it: its name is the body."""
    return {
        "timeUnixNano": nano(T0 + timedelta(seconds=second)),
        "body": {"stringValue": name},
        "attributes": pairs({"event.name": name.split(".", 1)[1], **attributes}),
    }


def metrics(name: str, *points: dict[str, Any], temporality: int = 1) -> dict[str, Any]:
    one = {"name": name, "sum": {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": list(points)}}
    return {"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": [{"scope": {"name": "test"}, "metrics": [one]}]}]}


def point(value: float, attributes: dict[str, Any], *, start: float = 0, end: float = 60) -> dict[str, Any]:
    number = {"asInt": str(value)} if isinstance(value, int) else {"asDouble": value}
    return {
        "startTimeUnixNano": nano(T0 + timedelta(seconds=start)),
        "timeUnixNano": nano(T0 + timedelta(seconds=end)),
        "attributes": pairs(attributes),
        **number,
    }


class Sender:
    """Sends documents with a token of its own."""

    def __init__(self, **binding: str) -> None:
        self.made = services.create_token("otlp", scope="write", **binding)
        self.client = Client()

    @property
    def source(self) -> str:
        return f"otlp:{self.made.token.source}"

    def post(self, kind: str, body: bytes, content_type: str, **headers: str) -> Any:
        headers = {"Authorization": f"Bearer {self.made.secret}", **headers}
        # CONTENT_TYPE: Django's client leaves it away where the body is empty.
        return self.client.generic("POST", f"/v1/{kind}", body, content_type=content_type, headers=headers, CONTENT_TYPE=content_type)

    def send(self, document: dict[str, Any], *, protobuf: bool = False) -> Any:
        """Send as JSON, or as protobuf with gzip; expects 200."""
        kind = {"resourceSpans": "traces", "resourceLogs": "logs", "resourceMetrics": "metrics"}[next(iter(document))]
        if protobuf:
            answer = self.post(kind, gzip.compress(to_protobuf(document)), "application/x-protobuf", **{"Content-Encoding": "gzip"})
        else:
            answer = self.post(kind, json.dumps(document).encode(), "application/json")
        assert answer.status_code == 200, answer.content
        return answer

    def rejected(self, document: dict[str, Any]) -> tuple[int, str]:
        """Send as JSON; how many items were not taken, and the words."""
        partial = self.send(document).json().get("partialSuccess", {})
        counts = [int(value) for key, value in partial.items() if key.startswith("rejected")]
        return sum(counts), partial.get("errorMessage", "")


def everything() -> dict[str, Any]:
    """All that telemetry can have changed, as plain values: sessions by channel, key and user, with their messages and usage."""
    found: dict[str, Any] = {}
    for session in Session.objects.order_by("channel_id", "key", "user_id"):
        numbers = {
            name: getattr(session, name)
            for name in (
                "agent",
                "title",
                "message_count",
                "total_turns",
                "input_tokens",
                "output_tokens",
                "cost_usd",
                "model",
                "last_message_at",
                "created_at",
            )
        }
        messages = [
            (one.role, one.content, one.tool_name, one.tool_call_id, one.agent, one.response_id, one.timestamp)
            for one in Message.objects.filter(session=session).order_by("pk")
        ]
        usage = [
            (
                one.model,
                one.provider,
                one.user_id,
                one.turn,
                one.input_tokens,
                one.output_tokens,
                one.cache_read_tokens,
                one.cache_write_tokens,
                one.cost_usd,
                one.timestamp,
            )
            for one in UsageRecord.objects.filter(session=session).order_by("pk")
        ]
        found[f"{session.channel_id} {session.key} {session.user_id}"] = (numbers, messages, usage)
    return found


def only() -> Session:
    return Session.objects.get()


def said(session: Session) -> list[tuple[str, str]]:
    return [(one.role, one.content) for one in session.messages.order_by("timestamp", "pk")]


def assert_recount_finds_nothing() -> None:
    assert services.recount(dry_run=True).differences == []
