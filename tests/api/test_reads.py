"""What is read back: lists by page, one session, its messages and usage, and the costs; and that queries stay few."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sessions_app import queries, services
from sessions_app.events import tool_use
from sessions_app.models import Session
from tests.api.conftest import Api, problem
from tests.factories import T0, at, make_session, make_usage, make_user

pytestmark = pytest.mark.django_db


def keys(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["key"] for row in answer.json()["sessions"]]


def test_the_list_and_its_filters(api: Api) -> None:
    make_session(key="open", now=at(1), messages=2)
    make_session("slack", "closed", now=at(2), closed_at=at(3))
    make_session(key="archived", now=at(3), archived_at=at(4))
    make_session("slack", "unread", user_id="bob", now=at(4), unread_since=at(4), agent="bot")
    assert keys(api.get("/sessions")) == ["unread", "closed", "open"]
    assert keys(api.get("/sessions", status="all")) == ["unread", "archived", "closed", "open"]
    assert keys(api.get("/sessions", status="open")) == ["unread", "open"]
    assert keys(api.get("/sessions", status="closed")) == ["closed"]
    assert keys(api.get("/sessions", status="archived")) == ["archived"]
    assert keys(api.get("/sessions", channel="slack")) == ["unread", "closed"]
    assert keys(api.get("/sessions", unread="true")) == ["unread"]
    assert keys(api.get("/sessions", unread="false")) == ["closed", "open"]
    assert keys(api.get("/sessions", user_id="bob")) == ["unread"]
    assert keys(api.get("/sessions", agent="bot", status="all")) == ["unread"]
    assert keys(api.get("/sessions", agent="", user_id="nobody")) == []


def test_the_other_filters_alone_and_together(api: Api) -> None:
    make_session("slack", "old", now=at(0), project="/srv/shop", model="gpt-5", tags=["bug"], error_count=2, title="Tax return")
    make_session("slack", "cron", now=at(1), triggered_by="nightly", cost_usd=Decimal("0.5"), model="gpt-5")
    make_session("main", "heart", now=at(2), triggered_by="__heartbeat__", created_at=at(days=-2))
    for query, found in (
        ({"project": "/srv/shop"}, ["old"]),
        ({"model": "gpt-5"}, ["cron", "old"]),
        ({"trigger": "person"}, ["old"]),
        ({"trigger": "cron"}, ["cron"]),
        ({"trigger": "cron:nightly"}, ["cron"]),
        ({"trigger": "cron:other"}, []),
        ({"trigger": "heartbeat"}, ["heart"]),
        ({"has_errors": "true"}, ["old"]),
        ({"has_errors": "false"}, ["heart", "cron"]),
        ({"cost_min": "0.5"}, ["cron"]),
        ({"cost_max": "0.499999999"}, ["heart", "old"]),
        ({"tag": "bug"}, ["old"]),
        ({"text": "tax"}, ["old"]),
        ({"since": "2026-09-01"}, ["heart", "cron", "old"]),
        ({"since": "2026-09-02"}, []),
        ({"until": "2026-09-01"}, ["heart"]),
        ({"since": "2026-08-31", "until": "2026-09-01"}, ["heart"]),
        ({"sort": "cost", "trigger": "cron"}, ["cron"]),
        ({"sort": "started"}, ["cron", "old", "heart"]),
        ({"status": "stale"}, ["cron", "old"]),
        ({"status": "stale", "model": "gpt-5", "tag": "bug"}, ["old"]),
    ):
        answer = api.get("/sessions", **query)
        assert keys(answer) == found, query
        assert answer.json()["searched_to"] is None


def test_pages_neither_repeat_nor_skip(api: Api) -> None:
    for number in range(7):
        make_session(key=str(number), now=at(number // 2))
    seen: list[str] = []
    after = ""
    while after is not None:
        page = api.get("/sessions", limit=3, **({"after": after} if after else {}))
        seen += keys(page)
        after = page.json()["next_cursor"]
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"status": "lost"}, "status"),
        ({"unread": "perhaps"}, "unread"),
        ({"after": "nonsense"}, "after"),
        ({"user_id": "\0"}, "user_id"),
        ({"agent": "a" * 256}, "agent"),
        ({"trigger": "somebody"}, "trigger"),
        ({"cost_min": "-1"}, "cost_min"),
        ({"cost_max": "NaN"}, "cost_max"),
        ({"since": "2026-13-01"}, "since"),
        ({"until": "0001-01-01"}, "until"),
        ({"sort": "colour"}, "sort"),
    ],
)
def test_a_bad_filter_is_named(api: Api, query: dict[str, str], field: str) -> None:
    assert problem(api.get("/sessions", **query)) == (422, "invalid_value", field)


def test_a_session_with_tokens_and_cost(api: Api) -> None:
    session = make_session(user_id="alice", messages=2)
    make_usage(session, cost_usd="0.25", cache_read_tokens=5)
    make_usage(session, model="made-up")
    row = api.get("/sessions").json()["sessions"][0]
    detail = api.get(f"/sessions/{session.pk}").json()
    assert detail == {**row, "summary": "", "extra": {}}
    assert (detail["cost_usd"], detail["input_tokens"], detail["total_input_tokens"], detail["unpriced_turns"]) == (
        "0.250000000",
        2000,
        2005,
        1,
    )
    assert (detail["title"], detail["created_at"], detail["is_read"]) == ("message 0", "2026-09-01T12:00:00Z", True)
    Session.objects.filter(pk=session.pk).update(summary="s", extra={"k": 2**70})
    assert api.get(f"/sessions/{session.pk}").json()["extra"] == {"k": 2**70}


def test_messages_by_page(api: Api) -> None:
    session = make_session(messages=5)
    first = api.get(f"/sessions/{session.pk}/messages", limit=3).json()
    assert [row["content"] for row in first["messages"]] == ["message 0", "message 1", "message 2"]
    rest = api.get(f"/sessions/{session.pk}/messages", limit=3, after=first["next_cursor"]).json()
    assert [row["content"] for row in rest["messages"]] == ["message 3", "message 4"]
    assert rest["next_cursor"] is None
    assert api.get(f"/sessions/{session.pk}/messages", after=str(2**63 - 1)).json() == {"messages": [], "next_cursor": None}
    for after in ("-1", str(2**63), "x", "1e3"):
        assert problem(api.get(f"/sessions/{session.pk}/messages", after=after)) == (422, "invalid_value", "after")


def test_a_page_of_long_messages_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session(messages=4)
    pages, after = [], 0
    while after is not None:
        page = queries.message_page(session, after=after, max_characters=24)  # two of "message 0" and an empty extra, not three
        pages.append(len(page.rows))
        after = page.next_cursor  # type: ignore[assignment]
    assert pages == [2, 2]
    assert len(queries.message_page(session, max_characters=1).rows) == 1


def test_usage_of_a_session(api: Api) -> None:
    session = make_session()
    make_usage(session, cost_usd="0.1", cache_write_tokens=7)
    make_usage(session, model="made-up", user_id="bob")
    body = api.get(f"/sessions/{session.pk}/usage").json()
    assert (body["total_cost_usd"], body["total_turns"], body["total_input_tokens"], body["unpriced_turns"]) == ("0.100000000", 2, 2007, 1)
    assert [(row["turn"], row["cost_usd"], row["cost_source"], row["user_id"]) for row in body["records"]] == [
        (1, "0.100000000", "reported", "alice"),
        (2, None, "unknown", "bob"),
    ]
    page = api.get(f"/sessions/{session.pk}/usage", limit=1).json()
    assert api.get(f"/sessions/{session.pk}/usage", limit=1, after=page["next_cursor"]).json()["records"][0]["turn"] == 2


def test_costs_and_their_splits(api: Api) -> None:
    session = make_session()
    make_usage(session, cost_usd="0.1", when=T0)
    make_usage(session, cost_usd="0.02", when=at(days=1), user_id="bob", model="m")
    make_usage(session, model="made-up", when=at(days=1))
    services.store_events(session, [tool_use("c", "Bash", {}, timestamp=T0)], now=T0)
    body = api.get("/costs").json()
    assert (body["total_cost_usd"], body["total_turns"], body["unpriced_turns"], body["time_zone"]) == ("0.120000000", 3, 1, "UTC")
    assert [(row["user_id"], row["total_cost_usd"]) for row in body["by_user"]] == [("alice", "0.100000000"), ("bob", "0.020000000")]
    assert [(row["model"], row["total_cost_usd"]) for row in body["by_model"]] == [
        ("claude-sonnet-4-5", "0.100000000"), ("m", "0.020000000"), ("made-up", None),
    ]  # fmt: skip
    assert body["by_day"][1] == {
        "date": "2026-09-02",
        "total_cost_usd": "0.020000000",
        "by_model": [{"model": "m", "cost_usd": "0.020000000"}, {"model": "made-up", "cost_usd": None}],
    }
    assert body["by_tool"] == [{"tool_name": "Bash", "invocations": 1, "errors": 0}]
    for split in ("user", "model", "day", "tool"):
        one = api.get("/costs", by=split).json()
        assert one[f"by_{split}"] == body[f"by_{split}"]
        assert [name for name in ("user", "model", "day", "tool") if one[f"by_{name}"] is not None] == [split]
    assert sum(Decimal(row["total_cost_usd"] or 0) for row in body["by_user"]) == Decimal(body["total_cost_usd"])


@pytest.mark.parametrize(
    ("since", "until", "cost"),
    [
        ("2026-09-01", "2026-09-02", "0.100000000"),
        ("2026-09-02", None, "0.020000000"),
        ("2026-09-01T12:00:00Z", "2026-09-01T12:00:01Z", "0.100000000"),
        ("2026-09-01T14:00:01+02:00", "2026-09-02", "0.000000000"),
        ("2026-09-03", "2026-09-01", "0.000000000"),
    ],
)
def test_costs_of_a_range(api: Api, since: str, until: str | None, cost: str) -> None:
    session = make_session()
    make_usage(session, cost_usd="0.1", when=T0)
    make_usage(session, cost_usd="0.02", when=at(days=1))
    query = {"since": since, **({"until": until} if until else {})}
    assert api.get("/costs", **query).json()["total_cost_usd"] == cost


@pytest.mark.parametrize(
    "bad", ["2026-09-01T12:00:00", "yesterday", "2026-13-01", "0001-01-01", "9999-12-31", "292277-01-01T00:00:00Z", "1"]
)
def test_a_bad_range_is_named(api: Api, bad: str) -> None:
    assert problem(api.get("/costs", since=bad)) == (422, "invalid_value", "since")
    assert problem(api.get("/costs", until=bad)) == (422, "invalid_value", "until")


def test_a_reader_sees_what_its_user_sees(make_api: Any) -> None:
    make_user("bob", permissions=["view_all_sessions"])
    own, other = make_session(user_id="alice", key="own"), make_session(user_id="carol", key="other")
    make_usage(own, cost_usd="1")
    make_usage(other, cost_usd="2")
    for user, seen, cost in (("alice", ["own"], "1.000000000"), ("bob", ["other", "own"], "3.000000000"), ("nobody", [], "0.000000000")):
        reader = make_api("read", user_id=user)
        assert sorted(keys(reader.get("/sessions"))) == seen
        assert reader.get("/costs").json()["total_cost_usd"] == cost
        if "other" not in seen:
            for path in ("", "/messages", "/usage"):
                assert problem(reader.get(f"/sessions/{other.pk}{path}")) == (404, "session_not_found", "session_id")
    everything = make_api("read", sees_all=True)
    assert sorted(keys(everything.get("/sessions"))) == ["other", "own"]


def test_someone_without_an_account_is_shut_out_of_nothing_of_theirs(make_api: Any) -> None:
    make_session(user_id="telegram:7", unread_since=T0)
    reader = make_api("read", user_id="telegram:7")
    [row] = reader.get("/sessions").json()["sessions"]
    assert row["is_read"] is False
    gone = make_user("alice")
    gone.is_active = False
    gone.save()
    make_session(user_id="alice", key="2")
    assert make_api("read", user_id="alice").get("/sessions").json()["sessions"] == []


@pytest.mark.parametrize("path", ["/sessions", "/sessions/{}", "/sessions/{}/messages", "/sessions/{}/usage", "/costs"])
def test_queries_do_not_grow_with_the_rows(make_api: Any, path: str) -> None:
    make_user("alice")
    reader = make_api("read", user_id="alice")
    first = make_session(user_id="alice", messages=3)
    url = path.format(first.pk)
    reader.get(url)  # notes the token's use
    counts = []
    for number in range(2):
        with CaptureQueriesContext(connection) as captured:
            assert reader.get(url).status_code == 200
        counts.append(len(captured))
        for more in range(5):
            session = make_session(user_id="alice", key=f"{number} {more}", messages=2, now=datetime(2026, 9, 2, more, tzinfo=UTC))
            make_usage(session)
            make_usage(first, model=f"m{more}")
            services.save_message(first.pk, "user", "more")
    assert counts[0] == counts[1] <= 10
