"""The door: who gets in by password, by one-time link, and what the others see."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from sessions_app.signin import client_address, link_path, use_link, user_of_link

pytestmark = pytest.mark.django_db


def signed_in_as(client: Client) -> str | None:
    user_id = client.session.get("_auth_user_id")
    return User.objects.get(pk=user_id).username if user_id else None


def make_link(name: str) -> str:
    out = StringIO()
    call_command("signin_link", name, stdout=out)
    return out.getvalue().strip()


# Everything is behind the door


@pytest.mark.parametrize("path", ["/admin/", "/admin/auth/user/"])
def test_signed_out_people_are_sent_to_the_sign_in_page_and_back(client: Client, path: str) -> None:
    answer = client.get(path, follow=True)
    assert answer.redirect_chain[-1][0].startswith("/signin/?next=")
    assert b'name="username"' in answer.content


def test_signed_out_htmx_is_told_to_leave_the_page(client: Client) -> None:
    from django.urls import path

    from sessions_app.signin import SignInRequired

    middleware = SignInRequired(lambda request: None)  # type: ignore[arg-type, return-value]
    asks = RequestFactory().get(
        "/sessions/1/read/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/sessions/?channel=slack"}
    )
    answer = middleware.handle_no_permission(asks, path)
    assert answer.headers["HX-Redirect"] == "/signin/?next=/sessions/%3Fchannel%3Dslack"
    elsewhere = RequestFactory().get("/x/", headers={"HX-Request": "true", "HX-Current-URL": "http://evil.example/testserver/"})
    assert middleware.handle_no_permission(elsewhere, path).headers["HX-Redirect"] == "/signin/?next=/"


# Password


def test_password_signs_in_and_goes_on_to_where_one_was_going(client: Client, cast: SimpleNamespace) -> None:
    answer = client.post("/signin/", {"username": "alice", "password": "alice", "next": "/costs/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/costs/")
    assert signed_in_as(client) == "alice"


def test_password_never_leads_to_another_host(client: Client, cast: SimpleNamespace) -> None:
    answer = client.post("/signin/", {"username": "alice", "password": "alice", "next": "https://evil.example/"})
    assert answer.headers["Location"] == "/"


def test_wrong_password_says_so_and_keeps_the_name(client: Client, cast: SimpleNamespace) -> None:
    answer = client.post("/signin/", {"username": "alice", "password": "wrong"})
    assert answer.status_code == 200
    assert b'role="alert"' in answer.content
    assert b'value="alice"' in answer.content
    assert signed_in_as(client) is None


@override_settings(AXES_ENABLED=True)
def test_too_many_wrong_passwords_lock_this_name_from_this_address_only(client: Client, cast: SimpleNamespace, settings: Any) -> None:
    for _ in range(settings.AXES_FAILURE_LIMIT):
        answer = client.post("/signin/", {"username": "alice", "password": "wrong"})
    assert answer.status_code == 429
    assert b"Too many wrong passwords" in answer.content
    assert client.post("/signin/", {"username": "alice", "password": "alice"}).status_code == 429
    assert client.post("/signin/", {"username": "alice", "password": "alice"}, REMOTE_ADDR="192.0.2.7").status_code == 302
    assert client.post("/signin/", {"username": "bob", "password": "bob"}).status_code == 302


def test_sign_out_is_a_post(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/signout/").status_code == 405
    assert client.post("/signout/").headers["Location"] == "/signin/"
    assert signed_in_as(client) is None


def test_the_address_behind_a_proxy_is_the_proxys_word(settings: Any) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.9"})
    settings.BEHIND_PROXY = False
    assert client_address(request) == "10.0.0.1"  # anyone can write that header
    settings.BEHIND_PROXY = True
    assert client_address(request) == "198.51.100.9"


# One-time link


def test_a_link_shows_a_button_and_the_button_signs_in_once(client: Client, alice: User) -> None:
    link = make_link("alice")
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/signin/link/\S+/", link)
    for _ in range(2):  # looking spends nothing
        page = client.get(link)
        assert page.status_code == 200
        assert b"Sign in as alice" in page.content
        assert "no-store" in page.headers["Cache-Control"]
    assert signed_in_as(client) is None
    assert client.post(link).headers["Location"] == "/"
    assert signed_in_as(client) == "alice"

    other = Client()
    for again in (other.get(link), other.post(link)):
        assert again.status_code == 410
        assert b"no longer good" in again.content
    assert signed_in_as(other) is None


def test_a_link_needs_the_page_it_came_with(alice: User) -> None:
    assert Client(enforce_csrf_checks=True).post(make_link("alice")).status_code == 403


def test_using_one_link_makes_the_others_void(client: Client, alice: User) -> None:
    first, second = make_link("alice"), make_link("alice")
    client.post(second)
    assert Client().post(first).status_code == 410


def test_a_link_goes_stale_after_a_day_and_with_a_new_password(client: Client, alice: User) -> None:
    link = make_link("alice")
    with time_machine.travel(timezone.now() + timedelta(hours=23, minutes=59)):
        assert client.get(link).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(hours=24, seconds=2)):
        assert client.post(link).status_code == 410
    alice.set_password("new")
    alice.save()
    assert client.get(link).status_code == 410


def test_a_link_is_void_for_a_user_who_is_switched_off_or_gone(client: Client, alice: User) -> None:
    link = make_link("alice")
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert client.post(link).status_code == 410
    alice.delete()
    assert client.post(link).status_code == 410


@pytest.mark.parametrize("uid", ["MQ", "x", "%00", "_____", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
@pytest.mark.parametrize("token", ["abc-def", "x", "é"])
def test_a_forged_link_is_no_error(client: Client, alice: User, uid: str, token: str) -> None:
    assert client.get(f"/signin/link/{uid}/{token}/").status_code in (404, 410)


def test_of_two_that_use_a_link_at_once_one_gets_in(alice: User) -> None:
    uid, token = link_path(alice).split("/")[-3:-1]
    late = user_of_link(uid, token)
    assert late is not None
    assert use_link(uid, token) == alice
    # the other had checked the token before that, and comes to the spending now
    assert User.objects.filter(pk=late.pk, last_login=late.last_login).update(last_login=timezone.now()) == 0
    assert use_link(uid, token) is None


def test_a_link_used_within_the_second_of_its_making_works_once(alice: User) -> None:
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(2):
            User.objects.filter(pk=alice.pk).update(last_login=timezone.now() - timedelta(microseconds=400))
            alice.refresh_from_db()
            uid, token = link_path(alice).split("/")[-3:-1]
            assert use_link(uid, token) == alice
            assert use_link(uid, token) is None


def test_the_command_refuses_names_that_cannot_sign_in(alice: User) -> None:
    with pytest.raises(CommandError, match="no user 'nobody'"):
        call_command("signin_link", "nobody")
    User.objects.filter(pk=alice.pk).update(is_active=False)
    with pytest.raises(CommandError, match="switched off"):
        call_command("signin_link", "alice")


def test_the_command_takes_the_address_of_the_site(alice: User) -> None:
    out = StringIO()
    call_command("signin_link", "alice", base_url="https://sessions.example.com/", stdout=out)
    assert out.getvalue().startswith("https://sessions.example.com/signin/link/")
