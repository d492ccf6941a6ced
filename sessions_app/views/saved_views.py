"""Saved views: the list's filter under a name. Plain forms; each ends on a list that says what was done."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from sessions_app import queries, services
from sessions_app.errors import NotAllowed, SessionError, ViewNotFound
from sessions_app.forms import ViewForm, WantedForm
from sessions_app.htmx import SignedInRequest
from sessions_app.views import filters
from sessions_app.views.actions import redirect_to_list
from sessions_app.views.page import rail_context

View = Callable[..., HttpResponse]


def posted(view: View) -> View:
    """Take a POST alone, and answer a refusal: 404 for a view that is not there or not this viewer's, 403, else words on the list."""

    @wraps(view)
    def answer(request: SignedInRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except ViewNotFound as error:
            raise Http404 from error
        except NotAllowed as error:
            raise PermissionDenied from error
        except SessionError as error:
            messages.error(request, str(error))
            return redirect_to_list(request)

    return require_POST(answer)


@posted
def view_save(request: SignedInRequest) -> HttpResponse:
    """Save the list that the form was sent from, as a new view or in the place of another."""
    form = ViewForm(request.POST)
    form.is_valid()
    clean = form.cleaned_data
    state = filters.list_state(request, filters.channels_of(rail_context(request)["rail"]))
    # "this month" stays the month of whoever opens it
    filter = replace(state.filter, since=None, until=None) if state.period else state.filter
    fields = queries.filter_fields(filter) | ({"period": state.period} if state.period else {})
    if clean.get("replace"):
        saved = services.replace_view(clean["replace"], fields, viewer=request.user)
    else:
        saved = services.save_view(clean.get("name", ""), viewer=request.user, fields=fields, is_shared=clean.get("is_shared", False))
    if clean.get("is_default"):
        services.set_default_view(saved.pk, viewer=request.user)
    messages.success(request, f"View \u201c{saved.name}\u201d saved.")
    return redirect(filters.list_path(state.query()))


@posted
def view_rename(request: SignedInRequest, view_id: uuid.UUID) -> HttpResponse:
    """Give a view another name."""
    services.rename_view(view_id, request.POST.get("name", ""), viewer=request.user)
    return redirect_to_list(request)


@posted
def view_share(request: SignedInRequest, view_id: uuid.UUID) -> HttpResponse:
    """Show a view to everyone (shared=1) or to its owner alone (shared=0)."""
    wanted = WantedForm.of(request.POST, "shared")
    if wanted is None:
        return HttpResponse("shared must be 1 or 0", status=422, content_type="text/plain; charset=utf-8")
    services.share_view(view_id, wanted, viewer=request.user)
    messages.success(
        request, "Everyone sees this view now, each with the sessions that they may see." if wanted else "The view is its owner's alone."
    )
    return redirect_to_list(request)


@posted
def view_default(request: SignedInRequest, view_id: uuid.UUID) -> HttpResponse:
    """Begin with this view (default=1), or with the inbox again (default=0)."""
    wanted = WantedForm.of(request.POST, "default")
    if wanted is None:
        return HttpResponse("default must be 1 or 0", status=422, content_type="text/plain; charset=utf-8")
    services.set_default_view(view_id if wanted else None, viewer=request.user)
    messages.success(
        request,
        "The site begins with this view now; Inbox in the rail is still all of it." if wanted else "The site begins with the inbox.",
    )
    return redirect_to_list(request)


@posted
def view_delete(request: SignedInRequest, view_id: uuid.UUID) -> HttpResponse:
    """Delete a view."""
    view = services.delete_view(view_id, viewer=request.user)
    messages.success(
        request,
        f"View \u201c{view.name}\u201d deleted. Its sessions stay.",
        extra_tags=f"{reverse('sessions:view_restore', args=[view_id])}?{request.GET.urlencode()}",
    )
    return redirect_to_list(request)


@posted
def view_restore(request: SignedInRequest, view_id: uuid.UUID) -> HttpResponse:
    """Bring a deleted view back."""
    view = services.delete_view(view_id, viewer=request.user, deleted=False)
    messages.success(request, f"View \u201c{view.name}\u201d is back.")
    return redirect_to_list(request)
