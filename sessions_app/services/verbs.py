"""What an action's verb means, for a batch of sessions at once: which of them it changes, what it writes, and how that is taken back.

Each step is one statement whatever the size of the batch. Which of the sessions the viewer may change is decided before (see `actions`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection, models
from django.db.models import BooleanField, Case, Exists, F, Func, OuterRef, Q, Subquery, Value, When, Window
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Greatest, RowNumber
from django.db.models.lookups import LessThan

from sessions_app import day_rows, session_groups
from sessions_app.id_sets import among
from sessions_app.models import Action, ActionItem, ReadMark, ReadWatermark, Session, SessionQuerySet, SessionTag, unread_condition
from sessions_app.services.facts import MAX_TAGS
from sessions_app.services.read_state import after_watermarks

Ids = Sequence[UUID]


class Verb(Protocol):
    @property
    def done(self) -> str:
        """The participle that tells of it."""

    @property
    def changes_session(self) -> bool:
        """Whether it changes the session for everyone, which not every viewer may."""

    def do(self, action: Action, ids: Ids, refused: dict[str, int]) -> int:
        """Change what is to be changed of these locked sessions, keep in items how it was, add to `refused`; return how many were changed."""

    def undo(self, action: Action, ids: Ids) -> int:
        """Give back, for these locked sessions with items, in the order of their ids, what still is as the action left it; return how many."""


def insert_select(model: type[models.Model], columns: Sequence[str], rows: models.QuerySet[Any, Any], end: str = "") -> list[Any]:
    """Insert the rows of a `values_list` query, one for each column, and return the first of RETURNING's columns; the ORM has no such insert."""
    quote = connection.ops.quote_name
    fields = [model._meta.get_field(name) for name in columns]
    try:
        sql, params = rows.query.get_compiler(connection=connection).as_sql()
    except EmptyResultSet:
        return []
    head = f"INSERT INTO {quote(model._meta.db_table)} ({', '.join(quote(str(field.column)) for field in fields)}) "  # type: ignore[union-attr]
    with connection.cursor() as cursor:
        cursor.execute(f"{head}{sql} {end}", params)
        return [row[0] for row in cursor.fetchall()] if "RETURNING" in end else []


def update_sessions(ids: Ids, values: dict[str, Any], *, archived: bool | None = None, closed: bool | None = None) -> None:
    """Write these columns of the sessions, which the caller holds locked. archived, closed: what they are then, None = as they were."""
    rows = Session.objects.filter(pk__in=among(ids))
    if archived is None and closed is None:
        rows.update(**values)
        return
    with day_rows.writing() as tally:
        group = session_groups.restated(rows, tally, archived=archived, closed=closed)
        rows.update(**values, **({} if group is None else {"group_id": group}))
        if group is None:
            session_groups.place_all(ids, tally)


def item_of(action: Action, column: str, outer: str = "pk") -> Subquery:
    """Return what the action's item of the outer query's session keeps in a column."""
    return Subquery(ActionItem.objects.filter(action=action, session_id=OuterRef(outer)).values(column))


def opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


# --- what stands in the session itself --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ColumnVerb:
    """A change of some of the session's columns. Items keep the same columns as they were. archived, closed: what a session is after it."""

    done: str
    columns: tuple[str, ...]
    archived: bool | None = None
    closed: bool | None = None
    changes_session: bool = True

    def chosen(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        """Keep those that are not already as the verb wants them."""
        raise NotImplementedError

    def written(self, action: Action) -> dict[str, Any]:
        """Return what it writes, by column."""
        raise NotImplementedError

    def left(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        """Keep those that still are as it left them."""
        return rows.filter(**self.written(action))

    def allowed(self, rows: SessionQuerySet, action: Action, refused: dict[str, int]) -> SessionQuerySet:
        """Keep, of the chosen, those for which nothing stands against it."""
        return rows

    def do(self, action: Action, ids: Ids, refused: dict[str, int]) -> int:
        rows = self.allowed(self.chosen(Session.objects.filter(pk__in=among(ids)), action), action, refused)
        values = rows.order_by().values_list(Value(action.pk), "pk", *self.columns)
        found = [as_id(one) for one in insert_select(ActionItem, ("action", "session_id", *self.columns), values, "RETURNING session_id")]
        if found:
            update_sessions(found, self.written(action), archived=self.archived, closed=self.closed)
            self.afterwards(found, action, undone=False)
        return len(found)

    def undo(self, action: Action, ids: Ids) -> int:
        rows = Session.objects.changeable_by(action.viewer).filter(pk__in=among(ids))
        found = list(self.restorable(self.left(rows, action), action).order_by().values_list("pk", flat=True))
        if found:
            former = {column: item_of(action, column) for column in self.columns}
            update_sessions(found, former, archived=opposite(self.archived), closed=opposite(self.closed))
            self.afterwards(found, action, undone=True)
        return len(found)

    def afterwards(self, ids: Ids, action: Action, *, undone: bool) -> None:
        """Write what follows from the change elsewhere."""

    def restorable(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        """Keep those that can go back to what they were."""
        return rows


class Archive(ColumnVerb):
    def chosen(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(archived_at=None)

    def written(self, action: Action) -> dict[str, Any]:
        return {"archived_at": action.created_at}


class Restore(ColumnVerb):
    def chosen(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(archived_at__isnull=False)

    def written(self, action: Action) -> dict[str, Any]:
        return {"archived_at": None}


class Close(ColumnVerb):
    """Closes what is open. One that is closed keeps its summary: among many, an agent's own words would be lost without a look at them."""

    def chosen(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(closed_at=None)

    def written(self, action: Action) -> dict[str, Any]:
        return {"closed_at": action.created_at, "summary": action.value}

    def restorable(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return one_of_each_key(rows)


class Reopen(ColumnVerb):
    def chosen(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(closed_at__isnull=False)

    def written(self, action: Action) -> dict[str, Any]:
        return {"closed_at": None, "summary": ""}

    def allowed(self, rows: SessionQuerySet, action: Action, refused: dict[str, int]) -> SessionQuerySet:
        return counted(rows, one_of_each_key(rows), "key_taken", refused)


def counted(rows: SessionQuerySet, kept: SessionQuerySet, reason: str, refused: dict[str, int]) -> SessionQuerySet:
    """Count what is not kept under its reason; return what is kept."""
    ids = list(kept.order_by().values_list("pk", flat=True))
    if lost := rows.count() - len(ids):
        refused[reason] = refused.get(reason, 0) + lost
    return Session.objects.filter(pk__in=among(ids))


def one_of_each_key(rows: SessionQuerySet) -> SessionQuerySet:
    """Keep of closed sessions those that can be open: no other is open under their key, and of several with one key the newest."""
    key = ("channel", "key", "user_id")
    other = Session.objects.filter(closed_at=None, **{name: OuterRef(name) for name in key})
    place = Window(RowNumber(), partition_by=[F(name) for name in key], order_by=[F("last_message_at").desc(), F("pk").desc()])
    first = rows.filter(~Exists(other)).annotate(place=place).filter(place=1)
    return Session.objects.filter(pk__in=first.values("pk"))


class Tag(ColumnVerb):
    def chosen(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(~Q(HasTag("tags", Value(action.value))))

    def written(self, action: Action) -> dict[str, Any]:
        return {"tags": WithTag("tags", Value(action.value))}

    def afterwards(self, ids: Ids, action: Action, *, undone: bool) -> None:
        (remove_tag_rows if undone else add_tag_rows)(ids, action.value)

    def left(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(SameTags("tags", WithTag(item_of(action, "tags"), Value(action.value))))

    def allowed(self, rows: SessionQuerySet, action: Action, refused: dict[str, int]) -> SessionQuerySet:
        return counted(rows, rows.filter(LessThan(NumberOfTags("tags"), MAX_TAGS)), "too_many_tags", refused)


class Untag(ColumnVerb):
    def chosen(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(HasTag("tags", Value(action.value)))

    def written(self, action: Action) -> dict[str, Any]:
        return {"tags": WithoutTag("tags", Value(action.value))}

    def afterwards(self, ids: Ids, action: Action, *, undone: bool) -> None:
        (add_tag_rows if undone else remove_tag_rows)(ids, action.value)

    def left(self, rows: SessionQuerySet, action: Action) -> SessionQuerySet:
        return rows.filter(SameTags("tags", WithoutTag(item_of(action, "tags"), Value(action.value))))


# --- what stands in the viewer's own marks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MarkVerb:
    """Read or unread, for the viewer alone. A session that is so already gets no mark."""

    done: str
    is_unread: bool
    changes_session: bool = False

    def do(self, action: Action, ids: Ids, refused: dict[str, int]) -> int:
        viewer = action.viewer
        rows = Session.objects.filter(pk__in=among(ids)).with_marks_of(viewer)
        is_unread = Case(When(unread_condition(viewer), then=Value(True)), default=Value(False), output_field=BooleanField())
        at: datetime | Combinable = Value(action.created_at)
        if self.is_unread:
            at = Value(after_watermarks(action.created_at, ReadWatermark.objects.filter(viewer=viewer)))
        else:
            at = Coalesce(Greatest("unread_since", at), at)  # as far as what is unread, whatever the clocks of two web hosts say
        values = (
            rows.alias(unread=is_unread)
            .filter(unread=not self.is_unread)
            .order_by()
            .values_list(Value(action.pk), "pk", "mark__at", "mark__is_unread", at)
        )
        columns = ("action", "session_id", "mark_at", "mark_was_unread", "mark_left_at")
        found = [as_id(one) for one in insert_select(ActionItem, columns, values, "RETURNING session_id")]
        if found:
            items = ActionItem.objects.filter(action=action, session_id__in=among(found)).order_by("session_id")
            marks = items.values_list(Value(viewer.pk), "session_id", "mark_left_at", Value(self.is_unread))
            end = "ON CONFLICT (viewer_id, session_id) DO UPDATE SET at = excluded.at, is_unread = excluded.is_unread"
            insert_select(ReadMark, ("viewer", "session", "at", "is_unread"), marks, end)
        return len(found)

    def undo(self, action: Action, ids: Ids) -> int:
        # By a range, from the items to the marks: otherwise PostgreSQL compares all of the action's items, or all marks that the viewer has, for each batch.
        mark = ReadMark.objects.filter(viewer=action.viewer, session=OuterRef("session_id"), is_unread=self.is_unread)
        items = ActionItem.objects.filter(action=action, session_id__range=(ids[0], ids[-1])).annotate(
            stands_at=Subquery(mark.values("at"))
        )
        found = dict(items.filter(stands_at=F("mark_left_at")).values_list("session_id", "mark_at"))
        marks = ReadMark.objects.filter(viewer=action.viewer)
        if fresh := [one for one, before in found.items() if before is None]:
            marks.filter(session_id__in=among(fresh)).delete()
        if former := [one for one, before in found.items() if before is not None]:
            before = {"at": item_of(action, "mark_at", "session_id"), "is_unread": item_of(action, "mark_was_unread", "session_id")}
            marks.filter(session_id__in=among(former)).update(**before)
        return len(found)


# --- tags: lists of text in a JSON column -----------------------------------------------------------------------------------------------


def add_tag_rows(ids: Ids, tag: str) -> None:
    """Write one tag of sessions that have it now into the table of tags."""
    rows = Session.objects.filter(pk__in=among(ids)).order_by("pk").values_list("pk", Value(tag))
    insert_select(SessionTag, ("session", "tag"), rows, "ON CONFLICT DO NOTHING")


def remove_tag_rows(ids: Ids, tag: str) -> None:
    SessionTag.objects.filter(session__in=among(ids), tag=tag).delete()


class TagsSQL(Func):
    """SQL that each database writes in its own way. templates: vendor -> text, with {0} and {1} for the arguments, each once and in order."""

    templates: dict[str, str] = {}

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        compiled = [compiler.compile(argument) for argument in self.source_expressions]
        return self.templates[connection.vendor].format(*(sql for sql, _ in compiled)), [one for _, params in compiled for one in params]


class WithTag(TagsSQL):
    templates = {"sqlite": "json_insert({0}, '$[#]', {1})", "postgresql": "({0} || jsonb_build_array({1}::text))"}
    output_field = models.JSONField()


class WithoutTag(TagsSQL):
    templates = {
        "sqlite": "(SELECT json_group_array(value) FROM json_each({0}) WHERE value <> {1})",
        "postgresql": "({0} - {1}::text)",
    }
    output_field = models.JSONField()


class HasTag(TagsSQL):
    templates = {
        "sqlite": "EXISTS (SELECT 1 FROM json_each({0}) WHERE value = {1})",
        "postgresql": "({0} @> jsonb_build_array({1}::text))",
    }
    output_field = models.BooleanField()


class SameTags(TagsSQL):
    """Whether two lists are the same; as text they may differ by a blank."""

    templates = {
        "sqlite": "(SELECT json_group_array(value) FROM json_each({0})) = (SELECT json_group_array(value) FROM json_each({1}))",
        "postgresql": "({0} = {1})",
    }
    output_field = models.BooleanField()


class NumberOfTags(TagsSQL):
    templates = {"sqlite": "json_array_length({0})", "postgresql": "jsonb_array_length({0})"}
    output_field = models.IntegerField()


def as_id(value: Any) -> UUID:
    """Return an id as RETURNING gives it: SQLite has no type for one."""
    return value if isinstance(value, UUID) else UUID(value)


VERBS: dict[str, Verb] = {
    "read": MarkVerb("marked read", is_unread=False),
    "unread": MarkVerb("marked unread", is_unread=True),
    "archive": Archive("archived", ("archived_at",), archived=True),
    "restore": Restore("restored", ("archived_at",), archived=False),
    "close": Close("closed", ("closed_at", "summary"), closed=True),
    "reopen": Reopen("reopened", ("closed_at", "summary"), closed=False),
    "tag": Tag("tagged", ("tags",)),
    "untag": Untag("untagged", ("tags",)),
}
