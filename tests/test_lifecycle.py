"""When a session begins, goes on, ends and begins again: every row of the contract, both outcomes, and the same call twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from sessions_app import queries, services
from sessions_app.errors import InvalidSession, SessionAlreadyOpen, SessionNotFound, UnknownChannel
from sessions_app.models import Channel, Message, Session
from tests.factories import T0, at, make_session

pytestmark = pytest.mark.django_db

NOBODY = uuid.UUID(int=7)
BAD_IDS = ["", "not-a-uuid", "0", "\x00", "é" * 36, str(NOBODY), NOBODY, 5, None]


# --- resolve ------------------------------------------------------------------------------------------------------------------------


def test_resolving_where_nothing_is_open_says_new() -> None:
    assert services.resolve_session("telegram", "42", gap_minutes=360, now=T0) == services.New(None)
    assert not Session.objects.exists()


def test_resolving_continues_within_the_gap_and_closes_at_it() -> None:
    session = make_session("telegram", "42", user_id="admin")
    assert services.resolve_session("telegram", "42", gap_minutes=360, now=at(359.99)) == services.Continue(session.id)
    assert services.resolve_session("telegram", "42", gap_minutes=360, now=at(360)) == services.New(session.id)
    session.refresh_from_db()
    assert (session.is_closed, session.closed_at, session.summary) == (True, at(360), "Auto-closed: inactivity")
    assert services.resolve_session("telegram", "42", gap_minutes=360, now=at(361)) == services.New(None)


def test_an_explicit_channel_is_continued_however_old() -> None:
    session = make_session("main", "k", user_id="admin")
    assert services.resolve_session("main", "k", gap_minutes=None, now=at(days=3650)) == services.Continue(session.id)


def test_a_gap_of_nothing_never_continues() -> None:
    session = make_session("main", "k", user_id="admin")
    assert services.resolve_session("main", "k", gap_minutes=0, now=T0) == services.New(session.id)


@pytest.mark.parametrize(("channel", "key", "user_id"), [("slack", "42", "admin"), ("telegram", "43", "admin"), ("telegram", "42", "bob")])
def test_another_channel_key_or_user_is_another_session(channel: str, key: str, user_id: str) -> None:
    make_session("telegram", "42", user_id="admin")
    assert services.resolve_session(channel, key, gap_minutes=360, user_id=user_id, now=T0) == services.New(None)


def test_activity_moves_the_end_of_the_gap() -> None:
    session = make_session("telegram", "42", user_id="admin")
    services.touch_session(session.id, now=at(300))
    assert services.resolve_session("telegram", "42", gap_minutes=360, now=at(600)) == services.Continue(session.id)


def test_a_clock_that_runs_behind_continues() -> None:
    session = make_session("telegram", "42", user_id="admin")
    assert services.resolve_session("telegram", "42", gap_minutes=360, now=at(-5000)) == services.Continue(session.id)


@pytest.mark.parametrize("channel", ["nowhere", "", "\x00", "main ", "MAIN"])
def test_an_unknown_channel_lists_the_known_ones(channel: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: services.resolve_session(channel, "k", gap_minutes=None),
        lambda: services.create_session(channel, "k"),
        lambda: services.open_session(channel, "k"),
    ]
    for call in calls:
        with pytest.raises(UnknownChannel) as caught:
            call()
        assert caught.value.known == ["cli", "email", "main", "slack", "telegram"]
        assert "telegram" in caught.value.detail
    assert not Session.objects.exists()


# --- create -------------------------------------------------------------------------------------------------------------------------


def test_a_new_session_is_open_read_and_empty() -> None:
    made = services.create_session("slack", "T1:C2:3", triggered_by="nightly", now=T0)
    stored = Session.objects.get()
    assert stored.id == made.id
    assert (stored.channel_id, stored.key, stored.user_id, stored.triggered_by) == ("slack", "T1:C2:3", "admin", "nightly")
    assert (stored.title, stored.summary, stored.message_count) == ("", "", 0)
    assert (stored.is_closed, stored.is_read, stored.is_archived) == (False, True, False)
    assert (stored.created_at, stored.last_message_at) == (T0, T0)
    assert stored.triggered_by == "nightly"
    assert make_session("main", "x").triggered_by is None


def test_creating_twice_names_the_one_that_is_open() -> None:
    first = make_session("main", "k")
    with pytest.raises(SessionAlreadyOpen) as caught:
        services.create_session("main", "k", user_id="alice")
    assert caught.value.session_id == first.id
    assert Session.objects.count() == 1
    services.close_session(first.id)
    assert services.create_session("main", "k", user_id="alice").id != first.id


def test_a_refused_creation_leaves_the_callers_transaction_whole() -> None:
    make_session("main", "k")
    with transaction.atomic():
        other = make_session("main", "other")
        with pytest.raises(SessionAlreadyOpen):
            services.create_session("main", "k", user_id="alice")
    assert Session.objects.filter(pk=other.pk).exists()


def test_the_database_itself_allows_one_open_session() -> None:
    session = make_session("main", "k")
    with pytest.raises(IntegrityError), transaction.atomic():
        Session.objects.create(channel_id="main", key="k", user_id="alice", created_at=T0, last_message_at=T0)
    Session.objects.create(channel_id="main", key="k", user_id="alice", created_at=T0, last_message_at=T0, closed_at=T0)
    assert Session.objects.open().get() == session


@pytest.mark.parametrize("field", ["key", "user_id", "triggered_by"])
def test_names_have_a_length(field: str) -> None:
    names: dict[str, Any] = {"key": "k", "user_id": "u", field: "x" * 256}
    with pytest.raises(InvalidSession) as caught:
        services.create_session("main", names.pop("key"), **names)
    assert caught.value.field == field
    assert "256" in caught.value.detail


@pytest.mark.parametrize("value", [5, None, b"k", ["k"]])
def test_a_key_is_text(value: Any) -> None:
    with pytest.raises(InvalidSession):
        services.open_session("main", value)


def test_what_no_database_holds_is_replaced_in_names_and_found_again() -> None:
    made = services.open_session("main", "a\x00b\ud800", user_id="c\x00", now=T0)
    again = services.open_session("main", "a\x00b\ud800", user_id="c\x00", now=T0)
    assert made.session.id == again.session.id
    assert (made.session.key, made.session.user_id) == ("a\ufffdb\ufffd", "c\ufffd")


def test_the_longest_names_fit_into_every_index() -> None:
    """PostgreSQL refuses an index row beyond 2,704 bytes; four-byte characters that do not compress are the worst case."""
    import random

    rng = random.Random(1)

    def name(length: int) -> str:
        return "".join(chr(rng.randrange(0x10000, 0x10FFFF)) for _ in range(length))

    channel = Channel.objects.create(slug="c" * 50, label="x" * 100)
    session = services.create_session(
        channel.slug, name(255), user_id=name(255), triggered_by=name(255), agent=name(100), project=name(500), now=T0
    )
    event_id, source = name(255), name(64)
    services.save_message(session.id, "user", name(300_000), event_id=event_id, source=source, now=T0)
    call = f'{{"type": "tool_use", "id": "{name(255)}", "name": "{name(255)}", "input": {{}}}}'
    services.save_message(session.id, "tool_use", call, response_id=name(255), subagent_id=name(100), source=source, now=T0)
    services.record_usage(
        session.id,
        model=name(255),
        provider=name(100),
        user_id=name(255),
        input_tokens=1,
        output_tokens=1,
        event_id=event_id,
        source=source,
        now=T0,
    )
    services.record_compaction(
        session.id, trigger=name(40), pre_tokens=1, summary=name(300_000), messages_compacted=1, event_id=event_id, source=source, now=T0
    )
    Session.objects.filter(pk=session.pk).update(agent_session_id=name(255), git_branch=name(255))
    services.close_session(session.id, name(300_000))
    assert services.recount().total == 0
    assert queries.cost_overview().total_turns == 1


# --- open ---------------------------------------------------------------------------------------------------------------------------


def test_opening_creates_and_then_continues() -> None:
    first = services.open_session("telegram", "42", user_id="alice", triggered_by="cron", agent="bot", project="p", now=T0)
    again = services.open_session("telegram", "42", user_id="alice", now=at(1))
    assert (first.created, first.closed_session_id) == (True, None)
    assert (again.created, again.closed_session_id, again.session.id) == (False, None, first.session.id)
    assert (first.session.triggered_by, first.session.agent, first.session.project) == ("cron", "bot", "p")
    assert Session.objects.count() == 1


def test_opening_takes_the_channels_gap_and_says_what_it_closed() -> None:
    first = services.open_session("telegram", "42", now=T0)
    second = services.open_session("telegram", "42", now=at(360))
    assert (second.created, second.closed_session_id) == (True, first.session.id)
    first.session.refresh_from_db()
    assert (first.session.summary, first.session.closed_at) == (services.AUTO_CLOSED, at(360))


def test_opening_may_bring_its_own_gap() -> None:
    first = services.open_session("telegram", "42", now=T0)
    assert not services.open_session("telegram", "42", gap_minutes=None, now=at(days=9)).created
    assert services.open_session("telegram", "42", gap_minutes=5, now=at(5)).closed_session_id == first.session.id


def test_an_operators_new_gap_holds_at_once() -> None:
    first = services.open_session("telegram", "42", now=T0)
    Channel.objects.filter(pk="telegram").update(gap_minutes=10)
    assert services.open_session("telegram", "42", now=at(10)).closed_session_id == first.session.id


# --- close and reopen ---------------------------------------------------------------------------------------------------------------


def test_closing_again_is_harmless_and_a_new_summary_replaces_the_old() -> None:
    session = make_session()
    services.close_session(session.id, "first", now=at(1))
    services.close_session(session.id, now=at(2))
    session.refresh_from_db()
    assert (session.closed_at, session.summary) == (at(1), "first")
    services.close_session(str(session.id), "second\x00", now=at(3))
    session.refresh_from_db()
    assert (session.closed_at, session.summary) == (at(1), "second\ufffd")


def test_closing_keeps_what_was_said_and_read() -> None:
    session = make_session(messages=2)
    services.close_session(session.id)
    stored = Session.objects.get()
    assert (stored.message_count, stored.is_read, stored.is_archived) == (2, True, False)


def test_reopening_undoes_a_close() -> None:
    session = make_session()
    services.close_session(session.id, "done")
    services.reopen_session(session.id)
    services.reopen_session(session.id)
    session.refresh_from_db()
    assert (session.is_closed, session.summary) == (False, "")


def test_reopening_fails_when_another_has_taken_its_place() -> None:
    session = make_session()
    services.close_session(session.id, "done", now=at(1))
    other = make_session()
    with transaction.atomic(), pytest.raises(SessionAlreadyOpen) as caught:
        services.reopen_session(session.id)
    assert caught.value.session_id == other.id
    session.refresh_from_db()
    assert (session.closed_at, session.summary) == (at(1), "done")


# --- archive, touch, title ----------------------------------------------------------------------------------------------------------


def test_archiving_takes_it_out_of_the_list_and_keeps_it_reachable() -> None:
    session = make_session()
    services.archive_session(session.id, now=at(1))
    services.archive_session(session.id, now=at(2))
    session.refresh_from_db()
    assert session.archived_at == at(1)
    assert queries.list_sessions() == []
    assert [row.id for row in queries.list_sessions(filter=queries.SessionFilter(status="archived"))] == [session.id]
    found = queries.get_session(session.id)
    assert found is not None and found.is_archived and not found.is_closed
    services.archive_session(session.id, False)
    services.archive_session(session.id, False)
    assert [row.id for row in queries.list_sessions()] == [session.id]


def test_touching_counts_activity_and_never_goes_back() -> None:
    session = make_session(messages=1)
    services.touch_session(session.id, now=at(5))
    services.touch_session(session.id, now=at(3))
    session.refresh_from_db()
    assert (session.last_message_at, session.message_count, session.touch_count) == (at(5), 3, 2)
    assert Message.objects.count() == 1


def test_the_first_title_wins() -> None:
    session = make_session()
    services.set_title_if_empty(session.id, " \n\t ")
    services.set_title_if_empty(session.id, "  Plan\n the\u2003offsite\t")
    services.set_title_if_empty(session.id, "another")
    session.refresh_from_db()
    assert session.title == "Plan the offsite"


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"  # one grapheme of seven code points
FLAG = "\U0001f1e8\U0001f1ed"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 100 + "…"),
        ("x" * 99 + " y", "x" * 99 + "…"),
        ("x" * 99 + "e\u0301", "x" * 99 + "…"),  # a letter and its accent are one grapheme
        ("x" * 98 + "e\u0301", "x" * 98 + "e\u0301"),
        ("x" * 98 + "e\u0301y", "x" * 98 + "e\u0301…"),
        (FAMILY * 15, FAMILY * 14 + "…"),
        ("x" + FLAG * 60, "x" + FLAG * 49 + "…"),
        ("e" + "\u0301" * 300, "e" + "\u0301" * 99 + "…"),  # one grapheme longer than a title
        ("a\u00a0b\u3000c\u2028d\x1fe\x85f\x0bg", "a b c d e f g"),
        ("\x00\ud800 x", "\ufffd\ufffd x"),
        ("\u200b", "\u200b"),
    ],
)
def test_a_title_is_cut_between_graphemes(text: str, title: str) -> None:
    session = make_session()
    services.set_title_if_empty(session.id, text)
    session.refresh_from_db()
    assert session.title == title


def test_a_title_of_300_kilobytes_of_emoji() -> None:
    text = FAMILY * 12_000
    assert len(text.encode()) > 290_000
    session = make_session()
    services.save_message(session.id, "user", text, now=T0)
    session.refresh_from_db()
    assert session.title == FAMILY * 14 + "…"
    assert Message.objects.get().content == text


# --- ids ----------------------------------------------------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Any], Any]] = {
    "close": lambda i: services.close_session(i),
    "close with summary": lambda i: services.close_session(i, "x"),
    "reopen": lambda i: services.reopen_session(i),
    "mark read": lambda i: services.mark_read(i),
    "mark unread": lambda i: services.mark_read(i, False),
    "archive": lambda i: services.archive_session(i),
    "unarchive": lambda i: services.archive_session(i, False),
    "touch": lambda i: services.touch_session(i),
    "title": lambda i: services.set_title_if_empty(i, "x"),
    "empty title": lambda i: services.set_title_if_empty(i, " "),
    "message": lambda i: services.save_message(i, "user", "x"),
    "usage": lambda i: services.record_usage(i, model="m", input_tokens=1, output_tokens=1),
    "compaction": lambda i: services.record_compaction(i, trigger="auto", pre_tokens=1, summary="", messages_compacted=1),
    "events": lambda i: services.store_events(i, []),
}


@pytest.mark.parametrize("bad", BAD_IDS, ids=repr)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_never_vanishes(write: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(SessionNotFound) as caught:
        write(bad)
    assert caught.value.http_status == 404
    assert not Session.objects.exists() and not Message.objects.exists()


@pytest.mark.parametrize("bad", BAD_IDS, ids=repr)
def test_a_read_of_a_malformed_or_missing_id_is_none_or_empty(bad: Any) -> None:
    assert queries.get_session(bad) is None
    assert list(queries.get_messages(bad)) == []
    assert queries.session_usage(bad) == queries.UsageSummary()
    assert queries.session_row(bad, None) is None


def test_an_id_may_be_text_in_any_usual_form() -> None:
    session = make_session()
    for form in (session.id, str(session.id), session.id.hex, str(session.id).upper(), f"{{{session.id}}}"):
        assert queries.get_session(form) == session
        services.touch_session(form)


def test_new_ids_stand_together_at_the_end() -> None:
    made = [make_session(key=str(number)).id for number in range(3)]
    assert all(one.version == 7 for one in made)
    assert timedelta(0) <= timedelta(milliseconds=(made[-1].int >> 80) - (made[0].int >> 80)) < timedelta(minutes=5)
