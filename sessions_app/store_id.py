"""The store's own number: made once, kept in it, copied with it. Tells an export where the names and row numbers in it mean something."""

from __future__ import annotations

import secrets

from sessions_app.models import StoreFact

STORE_ID_FACT = "store_id"


def store_id() -> str:
    """Return the number, 16 hexadecimal digits; make it where there is none yet."""
    fact, _ = StoreFact.objects.get_or_create(pk=STORE_ID_FACT, defaults={"value": secrets.token_hex(8)})
    return fact.value
