"""Saved views on the page: who may do what, and that what is refused is said."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from sessions_app import services
from sessions_app.models import Preference, SavedView
from tests.factories import make_session

LIST = "/sessions/"
SAVE = "/sessions/views/"
NAMES = ("view_rename", "view_share", "view_default", "view_delete", "view_restore")
BODY = {"name": "New", "shared": "1", "default": "1"}


@pytest.fixture
def alices(cast: SimpleNamespace, client: Client) -> Client:
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    make_session(key="a", agent="bot")
    return client


def may_share(user: object) -> None:
    user.user_permissions.add(Permission.objects.get(content_type__app_label="sessions_app", codename="change_session"))  # type: ignore[attr-defined]


def test_a_view_keeps_the_list_that_it_was_saved_from(alices: Client, cast: SimpleNamespace) -> None:
    response = alices.post(f"{SAVE}?status=open&agent=bot&period=7d&sort=cost", {"name": "  Dear   bots "})
    assert response.headers["Location"] == f"{LIST}?status=open&agent=bot&period=7d&sort=cost"
    view = SavedView.objects.get()
    assert (view.name, view.owner, view.fields) == (
        "Dear bots",
        cast.alice,
        {"agent": "bot", "period": "7d", "sort": "cost", "status": "open"},
    )
    text = alices.get(response.headers["Location"]).content.decode()
    assert "View “Dear bots” saved." in text
    assert f'id="rail-view-{view.pk}" href="/sessions/?status=open&amp;agent=bot&amp;period=7d&amp;sort=cost"' in text
    assert "<title>Dear bots - Sessionsite</title>" in text


@pytest.mark.parametrize(("name", "words"), [("", "needs a name"), ("Taken", "already"), ("x\x00", "name")])
def test_what_is_no_name_is_refused_in_words(alices: Client, cast: SimpleNamespace, name: str, words: str) -> None:
    services.save_view("Taken", viewer=cast.alice, fields={})
    text = alices.post(f"{SAVE}?agent=bot", {"name": name}, follow=True).content.decode()
    assert words in text
    assert SavedView.objects.count() == 1


def test_sharing_needs_the_permission(alices: Client, cast: SimpleNamespace) -> None:
    assert alices.post(f"{SAVE}?agent=bot", {"name": "x", "is_shared": "1"}).status_code == 403
    assert not SavedView.objects.exists()
    assert "Share with everyone" not in alices.get(f"{LIST}?agent=bot").content.decode()
    may_share(cast.alice)
    assert "Share with everyone" in alices.get(f"{LIST}?agent=bot").content.decode()
    alices.post(f"{SAVE}?agent=bot", {"name": "x", "is_shared": "1"})
    client = Client()
    client.force_login(cast.charlie, backend="django.contrib.auth.backends.ModelBackend")
    text = client.get(f"{LIST}?agent=bot").content.decode()
    assert 'title="x, shared"' in text
    assert "Delete the view" not in text  # charlie may use it, and begin with it
    assert "Begin with this view" in text


def test_default_view_and_the_way_to_the_whole_inbox(alices: Client, cast: SimpleNamespace) -> None:
    view = services.save_view("Bots", viewer=cast.alice, fields={"agent": "bot"})
    alices.post(f"{reverse('sessions:view_default', args=[view.pk])}?agent=bot", {"default": "1"})
    assert alices.get(LIST).headers["Location"] == f"{LIST}?agent=bot"
    assert alices.get(f"{LIST}?status=inbox").status_code == 200
    assert 'href="/sessions/?status=inbox" title="Inbox (g i)"' in alices.get(f"{LIST}?agent=bot").content.decode()
    # an action on the whole inbox comes back to it, not to the default view
    (session,) = alices.get(f"{LIST}?status=inbox").context["rows"]
    response = alices.post(f"{reverse('sessions:archive', args=[session[1].pk])}?status=inbox", {"archived": "1"})
    assert response.headers["Location"] == f"{LIST}?status=inbox"
    alices.post(f"{reverse('sessions:view_delete', args=[view.pk])}?agent=bot")
    assert alices.get(LIST).status_code == 200


def test_rename_share_delete_restore(alices: Client, cast: SimpleNamespace) -> None:
    may_share(cast.alice)
    view = services.save_view("Bots", viewer=cast.alice, fields={"agent": "bot"})

    def post(path: str, **data: str) -> str:
        return alices.post(f"{reverse(f'sessions:{path}', args=[view.pk])}?agent=bot", data, follow=True).content.decode()

    assert 'title="Robots"' in post("view_rename", name="Robots")
    assert "Robots, shared" in post("view_share", shared="1")
    assert "shared" not in post("view_share", shared="0").split('id="rail-view')[1].split(">")[0]
    text = post("view_delete")
    assert "rail-view" not in text
    assert f'action="{reverse("sessions:view_restore", args=[view.pk])}?agent=bot"' in text
    assert "Robots” is back" in post("view_restore")


def test_not_yours_looks_like_not_there(alices: Client, cast: SimpleNamespace, client: Client) -> None:
    view = services.save_view("Bots", viewer=cast.alice, fields={"agent": "bot"})
    client.force_login(cast.charlie, backend="django.contrib.auth.backends.ModelBackend")
    for name in NAMES:
        for pk in (view.pk, uuid.uuid4()):
            assert client.post(reverse(f"sessions:{name}", args=[pk]), BODY).status_code == 404, name
    assert client.post(f"{SAVE}?agent=bot", {"replace": str(view.pk)}).status_code == 404
    view.refresh_from_db()
    assert (view.name, view.is_shared, view.deleted_at) == ("Bots", False, None)
    assert not Preference.objects.exists()


def test_writes_need_a_post_and_a_signed_in_viewer(cast: SimpleNamespace, client: Client) -> None:
    view = services.save_view("Bots", viewer=cast.alice, fields={"agent": "bot"})
    paths = [SAVE, *(reverse(f"sessions:{name}", args=[view.pk]) for name in NAMES)]
    for path in paths:
        assert client.post(path, BODY).headers["Location"].startswith("/signin/")
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    for path in paths:
        assert client.get(path).status_code == 405
    view.refresh_from_db()
    assert (view.name, view.is_shared, view.deleted_at) == ("Bots", False, None)


@pytest.mark.parametrize("name", ["view_share", "view_default"])
def test_a_wanted_state_is_one_or_nought(alices: Client, cast: SimpleNamespace, name: str) -> None:
    view = services.save_view("Bots", viewer=cast.alice, fields={})
    assert alices.post(reverse(f"sessions:{name}", args=[view.pk]), {"shared": "x", "default": "toggle"}).status_code == 422


def test_hostile_names_are_escaped(alices: Client, cast: SimpleNamespace) -> None:
    services.save_view('<img src=x> "quoted"', viewer=cast.alice, fields={"agent": "bot"})
    text = alices.get(f"{LIST}?agent=bot").content.decode()
    assert "<img" not in text
    assert "&lt;img src=x&gt; &quot;quoted&quot;" in text
