"""What can happen in a session, as plain values: the form every edge hands to `services.store_events`.

The edges (Python calls, JSON API, OpenTelemetry, importers) each turn their own words into these, once. No Django in here,
so that a log can be parsed in a process of its own. The services clean, check and store them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

ROLES = ("user", "assistant", "system", "thinking", "tool_use", "tool_result")
UNKNOWN_TOOL = "unknown"


@dataclass(slots=True, kw_only=True)
class Recorded:
    """How an event stood in the store that exported it; what is stored of it comes from here, instead of being made anew.

    store: that store's number. row: the event's number there, by which one without an id is known. fingerprint: of its body as it was sent, None where the event had no id.
    cost_source: of a usage event, whose cost_usd then stands as it is.
    """

    store: str
    row: int
    source: str
    received_at: datetime
    fingerprint: int | None = None
    cost_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedChannel:
    """The channel of an exported session, for a store that has none of that name."""

    slug: str
    label: str = ""
    gap_minutes: int | None = None
    marks_unread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSession:
    """What an export says of its session: the columns of Session that no event makes."""

    id: UUID
    channel: RecordedChannel
    key: str
    user_id: str
    created_at: datetime
    last_message_at: datetime
    closed_at: datetime | None = None
    archived_at: datetime | None = None
    title: str = ""
    title_is_given: bool = False
    summary: str = ""
    triggered_by: str | None = None
    agent: str = ""
    agent_session_id: str = ""
    project: str = ""
    git_branch: str = ""
    tags: Sequence[str] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    touch_count: int = 0
    is_demo: bool = False


@dataclass(slots=True, kw_only=True)
class MessageEvent:
    """One message of a transcript.

    content: the text; for the tool roles JSON, made by `tool_use` and `tool_result` below. timestamp: aware, the sender's word;
    None = when it is stored. event_id: unique per source, "" = not resendable. agent: who wrote it, where that is not the
    session's agent. subagent_id: the agent's own id of the sub-agent's thread, "" = the main thread. response_id: the model
    call that wrote it, the same as on its UsageEvent. tool_name None on a tool role: read from the content.
    titles: whether this message may become the session's title (only user messages of the main thread do).
    """

    role: str
    content: str
    timestamp: datetime | None = None
    event_id: str = ""
    agent: str = ""
    subagent_id: str = ""
    response_id: str = ""
    tool_name: str | None = None
    tool_call_id: str = ""
    is_error: bool = False
    titles: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    recorded: Recorded | None = None


@dataclass(slots=True, kw_only=True)
class UsageEvent:
    """One model call: four disjoint token counts (input_tokens is the uncached part, cache_write_1h_tokens a part of the cache writes).

    cost_usd None = price it from the table. extra["speed"] ("fast") takes part in the price. replaces: the body with the most tokens
    wins over an earlier one of the same event_id (logs that write a running figure), instead of being refused.
    """

    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cost_usd: Decimal | None = None
    turn: int | None = None
    user_id: str | None = None
    provider: str = ""
    timestamp: datetime | None = None
    event_id: str = ""
    subagent_id: str = ""
    response_id: str = ""
    replaces: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    recorded: Recorded | None = None


@dataclass(slots=True, kw_only=True)
class CompactionEvent:
    """Older messages were summed up in `summary`; pre_tokens: the size of the context before. trigger: auto, manual."""

    trigger: str
    pre_tokens: int
    summary: str
    messages_compacted: int
    timestamp: datetime | None = None
    event_id: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    recorded: Recorded | None = None


Event = MessageEvent | UsageEvent | CompactionEvent


def tool_use(call_id: str, name: str, arguments: Any, **fields: Any) -> MessageEvent:
    """Return the message of a tool call. arguments: anything JSON."""
    content = json.dumps({"type": "tool_use", "id": call_id, "name": name, "input": arguments}, ensure_ascii=False)
    return MessageEvent(role="tool_use", content=content, tool_name=name, tool_call_id=call_id, **fields)


def tool_result(call_id: str, output: Any, *, is_error: bool = False, **fields: Any) -> MessageEvent:
    """Return the message of a tool's result. output: text, or the agent's list of content blocks."""
    content = json.dumps({"type": "tool_result", "tool_use_id": call_id, "content": output, "is_error": is_error}, ensure_ascii=False)
    return MessageEvent(role="tool_result", content=content, tool_name=None, tool_call_id=call_id, is_error=is_error, **fields)
