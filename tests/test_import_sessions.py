"""manage.py import_sessions: what logs become in the store, again, grown, cut, dry, and from bad paths."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sessions_app import queries, services
from sessions_app.importers import discover
from sessions_app.importers.store import groups_of, import_groups
from sessions_app.models import Compaction, Message, Session, UsageDay, UsageRecord
from tests.shared import SHARED, needs_shared

LOGS = Path(__file__).parent / "logs"
CLAUDE = LOGS / "claude-code"
CODEX = LOGS / "codex"
MAIN = "11111111-aaaa-4aaa-8aaa-111111111111"

pytestmark = pytest.mark.django_db


def run(*paths: Path | str, **options: Any) -> dict[str, Any]:
    """Import and return the command's JSON."""
    out, err = io.StringIO(), io.StringIO()
    call_command("import_sessions", *map(str, paths), json=True, stdout=out, stderr=err, **options)
    report: dict[str, Any] = json.loads(out.getvalue())
    report["stderr"] = err.getvalue()
    return report


def everything() -> dict[str, list[Any]]:
    """All stored facts, without what differs from one import to the next (ids, our own clock)."""
    sessions = Session.objects.order_by("agent", "agent_session_id")
    left_out = {"id", "session_id", "received_at"}
    return {
        "sessions": [{k: v for k, v in row.items() if k not in left_out} for row in sessions.values()],
        **{
            model.__name__: sorted(
                ({k: v for k, v in row.items() if k not in left_out} for row in model.objects.values()),
                key=lambda row: json.dumps(row, default=str),
            )
            for model in (Message, UsageRecord, Compaction)
        },
    }


def test_a_home_becomes_sessions_messages_usage_and_compactions() -> None:
    report = run(CLAUDE)
    session = Session.objects.get(agent="claude-code", agent_session_id=MAIN)
    assert (session.channel_id, session.key, session.user_id, session.is_closed, session.is_read) == ("cli", MAIN, "admin", False, True)
    assert session.project and session.title
    messages = list(queries.get_messages(session.id))
    assert session.message_count == len(messages) > 0
    assert {message.role for message in messages} >= {"user", "assistant", "thinking", "tool_use", "tool_result"}
    assert any(message.subagent_id for message in messages)
    assert session.created_at == min(message.timestamp for message in messages)
    assert session.last_message_at == max(message.timestamp for message in messages)
    assert Compaction.objects.filter(session=session).exists()
    assert report["sessions_created"] == Session.objects.count()
    assert report["messages"] == Message.objects.count()
    assert report["usage_records"] == UsageRecord.objects.count() == queries.cost_overview().total_turns
    assert {message.tool_name for message in messages if message.role == "tool_result"}.isdisjoint({""})
    assert services.recount().total == 0


def test_again_changes_nothing() -> None:
    run(CLAUDE, CODEX)
    before, overview = everything(), queries.cost_overview()
    report = run(CLAUDE, CODEX)
    assert (report["sessions_created"], report["sessions_changed"], report["messages"], report["usage_records"], report["updated"]) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert everything() == before
    assert queries.cost_overview() == overview


@pytest.mark.parametrize(
    "log", [CLAUDE / "projects/-home-ada-garden" / f"{MAIN}.jsonl", *sorted(CODEX.rglob("*.jsonl"))], ids=lambda path: path.stem[-12:]
)
def test_a_log_that_grows_ends_as_if_it_had_been_whole(log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    grown = tmp_path / log.name
    for end in sorted({1, 2, *range(3, len(lines), 4), len(lines)}):
        # In between, a line that is only half written.
        half = lines[end][: len(lines[end]) // 2] if end < len(lines) else b""
        grown.write_bytes(b"".join(lines[:end]) + half)
        try:
            run(grown, agent="claude-code" if "garden" in str(log) else "codex")
        except CommandError:
            assert end < len(lines)
    assert services.recount().total == 0
    in_steps, costs = everything(), queries.cost_overview()
    Session.objects.all().delete()
    UsageDay.objects.all().delete()
    services.recount()
    run(grown, agent="claude-code" if "garden" in str(log) else "codex")
    at_once, costs_at_once = everything(), queries.cost_overview()
    for kind, rows in at_once.items():
        drop = {"turn", "extra", "model", "messages_compacted", "fingerprint"} | (
            {"title", "title_is_given"} if kind == "sessions" else set()
        )
        assert [{k: v for k, v in row.items() if k not in drop} for row in in_steps[kind]] == [
            {k: v for k, v in row.items() if k not in drop} for row in rows
        ], kind
    assert costs == costs_at_once


def test_a_dry_run_says_what_a_real_one_does_and_writes_nothing() -> None:
    dry = run(CLAUDE, CODEX, dry_run=True)
    assert Session.objects.count() == Message.objects.count() == UsageRecord.objects.count() == UsageDay.objects.count() == 0
    real = run(CLAUDE, CODEX)
    changing = {"dry_run", "seconds"}
    assert {k: v for k, v in dry.items() if k not in changing} == {k: v for k, v in real.items() if k not in changing}


def test_whose_sessions_they_are_is_decided_once() -> None:
    run(CLAUDE, user="ada")
    run(CLAUDE, user="bob")
    assert set(Session.objects.values_list("user_id", flat=True)) == {"ada"}
    assert [row.user_id for row in queries.cost_overview().by_user] == ["ada"]


def test_a_session_opened_before_its_log_was_read_is_the_same_session() -> None:
    opened = services.open_session("cli", MAIN, user_id="ada").session
    services.record_usage(opened.id, model="claude-sonnet-4-5", input_tokens=5, output_tokens=5)
    run(CLAUDE)
    session = Session.objects.get(agent="claude-code", agent_session_id=MAIN)
    assert (session.id, session.user_id) == (opened.id, "ada")
    assert services.recount().total == 0


def test_another_agents_open_session_under_the_same_key_is_left_alone() -> None:
    other = services.open_session("cli", MAIN, agent="codex").session
    run(CLAUDE)
    session = Session.objects.get(agent="claude-code", agent_session_id=MAIN)
    assert session.id != other.id
    assert session.is_closed
    assert not Session.objects.get(pk=other.id).is_closed


def test_one_file_brings_its_sub_agents_along() -> None:
    run(CLAUDE / "projects/-home-ada-garden" / f"{MAIN}.jsonl")
    assert Message.objects.exclude(subagent_id="").exists()
    report = run(CLAUDE / "projects/-home-ada-garden")
    assert report["sessions_unchanged"] == 1


def test_malformed_lines_warn_with_file_and_line_and_the_rest_is_imported(tmp_path: Path) -> None:
    log = tmp_path / "aaaaaaaa-0000-4000-8000-000000000001.jsonl"
    good = {
        "type": "user",
        "sessionId": log.stem,
        "uuid": "u1",
        "timestamp": "2026-09-01T10:00:00Z",
        "message": {"role": "user", "content": "hello"},
    }
    odd = {**good, "uuid": "u2", "message": {"role": "user", "content": "nul \x00 and \ud800 lone"}}
    log.write_text(
        "\n".join([json.dumps(good), "{not json", json.dumps(odd) + json.dumps({**good, "uuid": "u3"}), '{"type": "brand-new"}', ""])
    )
    report = run(log)
    assert [(Path(warning["path"]).name, warning["line"]) for warning in report["warnings"]] == [(log.name, 2)]
    assert f"{log.name}:2:" in report["stderr"]
    assert report["messages"] == 3
    stored = Message.objects.get(event_id__contains="u2")
    assert stored.content == "nul \ufffd and \ufffd lone"
    assert stored.extra["replaced_characters"] == 2


def test_a_line_of_one_megabyte_and_an_unknown_model(tmp_path: Path) -> None:
    log = tmp_path / "aaaaaaaa-0000-4000-8000-000000000002.jsonl"
    usage = {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    lines = [
        {
            "type": "user",
            "sessionId": log.stem,
            "uuid": "u1",
            "timestamp": "2026-09-01T10:00:00Z",
            "message": {"role": "user", "content": "x" * 1_200_000},
        },
        {
            "type": "assistant",
            "sessionId": log.stem,
            "uuid": "u2",
            "requestId": "r1",
            "timestamp": "2026-09-01T10:00:01Z",
            "message": {
                "id": "m1",
                "role": "assistant",
                "model": "never-heard-of-1",
                "content": [{"type": "text", "text": "ok"}],
                "usage": usage,
            },
        },
    ]
    log.write_text("\n".join(map(json.dumps, lines)))
    run(log)
    assert len(Message.objects.get(role="user").content) == 1_200_000
    record = UsageRecord.objects.get()
    assert (record.cost_usd, record.cost_source) == (None, "unknown")
    overview = queries.cost_overview()
    assert (overview.total_cost_usd, overview.by_model[0].total_cost_usd, overview.unpriced_turns) == (0, None, 1)


@pytest.mark.parametrize("make", ["missing", "empty", "foreign"])
def test_a_path_without_logs_is_an_error_that_says_so(tmp_path: Path, make: str) -> None:
    path = tmp_path / make
    if make != "missing":
        path.mkdir()
    if make == "foreign":
        (path / "notes.jsonl").write_text('{"hello": 1}\n')
    with pytest.raises(CommandError, match=make):
        run(path)


def test_the_exit_status_of_a_bad_path_is_1(tmp_path: Path, child_env: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "import_sessions", str(tmp_path / "nowhere")]
    done = subprocess.run(command, cwd=LOGS.parents[1], env=child_env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_stopping_between_batches_keeps_what_was_stored_and_the_next_run_takes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions_app.importers.store.BATCH_BYTES", 1)
    groups = groups_of(discover(CLAUDE))
    assert len(groups) > 1
    first = import_groups(groups, should_stop=lambda: True)
    assert first.files < sum(len(group.paths) for group in groups)
    assert Session.objects.count() == len(first.created_sessions) >= 1
    import_groups(groups)
    in_two = everything()
    Session.objects.all().delete()
    services.recount()
    import_groups(groups)
    assert everything() == in_two


def test_many_batches_give_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run(CLAUDE, CODEX)
    at_once, costs = everything(), queries.cost_overview()
    Session.objects.all().delete()
    services.recount()
    monkeypatch.setattr("sessions_app.importers.store.BATCH_EVENTS", 3)
    run(CLAUDE, CODEX)
    assert everything() == at_once
    assert queries.cost_overview() == costs


def test_the_number_of_queries_does_not_grow_with_the_sessions(tmp_path: Path) -> None:
    def queries_for(count: int) -> int:
        home = tmp_path / str(count)
        home.mkdir()
        for number in range(count):
            identity = f"aaaaaaaa-0000-4000-8000-{count:06}{number:06}"
            line = {
                "type": "user",
                "sessionId": identity,
                "uuid": "u",
                "timestamp": "2026-09-01T10:00:00Z",
                "message": {"role": "user", "content": "hi"},
            }
            (home / f"{identity}.jsonl").write_text(json.dumps(line))
        with CaptureQueriesContext(connection) as captured:
            run(home)
        return len(captured)

    few = queries_for(5)
    assert queries_for(50) == few


@needs_shared
def test_real_logs_agree_with_independent_figures() -> None:
    truth = json.loads((SHARED / "data/expected/totals.json").read_text())
    for name, want in truth.items():
        if want["agent"] not in ("claude-code", "codex"):
            continue
        Session.objects.all().delete()
        services.recount()
        run(SHARED / "data" / want["path"], agent=want["agent"])
        got = {row.model: row for row in queries.cost_overview().by_model}
        for model, expected in want["models"].items():
            row = got[model]
            assert (row.input_tokens, row.total_output_tokens, row.total_cache_read) == (
                expected.get("input", 0),
                expected.get("output", 0),
                expected.get("cache_read", 0),
            ), (name, model)
            if "cost_usd" in expected:
                assert abs(float(row.total_cost_usd or 0) - expected["cost_usd"]) <= 1e-6, (name, model)
