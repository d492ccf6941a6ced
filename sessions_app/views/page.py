"""What every whole page of the site needs beside its own content."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from sessions_app import queries
from sessions_app.htmx import SignedInRequest


def render_page(request: SignedInRequest, template: str, context: dict[str, Any], *, section: str, status: int = 200) -> HttpResponse:
    """Render a whole page: `context` plus the rail's counts, the clock and the rail's current entry.

    section: "inbox", "all", "open", "closed", "archived", "channel:<slug>", "costs" or "": what the rail marks as current.
    Costs the query of the counts, unless the view has them already and passes them as `rail`.
    """
    defaults: dict[str, Any] = {"now": timezone.now(), "section": section}
    if "rail" not in context:
        defaults["rail"] = queries.rail_counts(request.user)
    response = render(request, template, defaults | context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
