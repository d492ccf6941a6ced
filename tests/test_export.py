"""A session as JSON Lines, and back: the same session, whole, whatever it holds; again; grown; damaged; in the wrong store."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sessions_app import exporting, queries, services
from sessions_app.events import ROLES, CompactionEvent, Event, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Channel, Compaction, Message, Session, StoreFact, UsageDay, UsageRecord
from sessions_app.store_id import store_id
from tests.factories import T0, at, make_session, make_usage

pytestmark = pytest.mark.django_db
ELSEWHERE = "feedfacefeedface"
TABLES = (Message, UsageRecord, Compaction)


# --- tools ----------------------------------------------------------------------------------------------------------------------------


def exported(session: Session, path: Path, format: str = "json") -> Path:
    """The session's export as a file."""
    path.write_bytes(b"".join(exporting.export(Session.objects.get(pk=session.pk), format, now=T0)))
    return path


def take_in(*paths: Path, **options: Any) -> dict[str, Any]:
    """Import and return the command's JSON, with what it wrote to stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("import_sessions", *map(str, paths), json=True, stdout=out, stderr=err, **options)
    return {**json.loads(out.getvalue()), "stderr": err.getvalue()}


def empty_the_store(*, another: bool = True) -> None:
    """Leave nothing of any session. another: the store is another one then, with a number of its own."""
    services.remove_demo()
    Session.objects.update(is_demo=True)
    services.remove_demo()
    if another:
        StoreFact.objects.filter(pk="store_id").update(value=ELSEWHERE)


def facts(session: Session) -> dict[str, Any]:
    row: dict[str, Any] = Session.objects.filter(pk=session.pk).values().get()
    return row


def rows(session: Session, *, but: tuple[str, ...] = ("id",)) -> dict[str, list[dict[str, Any]]]:
    """Every stored event, in order of storing, without the columns that are the store's own."""
    return {
        table.__name__: [
            {name: value for name, value in row.items() if name not in but}
            for row in table.objects.filter(session=session).order_by("pk").values()
        ]
        for table in TABLES
    }


OWN = ("id", "event_id", "source")  # what another store may have to write in another way


def costs() -> Any:
    overview = queries.cost_overview()
    return overview, overview.by_user, overview.by_model, overview.by_day, overview.by_tool


def assert_recounted() -> None:
    result = services.recount(dry_run=True)
    assert result.differences == []


def make_full() -> Session:
    """A session with everything that a session can have."""
    session = make_session(
        "slack", "team:channel:1", user_id="alice", triggered_by="nightly report", agent="support-bot", project="/srv/app"
    )
    events: list[Event] = [
        MessageEvent(role="user", content="Where is it?\r\n\ttab \u202eodd\u202c \U0001f469\u200d\U0001f4bb", timestamp=at(1), event_id="a"),
        MessageEvent(role="thinking", content="Let me see", timestamp=at(1.1), response_id="r1"),
        tool_use("c1", "Bash", {"command": "ls", "deep": [1, {"x": None}]}, timestamp=at(1.2), response_id="r1", event_id="b"),
        tool_result("c1", "no such file", is_error=True, timestamp=at(1.3)),
        tool_use("c2", "Task", {"prompt": "look"}, timestamp=at(1.4), response_id="r1"),
        MessageEvent(role="user", content="look", timestamp=at(1.5), subagent_id="s1", agent="helper"),
        MessageEvent(role="assistant", content="There.", timestamp=at(1.6), subagent_id="s1", response_id="r2"),
        tool_result("c2", [{"type": "text", "text": "There."}], timestamp=at(1.7)),
        MessageEvent(role="system", content="a note", timestamp=at(1.8), extra={"big": 2**70 + 1, "level": "info", "f": 0.1}),
        MessageEvent(role="assistant", content="Here. NUL \x00 goes", timestamp=at(2), response_id="r3"),
        UsageEvent(model="claude-sonnet-4-5", input_tokens=10, output_tokens=20, cache_read_tokens=30, cache_write_tokens=40,
                   cache_write_1h_tokens=15, timestamp=at(1.2), response_id="r1", event_id="u1", provider="anthropic"),
        UsageEvent(model="no-such-model", input_tokens=5, output_tokens=5, timestamp=at(1.6), subagent_id="s1", response_id="r2"),
        UsageEvent(model="gpt-5", input_tokens=1, output_tokens=1, cost_usd=Decimal(0), turn=7, user_id="bob", timestamp=at(2), response_id="r3"),
        UsageEvent(model="gpt-5", input_tokens=1, output_tokens=1, cost_usd=Decimal("0.000000001"), timestamp=at(2.1)),
        CompactionEvent(trigger="auto", pre_tokens=9000, summary="So far", messages_compacted=3, timestamp=at(1.9), event_id="k1"),
        CompactionEvent(trigger="manual", pre_tokens=0, summary="", messages_compacted=0, timestamp=at(1.95)),
    ]  # fmt: skip
    result = services.store_events(session.pk, events, source="token:3", now=at(3))
    assert not result.refused
    services.save_message(session.pk, "user", "by Python, no id", now=at(4))
    services.save_message(session.pk, "user", "by Python, with an id", event_id="p", now=at(4))
    services.touch_session(session.pk, now=at(10))
    services.touch_session(session.pk, now=at(11))
    services.set_tags(session.pk, ["billing", "Straße"])
    services.rename_session(session.pk, "A name of its own: " + "x" * 120)
    services.close_session(session.pk, "Found it", now=at(12))
    services.archive_session(session.pk, now=at(13))
    session.refresh_from_db()
    return session


# --- there and back -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("another", [True, False], ids=["another store", "the same store"])
def test_an_empty_store_gets_the_same_session(tmp_path: Path, another: bool) -> None:
    session = make_full()
    services.mark_read(session.pk)
    session_before, rows_before, costs_before = facts(session), rows(session, but=OWN), costs()
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store(another=another)
    assert not Message.objects.exists()
    assert not UsageDay.objects.exists()

    report = take_in(file)

    assert (report["sessions_created"], report["messages"], report["usage_records"], report["compactions"]) == (1, 12, 4, 2)
    assert report["warnings"] == []
    assert facts(session) == session_before
    assert rows(session, but=OWN) == rows_before
    assert costs() == costs_before
    assert {record.cost_source for record in UsageRecord.objects.all()} == {"computed", "unknown", "reported"}
    assert_recounted()


@pytest.mark.parametrize("another", [True, False], ids=["another store", "the same store"])
def test_twice_changes_nothing(tmp_path: Path, another: bool) -> None:
    session = make_full()
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store(another=another)
    take_in(file)
    before = facts(session), rows(session, but=()), costs()
    report = take_in(file)
    assert (report["sessions_created"], report["sessions_unchanged"], report["messages"], report["usage_records"]) == (0, 1, 0, 0)
    assert (report["compactions"], report["updated"], report["already_known"], report["warnings"]) == (0, 0, 18, [])
    assert (facts(session), rows(session, but=()), costs()) == before


def test_a_store_that_never_lost_it_takes_nothing(tmp_path: Path) -> None:
    session = make_full()
    file = exported(session, tmp_path / "one.jsonl")
    before = facts(session), rows(session, but=()), costs()
    report = take_in(file)
    assert (report["messages"], report["usage_records"], report["compactions"], report["already_known"]) == (0, 0, 0, 18)
    assert (facts(session), rows(session, but=()), costs()) == before


def test_only_what_is_new_is_added(tmp_path: Path) -> None:
    session = make_full()
    early = exported(session, tmp_path / "early.jsonl")
    for number in range(3):
        services.save_message(session.pk, "assistant", "the same words", timestamp=at(20), now=at(20))
        make_usage(session, when=at(20 + number))
    services.touch_session(session.pk, now=at(30))
    services.mark_read(session.pk)  # the night's job spoke; who has read what stays at home
    late = exported(session, tmp_path / "late.jsonl")
    expected = facts(session), rows(session, but=OWN), costs()
    empty_the_store()
    take_in(early)
    report = take_in(late)
    assert (report["messages"], report["usage_records"], report["sessions_changed"]) == (3, 3, 1)
    assert (facts(session), rows(session, but=OWN), costs()) == expected
    # and the early one again, and both at once in one store
    assert take_in(early)["messages"] == 0
    assert (facts(session), rows(session, but=OWN), costs()) == expected
    empty_the_store()
    take_in(late, early)
    assert (facts(session), rows(session, but=OWN), costs()) == expected
    assert_recounted()


def test_it_comes_home_from_another_store_with_what_happened_there(tmp_path: Path) -> None:
    session = make_full()
    home = store_id()
    there = exported(session, tmp_path / "there.jsonl")
    kept = rows(session, but=())
    empty_the_store()
    take_in(there)
    services.save_message(session.pk, "user", "said elsewhere", now=at(50))
    back = exported(session, tmp_path / "back.jsonl")
    # home again, where it never went away
    empty_the_store()
    StoreFact.objects.filter(pk="store_id").update(value=home)
    take_in(there)
    assert rows(session, but=OWN) == {name: [{k: v for k, v in row.items() if k not in OWN} for row in some] for name, some in kept.items()}
    report = take_in(back)
    assert (report["messages"], report["already_known"], report["warnings"]) == (1, 18, [])
    assert take_in(back, there)["messages"] == 0


def test_the_ids_of_two_stores_tokens_never_meet(tmp_path: Path) -> None:
    """Token 3 of this store is not token 3 of that one: neither's events may be taken for the other's."""
    session = make_session(key="theirs")
    services.save_message(session.pk, "user", "theirs", event_id="1", source="token:3", now=at(1))
    file = exported(session, tmp_path / "theirs.jsonl")
    empty_the_store()
    ours = make_session(key="ours")
    services.save_message(ours.pk, "user", "ours", event_id="1", source="token:3", now=at(2))
    report = take_in(file)
    assert (report["messages"], report["warnings"]) == (1, [])
    services.save_message(ours.pk, "user", "ours", event_id="1", source="token:3", now=at(2))
    assert Message.objects.count() == 2


def test_a_resend_is_still_known_after_the_session_came_back(tmp_path: Path) -> None:
    session = make_session()
    sent: dict[str, Any] = {"event_id": "1", "source": "token:3", "timestamp": at(1)}
    services.save_message(session.pk, "user", "hello", **sent)
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store(another=False)
    take_in(file)
    services.save_message(session.pk, "user", "hello", **sent)
    assert Message.objects.count() == 1


LOGS = Path(__file__).parent / "logs"


@pytest.mark.parametrize("agent", ["claude-code", "codex"])
def test_an_agents_log_and_its_export_are_the_same_session(tmp_path: Path, agent: str) -> None:
    take_in(LOGS / agent)
    before, sessions = costs(), list(Session.objects.order_by("pk"))
    kept = [(facts(session), rows(session, but=("id",))) for session in sessions]
    files = [exported(session, tmp_path / f"{session.pk}.jsonl") for session in sessions]
    empty_the_store()
    report = take_in(tmp_path)
    assert (report["sessions_created"], report["files"], report["warnings"]) == (len(sessions), len(files), [])
    assert [(facts(session), rows(session, but=("id",))) for session in sessions] == kept
    assert costs() == before
    # the log again: all known, by its own ids
    again = take_in(LOGS / agent)
    assert (again["sessions_created"], again["messages"], again["usage_records"], again["compactions"]) == (0, 0, 0, 0)
    # a store that has the log gets nothing from the export, although its sessions have ids of their own
    empty_the_store()
    take_in(LOGS / agent)
    report = take_in(tmp_path)
    assert (report["sessions_created"], report["messages"], report["usage_records"]) == (0, 0, 0)
    assert costs() == before
    assert all("is here already" in warning["reason"] for warning in report["warnings"])
    assert len(report["warnings"]) == len(sessions)
    assert_recounted()


# --- what stands in the way -----------------------------------------------------------------------------------------------------------


def test_an_id_that_another_session_has_is_refused(tmp_path: Path) -> None:
    session = make_full()
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store()
    taken = make_session(key="something else", user_id="mallory")
    Session.objects.filter(pk=taken.pk).delete()
    Session(**{**facts_of(taken), "id": session.pk}).save(force_insert=True)
    report = take_in(file)
    assert (report["sessions_created"], report["messages"], report["refused"]) == (0, 0, 18)
    [warning] = report["warnings"]
    assert f"Session {session.pk} is another one here" in warning["reason"]
    assert Session.objects.get().user_id == "mallory"
    assert not Message.objects.exists()


def facts_of(session: Session) -> dict[str, Any]:
    return {field.attname: getattr(session, field.attname) for field in Session._meta.concrete_fields}


def test_an_open_session_under_the_same_key_stays_and_the_export_is_kept_closed(tmp_path: Path) -> None:
    session = make_session(key="k", messages=2)
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store()
    ours = make_session(key="k")
    report = take_in(file)
    assert (report["sessions_created"], report["messages"]) == (1, 2)
    [warning] = report["warnings"]
    assert f"here {ours.pk} is open under the same channel, key and user" in warning["reason"]
    ours.refresh_from_db()
    session.refresh_from_db()
    assert (ours.is_closed, session.is_closed, session.closed_at) == (False, True, session.last_message_at)
    assert take_in(file)["warnings"] == []
    assert_recounted()


def test_a_session_that_ended_elsewhere_ends_here(tmp_path: Path) -> None:
    session = make_session(messages=2)
    still_open = exported(session, tmp_path / "open.jsonl")
    services.close_session(session.pk, "Done", now=at(9))
    ended = exported(session, tmp_path / "ended.jsonl")
    empty_the_store()
    take_in(still_open)
    assert not Session.objects.get().is_closed
    take_in(ended)
    assert (Session.objects.get().closed_at, Session.objects.get().summary) == (at(9), "Done")
    # but not one in which more was said here
    services.reopen_session(session.pk)
    services.save_message(session.pk, "user", "one more thing", now=at(20))
    take_in(ended)
    assert not Session.objects.get().is_closed
    assert_recounted()


def test_what_people_did_here_stays(tmp_path: Path) -> None:
    session = make_full()
    file = exported(session, tmp_path / "one.jsonl")
    services.archive_session(session.pk, False)
    services.set_tags(session.pk, ["mine"])
    services.rename_session(session.pk, "My name for it")
    services.set_summary(session.pk, "My summary")
    take_in(file)
    session.refresh_from_db()
    assert (session.is_archived, session.tags, session.title, session.summary) == (False, ["mine"], "My name for it", "My summary")


def test_a_channel_that_the_store_does_not_have_comes_along(tmp_path: Path) -> None:
    Channel.objects.create(slug="matrix", label="Matrix", gap_minutes=77, marks_unread=True)
    session = make_session("matrix", messages=1)
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store()
    Channel.objects.filter(slug="matrix").delete()
    take_in(file)
    channel = Session.objects.get().channel
    assert (channel.label, channel.gap_minutes, channel.marks_unread) == ("Matrix", 77, True)


def test_a_store_that_knows_the_agents_session_by_another_id_keeps_its_owner(tmp_path: Path) -> None:
    """Whose session it is follows from the store, never from a file that says it is somebody else's."""
    take_in(LOGS / "codex", user="alice")
    session = Session.objects.order_by("pk")[0]
    file = exported(session, tmp_path / "one.jsonl")
    lines = [json.loads(line) for line in file.read_text().strip("\n").split("\n")]
    lines[0]["session"] |= {"id": "01999999-9999-7999-8999-999999999999", "user_id": "mallory"}
    for line in lines[1:]:
        line["session_id"] = lines[0]["session"]["id"]
    write(file, lines)
    take_in(file)
    assert not Session.objects.filter(user_id="mallory").exists()
    assert list(Session.objects.values_list("user_id", flat=True).distinct()) == ["alice"]


def test_an_empty_session_comes_back_too(tmp_path: Path) -> None:
    session = make_session()
    before = facts(session)
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store()
    assert take_in(file)["sessions_created"] == 1
    assert facts(session) == before


def test_a_dry_run_stores_nothing(tmp_path: Path) -> None:
    session = make_full()
    file = exported(session, tmp_path / "one.jsonl")
    empty_the_store()
    report = take_in(file, dry_run=True)
    assert (report["sessions_created"], report["messages"], report["usage_records"]) == (1, 12, 4)
    assert not Session.objects.exists()


# --- damage ---------------------------------------------------------------------------------------------------------------------------


def write(path: Path, lines: list[Any]) -> None:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n" for line in lines))


def test_a_damaged_line_costs_a_warning_and_nothing_else(tmp_path: Path) -> None:
    session = make_full()
    file = exported(session, tmp_path / "one.jsonl")
    lines: list[Any] = [json.loads(line) for line in file.read_text().strip("\n").split("\n")]
    spoilt = {
        1: "{ this is no JSON",
        2: {**lines[2], "role": "wizard"},
        3: {**lines[3], "timestamp": "yesterday"},
        4: {**lines[4], "content": 7},
        5: {**lines[5], "extra": []},
        6: {**lines[6], "id": "six"},
        7: {**lines[7], "fingerprint": "9" * 19},
        8: [1, 2],
        13: {**lines[13], "input_tokens": -1},
        14: {**lines[14], "cost_source": "computed"},
        15: {**lines[15], "cost_usd": "NaN"},
        17: {**lines[17], "type": "spell"},
    }
    write(file, [spoilt.get(number, line) for number, line in enumerate(lines)])
    empty_the_store()
    report = take_in(file)
    assert report["sessions_created"] == 1
    assert (report["messages"], report["usage_records"], report["compactions"]) == (4, 1, 1)
    reasons = " ".join(warning["reason"] for warning in report["warnings"])
    for words in ("not JSON", "timestamp is no time", "content is not text", "extra is not an object", "id is not a whole number",
                  "64 bits", "no JSON object", "no role 'wizard'", "input_tokens is -1", "cost_source is", "cost_usd is", "unknown type 'spell'",
                  "was written with 12 messages, and 10 are here"):  # fmt: skip
        assert words in reasons, words
    assert_recounted()
    write(file, lines)
    take_in(file)
    assert (Message.objects.count(), UsageRecord.objects.count(), Compaction.objects.count()) == (12, 4, 2)


def test_a_file_that_was_cut_says_so(tmp_path: Path) -> None:
    session = make_full()
    file = exported(session, tmp_path / "one.jsonl")
    file.write_bytes(file.read_bytes()[:-900])
    empty_the_store()
    report = take_in(file)
    assert report["messages"] == 12
    assert "has no last line: the file was cut" in report["warnings"][-1]["reason"]


def test_lines_without_their_session_go_nowhere(tmp_path: Path) -> None:
    one, two = make_session(key="one", messages=3), make_session(key="two", messages=2)
    texts = [exported(session, tmp_path / "x.jsonl").read_text().strip("\n").split("\n") for session in (one, two)]
    (tmp_path / "x.jsonl").unlink()
    # the end of the first file and the beginning of the second are lost, as where a disk was full
    write(tmp_path / "glued.jsonl", [*texts[0][:-1], *texts[1][1:]])
    empty_the_store()
    report = take_in(tmp_path)
    assert (report["sessions_created"], report["messages"]) == (1, 3)
    assert any("3 lines of a session whose first line is missing" in warning["reason"] for warning in report["warnings"])
    assert set(Message.objects.values_list("session_id", flat=True)) == {one.pk}


def test_two_exports_in_one_file_are_two_sessions(tmp_path: Path) -> None:
    sessions = [make_session(key=key, messages=2) for key in ("one", "two")]
    (tmp_path / "both.jsonl").write_bytes(b"".join(b"".join(exporting.export(session, "json", now=T0)) for session in sessions))
    empty_the_store()
    report = take_in(tmp_path / "both.jsonl")
    assert (report["sessions_created"], report["messages"], report["warnings"]) == (2, 4, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "written in version 2 of the format"),
        ({"version": None}, "written in version None"),
        ({"store": "../../etc"}, "store is no store's number"),
        ({"channel": {"slug": "no slug!"}}, "cannot be a channel's name"),
        ({"session": {"id": "12"}}, "id is no UUID"),
    ],
)
def test_a_first_line_that_cannot_be_taken_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    file = exported(make_session(messages=1), tmp_path / "one.jsonl")
    lines = [json.loads(line) for line in file.read_text().strip("\n").split("\n")]
    write(file, [{**lines[0], **change}, *lines[1:]])
    empty_the_store()
    report = take_in(file, agent="sessionsite")
    assert report["sessions_created"] == 0
    assert words in report["warnings"][0]["reason"]
    assert not Session.objects.exists()


@given(data=st.data())
@settings(suppress_health_check=list(HealthCheck), max_examples=150)
def test_no_damage_stops_an_import(data: st.DataObject, tmp_path: Path, db: None) -> None:
    """Any value in any place of any line: warnings, never an exception."""
    file = tmp_path / "one.jsonl"
    if not file.exists():
        exported(make_full(), file)
        (tmp_path / "whole.jsonl").write_bytes(file.read_bytes())
        empty_the_store()
    lines = [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text().strip("\n").split("\n")]
    junk = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.sampled_from(["0", "\ud800", "2026-09-01", "9999-12-31T23:59:59Z"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    )
    for _ in range(data.draw(st.integers(1, 3))):
        line = data.draw(st.sampled_from(lines))
        inside = line.get("session") if "session" in line and data.draw(st.booleans()) else line
        inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(junk)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    take_in(file, agent="sessionsite", dry_run=True)


# --- any session that there can be ----------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=60)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
TIMES = st.integers(-10_000_000, 10_000_000).map(lambda seconds: T0 + timedelta(seconds=seconds, microseconds=abs(seconds) % 1_000_000))
EXTRA = st.dictionaries(WORDS, st.none() | st.booleans() | st.integers() | WORDS | st.lists(WORDS, max_size=2), max_size=2)
COUNT = st.integers(0, 100_000_000)


@st.composite
def events(draw: Any, number: int) -> Event:
    event_id = draw(st.sampled_from(["", f"event {number}", f"Ереn\u0301 {number}"]))
    common: dict[str, Any] = {"timestamp": draw(TIMES), "event_id": event_id, "extra": draw(EXTRA)}
    subagent = draw(st.sampled_from(["", "", "s1", "s\u202e2"]))
    response = draw(st.sampled_from(["", "r1", "r2"]))
    match draw(st.integers(0, 6)):
        case 0:
            return tool_use(draw(st.sampled_from(["", "c1", "c2"])), draw(WORDS), draw(EXTRA), subagent_id=subagent, **common)
        case 1:
            call = draw(st.sampled_from(["", "c1", "c2"]))
            return tool_result(call, draw(TEXT), is_error=draw(st.booleans()), subagent_id=subagent, **common)
        case 2:
            write = draw(COUNT)
            return UsageEvent(
                model=draw(st.sampled_from(["claude-sonnet-4-5", "gpt-5", "no such model", "é"])),
                input_tokens=draw(COUNT), output_tokens=draw(COUNT), cache_read_tokens=draw(COUNT), cache_write_tokens=write,
                cache_write_1h_tokens=draw(st.integers(0, write)), provider=draw(st.sampled_from(["", "anthropic"])),
                cost_usd=draw(st.none() | st.just(Decimal(0)) | st.decimals(0, 1_000_000, places=9)),
                turn=draw(st.none() | st.integers(0, 2_000_000_000)), user_id=draw(st.none() | st.just("bob")),
                subagent_id=subagent, response_id=response, **common,
            )  # fmt: skip
        case 3:
            return CompactionEvent(
                trigger=draw(WORDS), pre_tokens=draw(COUNT), summary=draw(TEXT), messages_compacted=draw(COUNT), **common
            )
        case _:
            role = draw(st.sampled_from(ROLES))
            agent = draw(st.sampled_from(["", "helper"]))
            return MessageEvent(role=role, content=draw(TEXT), agent=agent, subagent_id=subagent, response_id=response, **common)


@given(data=st.data())
@settings(suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
def test_any_session_comes_back_as_it_was(data: st.DataObject, tmp_path: Path, db: None) -> None:
    draw = data.draw
    empty_the_store(another=False)
    StoreFact.objects.filter(pk="store_id").update(value="0123456789abcdef")
    session = make_session(
        draw(st.sampled_from(["main", "cli", "slack"])),
        draw(WORDS),
        user_id=draw(st.sampled_from(["alice", "bob", "名"])),
        triggered_by=draw(st.sampled_from([None, services.HEARTBEAT, "nightly"])),
        agent=draw(st.sampled_from(["", "codex"])),
        project=draw(st.sampled_from(["", "/srv/app"])),
        git_branch=draw(WORDS),
        extra=draw(EXTRA),
    )
    for number in range(draw(st.integers(0, 3))):
        some = [draw(events(10 * number + place)) for place in range(draw(st.integers(0, 6)))]
        source = draw(st.sampled_from(["", "token:1", "codex", "otlp:token:2"]))
        assert not services.store_events(session.pk, some, source=source, imported=draw(st.booleans()), now=at(number)).refused
    for _ in range(draw(st.integers(0, 2))):
        services.touch_session(session.pk, now=draw(TIMES))
    if draw(st.booleans()):
        services.rename_session(session.pk, draw(TEXT) * draw(st.integers(1, 5)))
    if draw(st.booleans()):
        services.set_tags(session.pk, draw(st.lists(WORDS.filter(str.strip), max_size=3)))
    if draw(st.booleans()):
        services.close_session(session.pk, draw(TEXT), now=draw(TIMES))
    if draw(st.booleans()):
        services.archive_session(session.pk, now=draw(TIMES))
    services.mark_read(session.pk)

    services.recount()
    before = facts(session), rows(session, but=OWN), costs()
    file = exported(session, tmp_path / "one.jsonl")
    for format in ("md", "html"):
        exported(session, tmp_path / f"one.{format}")
    empty_the_store(another=draw(st.booleans()))
    report = take_in(file)
    assert (report["refused"], report["warnings"]) == (0, [])
    assert (facts(session), rows(session, but=OWN), costs()) == before
    assert_recounted()
    assert take_in(file)["messages"] == 0
    assert (facts(session), rows(session, but=OWN), costs()) == before
    # and what is exported from there is the same again
    again = [without_store(line) for line in exported(session, tmp_path / "two.jsonl").read_text().strip("\n").split("\n")]
    assert again == [without_store(line) for line in file.read_text().strip("\n").split("\n")]


def without_store(line: str) -> dict[str, Any]:
    """A line of an export without what tells one store from another."""
    return {name: value for name, value in json.loads(line).items() if name not in ("store", "id", "source", "event_id")}


@pytest.mark.django_db(transaction=True)
def test_four_imports_of_one_file_at_once_are_one(tmp_path: Path, child_env: dict[str, str]) -> None:
    session = make_full()
    many = [MessageEvent(role="user", content=f"{number}", timestamp=at(1), event_id=f"m{number}") for number in range(4000)]
    services.store_events(session.pk, many, source="codex", now=at(3))  # long enough that the four meet
    services.mark_read(session.pk)
    file = exported(session, tmp_path / "one.jsonl")
    before = facts(session), rows(session, but=OWN), costs()
    empty_the_store()
    command = [sys.executable, "manage.py", "import_sessions", str(file), "--json"]
    running = [subprocess.Popen(command, env=child_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    reports = []
    for one in running:
        out, err = one.communicate(timeout=120)
        assert one.returncode == 0, err.decode()
        reports.append(json.loads(out))
    assert sum(report["sessions_created"] for report in reports) == 1
    assert sum(report["messages"] for report in reports) == 4012
    assert all(report["warnings"] == [] for report in reports)
    assert (facts(session), rows(session, but=OWN), costs()) == before
    assert_recounted()
