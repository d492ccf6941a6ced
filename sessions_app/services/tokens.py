"""API tokens: made, shown once, found again by their digest, revoked; their last use kept to the minute."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.db.models import Q
from django.utils import timezone

from sessions_app.errors import InvalidToken
from sessions_app.models import ApiToken
from sessions_app.services.bulk import fetch_shared_row
from sessions_app.services.cleaning import name
from sessions_app.services.lifecycle import channel_named

PREFIX = "sst_"  # so that a secret scanner, and a person, can tell what it is
LAST_USE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class NewToken:
    """secret: what the holder shows; it stands nowhere else."""

    token: ApiToken
    secret: str


def create_token(
    token_name: str,
    *,
    scope: str,
    user_id: str = "",
    channel: str = "",
    agent: str = "",
    sees_all: bool = False,
    expires_at: datetime | None = None,
    now: datetime | None = None,
) -> NewToken:
    """Make a token. user_id, channel, agent: what it is bound to when it writes; user_id: whose eyes it has when it reads.
    Raises InvalidToken (unknown scope, a read token that names neither a user nor sees_all, a date that is over), UnknownChannel."""
    now = now or timezone.now()
    if scope not in dict(ApiToken.SCOPES):
        raise InvalidToken(f"There is no scope {scope!r}. Scopes: {', '.join(dict(ApiToken.SCOPES))}.", field="scope")
    if not name(token_name, "name", length=100, error=InvalidToken).strip():
        raise InvalidToken("A token needs a name: it is how you will know it again.", field="name")
    if scope == "read" and not user_id and not sees_all:
        raise InvalidToken("Say whose sessions a read token sees: a user, or all of them on purpose.", field="user_id")
    if scope == "read" and (channel or agent):
        raise InvalidToken(
            "channel and agent bind what a token writes; a read token writes nothing.", field="channel" if channel else "agent"
        )
    if sees_all and (user_id or scope == "write"):
        raise InvalidToken("Only a read token without a user can be made to see everything.", field="sees_all")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise InvalidToken("The time at which a token expires needs a zone and lies in the future.", field="expires_at")
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        name=token_name.strip(),
        scope=scope,
        digest=digest_of(secret),
        hint=secret[: len(PREFIX) + 6],
        user_id=name(user_id, "user_id", error=InvalidToken),
        channel=channel_named(channel) if channel else None,
        agent=name(agent, "agent", length=100, error=InvalidToken),
        sees_all=sees_all or scope == "admin",
        created_at=now,
        expires_at=expires_at,
    )
    return NewToken(token, secret)


def revoke_token(token: ApiToken, *, now: datetime | None = None) -> None:
    """Revoke it, at once and for good; the first time stays."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now or timezone.now())


def find_token(secret: str, *, now: datetime | None = None) -> ApiToken | None:
    """Return the token with this secret that is neither revoked nor expired, and note its use (a write at most once a minute).
    The secret has 256 random bits, so an unsalted digest cannot be guessed back, and looking it up by index tells nobody anything."""
    now = now or timezone.now()
    if not secret.startswith(PREFIX) or len(secret) > 100:
        return None
    token = fetch_shared_row(ApiToken, {"digest": digest_of(secret)})
    if token is None or token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now):
        return None
    if token.last_used_at is None or now - token.last_used_at >= LAST_USE_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USE_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token


def digest_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
