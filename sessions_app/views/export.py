"""One session as a file."""

from __future__ import annotations

import uuid

from django.core.exceptions import BadRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe

from sessions_app import access, exporting
from sessions_app.htmx import SignedInRequest


@require_safe
def session_export(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponseBase:
    """Send the session as an attachment, as it is written: `?format=json` (default), `md` or `html`."""
    session = access.session_or_404(request.user, session_id)
    name = request.GET.get("format", "json")
    if name not in exporting.FORMATS:
        raise BadRequest(f"There is no format {name[:20]!r}; there are {', '.join(exporting.FORMATS)}.")
    content_type = exporting.FORMATS[name].content_type
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=content_type)
    else:
        response = StreamingHttpResponse(exporting.export(session, name, now=timezone.now()), content_type=content_type)
    response["Content-Disposition"] = exporting.content_disposition(exporting.file_name(session, name))
    # A stranger's text: a browser that showed it all the same would show a document without an origin, which may do nothing. nosniff is on every answer.
    response["Content-Security-Policy"] = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    response["Cache-Control"] = "private, no-store"
    return response
