"""Mark the words that a search looked for in HTML that is safe already. Pure."""

from __future__ import annotations

import re
from html import escape, unescape

from django.utils.safestring import SafeString, mark_safe

# a tag with its quoted attributes, in which a ">" may stand
_TAG = re.compile(r"""(<[^>"']*(?:"[^"]*"[^>"']*|'[^']*'[^>"']*)*>)""")


def mark(html: SafeString, text: str) -> SafeString:
    """Return the HTML with every occurrence of the text in <mark>, whatever its case; one that runs over a tag stays unmarked.

    Only what stands between tags is touched: it is read as text, cut, and escaped again, so that no markup can come out of it.
    """
    if not text:
        return html
    wanted = re.compile(re.escape(text), re.IGNORECASE)
    pieces = _TAG.split(html)
    for at in range(0, len(pieces), 2):
        words = unescape(pieces[at])
        if wanted.search(words):
            pieces[at] = _marked(words, wanted)
    return mark_safe("".join(pieces))


def _marked(words: str, wanted: re.Pattern[str]) -> str:
    pieces, last = [], 0
    for found in wanted.finditer(words):
        pieces.append(f"{escape(words[last : found.start()])}<mark>{escape(found[0])}</mark>")
        last = found.end()
    return "".join([*pieces, escape(words[last:])])
