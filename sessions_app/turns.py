"""Group a page of a transcript into what a reader sees: prompts, turns with their tool calls, sub-agents, compactions, idle gaps.

Pure: the page's rows in, plain objects out, every text already safe HTML. One turn is one model call, told by `response_id`; messages
without one stand together until the next prompt. A tool's result stands with its call where both are on the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sessions_app import rendering, tool_calls
from sessions_app.models import Compaction, Message, UsageRecord
from sessions_app.rendering import Shown, one_line
from sessions_app.tool_calls import ToolCall

# Silence worth a line of its own.
IDLE = timedelta(minutes=30)
# Characters of Markdown rendered on one page; what comes after is shown as plain text. Bounds the time a hostile transcript can take.
PAGE_PROSE = 400_000
# A prompt longer than this is folded: it is a pasted log more often than prose.
LONG_PROMPT = 6_000


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
        self.project = project
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
            is_call = message.role == "tool_use"
            result = self.results.get(message.tool_call_id) if is_call else message
            call = tool_calls.describe(message if is_call else None, result, project=self.project)
            if not turn.blocks or turn.blocks[-1].kind != "tools":
                turn.blocks.append(Block("tools"))
            turn.blocks[-1].calls.append(call)
            if message.subagent_id:
                self.subagents[message.subagent_id].call_count += 1
            if call.is_bad:
                self.outline.errors.append(call)
            return
        turn.blocks.append(Block("thinking" if message.role == "thinking" else "prose", message, self._prose(message.content)))
