"""What pydantic says of a bad value -> a problem with the field at fault and words a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sessions_app.api.problems import Problem

WORDS = {"missing": "it is required", "extra_forbidden": "there is no such field"}
MOST = 20  # of the fields at fault that are named


def invalid(error: ValidationError | Sequence[Mapping[str, Any]], prefix: tuple[str, ...] = ()) -> Problem:
    """Return a problem 422. prefix: what of each place is not the client's word, such as the name of the view's argument."""
    found = error.errors(include_url=False, include_context=False) if isinstance(error, ValidationError) else error
    errors = []
    for one in list(found)[:MOST]:
        place = tuple(map(str, one["loc"]))
        if place[: len(prefix)] == prefix:
            place = place[len(prefix) :]
        errors.append({"field": ".".join(place), "detail": _words(one)})
    first = errors[0]
    name = first["field"] if first["field"] not in ("", "body") else "The body"
    return Problem(
        422, "invalid_value", f"{name[:200]}: {first['detail']}.", field=first["field"], errors=errors if len(errors) > 1 else []
    )


def _words(one: Mapping[str, Any]) -> str:
    words = WORDS.get(one["type"]) or str(one["msg"]).removeprefix("Value error, ").replace("Input should be", "it must be", 1)
    return words[:300]
