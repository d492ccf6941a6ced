"""The list of sessions: who sees what, filters, pages, and what one does to a row."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from sessions_app import services
from sessions_app.forms import SessionFilter, SessionFilterForm
from sessions_app.models import Channel, ReadMark, ReadWatermark, Session
from tests.factories import at, make_session, make_usage

HX = {"HX-Request": "true"}
LIST = "/sessions/"


@pytest.fixture
def signed_in(cast: SimpleNamespace, client: Client) -> Client:
    """A client signed in as alice."""
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    return client


def sign_in(client: Client, user: object) -> Client:
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")  # type: ignore[arg-type]
    return client


def named(title: str, key: str = "k", **fields: object) -> Session:
    return make_session(key=key, title=title, **fields)  # type: ignore[arg-type]


def unread(title: str = "Nightly", key: str = "n", *, user_id: str = "alice") -> Session:
    """A session that nobody watched: unread for everyone."""
    session = make_session(key=key, user_id=user_id, triggered_by="nightly", title=title)
    services.save_message(session.id, "assistant", "done", timestamp=at(1), now=at(1))
    session.refresh_from_db()
    assert not session.is_read
    return session


# --- who sees it


def test_root_leads_to_the_list(signed_in: Client) -> None:
    assert signed_in.get("/").headers["Location"] == LIST


def test_signed_out_goes_to_the_door(client: Client, db: None) -> None:
    response = client.get(LIST)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/signin/")


def test_signed_out_htmx_gets_the_door_as_a_whole_page(client: Client, db: None) -> None:
    response = client.get(LIST, headers=HX)
    assert response.headers["HX-Redirect"].startswith("/signin/")
    assert response.content == b""


def test_owner_and_all_seeing_see_it_and_others_do_not(cast: SimpleNamespace, client: Client) -> None:
    named("Alice's question")
    for user, sees in ((cast.alice, True), (cast.bob, True), (cast.charlie, False)):
        text = sign_in(client, user).get(LIST).content.decode()
        assert ("Alice&#x27;s question" in text) is sees, user


# --- the row


def test_row_says_everything_at_a_glance(signed_in: Client) -> None:
    session = named("Refund", channel="telegram", agent="support-bot", messages=3, error_count=2)
    make_usage(session, model="claude-sonnet-4-5", input_tokens=1000, output_tokens=100)
    text = signed_in.get(LIST).content.decode()
    for piece in ("Refund", "Telegram", "alice", "support-bot", "claude-sonnet-4-5", "3 msg", "$0.0045", "2 failed tool calls"):
        assert piece in text, piece


def test_unknown_cost_is_a_word(signed_in: Client) -> None:
    make_usage(named("x"), model="never-heard-of-it")
    text = signed_in.get(LIST).content.decode()
    assert ">unknown</data>" in text
    assert "$0.00" not in text


def test_session_without_calls_has_no_cost(signed_in: Client) -> None:
    named("x")
    text = signed_in.get(LIST).content.decode()
    assert "no cost" in text
    assert "$0.00" not in text


def test_hostile_title_is_escaped(signed_in: Client) -> None:
    named("<script>alert(1)</script>", user_id="alice", agent="<b>x</b>")
    text = signed_in.get(LIST).content.decode()
    assert "<script>alert" not in text
    assert "<b>x</b>" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_no_inline_script_or_style_anywhere(signed_in: Client) -> None:
    named("x", messages=2)
    for path in (LIST, Session.objects.get().get_absolute_url(), "/sessions/?state=nope"):
        text = signed_in.get(path).content.decode()
        assert " style=" not in text
        assert "<style" not in text
        assert " onclick" not in text
        assert "<script>" not in text


# --- filters


def test_state_channel_and_read_filters(signed_in: Client) -> None:
    named("open one", key="a")
    closed = named("closed one", key="b", channel="slack")
    services.close_session(closed.id)
    archived = named("archived one", key="c")
    services.archive_session(archived.id)
    unread("unread one")
    shown = {
        "": {"open one", "closed one", "unread one"},
        "state=all": {"open one", "closed one", "archived one", "unread one"},
        "state=open": {"open one", "unread one"},
        "state=closed": {"closed one"},
        "state=archived": {"archived one"},
        "channel=slack": {"closed one"},
        "read=unread": {"unread one"},
        "read=read": {"open one", "closed one"},
        "state=open&channel=slack": set(),
    }
    for query, titles in shown.items():
        text = signed_in.get(f"{LIST}?{query}").content.decode()
        assert {title for title in ("open one", "closed one", "archived one", "unread one") if title in text} == titles, query


@pytest.mark.parametrize(
    "query",
    ["state=bogus", "channel=nope", "channel=%00", "read=maybe", "after=%ff", "after=abc", "state=%3Cscript%3E", "after=" + "A" * 5000],
)
def test_bad_filter_falls_back_and_says_so(signed_in: Client, query: str) -> None:
    named("still here")
    response = signed_in.get(f"{LIST}?{query}")
    text = response.content.decode()
    assert response.status_code == 200
    assert "still here" in text
    assert "Not understood" in text
    assert "<script>" not in text


def test_filter_and_query_string_are_inverse(db: None) -> None:
    from django.http import QueryDict

    for query in ("", "state=open", "channel=slack", "state=closed&channel=slack&read=unread", "read=read"):
        chosen = SessionFilterForm(QueryDict(query)).session_filter({"slack"})
        assert chosen.query() == query
        assert not chosen.complaints
    assert SessionFilter(channel="slack", after="x").query(unread=True) == "channel=slack&read=unread"


def test_empty_store_teaches_the_operator_and_the_others(cast: SimpleNamespace, client: Client) -> None:
    text = sign_in(client, cast.alice).get(LIST).content.decode()
    assert "No sessions yet" in text
    assert "--user alice" in text
    cast.alice.is_staff = True
    cast.alice.save()
    assert "import_sessions" in client.get(LIST).content.decode()


def test_empty_filter_says_why(signed_in: Client) -> None:
    named("x")
    assert "No session matches" in signed_in.get(f"{LIST}?read=unread").content.decode()
    assert "Nothing archived" in signed_in.get(f"{LIST}?state=archived").content.decode()


# --- pages


def make_many(count: int, *, offset: int = 0) -> None:
    for number in range(offset, offset + count):
        make_session(key=f"many-{number}", title=f"number {number:03d}", now=at(number))


def test_pages_repeat_and_skip_nothing(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions_app.views.inbox.PAGE_SIZE", 4)
    make_many(10)
    seen, path = [], LIST
    for _ in range(3):
        response = signed_in.get(path)
        seen += [row.title for _, row in response.context["rows"]]
        path = f"{LIST}?{response.context['next_query']}" if response.context["next_query"] else ""
        assert bool(path) == ('rel="next"' in response.content.decode())
    assert seen == [f"number {number:03d}" for number in reversed(range(10))]
    assert path == ""


def test_htmx_gets_the_list_alone(signed_in: Client) -> None:
    named("x")
    response = signed_in.get(LIST, headers=HX)
    text = response.content.decode()
    assert "<html" not in text
    assert 'id="session-list"' in text
    assert 'id="result-count"' in text
    assert 'hx-swap-oob="true"' in text
    assert "HX-Request" in response.headers["Vary"]


@pytest.mark.parametrize("headers", [{"HX-Boosted": "true"}, {"HX-History-Restore-Request": "true"}])
def test_boost_and_history_restore_get_the_page(signed_in: Client, headers: dict[str, str]) -> None:
    response = signed_in.get(LIST, headers=HX | headers)
    assert "<html" in response.content.decode()
    assert "HX-Request" in response.headers["Vary"]


def test_same_queries_for_5_and_15_rows(signed_in: Client, django_assert_num_queries: object) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    signed_in.get(LIST)
    counts = []
    for more in (5, 10):
        make_many(more, offset=len(counts) * 5)
        with CaptureQueriesContext(connection) as queries:
            response = signed_in.get(LIST)
        counts.append(len(queries))
        assert len(response.context["rows"]) == (5, 15)[len(counts) - 1]
    assert counts[0] == counts[1]
    with django_assert_num_queries(counts[0]):  # type: ignore[operator]
        signed_in.get(LIST)
    assert counts[0] <= 10


# --- read and unread


def test_read_and_unread_with_htmx(signed_in: Client, cast: SimpleNamespace) -> None:
    session = unread()
    path = reverse("sessions:read", args=[session.pk])
    response = signed_in.post(path, {"read": "1"}, headers=HX)
    text = response.content.decode()
    assert "<html" not in text
    assert text.lstrip().startswith("<li")  # the row first: what is swapped out of band comes after
    assert f'id="session-{session.pk}"' in text
    assert "is-unread" not in text.split("</li>")[0]
    assert 'id="unread-count" hx-swap-oob="true"' in text
    assert not ReadMark.objects.get(viewer=cast.alice, session=session).is_unread
    # again, and back: it says the wanted state, so repeating is harmless
    assert signed_in.post(path, {"read": "1"}, headers=HX).status_code == 200
    text = signed_in.post(path, {"read": "0"}, headers=HX).content.decode()
    assert "is-unread" in text.split("</li>")[0]
    assert ReadMark.objects.get(viewer=cast.alice, session=session).is_unread


def test_read_without_htmx_goes_back_to_the_same_list(signed_in: Client) -> None:
    session = unread()
    response = signed_in.post(f"{reverse('sessions:read', args=[session.pk])}?channel=main&read=unread", {"read": "1"})
    assert response.status_code == 302
    assert response.headers["Location"] == f"{LIST}?channel=main&read=unread"


def test_read_is_per_viewer(cast: SimpleNamespace, client: Client) -> None:
    session = unread()
    sign_in(client, cast.alice).post(reverse("sessions:read", args=[session.pk]), {"read": "1"})
    assert sign_in(client, cast.bob).get(LIST).context["rail"].unread == 1
    assert sign_in(client, cast.alice).get(LIST).context["rail"].unread == 0


@pytest.mark.parametrize("data", [{}, {"read": "toggle"}, {"read": ""}])
def test_read_without_a_wanted_state_is_refused(signed_in: Client, data: dict[str, str]) -> None:
    session = unread()
    assert signed_in.post(reverse("sessions:read", args=[session.pk]), data).status_code == 422
    assert not ReadMark.objects.exists()


def test_read_by_get_is_refused(signed_in: Client) -> None:
    session = unread()
    assert signed_in.get(reverse("sessions:read", args=[session.pk])).status_code == 405
    assert not ReadMark.objects.exists()


@pytest.mark.parametrize("name", ["read", "archive"])
def test_not_yours_looks_like_not_there(cast: SimpleNamespace, client: Client, name: str) -> None:
    session = unread()
    sign_in(client, cast.charlie)
    for pk in (session.pk, uuid.uuid4()):
        for headers in ({}, HX):
            assert client.post(reverse(f"sessions:{name}", args=[pk]), {"read": "1", "archived": "1"}, headers=headers).status_code == 404
    session.refresh_from_db()
    assert not session.is_archived
    assert not ReadMark.objects.exists()


def test_post_without_csrf_token_is_refused(cast: SimpleNamespace) -> None:
    session = unread()
    client = sign_in(Client(enforce_csrf_checks=True), cast.alice)
    assert client.post(reverse("sessions:read", args=[session.pk]), {"read": "1"}).status_code == 403


def test_mark_all_read(signed_in: Client, cast: SimpleNamespace) -> None:
    unread(key="a")
    unread(key="b")
    assert signed_in.get(LIST).context["rail"].unread == 2
    assert signed_in.post("/sessions/read/").headers["Location"] == LIST
    assert signed_in.get(LIST).context["rail"].unread == 0
    assert ReadWatermark.objects.filter(viewer=cast.alice).count() == 1


# --- archive


def test_archive_and_undo_with_htmx(signed_in: Client) -> None:
    session = named("x")
    path = reverse("sessions:archive", args=[session.pk])
    text = signed_in.post(f"{path}?read=read", {"archived": "1"}, headers=HX).content.decode()
    session.refresh_from_db()
    assert session.is_archived
    assert "<li" not in text
    assert "Archived." in text
    assert f'action="{path}?read=read"' in text  # undo, back to the same list
    response = signed_in.post(f"{path}?read=read", {"archived": "0"})
    assert response.headers["Location"] == f"{LIST}?read=read"
    session.refresh_from_db()
    assert not session.is_archived


def test_archive_without_htmx_says_so_on_the_list(signed_in: Client) -> None:
    session = named("x")
    path = reverse("sessions:archive", args=[session.pk])
    response = signed_in.post(path, {"archived": "1"}, follow=True)
    text = response.content.decode()
    assert "Archived." in text
    assert f'action="{path}?"' in text or f'action="{path}"' in text


def test_archiving_needs_more_than_seeing(cast: SimpleNamespace, client: Client) -> None:
    session = named("x")
    path = reverse("sessions:archive", args=[session.pk])
    assert sign_in(client, cast.bob).post(path, {"archived": "1"}).status_code == 403
    session.refresh_from_db()
    assert not session.is_archived
    cast.bob.user_permissions.add(Permission.objects.get(content_type__app_label="sessions_app", codename="change_session"))
    assert client.post(path, {"archived": "1"}).status_code == 302
    session.refresh_from_db()
    assert session.is_archived


def test_archive_is_offered_to_those_who_may(cast: SimpleNamespace, client: Client) -> None:
    named("x")
    assert 'name="archived"' in sign_in(client, cast.alice).get(LIST).content.decode()
    assert 'name="archived"' not in sign_in(client, cast.bob).get(LIST).content.decode()


# --- the rail


def test_rail_counts_and_marks_the_place(signed_in: Client) -> None:
    named("x", channel="slack")
    Channel.objects.create(slug="fax", label="Fax & telex")
    make_session("fax", key="f")
    text = signed_in.get(f"{LIST}?channel=fax").content.decode()
    assert "Fax &amp; telex" in text
    assert 'href="/sessions/?channel=fax" title="Fax &amp; telex" aria-current="page"' in text
