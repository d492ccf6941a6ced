"""Many at once, from real processes, on the on-disk test database: one session a key, exact sums, no deadlock, each session closed once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import transaction

from sessions_app import queries, selections, services
from sessions_app.models import Action, ActionItem, Message, ReadMark, ReadWatermark, Session, UsageRecord
from tests.factories import T0, at, make_session, make_user

pytestmark = pytest.mark.django_db(transaction=True)

Run = Callable[..., list[list[Any]]]
SECONDS = 120  # a deadlock or a starved writer shows as a process that does not end


@pytest.fixture
def run(child_env: dict[str, str]) -> Run:
    """run([job, argument, ...], ...): start a process for each, let all begin at once, return what each printed."""

    def run(*jobs: list[Any]) -> list[list[Any]]:
        environment = {**child_env, "SECRET_KEY": "x" * 50, "DATABASE_POOL_MAX": "8"}
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.workers", name, *map(json.dumps, arguments)],
                cwd=django_settings.BASE_DIR, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for name, *arguments in jobs
        ]  # fmt: skip
        try:
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n", process.communicate()[1]
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            printed = []
            for process in processes:
                out, err = process.communicate(timeout=SECONDS)
                assert process.returncode == 0, err
                printed.append(json.loads(out))
            return printed
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.communicate()

    return run


def test_64_callers_open_one_session(run: Run) -> None:
    calls = [call for calls in run(*[["open_session", 8]] * 8) for call in calls]
    assert len(calls) == 64
    assert len({session_id for session_id, _, _ in calls}) == 1
    assert [created for _, created, _ in calls].count(True) == 1
    session = Session.objects.get()
    assert session.message_count == Message.objects.count() == 64
    assert session.title == "hello"


def test_64_callers_after_the_gap_close_the_old_one_once_and_open_one(run: Run) -> None:
    old = services.create_session("telegram", "one", user_id="alice", now=T0)
    calls = [call for calls in run(*[["open_session", 8, 360]] * 8) for call in calls]
    assert len({session_id for session_id, _, _ in calls}) == 1
    assert [created for _, created, _ in calls].count(True) == 1
    assert Counter(closed for _, _, closed in calls) == {str(old.id): 1, None: 63}
    assert Session.objects.count() == 2
    old.refresh_from_db()
    assert (old.closed_at, old.summary, old.message_count) == (at(999), services.AUTO_CLOSED, 0)


def test_of_many_creations_one_succeeds(run: Run) -> None:
    made = [name for names in run(*[["create_session", 4]] * 4) for name in names]
    assert Counter(len(name) == 36 for name in made) == {True: 1, False: 15}
    assert set(made) == {str(Session.objects.get().id), "SessionAlreadyOpen"}


def test_eight_recorders_and_a_recount_agree_to_the_last_digit(run: Run) -> None:
    for number in range(8):
        make_session(key=f"shared {number}", user_id=f"user {number % 3}")
        make_session(key=f"own {number}")
    rounds, calls = 12, 8 * 12 * (3 + 5 + 25)
    *_, totals = run(*[["record", worker, rounds] for worker in range(8)], ["recount", 5])
    assert totals == [0] * 5  # in the midst of it too
    assert UsageRecord.objects.count() == calls
    overview = queries.cost_overview()
    assert overview.total_turns == calls
    assert overview.total_cost_usd == sum(session.cost_usd for session in Session.objects.all())
    assert (
        overview.total_cost_usd == sum(row.cost_usd or 0 for row in overview.by_user) == sum(row.cost_usd or 0 for row in overview.by_model)
    )
    assert overview.total_cost_usd == sum(record.cost_usd or 0 for record in UsageRecord.objects.all())
    assert sum(tool.invocations for tool in overview.by_tool) == sum(tool.errors for tool in overview.by_tool) == 8 * rounds * 5
    assert services.recount().differences == []


def test_the_same_events_in_several_sessions_at_once_are_stored_once(run: Run) -> None:
    for number in range(4):
        make_session(key=str(number))
    rounds = 15
    results = [result for worker in run(*[["resend", worker, rounds] for worker in range(4)]) for result in worker]
    assert Counter(map(str, results)) == {"stored": rounds, "reused": 3 * rounds, "[3, 0]": rounds, "[0, 3]": 3 * rounds}
    assert Message.objects.count() == 4 * rounds
    assert services.recount().differences == []


def test_two_closers_at_once_close_each_session_once(run: Run) -> None:
    ids = {str(make_session(("telegram", "slack")[number % 2], str(number), now=T0).id) for number in range(120)}
    closed = [name for names in run(*[["close_stale", 5]] * 3) for name in names]
    assert Counter(closed) == dict.fromkeys(ids, 1)
    assert not Session.objects.open().exists()
    assert set(Session.objects.values_list("closed_at", "summary")) == {(at(9999), services.AUTO_CLOSED)}


def test_one_viewer_in_many_windows(run: Run) -> None:
    bob = make_user("bob", permissions=["view_all_sessions"])
    for number in range(3):
        make_session(key=str(number))
    assert {result for results in run(*[["read_all", 4]] * 4) for result in results} == {None}
    assert ReadWatermark.objects.get().at == at(3)
    assert ReadMark.objects.filter(viewer=bob).count() == 3


@pytest.mark.parametrize("verb", ["archive", "close", "tag", "unread"])
def test_many_runners_of_one_action_and_of_its_undo_do_its_work_once(run: Run, verb: str) -> None:
    olga = make_user("olga", permissions=["view_all_sessions", "change_session"])
    sessions = [make_session(key=f"{number:05}", now=at(number)) for number in range(700)]
    before = sorted(Session.objects.values_list("pk", "closed_at", "archived_at", "summary"))
    action = services.start_action(verb, viewer=olga, session_filter={}, tag="x", now=at(1000))
    results = [result for worker in run(*[["run_action", 2, action.pk, 0]] * 3) for result in worker]
    assert results == [[700, 700, 0]] * 6
    assert ActionItem.objects.count() == 700 == len(sessions)
    assert services.recount(dry_run=True).differences == []
    services.undo_action(action.pk, viewer=olga, seconds=0, now=at(1001))
    results = [result for worker in run(*[["run_action", 2, action.pk, 0]] * 3) for result in worker]
    assert results == [[700, 700, 0]] * 6
    assert sorted(Session.objects.values_list("pk", "closed_at", "archived_at", "summary")) == before
    assert not ReadMark.objects.exists() and not Session.objects.exclude(tags=[]).exists()
    assert services.recount(dry_run=True).differences == []


def test_undo_of_a_close_against_agents_who_open_the_same_keys(run: Run) -> None:
    """Each key ends with one open session, whoever was first; what was not reopened is counted; and the counts of the groups are right."""
    olga = make_user("olga", permissions=["change_session"])
    for number in range(300):
        make_session(key=f"{number:05}", user_id="olga", now=at(number / 10))
    action = services.start_action("close", viewer=olga, session_filter={}, now=at(1000))
    services.run_action(action.pk, viewer=olga, source=selections.source_of(action, olga), seconds=60)
    with transaction.atomic():
        Action.objects.filter(pk=action.pk).update(undo_began_at=at(1001), is_running=True)
    (given, of), *_ = [
        (result[1], result[0]) for result in run(["run_action", 1, action.pk, 0], ["open_and_message", 150], ["open_and_message", 150])[0]
    ]
    result = services.run_action(action.pk, viewer=olga)
    assert (of, result.finished, given + result.left_alone) == (300, True, 300)
    open_keys = Counter(Session.objects.open().values_list("key", flat=True))
    assert open_keys == {f"{number:05}": 1 for number in range(300)}
    assert Session.objects.count() == 300 + result.left_alone
    assert Message.objects.count() == 300
    assert services.recount(dry_run=True).differences == []
