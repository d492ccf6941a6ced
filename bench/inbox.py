"""How long a page of the list takes at 10,000 and at 1,000,000 sessions: alone, with each filter, with any two of them, and on page 200.

    python bench/inbox.py [--sizes 10000,1000000] [--databases sqlite,postgresql] [--keep FOLDER] [--quick]

A page is the real one, through Django's test client, as someone sees it who sees everything. Each filter is tried with its most frequent value and with its
rarest, pairs with all four combinations, of which the slowest is shown. Times are milliseconds of the fastest of a few rounds, which the machine disturbed
least; what holds on another one is the ratio of the two sizes. Rows take longer than finding them: a page that is not full at the small size is held against the plain list there, which
is. FOLDER: where the stores are kept for the next run (building a million sessions takes minutes). --quick: small stores, few rounds, for a look whether it
still runs. --cpu: the processor's time of this process instead of the clock's, for a busy machine; SQLite only, PostgreSQL works elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
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
    parser.add_argument(
        "--socket", type=Path, help="where a PostgreSQL listens that runs already, with the stores of an earlier run or none"
    )
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

                if arguments.socket is None:
                    arguments.socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg")))
                    arguments.socket.chmod(0o711)
                    try:
                        stack.enter_context(postgresql_server(arguments.socket, durable=True))
                    except RuntimeError as error:
                        print(f"PostgreSQL: not measured, {error}")
                        continue
            stores = {
                size: store(folder, size, database, arguments.socket if database == "postgresql" else None) for size in (small, large)
            }
            values = task(stores[large], {"task": "values"})
            rounds = 2 if arguments.quick else arguments.rounds
            with ExitStack() as readers:
                both = {size: readers.enter_context(Reader(environment, arguments.cpu)) for size, environment in stores.items()}
                table(database, small, large, times(cases(values), both, rounds))


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
        script = (
            f"import psycopg; server = psycopg.connect('{address}/postgres', autocommit=True); "
            f"server.execute(\"SELECT 1 FROM pg_database WHERE datname = 'bench{size}'\").fetchone() or server.execute('CREATE DATABASE bench{size}')"
        )
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


class Reader:
    """A process that reads pages of one store and says how long each took. Both sizes are asked in turn, so that what else the machine does meets both."""

    def __init__(self, environment: dict[str, str], cpu: bool) -> None:
        command = [sys.executable, __file__, "--measure", json.dumps({"task": "read", "cpu": cpu})]
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def ask(self, what: str, query: dict[str, str]) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([what, query]), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


Times = dict[
    str, list[list[tuple[float, int]]]
]  # by case: its variants, each with the milliseconds and the rows of its first page, of page 200, and of the plain list just then


def times(cases: dict[str, list[dict[str, str]]], readers: dict[int, Reader], rounds: int) -> dict[int, Times]:
    found: dict[int, Times] = {size: {name: [] for name in cases} for size in readers}
    for name, variants in cases.items():
        for query in variants:
            pages: dict[int, list[dict[str, str] | None]] = {}
            for size, reader in readers.items():
                after = reader.ask("page 200", query)
                pages[size] = [query, query | {"after": after} if after else None, {}]
            best: dict[int, list[tuple[float, int]]] = {size: [(0.0, 0)] * 3 for size in readers}
            for turn in range(rounds + 1):  # the first one warms up
                for size, reader in readers.items():
                    for number, page in enumerate(pages[size]):
                        if page is not None:
                            taken, rows = reader.ask("time", page)
                            best[size][number] = (taken if turn <= 1 else min(taken, best[size][number][0]), rows)
            for size in readers:
                found[size][name].append(best[size])
    return found


# --- in a process of its own, on one store ------------------------------------------------------------------------------------------------


def child(what: dict[str, Any]) -> None:
    import django

    django.setup()
    from sessions_app.models import Session

    if what["task"] == "read":
        read(time.process_time if what["cpu"] else time.perf_counter)
    else:
        print(json.dumps(Session.objects.exists() if what["task"] == "count" else values()))


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


def read(clock: Callable[[], float]) -> None:
    """Answer each line of the input: how long a page takes and how many rows it has, or where page 200 begins."""
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
    for line in sys.stdin:
        what, query = json.loads(line)
        if what == "page 200":
            answer: Any = page_200(query, viewer)
        else:
            path = f"/sessions/?{urlencode(query)}"
            started = clock()
            page = client.get(path)
            taken = clock() - started
            assert page.status_code == 200, (path, page.status_code)
            answer = taken * 1000, page.content.count(b'class="session-row')
        print(json.dumps(answer), flush=True)


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


def table(database: str, small: int, large: int, times: dict[int, Times]) -> None:
    print(f"\n{database}: milliseconds at {small:,} and {large:,} sessions, the slowest of the variants; in brackets what is only printed")
    print(f"{'':28} {'first page':>27} {'page 200':>27}")
    ratios = []
    for name, variants in times[large].items():
        columns = []
        for page in (0, 1):
            pairs = []
            for before, after in zip(times[small][name], variants, strict=True):
                (taken, rows), (taken_then, rows_then) = before[page], after[page]
                if taken_then:
                    pairs.append((taken if rows >= rows_then else max(taken, before[2][0]), taken_then))
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
