"""The hostile corpus, and any text at all: nothing raises, what comes out holds allowed elements and attributes only, and no text takes long."""

from __future__ import annotations

import cProfile
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import diffs, rendering, services, tool_calls
from sessions_app.events import MessageEvent, tool_result, tool_use
from sessions_app.models import Message, Session
from tests import hostile
from tests.factories import at, make_session

ATTRIBUTES = {
    "a": {"href", "rel"},
    "pre": {"class", "tabindex", "role", "aria-label"},
    "div": {"class", "tabindex", "role", "aria-label"},
    "ol": {"start"},
    **{tag: {"class"} for tag in ("span", "h3", "td", "th", "li")},
}
# What a browser would take for an element, in a text that should hold none.
VISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\ufeff\u00ad\u2028\u2029\U000e0000-\U000e007f\ud800-\udfff]"
)


class Checked(HTMLParser):
    """Asserts of every element that it is allowed."""

    def __init__(self, html: str, tags: frozenset[str] = rendering.TAGS, attributes: dict[str, set[str]] = ATTRIBUTES) -> None:
        super().__init__()
        self.tags, self.attributes, self.links = tags, attributes, list[str]()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert tag in self.tags, tag
        assert set(found) <= self.attributes.get(tag, set()), (tag, found)
        assert len(found) == len(attrs), attrs
        if tag == "a" and "href" in found:
            assert re.match(r"(https?://[^/\\]|mailto:)", found["href"] or ""), found
            assert found["rel"] == "noopener noreferrer nofollow"
            self.links.append(found["href"] or "")

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def check_prose(text: str) -> None:
    html = rendering.prose(text).html
    Checked(html)
    assert not VISIBLE.search(html)


def check_plain(text: str) -> None:
    html = rendering.plain(text).html
    Checked(html, frozenset({"span"}), {"span": {"class"}})
    assert not VISIBLE.search(html)


@pytest.mark.parametrize("group", ["HTML", "CSS", "LINKS", "MARKDOWN", "HIDDEN", "TERMINAL"])
def test_corpus(group: str) -> None:
    texts: list[str] = getattr(hostile, group)
    assert len(texts) > 5
    for text in texts:
        for wrapped in (text, f"> - {text}", f"**{text}**", f"| {text} |\n|---|\n| {text} |", f"```html\n{text}\n```", f"a `{text}` b"):
            check_prose(wrapped)
        check_plain(text)
        rendering.one_line(text, 100)


def test_no_link_leads_to_what_is_no_site() -> None:
    for text in hostile.LINKS:
        for link in Checked(rendering.prose(text).html).links:
            assert link.startswith(("http://", "https://", "mailto:")), text


@given(st.text(alphabet=st.sampled_from("<>\"'`&;=/:()[]!|*_~#-\n\t \\ahrefsconimgtjp1:\u202e\x1b\x00"), max_size=200))
def test_any_markup(text: str) -> None:
    check_prose(text)
    check_plain(text)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    check_prose(text)
    check_plain(text)


@given(st.lists(st.sampled_from(hostile.ALL), min_size=2, max_size=4), st.sampled_from(["", "\n", "\n\n", "](", "`", '"']))
def test_any_of_them_together(texts: list[str], joint: str) -> None:
    check_prose(joint.join(texts))
    check_plain(joint.join(texts))


@given(st.sampled_from(hostile.ALL), st.sampled_from(hostile.ALL))
def test_diffs_and_calls(one: str, other: str) -> None:
    for line in diffs.compare(one, other, start=1).lines:
        Checked(line.html, frozenset({"mark"}), {})
    content = json.dumps({"type": "tool_use", "input": {"command": one, other: one, "old_string": one, "new_string": other}})
    call = Message(pk=1, role="tool_use", tool_name=other, timestamp=at(), content=content)
    result = Message(pk=2, role="tool_result", timestamp=at(), is_error=True, content=json.dumps({"type": "tool_result", "content": one}))
    found = tool_calls.describe(call, result)
    for text in (found.name, found.argument, *(piece for part in found.parts for field in part.fields for piece in field)):
        assert not VISIBLE.search(text)


# --- what is shown of what hides


def test_what_hides_is_shown() -> None:
    assert rendering.visible("a\u202eb\x07\x1b[2J\r\nc\u200b") == "a\u27e8U+202E\u27e9b\u2407\u241b[2J\nc\u27e8U+200B\u27e9"
    assert "\u27e8U+202E\u27e9" in rendering.prose("&#x202e;").html


def test_what_scripts_and_emoji_need_stays() -> None:
    for text in ("می\u200cخواهم", "👩\u200d💻", "क्\u200dष", "1\ufe0f\u20e3", "葛\U000e0100", "עברית", "a\tb\nc"):
        assert rendering.visible(text) == text


def test_a_joiner_between_latin_letters_is_shown() -> None:
    assert rendering.visible("pay\u200dpal") == "pay\u27e8U+200D\u27e9pal"


def test_terminal_colours_become_classes() -> None:
    html = rendering.plain("\x1b[1;31mbad\x1b[0m <\x1b[38;5;196mx\x1b[39my").html
    assert html == '<span class="ansi-1 ansi-bold">bad</span> &lt;xy'


# --- growth


def work(function: Any, text: str) -> int:
    profile = cProfile.Profile()
    profile.runcall(function, text)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("piece", hostile.REPEATED)
def test_twice_the_text_takes_about_twice_the_work(piece: str) -> None:
    """Growth is what a hostile text is after. Calls are counted, not seconds; the end keeps the texts apart in the memory of what was rendered."""
    for limit, render in ((rendering.PROSE_LIMIT, rendering.prose), (rendering.PLAIN_LIMIT, rendering.plain)):
        half, whole = (
            work(render, (piece * (length // len(piece) + 1))[:length] + f" end {length}") for length in (limit // 4, limit // 2)
        )
        assert whole < 3 * half + 10_000


@pytest.mark.parametrize(
    "text",
    [
        "a" * 5_000_000,
        "<" * 5_000_000,
        "\x1b[31m" * 1_000_000,
        "\n".join("  " * depth + "- x" for depth in range(500)),
        "> " * 5_000 + "x",
        "*_" * 5_000 + "x" + "_*" * 5_000,
        "|" + "a|" * 2_000 + "\n|" + "-|" * 2_000 + "\n" + ("|" + "b|" * 2_000 + "\n") * 50,
        "[" * 10_000 + "x" + "](https://a.example)" * 10_000,
    ],
    ids=["a line of 5 MB", "brackets", "colours", "lists in lists", "quotes in quotes", "emphasis", "a huge table", "links in links"],
)
def test_a_huge_text_costs_what_is_shown_of_it(text: str) -> None:
    assert work(rendering.prose, text) < 2_000_000
    assert work(rendering.plain, text) < 100_000
    check_prose(text)
    check_plain(text)
    # one element for every two characters at most: a table of empty cells
    assert rendering.prose(text).html.count("<") < rendering.PROSE_LIMIT


# --- the page


def hostile_session(texts: list[str], *, key: str = "hostile") -> Session:
    """A session in which everything that a stranger may name is hostile."""
    session = make_session("cli", key, title=texts[0][:90], project=f"/srv/{texts[0][:60]}", agent="claude-code")
    events: list[Any] = []
    for number, text in enumerate(texts):
        stored = text.replace("\x00", "").encode("utf-8", "replace").decode()
        call = f"c{number}"
        events += [
            MessageEvent(role="user", content=stored, agent=stored[:90]),
            MessageEvent(role="thinking", content=stored, response_id=f"r{number}"),
            MessageEvent(role="assistant", content=stored, response_id=f"r{number}"),
            tool_use(call, stored[:200] or "x", {"command": stored, stored[:90]: stored}, response_id=f"r{number}"),
            tool_result(
                call,
                [{"type": "text", "text": stored}, {"type": "image", "source": {"media_type": stored[:90], "url": stored}}],
                is_error=True,
            ),
            tool_use(f"e{call}", "Edit", {"file_path": stored, "old_string": stored, "new_string": f"x{stored}"}, response_id=f"r{number}"),
            MessageEvent(
                role="system", content=stored, extra={"attachments": [{"title": stored, "media_type": stored[:60], "url": stored}]}
            ),
        ]
    for number, event in enumerate(events):
        event.timestamp = at(number / 60)
    assert not services.store_events(session.id, events, source="test", now=at(60)).refused
    return session


SAMPLE = [*hostile.HTML[::7], *hostile.CSS, *hostile.LINKS[::23], *hostile.MARKDOWN, *hostile.HIDDEN, *hostile.TERMINAL]


class Page(HTMLParser):
    """Every element of a whole page: what is ours is known by what strangers cannot write."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            value = value or ""
            assert not name.startswith("on"), (tag, attrs)
            assert name != "style", (tag, attrs)
            assert not value.strip().lower().startswith(("javascript:", "data:", "vbscript:")), (tag, attrs)
            if name in ("src", "srcset", "action", "poster", "data", "hx-get", "hx-post"):
                assert value.startswith("/") and not value.startswith("//"), (tag, attrs)
        if tag == "a" and not dict(attrs).get("href", "/").startswith(("/", "#", "?")):  # type: ignore[union-attr]
            assert dict(attrs)["rel"] == "noopener noreferrer nofollow", attrs
        assert tag not in ("base", "iframe", "object", "embed", "style", "marquee"), tag


@pytest.mark.parametrize("part", range(6))
def test_whole_page(part: int, cast: SimpleNamespace, client: Client) -> None:
    session = hostile_session(SAMPLE[part::6])
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    paths = [session.get_absolute_url(), f"{session.get_absolute_url()}usage/"]
    paths += [
        f"{session.get_absolute_url()}messages/{pk}/" for pk in Message.objects.filter(session=session).values_list("pk", flat=True)[:14]
    ]
    for path in paths:
        for headers in ({}, {"HX-Request": "true"}):
            response = client.get(path, headers=headers)
            assert response.status_code == 200
            if response.headers["Content-Type"].startswith("text/html"):
                Page(response.content.decode())
            else:
                assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
