"""What it cost: totals, charts and their tables over a range of business days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from sessions_app import charts, queries
from sessions_app.day_rows import day_of, day_start, next_day
from sessions_app.forms import LIST_PERIODS, PERIODS, CostFilter, CostFilterForm, ListState
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.money import ZERO
from sessions_app.queries import CostOverview, SessionFilter, ToolUse, Totals
from sessions_app.templatetags.sessionsite import tokens_text
from sessions_app.views.page import render_page

MOST_ROWS = 50  # of a table; the rest is summed up in one row more, so that the table still adds up


@require_safe
def overview(request: SignedInRequest) -> HttpResponse:
    """Show what the sessions that this viewer sees cost in a range. htmx gets the report alone, when the range changes."""
    today = day_of(timezone.now())
    chosen = CostFilterForm(request.GET).cost_filter(today)
    costs = queries.cost_overview(
        day_start(chosen.since) if chosen.since else None, day_start(chosen.until) if chosen.until else None, viewer=request.user
    )
    first, last = chart_range(chosen, costs, today)
    shown = [row.model for row in costs.by_model if row.cost_usd is not None]
    numbers = charts.series_numbers(shown, queries.dearest_models(viewer=request.user))
    stack = charts.stack_by_model(costs.by_day, first, last, numbers)
    user_bars = charts.bars_by_name([(row.user_id, row.cost_usd) for row in costs.by_user])
    model_bars = charts.bars_by_name([(row.model, row.cost_usd) for row in costs.by_model], numbers)
    rail = queries.rail_counts(request.user)
    context = {
        "rail": rail,
        "chosen": chosen,
        "range_words": range_words(chosen, first, last),
        "time_zone": settings.TIME_ZONE,
        "today": today,
        "periods": [(period, words, chosen.period == period) for period, words in PERIODS.items()],
        "costs": costs,
        "total_cost": None if costs.total_turns and costs.unpriced_turns == costs.total_turns else costs.total_cost_usd,
        "priced_share": priced_share(costs),
        "unpriced": [(row.model, row.total_tokens - row.priced_tokens, row.unpriced_turns) for row in costs.by_model if row.unpriced_turns],
        "buckets": bucket_tiles(costs),
        "stack": stack,
        "table_bars": [(bar, list(zip(stack.series, bar.cells, strict=True))) for bar in reversed(stack.bars)],
        "users": ledger([(row.user_id, row) for row in costs.by_user], costs, "user", behind=sessions_behind(chosen, "user_id")),
        "models": ledger([(row.model, row) for row in costs.by_model], costs, "model", numbers, behind=sessions_behind(chosen, "model")),
        "tools": tool_rows(costs.by_tool),
        "figures": {
            "day": charts.stacked_figure(stack) if stack.series else None,
            "user": charts.bars_figure(user_bars) if user_bars else None,
            "model": charts.bars_figure(model_bars) if model_bars else None,
        },
        "bar_counts": {"user": len(user_bars), "model": len(model_bars)},
        "themes": charts.THEMES,
        "is_empty_store": not rail.all,
    }
    if wants_fragment(request):
        return render_fragment(request, "sessions_app/cost_report.html#cost-report", context | {"is_fragment": True})
    return render_page(request, "sessions_app/cost_report.html", context, section="costs")


def chart_range(chosen: CostFilter, costs: CostOverview, today: date) -> tuple[date, date]:
    """Return the days that the chart shows, half-open: the range asked for; where it is open, the days with usage, and today."""
    last = chosen.until or next_day(max([today, *(row.date for row in costs.by_day[-1:])]))
    first = chosen.since or min([last - timedelta(days=1), *(row.date for row in costs.by_day[:1])])
    return first, max(last, next_day(first))


def range_words(chosen: CostFilter, first: date, last: date) -> str:
    """Say which days the page adds up."""
    if chosen.since and chosen.until:
        return charts.bar_name(first, last, "week")
    if chosen.since:
        return f"From {charts.bar_name(first, next_day(first), 'week')} on"
    return f"Until {charts.bar_name(last - timedelta(days=1), last, 'week')}" if chosen.until else "All time"


def percent(part: Decimal | int, whole: Decimal | int) -> str:
    """Return part of whole in per cent with one decimal; "" of nothing. Never says 100.0 or 0.0 of what is only close to it."""
    if not whole:
        return ""
    thousandths = min(max(round(1000 * part / whole), 1 if part else 0), 1000 if part >= whole else 999)
    return f"{thousandths // 10}.{thousandths % 10}"


def priced_share(costs: Totals) -> str:
    """Return how much of the tokens has a price, in per cent; of calls where there are no tokens."""
    if costs.total_tokens:
        return percent(costs.priced_tokens, costs.total_tokens)
    return percent(costs.total_turns - costs.unpriced_turns, costs.total_turns)


def bucket_tiles(costs: Totals) -> list[tuple[str, str, int, str]]:
    """Return (title, class of the bucket's colour, tokens, per cent of all tokens) of the four buckets, cheap to dear."""
    counts = [
        ("Cache read", "is-cache-read", costs.total_cache_read),
        ("Cache write", "is-cache-write", costs.total_cache_write),
        ("Input, not cached", "is-input", costs.input_tokens),
        ("Output", "is-output", costs.total_output_tokens),
    ]
    return [(title, css, count, percent(count, costs.total_tokens)) for title, css, count in counts]


# --- rows of the tables ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A row of the users' or models' table. series: the number of its colour, 0 = none. share: per cent of the cost. cost None = unknown."""

    name: str
    query: str  # of the list of the sessions behind it, "" for the row that sums up the rest
    series: int
    share: str
    turns: int
    tokens: int
    buckets: str
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Rows, dearest first, and the row that sums up what did not fit. is_small: whether an amount below a dollar is among them."""

    rows: list[LedgerRow]
    rest: LedgerRow | None
    is_small: bool


def sessions_behind(chosen: CostFilter, attribute: str) -> Callable[[str], str]:
    """Return what gives a name's sessions in this range: the list's query string with that field of its filter set."""
    period = chosen.period if chosen.period in LIST_PERIODS else ""
    state = ListState(SessionFilter(status="all", since=chosen.since, until=chosen.until), period)
    return lambda name: state.query(period=period, **{attribute: name}) if name else ""


def ledger(
    rows: Sequence[tuple[str, Totals]],
    costs: CostOverview,
    noun: str,
    numbers: dict[str, int] | None = None,
    *,
    behind: Callable[[str], str],
) -> Ledger:
    """Arrange (name, totals) as a table. noun: what a name is; numbers: of the charts' colours, None = the table has none; behind: name -> its
    sessions."""

    def row(name: str, totals: Sequence[Totals], series: int, query: str = "") -> LedgerRow:
        known = [part.total_cost_usd for part in totals if part.total_cost_usd is not None]
        cost = sum(known, ZERO) if known else None
        sums = [sum(part) for part in zip(*(_buckets(part) for part in totals), strict=True)]
        return LedgerRow(
            name=name,
            query=query,
            series=series if cost is not None else 0,
            share="" if cost is None else percent(cost, costs.total_cost_usd),
            turns=sum(part.total_turns for part in totals),
            tokens=sum(sums),
            buckets=", ".join(f"{words} {tokens_text(count)}" for words, count in zip(BUCKET_WORDS, sums, strict=True)),
            cost=cost,
        )

    shown = [
        row(name, [totals], 0 if numbers is None else numbers.get(name, charts.OTHER), behind(name)) for name, totals in rows[:MOST_ROWS]
    ]
    left = [totals for _, totals in rows[MOST_ROWS:]]
    rest = row(f"{len(left):,} more {noun}{'s' if len(left) > 1 else ''}", left, 0) if left else None
    return Ledger(shown, rest, any(line.cost is not None and 0 < line.cost < 1 for line in [*shown, *([rest] if rest else [])]))


BUCKET_WORDS = ("cache read", "cache write", "input", "output")


def _buckets(totals: Totals) -> tuple[int, int, int, int]:
    return totals.total_cache_read, totals.total_cache_write, totals.input_tokens, totals.total_output_tokens


def tool_rows(uses: Sequence[ToolUse]) -> dict[str, Any]:
    """Arrange the tools as a table: rows of (name, per cent of the most used, of all calls, errors, error rate, calls), and their sums."""
    most, calls = max((use.invocations for use in uses), default=0), sum(use.invocations for use in uses)
    errors = sum(use.errors for use in uses)
    left = uses[MOST_ROWS:]
    shown = [*uses[:MOST_ROWS]]
    if left:
        shown.append(ToolUse(f"{len(left):,} more tools", sum(use.invocations for use in left), sum(use.errors for use in left)))
    return {
        "rows": [
            (
                use.tool_name,
                f"{min(100 * use.invocations / most, 100) if most else 0:.1f}",
                percent(use.invocations, calls),
                use.errors,
                rate(use),
                use.invocations,
            )
            for use in shown
        ],
        "calls": calls,
        "errors": errors,
        "rate": rate(ToolUse("", calls, errors)),
    }


def rate(use: ToolUse) -> str:
    """Return the errors in per cent of the calls. More than all can fail in a range: an error counts on its result's day, a call on its own."""
    return f"{100 * use.errors / use.invocations:.1f}" if use.invocations else ""
