"""The tables: sessions and what was said in them, what it cost, who has read it, and the day rows that add it up.

Written by `services` alone. Three kinds of columns: facts; cached numbers (under a comment that names their source and the command
that rebuilds them); and day rows, which `day_rows` keeps in the same transaction as the facts.
"""

from __future__ import annotations

import os
import time
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from sessions_app.money import NanoUSDField

if TYPE_CHECKING:
    from django.contrib.auth.models import User

KEY_LENGTH = 255  # three of these and a slug stay below the 2,704 bytes that PostgreSQL allows an index row, whatever the script
MODEL_LENGTH = 255
PROJECT_LENGTH = 500
TITLE_LENGTH = 101  # 100 code points and an ellipsis
HEARTBEAT = "__heartbeat__"  # triggered_by of a session that an agent opens by itself, on its clock
MAX_GAP_MINUTES = 100 * 366 * 24 * 60  # a longer gap is never over, and would reach back before the calendar begins


def new_session_id() -> uuid.UUID:
    """Return a version 7 UUID: new sessions stand together at the end of every index, which random ids would scatter."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    return uuid.UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


class Channel(models.Model):
    """The medium a message came through. An operator edits the rows; the slug is fixed once made."""

    slug = models.SlugField(primary_key=True)
    label = models.CharField(max_length=100)
    gap_minutes = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Minutes without a message after which a new session begins. Empty: only a person or the agent closes a session.",
    )
    marks_unread = models.BooleanField(
        default=False, help_text="An assistant's message makes the session unread, although a person may have been there."
    )

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.label


def sees_everything(viewer: User | None) -> bool:
    """Whether this viewer sees every session: staff, and people with view_all_sessions. None = the system itself.
    Costs a query for the permission, once per user object."""
    return viewer is None or (viewer.is_active and (viewer.is_staff or viewer.has_perm("sessions_app.view_all_sessions")))


def changes_what_they_see(viewer: User) -> bool:
    """Whether this viewer may change every session that they see, not only their own. Costs a query for the permission, once per user object."""
    return viewer.is_active and viewer.has_perm("sessions_app.change_session")


class SessionQuerySet(models.QuerySet["Session"]):
    def visible_to(self, viewer: User | None) -> SessionQuerySet:
        """Keep what this viewer may see: everything, or the sessions under the viewer's own user name. The one place that decides it,
        with its twin for the day rows, DayRowQuerySet.visible_to."""
        if sees_everything(viewer):
            return self
        own = own_name(viewer)
        return self.filter(user_id=own) if own else self.none()

    def changeable_by(self, viewer: User) -> SessionQuerySet:
        """Keep what this viewer sees and may archive, close, reopen and tag: their own, and with change_session all that they see.
        Costs a query for the permissions, once per user object."""
        rows = self.visible_to(viewer)
        return rows if changes_what_they_see(viewer) else rows.filter(user_id=own_name(viewer))

    def open(self) -> SessionQuerySet:
        return self.filter(closed_at=None)

    def with_marks_of(self, viewer: User) -> SessionQuerySet:
        """Join this viewer's read mark as `mark` (at most one)."""
        return self.annotate(mark=models.FilteredRelation("read_marks", condition=Q(read_marks__viewer=viewer)))

    def unread_by(self, viewer: User | None) -> SessionQuerySet:
        """Keep what is unread for this viewer; None: by the shared default. Costs a query for the viewer's watermark."""
        if viewer is None:
            return self.filter(unread_since__isnull=False)
        return self.with_marks_of(viewer).filter(unread_condition(viewer))


def own_name(viewer: User | None) -> str:
    """The user_id under which a viewer's own sessions stand; "" for a visitor who is not signed in, or was shut out."""
    return viewer.get_username() if viewer is not None and viewer.is_active else ""


def unread_condition(viewer: User) -> Q:
    """The rule of product.md, Read state, as a condition on `with_marks_of`: later than mark and watermark, or marked unread by the viewer.
    Costs a query for the watermark."""
    watermark = ReadWatermark.objects.filter(viewer=viewer).values_list("at", flat=True).first()
    later = Q(unread_since__isnull=False) & (Q(mark__isnull=True) | Q(mark__is_unread=True) | Q(unread_since__gt=F("mark__at")))
    by_hand = Q(mark__is_unread=True)
    if watermark is not None:
        later &= Q(unread_since__gt=watermark)
        by_hand &= Q(mark__at__gt=watermark)
    return later | by_hand


class Session(models.Model):
    """One conversation from opening to close or reset."""

    id = models.UUIDField(primary_key=True, default=new_session_id, editable=False)
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, db_index=False)
    key = models.CharField(
        max_length=KEY_LENGTH, help_text="What finds the open session again on its channel: a chat id, a thread, a client's own id."
    )
    user_id = models.CharField(
        max_length=KEY_LENGTH,
        default="admin",
        help_text="Whose session it is: a name as the agent gave it, with or without an account here.",
    )
    title = models.CharField(max_length=TITLE_LENGTH, blank=True)
    title_is_given = models.BooleanField(default=False, help_text="An agent or a person named it; otherwise the title is the first prompt.")
    summary = models.TextField(blank=True)
    triggered_by = models.CharField(
        max_length=KEY_LENGTH, null=True, blank=True, help_text="The name of the cron job, or __heartbeat__. Empty: a person."
    )
    agent = models.CharField(max_length=100, blank=True)
    agent_session_id = models.CharField(
        max_length=KEY_LENGTH, blank=True, help_text="The agent's own id of this session, where its log or telemetry named one."
    )
    project = models.CharField(max_length=PROJECT_LENGTH, blank=True, help_text="The folder or repository it worked in.")
    git_branch = models.CharField(max_length=KEY_LENGTH, blank=True)
    created_at = models.DateTimeField()
    last_message_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    unread_since = models.DateTimeField(
        null=True, blank=True, help_text="Empty: read for everyone who has no mark of their own. By our clock, not the sender's."
    )
    is_demo = models.BooleanField(default=False)
    tags = models.JSONField(default=list, blank=True, help_text="Short words, as the agent or a person gave them.")
    extra = models.JSONField(default=dict, blank=True)

    # cached: from the session's messages, usage records and touch_count; rebuilt by `manage.py recount`
    message_count = models.PositiveIntegerField(default=0)
    touch_count = models.PositiveIntegerField(default=0)
    tool_call_count = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0)
    total_turns = models.PositiveIntegerField(default=0)
    unpriced_turns = models.PositiveIntegerField(default=0)
    last_turn = models.PositiveIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    priced_tokens = models.BigIntegerField(default=0)
    cost_usd = NanoUSDField(default=Decimal(0))
    model = models.CharField(
        max_length=MODEL_LENGTH,
        blank=True,
        help_text="Of the newest call of the main thread; of the first call of a sub-agent where there is none.",
    )

    # cached: the keys of its SessionGroup and SessionHome, and how long it ran, from its own columns; rebuilt by `manage.py recount`
    group_id = models.BigIntegerField(default=0, editable=False)
    home_id = models.BigIntegerField(default=0, editable=False)
    span = models.PositiveSmallIntegerField(default=0, editable=False)  # the k with a duration of less than 2^k hours

    objects = SessionQuerySet.as_manager()

    class Meta:
        permissions = [("view_all_sessions", "Can see everybody's sessions")]
        constraints = [
            models.UniqueConstraint(fields=["channel", "key", "user_id"], condition=Q(closed_at=None), name="one_open_session"),
            models.UniqueConstraint(
                fields=["agent", "agent_session_id"], condition=~Q(agent_session_id=""), name="one_session_per_agent_session_id"
            ),
        ]
        indexes = [
            # the list, newest activity first, of whatever is not rare (see queries.session_list); each turn moves a session in these three
            models.Index(
                F("last_message_at").desc(), F("id").desc(), F("group_id"), F("home_id"), F("cost_usd"), name="session_by_activity"
            ),
            # what is rare by channel, agent, model, trigger or state
            models.Index(F("group_id"), F("last_message_at").desc(), F("id").desc(), name="session_by_group"),
            # what is rare by user or project, also beside the others
            models.Index(F("home_id"), F("group_id"), F("last_message_at").desc(), F("id").desc(), name="session_by_home"),
            # a range of costs; the dearest first
            models.Index(F("cost_usd").desc(), F("id").desc(), F("group_id"), F("home_id"), F("last_message_at"), name="session_by_cost"),
            # what was still going on after a range of dates
            models.Index(
                fields=["span", "last_message_at", "id", "created_at", "group_id", "home_id"], condition=Q(span__gt=0), name="session_long"
            ),
            # close_stale_sessions
            models.Index(fields=["channel", "last_message_at"], condition=Q(closed_at=None), name="session_open"),
            # what is unread since a viewer read everything
            models.Index(fields=["unread_since"], condition=Q(unread_since__isnull=False), name="session_unread"),
            # demo --remove
            models.Index(fields=["id"], condition=Q(is_demo=True), name="session_demo"),
        ]

    def __str__(self) -> str:
        return self.title or str(self.id)

    def get_absolute_url(self) -> str:
        return reverse("sessions:detail", args=[self.pk])

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None

    @property
    def is_archived(self) -> bool:
        return self.archived_at is not None

    @property
    def is_read(self) -> bool:
        """The shared default; a viewer's own state is a query's business."""
        return self.unread_since is None

    def is_stale(self, now: datetime) -> bool:
        """Whether it is open and idle for its channel's gap or longer. Costs a query where the channel is not joined."""
        gap = self.channel.gap_minutes
        return self.closed_at is None and gap is not None and now - self.last_message_at >= timedelta(minutes=min(gap, MAX_GAP_MINUTES))

    @property
    def total_input_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        return self.total_input_tokens + self.output_tokens

    @property
    def cost_known(self) -> Decimal | None:
        """The cost, or None where there are calls and none of them has a price."""
        return None if self.total_turns and self.unpriced_turns == self.total_turns else self.cost_usd


class SessionGroup(models.Model):
    """Cached (rebuilt by `manage.py recount`): how many sessions have these names and this state. There are few such combinations, so that what a
    filter of the list matches is first looked for here. id: a digest of the other columns (see session_groups)."""

    STATES = [(state, state) for state in ("open", "closed", "archived")]

    id = models.BigIntegerField(primary_key=True, editable=False)
    channel = models.CharField(max_length=50)
    agent = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=MODEL_LENGTH, blank=True)
    triggered_by = models.CharField(max_length=KEY_LENGTH, blank=True)
    state = models.CharField(max_length=8, choices=STATES)
    is_unread = models.BooleanField(help_text="By the shared default.")
    has_errors = models.BooleanField()
    sessions = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        names = (self.channel, self.agent, self.model, self.triggered_by, self.state, "unread" * self.is_unread, "errors" * self.has_errors)
        return " ".join(name for name in names if name)


class SessionHome(models.Model):
    """Cached (rebuilt by `manage.py recount`): how many sessions are this user's in this project. id: a digest of the two."""

    id = models.BigIntegerField(primary_key=True, editable=False)
    user_id = models.CharField(max_length=KEY_LENGTH)
    project = models.CharField(max_length=PROJECT_LENGTH, blank=True)
    sessions = models.BigIntegerField(default=0)
    in_inbox = models.BigIntegerField(default=0, help_text="Those that are not archived.")

    class Meta:
        indexes = [
            models.Index(fields=["user_id"], name="session_home_by_user"),
            models.Index(fields=["project"], name="session_home_by_project"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.project}".strip()


class SessionCount(models.Model):
    """Cached (rebuilt by `manage.py recount`): how many sessions of a group are in a home. The keys without foreign keys: a move is one statement."""

    home_id = models.BigIntegerField()
    group_id = models.BigIntegerField()
    sessions = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["home_id", "group_id"], name="one_count_per_home_and_group")]

    def __str__(self) -> str:
        return f"{self.group_id} in {self.home_id}"


class SessionTag(models.Model):
    """Cached (from the session's `tags`; rebuilt by `manage.py recount`): one tag of one session, so that a tag finds its sessions."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="tag_rows", db_index=False)
    tag = models.CharField(max_length=50)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session", "tag"], name="one_row_per_tag")]
        indexes = [models.Index(fields=["tag", "session"], name="session_tag")]

    def __str__(self) -> str:
        return self.tag


class Received(models.Model):
    """What every stored event has: the sender's time and ours, and the sender's id of it (unique per source, "" = none)."""

    timestamp = models.DateTimeField()
    received_at = models.DateTimeField()
    source = models.CharField(max_length=64, blank=True, help_text="Who sent it: an agent's log, a token. Event ids are unique within it.")
    event_id = models.CharField(max_length=KEY_LENGTH, blank=True)
    fingerprint = models.BigIntegerField(
        null=True, editable=False
    )  # of the body as it was sent; tells a resend from a reused id without comparing long text

    class Meta:
        abstract = True


class Message(Received):
    """One message of a transcript, append-only. The content is the last column, so that reading the others never walks through it."""

    ROLES = [(role, role) for role in ("user", "assistant", "system", "thinking", "tool_use", "tool_result")]

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages", db_index=False)
    role = models.CharField(max_length=12, choices=ROLES)
    agent = models.CharField(max_length=100, blank=True, help_text="Who wrote it, where that is not the session's agent.")
    subagent_id = models.CharField(max_length=100, blank=True, help_text="The sub-agent's thread it belongs to; empty: the main thread.")
    response_id = models.CharField(
        max_length=KEY_LENGTH, blank=True, help_text="The model call that wrote it; the same as on its usage record."
    )
    tool_name = models.CharField(max_length=KEY_LENGTH, blank=True)
    tool_call_id = models.CharField(max_length=KEY_LENGTH, blank=True)
    is_error = models.BooleanField(default=False)
    extra = models.JSONField(default=dict, blank=True)
    content = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "event_id"], condition=~Q(event_id=""), name="message_event"),
        ]
        indexes = [
            # the transcript in order of storing
            models.Index(fields=["session", "id"], name="message_by_session"),
            # a window of one thread in order of time; which sub-agents a session has
            models.Index(fields=["session", "subagent_id", "timestamp", "id"], name="message_by_thread"),
            # the outline of a long session: what a person said, and what failed
            models.Index(fields=["session", "subagent_id", "timestamp", "id"], condition=Q(role="user"), name="message_prompts"),
            models.Index(fields=["session", "timestamp", "id"], condition=Q(is_error=True), name="message_errors"),
            # a result finds its call, a late call its result
            models.Index(fields=["session", "tool_call_id"], condition=~Q(tool_call_id=""), name="message_by_tool_call"),
            # the part-days of by_tool
            models.Index(fields=["timestamp"], condition=~Q(tool_name=""), name="message_tool_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.pk}"


class UsageRecord(Received):
    """Tokens and cost of one model call. The four counts are disjoint."""

    SOURCES = [(source, source) for source in ("reported", "computed", "unknown")]

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="usage", db_index=False)
    turn = models.PositiveIntegerField()
    model = models.CharField(max_length=MODEL_LENGTH)
    provider = models.CharField(max_length=100, blank=True)
    user_id = models.CharField(max_length=KEY_LENGTH)
    input_tokens = models.BigIntegerField(help_text="Sent, and neither served nor stored by a cache.")
    output_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(
        default=0, help_text="The part of the cache writes that is kept for an hour, and costs more."
    )
    cost_usd = NanoUSDField(null=True, blank=True)
    cost_source = models.CharField(max_length=8, choices=SOURCES)
    subagent_id = models.CharField(max_length=100, blank=True)
    response_id = models.CharField(max_length=KEY_LENGTH, blank=True)
    extra = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "event_id"], condition=~Q(event_id=""), name="usage_event"),
            models.CheckConstraint(
                condition=Q(cost_source="unknown", cost_usd=None) | (~Q(cost_source="unknown") & Q(cost_usd__isnull=False)),
                name="usage_cost_has_a_source",
            ),
        ]
        indexes = [
            # a session's calls in order
            models.Index(fields=["session", "turn"], name="usage_by_session"),
            # the calls of the answers on one page
            models.Index(fields=["session", "response_id"], condition=~Q(response_id=""), name="usage_by_response"),
            # part-days at the edges of a range
            models.Index(fields=["timestamp"], name="usage_by_time"),
        ]

    def __str__(self) -> str:
        return f"turn {self.turn} of {self.session_id}"

    @property
    def total_input_tokens(self) -> int:
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        return self.total_input_tokens + self.output_tokens


class Compaction(Received):
    """Older messages were summed up into one summary; the originals stay."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="compactions", db_index=False)
    trigger = models.CharField(max_length=40)
    pre_tokens = models.BigIntegerField(default=0)
    summary = models.TextField(blank=True)
    messages_compacted = models.PositiveIntegerField(default=0)
    extra = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "event_id"], condition=~Q(event_id=""), name="compaction_event")]
        indexes = [models.Index(fields=["session", "timestamp"], name="compaction_by_session")]

    def __str__(self) -> str:
        return f"{self.trigger} compaction of {self.session_id}"


class ReadMark(models.Model):
    """How one viewer left one session: read as far as `at`, or put back to unread at that time."""

    viewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="read_marks", db_index=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="read_marks")
    at = models.DateTimeField()
    is_unread = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["viewer", "session"], name="one_mark_per_viewer")]
        indexes = [
            # what a viewer put back to unread by hand
            models.Index(fields=["viewer", "session"], condition=Q(is_unread=True), name="read_mark_unread"),
        ]

    def __str__(self) -> str:
        return f"{self.viewer_id}: {self.session_id} {'unread' if self.is_unread else 'read'}"


class ReadWatermark(models.Model):
    """Everything up to `at` is read for this viewer: "mark all read" of the whole inbox, in one row."""

    viewer = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="read_watermark")
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.viewer_id}: read until {self.at:%Y-%m-%d %H:%M}"


class Action(models.Model):
    """One verb that a viewer did to one session, a selection, or everything that a filter matches. Long ones are done in parts: `cursor` tells
    how far it is. What it changed, and how that was before, stands in its items, for undo."""

    viewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="actions", db_index=False)
    verb = models.CharField(max_length=10)
    value = models.TextField(blank=True, help_text="The summary of a close; the tag of tag and untag.")
    words = models.TextField(blank=True, help_text="What came of it, as it was told to the viewer.")
    selection = models.JSONField(
        null=True, editable=False, help_text="The ids that were chosen; null: everything that session_filter matches."
    )
    session_filter = models.JSONField(null=True, editable=False)
    created_at = models.DateTimeField(help_text="Also the time that it writes: of closing, of archiving, of reading.")
    finished_at = models.DateTimeField(null=True)
    total = models.PositiveIntegerField(null=True, help_text="How many sessions it was to look at; null: not known before.")
    done = models.PositiveIntegerField(default=0, help_text="How many it has looked at.")
    changed = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=dict, help_text="Reason -> how many were left as they are for it.")
    cursor = models.CharField(max_length=200, blank=True, editable=False)
    former_watermark = models.DateTimeField(null=True, editable=False)

    undo_began_at = models.DateTimeField(null=True)
    undo_cursor = models.UUIDField(null=True, editable=False)
    given_back = models.PositiveIntegerField(default=0)
    left_alone = models.PositiveIntegerField(default=0, help_text="Not given back: somebody changed it since.")
    undone_at = models.DateTimeField(null=True)

    is_running = models.BooleanField(default=True, help_text="It, or its undo, is to go on.")
    keeps_items = models.BooleanField(default=True, editable=False, help_text="It can still be undone.")

    class Meta:
        indexes = [
            # what a viewer may go on with
            models.Index(fields=["viewer", "id"], condition=Q(is_running=True), name="action_running"),
            # a viewer's history; the cascade when the viewer goes
            models.Index(fields=["viewer", "id"], name="action_by_viewer"),
            # whose items are to be pruned
            models.Index(fields=["created_at"], condition=Q(keeps_items=True), name="action_with_items"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.pk}"


class ActionItem(models.Model):
    """How one session was before an action changed it; only the columns of its verb are filled. Kept as long as undo is possible.

    The session is an id without a foreign key: 100,000 checks of it would be a third of the action's time, and a session that went needs no undo."""

    action = models.ForeignKey(Action, on_delete=models.CASCADE, related_name="items", db_index=False)
    session_id = models.UUIDField()
    closed_at = models.DateTimeField(null=True)
    summary = models.TextField(blank=True, db_default="")
    archived_at = models.DateTimeField(null=True)
    tags = models.JSONField(null=True)
    mark_at = models.DateTimeField(null=True, help_text="The viewer's own mark; null: there was none.")
    mark_was_unread = models.BooleanField(null=True)
    mark_left_at = models.DateTimeField(null=True, help_text="The mark's time as the action wrote it.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["action", "session_id"], name="one_item_per_session")]

    def __str__(self) -> str:
        return f"{self.action_id}: {self.session_id}"


class SavedView(models.Model):
    """A filter of the list under a name: its owner's, or shared with everyone who signs in (each sees in it what they may see)."""

    id = models.UUIDField(primary_key=True, default=new_session_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views", db_index=False)
    name = models.CharField(max_length=100)
    is_shared = models.BooleanField(default=False)
    fields = models.JSONField(default=dict, help_text="The fields of the filter that differ from the plain inbox.")
    position = models.PositiveIntegerField(default=0, help_text="Its place in the rail; ties by name.")
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="Deleted, and can still be brought back.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], condition=Q(deleted_at=None), name="one_view_per_name")]
        indexes = [
            # what everyone sees
            models.Index(fields=["position", "name"], condition=Q(is_shared=True, deleted_at=None), name="view_shared"),
            # a deleted one's end, and the cascade when the owner goes
            models.Index(fields=["owner", "deleted_at"], name="view_by_owner"),
        ]

    def __str__(self) -> str:
        return self.name


class Preference(models.Model):
    """How one viewer wants the site. No row: all as it comes."""

    THEMES = [("", "as the system"), ("light", "light"), ("dark", "dark")]
    DENSITIES = [("comfortable", "comfortable"), ("compact", "compact")]

    viewer = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="preference")
    default_view = models.ForeignKey(SavedView, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    theme = models.CharField(max_length=5, choices=THEMES, blank=True, default="")
    density = models.CharField(max_length=11, choices=DENSITIES, default="comfortable")
    keys = models.BooleanField(default=True, help_text="Single keys are shortcuts.")

    def __str__(self) -> str:
        return f"{self.viewer_id}"


class ApiToken(models.Model):
    """What an agent or a script shows at the API. Only a digest of its secret is kept; the secret itself is shown once, when it is made."""

    SCOPES = [("write", "write"), ("read", "read"), ("admin", "admin: reads and writes everything")]

    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=5, choices=SCOPES, help_text="Write does not imply read.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=12, editable=False, help_text="The first characters of the secret, to tell tokens apart.")
    user_id = models.CharField(
        max_length=KEY_LENGTH, blank=True, help_text="Writes as no other user; a read token sees what this user sees."
    )
    channel = models.ForeignKey(Channel, null=True, blank=True, on_delete=models.PROTECT, help_text="Writes to no other channel.")
    agent = models.CharField(max_length=100, blank=True, help_text="Writes as no other agent.")
    sees_all = models.BooleanField(default=False, help_text="A read token without a user must see everything, on purpose.")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")

    class Meta:
        ordering = ["-created_at", "pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}...)"

    @property
    def source(self) -> str:
        """The source under which its events are stored: their ids are unique within it."""
        return f"token:{self.pk}"

    @property
    def reads(self) -> bool:
        return self.scope in ("read", "admin")

    @property
    def writes(self) -> bool:
        return self.scope in ("write", "admin")


class Receipt(models.Model):
    """The answer to an event that leaves no row of its own with its id (open, close, touch, a whole turn), so that a resend gets the same again."""

    source = models.CharField(max_length=64)
    event_id = models.CharField(max_length=KEY_LENGTH)
    fingerprint = models.BigIntegerField(editable=False)
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField(default=dict)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "event_id"], name="one_receipt_per_event")]

    def __str__(self) -> str:
        return f"{self.source} {self.event_id}"


class DeadLetter(models.Model):
    """Something sent to a door that was refused or not understood, kept as it came, so that it can be looked at. The same again only counts up."""

    door = models.CharField(max_length=20, help_text="Which way it came: traces, logs, metrics, api.")
    reason = models.CharField(max_length=100, help_text="A stable code.")
    detail = models.TextField(blank=True, help_text="In words.")
    source = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=32, unique=True, editable=False)
    payload = models.TextField(help_text="What was sent, as JSON text where it was JSON or could be written as such; cut at a limit.")
    times = models.PositiveBigIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        indexes = [
            # the admin: newest first, by reason
            models.Index(F("last_at").desc(), name="dead_letter_newest"),
            models.Index(F("reason"), F("last_at").desc(), name="dead_letter_by_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.door}: {self.reason} ({self.times})"


class TraceSession(models.Model):
    """Which session a trace belongs to, and what its spans have said of that so far: they come in several requests, and any of them may name it."""

    source = models.CharField(max_length=64)
    trace_id = models.CharField(max_length=32)
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.SET_NULL, related_name="traces")
    conversation = models.CharField(
        max_length=KEY_LENGTH, blank=True, help_text="The session's own name in the spans; empty: the trace alone."
    )
    user_id = models.CharField(max_length=KEY_LENGTH, blank=True)
    agent = models.CharField(max_length=100, blank=True)
    speaks = models.BooleanField(default=False, help_text="Its model calls tell what was said, so that its agents need not be asked.")
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "trace_id"], name="one_session_per_trace")]

    def __str__(self) -> str:
        return self.trace_id


class StoreFact(models.Model):
    """What the store knows of itself, by name: `time_zone`, in which its days are cut."""

    name = models.CharField(max_length=50, primary_key=True)
    value = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"


class DayRowQuerySet(models.QuerySet[Any]):
    def visible_to(self, viewer: User | None) -> DayRowQuerySet:
        """Keep the sums of the sessions that this viewer may see; for tables with an owner."""
        if sees_everything(viewer):
            return self
        own = own_name(viewer)
        return self.filter(owner=own) if own else self.none()


class DayRow(models.Model):
    """A sum over one business day and one set of names. id: a digest of day and names, so that one short key finds the row (see day_rows)."""

    id = models.UUIDField(primary_key=True, editable=False)
    day = models.DateField()

    objects = DayRowQuerySet.as_manager()

    class Meta:
        abstract = True


class UsageSums(DayRow):
    """The sums of a day's usage records, of one cost source, so that priced and unpriced ones stay apart."""

    cost_source = models.CharField(max_length=8)
    turns = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    cost_usd = NanoUSDField(default=Decimal(0))

    class Meta:
        abstract = True


class UsageDay(UsageSums):
    """Cached (rebuilt by `manage.py recount`): a day's usage by every name at once. Answers a filtered question, and one owner's."""

    owner = models.CharField(max_length=KEY_LENGTH)  # the session's user_id; user_id is the record's
    user_id = models.CharField(max_length=KEY_LENGTH)
    model = models.CharField(max_length=MODEL_LENGTH)
    channel = models.CharField(max_length=50)
    agent = models.CharField(max_length=100, blank=True)
    project = models.CharField(max_length=PROJECT_LENGTH, blank=True)
    triggered_by = models.CharField(max_length=KEY_LENGTH, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["day"], name="usage_day_by_day"),
            # a viewer who sees only their own sessions
            models.Index(fields=["owner", "day"], name="usage_day_by_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.user_id} {self.model}"


class UsageDayBy(UsageSums):
    """Cached (rebuilt by `manage.py recount`): a day's usage by one dimension at a time. Answers the unfiltered question, whose UsageDay rows would be too many."""

    DIMENSIONS = ("owner", "user_id", "model", "channel", "agent", "project", "triggered_by")

    dimension = models.CharField(max_length=12, choices=[(name, name) for name in DIMENSIONS])
    value = models.CharField(max_length=PROJECT_LENGTH, blank=True)

    class Meta:
        indexes = [models.Index(fields=["dimension", "day"], name="usage_day_by_dimension")]

    def __str__(self) -> str:
        return f"{self.day} {self.dimension} {self.value}"


class ToolDay(DayRow):
    """Cached (rebuilt by `manage.py recount`): a day's tool calls and errors by every name a session has."""

    owner = models.CharField(max_length=KEY_LENGTH)
    channel = models.CharField(max_length=50)
    agent = models.CharField(max_length=100, blank=True)
    project = models.CharField(max_length=PROJECT_LENGTH, blank=True)
    triggered_by = models.CharField(max_length=KEY_LENGTH, blank=True)
    tool_name = models.CharField(max_length=KEY_LENGTH)
    invocations = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["day"], name="tool_day_by_day"),
            models.Index(fields=["owner", "day"], name="tool_day_by_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.tool_name}"


class ToolDayByName(DayRow):
    """Cached (rebuilt by `manage.py recount`): a day's calls and errors by tool alone. Answers the unfiltered question."""

    tool_name = models.CharField(max_length=KEY_LENGTH)
    invocations = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["day"], name="tool_day_name_by_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.tool_name}"
