"""Group a page of a transcript into what a reader sees: prompts, turns with their tool calls, sub-agents, compactions, idle gaps.

Pure: the page's rows in, plain objects out, every text already safe HTML. One turn is one model call, told by `response_id`; messages
without one stand together until the next prompt. A tool's result stands with its call where both are on the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sessions_app import rendering
from sessions_app.models import Compaction, Message, UsageRecord
from sessions_app.rendering import Diff, Shown

# Silence worth a line of its own.
IDLE = timedelta(minutes=30)
# Characters of Markdown rendered on one page; what comes after is shown as plain text. Bounds the time a hostile transcript can take.
PAGE_PROSE = 400_000
# A prompt longer than this is folded: it is a pasted log more often than prose.
LONG_PROMPT = 6_000
# Characters of a tool's telling argument on its one line.
ARGUMENT_LIMIT = 200

# What tells most of a call, best first.
TELLING = (
    *("command", "cmd", "file_path", "notebook_path", "path", "filename", "pattern", "query", "url", "description", "prompt"),
    *("skill", "subject", "title", "name", "message", "text", "question", "input"),
)
EXIT_CODE = re.compile(r"^(?:Error: )?(?:Process exited with|Exit) code:? (-?\d+)", re.IGNORECASE | re.MULTILINE)
EXIT_CODE_WITHIN = 300  # characters of the output


@dataclass(slots=True)
class Part:
    """One labelled text inside a tool call. message: where the whole text is read, when it was cut."""

    label: str
    text: Shown | None = None
    diff: Diff | None = None
    message: Message | None = None


@dataclass(slots=True)
class ToolCall:
    """A call and its result; either may be missing: on another page, or never written."""

    anchor: str
    name: str
    argument: str
    call: Message | None
    result: Message | None = None
    parts: list[Part] = field(default_factory=list)
    stat: str = ""
    diff: Diff | None = None
    verdict: str = ""
    is_bad: bool = False

    @property
    def took(self) -> timedelta | None:
        if self.call is None or self.result is None or self.result.timestamp < self.call.timestamp:
            return None
        return self.result.timestamp - self.call.timestamp


@dataclass(slots=True)
class Block:
    """A piece of a turn. kind: "prose", "thinking" (with text) or "tools" (with calls)."""

    kind: str
    message: Message | None = None
    text: Shown | None = None
    calls: list[ToolCall] = field(default_factory=list)


@dataclass(slots=True)
class Prompt:
    kind: ClassVar[str] = "prompt"
    anchor: str
    at: datetime
    message: Message
    text: Shown
    line: str  # the first words, for the outline

    @property
    def is_long(self) -> bool:
        return self.text.total > LONG_PROMPT


@dataclass(slots=True)
class Turn:
    kind: ClassVar[str] = "turn"
    anchor: str
    at: datetime
    response_id: str
    blocks: list[Block] = field(default_factory=list)
    usage: UsageRecord | None = None


@dataclass(slots=True)
class SubAgent:
    kind: ClassVar[str] = "subagent"
    anchor: str
    at: datetime
    subagent_id: str
    entries: list[Prompt | Turn | Note] = field(default_factory=list)
    call_count: int = 0


@dataclass(slots=True)
class Note:
    """A system message."""

    kind: ClassVar[str] = "note"
    anchor: str
    at: datetime
    message: Message
    text: Shown
    line: str


@dataclass(slots=True)
class Compacted:
    kind: ClassVar[str] = "compaction"
    anchor: str
    at: datetime
    compaction: Compaction
    text: Shown


@dataclass(slots=True)
class Idle:
    kind: ClassVar[str] = "idle"
    at: datetime
    gap: timedelta


Entry = Prompt | Turn | SubAgent | Note | Compacted | Idle


@dataclass(slots=True)
class Outline:
    """What a reader jumps to on this page."""

    prompts: list[Prompt] = field(default_factory=list)
    errors: list[ToolCall] = field(default_factory=list)
    compactions: list[Compacted] = field(default_factory=list)


@dataclass(slots=True)
class TranscriptView:
    entries: list[Entry]
    outline: Outline


def build(items: Sequence[Message | Compaction], usage: Mapping[str, UsageRecord], *, project: str = "") -> TranscriptView:
    """Group the items of one page, which come in order of time. usage: by response_id. project: the folder that paths are shown from."""
    return _Builder(usage, project).build(items)


class _Builder:
    def __init__(self, usage: Mapping[str, UsageRecord], project: str) -> None:
        self.usage = usage
        self.project = f"{project}/" if project.startswith("/") else ""
        self.left = PAGE_PROSE
        self.entries: list[Entry] = []
        self.outline = Outline()
        self.subagents: dict[str, SubAgent] = {}
        # the open turn of the main thread ("") and of each sub-agent
        self.turns: dict[str, Turn | None] = {}
        self.results: dict[str, Message] = {}
        self.used: set[int] = set()

    def build(self, items: Sequence[Message | Compaction]) -> TranscriptView:
        previous_at: datetime | None = None
        calls = {item.tool_call_id for item in items if isinstance(item, Message) and item.role == "tool_use" and item.tool_call_id}
        for item in items:
            if isinstance(item, Message) and item.role == "tool_result" and item.tool_call_id in calls:
                self.results.setdefault(item.tool_call_id, item)
                self.used.add(item.pk)
        for item in items:
            if previous_at is not None and item.timestamp - previous_at >= IDLE:
                self.entries.append(Idle(item.timestamp, item.timestamp - previous_at))
                self.turns[""] = None
            previous_at = item.timestamp if previous_at is None else max(previous_at, item.timestamp)
            if isinstance(item, Compaction):
                self.turns[""] = None
                compacted = Compacted(f"c{item.pk}", item.timestamp, item, self._prose(item.summary))
                self.entries.append(compacted)
                self.outline.compactions.append(compacted)
            elif item.pk not in self.used:
                self._message(item)
        return TranscriptView(self.entries, self.outline)

    def _prose(self, text: str) -> Shown:
        if self.left <= 0:
            return rendering.plain(text, rendering.PROSE_LIMIT)
        shown = rendering.prose(text)
        self.left -= shown.shown
        return shown

    def _thread(self, message: Message) -> list[Any]:
        """Return the list that this message's entry goes to: the page's, or its sub-agent's."""
        if not message.subagent_id:
            return self.entries
        if message.subagent_id not in self.subagents:
            subagent = SubAgent(f"s{message.pk}", message.timestamp, message.subagent_id)
            self.subagents[message.subagent_id] = subagent
            self.entries.append(subagent)
        return self.subagents[message.subagent_id].entries

    def _message(self, message: Message) -> None:
        thread, anchor, at = self._thread(message), f"m{message.pk}", message.timestamp
        if message.role == "user":
            self.turns[message.subagent_id] = None
            prompt = Prompt(anchor, at, message, self._prose(message.content), one_line(message.content, 120))
            thread.append(prompt)
            if not message.subagent_id:
                self.outline.prompts.append(prompt)
            return
        if message.role == "system":
            self.turns[message.subagent_id] = None
            thread.append(Note(anchor, at, message, rendering.plain(message.content), one_line(message.content, 120)))
            return
        turn = self.turns.get(message.subagent_id)
        if turn is None or (message.response_id and turn.response_id and message.response_id != turn.response_id):
            turn = Turn(anchor, at, message.response_id)
            self.turns[message.subagent_id] = turn
            thread.append(turn)
        if message.response_id and turn.usage is None:
            turn.response_id = message.response_id
            turn.usage = self.usage.get(message.response_id)
        if message.role in ("tool_use", "tool_result"):
            call = self._tool_call(message)
            if not turn.blocks or turn.blocks[-1].kind != "tools":
                turn.blocks.append(Block("tools"))
            turn.blocks[-1].calls.append(call)
            if message.subagent_id:
                self.subagents[message.subagent_id].call_count += 1
            if call.is_bad:
                self.outline.errors.append(call)
            return
        turn.blocks.append(Block("thinking" if message.role == "thinking" else "prose", message, self._prose(message.content)))

    def _tool_call(self, message: Message) -> ToolCall:
        is_call = message.role == "tool_use"
        result = self.results.get(message.tool_call_id) if is_call else message
        name = message.tool_name or "unknown"
        arguments = tool_arguments(message.content) if is_call else None
        argument = telling_argument(arguments)
        if self.project:
            argument = argument.removeprefix(self.project)
        call = ToolCall(f"m{message.pk}", name, argument, message if is_call else None, result)
        if is_call:
            call.diff = edit_diff(arguments)
            call.parts += _input_parts(arguments, message, call.diff)
        if result is not None:
            output = tool_output(result.content)
            call.parts.append(Part("Output", rendering.plain(output), message=result))
            call.is_bad = result.is_error
            exit_code = EXIT_CODE.search(output[:EXIT_CODE_WITHIN]) if call.is_bad else None
            call.verdict = (f"exit {exit_code[1]}" if exit_code else "failed") if call.is_bad else "ok"
            lines = output.rstrip("\n").count("\n") + 1 if output.strip() else 0
            if lines > 1 and call.diff is None:
                call.stat = f"{lines:,} lines"
        return call


def one_line(text: str, limit: int) -> str:
    """Return the text's beginning with runs of white space as one blank."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}\u2026"


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
    output = data.get("content") if isinstance(data, dict) and data.get("type") == "tool_result" else content
    return _output_text(output)


def _output_text(output: Any) -> str:
    if output is None:
        return ""
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "\n".join(_block_text(block) for block in output)
    return _pretty(output)


def _block_text(block: Any) -> str:
    if isinstance(block, dict):
        if isinstance(block.get("text"), str):
            return block["text"]
        if block.get("type") in ("image", "input_image"):
            return "[image]"
    return block if isinstance(block, str) else _pretty(block)


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return str(value)


def telling_argument(arguments: Any) -> str:
    """Return the one argument that tells most of a call, on one line."""
    if isinstance(arguments, dict):
        for name in TELLING:
            value = arguments.get(name)
            if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
                # ["bash", "-lc", "git status"]: the script is the telling word
                value = value[-1] if len(value) > 1 and value[-2] in ("-c", "-lc") else " ".join(value)
            if isinstance(value, str) and value.strip():
                return one_line(value, ARGUMENT_LIMIT)
        texts: Iterable[str] = (value for value in arguments.values() if isinstance(value, str) and value.strip())
        return one_line(next(iter(texts), ""), ARGUMENT_LIMIT)
    if isinstance(arguments, str):
        return one_line(arguments, ARGUMENT_LIMIT)
    return "" if arguments is None else one_line(json.dumps(arguments, ensure_ascii=False)[: 4 * ARGUMENT_LIMIT], ARGUMENT_LIMIT)


def edit_diff(arguments: Any) -> Diff | None:
    """Return what an edit changes, when the call says so by old_string and new_string."""
    if not isinstance(arguments, dict):
        return None
    old, new = arguments.get("old_string"), arguments.get("new_string")
    return rendering.diff(old, new) if isinstance(old, str) and isinstance(new, str) else None


def _input_parts(arguments: Any, message: Message, diff: Diff | None) -> list[Part]:
    if diff is not None:
        return [Part("Changes", diff=diff, message=message)]
    if isinstance(arguments, dict):
        command = arguments.get("command") or arguments.get("cmd")
        if isinstance(command, str):
            rest = {name: value for name, value in arguments.items() if name not in ("command", "cmd", "description")}
            parts = [Part("Command", rendering.plain(command), message=message)]
            return parts + ([Part("Other arguments", rendering.plain(_pretty(rest)), message=message)] if rest else [])
        if len(arguments) == 1 and isinstance(value := next(iter(arguments.values())), str):
            return [Part("Input", rendering.plain(value), message=message)]
    if arguments in (None, {}, ""):
        return []
    text = arguments if isinstance(arguments, str) else _pretty(arguments)
    return [Part("Input", rendering.plain(text), message=message)]


def pretty_arguments(content: str) -> str:
    """Return a tool_use message's input as indented JSON, or as it stands when it is text."""
    arguments = tool_arguments(content)
    return arguments if isinstance(arguments, str) else _pretty(arguments)
