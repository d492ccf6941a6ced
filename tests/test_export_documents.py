"""A session as a file for people: who gets it, under what name, and that no text inside can leave its place."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from base64 import b64encode
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sessions_app import exporting, rendering, services
from sessions_app.events import CompactionEvent, Event, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.exporting.markdown import code, fenced, inline, quoted
from sessions_app.models import Compaction, Message, Session, UsageRecord
from tests.factories import T0, at, make_session
from tests.shared import SHARED, needs_shared

pytestmark = pytest.mark.django_db
FORMATS = ("json", "md", "html")
PIXEL = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82"


def store(session: Session, *events: Event) -> None:
    for number, event in enumerate(events):
        event.timestamp = event.timestamp or at(number / 10)
    assert not services.store_events(session.pk, list(events), source="test", now=at(60)).refused
    session.refresh_from_db()


def text_of(session: Session, format: str) -> str:
    return b"".join(exporting.export(Session.objects.get(pk=session.pk), format, now=T0)).decode()


def download(client: Client, session: Session, format: str | None = None) -> Any:
    return client.get(reverse("sessions:export", args=[session.pk]), {"format": format} if format else {})


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content)


# --- who gets it, and under what name -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_who_sees_the_session_gets_the_file_and_others_nothing(cast: SimpleNamespace, client: Client, format: str) -> None:
    session = make_session(user_id="alice", messages=3)
    for person, status in ((cast.alice, 200), (cast.bob, 200), (cast.charlie, 404)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        response = download(client, session, format)
        assert response.status_code == status
        if status == 200:
            assert b"message 2" in body(response)
    client.logout()
    assert download(client, session, format).status_code == 302


@pytest.mark.parametrize(
    ("format", "kind"), [("json", "application/jsonl"), ("md", "text/markdown; charset=utf-8"), ("html", "text/html; charset=utf-8")]
)
def test_it_is_an_attachment_that_nobody_keeps(alice: Any, client: Client, format: str, kind: str) -> None:
    session = make_session(messages=1, title="Refund: what now?")
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    response = download(client, session, format)
    assert response["Content-Type"] == kind
    assert response["Content-Disposition"] == f'attachment; filename="{exporting.file_name(session, format)}"'
    assert exporting.file_name(session, format) == f"Refund-what-now-{session.pk.hex[-8:]}.{exporting.FORMATS[format].suffix}"
    assert response["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert (response["Cache-Control"], response["X-Content-Type-Options"]) == ("private, no-store", "nosniff")
    head = client.head(reverse("sessions:export", args=[session.pk]), {"format": format})
    assert (head.status_code, head.content, head["Content-Disposition"]) == (200, b"", response["Content-Disposition"])


def test_without_a_word_it_is_json_and_an_unknown_format_is_refused(alice: Any, client: Client) -> None:
    session = make_session()
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    assert json.loads(body(download(client, session)).split(b"\n")[0])["format"] == "sessionsite.session"
    assert download(client, session, "pdf").status_code == 400
    assert client.post(reverse("sessions:export", args=[session.pk])).status_code == 405


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ('a"; filename=evil.exe', "a-filename-evil-exe"),
        ("../../etc/passwd", "etc-passwd"),
        ("\r\nSet-Cookie: x=1", "Set-Cookie-x-1"),
        ("", "session"),
        ("...", "session"),
        ("\u202efdp.exe", "fdp-exe"),
        ("Größe der Straße", "Größe-der-Straße"),
        ("会議の記録 \U0001f469", "会議の記録"),
        ("नमस्ते दुनिया", "नमस्ते-दुनिया"),
        ("\u2764\ufe0f love", "love"),
        ("x" * 101, "x" * 80),
        ("名" * 101, "名" * 53),
    ],
)
def test_a_title_can_name_a_file_and_nothing_else(title: str, expected: str) -> None:
    session = make_session(title=title)
    name = exporting.file_name(session, "md")
    assert name == f"{expected}-{session.pk.hex[-8:]}.md"
    assert len(name.encode()) < 255
    header = exporting.content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert re.fullmatch(r"""attachment; filename="[\w.-]+"(; filename\*=UTF-8''[\w.%~-]+)?""", header, re.ASCII)


@given(st.text(max_size=101))
def test_any_title_makes_a_plain_header(title: str) -> None:
    header = exporting.content_disposition(exporting.file_name(Session(title=title), "html"))
    assert re.fullmatch(r"""attachment; filename="[\w.-]+\.html"(; filename\*=UTF-8''[\w.%~-]+)?""", header, re.ASCII)


# --- the command and the API ----------------------------------------------------------------------------------------------------------


def test_the_command_writes_to_the_standard_output_or_a_file(tmp_path: Path) -> None:
    session = make_session(messages=2)
    out, err = io.StringIO(), io.StringIO()
    call_command("export_session", str(session.pk), stdout=out, stderr=err)
    assert [json.loads(line)["type"] for line in out.getvalue().splitlines()] == ["session", "message", "message", "end"]
    file = tmp_path / "one.md"
    file.write_text("the old one")
    call_command("export_session", str(session.pk), format="md", output=file, stdout=out, stderr=err)
    assert file.read_text().startswith("# message 0\n")
    assert f"{file.stat().st_size:,} bytes" in err.getvalue()
    assert (file.stat().st_mode & 0o777, [path.name for path in tmp_path.iterdir()]) == (0o600, ["one.md"])


@pytest.mark.parametrize("name", ["no-uuid", "01999999-9999-7999-8999-999999999999"])
def test_the_command_names_what_is_not_there(name: str) -> None:
    with pytest.raises(CommandError, match=f"There is no session '{name}'"):
        call_command("export_session", name)


def test_the_command_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_session", str(make_session().pk), output=tmp_path / "nowhere" / "one.jsonl")


def test_the_api_sends_the_same_lines(client: Client) -> None:
    session = make_session(messages=2)
    reader = services.create_token("reader", scope="read", user_id="alice")
    other = services.create_token("other", scope="read", user_id="charlie")
    writer = services.create_token("writer", scope="write")
    url = f"/api/v1/sessions/{session.pk}/export"
    response = client.get(url, headers={"Authorization": f"Bearer {reader.secret}"})
    assert (response.status_code, response["Content-Type"]) == (200, "application/jsonl")
    lines, same = body(response).splitlines()[1:], text_of(session, "json").encode().splitlines()[1:]
    assert lines == same
    assert client.get(url, headers={"Authorization": f"Bearer {other.secret}"}).status_code == 404
    assert client.get(url, headers={"Authorization": f"Bearer {writer.secret}"}).status_code == 403
    assert client.get(url).status_code == 401


# --- what a document says -------------------------------------------------------------------------------------------------------------


def make_told() -> Session:
    session = make_session("slack", "team:channel:1", agent="support-bot", project="/srv/app")
    store(
        session,
        MessageEvent(role="user", content="Where *is* it?", extra={"attachments": [
            {"type": "image", "media_type": "image/png", "data": b64encode(PIXEL).decode(), "name": "shot.png"}]}),
        MessageEvent(role="thinking", content="I wonder", response_id="r1"),
        tool_use("c1", "Bash", {"command": "ls /nowhere"}, response_id="r1"),
        tool_result("c1", "No such file", is_error=True),
        tool_use("c2", "Task", {"description": "Look around", "prompt": "look"}, response_id="r1"),
        MessageEvent(role="user", content="look for it", subagent_id="s1", extra={"parent_tool_call_id": "c2"}),
        MessageEvent(role="assistant", content="It is there.", subagent_id="s1", response_id="r2"),
        tool_result("c2", "It is there."),
        tool_use("c3", "Read", {"file_path": "/srv/app/x.py"}, response_id="r1"),
        MessageEvent(role="system", content="A note of the system"),
        MessageEvent(role="assistant", content="Found **it**.", response_id="r3"),
        UsageEvent(model="m-known", input_tokens=10, output_tokens=20, cache_read_tokens=30, cost_usd=Decimal("1.5"), response_id="r1"),
        UsageEvent(model="m-unknown", input_tokens=7, output_tokens=8, response_id="r2", subagent_id="s1"),
        CompactionEvent(trigger="auto", pre_tokens=9000, summary="So far so good", messages_compacted=3, timestamp=at(0.95)),
    )  # fmt: skip
    services.close_session(session.pk, "Found", now=at(90))
    return session


@pytest.mark.parametrize("format", ["md", "html"])
def test_a_document_tells_everything_once(format: str) -> None:
    text = text_of(make_told(), format)
    for words in ("team:channel:1", "alice", "support-bot", "I wonder", "No such file", "look for it", "A note of the system",
                  "So far so good", "9,000 tokens before", "m-known", "m-unknown"):  # fmt: skip
        assert words in text, words
    assert text.count("A note of the system") == (1 if format == "md" else 2)  # a note's fold has its line
    places = [
        text.index(words)
        for words in ("is it?" if format == "md" and "is it?" in text else "Where", "I wonder", "No such file", "So far so good")
    ]
    assert places == sorted(places)
    assert re.search(r"Bash.{0,400}failed", text, re.DOTALL)
    assert re.search(r"Read.{0,600}no result", text, re.DOTALL)
    assert "1.5" in text
    assert "unknown" in text
    assert text.rstrip().endswith("> Found" if format == "md" else "</html>")


def test_a_picture_is_in_the_html_file_itself() -> None:
    text = text_of(make_told(), "html")
    assert f'src="data:image/png;base64,{b64encode(PIXEL).decode()}"' in text
    assert "shot.png" in text


def test_an_html_file_names_no_other_place() -> None:
    session = make_told()
    store(
        session,
        MessageEvent(role="user", content="![x](https://evil.example/x.png) <img src=//evil.example> [go](/admin/)", timestamp=at(5)),
    )
    text = text_of(session, "html")
    assert not re.search(r"<(script|link|iframe|object|embed|base|form|audio|video)\b", text)
    assert not re.search(r"\son\w+=|\sstyle=|\bhx-|url\(|@import", text)
    assert set(re.findall(r'\ssrc="([^":]*):', text)) == {"data"}
    assert {link for link in re.findall(r'\shref="([^"]*)"', text) if not link.startswith("#")} == {"https://evil.example/x.png"}
    assert re.search(r"""<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'">""", text)  # fmt: skip
    anchors = re.findall(r'\sid="([^"]*)"', text)
    assert len(anchors) == len(set(anchors))
    assert {link[1:] for link in re.findall(r'\shref="(#[^"]*)"', text)} <= set(anchors)


@pytest.mark.parametrize("format", FORMATS)
def test_a_run_of_silent_turns_is_told_call_by_call(format: str) -> None:
    session = make_session()
    some: list[Event] = [MessageEvent(role="user", content="go")]
    for number in range(12):
        some += [
            tool_use(f"c{number}", "Bash", {"command": f"step-{number}."}, response_id=f"r{number}"),
            tool_result(f"c{number}", "done"),
        ]
        some += [UsageEvent(model="m", input_tokens=1, output_tokens=1, response_id=f"r{number}")]
    store(session, *some)
    text = text_of(session, format)
    assert all(f"step-{number}." in text for number in range(12))


@pytest.mark.parametrize("format", FORMATS)
def test_long_texts_are_whole(format: str) -> None:
    session = make_session()
    long = "".join(f"line {number}\n" for number in range(20_000)) + "the very end"
    store(
        session,
        MessageEvent(role="user", content=long),
        tool_use("c", "Bash", {"command": "x"}),
        tool_result("c", long[:150_000] + "end of it"),
    )
    text = text_of(session, format)
    assert "the very end" in text
    assert "end of it" in text


# --- Markdown: what was said stays in its place ---------------------------------------------------------------------------------------

HOSTILE = [
    "```\nunclosed",
    "````\n```\n`````",
    "~~~\nunclosed",
    "<details><summary>x",
    "</details></details>",
    "<!-- swallowed",
    "<script>alert(1)</script>",
    "# A heading\n\n## Another\n\nSetext\n===",
    "> quote\nlazy\n\n- list\n  ```\n  fence in a list",
    "| a | b |\n|---|---|",
    "[x]: https://evil.example\n[x]",
    "one\rtwo\r\nthree\x0bfour\u2028five",
    "`" * 50,
    "    indented\n\ttab",
    "",
    "\n\n\n",
    "---\n***",
]


def headings(text: str) -> list[tuple[str, str]]:
    """The headings at the document's own level, by a parser that takes HTML as GitHub's does."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    return [
        (token.tag, tokens[place + 1].content) for place, token in enumerate(tokens) if token.type == "heading_open" and token.level == 0
    ]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_text_leaves_its_place(hostile: str) -> None:
    """The document's own headings, folds and last line stand as they do without the hostile text."""

    def skeleton(words: str) -> tuple[list[tuple[str, str]], list[str]]:
        session = make_session(key=words[:20] + "k", title="T")
        store(
            session,
            MessageEvent(role="user", content=words or " x", titles=False),
            MessageEvent(role="thinking", content=words),
            tool_use("c", "Bash", {"command": words}),
            tool_result("c", words),
            MessageEvent(role="assistant", content=words or " x"),
            MessageEvent(role="system", content=words or " x"),
            MessageEvent(role="user", content="the last words", titles=False),
            CompactionEvent(trigger="auto", pre_tokens=1, summary=words, messages_compacted=1),
        )
        text = text_of(session, "md")
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
        own = [token.content.strip() for token in tokens if token.type == "html_block" and token.level == 0]
        return headings(text), [re.sub(r"Bash: .*? \(", "Bash (", words) for words in own]

    assert skeleton(hostile if hostile.strip() else " x") == skeleton("harmless")


@given(st.text(st.sampled_from("`~\n\r <>!-#*_[]()|\\a>\t&;")))
def test_a_fence_and_a_quote_hold_whatever_is_in_them(text: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    [fence, paragraph, *_] = [token for token in parser.parse(f"{fenced(text)}\nafter\n") if token.level == 0]
    assert (fence.type, paragraph.type) == ("fence", "paragraph_open")
    assert fence.content.rstrip("\n") == re.sub(r"\r\n?", "\n", text).rstrip("\n")
    top = [token.type for token in parser.parse(f"{quoted(text)}\nafter\n") if token.level == 0]
    assert top == ["blockquote_open", "blockquote_close", "paragraph_open", "paragraph_close"] or top == ["blockquote_open", "blockquote_close", "paragraph_open", "inline", "paragraph_close"]  # fmt: skip


@given(st.text(st.sampled_from("`*_[]()<>!#|~\\&\n ab:/.-"), min_size=1))
def test_a_name_is_a_name(text: str) -> None:
    """What stands in our own lines is text: no link, no picture, no emphasis, no tag."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for line in (f"- **x**: {inline(text)}\n", f"- **x**: {code(text)}\n"):
        [words] = [token for token in parser.parse(line) if token.type == "inline"]
        kinds = [child.type for child in words.children or []]
        assert kinds[:3] == ["strong_open", "text", "strong_close"] or kinds[:4] == ["text", "strong_open", "text", "strong_close"]
        assert set(kinds) <= {"text", "strong_open", "strong_close", "code_inline"}, kinds
        assert kinds.count("strong_open") == 1


# --- memory ---------------------------------------------------------------------------------------------------------------------------


def long_session(key: str, messages: int) -> Session:
    session = make_session(key=key)
    padding = "x" * 2000
    for start in range(0, messages, 5000):
        some: list[Event] = []
        for number in range(start, min(start + 5000, messages), 4):
            when = at(number / 60)
            some += [
                MessageEvent(role="user", content=f"{number} {padding}", timestamp=when),
                MessageEvent(role="assistant", content=f"{number} {padding}", timestamp=when, response_id=f"r{number}"),
                tool_use(f"c{number}", "Bash", {"command": f"{number} {padding}"}, timestamp=when, response_id=f"r{number}"),
                tool_result(f"c{number}", f"{number} {padding}", timestamp=when),
                UsageEvent(model="m", input_tokens=1, output_tokens=1, timestamp=when, response_id=f"r{number}"),
            ]
        services.store_events(session.pk, some, imported=True, now=T0)
    session.refresh_from_db()
    return session


@pytest.mark.parametrize("format", FORMATS)
def test_memory_stays_flat(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the messages, the same memory: at its highest, by what Python has allocated."""
    # what pages have rendered is kept, in a cache with a bound of its own; HTML takes the longest to write
    monkeypatch.setattr(rendering._kept, "limit", 100_000)
    peaks = []
    most = {"json": 20_000, "md": 8_000, "html": 4_000}[format]
    sessions = [long_session("warm", 400), long_session("short", most // 10), long_session("long", most)]
    for session in sessions:
        tracemalloc.start()
        size = sum(map(len, exporting.export(session, format, now=T0)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert size > session.message_count * 2000
    assert peaks[2] < 1.3 * peaks[1] + 2_000_000, peaks


# --- the sessions of real agents ------------------------------------------------------------------------------------------------------


@needs_shared
def test_every_real_session_is_exported_as_it_is_stored(alice: Any, client: Client, tmp_path: Path) -> None:
    """Page, API, export: the same messages, calls and costs as the store's, for each of them; and all of them come back."""
    call_command(
        "import_sessions",
        str(SHARED / "data" / "claude-code"),
        str(SHARED / "data" / "codex"),
        user="alice",
        stdout=io.StringIO(),
        stderr=io.StringIO(),
    )
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    token = services.create_token("reader", scope="read", user_id="alice").secret
    stored = {}
    for session in Session.objects.all():
        messages = list(Message.objects.filter(session=session).order_by("pk").values_list("pk", "role", "content"))
        usage = list(UsageRecord.objects.filter(session=session).order_by("pk").values_list("pk", "cost_usd", "cost_source"))
        assert client.get(session.get_absolute_url()).status_code == 200
        lines = [json.loads(line) for line in body(download(client, session, "json")).strip(b"\n").split(b"\n")]
        assert [(line["id"], line["role"], line["content"]) for line in lines if line["type"] == "message"] == messages
        assert [
            (line["id"], line["cost_usd"] and Decimal(line["cost_usd"]), line["cost_source"]) for line in lines if line["type"] == "usage"
        ] == usage
        assert (
            sum((cost or 0 for _, cost, _ in usage), Decimal(0))
            == session.cost_usd
            == Decimal(lines[0]["session"]["usage"]["total_cost_usd"])
        )
        answer = client.get(f"/api/v1/sessions/{session.pk}/usage", headers={"Authorization": f"Bearer {token}"}).json()
        assert Decimal(answer["total_cost_usd"]) == session.cost_usd
        html, markdown = text_of(session, "html"), text_of(session, "md")
        calls = sum(role == "tool_use" for _, role, _ in messages)
        lone = html.count("Its call is not in the log")
        assert html.count('<details class="tool-call fold') >= calls
        assert html.count('<details class="tool-call fold') <= calls + sum(role == "tool_result" for _, role, _ in messages)
        assert lone == 0 or html.count('<details class="tool-call fold') > calls
        assert markdown.count("\n### User") + markdown.count("\n### Added") <= sum(role == "user" for _, role, _ in messages)
        if session.total_turns:
            assert f"{session.cost_usd:f}" in html or "cost unknown" in html
        (tmp_path / f"{session.pk}.jsonl").write_bytes(text_of(session, "json").encode())
        stored[session.pk] = (len(messages), session.cost_usd, session.message_count, session.title)
    Session.objects.update(is_demo=True)
    services.remove_demo()
    assert not Message.objects.exists()
    call_command("import_sessions", str(tmp_path), stdout=io.StringIO(), stderr=io.StringIO())
    assert {
        session.pk: (session.messages.count(), session.cost_usd, session.message_count, session.title) for session in Session.objects.all()
    } == stored
    assert services.recount(dry_run=True).differences == []
    assert Compaction.objects.exists()
