"""Killing gunicorn while clients write: every event that was acknowledged is stored, and stored once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app import services
from sessions_app.models import Message, Session, UsageRecord

ROOT = Path(__file__).resolve().parent.parent
CLIENTS, EVENTS, KILLS = 4, 60, 4


class Server:
    """gunicorn with the site on one port, killed and started again on the same."""

    def __init__(self, environment: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.environment = {**environment, "PORT": str(self.port), "API_RATE_PER_TOKEN": "0"}
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "sessionsite/gunicorn.conf.py", "--workers", "2"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=subprocess.DEVNULL, start_new_session=True)

    def kill(self) -> None:
        """All of its processes at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(environment: dict[str, str]) -> Iterator[Server]:
    server = Server(environment)
    try:
        yield server
    finally:
        server.kill()


def write(port: int, token: str, number: int, acknowledged: list[str], failures: list[str]) -> None:
    """Send events one after another, each again under its id until it is acknowledged."""
    retry = threading.Event()  # only to wait on: nobody sets it
    for event in range(EVENTS):
        event_id = f"client-{number}-{event}"
        session = {"channel": "main", "key": f"key-{number}", "user_id": "alice"}
        if event % 3 == 2:
            path, body = (
                "turns",
                {
                    "session": session,
                    "event_id": event_id,
                    "messages": [{"role": "assistant", "content": event_id}],
                    "usage": {"model": "claude-sonnet-4-5", "input_tokens": 10, "output_tokens": 1},
                },
            )
        else:
            path, body = (
                "batch",
                {"events": [{"type": "message", "session": session, "event_id": event_id, "role": "user", "content": event_id}]},
            )
        for _ in range(600):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request(
                    "POST", f"/api/v1/{path}", json.dumps(body), {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                retry.wait(0.05)
                continue
            finally:
                connection.close()
            if answer.status < 300:
                acknowledged.append(event_id)
            else:
                failures.append(f"{answer.status} {content[:300]!r}")
            break
        else:
            failures.append(f"{event_id} was never answered")


@pytest.mark.django_db(transaction=True)
def test_every_acknowledged_event_is_stored_exactly_once(child_env: dict[str, str]) -> None:
    token = services.create_token("writer", scope="write").secret
    acknowledged: list[str] = []
    failures: list[str] = []
    chance = random.Random(7)
    with running(child_env) as server:
        writers = [threading.Thread(target=write, args=(server.port, token, number, acknowledged, failures)) for number in range(CLIENTS)]
        for writer in writers:
            writer.start()
        for kill in range(1, KILLS + 1):
            # In the midst of the work: when this share of the events has come through.
            goal = kill * CLIENTS * EVENTS // (KILLS + 1)
            while len(acknowledged) < goal and any(writer.is_alive() for writer in writers):
                writers[chance.randrange(CLIENTS)].join(0.01)
            server.kill()
            server.start()
        for writer in writers:
            writer.join()
    assert not failures, failures[:3]
    assert len(acknowledged) == len(set(acknowledged)) == CLIENTS * EVENTS
    stored = sorted(Message.objects.values_list("content", flat=True))
    assert stored == sorted(acknowledged)
    assert UsageRecord.objects.count() == CLIENTS * EVENTS // 3
    assert Session.objects.count() == CLIENTS
    assert services.recount().total == 0
