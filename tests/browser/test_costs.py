"""The cost page in a real browser: charts drawn from our own host alone, in both schemes, on a phone, by keyboard, and without any script."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from sessions_app import charts, queries, services
from tests.factories import make_session, make_usage

pytestmark = pytest.mark.django_db(transaction=True)

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PHONE = {"width": 360, "height": 780}
HOSTILE = '<a href="https://evil.example/">&lt;m&gt;</a><b>%{y}</b>'
DRAWN = ".js-plotly-plot .main-svg"


@pytest.fixture
def spent(cast: SimpleNamespace, sign_in: Any) -> SimpleNamespace:
    """Ten models of eleven users over twenty days, one name as long as can be, one model without a price; alice is signed in, whose sessions they are."""
    sign_in(cast.alice)
    now = timezone.now()
    session = make_session(now=now - timedelta(days=30))
    models = ["claude-sonnet-4-5", HOSTILE, "endless" * 36, *(f"model-{number}" for number in range(6)), "home-grown"]
    for number in range(40):
        model = models[number % len(models)]
        cost = None if model == "home-grown" else Decimal(400 - 9 * number) / 7
        when = now - timedelta(days=number // 2)
        make_usage(session, model=model, user_id=f"user-{number % 11}", cost_usd=cost, cache_read_tokens=number * 12345, when=when)
    for number, name in enumerate(["Bash", "Bash", "Read", HOSTILE]):
        use = {"type": "tool_use", "id": f"c{number}", "name": name, "input": {}}
        services.save_message(session.id, "tool_use", json.dumps(use), timestamp=now, now=now)
    return SimpleNamespace(alice=cast.alice, session=session)


def check_axe(page: Page) -> None:
    results = Axe().run(page, options=WCAG)
    assert results.violations_count == 0, results.generate_report()


def colours(page: Page) -> set[str]:
    """The fills of the drawn bars, as #rrggbb."""
    script = """() => [...new Set([...document.querySelectorAll('.js-plotly-plot .bars .point path')].map(bar => {
        const [r, g, b] = getComputedStyle(bar).fill.match(/\\d+/g).map(Number);
        return '#' + [r, g, b].map(part => part.toString(16).padStart(2, '0')).join('');
    }))]"""
    return set(page.evaluate(script))


def test_charts_are_drawn_and_no_request_leaves_the_host(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{live_server.url}/costs/")
    expect(page.locator("#cost-chart .js-plotly-plot")).to_have_count(1)
    expect(page.locator(".js-plotly-plot")).to_have_count(3)
    assert page.locator("#cost-chart .bars .point path").count() > 20
    # seven and the others
    assert page.locator("#cost-chart .bars").locator("xpath=..").count() >= 1
    assert page.locator("#model-chart .bars .point").count() == 8
    assert page.locator("#user-chart .bars .point").count() == 8
    assert colours(page) == set(charts.THEMES["light"]["series"])
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith((live_server.url, "data:", "blob:"))] == []
    expect(page.locator(".modebar")).to_have_count(0)
    # what the page says is what the query answers
    total = queries.cost_overview(viewer=spent.alice).total_cost_usd
    assert page.locator("#total-cost data").get_attribute("value") == f"{total:f}"


def test_a_hostile_name_is_text_in_labels_and_on_hover(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/costs/")
    expect(page.locator(DRAWN).first).to_be_visible()
    label = page.locator("#model-chart .ytick text", has_text="<a href")
    assert label.text_content().strip().startswith('<a href="ht')
    # plotly's own layer lies over the bars
    page.locator("#model-chart .bars .point path").nth(1).hover(force=True)
    expect(page.locator("#model-chart .hovertext text").first).to_contain_text(HOSTILE)
    assert page.evaluate("document.querySelectorAll('.js-plotly-plot a, .js-plotly-plot tspan[style*=bold]').length") == 0
    assert page.evaluate("[...document.links].filter(link => link.hostname !== location.hostname).length") == 0


def test_hover_on_a_day_names_its_total_and_its_parts(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/costs/?period=7d")
    expect(page.locator(DRAWN).first).to_be_visible()
    box = page.locator("#cost-chart .plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + box["height"] - 60)
    said = page.locator("#cost-chart .hoverlayer")
    expect(said).to_contain_text("Total  $")
    today = timezone.localtime()
    expect(said).to_contain_text(f"{today:%a} {today.day} {today:%b %Y}")


def test_a_bar_leads_to_its_day(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/costs/?period=7d")
    expect(page.locator(DRAWN).first).to_be_visible()
    box = page.locator("#cost-chart .plot").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 60, box["y"] + box["height"] - 40)
    today = timezone.localtime().date()
    page.wait_for_url(f"**/costs/?since={today}&until={today + timedelta(days=1)}")


def test_another_scheme_is_drawn_in_its_colours(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/costs/")
    expect(page.locator(DRAWN).first).to_be_visible()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("getComputedStyle(document.querySelector('.bars .point path')).fill !== 'rgb(51, 69, 145)'")
    assert colours(page) == set(charts.THEMES["dark"]["series"])
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.wait_for_function("getComputedStyle(document.querySelector('.bars .point path')).fill === 'rgb(51, 69, 145)'")


def test_another_period_keeps_the_page_and_draws_again(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/costs/")
    expect(page.locator(DRAWN).first).to_be_visible()
    page.evaluate("window.here = true")
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    expect(page.locator(".js-plotly-plot")).to_have_count(3)
    expect(page.locator("#cost-said")).to_contain_text("turns")
    assert page.evaluate("window.here && document.activeElement.id") == "period-7d"
    assert page.url.endswith("/costs/?period=7d")
    page.get_by_label("From").fill("2020-01-01")
    page.get_by_label("to", exact=True).fill("2020-01-31")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".empty h2")).to_have_text("Nothing in these days")
    assert page.url.endswith("/costs/?since=2020-01-01&through=2020-01-31")
    page.go_back()
    expect(page.locator(".js-plotly-plot")).to_have_count(3)
    assert page.url.endswith("/costs/?period=7d")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [None, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(
    page: Page, live_server: Any, spent: SimpleNamespace, sign_in: Callable[[Any], None], cast: SimpleNamespace, scheme: Any, size: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    if size:
        page.set_viewport_size(size)
    page.goto(f"{live_server.url}/costs/")
    expect(page.locator(DRAWN).first).to_be_visible()
    check_axe(page)
    page.locator("#cost-chart summary").click()
    expect(page.locator("#cost-by-day")).to_be_visible()
    check_axe(page)
    sign_in(cast.charlie)
    page.goto(f"{live_server.url}/costs/?since=nonsense")
    expect(page.locator(".empty h2")).to_have_text("Nothing has been spent yet")
    check_axe(page)


def test_a_phone_shows_everything_without_sideways_scrolling(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{live_server.url}/costs/")
    expect(page.locator(DRAWN).first).to_be_visible()
    page.locator("#cost-chart summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = """() => [...document.querySelectorAll('.report *')].filter(e => !e.closest('.visually-hidden, thead, .plot, pre')
        && e.getBoundingClientRect().right > 361).map(e => e.outerHTML.slice(0, 120))"""
    assert page.evaluate(wide) == []
    assert page.evaluate("[...document.querySelectorAll('.plot')].every(plot => plot.getBoundingClientRect().right <= 360)")
    assert page.locator("#cost-chart .plot").bounding_box()["height"] == 208
    page.set_viewport_size({"width": 1440, "height": 900})
    assert page.evaluate("document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth")
    page.set_viewport_size(PHONE)
    # every amount of the tables is there to be read
    assert page.evaluate("[...document.querySelectorAll('.ledger-table td .money')].every(cell => cell.getClientRects().length)")


def test_without_scripts_there_are_tables(new_context: Any, live_server: Any, spent: SimpleNamespace, context: Any) -> None:
    plain = new_context(java_script_enabled=False, storage_state=context.storage_state())
    page = plain.new_page()
    page.goto(f"{live_server.url}/costs/")
    expect(page.locator("#total-cost")).to_contain_text("$")
    expect(page.locator(".plot").first).to_be_hidden()
    for table in ("#cost-chart", "#user-chart", "#model-chart"):
        expect(page.locator(f"{table} tfoot .lead .money")).to_be_visible()
    page.get_by_role("link", name="All time").click()
    page.wait_for_url("**/costs/?period=all")
    page.get_by_label("From").fill("2020-01-01")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**/costs/?since=2020-01-01&through=")
    expect(page.locator("#total-cost")).to_contain_text("$")


def test_keys_reach_every_number(page: Page, live_server: Any, spent: SimpleNamespace) -> None:
    page.goto(f"{live_server.url}/costs/?period=7d")
    expect(page.locator(DRAWN).first).to_be_visible()
    page.locator("#cost-chart summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#cost-by-day tbody a").first).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#cost-by-day tbody') !== null")
    page.keyboard.press("Enter")
    page.wait_for_url("**/costs/?since=*")
