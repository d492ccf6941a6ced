"""What the demo's sessions say. Invented by us from end to end: people, companies, numbers, code.

A scenario is a list of steps that `demo` turns into events. «name» in any text is a slot: one of the values listed under `slots`, chosen
anew for each session, so that a scenario told ten times does not read the same ten times. Dates are slots as well (see `demo.date_slots`):
the demo always ends today.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class User:
    """The person writes."""

    text: str
    after_minutes: float = 4.0  # since what came before


@dataclass(frozen=True, slots=True)
class Think:
    """The model thinks aloud."""

    text: str


@dataclass(frozen=True, slots=True)
class Say:
    """The model answers, in Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call and its result."""

    tool: str
    arguments: dict[str, Any]
    output: str
    seconds: float = 0.4
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class SubAgent:
    """A task given to a sub-agent, told by its own steps; `answer` is what comes back."""

    description: str
    prompt: str
    steps: list[Any]
    answer: str


@dataclass(frozen=True, slots=True)
class Compact:
    """The context became too long and was summed up."""

    summary: str
    trigger: str = "auto"


@dataclass(frozen=True, slots=True)
class Note:
    """A system message."""

    text: str


@dataclass(frozen=True, slots=True)
class Rounds:
    """Between `least` and `most` rounds of ordinary work, taken from ROUNDS: what makes a long session long."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story. users, models: chosen among, the first more often. hour: when such a session begins (None: at the office's hours).
    weight: how often it is told. once: told once, on this many days before today. summary: "" = left open, where the channel lets it."""

    title: str
    channel: str
    agent: str
    users: list[str]
    models: list[str]
    steps: list[Any]
    project: str = ""
    branch: str = ""
    triggered_by: str | None = None
    hour: int | None = None
    weight: float = 1.0
    once: float | None = None
    summary: str = ""
    archived: bool = False
    slots: dict[str, list[str]] = field(default_factory=dict)


HEARTBEAT = "__heartbeat__"

# Rounds of ordinary coding work. Slots: module, test, service.
ROUNDS: list[list[Any]] = [
    [
        Say("I look at how `«module»` is used before I change it."),
        Call(
            "Grep",
            {"pattern": "«module»"},
            "src/api/routes.py:14\nsrc/jobs/nightly.py:31\nsrc/«module».py:1\ntests/test_«module».py:3",
            0.1,
        ),
        Call(
            "Read",
            {"file_path": "src/«module».py"},
            "1\tfrom __future__ import annotations\n2\t\n3\tfrom decimal import Decimal\n4\t\n5\t\n6\tdef total(lines: list[Line]) -> Decimal:\n7\t    return sum((line.amount for line in lines), Decimal(0))\n",
            0.0,
        ),
    ],
    [
        Think(
            "The name says one thing and the body does another. A rename first, in a commit of its own, so that the change itself stays small."
        ),
        Call(
            "Edit",
            {
                "file_path": "src/«module».py",
                "old_string": "def total(lines):\n    result = 0\n    for line in lines:\n        result += line.amount\n    return round(result, 2)",
                "new_string": "def total(lines: Iterable[Line]) -> Decimal:\n    return sum((line.amount for line in lines), Decimal(0))",
            },
            "The file src/«module».py has been updated.",
            0.0,
        ),
        Call(
            "Bash",
            {"command": "pytest -q tests/test_«module».py", "description": "Run the module's tests"},
            "..............                    [100%]\n14 passed in 0.62s",
            1.4,
        ),
        Say("Fourteen pass. The rounding is gone: amounts stay `Decimal` until they are shown."),
    ],
    [
        Call(
            "Bash",
            {"command": "git diff --stat", "description": "What changed so far"},
            " src/«module».py        | 11 +++++------\n tests/test_«module».py | 24 ++++++++++++++++++++++++\n 2 files changed, 29 insertions(+), 6 deletions(-)",
            0.1,
        ),
        Say("Two files, as planned. Next the edge that started all this: an empty list."),
    ],
    [
        Call(
            "Bash",
            {"command": "pytest -q -x", "description": "All tests, stop at the first failure"},
            "....................F\n=================================== FAILURES ===================================\n____________________________ test_empty_page _____________________________\n\n    def test_empty_page():\n>       assert join_pages([]) == []\nE       IndexError: list index out of range\n\nsrc/«module».py:91: IndexError\n1 failed, 20 passed in 3.1s",
            4.2,
            is_error=True,
        ),
        Think("`lines[-1]` on an empty list. The loop never ran, so there is nothing to compare with."),
        Call(
            "Edit",
            {
                "file_path": "src/«module».py",
                "old_string": "        if following and carried(lines[-1], following):",
                "new_string": "        if lines and following and carried(lines[-1], following):",
            },
            "The file src/«module».py has been updated.",
            0.0,
        ),
        Call(
            "Bash",
            {"command": "pytest -q", "description": "All tests again"},
            "...........................................              [100%]\n43 passed in 6.21s",
            7.0,
        ),
        Say("It was an empty page: nothing before it to compare with. 43 pass now."),
    ],
    [
        Call("Glob", {"pattern": "tests/fixtures/**/*.json"}, "63 files", 0.1),
        Call(
            "Bash",
            {"command": "python -m timeit -s 'from «module» import load' 'load(\"tests/fixtures/large.json\")'"},
            "20 loops, best of 5: 11.8 msec per loop",
            2.3,
        ),
        Say("11.8 ms for the largest fixture, 12.4 before. No slower, so I leave it at that."),
    ],
    [
        Call(
            "Bash",
            {"command": "ruff check . && mypy src", "description": "Style and types"},
            'All checks passed!\nsrc/«module».py:38: error: Argument 1 to "total" has incompatible type "list[Row]"; expected "Iterable[Line]"  [arg-type]\nFound 1 error in 1 file (checked 61 source files)',
            5.5,
            is_error=True,
        ),
        Say(
            "The type checker is right: a `Row` slips in where a `Line` is meant. One caller, mended at its source instead of with a cast."
        ),
        Call(
            "Edit",
            {
                "file_path": "src/jobs/nightly.py",
                "old_string": "    return total(rows)",
                "new_string": "    return total(Line.from_row(row) for row in rows)",
            },
            "The file src/jobs/nightly.py has been updated.",
            0.0,
        ),
        Call("Bash", {"command": "mypy src"}, "Success: no issues found in 61 source files", 4.8),
    ],
    [
        Call(
            "WebFetch",
            {"url": "https://docs.example.org/«service»/changelog", "prompt": "What changed in the retry behaviour?"},
            "4.2: retries are off by default; set `max_attempts`.\n4.1: jitter is added to every delay.",
            1.9,
        ),
        Say("So since 4.2 nothing is retried unless one asks for it. That explains why `«service»` fails on the first hiccup."),
    ],
    [
        Call(
            "TodoWrite",
            {
                "todos": [
                    {"content": "Write the failing test", "status": "completed"},
                    {"content": "Mend the «module»", "status": "in_progress"},
                    {"content": "Backfill «month»", "status": "pending"},
                ]
            },
            "Todos have been modified successfully.",
            0.0,
        ),
    ],
]
# The same for a conversation.
CHAT_ROUNDS: list[list[Any]] = [
    [
        User("And the one after that?"),
        Call("lookup_order", {"order": "90-1177"}, '{"order": "90-1177", "state": "sent"}', 0.6),
        Say("Order 90-1177 is on its way; it should arrive tomorrow."),
    ],
    [User("Can you put that into one sentence?"), Say("Nothing is lost, and nothing is left to do before Monday.")],
    [
        User("Is that number right?"),
        Call("search_manual", {"query": "limits"}, "connection reset by peer", 3.0, is_error=True),
        Call("search_manual", {"query": "limits"}, "Section 4.2: EUR 150 a case.", 0.4),
        Say("Yes: section **4.2**, €150 a case."),
    ],
]
ROUND_SLOTS = {
    "module": ["invoices", "pages", "ledger", "matching", "exports", "currencies", "statements", "mandates"],
    "service": ["mailer", "search", "payments", "webhooks", "storage", "calendar"],
}

CODERS = ["mara.lindqvist", "t.okafor", "pavel.novak"]
SONNET, OPUS, HAIKU = "claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5"
CODEX, MINI, FLASH = "gpt-5.1-codex", "gpt-5-mini", "gemini-2.5-flash"
LOCAL = "qwen3-coder-local"  # runs in the cellar: nobody knows its price
HOUSE = "acme-support-2"  # sold by a gateway that reports what each call cost

SCENARIOS: list[Scenario] = [
    Scenario(
        title="Invoice parser drops the last line item of each page on multi-page scans",
        channel="cli",
        agent="claude-code",
        users=["mara.lindqvist"],
        models=[SONNET],
        project="ledger-service",
        branch="fix/page-joiner",
        once=0.02,
        steps=[
            User(
                "The nightly import lost €1,240 again. On multi-page scans the **last line item of each page** goes missing; page 2 of invoice 2291 is where it happens.\n\n"
                "Find out why, fix it, and prove it with a test. Leave the OCR settings alone."
            ),
            Think(
                "The missing item is always the last one before a page break, so OCR is unlikely: it would lose items anywhere. Something treats the last line of a "
                "page as special. A carry-over line would be the usual reason. I should look at how pages are joined before I touch anything."
            ),
            Say("A loss that always hits the line before a page break smells of the page joiner, not of the OCR. I will read that first."),
            Call(
                "Grep",
                {"pattern": "carry_over|join_pages"},
                "parser/pages.py:88\nparser/pages.py:91\nparser/__init__.py:12\ntests/test_pages.py:7",
                0.1,
            ),
            Call(
                "Read",
                {"file_path": "parser/pages.py", "offset": 80, "limit": 20},
                "86\t\n87\t\n88\tdef join_pages(pages: list[Page]) -> list[Line]:\n89\t    lines: list[Line] = []\n90\t    for page in pages:\n91\t        lines.extend(page.lines[:-1])  # last line is the carry-over\n92\t    return lines\n",
                0.0,
            ),
            Say(
                "Found it. `join_pages` drops the last line of **every** page, on the assumption that it is a carry-over (“Übertrag”, “carried forward”). Invoice 2291 has none, so it loses a real item. First a test that shows the loss:"
            ),
            Call(
                "Bash",
                {"command": "pytest -q tests/test_pages.py -k multi_page", "description": "Show the loss"},
                "F.F                                                                      [100%]\n=================================== FAILURES ===================================\n"
                "____________________ test_multi_page_total[invoice-2291] _____________________\n\n"
                "    assert sum(line.amount for line in lines) == Decimal(\"6482.10\")\nE   AssertionError: Decimal('5242.10') == Decimal('6482.10')\n\n2 failed, 1 passed in 1.83s",
                2.6,
                is_error=True,
            ),
            Say("Before I change the rule I want to know how common the other case is."),
            SubAgent(
                "Which fixtures span pages, and which carry over?",
                "List every fixture that spans more than one page, and say which of them end a page with a carry-over line.",
                [
                    Call("Glob", {"pattern": "tests/fixtures/**/*.json"}, "63 files", 0.1),
                    Call("Grep", {"pattern": "Übertrag|carried forward|繰越"}, "17 matches in 17 files", 0.2),
                    Call(
                        "Read",
                        {"file_path": "tests/fixtures/invoice-2291.json"},
                        '{"vendor": "Kessler Metallbau", "pages": [{"lines": 24}, {"lines": 11}], "total": "6482.10"}',
                        0.1,
                    ),
                    Say(
                        "63 fixtures, 22 with more than one page. In 17 the page ends with a carry-over line (German, English, Japanese); in 5 it does not: 2291, 2304, 2377, 2410, 2418."
                    ),
                ],
                "63 fixtures, 22 with more than one page. 17 carry over, 5 do not: 2291, 2304, 2377, 2410, 2418.",
            ),
            Say(
                "Five of 22 end without one, so the line itself must decide. The fix keeps every line and takes one away only when the next page repeats it:"
            ),
            Call(
                "Edit",
                {
                    "file_path": "parser/pages.py",
                    "old_string": "def join_pages(pages: list[Page]) -> list[Line]:\n    lines: list[Line] = []\n    for page in pages:\n        lines.extend(page.lines[:-1])  # last line is the carry-over\n    return lines",
                    "new_string": "def join_pages(pages: list[Page]) -> list[Line]:\n    lines: list[Line] = []\n    for page, following in pairwise([*pages, None]):\n        lines.extend(page.lines)\n        if following and is_carry_over(lines[-1], following):\n            lines.pop()\n    return lines",
                },
                "The file parser/pages.py has been updated.",
                0.0,
            ),
            Call(
                "Bash",
                {"command": "pytest -q", "description": "All tests"},
                "...........................................                              [100%]\n43 passed in 6.21s",
                7.0,
            ),
            Say(
                "All 43 pass, and the total of invoice 2291 is **€6,482.10** again.\n\n"
                "What changed:\n\n"
                "- a page’s last line is removed only if `is_carry_over` finds its amount at the top of the next page\n"
                "- the five fixtures without a carry-over are now in the test, by number\n"
                "- OCR settings are untouched"
            ),
            User("Great. How much did we lose in «month» because of this? Make me a table by vendor.", 11),
            Call(
                "Bash",
                {
                    "command": "python -m ledger.replay --month «month_iso» --compare parser",
                    "description": "Run «month» through both parsers",
                },
                "vendor                 pages  lost_lines  lost_eur\nKessler Metallbau         14           6   1240.00\nBüro Nord GmbH             9           4    318.40\n株式会社みどり            40           0      0.00\nPapeterie Lavigne          6           2     74.95\n",
                38.0,
            ),
            Say(
                "«month», replayed with the old and the new parser:\n\n"
                "| Vendor | Pages | Lines lost | Amount lost, EUR |\n|---|---:|---:|---:|\n"
                "| Kessler Metallbau | 14 | 6 | 1,240.00 |\n| Büro Nord GmbH | 9 | 4 | 318.40 |\n| Papeterie Lavigne | 6 | 2 | 74.95 |\n| 株式会社みどり | 40 | 0 | 0.00 |\n| **Total** | **69** | **12** | **1,633.35** |\n\n"
                "Midori loses nothing: its pages all carry over, as the old rule assumed. I have **not** booked anything; that wants your word."
            ),
            Rounds(16, 16),
            Compact(
                "Mara reported that the nightly import loses the last line item per page. Cause: `join_pages` dropped every page’s last line as a carry-over. Fixed in "
                "`parser/pages.py`; a line is dropped only if the next page repeats its amount. 43 tests pass. «month» lost €1,633.35 over three vendors. Open: Japanese vendor, backfill of «month»."
            ),
            User("Good. Does 株式会社みどり still parse? Their totals row says 合計 and they send 40 pages.", 167),
            Call(
                "Bash",
                {"command": "python -m parser tests/fixtures/midori-40.json | tail -3"},
                "line 612  運送費        ¥  12,400\n合計                    ¥4,118,900\npages 40, lines 613, carry-overs removed 39",
                3.2,
            ),
            Say(
                "It does: 40 pages, 613 lines, 39 carry-overs removed, and the total is ¥4,118,900 as on their cover sheet. `合計` is only read on the last page, so it never counts as a line."
            ),
            User("Then backfill «month», please.", 6),
            Call(
                "Bash",
                {"command": "python -m ledger.backfill --month «month_iso»", "description": "Book the missing lines"},
                "BackfillRefused: 2 statements of «month_iso» are locked (period closed on the 5th)",
                1.1,
                is_error=True,
            ),
            Say(
                "The backfill refuses: two statements of «month» are locked since the period was closed on the 5th. I see two ways:\n\n"
                "1. **Reopen «month»** for these two statements. Needs the controller’s signature.\n"
                "2. **Book into «this_month»** with a reference to «month». No signature, but «month»’s report stays €1,633.35 short.\n\n"
                "I would take the second, and mention it in the month’s notes. Which one?"
            ),
        ],
    ),
    Scenario(
        title="Migrate the reporting database to the new schema, then compare every monthly total since 2019 with the old one",
        channel="cli",
        agent="claude-code",
        users=["t.okafor"],
        models=[OPUS],
        project="reporting",
        branch="schema-v4",
        once=1.6,
        summary="Migrated. 94 of 94 monthly totals agree; the one difference was a double booking of March 2021, now noted.",
        steps=[
            User(
                "Migrate the reporting database to schema v4. When it is done, compare **every monthly total since 2019** with the old database. Any difference, however small, I want explained, not rounded away."
            ),
            Think(
                "Order: copy, migrate the copy, compare, and only then touch the real one. The comparison must not go through the application, or it would repeat the application's mistakes."
            ),
            Say("I will migrate a copy first and compare in plain SQL, so that the comparison shares no code with the migration."),
            Call(
                "Bash",
                {
                    "command": "pg_dump --format=custom reporting > /backup/reporting.dump && createdb reporting_v4 && pg_restore -d reporting_v4 /backup/reporting.dump"
                },
                'pg_restore: warning: errors ignored on restore: 1\nERROR: extension "tablefunc" is not available',
                212,
                is_error=True,
            ),
            Say(
                "`tablefunc` is missing on the new server. It is used by one view that nobody has queried for a year; I leave it out and write it down."
            ),
            Call(
                "Bash",
                {"command": "python manage.py migrate --database v4 reporting 0041"},
                "Applying reporting.0039_split_accounts... OK\nApplying reporting.0040_fill_periods... OK\nApplying reporting.0041_drop_legacy_totals... OK",
                641,
            ),
            Rounds(19, 19),
            Compact(
                "A copy of the reporting database was migrated to v4 (0039 to 0041). View `pivot_2018` left out: it needs tablefunc, and nobody uses it. Next: compare monthly totals since 2019 in SQL."
            ),
            Call(
                "Bash",
                {"command": "psql -f compare_months.sql", "description": "Compare 94 months in both databases"},
                " month   |      old      |      new      | difference\n---------+---------------+---------------+-----------\n 2021-03 | 1,204,118.20  | 1,202,998.20  |  -1,120.00\n(1 row of 94 differs)",
                55,
            ),
            Say("93 of 94 months agree to the cent. March 2021 differs by **€1,120.00**. I look at that month’s bookings by account."),
            SubAgent(
                "Explain the €1,120.00 of March 2021",
                "Find the bookings of March 2021 that are in the old total and not in the new one. Report account, document number and date.",
                [
                    Call(
                        "Bash",
                        {
                            "command": "psql -c \"SELECT document, count(*) FROM old.bookings WHERE period = '2021-03' GROUP BY 1 HAVING count(*) > 1\""
                        },
                        " document | count\n----------+------\n RE-20419 |     2",
                        2.1,
                    ),
                    Say(
                        "Document RE-20419 over €1,120.00 was booked twice in the old database, on 2021-03-11 and 2021-03-30. Schema v4 has a unique constraint on (document, account), so the second one did not come along."
                    ),
                ],
                "RE-20419 over €1,120.00 was booked twice in the old database; the new unique constraint kept one.",
            ),
            Say(
                "Explained: **RE-20419** over €1,120.00 was booked twice in 2021, on the 11th and on the 30th. The new schema’s unique constraint kept one of them, so the *new* total is the right one.\n\n"
                "```sql\nSELECT booked_on, amount FROM old.bookings WHERE document = 'RE-20419';\n--  2021-03-11 | 1120.00\n--  2021-03-30 | 1120.00\n```\n\n"
                "Nothing was rounded. Shall I run the migration on the real database tonight at 22:30?"
            ),
            User("Yes. And note RE-20419 in the year’s file.", 22),
            Call("Bash", {"command": "at 22:30 -f migrate_for_real.sh"}, "job 12 at 22:30", 0.2),
            Call(
                "Write",
                {
                    "file_path": "notes/2021-corrections.md",
                    "content": "# 2021\n\n- RE-20419, EUR 1,120.00, booked twice in March; second booking dropped by schema v4.\n",
                },
                "File created.",
                0.0,
            ),
            Say("Scheduled as job 12, and RE-20419 stands in `notes/2021-corrections.md`."),
        ],
    ),
    Scenario(
        title="Fix flaky websocket reconnect 🔌 in the mobile client",
        channel="cli",
        agent="codex",
        users=["pavel.novak"],
        models=[CODEX],
        project="mobile-client",
        branch="reconnect-backoff",
        once=0.07,
        steps=[
            User("the reconnect test fails about one time in ten on CI, never on my machine. please find out which of the two is right"),
            Think("One in ten and only on CI: timing. Look for a wall clock, a fixed port, or an unawaited task."),
            Call(
                "shell",
                {"command": ["bash", "-lc", "for i in $(seq 40); do npm test -- reconnect >/dev/null 2>&1 || echo fail $i; done"]},
                "fail 7\nfail 19\nfail 33\n",
                142,
            ),
            Say("Reproduced: 3 of 40 with the CPU throttled. So CI is right, and the laptop is too fast to see it."),
            Call(
                "shell",
                {"command": ["bash", "-lc", "rg -n 'setTimeout|Date.now' src/socket"]},
                "src/socket/backoff.ts:18:  setTimeout(() => this.open(), delay)\nsrc/socket/backoff.ts:31:  const delay = Math.min(this.cap, this.base * 2 ** n)\nsrc/socket/index.ts:77:  this.lastSeen = Date.now()",
                0.1,
            ),
            Say(
                "Here it is. `close()` does not cancel a pending `open()`:\n\n"
                "```ts\nclose() {\n  this.socket?.close()\n  // a timer of the backoff may still fire and open a second socket\n}\n```\n\n"
                "Two sockets then race for the same `lastSeen`, and the one that loses is reported as a failed reconnect."
            ),
            Call(
                "apply_patch",
                {
                    "input": "*** Begin Patch\n*** Update File: src/socket/backoff.ts\n@@\n-  setTimeout(() => this.open(), delay)\n+  this.timer = setTimeout(() => this.open(), delay)\n@@\n+  cancel() {\n+    clearTimeout(this.timer)\n+  }\n*** End Patch"
                },
                "Success. Updated src/socket/backoff.ts",
                0.1,
            ),
            Call(
                "shell",
                {
                    "command": [
                        "bash",
                        "-lc",
                        "for i in $(seq 200); do npm test -- reconnect >/dev/null 2>&1 || echo fail $i; done; echo done",
                    ]
                },
                "done",
                611,
            ),
            Say(
                "200 of 200 with the CPU throttled. `close()` now cancels the pending attempt; a test opens and closes within one backoff to keep it so."
            ),
            Rounds(9, 9),
        ],
    ),
    Scenario(
        title="«verb» the «resource» endpoint",
        channel="cli",
        agent="claude-code",
        users=CODERS,
        models=[SONNET, OPUS],
        project="«project»",
        branch="feature/«resource»",
        weight=16,
        summary="Done and merged.",
        slots={
            "verb": [
                "Add keyset pagination to",
                "Rate-limit",
                "Cache",
                "Write the OpenAPI schema of",
                "Add a dry run to",
                "Stream CSV from",
            ],
            "resource": ["orders", "invoices", "customers", "payouts", "mandates", "shipments"],
            "project": ["shop-api", "ledger-service", "billing"],
        },
        steps=[
            User(
                "«verb» the `/«resource»` endpoint. Keep the old behaviour for clients that do not ask for the new one, and tell me what it costs in queries."
            ),
            Call(
                "Grep",
                {"pattern": "«resource»"},
                "src/api/routes.py:41\nsrc/api/«resource».py:12\nsrc/api/«resource».py:60",
                0.1,
            ),
            Call(
                "Read",
                {"file_path": "src/api/«resource».py"},
                '12\t@router.get("/«resource»")\n13\tdef list_«resource»(request, limit: int = 50):\n14\t    return «resource»_of(request.user)[:limit]\n',
                0.0,
            ),
            Think("No order, no cursor: pages may repeat or skip rows when two share a time. The id has to break ties."),
            Say(
                "The list has no order of its own, so two pages may show the same row. I put `(created_at, id)` under it first; everything else rests on that."
            ),
            Rounds(6, 18),
            Say(
                "Done. For a page of 50:\n\n| | before | after |\n|---|---:|---:|\n| queries | 53 | 3 |\n| time, ms | 212 | 19 |\n| bytes | 41 k | 41 k |\n\n"
                "Clients that send nothing new get exactly what they got: the old tests pass unchanged."
            ),
            User("nice. merge it", 9),
            Call(
                "Bash",
                {"command": "git push && gh pr merge --squash --auto"},
                "✓ Pull request will be automatically merged via squash when all requirements are met",
                3.3,
            ),
            Say("It merges itself as soon as the checks are green."),
        ],
    ),
    Scenario(
        title="Upgrade «package» to «version» and read what breaks",
        channel="cli",
        agent="codex",
        users=["pavel.novak", "t.okafor"],
        models=[CODEX, MINI],
        project="shop-api",
        branch="deps/«package»",
        weight=7,
        summary="Upgraded; one deprecated call replaced.",
        slots={
            "package": ["django", "pydantic", "sqlalchemy", "httpx", "celery"],
            "version": ["the new LTS", "the next minor", "the current release"],
        },
        steps=[
            User("Upgrade «package» to «version». Read the release notes first and tell me what concerns us."),
            Call(
                "web_search",
                {"query": "«package» release notes breaking changes"},
                "1. Release notes: three deprecations removed\n2. Migration guide",
                1.6,
            ),
            Say("Of the removed deprecations we use one, in two places. The other changes are in parts we do not touch."),
            Call(
                "shell",
                {"command": ["bash", "-lc", "uv lock --upgrade-package «package» && uv run pytest -q"]},
                "ERROR tests/test_export.py - DeprecationWarning: use `render_to_string`\n1 error, 388 passed in 41.20s",
                55,
                is_error=True,
            ),
            Call(
                "apply_patch",
                {
                    "input": '*** Begin Patch\n*** Update File: src/export.py\n@@\n-    body = render(template, rows)\n+    body = render_to_string(template, {"rows": rows})\n*** End Patch'
                },
                "Success. Updated src/export.py",
                0.1,
            ),
            Call("shell", {"command": ["bash", "-lc", "uv run pytest -q"]}, "389 passed in 40.87s", 48),
            Rounds(1, 3),
            Say("389 pass. The diff is the lock file and one line of ours."),
        ],
    ),
    Scenario(
        title="Find the N+1 query on the «page» page",
        channel="cli",
        agent="claude-code",
        users=["mara.lindqvist", "t.okafor"],
        models=[SONNET, HAIKU],
        project="shop-web",
        weight=6,
        summary="One prefetch; 204 queries became 5.",
        slots={"page": ["order history", "basket", "supplier", "returns"]},
        steps=[
            User(
                "The «page» page takes two seconds for customers with many orders. I suspect the queries. Show me before you change anything."
            ),
            Call(
                "Bash",
                {"command": "python manage.py profile_page --path /account/ --user heavy"},
                "204 queries in 1,840 ms\n  198 x SELECT ... FROM shop_lineitem WHERE order_id = %s",
                3.4,
            ),
            Say(
                '198 of the 204 queries are the same one: the line items of each order, fetched one order at a time.\n\n```python\norders = Order.objects.filter(customer=customer)          # 1 query\nfor order in orders:\n    total = sum(i.amount for i in order.items.all())      # + 1 for each order\n```\n\nOne `prefetch_related("items")` ends that. Shall I?'
            ),
            User("yes please, with a test that fails if it comes back", 3),
            Call(
                "Edit",
                {
                    "file_path": "shop/queries.py",
                    "old_string": "Order.objects.filter(customer=customer)",
                    "new_string": 'Order.objects.filter(customer=customer).prefetch_related("items")',
                },
                "The file shop/queries.py has been updated.",
                0.0,
            ),
            Call("Bash", {"command": "pytest -q tests/test_account.py"}, "......                [100%]\n6 passed in 1.02s", 2.0),
            Rounds(2, 5),
            Say("204 queries became 5, 1,840 ms became 61. The test asks for the same number of queries with 5 and with 50 orders."),
        ],
    ),
    Scenario(
        title="Rename “customer” to “account” across the API docs",
        channel="cli",
        agent="codex",
        users=["pavel.novak"],
        models=[CODEX],
        project="docs",
        once=4.3,
        archived=True,
        summary="Renamed in 61 files; three quotations kept.",
        steps=[
            User("rename “customer” to “account” across the API docs. not in quotations, not in the changelog"),
            Call(
                "shell",
                {"command": ["bash", "-lc", "rg -il customer docs | wc -l && rg -ic customer docs | awk -F: '{s+=$2} END {print s}'"]},
                "64\n512",
                0.2,
            ),
            Rounds(5, 6),
            Say(
                "512 places in 64 files; 498 renamed, 14 kept: 11 in the changelog and three quotations. Links that had `customer` in their anchor got a redirect, so that old bookmarks still land."
            ),
        ],
    ),
    Scenario(
        title="배포 실패 로그에서 원인 찾기",
        channel="cli",
        agent="claude-code",
        users=["jun.watanabe"],
        models=[SONNET],
        project="deploy",
        once=2.4,
        summary="이미지 태그가 비어 있었음. CI 변수 수정.",
        steps=[
            User("어젯밤 배포가 실패했습니다. 로그를 보고 원인을 찾아 주세요. 아직 아무것도 고치지 마세요."),
            Call(
                "Bash",
                {"command": "kubectl logs deploy/shop-api --previous | tail -20"},
                'Error: InvalidImageName: couldn\'t parse image reference "registry.example.org/shop-api:"',
                1.2,
            ),
            Say(
                "원인을 찾았습니다. 이미지 태그가 **비어 있습니다** (`shop-api:` 뒤에 아무것도 없음).\n\n1. CI에서 `IMAGE_TAG`를 설정하는 단계가 건너뛰어졌습니다.\n2. 조건식이 `main` 브랜치만 허용하는데, 배포는 `release/11`에서 실행되었습니다.\n\n고칠 곳은 `.ci/deploy.yml` 한 줄입니다. 진행할까요?"
            ),
        ],
    ),
    Scenario(
        title="Größere Uploads schlagen mit 413 fehl",
        channel="cli",
        agent="claude-code",
        users=["mara.lindqvist"],
        models=[HAIKU, SONNET],
        project="shop-web",
        once=8.2,
        summary="Grenze von 1 MB auf 20 MB gesetzt, mit Test.",
        steps=[
            User("Uploads über 1 MB schlagen mit 413 fehl, obwohl in den Einstellungen 20 MB stehen. Woran liegt das?"),
            Call(
                "Grep",
                {"pattern": "client_max_body_size|MAX_UPLOAD"},
                "deploy/nginx.conf:22: # client_max_body_size 20m;\nsettings.py:88: MAX_UPLOAD = 20_000_000",
                0.1,
            ),
            Say(
                "Die Anwendung erlaubt 20 MB, aber **nginx davor nicht**: Die Zeile in `deploy/nginx.conf` ist auskommentiert, und dann gilt die Vorgabe von 1 MB."
            ),
            Call(
                "Edit",
                {
                    "file_path": "deploy/nginx.conf",
                    "old_string": "    # client_max_body_size 20m;",
                    "new_string": "    client_max_body_size 20m;",
                },
                "The file deploy/nginx.conf has been updated.",
                0.0,
            ),
            Say("Geändert. Der neue Test lädt 19 MB hoch (200) und 21 MB (413)."),
        ],
    ),
    # --- support -------------------------------------------------------------------------------------------------------------------
    Scenario(
        title="Refund for order «order»: customer says the voucher was already used",
        channel="telegram",
        agent="support-bot",
        users=["noor.haddad"],
        models=[HOUSE, HAIKU],
        weight=6,
        slots={
            "order": ["88-4127", "88-4310", "87-9902", "88-0218", "86-7741", "88-5006"],
            "amount": ["24.90", "61.00", "12.50", "139.00"],
        },
        steps=[
            User("Order «order»: the customer says the voucher we sent as a refund was already used. Was it?"),
            Call(
                "lookup_order",
                {"order": "«order»"},
                '{"order": "«order»", "state": "refunded", "refund": {"kind": "voucher", "code": "TH-7Q2M", "amount": "«amount»"}}',
                0.6,
            ),
            Call(
                "lookup_voucher",
                {"code": "TH-7Q2M"},
                '{"code": "TH-7Q2M", "state": "redeemed", "at": "«three_days_ago_iso»T18:22:10Z", "by": "other account"}',
                0.5,
            ),
            Say(
                "It was: **TH-7Q2M** over €«amount» was redeemed on «three_days_ago» by *another* account. Either it was passed on, or the code was seen by a third person. I can lock what is left of it, but there is nothing left.\n\nTwo honest ways: a new voucher, or the money back to the card. Rule 4.2 allows both below €150."
            ),
            User("Give them the money back. And tell me what to write.", 3),
            Call(
                "refund_order",
                {"order": "«order»", "method": "card"},
                '{"error": "already_refunded", "detail": "void the voucher first"}',
                0.9,
                is_error=True,
            ),
            Call("void_voucher", {"code": "TH-7Q2M"}, '{"ok": true}', 0.4),
            Call("refund_order", {"order": "«order»", "method": "card"}, '{"ok": true, "arrives": "3 to 5 working days"}', 0.9),
            Say(
                "Done; €«amount» arrive within 3 to 5 working days. For the customer:\n\n> We have looked into it: the voucher was used from another account. You should not bear that, so we have sent the amount back to your card. It takes 3 to 5 working days."
            ),
        ],
    ),
    Scenario(
        title="كيف أغيّر عنوان الفوترة في حسابي؟",
        channel="main",
        agent="support-bot",
        users=["guest-«guest»"],
        models=[HAIKU],
        weight=1,
        slots={"guest": ["5521", "5388", "5410"]},
        steps=[
            User("كيف أغيّر عنوان الفوترة في حسابي؟"),
            Say(
                "أهلًا! يمكنك تغييره هكذا:\n\n1. افتح **الحساب** ثم **الفواتير**.\n2. اختر “تعديل العنوان”.\n3. احفظ. يسري العنوان الجديد على الفواتير القادمة فقط.\n\nهل تحتاج إلى تصحيح فاتورة صدرت من قبل؟"
            ),
            User("لا، شكرًا", 2),
            Say("على الرحب والسعة."),
        ],
    ),
    Scenario(
        title="What does error «code» mean on the card terminal?",
        channel="main",
        agent="support-bot",
        users=["guest-«guest»"],
        models=[HAIKU, HOUSE],
        weight=7,
        summary="Answered.",
        slots={"guest": ["5519", "5502", "5497", "5533", "5466", "5540"], "code": ["E-4031", "E-2110", "E-0007", "E-5102"]},
        steps=[
            User("My card terminal says «code» and the customer is waiting. What now?"),
            Call(
                "search_manual",
                {"query": "«code»"},
                "«code»: the terminal has no connection to the acquirer. Offline payments up to EUR 50 are possible.",
                0.3,
            ),
            Say(
                "«code» means the terminal cannot reach the bank. Right now:\n\n1. Payments **up to €50** work offline: press `F` and go on.\n2. For more, put the terminal back on its base for ten seconds.\n\nIf it comes back within the hour, the line is at fault, not the terminal."
            ),
            User("base helped. thanks!", 2),
            Say("Glad to hear it."),
        ],
    ),
    Scenario(
        title="¿Puedo cambiar la fecha de entrega del pedido «order»?",
        channel="telegram",
        agent="support-bot",
        users=["noor.haddad", "leila.s"],
        models=[HAIKU, HOUSE],
        weight=3,
        slots={"order": ["77-1034", "77-2210", "76-8080"]},
        steps=[
            User("¿Puedo cambiar la fecha de entrega del pedido «order»? El jueves no estoy en casa."),
            Call("lookup_order", {"order": "«order»"}, '{"order": "«order»", "state": "packed", "delivery": "Thu"}', 0.5),
            Say("Sí: el paquete aún no ha salido. Puedo ofrecerte **viernes** o **lunes**, de 9 a 13 h o de 16 a 20 h. ¿Cuál prefieres?"),
            User("viernes por la tarde", 5),
            Call("move_delivery", {"order": "«order»", "slot": "Fri 16-20"}, '{"ok": true}', 0.7),
            Say("Hecho: viernes, de 16 a 20 h. Recibirás un aviso media hora antes."),
        ],
    ),
    Scenario(
        title="Где мой заказ 77-2210? Трек-номер не обновляется с понедельника",
        channel="telegram",
        agent="support-bot",
        users=["noor.haddad"],
        models=[HAIKU],
        once=5.6,
        steps=[
            User("Клиент спрашивает, где заказ 77-2210. Трек-номер не обновляется с понедельника."),
            Call("track_parcel", {"order": "77-2210"}, "timeout after 10 s", 10.0, is_error=True),
            Call(
                "track_parcel",
                {"order": "77-2210"},
                '{"last": "sorting centre", "since": "Mon 14:10", "note": "held: address incomplete"}',
                2.2,
            ),
            Say(
                "Посылка лежит в сортировочном центре с понедельника: **не указан номер квартиры**. Если клиент пришлёт его сегодня до 18:00, доставят завтра."
            ),
        ],
    ),
    Scenario(
        title="Draft reply to the landlord about the heating",
        channel="telegram",
        agent="assistant",
        users=["leila.s"],
        models=[FLASH],
        once=2.9,
        steps=[
            User(
                "Draft a reply to my landlord. The heating has been off since Monday, he says the part comes “next week”. Friendly, but I want a date."
            ),
            Say(
                "> Dear Mr Brandt,\n>\n> thank you for letting me know that the part is on its way. The heating has been off since Monday and it is 15 °C in the flat. Could you please tell me the **day** on which it will be repaired? Until then I would be glad of an electric heater, which the tenancy agreement provides for in § 7.\n>\n> Kind regards,\n> Leila\n\nFriendly, one question, one fact he cannot argue with. Shorter?"
            ),
            User("no, perfect. make it german", 6),
            Say(
                "> Sehr geehrter Herr Brandt,\n>\n> danke für die Nachricht, dass das Ersatzteil unterwegs ist. Die Heizung ist seit Montag aus, und in der Wohnung sind es 15 °C. Könnten Sie mir bitte den **Tag** nennen, an dem sie repariert wird? Bis dahin wäre ich für ein elektrisches Heizgerät dankbar, wie es § 7 des Mietvertrags vorsieht.\n>\n> Mit freundlichen Grüßen\n> Leila"
            ),
        ],
    ),
    Scenario(
        title="Plan «what» for the team, vegetarian for three",
        channel="telegram",
        agent="assistant",
        users=["leila.s", "t.okafor"],
        models=[FLASH, MINI],
        weight=2,
        slots={"what": ["Friday lunch", "the offsite dinner", "the winter party"]},
        steps=[
            User("Plan «what» for eleven people, three of them vegetarian, one without nuts. Walking distance, under 30 € each."),
            Call(
                "search_places",
                {"near": "office", "diet": ["vegetarian"], "max_price": 30},
                "Osteria Pina (350 m), Mezze 12 (600 m), Kantine am Kanal (900 m)",
                1.1,
            ),
            Say(
                "Three that fit:\n\n| Place | Walk | Price | Vegetarian | Nuts |\n|---|---:|---:|---|---|\n| Osteria Pina | 4 min | 24 € | 6 dishes | marked |\n| Mezze 12 | 7 min | 19 € | most | **in many** |\n| Kantine am Kanal | 11 min | 17 € | 2 dishes | marked |\n\nI would take **Osteria Pina**: enough choice for all, and their kitchen marks nuts."
            ),
        ],
    ),
    # --- mail ----------------------------------------------------------------------------------------------------------------------
    Scenario(
        title="見積書の金額が請求書と合わない件について(至急)",
        channel="email",
        agent="mail-agent",
        users=["jun.watanabe"],
        models=[FLASH, SONNET],
        once=0.04,
        steps=[
            User("お世話になっております。先日の見積書 Q-2207 と請求書 I-5518 の金額が一致しません。ご確認のうえ、至急ご連絡ください。"),
            Call("read_attachment", {"name": "Q-2207.pdf"}, "小計 ¥380,000 / 消費税 10 % ¥38,000 / 合計 ¥418,000", 1.8),
            Call("read_attachment", {"name": "I-5518.pdf"}, "小計 ¥380,000 / 送料 ¥4,200 / 消費税 10 % ¥38,420 / 合計 ¥422,620", 1.7),
            Say(
                "差額は **¥4,620** で、送料 ¥4,200 とその消費税 ¥420 です。見積書には送料が含まれていませんでした。\n\n| | 見積書 | 請求書 |\n|---|---:|---:|\n| 小計 | 380,000 | 380,000 |\n| 送料 | なし | 4,200 |\n| 消費税 | 38,000 | 38,420 |\n| **合計** | **418,000** | **422,620** |\n\n返信の下書きを用意しました。送料を当社負担にするかどうか、ご判断ください。"
            ),
        ],
    ),
    Scenario(
        title="Translate the «what» mail into Czech and Polish",
        channel="email",
        agent="mail-agent",
        users=["leila.s"],
        models=[FLASH],
        weight=3,
        summary="Translated, proof-read by Pavel.",
        slots={"what": ["onboarding", "price change", "season’s greetings", "maintenance"]},
        steps=[
            User("Translate the «what» mail into Czech and Polish. Formal address, keep the placeholders like {first_name} as they are."),
            Say(
                "**Čeština**\n\n> Vážená paní, vážený pane {first_name}, děkujeme Vám, že jste s námi. Vše potřebné najdete ve svém účtu.\n\n**Polski**\n\n> Szanowni Państwo, {first_name}, dziękujemy za zaufanie. Wszystko, czego potrzeba, znajduje się na Państwa koncie.\n\nOne note: Polish wants a title before the first name (“Pani Anno”); with the bare placeholder I kept the greeting neutral."
            ),
        ],
    ),
    Scenario(
        title="Sort the inbox: «number» mails since yesterday",
        channel="email",
        agent="mail-agent",
        users=["noor.haddad", "jun.watanabe"],
        models=[MINI, FLASH],
        weight=5,
        slots={"number": ["34", "52", "41", "67", "29"]},
        steps=[
            User("Sort the «number» mails since yesterday. What needs me, what can wait, what can go?"),
            Call("list_mails", {"since": "yesterday"}, "«number» mails", 0.8),
            Say(
                "**Needs you today**\n\n- Kessler Metallbau asks for a corrected invoice (third time)\n- The tax office wants the form by Friday\n\n**Can wait**: 9, mostly offers for next month.\n\n**Can go**: the rest. I have touched nothing; say the word and I archive them."
            ),
            User("archive them, keep the offers", 15),
            Call("archive_mails", {"label": "can-go"}, '{"archived": 31}', 1.4),
            Say("31 archived, 9 offers kept under *Next month*."),
        ],
    ),
    Scenario(
        title="मीटिंग के नोट्स का सार बनाइए",
        channel="email",
        agent="mail-agent",
        users=["leila.s"],
        models=[FLASH],
        once=11.2,
        summary="भेज दिया गया।",
        steps=[
            User("कृपया संलग्न मीटिंग नोट्स का पाँच बिंदुओं में सार बनाइए।"),
            Call("read_attachment", {"name": "notes.docx"}, "(4 pages)", 0.9),
            Say(
                "1. नया मूल्य अगले महीने से लागू होगा।\n2. पुराने ग्राहकों को छह महीने की छूट।\n3. सूचना ई-मेल का मसौदा लीला बनाएँगी।\n4. बिलिंग में बदलाव का परीक्षण पावेल करेंगे।\n5. अगली बैठक अगले शुक्रवार को।"
            ),
        ],
    ),
    # --- research ------------------------------------------------------------------------------------------------------------------
    Scenario(
        title="Weekly competitor digest: pricing pages, changelogs, «news»",
        channel="slack",
        agent="research",
        users=["t.okafor"],
        models=[OPUS],
        weight=3,
        summary="Digest posted.",
        slots={"news": ["three new hires", "one outage", "a new free tier", "two conference talks"]},
        steps=[
            User(
                "The weekly digest, please: what changed on the pricing pages and in the changelogs of the five, and «news». Sources for everything."
            ),
            Think("Five companies, each in its own sub-agent, so that one long page does not crowd out the others."),
            Say("I read the five side by side."),
            SubAgent(
                "Read Northwind’s pricing and changelog",
                "Compare Northwind’s pricing page and changelog with last week’s copies. List changes with their source.",
                [
                    Call(
                        "WebFetch",
                        {"url": "https://northwind.example/pricing", "prompt": "All plans and prices"},
                        "Team 12 → 14 per seat",
                        2.2,
                    ),
                    Call(
                        "WebFetch",
                        {"url": "https://northwind.example/changelog", "prompt": "Entries of the last 7 days"},
                        "SSO in all plans; API v3 beta",
                        1.8,
                    ),
                    Say("Team rises from 12 to 14 a seat; SSO is in all plans now; API v3 is in beta."),
                ],
                "Team 12 → 14 a seat; SSO in all plans; API v3 beta.",
            ),
            SubAgent(
                "Read Contoso’s pricing and changelog",
                "The same for Contoso.",
                [
                    Call(
                        "WebFetch",
                        {"url": "https://contoso.example/pricing", "prompt": "All plans and prices"},
                        "403 Forbidden",
                        1.0,
                        is_error=True,
                    ),
                    Call("WebSearch", {"query": "Contoso pricing change"}, "No change found since August.", 1.4),
                    Say("The page refuses us; nothing else says that prices changed."),
                ],
                "Pricing page refuses us (403). No sign of a change elsewhere.",
            ),
            Say(
                "## This week\n\n| Company | Pricing | Product |\n|---|---|---|\n| Northwind | Team **12 → 14** a seat | SSO in all plans, API v3 beta |\n| Contoso | not readable (403) | nothing seen |\n| Fabrikam | unchanged | mobile app 5.0 |\n| Tailspin | free tier now 3 users | one outage, 2 h 10 min |\n| Wingtip | unchanged | unchanged |\n\n"
                "What matters to us: Northwind’s **SSO in all plans** takes away our argument in the small-team talks. I would say that on Monday."
            ),
        ],
    ),
    Scenario(
        title="Why is checkout slower on «day»?",
        channel="slack",
        agent="research",
        users=["jun.watanabe", "t.okafor"],
        models=[SONNET, OPUS],
        weight=3,
        slots={"day": ["Fridays", "Mondays", "the first of the month"]},
        steps=[
            User("Why is checkout slower on «day»? Look at the last eight weeks, and please no guess without a number."),
            Call(
                "run_sql",
                {
                    "query": "SELECT weekday, percentile_cont(0.95) WITHIN GROUP (ORDER BY ms) FROM checkout WHERE at > now() - interval '8 weeks' GROUP BY 1"
                },
                "canceling statement due to statement timeout",
                30.0,
                is_error=True,
            ),
            Call(
                "run_sql",
                {"query": "SELECT weekday, p95_ms, orders FROM checkout_daily WHERE day > current_date - 56"},
                "Mon 410 1,204\nTue 402 1,188\nWed 398 1,230\nThu 415 1,301\nFri 930 1,410\nSat 388 640\nSun 371 602",
                1.9,
            ),
            Say(
                "The 95th percentile by weekday:\n\n| Day | p95, ms | Orders |\n|---|---:|---:|\n| Mon | 410 | 1,204 |\n| Wed | 398 | 1,230 |\n| **Fri** | **930** | 1,410 |\n| Sun | 371 | 602 |\n\nOrders rise by 15 %, the time by 130 %: load alone does not explain it."
            ),
            Call(
                "run_sql",
                {"query": "SELECT query, calls, mean_exec_time FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 3"},
                "UPDATE stock SET reserved = ...  | 9,812 | 41.2\nSELECT ... FROM vouchers          | 9,790 | 3.3",
                0.8,
            ),
            Say(
                "It is a lock: the stock export runs every Friday from 14:00 and holds `stock` for up to 40 s at a time, and checkout’s `UPDATE stock` waits behind it.\n\n```sql\n-- export, today\nBEGIN; LOCK TABLE stock IN SHARE MODE; COPY ...; COMMIT;\n-- instead: a snapshot locks nobody out\nBEGIN ISOLATION LEVEL REPEATABLE READ; COPY ...; COMMIT;\n```\n\nOne line in the export job. I have not changed it: it belongs to finance."
            ),
        ],
    ),
    Scenario(
        title="Compare three vector stores for the help centre",
        channel="slack",
        agent="research",
        users=["jun.watanabe"],
        models=[OPUS],
        once=13.4,
        summary="pgvector, because it is already there.",
        steps=[
            User("Compare three vector stores for the help centre: 40,000 articles, two languages, one machine."),
            Call("WebSearch", {"query": "vector store benchmark 50k documents single node"}, "5 results", 1.5),
            Say(
                "At 40,000 articles any of them answers in milliseconds; what differs is what one has to run.\n\n| | extra service | filters | backup |\n|---|---|---|---|\n| pgvector | none | SQL | with the rest |\n| Qdrant | one container | rich | its own |\n| LanceDB | none (files) | some | copy the folder |\n\n**pgvector**: the database is there, and so is its backup. I would only think again at ten million."
            ),
        ],
    ),
    Scenario(
        title="New colleague starts Monday: accounts, laptop, first week",
        channel="slack",
        agent="assistant",
        users=["mara.lindqvist"],
        models=[MINI],
        once=9.3,
        archived=True,
        summary="All twelve points done.",
        steps=[
            User("Ines starts on Monday as a developer. Make the checklist: accounts, laptop, first week."),
            Say(
                "**Before Monday**\n\n- [x] Laptop ordered, arrives Thursday\n- [ ] Accounts: mail, Slack, GitHub, VPN\n- [ ] Key card\n\n**First week**\n\n1. Monday: welcome at 10, lunch with the team\n2. Tuesday: set up, first pull request (a typo will do)\n3. Wednesday: an hour with Mara on the ledger\n4. Friday: what was odd? Write it down while it still is."
            ),
        ],
    ),
    # --- nobody watched ------------------------------------------------------------------------------------------------------------
    Scenario(
        title="Nightly reconciliation: «found» of 214 accounts do not match",
        channel="main",
        agent="ledger-bot",
        users=["ops"],
        models=[SONNET],
        project="ledger-service",
        triggered_by="nightly-reconcile",
        hour=4,
        weight=9,
        slots={"found": ["3", "1", "2", "5"], "account": ["1200", "1410", "3800", "4400"]},
        steps=[
            User("Reconcile all accounts with the bank’s statements of yesterday. Report what does not match; book nothing."),
            Call("fetch_statements", {"day": "yesterday"}, "214 statements", 6.1),
            Call("reconcile", {"accounts": "all"}, "timeout: bank gateway did not answer within 30 s", 30.0, is_error=True),
            Call("reconcile", {"accounts": "all", "retry": True}, "214 accounts, «found» differ", 22.4),
            Say(
                "«found» of 214 accounts do not match.\n\n| Account | Book, EUR | Bank, EUR | Difference |\n|---|---:|---:|---:|\n| «account» | 18,204.11 | 18,179.21 | −24.90 |\n| 2750 | 991.00 | 991.00 | 0.00 |\n\n`«account»` lacks one card refund that the bank booked after midnight; it will match tomorrow. **One needs a person**: a payment of €310.00 without a reference."
            ),
        ],
    ),
    Scenario(
        title="Back up the vector index and test the restore",
        channel="main",
        agent="ops-agent",
        users=["ops"],
        models=[LOCAL],
        project="infra",
        triggered_by="nightly-backup",
        hour=2,
        weight=8,
        steps=[
            User("Back up the vector index, restore it into a scratch folder and compare the counts."),
            Call("Bash", {"command": "tar -I zstd -cf /backup/index-$(date +%F).tar.zst /srv/index"}, "4.1 GB in 96 s", 96.0),
            Call(
                "Bash",
                {"command": "restore-test /backup/index-$(date +%F).tar.zst"},
                "restored 40,118 vectors, expected 40,121",
                71.0,
                is_error=True,
            ),
            Think("Three short. Three articles were published while the backup ran, so the count was taken after."),
            Call(
                "Bash",
                {"command": "restore-test --as-of-start /backup/index-$(date +%F).tar.zst"},
                "restored 40,118 vectors, expected 40,118",
                69.5,
            ),
            Say(
                "Backed up, 4.1 GB, and restored in full: 40,118 of 40,118. The first comparison counted three articles that were published during the backup."
            ),
        ],
    ),
    Scenario(
        title="Renew TLS certificates, staging and production",
        channel="main",
        agent="ops-agent",
        users=["ops"],
        models=[MINI],
        project="infra",
        triggered_by="cert-check",
        hour=3,
        weight=4,
        steps=[
            User("Renew certificates that expire within 21 days."),
            Call("Bash", {"command": "certs list --expiring 21"}, "staging.example.org  12 days\nshop.example.org     19 days", 2.0),
            Call(
                "Bash",
                {"command": "certs renew staging.example.org shop.example.org"},
                "staging.example.org renewed, 90 days\nshop.example.org renewed, 90 days",
                14.2,
            ),
            Say("Two renewed, both good for 90 days. Next to expire: `api.example.org` in 44 days."),
        ],
    ),
    Scenario(
        title="Heartbeat: «state»",
        channel="slack",
        agent="ops-agent",
        users=["ops"],
        models=[MINI],
        triggered_by=HEARTBEAT,
        hour=1,
        weight=9,
        slots={"state": ["nothing needs a person", "nothing needs a person", "disk of db-2 at 91 %", "queue of the mailer is long"]},
        steps=[
            User("Look around: disks, queues, error rates. Speak only if a person is needed."),
            Call("check_health", {}, "disks ok (db-2 91 %), queues ok, error rate 0.02 %", 1.2),
            Say("«state»."),
        ],
    ),
    Scenario(
        title="Dependency audit: «number» advisories, «serious» serious",
        channel="slack",
        agent="ops-agent",
        users=["ops"],
        models=[CODEX],
        project="shop-api",
        triggered_by="weekly-audit",
        hour=5,
        weight=3,
        slots={"number": ["4", "7", "2"], "serious": ["one", "none"]},
        steps=[
            User("Audit the dependencies of all repositories and rank the advisories by whether we call the code in question."),
            Call(
                "shell",
                {"command": ["bash", "-lc", "pip-audit -r requirements.txt --format json"]},
                '{"dependencies": 188, "vulnerable": «number»}',
                33.0,
            ),
            Say(
                "«number» advisories in 188 packages, «serious» of them serious *for us*.\n\n- `xmlparse`: we parse only our own files. Can wait.\n- `imagekit`: reachable from the upload form. **Upgrade to 2.4.1.**"
            ),
        ],
    ),
]
