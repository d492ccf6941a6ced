"""Thousands of ids in one statement; on SQLite as one parameter: a placeholder for each would cost more than what is done with them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.expressions import RawSQL


@dataclass(frozen=True, slots=True)
class IdBatch:
    """Some of the ids of many. next_cursor: where the next batch begins, "" when there is no more."""

    ids: list[UUID]
    next_cursor: str


def among(ids: Iterable[UUID]) -> Any:
    """Return the ids for `pk__in`. On PostgreSQL a list: of a subquery's ids its planner thinks too little, and may rather read the whole table."""
    return list(ids) if connection.vendor == "postgresql" else RawSQL(*id_rows(ids))


def id_rows(ids: Iterable[UUID]) -> tuple[str, tuple[object]]:
    """Return the SELECT that gives the ids as rows, and its parameter."""
    if connection.vendor == "postgresql":
        return "SELECT unnest(%s::uuid[])", (list(ids),)
    return "SELECT value FROM json_each(%s)", (json.dumps([one.hex for one in ids]),)
