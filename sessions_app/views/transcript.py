"""One session's transcript, and the whole text of one of its messages."""

from __future__ import annotations

import uuid

from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from sessions_app import access, queries, tool_calls, turns
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.queries import cursors
from sessions_app.views.page import render_page

PAGE_SIZE = 200


@require_safe
def session_detail(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Show one page of a transcript. htmx gets the entries alone and appends them. The GET marks nothing read: the page sends a POST."""
    session = access.row_or_404(request.user, session_id)
    asked = request.GET.get("after", "")
    after = asked if cursors.decode(asked) else ""
    page = queries.transcript(session, after=after or None, limit=PAGE_SIZE)
    view = turns.build(page.items, page.usage, project=session.project)
    context = {
        "now": timezone.now(),
        "session": session,
        "lasted": session.last_message_at - session.created_at,
        "entries": view.entries,
        "outline": view.outline,
        "is_first_page": not after,
        "place_is_unknown": asked != after,
        "next_cursor": page.next_cursor,
        "may_change": access.may_change(request.user, session),
        "query": "",
    }
    if wants_fragment(request):
        return render_fragment(request, "sessions_app/session_detail.html#transcript-page", context)
    return render_page(request, "sessions_app/session_detail.html", context, section="")


@require_safe
def message_text(request: SignedInRequest, session_id: uuid.UUID, message_id: int) -> HttpResponse:
    """Give one message's whole text as plain text: the transcript shows long ones cut."""
    session = access.session_or_404(request.user, session_id)
    message = queries.get_message(session, message_id)
    if message is None:
        raise Http404
    text = message.content
    if message.role == "tool_use":
        text = tool_calls.pretty_arguments(text)
    elif message.role == "tool_result":
        text = tool_calls.tool_output(text)
    # never HTML, whatever the text says: the type is fixed and browsers are told not to guess (SecurityMiddleware: nosniff)
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
