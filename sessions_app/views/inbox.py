"""The list of sessions: one page of it, and its state in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_safe
from django_htmx.http import replace_url

from sessions_app import access, queries, services
from sessions_app.day_rows import day_of
from sessions_app.forms import SORT_WORDS, STATUS_WORDS, ListState
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.models import Session
from sessions_app.queries import Total, cursors
from sessions_app.templatetags.sessionsite import day_name
from sessions_app.views import filters, live
from sessions_app.views.page import rail_context, render_page

PAGE_SIZE = 50


@require_safe
def session_list(request: SignedInRequest) -> HttpResponse:
    """Show one page of the list. htmx gets the list and, out of band, what tells its state; or the rows alone, when they go on below."""
    now = timezone.now()
    rail = rail_context(request)
    is_fragment = wants_fragment(request)
    if not request.GET and not is_fragment and (query := next((view.query for view in rail["views"] if view.is_default), "")):
        return redirect(filters.list_path(query))
    state = filters.list_state(request, filters.channels_of(rail["rail"]), now=now)
    if is_fragment and request.htmx.target == "next-rows":
        return render_fragment(request, "sessions_app/session_list.html#session-rows", rows_context(request, state, now))
    context = list_context(request, state, rail, now)
    if not is_fragment:
        context["unfinished"] = queries.unfinished_actions(request.user)
        return render_page(request, "sessions_app/session_list.html", context, section=context["section"])
    typed = request.htmx.trigger == "search-form"
    response = render_fragment(request, "sessions_app/session_list.html#session-list", context | {"oob": True, "typed": typed})
    return replace_url(response, filters.list_path(state.query())) if typed else response


def list_context(request: SignedInRequest, state: ListState, rail: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return what the list's page shows."""
    return head_context(request, state, rail, now) | rows_context(request, state, now)


def head_context(request: SignedInRequest, state: ListState, rail: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return what stands around the rows: the rail, the heading, the filters, how many there are."""
    channels = filters.channels_of(rail["rail"])
    total = queries.session_total(state.filter, viewer=request.user, now=now)
    unread = None
    if state.filter.unread is None:
        unread = queries.session_total(replace(state.filter, unread=True), viewer=request.user, now=now)
    view = next((view for view in rail["views"] if view.query == state.query()), None)
    section = view.section if view else state.section
    status = STATUS_WORDS[state.filter.status]
    heading = view.view.name if view else channels[state.filter.channel].label if section.startswith("channel:") else status
    return rail | {
        "now": now,
        "state": state,
        "query": state.query(after=state.after) or "status=inbox",  # of this page: what a form sends along, to come back to it
        "list_query": state.query() or "status=inbox",  # of the whole list, from its first page
        "list_path": filters.list_path(state.query()),
        "section": section,
        "heading": heading,
        "view": view,
        "chips": filters.chips(state, channels, day_of(now)),
        "count_words": count_words(total, unread),
        "total": total,
        "unread": unread,
        "unread_query": state.query(unread=True),
        "sort_words": SORT_WORDS[state.filter.sort],
        "sorts": filters.sort_options(state),
        "search_fields": filters.hidden_fields(state, text=""),
        "status_words": status.lower(),
        "is_empty_store": not rail["rail"].all,
        "own_views": [view.view for view in rail["views"] if view.may_change],
        "may_share": services.may_share(request.user),
    }


def rows_context(request: SignedInRequest, state: ListState, now: datetime) -> dict[str, Any]:
    """Return the rows of a page of the list, and where it goes on."""
    page = queries.session_page(state.filter, viewer=request.user, after=state.after or None, limit=PAGE_SIZE, now=now)
    is_first = not state.after and state.filter.sort == "activity"
    place = cursors.decode(page.searched_to) if page.searched_to else None
    return {
        "now": now,
        "state": state,
        "query": state.query(after=state.after) or "status=inbox",
        "list_query": state.query() or "status=inbox",
        "list_path": filters.list_path(state.query()),
        "rows": with_days(access.with_may_change(request.user, page.rows), state, now),
        "next_query": state.query(after=page.next_cursor) if page.next_cursor else "",
        "searched_query": state.query(after=page.searched_to) if page.searched_to else "",
        "live": live.live_of(request.user, state.query(), page.rows, is_first_page=is_first),
        "searched_to": place[0] if place and isinstance(place[0], datetime) else None,
    }


def count_words(total: Total, unread: Total | None) -> str:
    """Say how many sessions the list has, exactly where that is cheap: "214 sessions, 23 unread"."""
    if not total.count:
        # where only a part could be counted and held none, "0+" would say nothing
        return "No sessions" if total.is_exact else "Sessions, not counted"
    words = f"{total.count:,}{'' if total.is_exact else '+'} session{'' if total.count == 1 and total.is_exact else 's'}"
    if unread is None or not (unread.count or unread.is_exact):
        return words
    return f"{words}, {unread.count:,}{'' if unread.is_exact else '+'} unread"


def with_days(rows: Iterable[Session], state: ListState, now: datetime) -> list[tuple[str, Session]]:
    """Pair each row with the day's name where a new day begins; today needs none, nor does a list in another order."""
    if state.filter.sort != "activity":
        return [("", row) for row in rows]
    today = timezone.localdate(now)
    place = cursors.decode(state.after) if state.after else None
    last: date = timezone.localdate(place[0]) if place and isinstance(place[0], datetime) else today
    paired = []
    for row in rows:
        day = timezone.localdate(row.last_message_at)
        # a sender's clock may run ahead: the future stands with today
        paired.append((day_name(day, today) if day != last and day < today else "", row))
        last = day
    return paired
