"""What `make run` does on an empty store, and that doing it again changes nothing."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from sessions_app.management.commands import first_run
from sessions_app.models import Session
from tests.factories import make_session, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def demo_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The demo has tests of its own; here it counts that it was asked for."""
    calls: list[str] = []
    monkeypatch.setattr(first_run, "call_command", lambda name, **options: calls.append(name))
    return calls


def start(**options: Any) -> str:
    out = StringIO()
    call_command("first_run", stdout=out, **options)
    return out.getvalue()


def link_in(text: str) -> str:
    found = re.search(r"http://\S+/signin/link/\S+", text)
    assert found, text
    return found[0]


def test_the_first_start_makes_the_operator_the_link_and_the_demo(demo_calls: list[str], client: Client) -> None:
    link = link_in(start(base_url="http://127.0.0.1:9999"))
    assert link.startswith("http://127.0.0.1:9999/")
    assert demo_calls == ["demo"]
    operator = User.objects.get()
    assert (operator.username, operator.is_superuser, operator.has_usable_password()) == ("admin", True, False)
    client.post(link)
    assert client.get("/admin/").status_code == 200


def test_the_link_is_printed_until_it_was_used(client: Client) -> None:
    start()
    link = link_in(start())
    assert User.objects.count() == 1
    client.post(link)
    assert "/signin/link/" not in start()


def test_an_operator_of_ones_own_is_left_alone() -> None:
    make_user("zoe", staff=True)
    assert "/signin/link/" not in start()
    assert [user.username for user in User.objects.all()] == ["zoe"]


def test_a_store_with_sessions_gets_no_demo(demo_calls: list[str]) -> None:
    make_session()
    start()
    assert demo_calls == []
    assert Session.objects.count() == 1


def test_an_empty_store_stays_empty_on_request(demo_calls: list[str]) -> None:
    start(no_demo=True)
    assert demo_calls == []
