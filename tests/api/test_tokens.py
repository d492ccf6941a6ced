"""Who may do what: scopes, bindings, tokens that are over, and the commands that make and revoke them."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from sessions_app import services
from sessions_app.models import ApiToken, Session
from tests.api.conftest import Api, problem
from tests.factories import make_session, make_user

pytestmark = pytest.mark.django_db

WRITES = [
    ("POST", "/sessions/open"), ("POST", "/sessions/resolve"), ("POST", "/sessions"), ("PATCH", "/sessions/{}"), ("POST", "/sessions/{}/close"),
    ("POST", "/sessions/{}/reopen"), ("POST", "/sessions/{}/touch"), ("POST", "/sessions/{}/messages"), ("POST", "/sessions/{}/usage"),
    ("POST", "/sessions/{}/compactions"), ("POST", "/turns"), ("POST", "/batch"),
]  # fmt: skip
READS = [("GET", "/sessions"), ("GET", "/sessions/{}"), ("GET", "/sessions/{}/messages"), ("GET", "/sessions/{}/usage"), ("GET", "/costs")]


@pytest.mark.parametrize(("method", "path"), WRITES + READS)
def test_every_operation_needs_a_good_token_of_its_scope(make_api: Any, client: Client, method: str, path: str) -> None:
    session = make_session(user_id="alice")
    url = path.format(session.pk)
    client.force_login(make_user("root", staff=True), backend="django.contrib.auth.backends.ModelBackend")  # a cookie is no token
    bare = client.generic(method, f"/api/v1{url}", "{}", content_type="application/json")
    assert problem(bare) == (401, "no_token", None)
    assert bare["WWW-Authenticate"].startswith("Bearer")
    for words in ("Bearer sst_wrong", "Bearer", "Basic YTpi", "Bearer a b", "Bearer \xe9", f"Bearer sst_{'x' * 5000}"):
        refused = client.generic(method, f"/api/v1{url}", "{}", content_type="application/json", headers={"Authorization": words})
        assert problem(refused) == (401, "bad_token", None)
        assert 'error="invalid_token"' in refused["WWW-Authenticate"]
    wrong = make_api("write") if (method, path) in READS else make_api("read", user_id="alice")
    refused = wrong.call(method, url, {} if method != "GET" else None)
    assert problem(refused) == (403, "wrong_scope", None)
    assert "insufficient_scope" in refused["WWW-Authenticate"]
    right = make_api("read" if (method, path) in READS else "write", user_id="alice")
    for good in (right, make_api("admin")):
        assert good.call(method, url, {} if method != "GET" else None).status_code in (200, 201, 422)


def test_a_revoked_and_an_expired_token_open_nothing(make_api: Any) -> None:
    api = make_api("write")
    assert api.post("/sessions/open", {"key": "k"}).status_code == 201
    services.revoke_token(api.token)
    assert problem(api.post("/sessions/open", {"key": "k"})) == (401, "bad_token", None)
    over = make_api("write", expires_at=timezone.now() + timedelta(hours=1))
    assert over.post("/sessions/open", {"key": "k"}).status_code == 200
    ApiToken.objects.filter(pk=over.token.pk).update(expires_at=timezone.now())
    assert problem(over.post("/sessions/open", {"key": "k"})) == (401, "bad_token", None)


def test_the_last_use_is_written_once_a_minute(make_api: Any) -> None:
    api = make_api("write")
    api.open()
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    api.open()
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    api.open()
    assert ApiToken.objects.get().last_used_at >= first


def test_a_bound_token_fills_in_what_it_is_bound_to(make_api: Any) -> None:
    api = make_api("write", user_id="alice", channel="slack", agent="bot")
    assert api.post("/sessions/open", {"key": "k"}).status_code == 201
    session = Session.objects.get()
    assert (session.user_id, session.channel_id, session.agent) == ("alice", "slack", "bot")
    named = {"key": "k", "user_id": "alice", "channel": "slack", "agent": "bot"}
    assert api.post("/sessions/open", named).status_code == 200


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (path, field, value)
        for path in ("/sessions/open", "/sessions", "/sessions/resolve", "/turns")
        for field, value in (("user_id", "bob"), ("user_id", ""), ("channel", "main"), ("agent", "other"))
        if (path, field) != ("/sessions/resolve", "agent")  # which names no agent
    ],
)
def test_a_bound_token_writes_as_no_other(make_api: Any, path: str, field: str, value: str) -> None:
    api = make_api("write", user_id="alice", channel="slack", agent="bot")
    body: dict[str, Any] = {"key": "k", field: value}
    refused = api.post(path, {"session": body} if path == "/turns" else body)
    assert problem(refused) == (403, "token_bound", field)
    assert not Session.objects.exists()


@pytest.mark.parametrize("binding", [{"user_id": "alice"}, {"channel": "slack"}, {"agent": "bot"}])
@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path in WRITES if "{}" in path])
def test_a_session_outside_the_binding_is_not_there(make_api: Any, binding: dict[str, str], method: str, path: str) -> None:
    other = make_session("telegram", user_id="bob", agent="else")
    mine = make_session("slack", user_id="alice", agent="bot")
    api = make_api("write", **binding)
    bodies = {
        "messages": {"role": "user", "content": "x"},
        "usage": {"model": "m", "input_tokens": 1, "output_tokens": 1},
        "compactions": {"trigger": "auto", "summary": "s"},
    }
    body = bodies.get(path.rpartition("/")[2], {})
    before = Session.objects.filter(pk=other.pk).values().get()
    refused = api.call(method, path.format(other.pk), body)
    missing = api.call(method, path.format("01a204f2-2ad7-79d1-919c-2843404bf20b"), body)
    assert problem(refused) == problem(missing) == (404, "session_not_found", "session_id")
    assert refused.content == missing.content.replace(b"01a204f2-2ad7-79d1-919c-2843404bf20b", str(other.pk).encode())
    assert Session.objects.filter(pk=other.pk).values().get() == before
    assert api.call(method, path.format(mine.pk), body).status_code in (200, 201)


def test_a_bound_token_says_nothing_in_anothers_name(make_api: Any) -> None:
    session = make_session(user_id="alice")
    api = make_api("write", user_id="alice", agent="bot")
    usage = {"model": "m", "input_tokens": 1, "output_tokens": 1}
    assert problem(api.post(f"/sessions/{session.pk}/messages", {"role": "user", "content": "x", "agent": "else"})) == (
        403,
        "token_bound",
        "agent",
    )
    assert problem(api.post(f"/sessions/{session.pk}/usage", {**usage, "user_id": "bob"})) == (403, "token_bound", "user_id")
    turn = {"session_id": str(session.pk), "messages": [{"role": "user", "content": "x", "agent": "else"}]}
    assert problem(api.post("/turns", turn)) == (403, "token_bound", "messages.0.agent")
    assert api.post(f"/sessions/{session.pk}/usage", {**usage, "user_id": "alice"}).status_code == 201


def test_the_open_session_of_another_agent_is_not_taken_over(make_api: Any) -> None:
    make_session("main", "k", user_id="admin", agent="else")
    api = make_api("write", agent="bot")
    assert problem(api.post("/sessions/open", {"key": "k"})) == (403, "token_bound", "key")
    assert problem(api.post("/sessions/resolve", {"key": "k"})) == (403, "token_bound", "key")
    assert problem(api.post("/turns", {"session": {"key": "k"}, "messages": [{"role": "user", "content": "x"}]})) == (
        403,
        "token_bound",
        "key",
    )
    assert Session.objects.get().message_count == 0


def test_a_writer_is_told_nothing_that_was_said(make_api: Any) -> None:
    session = make_session(messages=2, user_id="admin", summary="secret summary", title="secret title")
    api = make_api("write")
    for answer in (
        api.post("/sessions/open", {"key": "k"}),
        api.post(f"/sessions/{session.pk}/touch"),
        api.patch(f"/sessions/{session.pk}", {"tags": ["x"]}),
        api.post(f"/sessions/{session.pk}/close"),
    ):
        assert answer.status_code == 200
        assert b"secret" not in answer.content
        assert b"message 0" not in answer.content


def test_plain_http_is_refused_where_the_site_speaks_https(make_api: Any, settings: Any) -> None:
    settings.HTTPS = settings.SECURE_SSL_REDIRECT = True
    api = make_api("write")
    assert problem(api.post("/sessions/open", {"key": "k"})) == (403, "https_required", None)
    assert api.post("/sessions/open", {"key": "k"}, secure=True).status_code == 201


def test_too_many_requests(make_api: Any, settings: Any) -> None:
    settings.API_RATE_PER_TOKEN = 2
    api, other = make_api("admin"), make_api("admin")
    answers = [api.get("/costs") for _ in range(6)]
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert problem(refused) == (429, "slow_down", None)
    assert refused["Retry-After"] == "1"
    assert other.get("/costs").status_code == 200
    settings.API_RATE_PER_TOKEN = 0
    assert api.get("/costs").status_code == 200


# --- the commands ---------------------------------------------------------------------------------------------------------------------


def create(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("create_token", *arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_a_token_made_by_the_command_works(client: Client) -> None:
    secret, words = create(
        "bot", "--scope", "write", "--user", "alice", "--channel", "slack", "--agent", "a", "--expires", "2999-01-01T00:00:00Z"
    )
    token = ApiToken.objects.get()
    assert (token.name, token.scope, token.user_id, token.channel_id, token.agent, token.sees_all) == (
        "bot",
        "write",
        "alice",
        "slack",
        "a",
        False,
    )
    assert token.expires_at is not None
    assert secret.startswith(token.hint)
    assert secret not in (token.digest, words)
    assert "write, user alice, channel slack, agent a, until 2999-01-01" in words
    assert Api(client, token, secret).post("/sessions/open", {"key": "k"}).status_code == 201


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x", "--scope", "read"], "Say whose sessions"),
        (["x", "--scope", "read", "--user", "a", "--all"], "without a user"),
        (["x", "--scope", "read", "--all", "--channel", "slack"], "a read token writes nothing"),
        (["x", "--scope", "write", "--all"], "without a user"),
        (["x", "--scope", "write", "--channel", "pigeon"], "Known channels: cli"),
        (["x", "--scope", "write", "--expires", "2001-01-01T00:00:00Z"], "in the future"),
        (["x", "--scope", "write", "--expires", "2999-01-01"], "needs a time zone"),
        (["x", "--scope", "write", "--expires", "soon"], "not a time"),
        (["x", "--scope", "all"], "invalid choice"),
        ([" ", "--scope", "write"], "needs a name"),
    ],
)
def test_a_token_that_cannot_be_made(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        create(*arguments)
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked_by_name_number_or_hint() -> None:
    for way in ("name", "pk", "hint"):
        create(f"bot {way}", "--scope", "read", "--all")
        token = ApiToken.objects.get(revoked_at=None)
        out = StringIO()
        call_command("revoke_token", str(getattr(token, way)), stdout=out)
        assert "Revoked token" in out.getvalue()
        token.refresh_from_db()
        first = token.revoked_at
        assert first is not None
        call_command("revoke_token", str(token.pk), stdout=out)
        token.refresh_from_db()
        assert token.revoked_at == first


def test_revoking_names_one_token() -> None:
    with pytest.raises(CommandError, match="There is no token 'bot'"):
        call_command("revoke_token", "bot")
    create("bot", "--scope", "write")
    create("bot", "--scope", "write")
    with pytest.raises(CommandError, match="2 tokens are called so"):
        call_command("revoke_token", "bot")
    assert not ApiToken.objects.exclude(revoked_at=None).exists()
