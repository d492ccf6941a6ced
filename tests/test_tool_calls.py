"""What a tool call did, told in one line and in fields, for the tools of every agent; and how it ended."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import tool_calls
from sessions_app.models import Message
from sessions_app.tool_calls import CallGroup, ToolCall
from tests.factories import at

PROJECT = "/srv/shop"


def call_of(name: str, arguments: Any, output: Any = None, *, seconds: float = 1, whole: bool = False, **result: Any) -> ToolCall:
    call = Message(
        pk=1, role="tool_use", tool_name=name, timestamp=at(), content=json.dumps({"type": "tool_use", "name": name, "input": arguments})
    )
    answer = None
    if output is not None:
        content = json.dumps({"type": "tool_result", "content": output})
        answer = Message(pk=2, role="tool_result", tool_name=name, timestamp=at() + timedelta(seconds=seconds), content=content, **result)
    return tool_calls.describe(call, answer, project=PROJECT, whole=whole)


LINES: list[tuple[str, Any, str, str]] = [
    # Claude Code
    ("Bash", {"command": "git  status\n", "description": "Look"}, "shell", "git status"),
    ("Bash", {"command": "cd /srv/shop && make test"}, "shell", "make test"),
    ("Read", {"file_path": "/srv/shop/a.py"}, "read", "a.py"),
    ("Read", {"file_path": "/etc/hosts", "offset": 10, "limit": 5}, "read", "/etc/hosts lines 10 to 14"),
    ("Edit", {"file_path": "/srv/shop/a.py", "old_string": "x", "new_string": "y"}, "edit", "a.py"),
    ("MultiEdit", {"file_path": "/srv/shop/a.py", "edits": [{"old_string": "x", "new_string": "y"}]}, "edit", "a.py"),
    ("Write", {"file_path": "/srv/shop/b.py", "content": "x"}, "write", "b.py"),
    ("Grep", {"pattern": "def total", "path": "/srv/shop/src"}, "search", "def total in src"),
    ("Glob", {"pattern": "**/*.py"}, "glob", "**/*.py"),
    ("WebFetch", {"url": "https://a.example/x", "prompt": "what"}, "fetch", "https://a.example/x"),
    ("WebSearch", {"query": "django 5.2"}, "web", "django 5.2"),
    ("Task", {"subagent_type": "explore", "description": "Find it", "prompt": "long"}, "agent", "explore: Find it"),
    (
        "TodoWrite",
        {"todos": [{"content": "a", "status": "completed"}, {"content": "b", "status": "in_progress"}]},
        "todo",
        "1 of 2 done, now: b",
    ),
    ("ExitPlanMode", {"plan": "# Plan\n\nDo it"}, "plan", "Plan Do it"),
    ("AskUserQuestion", {"questions": [{"question": "Which one?"}]}, "ask", "Which one?"),
    ("Skill", {"skill": "review", "args": "all"}, "skill", "review all"),
    # Codex
    ("exec_command", {"cmd": "ls -la", "workdir": "/srv/shop", "yield_time_ms": 1000}, "shell", "ls -la"),
    ("shell", {"command": ["bash", "-lc", "git status"]}, "shell", "git status"),
    ("write_stdin", {"session_id": 7, "chars": "y\n"}, "stdin", '7 \u2190 "y\\n"'),
    ("write_stdin", {"session_id": 7, "chars": ""}, "stdin", "7, waits for output"),
    ("apply_patch", "*** Begin Patch\n*** Update File: /srv/shop/a.py\n@@\n-x\n+y\n*** End Patch", "patch", "a.py"),
    ("update_plan", {"plan": [{"step": "a", "status": "pending"}, {"step": "b", "status": "pending"}]}, "todo", "0 of 2 done"),
    ("web_search", {"type": "open_page", "url": "https://a.example"}, "web", "https://a.example"),
    # Gemini
    ("run_shell_command", {"command": "ls", "cwd": "/"}, "shell", "ls"),
    ("read_file", {"file_path": "README.md"}, "read", "README.md"),
    ("replace", {"file_path": "a.md", "old_string": "x", "new_string": "y"}, "edit", "a.md"),
    ("search_file_content", {"pattern": "x", "include": "*.py"}, "search", "x in *.py"),
    # pi, OpenClaw, opencode, Copilot
    ("edit", {"path": "/srv/shop/a.md", "oldText": "x", "newText": "y"}, "edit", "a.md"),
    ("edit", {"filePath": "/srv/shop/a.md", "oldString": "x", "newString": "y"}, "edit", "a.md"),
    ("edit", {"path": "/srv/shop/a.json", "old_str": "x", "new_str": "y"}, "edit", "a.json"),
    ("edit_file", {"path": "/srv/shop/notes.md", "content": "note"}, "write", "notes.md"),
    ("view", {"path": "/srv/shop/a.py", "view_range": [3, 9]}, "read", "a.py lines 3 to 9"),
    ("str_replace_editor", {"command": "view", "path": "/srv/shop/a.py"}, "read", "a.py"),
    ("run_terminal", {"command": "git status --short", "cwd": "/"}, "shell", "git status --short"),
    ("stop_bash", {"shellId": "22"}, "stdin", "22"),
    # none of ours
    ("mcp__context7__resolve-library-id", {"libraryName": "django"}, "", "django"),
    ("diagnostic", {"check": "health"}, "", "health"),
    ("diagnostic", {"n": 1}, "", ""),
    ("diagnostic", None, "", ""),
    ("diagnostic", [1, 2], "", "[1, 2]"),
    ("Bash", {}, "shell", ""),
    ("Read", {"file_path": 7, "offset": "x"}, "read", "x"),
    ("TodoWrite", {"todos": "none"}, "todo", "none"),
]


@pytest.mark.parametrize(("name", "arguments", "kind", "line"), LINES)
def test_one_telling_line(name: str, arguments: Any, kind: str, line: str) -> None:
    call = call_of(name, arguments)
    assert (call.kind, call.argument) == (kind, line)


def test_every_icon_of_a_kind_is_named() -> None:
    from sessions_app.templatetags.sessionsite import TOOL_ICONS

    assert set(tool_calls.KINDS.values()) == set(TOOL_ICONS)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mcp__github__get_issue", "github: get_issue"),
        ("mcp__plugin_playwright_playwright__browser_click", "playwright: browser_click"),
        ("mcp__codex_apps__github._fetch_pr", "codex_apps: github._fetch_pr"),
        ("mcp__x", "mcp__x"),
        ("Bash\u202e", "Bash\u27e8U+202E\u27e9"),
    ],
)
def test_names(name: str, shown: str) -> None:
    assert tool_calls.display_name(name) == shown


# --- how it ended


@pytest.mark.parametrize(
    ("output", "fields", "verdict", "is_bad"),
    [
        ("fine", {}, "ok", False),
        ("Exit code 127\nnot found", {"is_error": True}, "exit 127", True),
        ("x", {"is_error": True, "extra": {"exit_code": 2}}, "exit 2", True),
        ("boom", {"is_error": True}, "failed", True),
        ("The user doesn't want to proceed with this tool use. STOP", {"is_error": True}, "rejected", True),
        ("half", {"extra": {"interrupted": True}}, "interrupted", True),
    ],
)
def test_verdict(output: str, fields: dict[str, Any], verdict: str, is_bad: bool) -> None:
    call = call_of("Bash", {"command": "x"}, output, **fields)
    assert (call.verdict, call.is_bad) == (verdict, is_bad)


def test_no_result() -> None:
    call = call_of("Bash", {"command": "x"})
    assert (call.verdict, call.is_bad, call.took) == ("", False, None)


def test_time_as_measured_or_between_the_two() -> None:
    assert call_of("Bash", {}, "x", seconds=3).took == timedelta(seconds=3)
    assert call_of("Bash", {}, "x", seconds=3, extra={"duration_ms": 1500}).took == timedelta(seconds=1.5)
    assert call_of("Bash", {}, "x", seconds=-3).took is None


@pytest.mark.parametrize(
    ("name", "output", "stat"),
    [
        ("Bash", "a\nb\n", "2 lines"),
        ("Glob", "a.py\nb.py", "2 files"),
        ("Bash", "one", ""),
        ("Bash", "x" * 48_300, "48 kB"),
        ("TodoWrite", "Todos\nwere\nchanged", ""),
    ],
)
def test_size_of_the_output(name: str, output: str, stat: str) -> None:
    assert call_of(name, {"command": "x", "todos": [{"content": "a"}]}, output).stat == stat


def test_a_content_that_was_not_read_whole_counts_with_its_whole_length() -> None:
    call = call_of("Bash", {"command": "x"}, "line\n" * 100)
    assert call.result is not None
    call.result.characters = 5_000_000  # type: ignore[attr-defined]
    part = tool_calls.describe(call.call, call.result).parts[-1]
    assert part.text is not None
    assert part.text.is_cut
    assert part.text.size_text == "5.0 MB"


# --- the opened call


def part_named(call: ToolCall, label: str) -> tool_calls.Part:
    return next(part for part in call.parts if part.label == label)


def test_short_values_stand_beside_their_names_and_long_ones_in_boxes() -> None:
    call = call_of("Task", {"subagent_type": "explore", "runInBackground": True, "prompt": "a\nb", "limits": {"n": 1}})
    assert part_named(call, "Input").fields == [("subagent type", "explore"), ("run in background", "yes"), ("limits", '{\n  "n": 1\n}')]
    assert part_named(call, "prompt").text.html == "a\nb"  # type: ignore[union-attr]


def test_codex_head_of_an_output_becomes_a_note() -> None:
    head = "Chunk ID: a6\nWall time: 0.6197 seconds\nProcess exited with code 0\nOriginal token count: 379\nOutput:\n"
    output = part_named(call_of("exec_command", {"cmd": "ls"}, f"{head}file\n"), "Output")
    assert output.text is not None
    assert output.text.html == "file\n"
    assert output.note == "Wall time: 0.6197 seconds, Process exited with code 0, Original token count: 379"


def test_older_codex_output_is_unwrapped() -> None:
    wrapped = json.dumps({"output": "text\n", "metadata": {"exit_code": 0, "duration_seconds": 0.1}})
    output = part_named(call_of("shell", {"command": ["ls"]}, wrapped), "Output")
    assert output.text is not None
    assert output.text.html == "text\n"
    assert output.note == "exit code 0, duration seconds 0.1"


def test_todos_are_a_list() -> None:
    call = call_of("TodoWrite", {"todos": [{"content": "a", "status": "completed"}, {"content": "b", "status": "pending"}]}, "changed")
    assert [(todo.state, todo.text) for todo in call.parts[0].todos] == [("done", "a"), ("", "b")]
    assert [part.label for part in call.parts] == ["Plan"]


def test_edit_is_a_diff_with_the_lines_that_the_answer_names() -> None:
    answer = "The file a.py has been updated. Here's the result:\n    87\u2192before\n    88\u2192new line\n    89\u2192after"
    call = call_of("Edit", {"file_path": "a.py", "old_string": "old line", "new_string": "new line"}, answer)
    assert call.diff is not None
    assert (call.diff.added, call.diff.removed) == (1, 1)
    assert [(line.old, line.new) for line in call.diff.lines] == [(88, None), (None, 88)]


def test_several_edits_of_a_file() -> None:
    edits = [{"old_string": "a", "new_string": "b"}, {"old_string": "c", "new_string": "d\ne"}]
    call = call_of("MultiEdit", {"file_path": "a.py", "edits": edits})
    assert call.diff is not None
    assert (call.diff.added, call.diff.removed) == (3, 2)
    assert [line.html for line in call.diff.lines if line.kind == "hunk"] == ["Edit 1 of 2", "Edit 2 of 2"]


def test_a_long_diff_is_cut_and_shown_whole_when_asked_for() -> None:
    arguments = {"file_path": "a.py", "old_string": "", "new_string": "\n".join(map(str, range(300)))}
    part = part_named(call_of("Edit", arguments), "Changes")
    assert (len(part.lines), part.lines_left) == (tool_calls.DIFF_LINES, 300 - tool_calls.DIFF_LINES)
    assert part_named(call_of("Edit", arguments, whole=True), "Changes").lines_left == 0


def test_a_patch_inside_a_shell_command() -> None:
    patch = "*** Begin Patch\n*** Add File: a.txt\n+hello\n*** End Patch"
    call = call_of("shell", {"command": ["apply_patch", patch]})
    assert (call.kind, call.argument) == ("patch", "a.txt")
    assert call.diff is not None
    assert call.diff.added == 1


def test_pictures_of_a_result_stand_beside_its_text() -> None:
    png = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAADCAYAAAA="
    output = [{"type": "text", "text": "seen"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}}]
    part = part_named(call_of("Read", {"file_path": "a.png"}, output), "Output")
    assert part.text is not None
    assert part.text.html == "seen"
    assert [(file.media_type, file.width, file.height, file.is_shown) for file in part.files] == [("image/png", 2, 3, True)]


# --- runs


def test_a_long_run_that_went_well_folds() -> None:
    calls = [call_of("Read", {"file_path": "a"}, "x")] * 4 + [call_of("Bash", {"command": "x"}, "x")] * 3
    (group,) = tool_calls.grouped(calls)
    assert isinstance(group, CallGroup)
    assert (group.counts, len(group.calls), group.took) == ("4 Read, 3 Bash", 7, timedelta(seconds=7))


def test_short_runs_failures_and_open_calls_stay_in_sight() -> None:
    fine, failed, open_call = call_of("Read", {}, "x"), call_of("Read", {}, "x", is_error=True), call_of("Read", {})
    calls = [fine, fine, failed, *[fine] * 6, open_call]
    found = tool_calls.grouped(calls)
    assert found[:3] == [fine, fine, failed]
    assert isinstance(found[3], CallGroup)
    assert found[4:] == [open_call]
    assert tool_calls.grouped([]) == []


# --- whatever it is


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["command", "path", "todos", "edits", "old_string", "new", "x", "content", "type", "text"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from([*tool_calls.KINDS, "mcp__a__b", "x"]), JSON, JSON)
def test_any_arguments_and_any_output(name: str, arguments: Any, output: Any) -> None:
    call = call_of(name, arguments, output)
    assert "\n" not in call.argument
    assert len(call.argument) <= tool_calls.ARGUMENT_LIMIT


def test_what_is_not_our_json_is_shown_as_it_stands() -> None:
    for content in ("not json", "[1]", '{"a": 1', "[" * 50_000):
        assert tool_calls.tool_output(content) == content
        assert tool_calls.tool_arguments(content) == content


def test_the_plain_text_of_a_result_names_its_files() -> None:
    content = '{"type": "tool_result", "content": [{"type": "text", "text": "one"}, {"type": "image"}, 3]}'
    assert tool_calls.tool_output(content) == "one\n[file]\n3"
