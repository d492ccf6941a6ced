"""A session's tool calls: one call with its result, and what each tool and each model used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Length

from sessions_app import pricing
from sessions_app.attribution import Call, Compacted, Share, Text, attribute
from sessions_app.models import Compaction, Message, Session, UsageRecord
from sessions_app.money import ZERO

# Messages of one session whose tools are added up: 0.1 s for every 10,000. A longer session says that it was cut.
COUNTED_MESSAGES = 50_000
MODELS = 50


@dataclass(frozen=True, slots=True)
class SessionModel:
    """What one model used in a session. cost_usd: of its priced calls, None where none has a price."""

    model: str
    calls: int
    unpriced: int
    reported: int
    cache_read_tokens: int
    cache_write_tokens: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None

    @property
    def total_input_tokens(self) -> int:
        return self.cache_read_tokens + self.cache_write_tokens + self.input_tokens

    @property
    def cache_share(self) -> int:
        """Percent of the input that the cache served."""
        return round(100 * self.cache_read_tokens / self.total_input_tokens) if self.total_input_tokens else 0

    @property
    def source(self) -> str:
        """How the cost is known: reported, computed, or both."""
        priced = self.calls - self.unpriced
        return "" if not priced else "reported" if self.reported == priced else "both" if self.reported else "computed"


@dataclass(slots=True)
class SessionTool:
    """One tool in a session. took: of the calls whose time is known. share: see attribution.py; its dollars are a part of the model calls'."""

    tool: str
    calls: int = 0
    errors: int = 0
    took: timedelta = timedelta()
    share: Share | None = None

    @property
    def tokens(self) -> int:
        return round(self.share.tokens) if self.share else 0

    @property
    def carried(self) -> int:
        return round(self.share.carried) if self.share else 0

    @property
    def cost_usd(self) -> Decimal | None:
        return self.share.cost_usd if self.share else ZERO


@dataclass(frozen=True, slots=True)
class SessionTools:
    """rows: the dearest first. measured: percent of the results' tokens that the growth of the context told. is_cut: only the first
    COUNTED_MESSAGES were looked at."""

    rows: list[SessionTool]
    measured: int
    is_cut: bool


def call_and_result(session: Session, message: Message) -> tuple[Message | None, Message | None]:
    """Return the call and the result that a tool's message belongs to, whole; None for the one that is missing."""
    other = "tool_result" if message.role == "tool_use" else "tool_use"
    found = None
    if message.tool_call_id:
        rows = Message.objects.filter(session=session, tool_call_id=message.tool_call_id, subagent_id=message.subagent_id)
        # an id that a log used again pairs its first call with its first result, and so on
        mine = list(rows.filter(role=message.role).order_by("timestamp", "pk").values_list("pk", flat=True)[:1000])
        at = mine.index(message.pk) if message.pk in mine else 0
        found = rows.filter(role=other).order_by("timestamp", "pk")[at : at + 1].first()
    return (message, found) if message.role == "tool_use" else (found, message)


def models_of_session(session: Session) -> list[SessionModel]:
    """Return what each model used, the dearest first, sub-agents included: one grouped query."""
    rows = (
        UsageRecord.objects.filter(session=session)
        .values("model")
        .annotate(
            calls=Count("pk"),
            unpriced=Count("pk", filter=Q(cost_source="unknown")),
            reported=Count("pk", filter=Q(cost_source="reported")),
            read=Sum("cache_read_tokens"),
            write=Sum("cache_write_tokens"),
            new=Sum("input_tokens"),
            out=Sum("output_tokens"),
            cost=Sum("cost_usd"),
        )
        .order_by(F("cost").desc(nulls_last=True), "-calls", "model")
    )
    return [
        SessionModel(
            row["model"],
            row["calls"],
            row["unpriced"],
            row["reported"],
            row["read"],
            row["write"],
            row["new"],
            row["out"],
            row["cost"] if row["unpriced"] < row["calls"] else None,
        )
        for row in rows[:MODELS]
    ]


def tools_of_session(session: Session) -> SessionTools:
    """Return what each tool did and what its results cost, in one pass over slim columns of messages, model calls and compactions."""
    uses: dict[str, SessionTool] = {}
    rows = Message.objects.filter(session=session).order_by("timestamp", "pk")
    slim = rows.annotate(characters=Length("content")).values_list(
        *("role", "timestamp", "subagent_id", "response_id", "tool_name", "tool_call_id", "is_error", "extra__duration_ms", "characters")
    )
    messages = list(islice(slim.iterator(chunk_size=2000), COUNTED_MESSAGES + 1))
    is_cut = len(messages) > COUNTED_MESSAGES
    del messages[COUNTED_MESSAGES:]
    _count(messages, uses)
    shares = attribute(_events(session, messages))
    for tool, share in shares.items():
        uses.setdefault(tool, SessionTool(tool)).share = share
    tokens = sum(share.tokens for share in shares.values())
    measured = round(100 * sum(share.measured for share in shares.values()) / tokens) if tokens else 0
    order = sorted(uses.values(), key=lambda use: (-(use.cost_usd or ZERO), -use.carried, -use.calls, use.tool))
    return SessionTools(order, measured, is_cut)


def _count(messages: list[tuple[Any, ...]], uses: dict[str, SessionTool]) -> None:
    """Count calls, errors and time. A result without a call counts as one: its call was never written."""
    called: dict[str, tuple[str, datetime]] = {}
    for role, timestamp, _, _, tool, call_id, is_error, measured, _ in messages:
        if role == "tool_use":
            uses.setdefault(tool, SessionTool(tool)).calls += 1
            called[call_id] = (tool, timestamp)
        elif role == "tool_result":
            began = called.get(call_id)
            use = uses.setdefault(began[0] if began else tool, SessionTool(began[0] if began else tool))
            use.calls += began is None
            use.errors += is_error
            if isinstance(measured, (int, float)) and 0 <= measured < 1e11:
                use.took += timedelta(milliseconds=measured)
            elif began is not None and timestamp > began[1]:
                use.took += timestamp - began[1]


def _events(session: Session, messages: list[tuple[Any, ...]]) -> Iterator[Text | Call | Compacted]:
    """Yield what came into the contexts and what read them, in order of time. A call stands where the first message that it wrote does, because a log
    records its usage when it has ended; one without messages stands at its own time."""
    records = UsageRecord.objects.filter(session=session).order_by("timestamp", "pk")
    calls = records.values_list(
        *("timestamp", "subagent_id", "response_id", "model", "provider", "extra__speed"),
        *("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "input_tokens", "output_tokens"),
    )
    wrote = {message[3] for message in messages if message[3]}
    of_response: dict[str, list[Call]] = {}
    loose: list[tuple[datetime, Call | Compacted]] = []
    rates: dict[tuple[Any, ...], pricing.InputRates | None] = {}
    for timestamp, thread, response_id, model, provider, speed, read, write, long_write, new, output in calls.iterator(chunk_size=2000):
        # prices change by day and by the size of the request; to 1,000 tokens is near enough, and keeps the look-ups few
        key = (model, provider, timestamp.date(), (read + write + new) // 1000, speed)
        if key not in rates:
            size = read + write + new
            rates[key] = pricing.input_rates(
                model=model, provider=provider, total_input_tokens=size, at=timestamp, speed=speed if isinstance(speed, str) else ""
            )
        rate = rates[key]
        mixed = None
        if rate is not None:
            stored = rate.write * (write - min(long_write, write)) + rate.long_write * min(long_write, write)
            mixed = (stored + rate.new * new) / (write + new) if write + new else rate.new
        call = Call(thread, read, write + new, output, rate.read if rate is not None else None, mixed)
        if response_id in wrote:
            of_response.setdefault(response_id, []).append(call)
        else:
            loose.append((timestamp, call))
    for timestamp, extra in Compaction.objects.filter(session=session).values_list("timestamp", "extra"):
        loose.append((timestamp, Compacted(str(extra.get("subagent_id", "")) if isinstance(extra, dict) else "")))
    loose.sort(key=lambda pair: pair[0])
    at = 0
    tools: dict[str, str] = {}
    for role, timestamp, thread, response_id, tool, call_id, _, _, characters in messages:
        while at < len(loose) and loose[at][0] <= timestamp:
            yield loose[at][1]
            at += 1
        if response_id:
            yield from of_response.pop(response_id, ())
        if role == "tool_use":
            tools[call_id] = tool
        if role == "tool_result":
            yield Text(thread, characters, tools.get(call_id) or tool)
        elif role in ("user", "system"):
            yield Text(thread, characters)
    for _, event in loose[at:]:
        yield event
