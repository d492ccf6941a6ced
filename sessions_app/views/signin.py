"""The door: sign in by password, by one-time link, and sign out."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from sessions_app.signin import use_link, user_of_link


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def signin_link(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """A one-time link. GET shows a button and spends nothing (chat programs and mail scanners open links); POST signs in."""
    user = use_link(uid, token) if request.method == "POST" else user_of_link(uid, token)
    if user is None:
        return render(request, "sessions_app/signin_link.html", {"link_user": None}, status=410)
    if request.method != "POST":
        return render(request, "sessions_app/signin_link.html", {"link_user": user})
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect(settings.LOGIN_REDIRECT_URL)
