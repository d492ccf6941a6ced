"""Many rows at once, past the ORM's per-row work: an import spends most of its time here. Values go through the fields' own conversions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, TypeVar

from django.db import connection, models

LOOKUP_SIZE = 500  # values in one IN (...): SQLite takes 32,766, the planner likes fewer
_ROWS_A_STATEMENT = 500  # PostgreSQL, whose driver sends one statement a row otherwise

Item = TypeVar("Item")


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield the items in lists of at most size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def insert_rows(rows: Sequence[models.Model]) -> None:
    """Insert unsaved rows of one model; a primary key that the database numbers stays unknown."""
    columns, getter, converters = _plan(type(rows[0]), connection.vendor)
    values = [
        tuple([value if convert is None else convert(value) for value, convert in zip(getter(row), converters, strict=True)])
        for row in rows
    ]
    table = connection.ops.quote_name(rows[0]._meta.db_table)
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608  # names of our own columns
    marks = f"({', '.join(['%s'] * len(columns))})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for some in chunks(values, _ROWS_A_STATEMENT):
                cursor.execute(head + ", ".join([marks] * len(some)), [value for row in some for value in row])
        else:
            cursor.executemany(head + marks, values)


def update_rows(rows: Sequence[models.Model], columns: tuple[str, ...]) -> None:
    """Write these columns of saved rows of one model, which the caller holds locked."""
    if not rows:
        return
    model = type(rows[0])
    if len(rows) == 1:
        model._default_manager.filter(pk=rows[0].pk).update(**{column: getattr(rows[0], column) for column in columns})
        return
    fields = [*(model._meta.get_field(column) for column in columns), model._meta.pk]
    getter, converters = attrgetter(*[field.attname for field in fields]), [_converter(field) for field in fields]
    values = [
        tuple([value if convert is None else convert(value) for value, convert in zip(getter(row), converters, strict=True)])
        for row in rows
    ]
    assignments = ", ".join(f"{field.column} = %s" for field in fields[:-1])
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {assignments} WHERE {fields[-1].column} = %s", values)  # noqa: S608  # names of our own columns


@cache
def _plan(model: type[models.Model], vendor: str) -> tuple[list[str], Callable[[Any], tuple[Any, ...]], list[Callable[[Any], Any] | None]]:
    """Return the columns, a getter of their values from a row, and what each value must go through for this database (None: nothing)."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    return [field.column for field in fields], attrgetter(*[field.attname for field in fields]), [_converter(field) for field in fields]


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any] | None:
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(target, models.CharField | models.TextField | models.BooleanField | models.IntegerField):
        return None
    if isinstance(target, models.JSONField):
        return lambda value: json.dumps(value, ensure_ascii=False) if value else "{}"
    # The same few times and ids come again and again in a batch, and the field's own conversion is slow.
    return lru_cache(maxsize=1024)(lambda value: target.get_db_prep_save(value, connection))
