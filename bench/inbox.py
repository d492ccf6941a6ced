"""How long a page of the list takes at 10,000 and at 1,000,000 sessions: alone, with each filter, with any two of them, and on page 200.

    python bench/inbox.py [--sizes 10000,1000000] [--databases sqlite,postgresql] [--keep FOLDER] [--quick]

A page is the real one, through Django's test client, as someone sees it who sees everything. Each filter is tried with its most frequent value and with its
rarest, pairs with all four combinations, of which the slowest is shown. Times are the median of a few rounds in milliseconds; what holds on another machine
is the ratio of the two sizes. Rows take longer than finding them: a page that is not full at the small size is held against the plain list there, which
is. FOLDER: where the stores are kept for the next run (building a million sessions takes minutes). --quick: small stores, few rounds, for a look whether it
still runs. --cpu: the processor's time of this process instead of the clock's, for a busy machine; SQLite only, PostgreSQL works elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

NOW = "2026-11-22T22:00:00Z"
ALLOWED = 1.5
PAGE = 50
# The filters that must be fast in pairs, and the parameter of each.
PAIRED = {
    "read": "read",
    "status": "status",
    "channel": "channel",
    "user": "user",
    "agent": "agent",
    "project": "project",
    "model": "model",
    "trigger": "trigger",
}
VIEWER = "bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,1000000", help="two numbers of sessions, the smaller first")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # a child's task: values or times
    arguments = parser.parse_args()
    if arguments.measure:
        child(json.loads(arguments.measure))
        return
    small, large = map(int, ("2000,8000" if arguments.quick else arguments.sizes).split(","))
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for database in arguments.databases.split(","):
            if database == "postgresql":
                from tests.tools import postgresql_server

                socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg")))
                socket.chmod(0o711)
                try:
                    stack.enter_context(postgresql_server(socket, durable=True))
                except RuntimeError as error:
                    print(f"PostgreSQL: not measured, {error}")
                    continue
            stores = {size: store(folder, size, database, socket if database == "postgresql" else None) for size in (small, large)}
            values = task(stores[large], {"task": "values"})
            rounds = 2 if arguments.quick else arguments.rounds
            times = {
                size: task(environment, {"task": "times", "values": values, "rounds": rounds, "cpu": arguments.cpu})
                for size, environment in stores.items()
            }
            table(database, small, large, times)


def store(folder: Path, size: int, database: str, socket: Path | None) -> dict[str, str]:
    """Make the store of so many sessions, unless it is there, and return the environment that leads to it."""
    home = folder / f"{database}-{size}"
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "DATA_DIR": str(home),
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "sessionsite.settings",
        "TIME_ZONE": "UTC",
    }
    environment["SQLITE_SYNCHRONOUS"] = "NORMAL"
    if socket:
        address = f"postgresql://postgres@{quote(str(socket), safe='')}"
        environment["DATABASE_URL"] = f"{address}/bench{size}"
        script = f"import psycopg; psycopg.connect('{address}/postgres', autocommit=True).execute('CREATE DATABASE bench{size}')"
        subprocess.run([sys.executable, "-c", script], check=True)
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True, cwd=ROOT)
    subprocess.run([*manage, "collectstatic", "--no-input", "--verbosity", "0"], env=environment, check=True, cwd=ROOT)
    if not task(environment, {"task": "count"}):
        subprocess.run([*manage, "demo", "--sessions", str(size), "--days", "365", "--now", NOW], env=environment, check=True, cwd=ROOT)
    return environment


def task(environment: dict[str, str], what: dict[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", json.dumps(what)], env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


# --- in a process of its own, on one store ------------------------------------------------------------------------------------------------


def child(what: dict[str, Any]) -> None:
    import django

    django.setup()
    from sessions_app.models import Session

    if what["task"] == "count":
        answer: Any = Session.objects.exists()
    elif what["task"] == "values":
        answer = values()
    else:
        answer = times(what["values"], what["rounds"], time.process_time if what["cpu"] else time.perf_counter)
    print(json.dumps(answer))


def values() -> dict[str, list[str]]:
    """Return, for each filter, its most frequent value and its rarest."""
    from django.db.models import Count, F

    from sessions_app.models import Session

    found: dict[str, list[str]] = {
        "read": ["unread", "read"],
        "status": ["closed", "archived", "stale"],
        "errors": ["1"],
        "since": ["2026-06-01"],
    }
    columns = {"channel": "channel", "user": "user_id", "agent": "agent", "project": "project", "model": "model"}
    for name, column in columns.items():
        rows = Session.objects.exclude(**{column: ""}).values_list(column).annotate(count=Count("pk")).order_by("-count", F(column))
        names = [value for value, _ in rows]
        found[name] = [names[0], names[-1]]
    rows = Session.objects.exclude(triggered_by=None).values_list("triggered_by").annotate(count=Count("pk")).order_by("-count")
    found["trigger"] = ["person", f"cron:{[name for name, _ in rows if not name.startswith('__')][-1]}"]
    return found


def cases(values: dict[str, list[str]]) -> dict[str, list[dict[str, str]]]:
    """Return the pages to be measured: in words, and the query of each variant. The status is "all" where it is not what is asked, so that nothing hides."""
    dates = {"since": "2026-06-03", "until": "2026-06-05"}
    single: dict[str, list[dict[str, str]]] = {name: [{parameter: value} for value in values[name]] for name, parameter in PAIRED.items()}
    single["date"] = [dates, {"since": "2026-01-10", "until": "2026-01-11"}]
    found: dict[str, list[dict[str, str]]] = {"list": [{}], "all": [{"status": "all"}]}
    found |= single
    found |= {
        "errors": [{"errors": "1"}],
        "cost": [{"cost_min": "0.5"}, {"cost_min": "0.001", "cost_max": "0.01"}],
        "tag": [{"tag": "triage"}, {"tag": "postmortem"}],
    }
    for one, other in itertools.combinations(single, 2):
        found[f"{one} + {other}"] = [a | b for a, b in itertools.product(single[one], single[other])]
    free: dict[str, list[dict[str, str]]] = {
        "text": [{"q": "invoice"}, {"q": "no such words"}],
        "text + user": [{"q": "invoice", "user": values["user"][0]}],
        "text + model": [{"q": "no such words", "model": values["model"][-1]}],
        "tag + model": [{"tag": "triage", "model": values["model"][-1]}],
        "cost + channel": [{"cost_min": "0.5", "channel": values["channel"][-1]}],
        "errors + user": [{"errors": "1", "user": values["user"][-1]}],
        **{f"sort {sort}": [{"sort": sort}] for sort in ("started", "cost", "messages")},
        "sort cost + user": [{"sort": "cost", "user": values["user"][-1]}],
        "sort messages + channel": [{"sort": "messages", "channel": values["channel"][0]}],
    }
    return found | {f"({name})": variants for name, variants in free.items()}


def times(values: dict[str, list[str]], rounds: int, clock: Callable[[], float]) -> dict[str, list[list[tuple[float, int]]]]:
    """Return for each case its variants, each with the milliseconds and the rows of its first page and of page 200."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    settings.ALLOWED_HOSTS = ["testserver"]
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    viewer, _ = User.objects.get_or_create(username=VIEWER, defaults={"is_staff": True})
    client = Client(raise_request_exception=True)
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")

    def measured(query: dict[str, str]) -> tuple[float, int]:
        path = f"/sessions/?{urlencode(query)}"
        taken = []
        for number in range(rounds + 1):
            started = clock()
            answer = client.get(path)
            if number:  # the first one warms up
                taken.append(clock() - started)
            assert answer.status_code == 200, (path, answer.status_code)
        return statistics.median(taken) * 1000, answer.content.count(b'class="session-row')

    measured({})
    found: dict[str, list[list[tuple[float, int]]]] = {}
    for name, variants in cases(values).items():
        found[name] = []
        for query in variants:
            after = page_200(query, viewer)
            found[name].append([measured(query), measured(query | {"after": after}) if after else (0.0, 0)])
    return found


def page_200(query: dict[str, str], viewer: Any) -> str:
    """Return the cursor of page 200, or of the last page where there are fewer; "" where there is only one, or another sort."""
    from django.http import QueryDict

    from sessions_app import queries
    from sessions_app.queries import cursors

    if {"sort", "q", "tag", "cost_min"} & set(query):
        return ""
    asked = filter_of(QueryDict(urlencode(query)))
    ids = queries.matching_ids(asked, viewer=viewer, limit=199 * PAGE).ids
    if len(ids) <= PAGE:
        return ""
    from sessions_app.models import Session

    last = Session.objects.get(pk=ids[-1] if len(ids) == 199 * PAGE else ids[-PAGE - 1])
    return cursors.encode(last.last_message_at, last.pk)


def filter_of(query: Any) -> Any:
    from datetime import date

    from sessions_app.queries import SessionFilter

    return SessionFilter(
        status=query.get("status", "inbox"),
        unread={"unread": True, "read": False}.get(query.get("read")),
        channel=query.get("channel", ""),
        user_id=query.get("user", ""),
        agent=query.get("agent", ""),
        project=query.get("project", ""),
        model=query.get("model", ""),
        trigger=query.get("trigger", ""),
        has_errors={"1": True, "0": False}.get(query.get("errors")),
        since=date.fromisoformat(query["since"]) if "since" in query else None,
        until=date.fromisoformat(query["until"]) if "until" in query else None,
    )


# --- what is printed ----------------------------------------------------------------------------------------------------------------------


def table(database: str, small: int, large: int, times: dict[int, dict[str, list[list[tuple[float, int]]]]]) -> None:
    print(f"\n{database}: milliseconds at {small:,} and {large:,} sessions, the slowest of the variants; in brackets what is only printed")
    print(f"{'':28} {'first page':>27} {'page 200':>27}")
    full = times[small]["list"][0][0][0]
    ratios = []
    for name, variants in times[large].items():
        columns = []
        for page in (0, 1):
            pairs = []
            for before, after in zip(times[small][name], variants, strict=True):
                (taken, rows), (taken_then, rows_then) = before[page], after[page]
                if taken_then:
                    pairs.append((taken if rows >= rows_then else max(taken, full), taken_then))
            if not pairs:
                columns.append(" " * 27)
                continue
            few, many = max(pairs, key=lambda pair: pair[1] / pair[0])
            columns.append(f"{few:8.1f} {many:8.1f} {many / few:7.2f} x")
            if not name.startswith("("):
                ratios.append(many / few)
        print(f"{name:28} {columns[0]} {columns[1]}")
    over = sum(ratio > ALLOWED for ratio in ratios)
    print(f"{database}: of the {len(ratios)} figures that must hold the worst is {max(ratios):.2f}; {over} are over {ALLOWED}")


if __name__ == "__main__":
    main()
