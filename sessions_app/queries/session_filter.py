"""What a list of sessions is asked for: one frozen value, which the page's form and the API build and the reads take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

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
