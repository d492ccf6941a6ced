"""Who has read what: the shared default, and each viewer's own marks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from sessions_app.models import ReadMark, ReadWatermark, Session
from sessions_app.services.lifecycle import locked

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def mark_read(session_id: UUID | str, is_read: bool = True, *, viewer: User | None = None, now: datetime | None = None) -> None:
    """Mark a session read or unread: for one viewer, until newer unread-making activity arrives; without a viewer for all.
    Raises SessionNotFound."""
    now = now or timezone.now()
    with transaction.atomic():
        session = locked(session_id)
        if viewer is not None:
            # Read reaches at least as far as what is unread, whatever the clocks of two web hosts say.
            at = max(now, session.unread_since or now)
            ReadMark.objects.update_or_create(viewer=viewer, session=session, defaults={"at": at, "is_unread": not is_read})
        elif is_read:
            Session.objects.filter(pk=session.pk).update(unread_since=None)
            ReadMark.objects.filter(session=session, is_unread=True).delete()
        else:
            Session.objects.filter(pk=session.pk).update(unread_since=now)
            ReadMark.objects.filter(session=session).filter(Q(is_unread=True) | Q(at__lte=now)).delete()


def mark_all_read(viewer: User, *, now: datetime | None = None) -> None:
    """Mark everything read for one viewer: one row, whatever the number of sessions. It never goes back."""
    now = now or timezone.now()
    _, created = ReadWatermark.objects.get_or_create(viewer=viewer, defaults={"at": now})
    if not created:
        ReadWatermark.objects.filter(Q(viewer=viewer) & Q(at__lt=now)).update(at=now)
