"""How much comes through the doors: turns over HTTP from 1 and 8 connections, messages by batch, spans by OTLP; each beside a Django view that does one
insert, measured in the same run on the same machine with the same server.

    python bench/doors.py [--seconds 5] [--rounds 3]

A turn is two messages and a model call, in one request. Figures are the median of the rounds; the ratio is what holds on another machine.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import itertools
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BATCH = 500  # messages in a batch, spans in an export
TEXT = "The nightly import lost a line item again. " * 8


@contextmanager
def server(application: str, environment: dict[str, str], folder: Path) -> Iterator[int]:
    """Run gunicorn with an application on a free port of this machine; stopped by its process id."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        str(ROOT / "sessionsite/gunicorn.conf.py"),
        "--bind",
        f"127.0.0.1:{port}",
        application,
    ]
    log = (folder / f"{application.partition(':')[0]}.log").open("wb")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def post(port: int, path: str, bodies: Iterator[bytes], headers: dict[str, str], until: float, ok: tuple[int, ...]) -> int:
    """Post one body after another over one connection until the time is over; return how many were accepted."""
    connection, done = http.client.HTTPConnection("127.0.0.1", port, timeout=30), 0
    for body in bodies:
        if time.monotonic() >= until:
            break
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, ConnectionError):  # the server closed a kept connection: open another
            connection.close()
            continue
        if answer.status not in ok:
            raise SystemExit(f"{path} answered {answer.status}: {content[:500]!r}")
        done += 1
    connection.close()
    return done


def client(number: int, port: int, kind: str, headers: dict[str, str], start: float, seconds: float, results: Any) -> None:
    time.sleep(max(0.0, start - time.monotonic()))
    path, ok, _ = KINDS[kind]
    try:
        results.put(post(port, path, BODIES[kind](number), headers, start + seconds, ok))
    except (SystemExit, OSError) as error:  # an answer that is no success, or none in time: the measurement fails, and says why
        results.put(f"Client {number} ({kind}): {type(error).__name__} {error}")


def inserts(number: int) -> Iterator[bytes]:
    session = str(uuid.uuid4())
    while True:
        yield json.dumps({"session_id": session, "role": "user", "content": TEXT}).encode()


def turns(number: int) -> Iterator[bytes]:
    key = str(uuid.uuid4())
    for turn in itertools.count():
        yield json.dumps(
            {
                "session": {"channel": "main", "key": key, "user_id": f"user-{number}", "agent": "bench"},
                "event_id": f"{key}-{turn}",
                "messages": [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}],
                "usage": {"model": "claude-sonnet-4-5", "input_tokens": 900, "output_tokens": 300, "cache_read_tokens": 4000},
            }
        ).encode()


def batches(number: int) -> Iterator[bytes]:
    for batch in itertools.count():
        session = {"channel": "main", "key": f"batch-{uuid.uuid4()}", "user_id": f"user-{number}"}
        events = [
            {
                "type": "message",
                "session": session,
                "event_id": f"{session['key']}-{batch}-{line}",
                "role": ("user", "assistant")[line % 2],
                "content": TEXT,
            }
            for line in range(BATCH)
        ]
        yield json.dumps({"events": events}).encode()


def exports(number: int) -> Iterator[bytes]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    while True:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "bench"
        spans, trace, now = resource.scope_spans.add().spans, os.urandom(16), time.time_ns()
        for line in range(BATCH):
            span = spans.add(
                trace_id=trace,
                span_id=os.urandom(8),
                name="chat gpt-5.1",
                start_time_unix_nano=now + line,
                end_time_unix_nano=now + line + 1000,
            )
            words = {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.response.model": "gpt-5.1",
                "gen_ai.conversation.id": trace.hex(),
            }
            for key, value in words.items():
                span.attributes.add(key=key).value.string_value = value
            for key, count in {"gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 300}.items():
                span.attributes.add(key=key).value.int_value = count
        yield gzip.compress(request.SerializeToString(), 1)


BODIES: dict[str, Callable[[int], Iterator[bytes]]] = {"insert": inserts, "turn": turns, "batch": batches, "span": exports}
# path, good statuses, how many things a request holds
KINDS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "insert": ("/insert", (201,), 1),
    "turn": ("/api/v1/turns", (200, 201), 1),
    "batch": ("/api/v1/batch", (200, 201, 207), BATCH),
    "span": ("/v1/traces", (200,), BATCH),
}


def rate(kind: str, port: int, connections: int, seconds: float, headers: dict[str, str]) -> float:
    """Return how many things a second come through, from so many connections at once, each a process of its own."""
    results: Any = multiprocessing.Queue()
    start = time.monotonic() + 0.5 + 0.1 * connections
    people = [
        multiprocessing.Process(target=client, args=(number, port, kind, headers, start, seconds, results)) for number in range(connections)
    ]
    for person in people:
        person.start()
    told = [results.get(timeout=seconds + 60) for _ in people]
    for person in people:
        person.join()
    if failures := [words for words in told if isinstance(words, str)]:
        raise SystemExit("\n".join(failures))
    return float(sum(told) * KINDS[kind][2] / seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = {**os.environ, "DATA_DIR": str(work / "data"), "DATABASE_URL": "", "API_RATE_PER_TOKEN": "1000000", "LOG_LEVEL": "ERROR"}
        manage = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "-v0"], env=site, check=True)
        subprocess.run([*manage, "collectstatic", "--no-input", "-v0"], env=site, check=True)
        secret = subprocess.run(
            [*manage, "create_token", "bench", "--scope", "write"], env=site, check=True, capture_output=True, text=True
        ).stdout
        token = next(word for word in secret.split() if word.startswith("sst_"))
        yardstick = {
            **os.environ,
            "ONE_INSERT_DATABASE": str(work / "one.sqlite3"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'bench'}",
            "DATA_DIR": str(work / "data"),
        }
        subprocess.run([sys.executable, str(ROOT / "bench/one_insert.py")], env=yardstick, check=True)
        ours = stack.enter_context(server("sessionsite.wsgi:application", site, work))
        theirs = stack.enter_context(server("one_insert:application", yardstick, work))
        bearer = {"Authorization": f"Bearer {token}"}
        plain = {**bearer, "Content-Type": "application/json"}
        protobuf = {**bearer, "Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        for kind, port, headers in (("insert", theirs, plain), ("turn", ours, plain), ("span", ours, protobuf)):
            rate(kind, port, 4, 2, headers)  # the first requests of a process load half of its modules
        for connections in (1, 8):
            found: dict[str, list[float]] = {"insert": [], "turn": []}
            for _ in range(args.rounds):
                found["insert"].append(rate("insert", theirs, connections, args.seconds, plain))
                found["turn"].append(rate("turn", ours, connections, args.seconds, plain))
            one, turn = statistics.median(found["insert"]), statistics.median(found["turn"])
            print(f"{connections} connection(s): {turn:,.0f} turns/s, {one:,.0f} one-insert requests/s: ratio {turn / one:.2f}", flush=True)
        insert = one
        for kind, headers, noun in (("batch", plain, "messages"), ("span", protobuf, "spans")):
            for connections in (1, 2):
                speed = statistics.median(rate(kind, ours, connections, args.seconds, headers) for _ in range(args.rounds))
                print(
                    f"{noun} in requests of {BATCH}, {connections} connection(s): {speed:,.0f} {noun}/s, {speed / insert:.1f} for each one-insert request",
                    flush=True,
                )


if __name__ == "__main__":
    main()
