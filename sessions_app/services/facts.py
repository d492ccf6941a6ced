"""What people and agents say about a session: its name, its summary, its tags."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from sessions_app import session_groups
from sessions_app.errors import InvalidSession, SessionNotFound
from sessions_app.models import Session
from sessions_app.services.cleaning import name, storable, title_of
from sessions_app.services.lifecycle import locked, parse_id

MAX_TAGS = 50
TAG_LENGTH = 50  # characters


def rename_session(session_id: UUID | str, title: str, *, now: datetime | None = None) -> None:
    """Name the session, whatever it was called; "" takes the name away, and the next prompt gives one again. Raises SessionNotFound."""
    made = title_of(title)
    _update(session_id, title=made, title_is_given=bool(made))


def set_summary(session_id: UUID | str, summary: str, *, now: datetime | None = None) -> None:
    """Write the session's summary, open or closed. Raises SessionNotFound."""
    _update(session_id, summary=storable(summary))


def set_tags(session_id: UUID | str, tags: Sequence[str], *, now: datetime | None = None) -> None:
    """Give the session these tags and no others, each once, in this order. Raises SessionNotFound, InvalidSession."""
    words = clean_tags(tags)
    with transaction.atomic():
        session = locked(session_id)
        Session.objects.filter(pk=session.pk).update(tags=words)
        session_groups.index_tags([session.pk])


def clean_tags(tags: Sequence[str]) -> list[str]:
    """Return tags as they are stored: each once. Raises InvalidSession."""
    if len(tags) > MAX_TAGS:
        raise InvalidSession(f"{len(tags):,} tags; a session has at most {MAX_TAGS}.", field="tags")
    words = [" ".join(name(tag, "tags", length=TAG_LENGTH).split()) for tag in tags]
    if not all(words):
        raise InvalidSession("A tag is not empty.", field="tags")
    return list(dict.fromkeys(words))


def _update(session_id: UUID | str, **values: Any) -> None:
    if not Session.objects.filter(pk=parse_id(session_id)).update(**values):
        raise SessionNotFound(session_id)
