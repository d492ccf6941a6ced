"""Every URL there is, found by walking the URLconf, tried by its owner, by a colleague who sees all, by an outsider and by a visitor who is not signed
in. A URL that is not in the table below fails the test: whoever adds one says here who may do what with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from sessions_app import queries, services
from sessions_app.events import MessageEvent
from sessions_app.models import ApiToken, Message, Session
from tests.factories import at, make_session, make_usage, make_user

pytestmark = pytest.mark.django_db

SECRET = "nobody but alice reads zanzibar"  # stands in title, messages, tags, project and view of what is alice's
WORD = "zanzibar"
DONE = {200, 201, 204, 302}


@dataclass(frozen=True)
class Page:
    """A page. needs: whose it is; "" = everyone's who is signed in, and nobody finds another's words on it.
    session: 404 for who does not see the session. change: 403 for who sees it and may not change it. own: 404 for all but its maker.
    get, post: what is sent by that method to do what the page is for; None: the method is not for it."""

    needs: str = ""
    get: dict[str, str] | None = None
    post: dict[str, Any] | None = None
    signed_out: bool = False


@dataclass(frozen=True)
class Operation:
    """An operation of the API. about: "session" = its path names one; "" = it does not. body: what makes it succeed."""

    about: str = ""
    scope: str = "write"
    bodies: dict[str, dict[str, Any] | None] = field(default_factory=dict)  # method -> body


TABLE: dict[str, Page | Operation | str] = {
    # the door
    "signin/": Page(get={}, signed_out=True),
    "signin/link/<str:uid>/<str:token>/": Page(get={}, signed_out=True),
    "signout/": Page(post={}, signed_out=True),
    # the list, and what is done to many
    "": Page(get={}),
    "sessions/": Page(get={"status": "all"}),
    "sessions/live/": Page(get={}),
    "sessions/filters/": Page(get={}),
    "sessions/actions/": Page(post={"verb": "archive", "session": "{session}"}),
    "sessions/actions/<int:action_id>/": Page("own", get={}, post={}),
    "sessions/actions/<int:action_id>/undo/": Page("own", post={}),
    "sessions/views/": Page(post={"name": "another", "replace": "{view}"}),
    "sessions/views/<uuid:view_id>/rename/": Page("own", post={"name": "renamed"}),
    "sessions/views/<uuid:view_id>/share/": Page("own", post={"shared": "0"}),
    "sessions/views/<uuid:view_id>/default/": Page("own", post={"default": "1"}),
    "sessions/views/<uuid:view_id>/delete/": Page("own", post={}),
    "sessions/views/<uuid:view_id>/restore/": Page("own", post={}),
    # one session
    "sessions/<uuid:session_id>/": Page("session", get={}),
    "sessions/<uuid:session_id>/read/": Page("session", post={"read": "1"}),
    "sessions/<uuid:session_id>/archive/": Page("change", post={"archived": "1"}),
    "sessions/<uuid:session_id>/close/": Page("change", post={"closed": "1"}),
    "sessions/<uuid:session_id>/facts/": Page("change", post={"title": "renamed", "tags": "a, b"}),
    "sessions/<uuid:session_id>/export/": Page("session", get={"format": "json"}),
    "sessions/<uuid:session_id>/messages/<int:message_id>/": Page("session", get={}),
    "sessions/<uuid:session_id>/messages/<int:message_id>/files/<int:number>/": Page("session", get={}),
    "sessions/<uuid:session_id>/usage/": Page("session", get={}),
    "costs/": Page(get={"period": "all"}),
    "go/": Page(get={"q": WORD}),
    "preferences/": Page(post={"theme": "dark"}),
    # agents: what names no session in its path is tried in tests/api; here, that nobody does it without a token
    "api/v1/openapi.json": Page(get={}, signed_out=True),
    "api/v1/docs": Page(get={}, signed_out=True),
    "api/v1/": Page(get=None, signed_out=True),
    "api/": Page(get=None, signed_out=True),
    "api/v1/sessions/open": Operation(bodies={"post": {"channel": "main", "key": "k"}}),
    "api/v1/sessions/resolve": Operation(bodies={"post": {"channel": "main", "key": "k"}}),
    "api/v1/sessions": Operation(bodies={"post": {"channel": "main", "key": "k"}, "get": None}),
    "api/v1/sessions/<session_id>": Operation("session", bodies={"patch": {"title": "renamed"}, "get": None}),
    "api/v1/sessions/<session_id>/close": Operation("session", bodies={"post": {}}),
    "api/v1/sessions/<session_id>/reopen": Operation("session", bodies={"post": {}}),
    "api/v1/sessions/<session_id>/touch": Operation("session", bodies={"post": {}}),
    "api/v1/sessions/<session_id>/messages": Operation("session", bodies={"post": {"role": "user", "content": "x"}, "get": None}),
    "api/v1/sessions/<session_id>/usage": Operation(
        "session", bodies={"post": {"model": "m", "input_tokens": 1, "output_tokens": 1}, "get": None}
    ),
    "api/v1/sessions/<session_id>/compactions": Operation(
        "session", bodies={"post": {"trigger": "auto", "pre_tokens": 1, "summary": "s", "messages_compacted": 1}}
    ),
    "api/v1/sessions/<session_id>/export": Operation("session", bodies={"get": None}),
    "api/v1/turns": Operation(bodies={"post": {}}),
    "api/v1/batch": Operation(bodies={"post": {}}),
    "api/v1/costs": Operation(bodies={"get": None}),
    "v1/traces": Operation(bodies={"post": {}}),
    "v1/logs": Operation(bodies={"post": {}}),
    "v1/metrics": Operation(bodies={"post": {}}),
}
ADMIN = "admin/"  # all of it: staff alone
PAGES = {route: entry for route, entry in TABLE.items() if isinstance(entry, Page)}
OPERATIONS = {route: entry for route, entry in TABLE.items() if isinstance(entry, Operation)}
WITH_SESSION = [route for route, entry in PAGES.items() if entry.needs in ("session", "change")]
OWN = [route for route, entry in PAGES.items() if entry.needs == "own"]


def routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    for one in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, route)
        elif isinstance(one, URLPattern):
            yield route


@dataclass
class World:
    """Alice's session with everything in it, her action, her view (olga's, shared with nobody, for those who share)."""

    session: Session
    message: Message
    view: Any
    action: int

    def path(self, route: str) -> str:
        values = {
            "uuid:session_id": self.session.pk, "session_id": self.session.pk, "int:message_id": self.message.pk, "int:number": 0,
            "uuid:view_id": self.view.pk, "int:action_id": self.action, "str:uid": "x", "str:token": "y",
        }  # fmt: skip
        return "/" + re.sub(r"<([^>]+)>", lambda match: str(values[match[1]]), route)

    def data(self, data: dict[str, Any]) -> dict[str, Any]:
        return {key: value.format(session=self.session.pk, view=self.view.pk) for key, value in data.items()}


PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw=="


@pytest.fixture
def world(alice: User, bob: User, charlie: User) -> World:
    session = make_session(key=WORD, project=WORD, agent="codex", triggered_by="nightly", messages=1)
    services.rename_session(session.pk, SECRET)
    services.set_tags(session.pk, [WORD])
    content = json.dumps(
        {
            "type": "tool_result", "tool_use_id": "c", "is_error": False,
            "content": [{"type": "text", "text": SECRET}, {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PICTURE.split(",")[1]}}],
        }
    )  # fmt: skip
    services.store_events(session, [MessageEvent(role="tool_result", content=content)], now=at(1))
    make_usage(session, model=WORD)
    view = services.save_view(SECRET, viewer=alice, fields={"tag": WORD})
    action = services.act("tag", viewer=alice, session_ids=[session.pk], tag="done")
    make_session(key="charlie's", user_id="charlie")
    session.refresh_from_db()
    message = Message.objects.get(session=session, role="tool_result")
    return World(session, message, view, action.action_id)


def signed_in(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def everything() -> dict[str, list[Any]]:
    """All rows of our tables, but for what a refused request may note: a token's last use."""
    rows = {
        model._meta.label: sorted(map(str, model._default_manager.values_list()))
        for model in apps.get_app_config("sessions_app").get_models()
    }
    rows[ApiToken._meta.label] = sorted(map(str, ApiToken.objects.values_list("pk", "revoked_at")))
    return rows


def body_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return content.decode(errors="replace")


# --- the table is whole -----------------------------------------------------------------------------------------------------------------


def test_every_url_stands_in_the_table() -> None:
    found = {route for route in routes() if not route.startswith(ADMIN)}
    assert found == set(TABLE)


# --- pages ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
@pytest.mark.parametrize("route", [*WITH_SESSION, *OWN])
def test_to_an_outsider_it_is_not_there_and_nothing_changes(world: World, route: str, htmx: bool, charlie: User) -> None:
    entry, client, before = PAGES[route], signed_in(charlie), everything()
    headers = {"HX-Request": "true"} if htmx else {}
    answers = {
        "get": client.get(world.path(route), entry.get or {}, headers=headers),
        "post": client.post(world.path(route), world.data(entry.post or {}), headers=headers),
    }
    for method, answer in answers.items():
        wanted = {404} if getattr(entry, method) is not None else {404, 405}
        assert answer.status_code in wanted, method
        assert WORD not in body_of(answer)
    assert everything() == before


@pytest.mark.parametrize("route", WITH_SESSION)
def test_a_colleague_who_sees_all_looks_and_changes_nothing_but_their_own_marks(world: World, route: str, bob: User) -> None:
    entry, client, before = PAGES[route], signed_in(bob), everything()
    if entry.get is not None:
        assert client.get(world.path(route), entry.get).status_code in DONE
        assert everything() == before
    if entry.post is not None:
        answer = client.post(world.path(route), world.data(entry.post))
        assert answer.status_code == 403 if entry.needs == "change" else answer.status_code in DONE
        after = everything()
        if entry.needs == "change":
            assert after == before
        else:
            assert {table for table in after if after[table] != before[table]} <= {
                "sessions_app.ReadMark",
                "sessions_app.Action",
                "sessions_app.ActionItem",
            }


@pytest.mark.parametrize("route", OWN)
def test_what_is_a_viewers_own_is_not_there_for_colleagues_either(world: World, route: str, bob: User) -> None:
    staff = make_user("dora", staff=True)
    before = everything()
    for viewer in (bob, staff):
        for method in ("get", "post"):
            data = getattr(PAGES[route], method)
            answer = getattr(signed_in(viewer), method)(world.path(route), world.data(data or {}))
            assert answer.status_code in ({404} if data is not None else {404, 405})
    assert everything() == before


@pytest.mark.parametrize("route", [route for route, entry in PAGES.items() if not entry.signed_out])
def test_its_owner_can(world: World, route: str, alice: User) -> None:
    """Else the refusals above would say nothing."""
    entry, client = PAGES[route], signed_in(alice)
    if entry.get is not None:
        assert client.get(world.path(route), entry.get, follow=True).status_code in DONE
    if entry.post is not None:
        before = everything()
        if "restore" in route:
            services.delete_view(world.view.pk, viewer=alice)
        answer = client.post(world.path(route), world.data(entry.post))
        assert answer.status_code in DONE, body_of(answer)
        assert answer.status_code != 302 or "signin" not in answer["Location"]
        assert everything() != before or route in (
            "sessions/views/<uuid:view_id>/share/",
            "sessions/views/<uuid:view_id>/restore/",
            "sessions/actions/<int:action_id>/",
        )


@pytest.mark.parametrize("route", PAGES)
def test_who_is_not_signed_in_sees_and_changes_nothing(world: World, route: str) -> None:
    entry, client, before = PAGES[route], Client(raise_request_exception=False), everything()
    for method in ("get", "post"):
        for headers in ({}, {"HX-Request": "true"}):
            answer = getattr(client, method)(world.path(route), world.data(getattr(entry, method) or {}), headers=headers)
            assert WORD not in body_of(answer)
            if not entry.signed_out:
                to_door = answer.get("Location", "") + answer.get("HX-Redirect", "")
                assert to_door.startswith("/signin/"), (method, answer.status_code)
    assert everything() == before


@pytest.mark.parametrize("route", [route for route, entry in PAGES.items() if not entry.needs and not entry.signed_out])
def test_nobody_finds_anothers_words_on_what_everyone_may_open(world: World, route: str, charlie: User) -> None:
    """The lists, searches, sums and menus of an outsider; and what an outsider sends about another's session or view changes neither."""
    entry, client = PAGES[route], signed_in(charlie)
    before = {
        table: rows for table, rows in everything().items() if table.rsplit(".")[-1] in ("Session", "SavedView", "SessionTag", "ReadMark")
    }
    if entry.get is not None:
        page = body_of(client.get(world.path(route), entry.get, follow=True))
        assert WORD not in page.replace(f'value="{WORD}"', "").replace(f"q={WORD}", "") or entry.get.get("q") == WORD
        assert SECRET not in page
    if entry.post is not None:
        answer = client.post(world.path(route), world.data(entry.post), follow=True)
        assert SECRET not in body_of(answer)
        after = everything()
        assert {table: after[table] for table in before} == before


def test_the_admin_is_for_staff(world: World, alice: User, bob: User, charlie: User) -> None:
    paths = ["/admin/", *(f"/admin/sessions_app/{model._meta.model_name}/" for model in apps.get_app_config("sessions_app").get_models())]
    before = everything()
    for client in (Client(), signed_in(alice), signed_in(bob), signed_in(charlie)):
        for path in [*paths, f"/admin/sessions_app/session/{world.session.pk}/change/"]:
            for answer in (client.get(path), client.post(path, {"action": "archive", "_selected_action": [str(world.session.pk)]})):
                assert answer.status_code in (302, 404) and WORD not in body_of(answer), path
    assert everything() == before


# --- the API ----------------------------------------------------------------------------------------------------------------------------


def call(method: str, path: str, body: dict[str, Any] | None, secret: str | None) -> Any:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    return getattr(Client(raise_request_exception=False), method)(path, headers=headers, **data)


@pytest.mark.parametrize("route", OPERATIONS)
def test_without_a_token_no_operation_does_anything(world: World, route: str) -> None:
    before = everything()
    for method, body in OPERATIONS[route].bodies.items():
        for secret in (None, "sst_wrong"):
            answer = call(method, world.path(route), body, secret)
            assert answer.status_code == 401 and WORD not in body_of(answer)
    assert everything() == before


@pytest.mark.parametrize("route", [route for route, entry in OPERATIONS.items() if entry.about == "session"])
def test_to_another_users_token_the_session_is_not_there(world: World, route: str) -> None:
    outsider = {scope: services.create_token("charlie's", scope=scope, user_id="charlie").secret for scope in ("read", "write")}
    owner = {scope: services.create_token("alice's", scope=scope, user_id="alice").secret for scope in ("read", "write")}
    before = everything()
    for method, body in OPERATIONS[route].bodies.items():
        answer = call(method, world.path(route), body, outsider["read" if method == "get" else "write"])
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
        assert json.loads(body_of(answer))["code"] == "session_not_found" and WORD not in body_of(answer)
    assert everything() == before
    for method, body in OPERATIONS[route].bodies.items():
        answer = call(method, world.path(route), body, owner["read" if method == "get" else "write"])
        assert answer.status_code in DONE, body_of(answer)


def test_what_lists_sessions_and_costs_over_the_api_shows_no_others(world: World) -> None:
    secret = services.create_token("charlie's", scope="read", user_id="charlie").secret
    for route in ("api/v1/sessions", "api/v1/costs"):
        answer = call("get", world.path(route), None, secret)
        assert answer.status_code == 200 and WORD not in body_of(answer)


# --- read states never mix --------------------------------------------------------------------------------------------------------------


def unread(viewer: User) -> set[str]:
    rows = queries.list_sessions(100, queries.SessionFilter(status="all"), viewer=viewer)
    return {row.key for row in rows if row.unread}  # type: ignore[attr-defined]


def test_two_peoples_read_states_never_mix(alice: User, bob: User) -> None:
    """Whatever one does, one by one, in bulk, by watermark, and by undo of each: the other's unread ones stay the other's."""
    made = [make_session(key=str(number), triggered_by="nightly", messages=2, now=at(number)) for number in range(6)]
    ids, keys = [one.pk for one in made], {one.key for one in made}
    services.mark_read(ids[0], viewer=alice, now=at(50))
    services.mark_read(ids[1], False, viewer=alice, now=at(51))
    hers = keys - {"0"}
    assert unread(alice) == hers

    steps: list[Any] = [
        lambda now: services.act("read", viewer=bob, session_ids=ids[:4], now=now),
        lambda now: services.act("unread", viewer=bob, session_ids=ids, now=now),
        lambda now: services.mark_everything_read(viewer=bob, now=now),
        lambda now: services.act("unread", viewer=bob, session_ids=ids[2:], now=now),
        lambda now: services.act("read", viewer=bob, session_ids=ids, now=now),
    ]
    done, seen = [], [unread(bob)]
    for minute, step in enumerate(steps):
        done.append(step(at(100 + minute)))
        seen.append(unread(bob))
        assert unread(alice) == hers
    assert [len(one) for one in seen] == [6, 2, 6, 0, 4, 0]
    for minute, result in enumerate(reversed(done)):
        seen.pop()
        services.undo_action(result.action_id, viewer=bob, now=at(200 + minute))
        assert unread(bob) == seen[-1]
        assert unread(alice) == hers
    services.mark_everything_read(viewer=alice, now=at(300))
    assert (unread(alice), unread(bob)) == (set(), keys)
