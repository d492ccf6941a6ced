"""Many rows at once, past the ORM's per-row work: an import spends most of its time here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import attrgetter, itemgetter
from typing import Any, TypeVar, cast

from django.db import connection, models

LOOKUP_SIZE = 500  # values in one IN (...): SQLite takes 32,766, the planner likes fewer
_ROWS_A_STATEMENT = 500  # PostgreSQL, whose driver sends one statement a row otherwise

Item = TypeVar("Item")
Row = TypeVar("Row", bound=models.Model)
Convert = Callable[[Any], Any]


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield the items in lists of at most size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def new_row(model: type[Row], values: dict[str, Any]) -> Row:
    """Make an unsaved row from a value for each of its columns but the number; by position, which is three times faster than by name."""
    return model(None, *_values_in_order(model)(values))


def insert_rows(rows: Sequence[models.Model], *, with_ids: bool = False) -> None:
    """Insert unsaved rows of one model. A primary key that the database numbers stays unknown, unless with_ids: then the rows are as if saved."""
    model = type(rows[0])
    columns, values = _values(rows, tuple(field.name for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)))
    head = f"INSERT INTO {_table(model)} ({', '.join(columns)}) VALUES "  # noqa: S608  # names of our own columns
    marks = f"({', '.join(['%s'] * len(columns))})"
    with connection.cursor() as cursor:
        if with_ids:
            ids: list[Any] = []
            for some in chunks(values, _ROWS_A_STATEMENT):
                # Both databases return the rows in the order of the values; the ORM's bulk_create stands on that too.
                cursor.execute(
                    f"{head}{', '.join([marks] * len(some))} RETURNING {model._meta.pk.column}", [value for row in some for value in row]
                )
                ids += [row[0] for row in cursor.fetchall()]
            for row, number in zip(rows, ids, strict=True):
                row.pk, row._state.adding, row._state.db = number, False, connection.alias
        elif connection.vendor == "postgresql":
            for some in chunks(values, _ROWS_A_STATEMENT):
                cursor.execute(head + ", ".join([marks] * len(some)), [value for row in some for value in row])
        else:
            cursor.executemany(head + marks, values)


def fetch_row(model: type[Row], values: dict[str, Any], *, join: str = "", lock: bool = False) -> Row | None:
    """Fetch the row with these values, as a unique constraint allows one; as the ORM would, but by SQL that is built once, where the ORM builds it
    anew for each query and takes longer than the database. join: a foreign key, never NULL, whose row comes along. lock: until the transaction ends."""
    asked = tuple([(name, value is None) for name, value in values.items()])
    sql, fields, readers = _select(model, asked, join, connection.vendor)
    if lock and connection.vendor == "postgresql":
        sql += f" FOR NO KEY UPDATE OF {_table(model)}"
    with connection.cursor() as cursor:
        cursor.execute(sql, [field.get_db_prep_value(values[field.attname], connection) for field in fields])
        found = cursor.fetchone()
    if found is None:
        return None
    rows, start = [], 0
    for names, converters, one in readers:
        part = list(found[start : start + len(names)])
        for place, convert, expression in converters:
            part[place] = convert(part[place], expression, connection)
        rows.append(one.from_db(connection.alias, names, part))
        start += len(names)
    if join:
        setattr(rows[0], join, rows[1])
    return cast(Row, rows[0])


def update_rows(rows: Sequence[models.Model], names: tuple[str, ...]) -> None:
    """Write these columns of saved rows of one model, which the caller holds locked."""
    if not rows:
        return
    columns, values = _values(rows, (*names, type(rows[0])._meta.pk.name))
    assignments = ", ".join(f"{column} = %s" for column in columns[:-1])
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {_table(type(rows[0]))} SET {assignments} WHERE {columns[-1]} = %s", values)  # noqa: S608


def _values(rows: Sequence[models.Model], names: tuple[str, ...]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns of these fields, and each row's values as the database takes them."""
    columns, getter, converters = _plan(type(rows[0]), names, connection.vendor)
    return columns, [
        tuple([convert(value) if convert else value for value, convert in zip(getter(row), converters, strict=True)]) for row in rows
    ]


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


@cache
def _values_in_order(model: type[models.Model]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    return itemgetter(*[field.attname for field in model._meta.concrete_fields if not field.primary_key])


@cache
def _select(
    model: type[models.Model], asked: tuple[tuple[str, bool], ...], join: str, vendor: str
) -> tuple[str, list[Any], list[tuple[list[str], list[Any], type[models.Model]]]]:
    """Return the SELECT of a model's row (and of the joined one) by columns, each with whether it is NULL; the fields of those that are not; and for
    each of the two rows how its values are read."""
    columns, readers = [], []
    key: Any = model._meta.get_field(join) if join else None
    for one in (model, key.related_model) if key else (model,):
        fields: list[Any] = list(one._meta.concrete_fields)
        converters = []
        for place, field in enumerate(fields):
            expression = field.get_col(one._meta.db_table)
            for convert in connection.ops.get_db_converters(expression) + expression.get_db_converters(connection):
                converters.append((place, convert, expression))
        columns += [f"{_table(one)}.{connection.ops.quote_name(field.column)}" for field in fields]
        readers.append(([field.attname for field in fields], converters, one))
    sql = f"SELECT {', '.join(columns)} FROM {_table(model)}"  # noqa: S608  # names of our own columns
    if key:
        other = _table(key.related_model)
        sql += f" JOIN {other} ON {_table(model)}.{connection.ops.quote_name(key.column)} = {other}.{connection.ops.quote_name(key.target_field.column)}"
    by_name: dict[str, Any] = {field.attname: field for field in model._meta.concrete_fields}
    conditions = [
        f"{_table(model)}.{connection.ops.quote_name(by_name[name].column)} {'IS NULL' if is_null else '= %s'}" for name, is_null in asked
    ]
    return f"{sql} WHERE {' AND '.join(conditions)}", [by_name[name] for name, is_null in asked if not is_null], readers


@cache
def _plan(
    model: type[models.Model], names: tuple[str, ...], vendor: str
) -> tuple[list[str], Callable[[Any], tuple[Any, ...]], list[Convert | None]]:
    """Return the columns, a getter of their values from a row, and what each value must go through for this database (None: nothing)."""
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    return (
        [field.column for field in fields],
        attrgetter(*[field.attname for field in fields]),
        [_converter(field, vendor) for field in fields],
    )


def _converter(field: models.Field[Any, Any], vendor: str) -> Convert | None:
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(target, models.CharField | models.TextField | models.BooleanField | models.IntegerField):
        return None
    if isinstance(target, models.JSONField):
        return lambda value: json.dumps(value, ensure_ascii=False) if value else "[]" if value == [] else "{}"
    if isinstance(target, models.DateTimeField):
        return _sqlite_time if vendor == "sqlite" else None
    # The same few ids come again and again in a batch, and the field's own conversion is slow.
    return lru_cache(maxsize=1024)(lambda value: target.get_db_prep_save(value, connection))


def _sqlite_time(moment: datetime | None) -> str | None:
    """Write a time as Django's SQLite backend does: UTC, without saying so."""
    return None if moment is None else str(moment.astimezone(UTC).replace(tzinfo=None))
