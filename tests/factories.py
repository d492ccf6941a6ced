"""Makers of rows with sensible defaults, through the services wherever one exists. Times are fixed: no test depends on today."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import QuerySet

from sessions_app import day_rows, services, session_groups
from sessions_app.models import Session

T0 = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


def at(minutes: float = 0, *, days: float = 0) -> datetime:
    """T0 and so much later."""
    return T0 + timedelta(days=days, minutes=minutes)


def make_user(name: str = "alice", *, staff: bool = False, permissions: list[str] | None = None) -> User:
    """A user who may sign in with the password `name`. permissions: code names of sessions_app."""
    user = User.objects.create_user(name, password=name, is_staff=staff)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="sessions_app", codename__in=permissions or []))
    return user


def make_session(
    channel: str = "main", key: str = "k", *, user_id: str = "alice", now: datetime = T0, messages: int = 0, **fields: Any
) -> Session:
    """An open session with so many messages, user and assistant in turn, a minute apart. fields: any column, written as it is."""
    triggered_by = fields.pop("triggered_by", None)
    session = services.create_session(channel, key, user_id=user_id, triggered_by=triggered_by, now=now)
    for number in range(messages):
        when = now + timedelta(minutes=number)
        services.save_message(session.id, ("user", "assistant")[number % 2], f"message {number}", timestamp=when, now=when)
    if fields:
        change_rows(Session.objects.filter(pk=session.pk), **fields)
    session.refresh_from_db()
    return session


def change_rows(rows: QuerySet[Session], **fields: Any) -> None:
    """Write columns of sessions past the services, and let their places in the list follow."""
    ids = list(rows.values_list("pk", flat=True))
    with day_rows.writing() as tally:
        Session.objects.filter(pk__in=ids).update(**fields)
        session_groups.place_all(ids, tally)
        session_groups.index_tags(ids)


def make_usage(
    session: Session,
    *,
    model: str = "claude-sonnet-4-5",
    input_tokens: int = 1000,
    output_tokens: int = 100,
    when: datetime = T0,
    **fields: Any,
) -> Any:
    """One usage record of a model with a known price."""
    return services.record_usage(
        session.id, model=model, input_tokens=input_tokens, output_tokens=output_tokens, timestamp=when, now=when, **fields
    )
