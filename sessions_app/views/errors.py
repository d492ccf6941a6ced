"""The pages of a refusal, in the colours that their reader chose."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from sessions_app import queries


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404: not there, or not yours."""
    return _refusal(request, "404.html", 404)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403: seen, and not yours to change."""
    return _refusal(request, "403.html", 403)


def _refusal(request: HttpRequest, template: str, status: int) -> HttpResponse:
    user = getattr(request, "user", None)  # a path that no middleware let through has none
    preference = queries.preference_of(user) if user is not None and user.is_authenticated else None
    return render(request, template, {"preference": preference}, status=status)
