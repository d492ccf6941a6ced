"""What every whole page of the site needs beside its own content."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from sessions_app import queries
from sessions_app.forms import ListState
from sessions_app.htmx import SignedInRequest
from sessions_app.models import SavedView


@dataclass(frozen=True, slots=True)
class RailView:
    """A saved view as the rail links it. query: the list's; section: what marks it as current; unread: "4", "1,000+", "" for none."""

    view: SavedView
    query: str
    section: str
    unread: str
    may_change: bool
    is_default: bool


def rail_context(request: SignedInRequest) -> dict[str, Any]:
    """Return what _rail.html shows beside `section`: the counts of the places and channels, and the saved views."""
    views = []
    for link in queries.views_for(request.user):
        period = link.view.fields.get("period", "")
        query = ListState(replace(link.filter, since=None, until=None) if period else link.filter, period).query()
        unread = f"{link.unread:,}{'' if link.is_exact else '+'}" if link.unread else ""
        may_change = link.is_own or request.user.is_staff
        views.append(RailView(link.view, query, f"view:{link.view.pk}", unread, may_change, link.is_default))
    return {"rail": queries.rail_counts(request.user), "views": views}


def render_page(request: SignedInRequest, template: str, context: dict[str, Any], *, section: str, status: int = 200) -> HttpResponse:
    """Render a whole page: `context` plus the rail's counts, the clock and the rail's current entry.

    section: a status, "channel:<slug>", "view:<id>", "costs" or "": what the rail marks as current.
    Costs the queries of `rail_context`, unless the view has them already and passes them on.
    """
    defaults: dict[str, Any] = {"now": timezone.now(), "section": section, "preference": queries.preference_of(request.user)}
    if "rail" not in context:
        defaults |= rail_context(request)
    response = render(request, template, defaults | context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
