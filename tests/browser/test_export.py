"""The exported HTML file, opened from the disk without a network: it shows everything, runs nothing, asks for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sessions_app import exporting
from sessions_app.models import Session
from tests.factories import T0
from tests.test_export_documents import PIXEL, make_told
from tests.test_hostile import SAMPLE, hostile_session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def offline(page: Page) -> Any:
    """Yield the page with the network away. What it asked for, and what popped up, is looked at when the test ends."""
    asked: list[str] = []
    opened: list[str] = []
    page.context.set_offline(True)
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    page.on("popup", lambda popup: opened.append(popup.url))
    yield page
    assert [url for url in asked if not url.startswith(("file:", "data:image/"))] == []
    assert sum(url.startswith("file:") for url in asked) == 1  # the document itself
    assert opened == []


def opened(page: Page, session: Session, folder: Path) -> None:
    file = folder / "session.html"
    file.write_bytes(b"".join(exporting.export(session, "html", now=T0)))
    page.goto(file.as_uri(), wait_until="load")


def test_it_reads_like_the_transcript(offline: Page, tmp_path: Path) -> None:
    session = make_told()
    opened(offline, session, tmp_path)
    expect(offline.get_by_role("heading", level=1)).to_have_text(session.title)
    expect(offline.get_by_text("Found it.")).to_be_visible()
    expect(offline.get_by_text("No such file")).to_be_visible()  # a failed call stands open
    fold = offline.locator(".tool-call", has_text="Look around")
    expect(fold.get_by_role("link", name="The sub-agent that it started")).to_be_hidden()
    fold.locator(":scope > summary").click()
    fold.get_by_role("link", name="The sub-agent that it started").click()
    expect(offline.locator(".subagent")).to_contain_text("It is there.")
    assert offline.url.endswith(f"#{offline.locator('.subagent-fold').get_attribute('id')}")
    picture = offline.locator("img")
    assert picture.evaluate("image => [image.complete, image.naturalWidth]") == [True, 1]
    assert len(PIXEL) < 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
def test_it_is_dressed_by_day_and_by_night(offline: Page, tmp_path: Path, scheme: Any, width: int) -> None:
    offline.set_viewport_size({"width": width, "height": 900})
    offline.emulate_media(color_scheme=scheme)
    opened(offline, make_told(), tmp_path)
    # the stylesheet is the site's, and the file's policy lets it in
    lightness = offline.evaluate("getComputedStyle(document.body).backgroundColor")
    assert lightness.startswith("oklch(0.9" if scheme == "light" else "oklch(0.2"), lightness
    assert offline.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_every_fold_is_open(offline: Page, tmp_path: Path) -> None:
    opened(offline, make_told(), tmp_path)
    hidden = offline.get_by_text("I wonder")
    expect(hidden).to_be_hidden()
    offline.emulate_media(media="print")
    expect(hidden).to_be_visible()


@pytest.mark.parametrize("part", range(2))
def test_a_stranger_runs_nothing_in_it(offline: Page, tmp_path: Path, part: int) -> None:
    opened(offline, hostile_session(SAMPLE[part::2]), tmp_path)
    # scripts are what the policy keeps out, so the folds are opened from outside
    offline.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    for place in offline.locator(".prose").all()[:12]:
        place.hover(force=True, timeout=2000)
    offline.keyboard.press("Tab")
    assert offline.locator("main :is(script, iframe, object, embed, style, base, form, link, meta, img)").count() == 0
    assert offline.evaluate("window.hit") is None
    for link in offline.locator(".prose a").all():
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    assert offline.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(offline.get_by_text("Open when it was exported")).to_be_visible()


def test_axe_finds_nothing(new_context: Any, tmp_path: Path, assert_accessible: Any) -> None:
    """In a context that lets axe's own script pass the file's policy."""
    context = new_context(bypass_csp=True, offline=True)
    page = context.new_page()
    opened(page, make_told(), tmp_path)
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert_accessible(page)
