"""Sign-in around django.contrib.auth: everything behind the door, the client's address, and the one-time link.

The link exists for the first start, when nobody has a password yet, and for a person who lost theirs; an operator makes it with
`manage.py signin_link USER`. Its token is Django's password-reset token: an HMAC over the user's id, password, e-mail address and
last sign-in, so that nothing is stored and using it (which moves last_login) makes it and every older one void.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import redirect_to_login
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode


class SignInRequired(LoginRequiredMiddleware):
    """Send whoever is not signed in to the sign-in page; htmx as a whole page, or the form would land inside a table cell."""

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> HttpResponse:  # type: ignore[override]
        response = super().handle_no_permission(request, view_func)
        if not request.headers.get("HX-Request"):
            return response
        # Back to the page that the person looks at, not to the fragment that it asked for.
        page = request.headers.get("HX-Current-URL", "")
        here = f"{request.scheme}://{request.get_host()}/"
        target = page.removeprefix(here.removesuffix("/")) if page.startswith(here) else settings.LOGIN_REDIRECT_URL
        return HttpResponse(status=200, headers={"HX-Redirect": redirect_to_login(target, settings.LOGIN_URL).url})


def client_address(request: HttpRequest) -> str:
    """The address that asks: the peer, or what the proxy wrote. A proxy appends, so only the last entry is its word."""
    if settings.BEHIND_PROXY and (forwarded := request.META.get("HTTP_X_FORWARDED_FOR", "")):
        return str(forwarded).rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


class LinkToken(PasswordResetTokenGenerator):
    """Django's reset token, valid for settings.PASSWORD_RESET_TIMEOUT, with the last sign-in to the microsecond: Django cuts it to
    the second, and a link made and used within the second of the sign-in before would work twice."""

    key_salt = "sessions_app.signin.LinkToken"

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        last = user.last_login.isoformat() if user.last_login else ""
        return f"{super()._make_hash_value(user, timestamp)}{last}"


link_token = LinkToken()


def link_path(user: User) -> str:
    """The path of a new one-time link for this user. Older unused ones stay good until one of them is used."""
    uid = urlsafe_base64_encode(str(user.pk).encode())
    return reverse("signin_link", kwargs={"uid": uid, "token": link_token.make_token(user)})


def user_of_link(uid: str, token: str) -> User | None:
    """The user whom this link would sign in now; None when it is used, stale, forged, or its user is gone or switched off."""
    try:
        user = User.objects.get(pk=int(urlsafe_base64_decode(uid)), is_active=True)
    except (ValueError, OverflowError, User.DoesNotExist):
        return None
    return user if link_token.check_token(user, token) else None


def use_link(uid: str, token: str) -> User | None:
    """Spend the link: of any number of requests that come with it at once, one gets the user."""
    user = user_of_link(uid, token)
    if user is None:
        return None
    # last_login is part of the token, so moving it spends the link; moving it only from what the token was checked against makes
    # the database decide who was first.
    spent = User.objects.filter(pk=user.pk, last_login=user.last_login).update(last_login=Now())
    return user if spent else None
