"""What a viewer did to many sessions: one action, and those that wait to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions_app.models import Action

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def get_action(action_id: int, *, viewer: User) -> Action | None:
    """Return the viewer's own action; nobody sees another's."""
    return Action.objects.filter(pk=action_id, viewer=viewer).first()


def unfinished_actions(viewer: User, limit: int = 5) -> list[Action]:
    """Return what the viewer began and nobody ended, newest first: a tab was closed, or the site restarted."""
    return list(Action.objects.filter(viewer=viewer, is_running=True).defer("selection").order_by("-pk")[:limit])
