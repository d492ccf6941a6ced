"""A message's text as safe HTML: nothing of it runs, loads, or looks like a part of the site."""

from __future__ import annotations

import cProfile
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.test import SimpleTestCase
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import rendering
from sessions_app.templatetags import sessionsite as tags
from tests.factories import at

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "[x](&#106;avascript:alert(1))",
    "[x]\n\n[x]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "![x](https://evil.example/pixel.png)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "<iframe src=https://evil.example></iframe>",
    "<style>body{display:none}</style>",
    '<div hx-get="/admin/" hx-trigger="load" id="toast" class="toast" style="position:fixed">x</div>',
    '```"><script>alert(1)</script>\ncode\n```',
    "```html\n<script>alert(1)</script>\n```",
    "| <img src=x onerror=1> |\n|---|\n| <b onclick=1>x</b> |",
    '[x](https://a.example "onmouseover=alert(1)")',
    "# <script>x</script>",
    "<form action=/signout/ method=post><button>x</button></form>",
    "<base href=https://evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
]
ALLOWED_ATTRIBUTES = {"href", "rel", "class", "tabindex", "role", "aria-label", "start"}


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check_safe(html: str) -> None:
    for tag, attributes in Tags(html).found:
        assert tag in rendering.TAGS, tag
        assert set(attributes) <= ALLOWED_ATTRIBUTES, attributes
        if "href" in attributes:
            assert re.match(r"(https?://|mailto:)", attributes["href"] or ""), attributes
        if tag == "a":
            assert attributes["rel"] == "noopener noreferrer nofollow"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_becomes_harmless(text: str) -> None:
    html = rendering.prose(text).html
    check_safe(html)
    assert "<script" not in html
    assert "<img" not in html


@given(st.text(alphabet=st.sampled_from("<>\"'`&;=/:()[]!|*_~#-\n ahrefsconimgtjp1:"), max_size=200))
def test_any_text_becomes_harmless(text: str) -> None:
    check_safe(rendering.prose(text).html)


@pytest.mark.parametrize(
    "piece",
    ["[", "![](", ">", "*a **b ", "`a``", "http://", "|a", "- a\n  ", "<", "&#x0;", "a@", "\\", "```py\n", "~", "  " * 40 + "- x\n"],
)
def test_hostile_text_takes_no_long_time(piece: str) -> None:
    """Twice the text takes about twice the work, not four times: growth is what a hostile text is after. Calls are counted, not seconds."""

    def calls(length: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(rendering.prose, (piece * (length // len(piece) + 1)) + f"end {length}")
        return sum(entry.callcount for entry in profile.getstats())

    half, whole = calls(rendering.PROSE_LIMIT // 2), calls(rendering.PROSE_LIMIT)
    assert whole < 3 * half + 10_000


class ProseTests(SimpleTestCase):
    def test_markdown(self) -> None:
        html = rendering.prose("# Head\n\n**bold** and `code`\nnext line\n\n- one\n- two").html
        for piece in ("<h3>Head</h3>", "<strong>bold</strong>", "<code>code</code>", "<br>", "<li>one</li>"):
            self.assertIn(piece, html)

    def test_code_block_has_classes_a_name_and_can_be_reached_by_key(self) -> None:
        html = rendering.prose("```python\ndef f(): pass\n```").html
        tag, attributes = Tags(html).found[0]
        self.assertEqual((tag, attributes), ("pre", {"class": "code", "tabindex": "0", "role": "group", "aria-label": "Code"}))
        self.assertIn('<span class="k">def</span>', html)
        self.assertNotIn("style=", html)

    def test_unknown_and_long_code_is_plain(self) -> None:
        self.assertNotIn("<span", rendering.prose("```nosuchlanguage\ndef f(): pass\n```").html)
        self.assertNotIn("<span", rendering.prose("```python\n" + "x = 1\n" * 2000 + "```").html)

    def test_remote_image_is_a_link(self) -> None:
        html = rendering.prose("![a chart](https://images.example/chart.png)").html
        self.assertEqual(html, '<p><a href="https://images.example/chart.png" rel="noopener noreferrer nofollow">image: a chart</a></p>\n')

    def test_links_of_this_site_are_not_made(self) -> None:
        for text in ("[see](/admin/)", "[views](src/views.py)", "[x](//evil.example/)", "[x](#toast)"):
            self.assertNotIn("href", rendering.prose(text).html, text)

    def test_addresses_become_links_and_file_names_do_not(self) -> None:
        html = rendering.prose("see https://docs.example/a and README.md and views.py").html
        self.assertEqual(html.count("<a "), 1)

    def test_table_scrolls_and_aligns_by_class(self) -> None:
        html = rendering.prose("| a | b |\n|---|--:|\n| 1 | 2 |").html
        self.assertIn('<td class="num">2</td>', html)
        self.assertNotIn("style", html)
        self.assertIn('class="table-scroll"', html)

    def test_long_text_is_cut_at_a_line_and_says_so(self) -> None:
        text = "line of text\n" * 4000
        shown = rendering.prose(text)
        self.assertTrue(shown.is_cut)
        self.assertEqual(shown.total, len(text))
        self.assertLessEqual(shown.shown, rendering.PROSE_LIMIT)
        self.assertEqual(text[shown.shown], "\n")

    def test_the_second_time_is_read_from_memory(self) -> None:
        self.assertIs(rendering.prose("same *text*").html, rendering.prose("same *text*").html)

    def test_memory_is_bounded(self) -> None:
        kept = rendering._Kept(100)
        for number in range(50):
            kept.put(bytes([number]), "x" * 30)  # type: ignore[arg-type]
        self.assertLessEqual(kept.size, 100)
        self.assertEqual(len(kept.rows), 3)

    def test_lone_surrogate_does_not_fail(self) -> None:
        rendering.prose("a \ud83d b".encode("utf-8", "replace").decode())
        rendering.plain("a \ud83d b")

    def test_plain_is_escaped(self) -> None:
        self.assertEqual(rendering.plain("<b>&").html, "&lt;b&gt;&amp;")


class TagTests(SimpleTestCase):
    def test_money(self) -> None:
        cases = {
            "12.0481200": ("$12.05", "", "12.048120000"),
            "1": ("$1.00", "", "1.000000000"),
            "0.041270000": ("$0.0413", " is-small", "0.041270000"),
            "0.000000001": ("&lt;$0.0001", " is-small", "0.000000001"),
            "0": ("$0.00", "", "0.000000000"),
            "1234567.5": ("$1,234,567.50", "", "1234567.500000000"),
            "0.99996": ("$1.0000", " is-small", "0.999960000"),
        }
        for value, (shown, css, exact) in cases.items():
            html = tags.money(Decimal(value))
            self.assertIn(f">{shown}</data>", html)
            self.assertIn(f'class="money{css}" value="{exact}"', html)

    def test_unknown_money_is_a_word(self) -> None:
        html = tags.money(None)
        self.assertIn(">unknown</data>", html)
        self.assertNotIn("0.00", html)

    def test_tokens(self) -> None:
        for value, shown in {
            0: "0",
            688: "688",
            9_999: "9,999",
            48_796: "48.8 k",
            999_960: "1.00 M",
            3_912_480: "3.91 M",
            24_800_000: "24.8 M",
            2_702_600_000: "2.70 G",
        }.items():
            self.assertEqual(tags.tokens_text(value), shown)

    def test_duration(self) -> None:
        for value, shown in {
            0.42: "0.4 s",
            38: "38 s",
            59.7: "1 min",
            246: "4 min 06 s",
            4740: "1 h 19 min",
            14760: "4 h 06 min",
            273_600: "3 d 4 h",
        }.items():
            self.assertEqual(tags.duration(value), shown)
        self.assertEqual(tags.duration(None), "")

    def test_ago(self) -> None:
        for minutes, shown in {
            0: "just now",
            2: "2 min ago",
            59.9: "59 min ago",
            61: "1 h ago",
            23 * 60: "23 h ago",
            25 * 60: "31 Aug",
            60 * 24 * 300: "5 Nov 2025",
        }.items():
            self.assertEqual(tags.ago_text(at(-minutes), at()), shown)

    def test_bucket_bar_counts_in_words(self) -> None:
        html = tags.bucket_bar(90, 5, 3, 2)
        self.assertIn('aria-label="Cache read 90, cache write 5, input 3, output 2 tokens"', html)
        self.assertIn('width="90.00%"', html)
        self.assertEqual(tags.bucket_bar(0, 0, 0, 0).count("<rect"), 0)

    def test_every_icon_exists(self) -> None:
        from sessions_app import icons

        sprite = icons.sprite()
        for name in icons.ICONS:
            self.assertIn(f'id="i-{name}"', sprite)
        for name in [*tags.TOOL_ICONS.values(), *tags.CHANNEL_ICONS.values()]:
            icons.icon(name)
