"""What the day rows cost and save: their number at 100,000 demo sessions, and how long the cost overview takes from them, from one wide table
alone, and from the records.

    python bench/day_rows.py [--sessions 100000] [--keep FOLDER]     FOLDER: where the database is kept for the next run

Prints ratios as well as times: times differ by machine, ratios hardly.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

ROUNDS = 5

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--usage", type=int, help="model calls in all (default: one a session)")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.update(DATA_DIR=str(folder), DJANGO_SETTINGS_MODULE="sessionsite.settings", DATABASE_URL="", TIME_ZONE="UTC")
        import django

        django.setup()
        fill(arguments.sessions, arguments.usage)
        measure()


def fill(sessions: int, usage: int | None) -> None:
    from django.core.management import call_command
    from django.utils import timezone

    from sessions_app import demo
    from sessions_app.models import Session

    call_command("migrate", verbosity=0)
    if not Session.objects.exists():
        started = time.perf_counter()
        demo.make(sessions=sessions, usage=usage, now=timezone.now())
        print(f"{sessions:,} demo sessions made in {time.perf_counter() - started:.0f} s")


def measure() -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.utils import timezone

    from sessions_app import queries
    from sessions_app.day_rows import TABLES, day_start
    from sessions_app.models import UsageRecord

    for table in TABLES:
        print(f"{table.__name__:14} {table._default_manager.count():>9,} rows")
    print(f"{'UsageRecord':14} {UsageRecord.objects.count():>9,} rows")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    until = timezone.now()
    since = until - timedelta(days=30)
    midnight = day_start(since.date())
    owner = str(
        UsageRecord.objects.exclude(session__triggered_by="nightly-backup").values_list("session__user_id", flat=True).order_by("pk")[50]
    )
    viewer, _ = User.objects.get_or_create(username=owner)
    cases: list[tuple[str, dict[str, Any], Any]] = [
        ("all time", {}, None),
        ("30 whole days", {"since": midnight}, None),
        ("30 days from this minute", {"since": since, "until": until}, None),
        ("all time, one owner's", {}, viewer),
    ]
    for words, bounds, who in cases:
        ours = best(partial(queries.cost_overview, viewer=who, **bounds))
        direct = best(partial(from_records, bounds.get("since"), who and owner))
        line = f"{words:26} day rows {ours * 1000:7.1f} ms   records {direct * 1000:7.1f} ms ({direct / ours:.1f} times as long)"
        if who is None:
            with mock.patch("sessions_app.queries.costs.UsageDayBy.objects", WideOnly()):
                wide = best(partial(queries.cost_overview, **bounds))
            line += f"   wide table alone {wide * 1000:7.1f} ms ({wide / ours:.1f} times)"
        print(line)
    writing()


def writing() -> None:
    """What the rows by one dimension add to the recording of a call; commit left out, and nothing kept."""
    from django.db import transaction

    from sessions_app import services
    from sessions_app.models import Session, UsageDayBy

    sessions = itertools.cycle(
        list(Session.objects.filter(is_demo=True).order_by("-last_message_at").values_list("pk", flat=True)[:2000:4])
    )

    def record() -> None:
        for session in itertools.islice(sessions, 100):
            services.record_usage(session, model="claude-sonnet-4-5", input_tokens=10, output_tokens=10)

    with transaction.atomic():
        both = best(record) / 100
        with mock.patch.object(UsageDayBy, "DIMENSIONS", ()):
            wide = best(record) / 100
        transaction.set_rollback(True)
    print(
        f"record_usage               both tables {both * 1e6:.0f} us   wide table alone {wide * 1e6:.0f} us ({both / wide:.2f} times as long with both)"
    )


class WideOnly:
    """UsageDayBy's manager, answered out of the wide table: what the page would cost without the table by one dimension."""

    def filter(self, *, dimension: str) -> Any:
        from django.db.models import F

        from sessions_app.models import UsageDay

        return UsageDay.objects.annotate(value=F(dimension))


def from_records(since: Any, owner: str | None) -> None:
    """The same four groupings by summing records and counting messages."""
    from django.db.models import Count, Q, Sum
    from django.db.models.functions import TruncDate

    from sessions_app.day_rows import USAGE_MEASURES, business_zone
    from sessions_app.models import Message, UsageRecord

    records = UsageRecord.objects.all() if since is None else UsageRecord.objects.filter(timestamp__gte=since)
    calls = Message.objects.exclude(tool_name="") if since is None else Message.objects.exclude(tool_name="").filter(timestamp__gte=since)
    if owner is not None:
        records, calls = records.filter(session__user_id=owner), calls.filter(session__user_id=owner)
    sums = [Sum(column) for column in USAGE_MEASURES[1:]]
    list(records.values_list("user_id", "cost_source").annotate(*sums, turns=Count("pk")).order_by())
    by_day = records.annotate(day=TruncDate("timestamp", tzinfo=business_zone()))
    list(by_day.values_list("day", "model", "cost_source").annotate(*sums, turns=Count("pk")).order_by())
    counts = {"calls": Count("pk", filter=Q(role="tool_use")), "errors": Count("pk", filter=Q(role="tool_result", is_error=True))}
    list(calls.values_list("tool_name").annotate(**counts).order_by())


def best(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few rounds: the one that the machine disturbed least."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
