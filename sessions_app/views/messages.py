"""What belongs to one message: its whole text, its files."""

from __future__ import annotations

import uuid

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from sessions_app import access, pictures, queries, rendering, tool_calls
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.models import Message, Session

# Characters of Markdown that are formatted when all is asked for: half a second's work. What comes after is one link away, as plain text.
WHOLE_PROSE = 150_000


@require_safe
def message_text(request: SignedInRequest, session_id: uuid.UUID, message_id: int) -> HttpResponse:
    """Give one message's whole text: as plain text, and to htmx the piece of the page that shows all of it."""
    session = access.session_or_404(request.user, session_id)
    message = queries.get_message(session, message_id)
    if message is None:
        raise Http404
    if wants_fragment(request):
        return _whole(request, session, message)
    text = message.content
    if message.role == "tool_use":
        text = tool_calls.pretty_arguments(text)
    elif message.role == "tool_result":
        text = tool_calls.tool_output(text)
    # never HTML, whatever the text says: the type is fixed and browsers are told not to guess (SecurityMiddleware: nosniff)
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response.headers["Vary"] = "HX-Request"
    return response


def _whole(request: SignedInRequest, session: Session, message: Message) -> HttpResponse:
    if message.role in ("tool_use", "tool_result"):
        call, result = queries.call_and_result(session, message)
        context = {"call": tool_calls.describe(call, result, project=session.project, whole=True), "whole": True}
        return render_fragment(request, "sessions_app/_tool_parts.html", context)
    show = rendering.plain if message.role == "system" else rendering.prose
    limit = tool_calls.ALL_TEXT_LIMIT if message.role == "system" else WHOLE_PROSE
    return render_fragment(request, "sessions_app/_message.html", {"message": message, "text": show(message.content, limit), "whole": True})


@require_safe
def message_file(request: SignedInRequest, session_id: uuid.UUID, message_id: int, number: int) -> HttpResponse:
    """Give one file of a message: a picture of a plain format as what its first bytes say it is, anything else to be saved and not opened."""
    session = access.session_or_404(request.user, session_id)
    message = queries.get_message(session, message_id)
    found = pictures.read(message, number) if message is not None else None
    if found is None:
        raise Http404
    file, data = found
    response = HttpResponse(data, content_type=file.media_type if file.is_shown else "application/octet-stream")
    # a page of its own for whoever opens it, which may do nothing at all: no script, no request, no form, no origin
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    # SecurityMiddleware says it too; this one counts on it
    response.headers["X-Content-Type-Options"] = "nosniff"
    ending = pictures.suffix(file.media_type) if file.is_shown else "bin"
    kind = "inline" if file.is_shown else "attachment"
    response.headers["Content-Disposition"] = f'{kind}; filename="{session.pk}-{message_id}-{number}.{ending}"'
    # a message never changes; who may see it does
    response.headers["Cache-Control"] = "private, max-age=600"
    return response
