"""What stands at the head of a document: the session's facts, as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from sessions_app.day_rows import business_zone
from sessions_app.models import Session


def facts(session: Session, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield label and value. Times are exact and in the business time zone: a file is read on other days, and elsewhere."""
    yield "Session", str(session.pk)
    yield "Channel", f"{session.channel.label}, key {session.key}" if session.key else session.channel.label
    yield "User", session.user_id
    if session.agent:
        yield "Agent", f"{session.agent}, its id {session.agent_session_id}" if session.agent_session_id else session.agent
    if session.project:
        yield "Project", f"{session.project}, branch {session.git_branch}" if session.git_branch else session.project
    if session.triggered_by:
        yield "Started by", session.triggered_by
    yield "Started", exact(session.created_at)
    yield "Last activity", exact(session.last_message_at)
    if session.closed_at is not None:
        yield "Closed", exact(session.closed_at)
    if session.archived_at is not None:
        yield "Archived", exact(session.archived_at)
    if session.tags:
        yield "Tags", ", ".join(session.tags)
    yield "Messages", f"{session.message_count:,}; {session.tool_call_count:,} tool calls, {session.error_count:,} failed"
    if session.total_turns:
        unpriced = f", {session.unpriced_turns:,} of them without a price" if session.unpriced_turns else ""
        yield "Cost", f"{dollars(session.cost_known)}; {session.total_turns:,} model calls{unpriced}"
    yield "Exported", f"{exact(now)}; times are those of {settings.TIME_ZONE}"


def exact(moment: datetime) -> str:
    return f"{moment.astimezone(business_zone()):%Y-%m-%d %H:%M:%S}"


def dollars(value: Decimal | None) -> str:
    """Return an exact amount."""
    return "cost unknown" if value is None else f"${value:f}"
