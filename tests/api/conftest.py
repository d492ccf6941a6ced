"""A client of the API that holds a token and speaks JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from sessions_app import services
from sessions_app.api.limits import buckets
from sessions_app.models import ApiToken


class Api:
    """One token's calls: api.post("/sessions", {...}) -> the response, whose .json() is the body."""

    def __init__(self, client: Client, token: ApiToken, secret: str) -> None:
        self.client = client
        self.token = token
        self.secret = secret

    def call(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        content = body if isinstance(body, bytes | str) else json.dumps(body) if body is not None else ""
        headers = {"Authorization": f"Bearer {self.secret}", **extra.pop("headers", {})}
        return self.client.generic(method, f"/api/v1{path}", content, content_type="application/json", headers=headers, **extra)

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, query_params=query)

    def post(self, path: str, body: Any = None, **extra: Any) -> Any:
        return self.call("POST", path, body, **extra)

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, body)

    def open(self, key: str = "k", **body: Any) -> str:
        """Open a session, and return its id."""
        found: str = self.post("/sessions/open", {"key": key, **body}).json()["session_id"]
        return found


@pytest.fixture
def make_api(db: None, client: Client) -> Callable[..., Api]:
    """make_api(scope, **bindings): a client with a new token."""

    def make_api(scope: str = "admin", **bindings: Any) -> Api:
        made = services.create_token(f"test {scope}", scope=scope, **bindings)
        return Api(client, made.token, made.secret)

    return make_api


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()


@pytest.fixture(autouse=True)
def full_buckets() -> None:
    """Each test begins with the whole rate: token numbers come again on a fresh database."""
    buckets.clear()


def problem(response: Any) -> tuple[int, str, str | None]:
    """Return status, code and field of a refusal, checked for its shape."""
    assert response["Content-Type"] == "application/problem+json", response.content
    body = response.json()
    assert body["status"] == response.status_code
    assert body["title"] and body["detail"] and body["type"] == "about:blank"
    return response.status_code, body["code"], body["field"]
