"""manage.py costs: the JSON that other programs read, the tables for people, and times."""

from __future__ import annotations

import json
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sessions_app import services
from tests.factories import T0, at, make_session, make_usage
from tests.test_cost_overview import business_zone

pytestmark = pytest.mark.django_db
SUMS = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd", "turns"]


def run(**options: Any) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("costs", stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def spent() -> SimpleNamespace:
    alice = make_session()
    make_usage(alice, model="model-1", cost_usd="1.5", input_tokens=1, output_tokens=2, cache_read_tokens=30, cache_write_tokens=400)
    make_usage(alice, model="model-1", cost_usd="1e-9", input_tokens=1, output_tokens=0, when=at(days=1))
    make_usage(alice, model="home-grown", user_id="zoe", input_tokens=50, output_tokens=15, when=at(days=1))
    use = {"type": "tool_use", "id": "c", "name": "Bash", "input": {}}
    services.save_message(alice.id, "tool_use", json.dumps(use), timestamp=T0, now=T0)
    return SimpleNamespace(alice=alice)


def test_json_has_exactly_what_was_agreed(spent: SimpleNamespace) -> None:
    out, err = run(json=True)
    assert err == ""
    assert json.loads(out) == {
        "total_cost_usd": "1.500000001",
        "total_turns": 3,
        "priced_tokens": 434,
        "unpriced_turns": 1,
        "by_model": [
            {"model": "model-1", **dict(zip(SUMS, [2, 2, 30, 400, "1.500000001", 2], strict=True))},
            {"model": "home-grown", **dict(zip(SUMS, [50, 15, 0, 0, None, 1], strict=True))},
        ],
        "by_user": [
            {"user_id": "alice", **dict(zip(SUMS, [2, 2, 30, 400, "1.500000001", 2], strict=True))},
            {"user_id": "zoe", **dict(zip(SUMS, [50, 15, 0, 0, None, 1], strict=True))},
        ],
        "by_day": [
            {"date": "2026-09-01", "total_cost_usd": "1.500000000", "by_model": [{"model": "model-1", "cost_usd": "1.500000000"}]},
            {
                "date": "2026-09-02",
                "total_cost_usd": "0.000000001",
                "by_model": [{"model": "model-1", "cost_usd": "0.000000001"}, {"model": "home-grown", "cost_usd": None}],
            },
        ],
        "by_tool": [{"tool_name": "Bash", "invocations": 1, "errors": 0}],
    }


def test_json_of_nothing() -> None:
    overview = json.loads(run(json=True)[0])
    assert overview["total_cost_usd"] == "0.000000000"
    assert [overview[name] for name in ("total_turns", "priced_tokens", "unpriced_turns", "by_model", "by_user", "by_day", "by_tool")] == [
        0,
        0,
        0,
        [],
        [],
        [],
        [],
    ]


def test_tables_say_the_same(spent: SimpleNamespace) -> None:
    out, _ = run()
    assert "Costs of all time. Days are cut in UTC." in out
    assert "3 turns, 434 of 499 tokens are priced; 1 of the turns has no known price and is in no sum." in out
    rows = [line.split() for line in out.splitlines()]
    assert ["model-1", "│", "2", "│", "2", "│", "30", "│", "400", "│", "2", "│", "1.50"] in rows
    assert ["home-grown", "│", "1", "│", "50", "│", "0", "│", "0", "│", "15", "│", "unknown"] in rows
    assert ["Total", "│", "3", "│", "52", "│", "30", "│", "400", "│", "17", "│", "1.50"] in rows
    assert ["2026-09-02", "│", "<0.0001", "│", "model-1", "<0.0001,", "home-grown", "unknown"] in rows
    assert ["Bash", "│", "1", "│", "0"] in rows


def test_what_is_all_unknown_is_not_zero() -> None:
    make_usage(make_session(), model="home-grown")
    out, _ = run()
    assert "0.00" not in out
    assert [line.rstrip(" │").split()[-1] for line in out.splitlines() if line.startswith("Total")] == ["unknown"] * 3


def test_a_name_cannot_steer_the_terminal() -> None:
    make_usage(make_session(), model="[bold red]m\x1b[2J\x07\u202e[/]", cost_usd=1)
    out, _ = run()
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert "[bold red]m" in out


@pytest.mark.parametrize(
    ("since", "until", "turns", "words"),
    [
        ("2026-09-01T12:00:00Z", None, 3, "Costs from 2026-09-01 12:00 UTC."),
        ("2026-09-01T12:00:01+00:00", None, 2, ""),
        ("2026-09-01T14:00+02:00", None, 3, ""),
        ("2026-09-02", None, 2, "Costs from 2026-09-02 00:00 UTC."),
        (None, "2026-09-02T12:00Z", 1, "Costs until 2026-09-02 12:00 UTC."),
        ("2026-09-01", "2026-09-02", 1, "Costs from 2026-09-01 00:00 UTC until 2026-09-02 00:00 UTC."),
        ("1999-01-01", "1999-01-02", 0, "0 turns"),
    ],
)
def test_ranges(spent: SimpleNamespace, since: str | None, until: str | None, turns: int, words: str) -> None:
    assert json.loads(run(since=since, until=until, json=True)[0])["total_turns"] == turns
    assert words in run(since=since, until=until)[0]


def test_a_time_without_zone_is_the_business_zones_and_it_says_so() -> None:
    with business_zone("Asia/Kathmandu"):
        make_usage(make_session(), model="m", cost_usd=1)  # 17:45 in Kathmandu
        for since, turns in (("2026-09-01T17:45", 1), ("2026-09-01T17:46", 0), ("2026-09-01T12:00Z", 1), ("2026-09-01T12:01Z", 0)):
            out, err = run(since=since, json=True)
            assert json.loads(out)["total_turns"] == turns
            said = f"--since {since}: read in the business time zone, Asia/Kathmandu.\n"
            assert err == ("" if since.endswith("Z") else said)


@pytest.mark.parametrize(
    "options",
    [
        {"since": "yesterday"},
        {"since": ""},
        {"until": "2026-02-30"},
        {"since": "0001-01-01"},
        {"until": "9999-12-31"},
        {"since": "2026-09-01T25:00"},
        {"since": "2026-09-02", "until": "2026-09-01"},
        {"since": "2026-09-01", "until": "2026-09-01"},
    ],
)
def test_a_bad_time_is_an_error_in_words(options: dict[str, str]) -> None:
    with pytest.raises(CommandError, match=r"--(since|until)"):
        run(**options)
