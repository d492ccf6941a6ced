"""Rows of a query -> what a chart and its table show, and the plotly figure of it as a dict. Pure: no ORM, no request, no clock.

A figure names its colours by series number and carries no theme: charts.js lays THEMES over it and draws again when the scheme changes.
Names of models and users are strangers' text, and plotly reads its labels as a small HTML with links: every name goes through `label`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Protocol

from sessions_app.money import ZERO
from sessions_app.templatetags.sessionsite import day_text, money_text

COLOURS = 7  # names with a colour of their own; a reader tells no more apart
OTHER = 8  # the number of all the rest together
LABEL_LENGTH = 24  # code points of a name beside a bar; the whole name stands in the table
HOVER_LENGTH = 60
MOST_TICKS = 6  # labels below the bars: what a screen of 360 px holds

# Hexadecimal, since plotly knows no oklch: the same colours as --series-1 to -8 of site.css, which a test compares.
THEMES: dict[str, dict[str, Any]] = {
    "light": {
        "series": ["#334591", "#c57706", "#15a588", "#9974d5", "#716129", "#761840", "#08778d", "#898c92"],
        "text": "#5c6169",
        "grid": "#e0e0dc",
        "axis": "#82868e",
        "gap": "#fefdfc",
        "hover": {"bgcolor": "#ffffff", "bordercolor": "#82868e", "font": {"color": "#1b212a"}},
    },
    "dark": {
        "series": ["#4674cc", "#fab34d", "#68e1b2", "#b9a9fe", "#bb8858", "#b95065", "#48a2b2", "#7c8088"],
        "text": "#9a9fa6",
        "grid": "#2a2e35",
        "axis": "#6f757e",
        "gap": "#161a1f",
        "hover": {"bgcolor": "#1f232a", "bordercolor": "#6f757e", "font": {"color": "#e7e6e2"}},
    },
}

CONFIG: dict[str, Any] = {
    "displayModeBar": False,
    "showSendToCloud": False,  # plotly.js 4 would offer to upload the chart
    "responsive": True,
    "doubleClick": False,
    "showTips": False,
}
LAYOUT: dict[str, Any] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"size": 12},
    "showlegend": False,  # the legend is the page's own
    "dragmode": False,  # a finger on the chart scrolls the page
    "bargap": 0.28,
}


class HasModelCost(Protocol):
    """A model's part of a day."""

    @property
    def model(self) -> str: ...
    @property
    def cost_usd(self) -> Decimal | None: ...


class HasDayCost(Protocol):
    """A day with usage, as `queries.cost_overview` gives it."""

    @property
    def date(self) -> date: ...
    @property
    def by_model(self) -> Sequence[HasModelCost]: ...


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart. number: 1 to 7, or 8 for what is left. total: dollars."""

    name: str
    number: int
    total: Decimal


@dataclass(frozen=True, slots=True)
class Cell:
    """One series in one bar. cost: dollars, None = used, and nothing of it has a price. used: whether anything was used at all."""

    cost: Decimal | None = ZERO
    used: bool = False


@dataclass(slots=True)
class Bar:
    """One bar: the days from start, without `end`. cells: one per series, in their order. total: over all models, those without a price too."""

    start: date
    end: date
    name: str
    cells: list[Cell]
    total: Cell


@dataclass(frozen=True, slots=True)
class Stack:
    """Cost by time, stacked. step: day, week, month or year. bars: oldest first, the empty ones too."""

    step: str
    series: list[Series]
    bars: list[Bar]


# --- names ----------------------------------------------------------------------------------------------------------------------------


def series_numbers(shown: Sequence[str], ever: Sequence[str] = ()) -> dict[str, int]:
    """Give each of the first seven names its colour's number; who is not in the answer belongs to OTHER.
    shown: the names of this chart, ever: of all time, both dearest first. The first seven of all time keep their number in every chart, and
    the others take those that are free, so that a name changes its colour only when the order of all time changes."""
    kept = {name: number for number, name in enumerate(ever[:COLOURS], start=1)}
    chosen = list(shown[:COLOURS])
    taken = {kept[name] for name in chosen if name in kept}
    free = (number for number in range(1, COLOURS + 1) if number not in taken)
    return {name: kept[name] if name in kept else next(free) for name in chosen}


def other_name(rest: Sequence[str]) -> str:
    """Return the name of what shares the eighth colour. One alone keeps its own name."""
    return rest[0] if len(rest) == 1 else f"Other ({len(rest):,})"


def label(name: str, length: int = LABEL_LENGTH) -> str:
    """Return a name that plotly draws as it is: cut to so many code points, on one line, with nothing that its pseudo-HTML would obey."""
    line = " ".join("".join(" " if char < " " or char in _UNSEEN else char for char in name).split())
    if len(line) > length:
        # out of the middle: models of one family differ at their end, by version or date
        tail = min(9, length // 3)
        line = f"{line[: length - tail - 1]}\N{HORIZONTAL ELLIPSIS}{line[-tail:]}"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# What turns the text around it (bidirectional controls), and the control characters above ASCII.
_UNSEEN = frozenset(map(chr, (*range(0x7F, 0xA0), 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))


# --- cost by day, stacked by model ----------------------------------------------------------------------------------------------------


def stack_by_model(days: Sequence[HasDayCost], first: date, last: date, numbers: dict[str, int]) -> Stack:
    """Arrange days with usage into bars over [first, last): a bar a day, or a week, month or year where days would be too thin to see.
    numbers: `series_numbers` of the models; the others are put together. Models of which nothing is priced have no series."""
    totals: dict[str, Decimal] = {}
    for day in days:
        for row in day.by_model:
            if row.cost_usd is not None:
                totals[row.model] = totals.get(row.model, ZERO) + row.cost_usd
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    named = [name for name in ranked if name in numbers]
    rest = [name for name in ranked if name not in numbers]
    series = [Series(name, numbers[name], totals[name]) for name in named]
    if rest:
        series.append(Series(other_name(rest), OTHER, sum((totals[name] for name in rest), ZERO)))
    place = {name: position for position, name in enumerate(named)} | dict.fromkeys(rest, len(named))

    step = step_of(first, last)
    bars = {start: _empty_bar(start, step, first, last, len(series)) for start in _starts(first, last, step)}
    for day in days:
        start = _start_of(day.date, step)
        bar = bars.get(start) or bars.setdefault(start, _empty_bar(start, step, first, last, len(series)))
        for row in day.by_model:
            bar.total = _plus(bar.total, row.cost_usd)
            if row.model in place:
                bar.cells[place[row.model]] = _plus(bar.cells[place[row.model]], row.cost_usd)
    return Stack(step, series, [bars[start] for start in sorted(bars)])


def _plus(cell: Cell, cost: Decimal | None) -> Cell:
    if cost is None:
        return cell if cell.used else Cell(None, used=True)
    return Cell((cell.cost or ZERO) + cost, used=True)


def step_of(first: date, last: date) -> str:
    """Choose how much time one bar of [first, last) stands for."""
    days = (last - first).days
    return "day" if days <= 100 else "week" if days <= 730 else "month" if days <= 3660 else "year"


def _start_of(day: date, step: str) -> date:
    if step == "week":
        # Monday; the calendar's first days are a Monday's too, so this never falls out of it
        return day - timedelta(days=day.weekday())
    return day if step == "day" else day.replace(day=1) if step == "month" else day.replace(month=1, day=1)


def _next_start(start: date, step: str) -> date:
    if step in ("day", "week"):
        return start + timedelta(days=1 if step == "day" else 7)
    years, months = (1, 0) if step == "year" else divmod(start.month, 12)
    return start.replace(year=start.year + years, month=months + 1)


MOST_BARS = 200


def _starts(first: date, last: date, step: str) -> list[date]:
    """Return where the bars of [first, last) begin; nothing for a range of centuries (one wrong clock makes one), which shows only what was used."""
    if last.year - first.year > MOST_BARS or first >= last:
        return []
    starts = [_start_of(first, step)]
    while (following := _next_start(starts[-1], step)) < last:
        starts.append(following)
    return starts


def _empty_bar(start: date, step: str, first: date, last: date, width: int) -> Bar:
    """Return the bar that begins at `start`, cut to the range: its first and last week may be part of one."""
    end = min(_next_start(start, step), last) if start.year < date.max.year else last
    shown = max(start, first)
    return Bar(shown, end, bar_name(shown, end, step), [Cell()] * width, Cell())


def bar_name(start: date, end: date, step: str) -> str:
    """Return what a bar stands for, in words: Sun 22 Nov 2026, 16 to 22 Nov 2026, Nov 2026, 2026."""
    if step == "day":
        return f"{start:%a} {day_text(start, year=True)}"
    if step == "week":
        last = end - timedelta(days=1)
        if last <= start:
            return day_text(start, year=True)
        same_month = (start.year, start.month) == (last.year, last.month)
        begin = str(start.day) if same_month else day_text(start, year=start.year != last.year)
        return f"{begin} to {day_text(last, year=True)}"
    return f"{start:%b} {start.year}" if step == "month" else str(start.year)


def stacked_figure(stack: Stack) -> dict[str, Any]:
    """Return the figure of cost by time, stacked by series. Each bar is a category of its own: a date axis would name hours below a single day."""
    places = [bar.name for bar in stack.bars]
    data: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": label(series.name, HOVER_LENGTH),
            "x": places,
            # None draws nothing and says nothing on hover: a series that was not used that day
            "y": [_number(bar.cells[position]) if bar.cells[position].used else None for bar in stack.bars],
            "customdata": [_dollars(bar.cells[position].cost) for bar in stack.bars],
            "hovertemplate": "%{fullData.name}  %{customdata}<extra></extra>",
            # a bar is never wider than a twelfth of the chart, however few they are
            "width": min(0.72, 0.06 * len(places)),
            "meta": {"series": series.number},
        }
        for position, series in enumerate(stack.series)
    ]
    # Drawn by nothing, read on hover: the sum stands above its parts.
    data.insert(
        0,
        {
            "type": "scatter",
            "mode": "markers",
            "marker": {"opacity": 0},
            "name": "Total",
            "x": places,
            "y": [_number(bar.total) for bar in stack.bars],
            "customdata": [_dollars(bar.total.cost) for bar in stack.bars],
            "hovertemplate": "Total  %{customdata}<extra></extra>",
            "meta": {"series": OTHER},
        },
    )
    ticks = _ticks(stack)
    layout = LAYOUT | {
        "barmode": "stack",
        "hovermode": "x unified",
        "margin": {"l": 36, "r": 0, "t": 8, "b": 42 if any("<br>" in text for text in ticks.values()) else 28},
        "xaxis": {
            "type": "category",
            "fixedrange": True,
            "range": [-0.5, max(len(places), 1) - 0.5],
            "showgrid": False,
            "zeroline": False,
            "tickmode": "array",
            "tickvals": [places[place] for place in ticks],
            "ticktext": list(ticks.values()),
            # the bar's whole name; without it a bar with a tick would be called by the tick's short one
            "unifiedhovertitle": {"text": "%{x}"},
            "tickangle": 0,
            "ticklabelstandoff": 5,
            "ticks": "",
            "showline": False,
        },
        "yaxis": _money_axis(max((bar.total.cost or ZERO for bar in stack.bars), default=ZERO)),
    }
    return {"data": data, "layout": layout, "config": CONFIG}


def _ticks(stack: Stack) -> dict[int, str]:
    """Choose the bars that are named below: the first of each month, of each week, or every so many, whichever are few enough."""
    bars, step = stack.bars, stack.step
    if len(bars) <= MOST_TICKS:
        chosen = list(range(len(bars)))
    else:
        mondays = [place for place, bar in enumerate(bars) if bar.start.weekday() == 0] if step == "day" else []
        chosen = mondays or list(range(len(bars)))
        chosen = chosen[:: -(-len(chosen) // MOST_TICKS)]
    # each year once, where it begins; a chart within one year needs none
    last_year = bars[chosen[0]].start.year if chosen and bars[chosen[0]].start.year == bars[chosen[-1]].start.year else None
    ticks = {}
    for place in chosen:
        start = bars[place].start
        if step == "year":
            ticks[place] = str(start.year)
        else:
            day = f"{start:%b}" if step == "month" else day_text(start, year=False)
            ticks[place] = f"{day}<br>{start.year}" if last_year != start.year else day
        last_year = start.year
    return ticks


def _number(cell: Cell) -> float | None:
    """What is drawn: a float will do. None draws nothing: used, and no price known."""
    return None if cell.cost is None else float(cell.cost)


def _dollars(cost: Decimal | None) -> str:
    if cost is None:
        return "unknown"
    text = money_text(cost)
    return label(f"{text[0]}${text[1:]}" if text[0] in "<>-" else f"${text}")


def _money_axis(most: Decimal) -> dict[str, Any]:
    """Return the axis of dollars: from 0 to the first round figure that the longest bar does not reach, with at most four lines above 0."""
    step = round_step(most)
    lines = [step * line for line in range(int(most / step) + 2)]
    return {
        "fixedrange": True,
        # as much over the top line as its figure is high, so that this is not cut
        "range": [0, float(lines[-1] * Decimal("1.04"))],
        "tickmode": "array",
        "tickvals": [float(line) for line in lines],
        "ticktext": [f"{line.normalize():,f}" for line in lines],
        "tickprefix": "",
        "ticklabelstandoff": 4,
        "zeroline": True,
        "showline": False,
        "automargin": True,
    }


def round_step(most: Decimal) -> Decimal:
    """Return the least of 1, 2 and 5 times a power of ten that goes into `most` fewer than four times."""
    if most <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(most.adjusted() - 1)
    return next(step for factor in (1, 2, 5, 10, 20, 50) if most / (step := power * factor) < 4)


# --- cost by name ---------------------------------------------------------------------------------------------------------------------


def bars_by_name(rows: Sequence[tuple[str, Decimal | None]], numbers: dict[str, int] | None = None) -> list[Series]:
    """Arrange (name, dollars) into at most seven bars and one for the rest, the dearest first. numbers: `series_numbers`, None = one colour for
    all. Names without a price have no bar."""
    known = sorted(((name, cost) for name, cost in rows if cost is not None), key=lambda row: (-row[1], row[0]))
    bars = [Series(name, 1 if numbers is None else numbers.get(name, OTHER), cost) for name, cost in known[:COLOURS]]
    rest = known[COLOURS:]
    if rest:
        bars.append(Series(other_name([name for name, _ in rest]), OTHER, sum((cost for _, cost in rest), ZERO)))
    return bars


def bars_figure(bars: Sequence[Series]) -> dict[str, Any]:
    """Return the figure of lying bars, each with its name before it and its dollars behind it."""
    places = list(range(len(bars)))
    most = max((float(bar.total) for bar in bars), default=0.0)
    figures = [label(money_text(bar.total)) for bar in bars]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [float(bar.total) for bar in bars],
        "y": places,
        "text": figures,
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [f"{label(bar.name, HOVER_LENGTH)}  {_dollars(bar.total)}" for bar in bars],
        "hovertemplate": "%{customdata}<extra></extra>",
        "meta": {"series": [bar.number for bar in bars]},
    }
    layout = LAYOUT | {
        "hovermode": "closest",
        # on the right, room for the longest figure: a digit of 12 px is less than 7 px wide
        "margin": {"l": 0, "r": 8 + 7 * max(map(len, figures), default=0), "t": 0, "b": 0},
        "xaxis": {"fixedrange": True, "range": [0, most or 1], "visible": False},
        "yaxis": {
            "fixedrange": True,
            "range": [max(len(bars), 1) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
            "tickmode": "array",
            "tickvals": places,
            "ticktext": [f"{label(bar.name)} " for bar in bars],
            "automargin": True,
        },
    }
    return {"data": [trace], "layout": layout, "config": CONFIG}
