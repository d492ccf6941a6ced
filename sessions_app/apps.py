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


class SessionsAppConfig(AppConfig):
    """The application. Its label is not "sessions": that one is Django's, for the sign-in cookie's table."""

    name = "sessions_app"
    label = "sessions_app"
    verbose_name = "Sessionsite"

    def ready(self) -> None:
        post_migrate.connect(make_built_in_rows, sender=self)


def make_built_in_rows(using: str, **kwargs: Any) -> None:
    """Make the built-in channels where they are missing, and keep the time zone of the first start and the store's number. After each migrate,
    not in a migration, so that a flushed database gets them back."""
    from sessions_app.day_rows import keep_time_zone
    from sessions_app.models import Channel
    from sessions_app.store_id import store_id

    if not router.allow_migrate_model(using, Channel):
        return
    for slug, label, gap_minutes in BUILT_IN_CHANNELS:
        Channel.objects.using(using).get_or_create(slug=slug, defaults={"label": label, "gap_minutes": gap_minutes})
    keep_time_zone(settings.TIME_ZONE)
    store_id()
