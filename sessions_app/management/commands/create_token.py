"""Make an API token, and print its secret: once, for it stands nowhere else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from sessions_app import services
from sessions_app.management._cli import StoreCommand
from sessions_app.models import ApiToken


class Command(StoreCommand):
    help = (
        "Make a token for the API and for OpenTelemetry. The secret is printed alone on stdout, so that it can be kept by "
        "`TOKEN=$(manage.py create_token ...)`; what it may do is said on stderr. Write does not imply read."
    )
    checks_time_zone = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="how you will know it again")
        parser.add_argument("--scope", required=True, choices=[scope for scope, _ in ApiToken.SCOPES], help="what it may do")
        parser.add_argument("--user", default="", metavar="NAME", help="writes as this user only; reads what this user sees")
        parser.add_argument("--all", action="store_true", help="a read token without a user: it sees everything")
        parser.add_argument("--channel", default="", metavar="SLUG", help="writes to this channel only")
        parser.add_argument("--agent", default="", metavar="NAME", help="writes as this agent only")
        parser.add_argument("--expires", metavar="ISO", help="good until then: a time with its zone, such as 2027-01-01T00:00:00Z")

    def handle(self, *args: Any, **options: Any) -> None:
        made = services.create_token(
            options["name"],
            scope=options["scope"],
            user_id=options["user"],
            sees_all=options["all"],
            channel=options["channel"],
            agent=options["agent"],
            expires_at=_time(options["expires"]),
        )
        self.stderr.write(f"Token {made.token.pk}, {made.token.name}: {', '.join(what_it_may(made.token))}. Its secret is shown this once:")
        self.stdout.write(made.secret)


def what_it_may(token: ApiToken) -> list[str]:
    """Say in words what a token may do."""
    words = [token.scope]
    words += [
        f"{name} {value}" for name, value in (("user", token.user_id), ("channel", token.channel_id), ("agent", token.agent)) if value
    ]
    if token.sees_all:
        words.append("sees everything")
    if token.expires_at:
        words.append(f"until {token.expires_at:%Y-%m-%d %H:%M %Z}")
    return words


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--expires {text!r} is not a time such as 2027-01-01T00:00:00Z.") from None
    if moment.tzinfo is None:
        raise CommandError("--expires needs a time zone, such as 2027-01-01T00:00:00Z.")
    return moment
