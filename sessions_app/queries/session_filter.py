"""What a list of sessions is asked for: one frozen value, which the page's form and the API build and the reads take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

STATUSES = ("inbox", "all", "open", "closed", "stale", "archived")  # inbox = not archived; open, closed and stale are not archived either
SORTS = ("activity", "started", "cost", "messages")  # all descending, ties by id


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions, in which order. "" and None: no restriction.

    status: one of STATUSES; stale = open, and idle for its channel's gap or longer. trigger: "person", "cron" (any named one), "cron:<name>" or
    "heartbeat". since, until: business days, half-open, by overlap: a session that ran from Monday to Wednesday is one of Tuesday's.
    cost_min, cost_max: dollars, both inclusive, of what is priced. tag: a whole one. text: a part of title, key or summary, whatever its case.
    sort: one of SORTS."""

    status: str = "inbox"
    unread: bool | None = None
    channel: str = ""
    user_id: str = ""
    agent: str = ""
    project: str = ""
    model: str = ""
    trigger: str = ""
    has_errors: bool | None = None
    cost_min: Decimal | None = None
    cost_max: Decimal | None = None
    since: date | None = None
    until: date | None = None
    tag: str = ""
    text: str = ""
    sort: str = "activity"


# --- as it is kept: in a saved view, in an action that goes on later -----------------------------------------------------------------------

PERIODS = ("today", "yesterday", "7d", "30d", "month")  # instead of dates: counted from the day on which the filter is used


def filter_fields(filter: SessionFilter) -> dict[str, Any]:
    """Return what differs from the plain inbox, as JSON; `filter_of` reads it."""
    found: dict[str, Any] = {}
    for one in fields(filter):
        value = getattr(filter, one.name)
        if value != one.default:
            found[one.name] = value.isoformat() if isinstance(value, date) else f"{value:f}" if isinstance(value, Decimal) else value
    return found


def filter_of(kept: Mapping[str, Any], *, today: date | None = None) -> SessionFilter:
    """Return the filter of what was kept. A period becomes its dates, with `today` its last day. What is unknown or cannot be read falls away: a
    view that was made by an older or newer release shows more, and breaks nothing."""
    found: dict[str, Any] = {}
    for one in fields(SessionFilter):
        value = kept.get(one.name)
        if value is None or value == one.default:
            continue
        if isinstance(one.default, str):
            good: Any = value if isinstance(value, str) else None
        elif one.name in ("unread", "has_errors"):
            good = value if isinstance(value, bool) else None
        else:
            good = (_date if one.name in ("since", "until") else _dollars)(value)
        if good is not None:
            found[one.name] = good
    if found.get("status", "inbox") not in STATUSES:
        del found["status"]
    if found.get("sort", "activity") not in SORTS:
        del found["sort"]
    if today is not None and kept.get("period") in PERIODS:
        found["since"], found["until"] = period_range(kept["period"], today)
    return SessionFilter(**found)


def _date(value: object) -> date | None:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None


def _dollars(value: object) -> Decimal | None:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= 1_000_000_000 else None


def period_range(period: str, today: date) -> tuple[date | None, date | None]:
    """Return the days of a preset, half-open, today the last of them but for yesterday."""
    if period == "all":
        return None, None
    if period == "yesterday":
        return today - timedelta(days=1), today
    if period == "today":
        return today, today + timedelta(days=1)
    first = today.replace(day=1) if period == "month" else today - timedelta(days=int(period.removesuffix("d")) - 1)
    return first, today + timedelta(days=1)
