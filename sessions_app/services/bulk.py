"""Many rows at once, past the ORM's per-row work: an import spends most of its time here. Values go through the fields' own conversions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
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
    """Insert unsaved rows of one model; their primary keys stay unknown."""
    columns, getter, converters = _plan(type(rows[0]), connection.vendor)
    values = [
        tuple([value if convert is None else convert(value) for value, convert in zip(getter(row), converters, strict=True)])
        for row in rows
    ]
    table = connection.ops.quote_name(rows[0]._meta.db_table)
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    marks = f"({', '.join(['%s'] * len(columns))})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for some in chunks(values, _ROWS_A_STATEMENT):
                cursor.execute(head + ", ".join([marks] * len(some)), [value for row in some for value in row])
        else:
            cursor.executemany(head + marks, values)


@cache
def _plan(model: type[models.Model], vendor: str) -> tuple[list[str], Callable[[Any], tuple[Any, ...]], list[Callable[[Any], Any] | None]]:
    """Return the columns, a getter of their values from a row, and what each value must go through for this database (None: nothing)."""
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    return [field.column for field in fields], attrgetter(*[field.attname for field in fields]), [_converter(field) for field in fields]


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any] | None:
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(target, models.CharField | models.TextField | models.BooleanField):
        return None
    if isinstance(target, models.IntegerField):
        return None
    if isinstance(target, models.JSONField):
        return lambda value: json.dumps(value, ensure_ascii=False) if value else "{}"
    return lambda value: target.get_db_prep_save(value, connection)
