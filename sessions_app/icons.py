"""The icons of the pages: lucide's shapes, once per page in a hidden sprite, used by `<svg class="icon"><use href="#i-name"/></svg>`.

One fixed list instead of collecting what a page used: a fragment that htmx swaps in later finds its icon already there. About 10 kB
per page before compression, made once per process.
"""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree

from django.utils.safestring import SafeString, mark_safe
from lucide import _load_icon

ICONS = (
    "archive",
    "archive-restore",
    "arrow-down",
    "arrow-up",
    "arrow-up-down",
    "arrow-up-right",
    "bookmark",
    "bookmark-plus",
    "bot",
    "brain",
    "chart-column",
    "check",
    "chevron-down",
    "chevron-left",
    "chevron-right",
    "circle",
    "circle-check",
    "circle-dashed",
    "circle-dot",
    "circle-x",
    "clipboard-list",
    "clock",
    "coffee",
    "copy",
    "download",
    "file",
    "ellipsis",
    "file-pen-line",
    "file-text",
    "fold-vertical",
    "folder-git-2",
    "folder-open",
    "globe",
    "hash",
    "heart-pulse",
    "image",
    "hourglass",
    "inbox",
    "keyboard",
    "layers",
    "list-filter",
    "log-out",
    "mail",
    "mail-open",
    "menu",
    "message-circle",
    "message-square",
    "monitor",
    "moon",
    "pencil",
    "plus",
    "rows-2",
    "rows-4",
    "search",
    "send",
    "settings-2",
    "share-2",
    "square-terminal",
    "star",
    "sun",
    "table",
    "tag",
    "terminal",
    "text-search",
    "timer",
    "trash-2",
    "triangle-alert",
    "undo-2",
    "user",
    "users",
    "wrench",
    "x",
)
_KNOWN = frozenset(ICONS)


@cache
def icon(name: str, extra_class: str = "") -> SafeString:
    """Return the markup of one icon. An unknown name raises, so that a missing icon is found by the first test of its page."""
    if name not in _KNOWN:
        raise KeyError(f"{name!r} is not in sessions_app.icons.ICONS")
    css = f"icon {extra_class}".strip()
    return mark_safe(f'<svg class="{css}" aria-hidden="true"><use href="#i-{name}"/></svg>')


@cache
def sprite() -> SafeString:
    """Return the hidden sprite of every icon in ICONS."""
    symbols = []
    for name in ICONS:
        # the package's own tag renders a whole <svg>; its loader gives the shapes
        shapes = "".join(ElementTree.tostring(child, encoding="unicode").strip() for child in _load_icon(name))
        symbols.append(f'<symbol id="i-{name}" viewBox="0 0 24 24">{shapes}</symbol>')
    return mark_safe(f"<svg hidden>{''.join(symbols)}</svg>")
