"""What an edit changed: two texts, or a patch as an agent wrote it, as lines with numbers, signs and marked words.

Pure. Every line is safe HTML. Comparing costs the product of what is compared in the worst case, so each step has a limit, and a diff
that met one says so in `note`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from html import escape

from django.utils.safestring import SafeString, mark_safe

from sessions_app.rendering import visible

# Lines around a change.
CONTEXT = 3
# Lines on either side that are compared, once what both begin and end with is taken off; beyond it the whole piece counts as replaced.
COMPARED_LINES = 400
# Characters of a line whose words are compared, and of a line that is shown.
WORDS_IN = 400
SHOWN_LINE = 1_000
# Equal pairs that comparing may walk through, of lines in one comparison and of words in one diff: many equal ones make it slow, not many.
LINE_MATCHES = 20_000
WORD_MATCHES = 30_000
# The share of words that two lines must have in common to be one line that changed.
ALIKE = 0.4
# Characters of both texts together that are looked at.
COMPARED_CHARACTERS = 400_000

WORDS = re.compile(r"\w+|\s+|[^\w\s]")
FILE = re.compile(r"\*\*\* (Update|Add|Delete) File: (.+)")
MOVED = "*** Move to: "
HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line. kind: "add", "del", "" (kept) or "hunk" (a heading). old, new: its numbers, None where they are not known."""

    kind: str
    html: SafeString
    old: int | None = None
    new: int | None = None

    @property
    def sign(self) -> str:
        return {"add": "+", "del": "\u2212"}.get(self.kind, "")


@dataclass(slots=True)
class Diff:
    """lines: what is shown. added, removed: of all of it. note: what was not done, and why. paths: the files, in order."""

    lines: list[Line] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    note: str = ""
    paths: list[str] = field(default_factory=list)

    @property
    def is_numbered(self) -> bool:
        return any(line.old is not None or line.new is not None for line in self.lines)

    def first(self, count: int) -> list[Line]:
        """Return the lines shown before all are asked for. The last one is never a lone heading."""
        lines = self.lines[:count]
        while lines and lines[-1].kind == "hunk":
            lines.pop()
        return lines


def compare(old: str, new: str, *, start: int | None = None) -> Diff:
    """Return what changed between two texts, with three lines around it. start: the number of the first line, where it is known."""
    found = Diff()
    if len(old) + len(new) > COMPARED_CHARACTERS:
        found.added, found.removed = _line_count(new), _line_count(old)
        found.note = f"Not compared: more than {COMPARED_CHARACTERS // 1000:,} kB of text."
        return found
    before, after = old.splitlines(), new.splitlines()
    groups, is_rough = _groups(before, after)
    words = _Words()
    for number, group in enumerate(groups):
        if number:
            found.lines.append(Line("hunk", _at(start, group[0][1], group[-1][2])))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                found.lines += [
                    Line("", _shown(before[at]), _plus(start, at), _plus(start, at - old_from + new_from)) for at in range(old_from, old_to)
                ]
                continue
            gone, come = words.pair(before[old_from:old_to], after[new_from:new_to])
            found.lines += [Line("del", html, old=_plus(start, old_from + at)) for at, html in enumerate(gone)]
            found.lines += [Line("add", html, new=_plus(start, new_from + at)) for at, html in enumerate(come)]
            found.removed += old_to - old_from
            found.added += new_to - new_from
    if is_rough:
        found.note = f"Shown as replaced as a whole: too much changed to compare it line by line (the limit is {COMPARED_LINES} lines)."
    elif not found.lines and old != new:
        found.note = "Only line ends differ."
    return found


def several(pairs: Sequence[tuple[str, str]]) -> Diff:
    """Return several edits of one file as one diff with a heading each."""
    found = Diff()
    for number, (old, new) in enumerate(pairs, 1):
        part = compare(old, new)
        if len(pairs) > 1:
            found.lines.append(Line("hunk", mark_safe(f"Edit {number} of {len(pairs)}")))
        found.lines += part.lines
        found.added += part.added
        found.removed += part.removed
        found.note = found.note or part.note
    return found


def patch(text: str) -> Diff | None:
    """Read a patch: the "*** Begin Patch" form of Codex, or a unified diff. None where the text is neither."""
    found = Diff()
    if "*** Begin Patch" in text[:2000]:
        lines = text.split("*** Begin Patch", 1)[1].split("*** End Patch", 1)[0].splitlines()
        _read(lines, found)
    elif text.lstrip().startswith(("--- ", "diff --git ", "Index: ", "@@ -")):
        _read(text.splitlines(), found)
    return found if found.lines or found.paths else None


def _read(lines: Sequence[str], found: Diff) -> None:
    old: int | None = None
    new: int | None = None
    words, gone, come = _Words(), list[str](), list[str]()

    def flush() -> None:
        nonlocal old, new
        for kind, pieces in zip(("del", "add"), words.pair(gone, come), strict=True):
            for html in pieces:
                found.lines.append(Line(kind, html, old if kind == "del" else None, new if kind == "add" else None))
                if kind == "del":
                    old = _plus(old, 1)
                else:
                    new = _plus(new, 1)
        found.removed += len(gone)
        found.added += len(come)
        gone.clear()
        come.clear()

    for line in lines:
        if line.startswith("-") and not line.startswith("--- "):
            if come:
                flush()
            gone.append(line[1:])
            continue
        if line.startswith("+") and not line.startswith("+++ "):
            come.append(line[1:])
            continue
        flush()
        if file := FILE.fullmatch(line.rstrip()):
            found.paths.append(file[2])
            found.lines.append(
                Line("hunk", mark_safe(f"{ {'Update': 'Changed', 'Add': 'New', 'Delete': 'Deleted'}[file[1]] }: {_shown(file[2])}"))
            )
            old = new = None if file[1] != "Add" else 1
        elif line.startswith(MOVED):
            found.lines.append(Line("hunk", mark_safe(f"Moved to: {_shown(line[len(MOVED) :])}")))
        elif line.startswith("+++ "):
            path = line[4:].split("\t")[0].removeprefix("b/")
            found.paths.append(path)
            found.lines.append(Line("hunk", mark_safe(f"Changed: {_shown(path)}")))
        elif line.startswith("@@"):
            if at := HUNK.match(line):
                old, new = int(at[1][:9]), int(at[2][:9])
            heading = (at[3] if at else line[2:].strip().removesuffix("@@")).strip()
            place = f"Line {new}" if at else ""
            if at or heading or (found.lines and found.lines[-1].kind != "hunk"):
                label = ", ".join(filter(None, (place, f"in {heading}" if heading else ""))) or "\u22ef"
                found.lines.append(Line("hunk", _shown(label)))
        elif (line.startswith(" ") or not line) and found.lines:
            found.lines.append(Line("", _shown(line[1:]), old, new))
            old, new = _plus(old, 1), _plus(new, 1)
    flush()


def _groups(before: list[str], after: list[str]) -> tuple[list[list[tuple[str, int, int, int, int]]], bool]:
    """Return difflib's groups of steps, and whether the middle was too long to compare."""
    head, tail = _ends(before, after)
    old_end, new_end = len(before) - tail, len(after) - tail
    steps: list[tuple[str, int, int, int, int]] = []
    if head:
        steps.append(("equal", 0, head, 0, head))
    is_rough = max(old_end, new_end) - head > COMPARED_LINES or _matches(before[head:old_end], after[head:new_end]) > LINE_MATCHES
    if is_rough:
        steps.append(("replace", head, old_end, head, new_end))
    else:
        middle = SequenceMatcher(None, before[head:old_end], after[head:new_end], autojunk=False)
        steps += [(tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in middle.get_opcodes()]
    if tail:
        steps.append(("equal", old_end, len(before), new_end, len(after)))
    return list(_grouped(steps)), is_rough


def _grouped(steps: list[tuple[str, int, int, int, int]]) -> Iterator[list[tuple[str, int, int, int, int]]]:
    """Split the steps where more than twice the context stands unchanged, and cut what is unchanged to the context."""
    if all(step[0] == "equal" for step in steps):
        return
    group: list[tuple[str, int, int, int, int]] = []
    for number, (tag, a, b, c, d) in enumerate(steps):
        if tag != "equal":
            group.append((tag, a, b, c, d))
            continue
        is_first, is_last = number == 0, number == len(steps) - 1
        after = min(CONTEXT, b - a) if not is_first else 0
        ahead = min(CONTEXT, b - a) if not is_last else 0
        if not is_first and not is_last and b - a <= 2 * CONTEXT:
            group.append((tag, a, b, c, d))
            continue
        if after:
            group.append((tag, a, a + after, c, c + after))
        if not is_first and not is_last:
            yield group
            group = []
        if ahead:
            group.append((tag, b - ahead, b, d - ahead, d))
    if group:
        yield group


def _ends(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """Return how many pieces both begin with, and how many both end with."""
    least = min(len(before), len(after))
    head = 0
    while head < least and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < least - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return head, tail


class _Words:
    """Marks the words that differ between lines that stand for each other, until WORD_MATCHES are used up."""

    def __init__(self) -> None:
        self.left = WORD_MATCHES

    def pair(self, gone: Sequence[str], come: Sequence[str]) -> tuple[list[SafeString], list[SafeString]]:
        old = [_shown(line) for line in gone]
        new = [_shown(line) for line in come]
        for at, (before, after) in enumerate(zip(gone, come, strict=False)):
            if before == after or len(before) > WORDS_IN or len(after) > WORDS_IN:
                continue
            one, other = WORDS.findall(before), WORDS.findall(after)
            self.left -= _matches(one, other) + len(one) + len(other)
            if self.left < 0:
                break
            head, tail = _ends(one, other)
            matcher = SequenceMatcher(None, one[head : len(one) - tail], other[head : len(other) - tail], autojunk=False)
            steps = [(tag != "equal", a + head, b + head, c + head, d + head) for tag, a, b, c, d in matcher.get_opcodes()]
            same = head + tail + sum(b - a for differs, a, b, _, _ in steps if not differs)
            # lines with little in common are other lines, and all of them marked would say nothing
            if 2 * same < ALIKE * (len(one) + len(other)):
                continue
            steps = [(False, 0, head, 0, head), *steps, (False, len(one) - tail, len(one), len(other) - tail, len(other))]
            old[at] = _marked(one, [(differs, a, b) for differs, a, b, _, _ in steps])
            new[at] = _marked(other, [(differs, c, d) for differs, _, _, c, d in steps])
        return old, new


def _marked(words: list[str], steps: list[tuple[bool, int, int]]) -> SafeString:
    pieces = []
    for differs, start, end in steps:
        text = escape(visible("".join(words[start:end])))
        pieces.append(f"<mark>{text}</mark>" if differs and text else text)
    return mark_safe("".join(pieces))


def _shown(line: str) -> SafeString:
    cut = f"{line[:SHOWN_LINE]}\u2026" if len(line) > SHOWN_LINE else line
    return mark_safe(escape(visible(cut)))


def _plus(start: int | None, offset: int) -> int | None:
    return None if start is None else start + offset


def _at(start: int | None, old_from: int, old_to: int) -> SafeString:
    if start is None:
        return mark_safe("\u22ef")
    return mark_safe(f"Lines {start + old_from} to {start + old_to - 1}")


def _matches(one: Sequence[str], other: Sequence[str]) -> int:
    counts = Counter(other)
    return sum(counts[piece] for piece in one)


def _line_count(text: str) -> int:
    return text.count("\n") + (1 if text and not text.endswith("\n") else 0)
