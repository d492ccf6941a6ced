"""The operator's tables in a real browser, under the site's own Content-Security-Policy: nothing blocked, nothing broken."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, expect

from sessions_app import services
from sessions_app.models import Channel, Session
from tests.factories import make_session, make_usage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session(sign_in: Any) -> Session:
    sign_in(User.objects.create_superuser("root"))
    made = make_session(messages=2)
    make_usage(made)
    services.record_compaction(made.id, trigger="auto", pre_tokens=1, summary="s", messages_compacted=1)
    return made


def test_every_table_opens_without_a_complaint(page: Page, live_server: Any, session: Session) -> None:
    page.goto(f"{live_server.url}/admin/")
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        page.goto(live_server.url + reverse(f"{name}_changelist"))
        if row := model._default_manager.first():
            page.goto(live_server.url + reverse(f"{name}_change", args=[row.pk]))
            expect(page.locator("#content h1").first).to_be_visible()


def test_an_action_by_hand(page: Page, live_server: Any, session: Session) -> None:
    page.goto(f"{live_server.url}/admin/sessions_app/session/")
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option("close")
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).first.click()
    expect(page.locator(".messagelist")).to_contain_text("1 session closed.")
    page.get_by_role("link", name="On the site").click()
    expect(page).to_have_url(f"{live_server.url}{session.get_absolute_url()}")


def test_a_channel_and_a_person_are_made_by_hand(page: Page, live_server: Any, session: Session) -> None:
    page.goto(f"{live_server.url}/admin/sessions_app/channel/add/")
    page.get_by_label("Slug").fill("fax")
    page.get_by_label("Label").fill("Fax")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("added successfully")
    assert Channel.objects.get(pk="fax").gap_minutes is None
    bob = User.objects.create_user("bob")
    page.goto(f"{live_server.url}/admin/auth/user/{bob.pk}/change/")
    page.get_by_label("Sees all sessions").check()
    page.get_by_role("button", name="Save", exact=True).click()
    assert bob.has_perm("sessions_app.view_all_sessions")
