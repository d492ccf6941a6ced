"""The cost page: who sees what, ranges, what is unknown, and that its total is the command's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sessions_app import services
from sessions_app.forms import CostFilterForm
from sessions_app.views.costs import MOST_ROWS, percent
from tests.factories import T0, at, make_session, make_usage, make_user

pytestmark = pytest.mark.django_db
COSTS = "/costs/"
HX = {"HX-Request": "true"}
HOSTILE = '<a href="https://evil.example/">m</a><script>alert(1)</script>'


@pytest.fixture(autouse=True)
def today() -> Iterator[None]:
    """It is the afternoon of 3 September 2026."""
    with time_machine.travel(at(days=2), tick=False):
        yield


@pytest.fixture
def spent(cast: SimpleNamespace) -> SimpleNamespace:
    """alice spent $1.50 on 1 September and $0.25 on 2 August, zoe $4 on 2 September and something unknown."""
    alice, zoe = make_session(key="a"), make_session(key="z", user_id="zoe")
    make_usage(alice, model="model-1", cost_usd="1.5", input_tokens=1, output_tokens=2, cache_read_tokens=30, cache_write_tokens=400)
    make_usage(alice, model="model-1", cost_usd="0.25", input_tokens=1, output_tokens=1, when=at(days=-30))
    make_usage(zoe, model="model-2", cost_usd="4", input_tokens=1, output_tokens=1, when=at(days=1))
    make_usage(zoe, model="home-grown", input_tokens=50, output_tokens=15, when=at(days=1))
    use = {"type": "tool_use", "id": "c", "name": "Bash", "input": {}}
    services.save_message(alice.id, "tool_use", json.dumps(use), timestamp=T0, now=T0)
    return SimpleNamespace(alice=alice, zoe=zoe, cast=cast)


def page_of(client: Client, user: Any, query: str = "", **headers: str) -> str:
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    response = client.get(f"{COSTS}{query}", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def total_on(page: str) -> str:
    """The exact value of the total's tile."""
    found = re.search(r'id="total-cost"><data class="money[^"]*" value="([^"]*)"', page)
    return found[1] if found else "none"


def figure_on(page: str, name: str) -> dict[str, Any]:
    found = re.search(rf'<script id="{name}-chart-data" type="application/json">(.*?)</script>', page)
    assert found, name
    return json.loads(found[1])


# --- who sees it


def test_the_owner_sees_their_own(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.alice)
    assert total_on(page) == "1.500000000"
    assert "zoe" not in page
    assert "model-2" not in page
    assert "Bash" in page


def test_who_may_view_all_sees_all(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.bob)
    assert total_on(page) == "5.500000000"
    assert "zoe" in page


def test_charlie_sees_that_there_is_nothing_of_theirs(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.charlie)
    assert total_on(page) == "none"
    assert "Nothing has been spent yet" in page
    assert not re.search(r"alice|zoe|model-1|model-2|Bash", page)


def test_signed_out_goes_to_the_door(client: Client) -> None:
    response = client.get(COSTS)
    assert (response.status_code, response.headers["Location"]) == (302, "/signin/?next=/costs/")
    htmx = client.get(COSTS, headers=HX)
    assert htmx.headers["HX-Redirect"].startswith("/signin/")


def test_a_post_is_refused(spent: SimpleNamespace, client: Client) -> None:
    client.force_login(spent.cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    assert client.post(COSTS).status_code == 405


# --- ranges


@pytest.mark.parametrize(
    ("query", "total", "words"),
    [
        ("", "5.500000000", "5 Aug to 3 Sep 2026."),
        ("?period=7d", "5.500000000", "28 Aug to 3 Sep 2026."),
        ("?period=90d", "5.750000000", "6 Jun to 3 Sep 2026."),
        ("?period=month", "5.500000000", "1 to 3 Sep 2026."),
        ("?period=all", "5.750000000", "All time."),
        ("?since=2026-09-01&until=2026-09-02", "1.500000000", "1 Sep 2026."),
        ("?since=2026-09-01&through=2026-09-02", "5.500000000", "1 to 2 Sep 2026."),
        ("?since=2026-09-02", "4.000000000", "From 2 Sep 2026 on."),
        ("?until=2026-09-01", "0.250000000", "Until 31 Aug 2026."),
        ("?since=2026-09-02&period=7d", "4.000000000", "From 2 Sep 2026 on."),
    ],
)
def test_ranges(spent: SimpleNamespace, client: Client, query: str, total: str, words: str) -> None:
    page = page_of(client, spent.cast.bob, query)
    assert total_on(page) == total
    assert f"<p>{words} Days are cut in UTC.</p>" in page
    assert "Not understood" not in page


@pytest.mark.parametrize(
    "query",
    [
        "?period=fortnight",
        "?since=yesterday",
        "?since=2026-13-01",
        "?until=0001-01-01",
        "?since=9999-12-31",
        "?through=9999-12-31",
        "?since=2026-09-03&until=2026-09-01",
        "?since=2026-09-03&until=2026-09-03",
        "?since=%00&until=%F0%9F%92%A9",
        "?since=2026-09-01T12:00",
        "?period=7d&period=nope",
    ],
)
def test_a_bad_range_falls_back_and_says_so(spent: SimpleNamespace, client: Client, query: str) -> None:
    page = page_of(client, spent.cast.bob, query)
    assert "Not understood" in page
    assert total_on(page) == "5.500000000"


def test_the_last_day_of_a_range_is_the_one_before_until() -> None:
    chosen = CostFilterForm({"since": "2026-09-01", "through": "2026-09-30"}).cost_filter(date(2026, 9, 3))
    assert (chosen.until, chosen.through, chosen.period) == (date(2026, 10, 1), date(2026, 9, 30), "")
    preset = CostFilterForm({}).cost_filter(date(2026, 9, 3))
    assert (preset.period, preset.since, preset.through) == ("30d", date(2026, 8, 5), date(2026, 9, 3))


def test_a_day_leads_to_itself(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.bob, "?period=7d")
    links = re.findall(r'href="(/costs/\?since=[^"]+)"', page)
    assert len(links) == 7
    assert links[0] == "/costs/?since=2026-09-03&amp;until=2026-09-04"
    assert total_on(page_of(client, spent.cast.bob, links[2].removeprefix(COSTS).replace("&amp;", "&"))) == "1.500000000"
    assert "so far" in page


def test_htmx_gets_the_report_alone(spent: SimpleNamespace, client: Client) -> None:
    client.force_login(spent.cast.bob, backend="django.contrib.auth.backends.ModelBackend")
    response = client.get(f"{COSTS}?period=all", headers=HX)
    page = response.content.decode()
    assert "<html" not in page
    assert 'id="cost-report"' in page
    assert re.search(r'id="cost-said"[^>]*hx-swap-oob="true">All time: .*\$5.75.*, 4 turns</p>', page)
    assert "HX-Request" in response.headers["Vary"]
    assert total_on(page) == "5.750000000"


@pytest.mark.parametrize("headers", [{"HX-Boosted": "true"}, {"HX-History-Restore-Request": "true"}])
def test_boost_and_history_restore_get_the_page(spent: SimpleNamespace, client: Client, headers: dict[str, str]) -> None:
    assert "<html" in page_of(client, spent.cast.bob, "", **(HX | headers))


# --- numbers


def test_the_total_is_the_commands(spent: SimpleNamespace, client: Client) -> None:
    for number in range(10):
        make_usage(
            spent.zoe, model=f"claude-sonnet-4-{number % 2}", input_tokens=1234567, output_tokens=7, when=at(number, days=-number * 9)
        )
    for query, options in (
        ("?period=all", {}),
        ("?since=2026-08-20", {"since": "2026-08-20"}),
        ("?since=2026-08-20&until=2026-09-02", {"since": "2026-08-20T00:00+00:00", "until": "2026-09-02"}),
    ):
        out = StringIO()
        call_command("costs", json=True, stdout=out, stderr=StringIO(), **options)
        overview = json.loads(out.getvalue())
        page = page_of(client, spent.cast.bob, query)
        assert total_on(page) == overview["total_cost_usd"]
        for row in overview["by_model"]:
            assert f">{row['model']}<" in page
            if row["cost_usd"] is not None:
                assert f'value="{row["cost_usd"]}"' in page


def test_tables_have_a_total_that_is_the_tiles(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.bob)
    feet = re.findall(r"<tfoot>.*?</tfoot>", page, re.S)
    totals = [re.findall(r'value="([\d.]+)" title="\$', foot)[-1:] for foot in feet]
    assert totals == [["5.500000000"]] * 3 + [[]]  # by day, users, models; the tools have none


def test_unknown_is_never_zero(cast: SimpleNamespace, client: Client) -> None:
    session = make_session()
    make_usage(session, model="home-grown", when=at(days=1))
    page = page_of(client, cast.alice, "?since=2026-09-02&until=2026-09-03")
    assert total_on(page) == ""
    assert 'id="total-cost"><data class="money is-unknown" value="" title="No known price">unknown</data>' in page
    assert "$0.00" not in page
    assert "0.0 % priced; 1 model without a price" in page
    assert "cost-chart-data" not in page
    assert "user-chart-data" not in page
    assert page.count(">unknown</data>") == 7  # tile; day and its total; user and total; model and total


def test_what_has_no_price_is_named(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.bob)
    # 435 of 500 tokens
    assert "87.0 % priced; 1 model without a price" in page
    assert re.search(r'<b dir="auto">home-grown</b> \(<data value="65" title="65 tokens">65</data> tokens, 1 turn\)', page)


def test_share_never_says_all_of_what_is_not_all() -> None:
    assert [percent(part, whole) for part, whole in ((1, 1), (99_999, 100_000), (1, 100_000), (0, 5), (1, 3), (0, 0))] == [
        "100.0",
        "99.9",
        "0.1",
        "0.0",
        "33.3",
        "",
    ]
    assert percent(Decimal("0.000000001"), Decimal(1000)) == "0.1"


def test_long_tables_end_with_the_sum_of_the_rest(cast: SimpleNamespace, client: Client) -> None:
    for number in range(MOST_ROWS + 5):
        session = make_session(key=f"k{number}")
        make_usage(session, model=f"model-{number:03}", user_id=f"u{number:03}", cost_usd=100 - number, when=at(days=1))
    page = page_of(client, cast.alice)
    assert ">5 more users<" in page
    assert ">5 more models<" in page
    assert f">model-{MOST_ROWS - 1:03}<" in page
    assert f">model-{MOST_ROWS:03}<" not in page
    rest = sum(100 - number for number in range(MOST_ROWS, MOST_ROWS + 5))
    assert page.count(f'value="{rest}.000000000"') == 2
    assert len(figure_on(page, "model")["data"][0]["x"]) == 8
    assert "Other (48)" in page


def test_figures_and_tables_are_of_the_same_rows(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.bob, "?period=7d")
    figure = figure_on(page, "cost")
    assert figure["data"][0]["y"] == [0.0, 0.0, 0.0, 0.0, 1.5, 4.0, 0.0]
    assert [trace["name"] for trace in figure["data"]] == ["Total", "model-2", "model-1"]
    assert figure_on(page, "user")["data"][0]["x"] == [4.0, 1.5]


def test_a_model_keeps_its_colour_in_every_range(spent: SimpleNamespace, client: Client) -> None:
    for query in ("?period=all", "?since=2026-09-01&until=2026-09-02", "?until=2026-09-01"):
        page = page_of(client, spent.cast.bob, query)
        assert re.search(r'<span class="swatch series-2"></span><span dir="auto">model-1<', page), query


def test_names_are_strangers_text(cast: SimpleNamespace, client: Client) -> None:
    session = make_session()
    make_usage(session, model=HOSTILE, user_id=HOSTILE, cost_usd=1, when=at(days=1))
    use = {"type": "tool_use", "id": "c", "name": HOSTILE, "input": {}}
    services.save_message(session.id, "tool_use", json.dumps(use), timestamp=at(days=1), now=at(days=1))
    page = page_of(client, cast.alice)
    assert "<script>alert" not in page
    assert '<a href="https://evil' not in page
    for name in ("cost", "user", "model"):
        assert "<a" not in json.dumps(figure_on(page, name))


# --- around it


def test_empty_store_teaches_the_operator_and_the_others(cast: SimpleNamespace, client: Client) -> None:
    page = page_of(client, make_user("op", staff=True))
    assert "manage.py import_sessions ~/.claude ~/.codex" in page
    assert "services.record_usage" in page
    assert "manage.py import_sessions PATH --user charlie" in page_of(client, cast.charlie)


def test_empty_range_and_store_without_usage_say_why(cast: SimpleNamespace, client: Client) -> None:
    session = make_session(messages=2)
    assert "No model call is recorded" in page_of(client, cast.alice, "?period=all")
    make_usage(session, model="m", cost_usd=1, when=at(days=-100))
    page = page_of(client, cast.alice)
    assert "Nothing in these days" in page
    assert 'href="/costs/?period=all"' in page


def test_plotly_is_loaded_here_only_deferred_and_from_here(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.bob)
    assert re.search(r'<script id="[0-9a-f]{64}" src="/static/plotly/plotly.min.js" defer></script>', page)
    assert "plotly" not in client.get("/sessions/").content.decode()
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_no_inline_script_or_style(spent: SimpleNamespace, client: Client) -> None:
    page = page_of(client, spent.cast.bob)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    scripts = re.findall(r"<script[^>]*>", page)
    assert all("src=" in tag or 'type="application/json"' in tag for tag in scripts)


def test_the_number_of_queries_is_the_same_for_few_and_many(cast: SimpleNamespace, client: Client) -> None:
    numbers = []
    for count in (2, 15):
        for number in range(count):
            session = make_session(key=f"{count}-{number}")
            make_usage(session, model=f"m{number}", user_id=f"u{number}", cost_usd=number, when=at(days=1 - number))
        for user in (cast.alice, cast.bob):
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
            client.get(COSTS)
            with CaptureQueriesContext(connection) as queries:
                assert client.get(f"{COSTS}?period=90d").status_code == 200
            numbers.append(len(queries))
    assert numbers[:2] == numbers[2:], numbers
    assert max(numbers) <= 14


def test_users_and_models_lead_to_the_sessions_behind_them(cast: SimpleNamespace, client: Client) -> None:
    make_usage(make_session(key="a"), model="claude-sonnet-4-5")
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    for range_query, wanted in (("period=all", ""), ("since=2026-09-01&until=2026-09-02", "&amp;since=2026-09-01&amp;until=2026-09-02")):
        text = client.get(f"/costs/?{range_query}").content.decode()
        for name in ("user=alice", "model=claude-sonnet-4-5"):
            path = f"/sessions/?status=all&amp;{name}{wanted}"
            assert f'href="{path}"' in text, path
            assert len(client.get(path.replace("&amp;", "&")).context["rows"]) == 1
