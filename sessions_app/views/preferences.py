"""How a person wants the site: theme, density, and whether single keys are shortcuts."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from sessions_app import services
from sessions_app.forms import PreferenceForm
from sessions_app.htmx import SignedInRequest, wants_fragment


@require_POST
def set_preference(request: SignedInRequest) -> HttpResponse:
    """Keep what the form says, and leave the rest as it is. Back to the page it came from."""
    form = PreferenceForm(request.POST)
    if not form.is_valid():
        return HttpResponse("theme, density or keys is not known", status=422, content_type="text/plain; charset=utf-8")
    services.set_preference(viewer=request.user, **form.given())
    if wants_fragment(request):
        return HttpResponse(status=204)
    back = request.headers.get("Referer", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return redirect(back if is_ours else "home")
