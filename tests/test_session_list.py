"""The list of sessions: every filter alone and with others, against a plain condition; pages that neither repeat nor skip; a constant number of queries."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sessions_app import queries
from sessions_app.models import ReadMark, ReadWatermark, Session
from sessions_app.queries import SessionFilter, session_list
from sessions_app.queries.sessions import SORT_COLUMNS, matching
from tests.factories import T0, at, change_rows, make_session, make_user

pytestmark = pytest.mark.django_db

NOW = at(days=20)
MODELS = ("claude-sonnet-4-5", "gpt-5-mini", "claude-3-opus", "")
CHANNELS = ("main", "cli", "slack", "email")
AGENTS = ("codex", "bot", "")
USERS = ("alice", "bob", "carol")
PROJECTS = ("shop", "blog", "")
TRIGGERS = (None, None, "nightly", "weekly", "__heartbeat__")
TAGS = ("red", "green", 'a "b"')


def store(count: int, *, seed: int = 1, days: int = 20) -> list[Session]:
    """Sessions of every kind, spread over some days; some of them at the same moment."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        started = T0 + timedelta(minutes=rng.randrange(days * 24 * 4) * 15)
        ran = rng.choice([timedelta(0), timedelta(minutes=30), timedelta(hours=5), timedelta(days=2), timedelta(days=9)])
        session = make_session(rng.choice(CHANNELS), str(number), user_id=rng.choice(USERS), triggered_by=rng.choice(TRIGGERS), now=started)
        made.append(session)
        ended = started + ran
        state = rng.choice(["open", "open", "closed", "archived"])
        change_rows(
            Session.objects.filter(pk=session.pk),
            agent=rng.choice(AGENTS),
            project=rng.choice(PROJECTS),
            model=rng.choice(MODELS),
            last_message_at=ended,
            title=rng.choice(["Tax return", "Über 100 %", "a_b", ""]),
            summary=rng.choice(["", "taxes paid"]),
            closed_at=ended if state == "closed" else None,
            archived_at=ended if state == "archived" else None,
            unread_since=rng.choice([None, ended, at(days=rng.randrange(days))]),
            error_count=rng.choice([0, 0, 3]),
            message_count=rng.randrange(6),
            cost_usd=rng.choice([Decimal(0), Decimal("0.000000001"), Decimal("0.25"), Decimal(2)]),
            tags=rng.sample(TAGS, rng.choice([0, 0, 1, 2])),
        )
    return made


FILTERS = st.builds(
    SessionFilter,
    status=st.sampled_from(queries.STATUSES),
    unread=st.sampled_from([None, None, None, True, False]),
    channel=st.sampled_from(["", "", "", *CHANNELS]),
    user_id=st.sampled_from(["", "", "", *USERS, "nobody"]),
    agent=st.sampled_from(["", "", "", "codex"]),
    project=st.sampled_from(["", "", "", "shop"]),
    model=st.sampled_from(["", "", "", *MODELS]),
    trigger=st.sampled_from(["", "", "", "person", "cron", "heartbeat", "cron:nightly", "cron:unknown"]),
    has_errors=st.sampled_from([None, None, None, True, False]),
    cost_min=st.sampled_from([None, None, None, Decimal("0.000000001"), Decimal(1)]),
    cost_max=st.sampled_from([None, None, None, Decimal("0.25")]),
    since=st.sampled_from([None, None, date(2026, 9, 5), date(2026, 9, 12)]),
    until=st.sampled_from([None, None, date(2026, 9, 8), date(2026, 9, 13)]),
    tag=st.sampled_from(["", "", "", *TAGS, "blue"]),
    text=st.sampled_from(["", "", "", "TAX", "%", "_b", "1"]),
    sort=st.sampled_from(queries.SORTS),
)


def expected(filter: SessionFilter, viewer: User | None) -> list[Any]:
    """The ids that the plain condition gives, in the order of the filter's sort."""
    column = SORT_COLUMNS[filter.sort]
    return list(matching(filter, viewer=viewer, now=NOW).order_by(f"-{column}", "-pk").values_list("pk", flat=True))


def pages(filter: SessionFilter, viewer: User | None, limit: int) -> Iterator[Session]:
    """Every row, page after page, and beyond where a bounded search stops."""
    after: str | None = None
    for _ in range(1000):
        page = queries.session_page(filter, viewer=viewer, after=after, limit=limit, now=NOW)
        yield from page.rows
        assert page.next_cursor is None or page.searched_to is None
        after = page.next_cursor or page.searched_to
        if after is None:
            return
    raise AssertionError("the pages have no end")


@pytest.fixture
def viewers() -> dict[str, User | None]:
    """Nobody; one who sees all and marked nothing; one with marks; one with a watermark and marks; one who sees only her own, with marks."""
    store(60)
    found: dict[str, User | None] = {"system": None, "staff": make_user("staff", staff=True)}
    rng = random.Random(2)
    for name, staff, watermark in (("marks", True, False), ("watermark", True, True), ("alice", False, False)):
        viewer = found[name] = make_user(name, staff=staff)
        if watermark:
            ReadWatermark.objects.create(viewer=viewer, at=at(days=9))
        for session in rng.sample(list(Session.objects.order_by("pk")), 25):
            ReadMark.objects.create(viewer=viewer, session=session, at=at(days=rng.randrange(20)), is_unread=rng.random() < 0.4)
    return found


LIMITS = {
    "as it is": {},
    "everything is frequent": {"GATHER": 0, "LARGEST_GROUPS": 3},
    "walks are short": {"GATHER": 0, "WALK": 5, "LARGEST_GROUPS": 2},
    "searches are short": {"GATHER": 0, "DRIVE": 4, "WALK": 3, "SCAN_LIMIT": 7},
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_any_filter_finds_what_its_plain_condition_finds_page_after_page(
    viewers: dict[str, User | None], limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(session_list, name, value)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=settings().max_examples * 2, phases=[Phase.explicit, Phase.generate])
    @given(FILTERS, st.sampled_from(sorted(viewers)), st.integers(1, 20))
    def check(filter: SessionFilter, who: str, limit: int) -> None:
        viewer = viewers[who]
        rows = list(pages(filter, viewer, limit))
        found, wanted = [row.pk for row in rows], expected(filter, viewer)
        if limits.get("SCAN_LIMIT") and filter.sort != "activity":
            assert sorted(found) == sorted(wanted)  # in order within each stretch that is looked at
        else:
            assert found == wanted
        if filter.unread is not None:
            assert {row.unread for row in rows} <= {filter.unread}  # type: ignore[attr-defined]
        total = queries.session_total(filter, viewer=viewer, now=NOW)
        assert total.count == len(wanted) if total.is_exact else total.count <= len(wanted)
        batch, after, ids = None, None, []
        while batch is None or after:
            batch = queries.matching_ids(filter, viewer=viewer, after=after, limit=limit, now=NOW)
            ids += batch.ids
            after = batch.next_cursor
        assert sorted(ids) == sorted(wanted)

    check()
