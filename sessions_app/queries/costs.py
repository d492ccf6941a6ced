"""What it cost: read from the day rows, and from single records only for the part-days at the edges of a range."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Count, Q, QuerySet, Sum

from sessions_app.day_rows import USAGE_MEASURES, day_of, day_start, next_day
from sessions_app.models import Message, Session, ToolDay, ToolDayByName, UsageDay, UsageDayBy, UsageRecord, sees_everything
from sessions_app.money import ZERO

if TYPE_CHECKING:
    from django.contrib.auth.models import User

UNKNOWN = "unknown"  # cost_source of a record without a price


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over usage records. Tokens whole; input_tokens the uncached part, total_input_tokens with cache reads and writes.
    total_cost_usd: dollars, the sum of the priced records; in a row None when none of its records is priced. priced_tokens: the tokens
    of the priced records, out of total_tokens."""

    total_input_tokens: int
    total_output_tokens: int
    total_cache_read: int
    total_cache_write: int
    total_cost_usd: Decimal | None
    total_turns: int
    input_tokens: int
    priced_tokens: int
    unpriced_turns: int

    @property
    def total_tokens(self) -> int:
        return self.total_input_tokens + self.total_output_tokens

    @property
    def cost_usd(self) -> Decimal | None:
        return self.total_cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCost(Totals):
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost(Totals):
    model: str


@dataclass(frozen=True, slots=True)
class DayModelCost:
    """cost_usd: dollars, None when no record of that day and model is priced."""

    model: str
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class DayCost:
    """date: a day of the business time zone. by_model: dearest first."""

    date: date
    total_cost_usd: Decimal | None
    by_model: list[DayModelCost]


@dataclass(frozen=True, slots=True)
class ToolUse:
    tool_name: str
    invocations: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostOverview(Totals):
    """by_user and by_model: dearest first, unpriced last, ties by name. by_day: oldest first, days without usage left out. by_tool: most used first."""

    total_cost_usd: Decimal
    by_user: list[UserCost]
    by_model: list[ModelCost]
    by_day: list[DayCost]
    by_tool: list[ToolUse]


@dataclass(slots=True)
class _Sums:
    """Adds up rows of (cost_source, *USAGE_MEASURES), of which it keeps the priced and the unpriced apart."""

    turns: int = 0
    unpriced_turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    priced_tokens: int = 0
    cost_usd: Decimal = ZERO

    def add(self, cost_source: str, measures: tuple[Any, ...]) -> None:
        turns, input_, output, cache_read, cache_write, _, cost = measures
        self.turns += turns
        self.input_tokens += input_
        self.output_tokens += output
        self.cache_read_tokens += cache_read
        self.cache_write_tokens += cache_write
        if cost_source == UNKNOWN:
            self.unpriced_turns += turns
        else:
            self.priced_tokens += input_ + output + cache_read + cache_write
            self.cost_usd += cost or ZERO

    @property
    def cost_known(self) -> Decimal | None:
        return None if self.turns == self.unpriced_turns else self.cost_usd

    def totals(self) -> dict[str, Any]:
        return {
            "total_input_tokens": self.input_tokens + self.cache_read_tokens + self.cache_write_tokens,
            "total_output_tokens": self.output_tokens,
            "total_cache_read": self.cache_read_tokens,
            "total_cache_write": self.cache_write_tokens,
            "total_cost_usd": self.cost_known,
            "total_turns": self.turns,
            "input_tokens": self.input_tokens,
            "priced_tokens": self.priced_tokens,
            "unpriced_turns": self.unpriced_turns,
        }


@dataclass(frozen=True, slots=True)
class _Span:
    """A half-open range of time as whole business days (read from the day rows) and the part-days at its edges (read from the records).
    days: [first, last), None = open; empty when first == last. edges: half-open ranges, each inside one day."""

    first: date | None
    last: date | None
    edges: list[tuple[datetime, datetime]]


def cost_overview(since: datetime | None = None, until: datetime | None = None, *, viewer: User | None = None) -> CostOverview:
    """Add up what all sessions that the viewer may see used in [since, until): aware times, None = no bound; a naive one is a ValueError."""
    for bound in (since, until):
        if bound is not None and bound.utcoffset() is None:
            raise ValueError("since and until need a time zone.")
    # In UTC: two times of one zone compare by their wall clocks, wrongly in the hour that comes twice.
    since, until = since and since.astimezone(UTC), until and until.astimezone(UTC)
    span = _span(since, until)
    total = _Sums()
    by_user: defaultdict[str, _Sums] = defaultdict(_Sums)
    by_model: defaultdict[str, _Sums] = defaultdict(_Sums)
    by_day: defaultdict[date, defaultdict[str, _Sums]] = defaultdict(lambda: defaultdict(_Sums))
    for user_id, cost_source, *measures in _sums_by("user_id", span, viewer):
        by_user[user_id].add(cost_source, tuple(measures))
    for day, model, cost_source, *measures in _sums_by("model", span, viewer, by_day=True):
        for sums in (total, by_model[model], by_day[day][model]):
            sums.add(cost_source, tuple(measures))
    return CostOverview(
        **{**total.totals(), "total_cost_usd": total.cost_usd},
        by_user=_dearest_first([UserCost(user_id=name, **sums.totals()) for name, sums in by_user.items()], "user_id"),
        by_model=_dearest_first([ModelCost(model=name, **sums.totals()) for name, sums in by_model.items()], "model"),
        by_day=[_day_cost(day, models) for day, models in sorted(by_day.items())],
        by_tool=_tool_use(span, viewer),
    )


def dearest_models(*, viewer: User | None = None) -> list[str]:
    """Name the models by what they cost over all time, dearest first, ties by name, those without a price left out: the order in which charts
    hand out their colours, so that a model has the same one whatever the range."""
    rows: QuerySet[Any]
    if sees_everything(viewer):
        rows, column = UsageDayBy.objects.filter(dimension="model"), "value"
    else:
        rows, column = UsageDay.objects.visible_to(viewer), "model"
    found = (
        rows.exclude(cost_source=UNKNOWN)
        .values_list(column)
        .annotate(cost=Sum("cost_usd"), calls=Sum("turns"))
        .filter(calls__gt=0)
        .order_by()
    )
    return [name for name, _, _ in sorted(found, key=lambda row: (-row[1], row[0]))]


def _day_cost(day: date, models: dict[str, _Sums]) -> DayCost:
    known = [sums.cost_usd for sums in models.values() if sums.cost_known is not None]
    rows = [DayModelCost(model, sums.cost_known) for model, sums in models.items()]
    return DayCost(day, sum(known, ZERO) if known else None, _dearest_first(rows, "model"))


Row = TypeVar("Row", UserCost, ModelCost, DayModelCost)


def _dearest_first(rows: list[Row], name: str) -> list[Row]:
    return sorted(rows, key=lambda row: (row.cost_usd is None, -(row.cost_usd or 0), getattr(row, name)))


def _span(since: datetime | None, until: datetime | None) -> _Span:
    if since is not None and until is not None and since >= until:
        return _Span(date.min, date.min, [])
    first = last = None
    edges: list[tuple[datetime, datetime]] = []
    if since is not None:
        first = day_of(since)
        if since > day_start(first):
            first = next_day(first)
            edges.append((since, day_start(first)))
    if until is not None:
        last = day_of(until)
        if until > day_start(last):
            edges.append((day_start(last), until))
    if since is not None and until is not None and first is not None and last is not None and first > last:
        return _Span(first, first, [(since, until)])  # both bounds lie in one day
    return _Span(first, last, edges)


def _in_days(rows: QuerySet[Any], span: _Span) -> QuerySet[Any]:
    if span.first is not None:
        rows = rows.filter(day__gte=span.first)
    return rows if span.last is None else rows.filter(day__lt=span.last)


def _sums_by(name: str, span: _Span, viewer: User | None, *, by_day: bool = False) -> Iterator[tuple[Any, ...]]:
    """Yield (day when asked for, value of the name, cost_source, *USAGE_MEASURES). name: a column of UsageDay and of UsageRecord."""
    if sees_everything(viewer):
        rows, column = UsageDayBy.objects.filter(dimension=name), "value"
    else:
        rows, column = UsageDay.objects.visible_to(viewer), name
    group = (*(["day"] if by_day else []), column, "cost_source")
    rows = rows.filter(turns__gt=0)  # a record that was replaced or moved leaves a row of zeros behind, until the next recount
    yield from _in_days(rows, span).values_list(*group).annotate(*_sums(USAGE_MEASURES)).order_by()
    visible = Session.objects.visible_to(viewer)
    for start, end in span.edges:
        records = UsageRecord.objects.filter(timestamp__gte=start, timestamp__lt=end)
        if not sees_everything(viewer):
            records = records.filter(session__in=visible)
        for row in records.values_list(name, "cost_source").annotate(sum_turns=Count("pk"), **_named_sums(USAGE_MEASURES[1:])).order_by():
            yield (*([day_of(start)] if by_day else []), *row)


def _named_sums(columns: tuple[str, ...]) -> dict[str, Sum]:
    return {f"sum_{column}": Sum(column) for column in columns}


def _sums(columns: tuple[str, ...]) -> list[Sum]:
    return [Sum(column) for column in columns]


def _tool_use(span: _Span, viewer: User | None) -> list[ToolUse]:
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    rows = ToolDayByName.objects.all() if sees_everything(viewer) else ToolDay.objects.visible_to(viewer)
    found: list[tuple[str, int, int]] = list(
        _in_days(rows, span).values_list("tool_name").annotate(Sum("invocations"), Sum("errors")).order_by()
    )
    is_call, is_error = Q(role="tool_use"), Q(role="tool_result", is_error=True)
    for start, end in span.edges:
        messages = Message.objects.filter(is_call | is_error, timestamp__gte=start, timestamp__lt=end).exclude(tool_name="")
        if not sees_everything(viewer):
            messages = messages.filter(session__in=Session.objects.visible_to(viewer))
        found += list(
            messages.values_list("tool_name").annotate(calls=Count("pk", filter=is_call), errors=Count("pk", filter=is_error)).order_by()
        )
    for tool_name, invocations, errors in found:
        counts[tool_name][0] += invocations
        counts[tool_name][1] += errors
    uses = [ToolUse(tool_name, *numbers) for tool_name, numbers in counts.items() if any(numbers)]
    return sorted(uses, key=lambda use: (-use.invocations, use.tool_name))
