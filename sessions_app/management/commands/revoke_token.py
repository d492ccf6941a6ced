"""Revoke API tokens: they open no door from now on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from sessions_app import services
from sessions_app.management._cli import StoreCommand
from sessions_app.models import ApiToken


class Command(StoreCommand):
    help = "Revoke a token, named by its number, its name, or the first characters of its secret as the admin shows them. Revoking again is harmless."
    checks_time_zone = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token", metavar="TOKEN", help="number, name, or first characters of the secret")

    def handle(self, *, token: str, **options: Any) -> None:
        named = Q(name=token) | Q(hint=token)
        if token.isdecimal() and len(token) < 18:
            named |= Q(pk=int(token))
        found = list(ApiToken.objects.filter(named))
        if not found:
            raise CommandError(f"There is no token {token!r}. The admin lists them.")
        if len(found) > 1:
            raise CommandError(
                f"{len(found)} tokens are called so: {', '.join(f'{one.pk} ({one.hint}...)' for one in found)}. Name one by its number."
            )
        services.revoke_token(found[0])
        self.stdout.write(f"Revoked token {found[0].pk}, {found[0]}.")
