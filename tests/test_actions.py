"""Actions on many sessions at once: what each verb changes, for whom it is refused, and that undo restores exactly what was."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sessions_app import queries, selections, services
from sessions_app.errors import ActionNotFound, CannotUndo, InvalidAction, InvalidSession
from sessions_app.id_sets import IdBatch
from sessions_app.models import Action, ActionItem, ReadMark, ReadWatermark, Session, SessionTag
from sessions_app.queries import SessionFilter
from tests.factories import T0, at, make_session, make_user

pytestmark = pytest.mark.django_db

EVERYTHING = SessionFilter(status="all")


def states() -> dict[Any, Any]:
    """All that an action may touch, of every session."""
    sessions = {
        row.key: (row.closed_at, row.summary, row.archived_at, row.tags, sorted(row.tag_rows.values_list("tag", flat=True)))
        for row in Session.objects.prefetch_related("tag_rows")
    }
    marks = sorted(ReadMark.objects.values_list("viewer__username", "session__key", "at", "is_unread"))
    return sessions | {"marks": marks, "watermarks": sorted(ReadWatermark.objects.values_list("viewer__username", "at"))}


def unread(viewer: User) -> set[str]:
    return {row.key for row in queries.list_sessions(100, EVERYTHING, viewer=viewer) if row.unread}  # type: ignore[attr-defined]


def counts_are_right() -> None:
    assert services.recount(dry_run=True).differences == []


@pytest.fixture
def operator(db: None) -> User:
    return make_user("olga", permissions=["view_all_sessions", "change_session"])


def mixed() -> dict[str, Session]:
    """Sessions in every state, of two owners."""
    made = {
        "open": make_session(key="open"),
        "closed": make_session(key="closed", closed_at=at(5), summary="an agent's own words"),
        "archived": make_session(key="archived", archived_at=at(6)),
        "closed and archived": make_session(key="closed and archived", closed_at=at(3), archived_at=at(4), summary="over"),
        "nightly": make_session(key="nightly", triggered_by="nightly", now=at(-60), messages=2),
        "bob's": make_session(key="bob's", user_id="bob", closed_at=at(7)),
        "tagged": make_session(key="tagged"),
    }
    services.set_tags(made["tagged"].id, ["first", "später", "last"])
    services.set_tags(made["bob's"].id, ["später"])
    services.recount()
    return made


# verb, what it is given, and after it: a function of the state of one session before
CASES: list[tuple[str, dict[str, str], Any]] = [
    ("archive", {}, lambda s, now: (*s[:2], s[2] or now, *s[3:])),
    ("restore", {}, lambda s, now: (*s[:2], None, *s[3:])),
    ("close", {"summary": "done\x00 with it"}, lambda s, now: s if s[0] else (now, "done\ufffd with it", *s[2:])),
    ("reopen", {}, lambda s, now: (None, "", *s[2:]) if s[0] else s),
    ("tag", {"tag": "  später "}, lambda s, now: s if "später" in s[3] else (*s[:3], [*s[3], "später"], sorted([*s[3], "später"]))),
    ("untag", {"tag": "später"}, lambda s, now: (*s[:3], [t for t in s[3] if t != "später"], sorted(t for t in s[3] if t != "später"))),
]


@pytest.mark.parametrize(("verb", "value", "expected"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("way", ["selection", "filter"])
def test_each_verb_changes_what_it_says_and_undo_restores_it(operator: User, verb: str, value: Any, expected: Any, way: str) -> None:
    made = mixed()
    before = states()
    now = at(100)
    if way == "selection":
        result = services.act(verb, viewer=operator, session_ids=[one.id for one in made.values()], now=now, **value)
    else:
        result = selections.act_on_filter(verb, EVERYTHING, viewer=operator, now=now, **value)
    after = {key: expected(state, now) if isinstance(state, tuple) else state for key, state in before.items()}
    assert states() == after
    changed = sum(before[key] != after[key] for key in made)
    assert 0 < changed < len(made)
    assert (result.done, result.total, result.changed, result.refused) == (len(made), len(made), changed, {})
    assert result.finished and result.can_undo and not result.is_undo
    counts_are_right()

    again = services.act(verb, viewer=operator, session_ids=[one.id for one in made.values()], now=at(101), **value)
    assert (again.changed, again.can_undo) == (0, False)
    assert again.words.startswith("Nothing to do: all 7 were ")
    assert states() == after

    undone = services.undo_action(result.action_id, viewer=operator, now=at(102))
    assert states() == before
    assert (undone.changed, undone.left_alone, undone.finished, undone.is_undo, undone.can_undo) == (changed, 0, True, True, False)
    assert services.undo_action(result.action_id, viewer=operator, now=at(103)) == undone  # again is harmless
    assert states() == before
    counts_are_right()


@pytest.mark.parametrize("verb", ["read", "unread"])
@pytest.mark.parametrize("way", ["selection", "filter"])
def test_read_and_unread_write_the_viewers_own_marks_and_undo_restores_them(bob: User, alice: User, verb: str, way: str) -> None:
    made = mixed()
    services.mark_read(made["open"].id, False, viewer=bob, now=at(10))
    services.mark_read(made["closed"].id, viewer=bob, now=at(11))
    services.mark_read(made["closed"].id, False, viewer=alice, now=at(12))
    before, seen_by_alice, seen_by_bob = states(), unread(alice), unread(bob)
    assert seen_by_bob == {"open", "nightly"}
    if way == "selection":
        result = services.act(verb, viewer=bob, session_ids=[one.id for one in made.values()], now=at(100))
    else:
        result = selections.act_on_filter(verb, EVERYTHING, viewer=bob, now=at(100))
    assert unread(bob) == (set() if verb == "read" else set(made))
    assert unread(alice) == seen_by_alice
    assert result.changed == (2 if verb == "read" else 5)
    assert {key: state for key, state in states().items() if key != "marks"} == {
        key: state for key, state in before.items() if key != "marks"
    }
    services.undo_action(result.action_id, viewer=bob, now=at(101))
    assert states() == before
    assert (unread(alice), unread(bob)) == (seen_by_alice, seen_by_bob)


# --- who may ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "value", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_is_not_the_viewers_is_counted_and_not_touched(bob: User, charlie: User, verb: str, value: Any, expected: Any) -> None:
    made = mixed()
    before = states()
    ids = [*(one.id for one in made.values()), uuid4()]
    result = services.act(verb, viewer=bob, session_ids=ids, now=at(100), **value)
    after = {key: expected(state, at(100)) if key == "bob's" else state for key, state in before.items()}
    assert states() == after
    assert result.refused == {"not_there": 1, "not_yours": 6}
    assert "1 is not there any more. 6 are not yours to change." in result.words
    outsider = services.act(verb, viewer=charlie, session_ids=ids, now=at(101), **value)
    assert (outsider.refused, outsider.changed, outsider.words) == ({"not_there": 8}, 0, "8 are not there any more.")
    assert states() == after


def test_an_outsider_marks_nothing_read(charlie: User) -> None:
    made = mixed()
    for verb in ("read", "unread"):
        result = services.act(verb, viewer=charlie, session_ids=[one.id for one in made.values()], now=at(100))
        assert (result.changed, result.refused) == (0, {"not_there": 7})
    assert not ReadMark.objects.exists()


def test_an_action_is_its_viewers_alone(operator: User, alice: User) -> None:
    session = make_session()
    result = services.act("archive", viewer=operator, session_ids=[session.id], now=at(1))
    for call in (services.run_action, services.undo_action, selections.run):
        with pytest.raises(ActionNotFound):
            call(result.action_id, viewer=alice)
    assert queries.get_action(result.action_id, viewer=alice) is None
    assert queries.unfinished_actions(alice) == []


def test_who_may_no_longer_change_it_undoes_nothing(operator: User) -> None:
    session = make_session()
    result = services.act("archive", viewer=operator, session_ids=[session.id], now=at(1))
    operator.user_permissions.clear()
    stranger = User.objects.get(pk=operator.pk)
    undone = services.undo_action(result.action_id, viewer=stranger, now=at(2))
    assert (undone.changed, undone.left_alone) == (0, 1)
    session.refresh_from_db()
    assert session.is_archived


def test_an_undo_of_the_past_is_refused(alice: User, settings: Any) -> None:
    session = make_session()
    result = services.act("archive", viewer=alice, session_ids=[session.id], now=T0)
    settings.UNDO_HOURS = 24
    with pytest.raises(CannotUndo, match="24 hours"):
        services.undo_action(result.action_id, viewer=alice, now=T0 + timedelta(hours=24))
    assert services.undo_action(result.action_id, viewer=alice, now=T0 + timedelta(hours=23)).changed == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"verb": "explode", "session_ids": [uuid4()]}, InvalidAction),
        ({"verb": "read"}, InvalidAction),
        ({"verb": "read", "session_ids": [uuid4()], "session_filter": {}}, InvalidAction),
        ({"verb": "read", "session_ids": []}, InvalidAction),
        ({"verb": "read", "session_ids": ["no id"]}, InvalidAction),
        ({"verb": "read", "session_ids": [uuid4() for _ in range(services.MAX_SELECTED + 1)]}, InvalidAction),
        ({"verb": "tag", "session_ids": [uuid4()], "tag": "  "}, InvalidSession),
        ({"verb": "tag", "session_ids": [uuid4()], "tag": "x" * 51}, InvalidSession),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(alice: User, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        services.start_action(**arguments, viewer=alice)
    assert not Action.objects.exists()


# --- refusals of one verb ---------------------------------------------------------------------------------------------------------------


def test_reopen_leaves_closed_whose_key_is_taken(operator: User) -> None:
    old, older = make_session(key="k", closed_at=at(2), now=at(1)), make_session(key="k", closed_at=at(1), now=at(0))
    taken = make_session(key="t", closed_at=at(1))
    make_session(key="t")
    free = make_session(key="f", closed_at=at(1))
    result = services.act("reopen", viewer=operator, session_ids=[one.id for one in (older, old, taken, free)], now=at(10))
    assert set(Session.objects.open().values_list("key", flat=True)) == {"k", "t", "f"}
    old.refresh_from_db()
    assert not old.is_closed  # the newest of the two
    assert (result.changed, result.refused) == (2, {"key_taken": 2})
    assert result.words == "2 sessions reopened. 2 could not be reopened: another session is open under their key."
    undone = services.undo_action(result.action_id, viewer=operator, now=at(11))
    assert undone.words == "Undone: 2 sessions as before."
    old.refresh_from_db()
    assert old.closed_at == at(2)


def test_undo_of_a_close_leaves_closed_whose_key_is_taken_since(operator: User) -> None:
    first, second = make_session(key="1", summary="so far"), make_session(key="2")
    result = services.act("close", viewer=operator, session_ids=[first.id, second.id], now=at(1))
    make_session(key="2", now=at(2))
    undone = services.undo_action(result.action_id, viewer=operator, now=at(3))
    assert (undone.changed, undone.left_alone) == (1, 1)
    assert undone.words == "Undone: 1 session as before. 1 was left alone: it has changed since."
    for session in (first, second):
        session.refresh_from_db()
    assert (first.closed_at, first.summary, second.closed_at) == (None, "so far", at(1))


def test_a_session_full_of_tags_takes_no_more(alice: User) -> None:
    full, empty = make_session(key="1"), make_session(key="2")
    services.set_tags(full.id, [f"tag {number}" for number in range(50)])
    result = services.act("tag", viewer=alice, session_ids=[full.id, empty.id], tag="one more", now=at(1))
    assert (result.changed, result.refused) == (1, {"too_many_tags": 1})
    assert result.words == "1 session tagged \u201cone more\u201d. 1 has 50 tags already."


# --- undo when something changed since --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "value", "since"),
    [
        ("archive", {}, lambda one: [services.archive_session(one.id, wanted, now=at(50)) for wanted in (False, True)]),  # type: ignore[func-returns-value]
        ("close", {"summary": "a"}, lambda one: services.close_session(one.id, "somebody's")),
        ("close", {}, lambda one: services.reopen_session(one.id)),
        ("tag", {"tag": "x"}, lambda one: services.set_tags(one.id, ["x", "y"])),
        ("tag", {"tag": "x"}, lambda one: services.set_tags(one.id, [])),
        ("untag", {"tag": "t"}, lambda one: services.set_tags(one.id, ["y"])),
    ],
)
def test_what_others_changed_since_stays_as_they_left_it(operator: User, verb: str, value: Any, since: Any) -> None:
    touched, other = make_session(key="touched"), make_session(key="other")
    for session in (touched, other):
        services.set_tags(session.id, ["t"])
    before = states()
    result = services.act(verb, viewer=operator, session_ids=[touched.id, other.id], now=at(10), **value)
    since(touched)
    left = states()["touched"]
    undone = services.undo_action(result.action_id, viewer=operator, now=at(60))
    assert states() == {**before, "touched": left}
    assert (undone.changed, undone.left_alone) == (1, 1)
    assert undone.words.endswith("1 was left alone: it has changed since.")
    counts_are_right()


def test_messages_since_do_not_keep_an_undo_from_it(operator: User) -> None:
    session = make_session(closed_at=at(1), summary="over")
    result = services.act("reopen", viewer=operator, session_ids=[session.id], now=at(10))
    services.save_message(session.id, "user", "one more", now=at(11))
    services.undo_action(result.action_id, viewer=operator, now=at(12))
    session.refresh_from_db()
    assert (session.closed_at, session.summary, session.message_count) == (at(1), "over", 1)


def test_a_message_after_a_read_is_unread_before_and_after_the_undo(bob: User) -> None:
    quiet = make_session(key="quiet", triggered_by="nightly", messages=2)
    loud = make_session(key="loud", triggered_by="nightly", messages=2)
    result = services.act("read", viewer=bob, session_ids=[quiet.id, loud.id], now=at(10))
    services.save_message(loud.id, "assistant", "news", now=at(11))
    assert unread(bob) == {"loud"}
    services.undo_action(result.action_id, viewer=bob, now=at(12))
    assert unread(bob) == {"quiet", "loud"}


def test_a_session_read_by_itself_since_stays_read(bob: User) -> None:
    first, second = (make_session(key=key, triggered_by="nightly", messages=2) for key in "12")
    result = services.act("read", viewer=bob, session_ids=[first.id, second.id], now=at(10))
    services.mark_read(first.id, viewer=bob, now=at(11))
    undone = services.undo_action(result.action_id, viewer=bob, now=at(12))
    assert unread(bob) == {"2"}
    assert (undone.changed, undone.left_alone) == (1, 1)


def test_read_reaches_as_far_as_what_is_unread_and_unread_beyond_all_read(bob: User) -> None:
    ahead, other = make_session(key="ahead", unread_since=at(20)), make_session(key="other")
    services.recount()
    services.act("read", viewer=bob, session_ids=[ahead.id], now=at(10))  # on a host whose clock is behind
    assert unread(bob) == set()
    services.mark_all_read(bob, now=at(30))
    services.act("unread", viewer=bob, session_ids=[other.id], now=at(10))
    assert unread(bob) == {"other"}


def test_sessions_that_went_since_are_left_alone(operator: User) -> None:
    gone, here = make_session(key="gone"), make_session(key="here")
    result = services.act("archive", viewer=operator, session_ids=[gone.id, here.id], now=at(1))
    gone.delete()
    assert services.undo_action(result.action_id, viewer=operator, now=at(2)).left_alone == 1


# --- everything read --------------------------------------------------------------------------------------------------------------------


def test_the_whole_inbox_is_read_by_one_row_and_undo_gives_the_former_back(bob: User, alice: User) -> None:
    made = mixed()
    services.mark_all_read(bob, now=at(-30))
    services.mark_read(made["open"].id, False, viewer=bob, now=at(10))
    services.save_message(made["nightly"].id, "assistant", "x", now=at(9))
    before = states()
    assert unread(bob) == {"open", "nightly"}
    for chosen in (SessionFilter(), SessionFilter(unread=True, sort="cost")):
        result = selections.act_on_filter("read", chosen, viewer=bob, now=at(20))
        assert unread(bob) == set()
        assert ReadMark.objects.count() == 1 and not ActionItem.objects.exists()
        undone = selections.run(result.action_id, viewer=bob)
        assert undone.words == "Everything is marked read."
        undone = services.undo_action(result.action_id, viewer=bob, now=at(21))
        assert (undone.words, undone.changed, undone.finished) == ("Undone.", 1, True)
        assert states() == before and unread(bob) == {"open", "nightly"}
    assert "nightly" in unread(alice)


def test_the_first_watermark_goes_again_and_a_later_one_stays(bob: User) -> None:
    first = services.mark_everything_read(viewer=bob, now=at(1))
    services.undo_action(first.action_id, viewer=bob, now=at(2))
    assert not ReadWatermark.objects.exists()
    second, third = (services.mark_everything_read(viewer=bob, now=at(minute)) for minute in (3, 4))
    undone = services.undo_action(second.action_id, viewer=bob, now=at(5))
    assert (undone.changed, undone.left_alone) == (0, 1)
    assert ReadWatermark.objects.get().at == at(4)
    services.undo_action(third.action_id, viewer=bob, now=at(6))
    assert ReadWatermark.objects.get().at == at(3)
    late = services.mark_everything_read(viewer=bob, now=at(2))
    assert (late.changed, late.can_undo) == (0, False)


# --- in parts ---------------------------------------------------------------------------------------------------------------------------


class Small(services.Pace):
    """Three sessions a batch, always."""

    FIRST = LEAST = MOST = 3
    AIM = 1000.0


def many(number: int = 20) -> list[UUID]:
    return [make_session(key=f"{place:05}", now=at(place)).id for place in range(number)]


def begin(verb: str, viewer: User, **value: Any) -> Action:
    return services.start_action(verb, viewer=viewer, session_filter=queries.filter_fields(SessionFilter()), now=at(1000), **value)


def test_a_long_action_goes_on_where_it_was(alice: User) -> None:
    many()
    action = begin("archive", alice)
    source = selections.source_of(action, alice)
    seen = []
    for _ in range(7):
        assert queries.unfinished_actions(alice) == [action]
        result = services.run_action(action.pk, viewer=alice, source=source, seconds=0, pace=Small())
        seen.append((result.done, result.changed, result.finished))
    assert seen == [(3, 3, False), (6, 6, False), (9, 9, False), (12, 12, False), (15, 15, False), (18, 18, False), (20, 20, True)]
    assert queries.unfinished_actions(alice) == []
    assert result.words == "20 sessions archived." and result.total == 20
    assert Session.objects.filter(archived_at=at(1000)).count() == 20
    back: list[Any] = []
    for _ in range(7):
        result = (services.run_action if back else services.undo_action)(action.pk, viewer=alice, seconds=0, pace=Small(), now=at(1001))
        back.append((result.done, result.total, result.finished))
    assert back == [(3, 20, False), (6, 20, False), (9, 20, False), (12, 20, False), (15, 20, False), (18, 20, False), (20, 20, True)]
    assert not Session.objects.filter(archived_at__isnull=False).exists()


def test_undo_stops_what_still_runs(alice: User) -> None:
    many()
    action = begin("archive", alice)
    result = services.run_action(action.pk, viewer=alice, source=selections.source_of(action, alice), seconds=0, pace=Small(), now=at(1001))
    assert result.can_undo and result.words == "3 sessions archived so far."
    undone = services.undo_action(action.pk, viewer=alice, now=at(1001))
    assert (undone.changed, undone.finished, undone.words) == (3, True, "Undone: 3 sessions as before.")
    assert selections.run(action.pk, viewer=alice, now=at(1001)) == undone
    assert not Session.objects.filter(archived_at__isnull=False).exists()


def test_a_second_caller_does_not_double_the_work(alice: User) -> None:
    """Between another's look at the next ids and its transaction, this one does them: then the other's are not done again."""
    many()
    action = begin("archive", alice)
    source = selections.source_of(action, alice)
    assert source is not None

    def overtaken(cursor: str, limit: int) -> IdBatch:
        batch = source(cursor, limit)
        services.run_action(action.pk, viewer=alice, source=source, seconds=0, pace=Small())
        return batch

    for _ in range(30):
        result = services.run_action(action.pk, viewer=alice, source=overtaken, seconds=0, pace=Small())
        if result.finished:
            break
    assert (result.finished, result.done, result.changed, ActionItem.objects.count()) == (True, 20, 20, 20)


def test_what_comes_to_the_filter_meanwhile_is_left_out(alice: User) -> None:
    ids = many(6)
    action = begin("archive", alice)
    source = selections.source_of(action, alice)
    services.run_action(action.pk, viewer=alice, source=source, seconds=0, pace=Small())
    services.touch_session(ids[0], now=at(2000))  # moves to the top, which was passed
    make_session(key="new", now=at(2001))
    result = services.run_action(action.pk, viewer=alice, source=source, pace=Small())
    assert (result.done, result.total, result.changed) == (5, 5, 5)
    assert set(Session.objects.filter(archived_at=None).values_list("key", flat=True)) == {"00000", "new"}


@pytest.mark.parametrize("verb", services.VERBS)
def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(operator: User, verb: str) -> None:
    def statements(number: int) -> tuple[int, int]:
        ids = [make_session(key=f"{number} {place}", triggered_by="n" if place % 2 else None, messages=2).id for place in range(number)]
        for place, pk in enumerate(ids):
            if verb == "reopen":
                services.close_session(pk, now=at(1))
            if verb == "restore":
                services.archive_session(pk, now=at(1))
            if verb == "untag":
                services.set_tags(pk, ["t", str(place)])
        with CaptureQueriesContext(connection) as done:
            result = services.act(verb, viewer=operator, session_ids=ids, tag="t", now=at(100))
        assert result.changed > number / 3 and result.finished
        with CaptureQueriesContext(connection) as undone:
            assert services.undo_action(result.action_id, viewer=operator, now=at(101)).changed == result.changed
        return len(done), len(undone)

    statements(4)  # asks for the permissions
    assert statements(8) == statements(64)


def test_ten_thousand_sessions(operator: User) -> None:
    channel = make_session(key="0").channel
    Session.objects.bulk_create(
        [
            Session(
                channel=channel,
                key=str(number),
                user_id=f"user {number % 50}",
                created_at=T0,
                last_message_at=at(number / 100),
                project=f"p{number % 7}",
            )
            for number in range(1, 10_000)
        ]
    )
    services.recount()
    pace = services.Pace()
    action = begin("close", operator, summary="enough")
    result = services.run_action(action.pk, viewer=operator, source=selections.source_of(action, operator), seconds=60, pace=pace)
    assert (result.done, result.changed, result.finished) == (10_000, 10_000, True)
    assert Session.objects.filter(closed_at=at(1000), summary="enough").count() == 10_000
    counts_are_right()
    undone = services.undo_action(action.pk, viewer=operator, seconds=60, now=at(1001))
    assert (undone.changed, Session.objects.open().count()) == (10_000, 10_000)
    counts_are_right()


# --- housekeeping -----------------------------------------------------------------------------------------------------------------------


def test_what_undo_no_longer_needs_is_pruned(alice: User) -> None:
    ids = many(3)
    old = services.act("archive", viewer=alice, session_ids=ids, now=T0)
    new = services.act("restore", viewer=alice, session_ids=ids, now=T0 + timedelta(hours=20))
    view = services.save_view("mine", viewer=alice, fields={}, now=T0)
    services.delete_view(view.pk, viewer=alice, now=T0)
    assert dataclasses.astuple(services.prune_actions(now=T0 + timedelta(hours=23))) == (0, 0, 0)
    assert dataclasses.astuple(services.prune_actions(now=T0 + timedelta(hours=24))) == (3, 0, 1)
    assert set(ActionItem.objects.values_list("action", flat=True)) == {new.action_id}
    with pytest.raises(CannotUndo):
        services.undo_action(old.action_id, viewer=alice, now=T0 + timedelta(hours=1))
    call_command("close_stale_sessions", dry_run=True)
    assert ActionItem.objects.count() == 3
    call_command("close_stale_sessions")
    assert not ActionItem.objects.exists()
    assert Action.objects.count() == 2
    assert services.prune_actions(now=T0 + timedelta(days=90, hours=1)).actions == 1
    assert list(Action.objects.values_list("pk", flat=True)) == [new.action_id]


def test_an_action_that_nobody_ended_is_over_when_its_items_go(alice: User) -> None:
    many()
    action = begin("archive", alice)
    services.run_action(action.pk, viewer=alice, source=selections.source_of(action, alice), seconds=0, pace=Small())
    services.prune_actions(now=at(1000, days=2))
    assert queries.unfinished_actions(alice) == []
    assert selections.run(action.pk, viewer=alice).done == 3


def test_undo_goes_with_its_viewer(alice: User) -> None:
    services.act("archive", viewer=alice, session_ids=many(3), now=at(1))
    alice.delete()
    assert not Action.objects.exists() and not ActionItem.objects.exists()


def test_tags_stand_in_their_table_as_in_the_session(alice: User) -> None:
    ids = many(3)
    services.act("tag", viewer=alice, session_ids=ids, tag="x", now=at(1))
    services.act("untag", viewer=alice, session_ids=ids[:1], tag="x", now=at(2))
    assert set(SessionTag.objects.values_list("session", "tag")) == {(pk, "x") for pk in ids[1:]}
    assert {row.pk for row in queries.list_sessions(10, SessionFilter(tag="x"), viewer=alice)} == set(ids[1:])
