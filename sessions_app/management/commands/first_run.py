"""What `make run` does once: the first operator with a sign-in link, and demo sessions in an empty store."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandParser

from sessions_app.management._cli import StoreCommand
from sessions_app.models import Session
from sessions_app.signin import link_path

OPERATOR = "admin"


class Command(StoreCommand):
    help = "Make the operator `admin` when there is no user, print their sign-in link, and fill an empty store with demo sessions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--base-url", default="http://127.0.0.1:8000", metavar="URL", help="where the site is reached (default %(default)s)"
        )
        parser.add_argument("--no-demo", action="store_true", help="leave an empty store empty")

    def handle(self, *args: Any, **options: Any) -> None:
        if not Session.objects.exists() and not options["no_demo"]:
            self.stdout.write("The store is empty: making demo sessions (away with them later: manage.py demo --remove).")
            call_command("demo", stdout=self.stdout, stderr=self.stderr)
        base = options["base_url"].rstrip("/")
        if not User.objects.exists():
            # Without a password: the link below is the only way in until the operator sets one in the admin.
            User.objects.create_superuser(OPERATOR)
        # Printed until it has been used: who stopped the first start before opening it finds it again at the next.
        operator = User.objects.filter(username=OPERATOR, is_active=True, last_login=None).first()
        if operator is not None and not operator.has_usable_password():
            self.stdout.write(f"\nSign in as {OPERATOR}, once, within a day:\n\n    {base}{link_path(operator)}\n")
            self.stdout.write(f"Another link: manage.py signin_link {OPERATOR}\n")
        else:
            self.stdout.write(f"The site: {base}/   (a sign-in link: manage.py signin_link USER)")
