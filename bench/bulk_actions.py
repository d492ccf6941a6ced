"""What one click on a whole filter costs: each action on so many sessions, and its undo, on SQLite and on PostgreSQL. Shown: the time, the longest
transaction and the middle one (the promise is 100 ms of write lock, on a machine that does nothing else), and how long another writer, who stores a message every 10 ms meanwhile, waits at most.

    python -m bench.bulk_actions [--sessions 100000] [--database sqlite|postgresql] [--no-writer]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

PROMISED_MS = 100
VERBS = ("read", "unread", "archive", "restore", "close", "reopen", "tag", "untag")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="default: one after the other")
    parser.add_argument("--no-writer", action="store_true", help="nobody else writes")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_on(arguments.write)
        return
    if arguments.measure:
        measure(arguments.measure, arguments.sessions, writer=not arguments.no_writer)
        return
    for database in [arguments.database] if arguments.database else ["sqlite", "postgresql"]:
        measure_in_process(database, arguments.sessions, writer=not arguments.no_writer)


def measure_in_process(database: str, sessions: int, *, writer: bool) -> None:
    from tests.tools import postgresql_server

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = ""
        if database == "postgresql":
            folder.chmod(0o755)
            stack.enter_context(postgresql_server(folder, durable=True))
            url = f"postgresql://postgres@{str(folder).replace('/', '%2F')}/postgres"
        names = {
            "DATA_DIR": str(folder),
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "sessionsite.settings",
            "TIME_ZONE": "UTC",
            "SECRET_KEY": "x" * 50,
        }
        # Django's settings are read once a process
        command = [
            sys.executable,
            "-m",
            "bench.bulk_actions",
            "--sessions",
            str(sessions),
            "--measure",
            database,
            *([] if writer else ["--no-writer"]),
        ]
        subprocess.run(command, env={**os.environ, **names}, check=True)


def measure(database: str, sessions: int, *, writer: bool) -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.utils import timezone

    from sessions_app import queries, selections, services
    from sessions_app.queries import SessionFilter

    call_command("migrate", verbosity=0)
    started = time.perf_counter()
    fill(sessions)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"{database}: {sessions:,} sessions made in {time.perf_counter() - started:.0f} s", flush=True)
    viewer = User.objects.create_superuser("olga")

    class Pace(services.Pace):
        def __init__(self) -> None:
            super().__init__()
            self.all: list[float] = []

        def learn(self, taken: float) -> None:
            super().learn(taken)
            self.all.append(taken)

    other = services.create_session("main", "the writer's own").pk
    print(
        f"{'':8}" + "".join(f"{words:>10}{'CPU':>9}{'median':>9}{'longest':>9}{'waited':>9}" for words in ("do", "undo")) + "   sessions",
        flush=True,
    )
    worst = 0.0
    result: Any = None
    for verb in VERBS:
        line = f"{verb:8}"
        chosen = SessionFilter(status="all")
        for undo in (False, True):
            pace = Pace()
            background = subprocess.Popen(
                [sys.executable, "-m", "bench.bulk_actions", "--write", str(other)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) if writer else None  # fmt: skip
            if background:
                assert background.stdout is not None
                background.stdout.readline()
            started, used = time.perf_counter(), time.process_time()
            if undo:
                result = services.undo_action(result.action_id, viewer=viewer, seconds=3600, pace=pace)
            else:
                action = services.start_action(
                    verb, viewer=viewer, session_filter=queries.filter_fields(chosen), summary="enough", tag="looked at", now=timezone.now()
                )
                result = services.run_action(action.pk, viewer=viewer, source=selections.source_of(action, viewer), seconds=3600, pace=pace)
            taken, used = time.perf_counter() - started, time.process_time() - used
            waited = json.loads(background.communicate("stop\n")[0])["longest"] if background else 0
            worst = max(worst, pace.longest)
            line += f"{taken:8.1f} s{used:7.1f} s{statistics.median(pace.all) * 1000:6.0f} ms{pace.longest * 1000:6.0f} ms{waited * 1000:6.0f} ms"
        print(f"{line}   {result.done:,}", flush=True)
        # the next verb finds what it changes
        if verb in ("read", "archive", "close", "tag"):
            services.run_action(
                (again := services.start_action(verb, viewer=viewer, session_filter=queries.filter_fields(chosen), tag="looked at")).pk,
                viewer=viewer, source=selections.source_of(again, viewer), seconds=3600,
            )  # fmt: skip
    print(
        f"longest transaction {worst * 1000:.0f} ms: {'within' if worst * 1000 <= PROMISED_MS else 'BEYOND'} the {PROMISED_MS} ms promised\n",
        flush=True,
    )


def fill(sessions: int) -> None:
    """Make sessions without messages, of many names and states, half of them unread for everyone."""
    from django.db import transaction
    from django.utils import timezone

    from sessions_app import session_groups
    from sessions_app.models import Channel, Session

    channels = list(Channel.objects.order_by("pk"))
    now = timezone.now()
    made = []
    for number in range(sessions):
        user, agent, moment = number * 7 % 97, number % 3, now - timedelta(minutes=number)
        made.append(
            Session(
                channel=channels[number % 5],
                key=f"key {number}",
                user_id=f"user {user}",
                agent=("codex", "claude-code", "")[agent],
                project=f"project {(user + number // 5000 % 3) % 41}",  # each works in a few of them
                model=f"model {agent + number // 50 % 3}",
                title=f"What was said in number {number}",
                triggered_by=None if number % 4 else "nightly",
                created_at=moment - timedelta(minutes=5),
                last_message_at=moment,
                unread_since=moment if number % 2 else None,
                tags=["some", "tags"] if number % 10 == 0 else [],
            )
        )
    Session.objects.bulk_create(made, batch_size=5000)
    with transaction.atomic():
        session_groups.place_everything()


def write_on(session_id: str) -> None:
    """Store a message every 10 ms until stdin says stop; print the longest of them as JSON."""
    import select

    import django

    django.setup()
    from sessions_app import services

    services.save_message(session_id, "user", "first")
    print("ready", flush=True)
    taken: list[float] = []
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        started = time.perf_counter()
        services.save_message(session_id, "user", "something")
        taken.append(time.perf_counter() - started)
    print(json.dumps({"longest": max(taken, default=0.0), "messages": len(taken)}))


if __name__ == "__main__":
    main()
