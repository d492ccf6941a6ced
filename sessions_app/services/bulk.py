"""Many rows at once, past the ORM's per-row work: an import spends most of its time here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState

from sessions_app.database import run, run_for_each, time_value, vendor

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
    """Make an unsaved row from a value for each of its columns but the number; past Model.__init__, which takes five times as long to come to the same."""
    row = model.__new__(model)
    row._state = ModelState()
    row.__dict__.update(values)
    row.__dict__[model._meta.pk.attname] = None
    return row


def insert_rows(rows: Sequence[models.Model], *, with_ids: bool = False) -> None:
    """Insert unsaved rows of one model. A primary key that the database numbers stays unknown, unless with_ids: then the rows are as if saved."""
    model = type(rows[0])
    head, marks, names = _insert(model)
    values = _values(rows, names)
    if with_ids:
        ids: list[Any] = []
        for some in chunks(values, _ROWS_A_STATEMENT):
            # Both databases return the rows in the order of the values; the ORM's bulk_create stands on that too.
            sql = f"{head}{', '.join([marks] * len(some))} RETURNING {model._meta.pk.column}"
            ids += [number for (number,) in run(sql, [value for row in some for value in row])]
        for row, number in zip(rows, ids, strict=True):
            row.pk, row._state.adding, row._state.db = number, False, DEFAULT_DB_ALIAS
    elif vendor() == "postgresql":
        for some in chunks(values, _ROWS_A_STATEMENT):
            run(head + ", ".join([marks] * len(some)), [value for row in some for value in row])
    else:
        run_for_each(head + marks, values)


def fetch_row(model: type[Row], values: dict[str, Any], *, join: str = "", lock: bool = False) -> Row | None:
    """Fetch the row with these values, as a unique constraint allows one; as the ORM would, but by SQL that is built once, where the ORM builds it
    anew for each query and takes longer than the database. join: a foreign key, never NULL, whose row comes along. lock: until the transaction ends."""
    asked = tuple([(name, value is None) for name, value in values.items()])
    sql, fields, readers = _select(model, asked, join)
    if lock and vendor() == "postgresql":
        sql += f" FOR NO KEY UPDATE OF {_table(model)}"
    found = run(sql, [convert(values[name]) if convert else values[name] for name, convert in fields])
    if not found:
        return None
    size = len(readers[0].names)
    row = readers[0].row(found[0][:size])
    if join:
        setattr(row, join, _shared_row(readers[1], found[0][size:]))
    return cast(Row, row)


def fetch_shared_row(model: type[Row], values: dict[str, Any]) -> Row | None:
    """The same for rows that are read with each request and seldom change: as long as it is unchanged in the database, the same object, which
    belongs to all and must not be changed."""
    sql, fields, readers = _select(model, tuple([(name, value is None) for name, value in values.items()]), "")
    found = run(sql, [convert(values[name]) if convert else values[name] for name, convert in fields])
    return cast(Row, _shared_row(readers[0], found[0])) if found else None


class _Reader:
    """What the database returns of a row -> the row."""

    def __init__(self, model: type[models.Model]) -> None:
        self.model = model
        self.names = [field.attname for field in model._meta.concrete_fields]
        self.converters: list[tuple[int, Callable[..., Any], Any]] = []
        for place, field in enumerate(model._meta.concrete_fields):
            expression: Any = field.get_col(model._meta.db_table)
            for convert in connection.ops.get_db_converters(expression) + expression.get_db_converters(connection):
                self.converters.append((place, convert, expression))

    def row(self, found: tuple[Any, ...]) -> models.Model:
        values = list(found)
        database = connections[DEFAULT_DB_ALIAS]
        for place, convert, expression in self.converters:
            values[place] = convert(values[place], expression, database)
        return self.model.from_db(DEFAULT_DB_ALIAS, self.names, values)


@lru_cache(maxsize=1024)
def _shared_row(reader: _Reader, found: tuple[Any, ...]) -> models.Model:
    return reader.row(found)


def update_rows(rows: Sequence[models.Model], names: tuple[str, ...]) -> None:
    """Write these columns of saved rows of one model, which the caller holds locked."""
    if not rows:
        return
    model = type(rows[0])
    sql, names = _update(model, names)
    run_for_each(sql, _values(rows, names))


def _values(rows: Sequence[models.Model], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Return each row's values of these fields as the database takes them."""
    getter, converters = _plan(type(rows[0]), names)
    return [tuple([convert(value) if convert else value for value, convert in zip(getter(row), converters, strict=True)]) for row in rows]


def _columns(model: type[models.Model], names: tuple[str, ...]) -> list[str]:
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    return [field.column for field in fields]


@cache
def _insert(model: type[models.Model]) -> tuple[str, str, tuple[str, ...]]:
    """Return an INSERT up to its values, the marks of one row's values, and the names of the fields that they are of: all but a number given by
    the database."""
    names = tuple(field.name for field in model._meta.concrete_fields if not isinstance(field, models.AutoField))
    columns = ", ".join(_columns(model, names))
    return f"INSERT INTO {_table(model)} ({columns}) VALUES ", f"({', '.join(['%s'] * len(names))})", names  # noqa: S608  # our own columns


@cache
def _update(model: type[models.Model], names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the UPDATE of these fields of a row, and the names of the fields whose values it takes: the row's key at the end."""
    assignments = ", ".join(f"{column} = %s" for column in _columns(model, names))
    return f"UPDATE {_table(model)} SET {assignments} WHERE {model._meta.pk.column} = %s", (*names, model._meta.pk.name)  # noqa: S608


@cache
def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


@cache
def _select(
    model: type[models.Model], asked: tuple[tuple[str, bool], ...], join: str
) -> tuple[str, list[tuple[str, Convert | None]], list[_Reader]]:
    """Return the SELECT of a model's row (and of the joined one) by columns, each with whether it is NULL; the names of those that are not, with
    what their values must go through; and for each of the two rows how its values are read."""
    columns, readers = [], []
    key: Any = model._meta.get_field(join) if join else None
    for one in (model, key.related_model) if key else (model,):
        fields: list[Any] = list(one._meta.concrete_fields)
        columns += [f"{_table(one)}.{connection.ops.quote_name(field.column)}" for field in fields]
        readers.append(_Reader(one))
    sql = f"SELECT {', '.join(columns)} FROM {_table(model)}"  # noqa: S608  # names of our own columns
    if key:
        other = _table(key.related_model)
        sql += f" JOIN {other} ON {_table(model)}.{connection.ops.quote_name(key.column)} = {other}.{connection.ops.quote_name(key.target_field.column)}"
    by_name: dict[str, Any] = {field.attname: field for field in model._meta.concrete_fields}
    conditions = [
        f"{_table(model)}.{connection.ops.quote_name(by_name[name].column)} {'IS NULL' if is_null else '= %s'}" for name, is_null in asked
    ]
    return f"{sql} WHERE {' AND '.join(conditions)}", [(name, _converter(by_name[name])) for name, is_null in asked if not is_null], readers


@cache
def _plan(model: type[models.Model], names: tuple[str, ...]) -> tuple[Callable[[Any], tuple[Any, ...]], list[Convert | None]]:
    """Return a getter of the fields' values from a row, and what each value must go through for this database (None: nothing)."""
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    return attrgetter(*[field.attname for field in fields]), [_converter(field) for field in fields]


def _converter(field: models.Field[Any, Any]) -> Convert | None:
    """Return what a field's value must go through for the database; None: nothing."""
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(target, models.CharField | models.TextField | models.BooleanField | models.IntegerField):
        return None
    if isinstance(target, models.JSONField):
        return lambda value: json.dumps(value, ensure_ascii=False) if value else "[]" if value == [] else "{}"
    if isinstance(target, models.DateTimeField):
        return time_value if vendor() == "sqlite" else None
    # The same few ids come again and again in a batch, and the field's own conversion is slow.
    return lru_cache(maxsize=1024)(lambda value: target.get_db_prep_save(value, connection))
