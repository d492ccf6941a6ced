"""The list of sessions, and what one does to a row of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from sessions_app import access, queries, services
from sessions_app.forms import STATES, SessionFilter, SessionFilterForm, WantedForm
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.models import Session
from sessions_app.templatetags.sessionsite import day_name
from sessions_app.views.page import render_page

PAGE_SIZE = 50


@require_safe
def session_list(request: SignedInRequest) -> HttpResponse:
    """Show one page of the list. htmx gets the list alone, when it turns the page."""
    now = timezone.now()
    rail = queries.rail_counts(request.user)
    channels = {channel.slug: channel for channel, _ in rail.channels}
    chosen = SessionFilterForm(request.GET).session_filter(set(channels))
    page = queries.session_page(
        queries.SessionFilter(status=chosen.state, channel=chosen.channel, unread=chosen.unread),
        viewer=request.user,
        after=chosen.after or None,
        limit=PAGE_SIZE,
    )
    context = {
        "now": now,
        "rail": rail,
        "chosen": chosen,
        "query": chosen.query(after=chosen.after),
        "heading": channels[chosen.channel].label if chosen.section.startswith("channel:") else STATES[chosen.state],
        "state_label": STATES[chosen.state],
        "channel": channels.get(chosen.channel),
        "rows": with_days(access.with_may_change(request.user, page.rows), now),
        "row_count": len(page.rows),
        "unread_count": sum(row.unread for row in page.rows),  # type: ignore[attr-defined]
        "next_query": chosen.query(after=page.next_cursor) if page.next_cursor else "",
        "first_query": chosen.query(),
        "links": filter_links(chosen),
        "is_empty_store": not rail.all,
    }
    if wants_fragment(request):
        return render_fragment(request, "sessions_app/session_list.html#session-list", context | {"oob_count": True})
    return render_page(request, "sessions_app/session_list.html", context, section=chosen.section)


def with_days(rows: Iterable[Session], now: Any) -> list[tuple[str, Session]]:
    """Pair each row with the day's name where a new day begins; today needs none."""
    today, last, paired = timezone.localtime(now).date(), timezone.localtime(now).date(), []
    for row in rows:
        day = timezone.localtime(row.last_message_at).date()
        # a sender's clock may run ahead: the future stands with today
        paired.append((day_name(day, today) if day != last and day < today else "", row))
        last = day
    return paired


def filter_links(chosen: SessionFilter) -> dict[str, str]:
    """Return the query strings that change one thing of the list."""
    return {
        "any_read": chosen.query(unread=None),
        "unread": chosen.query(unread=True),
        "read": chosen.query(unread=False),
        "without_channel": chosen.query(channel=""),
    }


@require_POST
def session_read(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Mark a session read (read=1) or unread (read=0) for this viewer."""
    session = access.session_or_404(request.user, session_id)
    wanted = WantedForm.of(request.POST, "read")
    if wanted is None:
        return HttpResponse("read must be 1 or 0", status=422, content_type="text/plain; charset=utf-8")
    services.mark_read(session.pk, wanted, viewer=request.user)
    on_transcript = request.POST.get("on") == "transcript"
    if not wants_fragment(request):
        # Marked unread on its page, one goes back to the list: staying would read it again.
        return redirect(session) if on_transcript and wanted else redirect_to_list(request)
    partial = "sessions_app/session_detail.html#session-read" if on_transcript else "sessions_app/session_list.html#session-row"
    return render_row(request, session_id, partial)


@require_POST
def session_archive(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Take a session out of the list (archived=1) or put it back (archived=0)."""
    session = access.session_to_change(request.user, session_id)
    wanted = WantedForm.of(request.POST, "archived")
    if wanted is None:
        return HttpResponse("archived must be 1 or 0", status=422, content_type="text/plain; charset=utf-8")
    services.archive_session(session.pk, wanted)
    undo = f"{reverse('sessions:archive', args=[session.pk])}?{request.GET.urlencode()}"
    if not wants_fragment(request):
        messages.success(request, "Archived." if wanted else "Back in the list.", extra_tags=undo if wanted else "")
        return redirect_to_list(request)
    # The row leaves the list, so nothing takes its place; the toast and the counts come out of band.
    context = {
        "undo": undo if wanted else "",
        "words": "Archived." if wanted else "Back in the list.",
        "unread": queries.rail_counts(request.user).unread,
    }
    return render_fragment(request, "sessions_app/session_list.html#session-gone", context)


@require_POST
def read_all(request: SignedInRequest) -> HttpResponse:
    """Mark everything read for this viewer."""
    services.mark_all_read(request.user)
    return redirect_to_list(request)


def redirect_to_list(request: SignedInRequest) -> HttpResponse:
    """Go back to the list as it was: the POST's own query string is the list's."""
    chosen = SessionFilterForm(request.GET).session_filter({request.GET.get("channel", "")})
    query = chosen.query(after=chosen.after)
    return redirect(f"{reverse('sessions:list')}?{query}" if query else reverse("sessions:list"))


def render_row(request: SignedInRequest, session_id: uuid.UUID, partial: str) -> HttpResponse:
    """Read the row again through the page's own query and render it, with the unread count out of band."""
    (row,) = access.with_may_change(request.user, [access.row_or_404(request.user, session_id)])
    context = {
        "session": row,
        "now": timezone.now(),
        "query": request.GET.urlencode(),
        "unread": queries.rail_counts(request.user).unread,
        "oob": True,
    }
    return render_fragment(request, partial, context)
