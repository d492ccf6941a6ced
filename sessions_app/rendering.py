"""Turn a message's text into safe HTML. Pure: no database, no request.

Transcript text is a stranger's text: models and tools write it. Markdown is rendered with raw HTML switched off, then sanitised again
against a short list of tags, so that a mistake in either is caught by the other. What comes out loads nothing from anywhere, runs
nothing, links only to http, https and mailto, and carries no id, no style and no class but our own.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from html import escape
from threading import Lock
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
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
    size: int = 0  # bytes of the whole text as UTF-8, counted only where it is cut; of what was not read, characters

    @property
    def is_cut(self) -> bool:
        return self.shown < self.total

    @property
    def size_text(self) -> str:
        return size_text(self.size)


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


TASK = re.compile(r"\[([ xX])\](?=\s|$)")


def _task_lists(state: StateCore) -> None:
    """Give an item that begins with [ ] or [x] its box. A character, not an <input>: nothing here can be ticked."""
    tokens = state.tokens
    for at in range(2, len(tokens)):
        token = tokens[at]
        if token.type != "inline" or tokens[at - 1].type != "paragraph_open" or tokens[at - 2].type != "list_item_open":
            continue
        first = token.children[0] if token.children else None
        if first is not None and first.type == "text" and (found := TASK.match(first.content)):
            first.content = ("\u2610" if found[1] == " " else "\u2611") + first.content[found.end() :]
            tokens[at - 2].attrSet("class", "is-task")


@cache
def _markdown() -> MarkdownIt:
    # maxNesting: how deep quotes and lists may stand in each other; deeper ones are text
    options = {"html": False, "linkify": True, "breaks": True, "maxNesting": 20}
    markdown = MarkdownIt("commonmark", options, renderer_cls=_Renderer).enable(["table", "strikethrough", "linkify"])
    # only whole addresses: "views.py" and "README.md" are files here, not sites in Paraguay and Moldova
    markdown.core.ruler.push("task_lists", _task_lists)
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
        allowed_classes={
            "span": set(classes),
            "div": {"table-scroll"},
            "li": {"is-task"},
            "h3": {"is-minor"},
            "td": {"num"},
            "th": {"num"},
        },
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
    """Return at most `limit` characters, ending at a line if one ends in the last fifth. A text that is only a little longer stays whole."""
    if len(text) <= limit * 5 // 4:
        return text
    end = text.rfind("\n", limit * 4 // 5, limit)
    return text[: end if end > 0 else limit]


def prose(text: str, limit: int = PROSE_LIMIT, *, left_out: int = 0) -> Shown:
    """Render Markdown to safe HTML, for an element of class `prose`. left_out: characters that come after `text` and were not read."""
    part = _cut(text, limit)
    key = blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    html = _kept.get(key)
    if html is None:
        # a character that hides may also come out of an entity (&#x202e;), so it is looked for in what was made of it
        html = mark_safe(_cleaner().clean(visible(_markdown().render(part))))
        _kept.put(key, html)
    return _shown(html, part, text, left_out)


def plain(text: str, limit: int = PLAIN_LIMIT, *, left_out: int = 0) -> Shown:
    """Escape text as it stands, for a `pre`; a terminal's colours become classes. left_out: as above."""
    part = _cut(text, limit)
    return _shown(mark_safe(_coloured(part) if "\x1b[" in part else escape(visible(part))), part, text, left_out)


def _shown(html: SafeString, part: str, text: str, left_out: int) -> Shown:
    is_cut = left_out or len(part) < len(text)
    size = len(text.encode("utf-8", "surrogatepass")) + left_out if is_cut else 0
    return Shown(html, len(part), len(text) + left_out, size)


# --- what hides ----------------------------------------------------------------------------------------------------------

# Control characters, and what changes the order of what is read or is not seen at all: overrides and isolates of direction, marks, blanks
# without width, tags, selectors that carry bytes. The joiners stay between letters that need them (Persian, Hindi, emoji); so do the
# selectors after an ideograph.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e00ff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d\ufe00-\ufe0d]|[\u200c\u200d](?![^\x00-\x7f])"
    "|(?<![\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    """Return the text with what hides in it shown: a control character as its picture, any other as its number in angle brackets. The marks
    hold no character that HTML knows, so that this may run before and after escaping."""
    if text.isascii() and text.isprintable():
        return text
    return HIDDEN.sub(_mark, text.replace("\r\n", "\n"))


def _mark(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\u27e8U+{code:04X}\u27e9"


# A terminal's colour (SGR). Every other sequence moves the cursor, sets a title or links: shown by its picture, and never obeyed.
COLOUR = re.compile(r"\x1b\[([0-9;:]{0,40})m")


def _coloured(text: str) -> str:
    pieces: list[str] = []
    css = ""
    bold, colour = False, ""
    at = 0
    for found in COLOUR.finditer(text):
        _piece(pieces, text[at : found.start()], css)
        at = found.end()
        codes = found[1].replace(":", ";").split(";")
        step = 0
        while step < len(codes):
            code = int(codes[step] or 0)
            if code == 0:
                bold, colour = False, ""
            elif code in (1, 22):
                bold = code == 1
            elif 30 <= code <= 37 or 90 <= code <= 97:
                colour = f"ansi-{code % 10}"
            elif code == 39:
                colour = ""
            elif code in (38, 48):
                # 5;n or 2;r;g;b: of 256 or more colours none is ours, and its numbers are no codes
                step += 2 if codes[step + 1 : step + 2] == ["5"] else 4
            step += 1
        css = " ".join(filter(None, (colour, "ansi-bold" if bold else "")))
    _piece(pieces, text[at:], css)
    return "".join(pieces)


def _piece(pieces: list[str], text: str, css: str) -> None:
    if text:
        shown = escape(visible(text))
        pieces.append(f'<span class="{css}">{shown}</span>' if css else shown)


def size_text(size: int) -> str:
    """Return 812 bytes, 48 kB, 5.2 MB."""
    if size < 1_000:
        return f"{size} bytes"
    if size < 999_500:
        return f"{size / 1_000:.0f} kB"
    return f"{size / 1_000_000:.1f} MB"


def one_line(text: str, limit: int) -> str:
    """Return the text's beginning with runs of white space as one blank."""
    line = visible(" ".join(text[: 4 * limit].split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}\u2026"
