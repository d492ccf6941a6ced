"""What one does to sessions from the list and the transcript: to one, to a selection, to everything that a filter matches; and its undo.

Every answer is made of the same pieces. Without htmx: a redirect to the list, which says what was done. With it: the toast, and out of band what it
changed on the page, read again through the page's own queries."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from sessions_app import access, queries, selections, services
from sessions_app.errors import ActionNotFound, SessionError
from sessions_app.forms import ActionForm, WantedForm
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.services import ActionResult
from sessions_app.services.actions import result_of
from sessions_app.views import filters, inbox
from sessions_app.views.page import rail_context, render_page

# status of the list -> the actions after which a session no longer belongs there. Read and unread leave it where it is: nothing jumps away.
LEAVES = {
    "inbox": {"archive"},
    "open": {"archive", "close"},
    "closed": {"archive", "reopen"},
    "stale": {"archive", "close"},
    "archived": {"restore"},
    "all": set(),
}
MOST_ROWS = 100  # that are shown again one by one; above, the list comes anew
EVENTS = {"read": "sessionReadChanged", "unread": "sessionReadChanged", "archive": "sessionArchived", "close": "sessionClosed"}


@require_POST
def session_read(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Mark a session read (read=1) or unread (read=0) for this viewer. Its own page sends on=transcript: once by itself, when it opens."""
    session = access.session_or_404(request.user, session_id)
    wanted = WantedForm.of(request.POST, "read")
    if wanted is None:
        return HttpResponse("read must be 1 or 0", status=422, content_type="text/plain; charset=utf-8")
    if request.POST.get("on") != "transcript":
        return acted(request, services.act("read" if wanted else "unread", viewer=request.user, session_ids=[session.pk]), [session.pk])
    services.mark_read(session.pk, wanted, viewer=request.user)
    if not wants_fragment(request):
        # Marked unread on its page, one goes back to the list: staying would read it again.
        return redirect(f"{session.get_absolute_url()}?{request.GET.urlencode()}") if wanted else redirect_to_list(request)
    context = row_context(request, session_id)
    response = render_fragment(request, "sessions_app/session_detail.html#session-read", context)
    if in_pane(request):
        rail = rail_context(request)
        state = filters.list_state(request, filters.channels_of(rail["rail"]), now=context["now"])
        context |= inbox.head_context(request, state, rail, context["now"])
        response.write(render_to_string("sessions_app/session_list.html#opened", context, request))
    return trigger_client_event(response, EVENTS["read"])


@require_POST
def session_archive(request: SignedInRequest, session_id: uuid.UUID) -> HttpResponse:
    """Take a session out of the list (archived=1) or put it back (archived=0)."""
    session = access.session_to_change(request.user, session_id)
    wanted = WantedForm.of(request.POST, "archived")
    if wanted is None:
        return HttpResponse("archived must be 1 or 0", status=422, content_type="text/plain; charset=utf-8")
    return acted(request, services.act("archive" if wanted else "restore", viewer=request.user, session_ids=[session.pk]), [session.pk])


@require_POST
def act(request: SignedInRequest) -> HttpResponse:
    """Do one thing to the sessions that were ticked, or with all=1 to everything that the list's filter matches."""
    form = ActionForm(request.POST)
    if not form.is_valid():
        return refused(request, form.complaint())
    verb, ids = form.cleaned_data["verb"], form.session_ids()
    words = {"summary": form.cleaned_data["summary"], "tag": form.cleaned_data["tag"]}
    try:
        if form.cleaned_data["all"]:
            state = filters.list_state(request, filters.channels_of(rail_context(request)["rail"]))
            if state.complaints:
                # What the person saw was not what the address says: nothing is done to more sessions than were shown.
                return refused(request, "The filter was not understood, so nothing was done. Choose it again.")
            return acted(request, selections.act_on_filter(verb, state.filter, viewer=request.user, **words))
        return acted(request, services.act(verb, viewer=request.user, session_ids=ids, **words), ids)
    except SessionError as error:
        return refused(request, str(error))


@require_http_methods(["GET", "HEAD", "POST"])
def go_on(request: SignedInRequest, action_id: int) -> HttpResponse:
    """Go on with a long action, or with its undo; by GET show how far it is."""
    if request.method == "POST":
        try:
            return acted(request, selections.run(action_id, viewer=request.user))
        except ActionNotFound as error:
            raise Http404 from error
    action = queries.get_action(action_id, viewer=request.user)
    if action is None:
        raise Http404
    context = progress_context(request, result_of(action, timezone.now()))
    return render_page(request, "sessions_app/session_action.html", context, section="")


@require_POST
def undo(request: SignedInRequest, action_id: int) -> HttpResponse:
    """Give back what an action changed."""
    try:
        return acted(request, services.undo_action(action_id, viewer=request.user))
    except ActionNotFound as error:
        raise Http404 from error
    except SessionError as error:
        return refused(request, str(error))


# --- answers --------------------------------------------------------------------------------------------------------------------------


def acted(request: SignedInRequest, result: ActionResult, ids: list[uuid.UUID] | None = None) -> HttpResponse:
    """Answer what was done. ids: the sessions, where they are few enough to show each again; None: the list comes anew."""
    context = progress_context(request, result)
    if not wants_fragment(request):
        if not result.finished:
            return redirect(context["go_on"])
        messages.success(request, result.words, extra_tags=context["undo"])
        return redirect_to_list(request)
    if not result.finished:
        return render_fragment(request, "sessions_app/session_action.html#progress", context)
    if request.POST.get("on") == "transcript" and not in_pane(request):
        messages.success(request, result.words, extra_tags=context["undo"])
        return HttpResponseClientRedirect(context["list_path"])
    now = timezone.now()
    rail = rail_context(request)
    state = filters.list_state(request, filters.channels_of(rail["rail"]), now=now)
    context |= {"oob": True, "typed": True}
    if ids is None or len(ids) > MOST_ROWS:
        context |= inbox.list_context(request, state.first_page(), rail, now) | {"list_anew": True}
    else:
        rows = access.with_may_change(request.user, queries.session_rows(ids, viewer=request.user))
        leave = result.verb in LEAVES[state.filter.status] and not result.is_undo
        context |= inbox.head_context(request, state, rail, now)
        context |= {"shown": [] if leave else rows, "gone": [row for row in rows if leave and has_left(result.verb, row)]}
    response = render_fragment(request, "sessions_app/session_list.html#acted", context)
    return trigger_client_event(response, "sessionsChanged" if ids is None or len(ids) > 1 else EVENTS.get(result.verb, "sessionsChanged"))


def has_left(verb: str, row: Any) -> bool:
    """Tell whether a session is as the action wanted it; a refused one stays in its list."""
    return {"archive": row.is_archived, "restore": not row.is_archived, "close": row.is_closed, "reopen": not row.is_closed}[verb]


def refused(request: SignedInRequest, words: str) -> HttpResponse:
    """Answer that nothing was done, and why."""
    if wants_fragment(request):
        return render_fragment(request, "sessions_app/session_action.html#refusal", {"words": words}, status=422)
    messages.error(request, words)
    return redirect_to_list(request)


def progress_context(request: SignedInRequest, result: ActionResult) -> dict[str, Any]:
    query = request.GET.urlencode()
    path = {name: f"{reverse(f'sessions:{name}', args=[result.action_id])}{'?' if query else ''}{query}" for name in ("go_on", "undo")}
    return {
        "result": result,
        "words": result.words,
        "go_on": path["go_on"],
        "undo": path["undo"] if result.can_undo else "",
        "list_path": filters.list_path(query),
    }


def redirect_to_list(request: SignedInRequest) -> HttpResponse:
    """Go back to the list as it was: the POST's own query string is the list's."""
    state = filters.list_state(request, filters.channels_of(rail_context(request)["rail"]))
    return redirect(filters.list_path(state.query(after=state.after)) if request.GET else reverse("sessions:list"))


def row_context(request: SignedInRequest, session_id: uuid.UUID) -> dict[str, Any]:
    """Read a session again through the list's own query. A page that shows its row too says so, and gets the row out of band."""
    (row,) = access.with_may_change(request.user, [access.row_or_404(request.user, session_id)])
    context: dict[str, Any] = {"session": row, "now": timezone.now(), "query": request.GET.urlencode(), "oob": True}
    context["unread"] = queries.rail_counts(request.user).unread
    return context


def in_pane(request: SignedInRequest) -> bool:
    """Tell whether the request comes from the reading pane of a list that shows the session's row (inbox.js)."""
    return "X-Reading-Pane" in request.headers
