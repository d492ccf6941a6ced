"""What comes in: bodies too large, compressed or broken, JSON that means two things, and the answers to each."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from django.db import OperationalError
from django.test import RequestFactory

from sessions_app.api import limits, routes
from sessions_app.api.problems import Problem
from sessions_app.models import Message, Session
from tests.api.conftest import Api, problem

pytestmark = pytest.mark.django_db


def encoded(api: Api, body: bytes, encoding: str) -> Any:
    return api.post("/sessions/open", body, headers={"Content-Encoding": encoding})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "Expecting"),
        (b"key=k", "Expecting"),
        (b'{"key": "k", "key": "k"}', "comes twice"),
        (b'{"key": "k", "x": {"a": 1, "a": 2}}', "comes twice"),
        (b'{"key": "k", "gap_minutes": NaN}', "NaN"),
        (b'{"key": "k", "gap_minutes": -Infinity}', "Infinity"),
        (b'{"key": "k", "gap_minutes": 1e999}', "1e999"),
        (b'{"key": "k", "gap_minutes": ' + b"9" * 5000 + b"}", "5,000 digits"),
        (b'{"key": "\xff"}', "UTF-8"),
        (b'{"key": "k"} {}', "Extra data"),
        (b"\xef\xbb\xbf{}", "Expecting"),
        (b'{"key": ' + b"[" * 1000 + b"]" * 1000 + b"}", "64 levels"),
        (b'{"key": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "64 levels"),
    ],
)
def test_what_is_not_json_that_can_be_taken(api: Api, body: bytes, words: str) -> None:
    refused = api.post("/sessions/open", body)
    assert problem(refused) == (400, "not_json", None)
    assert words in refused.json()["detail"]
    assert not Session.objects.exists()


def test_no_body_where_one_is_needed(api: Api) -> None:
    assert problem(api.post("/sessions/open")) == (422, "invalid_value", None)
    for body in ("null", "[]", "5", '"x"'):
        assert problem(api.post("/sessions/open", body))[:2] == (422, "invalid_value")


def test_depth_within_the_bound_is_kept(api: Api) -> None:
    session = api.open()
    deep: Any = 1
    for _ in range(60):
        deep = {"a": deep}
    assert api.post(f"/sessions/{session}/messages", {"role": "user", "content": "x", "extra": deep}).status_code == 201
    assert Message.objects.get().extra == deep


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/xml"]
)
def test_another_content_type(api: Api, content_type: str) -> None:
    refused = api.client.generic(
        "POST", "/api/v1/sessions/open", '{"key": "k"}', content_type=content_type, headers={"Authorization": f"Bearer {api.secret}"}
    )
    assert problem(refused) == (415, "wrong_content_type", "Content-Type")


def test_compressed_bodies(api: Api) -> None:
    body = b'{"key": "k"}'
    raw = zlib.compressobj(wbits=-15)
    ways = [
        (gzip.compress(body), "gzip"),
        (gzip.compress(body), "X-GZIP"),
        (gzip.compress(body[:5]) + gzip.compress(body[5:]), "gzip"),
        (zlib.compress(body), "deflate"),
        (raw.compress(body) + raw.flush(), "deflate"),
        (body, "identity"),
    ]
    assert [encoded(api, sent, encoding).status_code for sent, encoding in ways] == [201, 200, 200, 200, 200, 200]


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b'{"key": "k"}', "gzip", 400, "bad_encoding"),
        (gzip.compress(b'{"key": "k"}', mtime=0)[:-9], "gzip", 400, "bad_encoding"),
        (gzip.compress(b'{"key": "k"}', mtime=0) + b"junk", "gzip", 400, "bad_encoding"),
        (b"{}", "br", 415, "wrong_content_encoding"),
        (b"{}", "gzip, gzip", 415, "wrong_content_encoding"),
    ],
)
def test_badly_compressed_bodies(api: Api, body: bytes, encoding: str, status: int, code: str) -> None:
    assert problem(encoded(api, body, encoding)) == (status, code, "Content-Encoding")


def test_a_gzip_bomb_costs_no_more_than_the_limit(api: Api, settings: Any) -> None:
    settings.API_MAX_BODY_BYTES = 1_000_000
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", compresslevel=9) as file:
        for _ in range(300):
            file.write(b" " * 1_000_000)
    bomb = buffer.getvalue()
    assert len(bomb) < 400_000
    twice = gzip.compress(bomb)  # of which only the outer layer is taken off
    tracemalloc.start()
    refused = encoded(api, bomb, "gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem(refused) == (413, "too_large", None)
    assert peak < 5_000_000
    assert problem(encoded(api, twice, "gzip")) == (400, "not_json", None)


def test_a_body_of_20_mb_and_one_byte_more(api: Api, settings: Any) -> None:
    assert settings.API_MAX_BODY_BYTES == 20_000_000
    refused = api.post("/batch", b" " * 20_000_001)
    assert problem(refused) == (413, "too_large", None)
    assert "20,000,000 bytes" in refused.json()["detail"]
    frame = json.dumps({"events": [{"type": "open", "key": "k", "agent": ""}]}).encode()
    assert api.post("/batch", frame + b" " * (20_000_000 - len(frame))).status_code == 200


def test_a_message_of_5_mb_and_one_byte_more(api: Api) -> None:
    session = api.open()
    for text, status in (("x" * 5_000_000, 201), ("x" * 5_000_001, 413), ("ü" * 2_500_000, 201), ("ü" * 2_500_001, 413)):
        answer = api.post(f"/sessions/{session}/messages", {"role": "user", "content": text})
        assert answer.status_code == status
    assert problem(answer) == (413, "too_large", "content")
    assert len(Message.objects.order_by("pk")[0].content) == 5_000_000
    assert problem(api.post(f"/sessions/{session}/close", {"summary": "x" * 5_000_001})) == (413, "too_large", "summary")
    assert problem(api.patch(f"/sessions/{session}", {"summary": "x" * 5_000_001})) == (413, "too_large", "summary")


def test_a_body_sent_in_chunks_is_read(settings: Any) -> None:
    settings.API_MAX_BODY_BYTES = 1000
    for size in (999, 1000, 1001):
        request = RequestFactory().post("/x")
        request.META.update({"CONTENT_LENGTH": "", "wsgi.input_terminated": True, "wsgi.input": io.BytesIO(b"x" * size)})
        if size > 1000:
            with pytest.raises(Problem, match="larger than 1,000 bytes"):
                limits.read_body(request)
        else:
            assert len(limits.read_body(request)) == size


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/sessions/open", "POST"),
        ("PUT", "/sessions", "GET, POST"),
        ("DELETE", "/sessions/01a204f2-2ad7-79d1-919c-2843404bf20b", "GET, PATCH"),
        ("POST", "/costs", "GET"),
        ("TRACE", "/batch", "POST"),
    ],
)
def test_another_method(api: Api, method: str, path: str, allowed: str) -> None:
    refused = api.call(method, path)
    assert problem(refused) == (405, "method_not_allowed", None)
    assert refused["Allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/api/v1", "/api/v1/", "/api/", "/api/v1/sessions/", "/api/v1/sessions/open/", "/api/v1/nope", "/api/v2/sessions"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_none_is_a_problem_and_no_redirect(api: Api, method: str, path: str) -> None:
    refused = api.client.generic(method, path, "{}", content_type="application/json")
    assert problem(refused) == (404, "not_found", None)


def test_a_store_that_is_away_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("database is locked")

    monkeypatch.setattr(routes.queries, "cost_overview", away)
    refused = api.get("/costs")
    assert problem(refused) == (503, "busy", None)
    assert refused["Retry-After"] == "1"


def test_a_mistake_of_ours_is_500_without_its_words(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("secret words")

    monkeypatch.setattr(routes.queries, "cost_overview", broken)
    refused = api.get("/costs")
    assert problem(refused) == (500, "internal_error", None)
    assert b"secret" not in refused.content


def test_a_bucket_fills_again() -> None:
    buckets = limits.Buckets()
    now = 1000.0
    assert [buckets.wait(1, 4, now) for _ in range(8)] == [0.0] * 8
    assert buckets.wait(1, 4, now) == 0.25
    assert buckets.wait(2, 4, now) == 0
    assert buckets.wait(1, 4, now + 0.25) == 0
    assert buckets.wait(1, 4, now + 0.25) > 0
    assert [buckets.wait(1, 4, now + 100) > 0 for _ in range(9)] == [False] * 8 + [True]  # never more than the burst
    assert buckets.wait(3, 0.1, now) == 0
    assert buckets.wait(3, 0.1, now) == pytest.approx(10)
