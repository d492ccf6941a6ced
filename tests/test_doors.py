"""The short way in for programs, and the queue of SQLite's writers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import Client

from sessions_app import services
from sessions_app.database import run, run_for_each
from sessions_app.models import Session
from tests.factories import make_user


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/sessions", "/api/v1/openapi.json", "/api/nothing", "/v1/traces"])
def test_a_program_meets_none_of_what_is_for_browsers(client: Client, path: str) -> None:
    client.force_login(make_user("alice"))
    answer = client.get(path, headers={"HX-Request": "true"})
    assert not hasattr(answer.wsgi_request, "user") and not hasattr(answer.wsgi_request, "htmx")
    assert not answer.cookies and "Vary" not in answer.headers
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert client.get(path, headers={"Host": "elsewhere.example"}).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/docs", "/", "/apiary/", "/v1"])
def test_a_person_goes_the_long_way(client: Client, path: str) -> None:
    assert hasattr(client.get(path).wsgi_request, "user")


@pytest.mark.django_db
def test_statements_of_ours_are_seen_and_fail_as_djangos(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        run("SELECT 1")
        run_for_each("UPDATE sessions_app_channel SET label = %s WHERE slug = %s", [("Web", "main")])
    assert run("SELECT label FROM sessions_app_channel WHERE slug = %s", ["main"]) == [("Web",)]
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic():
        transaction.set_rollback(True)
        run("SELECT 1")


HOLDER = """
import django; django.setup()
from sessions_app.day_rows import writing
with writing():
    print("in", flush=True)
    input()
"""


@pytest.fixture
def holder(child_env: dict[str, str]) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=django_settings.BASE_DIR, env={**child_env, "SECRET_KEY": "x" * 50},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.skipif(os.environ.get("TEST_DATABASE") == "postgresql", reason="PostgreSQL's writers need no queue")
@pytest.mark.django_db(transaction=True)
def test_a_writer_waits_for_another_process_and_goes_on_when_that_is_killed(holder: subprocess.Popen[str]) -> None:
    done = threading.Event()

    def write() -> None:
        services.open_session("main", "k")
        connection.close()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not done.wait(0.5)
    holder.send_signal(signal.SIGKILL)
    assert done.wait(10)
    writer.join()
    assert Session.objects.count() == 1


@pytest.mark.skipif(os.environ.get("TEST_DATABASE") == "postgresql", reason="PostgreSQL's writers need no queue")
@pytest.mark.django_db(transaction=True)
def test_who_writes_already_waits_for_nobody(child_env: dict[str, str]) -> None:
    """Who is in the queue waits for SQLite's lock; were its holder to queue too, both would wait for ever."""
    with transaction.atomic():
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER], cwd=django_settings.BASE_DIR, env={**child_env, "SECRET_KEY": "x" * 50},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        name = f"{connection.settings_dict['NAME']}-queue"
        while not _is_held(name):
            assert process.poll() is None
        services.open_session("main", "k")
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    process.communicate("\n")
    assert Session.objects.count() == 1


def _is_held(name: str) -> bool:
    import fcntl

    with open(name, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
