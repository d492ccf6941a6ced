"""One session's page: who sees it, what stands on it, its pages, and that reading it is a POST."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app import services, turns
from sessions_app.events import CompactionEvent, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Message, ReadMark, ReadWatermark, Session
from tests.factories import at, make_session, make_usage
from tests.test_rendering import Tags

HX = {"HX-Request": "true"}


@pytest.fixture
def signed_in(cast: SimpleNamespace, client: Client) -> Client:
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    return client


def store(session: Session, *events: object) -> None:
    """Store events ten seconds apart."""
    for number, event in enumerate(events):
        if event.timestamp is None:  # type: ignore[attr-defined]
            event.timestamp = at() + timedelta(seconds=10 * number)  # type: ignore[attr-defined]
    result = services.store_events(session.id, list(events), source="test", now=at(60))  # type: ignore[arg-type]
    assert not result.refused


def user(text: str, **fields: object) -> MessageEvent:
    return MessageEvent(role="user", content=text, **fields)  # type: ignore[arg-type]


def assistant(text: str, **fields: object) -> MessageEvent:
    return MessageEvent(role="assistant", content=text, **fields)  # type: ignore[arg-type]


def page_of(client: Client, session: Session, query: str = "") -> str:
    response = client.get(f"{session.get_absolute_url()}{query}")
    assert response.status_code == 200
    return response.content.decode()


# --- who sees it


def test_owner_and_all_seeing_see_it_and_others_do_not(cast: SimpleNamespace, client: Client) -> None:
    session = make_session(messages=2)
    paths = [session.get_absolute_url(), reverse("sessions:message", args=[session.pk, Message.objects.first().pk])]  # type: ignore[union-attr]
    for person, status in ((cast.alice, 200), (cast.bob, 200), (cast.charlie, 404)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        for path in paths:
            assert client.get(path).status_code == status
            assert client.get(path, headers=HX).status_code == status


def test_signed_out_goes_to_the_door(client: Client, db: None) -> None:
    session = make_session()
    response = client.get(session.get_absolute_url())
    assert response.headers["Location"].startswith("/signin/")


def test_unknown_and_malformed_ids_are_404(signed_in: Client) -> None:
    for path in (f"/sessions/{uuid.uuid4()}/", "/sessions/not-an-id/", "/sessions/123/"):
        response = signed_in.get(path)
        assert response.status_code == 404
        assert "To the inbox" in response.content.decode()


def test_another_session_s_message_is_404(signed_in: Client) -> None:
    mine, other = make_session(key="a", messages=1), make_session(key="b", messages=1)
    theirs = Message.objects.get(session=other)
    assert signed_in.get(reverse("sessions:message", args=[mine.pk, theirs.pk])).status_code == 404
    assert signed_in.get(f"{mine.get_absolute_url()}messages/{2**80}/").status_code == 404


# --- what stands on it


def test_header_says_who_where_when_and_what_it_cost(signed_in: Client) -> None:
    session = make_session("telegram", messages=2, agent="support-bot", project="/srv/shop", title="Refund")
    make_usage(session, input_tokens=1000, output_tokens=100, cache_read_tokens=20_000)
    make_usage(session, model="never-heard-of-it")
    text = page_of(signed_in, session)
    for piece in ("Telegram", "alice", "support-bot", "/srv/shop", "Refund</h1>", "2 turns", "20.0 k", "1 turn without a price", "Open"):
        assert piece in text, piece


def test_cost_is_unknown_when_nothing_is_priced(signed_in: Client) -> None:
    session = make_session()
    make_usage(session, model="never-heard-of-it")
    text = page_of(signed_in, session)
    assert ">unknown</data>" in text
    assert "$0.00" not in text


def test_turns_calls_and_usage(signed_in: Client) -> None:
    session = make_session()
    store(
        session,
        user("Why **now**?"),
        MessageEvent(role="thinking", content="Let me think", response_id="r1"),
        assistant("I look.", response_id="r1"),
        tool_use("c1", "Bash", {"command": "git status"}, response_id="r1"),
        tool_result("c1", "clean\ntree"),
        tool_use("c2", "Bash", {"command": "false"}, response_id="r1"),
        tool_result("c2", "Exit code 3\nno", is_error=True),
        UsageEvent(model="claude-sonnet-4-5", input_tokens=100, output_tokens=10, response_id="r1", event_id="u1"),
        assistant("Done.", response_id="r2"),
        MessageEvent(role="system", content="retrying <b>"),
    )
    text = page_of(signed_in, session)
    assert "<strong>now</strong>" in text
    assert "Turn 1" in text
    assert text.count('class="tool-call fold') == 2
    assert re.search(r'class="tool-call fold is-failed" id="m\d+" open', text)
    assert "exit 3" in text
    assert "2 lines" in text
    assert "10.0 s" in text or "10 s" in text
    assert text.count('class="usage-strip"') == 1
    assert "retrying &lt;b&gt;" in text
    assert "Let me think" in text


def test_sub_agents_stand_together(signed_in: Client) -> None:
    session = make_session()
    store(
        session,
        user("go"),
        assistant("two helpers", response_id="r1"),
        user("look at a", subagent_id="agent-a"),
        user("look at b", subagent_id="agent-b"),
        assistant("a is fine", subagent_id="agent-a"),
        assistant("b is fine", subagent_id="agent-b"),
        assistant("both fine", response_id="r2"),
    )
    response = signed_in.get(session.get_absolute_url())
    entries = response.context["entries"]
    assert [entry.kind for entry in entries] == ["prompt", "turn", "subagent", "subagent", "turn"]
    assert [entry.kind for entry in entries[2].entries] == ["prompt", "turn"]
    assert len(response.context["outline"].prompts) == 1
    text = response.content.decode()
    assert text.index("a is fine") < text.index("look at b") < text.index("b is fine") < text.index("both fine")


def test_compaction_and_idle_time(signed_in: Client) -> None:
    session = make_session()
    store(
        session,
        user("one", timestamp=at(0)),
        CompactionEvent(trigger="auto", pre_tokens=163_204, summary="it was *about* one", messages_compacted=12, timestamp=at(1)),
        user("two", timestamp=at(200)),
    )
    text = page_of(signed_in, session)
    assert "163,204 tokens before" in text
    assert "<em>about</em>" in text
    assert "3 h 19 min idle" in text


def test_empty_session_says_what_would_stand_here(signed_in: Client) -> None:
    assert "No message yet" in page_of(signed_in, make_session())


def test_hostile_text_does_nothing(signed_in: Client) -> None:
    session = make_session()
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)> [x](javascript:alert(3)) ![p](https://evil.example/p.png)"
    store(
        session,
        user(hostile),
        MessageEvent(role="thinking", content=hostile),
        assistant(hostile, response_id="r1"),
        MessageEvent(role="system", content=hostile),
        tool_use("c1", "<b>Bash</b>", {"command": hostile, hostile: hostile}),
        tool_result("c1", hostile, is_error=True),
        tool_use("c2", "Edit", {"file_path": hostile, "old_string": hostile, "new_string": "x" + hostile}),
        tool_use("c3", "Task", hostile),
        user(hostile, subagent_id='"><script>alert(4)</script>'),
        CompactionEvent(trigger=hostile[:30], pre_tokens=1, summary=hostile, messages_compacted=1),
        UsageEvent(model="<i>m</i>", input_tokens=1, output_tokens=1, response_id="r1", event_id="u1"),
    )
    Session.objects.filter(pk=session.pk).update(
        title=hostile[:100], agent="<b>a</b>", project=hostile, triggered_by=hostile, summary=hostile
    )
    services.close_session(session.id)
    for query in ("", "?after=x"):
        text = page_of(signed_in, session, query)
        assert "<script>" not in text
        assert "<script>alert" not in text
        assert "<img" not in text
        for tag in ("<b>Bash", "<i>m</i>", "<b>a</b>"):
            assert tag not in text
        for tag, attributes in Tags(text).found:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
            for name in ("href", "src", "action"):
                assert not (attributes.get(name) or "").strip().lower().startswith(("javascript", "data")), (tag, attributes)


def test_content_that_is_no_tool_json_is_shown(signed_in: Client) -> None:
    session = make_session()
    for role in ("tool_use", "tool_result"):
        services.save_message(session.id, role, "just some words <&>", timestamp=at(), now=at())
    text = page_of(signed_in, session)
    assert "unknown" in text
    assert text.count("just some words &lt;&amp;&gt;") >= 2


def test_long_text_is_cut_and_one_link_away(signed_in: Client) -> None:
    session = make_session()
    store(session, tool_use("c1", "Read", {"file_path": "big.txt"}), tool_result("c1", "0123456789\n" * 30_000 + "the end"))
    text = page_of(signed_in, session)
    assert "the end" not in text
    assert len(text) < 100_000
    link = re.search(r'href="(/sessions/[^"]+/messages/\d+/)">All of it', text)
    assert link
    whole = signed_in.get(link[1])
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.content.decode().endswith("the end")


def test_page_of_hostile_length_is_bounded(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PAGE_PROSE", 100)
    session = make_session()
    store(session, assistant("*first* " * 20), assistant("*second*"))
    text = page_of(signed_in, session)
    assert "<em>first</em>" in text
    assert "*second*" in text


# --- pages


def test_pages_repeat_and_skip_nothing(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions_app.views.transcript.PAGE_SIZE", 4)
    session = make_session()
    # three share a moment, so that the tie decides
    store(session, *[user(f"text {number:02d}", timestamp=at(number // 3)) for number in range(10)])
    seen, path = [], session.get_absolute_url()
    for _ in range(3):
        response = signed_in.get(path)
        seen += [entry.message.content for entry in response.context["entries"]]
        cursor = response.context["next_cursor"]
        assert bool(cursor) == ('rel="next"' in response.content.decode())
        path = f"{session.get_absolute_url()}?after={cursor}"
    assert seen == [f"text {number:02d}" for number in range(10)]
    assert cursor is None
    assert "From the beginning" in response.content.decode()


def test_htmx_gets_the_next_entries_alone(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions_app.views.transcript.PAGE_SIZE", 2)
    session = make_session(messages=5)
    cursor = signed_in.get(session.get_absolute_url()).context["next_cursor"]
    response = signed_in.get(f"{session.get_absolute_url()}?after={cursor}", headers=HX)
    text = response.content.decode()
    assert "<html" not in text
    assert "message 2" in text
    assert "message 0" not in text
    assert 'id="next-entries"' in text
    assert "HX-Request" in response.headers["Vary"]


@pytest.mark.parametrize("after", ["x", "%ff", "A" * 5000, "MjAyNi0wOS0wMVQxMjowMDowMCswMDowMCA5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_bad_place_shows_the_beginning_or_nothing_but_never_fails(signed_in: Client, after: str) -> None:
    session = make_session(messages=2)
    text = page_of(signed_in, session, f"?after={after}")
    assert "names no place" in text or "message 1" in text or "No message" in text


def test_same_queries_for_5_and_15_messages(signed_in: Client, django_assert_num_queries: object) -> None:
    session = make_session(messages=5)
    counts = []
    for turn in range(3):
        for number in range(5 * turn, 5 * turn + 5):
            when = at(10 + number)
            services.save_message(session.id, "user", "more", timestamp=when, now=when)
            services.store_events(
                session.id,
                [
                    tool_use(f"c{number}", "Bash", {"command": "x"}, timestamp=when, response_id=f"r{number}"),
                    UsageEvent(
                        model="claude-sonnet-4-5",
                        input_tokens=1,
                        output_tokens=1,
                        timestamp=when,
                        response_id=f"r{number}",
                        event_id=f"u{number}",
                    ),
                ],
                source="test",
                now=when,
            )
        with CaptureQueriesContext(connection) as queries:
            signed_in.get(session.get_absolute_url())
        counts.append(len(queries))
    # the first page view also fetches what Django keeps per process
    assert counts[1] == counts[2] <= 13
    with django_assert_num_queries(counts[1]):  # type: ignore[operator]
        signed_in.get(session.get_absolute_url())


# --- reading


def unread_session() -> Session:
    session = make_session(triggered_by="nightly")
    services.save_message(session.id, "assistant", "done", timestamp=at(1), now=at(1))
    return session


def test_get_marks_nothing_read_but_brings_the_form_that_does(signed_in: Client, cast: SimpleNamespace) -> None:
    session = unread_session()
    for headers in ({}, HX):
        signed_in.get(session.get_absolute_url(), headers=headers)
    assert not ReadMark.objects.exists()
    assert not ReadWatermark.objects.exists()
    text = page_of(signed_in, session)
    path = reverse("sessions:read", args=[session.pk])
    assert f'hx-post="{path}" hx-trigger="load, submit"' in text
    response = signed_in.post(path, {"on": "transcript", "read": "1"}, headers=HX)
    text = response.content.decode()
    assert "<html" not in text
    assert "Mark unread" in text
    assert "hx-trigger" not in text
    assert 'id="unread-count" hx-swap-oob="true"' in text
    assert not ReadMark.objects.get(viewer=cast.alice, session=session).is_unread
    assert "hx-trigger" not in page_of(signed_in, session)


def test_without_script_read_stays_and_unread_goes_to_the_list(signed_in: Client) -> None:
    session = unread_session()
    path = reverse("sessions:read", args=[session.pk])
    assert signed_in.post(path, {"on": "transcript", "read": "1"}).headers["Location"] == session.get_absolute_url()
    assert signed_in.post(path, {"on": "transcript", "read": "0"}).headers["Location"] == "/sessions/"
