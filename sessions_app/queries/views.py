"""A viewer's saved views, with how much is unread in each; and the viewer's preferences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone

from sessions_app.day_rows import day_of
from sessions_app.id_sets import among, id_rows
from sessions_app.models import Preference, ReadMark, ReadWatermark, SavedView, Session
from sessions_app.queries.session_filter import SessionFilter, filter_of
from sessions_app.queries.sessions import matching

if TYPE_CHECKING:
    from django.contrib.auth.models import User

VIEWS_LISTED = 50
# The views' counts are made of so many of the newest unread sessions; with more, every count is "at least".
COUNTED = 1000
LOOKED_AT = 5000  # to find them, among those that are unread by default and those that the viewer put back to unread


@dataclass(frozen=True, slots=True)
class ViewLink:
    """A view as the rail shows it. unread: how many unread sessions it has; not is_exact: at least so many. is_own: the viewer may change it."""

    view: SavedView
    filter: SessionFilter
    unread: int
    is_exact: bool
    is_own: bool
    is_default: bool


def views_for(viewer: User, *, now: datetime | None = None) -> list[ViewLink]:
    """Return the viewer's own views and then the shared ones, each by its place. Eight queries, however many views and sessions there are."""
    now = now or timezone.now()
    views = list(_visible(viewer).order_by("position", "name", "pk")[:VIEWS_LISTED])
    if not views:
        return []
    views.sort(key=lambda view: view.owner_id != viewer.pk)
    filters = [view_filter(view, now=now) for view in views]
    ids, is_exact = _unread_ids(viewer)
    counts = _counts(filters, ids, viewer, now)
    default = Preference.objects.filter(viewer=viewer).values_list("default_view", flat=True).first()
    return [
        ViewLink(view, filter, count, is_exact, view.owner_id == viewer.pk, view.pk == default)
        for view, filter, count in zip(views, filters, counts, strict=True)
    ]


def get_view(view_id: UUID | str, *, viewer: User) -> SavedView | None:
    """Return a view that the viewer may use: their own, or a shared one."""
    try:
        pk = view_id if isinstance(view_id, UUID) else UUID(str(view_id))
    except ValueError:
        return None
    return _visible(viewer).filter(pk=pk).first()


def view_filter(view: SavedView, *, now: datetime | None = None) -> SessionFilter:
    """Return what the view shows today."""
    return filter_of(view.fields, today=day_of(now or timezone.now()))


def preference_of(viewer: User) -> Preference:
    """Return how the viewer wants the site, unsaved where nothing was chosen. Its default view is one that the viewer may use now, or None."""
    found = Preference.objects.select_related("default_view").filter(viewer=viewer).first() or Preference(viewer=viewer)
    view = found.default_view
    if view is not None and (view.deleted_at is not None or not (view.is_shared or view.owner_id == viewer.pk)):
        found.default_view = None
    return found


def _visible(viewer: User) -> QuerySet[SavedView]:
    return SavedView.objects.filter(Q(owner=viewer) | Q(is_shared=True), deleted_at=None)


def _unread_ids(viewer: User) -> tuple[list[UUID], bool]:
    """Return the ids of the viewer's newest unread sessions, archived or not, and whether they are all. Looks at a bounded number of sessions: what
    is unread by default and was read by this viewer is skipped one by one."""
    visible = Session.objects.visible_to(viewer)
    default = visible.filter(unread_since__isnull=False)
    if (watermark := ReadWatermark.objects.filter(viewer=viewer).values_list("at", flat=True).first()) is not None:
        default = default.filter(unread_since__gt=watermark)
    newest = list(default.order_by("-unread_since").values_list("pk", flat=True)[: LOOKED_AT + 1])
    by_hand = list(
        ReadMark.objects.filter(viewer=viewer, is_unread=True).order_by("-session").values_list("session", flat=True)[: LOOKED_AT + 1]
    )
    looked_at = {*newest[:LOOKED_AT], *by_hand[:LOOKED_AT]}
    unread = visible.unread_by(viewer).filter(pk__in=among(looked_at))
    found = list(unread.order_by("-last_message_at").values_list("pk", flat=True)[: COUNTED + 1])
    return found[:COUNTED], len(found) <= COUNTED and max(len(newest), len(by_hand)) <= LOOKED_AT


def _counts(filters: list[SessionFilter], ids: list[UUID], viewer: User, now: datetime) -> list[int]:
    """Count, for each filter, which of these unread sessions it matches, in one statement."""
    rows, params = id_rows(ids)
    columns: list[str] = []
    values: list[Any] = [*params]
    for filter in filters:
        if filter.unread is False:
            columns.append("0")
            continue
        found = matching(replace(filter, unread=None), viewer=viewer, now=now).filter(pk__in=RawSQL("SELECT id FROM unread_ids", ()))
        try:
            sql, used = found.order_by().values("pk").query.get_compiler(connection=connection).as_sql()
        except EmptyResultSet:
            columns.append("0")
            continue
        columns.append(f"(SELECT COUNT(*) FROM ({sql}) AS found)")  # noqa: S608  # the SQL of the ORM
        values += used
    with connection.cursor() as cursor:
        cursor.execute(f"WITH unread_ids (id) AS ({rows}) SELECT {', '.join(columns)}", values)  # the ORM's SQL
        return list(cursor.fetchone())
