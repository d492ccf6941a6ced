"""What the reader of a session is given: windows without gap or repetition, pairs over their borders, cut texts that still parse, marks, landmarks."""

from __future__ import annotations

import json
import random
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import cut_json, marks, turns
from sessions_app.events import CompactionEvent, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Message, Session
from sessions_app.queries import reading
from sessions_app.queries.reading import Place, Window, where
from tests.factories import at, make_session
from tests.test_pages_transcript import assistant, store, user

LOGS = Path(__file__).parent / "logs"

pytestmark = pytest.mark.django_db


def everything(session: Session, limit: int, *, thread: str = "", backwards: bool = False) -> list[Window]:
    """Return all windows of a thread, as one who scrolls gets them."""
    windows: list[Window] = []
    place: Place | None = None
    while True:
        if backwards:
            one = reading.window(session, thread=thread, older=place, from_end=place is None, limit=limit)
            windows.insert(0, one)
            place = where(one.messages[0]) if one.before is not None else None
        else:
            one = reading.window(session, thread=thread, newer=place, limit=limit)
            windows.append(one)
            place = one.after
        if place is None:
            return windows


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("backwards", [False, True])
def test_windows_neither_skip_nor_repeat(limit: int, backwards: bool) -> None:
    chance = random.Random(limit)
    session = make_session()
    events = []
    for number in range(40):
        # many share a moment, and they were not stored in order of time
        moment = at(chance.randrange(12))
        thread = chance.choice(["", "", "", "helper"])
        events.append(user(f"{number}", timestamp=moment, subagent_id=thread, response_id=chance.choice(["", "r1", "r2"])))
    store(
        session,
        *events,
        *(CompactionEvent(trigger="auto", pre_tokens=1, summary=str(n), messages_compacted=1, timestamp=at(n)) for n in range(13)),
    )
    for thread in ("", "helper"):
        windows = everything(session, limit, thread=thread, backwards=backwards)
        shown = [message.pk for one in windows for message in one.messages]
        expected = Message.objects.filter(session=session, subagent_id=thread).order_by("timestamp", "pk").values_list("pk", flat=True)
        assert shown == list(expected)
        compactions = [row.summary for one in windows for row in one.compactions]
        assert compactions == ([str(number) for number in range(13)] if not thread else [])


def test_a_window_around_a_place_goes_on_on_both_sides() -> None:
    session = make_session(messages=60)
    pks = list(Message.objects.order_by("timestamp", "pk").values_list("pk", flat=True))
    for pk in pks:
        message = reading.find_message(session, pk)
        assert message is not None
        one = reading.window(session, at=where(message), limit=10)
        shown = [row.pk for row in one.messages]
        assert pk in shown
        assert shown == pks[pks.index(shown[0]) : pks.index(shown[-1]) + 1]
        assert (one.before is None) == (shown[0] == pks[0])
        assert (one.after is None) == (shown[-1] == pks[-1])


def test_a_turn_is_not_torn_apart() -> None:
    session = make_session()
    store(session, *(assistant(f"{number}", response_id=f"r{number // 3}") for number in range(12)))
    for one in everything(session, 4):
        assert [message.response_id for message in one.messages].count(one.messages[0].response_id) == 3
    # a turn longer than a window has to be
    assert [len(one.messages) for one in everything(session, 2)] == [2, 1] * 4


def test_a_window_is_as_heavy_as_its_texts() -> None:
    session = make_session()
    store(session, *(assistant("words " * 4000) for _ in range(20)))
    windows = everything(session, 100)
    assert len(windows) > 2
    assert all(sum(reading._weight(message) for message in one.messages) <= reading.WINDOW_WEIGHT for one in windows)


def test_long_texts_are_cut_in_the_database_and_still_parse() -> None:
    session = make_session()
    long = 'line "quoted" \\ \n' * 300_000
    store(session, user(long), tool_use("c1", "Write", {"file_path": "x", "content": long}), tool_result("c1", long))
    with CaptureQueriesContext(connection) as queries:
        messages = reading.window(session).messages
    assert [message.characters for message in messages] == list(  # type: ignore[attr-defined]
        map(len, Message.objects.order_by("timestamp", "pk").values_list("content", flat=True))
    )
    assert [len(message.content) <= 70_000 for message in messages] == [True] * 3
    assert json.loads(messages[1].content)["input"]["content"].startswith(long[:40_000])
    assert long.startswith(json.loads(messages[2].content)["content"][:-1])
    with CaptureQueriesContext(connection) as more:
        assert all(message.content for message in messages)
    assert len(more) == 0
    assert not [query for query in queries.captured_queries if re.search(r'(?<!\()"sessions_app_message"\."content"', query["sql"])]


def test_calls_and_results_are_paired_over_the_border() -> None:
    session = make_session()
    store(
        session,
        tool_use("c1", "Bash", {"command": "one"}),
        user("between"),
        tool_result("c1", "late"),
        tool_use("c2", "Bash", {}),
        user("end"),
    )
    first, second = reading.window(session, limit=2), reading.window(session, newer=reading.window(session, limit=2).after, limit=10)
    pairs = reading.pairs(session, first.messages)
    assert pairs.result_of[first.messages[0].pk].content.count("late") == 1
    pairs = reading.pairs(session, second.messages)
    view = turns.build(second, usage={}, pairs=pairs)
    calls = [call for entry in view.entries if isinstance(entry, turns.Turn) for block in entry.blocks for call in block.calls]
    assert [(call.name, call.verdict) for call in calls] == [("Bash", "")]  # c2 alone, and it has no result
    assert not view.updates


def test_an_id_used_twice_pairs_in_order() -> None:
    session = make_session()
    store(session, *(event for n in range(3) for event in (tool_use("same", "Bash", {"command": str(n)}), tool_result("same", f"out {n}"))))
    one = reading.window(session)
    pairs = reading.pairs(session, one.messages)
    outputs = [pairs.result_of[message.pk].content for message in one.messages if message.role == "tool_use"]
    assert [f"out {number}" in output for number, output in enumerate(outputs)] == [True] * 3


def test_a_result_is_found_at_its_call() -> None:
    session = make_session()
    store(session, tool_use("c1", "Bash", {}), user("x"), tool_result("c1", "y"), tool_result("c9", "nobody asked"))
    call, _, result, alone = Message.objects.order_by("pk")
    assert reading.find_message(session, result.pk) == call
    assert reading.find_message(session, alone.pk) == alone
    assert reading.find_message(session, 10**15) is None
    assert reading.find_message(make_session(key="other"), call.pk) is None


def test_landmarks_are_bounded_and_stand_around_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LANDMARKS", 10)
    session = make_session()
    store(session, *(user(f"prompt {number:02d}") for number in range(40)), user("put in", extra={"is_meta": True}))
    found = reading.landmarks(session)
    assert [row.line for row in found.prompts] == [f"prompt {number:02d}" for number in range(10)]  # type: ignore[attr-defined]
    assert found.cut == {"prompts"}
    found = reading.landmarks(session, around=where(Message.objects.get(content="prompt 30")))
    assert [row.line for row in found.prompts] == [f"prompt {number:02d}" for number in range(25, 35)]  # type: ignore[attr-defined]


def test_bars_share_turns_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BARS", 4)
    session = make_session()
    calls = (
        UsageEvent(model="m", input_tokens=n, output_tokens=1, cache_read_tokens=100, timestamp=at(n), event_id=str(n)) for n in range(10)
    )
    store(session, *calls, UsageEvent(model="m", input_tokens=9**7, output_tokens=1, subagent_id="a", timestamp=at(11), event_id="a"))
    session.refresh_from_db()
    found = reading.bars(session)
    assert [(bar.first, bar.last, bar.calls, bar.input) for bar in found] == [(1, 3, 3, 1), (4, 6, 3, 4), (7, 9, 3, 7), (10, 10, 1, 9)]
    assert found[0].context == 101
    assert found[0].total == 102


def test_permalinks_stay_when_the_log_is_imported_again() -> None:
    def places() -> list[tuple[int, str]]:
        return list(Message.objects.order_by("pk").values_list("pk", "event_id"))

    call_command("import_sessions", str(LOGS), verbosity=0)
    before = places()
    assert before
    call_command("import_sessions", str(LOGS), verbosity=0)
    assert places() == before


# --- JSON whose end was cut off ----------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans(), st.data())
def test_json_cut_anywhere_parses_again(value: object, ascii_only: bool, data: st.DataObject) -> None:
    text = json.dumps({"type": "tool_use", "input": value}, ensure_ascii=ascii_only)
    cut = text[: data.draw(st.integers(1, len(text)))]
    whole = cut_json.complete(cut)
    json.loads(whole)
    if cut == text:
        assert whole == text


def test_what_is_no_json_stays_as_it_is() -> None:
    for text in ("", "just words", '{"a"]', "]", '"open', "{'single': 1"):
        assert cut_json.complete(text) == text or json.loads(cut_json.complete(text)) is not None


# --- marks ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "text", "expected"),
    [
        ("<p>One two one</p>", "ONE", "<p><mark>One</mark> two <mark>one</mark></p>"),
        ('<a href="https://one.example/?a>b">one</a>', "one", '<a href="https://one.example/?a>b"><mark>one</mark></a>'),
        ("a &amp; b &lt;script&gt;", "amp", "a &amp; b &lt;script&gt;"),
        ("a &amp; b", "& b", "a <mark>&amp; b</mark>"),
        ("&lt;b&gt;", "<b>", "<mark>&lt;b&gt;</mark>"),
        ("<em>o</em>ne", "one", "<em>o</em>ne"),
        ("x", "", "x"),
        ("a.c abc", "a.c", "<mark>a.c</mark> abc"),
    ],
)
def test_marks(html: str, text: str, expected: str) -> None:
    assert marks.mark(mark_safe(html), text) == expected


@given(st.text(max_size=40), st.text(min_size=1, max_size=3))
def test_marks_add_no_markup_but_their_own(words: str, text: str) -> None:
    from html import escape, unescape

    found = marks.mark(mark_safe(escape(words)), text)
    rest = found.replace("<mark>", "").replace("</mark>", "")
    assert "<" not in rest
    assert unescape(rest) == unescape(escape(words))


def test_message_of_a_turn() -> None:
    session = make_session()
    store(
        session,
        MessageEvent(role="thinking", content="a", response_id="r1"),
        assistant("b", response_id="r1"),
        UsageEvent(model="m", input_tokens=1, output_tokens=1, response_id="r1", event_id="u1"),
        UsageEvent(model="m", input_tokens=1, output_tokens=1, response_id="never written down", event_id="u2"),
    )
    assert reading.message_of_turn(session, 1) == Message.objects.get(content="a").pk
    assert reading.message_of_turn(session, 2) == Message.objects.get(content="b").pk
    assert reading.message_of_turn(session, 3) is None


def test_cursors_of_places() -> None:
    place = Place(at(3) + timedelta(microseconds=7), 12)
    assert reading.place_of(place.cursor) == place
    for broken in ("", "x", "A" * 300):
        assert reading.place_of(broken) is None
