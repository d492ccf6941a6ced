"""Group a window of a transcript into what a reader sees: prompts, turns with their tool calls, sub-agents, compactions, idle gaps.

Pure: rows in, plain objects out, every text already safe HTML. One turn is one model call, told by `response_id`; messages without one stand
together until the next prompt. A result stands with its call, a sub-agent with the call that started it, wherever the window's borders fall.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.utils.http import urlencode

from sessions_app import cut_json, marks, rendering, tool_calls
from sessions_app.models import Compaction, Message, UsageRecord
from sessions_app.money import ZERO
from sessions_app.queries.reading import Pairs, Place, SubAgentRow, Window
from sessions_app.rendering import Shown, one_line
from sessions_app.tool_calls import CallGroup, ToolCall

# Silence worth a line of its own.
IDLE = timedelta(minutes=5)
# Elements that the formatted texts of one page may have together; what comes after is shown as plain text. Bounds the time, and the browser's
# memory, that a hostile transcript can take.
PAGE_NODES = 2_500
# A prompt longer than this is folded: it is a pasted log more often than prose.
LONG_PROMPT = 6_000
LINE = 120
# Turns of a silent run from which on it is folded; of fewer, each is as quick to read as the fold.
FOLDED_TURNS = 4
# Sub-agents that Claude Code runs by itself, to sum a session up before it is compacted.
COMPACTING = "acompact-"
WRAPPER = re.compile(r"</?(?:tool_use_)?error>|\\n")


@dataclass(slots=True)
class Block:
    """A piece of a turn. kind: "prose", "thinking" (with text) or "tools" (with calls). anchor: "" where the turn has the message's own."""

    kind: str
    message: Message | None = None
    text: Shown | None = None
    calls: list[ToolCall] = field(default_factory=list)
    anchor: str = ""


@dataclass(slots=True)
class Prompt:
    kind: ClassVar[str] = "prompt"
    anchor: str
    at: datetime
    message: Message
    text: Shown
    line: str

    @property
    def is_long(self) -> bool:
        return self.text.total > LONG_PROMPT


@dataclass(slots=True)
class Turn:
    """One model call. model_before: another model was at work until here."""

    kind: ClassVar[str] = "turn"
    anchor: str
    at: datetime
    response_id: str
    pk: int
    subagent_id: str = ""
    blocks: list[Block] = field(default_factory=list)
    usage: UsageRecord | None = None
    model_before: str = ""

    @property
    def is_silent(self) -> bool:
        """Whether it said nothing, all it called went well, and the same model was at work as before."""
        return (
            not self.model_before
            and any(block.calls for block in self.blocks)
            and all(
                block.kind == "thinking" or (block.kind == "tools" and all(call.folds for call in block.calls)) for block in self.blocks
            )
        )


@dataclass(slots=True)
class SubAgent:
    """A sub-agent's thread. url: where it is read. entries: empty when it is loaded on opening. older, newer: cursors of what is not among them."""

    kind: ClassVar[str] = "subagent"
    anchor: str
    at: datetime
    row: SubAgentRow
    title: str
    url: str
    entries: list[Entry] = field(default_factory=list)
    is_loaded: bool = False
    is_open: bool = False
    older: str = ""
    newer: str = ""

    @property
    def subagent_id(self) -> str:
        return self.row.subagent_id

    @property
    def took(self) -> timedelta:
        return self.row.last_at - self.row.first.timestamp

    @property
    def has_children(self) -> bool:
        return bool(self.row.children)

    @property
    def cost(self) -> Any:
        """Its own dollars; None where no call has a price."""
        return None if self.row.turns and self.row.unpriced == self.row.turns else self.row.cost


@dataclass(slots=True)
class Note:
    """A system message, or words that the agent put in for the person. is_bad: a failed request; attempt: which retry it was, 0 for none."""

    kind: ClassVar[str] = "note"
    anchor: str
    at: datetime
    message: Message
    text: Shown
    line: str
    is_bad: bool = False
    attempt: int = 0
    label: str = "System"


@dataclass(slots=True)
class Compacted:
    kind: ClassVar[str] = "compaction"
    anchor: str
    at: datetime
    compaction: Compaction
    text: Shown

    @property
    def tokens_after(self) -> int:
        after = self.compaction.extra.get("post_tokens")
        return after if isinstance(after, int) else 0


@dataclass(slots=True)
class Idle:
    kind: ClassVar[str] = "idle"
    at: datetime
    gap: timedelta


@dataclass(slots=True)
class NewLine:
    """What follows is new since the viewer last read."""

    kind: ClassVar[str] = "new"
    at: datetime


@dataclass(slots=True)
class Run:
    """Turns in which nothing was said and every call went well, folded to one line. calls: all of theirs, as tool_calls.CallGroup counts them.
    cost: of the priced ones, None where none is."""

    kind: ClassVar[str] = "run"
    anchor: str
    at: datetime
    entries: list[Entry]
    calls: CallGroup
    cost: Decimal | None
    is_open: bool = False

    @property
    def numbers(self) -> list[int]:
        """The first and the last turn's number, where they are known."""
        found = [entry.usage.turn for entry in self.entries if isinstance(entry, Turn) and entry.usage is not None]
        return [found[0], found[-1]] if found else []


Entry = Prompt | Turn | SubAgent | Note | Compacted | Idle | NewLine | Run


@dataclass(slots=True)
class View:
    """entries: in order. updates: calls drawn earlier whose result is among the messages."""

    entries: list[Entry]
    updates: list[ToolCall] = field(default_factory=list)


def build(
    window: Window,
    *,
    usage: Mapping[str, UsageRecord],
    pairs: Pairs,
    subagents: Mapping[str, SubAgentRow] | None = None,
    threads: Mapping[str, Sequence[Message]] | None = None,
    opened: Mapping[str, Window] | None = None,
    thread: str = "",
    show: str = "all",
    model_before: str = "",
    seen: int | None = None,
    project: str = "",
    base: str = "",
) -> View:
    """Group one window.

    usage: model calls by response id. subagents: of the whole session; threads: the messages of those that come with their call, opened: of
    those that are shown opened, by id. model_before: the model at work in front of the window. seen: the newest message's pk that the viewer
    has read, None = draw no line. project: the folder that paths are shown from. base: the page's address, to which a name can be added.
    """
    builder = _Builder(usage, pairs, subagents or {}, threads or {}, opened or {}, show, project, base)
    entries = builder.window(window, thread, model_before, seen)
    return View(fold_runs(entries) if show == "all" else entries, builder.updates)


def fold_runs(entries: Sequence[Entry]) -> list[Entry]:
    """Fold the turns of a long silent run to one entry. What failed, waits for its result, or has a sub-agent in it ends a run, and so does a word."""
    found: list[Entry] = []
    run: list[Turn] = []
    for entry in [*entries, None]:
        if isinstance(entry, Turn) and entry.is_silent:
            run.append(entry)
            continue
        calls = [call for turn in run for block in turn.blocks for call in block.calls]
        if len(run) >= FOLDED_TURNS and len(calls) >= tool_calls.FOLDED_FROM:
            usage = [turn.usage.cost_usd for turn in run if turn.usage is not None]
            known = [cost for cost in usage if cost is not None]
            cost = sum(known, ZERO) if known else None
            found.append(Run(f"r{run[0].pk}", run[0].at, list(run), tool_calls.counted(calls), cost))
        else:
            found += run
        run = []
        if entry is not None:
            found.append(entry)
    return found


class _Builder:
    def __init__(
        self,
        usage: Mapping[str, UsageRecord],
        pairs: Pairs,
        subagents: Mapping[str, SubAgentRow],
        threads: Mapping[str, Sequence[Message]],
        opened: Mapping[str, Window],
        show: str,
        project: str,
        base: str,
    ) -> None:
        self.usage, self.pairs, self.threads, self.opened, self.show, self.project = usage, pairs, threads, opened, show, project
        self.subagents, self.base = subagents, base
        self.started: dict[int, list[SubAgentRow]] = {}
        for row in subagents.values():
            if row.call is not None:
                self.started.setdefault(row.call.pk, []).append(row)
        self.left = PAGE_NODES
        self.updates: list[ToolCall] = []
        self.drawn: set[int] = set()
        self.nesting: list[str] = []

    # --- a thread ---------------------------------------------------------------------------------------------------------

    def window(self, window: Window, thread: str, model_before: str, seen: int | None) -> list[Entry]:
        orphans = [row for row in self.subagents.values() if row.call is None and _within(row.first.timestamp, window)]
        items: list[Message | Compaction | SubAgentRow] = [*window.messages, *window.compactions]
        if not thread and self.show == "all":
            items += orphans
        previous = window.before
        return self.thread(sorted(items, key=_order), model_before, previous, seen)

    def thread(
        self, items: Iterable[Message | Compaction | SubAgentRow], model: str = "", previous: Place | None = None, seen: int | None = None
    ) -> list[Entry]:
        """Return the entries of one thread. model, previous: what stood in front of it."""
        entries: list[Entry] = []
        turn: Turn | None = None
        silent_since = previous.timestamp if previous is not None else None
        items = list(items)
        newest = previous.pk if previous is not None else next((item.pk for item in items if isinstance(item, Message)), 0)
        is_new = seen is None or newest > seen
        for item in items:
            at = _time(item)
            # in the other modes the silence is where what is left out stands
            if silent_since is not None and self.show == "all" and at - silent_since >= IDLE:
                entries.append(Idle(at, at - silent_since))
                turn = None
            silent_since = at if silent_since is None else max(silent_since, at)
            if isinstance(item, SubAgentRow):
                silent_since = max(silent_since, item.last_at)
                entries.append(self.subagent(item))
                turn = None
                continue
            if isinstance(item, Compaction):
                entries.append(Compacted(f"c{item.pk}", item.timestamp, item, self.prose(item.summary)))
                turn = None
                continue
            if seen is not None and not is_new and item.pk > seen:
                entries.append(NewLine(item.timestamp))
                is_new, turn = True, None
            if item.role in ("user", "system"):
                turn = None
                entries.append(self.said(item))
                continue
            if item.role == "tool_result":
                if self.show == "errors":
                    item = self.pairs.call_of.get(item.pk, item)
                elif self.is_shown_with_its_call(item):
                    continue
            if turn is None or _parts(turn, item):
                turn = Turn(f"m{item.pk}", item.timestamp, item.response_id, item.pk, item.subagent_id)
                entries.append(turn)
            if item.response_id and turn.usage is None:
                turn.response_id = item.response_id
                turn.usage = self.usage.get(item.response_id)
                if turn.usage is not None:
                    if model and turn.usage.model != model and self.show == "all":
                        turn.model_before = model
                    model = turn.usage.model
            entries += self.block(turn, item)
        return entries

    def is_shown_with_its_call(self, result: Message) -> bool:
        """Tell whether a result stands elsewhere. With `updates` one whose call was drawn earlier is drawn there again."""
        call = self.pairs.call_of.get(result.pk)
        if call is not None and call.pk not in self.drawn:
            self.updates.append(self.describe(call, result))
        return result.pk in self.pairs.answered

    def said(self, message: Message) -> Prompt | Note:
        anchor, line = f"m{message.pk}", one_line(message.content, LINE)
        if message.role == "user" and not message.extra.get("is_meta"):
            return Prompt(anchor, message.timestamp, message, self.shown(message), line)
        if message.role == "user":
            return Note(anchor, message.timestamp, message, self.shown(message), line, label="Added by the agent")
        attempt = message.extra.get("retryAttempt")
        shown = rendering.plain(message.content, left_out=_left_out(message))
        return Note(
            anchor,
            message.timestamp,
            message,
            shown,
            line,
            is_bad=message.is_error,
            attempt=attempt if isinstance(attempt, int) else 0,
            label="Failed request" if message.is_error else "System",
        )

    def block(self, turn: Turn, message: Message) -> list[Entry]:
        """Add a message to its turn. Returns what has to stand behind the turn: further sub-agents of one call."""
        if message.role not in ("tool_use", "tool_result"):
            kind = "thinking" if message.role == "thinking" else "prose"
            turn.blocks.append(Block(kind, message, self.shown(message), anchor="" if turn.pk == message.pk else f"m{message.pk}"))
            return []
        if message.role == "tool_use":
            call = self.describe(message, self.pairs.result_of.get(message.pk))
        else:
            call = self.describe(self.pairs.call_of.get(message.pk), message)
        self.drawn.add(message.pk)
        if not turn.blocks or turn.blocks[-1].kind != "tools":
            turn.blocks.append(Block("tools"))
        turn.blocks[-1].calls.append(call)
        rows = self.started.get(message.pk, []) if self.show in ("all", "tools") else []
        if rows:
            call.thread = self.subagent(rows[0])
        return [self.subagent(row) for row in rows[1:]]

    def describe(self, call: Message | None, result: Message | None) -> ToolCall:
        return tool_calls.describe(call, result, project=self.project)

    def subagent(self, row: SubAgentRow) -> SubAgent:
        url = f"{self.base}{urlencode({'thread': row.subagent_id})}"
        entry = SubAgent(f"s{row.first.pk}", row.first.timestamp, row, title_of(row), url)
        if row.subagent_id in self.nesting:  # a log in which two have started each other
            return entry
        self.nesting.append(row.subagent_id)
        if (window := self.opened.get(row.subagent_id)) is not None:
            entry.is_loaded = entry.is_open = True
            entry.entries = self.window(window, row.subagent_id, "", None)
            entry.older = _first(window).cursor if window.before is not None and window.messages else ""
            entry.newer = window.after.cursor if window.after is not None else ""
        elif row.subagent_id in self.threads:
            entry.is_loaded = True
            entry.entries = self.thread(self.threads[row.subagent_id])
        self.nesting.pop()
        return entry

    # --- texts ------------------------------------------------------------------------------------------------------------

    def shown(self, message: Message) -> Shown:
        return self.prose(message.content, _left_out(message))

    def prose(self, text: str, left_out: int = 0) -> Shown:
        if self.left <= 0:
            return rendering.plain(text, rendering.PROSE_LIMIT, left_out=left_out)
        shown = rendering.prose(text, left_out=left_out)
        self.left -= shown.html.count("</")
        return shown


def nested(rows: Mapping[str, SubAgentRow], window: Window, messages: Iterable[Message], opened: Mapping[str, Window]) -> list[SubAgentRow]:
    """Return the sub-agents that stand in the window, and those that they started, but for what is opened already."""
    calls = {message.pk for message in messages if message.role == "tool_use"}
    found = [row for row in rows.values() if (row.call.pk in calls if row.call is not None else _within(row.first.timestamp, window))]
    for row in found:
        found += [child for child in row.children if child not in found]
    return [row for row in found if row.subagent_id not in opened]


def line_of(message: Message) -> str:
    """Return the first words of a landmark, whose beginning is its `line`."""
    return one_line(message.line, LINE)  # type: ignore[attr-defined]


def error_line(message: Message) -> str:
    """Return what failed, and its first words."""
    line: str = message.line  # type: ignore[attr-defined]
    if message.role != "tool_result":
        return one_line(line, LINE)
    words = WRAPPER.sub(" ", tool_calls.tool_output(cut_json.complete(line)))
    name = tool_calls.display_name(message.tool_name or "unknown")
    if (code := tool_calls.EXIT_CODE.search(words)) is not None:
        # what stands in front of the output is the shell's own
        name, words = f"{name}, exit {code[1]}", words.partition("Output:")[2] or words[code.end() :]
    return one_line(f"{name}: {words}", LINE)


# --- what a search found ---------------------------------------------------------------------------------------------------


def mark_matches(entries: Iterable[Entry], text: str, pks: set[int], *, project: str = "") -> None:
    """Mark the text wherever it stands in the entries, and open the calls in which it was found."""
    for entry in entries:
        if isinstance(entry, SubAgent):
            mark_matches(entry.entries, text, pks, project=project)
        elif isinstance(entry, Run):
            mark_matches(entry.entries, text, pks, project=project)
            entry.is_open = any(call.is_open for call in entry.calls.calls)
        elif isinstance(entry, (Prompt, Note, Compacted)):
            entry.text = marked(entry.text, text)
        elif isinstance(entry, Turn):
            for block in entry.blocks:
                if block.text is not None:
                    block.text = marked(block.text, text)
                for call in block.calls:
                    _mark_call(call, text, pks, project)


def _mark_call(call: ToolCall, text: str, pks: set[int], project: str) -> None:
    if any(message is not None and message.pk in pks for message in (call.call, call.result)):
        call.is_open = True
        if not _mark_parts(call, text):  # found further down than a call is shown at first
            call.parts = tool_calls.describe(call.call, call.result, project=project, whole=True).parts
            _mark_parts(call, text)
    if call.thread is not None:
        mark_matches([call.thread], text, pks, project=project)
        call.is_open = call.is_open or call.thread.is_open


def _mark_parts(call: ToolCall, text: str) -> bool:
    for part in call.parts:
        if part.text is not None:
            part.text = marked(part.text, text)
    return any(part.text is not None and "<mark>" in part.text.html for part in call.parts)


def marked(shown: Shown, text: str) -> Shown:
    return replace(shown, html=marks.mark(shown.html, text))


def title_of(row: SubAgentRow) -> str:
    """Return what tells most of a sub-agent: what its call was described with, or its own first words."""
    if row.subagent_id.startswith(COMPACTING):
        return "Summing up for a compaction"
    if row.call is not None:
        arguments = tool_calls.tool_arguments(row.call.content)
        if isinstance(arguments, dict):
            for name in ("description", "name", "title", "prompt", "message"):
                if isinstance(arguments.get(name), str) and arguments[name].strip():
                    return one_line(arguments[name], LINE)
    return one_line(row.line, LINE) or row.subagent_id


def _first(window: Window) -> Place:
    return Place(window.messages[0].timestamp, window.messages[0].pk)


def _left_out(message: Message) -> int:
    """Return how many characters of the message were not read."""
    return max(0, getattr(message, "characters", 0) - len(message.content))


def _time(item: Message | Compaction | SubAgentRow) -> datetime:
    return item.first.timestamp if isinstance(item, SubAgentRow) else item.timestamp


def _order(item: Message | Compaction | SubAgentRow) -> tuple[datetime, int, int]:
    """A compaction stands before the messages of its own moment, and a sub-agent behind them."""
    if isinstance(item, SubAgentRow):
        return item.first.timestamp, 2, item.first.pk
    return item.timestamp, 0 if isinstance(item, Compaction) else 1, item.pk


def _within(moment: datetime, window: Window) -> bool:
    return (window.before is None or moment > window.before.timestamp) and (window.after is None or moment <= window.after.timestamp)


def _parts(turn: Turn, message: Message) -> bool:
    """Tell whether the message begins another turn."""
    if turn.subagent_id != message.subagent_id:
        return True
    return bool(message.response_id and turn.response_id and message.response_id != turn.response_id)
