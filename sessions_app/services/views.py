"""Saved views of the list, and how each viewer wants the site."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils import timezone

from sessions_app.errors import InvalidView, NotAllowed, ViewNotFound
from sessions_app.models import Preference, SavedView
from sessions_app.services.cleaning import name as clean_name
from sessions_app.services.cleaning import storable_json

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NAME_LENGTH = 100
MAX_VIEWS = 50  # of one owner: more is no list to choose from
MAX_FIELDS = 5000  # characters of a view's filter as text


def may_share(viewer: User) -> bool:
    """Tell whether this viewer makes views for everyone: staff, and people with change_session. Costs a query for the permission."""
    return viewer.is_active and (viewer.is_staff or viewer.has_perm("sessions_app.change_session"))


def save_view(name: str, *, viewer: User, fields: dict[str, Any], is_shared: bool = False, now: datetime | None = None) -> SavedView:
    """Save a filter under a name, at the end of the viewer's views. fields: what `queries.filter_fields` gives.
    Raises InvalidView (no name, a name taken, too many), NotAllowed."""
    _check_share(viewer, is_shared)
    made = SavedView(owner=viewer, name=_name(name), is_shared=is_shared, fields=_fields(fields), created_at=now or timezone.now())
    own = SavedView.objects.filter(owner=viewer, deleted_at=None)
    if own.count() >= MAX_VIEWS:
        raise InvalidView(f"{MAX_VIEWS} views are the most one can have; delete one first.")
    made.position = (own.aggregate(last=Max("position"))["last"] or 0) + 1
    _save(made)
    return made


def rename_view(view_id: UUID | str, name: str, *, viewer: User) -> SavedView:
    """Give the view another name. Raises ViewNotFound, InvalidView."""
    view = _to_change(view_id, viewer)
    view.name = _name(name)
    _save(view, "name")
    return view


def replace_view(view_id: UUID | str, fields: dict[str, Any], *, viewer: User) -> SavedView:
    """Give the view another filter. Raises ViewNotFound, InvalidView."""
    view = _to_change(view_id, viewer)
    view.fields = _fields(fields)
    _save(view, "fields")
    return view


def share_view(view_id: UUID | str, is_shared: bool, *, viewer: User) -> SavedView:
    """Show the view to everyone, or to its owner alone. Raises ViewNotFound, NotAllowed."""
    view = _to_change(view_id, viewer)
    _check_share(viewer, is_shared)
    view.is_shared = is_shared
    _save(view, "is_shared")
    return view


def move_view(view_id: UUID | str, position: int, *, viewer: User) -> None:
    """Put the view at this place of its owner's views, counted from 1; those after it make room. Raises ViewNotFound."""
    with transaction.atomic():
        view = _to_change(view_id, viewer)
        order = list(SavedView.objects.filter(owner=view.owner_id, deleted_at=None).exclude(pk=view.pk).order_by("position", "name", "pk"))
        order.insert(max(0, min(position - 1, len(order))), view)
        for place, one in enumerate(order, 1):
            one.position = place
        SavedView.objects.bulk_update(order, ["position"])


def delete_view(view_id: UUID | str, *, viewer: User, deleted: bool = True, now: datetime | None = None) -> SavedView:
    """Delete the view, or bring it back (deleted=False); who had it as the default view has it again then. Raises ViewNotFound, InvalidView."""
    view = _to_change(view_id, viewer, is_deleted=None)
    if deleted != (view.deleted_at is not None):
        view.deleted_at = (now or timezone.now()) if deleted else None
        _save(view, "deleted_at")
    return view


def set_default_view(view_id: UUID | str | None, *, viewer: User) -> Preference:
    """Choose the view that the viewer's list begins with; None: the inbox. Raises ViewNotFound."""
    view = None
    if view_id is not None:
        view = SavedView.objects.filter(Q(owner=viewer) | Q(is_shared=True), pk=_id(view_id), deleted_at=None).first()
        if view is None:
            raise ViewNotFound(view_id)
    preference, _ = Preference.objects.update_or_create(viewer=viewer, defaults={"default_view": view})
    return preference


def set_preference(*, viewer: User, theme: str | None = None, density: str | None = None, keys: bool | None = None) -> Preference:
    """Set what is named: theme ("" = the system's, "light", "dark"), density ("comfortable", "compact"), keys (single keys are shortcuts).
    Raises InvalidView for a word that is none of these."""
    named = {"theme": theme, "density": density, "keys": keys}
    changes = {column: value for column, value in named.items() if value is not None}
    for column, choices in (("theme", Preference.THEMES), ("density", Preference.DENSITIES)):
        if changes.get(column, choices[0][0]) not in dict(choices):
            raise InvalidView(f"{column} is one of {', '.join(value or 'none' for value, _ in choices)}.", field=column)
    preference, _ = Preference.objects.update_or_create(viewer=viewer, defaults=changes)
    return preference


def _to_change(view_id: UUID | str, viewer: User, *, is_deleted: bool | None = False) -> SavedView:
    """Return the view, if it is the viewer's own, or shared and the viewer is of the staff. Raises ViewNotFound."""
    views = SavedView.objects.filter(pk=_id(view_id))
    if is_deleted is not None:
        views = views.filter(deleted_at__isnull=not is_deleted)
    view = views.filter(Q(owner=viewer) | Q(is_shared=True) if viewer.is_staff else Q(owner=viewer)).first()
    if view is None:
        raise ViewNotFound(view_id)
    return view


def _id(view_id: UUID | str) -> UUID:
    if isinstance(view_id, UUID):
        return view_id
    try:
        return UUID(str(view_id))
    except ValueError:
        raise ViewNotFound(view_id) from None


def _save(view: SavedView, *columns: str) -> None:
    try:
        with transaction.atomic():
            view.save(update_fields=columns or None, force_insert=not columns)
    except IntegrityError:
        raise InvalidView(f"There is a view \u201c{view.name}\u201d already.", field="name") from None


def _check_share(viewer: User, is_shared: bool) -> None:
    if is_shared and not may_share(viewer):
        raise NotAllowed("Views for everyone are made by operators.", field="is_shared")


def _name(text: str) -> str:
    words = " ".join(clean_name(text, "name", length=NAME_LENGTH, error=InvalidView).split())
    if not words:
        raise InvalidView("A view needs a name.", field="name")
    return words


def _fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as they are stored: what is set, in the order of their names."""
    kept = {key: value for key, value in sorted(storable_json(fields).items()) if value not in ("", None)}
    if len(str(kept)) > MAX_FIELDS:
        raise InvalidView("This filter is too long to be saved.", field="fields")
    return kept
