"""One session's transcript: a window of it, its outline, a search inside it, its tail while it goes on; and what one does to it there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from sessions_app import access, services, turns
from sessions_app.errors import SessionAlreadyOpen, SessionError
from sessions_app.forms import WantedForm
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.models import Message, Session
from sessions_app.money import ZERO
from sessions_app.queries import reading
from sessions_app.queries.reading import Place, SubAgentRow, Window
from sessions_app.views import filters
from sessions_app.views.page import render_page

# What this page reads of its query string; everything else is the list's that one came from, and is carried along.
OWN = ("at", "newer", "older", "tail", "show", "find", "thread", "turn")
FIND_LENGTH = 200
START, END, NEW = "start", "end", "new"
STOP_POLLING = 286
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Asked:
    """The page's own words of the query string, checked; what is not known reads as not there. at: a message's number, END or NEW."""

    at: str = ""
    newer: Place | None = None
    older: Place | None = None
    tail: str = ""
    show: str = "all"
    find: str = ""
    thread: str = ""
    turn: int = 0
    place_is_unknown: bool = False

    @classmethod
    def of(cls, data: QueryDict) -> Asked:
        newer, older = (reading.place_of(data.get(name, "")) for name in ("newer", "older"))
        at, tail, turn = data.get("at", ""), data.get("tail", ""), data.get("turn", "")
        is_place = at in ("", END, NEW) or (_is_number(at) and int(at) <= LARGEST_ID)
        unknown = not is_place or (newer is None and bool(data.get("newer"))) or (older is None and bool(data.get("older")))
        return cls(
            at=at if is_place else "",
            newer=newer,
            older=older if newer is None else None,
            tail=tail if tail == START or reading.place_of(tail) is not None else "",
            show=data.get("show", "") if data.get("show") in reading.MODES else "all",
            find=data.get("find", "").strip()[:FIND_LENGTH].replace("\x00", ""),
            thread=data.get("thread", "")[:100].replace("\x00", ""),
            turn=int(turn) if _is_number(turn) else 0,
            place_is_unknown=unknown,
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


@dataclass(slots=True)
class Found:
    """A search inside the session. current: the match that is shown, number: which that is, from 1; None and 0 when the place shown is none."""

    text: str
    pks: list[int]
    is_cut: bool
    current: int | None
    number: int

    @property
    def previous(self) -> int | None:
        return self.pks[self.number - 2] if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.pks[self.number] if self.number < len(self.pks) else None


@dataclass(frozen=True, slots=True)
class Mark:
    """One entry of the outline. anchor: the id of its element; pk: the message to ask for, where that is not on the page."""

    anchor: str
    pk: int
    line: str
    entry: Any


# --- the page ----------------------------------------------------------------------------------------------------------


@require_safe
def session_detail(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Show a window of a transcript. htmx gets what it asks for: the pane, the entries, a further window, a sub-agent's thread, or the tail.
    The GET marks nothing read: the page sends a POST."""
    session = access.row_or_404(request.user, session_id)
    asked = Asked.of(request.GET)
    context = {"session": session, "now": timezone.now(), "asked": asked, **_links(session, request.GET, asked)}
    if asked.turn:
        pk = reading.message_of_turn(session, asked.turn)
        return HttpResponseRedirect(f"{context['base']}at={pk}#m{pk}" if pk is not None else f"{context['base']}at={LARGEST_ID}")
    is_fragment = wants_fragment(request)
    if is_fragment and asked.tail:
        return _tail(request, session, asked, context)
    if (
        is_fragment
        and request.htmx.target not in ("entries", "reading-parts", "reading-pane")
        and (asked.newer or asked.older or asked.thread)
    ):
        # what goes on in one direction has no link back into the other
        one_way = {"older": ""} if asked.newer else {"newer": "", "is_end": False} if asked.older else {}
        return render_fragment(
            request, "sessions_app/session_detail.html#transcript-page", context | _entries(session, asked, context["base"]) | one_way
        )
    context |= _around(request, session, asked, context["base"])
    if is_fragment and request.htmx.target == "entries":
        return render_fragment(request, "sessions_app/session_detail.html#entries", context)
    context |= _frame(request, session, context)
    if is_fragment:
        return render_fragment(request, "sessions_app/session_detail.html#reading-pane", context)
    return render_page(request, "sessions_app/session_detail.html", context, section="")


def _links(session: Session, data: QueryDict, asked: Asked) -> dict[str, Any]:
    """Return the beginnings of the page's links: `base` with the list's query string, `base_here` with the mode, search and thread as well. Both
    end so that a further name can follow."""
    rest = data.copy()
    for name in OWN:
        rest.pop(name, None)
    query = rest.urlencode()
    path = session.get_absolute_url()
    base = f"{path}?{query}&" if query else f"{path}?"
    own = {"show": asked.show if asked.show != "all" else "", "find": asked.find, "thread": asked.thread}
    here = _query(**own)
    words = {"all": "Everything", "conversation": "Conversation", "tools": "Tools", "errors": "Errors"}
    return {
        "query": query,
        "list_fields": [(name, value) for name, values in rest.lists() for value in values],
        "base": base,
        "base_here": f"{base}{here}&" if here else base,
        "modes": [
            (words[name], f"{base}{_query(**own | {'show': name if name != 'all' else ''})}", name == asked.show) for name in reading.MODES
        ],
        "back": filters.list_path(query),
    }


def _query(**values: str) -> str:
    found = QueryDict(mutable=True)
    found.update({name: value for name, value in values.items() if value})
    return found.urlencode()


def _around(request: SignedInRequest, session: Session, asked: Asked, base: str) -> dict[str, Any]:
    """Return the window around the place that was asked for, and the search inside."""
    found = _found(session, asked) if asked.find else None
    read_at = reading.last_read(session, request.user) if asked.show == "all" and not asked.thread else None
    seen = reading.last_seen(session, read_at) if read_at is not None else None
    at = asked.at or (str(found.current) if found is not None and found.current is not None else "")
    message = None
    if at == NEW:
        message = reading.first_new(session, seen) if seen is not None else None
    elif at and at != END:
        message = reading.find_message(session, int(at))
    unknown = asked.place_is_unknown or (at not in ("", NEW, END) and message is None)
    totals = reading.totals(session)
    from_end = at == END or (at == NEW and message is None)
    context = _entries(session, asked, base, message=message, from_end=from_end, seen=seen, found=found, totals=totals)
    return context | {"found": found, "place_is_unknown": unknown, "totals": totals}


def _found(session: Session, asked: Asked) -> Found:
    """Search inside the session. The match asked for is shown, else the first."""
    matches = reading.matches(session, asked.find)
    pks = [match.pk for match in matches[: reading.MATCHES]]
    wanted = int(asked.at) if _is_number(asked.at) else None
    current = wanted if wanted in pks else pks[0] if pks and not asked.at else None
    return Found(asked.find, pks, len(matches) > reading.MATCHES, current, pks.index(current) + 1 if current is not None else 0)


def _entries(
    session: Session,
    asked: Asked,
    base: str,
    *,
    message: Message | None = None,
    from_end: bool = False,
    seen: int | None = None,
    found: Found | None = None,
    totals: reading.Totals | None = None,
) -> dict[str, Any]:
    """Return one window as a reader sees it. message: what it stands around, with the sub-agents opened in which that was said."""
    rows = reading.subagents(session, totals)
    at, opened = _place(session, rows, message, asked) if message is not None else (None, {})
    window = reading.window(session, thread=asked.thread, show=asked.show, at=at, newer=asked.newer, older=asked.older, from_end=from_end)
    view = _view(session, window, rows, opened, asked, base, seen=seen)
    if found is not None:
        turns.mark_matches(view.entries, found.text, set(found.pks), project=session.project)
    first = reading.where(window.messages[0]) if window.messages else None
    is_alone = asked.show == "all" and not asked.thread
    return {
        "subagents": rows,
        "entries": view.entries,
        "window": window,
        "first": first,
        "older": first.cursor if window.before is not None and first is not None else "",
        "newer": window.after.cursor if window.after is not None else "",
        "is_end": window.after is None and asked.older is None,
        "tail": (window.last.cursor if window.last else START) if is_alone and window.after is None and not session.is_closed else "",
        "place": f"m{message.pk}" if message is not None else "tail" if from_end else "",
        "is_from_start": window.before is None,
    }


def _place(session: Session, rows: dict[str, SubAgentRow], message: Message, asked: Asked) -> tuple[Place, dict[str, Window]]:
    """Return where the message stands in the thread shown: there, or where the sub-agent began in whose thread it stands, whose windows around
    it come along."""
    place, name, opened = reading.where(message), message.subagent_id, {}
    while name != asked.thread and asked.show != "errors":
        row = rows.get(name)
        if row is None or name in opened:
            break
        opened[name] = reading.window(session, thread=name, at=place, show="all")
        place, name = reading.where(row.call) if row.call is not None else row.first, row.parent
    return place, opened


def _view(
    session: Session,
    window: Window,
    rows: dict[str, SubAgentRow],
    opened: dict[str, Window],
    asked: Asked,
    base: str,
    *,
    seen: int | None = None,
) -> turns.View:
    """Read what belongs to a window and stands elsewhere, and group it all."""
    shown = [*window.messages, *(message for one in opened.values() for message in one.messages)]
    threads = reading.short_threads(session, turns.nested(rows, window, shown, opened))
    shown += [message for some in threads.values() for message in some]
    pairs = reading.pairs(session, shown, with_calls=asked.show == "errors" or bool(asked.tail))
    before = reading.answer_before(session, asked.thread, window.before)
    usage = reading.usage_of(session, [*shown, *pairs.call_of.values(), *([before] if before is not None else [])])
    model = usage[before.response_id].model if before is not None and before.response_id in usage else ""
    return turns.build(
        window,
        usage=usage,
        pairs=pairs,
        subagents=rows,
        threads=threads,
        opened=opened,
        thread=asked.thread,
        show=asked.show,
        model_before=model,
        seen=seen,
        project=session.project,
        base=base,
    )


def _frame(request: SignedInRequest, session: Session, context: dict[str, Any]) -> dict[str, Any]:
    """Return what stands around the entries: head, toolbar, outline."""
    window: Window = context["window"]
    around = reading.where(window.messages[0]) if window.messages and window.before is not None else None
    found = reading.landmarks(session, around=around)
    rows: dict[str, SubAgentRow] = context["subagents"]
    outline = {
        "prompts": [Mark(f"m{row.pk}", row.pk, turns.line_of(row), row) for row in found.prompts],
        "errors": [Mark(f"m{row.pk}", row.pk, turns.error_line(row), row) for row in found.errors],
        "compactions": found.compactions,
        "subagents": [
            Mark(f"m{row.call.pk}" if row.call else f"s{row.first.pk}", row.call.pk if row.call else row.first.pk, turns.title_of(row), row)
            for row in list(rows.values())[: reading.LANDMARKS]
        ],
        "bars": found.bars,
        "cut": found.cut,
        "limit": reading.LANDMARKS,
    }
    now = context["now"]
    state = filters.list_state(request, [session.channel_id], now=now)
    previous, following = reading.neighbours(session, state.filter, viewer=request.user, now=now)
    return _head(request, session, context["totals"], rows) | {"outline": outline, "previous": previous, "next": following}


def _head(request: SignedInRequest, session: Session, totals: reading.Totals, rows: dict[str, SubAgentRow]) -> dict[str, Any]:
    return {
        "lasted": session.last_message_at - session.created_at,
        # the main thread's comes first, whatever the sub-agents used
        "models": sorted(totals.models, key=lambda model: model != session.model),
        "subagent_cost": sum((row.cost for row in rows.values()), ZERO),
        "subagent_count": len(rows),
        "may_change": access.may_change(request.user, session),
    }


def _tail(request: SignedInRequest, session: Session, asked: Asked, context: dict[str, Any]) -> HttpResponse:
    """Give what came after the tail: 204 for nothing, 286 with the last line once the session is closed."""
    place = reading.place_of(asked.tail)
    window = reading.window(session, newer=place)
    if not window.messages and not window.compactions and not session.is_closed:
        return HttpResponse(status=204)
    view = _view(session, window, reading.subagents(session) if window.messages else {}, {}, asked, context["base"])
    context |= {
        "entries": view.entries,
        "updates": view.updates,
        "window": window,
        "first": reading.where(window.messages[0]) if window.messages else None,
        "newer": window.after.cursor if window.after is not None else "",
        "is_end": window.after is None,
        "tail": (window.last.cursor if window.last else START) if window.after is None and not session.is_closed else "",
    }
    status = STOP_POLLING if session.is_closed and window.after is None else 200
    return render_fragment(request, "sessions_app/session_detail.html#transcript-tail", context, status=status)


# --- what one does to it ---------------------------------------------------------------------------------------------------


@require_POST
def session_close(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Close a session (closed=1) or open it again (closed=0)."""
    session = access.session_to_change(request.user, session_id)
    wanted = WantedForm.of(request.POST, "closed")
    if wanted is None:
        return HttpResponse("closed must be 1 or 0", status=422, content_type="text/plain; charset=utf-8")
    try:
        (services.close_session if wanted else services.reopen_session)(session.pk)
    except SessionAlreadyOpen as error:
        return _changed(request, session.pk, complaint=f"It stays closed: another session is open under its key. {error}")
    return _changed(request, session.pk, event="sessionClosed" if wanted else "sessionsChanged")


@require_POST
def session_facts(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Name a session (title) and give it tags (tags, parted by commas)."""
    session = access.session_to_change(request.user, session_id)
    try:
        if "tags" in request.POST:
            services.set_tags(session.pk, [word.strip() for word in request.POST["tags"].split(",") if word.strip()])
        if "title" in request.POST and request.POST["title"].strip() != session.title:
            services.rename_session(session.pk, request.POST["title"])
    except SessionError as error:
        return _changed(request, session.pk, complaint=str(error))
    return _changed(request, session.pk, event="sessionsChanged")


def _changed(request: SignedInRequest, session_id: uuid.UUID, *, event: str = "", complaint: str = "") -> HttpResponse:
    """Show the session's head and toolbar again, read through the page's own query."""
    session = access.row_or_404(request.user, session_id)
    if not wants_fragment(request):
        if complaint:
            messages.error(request, complaint)
        query = request.GET.urlencode()
        return redirect(f"{session.get_absolute_url()}?{query}" if query else session.get_absolute_url())
    totals = reading.totals(session)
    asked = Asked.of(request.GET)
    context = {"session": session, "now": timezone.now(), "asked": asked, "complaint": complaint, **_links(session, request.GET, asked)}
    context |= _head(request, session, totals, reading.subagents(session, totals)) | {"oob": True}
    response = render_fragment(request, "sessions_app/session_detail.html#session-changed", context, status=422 if complaint else 200)
    return trigger_client_event(response, event) if event else response
