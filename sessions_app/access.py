"""Fetch for this viewer, or 404: not yours looks exactly like not there. What a viewer sees but may not change is 403."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404

from sessions_app import queries
from sessions_app.models import Session, changes_what_they_see


def session_or_404(viewer: User, session_id: uuid.UUID) -> Session:
    session = queries.get_session(session_id, viewer=viewer)
    if session is None:
        raise Http404
    return session


def may_change(viewer: User, session: Session) -> bool:
    """Tell whether this viewer may archive, rename, close and reopen: the owner, and people with change_session. Costs a query for the
    permission, once per user object."""
    return session.user_id == viewer.get_username() or changes_what_they_see(viewer)


def with_may_change(viewer: User, rows: list[Session]) -> list[Session]:
    """Give each row `may_change` (bool), for a template to show or leave out what changes it."""
    for row in rows:
        row.may_change = may_change(viewer, row)  # type: ignore[attr-defined]
    return rows


def session_to_change(viewer: User, session_id: uuid.UUID) -> Session:
    session = session_or_404(viewer, session_id)
    if not may_change(viewer, session):
        raise PermissionDenied
    return session


def row_or_404(viewer: User, session_id: uuid.UUID) -> Session:
    """Return the session as a row of the list: with `unread` for this viewer."""
    session = queries.session_row(session_id, viewer)
    if session is None:
        raise Http404
    return session
