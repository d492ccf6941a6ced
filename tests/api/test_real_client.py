"""httpx, curl and the examples of docs/api.md against a running gunicorn."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessions_app import services
from sessions_app.models import Message, Session, UsageRecord
from tests.otlp.test_real_client import serving

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text(encoding="utf-8")


@pytest.fixture
def url(child_env: dict[str, str]) -> Iterator[str]:
    with serving({**child_env, "SECRET_KEY": "x" * 50}) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def secret(transactional_db: None) -> str:
    return services.create_token("t", scope="write", user_id="alice").secret


def example(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def run(command: list[str], url: str, secret: str) -> str:
    environment = {"PATH": os.environ["PATH"], "URL": url, "TOKEN": secret}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_with_curl(url: str, secret: str) -> None:
    printed = run(["sh", "-e", "-c", example("sh")], url, secret)
    turn, batch = map(json.loads, printed.strip().splitlines())
    assert turn["created"] is True
    assert (batch["stored"], batch["refused"]) == (1, 0)
    session = Session.objects.get()
    assert (session.user_id, session.agent, session.title, session.summary, session.is_closed) == (
        "alice", "support-bot", "Where is my parcel?", "Parcel found", True,
    )  # fmt: skip
    assert (session.message_count, session.total_turns) == (3, 1)
    assert session.cost_usd > 0
    run(["sh", "-e", "-c", example("sh")], url, secret)  # sent again, nothing changes
    assert Session.objects.values().get() == {**Session.objects.values().get(), "message_count": 3, "total_turns": 1}


def test_the_agent_in_python(url: str, secret: str) -> None:
    source = example("python")
    assert len([line for line in source.splitlines() if line.strip()]) < 40
    run([sys.executable, "-c", source], url, secret)
    session = Session.objects.get()
    assert (session.title, session.summary, session.message_count, session.total_turns) == ("hello", "A short talk", 6, 3)
    assert list(UsageRecord.objects.order_by("turn").values_list("input_tokens", flat=True)) == [20, 40, 60]


def test_httpx_large_compressed_and_in_chunks(url: str, secret: str) -> None:
    def chunks(body: bytes) -> Iterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    with httpx.Client(
        base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    ) as client:
        session = client.post("/sessions/open", json={"key": "k"}).json()["session_id"]
        body = json.dumps({"role": "user", "content": "x" * 3_000_000}).encode()
        answers = [
            client.post(f"/sessions/{session}/messages", content=body),
            client.post(f"/sessions/{session}/messages", content=chunks(body)),
            client.post(f"/sessions/{session}/messages", content=gzip.compress(body), headers={"Content-Encoding": "gzip"}),
            client.post(f"/sessions/{session}/messages", content=chunks(gzip.compress(body)), headers={"Content-Encoding": "gzip"}),
        ]
        assert [answer.status_code for answer in answers] == [201] * 4
        assert Message.objects.count() == 4

        def refused(answer: httpx.Response) -> tuple[int, Any]:
            return answer.status_code, answer.json()["code"]

        large = b" " * 25_000_000
        assert refused(client.post("/batch", content=large)) == (413, "too_large")
        assert refused(client.post("/batch", content=chunks(large))) == (413, "too_large")
        assert refused(client.post("/batch", content=gzip.compress(large), headers={"Content-Encoding": "gzip"})) == (413, "too_large")
        # and the same client goes on
        assert client.post(f"/sessions/{session}/close").status_code == 200
        assert refused(client.post("/sessions/open", json={"key": "k"}, headers={"Authorization": "Bearer x"})) == (401, "bad_token")
        assert client.get("/openapi.json", headers={"Authorization": ""}).status_code == 200
