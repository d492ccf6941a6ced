"""Who has read what, and who sees what: the shared default, each viewer's own marks, and the one method that decides visibility."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from sessions_app import queries, services
from sessions_app.models import Channel, ReadMark, ReadWatermark, Session
from tests.factories import T0, at, make_session, make_usage, make_user

pytestmark = pytest.mark.django_db


def nightly(key: str = "n", *, now: datetime = T0, **fields: Any) -> Session:
    """A session that nobody watched, unread since `now`."""
    session = make_session(key=key, triggered_by="nightly", now=now, **fields)
    services.save_message(session.id, "assistant", "3 accounts do not match", now=now)
    return Session.objects.get(pk=session.pk)


def unread(session: Session, viewer: Any = None) -> bool:
    """What the list says, its filter, the single row and the counter: all four must agree."""
    row = next(row for row in queries.list_sessions(viewer=viewer) if row.id == session.id)
    filtered = session.id in {found.id for found in queries.list_sessions(filter=queries.SessionFilter(unread=True), viewer=viewer)}
    left_out = session.id in {found.id for found in queries.list_sessions(filter=queries.SessionFilter(unread=False), viewer=viewer)}
    again = queries.session_row(session.id, viewer)
    assert again is not None
    assert row.unread == again.unread == filtered == (not left_out)  # type: ignore[attr-defined]
    assert (
        queries.unread_count(viewer)
        == len(queries.list_sessions(filter=queries.SessionFilter(unread=True), viewer=viewer))
        == queries.rail_counts(viewer).unread
    )
    return filtered


# --- what makes a session unread ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["user", "system", "thinking", "tool_use", "tool_result"])
def test_only_the_assistants_words_make_unread(role: str) -> None:
    session = make_session(triggered_by="nightly")
    services.save_message(session.id, role, "x", now=at(1))
    assert not unread(session)
    services.save_message(session.id, "assistant", "x", now=at(2))
    assert unread(session)


@pytest.mark.parametrize(("triggered_by", "marks_unread", "expected"), [(None, False, False), ("cron", False, True), ("__heartbeat__", False, True), (None, True, True), ("cron", True, True)])  # fmt: skip
def test_unread_is_what_nobody_watched(triggered_by: str | None, marks_unread: bool, expected: bool) -> None:
    Channel.objects.filter(pk="main").update(marks_unread=marks_unread)
    session = make_session(triggered_by=triggered_by)
    services.save_message(session.id, "assistant", "x", now=at(1))
    session.refresh_from_db()
    assert (unread(session), session.is_read) == (expected, not expected)


def test_the_built_in_channels_do_not_mark_unread() -> None:
    assert not Channel.objects.filter(marks_unread=True).exists()


def test_unread_since_moves_to_the_newest_by_our_clock_and_never_back() -> None:
    session = nightly()
    assert session.unread_since == T0
    services.save_message(session.id, "assistant", "late, with an old time on it", timestamp=at(-900), now=at(5))
    services.save_message(session.id, "assistant", "from a host whose clock is behind", now=at(3))
    session.refresh_from_db()
    assert session.unread_since == at(5)


def test_touching_closing_and_usage_leave_the_read_state() -> None:
    session, other = nightly("1"), make_session(key="2", triggered_by="nightly")
    for one in (session, other):
        services.touch_session(one.id)
        make_usage(one)
        services.close_session(one.id)
    assert unread(session) and not unread(other)


# --- for all ------------------------------------------------------------------------------------------------------------------------


def test_without_a_viewer_it_is_set_for_all(alice: Any, bob: Any) -> None:
    session = nightly()
    assert unread(session) and unread(session, alice) and unread(session, bob)
    for _ in range(2):
        services.mark_read(session.id, now=at(1))
        assert not unread(session) and not unread(session, alice) and not unread(session, bob)
    for _ in range(2):
        services.mark_read(session.id, False, now=at(2))
        assert unread(session) and unread(session, alice) and unread(session, bob)


def test_read_for_all_clears_the_viewers_own_unread_marks(alice: Any, bob: Any) -> None:
    session = make_session()
    services.mark_read(session.id, False, viewer=bob, now=at(1))
    services.mark_read(session.id, now=at(2))
    assert not unread(session, bob) and not ReadMark.objects.filter(is_unread=True).exists()


def test_unread_for_all_reaches_those_who_had_read_it(alice: Any, bob: Any) -> None:
    session = make_session()
    services.mark_read(session.id, viewer=alice, now=at(1))
    services.mark_all_read(bob, now=at(1))
    services.mark_read(session.id, False, now=at(2))
    assert unread(session, alice) and unread(session, bob)


def test_unread_for_all_reaches_a_viewer_whose_hosts_clock_was_ahead(alice: Any) -> None:
    session = make_session()
    services.mark_read(session.id, viewer=alice, now=at(5))
    services.mark_read(session.id, False, now=at(2))
    assert unread(session, alice)


# --- for one viewer -----------------------------------------------------------------------------------------------------------------


def test_a_viewers_mark_is_the_viewers_alone(alice: Any, bob: Any) -> None:
    session = nightly()
    for _ in range(2):
        services.mark_read(session.id, viewer=bob, now=at(1))
        assert (unread(session), unread(session, alice), unread(session, bob)) == (True, True, False)
    for _ in range(2):
        services.mark_read(session.id, False, viewer=bob, now=at(2))
        assert (unread(session), unread(session, alice), unread(session, bob)) == (True, True, True)
    assert ReadMark.objects.count() == 1


def test_a_mark_holds_until_newer_unread_making_activity(bob: Any) -> None:
    session = nightly()
    services.mark_read(session.id, viewer=bob, now=at(1))
    services.save_message(session.id, "user", "thanks", now=at(2))
    assert not unread(session, bob)
    services.save_message(session.id, "assistant", "one more thing", now=at(3))
    assert unread(session, bob)
    services.mark_read(session.id, viewer=bob, now=at(4))
    assert not unread(session, bob)


def test_a_viewers_own_unread_outlives_nothing_new(bob: Any) -> None:
    session = make_session()
    services.mark_read(session.id, False, viewer=bob, now=at(1))
    assert (unread(session), unread(session, bob)) == (False, True)
    services.save_message(session.id, "assistant", "watched", now=at(2))
    assert unread(session, bob)


def test_reading_reaches_as_far_as_what_is_unread_whatever_the_clocks_say(bob: Any) -> None:
    session = nightly(now=at(10))
    services.mark_read(session.id, viewer=bob, now=at(5))  # a host whose clock is behind
    assert not unread(session, bob)


# --- everything at once -------------------------------------------------------------------------------------------------------------


def test_mark_all_read_is_one_row_whatever_the_number(bob: Any, alice: Any) -> None:
    sessions = [nightly(str(number)) for number in range(5)]
    services.mark_read(sessions[0].id, False, viewer=bob, now=at(1))
    for minutes in (2, 3):
        services.mark_all_read(bob, now=at(minutes))
        assert not any(unread(session, bob) for session in sessions)
        assert all(unread(session, alice) for session in sessions if session.user_id == "alice")
    assert (ReadWatermark.objects.count(), ReadMark.objects.count()) == (1, 1)
    assert ReadWatermark.objects.get().at == at(3)


def test_the_watermark_never_goes_back(bob: Any) -> None:
    session = nightly(now=at(4))
    services.mark_all_read(bob, now=at(5))
    services.mark_all_read(bob, now=at(3))
    assert not unread(session, bob)


def test_what_comes_after_the_watermark_is_unread_again(bob: Any) -> None:
    session = nightly()
    services.mark_all_read(bob, now=at(1))
    services.save_message(session.id, "assistant", "again", now=at(2))
    assert unread(session, bob)


def test_what_is_marked_unread_after_the_watermark_is_unread(bob: Any) -> None:
    session, other = nightly(), make_session(key="2")
    services.mark_all_read(bob, now=at(1))
    for one in (session, other):
        services.mark_read(one.id, False, viewer=bob, now=at(2))
        assert unread(one, bob)


def test_a_mark_older_than_the_watermark_does_not_come_back(bob: Any) -> None:
    session = make_session()
    services.mark_read(session.id, False, viewer=bob, now=at(1))
    services.mark_all_read(bob, now=at(2))
    assert not unread(session, bob)


# --- who sees what ------------------------------------------------------------------------------------------------------------------


def test_who_sees_which_sessions(alice: Any, bob: Any, charlie: Any) -> None:
    own, other = make_session(key="1", user_id="alice"), make_session(key="2", user_id="somebody without an account")
    staff, boss = make_user("dora", staff=True), make_user("emil")
    boss.is_superuser = True
    boss.save()
    gone = make_user("alice2", staff=True)
    gone.is_active = False
    nameless = make_user("frank")
    nameless.username = ""
    everything = {own.id, other.id}
    expected = [(None, everything), (bob, everything), (staff, everything), (boss, everything)]
    expected += [(alice, {own.id}), (charlie, set()), (gone, set()), (AnonymousUser(), set()), (nameless, set())]
    for viewer, seen in expected:
        assert {session.id for session in Session.objects.visible_to(viewer)} == seen, viewer
        assert {row.id for row in queries.list_sessions(viewer=viewer)} == seen if viewer is None or viewer.is_authenticated else True
        for session in (own, other):
            assert (queries.get_session(session.id, viewer=viewer) is not None) == (session.id in seen)
            assert queries.get_messages(session.id, viewer=viewer).exists() is False


def test_a_session_for_nobodys_name_is_nobodys(charlie: Any) -> None:
    for number, user_id in enumerate(["", "\x7f nobody", "Charlie", "charlie "]):
        make_session(key=str(number), user_id=user_id)
    for viewer in (charlie, AnonymousUser()):
        assert not Session.objects.visible_to(viewer).exists()


def test_costs_follow_the_session_and_group_by_the_records_user(alice: Any, bob: Any, charlie: Any) -> None:
    own, other = make_session(key="1", user_id="alice"), make_session(key="2", user_id="dora")
    make_usage(own, user_id="charlie", cost_usd=1)
    make_usage(other, user_id="alice", cost_usd=2)
    seen = {viewer: queries.cost_overview(viewer=viewer) for viewer in (alice, bob, charlie)}
    assert [(row.user_id, row.cost_usd) for row in seen[alice].by_user] == [("charlie", 1)]
    assert [(row.user_id, row.cost_usd) for row in seen[bob].by_user] == [("alice", 2), ("charlie", 1)]
    assert (seen[charlie].by_user, seen[charlie].total_turns) == ([], 0)


def test_a_mark_goes_with_its_session_and_its_viewer(bob: Any) -> None:
    session = nightly()
    services.mark_read(session.id, viewer=bob)
    services.mark_all_read(bob)
    session.delete()
    assert not ReadMark.objects.exists()
    services.mark_read(nightly().id, viewer=bob)
    bob.delete()
    assert not ReadMark.objects.exists() and not ReadWatermark.objects.exists()


def test_a_mark_of_the_same_moment_as_the_watermark_wins(bob: Any) -> None:
    session, other = make_session(key="1"), make_session(key="2")
    services.mark_all_read(bob, now=at(1))
    services.mark_read(session.id, False, viewer=bob, now=at(1))
    services.mark_read(other.id, False, now=at(1))
    assert unread(session, bob) and unread(other, bob)
