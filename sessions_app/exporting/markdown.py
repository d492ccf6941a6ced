"""A session as Markdown, to read in any editor or on any forge.

Whatever was said in the session stands in a quote or in a code block, and nothing of ours does: neither can be left from inside, because a
quote's marks stand before each of its lines and a fence is longer than any run of backticks in it. So no text can close a fold, begin a
heading of ours or swallow what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from html import escape

from sessions_app import pictures, queries, tool_calls
from sessions_app.exporting.facts import dollars, exact, facts
from sessions_app.models import Compaction, Message, Session, UsageRecord
from sessions_app.queries import exports, reading
from sessions_app.queries.reading import SubAgentRow
from sessions_app.templatetags.sessionsite import duration
from sessions_app.turns import IDLE, title_of

LINE_END = re.compile(r"\r\n|\r|\n")
BACKTICKS = re.compile("`+")
MAX_DEPTH = 10  # of sub-agents inside sub-agents
SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}


def pieces(session: Session, *, now: datetime) -> Iterator[bytes]:
    """Yield the document piece by piece."""
    for text in _Document(session, now).write():
        yield text.encode()


class _Document:
    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now
        self.subagents = reading.subagents(session, reading.totals(session))
        self.started: dict[int, list[SubAgentRow]] = {}
        for row in self.subagents.values():
            if row.call is not None:
                self.started.setdefault(row.call.pk, []).append(row)
        self.depth = 0
        self.written: set[str] = set()  # sub-agents, so that two that have started each other are written once

    def write(self) -> Iterator[str]:
        yield f"# {inline(self.session.title) or 'Untitled session'}\n\n"
        yield from (f"- **{name}**: {inline(value)}\n" for name, value in facts(self.session, self.now))
        yield from self.used()
        yield "\n## Transcript\n\n"
        yield from self.thread("")
        # those whose call no log names, and, beyond the many that were asked for at once, the others
        yield from self.subthreads(self.subagents)
        yield from self.subthreads(exports.threads(self.session))
        if self.session.closed_at is not None:
            yield f"---\n\nClosed on {exact(self.session.closed_at)}.\n"
            if self.session.summary:
                yield f"\n{quoted(self.session.summary)}"

    def used(self) -> Iterator[str]:
        if not self.session.total_turns:
            return
        yield "\n| Model | Calls | Input | Cache read | Cache write | Output | Cost (USD) |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        for row in queries.models_of_session(self.session):
            counts = (row.calls, row.input_tokens, row.cache_read_tokens, row.cache_write_tokens, row.output_tokens)
            yield f"| {inline(row.model)} | {' | '.join(f'{count:,}' for count in counts)} | {dollars(row.cost_usd).removeprefix('$')} |\n"

    # --- a thread ---------------------------------------------------------------------------------------------------------

    def thread(self, thread: str) -> Iterator[str]:
        last: datetime | None = None
        usage: UsageRecord | None = None
        told = ""  # the response whose usage was written last
        for stretch in exports.stretches(self.session, thread):
            items: list[Message | Compaction] = [*stretch.window.messages, *stretch.window.compactions]
            items.sort(key=lambda item: (item.timestamp, isinstance(item, Message), item.pk))
            for item in items:
                if isinstance(item, Message) and item.role == "tool_result" and item.pk in stretch.pairs.answered:
                    continue  # stands with its call
                response = item.response_id if isinstance(item, Message) else ""
                if usage is not None and response != usage.response_id:
                    yield self.usage(usage)
                    told, usage = usage.response_id, None
                if last is not None and item.timestamp - last >= IDLE:
                    yield f"*{duration(item.timestamp - last)} idle*\n\n"
                last = item.timestamp
                if isinstance(item, Compaction):
                    yield from self.compaction(item)
                    continue
                usage = stretch.usage.get(response) if response and response != told else usage
                yield from self.message(item, stretch.pairs.result_of.get(item.pk))
        if usage is not None:
            yield self.usage(usage)

    def message(self, message: Message, result: Message | None) -> Iterator[str]:
        if message.role in ("tool_use", "tool_result"):
            yield from self.call(message, result)
            return
        text = exports.whole(message).content
        if message.role == "thinking":
            yield f"<details><summary>Thinking, {exact(message.timestamp)}</summary>\n\n{quoted(text)}\n</details>\n\n"
            return
        files = pictures.of_message(message)
        if not text.strip() and not files:
            return  # some agents write an empty answer in front of their calls
        speaker = SPEAKERS[message.role]
        if message.role == "user" and message.extra.get("is_meta"):
            speaker = "Added by the agent"
        by = f" ({inline(message.agent)})" if message.agent else ""
        failed = ", failed" if message.is_error else ""
        yield f"### {speaker}{by}, {exact(message.timestamp)}{failed}\n\n"
        # a system's words are verbatim on the page, too
        yield f"{fenced(text) if message.role == 'system' else quoted(text)}\n"
        yield from self.files(files)

    def call(self, message: Message, result: Message | None) -> Iterator[str]:
        if message.role == "tool_use":
            call, answer = exports.whole(message), result and exports.whole(result)
        else:
            call, answer = None, exports.whole(message)
        told = tool_calls.describe(call, answer, project=self.session.project)
        took = f", {duration(told.took)}" if told.took is not None else ""
        line = f"{told.name}: {told.argument}" if told.argument else told.name
        yield f"<details><summary>{escape(flat(line))} ({escape(told.verdict or 'no result')}{took}), {exact(message.timestamp)}</summary>\n\n"
        if call is not None:
            arguments = tool_calls.tool_arguments(call.content)
            if isinstance(arguments, str):
                yield f"Input\n\n{fenced(arguments)}\n"
            elif arguments not in (None, {}):
                yield f"Input\n\n{fenced(tool_calls.pretty(arguments), 'json')}\n"
        if answer is not None:
            yield f"{'Error' if answer.is_error else 'Output'}\n\n{fenced(tool_calls.tool_output(answer.content))}\n"
            yield from self.files([file for part in told.parts for file in part.files])
        yield from self.subthreads([row.subagent_id for row in self.started.get(message.pk, ())])
        yield "</details>\n\n"

    def subthreads(self, subagents: Iterable[str]) -> Iterator[str]:
        """Write these sub-agents' threads. What is nested deeper than anybody reads comes at the end."""
        for subagent in subagents:
            if subagent in self.written or self.depth >= MAX_DEPTH:
                continue
            self.written.add(subagent)
            self.depth += 1
            row = self.subagents.get(subagent)
            title = inline(title_of(row)) if row is not None else ""
            cost = f", {row.turns:,} model calls, {dollars(row.cost if row.unpriced < row.turns else None)}" if row and row.turns else ""
            yield f"#### Sub-agent {code(subagent)}{cost}\n\n{title}\n\n"
            yield from self.thread(subagent)
            yield f"*End of sub-agent {code(subagent)}*\n\n"
            self.depth -= 1

    def compaction(self, item: Compaction) -> Iterator[str]:
        size = f", {item.pre_tokens:,} tokens before" if item.pre_tokens else ""
        count = f", {item.messages_compacted:,} messages" if item.messages_compacted else ""
        yield f"---\n\n**Compacted** ({inline(item.trigger)}{count}{size}), {exact(item.timestamp)}\n\n{quoted(exports.whole_summary(item))}\n---\n\n"

    def files(self, files: list[pictures.Attachment]) -> Iterator[str]:
        for file in files:
            yield f"*File: {inline(file.name)}, {inline(file.media_type)}, {file.size_text if file.size else 'not in the log'}*\n\n"

    def usage(self, usage: UsageRecord) -> str:
        counts = f"{usage.input_tokens:,} input, {usage.cache_read_tokens:,} cache read, {usage.cache_write_tokens:,} cache write"
        known = f" ({usage.cost_source})" if usage.cost_usd is not None else ""
        return f"*Turn {usage.turn}: {inline(usage.model)}, {counts}, {usage.output_tokens:,} output, {dollars(usage.cost_usd)}{known}*\n\n"


# --- texts ----------------------------------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """Return a text as a quote. Each line that Markdown knows as one gets the mark, so that nothing in it reaches beyond."""
    return "".join(f"> {line}\n" if line else ">\n" for line in LINE_END.split(text))


def fenced(text: str, language: str = "") -> str:
    """Return a text verbatim, in a fence longer than any run of backticks inside it."""
    longest = max((len(run) for run in BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}\n"


def flat(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


def inline(text: str) -> str:
    """Return a name inside a line of ours: with no mark that Markdown would take for its own."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~&!])", r"\\\1", flat(text))


def code(text: str) -> str:
    """Return a name verbatim inside a line of ours."""
    words = flat(text)
    if not words:
        return "(empty)"
    mark = "`" * (1 + max((len(run) for run in BACKTICKS.findall(words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{mark}{pad}{words}{pad}{mark}"
