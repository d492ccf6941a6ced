"""The life of a session over HTTP: opened, found, changed, closed, reopened; each operation with both outcomes."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from sessions_app import services
from sessions_app.models import Channel, ReadMark, Receipt, Session
from tests.api.conftest import Api, problem
from tests.factories import make_session, make_user

pytestmark = pytest.mark.django_db


def test_open_makes_a_session_and_then_finds_it(api: Api) -> None:
    first = api.post("/sessions/open", {"key": "chat", "agent": "bot", "project": "p", "triggered_by": "nightly"})
    assert first.status_code == 201
    body = first.json()
    session = Session.objects.get()
    assert (session.channel_id, session.key, session.user_id, session.agent, session.project, session.triggered_by) == (
        "main", "chat", "admin", "bot", "p", "nightly",
    )  # fmt: skip
    assert body == {"session_id": str(session.pk), "created": True, "closed_session_id": None, "session": body["session"]}
    assert body["session"]["is_closed"] is False
    again = api.post("/sessions/open", {"key": "chat"})
    assert (again.status_code, again.json()["created"], again.json()["session_id"]) == (200, False, str(session.pk))


def test_open_after_the_gap_closes_the_one_before(api: Api) -> None:
    old = make_session("telegram", "chat", user_id="alice")
    answer = api.post("/sessions/open", {"key": "chat", "channel": "telegram", "user_id": "alice"})
    assert answer.status_code == 201
    assert answer.json()["closed_session_id"] == str(old.pk)
    old.refresh_from_db()
    assert (old.is_closed, old.summary) == (True, services.AUTO_CLOSED)


@pytest.mark.parametrize(
    ("gap", "goes_on"), [({}, False), ({"gap_minutes": None}, True), ({"gap_minutes": 52_704_000}, True), ({"gap_minutes": 0}, False)]
)
def test_the_gap_is_the_channels_or_the_callers_or_none(api: Api, gap: dict[str, int | None], goes_on: bool) -> None:
    old = make_session("telegram", "chat", user_id="admin")
    answer = api.post("/sessions/open", {"key": "chat", "channel": "telegram", **gap}).json()
    assert (answer["session_id"] == str(old.pk)) is goes_on


def test_resolve_finds_or_closes_and_never_opens(api: Api) -> None:
    assert api.post("/sessions/resolve", {"key": "chat"}).json() == {"action": "new", "session_id": None, "closed_session_id": None}
    known = api.open("chat")
    assert api.post("/sessions/resolve", {"key": "chat"}).json() == {"action": "continue", "session_id": known, "closed_session_id": None}
    old = make_session("telegram", "t", user_id="admin")
    answer = api.post("/sessions/resolve", {"key": "t", "channel": "telegram"})
    assert (answer.status_code, answer.json()) == (200, {"action": "new", "session_id": None, "closed_session_id": str(old.pk)})
    assert Session.objects.count() == 2


def test_create_is_new_or_refused_with_the_open_one(api: Api) -> None:
    made = api.post("/sessions", {"key": "chat"})
    assert made.status_code == 201
    refused = api.post("/sessions", {"key": "chat"})
    assert problem(refused) == (409, "session_already_open", None)
    assert refused.json()["session_id"] == made.json()["session"]["id"]


def test_an_unknown_channel_lists_the_known(api: Api) -> None:
    for path in ("/sessions/open", "/sessions/resolve", "/sessions"):
        refused = api.post(path, {"key": "k", "channel": "pigeon"})
        assert problem(refused) == (422, "unknown_channel", "channel")
        assert refused.json()["known_channels"] == sorted(Channel.objects.values_list("slug", flat=True))
        assert "telegram" in refused.json()["detail"]
    assert problem(api.get("/sessions", channel="pigeon")) == (422, "unknown_channel", "channel")
    assert problem(api.post("/sessions/open", {"key": "k", "channel": "a\0b"})) == (422, "unknown_channel", "channel")


def test_close_reopen_touch(api: Api) -> None:
    session = api.open()
    touched = api.post(f"/sessions/{session}/touch").json()["session"]
    assert (touched["message_count"], touched["is_closed"]) == (1, False)
    closed = api.post(f"/sessions/{session}/close", {"summary": "went well"})
    assert (closed.status_code, closed.json()["session"]["is_closed"]) == (200, True)
    assert Session.objects.get().summary == "went well"
    assert api.post(f"/sessions/{session}/close").status_code == 200  # again: harmless, the summary stays
    assert Session.objects.get().summary == "went well"
    assert api.post(f"/sessions/{session}/reopen").json()["session"]["is_closed"] is False
    api.post(f"/sessions/{session}/close", {})
    other = api.open()
    refused = api.post(f"/sessions/{session}/reopen", {})
    assert problem(refused) == (409, "session_already_open", None)
    assert refused.json()["session_id"] == other


def test_patch_changes_what_is_named_and_nothing_else(api: Api) -> None:
    session = api.open()
    api.post(f"/sessions/{session}/messages", {"role": "user", "content": "the prompt"})
    assert api.patch(f"/sessions/{session}", {}).status_code == 200
    assert api.get(f"/sessions/{session}").json()["title"] == "the prompt"
    answer = api.patch(
        f"/sessions/{session}", {"title": " A  name ", "summary": "s", "tags": ["a", "b", "a"], "read": False, "archived": True}
    )
    assert (answer.status_code, answer.json()["session"]["is_archived"]) == (200, True)
    seen = api.get(f"/sessions/{session}").json()
    assert (seen["title"], seen["summary"], seen["tags"], seen["is_read"], seen["is_archived"]) == ("A name", "s", ["a", "b"], False, True)
    api.patch(f"/sessions/{session}", {"read": True, "archived": False, "title": "", "tags": []})
    seen = api.get(f"/sessions/{session}").json()
    assert (seen["title"], seen["summary"], seen["tags"], seen["is_read"], seen["is_archived"]) == ("", "s", [], True, False)
    assert Session.objects.get().title_is_given is False
    assert problem(api.patch(f"/sessions/{session}", {"tags": ["x" * 51]})) == (422, "invalid_value", "tags.0")
    assert problem(api.patch(f"/sessions/{session}", {"tags": [" "], "title": "no"})) == (422, "invalid_session", "tags")
    assert Session.objects.get().title == ""  # all or nothing
    assert problem(api.patch(f"/sessions/{session}", {"titel": "x"})) == (422, "invalid_value", "titel")


def test_read_is_the_mark_of_the_tokens_user(api: Api, make_api: object) -> None:
    alice = make_user("alice")
    session = make_session(user_id="alice")
    own = make_api("write", user_id="alice")  # type: ignore[operator]
    assert own.patch(f"/sessions/{session.pk}", {"read": False}).status_code == 200
    assert ReadMark.objects.get().viewer == alice
    session.refresh_from_db()
    assert session.is_read  # for everybody else
    reader = make_api("read", user_id="alice")  # type: ignore[operator]
    assert reader.get(f"/sessions/{session.pk}").json()["is_read"] is False
    assert api.get(f"/sessions/{session.pk}").json()["is_read"] is True


@pytest.mark.parametrize("path", ["close", "reopen", "touch", "messages", "usage", "compactions"])
@pytest.mark.parametrize(
    "session_id",
    [
        "01a204f2-2ad7-79d1-919c-2843404bf20b",
        "1",
        "not-an-id",
        "null",
        "00000000-0000-0000-0000-00000000000g",
        "x" * 3000,
        "%00",
        "%F0%9F%A6%A9",
    ],
)
def test_no_such_session(api: Api, path: str, session_id: str) -> None:
    body = {
        "messages": {"role": "user", "content": "x"},
        "usage": {"model": "m", "input_tokens": 1, "output_tokens": 1},
        "compactions": {"trigger": "auto", "summary": "s"},
    }.get(path, {})
    refused = api.post(f"/sessions/{session_id}/{path}", body)
    assert problem(refused) == (404, "session_not_found", "session_id")


def test_no_such_session_for_the_rest(api: Api) -> None:
    for refused in (
        api.patch("/sessions/nope", {}),
        api.get("/sessions/nope"),
        api.get("/sessions/nope/messages"),
        api.get("/sessions/nope/usage"),
    ):
        assert problem(refused) == (404, "session_not_found", "session_id")


@pytest.mark.parametrize("how", ["body", "header"])
def test_the_same_event_again_is_answered_as_the_first_time(api: Api, how: str) -> None:
    session = api.open("other")

    def send(path: str, body: dict[str, object], event_id: str) -> object:
        if how == "header":
            return api.post(path, body, headers={"Idempotency-Key": event_id})
        return api.post(path, {**body, "event_id": event_id})

    calls: list[tuple[str, dict[str, object], int]] = [
        ("/sessions/open", {"key": "k"}, 201),
        ("/sessions", {"key": "new"}, 201),
        ("/sessions/resolve", {"key": "k"}, 200),
        (f"/sessions/{session}/touch", {}, 200),
        (f"/sessions/{session}/close", {"summary": "s"}, 200),
        (f"/sessions/{session}/reopen", {}, 200),
        ("/turns", {"session_id": session, "messages": [{"role": "user", "content": "x"}]}, 201),
        ("/batch", {"events": [{"type": "touch", "session_id": session}]}, 200),
        (f"/sessions/{session}/messages", {"role": "user", "content": "x"}, 201),
        (f"/sessions/{session}/usage", {"model": "m", "input_tokens": 1, "output_tokens": 1}, 201),
        (f"/sessions/{session}/compactions", {"trigger": "auto", "summary": "s"}, 201),
    ]
    if how == "body":
        calls = [call for call in calls if call[0] != "/batch"]
    for number, (path, body, status) in enumerate(calls):
        first = send(path, body, f"e{number}")
        assert first.status_code == status, first.content  # type: ignore[attr-defined]
        assert "Idempotent-Replayed" not in first  # type: ignore[operator]
    before = list(Session.objects.order_by("pk").values())
    for number, (path, body, _) in enumerate(calls):
        again = send(path, body, f"e{number}")
        assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true"), again.content  # type: ignore[attr-defined, index]
        changed = dict(body)
        changed.update({"key": "else"} if "key" in body else {"summary": "else"} if "summary" in body else {})
        if changed != body:
            assert problem(send(path, changed, f"e{number}")) == (409, "event_id_reused", "event_id")
    assert list(Session.objects.order_by("pk").values()) == before


def test_event_ids_of_two_tokens_never_meet(make_api: object) -> None:
    one, two = make_api(), make_api()  # type: ignore[operator]
    assert one.post("/sessions/open", {"key": "1", "event_id": "1"}).status_code == 201
    assert two.post("/sessions/open", {"key": "2", "event_id": "1"}).status_code == 201
    assert Receipt.objects.count() == 2


def test_a_refused_event_may_be_sent_again(api: Api) -> None:
    session = api.open()
    assert api.post("/sessions", {"key": "k", "event_id": "e"}).status_code == 409
    assert not Receipt.objects.exists()
    api.post(f"/sessions/{session}/close")
    assert api.post("/sessions", {"key": "k", "event_id": "e"}).status_code == 201


def test_two_ids_of_one_event_are_refused(api: Api) -> None:
    refused = api.post("/sessions/open", {"key": "k", "event_id": "a"}, headers={"Idempotency-Key": "b"})
    assert problem(refused) == (422, "invalid_value", "event_id")
    assert api.post("/sessions/open", {"key": "k", "event_id": "a"}, headers={"Idempotency-Key": "a"}).status_code == 201
    assert problem(api.post("/sessions/open", {"key": "k"}, headers={"Idempotency-Key": "x" * 256})) == (
        422,
        "invalid_value",
        "Idempotency-Key",
    )


def test_an_id_spelled_another_way_is_the_same_session(api: Api) -> None:
    session = api.open()
    path = f"/sessions/{UUID(session).hex.upper()}/touch"
    assert api.post(path, {"event_id": "e"}).status_code == 200
    assert api.post(f"/sessions/{session}/touch", {"event_id": "e"})["Idempotent-Replayed"] == "true"


def test_a_late_message_of_a_closed_session_is_kept(api: Api) -> None:
    session = api.open()
    api.post(f"/sessions/{session}/close")
    assert api.post(f"/sessions/{session}/messages", {"role": "user", "content": "late"}).status_code == 201
    assert Session.objects.get().is_closed
    assert Session.objects.get().created_at - Session.objects.get().last_message_at < timedelta(0)
