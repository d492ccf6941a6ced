"""Turn a message's text into safe HTML. Pure: no database, no request.

Transcript text is a stranger's text: models and tools write it. Markdown is rendered with raw HTML switched off, then sanitised again
against a short list of tags, so that a mistake in either is caught by the other. What comes out loads nothing from anywhere, runs
nothing, links only to http, https and mailto, and carries no id, no style and no class but our own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from hashlib import blake2b
from html import escape
from threading import Lock
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

# Characters of Markdown that are rendered; 8 kB take up to 40 ms with highlighting, hostile brackets 0.3 s. The rest is one link away.
PROSE_LIMIT = 20_000
# Characters of one code block that are highlighted; a longer one is shown plain.
HIGHLIGHT_LIMIT = 8_000
# Characters of a tool's input or output shown in the transcript.
PLAIN_LIMIT = 4_000
# Bytes of rendered HTML kept per process.
CACHE_BYTES = 16_000_000

# Only what agents write often, so that a hostile fence cannot choose the lexer with the slowest expressions.
_LANGUAGES = (
    "bash c c++ console cpp cs csharp css dart diff docker dockerfile elixir go graphql haskell hcl html http ini java javascript js json jsonc"
    " jsx kotlin lua makefile objective-c php powershell proto protobuf ps1 py python python3 pycon r rb ruby rs rust scala sh shell sql"
    " swift terraform toml ts tsx typescript xml yaml yml zig zsh"
)
LANGUAGES = frozenset(_LANGUAGES.split())

_TAGS = "a blockquote br code del div em h3 hr li ol p pre s span strong table tbody td th thead tr ul"
TAGS = frozenset(_TAGS.split())


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a text: `html` of its first `shown` of `total` characters."""

    html: SafeString
    shown: int
    total: int

    @property
    def is_cut(self) -> bool:
        return self.shown < self.total


# --- Markdown ----------------------------------------------------------------------------------------------------------


@cache
def _pygments() -> tuple[Any, Any, frozenset[str]]:
    """Import pygments on first use: a process that renders no code block never pays for it."""
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.token import STANDARD_TYPES

    return get_lexer_by_name, HtmlFormatter(nowrap=True), frozenset(filter(None, STANDARD_TYPES.values()))


def highlight(code: str, language: str) -> str:
    """Return the code as escaped HTML, with Pygments' classes where the language is known and the block is not too long."""
    if language.lower() not in LANGUAGES or len(code) > HIGHLIGHT_LIMIT:
        return escape(code)
    from pygments import highlight as pygments_highlight

    get_lexer, formatter, _ = _pygments()
    return pygments_highlight(code, get_lexer(language.lower(), stripnl=False), formatter)


class _Renderer(RendererHTML):
    """Our shapes for what differs from plain HTML: code blocks, headings of one level, images as links, tables that scroll."""

    def fence(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        token = tokens[index]
        language = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
        return f"<pre>{highlight(token.content, language)}</pre>\n"

    def code_block(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return f"<pre>{escape(tokens[index].content)}</pre>\n"

    # A stranger's levels come in any order, which would break the page's outline: all are h3 below the page's h2, and look by class.
    def heading_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return "<h3>" if tokens[index].tag in ("h1", "h2") else '<h3 class="is-minor">'

    def heading_close(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return "</h3>\n"

    def image(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        # never loaded: a remote image tells its host who reads what, and when
        token = tokens[index]
        words = self.renderInlineAsText(token.children, options, env) if token.children else ""
        source = str(token.attrGet("src") or "")
        text = escape(f"image: {words}" if words else "image")
        return f'<a href="{escape(source)}">{text}</a>' if source.startswith(("http://", "https://")) else f"[{text}]"

    def table_open(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return '<div class="table-scroll"><table>\n'

    def table_close(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return "</table></div>\n"

    def _cell(self, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        token = tokens[index]
        # the column's alignment comes as an inline style, which our policy forbids
        right = "right" in str(token.attrGet("style") or "")
        return f'<{token.tag} class="num">' if right else f"<{token.tag}>"

    th_open = td_open = _cell


@cache
def _markdown() -> MarkdownIt:
    # maxNesting: how deep quotes and lists may stand in each other; deeper ones are text
    options = {"html": False, "linkify": True, "breaks": True, "maxNesting": 20}
    markdown = MarkdownIt("commonmark", options, renderer_cls=_Renderer).enable(["table", "strikethrough", "linkify"])
    # only whole addresses: "views.py" and "README.md" are files here, not sites in Paraguay and Moldova
    assert markdown.linkify is not None
    markdown.linkify.set({"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    return markdown


@cache
def _cleaner() -> nh3.Cleaner:
    _, _, classes = _pygments()
    return nh3.Cleaner(
        tags=set(TAGS),
        clean_content_tags={"script", "style"},
        attributes={"*": set(), "a": {"href"}, "ol": {"start"}},  # without "*", title and lang would pass everywhere
        allowed_classes={"span": set(classes), "div": {"table-scroll"}, "h3": {"is-minor"}, "td": {"num"}, "th": {"num"}},
        # what scrolls can be reached by key and has a name
        set_tag_attribute_values={
            "pre": {"class": "code", "tabindex": "0", "role": "group", "aria-label": "Code"},
            "div": {"tabindex": "0", "role": "group", "aria-label": "Table"},
        },
        url_schemes={"http", "https", "mailto"},
        # an address without a host would be one of this site's own: `[see here](/admin/)`, `[views.py](src/views.py)`
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )


class _Kept:
    """Rendered texts by digest, the least used thrown away beyond CACHE_BYTES. Per process: a shared cache would only move the copies."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.rows: OrderedDict[bytes, SafeString] = OrderedDict()
        self.lock = Lock()

    def get(self, key: bytes) -> SafeString | None:
        with self.lock:
            if key in self.rows:
                self.rows.move_to_end(key)
            return self.rows.get(key)

    def put(self, key: bytes, html: SafeString) -> None:
        with self.lock:
            self.size += len(html) - len(self.rows.get(key, ""))
            self.rows[key] = html
            self.rows.move_to_end(key)
            while self.size > self.limit:
                self.size -= len(self.rows.popitem(last=False)[1])


_kept = _Kept(CACHE_BYTES)


def _cut(text: str, limit: int) -> str:
    """Return at most `limit` characters, ending at a line if one ends in the last fifth."""
    if len(text) <= limit:
        return text
    end = text.rfind("\n", limit * 4 // 5, limit)
    return text[: end if end > 0 else limit]


def prose(text: str, limit: int = PROSE_LIMIT) -> Shown:
    """Render Markdown to safe HTML, for an element of class `prose`."""
    part = _cut(text, limit)
    key = blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    html = _kept.get(key)
    if html is None:
        html = mark_safe(_cleaner().clean(_markdown().render(part)))
        _kept.put(key, html)
    return Shown(html, len(part), len(text))


def plain(text: str, limit: int = PLAIN_LIMIT) -> Shown:
    """Escape text as it stands, for a `pre`."""
    part = _cut(text, limit)
    return Shown(mark_safe(escape(part)), len(part), len(text))


def one_line(text: str, limit: int) -> str:
    """Return the text's beginning with runs of white space as one blank."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}\u2026"


# --- diffs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a diff. kind: "add", "del", "" (kept) or "gap" (kept lines left out)."""

    kind: str
    text: str

    @property
    def sign(self) -> str:
        return {"add": "+", "del": "\u2212"}.get(self.kind, " ")


@dataclass(frozen=True, slots=True)
class Diff:
    lines: list[DiffLine]
    added: int
    removed: int


# Lines on either side that are compared; comparing costs their product in the worst case.
DIFF_LINES = 400
DIFF_CONTEXT = 3


def diff(old: str, new: str) -> Diff | None:
    """Return the changed lines between two texts with three lines around them, None when they are too long to compare."""
    before, after = old.splitlines(), new.splitlines()
    if len(before) > DIFF_LINES or len(after) > DIFF_LINES or len(old) + len(new) > 10 * PLAIN_LIMIT:
        return None
    lines: list[DiffLine] = []
    added = removed = 0
    for number, group in enumerate(SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(DIFF_CONTEXT)):
        if number:
            lines.append(DiffLine("gap", "\u22ef"))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                lines += [DiffLine("", line) for line in before[old_from:old_to]]
                continue
            lines += [DiffLine("del", line) for line in before[old_from:old_to]]
            lines += [DiffLine("add", line) for line in after[new_from:new_to]]
            removed += old_to - old_from
            added += new_to - new_from
    return Diff(lines, added, removed)
