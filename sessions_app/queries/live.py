"""Whether anything changed for a viewer since they last asked: the one statement that an open page costs while nothing happens.

Activity comes with timestamps of its senders, which may lie in the past (an import) or ahead, so no column of times can say what is new.
What can: the newest keys of the tables that every event is stored in, and the rows that the page shows. Both are ends or lookups of indexes
that are there anyway, so that a turn's writing pays nothing for those who watch. What moves none of
them (a colleague archives a session that this page does not show) is found when the page looks again by itself, every LOOK_AGAIN_SECONDS.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import connection

from sessions_app.models import Action, Compaction, Message, ReadMark, ReadWatermark, Session, UsageRecord

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LOOK_AGAIN_SECONDS = 60
# What a row of the list shows, beside the viewer's own read mark.
ROW_COLUMNS = (
    *("last_message_at", "message_count", "error_count", "total_turns", "unpriced_turns", "cost_usd"),
    *("title", "user_id", "agent", "model", "tags", "closed_at", "archived_at", "unread_since"),
)


def pulse(viewer: User, shown: Sequence[UUID], *, now: datetime) -> bytes:
    """Return 8 bytes that change when something was stored, or one of the sessions shown changed for this viewer. One statement of index lookups,
    whatever the size of the store.

    Keyed, so that it tells nothing of how much others store; that something was stored at all is a reason to look again, no more."""
    ids = [Session._meta.pk.get_db_prep_value(pk, connection, prepared=False) for pk in shown]
    with connection.cursor() as cursor:
        cursor.execute(_statement(len(ids)), [viewer.pk, viewer.pk, viewer.pk, *ids, viewer.pk])
        found = cursor.fetchall()
    digest = blake2b(key=settings.SECRET_KEY.encode()[:64], digest_size=8)
    digest.update(repr((viewer.pk, int(now.timestamp()) // LOOK_AGAIN_SECONDS, sorted(found, key=repr))).encode())
    return digest.digest()


def row_state(session: Session) -> bytes:
    """Return 4 bytes that change with what the row of this session (with `unread` for its viewer) shows."""
    shown = [getattr(session, column) for column in ROW_COLUMNS if column != "unread_since"]
    return blake2b(repr((shown, session.unread)).encode(), digest_size=4).digest()  # type: ignore[attr-defined]


@cache
def _statement(count: int) -> str:
    """Return the statement for so many shown sessions; its parameters: viewer three times, the ids, viewer."""
    quote = connection.ops.quote_name
    table = {model: quote(model._meta.db_table) for model in (Action, Compaction, Message, ReadMark, ReadWatermark, Session, UsageRecord)}
    newest = [f"(SELECT MAX(id) FROM {table[model]})" for model in (Message, UsageRecord, Compaction)]  # noqa: S608  # names of our own
    newest += [
        # its keys rise with our clock; PostgreSQL before 18 knows no MAX of them
        f"(SELECT id FROM {table[Session]} ORDER BY id DESC LIMIT 1)",  # noqa: S608
        f"(SELECT at FROM {table[ReadWatermark]} WHERE viewer_id = %s)",  # noqa: S608
        # what the viewer did in another tab, and undid there
        f"(SELECT MAX(id) FROM {table[Action]} WHERE viewer_id = %s)",  # noqa: S608
        f"(SELECT given_back FROM {table[Action]} WHERE viewer_id = %s ORDER BY id DESC LIMIT 1)",  # noqa: S608
    ]
    columns = ["s.id", *(f"s.{quote(column)}" for column in ROW_COLUMNS), "m.at", "m.is_unread"]
    match = f"s.id IN ({', '.join(['%s'] * count)})" if count else "1 = 0"
    # from one row, so that there is an answer where no session is shown
    return (
        f"SELECT {', '.join(newest + columns)} FROM (SELECT 1 AS one) AS one LEFT JOIN {table[Session]} s ON {match} "  # noqa: S608
        f"LEFT JOIN {table[ReadMark]} m ON m.session_id = s.id AND m.viewer_id = %s"
    )
