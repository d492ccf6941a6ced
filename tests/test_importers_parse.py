"""What the log formats give for the small transcripts in tests/logs: exact sessions, messages and tokens, without a database."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sessions_app.events import CompactionEvent, MessageEvent, UsageEvent
from sessions_app.importers import claude_code, codex, discover
from sessions_app.importers.lines import read_time, records
from sessions_app.importers.logs import LogWarning, NoLogsFound, SessionEvent, SessionFacts, Skipped

LOGS = Path(__file__).parent / "logs"
GARDEN = LOGS / "claude-code/projects/-home-ada-garden"
OLD = LOGS / "claude-code/projects/-home-ada-old"
MAIN = "11111111-aaaa-4aaa-8aaa-111111111111"
SECOND = "22222222-bbbb-4bbb-8bbb-222222222222"
THIRD = "33333333-cccc-4ccc-8ccc-333333333333"
BEES = "44444444-dddd-4ddd-8ddd-444444444444"
SHOP = "019a0000-0000-7000-8000-00000000c0de"
FORK = "019a0000-0000-7000-8000-00000000f0f0"
FIRST_CODEX = "0197ffff-0000-7000-8000-00000000a1d0"
PICTURE = {"media_type": "image/png", "data": "iVBORw0KGgoAAAANSUhEUg=="}


@dataclass
class Parsed:
    """All that one reading gave."""

    facts: dict[str, SessionFacts] = field(default_factory=dict)
    events: list[tuple[str, Any]] = field(default_factory=list)
    warnings: list[LogWarning] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def messages(self, session: str, subagent: str | None = "") -> list[MessageEvent]:
        return [
            event
            for owner, event in self.events
            if owner == session and isinstance(event, MessageEvent) and (subagent is None or event.subagent_id == subagent)
        ]

    def said(self, session: str, subagent: str = "") -> list[tuple[str, str]]:
        return [(event.role, event.content) for event in self.messages(session, subagent)]

    def usage(self, session: str) -> dict[str, tuple[int, int, int, int, int]]:
        return {event.event_id: counts(event) for owner, event in self.events if owner == session and isinstance(event, UsageEvent)}

    def compactions(self, session: str) -> list[CompactionEvent]:
        return [event for owner, event in self.events if owner == session and isinstance(event, CompactionEvent)]


def counts(event: UsageEvent) -> tuple[int, int, int, int, int]:
    return (event.input_tokens, event.output_tokens, event.cache_read_tokens, event.cache_write_tokens, event.cache_write_1h_tokens)


def read(module: ModuleType, *paths: Path) -> Parsed:
    """Read one group; an event before its session's facts, or the end missing, is a fault."""
    parsed, ended = Parsed(), 0
    for item in module.read(list(paths)):
        if isinstance(item, SessionFacts):
            parsed.facts[item.agent_session_id] = item
        elif isinstance(item, SessionEvent):
            assert item.agent_session_id in parsed.facts
            assert item.event.event_id
            parsed.events.append((item.agent_session_id, item.event))
        elif isinstance(item, LogWarning):
            parsed.warnings.append(item)
        else:
            assert isinstance(item, Skipped)
            parsed.skipped.update(item.counts)
            ended += 1
    assert ended
    return parsed


@pytest.fixture(scope="module")
def garden() -> Parsed:
    return read(claude_code, GARDEN / f"{MAIN}.jsonl", *sorted((GARDEN / MAIN / "subagents").glob("*.jsonl")))


@pytest.fixture(scope="module")
def shop() -> Parsed:
    [path] = (LOGS / "codex/sessions/2026").rglob("*.jsonl")
    return read(codex, path)


def tool(content: str) -> dict[str, Any]:
    return json.loads(content)


# --- Claude Code ----------------------------------------------------------------------------------------------------------------


def test_claude_session_facts(garden: Parsed) -> None:
    [facts] = garden.facts.values()
    assert (facts.agent_session_id, facts.project, facts.git_branch) == (MAIN, "/home/ada/garden", "beds")
    assert facts.title == "Watering the beds"  # the person's own, not the later ai-title, nor another conversation's summary
    assert facts.started_at == datetime(2026, 3, 2, 9, 0, 0, 250000, UTC)
    assert facts.extra == {"version": "2.1.40"}


def test_claude_messages_in_their_order(garden: Parsed) -> None:
    roles = [role for role, _ in garden.said(MAIN)]
    assert roles == [
        "user", "system", "system", "user", "thinking", "assistant", "tool_use", "tool_result", "thinking", "tool_use", "tool_result",
        "tool_use", "tool_result", "system", "system", "assistant", "user", "assistant", "assistant", "user", "user", "system",
        "assistant", "assistant",
    ]  # fmt: skip
    texts = [content for role, content in garden.said(MAIN) if role == "assistant"]
    assert texts == ["I will look.", "No response requested.", "It is", "a daisy.", "Negative.", "Shall I fix the hose?"]


def test_claude_prompts_that_may_name_the_session(garden: Parsed) -> None:
    prompts = [event.content for event in garden.messages(MAIN) if event.role == "user" and event.titles]
    assert prompts == ["Which beds need water? 🌱", "Is this a weed?", "And the roses?"]
    assert all(event.extra["is_meta"] for event in garden.messages(MAIN) if event.role == "user" and not event.titles)
    assert not any(event.titles for event in garden.messages(MAIN, None) if event.subagent_id)


def test_claude_usage_is_the_largest_of_each_response(garden: Parsed) -> None:
    assert garden.usage(MAIN) == {
        "msg_one:req_one": (10, 55, 2000, 300, 300),
        "msg_two:req_two": (3, 20, 2300, 100, 0),
        "msg_three:req_three": (2, 30, 2400, 40, 0),
        "msg_side1:req_side1": (4, 3, 100, 50, 0),
        "msg_four:req_four": (5, 9, 2500, 0, 0),
        "msg_five:req_five": (9000, 11, 0, 0, 0),
        "msg_side2:req_side2": (2, 40, 150, 10, 0),
        "msg_compact:req_compact": (1, 60, 2600, 0, 0),
    }


def test_claude_usage_says_model_speed_and_thread(garden: Parsed) -> None:
    by_id = {event.event_id: event for _, event in garden.events if isinstance(event, UsageEvent)}
    assert by_id["msg_two:req_two"].extra == {"speed": "fast"}
    assert by_id["msg_two:req_two"].model == "claude-opus-4-8"
    assert by_id["msg_one:req_one"].timestamp == datetime(2026, 3, 2, 9, 0, 10, 250000, UTC)
    assert by_id["msg_side1:req_side1"].subagent_id == by_id["msg_side2:req_side2"].subagent_id == "a1b2c3"
    assert by_id["msg_compact:req_compact"].subagent_id == "acompact-77"
    assert all(event.replaces and event.provider == "anthropic" and event.response_id == event.event_id for event in by_id.values())
    written_by = {event.response_id for event in garden.messages(MAIN, None) if event.role in ("assistant", "thinking", "tool_use")}
    assert by_id.keys() <= written_by


def test_claude_tools(garden: Parsed) -> None:
    messages = [event for event in garden.messages(MAIN) if event.role in ("tool_use", "tool_result")]
    read_call, read_result, bash_call, bash_result, task_call, task_result = messages
    assert tool(read_call.content) == {
        "type": "tool_use", "id": "toolu_read", "name": "Read", "input": {"file_path": "/home/ada/garden/beds.txt"}
    }  # fmt: skip
    assert (read_call.tool_name, read_call.tool_call_id) == ("Read", "toolu_read")
    assert tool(read_result.content) == {
        "type": "tool_result", "tool_use_id": "toolu_read", "content": "1 wet\n2 dry", "is_error": False
    }  # fmt: skip
    assert read_result.extra == {"duration_ms": 12}
    assert (bash_result.is_error, bash_result.tool_call_id, bash_call.is_error) == (True, "toolu_bash", False)
    assert tool(task_result.content)["content"] == [{"type": "text", "text": "Bed two is dry."}]
    assert task_result.extra == {"subagent_id": "a1b2c3", "agent_type": "Explore", "duration_ms": 8000}
    assert task_call.subagent_id == ""


def test_claude_subagent_is_read_once_from_both_places(garden: Parsed) -> None:
    roles = [role for role, _ in garden.said(MAIN, "a1b2c3")]
    assert roles == ["user", "tool_use", "tool_result", "assistant"]
    assert garden.messages(MAIN, "a1b2c3")[0].extra == {"parent_tool_call_id": "toolu_task"}
    assert [role for role, _ in garden.said(MAIN, "acompact-77")] == ["user", "assistant", "assistant"]


def test_claude_progress_lines_are_enough_without_the_agents_file(garden: Parsed) -> None:
    alone = read(claude_code, GARDEN / f"{MAIN}.jsonl")
    assert [role for role, _ in alone.said(MAIN, "a1b2c3")] == ["user", "tool_use"]
    assert alone.usage(MAIN)["msg_side1:req_side1"] == (4, 3, 100, 50, 0)
    body = {event.event_id: (event.role, event.content, event.timestamp) for event in garden.messages(MAIN, "a1b2c3")}
    from_file = read(claude_code, GARDEN / MAIN / "subagents/agent-a1b2c3.jsonl")
    assert {event.event_id: (event.role, event.content, event.timestamp) for event in from_file.messages(MAIN, "a1b2c3")} == body


def test_claude_errors_pictures_and_empty_thoughts(garden: Parsed) -> None:
    errors = [event for event in garden.messages(MAIN) if event.is_error and event.role == "system"]
    assert [event.content for event in errors] == ["API error 529: Overloaded (attempt 1 of 10)", "API Error: 529 Overloaded"]
    [picture] = [event for event in garden.messages(MAIN) if "attachments" in event.extra]
    assert (picture.content, picture.extra["attachments"]) == ("Is this a weed?", [PICTURE])
    thoughts = [(event.content, event.extra) for event in garden.messages(MAIN) if event.role == "thinking"]
    assert thoughts == [("Look at the beds first.", {}), ("", {"redacted": True})]


def test_claude_compaction(garden: Parsed) -> None:
    [compaction] = garden.compactions(MAIN)
    assert (compaction.trigger, compaction.pre_tokens, compaction.messages_compacted) == ("manual", 91234, 23)
    assert compaction.summary == "The garden so far: bed two is dry."
    assert compaction.timestamp == datetime(2026, 3, 2, 9, 1, 40, 250000, UTC)


def test_claude_warnings_name_the_line_and_the_rest_is_read(garden: Parsed) -> None:
    assert [(warning.path.name, warning.line) for warning in garden.warnings] == [(f"{MAIN}.jsonl", line) for line in (11, 26, 30)]
    assert "JSON" in garden.warnings[0].reason
    assert "tokens are not counted" in garden.warnings[2].reason


def test_claude_skipped_lines_are_counted(garden: Parsed) -> None:
    assert garden.skipped == {
        "file-history-snapshot": 1, "progress/hook_progress": 1, "attachment/todo_reminder": 1, "from-the-future": 1,
        "system/turn_duration": 1,
    }  # fmt: skip


def test_claude_two_sessions_in_one_file_and_odd_times() -> None:
    parsed = read(claude_code, GARDEN / f"{SECOND}.jsonl")
    assert parsed.said(SECOND) == [("user", "Prune the hedge"), ("assistant", "Done."), ("assistant", "Done.")]
    assert parsed.said(THIRD) == [("user", "And the lawn?"), ("assistant", "Mown.")]
    first, second, third = parsed.messages(SECOND)
    assert first.timestamp == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert (second.timestamp, second.extra) == (datetime(2026, 3, 2, 9, 0, 1, tzinfo=UTC), {"assumed_utc": True})
    assert third.timestamp == datetime(2026, 3, 2, 9, 0, 2, 500000, UTC)
    assert parsed.messages(THIRD)[1].timestamp == datetime(2026, 3, 3, 10, tzinfo=UTC)  # no time of its own: that of the line before
    assert list(parsed.usage(SECOND).values()) == [(7, 3, 0, 0, 0)] * 2  # no ids: each line is a response
    assert parsed.usage(THIRD) == {"msg_lawn:": (1, 2, 0, 0, 0)}
    assert parsed.facts[SECOND].project == "/home/ada/hedge"


def test_claude_old_layout() -> None:
    [(module, [group])] = discover(OLD)
    assert [path.name for path in group] == [f"{BEES}.jsonl", "agent-0e0e.jsonl"]
    parsed = read(module, *group)
    assert list(parsed.facts) == [BEES]
    assert parsed.said(BEES) == [("user", "Count the bees")]
    chain, agent = (event.subagent_id for _, event in parsed.events if isinstance(event, UsageEvent))
    assert parsed.said(BEES, chain) == [("user", "Count them"), ("assistant", "Nine.")]
    assert (agent, parsed.said(BEES, agent)) == ("0e0e", [("assistant", "Ten.")])


def test_claude_boundary_without_summary(tmp_path: Path) -> None:
    boundary = {"type": "system", "subtype": "compact_boundary", "uuid": "b", "sessionId": "s", "compactMetadata": {"preTokens": 5}}
    answer = {"type": "assistant", "uuid": "a", "sessionId": "s", "message": {"role": "assistant", "content": "Go on."}}
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(boundary) + "\n")
    assert read(claude_code, path).events == []  # its summary is still to come: importing again must not find another body
    path.write_text(json.dumps(boundary) + "\n" + json.dumps(answer) + "\n")
    [compaction] = read(claude_code, path).compactions("s")
    assert (compaction.trigger, compaction.pre_tokens, compaction.summary) == ("auto", 5, "")


# --- Codex ----------------------------------------------------------------------------------------------------------------------


def test_codex_session_facts(shop: Parsed) -> None:
    [facts] = shop.facts.values()
    assert (facts.agent_session_id, facts.project, facts.title, facts.git_branch) == (SHOP, "/home/ada/shop", "The till", "till")
    assert facts.started_at == datetime(2026, 5, 4, 9, 59, 58, 500000, UTC)


def test_codex_shows_each_text_once(shop: Parsed) -> None:
    assert [(role, text) for role, text in shop.said(SHOP) if not role.startswith("tool")] == [
        ("system", "<permissions instructions>\nAll is allowed."),
        ("system", "# AGENTS.md instructions for /home/ada/shop\n<environment_context>\n<cwd>/home/ada/shop</cwd>"),
        ("user", "Why does the till not add up?"),
        ("thinking", "Look at the sums."),
        ("assistant", "I will look at the till."),
        ("assistant", "It adds up now."),
        ("user", "Look"),
        ("assistant", "Looking."),
        ("system", "<turn_aborted>\nThe user interrupted the previous turn on purpose.\n</turn_aborted>"),
        ("user", "yes"),
        ("assistant", "Looking."),
        ("system", "stream disconnected"),
    ]
    assert [event.content for event in shop.messages(SHOP) if event.titles and event.role == "user"] == [
        "Why does the till not add up?", "Look", "yes",
    ]  # fmt: skip
    [picture] = [event for event in shop.messages(SHOP) if "attachments" in event.extra]
    assert picture.extra["attachments"] == [PICTURE]


def test_codex_tools(shop: Parsed) -> None:
    calls = [event for event in shop.messages(SHOP) if event.role == "tool_use"]
    assert [event.tool_name for event in calls] == ["exec_command", "apply_patch", "web_search"]
    assert tool(calls[0].content)["input"] == {"cmd": "till --sum"}
    assert tool(calls[1].content)["input"] == "*** Begin Patch\n*** End Patch"
    first, second = (event for event in shop.messages(SHOP) if event.role == "tool_result")
    assert (first.is_error, first.tool_call_id, first.extra) == (True, "call_1", {"exit_code": 3, "duration_ms": 250})
    assert (second.is_error, second.tool_call_id, second.extra) == (False, "call_2", {"duration_ms": 1500})


def test_codex_usage_is_the_step_of_the_running_total(shop: Parsed) -> None:
    assert shop.usage(SHOP) == {
        f"{SHOP}:1000-200-50-20": (800, 50, 200, 0, 0),
        f"{SHOP}:2500-1100-90-30": (600, 40, 900, 0, 0),
        f"{SHOP}:4200-2700-105-30:aborted": (100, 5, 600, 0, 0),
        f"{SHOP}:4200-2700-105-30": (0, 10, 1000, 0, 0),
        f"{SHOP}:300-100-7-0#1": (200, 7, 100, 0, 0),
    }
    usage = [event for _, event in shop.events if isinstance(event, UsageEvent)]
    assert [event.model for event in usage] == ["gpt-5.5", "gpt-5.5", "gpt-5.4", "gpt-5.5", "gpt-5.5"]
    assert usage[2].timestamp == datetime(2026, 5, 4, 10, 0, 23, tzinfo=UTC)  # when it was broken off
    assert usage[0].extra == {"reasoning_output_tokens": 20}
    assert {event.provider for event in usage} == {"openai"}
    # the whole total up to the reset, in disjoint parts
    assert [sum(column) for column in zip(*(counts(event) for event in usage[:4]), strict=True)] == [1500, 105, 2700, 0, 0]


def test_codex_messages_know_their_request(shop: Parsed) -> None:
    answers = {event.content[:30]: event.response_id for event in shop.messages(SHOP) if event.response_id}
    usage = {event.event_id.partition(":")[2]: event.response_id for _, event in shop.events if isinstance(event, UsageEvent)}
    assert answers["Look at the sums."] == answers["I will look at the till."] == usage["1000-200-50-20"]
    looking = [event.response_id for event in shop.messages(SHOP) if event.content == "Looking."]
    assert looking == [usage["4200-2700-105-30:aborted"], usage["4200-2700-105-30"]]


def test_codex_compaction(shop: Parsed) -> None:
    [compaction] = shop.compactions(SHOP)
    assert (compaction.trigger, compaction.pre_tokens, compaction.messages_compacted) == ("auto", 1010, 15)
    assert compaction.summary.endswith("the till is fine.")


def test_codex_warnings_and_skipped(shop: Parsed) -> None:
    assert [warning.line for warning in shop.warnings] == [45, 48]
    assert shop.skipped["event_msg/token_count repeated"] == 1
    assert shop.skipped["world_state"] == 1


def test_codex_fork_repeats_its_parents_tokens_under_the_parents_ids() -> None:
    [path] = (LOGS / "codex/archived_sessions").glob("*.jsonl")
    parsed = read(codex, path)
    assert list(parsed.facts) == [FORK]
    assert parsed.facts[FORK].extra["forked_from_id"] == SHOP
    assert parsed.usage(FORK) == {f"{SHOP}:1000-200-50-20": (800, 50, 200, 0, 0), f"{SHOP}:1800-900-60-20": (100, 10, 700, 0, 0)}
    assert len(parsed.messages(FORK)) == 7


def test_codex_first_layout() -> None:
    [path] = (LOGS / "codex/sessions/2025").rglob("*.jsonl")
    parsed = read(codex, path)
    assert [role for role, _ in parsed.said(FIRST_CODEX)] == ["user", "tool_use", "tool_result", "assistant"]
    assert tool(parsed.messages(FIRST_CODEX)[1].content)["input"] == '{"command":["ls"'


# --- which files ----------------------------------------------------------------------------------------------------------------


def test_discover_finds_both_formats_in_a_fixed_order() -> None:
    found = {module.AGENT: [[path.name for path in group] for group in groups] for module, groups in discover(LOGS)}
    assert list(found) == ["claude-code", "codex"]
    assert found["claude-code"] == [
        [f"{MAIN}.jsonl", "agent-a1b2c3.jsonl", "agent-acompact-77.jsonl"],
        [f"{SECOND}.jsonl"],
        [f"{BEES}.jsonl", "agent-0e0e.jsonl"],
    ]
    assert [name[-41:-6] for [name] in found["codex"]] == [FIRST_CODEX[1:], SHOP[1:], FORK[1:]]  # oldest first, wherever it lies
    assert discover(LOGS, "codex") == [pair for pair in discover(LOGS) if pair[0] is codex]


def test_discover_takes_a_file_a_project_and_a_home(tmp_path: Path) -> None:
    [(module, groups)] = discover(GARDEN / f"{SECOND}.jsonl")
    assert (module, groups) == (claude_code, [[GARDEN / f"{SECOND}.jsonl"]])
    [(_, groups)] = discover(GARDEN)
    assert len(groups) == 2
    home = tmp_path / "ada"
    (home / ".claude").mkdir(parents=True)
    (home / ".claude/projects").symlink_to(LOGS / "claude-code/projects", target_is_directory=True)
    (home / ".codex").symlink_to(LOGS / "codex", target_is_directory=True)
    (home / "other.jsonl").write_text((GARDEN / f"{SECOND}.jsonl").read_text())
    assert [(module, len(groups)) for module, groups in discover(home)] == [(claude_code, 3), (codex, 3)]
    assert [(module, len(groups)) for module, groups in discover(home / ".claude")] == [(claude_code, 3)]
    assert [(module, len(groups)) for module, groups in discover(home / ".codex")] == [(codex, 3)]


@pytest.mark.parametrize(
    ("name", "agent", "words"),
    [
        ("nowhere", "auto", "does not exist"),
        ("empty", "auto", "holds no log of a known agent"),
        ("empty/notes.jsonl", "auto", "is no log of a known agent"),
        ("nul\0", "auto", "does not exist"),
        ("empty", "gemini", "There is no agent 'gemini'"),
    ],
)
def test_discover_says_what_is_wrong(tmp_path: Path, name: str, agent: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.jsonl").write_text('{"note": 1}\n')
    with pytest.raises(NoLogsFound, match=words):
        discover(f"{tmp_path}/{name}", agent)


def test_a_file_named_with_its_agent_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text("garbage\n")
    [(module, groups)] = discover(path, "claude-code")
    assert [warning.reason for warning in read(module, *groups[0]).warnings] == ["not JSON"]


def test_a_first_line_longer_than_the_head_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    prompt = {"parentUuid": None, "sessionId": "s", "type": "user", "message": {"role": "user", "content": "x" * 1_200_000}, "uuid": "u"}
    path.write_text(json.dumps(prompt))
    [(module, [group])] = discover(path)
    assert module is claude_code
    assert [len(text) for _, text in read(module, *group).said("s")] == [1_200_000]


def test_a_file_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    for module in (claude_code, codex):
        [warning] = read(module, tmp_path / "gone.jsonl").warnings
        assert "cannot be read" in warning.reason


# --- bad input ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "found", "reason"),
    [
        (b'{"a":1}\n', [{"a": 1}], ""),
        (b"\n", [], ""),
        (b'\xef\xbb\xbf{"a":1}\r\n', [{"a": 1}], ""),
        (b'\x00\x00{"a":1}\x00\n', [{"a": 1}], ""),
        (b'{"a":1}{"b":2} {"c":3}\n', [{"a": 1}, {"b": 2}, {"c": 3}], ""),
        (b'{"a":1}{"b":\n', [{"a": 1}], "not JSON after the first 7 characters"),
        (b"// a comment\n", [], "not JSON"),
        (b'{"a":"\\ud83d"}\n', [{"a": "\ud83d"}], ""),
        (b'{"a":"tab\there"}\n', [{"a": "tab\there"}], ""),
        (b'{"a":"\xff"}\n', [{"a": "�"}], ""),
        (b"[" * 100_000, [], "nested too deeply"),
        (b"1" * 5000, [], "not JSON"),
    ],
)
def test_lines(line: bytes, found: list[Any], reason: str) -> None:
    assert records(line) == (found, reason)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-03-02T09:00:00.000Z", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-03-02T10:00:00+01:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("2026-03-02 09:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        (1772442000, datetime(2026, 3, 2, 9, tzinfo=UTC)),
        (1772442000.5, datetime(2026, 3, 2, 9, 0, 0, 500000, UTC)),
        ("1772442000000", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        (1772442000000000, datetime(2026, 3, 2, 9, tzinfo=UTC)),
        (0, None),
        (float("nan"), None),
        (10**400, None),
        (True, None),
        ("0001-01-01T00:00:00+14:00", None),
        ("[trimmed]", None),
        ([], None),
        (None, None),
    ],
)
def test_times(value: object, moment: datetime | None) -> None:
    assert read_time(value)[0] == moment


def bodies(parsed: Parsed) -> dict[str, tuple[Any, ...]]:
    """What must stay the same of a message when its file grows."""
    return {
        event.event_id: (owner, event.timestamp, event.role, event.content)
        if isinstance(event, MessageEvent)
        else (owner, event.timestamp, event.trigger, event.summary, event.pre_tokens, event.messages_compacted)
        for owner, event in parsed.events
        if not isinstance(event, UsageEvent)
    }


@pytest.mark.parametrize("path", sorted(LOGS.rglob("*.jsonl")), ids=lambda path: path.stem[-12:])
def test_a_file_cut_at_any_byte_gives_the_beginning_of_the_whole(path: Path, tmp_path: Path) -> None:
    [(module, _)] = discover(path, "codex" if "codex" in path.parts else "claude-code")
    data = path.read_bytes()
    cut = tmp_path / path.name
    cut.write_bytes(data)
    whole = read(module, cut)
    bodies_of_whole = bodies(whole)
    usage_of_whole = {event.event_id: sum(counts(event)[:4]) for _, event in whole.events if isinstance(event, UsageEvent)}
    with cut.open("r+b") as file:
        for size in range(len(data) - 1, -1, -1):
            file.truncate(size)
            part = read(module, cut)
            assert bodies(part).items() <= bodies_of_whole.items()
            for _, event in part.events:
                if isinstance(event, UsageEvent):
                    assert sum(counts(event)[:4]) <= usage_of_whole[event.event_id]


ODD = [None, True, -1, 1.5, float("nan"), 10**30, "", "x", "\ud800\x00", "y" * 1000, [], {}, [[]], [None], {"type": 1}, [{"text": 1}, 2]]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("module", [claude_code, codex], ids=lambda module: module.AGENT)
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:12])
def test_any_value_in_any_place_never_raises(module: ModuleType, odd: Any, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    lines = []
    for log in sorted((LOGS / module.AGENT).rglob("*.jsonl")):
        for line in log.read_bytes().splitlines():
            for record in records(line)[0]:
                lines += [json.dumps(replaced(record, place, odd)) for place in places(record)]
    path.write_text("\n".join(lines))
    module.recognise(path, path.read_bytes()[:65536])
    parsed = read(module, path)
    assert len(parsed.events) > 100
    for _, event in parsed.events:
        if isinstance(event, UsageEvent):
            assert all(type(count) is int and 0 <= count <= 100_000_000 for count in counts(event))
            assert isinstance(event.model, str) and event.model
        assert isinstance(event.extra, dict)
        assert event.timestamp is None or event.timestamp.tzinfo is not None
        if isinstance(event, MessageEvent):
            texts = (event.content, event.event_id, event.subagent_id, event.response_id, event.tool_call_id, event.tool_name or "")
            assert all(isinstance(text, str) for text in texts)
            assert len(event.event_id) <= 255 and len(event.response_id) <= 255
