"""What an edit changed: the lines, their numbers, the words, the limits; and patches as agents write them."""

from __future__ import annotations

import cProfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import diffs
from sessions_app.diffs import Diff

MINUS = "\u2212"


def drawn(found: Diff | None) -> list[str]:
    assert found is not None
    return [f"{line.sign or ' '}{line.html}" if line.kind != "hunk" else f"@{line.html}" for line in found.lines]


def test_lines_and_counts() -> None:
    found = diffs.compare("a\nb\nc", "a\nB\nc\nd")
    assert (found.added, found.removed) == (2, 1)
    assert drawn(found) == [" a", f"{MINUS}b", "+B", " c", "+d"]
    assert not found.is_numbered


def test_numbers_from_the_known_first_line() -> None:
    found = diffs.compare("a\nb\nc", "a\nx\ny\nc", start=88)
    assert [(line.old, line.new) for line in found.lines] == [(88, 88), (89, None), (None, 89), (None, 90), (90, 91)]


def test_words_that_differ_are_marked_and_escaped() -> None:
    found = diffs.compare("for page in <pages>:", "for page, next in <pages>:")
    assert drawn(found) == [f"{MINUS}for page in &lt;pages&gt;:", "+for page<mark>, next</mark> in &lt;pages&gt;:"]


def test_lines_with_little_in_common_are_not_marked() -> None:
    assert "<mark>" not in "".join(drawn(diffs.compare("alpha beta gamma", "1 + 2 == 3;")))


def test_far_lines_are_left_out() -> None:
    before = [str(number) for number in range(100)]
    found = diffs.compare("\n".join(before), "\n".join(["x", *before[1:99], "y"]), start=1)
    assert [line.kind for line in found.lines].count("hunk") == 1
    assert "@Lines 97 to 100" in drawn(found)
    assert len(found.lines) == 11


def test_equal_texts_have_no_lines() -> None:
    assert diffs.compare("a\nb", "a\nb").lines == []
    assert diffs.compare("a\nb", "a\r\nb").note == "Only line ends differ."


def test_limits_are_named() -> None:
    rough = diffs.compare("\n".join(map(str, range(1000))), "\n".join(map(str, range(1000, 2000))))
    assert (rough.added, rough.removed) == (1000, 1000)
    assert "limit" in rough.note
    huge = diffs.compare("a" * 500_000, "b")
    assert huge.lines == []
    assert "400 kB" in huge.note


@pytest.mark.parametrize(
    ("old", "new"),
    [("a\nb\n", "b\nb\na\n"), ("x y ", "y x "), ("{\n", "}\n"), ("    return 1\n", "    return 2\n"), ("a", "b")],
)
def test_hostile_texts_take_no_long_time(old: str, new: str) -> None:
    """Twice the text takes about twice the work, or meets a limit. Calls are counted, not seconds."""

    def calls(times: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(diffs.compare, old * times, new * times)
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(8000) < 3 * calls(4000) + 60_000


@given(
    st.text(alphabet="ab\n<&\u202e", max_size=80), st.text(alphabet="ab\n<&\u202e", max_size=80), st.one_of(st.none(), st.integers(1, 99))
)
def test_any_two_texts(old: str, new: str, start: int | None) -> None:
    found = diffs.compare(old, new, start=start)
    assert found.added == sum(line.kind == "add" for line in found.lines)
    assert found.removed == sum(line.kind == "del" for line in found.lines)
    assert "<" not in "".join(drawn(found)).replace("<mark>", "").replace("</mark>", "")
    assert len(new.splitlines()) - len(old.splitlines()) == found.added - found.removed


PATCH = """*** Begin Patch
*** Update File: src/app.py
@@ def total(lines):
 total = 0
-for line in lines[:-1]:
+for line in lines:
     total += line.amount
*** Add File: tests/test_app.py
+def test_total():
+    pass
*** Delete File: old.py
*** End Patch
"""


def test_patch_of_codex() -> None:
    found = diffs.patch(PATCH)
    assert drawn(found) == [
        "@Changed: src/app.py",
        "@in def total(lines):",
        " total = 0",
        f"{MINUS}for line in lines<mark>[:-1]</mark>:",
        "+for line in lines:",
        "     total += line.amount",
        "@New: tests/test_app.py",
        "+def test_total():",
        "+    pass",
        "@Deleted: old.py",
    ]
    assert found is not None
    assert (found.paths, found.added, found.removed) == (["src/app.py", "tests/test_app.py", "old.py"], 3, 1)


def test_unified_diff_has_its_numbers() -> None:
    found = diffs.patch("--- a/x.py\n+++ b/x.py\n@@ -10,3 +10,3 @@ class A\n a\n-b\n+c\n d\n")
    assert found is not None
    assert found.paths == ["x.py"]
    assert [(line.old, line.new) for line in found.lines if line.kind != "hunk"] == [(10, 10), (11, None), (None, 11), (12, 12)]


def test_what_is_no_patch_is_none() -> None:
    for text in ("", "hello", "- a list\n- of things", "*** Begin"):
        assert diffs.patch(text) is None


@given(st.text(alphabet="*-+@ \nab", max_size=120))
def test_any_patch(text: str) -> None:
    diffs.patch(f"*** Begin Patch\n{text}")


def test_a_cut_diff_ends_with_no_lone_heading() -> None:
    found = diffs.patch(PATCH)
    assert found is not None
    assert [line.kind for line in found.first(7)][-1] != "hunk"
