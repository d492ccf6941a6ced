"""Static files as a started site has them, and gunicorn with our configuration on the test's database."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.django_db
def test_collected_files_have_hashed_names_that_the_pages_use(settings: Any, tmp_path: Path, client: Client) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}
    settings.WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ["js", "css"]  # compressing them takes ten seconds and proves nothing here
    call_command("collectstatic", "--no-input", verbosity=0)
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.suffix not in (".gz", ".br") and path.is_file()]
    assert all(re.search(r"\.[0-9a-f]{12}(\.\w+)?$", name) for name in names if name != "staticfiles.json")
    page = client.get("/signin/").content.decode()
    sheet = re.search(r'href="/static/(sessions_app/site\.[0-9a-f]{12}\.css)"', page)
    assert sheet, page
    assert sheet[1] in names


@pytest.mark.skipif(sys.platform != "linux", reason="what holds idle connections back is Linux's")
def test_gunicorn_answers_while_browsers_hold_idle_connections_and_stops_when_told(child_env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--config", "sessionsite/gunicorn.conf.py", "--workers", "1"]
    with subprocess.Popen(command, cwd=ROOT, env={**child_env, "PORT": str(port)}, stderr=subprocess.PIPE, text=True) as server:
        try:
            wait_for(port)
            with contextlib.ExitStack() as idle:
                for _ in range(8):
                    idle.enter_context(socket.create_connection(("127.0.0.1", port)))
                started = time.monotonic()
                status, headers = get(port, "/sessions/?channel=slack")
                assert time.monotonic() - started < 4
            assert (status, headers["Location"]) == (302, "/signin/?next=/sessions/%3Fchannel%3Dslack")
            assert get(port, "/admin/")[0] == 302
            assert get(port, "/", host="elsewhere.example")[0] == 400
        finally:
            server.send_signal(signal.SIGTERM)
            told = server.communicate(timeout=30)[1]
    assert server.returncode == 0, told


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            get(port, "/")
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
