"""The operator's tables. History is read-only; what changes a session goes through the services, as actions on the list.

The tables may hold millions of rows, so nothing here counts them whole, sorts by what no index has, or filters by what no index finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Permission, User
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions_app import services
from sessions_app.errors import SessionError
from sessions_app.models import (
    Action,
    ActionItem,
    ApiToken,
    Channel,
    Compaction,
    DeadLetter,
    Message,
    Preference,
    ReadMark,
    ReadWatermark,
    Receipt,
    SavedView,
    Session,
    SessionCount,
    SessionGroup,
    SessionHome,
    SessionTag,
    StoreFact,
    ToolDay,
    ToolDayByName,
    TraceSession,
    UsageDay,
    UsageDayBy,
    UsageRecord,
)
from sessions_app.templatetags.sessionsite import money

admin.site.site_header = admin.site.site_title = "Sessionsite"
admin.site.index_title = "Tables"

MOST_LISTED = 10_000  # rows; beyond these one searches
MOST_AT_ONCE = 1_000  # sessions that one action changes: well below a request's time-out
MOST_REASONS = 50  # that a filter lists
PREVIEW = 100  # characters of a text in a list


# --- lists of big tables ------------------------------------------------------------------------------------------------------------


class BoundedPaginator(Paginator):
    """Pages over the first MOST_LISTED rows, so that counting stops there: a COUNT of ten million messages takes seconds, of each page anew."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by()[:MOST_LISTED].count()


class BigTableAdmin(admin.ModelAdmin):
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # "Show counts" would count the whole table once for each choice
    list_per_page = 50
    list_max_show_all = 0


class ReadOnlyAdmin(BigTableAdmin):
    """Looked at, never changed: history, and sums that only the services keep right. Its pages ask for the right to view."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Choice(admin.SimpleListFilter):
    """A filter of fixed words, each a condition that an index serves."""

    conditions: dict[str, tuple[str, Callable[[], Q]]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in self.conditions.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.conditions.get(self.value() or "")
        return queryset.filter(chosen[1]()) if chosen else queryset


class StateFilter(Choice):
    title = parameter_name = "state"
    conditions = {
        "inbox": ("not archived", lambda: Q(archived_at=None)),
        "open": ("open", lambda: Q(closed_at=None)),
        "unread": ("unread for everyone", lambda: Q(unread_since__isnull=False)),
        "demo": ("demo", lambda: Q(is_demo=True)),
    }


class ActivityFilter(Choice):
    title, parameter_name = "activity", "activity"
    conditions = {
        "1": ("in the last day", lambda: Q(last_message_at__gte=timezone.now() - timedelta(days=1))),
        "7": ("in the last 7 days", lambda: Q(last_message_at__gte=timezone.now() - timedelta(days=7))),
        "30": ("in the last 30 days", lambda: Q(last_message_at__gte=timezone.now() - timedelta(days=30))),
    }


class TimeFilter(Choice):
    title, parameter_name = "time", "time"
    conditions = {
        "1": ("in the last day", lambda: Q(timestamp__gte=timezone.now() - timedelta(days=1))),
        "7": ("in the last 7 days", lambda: Q(timestamp__gte=timezone.now() - timedelta(days=7))),
        "30": ("in the last 30 days", lambda: Q(timestamp__gte=timezone.now() - timedelta(days=30))),
    }


class DayFilter(Choice):
    title, parameter_name = "day", "day"
    conditions = {
        "1": ("since yesterday", lambda: Q(day__gte=timezone.localdate() - timedelta(days=1))),
        "7": ("in the last 7 days", lambda: Q(day__gte=timezone.localdate() - timedelta(days=7))),
        "30": ("in the last 30 days", lambda: Q(day__gte=timezone.localdate() - timedelta(days=30))),
    }


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term.strip())
    except ValueError:
        return None


class OfASession(ReadOnlyAdmin):
    """What belongs to a session is found by the session's id: no other column of these tables has an index for it."""

    search_fields = ["session"]  # switches the search field on; get_search_results does the search
    search_help_text = f"A session's id. Without one, the newest {MOST_LISTED:,} are listed."
    list_select_related = ["session"]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        session_id = _uuid(search_term)
        return (queryset.filter(session_id=session_id) if session_id else queryset.none()), False

    def view_on_site(self, obj: Any) -> str:
        return str(obj.session.get_absolute_url())

    @admin.display(description="session", ordering=None)
    def of_session(self, obj: Any) -> SafeString:
        return format_html('<a href="{}">{}</a>', obj.session.get_absolute_url(), obj.session)


# --- sessions -----------------------------------------------------------------------------------------------------------------------


@admin.register(Channel)
class ChannelAdmin(admin.ModelAdmin):
    list_display = ["slug", "label", "gap_minutes", "marks_unread"]
    search_fields = ["slug", "label"]
    search_help_text = "Slug or label."
    actions = None  # one channel is removed at a time, and only while it is empty

    def get_readonly_fields(self, request: HttpRequest, obj: Channel | None = None) -> list[str]:
        return ["slug"] if obj else []  # sessions, day rows and the agents' own settings name it

    def has_delete_permission(self, request: HttpRequest, obj: Channel | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        # Asked before Django's own look at what would be lost, which would list every session of the channel.
        return may and obj is not None and not Session.objects.filter(channel=obj).exists()


@admin.register(Session)
class SessionAdmin(BigTableAdmin):
    list_display = ["name", "on_site", "channel", "user_id", "agent", "model", "state", "last_message_at", "message_count", "cost"]
    list_display_links = ["name"]
    list_select_related = ["channel"]
    list_filter = [StateFilter, ActivityFilter, "channel"]
    search_fields = ["id"]
    search_help_text = "A session's id, or a user name as the agent wrote it. Titles are searched on the site."
    ordering = ["-last_message_at", "-id"]
    sortable_by = ()  # by activity: the order that has an index for every filter
    actions = ["close", "reopen", "archive", "unarchive", "mark_read", "mark_unread"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        rows = super().get_queryset(request)
        is_list = request.resolver_match is not None and request.resolver_match.url_name == "sessions_app_session_changelist"
        return rows.defer("summary", "extra") if is_list else rows

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        session_id = _uuid(term)
        return queryset.filter(pk=session_id) if session_id else queryset.filter(user_id=term), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Allow the actions on the list, which go through the services. One session's page is for looking: saving its form would write all
        columns as they were when it was opened over what agents added since."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False  # its sums stand in the day rows as well

    def view_on_site(self, obj: Session) -> str:
        return obj.get_absolute_url()

    @admin.display(description="title")
    def name(self, obj: Session) -> str:
        return str(obj)

    @admin.display(description="state")
    def state(self, obj: Session) -> str:
        words = ["closed" if obj.is_closed else "open", *(["archived"] if obj.is_archived else []), *([] if obj.is_read else ["unread"])]
        return ", ".join(words)

    @admin.display(description="cost")
    def cost(self, obj: Session) -> SafeString:
        return money(obj.cost_known)

    @admin.display(description="")
    def on_site(self, obj: Session) -> SafeString:
        return format_html('<a href="{}">On the site</a>', obj.get_absolute_url())

    @admin.action(description="Close", permissions=["change"])
    def close(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        self.each(request, sessions, "closed", services.close_session)

    @admin.action(description="Reopen", permissions=["change"])
    def reopen(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        self.each(request, sessions, "reopened", services.reopen_session)

    @admin.action(description="Archive", permissions=["change"])
    def archive(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        self.each(request, sessions, "archived", services.archive_session)

    @admin.action(description="Bring back from the archive", permissions=["change"])
    def unarchive(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        self.each(request, sessions, "brought back", lambda session_id: services.archive_session(session_id, False))

    @admin.action(description="Mark read for everyone", permissions=["change"])
    def mark_read(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        self.each(request, sessions, "marked read for everyone", services.mark_read)

    @admin.action(description="Mark unread for everyone", permissions=["change"])
    def mark_unread(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        self.each(request, sessions, "marked unread for everyone", lambda session_id: services.mark_read(session_id, False))

    def each(self, request: HttpRequest, sessions: QuerySet[Session], done: str, service: Callable[[UUID], None]) -> None:
        """Call a service for each session, and say how it went; one that is refused does not keep the others from it."""
        count = 0
        chosen = list(sessions.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            self.message_user(request, f"Only the first {MOST_AT_ONCE:,} at a time: repeat it for the rest.", messages.WARNING)
        for session_id in chosen[:MOST_AT_ONCE]:
            try:
                service(session_id)
            except SessionError as error:
                self.message_user(request, f"{session_id}: {error.detail}", messages.ERROR)
            else:
                count += 1
        self.message_user(request, f"{count:,} session{'' if count == 1 else 's'} {done}.", messages.SUCCESS if count else messages.WARNING)


# --- what was said and used ---------------------------------------------------------------------------------------------------------


@admin.register(Message)
class MessageAdmin(OfASession):
    list_display = ["id", "of_session", "role", "tool_name", "is_error", "timestamp", "preview"]
    ordering = ["-id"]
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        rows = super().get_queryset(request)
        is_list = request.resolver_match is not None and request.resolver_match.url_name == "sessions_app_message_changelist"
        return rows.defer("content", "extra").annotate(beginning=Left("content", PREVIEW)) if is_list else rows

    def view_on_site(self, obj: Message) -> str:
        return f"{super().view_on_site(obj)}#m{obj.pk}"

    @admin.display(description="text")
    def preview(self, obj: Any) -> str:
        return str(obj.beginning)


@admin.register(UsageRecord)
class UsageRecordAdmin(OfASession):
    list_display = [
        "id", "of_session", "turn", "model", "user_id", "timestamp",
        "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost", "cost_source",
    ]  # fmt: skip
    list_filter = [TimeFilter]
    ordering = ["-timestamp", "-id"]
    sortable_by = ()

    @admin.display(description="cost")
    def cost(self, obj: UsageRecord) -> SafeString:
        return money(obj.cost_usd)


@admin.register(Compaction)
class CompactionAdmin(OfASession):
    list_display = ["id", "of_session", "trigger", "pre_tokens", "messages_compacted", "timestamp"]
    ordering = ["-id"]
    sortable_by = ()


@admin.register(ReadMark)
class ReadMarkAdmin(OfASession):
    list_display = ["id", "viewer", "of_session", "is_unread", "at"]
    list_select_related = ["session", "viewer"]
    ordering = ["-id"]
    sortable_by = ()


@admin.register(ReadWatermark)
class ReadWatermarkAdmin(ReadOnlyAdmin):
    list_display = ["viewer", "at"]
    list_select_related = ["viewer"]
    search_fields = ["viewer__username"]


@admin.register(StoreFact)
class StoreFactAdmin(ReadOnlyAdmin):
    """The time zone among them: `manage.py recount --time-zone` changes it together with the days."""

    list_display = ["name", "value"]


# --- what the list counts by ------------------------------------------------------------------------------------------------------------


@admin.register(SessionGroup)
class SessionGroupAdmin(ReadOnlyAdmin):
    list_display = ["id", "channel", "agent", "model", "triggered_by", "state", "is_unread", "has_errors", "sessions"]
    list_filter = ["state"]
    ordering = ["id"]
    sortable_by = ()


@admin.register(SessionHome)
class SessionHomeAdmin(ReadOnlyAdmin):
    list_display = ["id", "user_id", "project", "sessions", "in_inbox"]
    search_fields = ["user_id"]  # switches the search field on
    search_help_text = "A user name as the agent wrote it, whole."
    ordering = ["id"]
    sortable_by = ()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(user_id=search_term.strip()) if search_term.strip() else queryset), False


@admin.register(SessionCount)
class SessionCountAdmin(ReadOnlyAdmin):
    list_display = ["id", "home_id", "group_id", "sessions"]
    ordering = ["-id"]
    sortable_by = ()


@admin.register(SessionTag)
class SessionTagAdmin(OfASession):
    list_display = ["id", "of_session", "tag"]
    ordering = ["-id"]
    sortable_by = ()


# --- what people did, and how they want it ---------------------------------------------------------------------------------------------


@admin.register(Action)
class ActionAdmin(ReadOnlyAdmin):
    """Who did what to how many sessions. The page offers the undo, to who did it."""

    list_display = ["id", "viewer", "verb", "words", "created_at", "finished_at", "done", "changed", "undone_at", "given_back"]
    list_select_related = ["viewer"]
    list_filter = ["verb"]
    search_fields = ["viewer"]  # switches the search field on
    search_help_text = "A person's user name."
    ordering = ["-id"]
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Action]:
        return super().get_queryset(request).defer("selection")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(viewer__username=search_term.strip()) if search_term.strip() else queryset), False


@admin.register(ActionItem)
class ActionItemAdmin(ReadOnlyAdmin):
    """How the sessions of an action were before it."""

    list_display = ["id", "action", "session_id", "closed_at", "archived_at", "tags", "mark_at", "mark_was_unread"]
    list_select_related = ["action"]
    search_fields = ["action"]  # switches the search field on
    search_help_text = "An action's number."
    ordering = ["-id"]
    sortable_by = ()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return (queryset.filter(action=int(term)) if term.isascii() and term.isdigit() and len(term) < 19 else queryset.none()), False


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    list_display = ["name", "owner", "is_shared", "fields", "created_at", "deleted_at"]
    list_select_related = ["owner"]
    list_filter = ["is_shared"]
    search_fields = ["name", "owner__username"]
    ordering = ["owner", "position", "name"]


@admin.register(Preference)
class PreferenceAdmin(ReadOnlyAdmin):
    list_display = ["viewer", "default_view", "theme", "density", "keys"]
    list_select_related = ["viewer", "default_view"]
    search_fields = ["viewer__username"]


# --- doors --------------------------------------------------------------------------------------------------------------------------


class TokenForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        words = super().clean() or {}
        if not self.errors:
            try:
                with transaction.atomic():  # tried and taken back: the service knows what goes together
                    services.create_token(**_token_words(words))
                    transaction.set_rollback(True)
            except SessionError as error:
                raise forms.ValidationError({error.field: error.detail} if error.field in self.fields else error.detail) from error
        return words


def _token_words(words: dict[str, Any]) -> dict[str, Any]:
    channel = words.get("channel")
    names = {name: words.get(name) for name in ("scope", "user_id", "agent", "sees_all", "expires_at")}
    return {"token_name": words.get("name"), "channel": channel.pk if channel else "", **names}


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Made here once, shown once; afterwards only revoked."""

    form = TokenForm
    fields = ["name", "scope", "user_id", "sees_all", "channel", "agent", "expires_at"]
    list_display = [
        "name",
        "hint",
        "scope",
        "user_id",
        "channel",
        "agent",
        "sees_all",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ]
    list_select_related = ["channel"]
    list_filter = ["scope"]
    search_fields = ["name", "user_id"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*self.fields, "hint", "created_at", "last_used_at", "revoked_at"] if obj else self.fields

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is None and admin.ModelAdmin.has_change_permission(self, request)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        made = services.create_token(**_token_words(form.cleaned_data))
        obj.__dict__.update(made.token.__dict__)
        self.message_user(request, f"The secret of {obj.name}, shown now and never again: {made.secret}", messages.WARNING)

    @admin.action(description="Revoke, at once and for good", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        for token in tokens:
            services.revoke_token(token)
        self.message_user(request, f"{len(tokens)} revoked.", messages.SUCCESS)


@admin.register(Receipt)
class ReceiptAdmin(ReadOnlyAdmin):
    list_display = ["id", "source", "event_id", "status", "received_at"]
    ordering = ["-id"]
    sortable_by = ()


class ReasonFilter(admin.SimpleListFilter):
    """Each reason among the newest MOST_LISTED letters with how often it came; the commonest first."""

    title = parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        counts: Counter[str] = Counter()
        for reason, times in DeadLetter.objects.order_by("-last_at").values_list("reason", "times")[:MOST_LISTED]:
            counts[reason] += times
        return [(reason, f"{reason} ({times:,})") for reason, times in counts.most_common(MOST_REASONS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() is not None else queryset


@admin.register(TraceSession)
class TraceSessionAdmin(ReadOnlyAdmin):
    list_display = ["id", "trace_id", "source", "session", "conversation", "user_id", "agent", "seen_at"]
    list_select_related = ["session"]
    ordering = ["-id"]
    sortable_by = ()


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ["last_at", "door", "reason", "source", "times", "detail"]
    list_filter = [ReasonFilter]
    ordering = ["-last_at", "-id"]
    sortable_by = ()


# --- sums ---------------------------------------------------------------------------------------------------------------------------


class DayAdmin(ReadOnlyAdmin):
    list_filter = [DayFilter]
    ordering = ["-day", "id"]
    sortable_by = ()

    @admin.display(description="cost")
    def cost(self, obj: Any) -> SafeString:
        return money(None if obj.cost_source == "unknown" else obj.cost_usd)


@admin.register(UsageDay)
class UsageDayAdmin(DayAdmin):
    list_display = ["day", "owner", "user_id", "model", "channel", "agent", "project", "triggered_by", "cost_source", "turns", "cost"]
    search_fields = ["owner"]
    search_help_text = "A session owner's name, whole."

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(owner=search_term.strip()) if search_term.strip() else queryset), False


@admin.register(UsageDayBy)
class UsageDayByAdmin(DayAdmin):
    list_display = ["day", "dimension", "value", "cost_source", "turns", "cost"]
    list_filter = [DayFilter, "dimension"]


@admin.register(ToolDay)
class ToolDayAdmin(DayAdmin):
    list_display = ["day", "tool_name", "owner", "channel", "agent", "project", "triggered_by", "invocations", "errors"]


@admin.register(ToolDayByName)
class ToolDayByNameAdmin(DayAdmin):
    list_display = ["day", "tool_name", "invocations", "errors"]


# --- people -------------------------------------------------------------------------------------------------------------------------

RIGHTS = {"view_all_sessions": "Sees all sessions", "change_session": "Changes all sessions"}


class RightsForm(UserChangeForm):
    """The form of a user, with the site's two rights as two boxes instead of two lines among sixty."""

    view_all_sessions = forms.BooleanField(
        required=False,
        label=RIGHTS["view_all_sessions"],
        help_text="And what they cost; not only those under this person's own user name (the permission view_all_sessions).",
    )
    change_session = forms.BooleanField(
        required=False,
        label=RIGHTS["change_session"],
        help_text="Archives, renames, closes and reopens the sessions that this person sees (the permission change_session).",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = [permission.pk for permission in _rights()]
        if self.instance.pk:
            held = set(self.instance.user_permissions.filter(pk__in=own).values_list("codename", flat=True))
            for right in RIGHTS:
                self.fields[right].initial = right in held
        if "user_permissions" in self.fields:
            others = self.fields["user_permissions"]
            others.queryset = others.queryset.exclude(pk__in=own).select_related("content_type")  # type: ignore[attr-defined]

    def _save_m2m(self) -> None:
        super()._save_m2m()  # type: ignore[misc]
        for permission in _rights():
            change = self.instance.user_permissions.add if self.cleaned_data[permission.codename] else self.instance.user_permissions.remove
            change(permission)


def _rights() -> list[Permission]:
    rights = Permission.objects.filter(content_type__app_label="sessions_app", content_type__model="session", codename__in=RIGHTS)
    return list(rights)


admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(UserAdmin):
    form = RightsForm
    list_display = ["username", "email", "is_active", "is_staff", "sees_all", "changes_all", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active", "groups"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email"]}),
        (
            "Rights on this site",
            {
                "fields": ["is_active", "is_staff", "is_superuser", "view_all_sessions", "change_session", "groups"],
                "description": "Everyone who can sign in sees the sessions under their own user name. Staff see all, and these tables.",
            },
        ),
        ("Single permissions", {"classes": ["collapse"], "fields": ["user_permissions"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("user_permissions__content_type", "groups__permissions__content_type")

    @admin.display(description="sees all sessions", boolean=True)
    def sees_all(self, obj: User) -> bool:
        return obj.is_superuser or obj.is_staff or self.holds(obj, "view_all_sessions")

    @admin.display(description="changes all sessions", boolean=True)
    def changes_all(self, obj: User) -> bool:
        return obj.is_superuser or self.holds(obj, "change_session")

    def holds(self, user: User, right: str) -> bool:
        held = [*user.user_permissions.all(), *(permission for group in user.groups.all() for permission in group.permissions.all())]
        # Django's own table of browser sessions has a "change_session" as well.
        return any(permission.codename == right and permission.content_type.app_label == "sessions_app" for permission in held)
