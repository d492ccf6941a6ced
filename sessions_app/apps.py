from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import router
from django.db.models.signals import post_migrate

# slug, label, minutes of silence after which a new session begins (None: only by hand)
BUILT_IN_CHANNELS = (
    ("main", "Web chat", None),
    ("cli", "Terminal", None),
    ("telegram", "Telegram", 360),
    ("slack", "Slack", 360),
    ("email", "E-mail", 1440),
)

# group -> the rights that it begins with; an operator may change them afterwards
BUILT_IN_GROUPS = {
    "reader": ("view_all_sessions",),
    # Archives, closes and tags everybody's sessions, and makes views for everyone. With "staff status" also the admin's tables: all of them to
    # look at, channels and tokens to change. Accounts stay with superusers: who may edit those can make themselves one.
    "operator": (
        *("view_all_sessions", "change_session"),
        *("add_channel", "change_channel", "delete_channel", "add_apitoken", "change_apitoken"),
        "view_*",
    ),
}


class SessionsAppConfig(AppConfig):
    """The application. Its label is not "sessions": that one is Django's, for the sign-in cookie's table."""

    name = "sessions_app"
    label = "sessions_app"
    verbose_name = "Sessionsite"

    def ready(self) -> None:
        post_migrate.connect(make_built_in_rows, sender=self)


def make_built_in_rows(using: str, **kwargs: Any) -> None:
    """Make the built-in channels and groups where they are missing, and keep the time zone of the first start and the store's number. After each
    migrate, not in a migration, so that a flushed database gets them back."""
    from sessions_app.day_rows import keep_time_zone
    from sessions_app.models import Channel
    from sessions_app.store_id import store_id

    if not router.allow_migrate_model(using, Channel):
        return
    for slug, label, gap_minutes in BUILT_IN_CHANNELS:
        Channel.objects.using(using).get_or_create(slug=slug, defaults={"label": label, "gap_minutes": gap_minutes})
    keep_time_zone(settings.TIME_ZONE)
    store_id()
    _make_groups(using)


def _make_groups(using: str) -> None:
    from django.apps import apps
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission
    from django.db.models import Q

    # The rights are made after each migrate too, perhaps later than this.
    create_permissions(apps.get_app_config("sessions_app"), verbosity=0, using=using)
    for name, rights in BUILT_IN_GROUPS.items():
        group, is_new = Group.objects.using(using).get_or_create(name=name)
        if is_new:
            wanted = Q(codename__in=rights) | (Q(codename__startswith="view_") if "view_*" in rights else Q())
            group.permissions.set(Permission.objects.using(using).filter(wanted, content_type__app_label="sessions_app"))
