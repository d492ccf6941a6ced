"""What the environment may say, and what happens when it says something else. Each case is a fresh process, as a start is."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client

ROOT = Path(__file__).resolve().parent.parent


def start(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Load the settings in a process that has only this environment, and print some of them."""
    code = (
        "import json, sys; import sessionsite.settings as s;"
        "print(json.dumps({k: getattr(s, k) for k in sys.argv[1:]} | {'database': s.DATABASES['default']}, default=str))"
    )
    names = ["SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "TIME_ZONE", "SESSION_COOKIE_SECURE", "SECURE_HSTS_SECONDS"]
    clean = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder / "data"), **environment}
    return subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60)


def loaded(folder: Path, **environment: str) -> dict[str, Any]:
    done = start(folder, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_any_environment_the_site_is_closed_and_keeps_to_itself(tmp_path: Path) -> None:
    got = loaded(tmp_path)
    data = tmp_path / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "secret_key").stat().st_mode) == 0o600
    assert got["SECRET_KEY"] == (data / "secret_key").read_text()
    assert len(got["SECRET_KEY"]) > 60
    assert got["DEBUG"] is False
    assert got["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert got["TIME_ZONE"] == "UTC"
    assert got["database"]["NAME"] == str(data / "db.sqlite3")
    assert got["database"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "synchronous=FULL" in got["database"]["OPTIONS"]["init_command"]
    assert loaded(tmp_path)["SECRET_KEY"] == got["SECRET_KEY"]  # kept


def test_starts_at_the_same_time_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        keys = set(pool.map(lambda _: loaded(tmp_path)["SECRET_KEY"], range(6)))
    assert len(keys) == 1
    assert os.listdir(tmp_path / "data") == ["secret_key"]  # and no draft is left


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    (tmp_path / "url").write_text("postgresql://u:p%40ss@db.example:6000/site\n")
    got = loaded(tmp_path, SECRET_KEY_FILE=str(tmp_path / "key"), DATABASE_URL_FILE=str(tmp_path / "url"), DATABASE_POOL_MAX="9")
    assert got["SECRET_KEY"] == "from a file"
    assert (got["database"]["HOST"], got["database"]["PASSWORD"]) == ("db.example", "p@ss")
    assert got["database"]["OPTIONS"]["pool"]["max_size"] == 9
    assert not (tmp_path / "data").exists()  # nothing to keep there


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DEBUG", "yes please", "DEBUG='yes please' is not one of"),
        ("TIME_ZONE", "Mars/Olympus", "TIME_ZONE='Mars/Olympus' is not a known time zone"),
        ("TIME_ZONE", "../../etc/passwd", "TIME_ZONE="),
        ("SQLITE_SYNCHRONOUS", "OFF", "SQLITE_SYNCHRONOUS='OFF' is not one of FULL, NORMAL"),
        ("DATABASE_URL", "mysql://u@h/d", "DATABASE_URL begins with 'mysql'"),
        ("DATABASE_URL", "db.sqlite3", "DATABASE_URL begins with"),
        ("DATABASE_POOL_MAX", "0", "DATABASE_POOL_MAX='0' is not a whole number from 1 to 100"),
        ("LOGIN_DAYS", "²", "LOGIN_DAYS="),
        ("LOG_LEVEL", "chatty", "LOG_LEVEL='chatty' is not one of"),
        ("SECRET_KEY_FILE", "/does/not/exist", "SECRET_KEY_FILE: /does/not/exist cannot be read"),
    ],
)
def test_unknown_values_stop_the_start_and_name_the_variable(tmp_path: Path, name: str, value: str, told: str) -> None:
    done = start(tmp_path, **{name: value})
    assert done.returncode != 0
    assert told in done.stderr.strip().splitlines()[-1]


def test_an_empty_variable_counts_as_absent_and_two_secrets_as_a_mistake(tmp_path: Path) -> None:
    assert loaded(tmp_path, DEBUG="", TIME_ZONE="", DATABASE_URL="")["TIME_ZONE"] == "UTC"
    assert "SECRET_KEY and SECRET_KEY_FILE are both set" in start(tmp_path, SECRET_KEY="a", SECRET_KEY_FILE="b").stderr


def test_https_turns_on_what_belongs_to_it(tmp_path: Path) -> None:
    assert loaded(tmp_path)["SESSION_COOKIE_SECURE"] is False
    got = loaded(tmp_path, HTTPS="1", HSTS_SECONDS="60")
    assert (got["SESSION_COOKIE_SECURE"], got["SECURE_HSTS_SECONDS"]) == (True, 60)


@pytest.mark.django_db
def test_sqlite_really_runs_as_it_was_tuned() -> None:
    from django.db import connection

    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        values = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "temp_store", "cache_size")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "temp_store": 2, "cache_size": -20000}


@pytest.mark.django_db
def test_no_page_allows_inline_script_or_another_host(client: Client) -> None:
    policy = client.get("/signin/").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == directives["script-src"] == "'self'"
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"


def test_named_package_files_are_found_and_nothing_else_of_the_package() -> None:
    for name in settings.PACKAGE_STATIC_FILES:
        assert Path(finders.find(name)).stat().st_size > 100_000
    assert finders.find("plotly/__init__.py") is None
