"""The API's page in a browser: nothing is blocked, nothing is missing, everyone can read it."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_the_api(page: Any, live_server: Any, assert_accessible: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    answer = page.goto(f"{live_server.url}/api/v1/docs")
    assert answer.status == 200
    page.get_by_role("link", name="POST /api/v1/turns").click()
    assert page.url.endswith("#save_turn")
    assert page.locator("#save_turn").is_visible()
    assert_accessible(page)
