"""What a tool call did: one telling line, its input and output as a reader wants them, and how it ended.

Pure: a call's message and its result's in, plain objects out, every text already safe HTML. The agents name their tools and arguments each in
their own way; KINDS and the small functions below it are the one place that knows them. A tool that none knows is shown by its first words.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sessions_app import diffs, pictures, rendering
from sessions_app.diffs import Diff
from sessions_app.models import Message
from sessions_app.pictures import Attachment
from sessions_app.rendering import Shown, one_line

# Characters of a tool's telling argument on its one line.
ARGUMENT_LIMIT = 200
# A value up to this long, on one line, stands beside its name; a longer one gets a box.
SHORT = 160
# Named values of one call that are shown; what lies deeper or comes after is one text of JSON.
FIELDS = 24
# Lines of a diff, and characters of a text, before all of it is asked for; and when it was.
DIFF_LINES, ALL_DIFF_LINES = 40, 2_000
TEXT_LIMIT, ALL_TEXT_LIMIT = rendering.PLAIN_LIMIT, 200_000
TODO_LIMIT = 200
# A run of calls that went well folds to one line from this many on.
FOLDED_FROM = 6

# What tells most of a call that nothing below knows, best first.
TELLING = (
    *("command", "cmd", "file_path", "filePath", "notebook_path", "path", "filename", "pattern", "query", "url", "description", "prompt"),
    *("skill", "subject", "title", "name", "message", "text", "question", "summary", "intent", "input"),
)

_KINDS = {
    "shell": "bash shell exec exec_command local_shell run_shell_command shell_exec run_terminal run_terminal_cmd run_in_terminal"
    " container.exec bashexecution execute_command powershell terminal",
    "stdin": "write_stdin write_bash read_bash stop_bash killshell kill_shell bashoutput taskoutput taskstop process",
    "read": "read read_file readfile view view_file open_file notebookread read_many_files view_image cat",
    "edit": "edit multiedit multi_edit replace str_replace str_replace_editor str_replace_based_edit_tool edit_file editfile notebookedit"
    " search_replace insert",
    "write": "write write_file writefile create create_file save_file",
    "patch": "apply_patch patch",
    "search": "grep search_file_content grep_search ripgrep rg codebase_search search_files code_search codesearch",
    "glob": "glob ls list list_directory list_dir find file_search",
    "fetch": "webfetch web_fetch fetch fetch_url browse open_url",
    "web": "websearch web_search google_web_search search_web",
    "agent": "task agent sessions_spawn spawn_agent subagent dispatch_agent delegate",
    "todo": "todowrite todo_write update_plan write_todos todo manage_todo_list",
    "plan": "exitplanmode exit_plan_mode exitplan",
    "ask": "askuserquestion ask_user ask_user_question request_user_input question",
    "skill": "skill activate_skill load_skill",
    "image": "image_generation generate_image",
}
KINDS = {name: kind for kind, names in _KINDS.items() for name in names.split()}
# Two agents' tools under one name, told apart by what they are given.
PATHS = ("file_path", "filePath", "notebook_path", "absolute_path", "path", "file", "filename", "dir_path", "directory")
OLD_TEXTS, NEW_TEXTS = (
    ("old_string", "oldString", "oldText", "old_str", "old"),
    ("new_string", "newString", "newText", "new_str", "new", "new_source"),
)
CONTENTS = ("content", "contents", "file_text", "text")
PATTERNS = ("pattern", "query", "regex", "glob_pattern", "glob")

EXIT_CODE = re.compile(r"^(?:Error: )?(?:Process exited with|Exit) code:? (-?\d+)", re.IGNORECASE | re.MULTILINE)
EXIT_CODE_WITHIN = 300  # characters of the output
REJECTED = ("The user doesn't want to proceed", "[Request interrupted by user", "User rejected", "Rejected by user", "User cancelled")
# What Codex writes above a command's output, a line each.
HEAD = re.compile(
    r"(?:(?:Chunk ID|Wall time|Exit code|Original token count|Total output lines|Process [^\n:]{1,60}|Token [^\n:]{1,40})[^\n]{0,120}\n){1,8}Output:\n?"
)
# What Claude Code shows of a file after an edit: "    88→text"
SNIPPET = re.compile(r"^ *(\d{1,7})(?:→|\t)(.*)$", re.MULTILINE)
MCP = re.compile(r"mcp__(.+?)__(.+)")
PLUGIN = re.compile(r"plugin_(.+)_\1")


@dataclass(frozen=True, slots=True)
class Todo:
    """One item of a plan. state: "done", "now" or "" (to do)."""

    state: str
    text: str


@dataclass(slots=True)
class Part:
    """One labelled piece of a call: a text, a diff, named values, a list of things to do, or files. message: where all of it is read.

    label: "" = it belongs to the part before. note: what an agent wrote above a tool's output.
    """

    label: str
    message: Message
    text: Shown | None = None
    diff: Diff | None = None
    lines: list[diffs.Line] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    todos: list[Todo] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)
    note: str = ""

    @property
    def lines_left(self) -> int:
        return len(self.diff.lines) - len(self.lines) if self.diff is not None else 0


@dataclass(slots=True)
class ToolCall:
    """A call and its result; either may be missing: on another page, or never written. kind: see KINDS, "" = none of them.

    took: a timedelta, or None where nothing says it. verdict: "ok", "failed", "exit 1", "rejected"; "" = there is no result.
    """

    anchor: str
    name: str
    argument: str
    call: Message | None
    result: Message | None = None
    kind: str = ""
    parts: list[Part] = field(default_factory=list)
    stat: str = ""
    diff: Diff | None = None
    verdict: str = ""
    is_bad: bool = False
    took: timedelta | None = None
    # the sub-agent that the call started (turns.SubAgent), shown inside it
    thread: Any = None
    # a search found something inside
    is_open: bool = False

    @property
    def message(self) -> Message:
        message = self.call or self.result
        assert message is not None
        return message

    @property
    def folds(self) -> bool:
        """Whether it may stand inside a folded run: it ended well, and nothing is nested in it."""
        return self.verdict == "ok" and self.thread is None and not self.is_open


@dataclass(slots=True)
class CallGroup:
    """A run of calls folded to one line. counts: "8 Read, 4 Bash", the most frequent first."""

    calls: list[ToolCall]
    counts: str
    took: timedelta | None


def grouped(calls: Sequence[ToolCall]) -> list[ToolCall | CallGroup]:
    """Fold runs of FOLDED_FROM calls or more that ended well. Failed and unanswered ones, and sub-agents, stand by themselves."""
    found: list[ToolCall | CallGroup] = []
    run: list[ToolCall] = []
    for call in [*calls, None]:
        if call is not None and call.folds:
            run.append(call)
            continue
        if len(run) >= FOLDED_FROM:
            found.append(counted(run))
        else:
            found += run
        run = []
        if call is not None:
            found.append(call)
    return found


def counted(calls: list[ToolCall]) -> CallGroup:
    """Return the calls as a group, with how many of each tool."""
    counts = Counter(call.name for call in calls).most_common()
    words = ", ".join(f"{count} {name}" for name, count in counts[:5]) + (f", {len(counts) - 5} other tools" if len(counts) > 5 else "")
    times = [call.took for call in calls if call.took is not None]
    return CallGroup(calls, words, sum(times, timedelta()) if times else None)


def describe(call: Message | None, result: Message | None, *, project: str = "", whole: bool = False) -> ToolCall:
    """Return one call with its result; one of the two may be missing. project: the folder that paths are shown from. whole: with the long texts
    and diffs that a page leaves out."""
    message = call or result
    assert message is not None
    name = message.tool_name or "unknown"
    arguments = tool_arguments(call.content) if call is not None else None
    teller = _Teller(KINDS.get(_bare(name), ""), arguments, project, whole)
    found = ToolCall(f"m{message.pk}", display_name(name), "", call, result, teller.kind)
    data = _json(result.content) if result is not None else None
    output = _output_of(result, data) if result is not None else ""
    if call is not None:
        found.argument = teller.line()
        found.diff = teller.diff(output)
        found.stat = teller.stat()
        found.parts += teller.parts(call, found.diff)
        if (left_out := _left_out(call)) and found.parts:
            _say_cut(found.parts[-1], left_out)
    if result is not None:
        _end(found, result, data, output, whole)
        found.took = _took(call, result)
    return found


def _left_out(message: Message) -> int:
    """Return how many characters of the content were not read from the database (queries.reading cuts long ones)."""
    return max(0, getattr(message, "characters", 0) - len(message.content))


def _say_cut(part: Part, left_out: int) -> None:
    """The end of a long call was not read: its last text, or its diff, is a part of it."""
    if part.text is not None:
        shown = part.text
        part.text = Shown(shown.html, shown.shown, shown.total + left_out, shown.size + shown.total + left_out)
    elif part.diff is not None:
        part.diff.note = part.diff.note or "Of a very long call, its beginning alone."


def display_name(name: str) -> str:
    """Return a tool's name as a reader wants it: `mcp__github__get_issue` is "github: get_issue"."""
    if match := MCP.fullmatch(name):
        server = PLUGIN.sub(r"\1", match[1])
        return rendering.visible(f"{server}: {match[2]}")
    return rendering.visible(name)


def _bare(name: str) -> str:
    return name.rsplit("functions.", 1)[-1].lower()


def _took(call: Message | None, result: Message) -> timedelta | None:
    """Return how long it ran: as the agent measured it, else from the call's time to the result's."""
    measured = result.extra.get("duration_ms") if isinstance(result.extra, dict) else None
    if isinstance(measured, (int, float)) and 0 <= measured < 1e11:
        return timedelta(milliseconds=measured)
    if call is None or result.timestamp < call.timestamp:
        return None
    return result.timestamp - call.timestamp


# --- how it ended --------------------------------------------------------------------------------------------------------


def _end(found: ToolCall, result: Message, data: Any, output: str, whole: bool) -> None:
    """Give the call its verdict, its output and the size of it."""
    output, note = unwrapped(output)
    found.is_bad = result.is_error
    found.verdict = "ok"
    if found.is_bad:
        code = result.extra.get("exit_code") if isinstance(result.extra, dict) else None
        if code is None and (match := EXIT_CODE.search(output[:EXIT_CODE_WITHIN])):
            code = match[1]
        found.verdict = f"exit {code}" if code is not None else "rejected" if output.startswith(REJECTED) else "failed"
    elif isinstance(result.extra, dict) and result.extra.get("interrupted") is True:
        found.verdict, found.is_bad = "interrupted", True
    limit = ALL_TEXT_LIMIT if whole else TEXT_LIMIT
    left_out = _left_out(result)
    files = pictures.of_result(data, left_out=left_out)
    if files and not output.strip():
        left_out = 0  # what was not read is the picture
    part = Part("Error" if found.is_bad else "Output", result, rendering.plain(output, limit, left_out=left_out), files=files, note=note)
    if not (found.kind == "todo" and not found.is_bad):  # "the list was changed": the list itself says it
        found.parts.append(part)
    if found.stat:
        return
    lines = output.rstrip("\n").count("\n") + 1 if output.strip() else 0
    if found.diff is not None:
        return
    if found.kind in ("todo", "write", "edit", "patch"):
        return
    if part.text is not None and (left_out or (lines < 2 and len(output) > 1_000)):
        found.stat = rendering.size_text(left_out + len(output.encode("utf-8", "surrogatepass")))
    elif lines > 1:
        found.stat = f"{lines:,} {'files' if found.kind == 'glob' else 'lines'}"
    elif files:
        found.stat = "1 file" if len(files) == 1 else f"{len(files)} files"


def unwrapped(output: str) -> tuple[str, str]:
    """Take off what an agent wrapped around a tool's own words; return them, and what the wrapping said."""
    if output.startswith("<tool_use_error>"):
        return output.removeprefix("<tool_use_error>").removesuffix("</tool_use_error>"), ""
    if output.startswith('{"output":'):
        detail = _json(output)
        inner = detail.get("output") if isinstance(detail, dict) else None
        if isinstance(inner, str):
            meta = detail.get("metadata")
            facts = [f"{_label(key)} {_short(value)}" for key, value in meta.items()] if isinstance(meta, dict) else []
            return inner, one_line(", ".join(facts), 300)
    if head := HEAD.match(output):
        facts = [line.strip() for line in head[0].splitlines()[:-1] if not line.startswith("Chunk ID")]
        return output[head.end() :], one_line(", ".join(facts), 300)
    return output, ""


# --- what it was asked to do ---------------------------------------------------------------------------------------------


class _Teller:
    """Reads one call's arguments."""

    def __init__(self, kind: str, arguments: Any, project: str, whole: bool) -> None:
        self.arguments = arguments
        self.args: dict[str, Any] = arguments if isinstance(arguments, dict) else {}
        self.project = project.rstrip("/") if project.startswith("/") else ""
        self.whole = whole
        self.kind = self._checked(kind)

    def _checked(self, kind: str) -> str:
        """Tell apart what goes by one name: an editor's `view` and `create`, a patch inside a shell command."""
        if kind == "edit" and self.args.get("command") in ("view", "create"):
            return "read" if self.args["command"] == "view" else "write"
        if kind == "edit" and not self._edits() and self._first(CONTENTS):
            return "write"
        if kind == "shell" and "*** Begin Patch" in self._command()[:2000]:
            return "patch"
        return kind

    def _first(self, names: Iterable[str]) -> str:
        for name in names:
            value = self.args.get(name)
            if isinstance(value, str) and value.strip():
                return value
        return ""

    def _path(self, path: str) -> str:
        return path.removeprefix(f"{self.project}/") if self.project else path

    def _command(self) -> str:
        value = self.args.get("command", self.args.get("cmd", self.args.get("script")))
        if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
            # ["bash", "-lc", "git status"]: the script is the telling word
            return value[-1] if len(value) > 1 and value[-2] in ("-c", "-lc") else " ".join(value)
        return value if isinstance(value, str) else self.arguments if isinstance(self.arguments, str) else ""

    # one line

    def line(self) -> str:
        tell: Callable[[], str] | None = getattr(self, f"_{self.kind}_line", None) if self.kind else None
        text = (tell() if tell is not None else "") or self._any_line()
        return one_line(text, ARGUMENT_LIMIT)

    def _any_line(self) -> str:
        if not isinstance(self.arguments, dict):
            return telling_argument(self.arguments)
        path = self._first(PATHS)
        found = telling_argument(self.arguments)
        return self._path(found) if path and found == one_line(path, ARGUMENT_LIMIT) else found

    def _shell_line(self) -> str:
        command = self._command().strip()
        return command.removeprefix(f"cd {self.project} && ") if self.project else command

    def _stdin_line(self) -> str:
        number = next(
            (str(self.args[name]) for name in ("session_id", "shell_id", "shellId", "bash_id", "task_id", "taskId") if self.args.get(name)),
            "",
        )
        typed = self.args.get("chars", self.args.get("input"))
        if isinstance(typed, str):
            return f"{number} \u2190 {json.dumps(typed, ensure_ascii=False)}" if typed else f"{number}, waits for output"
        return number

    def _read_line(self) -> str:
        path = self._path(self._first(PATHS))
        start, count = self.args.get("offset", self.args.get("start_line")), self.args.get("limit")
        end = self.args.get("end_line")
        span = self.args.get("view_range")
        if isinstance(span, list) and len(span) == 2 and all(isinstance(number, int) for number in span):
            start, end = span
        if isinstance(start, int) and isinstance(count, int) and end is None:
            end = start + count - 1
        if path and isinstance(start, int) and isinstance(end, int) and end >= start:
            return f"{path}  lines {start} to {end}"
        if path and isinstance(start, int) and start > 1:
            return f"{path}  from line {start}"
        if path and isinstance(count, int):
            return f"{path}  first {count} lines"
        return path

    def _edit_line(self) -> str:
        return self._path(self._first(PATHS))

    _write_line = _edit_line

    def _patch_line(self) -> str:
        found = diffs.patch(self._patch_text())
        if found is None or not found.paths:
            return ""
        more = len(found.paths) - 1
        return self._path(found.paths[0]) + (f"  and {more} more" if more else "")

    def _search_line(self) -> str:
        where = self._first(("path", "dir_path", "include", "glob", "include_pattern"))
        pattern = self._first(("pattern", "query", "regex"))
        return f"{pattern}  in {self._path(where)}" if pattern and where else pattern

    def _glob_line(self) -> str:
        pattern = self._first(("pattern", "glob_pattern", "query"))
        where = self._path(self._first(PATHS))
        return f"{pattern}  in {where}" if pattern and where else pattern or where

    def _fetch_line(self) -> str:
        return self._first(("url", "prompt"))

    def _web_line(self) -> str:
        query = self._first(("query", "search_term", "pattern"))
        queries = self.args.get("queries")
        if not query and isinstance(queries, list):
            query = ", ".join(one for one in queries if isinstance(one, str))
        url = self._first(("url",))
        return f"{query}  in {url}" if query and url else query or url

    def _agent_line(self) -> str:
        who = self._first(("subagent_type", "agent_type", "agent_name", "agentId", "agent"))
        what = self._first(("description", "task", "label", "prompt", "message", "input"))
        return f"{who}: {what}" if who and what else what or who

    def _todo_line(self) -> str:
        todos = self._todos()
        if not todos:
            return ""
        done = sum(todo.state == "done" for todo in todos)
        now = next((todo.text for todo in todos if todo.state == "now"), "")
        return f"{done} of {len(todos)} done" + (f", now: {now}" if now else "")

    def _plan_line(self) -> str:
        return self._first(("plan",)).lstrip("# ")

    def _ask_line(self) -> str:
        questions = self.args.get("questions")
        if isinstance(questions, list):
            return "  ".join(one["question"] for one in questions if isinstance(one, dict) and isinstance(one.get("question"), str))
        return ""

    def _skill_line(self) -> str:
        return "  ".join(filter(None, (self._first(("skill", "name")), self._first(("args",)))))

    def _image_line(self) -> str:
        return self._first(("revised_prompt", "prompt"))

    # what an edit changes

    def _edits(self) -> list[tuple[str, str]]:
        edits = self.args.get("edits")
        each = edits if isinstance(edits, list) else [self.args]
        pairs = []
        for edit in each[:500]:
            if not isinstance(edit, dict):
                continue
            old = next((edit[name] for name in OLD_TEXTS if isinstance(edit.get(name), str)), None)
            new = next((edit[name] for name in NEW_TEXTS if isinstance(edit.get(name), str)), None)
            if old is not None or new is not None:
                pairs.append((old or "", new or ""))
        return pairs

    def _patch_text(self) -> str:
        if isinstance(self.arguments, str):
            return self.arguments
        return self._first(("patch", "input", "patchText", "diff")) or self._command()

    def diff(self, output: str) -> Diff | None:
        """Return what the call changes, where it says so itself. output: may name the line it stands on."""
        if self.kind == "patch":
            return diffs.patch(self._patch_text())
        if self.kind != "edit":
            return None
        pairs = self._edits()
        if len(pairs) == 1:
            return diffs.compare(*pairs[0], start=_line_in(output, pairs[0][1]))
        return diffs.several(pairs) if pairs else None

    def stat(self) -> str:
        """Return how much a new file has, which its result does not say."""
        text = self._first(CONTENTS) if self.kind == "write" else ""
        return f"{len(text.splitlines()):,} lines" if text.count("\n") > 1 else ""

    def _todos(self) -> list[Todo]:
        items: list[Any] = next(
            (self.args[name] for name in ("todos", "plan", "todoList", "items") if isinstance(self.args.get(name), list)), []
        )
        found = []
        for item in items[:TODO_LIMIT]:
            if not isinstance(item, dict):
                continue
            text = next((item[name] for name in ("content", "step", "title", "description", "text") if isinstance(item.get(name), str)), "")
            state = {"completed": "done", "done": "done", "in_progress": "now", "in-progress": "now"}.get(str(item.get("status")), "")
            found.append(Todo(state, one_line(text, 400)))
        return found

    # the opened call

    def parts(self, message: Message, diff: Diff | None) -> list[Part]:
        found: list[Part] = []
        shown: set[str] = set()
        if diff is not None:
            lines = diff.first(ALL_DIFF_LINES if self.whole else DIFF_LINES)
            found.append(Part("Changes", message, diff=diff, lines=lines))
            shown.update((*OLD_TEXTS, *NEW_TEXTS, "edits", "patch", "input", "patchText", "diff"))
            if self.kind == "patch":
                shown.update(("command", "cmd"))
            if isinstance(self.arguments, str):
                return found
        if self.kind == "todo" and (todos := self._todos()):
            found.append(Part("Plan", message, todos=todos))
            shown.update(("todos", "plan", "todoList", "items"))
        if self.kind == "shell" and (command := self._command()):
            found.append(self._text("Command", command, message))
            shown.update(("command", "cmd", "script"))
        if not self.args:
            if self.arguments not in (None, {}, "") and not found:
                text = self.arguments if isinstance(self.arguments, str) else pretty(self.arguments)
                found.append(self._text("Input", text, message))
            return found
        fields: list[tuple[str, str]] = []
        boxes: list[Part] = []
        for name, value in self.args.items():
            if name in shown:
                continue
            if len(fields) + len(boxes) >= FIELDS:
                rest = {name: self.args[name] for name in list(self.args)[FIELDS:] if name not in shown}
                boxes.append(self._text("Other arguments", pretty(rest), message))
                break
            if isinstance(value, str):
                if len(value) > SHORT or "\n" in value:
                    boxes.append(self._text(_label(name), value, message))
                    continue
                text = self._path(value) if name in PATHS else value
            elif isinstance(value, (dict, list)) and len(text := pretty(value)) > SHORT:
                boxes.append(self._text(_label(name), text, message))
                continue
            else:
                text = _short(value)
            fields.append((_label(name), rendering.visible(text)))
        if fields:
            found.append(Part("" if found else "Input", message, fields=fields))
        return found + boxes

    def _text(self, label: str, text: str, message: Message) -> Part:
        return Part(label, message, rendering.plain(text, ALL_TEXT_LIMIT if self.whole else TEXT_LIMIT))


def _line_in(output: str, new: str) -> int | None:
    """Return the line on which an edit's new text stands, where the answer shows the file around it."""
    first, _, _ = new.partition("\n")
    if not first.strip() or len(output) > 100_000:
        return None
    at = [int(match[1]) for match in SNIPPET.finditer(output) if match[2] == first]
    return at[0] if len(at) == 1 else None


def _label(name: str) -> str:
    """Return an argument's name as words: file_path and filePath are "file path"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name[:80]).replace("_", " ").strip(" -")
    return rendering.visible(words.lower() if not words.isupper() else words) or "value"


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else value if isinstance(value, str) else pretty(value)


# --- the stored form -------------------------------------------------------------------------------------------------------


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def tool_arguments(content: str) -> Any:
    """Return a tool_use message's input; content that is not our JSON is the input itself."""
    data = _json(content)
    return data.get("input") if isinstance(data, dict) and data.get("type") == "tool_use" else content


def tool_output(content: str) -> str:
    """Return a tool_result message's output as text: of a list of blocks the texts, and for the others what they are."""
    data = _json(content)
    return _text_of(data.get("content") if isinstance(data, dict) and data.get("type") == "tool_result" else content, files="[file]")


def _output_of(message: Message, data: Any) -> str:
    return _text_of(data.get("content") if isinstance(data, dict) and data.get("type") == "tool_result" else message.content)


def _text_of(output: Any, *, files: str = "") -> str:
    """Return an output as text. files: what stands for a file; "" where it is shown beside the text."""
    if output is None:
        return ""
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "\n".join(filter(None, (_block_text(block, files) for block in output)))
    return pretty(output)


def _block_text(block: Any, files: str) -> str:
    if isinstance(block, dict):
        if isinstance(block.get("text"), str):
            return block["text"]
        if pictures.is_file(block):
            return files
    return block if isinstance(block, str) else pretty(block)


def pretty(value: Any) -> str:
    """Return a value as indented JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError, TypeError):
        return str(value)


def pretty_arguments(content: str) -> str:
    """Return a tool_use message's input as indented JSON, or as it stands when it is text."""
    arguments = tool_arguments(content)
    return arguments if isinstance(arguments, str) else pretty(arguments)


def telling_argument(arguments: Any) -> str:
    """Return the one argument that tells most of a call, on one line."""
    if isinstance(arguments, dict):
        for name in TELLING:
            value = arguments.get(name)
            if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
                value = value[-1] if len(value) > 1 and value[-2] in ("-c", "-lc") else " ".join(value)
            if isinstance(value, str) and value.strip():
                return one_line(value, ARGUMENT_LIMIT)
        texts: Iterable[str] = (value for value in arguments.values() if isinstance(value, str) and value.strip())
        return one_line(next(iter(texts), ""), ARGUMENT_LIMIT)
    if isinstance(arguments, str):
        return one_line(arguments, ARGUMENT_LIMIT)
    return "" if arguments is None else one_line(json.dumps(arguments, ensure_ascii=False)[: 4 * ARGUMENT_LIMIT], ARGUMENT_LIMIT)
