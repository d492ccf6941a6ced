"""Charts: rows in, dict out."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import plotly.graph_objects
from django.conf import settings
from django.test import SimpleTestCase

from sessions_app import charts
from sessions_app.finders import package_file
from sessions_app.queries import DayCost, DayModelCost

FIRST = date(2026, 9, 1)
HOSTILE = [
    '<a href="https://evil.example/">free</a>',
    "<b>bold</b><br><sub>x</sub>",
    "&lt;b&gt; &amp; &#60;a&#62;",
    "%{y} %{customdata}",
    "a\u202egnp.exe\nb\x00c\x85",
    "$\\unsafe{x}$",
    "",
    "m" * 255,
]


def day(offset: int, **costs: str | None) -> DayCost:
    """A day with usage, so many days after FIRST; None = a model without a price."""
    rows = [DayModelCost(model, None if cost is None else Decimal(cost)) for model, cost in costs.items()]
    known = [row.cost_usd for row in rows if row.cost_usd is not None]
    return DayCost(FIRST + timedelta(days=offset), sum(known, Decimal(0)) if known else None, rows)


def stack_of(days: list[DayCost], length: int = 4, numbers: dict[str, int] | None = None) -> charts.Stack:
    names = sorted({row.model for day in days for row in day.by_model if row.cost_usd is not None})
    return charts.stack_by_model(days, FIRST, FIRST + timedelta(days=length), charts.series_numbers(names) if numbers is None else numbers)


def check(figure: dict) -> None:
    """Plotly knows every property and every value, and the figure goes into a page as JSON."""
    plotly.graph_objects.Figure(data=figure["data"], layout=figure["layout"])
    json.dumps(figure, allow_nan=False)
    assert figure["config"]["displayModeBar"] is False
    assert figure["config"]["showSendToCloud"] is False
    assert figure["layout"]["showlegend"] is False
    assert not re.search(r"</?[bi]>", json.dumps(figure))


class SeriesNumbers(SimpleTestCase):
    def test_dearest_first(self) -> None:
        assert charts.series_numbers(["a", "b"]) == {"a": 1, "b": 2}

    def test_at_most_seven(self) -> None:
        names = [f"m{number}" for number in range(40)]
        assert charts.series_numbers(names) == {f"m{number}": number + 1 for number in range(7)}

    def test_the_dearest_of_all_time_keep_their_colour_in_every_range(self) -> None:
        ever = list("abcdefghij")
        whole = charts.series_numbers(ever, ever)
        for shown in (["c", "a"], ["g", "f", "e", "d", "c", "b", "a"], ["b", "x", "c"], ["j", "i", "a"]):
            numbers = charts.series_numbers(shown, ever)
            assert {name: numbers[name] for name in shown if name in whole} == {name: whole[name] for name in shown if name in whole}
            assert len(set(numbers.values())) == len(numbers)
            assert set(numbers.values()) <= set(range(1, 8))

    def test_others_take_what_is_free(self) -> None:
        assert charts.series_numbers(["x", "b", "y"], ["a", "b"]) == {"x": 1, "b": 2, "y": 3}

    def test_nothing(self) -> None:
        assert charts.series_numbers([]) == {}


class Labels(SimpleTestCase):
    def test_nothing_is_left_that_plotly_obeys(self) -> None:
        for name in HOSTILE:
            drawn = charts.label(name, 60)
            assert not re.search(r"[<>\x00-\x1f\x7f-\x9f\u202a-\u202e]", drawn), drawn
            assert not re.search(r"&(?!(amp|lt|gt);)", drawn), drawn

    def test_a_plain_name_stays(self) -> None:
        assert charts.label("claude-sonnet-4-5") == "claude-sonnet-4-5"
        assert charts.label("模型 é👩‍👩‍👧") == "模型 é👩‍👩‍👧"

    def test_it_is_cut_before_it_is_escaped(self) -> None:
        assert charts.label("<" * 30, 4) == "&lt;&lt;\N{HORIZONTAL ELLIPSIS}&lt;"

    def test_it_is_cut_in_the_middle(self) -> None:
        assert charts.label("claude-sonnet-4-5-20250929") == "claude-sonnet-4\N{HORIZONTAL ELLIPSIS}20250929"
        assert len(charts.label("x" * 255)) == charts.LABEL_LENGTH


class Stack(SimpleTestCase):
    def test_days_without_usage_stand_in_it(self) -> None:
        stack = stack_of([day(1, a="1.5", b="2"), day(3, a="0.25")])
        assert stack.step == "day"
        assert [bar.start.day for bar in stack.bars] == [1, 2, 3, 4]
        assert [bar.name for bar in stack.bars] == ["Tue 1 Sep 2026", "Wed 2 Sep 2026", "Thu 3 Sep 2026", "Fri 4 Sep 2026"]
        assert [bar.total.cost for bar in stack.bars] == [0, Decimal("3.5"), 0, Decimal("0.25")]
        assert [bar.total.used for bar in stack.bars] == [False, True, False, True]

    def test_series_are_ordered_by_total_then_name(self) -> None:
        stack = stack_of([day(0, b="1", c="1", a="0.5"), day(1, a="3")])
        assert [(series.name, series.total) for series in stack.series] == [("a", Decimal("3.5")), ("b", 1), ("c", 1)]

    def test_unknown_is_neither_zero_nor_a_series(self) -> None:
        stack = stack_of([day(0, mystery=None), day(1, mystery=None, a="1"), day(2, a=None)])
        assert [series.name for series in stack.series] == ["a"]
        assert [bar.total for bar in stack.bars[:3]] == [
            charts.Cell(None, used=True),
            charts.Cell(Decimal(1), used=True),
            charts.Cell(None, used=True),
        ]
        assert [bar.cells[0].used for bar in stack.bars] == [False, True, True, False]

    def test_a_reported_zero_is_known(self) -> None:
        stack = stack_of([day(0, a="0")])
        assert stack.bars[0].cells == [charts.Cell(Decimal(0), used=True)]

    def test_forty_models_are_seven_and_the_others(self) -> None:
        costs = {f"m{number:02}": str(40 - number) for number in range(40)}
        stack = stack_of([day(0, **costs)])
        assert [series.number for series in stack.series] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert stack.series[-1].name == "Other (33)"
        assert stack.series[-1].total == sum(range(1, 34))
        assert sum(cell.cost or 0 for cell in stack.bars[0].cells) == stack.bars[0].total.cost == sum(range(1, 41))

    def test_one_alone_keeps_its_name(self) -> None:
        stack = stack_of([day(0, **{f"m{number}": str(9 - number) for number in range(8)})])
        assert (stack.series[-1].name, stack.series[-1].number) == ("m7", 8)

    def test_long_ranges_have_longer_steps_and_the_same_sum(self) -> None:
        days = [day(offset, a="0.1", b="0.02") for offset in range(0, 5000, 3)]
        for length, step, most in ((100, "day", 100), (101, "week", 16), (730, "week", 106), (731, "month", 25), (5000, "year", 15)):
            stack = stack_of([row for row in days if (row.date - FIRST).days < length], length)
            assert stack.step == step
            assert len(stack.bars) <= most
            wanted = sum((row.total_cost_usd or Decimal(0) for row in days if (row.date - FIRST).days < length), Decimal(0))
            assert sum((bar.total.cost or Decimal(0) for bar in stack.bars), Decimal(0)) == wanted
            assert sum((series.total for series in stack.series), Decimal(0)) == wanted
            assert stack.bars[0].start == FIRST
            assert stack.bars[-1].end == FIRST + timedelta(days=length)
            assert all(one.end == following.start for one, following in zip(stack.bars, stack.bars[1:], strict=False))

    def test_names_of_longer_bars(self) -> None:
        assert charts.bar_name(date(2026, 11, 16), date(2026, 11, 23), "week") == "16 to 22 Nov 2026"
        assert charts.bar_name(date(2026, 10, 26), date(2026, 11, 2), "week") == "26 Oct to 1 Nov 2026"
        assert charts.bar_name(date(2026, 12, 28), date(2027, 1, 4), "week") == "28 Dec 2026 to 3 Jan 2027"
        assert charts.bar_name(date(2026, 9, 6), date(2026, 9, 7), "week") == "6 Sep 2026"
        assert charts.bar_name(date(2026, 9, 1), date(2026, 10, 1), "month") == "Sep 2026"

    def test_a_wrong_clock_does_not_make_ten_thousand_bars(self) -> None:
        days = [DayCost(at, Decimal(1), [DayModelCost("a", Decimal(1))]) for at in (date.min, date(2026, 9, 1), date(9999, 12, 30))]
        stack = charts.stack_by_model(days, date.min, date.max, {"a": 1})
        assert [bar.start.year for bar in stack.bars] == [1, 2026, 9999]
        check(charts.stacked_figure(stack))


class StackedFigure(SimpleTestCase):
    def test_zero_one_and_forty_models(self) -> None:
        forty = {f"m{number}": str(number + 1) for number in range(40)}
        for days, traces in (([], 1), ([day(0, a="1")], 2), ([day(2, **forty)], 9)):
            figure = charts.stacked_figure(stack_of(days))
            check(figure)
            assert len(figure["data"]) == traces
            assert all(len(trace["x"]) == len(trace["y"]) == 4 for trace in figure["data"])

    def test_what_is_drawn(self) -> None:
        figure = charts.stacked_figure(stack_of([day(1, a="1.5", b="2"), day(3, a="0.25"), day(2, c=None)]))
        total, first, second = figure["data"]
        assert total["y"] == [0.0, 3.5, None, 0.25]
        assert total["customdata"] == ["$0.00", "$3.50", "unknown", "$0.2500"]
        assert (first["name"], first["y"], first["meta"]) == ("b", [None, 2.0, None, None], {"series": 2})
        assert (second["name"], second["y"], second["meta"]) == ("a", [None, 1.5, None, 0.25], {"series": 1})
        assert figure["layout"]["barmode"] == "stack"
        assert "color" not in json.dumps(figure["data"])

    def test_names_are_neutralised(self) -> None:
        figure = charts.stacked_figure(stack_of([day(0, **dict.fromkeys(HOSTILE, "1"))]))
        check(figure)
        assert "<a" not in json.dumps([trace["name"] for trace in figure["data"]])
        assert all("%{y}" not in trace["hovertemplate"] for trace in figure["data"])

    def test_few_labels_below(self) -> None:
        for length in (1, 2, 6, 7, 30, 31, 90, 100, 365, 2000, 5000):
            layout = charts.stacked_figure(stack_of([day(0, a="1")], length))["layout"]
            assert 1 <= len(layout["xaxis"]["tickvals"]) <= charts.MOST_TICKS
        week = charts.stacked_figure(stack_of([], 30))["layout"]["xaxis"]
        assert week["ticktext"] == ["7 Sep", "14 Sep", "21 Sep", "28 Sep"]

    def test_the_year_stands_where_it_changes(self) -> None:
        layout = charts.stacked_figure(stack_of([], 500))["layout"]
        years = [tick.partition("<br>")[2] for tick in layout["xaxis"]["ticktext"]]
        assert [year for year in years if year] == ["2026", "2027"]
        assert years[0] == "2026"
        assert layout["margin"]["b"] > charts.stacked_figure(stack_of([], 100))["layout"]["margin"]["b"]

    def test_axis_of_dollars(self) -> None:
        for most, lines in (
            ("0", ["0", "1"]),
            ("14.2", ["0", "5", "10", "15"]),
            ("150", ["0", "50", "100", "150", "200"]),
            ("0.0031", ["0", "0.001", "0.002", "0.003", "0.004"]),
            ("0.000000001", ["0", "0.0000000005", "0.000000001", "0.0000000015"]),
            ("1234567", ["0", "500,000", "1,000,000", "1,500,000"]),
        ):
            axis = charts.stacked_figure(stack_of([day(0, a=most)]))["layout"]["yaxis"]
            assert axis["ticktext"] == lines, most
            assert axis["range"][1] > float(most)


class BarsByName(SimpleTestCase):
    def test_dearest_first_unknown_left_out(self) -> None:
        bars = charts.bars_by_name([("b", Decimal(1)), ("c", None), ("a", Decimal(1)), ("d", Decimal("2.5"))])
        assert [(bar.name, bar.total, bar.number) for bar in bars] == [("d", Decimal("2.5"), 1), ("a", 1, 1), ("b", 1, 1)]

    def test_zero_one_and_forty(self) -> None:
        for count, bars_wanted in ((0, 0), (1, 1), (7, 7), (8, 8), (40, 8)):
            rows = [(f"{HOSTILE[number % 8]}{number}", Decimal(number)) for number in range(count)]
            bars = charts.bars_by_name(rows, charts.series_numbers([name for name, _ in rows]))
            assert len(bars) == bars_wanted
            assert sum((bar.total for bar in bars), Decimal(0)) == sum(range(count))
            figure = charts.bars_figure(bars)
            check(figure)
            assert "<a" not in json.dumps(figure)
            assert len(figure["data"][0]["meta"]["series"]) == bars_wanted

    def test_colours_are_those_of_the_other_chart(self) -> None:
        numbers = {"a": 3, "b": 1}
        assert [bar.number for bar in charts.bars_by_name([("a", Decimal(2)), ("b", Decimal(1))], numbers)] == [3, 1]


@dataclass
class Oklch:
    lightness: float
    chroma: float
    hue: float

    def hexadecimal(self) -> str:
        """Convert by the matrices of CSS Color 4."""
        a, b = (self.chroma * turn(math.radians(self.hue)) for turn in (math.cos, math.sin))
        long, middle, short = (
            (self.lightness + ka * a + kb * b) ** 3
            for ka, kb in ((0.3963377774, 0.2158037573), (-0.1055613458, -0.0638541728), (-0.0894841775, -1.2914855480))
        )
        linear = (
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        )
        gamma = (12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055 for part in linear)
        return "#" + "".join(f"{round(255 * min(max(part, 0), 1)):02x}" for part in gamma)


class Themes(SimpleTestCase):
    def test_the_series_are_those_of_the_stylesheet(self) -> None:
        sheet = (Path(settings.BASE_DIR) / "static/sessions_app/site.css").read_text()
        found = re.findall(r"--series-(\d): light-dark\(oklch\(([\d. ]+)\), oklch\(([\d. ]+)\)\)", sheet)
        assert [number for number, _, _ in found] == list("12345678")
        for place, scheme in ((1, "light"), (2, "dark")):
            for row, drawn in zip(found, charts.THEMES[scheme]["series"], strict=True):
                wanted = Oklch(*map(float, row[place].split())).hexadecimal()
                apart = max(abs(int(wanted[i : i + 2], 16) - int(drawn[i : i + 2], 16)) for i in (1, 3, 5))
                assert apart <= 3, (row, drawn, wanted)

    def test_both_schemes_have_the_same_tokens(self) -> None:
        assert charts.THEMES["light"].keys() == charts.THEMES["dark"].keys()


class PackagedScript(SimpleTestCase):
    def test_the_id_that_keeps_a_style_element_out_is_still_plotlys(self) -> None:
        """cost_report.html gives plotly's script this id. When this fails after an upgrade, look for the new one beside `e.id=` in plotly.min.js."""
        template = (Path(settings.BASE_DIR) / "templates/sessions_app/cost_report.html").read_text()
        taken = re.findall(r'<script id="(\w+)"', template)
        path = package_file("plotly/plotly.min.js")
        assert path is not None
        assert re.findall(r'e\.id="([0-9a-f]{64})"', Path(path).read_text(encoding="utf-8")) == taken
