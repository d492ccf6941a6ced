"""Sessions idle beyond their channel's gap are closed, once each, in batches, by a command for a timer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from sessions_app import services
from sessions_app.models import Channel, Session
from tests.factories import T0, at, make_session

pytestmark = pytest.mark.django_db


def command(**options: Any) -> str:
    out = StringIO()
    call_command("close_stale_sessions", stdout=out, **options)
    return out.getvalue()


def ago(minutes: float) -> Any:
    return timezone.now() - timedelta(minutes=minutes)


def idle(channel: str, minutes: float, key: str = "") -> Session:
    return make_session(channel, key or f"{channel} {minutes}", now=ago(minutes))


def test_what_was_idle_for_the_gap_is_closed_as_resolving_would() -> None:
    stale, fresh = make_session("telegram", "1", now=T0), make_session("telegram", "2", now=at(0.1))
    slow, explicit = make_session("email", "3", now=T0), make_session("main", "4", now=T0)
    result = services.close_stale_sessions(now=at(360))
    assert (result.session_ids, result.by_channel["telegram"], result.stopped) == ([stale.id], 1, False)
    stale.refresh_from_db()
    assert (stale.closed_at, stale.summary) == (at(360), "Auto-closed: inactivity")
    assert set(Session.objects.open().values_list("pk", flat=True)) == {fresh.id, slow.id, explicit.id}
    assert services.close_stale_sessions(now=at(360)).session_ids == []
    twin = make_session("telegram", "5", now=T0)
    assert services.resolve_session("telegram", "5", gap_minutes=360, user_id="alice", now=at(360)) == services.New(twin.id)
    twin.refresh_from_db()
    assert (twin.closed_at, twin.summary) == (stale.closed_at, stale.summary)


def test_older_than_replaces_every_gap_and_closes_explicit_channels_too() -> None:
    old, newer = make_session("main", "1", now=T0), make_session("cli", "2", now=at(50))
    chat = make_session("telegram", "3", now=T0)
    assert set(services.close_stale_sessions(older_than_minutes=60, now=at(60)).session_ids) == {old.id, chat.id}
    assert Session.objects.open().get() == newer


def test_one_channel_only() -> None:
    one, other = make_session("telegram", "1", now=T0), make_session("slack", "2", now=T0)
    assert services.close_stale_sessions(channel="slack", now=at(9999)).session_ids == [other.id]
    assert Session.objects.open().get() == one


def test_closed_ones_are_left_alone() -> None:
    session = make_session("telegram", now=T0)
    services.close_session(session.id, "by hand", now=at(1))
    assert services.close_stale_sessions(now=at(9999)).session_ids == []
    session.refresh_from_db()
    assert (session.closed_at, session.summary) == (at(1), "by hand")


def test_a_gap_longer_than_the_calendar_is_never_over() -> None:
    Channel.objects.filter(pk="telegram").update(gap_minutes=2_147_483_647)
    make_session("telegram", now=T0)
    assert services.close_stale_sessions(now=at(days=9999)).session_ids == []
    assert services.close_stale_sessions(older_than_minutes=10**12, now=at(days=9999)).session_ids == []


def test_it_works_in_batches_and_stops_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.maintenance, "BATCH", 2)
    for number in range(5):
        make_session("telegram", str(number), now=T0)
    asked: list[int] = []

    def at_the_last() -> bool:
        asked.append(Session.objects.open().count())
        return asked[-1] == 1

    result = services.close_stale_sessions(should_stop=at_the_last, now=at(9999))
    assert (len(result.session_ids), result.by_channel, result.stopped) == (4, {"telegram": 4}, True)
    assert sorted(set(asked)) == [1, 3, 5]
    assert len(services.close_stale_sessions(now=at(9999)).session_ids) == 1


# --- the command ----------------------------------------------------------------------------------------------------------------------


def test_the_command_closes_and_counts() -> None:
    idle("telegram", 361), idle("telegram", 400), idle("slack", 361), idle("telegram", 350), idle("main", 9999)
    assert command(dry_run=True) == "Would close 3 stale sessions (slack 1, telegram 2).\n"
    assert Session.objects.open().count() == 5
    assert command() == "Closed 3 stale sessions (slack 1, telegram 2).\n"
    assert command() == "Closed 0 stale sessions.\n"
    assert Session.objects.filter(summary="Auto-closed: inactivity").count() == 3


def test_the_command_prints_json() -> None:
    session = idle("telegram", 400)
    expected = {"closed": 1, "by_channel": {"telegram": 1}, "session_ids": [str(session.id)], "stopped": False}
    assert json.loads(command(json=True, dry_run=True)) == {"dry_run": True, **expected}
    assert json.loads(command(json=True)) == {"dry_run": False, **expected}
    assert json.loads(command(json=True))["session_ids"] == []


def test_the_command_names_them_when_asked() -> None:
    session = idle("telegram", 400)
    assert str(session.id) in command(verbosity=2)


def test_the_command_takes_channel_and_age() -> None:
    idle("main", 100), idle("cli", 100)
    assert command(channel="main", older_than=99) == "Closed 1 stale session (main 1).\n"
    assert command(older_than=0) == "Closed 1 stale session (cli 1).\n"


def test_an_unknown_channel_lists_the_known() -> None:
    with pytest.raises(CommandError, match=r"no channel 'fax'.* cli, email, main, slack, telegram"):
        command(channel="fax")
    with pytest.raises(CommandError, match="0 or more"):
        command(older_than=-1)


SLOW = """
import time
from contextlib import contextmanager
from sessions_app.services import maintenance
maintenance.BATCH = 1
writing = maintenance.day_rows.writing
@contextmanager
def slow():
    with writing() as tally:
        yield tally
    print("batch", flush=True); time.sleep(0.4)
maintenance.day_rows.writing = slow
from django.core.management import call_command
call_command("close_stale_sessions", channel="telegram", older_than=5, json=True)
"""


@pytest.mark.django_db(transaction=True)
def test_sigterm_stops_it_between_two_batches_and_it_says_what_it_closed(child_env: dict[str, str]) -> None:
    for number in range(30):
        idle("telegram", 10, str(number))
    code = f"import django; django.setup()\n{SLOW}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=django_settings.BASE_DIR, env={**child_env, "SECRET_KEY": "x" * 50}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "batch\n"
    os.kill(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    report = json.loads(out[out.index("{") :])
    assert report["stopped"] and 1 <= report["closed"] < 30
    closed = Session.objects.filter(closed_at__isnull=False)
    assert {str(session.pk) for session in closed} == set(report["session_ids"])
    assert "Closed " in command(older_than=5)
    assert not Session.objects.open().exists()
