"""The list of sessions: who sees what, filters, pages, and what one does to a row."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from sessions_app import services
from sessions_app.models import Action, Channel, ReadMark, ReadWatermark, Session
from sessions_app.queries import Total
from sessions_app.views.inbox import count_words
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
    for path in (LIST, Session.objects.get().get_absolute_url(), "/sessions/?status=nope"):
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
        "status=all": {"open one", "closed one", "archived one", "unread one"},
        "status=open": {"open one", "unread one"},
        "status=closed": {"closed one"},
        "status=archived": {"archived one"},
        "channel=slack": {"closed one"},
        "read=unread": {"unread one"},
        "read=read": {"open one", "closed one"},
        "status=open&channel=slack": set(),
    }
    for query, titles in shown.items():
        text = signed_in.get(f"{LIST}?{query}").content.decode()
        assert {title for title in ("open one", "closed one", "archived one", "unread one") if title in text} == titles, query


@pytest.mark.parametrize(
    "query",
    ["status=bogus", "channel=nope", "channel=%00", "read=maybe", "after=%ff", "after=abc", "status=%3Cscript%3E", "after=" + "A" * 5000],
)
def test_bad_filter_falls_back_and_says_so(signed_in: Client, query: str) -> None:
    named("still here")
    response = signed_in.get(f"{LIST}?{query}")
    text = response.content.decode()
    assert response.status_code == 200
    assert "still here" in text
    assert "Not understood" in text
    assert "<script>" not in text


def test_empty_store_teaches_the_operator_and_the_others(cast: SimpleNamespace, client: Client) -> None:
    text = sign_in(client, cast.alice).get(LIST).content.decode()
    assert "No sessions yet" in text
    assert "--user alice" in text
    cast.alice.is_staff = True
    cast.alice.save()
    assert "import_sessions" in client.get(LIST).content.decode()


def test_empty_filter_says_why(signed_in: Client) -> None:
    named("x")
    assert "All read" in signed_in.get(f"{LIST}?read=unread").content.decode()
    assert "No session matches" in signed_in.get(f"{LIST}?read=unread&agent=nobody").content.decode()
    assert "Nothing archived" in signed_in.get(f"{LIST}?status=archived").content.decode()


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
    assert counts[0] <= 25


# --- read and unread


def test_read_and_unread_with_htmx(signed_in: Client, cast: SimpleNamespace) -> None:
    session = unread()
    path = reverse("sessions:read", args=[session.pk])
    response = signed_in.post(path, {"read": "1"}, headers=HX)
    text = response.content.decode()
    assert "<html" not in text
    row = text.split(f'id="session-{session.pk}" hx-swap-oob="true"')[1].split("</li>")[0]
    assert 'class="unread"' not in row
    assert 'id="rail"' in text  # every count at once
    assert "Undo" in text
    assert response.headers["HX-Trigger"] == "sessionReadChanged" or "sessionReadChanged" in response.headers["HX-Trigger"]
    assert not ReadMark.objects.get(viewer=cast.alice, session=session).is_unread
    # again, and back: it says the wanted state, so repeating is harmless
    assert signed_in.post(path, {"read": "1"}, headers=HX).status_code == 200
    text = signed_in.post(path, {"read": "0"}, headers=HX).content.decode()
    assert 'class="unread"' in text.split(f'id="session-{session.pk}" hx-swap-oob="true"')[1].split("</li>")[0]
    assert ReadMark.objects.get(viewer=cast.alice, session=session).is_unread


def test_read_without_htmx_goes_back_to_the_same_list(signed_in: Client) -> None:
    session = unread()
    response = signed_in.post(f"{reverse('sessions:read', args=[session.pk])}?read=unread&channel=main", {"read": "1"})
    assert response.status_code == 302
    assert response.headers["Location"] == f"{LIST}?read=unread&channel=main"


def test_opening_marks_read_without_a_toast_and_brings_the_row_where_there_is_one(signed_in: Client) -> None:
    session = unread()
    path = reverse("sessions:read", args=[session.pk])
    on_its_page = signed_in.post(path, {"read": "1", "on": "transcript"}, headers=HX).content.decode()
    assert "Undo" not in on_its_page
    assert "session-row" not in on_its_page
    in_pane = signed_in.post(path, {"read": "1", "on": "transcript"}, headers=HX | {"X-Reading-Pane": "1"}).content.decode()
    assert f'id="session-{session.pk}" hx-swap-oob="true"' in in_pane
    assert 'id="result-count" hx-swap-oob="true">1 session, 0 unread<' in in_pane
    assert 'id="session-read"' in in_pane


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


@pytest.mark.parametrize("name", ["read", "archive"])
def test_writes_by_get_are_refused(signed_in: Client, name: str) -> None:
    session = unread()
    assert signed_in.get(reverse(f"sessions:{name}", args=[session.pk])).status_code == 405
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


# --- archive


def test_archive_and_undo_with_htmx(signed_in: Client) -> None:
    session = named("x")
    path = reverse("sessions:archive", args=[session.pk])
    response = signed_in.post(f"{path}?read=read", {"archived": "1"}, headers=HX)
    text = response.content.decode()
    session.refresh_from_db()
    assert session.is_archived
    assert f'<li id="session-{session.pk}" hx-swap-oob="delete">' in text
    assert "Archived." in text
    undo = reverse("sessions:undo", args=[Action.objects.get().pk])
    assert f'action="{undo}?read=read"' in text  # undo, back to the same list
    text = signed_in.post(f"{undo}?read=read", headers=HX).content.decode()
    assert "Undone" in text
    assert 'id="session-list" tabindex="-1" hx-swap-oob="true"' in text
    session.refresh_from_db()
    assert not session.is_archived


def test_archived_row_stays_in_a_list_where_it_belongs(signed_in: Client) -> None:
    session = named("x")
    text = signed_in.post(f"{reverse('sessions:archive', args=[session.pk])}?status=all", {"archived": "1"}, headers=HX).content.decode()
    assert f'id="session-{session.pk}" hx-swap-oob="true"' in text
    assert 'title="Archived"' in text


def test_archive_without_htmx_says_so_on_the_list(signed_in: Client) -> None:
    session = named("x")
    text = signed_in.post(reverse("sessions:archive", args=[session.pk]), {"archived": "1"}, follow=True).content.decode()
    assert "Archived." in text
    assert f'action="{reverse("sessions:undo", args=[Action.objects.get().pk])}"' in text


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


# --- many at once

ACT = "/sessions/actions/"


def test_every_verb_on_a_selection(signed_in: Client) -> None:
    ones = [unread(f"one {number}", key=f"k{number}") for number in range(3)]
    ids = [str(one.pk) for one in ones[:2]]

    def done(verb: str, **data: str) -> list[Session]:
        response = signed_in.post(f"{ACT}?status=all", {"verb": verb, "session": ids, **data}, headers=HX)
        assert response.status_code == 200, verb
        assert "<html" not in response.content.decode()
        return [Session.objects.get(pk=one.pk) for one in ones]

    assert [one.is_archived for one in done("archive")] == [True, True, False]
    assert [one.is_archived for one in done("restore")] == [False, False, False]
    assert [(one.is_closed, one.summary) for one in done("close", summary="Well done")] == [(True, "Well done")] * 2 + [(False, "")]
    assert [one.is_closed for one in done("reopen")] == [False] * 3
    assert [one.tags for one in done("tag", tag="billing")] == [["billing"], ["billing"], []]
    assert [one.tags for one in done("untag", tag="billing")] == [[], [], []]
    done("read")
    assert signed_in.get(LIST).context["rail"].unread == 1
    done("unread")
    assert signed_in.get(LIST).context["rail"].unread == 3


def test_everything_that_a_filter_matches_and_undo(signed_in: Client) -> None:
    make_many(7)
    named("closed one", key="c", closed_at=at(0))
    response = signed_in.post(f"{ACT}?status=open", {"verb": "archive", "all": "1"}, follow=True)
    assert "7 sessions archived." in response.content.decode()
    assert Session.objects.exclude(archived_at=None).count() == 7
    undo = reverse("sessions:undo", args=[Action.objects.get().pk])
    assert f'action="{undo}?status=open"' in response.content.decode()
    assert "Undone: 7 sessions as before." in signed_in.post(f"{undo}?status=open", follow=True).content.decode()
    assert not Session.objects.exclude(archived_at=None).exists()


def test_everything_of_a_filter_that_is_not_understood_is_nothing(signed_in: Client) -> None:
    named("x")
    response = signed_in.post(f"{ACT}?agent=bot&cost_min=dear", {"verb": "archive", "all": "1"}, follow=True)
    assert "not understood" in response.content.decode()
    assert not Session.objects.exclude(archived_at=None).exists()


def test_mark_all_of_the_inbox_read_and_undo(signed_in: Client, cast: SimpleNamespace) -> None:
    unread(key="a")
    unread(key="b")
    assert signed_in.get(LIST).context["rail"].unread == 2
    text = signed_in.post(f"{ACT}?status=inbox", {"verb": "read", "all": "1"}, headers=HX).content.decode()
    assert "Everything is marked read." in text
    assert ReadWatermark.objects.filter(viewer=cast.alice).count() == 1  # one row, whatever the number of sessions
    assert signed_in.get(LIST).context["rail"].unread == 0
    signed_in.post(reverse("sessions:undo", args=[Action.objects.get().pk]), headers=HX)
    assert signed_in.get(LIST).context["rail"].unread == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"verb": "archive"}, "Nothing is selected."),
        ({"verb": "explode", "all": "1"}, "no action"),
        ({"verb": "archive", "session": "not-an-id"}, "Nothing is selected."),
        ({"session": str(uuid.uuid4())}, "Choose what to do with them."),
        ({"verb": "tag", "all": "1", "tag": ""}, "tag"),
    ],
)
def test_wrong_actions_are_refused_in_words(signed_in: Client, data: dict[str, str], words: str) -> None:
    named("x")
    response = signed_in.post(ACT, data, headers=HX)
    assert response.status_code == 422
    assert words.lower() in response.content.decode().lower()
    assert words.lower() in signed_in.post(ACT, data, follow=True).content.decode().lower()
    assert not Session.objects.exclude(archived_at=None).exists()


def test_enter_in_a_field_does_what_the_field_is_for(signed_in: Client) -> None:
    session = named("x")
    signed_in.post(ACT, {"verb": "", "session": str(session.pk), "tag": "billing"})
    signed_in.post(ACT, {"verb": "", "session": str(session.pk), "summary": "Done"})
    session.refresh_from_db()
    assert (session.tags, session.summary, session.is_closed) == (["billing"], "Done", True)


def test_refusals_are_counted(cast: SimpleNamespace, client: Client) -> None:
    mine, hers = named("mine", user_id="bob"), named("hers", key="h")
    text = sign_in(client, cast.bob).post(ACT, {"verb": "archive", "session": [str(mine.pk), str(hers.pk)]}, follow=True).content.decode()
    assert "1 session archived. 1 is not yours to change." in text
    hers.refresh_from_db()
    assert not hers.is_archived


def test_a_refused_row_stays_in_its_list(cast: SimpleNamespace, client: Client) -> None:
    mine, hers = named("mine", user_id="bob"), named("hers", key="h")
    text = sign_in(client, cast.bob).post(ACT, {"verb": "archive", "session": [str(mine.pk), str(hers.pk)]}, headers=HX).content.decode()
    assert f'<li id="session-{mine.pk}" hx-swap-oob="delete">' in text
    assert f'<li id="session-{hers.pk}"' not in text


def test_outsider_changes_nothing(cast: SimpleNamespace, client: Client) -> None:
    session = unread()
    sign_in(client, cast.alice).post(ACT, {"verb": "read", "session": str(session.pk)})
    action = Action.objects.get()
    sign_in(client, cast.charlie)
    for verb in ("read", "archive", "close", "tag"):
        client.post(ACT, {"verb": verb, "session": str(session.pk), "tag": "x"})
        client.post(f"{ACT}?status=all", {"verb": verb, "all": "1", "tag": "x"})
    session.refresh_from_db()
    assert (session.is_archived, session.is_closed, session.tags) == (False, False, [])
    assert ReadMark.objects.get().viewer == cast.alice
    for path in (reverse("sessions:go_on", args=[action.pk]), reverse("sessions:undo", args=[action.pk])):
        assert client.post(path).status_code == 404
    assert client.get(reverse("sessions:go_on", args=[action.pk])).status_code == 404


def test_a_long_action_shows_how_far_it_is_and_goes_on(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from sessions_app.services import actions

    make_many(5)
    monkeypatch.setattr(actions.Pace, "FIRST", 2)
    monkeypatch.setattr(actions.Pace, "MOST", 2)
    monkeypatch.setattr(
        actions, "monotonic", iter(range(0, 10_000, 100)).__next__
    )  # every look at the clock is 100 s later: one batch a call
    response = signed_in.post(f"{ACT}?status=all", {"verb": "archive", "all": "1"})
    action = Action.objects.get()
    assert response.headers["Location"] == f"{reverse('sessions:go_on', args=[action.pk])}?status=all"
    text = signed_in.get(response.headers["Location"]).content.decode()
    assert "2 sessions archived so far." in text
    assert '<progress class="progress" value="2" max="5"' in text
    assert "Continue" in text
    assert "Not finished:" in signed_in.get(LIST).content.decode()
    text = signed_in.post(response.headers["Location"], headers=HX).content.decode()
    assert 'hx-trigger="load, submit"' in text  # htmx goes on by itself
    text = signed_in.post(response.headers["Location"], follow=True).content.decode()
    assert "5 sessions archived." in text
    assert not Session.objects.filter(archived_at=None).exists()
    # asked again, it says the same and does nothing
    assert "5 sessions archived." in signed_in.post(response.headers["Location"], follow=True).content.decode()


# --- the rail


def test_rail_counts_and_marks_the_place(signed_in: Client) -> None:
    named("x", channel="slack")
    Channel.objects.create(slug="fax", label="Fax & telex")
    make_session("fax", key="f")
    text = signed_in.get(f"{LIST}?channel=fax").content.decode()
    assert "Fax &amp; telex" in text
    assert 'href="/sessions/?channel=fax" title="Fax &amp; telex" aria-current="page"' in text


@pytest.mark.parametrize(
    ("total", "unread", "words"),
    [
        (Total(0, True), None, "No sessions"),
        (Total(0, False), Total(0, False), "Sessions, not counted"),
        (Total(1, True), Total(0, True), "1 session, 0 unread"),
        (Total(10_000, False), Total(12, False), "10,000+ sessions, 12+ unread"),
        (Total(3, False), Total(0, False), "3+ sessions"),
    ],
)
def test_a_count_is_said_as_far_as_it_is_known(total: Total, unread: Total | None, words: str) -> None:
    assert count_words(total, unread) == words
