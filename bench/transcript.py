"""How fast a transcript opens, whatever its length: the first window, the end and the middle of a session of 20,000 messages against one of
200, the memory a request takes, and the first window of every session below ../shared/data, where there is such a folder.

    python bench/transcript.py [--messages 20000] [--logs FOLDER] [--keep FOLDER]     LOGS: agents' logs to import; KEEP: where the database is kept

The whole way of a request inside Django is measured, from URL to HTML: the first opening, which also renders the Markdown, by the clock, and the
best of some rounds by the processor's time, which a busy machine does not change much.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import tracemalloc
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.test import Client

    from sessions_app.models import Session

ROUNDS = 7
LOGS = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
BEGIN = datetime(2026, 9, 1, 8, tzinfo=UTC)
ANSWER = """Step {n} is done. What changed:

- `module_{n}.py` keeps its **order**, whatever the sort is asked for;
- the total of row {n} is the sum of its parts again.

```python
def step_{n}(rows):
    return sorted(rows, key=lambda row: (row.position, {n}))
```
"""

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--logs", type=Path, default=LOGS)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.update(DATA_DIR=str(folder), DJANGO_SETTINGS_MODULE="sessionsite.settings", DATABASE_URL="", TIME_ZONE="UTC")
        warnings.simplefilter("ignore")
        import django
        from django.conf import settings

        # no file is served here: their names need not be collected
        settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
        django.setup()
        measure(arguments.messages, arguments.logs)


def measure(count: int, logs: Path) -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    call_command("migrate", verbosity=0)
    viewer, _ = User.objects.get_or_create(username="bench", defaults={"is_staff": True})
    short, long = make(200), make(count)
    if logs.is_dir():
        import_logs(logs)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    client = Client(headers={"host": "localhost"})
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    client.get("/sessions/")  # templates, icons, the Markdown renderer
    lengths(client, short, long)
    memory(client, short, long)
    every(client)


def make(count: int) -> Session:
    """Make a session of so many messages: prompts, answers with code, calls with results, one in fifty of them failed, and their model calls."""
    from sessions_app import services
    from sessions_app.events import Event, MessageEvent, UsageEvent, tool_result, tool_use
    from sessions_app.models import Session

    key = f"bench-{count}"
    if (found := Session.objects.filter(key=key).first()) is not None:
        return found
    pk = services.create_session("cli", key, user_id="bench", agent="bench", now=BEGIN).pk
    events: list[Event] = []
    moment = BEGIN
    for number in range(count // 5):
        moment += timedelta(seconds=20)
        response, call = f"r{number}", f"c{number}"
        said = {"timestamp": moment, "response_id": response}
        if number % 10 == 0:
            events.append(MessageEvent(role="user", content=f"Task {number}: make the import keep its order.", timestamp=moment))
        else:
            events.append(MessageEvent(role="thinking", content="The order is lost where the rows are put together.", **said))  # type: ignore[arg-type]
        events += [
            MessageEvent(role="assistant", content=ANSWER.format(n=number), **said),  # type: ignore[arg-type]
            tool_use(call, "Read", {"file_path": f"/srv/project/module_{number}.py"}, **said),
            tool_result(call, f"def step_{number}(rows):\n    return rows\n" * 60, is_error=number % 50 == 49, timestamp=moment),
            MessageEvent(role="assistant", content=f"Module {number} is read.", **said),  # type: ignore[arg-type]
            UsageEvent(
                model="claude-sonnet-4-5",
                input_tokens=12,
                output_tokens=200,
                cache_read_tokens=9_000 + number,
                cache_write_tokens=400,
                timestamp=moment,
                response_id=response,
            ),
        ]
    for start in range(0, len(events), 1000):
        services.store_events(pk, events[start : start + 1000], source="bench", now=moment)
    return Session.objects.get(pk=pk)


def import_logs(logs: Path) -> None:
    from django.core.management import call_command

    with open(os.devnull, "w") as nowhere:
        call_command(
            "import_sessions",
            *(str(logs / name) for name in ("claude-code", "codex") if (logs / name).is_dir()),
            stdout=nowhere,
            stderr=nowhere,
        )


def opened(client: Client, path: str) -> tuple[float, int]:
    """Return the seconds that opening took, and the length of the page."""
    started = time.perf_counter()
    response = client.get(path)
    took = time.perf_counter() - started
    assert response.status_code == 200, (path, response.status_code)
    return took, len(response.content)


def best(client: Client, path: str) -> float:
    """Return the processor's seconds of the cheapest round."""
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        opened(client, path)
        took.append(time.process_time() - started)
    return min(took)


def lengths(client: Client, short: Session, long: Session) -> None:
    from sessions_app.models import Message

    middle = Message.objects.filter(session=long).order_by("pk")[long.message_count // 2].pk
    print(f"{'first window':34}{'first ms':>10}{'CPU ms':>10}{'to 200':>8}")
    base = None
    for words, session, query in (
        ("200 messages", short, ""),
        (f"{long.message_count:,} messages", long, ""),
        ("  its middle", long, f"?at={middle}"),
        ("  its end", long, "?at=end"),
        ("  its errors", long, "?show=errors"),
        ("  a word that stands once", long, f"?find=Task {long.message_count // 100 * 10}:"),
    ):
        path = f"{session.get_absolute_url()}{query}"
        first, _ = opened(client, path)
        took = best(client, path)
        base = base or took
        print(f"{words:34}{1000 * first:>10.0f}{1000 * took:>10.0f}{took / base:>8.2f}")


def memory(client: Client, short: Session, long: Session) -> None:
    """Print what a request takes at most, beside what the process holds anyway."""
    peaks = []
    for session in (short, long):
        tracemalloc.start()
        opened(client, session.get_absolute_url())
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    print(
        f"memory of a request at most: {peaks[0]:.1f} MB for {short.message_count} messages, {peaks[1]:.1f} MB for {long.message_count:,}"
    )


def every(client: Client) -> None:
    """Open every session of the logs once, as a person does, and name the slowest."""
    from sessions_app.models import Session

    took = []
    for session in Session.objects.exclude(agent="bench"):
        seconds, size = opened(client, session.get_absolute_url())
        took.append((seconds, size, session))
    if not took:
        print("No logs to import: only the made sessions were measured.")
        return
    took.sort(key=lambda one: one[0])
    slowest = took[-1]
    print(
        f"{len(took)} sessions of the logs, each opened for the first time: median {1000 * took[len(took) // 2][0]:.0f} ms, slowest "
        f"{1000 * slowest[0]:.0f} ms: {slowest[2].agent}, {slowest[2].message_count:,} messages, {slowest[1] / 1000:.0f} kB of HTML, {slowest[2].pk}"
    )
    again = best(client, slowest[2].get_absolute_url())
    print(f"the slowest again: {1000 * again:.0f} ms of CPU; over 150 ms at first: {sum(one[0] > 0.15 for one in took)}")


if __name__ == "__main__":
    main()
