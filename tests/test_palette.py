"""Go anywhere, and how one wants the site: who finds what, at which cost, and what a POST keeps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sessions_app import queries, services
from sessions_app.models import Preference
from tests.factories import at, make_session

pytestmark = pytest.mark.django_db


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def found(user: Any, words: str) -> str:
    response = client_of(user).get("/go/", {"q": words}, headers={"HX-Request": "true"})
    assert response.status_code == 200
    return str(response.content.decode())


def test_a_page_and_its_options_are_the_same_choices(alice: Any) -> None:
    session = make_session(title="Renew the certificates")
    page, options = client_of(alice).get("/go/", {"q": "renew"}), found(alice, "renew")
    assert "<html" in page.content.decode()
    assert "<html" not in options
    for content in (page.content.decode(), options):
        assert f"/sessions/{session.pk}/" in content
        assert "status=all&amp;q=renew" in content
    assert "HX-Request" in page.headers["Vary"]


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ("inbox", "?status=inbox"),
        ("sta", "?status=stale"),
        ("go cos", "/costs/"),
        ("filter unr", "?read=unread"),
        ("web", "?channel=main"),
        ("Channel: Web", "?channel=main"),
    ],
)
def test_places_and_filters_by_the_beginnings_of_their_words(alice: Any, words: str, where: str) -> None:
    make_session()
    assert where in found(alice, words)


def test_a_session_by_title_key_or_id_and_nobody_elses(cast: SimpleNamespace) -> None:
    session = make_session("slack", "C0123/thread-9", title="Quarterly numbers")
    for words in ("quarterly NUM", "thread-9", str(session.pk)):
        for user, sees in ((cast.alice, True), (cast.bob, True), (cast.charlie, False)):
            assert (f"/sessions/{session.pk}/" in found(user, words)) is sees, (words, user)


def test_a_saved_view_by_its_name(cast: SimpleNamespace) -> None:
    services.save_view("Failed overnight", viewer=cast.alice, fields={"has_errors": True})
    assert "errors=1" in found(cast.alice, "overnight")
    assert "Failed overnight" not in found(cast.bob, "overnight")


def test_the_sessions_whose_title_is_meant_come_first(alice: Any) -> None:
    meant = make_session(key="a", title="Renew the certificates", now=at(0))
    other = make_session(key="b", title="Fix the prerendering", now=at(10))
    content = found(alice, "re")
    assert content.index(str(meant.pk)) < content.index(str(other.pk))


def test_only_staff_is_led_to_the_admin(alice: Any) -> None:
    assert "/admin/" not in found(alice, "admin")
    alice.is_staff = True
    alice.save()
    assert "/admin/" in found(alice, "admin")


def test_what_is_typed_is_shown_and_never_run(alice: Any) -> None:
    make_session(title="<b>bold</b>")
    content = found(alice, '<b>"x"\x00')
    assert "<b>" not in content
    assert "&lt;b&gt;&quot;x&quot;" in content
    assert client_of(alice).get("/go/", {"q": "y" * 5000}).status_code == 200


def test_it_costs_the_same_for_many_sessions(alice: Any) -> None:
    def cost(count: int) -> int:
        for number in range(count):
            make_session(key=f"{count}-{number}", title=f"Night run {number}")
        client = client_of(alice)
        with CaptureQueriesContext(connection) as caught:
            client.get("/go/", {"q": "night"}, headers={"HX-Request": "true"})
        return len(caught)

    assert cost(5) == cost(15)


def test_signed_out_one_is_sent_to_the_door(client: Client, db: None) -> None:
    assert client.get("/go/").status_code == 302
    assert client.post("/preferences/", {"theme": "dark"}).status_code == 302
    assert not Preference.objects.exists()


def test_preferences_change_what_is_named_and_leave_the_rest(alice: Any) -> None:
    client = client_of(alice)
    response = client.post("/preferences/", {"theme": "dark"}, headers={"Referer": "http://testserver/costs/?period=7d"})
    assert response.headers["Location"] == "http://testserver/costs/?period=7d"
    client.post("/preferences/", {"density": "compact"})
    assert client.post("/preferences/", {"keys": "0"}, headers={"HX-Request": "true"}).status_code == 204
    kept = queries.preference_of(alice)
    assert (kept.theme, kept.density, kept.keys) == ("dark", "compact", False)
    page = client.get("/sessions/").content.decode()
    assert '<html lang="en" data-theme="dark" data-density="compact" data-keys="off">' in page
    client.post("/preferences/", {"theme": "system", "density": "comfortable"})
    client.post("/preferences/", {"keys": ["0", "1"]})
    assert '<html lang="en" data-keys="on">' in client.get("/sessions/").content.decode()


def test_preferences_are_ones_own_and_are_checked(cast: SimpleNamespace) -> None:
    client_of(cast.alice).post("/preferences/", {"theme": "dark"})
    assert queries.preference_of(cast.bob).theme == ""
    for wrong in ({"theme": "pink"}, {"density": "x"}, {"keys": "maybe"}):
        assert client_of(cast.bob).post("/preferences/", wrong).status_code == 422
    # back to a page of this site, never to another
    response = client_of(cast.bob).post("/preferences/", {"theme": "light"}, headers={"Referer": "https://evil.example/"})
    assert response.headers["Location"] == "/"
    assert client_of(cast.bob).get("/preferences/").status_code == 405


def test_a_refusal_wears_the_same_colours(cast: SimpleNamespace) -> None:
    client = client_of(cast.charlie)
    client.post("/preferences/", {"theme": "dark"})
    session = make_session(user_id="alice", now=at())
    response = client.get(f"/sessions/{session.pk}/")
    assert response.status_code == 404
    assert 'data-theme="dark"' in response.content.decode()
    assert Client().get("/nowhere/").status_code in (302, 404)
