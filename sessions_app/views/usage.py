"""What one session used, by model and by tool."""

from __future__ import annotations

import uuid

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from sessions_app import access, queries
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.views.page import render_page


@require_safe
def session_usage(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Show the two tables: as a page of their own, and to htmx alone, for the fold in the transcript's header. Read when asked for: they cost a
    pass over the whole session."""
    session = access.row_or_404(request.user, session_id)
    context = {"session": session, "models": queries.models_of_session(session), "tools": queries.tools_of_session(session)}
    if wants_fragment(request):
        return render_fragment(request, "sessions_app/session_usage.html#usage-tables", context)
    return render_page(request, "sessions_app/session_usage.html", context, section="")
