"""Who calls: a bearer token, what it may do, as whom it writes, and with whose eyes it reads. Cookies open no door here."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest

from sessions_app import queries, services
from sessions_app.api.limits import slow_down
from sessions_app.api.problems import Problem
from sessions_app.errors import SessionNotFound
from sessions_app.models import ApiToken, Session

REALM = 'Bearer realm="sessionsite"'
DEFAULT_CHANNEL = "main"
DEFAULT_USER = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """A token that was shown, was good, and has the scope that was asked for. user_id, channel, agent: what it is bound to, "" = nothing."""

    token: ApiToken

    @property
    def source(self) -> str:
        """The source of its events: their ids are unique within it."""
        return self.token.source

    @property
    def user_id(self) -> str:
        return self.token.user_id

    @property
    def channel(self) -> str:
        return self.token.channel_id or ""

    @property
    def agent(self) -> str:
        return self.token.agent

    def viewer(self) -> User | None:
        """Whose eyes it reads with; None = everything. Costs a query."""
        return viewer_of(self.token)

    def check_binding(self, *, user_id: str | None = None, channel: str | None = None, agent: str | None = None) -> None:
        """Raise Problem 403 token_bound when one of these is named (not None, not "") and the token is bound to another."""
        for field, bound, named in (("user_id", self.user_id, user_id), ("channel", self.channel, channel), ("agent", self.agent, agent)):
            if bound and named and named != bound:
                raise Problem(
                    403,
                    "token_bound",
                    f"This token writes as {field} {bound!r} only, not as {named[:80]!r}. Leave {field} away.",
                    field=field,
                )

    def may_write_to(self, session: Session) -> bool:
        """Whether the session lies inside what the token is bound to. One whose agent is not known yet may become the token's agent's."""
        return (
            (not self.user_id or session.user_id == self.user_id)
            and (not self.channel or session.channel_id == self.channel)
            and (not self.agent or session.agent in ("", self.agent))
        )

    @property
    def is_bound(self) -> bool:
        return bool(self.user_id or self.channel or self.agent)

    def check_session(self, session_id: UUID | str) -> None:
        """Raise SessionNotFound for a session that is not there, or lies outside the binding: the two look the same. Costs a query when bound;
        an unbound token is checked by the service itself."""
        if self.is_bound:
            session = queries.get_session(session_id)
            if session is None or not self.may_write_to(session):
                raise SessionNotFound(session_id)


def viewer_of(token: ApiToken) -> User | None:
    """Return whose eyes a token has: None = everything; the account of its user; or a stand-in with no more than that name, for a user who has
    no account here."""
    if token.sees_all or token.scope == "admin":
        return None
    # The stand-in's number belongs to nobody, so it has no permissions and no read marks.
    return User.objects.filter(username=token.user_id).first() or User(pk=0, username=token.user_id)


def caller_of(request: HttpRequest, scope: str) -> Caller:
    """Return who calls. scope: "read" or "write". Raises Problem: 401 no_token, bad_token; 403 wrong_scope, https_required; 429 slow_down."""
    if settings.HTTPS and not request.is_secure():
        # Not redirected: a client that follows would go on sending its token in the clear.
        raise Problem(403, "https_required", "Use https: the token was just sent so that everyone on the way could read it.")
    words = request.META.get("HTTP_AUTHORIZATION", "").split()
    if not words:
        raise _unauthorized("no_token", "Send a token: Authorization: Bearer sst_... An operator makes one with `manage.py create_token`.")
    if len(words) != 2 or words[0].lower() != "bearer":
        raise _unauthorized("bad_token", "The Authorization header must read: Bearer, a blank, and the token.")
    token = services.find_token(words[1])
    if token is None:
        raise _unauthorized("bad_token", "This token is unknown, revoked or expired.")
    slow_down(token.pk)
    if not (token.writes if scope == "write" else token.reads):
        raise Problem(
            403,
            "wrong_scope",
            f"This token has the scope {token.scope}; this needs {scope}, or admin. Write does not imply read.",
            headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'},
        )
    return Caller(token)


def _unauthorized(code: str, detail: str) -> Problem:
    error = ', error="invalid_token"' if code == "bad_token" else ""
    return Problem(401, code, detail, headers={"WWW-Authenticate": REALM + error})
