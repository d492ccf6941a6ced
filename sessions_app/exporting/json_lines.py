"""A session as JSON Lines, complete: docs/export.md describes the format, importers/sessionsite.py reads it back.

The lines of messages and model calls are what the API answers, with what a second store needs to know them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from sessions_app import models, queries
from sessions_app.api import answers
from sessions_app.api.answers import JSON, money, when
from sessions_app.importers.sessionsite import FORMAT, VERSION
from sessions_app.store_id import store_id


def lines(session: models.Session, *, now: datetime) -> Iterator[bytes]:
    """Yield the export line by line, in memory that does not grow with the session."""
    counts = {"messages": 0, "usage_records": 0, "compactions": 0}
    yield _line(
        {
            "type": "session",
            "format": FORMAT,
            "version": VERSION,
            "store": store_id(),
            "exported_at": when(now),
            "channel": _channel(session.channel),
            "session": _session(session),
        }
    )
    about = {"session_id": str(session.pk)}
    for message in queries.all_messages(session):
        counts["messages"] += 1
        yield _line({"type": "message", **about, **answers.message(message), **_received(message)})
    for record in queries.all_usage(session):
        counts["usage_records"] += 1
        yield _line({"type": "usage", **about, **answers.usage_record(record), **_received(record)})
    for compaction in queries.all_compactions(session):
        counts["compactions"] += 1
        yield _line({"type": "compaction", **about, **_compaction(compaction), **_received(compaction)})
    yield _line({"type": "end", **about, **counts})


def _line(value: JSON) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, ValueError):  # a number beyond 64 bits in what a client keeps in `extra`
        return f"{json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n".encode()


def _channel(channel: models.Channel) -> JSON:
    return {"slug": channel.slug, "label": channel.label, "gap_minutes": channel.gap_minutes, "marks_unread": channel.marks_unread}


def _session(session: models.Session) -> JSON:
    return {
        **answers.session_facts(session),
        "title": session.title,
        "title_is_given": session.title_is_given,
        "summary": session.summary,
        "agent_session_id": session.agent_session_id,
        "project": session.project,
        "git_branch": session.git_branch,
        "archived_at": when(session.archived_at),
        "tags": session.tags,
        "extra": session.extra,
        "touch_count": session.touch_count,
        "is_demo": session.is_demo,
        "usage": answers.totals(queries.usage_summary(session)),
        "cost_usd": money(session.cost_known),
    }


def _compaction(row: models.Compaction) -> JSON:
    return {
        "id": row.pk,
        "trigger": row.trigger,
        "pre_tokens": row.pre_tokens,
        "summary": row.summary,
        "messages_compacted": row.messages_compacted,
        "timestamp": when(row.timestamp),
        "extra": row.extra,
    }


def _received(row: models.Received) -> dict[str, Any]:
    """What the API keeps to itself: by this a resend is known again."""
    return {
        "received_at": when(row.received_at),
        "source": row.source,
        "event_id": row.event_id,
        # as text: most readers of JSON keep 53 bits of a number
        "fingerprint": None if row.fingerprint is None else str(row.fingerprint),
    }
