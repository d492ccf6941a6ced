"""Go anywhere by typing: places, saved views, channels and sessions, as a page of its own and as the options of the command palette."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from sessions_app import queries
from sessions_app.forms import STATUS_WORDS
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.models import Session
from sessions_app.templatetags.sessionsite import CHANNEL_ICONS, ago_text
from sessions_app.views.page import rail_context, render_page

MAX_SESSIONS = 8
MAX_PLACES = 12
MAX_QUERY = 200  # characters
STATUS_ICONS = {
    "inbox": "inbox",
    "all": "layers",
    "open": "circle-dot",
    "closed": "circle-check",
    "stale": "hourglass",
    "archived": "archive",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to go to. kind: what it is, in a word. hint: what tells two of one title apart. key: the key that goes there, "" for none."""

    kind: str
    title: str
    url: str
    icon: str
    hint: str = ""
    key: str = ""


@require_safe
def go(request: SignedInRequest) -> HttpResponse:
    """Show what ?q= finds. htmx and the palette get the options alone."""
    words = request.GET.get("q", "").replace("\x00", "").strip()[:MAX_QUERY]
    rail = rail_context(request)
    places = [choice for choice in _places(request, rail) if _matches(words, f"{choice.kind} {choice.title}")]
    sessions, searched_all = _sessions(request, words)
    context = {
        "words": words,
        "choices": [*places[:MAX_PLACES], *sessions] if not _is_id(words) else [*sessions, *places],
        "is_cut": not searched_all,
        "search_query": urlencode({"status": "all", "q": words}),
    }
    if wants_fragment(request):
        return render_fragment(request, "sessions_app/go.html#choices", context | {"is_palette": True})
    return render_page(request, "sessions_app/go.html", context | rail, section="")


def _matches(words: str, text: str) -> bool:
    """Tell whether every word stands in the text, each as the beginning of one of its words."""
    parts = text.casefold().replace("-", " ").replace(":", " ").split()
    return all(any(part.startswith(word) for part in parts) for word in words.casefold().replace("-", " ").replace(":", " ").split())


def _places(request: SignedInRequest, rail: dict[str, Any]) -> Iterator[Choice]:
    """Yield what the rail leads to and the filters that need no value. The rail's own reads, no more."""
    base = reverse("sessions:list")
    keys = {"inbox": "g i", "all": "g a"}
    for status, words in STATUS_WORDS.items():
        # the whole inbox, also for someone whose default view is another
        yield Choice("Go to", words, f"{base}?status={status}", STATUS_ICONS[status], key=keys.get(status, ""))
    yield Choice("Go to", "Costs", reverse("costs:overview"), "chart-column", key="g c")
    if request.user.is_staff:
        yield Choice("Go to", "Admin", reverse("admin:index"), "settings-2")
    for title, query in (
        ("Unread", "read=unread"),
        ("With errors", "errors=1"),
        ("Today", "period=today"),
        ("Yesterday", "period=yesterday"),
        ("Last 7 days", "period=7d"),
        ("Started by a schedule", "trigger=cron"),
        ("Dearest first", "sort=cost"),
    ):
        yield Choice("Filter", title, f"{base}?{query}", "list-filter")
    for link in rail["views"]:
        yield Choice("View", link.view.name, f"{base}?{link.query}" if link.query else f"{base}?status=inbox", "bookmark")
    for channel, _ in rail["rail"].channels:
        yield Choice(
            "Channel", channel.label, f"{base}?{urlencode({'channel': channel.pk})}", CHANNEL_ICONS.get(channel.pk, "message-circle")
        )


def _is_id(words: str) -> bool:
    try:
        UUID(words)
    except ValueError:
        return False
    return True


def _sessions(request: SignedInRequest, words: str) -> tuple[list[Choice], bool]:
    """Return the sessions that the words name, newest first, by id or by a part of title, key or summary, and whether the search went through all of
    them: it costs no more than the list's bounded one."""
    now = timezone.now()
    if not words:
        return [], True
    if _is_id(words):
        found = queries.get_session(words, viewer=request.user)
        return ([_session(found, now)] if found else []), True
    page = queries.session_page(queries.SessionFilter(status="all", text=words), viewer=request.user, limit=MAX_SESSIONS, now=now)
    # the newest of them, and of these first those that a word of the title leads to
    rows = sorted(page.rows, key=lambda row: not _matches(words, row.title))
    return [_session(row, now) for row in rows], page.searched_to is None and page.next_cursor is None


def _session(session: Session, now: datetime) -> Choice:
    facts = [session.channel.label, session.user_id, ago_text(session.last_message_at, now)]
    return Choice("Session", session.title or "Untitled session", session.get_absolute_url(), "message-square", hint=" · ".join(facts))
