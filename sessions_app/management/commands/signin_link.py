"""Print a one-time sign-in link for a user."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sessions_app.signin import link_path


class Command(BaseCommand):
    help = "Print a link that signs this user in, once, within a day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="user name")
        parser.add_argument(
            "--base-url", default="http://127.0.0.1:8000", metavar="URL", help="where the site is reached (default %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(
                f"There is no user {options['user']!r}. Make one: manage.py createsuperuser --username NAME, or in the admin."
            )
        if not user.is_active:
            raise CommandError(f"The user {user.username} is switched off (is_active) and cannot sign in.")
        self.stdout.write(options["base_url"].rstrip("/") + link_path(user))
