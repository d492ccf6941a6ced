"""One session's page: who sees it, what stands on it, its pages, and that reading it is a POST."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app import services, turns
from sessions_app.events import CompactionEvent, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Message, ReadMark, ReadWatermark, Session
from sessions_app.queries import reading
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
    assert len(response.context["outline"]["prompts"]) == 1
    assert [mark.line for mark in response.context["outline"]["subagents"]] == ["look at a", "look at b"]
    text = response.content.decode()
    assert text.index("a is fine") < text.index("b is fine") < text.index("both fine")


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
    assert len(text) < 120_000
    link = re.search(r'href="(/sessions/[^"]+/messages/\d+/)" hx-get="[^"]+" hx-target="closest .tool-parts">Show all', text)
    assert link
    whole = signed_in.get(link[1])
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.content.decode().endswith("the end")


def test_page_of_hostile_length_is_bounded(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PAGE_NODES", 3)
    session = make_session()
    store(session, assistant("*first* " * 20), assistant("*second*"))
    text = page_of(signed_in, session)
    assert "<em>first</em>" in text
    assert "*second*" in text


# --- windows


def said(response: Any) -> list[str]:
    """Return what stands in the entries of an answer, in order."""
    return re.findall(r"<p>(text \d\d)</p>", response.content.decode())


def cursor_of(response: Any, name: str) -> str:
    """Return the cursor of the link into a direction, "" where there is none."""
    found = re.search(rf'href="[^"]*[?&]{name}=([^"&]+)"', response.content.decode())
    return unquote(found[1]) if found else ""


def long_session(monkeypatch: pytest.MonkeyPatch, count: int = 10) -> Session:
    monkeypatch.setattr(reading, "WINDOW_WEIGHT", 4 * 14 + 8)  # four short messages
    monkeypatch.setattr(reading, "LEAD", 1)
    session = make_session()
    # three share a moment, so that the tie decides
    store(session, *[user(f"text {number:02d}", timestamp=at(number // 3)) for number in range(count)])
    return session


ALL = [f"text {number:02d}" for number in range(10)]


def test_windows_go_on_in_both_directions(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    session = long_session(monkeypatch)
    seen, path = [], session.get_absolute_url()
    while path:
        response = signed_in.get(path)
        seen += said(response)
        newer = cursor_of(response, "newer")
        assert bool(newer) == ('rel="next" href' in response.content.decode())
        path = f"{session.get_absolute_url()}?newer={newer}" if newer else ""
    assert seen == ALL
    seen, path = [], f"{session.get_absolute_url()}?at=end"
    while path:
        response = signed_in.get(path)
        seen = said(response) + seen
        older = cursor_of(response, "older")
        path = f"{session.get_absolute_url()}?older={older}" if older else ""
    assert seen == ALL
    assert "From the beginning" not in response.content.decode()


def test_a_place_brings_what_is_around_it(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    session = long_session(monkeypatch)
    middle = Message.objects.get(content="text 05")
    response = signed_in.get(f"{session.get_absolute_url()}?at={middle.pk}")
    shown = said(response)
    assert "text 05" in shown
    assert "text 04" in shown
    assert f'data-place="m{middle.pk}"' in response.content.decode()
    assert "From the beginning" in response.content.decode()
    # both directions lead on from there, without a gap
    after = said(signed_in.get(f"{session.get_absolute_url()}?newer={cursor_of(response, 'newer')}"))
    before = said(signed_in.get(f"{session.get_absolute_url()}?older={cursor_of(response, 'older')}"))
    assert [*before, *shown, *after] == ALL[ALL.index(before[0]) : ALL.index(after[-1]) + 1]


def test_htmx_gets_the_next_entries_alone(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    session = long_session(monkeypatch)
    newer = cursor_of(signed_in.get(session.get_absolute_url()), "newer")
    response = signed_in.get(f"{session.get_absolute_url()}?newer={newer}", headers=HX)
    text = response.content.decode()
    assert "<html" not in text
    assert "session-head" not in text
    assert said(response)[0] == ALL[len(said(signed_in.get(session.get_absolute_url())))]
    assert 'rel="next"' in text
    assert 'rel="prev"' not in text
    assert "HX-Request" in response.headers["Vary"]
    older = signed_in.get(f"{session.get_absolute_url()}?older={cursor_of(response, 'newer')}", headers=HX).content.decode()
    assert 'rel="prev"' in older
    assert 'rel="next"' not in older


def test_htmx_gets_the_pane_or_the_entries(signed_in: Client) -> None:
    session = make_session(messages=2)
    pane = signed_in.get(session.get_absolute_url(), headers=HX | {"HX-Target": "reading-pane"}).content.decode()
    for piece in ('class="toolbar"', "session-head", 'id="entries"', 'id="outline"'):
        assert piece in pane
    assert "<html" not in pane
    entries = signed_in.get(f"{session.get_absolute_url()}?at=end", headers=HX | {"HX-Target": "entries"}).content.decode()
    assert "message 1" in entries
    assert "session-head" not in entries


@pytest.mark.parametrize("name", ["newer", "older", "at", "turn", "tail"])
@pytest.mark.parametrize(
    "value", ["x", "%ff", "A" * 5000, "MjAyNi0wOS0wMVQxMjowMDowMCswMDowMCA5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "9" * 40, "\u00b2", "%00"]
)
def test_a_bad_place_never_fails(signed_in: Client, name: str, value: str) -> None:
    session = make_session(messages=2)
    for headers in ({}, HX):
        response = signed_in.get(f"{session.get_absolute_url()}?{name}={value}", headers=headers)
        assert response.status_code in (200, 204)
        if name in ("newer", "older", "at") and not headers:
            assert "names no place" in response.content.decode()


def test_a_turn_leads_to_its_message(signed_in: Client) -> None:
    session = make_session()
    store(
        session,
        user("go"),
        assistant("one", response_id="r1"),
        UsageEvent(model="m", input_tokens=1, output_tokens=1, response_id="r1", event_id="u1"),
        assistant("two", response_id="r2"),
        UsageEvent(model="m", input_tokens=1, output_tokens=1, response_id="r2", event_id="u2"),
    )
    second = Message.objects.get(content="two")
    assert signed_in.get(f"{session.get_absolute_url()}?turn=2").headers["Location"].endswith(f"?at={second.pk}#m{second.pk}")
    response = signed_in.get(f"{session.get_absolute_url()}?turn=77", follow=True)
    assert "names no place" in response.content.decode()


def test_as_many_queries_for_twice_as_many_messages(signed_in: Client) -> None:
    session = make_session(messages=5)
    counts: dict[str, list[int]] = {}

    def turn(number: int) -> None:
        when = at(10 + number)
        store(
            session,
            user("more", timestamp=when),
            tool_use(f"c{number}", "Bash", {"command": "x"}, timestamp=when, response_id=f"r{number}"),
            tool_result(f"c{number}", "y", is_error=number % 2 == 0, timestamp=when),
            tool_use(f"t{number}", "Task", {"description": "look"}, timestamp=when, response_id=f"r{number}"),
            user("look", timestamp=when, subagent_id=f"a{number}", extra={"parent_tool_call_id": f"t{number}"}),
            UsageEvent(model="m", input_tokens=1, output_tokens=1, timestamp=when, response_id=f"r{number}", event_id=f"u{number}"),
        )

    for number in range(20):
        turn(number)
        if number not in (4, 9, 19):
            continue
        for query in ("", "?show=errors", "?show=tools", "?find=more", "?at=end"):
            signed_in.get(session.get_absolute_url() + query)  # what Django keeps per process
            with CaptureQueriesContext(connection) as queries:
                signed_in.get(session.get_absolute_url() + query)
            counts.setdefault(query, []).append(len(queries))
    for query, found in counts.items():
        assert len(set(found)) == 1, (query, found)
    assert max(found[0] for found in counts.values()) <= 36


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
    assert 'hx-trigger="load' not in page_of(signed_in, session)


def test_without_script_read_stays_and_unread_goes_to_the_list(signed_in: Client) -> None:
    session = unread_session()
    path = reverse("sessions:read", args=[session.pk])
    assert signed_in.post(path, {"on": "transcript", "read": "1"}).headers["Location"].rstrip("?") == session.get_absolute_url()
    assert signed_in.post(path, {"on": "transcript", "read": "0"}).headers["Location"].startswith("/sessions/")


# --- modes and search


def worked_session() -> Session:
    session = make_session()
    store(
        session,
        user("Fix the import"),
        MessageEvent(role="thinking", content="hidden thought", response_id="r1"),
        assistant("I look.", response_id="r1"),
        tool_use("c1", "Bash", {"command": "make"}, response_id="r1"),
        tool_result("c1", 'it said "Needle"\nand left', is_error=True),
        tool_use("c2", "Bash", {"command": "true"}, response_id="r1"),
        tool_result("c2", "fine"),
        MessageEvent(role="system", content="Overloaded", is_error=True, extra={"retryAttempt": 2}),
        assistant("Needle found, \u00c9t\u00e9 too.", response_id="r2"),
        UsageEvent(model="m", input_tokens=1, output_tokens=1, response_id="r1", event_id="u1"),
    )
    return session


@pytest.mark.parametrize(
    ("show", "there", "gone"),
    [
        ("conversation", ["Fix the import", "I look."], ["hidden thought", "make", "Overloaded"]),
        ("tools", ["make", "true", "exit", "fine"], ["I look.", "hidden thought"]),
        ("errors", ["make", "Needle", "Overloaded", "retry 2"], ["I look.", ">true<"]),
        ("nonsense", ["Fix the import", "hidden thought", "make"], []),
    ],
)
def test_modes(signed_in: Client, show: str, there: list[str], gone: list[str]) -> None:
    response = signed_in.get(f"{worked_session().get_absolute_url()}?show={show}")
    text = response.content.decode()
    entries = text[text.index('id="entries"') : text.index('id="outline"')]
    for piece in there:
        assert piece in entries or piece == "exit"
    for piece in gone:
        assert piece not in entries
    assert text.count('aria-current="true"') == 1


def test_search_finds_marks_and_steps(signed_in: Client) -> None:
    session = worked_session()
    response = signed_in.get(f"{session.get_absolute_url()}?find=needle")
    found = response.context["found"]
    assert (len(found.pks), found.number, found.previous) == (2, 1, None)
    text = response.content.decode()
    assert "<mark>Needle</mark>" in text
    assert re.search(r'<details class="tool-call fold is-failed" id="[^"]+" open', text)
    second = signed_in.get(f"{session.get_absolute_url()}?find=needle&at={found.next}").context["found"]
    assert (second.number, second.next, second.previous) == (2, None, found.pks[0])


@pytest.mark.parametrize("words", ['"needle"', "\u00e9t\u00c9", 'said "Needle"\nand'])
def test_search_knows_quotes_and_letters(signed_in: Client, words: str) -> None:
    response = signed_in.get(worked_session().get_absolute_url(), {"find": words})
    assert len(response.context["found"].pks) == 1


def test_search_that_finds_nothing_says_so(signed_in: Client) -> None:
    session = worked_session()
    for words in ("nowhere", "%", "_", "\\\\", "<script>"):
        response = signed_in.get(session.get_absolute_url(), {"find": words})
        assert response.context["found"].pks == []
        assert "No message contains" in response.content.decode()
        assert "<b><script>" not in response.content.decode()


def test_search_reaches_into_a_long_sub_agent(signed_in: Client) -> None:
    session = make_session()
    inside = [assistant(f"step {number}", subagent_id="a", extra={"parent_tool_call_id": "c1"}) for number in range(60)]
    store(session, tool_use("c1", "Task", {"description": "look around"}), *inside, tool_result("c1", "done"))
    plain = page_of(signed_in, session)
    assert "step 40" not in plain
    assert "Read its 60 messages" in plain
    text = page_of(signed_in, session, "?find=step 40")
    assert "<mark>step 40</mark>" in text
    assert re.search(r'class="subagent-fold fold" id="s\d+" open', text)
    # without script its messages stand on a page of their own
    assert "step 40" in page_of(signed_in, session, "?thread=a")


# --- what is nested, and what is not


def test_sub_agents_stand_in_the_call_that_started_them(signed_in: Client) -> None:
    session = make_session()
    store(
        session,
        user("go"),
        tool_use("c1", "Task", {"description": "look at a", "prompt": "p"}, response_id="r1"),
        user("words for a", subagent_id="a", extra={"parent_tool_call_id": "c1", "agent_type": "explore"}),
        tool_use("c2", "Task", {"description": "look deeper"}, subagent_id="a", response_id="r2"),
        user("words for b", subagent_id="b"),
        assistant("b is fine", subagent_id="b", response_id="r3"),
        tool_result("c2", "fine", subagent_id="a", extra={"subagent_id": "b"}),
        tool_result("c1", "done"),
        user("words for nobody", subagent_id="c"),
        user("words for the summary", subagent_id="acompact-1"),
        UsageEvent(model="claude-sonnet-4-5", input_tokens=1000, output_tokens=10, response_id="r2", subagent_id="a", event_id="u2"),
        UsageEvent(model="claude-sonnet-4-5", input_tokens=1000, output_tokens=10, response_id="r3", subagent_id="b", event_id="u3"),
    )
    response = signed_in.get(session.get_absolute_url())
    entries = response.context["entries"]
    assert [entry.kind for entry in entries] == ["prompt", "turn", "subagent", "subagent"]
    (call,) = entries[1].blocks[0].calls
    assert call.thread.title == "look at a"
    assert call.thread.row.agent_type == "explore"
    inner = call.thread.entries[1].blocks[0].calls[0].thread
    assert inner.subagent_id == "b"
    assert inner.entries[1].blocks[0].message.content == "b is fine"
    assert call.thread.row.total_cost == 2 * inner.row.cost > 0
    assert [entry.title for entry in entries[2:]] == ["words for nobody", "Summing up for a compaction"]
    text = response.content.decode()
    assert text.count("b is fine") == 1
    assert len(re.findall(r' id="([^"]+)"', text)) == len(set(re.findall(r' id="([^"]+)"', text)))


def test_sub_agents_that_started_each_other_end_somewhere(signed_in: Client) -> None:
    session = make_session()
    store(
        session,
        tool_use("c1", "Task", {}, subagent_id="a", extra={"parent_tool_call_id": "c2"}),
        tool_use("c2", "Task", {}, subagent_id="b", extra={"parent_tool_call_id": "c1"}),
        user("main"),
    )
    for query in ("", f"?at={Message.objects.get(tool_call_id='c1').pk}", "?find=main", "?thread=a"):
        assert "main" in page_of(signed_in, session, query) or query == "?thread=a"


def test_another_model_and_a_retry_are_marked(signed_in: Client) -> None:
    session = make_session()
    store(
        session,
        assistant("one", response_id="r1"),
        assistant("two", response_id="r2"),
        UsageEvent(model="model-a", input_tokens=1, output_tokens=1, response_id="r1", event_id="u1"),
        UsageEvent(model="model-b", input_tokens=1, output_tokens=1, response_id="r2", event_id="u2"),
    )
    assert "<b>model-b</b> instead of model-a" in page_of(signed_in, session)
    # also where the window begins between them
    cursor = reading.where(Message.objects.get(content="one")).cursor
    assert "<b>model-b</b> instead of model-a" in page_of(signed_in, session, f"?newer={cursor}")


def test_a_silence_of_five_minutes_is_drawn_also_between_windows(signed_in: Client) -> None:
    session = make_session()
    store(session, user("one", timestamp=at(0)), user("two", timestamp=at(5)), user("three", timestamp=at(9)))
    text = page_of(signed_in, session)
    assert text.count("is-idle") == 1
    assert "5 min idle" in text
    cursor = reading.where(Message.objects.get(content="one")).cursor
    assert "5 min idle" in page_of(signed_in, session, f"?newer={cursor}")


# --- what is new


def test_new_since_you_last_read(signed_in: Client, cast: SimpleNamespace) -> None:
    session = make_session()
    services.save_message(session.id, "user", "old", timestamp=at(0), now=at(0))
    services.save_message(session.id, "user", "seen", timestamp=at(1), now=at(1))
    assert "New since" not in page_of(signed_in, session)
    services.mark_read(session.pk, True, viewer=cast.alice, now=at(2))
    assert "New since" not in page_of(signed_in, session)
    services.save_message(session.id, "user", "fresh", timestamp=at(3), now=at(3))
    text = page_of(signed_in, session)
    assert text.index(">seen<") < text.index("New since you last read") < text.index(">fresh<")
    fresh = Message.objects.get(content="fresh")
    assert f'data-place="m{fresh.pk}"' in page_of(signed_in, session, "?at=new")


def tail_of(response: Any) -> str:
    found = re.search(r'data-tail hx-get="[^"]*tail=([^"]+)"', response.content.decode())
    assert found
    return unquote(found[1])


def test_the_tail_brings_what_is_new_and_ends_with_the_session(signed_in: Client) -> None:
    session = make_session()
    assert signed_in.get(f"{session.get_absolute_url()}?tail=start", headers=HX).status_code == 204
    store(session, user("go"), tool_use("c1", "Bash", {"command": "sleep"}, response_id="r1"))
    response = signed_in.get(session.get_absolute_url())
    tail = tail_of(response)
    call = Message.objects.get(tool_call_id="c1")
    assert signed_in.get(f"{session.get_absolute_url()}?tail={tail}", headers=HX).status_code == 204
    store(session, tool_result("c1", "slept", timestamp=at(30)), assistant("Done.", response_id="r2", timestamp=at(31)))
    response = signed_in.get(f"{session.get_absolute_url()}?tail={tail}", headers=HX)
    text = response.content.decode()
    assert "Done." in text
    assert "<html" not in text
    # the call that was drawn without a result is drawn again
    assert f'hx-swap-oob="outerHTML:details#m{call.pk}, #call-m{call.pk}"' in text
    assert "slept" in text
    tail = tail_of(response)
    services.close_session(session.pk, "all well")
    response = signed_in.get(f"{session.get_absolute_url()}?tail={tail}", headers=HX)
    assert response.status_code == 286
    assert "Closed: all well" in response.content.decode()
    assert "data-tail" not in response.content.decode()
    assert "data-tail" not in page_of(signed_in, session)


# --- the list around it, and what one does


def test_the_list_comes_along(signed_in: Client) -> None:
    first, second, third = (make_session(key=str(number), messages=1, now=at(number)) for number in range(3))
    make_session("telegram", key="x", messages=1, now=at(1))
    text = page_of(signed_in, second, "?channel=main&show=tools")
    assert f'href="{third.get_absolute_url()}?channel=main"' in text
    assert f'href="{first.get_absolute_url()}?channel=main"' in text
    assert 'id="back" href="/sessions/?channel=main"' in text
    response = signed_in.get(f"{third.get_absolute_url()}?channel=main")
    assert response.context["previous"] is None
    assert response.context["next"] == second


def test_close_and_reopen(signed_in: Client) -> None:
    session = make_session(messages=1)
    path = reverse("sessions:close", args=[session.pk])
    response = signed_in.post(f"{path}?channel=main", {"closed": "1"})
    assert response.headers["Location"] == f"{session.get_absolute_url()}?channel=main"
    session.refresh_from_db()
    assert session.is_closed
    response = signed_in.post(path, {"closed": "0"}, headers=HX)
    assert "sessionsChanged" in response.headers["HX-Trigger"]
    assert 'id="session-close"' in response.content.decode()
    assert "<html" not in response.content.decode()
    session.refresh_from_db()
    assert not session.is_closed
    assert signed_in.post(path, {"closed": "maybe"}).status_code == 422


def test_reopening_beside_an_open_one_says_why_not(signed_in: Client) -> None:
    session = make_session(messages=1)
    services.close_session(session.pk)
    make_session(messages=1)
    response = signed_in.post(reverse("sessions:close", args=[session.pk]), {"closed": "0"}, headers=HX)
    assert response.status_code == 422
    assert "It stays closed" in response.content.decode()


def test_title_and_tags(signed_in: Client) -> None:
    session = make_session(messages=1)
    path = reverse("sessions:facts", args=[session.pk])
    response = signed_in.post(path, {"title": "A <b>name</b>", "tags": "one, two words,,one"}, headers=HX)
    assert "A &lt;b&gt;name&lt;/b&gt;</h1>" in response.content.decode()
    session.refresh_from_db()
    assert (session.title, session.tags) == ("A <b>name</b>", ["one", "two words"])
    refused = signed_in.post(path, {"tags": "x" * 60}, headers=HX)
    assert refused.status_code == 422
    assert "Nothing was changed" in refused.content.decode()


def test_only_who_may_change_changes(cast: SimpleNamespace, client: Client) -> None:
    session = make_session(messages=1)
    for person, status in ((cast.bob, 403), (cast.charlie, 404)):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        for name, data in (("close", {"closed": "1"}), ("facts", {"title": "x"})):
            assert client.post(reverse(f"sessions:{name}", args=[session.pk]), data).status_code == status
            assert client.get(reverse(f"sessions:{name}", args=[session.pk])).status_code in (405, status)
    client.force_login(cast.bob, backend="django.contrib.auth.backends.ModelBackend")
    text = client.get(session.get_absolute_url()).content.decode()
    assert "session-close-button" not in text
    assert "facts-title" not in text
