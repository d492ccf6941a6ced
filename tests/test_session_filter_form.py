"""The list's query string and its filter: one is made of the other, both ways, and nothing that stands there raises."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.forms import LIST_PERIODS, ListState, SessionFilterForm
from sessions_app.models import Channel
from sessions_app.queries import SORTS, STATUSES, SessionFilter
from sessions_app.views import filters

TODAY = date(2026, 11, 22)
CHANNELS = {"slack": Channel(slug="slack", label="Slack")}


def chosen(query: str) -> ListState:
    return SessionFilterForm(QueryDict(query)).chosen(CHANNELS, TODAY)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", SessionFilter()),
        ("status=stale", SessionFilter(status="stale")),
        ("read=unread", SessionFilter(unread=True)),
        ("channel=slack&user=a+b&agent=x&project=%2Fsrv&model=m&trigger=cron%3Anightly&tag=t&q=w", SessionFilter(
            channel="slack", user_id="a b", agent="x", project="/srv", model="m", trigger="cron:nightly", tag="t", text="w")),
        ("errors=1", SessionFilter(has_errors=True)),
        ("errors=0", SessionFilter(has_errors=False)),
        ("cost_min=0.5&cost_max=100", SessionFilter(cost_min=Decimal("0.5"), cost_max=Decimal(100))),
        ("since=2026-11-01&until=2026-11-03", SessionFilter(since=date(2026, 11, 1), until=date(2026, 11, 3))),
        ("period=7d", SessionFilter(since=date(2026, 11, 16), until=date(2026, 11, 23))),
        ("period=yesterday", SessionFilter(since=date(2026, 11, 21), until=date(2026, 11, 22))),
        ("sort=cost", SessionFilter(sort="cost")),
    ],
)  # fmt: skip
def test_query_string_to_filter_and_back(query: str, wanted: SessionFilter) -> None:
    state = chosen(query)
    assert state.filter == wanted
    assert state.complaints == ()
    assert state.query() == query


def test_the_last_day_as_people_say_it() -> None:
    assert chosen("since=2026-11-01&through=2026-11-02").filter == chosen("since=2026-11-01&until=2026-11-03").filter


def test_changes_keep_the_rest_and_begin_at_the_first_page() -> None:
    cursor = "MjAyNi0xMS0wMVQwMDowMDowMCswMDowMCB4"
    state = chosen(f"status=open&period=month&user=a&after={cursor}")
    assert state.after == cursor
    assert state.query(unread=True) == "status=open&read=unread&user=a&period=month"
    assert state.query(since=None, until=None) == "status=open&user=a"
    assert state.query(period="7d") == "status=open&user=a&period=7d"
    assert state.query(after=cursor) == f"status=open&user=a&period=month&after={cursor}"


@pytest.mark.parametrize(
    "query",
    [
        "status=bogus", "read=maybe", "channel=nope", "channel=%00", "user=%00", "trigger=moon", "errors=2", "cost_min=NaN", "cost_min=-1",
        "cost_min=2&cost_max=1", "cost_max=1e99", "since=yesterday", "since=0001-01-01", "until=9999-12-31", "since=2026-02-30",
        "since=2026-11-02&until=2026-11-01", "period=age", "sort=colour", "after=%ff", "after=abc", f"after={'A' * 5000}", f"q={'x' * 5000}",
        "sort=cost&after=MjAyNi0xMS0wMVQwMDowMDowMCswMDowMCB4", f"user={'x' * 300}",
    ],
)  # fmt: skip
def test_what_is_not_known_falls_back_and_is_named(query: str) -> None:
    state = chosen(query)
    assert len(state.complaints) == 1
    assert state.filter in (SessionFilter(), SessionFilter(sort="cost"))


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
FILTERS = st.builds(
    SessionFilter,
    status=st.sampled_from(STATUSES),
    unread=st.sampled_from([None, True, False]),
    channel=st.sampled_from(["", "slack"]),
    user_id=st.just("") | WORDS,
    agent=st.just("") | WORDS,
    model=st.just("") | WORDS,
    trigger=st.sampled_from(["", "person", "cron", "heartbeat"]) | WORDS.map("cron:{}".format),
    has_errors=st.sampled_from([None, True, False]),
    cost_min=st.none() | st.decimals(0, 5, places=9),
    cost_max=st.none() | st.decimals(6, 1_000_000, places=9),
    tag=st.just("") | WORDS.map(str.strip),
    text=st.just("") | WORDS.map(str.strip),
    sort=st.sampled_from(SORTS),
)


@given(FILTERS, st.sampled_from(["", *LIST_PERIODS]))
def test_every_filter_survives_its_query_string(filter: SessionFilter, period: str) -> None:
    query = ListState(filter, period).query()
    again = chosen(query)
    assert again.complaints == ()
    assert again.query() == query
    assert ListState(filter, period).filter == chosen(ListState(filter).query()).filter


@given(
    st.dictionaries(
        st.sampled_from(["status", "read", "channel", "user", "cost_min", "since", "after", "sort", "q", "period"]), st.text(max_size=40)
    )
)
def test_nothing_raises(data: dict[str, str]) -> None:
    query = QueryDict(mutable=True)
    query.update(data)
    state = SessionFilterForm(query).chosen(CHANNELS, TODAY)
    assert SessionFilterForm(QueryDict(state.query())).chosen(CHANNELS, TODAY).complaints == ()


@given(FILTERS)
def test_every_restriction_has_a_chip_that_takes_it_away(filter: SessionFilter) -> None:
    state = ListState(filter)
    left = state
    for _ in range(30):
        found = filters.chips(left, CHANNELS, TODAY)
        if not found:
            break
        left = chosen(found[0].query)
    assert left.filter == SessionFilter(sort=filter.sort)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("cost_min=5", ["$5 or more"]),
        ("cost_max=0.5", ["$0.50 or less"]),
        ("cost_min=0.005", ["$0.005 or more"]),
        ("cost_min=1&cost_max=2", ["$1 to $2"]),
        ("since=2026-11-01&until=2026-11-04", ["1 Nov to 3 Nov"]),
        ("since=2026-11-01&until=2026-11-02", ["1 Nov"]),
        ("since=2025-11-01", ["since 1 Nov 2025"]),
        ("until=2026-11-04", ["until 3 Nov"]),
        ("period=7d&channel=slack", ["Slack", "last 7 days"]),
        ("trigger=cron%3Anightly&errors=0", ["nightly", "Without errors"]),
    ],
)
def test_chips_say_it_as_people_do(query: str, words: list[str]) -> None:
    assert [chip.value for chip in filters.chips(chosen(query), CHANNELS, TODAY)] == words
