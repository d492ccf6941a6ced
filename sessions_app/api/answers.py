"""Rows -> what a client is answered, as plain JSON: times in UTC, money as text. The shapes are declared in schema.py; the tests hold them to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, overload
from uuid import UUID

from sessions_app import models, queries

JSON = dict[str, Any]


@overload
def when(moment: datetime) -> str: ...
@overload
def when(moment: datetime | None) -> str | None: ...
def when(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def money(dollars: Decimal | None) -> str | None:
    return None if dollars is None else f"{dollars:f}"


def session_facts(session: models.Session) -> JSON:
    """What a writer is told of a session; nothing that was said in it."""
    return {
        "id": str(session.pk),
        "channel": session.channel_id,
        "key": session.key,
        "user_id": session.user_id,
        "agent": session.agent,
        "triggered_by": session.triggered_by,
        "created_at": when(session.created_at),
        "last_message_at": when(session.last_message_at),
        "closed_at": when(session.closed_at),
        "is_closed": session.is_closed,
        "is_archived": session.is_archived,
        "message_count": session.message_count,
        "total_turns": session.total_turns,
    }


def session_row(session: models.Session) -> JSON:
    """A row of `queries.session_page`, for a reader: with `unread` for this viewer, without the long text."""
    return {
        **session_facts(session),
        "title": session.title,
        "project": session.project,
        "git_branch": session.git_branch,
        "tags": session.tags,
        "archived_at": when(session.archived_at),
        "is_read": not session.unread,  # type: ignore[attr-defined]
        "tool_call_count": session.tool_call_count,
        "error_count": session.error_count,
        "model": session.model,
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "cache_read_tokens": session.cache_read_tokens,
        "cache_write_tokens": session.cache_write_tokens,
        "total_input_tokens": session.total_input_tokens,
        "priced_tokens": session.priced_tokens,
        "unpriced_turns": session.unpriced_turns,
        "cost_usd": money(session.cost_known),
    }


def session_detail(session: models.Session) -> JSON:
    """The same of one session, whole. Costs a query for the summary where the row left it behind."""
    return {**session_row(session), "summary": session.summary, "extra": session.extra}


def message(row: models.Message) -> JSON:
    return {
        "id": row.pk,
        "role": row.role,
        "content": row.content,
        "timestamp": when(row.timestamp),
        "received_at": when(row.received_at),
        "agent": row.agent,
        "subagent_id": row.subagent_id,
        "response_id": row.response_id,
        "tool_name": row.tool_name,
        "tool_call_id": row.tool_call_id,
        "is_error": row.is_error,
        "extra": row.extra,
    }


def usage_record(row: models.UsageRecord) -> JSON:
    return {
        "id": row.pk,
        "turn": row.turn,
        "model": row.model,
        "provider": row.provider,
        "user_id": row.user_id,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cache_read_tokens": row.cache_read_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "cache_write_1h_tokens": row.cache_write_1h_tokens,
        "cost_usd": money(row.cost_usd),
        "cost_source": row.cost_source,
        "timestamp": when(row.timestamp),
        "subagent_id": row.subagent_id,
        "response_id": row.response_id,
        "extra": row.extra,
    }


def stored_message(row: models.Message, *, created: bool) -> JSON:
    return {"session_id": str(row.session_id), "message_id": row.pk, "created": created}


def stored_usage(row: models.UsageRecord, *, created: bool) -> JSON:
    return {
        "session_id": str(row.session_id),
        "usage_id": row.pk,
        "turn": row.turn,
        "cost_usd": money(row.cost_usd),
        "cost_source": row.cost_source,
        "created": created,
    }


def stored_compaction(row: models.Compaction, *, created: bool) -> JSON:
    return {"session_id": str(row.session_id), "compaction_id": row.pk, "created": created}


def text_id(session_id: UUID | None) -> str | None:
    return None if session_id is None else str(session_id)


def totals(row: queries.Totals | queries.UsageSummary) -> JSON:
    return {
        "total_input_tokens": row.total_input_tokens,
        "total_output_tokens": row.total_output_tokens,
        "total_cache_read": row.total_cache_read,
        "total_cache_write": row.total_cache_write,
        "total_cost_usd": money(row.total_cost_usd),
        "total_turns": row.total_turns,
        "input_tokens": row.input_tokens,
        "priced_tokens": row.priced_tokens,
        "unpriced_turns": row.unpriced_turns,
    }


Split = Literal["user", "model", "day", "tool"]
SPLITS: tuple[Split, ...] = ("user", "model", "day", "tool")


def costs(overview: queries.CostOverview, time_zone: str, by: Split | None) -> JSON:
    """by: the one split that is wanted, None = all four."""
    splits: dict[str, Iterable[JSON]] = {
        "user": ({"user_id": row.user_id, **totals(row)} for row in overview.by_user),
        "model": ({"model": row.model, **totals(row)} for row in overview.by_model),
        "day": (
            {
                "date": day.date.isoformat(),
                "total_cost_usd": money(day.total_cost_usd),
                "by_model": [{"model": row.model, "cost_usd": money(row.cost_usd)} for row in day.by_model],
            }
            for day in overview.by_day
        ),
        "tool": ({"tool_name": use.tool_name, "invocations": use.invocations, "errors": use.errors} for use in overview.by_tool),
    }
    return {
        **totals(overview),
        "time_zone": time_zone,
        **{f"by_{name}": list(rows) if by in (None, name) else None for name, rows in splits.items()},
    }
