"""The one answer to "whole page or fragment?", and the requests' types."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_cache_control, patch_vary_headers
from django_htmx.middleware import HtmxDetails

PRELOADED_SECONDS = 10


class SignedInRequest(HttpRequest):
    """What a view of this site gets: SignInRequired let only users through, HtmxMiddleware left its details. For type hints only."""

    htmx: HtmxDetails
    user: User


def wants_fragment(request: HttpRequest) -> bool:
    """Tell whether htmx asked for a piece of the page. A boosted link and a history restore swap the whole body, so they get the page."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render_fragment(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """Render `page.html#partial`."""
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    if request.method == "GET" and request.headers.get("HX-Preloaded"):
        # What a hover fetched is what the click behind it shows, for PRELOADED_SECONDS (inbox.js has the same).
        patch_cache_control(response, private=True, max_age=PRELOADED_SECONDS)
    return response
