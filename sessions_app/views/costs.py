"""What the sessions cost."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from sessions_app.htmx import SignedInRequest
from sessions_app.views.page import render_page


@require_safe
def overview(request: SignedInRequest) -> HttpResponse:
    return render_page(request, "base.html", {}, section="costs")
