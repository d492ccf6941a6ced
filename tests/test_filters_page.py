"""The menu of filters, which is a page of its own without script."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sessions_app import services
from tests.factories import at, make_session

FILTERS = "/sessions/filters/"
HX = {"HX-Request": "true", "HX-Target": "filter-menu"}


@pytest.fixture
def alices(cast: SimpleNamespace, client: Client) -> Client:
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    for number in range(6):
        session = make_session(key=f"k{number}", agent=("alpha", "beta", "beta")[number % 3], project="/srv/a", now=at(number))
        services.set_tags(session.pk, ["billing"] if number < 2 else [])
    make_session(key="other", user_id="bob", agent="secret")
    return client


def test_every_value_is_a_link_that_keeps_the_rest(alices: Client) -> None:
    text = alices.get(f"{FILTERS}?read=read&sort=cost").content.decode()
    for path in ("read=read&amp;agent=alpha&amp;sort=cost", "read=read&amp;project=%2Fsrv%2Fa&amp;sort=cost", "read=read&amp;tag=billing&amp;sort=cost",
                 "status=stale&amp;read=read&amp;sort=cost", "read=read&amp;errors=1&amp;sort=cost", "read=read&amp;period=7d&amp;sort=cost"):  # fmt: skip
        assert f'href="/sessions/?{path}"' in text, path
    assert '<input type="hidden" name="sort" value="cost">' in text
    assert "hx-get" not in text.split('<main class="page" id="main">')[1].split("</main>")[0]  # here there is no list to swap


def test_counts_stand_beside_the_values_and_leave_out_what_is_not_yours(alices: Client) -> None:
    groups = {group.key: {option.label: option.count for option in group.options} for group in alices.get(FILTERS).context["groups"]}
    assert groups["agent"] == {"beta": "4", "alpha": "2"}
    assert list(groups["tag"]) == ["billing"]
    assert groups["status"]["Inbox"] == "6"
    assert "secret" not in alices.get(FILTERS).content.decode()


def test_htmx_gets_the_menu_alone(alices: Client) -> None:
    response = alices.get(FILTERS, headers=HX)
    text = response.content.decode()
    assert "<html" not in text
    assert 'hx-target="#session-list"' in text
    assert "HX-Request" in response.headers["Vary"]


def test_bad_values_fall_back(alices: Client) -> None:
    assert alices.get(f"{FILTERS}?status=nope&cost_min=x&channel=%00").status_code == 200


def test_signed_out(client: Client, db: None) -> None:
    assert client.get(FILTERS).headers["Location"].startswith("/signin/")


def test_as_many_queries_for_twice_the_sessions(alices: Client) -> None:
    counts = []
    for offset in (100, 200):
        alices.get(FILTERS)
        with CaptureQueriesContext(connection) as queries:
            alices.get(FILTERS)
        counts.append(len(queries))
        for number in range(6):
            make_session(key=f"k{offset + number}", agent=f"new-{offset + number}", now=at(number))
    assert counts[0] == counts[1]
