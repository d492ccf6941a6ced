"""Print what the sessions cost: the overview that the page /costs/ shows, for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sessions_app import queries
from sessions_app.day_rows import business_zone
from sessions_app.management._cli import StoreCommand, counted
from sessions_app.queries import CostOverview, Totals
from sessions_app.templatetags.sessionsite import money_text


class Command(StoreCommand):
    help = "Print what the sessions used and cost: by user, model, day and tool."

    def add_arguments(self, parser: CommandParser) -> None:
        times = (
            "an ISO date or time, such as 2026-09-01 or 2026-09-01T08:00+02:00; without a zone it is meant in the site's business time zone"
        )
        parser.add_argument("--since", metavar="ISO", help=f"count from this moment on ({times})")
        parser.add_argument("--until", metavar="ISO", help="count up to, and not including, this moment")
        parser.add_argument("--json", action="store_true", help="print one JSON object; money as strings, null where nothing has a price")

    def handle(self, *args: Any, **options: Any) -> None:
        since, until = (self.moment(name, options[name]) for name in ("since", "until"))
        if since and until and since >= until:
            raise CommandError(f"--since {since} is not before --until {until}.")
        costs = queries.cost_overview(since, until)
        if options["json"]:
            self.write_json(as_json(costs))
            return
        # Without a terminal, wide enough that a redirected table loses nothing.
        console = Console(file=self.stdout, width=None if self.stdout.isatty() else 160, highlight=False)  # type: ignore[arg-type]
        bounds = [f"{word} {moment:%Y-%m-%d %H:%M %Z}" for word, moment in (("from", since), ("until", until)) if moment]
        print_tables(console, costs, f"Costs {' '.join(bounds) or 'of all time'}. Days are cut in {settings.TIME_ZONE}.")

    def moment(self, name: str, text: str | None) -> datetime | None:
        """Return the aware time that an option names. One without a zone is meant in the business time zone, and the command says so."""
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text.strip())
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=business_zone())
                # On the other stream: what --json prints stays JSON.
                self.stderr.write(f"--{name} {text}: read in the business time zone, {settings.TIME_ZONE}.")
            if not 1 < moment.astimezone(UTC).year < 9999:
                raise ValueError
        except (ValueError, OverflowError):
            raise CommandError(f"--{name} {text!r} is no ISO date or time, such as 2026-09-01 or 2026-09-01T08:00+02:00.") from None
        return moment


def as_json(costs: CostOverview) -> dict[str, Any]:
    """Return the overview as the JSON that other programs read; money stays Decimal, which `write_json` writes as text."""

    def sums(row: Totals) -> dict[str, Any]:
        return {
            "input_tokens": row.input_tokens,
            "output_tokens": row.total_output_tokens,
            "cache_read_tokens": row.total_cache_read,
            "cache_write_tokens": row.total_cache_write,
            "cost_usd": row.total_cost_usd,
            "turns": row.total_turns,
        }

    return {
        "total_cost_usd": costs.total_cost_usd,
        "total_turns": costs.total_turns,
        "priced_tokens": costs.priced_tokens,
        "unpriced_turns": costs.unpriced_turns,
        "by_model": [{"model": row.model, **sums(row)} for row in costs.by_model],
        "by_user": [{"user_id": row.user_id, **sums(row)} for row in costs.by_user],
        "by_day": [
            {
                "date": day.date.isoformat(),
                "total_cost_usd": day.total_cost_usd,
                "by_model": [{"model": row.model, "cost_usd": row.cost_usd} for row in day.by_model],
            }
            for day in costs.by_day
        ],
        "by_tool": [{"tool_name": use.tool_name, "invocations": use.invocations, "errors": use.errors} for use in costs.by_tool],
    }


# --- for people -----------------------------------------------------------------------------------------------------------------------


def print_tables(console: Console, costs: CostOverview, heading: str) -> None:
    """Print the overview as tables. Names are strangers' text: never read as rich's markup, nor as the terminal's."""
    console.print(Text(heading))
    share = f"{costs.priced_tokens:,} of {costs.total_tokens:,} tokens are priced"
    have, are = ("has", "is") if costs.unpriced_turns == 1 else ("have", "are")
    unpriced = f"; {costs.unpriced_turns:,} of the turns {have} no known price and {are} in no sum" if costs.unpriced_turns else ""
    console.print(Text(f"{counted(costs.total_turns, 'turn')}, {share}{unpriced}."))
    if costs.total_turns:
        print_sums(console, "Model", [(row.model, row) for row in costs.by_model], costs)
        print_sums(console, "User", [(row.user_id, row) for row in costs.by_user], costs)
        print_days(console, costs)
    if costs.by_tool:
        table = new_table("Tool", "Calls", "Errors")
        for use in costs.by_tool:
            table.add_row(clean(use.tool_name), f"{use.invocations:,}", f"{use.errors:,}")
        console.print()
        console.print(table)


def print_sums(console: Console, noun: str, rows: Sequence[tuple[str, Totals]], costs: CostOverview) -> None:
    table = new_table(noun, "Turns", "Input", "Cache read", "Cache write", "Output", "Cost, USD", footer=True)
    for name, row in rows:
        table.add_row(clean(name), *numbers(row), money(row.total_cost_usd))
    for column, text in zip(table.columns, ["Total", *numbers(costs), money(total_cost(costs))], strict=True):
        column.footer = text
    console.print()
    console.print(table)


def print_days(console: Console, costs: CostOverview) -> None:
    table = new_table("Day", "Cost, USD", "of which", footer=True)
    table.columns[2].justify = "left"
    for day in costs.by_day:
        models = ", ".join(f"{row.model} {money(row.cost_usd)}" for row in day.by_model[:3])
        more = f", {len(day.by_model) - 3} more" if len(day.by_model) > 3 else ""
        table.add_row(day.date.isoformat(), money(day.total_cost_usd), clean(models + more))
    table.columns[0].footer, table.columns[1].footer = "Total", money(total_cost(costs))
    console.print()
    console.print(table)


def new_table(first: str, *others: str, footer: bool = False) -> Table:
    table = Table(show_footer=footer, show_edge=False, pad_edge=False, header_style="", footer_style="bold", title_justify="left")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table


def numbers(row: Totals) -> list[str]:
    counts = (row.total_turns, row.input_tokens, row.total_cache_read, row.total_cache_write, row.total_output_tokens)
    return [f"{count:,}" for count in counts]


def total_cost(costs: CostOverview) -> Decimal | None:
    """Return the total, None when there are turns and none of them has a price: zero would be a lie."""
    return None if costs.total_turns and costs.unpriced_turns == costs.total_turns else costs.total_cost_usd


def money(cost: Decimal | None) -> str:
    return "unknown" if cost is None else money_text(cost)


def clean(text: str) -> Text:
    """Return a stranger's text without the control characters that a terminal would obey."""
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text) or "(empty)")
