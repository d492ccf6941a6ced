"""Real documents of many frameworks: the same sessions from both encodings, exactly the usage that is written beside them, nothing twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db.models import Count, Sum

from sessions_app.models import DeadLetter, Session, TraceSession, UsageRecord
from tests.otlp.tools import Sender, assert_recount_finds_nothing, everything
from tests.shared import SHARED, needs_shared

DOCUMENTS = SHARED / "data" / "otlp" / "langfuse-framework-traces"
EXPECTED = SHARED / "data" / "expected" / "otlp-usage.json"
NAMES = sorted(path.name for path in DOCUMENTS.glob("*.json")) or ["none"]
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")

pytestmark = [pytest.mark.django_db, needs_shared]


def usage() -> dict[str, Any]:
    rows = UsageRecord.objects.values("model").annotate(calls=Count("pk"), **{f"total_{name}": Sum(name) for name in COUNTS}).order_by()
    return {row["model"]: {"calls": row["calls"], **{name: row[f"total_{name}"] for name in COUNTS}} for row in rows}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
def test_gives_exactly_the_expected_usage_and_nothing_twice(name: str, protobuf: bool) -> None:
    document = json.loads((DOCUMENTS / name).read_text())
    expected = json.loads(EXPECTED.read_text())[name]
    sender = Sender()
    answer = sender.send(document, protobuf=protobuf)
    assert answer.content == (b"" if protobuf else b"{}")
    assert usage() == expected
    assert not DeadLetter.objects.exists()
    first = everything()
    assert len(first) == 1  # each document is one trace
    sender.send(document, protobuf=not protobuf)  # the same in the other encoding, too
    sender.send(document, protobuf=protobuf)
    assert everything() == first
    assert_recount_finds_nothing()


@pytest.mark.parametrize("name", NAMES)
def test_both_encodings_give_the_same(name: str) -> None:
    document = json.loads((DOCUMENTS / name).read_text())
    sender = Sender()
    sender.send(document)
    as_json = everything()
    TraceSession.objects.all().delete()
    Session.objects.all().delete()
    sender.send(document, protobuf=True)
    assert everything() == as_json


@pytest.mark.parametrize("name", NAMES)
def test_span_by_span_gives_the_same_session_and_usage(name: str) -> None:
    """As an exporter may send it: each span in a request of its own, in the order in which they ended."""
    document = json.loads((DOCUMENTS / name).read_text())
    expected = json.loads(EXPECTED.read_text())[name]
    sender = Sender()
    spans = [
        (int(span["endTimeUnixNano"]), group["resource"], part["scope"], span)
        for group in document["resourceSpans"]
        for part in group["scopeSpans"]
        for span in part["spans"]
    ]
    for _, resource, scope, span in sorted(spans, key=lambda item: (item[0], item[3]["spanId"])):
        sender.send({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]}]})
    split = everything()
    assert usage() == expected
    assert_recount_finds_nothing()
    whole = Sender()
    TraceSession.objects.all().delete()
    Session.objects.all().delete()
    whole.send(document)
    assert set(everything()) == set(split)
