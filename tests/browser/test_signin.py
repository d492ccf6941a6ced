"""The door in a real browser: by link, by password, by keyboard, at both widths and in both schemes."""

from __future__ import annotations

from typing import Any

import pytest

from sessions_app.signin import link_path
from tests.factories import make_user

pytestmark = pytest.mark.django_db(transaction=True)
WIDTHS = pytest.mark.parametrize("width", [1440, 360])


@WIDTHS
def test_a_link_signs_in_once(page: Any, live_server: Any, assert_accessible: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    user = make_user("alice")
    link = live_server.url + link_path(user)
    page.goto(link)
    assert_accessible(page)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live_server.url}/sessions/")
    page.context.clear_cookies()
    page.goto(link)
    page.get_by_role("heading", name="This link is no longer good").wait_for()
    assert_accessible(page)
    page.complaints.clear()  # Chromium reports the 410 itself


@WIDTHS
def test_a_password_signs_in_by_keyboard_after_a_wrong_one(page: Any, live_server: Any, assert_accessible: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    make_user("alice")
    page.goto(f"{live_server.url}/sessions/?channel=slack")
    for password in ("wrong", "alice"):
        assert_accessible(page)
        page.get_by_label("User name").fill("alice")
        page.keyboard.press("Tab")
        page.keyboard.type(password)
        page.keyboard.press("Enter")
        if password == "wrong":
            page.get_by_role("alert").wait_for()
    page.wait_for_url(f"{live_server.url}/sessions/?channel=slack")
