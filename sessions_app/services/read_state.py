"""Who has read what: the shared default, and each viewer's own marks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from sessions_app import day_rows
from sessions_app.models import ReadMark, ReadWatermark
from sessions_app.services.lifecycle import change, locked

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def mark_read(session_id: UUID | str, is_read: bool = True, *, viewer: User | None = None, now: datetime | None = None) -> None:
    """Mark a session read or unread: for one viewer, until newer unread-making activity arrives; without a viewer for all.
    Raises SessionNotFound."""
    now = now or timezone.now()
    with day_rows.writing() as tally:
        session = locked(session_id)
        if viewer is not None:
            # Read reaches at least as far as what is unread, and unread beyond "all read", whatever the clocks of two web hosts say.
            at = max(now, session.unread_since or now) if is_read else after_watermarks(now, ReadWatermark.objects.filter(viewer=viewer))
            ReadMark.objects.update_or_create(viewer=viewer, session=session, defaults={"at": at, "is_unread": not is_read})
        elif is_read:
            change(session, tally, unread_since=None)
            ReadMark.objects.filter(session=session, is_unread=True).delete()
        else:
            since = max(after_watermarks(now, ReadWatermark.objects.all()), session.unread_since or now)
            change(session, tally, unread_since=since)
            ReadMark.objects.filter(session=session).delete()


def after_watermarks(now: datetime, watermarks: QuerySet[ReadWatermark]) -> datetime:
    """Return now, or the moment after the latest of these where that is later."""
    latest = watermarks.aggregate(latest=Max("at"))["latest"]
    return now if latest is None or latest < now else latest + timedelta(microseconds=1)


def mark_all_read(viewer: User, *, now: datetime | None = None) -> None:
    """Mark everything read for one viewer: one row, whatever the number of sessions. It never goes back."""
    now = now or timezone.now()
    _, created = ReadWatermark.objects.get_or_create(viewer=viewer, defaults={"at": now})
    if not created:
        ReadWatermark.objects.filter(Q(viewer=viewer) & Q(at__lt=now)).update(at=now)
