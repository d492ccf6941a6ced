"""One session's usage by model and by tool: the query by hand, the page, the fold in the transcript."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app import queries, services
from sessions_app.events import CompactionEvent, Event, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Session
from tests.factories import at, make_session

pytestmark = pytest.mark.django_db


def store(session: Session, *events: Event) -> None:
    for number, event in enumerate(events):
        event.timestamp = at() + timedelta(seconds=10 * number)
        event.event_id = f"e{number}"
    result = services.store_events(session.id, list(events), source="test", now=at(60))
    assert not result.refused


def usage(response_id: str, read: int, write: int, new: int, out: int, **fields: object) -> UsageEvent:
    return UsageEvent(
        model="claude-sonnet-4-5", provider="anthropic", response_id=response_id,
        cache_read_tokens=read, cache_write_tokens=write, input_tokens=new, output_tokens=out, **fields,
    )  # type: ignore[arg-type]  # fmt: skip


def filled() -> Session:
    session = make_session()
    store(
        session,
        MessageEvent(role="user", content="go"),
        tool_use("c1", "Read", {"file_path": "a"}, response_id="r1"),
        usage("r1", 0, 1000, 0, 100),
        tool_result("c1", "x" * 3900, extra={"duration_ms": 250}),
        tool_use("c2", "Bash", {"command": "ls"}, response_id="r2"),
        usage("r2", 1000, 1100, 0, 50),
        tool_result("c2", "boom", is_error=True),
        MessageEvent(role="assistant", content="done", response_id="r3"),
        usage("r3", 2100, 60, 0, 10),
    )
    return session


def test_models_by_hand() -> None:
    (row,) = queries.models_of_session(filled())
    assert (row.model, row.calls, row.unpriced, row.source) == ("claude-sonnet-4-5", 3, 0, "computed")
    assert (row.cache_read_tokens, row.cache_write_tokens, row.input_tokens, row.output_tokens) == (3100, 2160, 0, 160)
    assert row.cache_share == 59
    # $0.30 read, $3.75 write, $15 out, each a million
    assert row.cost_usd == Decimal("0.00093") + Decimal("0.0081") + Decimal("0.0024")


def test_tools_by_hand() -> None:
    found = queries.tools_of_session(filled())
    rows = {row.tool: row for row in found.rows}
    assert (rows["Read"].calls, rows["Read"].errors, rows["Read"].took) == (1, 0, timedelta(milliseconds=250))
    assert (rows["Bash"].calls, rows["Bash"].errors, rows["Bash"].took) == (1, 1, timedelta(seconds=20))
    # the context grew by 1,000 tokens beyond the answer before it, all of it the file's; two calls read it: stored once, then from the cache
    assert (rows["Read"].tokens, rows["Read"].carried) == (1000, 2000)
    assert rows["Read"].cost_usd == Decimal("0.00375") + Decimal("0.0003")
    assert found.measured == 100
    assert [row.tool for row in found.rows] == ["Read", "Bash"]


def test_compaction_ends_it_and_unknown_prices_are_unknown() -> None:
    session = make_session()
    store(
        session,
        tool_use("c1", "Read", {}, response_id="r1"),
        tool_result("c1", "x" * 400),
        UsageEvent(model="no-such-model", input_tokens=1000, output_tokens=1, response_id="r2"),
        CompactionEvent(trigger="auto", pre_tokens=1000, summary="s", messages_compacted=2),
        UsageEvent(model="no-such-model", input_tokens=1000, output_tokens=1, response_id="r3"),
    )
    (tool,) = queries.tools_of_session(session).rows
    assert tool.cost_usd is None
    assert tool.tokens == tool.carried > 0
    (model,) = queries.models_of_session(session)
    assert (model.cost_usd, model.unpriced) == (None, 2)


def test_empty_session() -> None:
    session = make_session()
    assert queries.models_of_session(session) == []
    assert queries.tools_of_session(session).rows == []


def test_page_fold_and_who_sees_them(cast: SimpleNamespace, client: Client) -> None:
    session = filled()
    address = reverse("sessions:usage", args=[session.pk])
    for person, status in ((cast.alice, 200), (cast.bob, 200), (cast.charlie, 404)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get(address).status_code == status
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(address).content.decode()
    assert "<html" in page
    assert "Attributed, and no part of any sum" in page
    piece = client.get(address, headers={"HX-Request": "true"})
    assert "<html" not in piece.content.decode()
    assert 'id="usage-tables"' in piece.content.decode()
    assert "HX-Request" in piece.headers["Vary"]


def test_queries_do_not_grow() -> None:
    few, many = make_session(key="few"), make_session(key="many")
    store(few, tool_use("a", "Read", {}), tool_result("a", "x"))
    services.store_events(
        many.id,
        [
            event
            for n in range(30)
            for event in (tool_use(f"b{n}", f"T{n}", {}, timestamp=at(n)), tool_result(f"b{n}", "x", timestamp=at(n)))
        ],
        source="other",
        now=at(60),
    )
    counts = []
    for session in (few, many):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            queries.models_of_session(session)
            queries.tools_of_session(session)
        counts.append(len(captured))
    assert counts == [4, 4]
