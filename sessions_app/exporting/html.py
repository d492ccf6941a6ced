"""A session as one HTML file that opens anywhere: it has its style in itself, its pictures as data: URLs, and no script.

The texts are the transcript's own (rendering.py, tool_calls.py, turns.py), whole instead of cut. The file's policy, in a meta element, lets
a browser load nothing and run nothing, should one of them be wrong.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.template import loader
from django.utils.safestring import SafeString, mark_safe

from sessions_app import icons, pictures, queries, tool_calls, turns
from sessions_app.exporting.facts import facts
from sessions_app.models import Message, Session
from sessions_app.pictures import Attachment
from sessions_app.queries import exports, reading
from sessions_app.queries.reading import SubAgentRow
from sessions_app.rendering import Shown
from sessions_app.tool_calls import Part, ToolCall

TEMPLATE = "sessions_app/export.html"
REST_LIMIT = 2_000_000  # characters of one text that are written; a browser shows more of them badly
PICTURE_BYTES = 20_000_000  # of the pictures of one entry


def pieces(session: Session, *, now: datetime) -> Iterator[bytes]:
    """Yield the document piece by piece: the head, then each entry of the transcript."""
    for text in _Document(session, now).write():
        yield text.encode()


@cache
def style() -> tuple[SafeString, str]:
    """Return the site's stylesheet and its digest as the policy names it."""
    path = finders.find("sessions_app/site.css")
    text = Path(str(path)).read_text(encoding="utf-8") if path else ""
    digest = b64encode(sha256(text.encode()).digest()).decode()
    return mark_safe(text), f"sha256-{digest}"


class _Document:
    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now
        self.subagents = reading.subagents(session, reading.totals(session))

    def write(self) -> Iterator[str]:
        text, digest = style()
        yield _render(
            "head",
            session=self.session,
            facts=facts(self.session, self.now),
            models=queries.models_of_session(self.session),
            style=text,
            style_digest=digest,
            sprite=icons.sprite(),
        )
        yield from self.thread("")
        first = True
        # in order of their beginning, and then those beyond the many that are asked for at once
        others = (subagent for subagent in exports.threads(self.session) if subagent not in self.subagents)
        for subagent in chain(self.subagents, others):
            row = self.subagents.get(subagent)
            yield _render(
                "thread", is_first=first, subagent=subagent, row=row, anchor=_anchor(row), title=turns.title_of(row) if row else ""
            )
            yield from self.thread(subagent)
            yield _render("thread-end")
            first = False
        yield _render("tail", session=self.session)

    def thread(self, thread: str) -> Iterator[str]:
        model = ""
        for stretch in exports.stretches(self.session, thread):
            for compaction in stretch.window.compactions:
                compaction.summary = exports.whole_summary(compaction)
            view = turns.build(
                stretch.window,
                usage=stretch.usage,
                pairs=stretch.pairs,
                subagents=self.subagents,
                thread=thread,
                model_before=model,
                project=self.session.project,
            )
            for entry in _unfolded(view.entries):
                yield _render("entry", **self.entry(entry))
                if isinstance(entry, turns.Turn) and entry.usage is not None:
                    model = entry.usage.model

    # --- an entry as the template takes it: with what a page would fetch later ------------------------------------------------------

    def entry(self, entry: turns.Entry) -> Mapping[str, Any]:
        budget = _Budget()
        if isinstance(entry, turns.Turn):
            return {"entry": entry, "blocks": [self.block(block, budget) for block in entry.blocks]}
        if isinstance(entry, turns.Prompt | turns.Note):
            return {"entry": entry, "said": self.said(entry.message, entry.text, budget)}
        if isinstance(entry, turns.Compacted):
            return {"entry": entry, "said": _rest(entry.compaction.summary, entry.text)}
        return {"entry": entry}

    def block(self, block: turns.Block, budget: _Budget) -> dict[str, Any]:
        if block.message is not None and block.text is not None:
            return {"kind": block.kind, "said": self.said(block.message, block.text, budget)}
        return {"kind": block.kind, "calls": [self.call(call, budget) for call in block.calls]}

    def said(self, message: Message, shown: Shown, budget: _Budget) -> dict[str, Any]:
        rest = _rest(exports.whole(message).content, shown) if shown.is_cut else {}
        return {"text": shown, "message": message, "files": budget.drawn(message, pictures.of_message(message)), **rest}

    def call(self, call: ToolCall, budget: _Budget) -> dict[str, Any]:
        made = call.call and exports.whole(call.call)
        answer = call.result and exports.whole(call.result)
        told = tool_calls.describe(made, answer, project=self.session.project, whole=True)
        started = call.thread.row if call.thread is not None else None
        return {"call": told, "parts": [self.part(part, budget) for part in told.parts], "started": started, "anchor": _anchor(started)}

    def part(self, part: Part, budget: _Budget) -> dict[str, Any]:
        return {"part": part, "files": budget.drawn(part.message, part.files)}


class _Budget:
    """Bounds the bytes of the pictures that one entry draws."""

    def __init__(self) -> None:
        self.left = PICTURE_BYTES

    def drawn(self, message: Message, files: list[Attachment]) -> list[tuple[Attachment, str]]:
        """Return each file with the data: URL of a picture that is drawn, "" for the others. What may be drawn, pictures.py decides."""
        found = []
        for file in files:
            url = ""
            if file.is_shown and file.size <= self.left and (read := pictures.read(message, file.number)) is not None and read[0].is_shown:
                self.left -= len(read[1])
                url = f"data:{read[0].media_type};base64,{b64encode(read[1]).decode()}"
            found.append((file, url))
        return found


def _unfolded(entries: Iterable[turns.Entry]) -> Iterator[turns.Entry]:
    """Yield the entries with the turns of a silent run one by one: each is a piece of its own."""
    for entry in entries:
        if isinstance(entry, turns.Run):
            yield from entry.entries
        else:
            yield entry


def _rest(text: str, shown: Shown) -> dict[str, Any]:
    """Return what a page would have left out, as it stands, and how many characters even this leaves out."""
    rest = text[shown.shown : shown.shown + REST_LIMIT]
    return {"rest": rest, "left_out": max(0, len(text) - shown.shown - len(rest))}


def _anchor(row: SubAgentRow | None) -> str:
    return f"s{row.first.pk}" if row is not None else ""


def _render(part: str, **context: Any) -> str:
    return str(_template(part).render(context))


@cache
def _template(part: str) -> Any:
    return loader.get_template(f"{TEMPLATE}#{part}")
