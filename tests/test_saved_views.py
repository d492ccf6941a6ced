"""Saved views and preferences: made, shared, used, deleted and brought back; what is unread in each; and the groups that people are put into."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sessions_app import access, queries, services
from sessions_app.errors import InvalidView, NotAllowed, ViewNotFound
from sessions_app.models import Preference, SavedView, Session
from sessions_app.queries import SessionFilter
from sessions_app.queries import views as view_queries
from tests.factories import T0, at, make_session, make_user

pytestmark = pytest.mark.django_db


def names(viewer: User) -> list[str]:
    return [link.view.name for link in queries.views_for(viewer, now=T0)]


def counts(viewer: User) -> dict[str, int]:
    return {link.view.name: link.unread for link in queries.views_for(viewer, now=T0)}


@pytest.fixture
def operator(db: None) -> User:
    return make_user("olga", permissions=["view_all_sessions", "change_session"])


# --- making them ------------------------------------------------------------------------------------------------------------------------


def test_own_views_and_shared_ones_are_seen(alice: User, bob: User, charlie: User, operator: User) -> None:
    services.save_view("  my   view ", viewer=alice, fields={"channel": "slack"}, now=T0)
    services.save_view("another", viewer=alice, fields={})
    services.save_view("failures", viewer=operator, fields={"has_errors": True}, is_shared=True)
    services.save_view("olga's", viewer=operator, fields={})
    assert names(alice) == ["my view", "another", "failures"]
    assert names(operator) == ["failures", "olga's"]
    assert names(bob) == names(charlie) == ["failures"]
    for viewer in (alice, bob, charlie):
        assert [link.is_own for link in queries.views_for(viewer) if link.view.name == "failures"] == [False]


def test_views_for_everyone_are_made_by_operators_and_staff(alice: User, bob: User, operator: User) -> None:
    for viewer in (alice, bob):
        with pytest.raises(NotAllowed):
            services.save_view("x", viewer=viewer, fields={}, is_shared=True)
        own = services.save_view("x", viewer=viewer, fields={})
        with pytest.raises(NotAllowed):
            services.share_view(own.pk, True, viewer=viewer)
    assert not SavedView.objects.filter(is_shared=True).exists()
    shared = services.save_view("y", viewer=make_user("dora", staff=True), fields={})
    services.share_view(shared.pk, True, viewer=shared.owner)
    assert "y" in names(alice)
    services.share_view(shared.pk, False, viewer=shared.owner)
    assert "y" not in names(alice)


def test_only_its_owner_changes_a_view_and_staff_a_shared_one(alice: User, operator: User) -> None:
    shared = services.save_view("s", viewer=operator, fields={}, is_shared=True)
    own = services.save_view("o", viewer=operator, fields={})
    staff = make_user("dora", staff=True)

    def tries(viewer: User, view: SavedView) -> int:
        refused = 0
        calls: list[Any] = [
            lambda: services.rename_view(view.pk, "n", viewer=viewer),
            lambda: services.replace_view(view.pk, {"tag": "n"}, viewer=viewer),
            lambda: services.share_view(view.pk, False, viewer=viewer),
            lambda: services.move_view(view.pk, 1, viewer=viewer),
            lambda: services.delete_view(view.pk, viewer=viewer),
        ]
        for call in calls:
            try:
                call()
            except ViewNotFound:
                refused += 1
        return refused

    before = list(SavedView.objects.order_by("pk").values())
    assert tries(alice, shared) == tries(alice, own) == tries(staff, own) == 5
    assert list(SavedView.objects.order_by("pk").values()) == before
    assert tries(staff, shared) == 2  # not shared any more, so that it is gone before the last two


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "taken", " taken "])
def test_a_name_is_some_words_and_taken_once(alice: User, name: str) -> None:
    services.save_view("taken", viewer=alice, fields={})
    other = services.save_view("other", viewer=alice, fields={})
    with pytest.raises(InvalidView):
        services.save_view(name, viewer=alice, fields={})
    with pytest.raises(InvalidView):
        services.rename_view(other.pk, name, viewer=alice)
    assert names(alice) == ["taken", "other"]
    assert services.rename_view(other.pk, "other", viewer=alice).name == "other"


def test_a_deleted_view_comes_back_with_what_hung_on_it(alice: User) -> None:
    view = services.save_view("v", viewer=alice, fields={})
    services.set_default_view(view.pk, viewer=alice)
    for _ in range(2):
        services.delete_view(view.pk, viewer=alice, now=T0)
        assert names(alice) == [] and queries.get_view(view.pk, viewer=alice) is None
        assert queries.preference_of(alice).default_view is None
    with pytest.raises(ViewNotFound):
        services.rename_view(view.pk, "x", viewer=alice)
    for _ in range(2):
        services.delete_view(view.pk, viewer=alice, deleted=False)
        assert names(alice) == ["v"]
        assert queries.preference_of(alice).default_view == view
    services.delete_view(view.pk, viewer=alice)
    services.save_view("v", viewer=alice, fields={})
    with pytest.raises(InvalidView):
        services.delete_view(view.pk, viewer=alice, deleted=False)


def test_views_are_put_in_order(alice: User) -> None:
    views = {name: services.save_view(name, viewer=alice, fields={}) for name in "abcd"}
    for name, position, expected in [("d", 1, "dabc"), ("d", 3, "abdc"), ("a", 99, "bdca"), ("a", 0, "abdc")]:
        services.move_view(views[name].pk, position, viewer=alice)
        assert "".join(names(alice)) == expected


def test_so_many_views_and_no_more(alice: User) -> None:
    for number in range(50):
        services.save_view(str(number), viewer=alice, fields={})
    with pytest.raises(InvalidView):
        services.save_view("one more", viewer=alice, fields={})


@pytest.mark.parametrize("view_id", [uuid4(), "nonsense"])
def test_a_view_that_is_none(alice: User, view_id: Any) -> None:
    assert queries.get_view(view_id, viewer=alice) is None
    with pytest.raises(ViewNotFound):
        services.delete_view(view_id, viewer=alice)
    with pytest.raises(ViewNotFound):
        services.set_default_view(view_id, viewer=alice)


# --- what is kept -----------------------------------------------------------------------------------------------------------------------

FULL = SessionFilter(
    status="closed", unread=False, channel="slack", user_id="ünï", agent="a", project="p", model="m", trigger="cron:x", has_errors=True,
    cost_min=Decimal("0.000000001"), cost_max=Decimal("12.50"), since=date(2026, 9, 1), until=date(2026, 10, 1), tag="t", text="words", sort="cost",
)  # fmt: skip


def test_a_filter_is_kept_whole(alice: User) -> None:
    assert queries.filter_fields(SessionFilter()) == {}
    for chosen in (SessionFilter(), FULL, SessionFilter(unread=True), SessionFilter(cost_min=Decimal(0))):
        view = services.save_view(str(uuid4()), viewer=alice, fields=queries.filter_fields(chosen))
        view.refresh_from_db()
        assert queries.view_filter(view) == chosen


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "unheard of", "sort": 3, "colour": "red"},
        {"unread": "yes", "has_errors": 1, "channel": ["slack"], "text": None},
        {"cost_min": "NaN", "cost_max": "-1", "since": "yesterday", "until": "2026-13-01"},
        {"cost_min": {}, "since": [], "tag": 7, "period": "for ever"},
    ],
)
def test_what_cannot_be_read_falls_away(alice: User, fields: dict[str, Any]) -> None:
    assert queries.view_filter(services.save_view("v", viewer=alice, fields=fields)) == SessionFilter()


def test_a_period_is_the_days_of_whoever_looks(alice: User) -> None:
    view = services.save_view("v", viewer=alice, fields={"period": "7d"})
    chosen = queries.view_filter(view, now=datetime(2026, 9, 10, 23, 59, tzinfo=UTC))
    assert (chosen.since, chosen.until) == (date(2026, 9, 4), date(2026, 9, 11))


# --- what is unread in them -------------------------------------------------------------------------------------------------------------


def test_each_view_tells_what_is_unread_in_it(alice: User, bob: User) -> None:
    nightly = [make_session("slack" if n % 2 else "main", str(n), triggered_by="nightly", messages=2, now=at(n)) for n in range(6)]
    make_session(key="read", messages=2)
    by_hand = make_session(key="by hand")
    services.archive_session(nightly[0].id)
    services.mark_read(by_hand.id, False, viewer=bob, now=at(30))
    services.mark_read(nightly[1].id, viewer=bob, now=at(30))
    for name, chosen in {
        "all": SessionFilter(),
        "slack": SessionFilter(channel="slack"),
        "archived": SessionFilter(status="archived"),
        "unread": SessionFilter(unread=True, sort="cost"),
        "read": SessionFilter(unread=False),
        "by a person": SessionFilter(trigger="person"),
        "nobody's": SessionFilter(user_id="nobody"),
    }.items():
        services.save_view(name, viewer=bob, fields=queries.filter_fields(chosen))
    assert counts(bob) == {"all": 5, "slack": 2, "archived": 1, "unread": 5, "read": 0, "by a person": 1, "nobody's": 0}
    assert all(link.is_exact for link in queries.views_for(bob))
    services.mark_all_read(bob, now=at(60))
    assert set(counts(bob).values()) == {0}
    services.save_view("hers", viewer=alice, fields={})
    assert counts(alice) == {"hers": 5}  # nightly but for the archived one: bob's marks are bob's


def test_beyond_a_number_the_counts_say_at_least(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [make_session("slack", str(number), triggered_by="nightly", messages=2, now=at(number)) for number in range(5)]
    services.save_view("slack", viewer=bob, fields={"channel": "slack"})

    def seen() -> tuple[int, bool]:
        (link,) = queries.views_for(bob)
        return link.unread, link.is_exact

    assert seen() == (5, True)
    monkeypatch.setattr(view_queries, "COUNTED", 3)
    assert seen() == (3, False)
    monkeypatch.setattr(view_queries, "LOOKED_AT", 4)
    for session in made[1:4]:
        services.mark_read(session.id, viewer=bob, now=at(60))
    assert seen() == (1, False)  # of the four newest, three were read; the fifth is not looked at
    services.mark_read(made[0].id, False, viewer=bob, now=at(60))
    assert seen() == (2, False)
    services.mark_all_read(bob, now=at(61))
    assert seen() == (0, True)


def test_an_outsider_counts_nothing(charlie: User, operator: User) -> None:
    make_session(triggered_by="nightly", messages=2)
    services.save_view("all", viewer=operator, fields={}, is_shared=True)
    assert counts(charlie) == {"all": 0}
    assert counts(operator) == {"all": 1}


def test_the_number_of_queries_does_not_grow(bob: User) -> None:
    def queries_of(number: int) -> int:
        for one in range(number):
            services.save_view(f"{number} {one}", viewer=bob, fields={"channel": "main", "tag": str(one)})
            make_session(key=f"{number} {one}", triggered_by="nightly", messages=2)
        with CaptureQueriesContext(connection) as done:
            queries.views_for(bob)
        return len(done)

    queries_of(1)  # asks for the permissions
    assert queries_of(4) == queries_of(16)


# --- preferences ------------------------------------------------------------------------------------------------------------------------


def test_a_preference_is_kept_and_what_is_not_named_stays(alice: User, bob: User) -> None:
    made = queries.preference_of(alice)
    assert (made.theme, made.density, made.keys, made.default_view) == ("", "comfortable", True, None)
    assert not Preference.objects.exists()
    services.set_preference(viewer=alice, theme="dark")
    services.set_preference(viewer=alice, density="compact", keys=False)
    made = queries.preference_of(alice)
    assert (made.theme, made.density, made.keys) == ("dark", "compact", False)
    services.set_preference(viewer=alice, theme="", keys=True)
    made = queries.preference_of(alice)
    assert (made.theme, made.density, made.keys) == ("", "compact", True)
    assert queries.preference_of(bob).density == "comfortable"
    for words in ({"theme": "pink"}, {"density": "airy"}):
        with pytest.raises(InvalidView):
            services.set_preference(viewer=alice, **words)  # type: ignore[arg-type]


def test_a_default_view_is_one_that_may_be_used(alice: User, operator: User) -> None:
    own = services.save_view("o", viewer=operator, fields={})
    with pytest.raises(ViewNotFound):
        services.set_default_view(own.pk, viewer=alice)
    services.share_view(own.pk, True, viewer=operator)
    services.set_default_view(own.pk, viewer=alice)
    assert [link.is_default for link in queries.views_for(alice)] == [True]
    assert queries.preference_of(alice).default_view == own
    services.share_view(own.pk, False, viewer=operator)
    assert queries.preference_of(alice).default_view is None
    services.set_default_view(None, viewer=alice)
    assert Preference.objects.get(viewer=alice).default_view is None


def test_views_and_preferences_go_with_their_people(alice: User, operator: User) -> None:
    view = services.save_view("v", viewer=operator, fields={}, is_shared=True)
    services.set_default_view(view.pk, viewer=alice)
    operator.delete()
    assert queries.preference_of(alice).default_view is None
    alice.delete()
    assert not Preference.objects.exists()


# --- groups -----------------------------------------------------------------------------------------------------------------------------


def in_group(name: str) -> User:
    user = make_user(f"in {name}")
    user.groups.add(Group.objects.get(name=name))
    return User.objects.get(pk=user.pk)


def test_what_readers_and_operators_may() -> None:
    session = make_session()
    reader, operator = in_group("reader"), in_group("operator")
    for viewer in (reader, operator):
        assert Session.objects.visible_to(viewer).get() == session
    assert (access.may_change(reader, session), access.may_change(operator, session)) == (False, True)
    assert not Session.objects.changeable_by(reader).exists() and Session.objects.changeable_by(operator).exists()
    assert (services.may_share(reader), services.may_share(operator)) == (False, True)
    assert not reader.is_staff and not operator.is_staff
    held = operator.get_all_permissions()
    assert {"sessions_app.view_message", "sessions_app.change_channel", "sessions_app.add_apitoken"} <= held
    assert not any(right.startswith("auth.") for right in held)  # who may edit accounts can make themselves a superuser
    assert "sessions_app.delete_session" not in held


@pytest.mark.django_db(transaction=True)
def test_a_flushed_store_gets_its_groups_back_and_an_operators_choice_stays() -> None:
    Group.objects.get(name="reader").permissions.clear()
    call_command("migrate", verbosity=0)
    assert not Group.objects.get(name="reader").permissions.exists()
    call_command("flush", interactive=False, verbosity=0)
    assert [right.codename for right in Group.objects.get(name="reader").permissions.all()] == ["view_all_sessions"]
    assert Group.objects.get(name="operator").permissions.filter(codename="change_session", content_type__app_label="sessions_app").exists()
