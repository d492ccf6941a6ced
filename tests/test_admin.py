"""The operator's tables: every list and page answers, actions go through the services, and what is history refuses every change."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app import admin as our_admin
from sessions_app import services
from sessions_app.events import tool_result, tool_use
from sessions_app.models import (
    ApiToken,
    Channel,
    Compaction,
    DeadLetter,
    Message,
    ReadMark,
    Receipt,
    Session,
    StoreFact,
    ToolDay,
    TraceSession,
    UsageDay,
    UsageRecord,
)
from tests.factories import T0, at, make_session, make_usage, make_user

pytestmark = pytest.mark.django_db

OURS = sorted((model for model in admin.site._registry if model._meta.app_label == "sessions_app"), key=lambda model: model.__name__)
READ_ONLY = [model for model in OURS if model not in (ApiToken, Channel, Session)]


@pytest.fixture
def operator(client: Client) -> Client:
    User.objects.create_superuser("root", password="root")
    client.login(username="root", password="root")
    return client


@pytest.fixture
def session() -> Session:
    """A session with a row in every table."""
    made = make_session(messages=2, triggered_by="nightly", key="<b>key</b>")
    services.store_events(made, [tool_use("c", "Bash", {}), tool_result("c", "<script>no</script>", is_error=True)], now=at(1))
    make_usage(made)
    make_usage(made, model="made-up")
    services.record_compaction(made.id, trigger="auto", pre_tokens=1, summary="s", messages_compacted=1, now=T0)
    reader = make_user("reader")
    services.mark_read(made.id, viewer=reader)
    services.mark_all_read(reader)
    services.act("read", viewer=make_user("alice"), session_ids=[made.id], now=at(2))
    view = services.save_view("mine", viewer=reader, fields={"tag": "x"})
    services.set_default_view(view.pk, viewer=reader)
    services.set_tags(made.id, ["looked at"])
    services.create_token("ci", scope="write")
    Receipt.objects.create(source="s", event_id="e", fingerprint=1, status=201, received_at=T0)
    TraceSession.objects.create(source="s", trace_id="t", session=made, seen_at=T0)
    DeadLetter.objects.create(door="api", reason="bad", digest="d", payload="{}", first_at=T0, last_at=T0)
    return Session.objects.get(pk=made.pk)


def right(codename: str) -> Permission:
    """Ours: Django's table of browser sessions has a change_session as well."""
    return Permission.objects.get(content_type__app_label="sessions_app", codename=codename)


def url(model: Any, page: str = "changelist", *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def test_every_table_has_its_page() -> None:
    from django.apps import apps

    assert set(OURS) == set(apps.get_app_config("sessions_app").get_models())


@pytest.mark.parametrize("model", [*OURS, User, Group], ids=lambda model: model.__name__)
def test_every_list_and_page_answers(model: Any, operator: Client, session: Session) -> None:
    Group.objects.create(name="operators")
    assert operator.get("/admin/").status_code == 200
    page = operator.get(url(model))
    assert page.status_code == 200
    assert b"Content-Security-Policy" not in page.content and "script-src 'self'" in page.headers["Content-Security-Policy"]
    for row in model._default_manager.all()[:3]:
        assert operator.get(url(model, "change", row.pk)).status_code == 200
        assert operator.get(url(model, "history", row.pk)).status_code == 200
    assert operator.get(url(model, "change", "nonsense")).status_code == 302


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("term", ["", "alice", "  ", "'; --", "\x00", "é" * 300, "00000000-0000-0000-0000-000000000001", "OWN"])
def test_every_search_answers(model: Any, term: str, operator: Client, session: Session) -> None:
    answer = operator.get(url(model), {"q": str(session.pk) if term == "OWN" else term})
    assert answer.status_code == 200
    if term == "OWN" and issubclass(type(admin.site._registry[model]), our_admin.OfASession):
        assert answer.context["cl"].result_count == model._default_manager.filter(session=session).count() > 0
    if term.startswith("0000") and model in (Session, Message, UsageRecord):
        assert answer.context["cl"].result_count == 0


def test_sessions_are_found_by_id_and_by_user(operator: Client, session: Session) -> None:
    other = make_session(key="2", user_id="bob")
    for term, found in [(str(session.pk), [session]), ("bob", [other]), ("ALICE", []), (session.pk.hex, [session])]:
        assert list(operator.get(url(Session), {"q": term}).context["cl"].result_list) == found


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_filter_answers(model: Any, operator: Client, session: Session) -> None:
    page = operator.get(url(model)).context["cl"]
    for choices in page.filter_specs:
        for choice in choices.choices(page):
            assert operator.get(url(model) + choice["query_string"]).status_code == 200


def test_the_states_filter_what_they_say(operator: Client) -> None:
    opened = make_session(key="1")
    closed, archived = make_session(key="2"), make_session(key="3")
    services.close_session(closed.id)
    services.archive_session(archived.id)
    services.mark_read(closed.id, False)
    Session.objects.filter(pk=archived.pk).update(is_demo=True)
    expected = {
        "inbox": {opened, closed},
        "open": {opened, archived},
        "unread": {closed},
        "demo": {archived},
        "nonsense": {opened, closed, archived},
    }
    for state, found in expected.items():
        assert set(operator.get(url(Session), {"state": state}).context["cl"].result_list) == found


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_the_number_of_queries_does_not_grow_with_the_rows(model: Any, operator: Client) -> None:
    def fill(first: int, last: int) -> None:
        for number in range(first, last):
            made = make_session(key=str(number), user_id=f"user {number}", messages=1)
            services.store_events(made, [tool_use("c", f"tool {number}", {})], now=T0)
            make_usage(made, model=f"model {number}")
            services.record_compaction(made.id, trigger="auto", pre_tokens=1, summary="s", messages_compacted=1, now=T0)
            reader = make_user(f"reader {number}")
            services.mark_read(made.id, viewer=reader)
            services.mark_all_read(reader)
            Channel.objects.create(slug=f"c{number}", label="x")

    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert operator.get(url(model)).status_code == 200
        return len(queries)

    fill(0, 3)
    few = count()
    fill(3, 9)
    assert count() == few


def test_big_tables_are_never_counted_whole(operator: Client, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_admin, "MOST_LISTED", 3)
    for model in [*READ_ONLY, Session]:
        with CaptureQueriesContext(connection) as queries:
            page = operator.get(url(model)).context["cl"]
        assert page.result_count <= 3
        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"] and model._meta.db_table in query["sql"]]
        assert counts and all("LIMIT 3" in sql for sql in counts), counts


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_history_and_sums_refuse_every_change(model: Any, operator: Client, session: Session) -> None:
    row = model._default_manager.all()[0]
    before = model._default_manager.values().get(pk=row.pk)
    fields = {field.name: "1" for field in model._meta.fields}
    assert operator.post(url(model, "change", row.pk), fields).status_code == 403
    assert operator.post(url(model, "add"), fields).status_code == 403
    assert operator.get(url(model, "add")).status_code == 403
    assert operator.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    operator.post(url(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert model._default_manager.values().get(pk=row.pk) == before


def test_a_session_is_not_written_by_its_form(operator: Client, session: Session) -> None:
    fields = {field.name: "1" for field in Session._meta.fields}
    assert operator.post(url(Session, "change", session.pk), fields).status_code == 403
    assert operator.post(url(Session, "delete", session.pk), {"post": "yes"}).status_code == 403
    assert operator.get(url(Session, "add")).status_code == 403
    operator.post(url(Session), {"action": "delete_selected", "_selected_action": [session.pk], "post": "yes"})
    assert Session.objects.get() == session


# --- actions ------------------------------------------------------------------------------------------------------------------------


def act(client: Client, action: str, *sessions: Session) -> str:
    answer = client.post(url(Session), {"action": action, "_selected_action": [session.pk for session in sessions]}, follow=True)
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


def test_each_action_goes_through_its_service(operator: Client) -> None:
    one, two = make_session(key="1"), make_session(key="2")

    def column(name: str) -> list[bool]:
        return [bool(value) for value in Session.objects.order_by("key").values_list(name, flat=True)]

    assert act(operator, "close", one, two) == "2 sessions closed."
    assert column("closed_at") == [True, True]
    assert act(operator, "close", one) == "1 session closed."
    assert act(operator, "reopen", one) == "1 session reopened."
    assert column("closed_at") == [False, True]
    assert act(operator, "archive", two) == "1 session archived."
    assert column("archived_at") == [False, True]
    assert act(operator, "unarchive", one, two) == "2 sessions brought back."
    assert column("archived_at") == [False, False]
    assert act(operator, "mark_unread", one) == "1 session marked unread for everyone."
    assert column("unread_since") == [True, False]
    assert act(operator, "mark_read", one) == "1 session marked read for everyone."
    assert column("unread_since") == [False, False]


def test_a_refused_one_does_not_keep_the_others_from_it(operator: Client) -> None:
    closed = make_session(key="1")
    services.close_session(closed.id)
    taken, other = make_session(key="1"), make_session(key="2")
    services.close_session(other.id)
    words = act(operator, "reopen", closed, other)
    assert f"{closed.id}: Session {taken.id} is already open" in words and "1 session reopened." in words
    assert set(Session.objects.open()) == {taken, other}


def test_an_action_has_its_bounds(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_admin, "MOST_AT_ONCE", 2)
    sessions = [make_session(key=str(number)) for number in range(3)]
    assert act(operator, "close", *sessions) == "Only the first 2 at a time: repeat it for the rest. 2 sessions closed."
    assert Session.objects.open().count() == 1


# --- channels -----------------------------------------------------------------------------------------------------------------------


def test_a_channel_is_made_edited_and_keeps_its_slug(operator: Client) -> None:
    operator.post(url(Channel, "add"), {"slug": "fax", "label": "Fax", "gap_minutes": "30"})
    fax = Channel.objects.get(pk="fax")
    assert (fax.label, fax.gap_minutes, fax.marks_unread) == ("Fax", 30, False)
    operator.post(url(Channel, "change", "fax"), {"slug": "telefax", "label": "Telefax", "gap_minutes": "", "marks_unread": "on"})
    assert sorted(Channel.objects.values_list("slug", flat=True)) == ["cli", "email", "fax", "main", "slack", "telegram"]
    fax.refresh_from_db()
    assert (fax.label, fax.gap_minutes, fax.marks_unread) == ("Telefax", None, True)
    assert 'name="slug"' not in operator.get(url(Channel, "change", "fax")).content.decode()


@pytest.mark.parametrize(
    ("field", "value"), [("slug", "not a slug"), ("slug", "main"), ("label", ""), ("gap_minutes", "-1"), ("gap_minutes", "x")]
)
def test_a_wrong_channel_is_said_to_be_wrong(field: str, value: str, operator: Client) -> None:
    answer = operator.post(url(Channel, "add"), {"slug": "fax", "label": "Fax", "gap_minutes": "", field: value})
    assert answer.status_code == 200 and answer.context["errors"]
    assert Channel.objects.count() == 5 and Channel.objects.get(pk="main").label == "Web chat"


def test_any_gap_that_the_form_takes_is_one_that_sessions_can_have(operator: Client) -> None:
    operator.post(url(Channel, "change", "telegram"), {"label": "T", "gap_minutes": "2147483647"})
    made = services.open_session("telegram", "k", now=T0)
    assert not services.open_session("telegram", "k", now=at(days=900)).created
    assert services.resolve_session("telegram", "k", gap_minutes=10**18, now=at(days=900)) == services.Continue(made.session.id)
    assert services.close_stale_sessions(now=at(days=900)).session_ids == []


def test_only_an_empty_channel_can_go(operator: Client) -> None:
    make_session("slack")
    Channel.objects.create(slug="fax", label="Fax")
    assert operator.post(url(Channel, "delete", "slack"), {"post": "yes"}).status_code == 403
    assert operator.post(url(Channel, "delete", "fax"), {"post": "yes"}).status_code == 302
    assert sorted(Channel.objects.values_list("slug", flat=True)) == ["cli", "email", "main", "slack", "telegram"]


# --- links, texts, people -----------------------------------------------------------------------------------------------------------


def test_rows_lead_to_the_sites_pages(operator: Client, session: Session) -> None:
    page = session.get_absolute_url()
    message = Message.objects.all()[0]
    for address, link in [
        (url(Session), page),
        (url(Session, "change", session.pk), page),
        (url(Message), page),
        (url(Message, "change", message.pk), f"{page}#m{message.pk}"),
        (url(UsageRecord, "change", UsageRecord.objects.all()[0].pk), page),
        (url(Compaction), page),
        (url(ReadMark), page),
    ]:
        assert f'href="{link}"' in operator.get(address).content.decode(), address


def test_a_strangers_text_is_escaped(operator: Client, session: Session) -> None:
    Session.objects.update(title="<img src=x>")
    for address in [
        url(Session),
        url(Session, "change", session.pk),
        url(Message),
        *(url(Message, "change", message.pk) for message in Message.objects.all()),
    ]:
        text = operator.get(address).content.decode()
        assert "<img src=x>" not in text and "<script>no" not in text and "<b>key</b>" not in text


def test_nothing_offers_to_count_a_big_table(operator: Client, session: Session) -> None:
    for model in [*READ_ONLY, Session]:
        assert "_facets" not in operator.get(url(model)).content.decode()


def test_long_texts_stay_out_of_the_list(operator: Client, session: Session) -> None:
    services.save_message(session.id, "user", "x" * 100_000)
    assert len(operator.get(url(Message)).content) < 60_000


def test_the_tables_are_for_staff(client: Client, session: Session) -> None:
    viewer = make_user("bob", permissions=["view_all_sessions", "change_session"])
    for user, status in [(None, 302), (viewer, 302)]:
        if user:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        for model in OURS:
            assert client.get(url(model)).status_code == status
    staff = make_user("dora", staff=True)
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(url(Message)).status_code == 403
    staff.user_permissions.add(right("view_message"), right("view_session"))
    assert client.get(url(Message)).status_code == 200
    # looks, and does not touch
    assert "action" not in (client.get(url(Session)).context["action_form"] or {})
    client.post(url(Session), {"action": "close", "_selected_action": [session.pk]})
    assert Session.objects.open().exists()
    staff.user_permissions.add(right("change_session"))
    assert act(client, "close", session) == "1 session closed."


def user_form(user: User, **changes: Any) -> dict[str, Any]:
    return {
        "username": user.username, "email": "", "first_name": "", "last_name": "", "is_active": "on", "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00", **changes,
    }  # fmt: skip


def test_the_two_rights_are_boxes_of_their_own(operator: Client) -> None:
    user = make_user("bob", permissions=["view_all_sessions"])
    other = right("view_channel")
    page = operator.get(url(User, "change", user.pk)).content.decode()
    assert 'name="view_all_sessions"' in page and 'name="change_session"' in page
    form = operator.get(url(User, "change", user.pk)).context["adminform"].form
    assert (form["view_all_sessions"].initial, form["change_session"].initial) == (True, False)

    def rights() -> set[str]:
        return set(user.user_permissions.values_list("codename", flat=True))

    operator.post(url(User, "change", user.pk), user_form(user, change_session="on", user_permissions=[other.pk]))
    assert rights() == {"change_session", "view_channel"}
    operator.post(url(User, "change", user.pk), user_form(user, change_session="on", view_all_sessions="on"))
    assert rights() == {"change_session", "view_all_sessions"}
    operator.post(url(User, "change", user.pk), user_form(user))
    assert rights() == set()


def test_the_list_of_people_says_who_sees_and_changes_all(operator: Client) -> None:
    group = Group.objects.create(name="operators")
    group.permissions.add(right("change_session"))
    by_group = make_user("emil")
    by_group.groups.add(group)
    make_user("bob", permissions=["view_all_sessions"])
    make_user("dora", staff=True)
    page = admin.site._registry[User]
    rights = {user.username: (page.sees_all(user), page.changes_all(user)) for user in User.objects.all()}  # type: ignore[attr-defined]
    assert rights == {"root": (True, True), "emil": (False, True), "bob": (True, False), "dora": (True, False)}
    assert operator.get(url(User)).status_code == 200


def test_a_new_person_is_made(operator: Client) -> None:
    words = {"username": "ines", "usable_password": "true", "password1": "correct horse battery", "password2": "correct horse battery"}
    assert operator.post(url(User, "add"), words).status_code == 302
    assert User.objects.get(username="ines").check_password("correct horse battery")


def test_the_zone_stands_among_the_facts(operator: Client) -> None:
    assert "time_zone" in operator.get(url(StoreFact)).content.decode()
    assert UsageDay in OURS and ToolDay in OURS


# --- tokens -------------------------------------------------------------------------------------------------------------------------


def test_a_token_is_made_shown_once_and_revoked(operator: Client) -> None:
    words = {"name": "ci", "scope": "write", "user_id": "", "channel": "cli", "agent": ""}
    answer = operator.post(url(ApiToken, "add"), words, follow=True)
    [message] = [str(message) for message in answer.context["messages"] if "never again" in str(message)]
    secret = message.split()[-1]
    token = ApiToken.objects.get()
    assert (token.name, token.scope, token.channel_id) == ("ci", "write", "cli")
    assert services.find_token(secret) == token
    for address in (url(ApiToken), url(ApiToken, "change", token.pk)):
        assert secret not in operator.get(address).content.decode() and token.digest not in operator.get(address).content.decode()
    assert operator.post(url(ApiToken, "change", token.pk), {**words, "scope": "admin"}).status_code == 403
    assert operator.post(url(ApiToken, "delete", token.pk), {"post": "yes"}).status_code == 403
    operator.post(url(ApiToken), {"action": "revoke", "_selected_action": [token.pk]})
    assert services.find_token(secret) is None


def test_a_token_that_goes_against_the_rules_is_refused(operator: Client) -> None:
    for words in (
        {"scope": "read"},
        {"scope": "write", "sees_all": "on"},
        {"scope": "none"},
        {"scope": "write", "expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
    ):
        answer = operator.post(url(ApiToken, "add"), {"name": "x", "user_id": "", "channel": "", "agent": "", **words})
        assert answer.status_code == 200 and answer.context["errors"], words
    assert not ApiToken.objects.exists()
