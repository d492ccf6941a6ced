"""What was sent and could not be taken is kept here: nothing is lost in silence."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from django.db import connection
from django.utils import timezone

from sessions_app.models import DeadLetter
from sessions_app.services.cleaning import storable

MAX_PAYLOAD = 200_000  # characters; enough to see what it was


def keep_dead_letter(
    door: str, reason: str, detail: str, payload: str, *, source: str = "", times: int = 1, now: datetime | None = None
) -> None:
    """Keep what came through a door (traces, logs, metrics, api) and was not understood or refused; the same again counts up.
    reason: a stable code. payload: as text. times: how many such there were."""
    now = now or timezone.now()
    kept = storable(payload)[:MAX_PAYLOAD]
    digest = blake2b(f"{door}\0{reason}\0{source}\0{kept}".encode(), digest_size=16).hexdigest()
    table = connection.ops.quote_name(DeadLetter._meta.db_table)
    moment = DeadLetter._meta.get_field("last_at").get_db_prep_value(now, connection)
    with connection.cursor() as cursor:  # an upsert that counts, which the ORM cannot say; two hosts at once count two
        cursor.execute(
            f"INSERT INTO {table} (door, reason, detail, source, digest, payload, times, first_at, last_at) "  # noqa: S608
            f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) "
            f"ON CONFLICT (digest) DO UPDATE SET times = {table}.times + excluded.times, last_at = excluded.last_at",
            [door[:20], reason[:100], storable(detail)[:2000], source[:64], digest, kept, times, moment, moment],
        )
