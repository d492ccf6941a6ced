"""Files inside messages: what is shown, what is saved, what is refused; and the address they come from."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from sessions_app import pictures
from sessions_app.models import Message, Session
from tests.factories import at, make_session


def png(width: int = 2, height: int = 3) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x33\x66\x99" * width for _ in range(height)) if width * height < 1_000_000 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


GIF = b"GIF89a" + struct.pack("<HH", 7, 9) + b"\0" * 20
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + b"\0" * 9 + b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 40, 50) + b"\0" * 20
WEBP = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (99).to_bytes(3, "little") + (49).to_bytes(3, "little")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def with_files(*files: dict[str, Any]) -> Message:
    return make_message(
        make_session(key=f"files {Session.objects.count()}"), role="user", content="look", extra={"attachments": list(files)}
    )


def make_message(session: Session, **fields: Any) -> Message:
    return Message.objects.create(session=session, timestamp=at(), received_at=at(), **fields)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (png(2, 3), ("image/png", 2, 3)),
        (GIF, ("image/gif", 7, 9)),
        (JPEG, ("image/jpeg", 50, 40)),
        (WEBP, ("image/webp", 100, 50)),
        (SVG, ("", 0, 0)),
        (b"<html><script>alert(1)</script>", ("", 0, 0)),
        (b"GIF89a", ("", 0, 0)),
        (b"\x89PNG\r\n\x1a\n", ("", 0, 0)),
        (b"%PDF-1.7", ("", 0, 0)),
        (b"", ("", 0, 0)),
    ],
)
def test_the_first_bytes_decide(data: bytes, found: tuple[str, int, int]) -> None:
    assert pictures.sniff(data) == found


def test_what_is_shown_and_what_is_a_chip() -> None:
    message = Message(
        role="user",
        extra={
            "attachments": [
                {"media_type": "image/png", "data": b64(png())},
                {"media_type": "image/png", "data": b64(SVG), "title": "a<b>.png"},
                {"media_type": "image/svg+xml", "data": b64(SVG)},
                {"media_type": "image/png", "data": b64(png(20_000, 20_000))},
                {"media_type": "application/pdf", "data": b64(b"%PDF-1.7"), "title": "invoice.pdf"},
                {"media_type": "", "url": "https://evil.example/pixel.png"},
                {"media_type": "image/png", "url": "javascript:alert(1)"},
                {"media_type": "image/png", "data": "no base64 \u202e"},
                "not a file",
            ]
        },
    )
    found = pictures.of_message(message)
    assert [file.is_shown for file in found] == [True, False, False, False, False, False, False, False]
    assert found[1].name == "a_b_.png"
    assert (found[4].name, found[4].media_type, found[4].size) == ("invoice.pdf", "application/pdf", 8)
    assert [file.link for file in found[5:7]] == ["https://evil.example/pixel.png", ""]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(png())}},
        {"type": "image", "data": b64(png()), "mimeType": "image/png"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{b64(png())}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(png())}"}},
        {"type": "resource", "resource": {"blob": b64(png()), "mimeType": "image/png"}},
    ],
)
def test_every_agent_s_form(block: dict[str, Any]) -> None:
    (file,) = pictures.of_result({"content": [{"type": "text", "text": "x"}, block]})
    assert (file.media_type, file.width, file.is_shown) == ("image/png", 2, True)


def test_files_of_no_shape() -> None:
    for extra in ({}, {"attachments": None}, {"attachments": {"a": 1}}, {"attachments": [1, None, [], {"data": 5, "url": []}]}):
        pictures.of_message(Message(role="user", extra=extra))
    for data in (None, 5, {}, {"content": None}, {"content": [None, {"type": "image"}, {"type": "image", "source": 5, "image_url": 7}]}):
        pictures.of_result(data)


# --- their address


@pytest.fixture
def signed_in(cast: SimpleNamespace, client: Client) -> Client:
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(message: Message, number: int = 0) -> str:
    return reverse("sessions:file", args=[message.session_id, message.pk, number])


def test_picture_comes_as_what_it_is_and_may_do_nothing(signed_in: Client) -> None:
    data = png()
    response = signed_in.get(address(with_files({"media_type": "text/html", "data": b64(data)})))
    assert response.content == data
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Content-Disposition"].startswith("inline;")
    assert "private" in response.headers["Cache-Control"]


def test_anything_else_is_saved_and_never_opened(signed_in: Client) -> None:
    for media_type, data in (("image/svg+xml", SVG), ("text/html", b"<script>alert(1)</script>"), ("image/png", b"<html>")):
        response = signed_in.get(address(with_files({"media_type": media_type, "data": b64(data)})))
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment;")
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_picture_of_a_tool_s_result(signed_in: Client) -> None:
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(png())}}
    content = json.dumps({"type": "tool_result", "content": [block]})
    message = make_message(make_session(), role="tool_result", content=content)
    assert signed_in.get(address(message)).content == png()


def test_who_sees_it_and_what_is_not_there(cast: SimpleNamespace, client: Client) -> None:
    message = with_files({"media_type": "image/png", "data": b64(png())}, {"url": "https://evil.example/x.png"})
    for person, status in ((cast.alice, 200), (cast.bob, 200), (cast.charlie, 404)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        assert client.get(address(message)).status_code == status
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    other = make_session(key="other")
    for path in (address(message, 1), address(message, 2), address(message, 99), reverse("sessions:file", args=[other.pk, message.pk, 0])):
        assert client.get(path).status_code == 404
