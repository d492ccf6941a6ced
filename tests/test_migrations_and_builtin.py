"""The tables are what the models say, on both databases, and the built-in rows come back by themselves."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor

from sessions_app import services
from sessions_app.models import Channel, Message, Session, StoreFact, UsageRecord
from tests.factories import T0, make_session, make_usage

pytestmark = pytest.mark.django_db

BUILT_IN = {"main": None, "cli": None, "telegram": 360, "slack": 360, "email": 1440}


def channels() -> dict[str, int | None]:
    return dict(Channel.objects.values_list("slug", "gap_minutes"))


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0, stdout=StringIO())


def test_every_migration_has_run() -> None:
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []


def test_the_built_in_channels_are_there_with_their_gaps() -> None:
    assert channels() == BUILT_IN
    assert not Channel.objects.filter(marks_unread=True).exists()
    assert StoreFact.objects.get(pk="time_zone").value == "UTC"


@pytest.mark.django_db(transaction=True)
def test_a_flushed_store_gets_them_back_and_an_operators_words_stay() -> None:
    Channel.objects.filter(pk="telegram").update(gap_minutes=30, label="Chat")
    Channel.objects.filter(pk="email").delete()
    Channel.objects.create(slug="fax", label="Fax")
    call_command("migrate", verbosity=0)
    assert channels() == {**BUILT_IN, "telegram": 30, "fax": None}
    assert Channel.objects.get(pk="telegram").label == "Chat"
    call_command("flush", interactive=False, verbosity=0)
    assert channels() == BUILT_IN
    assert StoreFact.objects.get(pk="time_zone").value == "UTC"
    services.open_session("telegram", "42")


def test_a_channel_with_sessions_cannot_go() -> None:
    make_session("slack")
    with pytest.raises(models.ProtectedError):
        Channel.objects.get(pk="slack").delete()


@pytest.mark.parametrize(("cost", "source"), [(None, "computed"), (None, "reported"), (1, "unknown")])
def test_the_database_holds_that_a_cost_has_a_source(cost: Any, source: str) -> None:
    record = make_usage(make_session())
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageRecord.objects.filter(pk=record.pk).update(cost_usd=cost, cost_source=source)


def test_the_database_holds_that_event_ids_are_unique_in_their_source() -> None:
    session = make_session()
    services.save_message(session.id, "user", "x", event_id="e", source="s")
    row = {"session": session, "role": "user", "timestamp": T0, "received_at": T0}
    Message.objects.create(**row, source="other", event_id="e")
    for _ in range(2):
        Message.objects.create(**row, source="s", event_id="")
    with pytest.raises(IntegrityError), transaction.atomic():
        Message.objects.create(**row, source="s", event_id="e")


def test_the_database_holds_that_an_agents_session_is_one() -> None:
    for key in ("1", "2"):
        make_session(key=key, agent="codex")  # without an id of the agent's own: as many as there are
    make_session(key="3", agent="codex", agent_session_id="a")
    make_session(key="4", agent="claude-code", agent_session_id="a")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_session(key="5", agent="codex", agent_session_id="a")


def test_what_belongs_to_a_session_goes_with_it() -> None:
    session = make_session(messages=2)
    make_usage(session)
    services.record_compaction(session.id, trigger="auto", pre_tokens=1, summary="", messages_compacted=1)
    Session.objects.all().delete()
    assert not Message.objects.exists() and not UsageRecord.objects.exists()


def test_sqlite_is_tuned_and_a_write_transaction_begins_as_one() -> None:
    if connection.vendor != "sqlite":
        return  # not a skip: nothing is left untested on PostgreSQL
    with connection.cursor() as cursor:
        values = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 20_000}
    assert connection.transaction_mode == "IMMEDIATE"  # type: ignore[attr-defined]
