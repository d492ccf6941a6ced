"""What an action is done to: the edge where the services, which know no queries, are given the sessions that a filter matches."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from sessions_app import queries, services
from sessions_app.day_rows import day_of
from sessions_app.errors import ActionNotFound
from sessions_app.id_sets import IdBatch
from sessions_app.models import Action
from sessions_app.queries import SessionFilter

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def act_on_filter(
    verb: str,
    session_filter: SessionFilter,
    *,
    viewer: User,
    summary: str = "",
    tag: str = "",
    seconds: float = services.SECONDS,
    now: datetime | None = None,
) -> services.ActionResult:
    """Do it to everything that the filter matches: start, and run for so many seconds. The whole inbox is marked read by the viewer's watermark.
    Raises InvalidAction."""
    now = now or timezone.now()
    if verb == "read" and replace(session_filter, sort="activity") in (SessionFilter(), SessionFilter(unread=True)):
        return services.mark_everything_read(viewer=viewer, now=now)
    total = queries.session_total(session_filter, viewer=viewer, now=now)
    action = services.start_action(
        verb,
        viewer=viewer,
        session_filter=queries.filter_fields(session_filter),
        summary=summary,
        tag=tag,
        total=total.count if total.is_exact else None,
        now=now,
    )
    return run(action.pk, viewer=viewer, seconds=seconds, now=now)


def run(action_id: int, *, viewer: User, seconds: float = services.SECONDS, now: datetime | None = None) -> services.ActionResult:
    """Go on with an action, or with its undo. Raises ActionNotFound."""
    action = queries.get_action(action_id, viewer=viewer)
    if action is None:
        raise ActionNotFound(action_id)
    return services.run_action(action_id, viewer=viewer, source=source_of(action, viewer), seconds=seconds, now=now)


def source_of(action: Action, viewer: User) -> services.Source | None:
    """Return where the action's sessions come from: what its filter matched on the day on which it began; None for a selection."""
    if action.session_filter is None:
        return None
    chosen = queries.filter_of(action.session_filter, today=day_of(action.created_at))

    def source(cursor: str, limit: int) -> IdBatch:
        return queries.matching_ids(chosen, viewer=viewer, after=cursor, limit=limit, now=action.created_at)

    return source
