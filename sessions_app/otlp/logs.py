"""From the log records of coding agents (Claude Code, Codex CLI, Gemini CLI) to what happened in which of their sessions; and the record of one model
call that the GenAI semantic conventions know, which any program may send, to the span that it tells of. Pure.

Names: as the agents document them (Claude Code, "Monitoring"; Gemini CLI, "Telemetry") or write them (Codex CLI, crate codex-otel).
Their `session.id` or `conversation.id` is the id under which their own logs are imported, so both lead to one session.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any

from sessions_app.events import CompactionEvent, Event, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.otlp.decode import LogRecord, Rejected, Span, as_text
from sessions_app.otlp.messages import parsed

CLAUDE_CODE, CODEX, GEMINI_CLI = "claude-code", "codex", "gemini-cli"
PREFIXES = {"claude_code.": CLAUDE_CODE, "codex.": CODEX, "gemini_cli.": GEMINI_CLI}
SERVICES = {"claude-code": CLAUDE_CODE, "codex": CODEX, "gemini-cli": GEMINI_CLI}  # Codex: codex-cli, codex_cli_rs, codex_exec, ...
MODEL_CALL = "gen_ai.client.inference.operation.details"  # its attributes are those of the call's span, with the messages among them
SESSION_ID = ("session.id", "conversation.id", "gen_ai.conversation.id")
# Understood, and nothing that a session keeps.
WITHOUT_TRACE = {
    CLAUDE_CODE: {
        "tool_decision", "api_request_body", "api_response_body", "permission_mode_changed", "auth", "mcp_server_connection", "internal_error",
        "plugin_installed", "plugin_loaded", "skill_activated", "at_mention", "hook_registered", "hook_execution_start",
        "hook_execution_complete", "hook_plugin_metrics", "feedback_survey", "api_retries_exhausted", "subagent_completed",
    },
    CODEX: {
        "conversation_starts", "api_request", "tool_decision", "sandbox_assessment", "sandbox_assessment_latency", "sandbox_outcome",
        "websocket_connect", "websocket_request", "websocket_event", "auth_recovery", "startup_phase", "turn_ttft", "turn_ttfm",
    },
    GEMINI_CLI: {
        "config", "api_request", "tool_output_truncated", "edit_strategy", "edit_correction", "file_operation", "malformed_json_response",
        "slash_command", "slash_command.model", "model_routing", "chat.invalid_chunk", "chat.content_retry", "chat.content_retry_failure",
        "conversation_finished", "next_speaker_check", "flash_fallback", "ripgrep_fallback", "web_fetch_fallback_attempt",
        "extension_install", "extension_uninstall", "extension_enable", "extension_disable", "extension_update", "agent.start",
        "agent.finish", "agent.recovery_attempt", "ide_connection", "startup_stats", "hook_call", "tool_output_masking", "rewind",
        "llm_loop_check", "loop_detected", "loop_detection_disabled", "network_retry", "keychain.availability",
        "token_storage.initialization", "flash_decided_to_continue", "kitty_sequence_overflow",
        MODEL_CALL,  # says what api_response says, once more
        "approval_mode_switch", "approval_mode_duration", "plan_execution",
    },
}  # fmt: skip
DEVICE = re.compile(r"[0-9a-f]{64}")  # what Claude Code sends as user.id: an installation, not a person
MAX_ID = 255


@dataclass(slots=True)
class AgentSession:
    """What one request tells of a coding agent's session. user_id "" = no person is named."""

    agent: str
    session_id: str
    user_id: str = ""
    events: list[Event] = field(default_factory=list)
    started_at: datetime | None = None


class _Unusable(Exception):
    """A record of a known kind whose numbers cannot be read."""


def read_logs(records: list[LogRecord]) -> tuple[list[AgentSession], list[Rejected]]:
    """Return what each session's records tell, in the order of time, and the records that were not understood."""
    sessions: dict[tuple[str, str], AgentSession] = {}
    rejected: list[Rejected] = []
    for record in records:
        agent, name = agent_and_event(record)
        session_id = first_text(record, SESSION_ID)
        if not agent:
            rejected.append(_not_taken("unknown_log", "No log record of Claude Code, Codex CLI or Gemini CLI.", record))
            continue
        if name in WITHOUT_TRACE[agent]:
            continue
        read = READERS.get((agent, name))
        if read is None:
            rejected.append(_not_taken("unknown_event", f"{agent} is not known to send {name[:80]!r}.", record))
            continue
        if not session_id:
            rejected.append(_not_taken("no_session_id", "The record names no session (session.id, conversation.id).", record))
            continue
        try:
            events = read(_Record(record, agent, session_id, name))
        except _Unusable as error:
            rejected.append(_not_taken("invalid_usage", str(error), record))
            continue
        one = sessions.setdefault((agent, session_id), AgentSession(agent, session_id))
        one.user_id = one.user_id or person(record)
        one.events += events
    for one in sessions.values():
        one.events.sort(key=lambda event: event.timestamp.timestamp() if event.timestamp else 0.0)
        one.started_at = next((event.timestamp for event in one.events if event.timestamp), None)
    return list(sessions.values()), rejected


def is_model_call(record: LogRecord) -> bool:
    """Whether the record tells of one model call, and not of a coding agent's, which tells of it in its own words too."""
    return MODEL_CALL in (record.name, record.attributes.get("event.name")) and not agent_of_service(record.resource)


def as_span(record: LogRecord) -> Span:
    """Return the model call that a record tells of as its span would: under the ids of that where it was written in one, so that the two are one call."""
    trace_id, span_id = record.trace_id, record.span_id
    if not trace_id:
        session = first_text(record, SESSION_ID)
        text = as_text([session, record.name, record.time_ns, sorted(record.attributes.items(), key=lambda pair: pair[0])])
        span_id = _digest(text, 8)
        trace_id = _digest(session, 16) if session else _digest(text, 16)
    attributes = {"gen_ai.operation.name": "chat", **record.attributes}
    return Span(trace_id, span_id, "", MODEL_CALL, record.time_ns, record.time_ns, attributes, [], False, "", record.resource, record.scope)


def _digest(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def agent_and_event(record: LogRecord) -> tuple[str, str]:
    """Return whose event it is and its name without the agent's prefix. Agents write the name to the event name, to an attribute, or to the body."""
    names = [record.name, record.attributes.get("event.name"), record.body]
    for name in names:
        if isinstance(name, str):
            for prefix, agent in PREFIXES.items():
                if name.startswith(prefix):
                    return agent, name.removeprefix(prefix)
    agent = agent_of_service(record.resource)
    return agent, next((name for name in names[:2] if isinstance(name, str) and name), "")


def agent_of_service(resource: dict[str, Any]) -> str:
    """Return the coding agent that a resource is, "" for none."""
    service = str(resource.get("service.name", ""))
    return next((agent for name, agent in SERVICES.items() if service == name or service.startswith((f"{name}-", f"{name}_"))), "")


def first_text(item: Any, names: tuple[str, ...], length: int = MAX_ID) -> str:
    """Return the first of these attributes that says something, of the item or of its resource."""
    for attributes in (item.attributes, item.resource):
        for name in names:
            value = attributes.get(name)
            if isinstance(value, str) and value:
                return value[:length]
    return ""


def person(item: Any) -> str:
    """Return whom the item names. An installation's number is nobody's name."""
    if named := first_text(item, ("enduser.id", "user.email")):
        return named
    user = first_text(item, ("user.id",))
    return "" if DEVICE.fullmatch(user) else user


def _not_taken(reason: str, detail: str, record: LogRecord) -> Rejected:
    payload = as_text({"name": record.name, "body": record.body, "attributes": record.attributes, "scope": record.scope})
    return Rejected(reason, detail, payload)


class _Record:
    """One record of a known kind, and how to read it."""

    def __init__(self, record: LogRecord, agent: str, session_id: str, name: str) -> None:
        self.attributes = record.attributes
        self.name = name
        self.time = _time(record.attributes.get("event.timestamp")) or record.time
        # The whole record, so that the same again is known again, and two calls with the same numbers are two.
        text = as_text([agent, session_id, name, record.time_ns, sorted(record.attributes.items(), key=lambda pair: pair[0])])
        self.id = _digest(text, 16)

    def text(self, *names: str) -> str:
        return next((value for name in names if isinstance(value := self.attributes.get(name), str) and value), "")

    def count(self, name: str) -> int:
        """Return a token count; agents write them as numbers or as text. Raises _Unusable."""
        value = self.attributes.get(name)
        if value is None or value == "":
            return 0
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            return int(value)
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _Unusable(f"{name} must be a whole number, not {str(value)[:40]!r}.")
        return value

    def message(self, role: str, content: str, *, titles: bool = True) -> list[Event]:
        return [MessageEvent(role=role, content=content, timestamp=self.time, event_id=f"{self.id}:{role}", titles=titles)]

    def tool(self, name: str, call_id: str, arguments: Any, output: Any, *, is_error: bool) -> list[Event]:
        """A call and its result: agents send one record for both, when it is over."""
        call_id = call_id or self.id
        call = tool_use(call_id, name[:MAX_ID], arguments, timestamp=self.time, event_id=f"{self.id}:use")
        output = output if isinstance(output, str) else as_text(output)
        result = tool_result(call_id, output, is_error=is_error, timestamp=self.time, event_id=f"{self.id}:result")
        result.tool_name = name[:MAX_ID]
        return [call, result]

    @property
    def failed(self) -> bool:
        return str(self.attributes.get("success")).lower() == "false"


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def cost_of(value: Any) -> Decimal | None:
    """Return a cost above zero; a habitual 0 says nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost > 0 else None


# --- what each event says -------------------------------------------------------------------------------------------------------------


def _prompt(record: _Record) -> list[Event]:
    prompt = record.text("prompt")
    if not prompt or prompt.strip("<>[]").upper() == "REDACTED":
        length = record.attributes.get("prompt_length", "?")
        return record.message("user", f"(a prompt of {str(length)[:20]} characters, which the agent was not told to send)", titles=False)
    return record.message("user", prompt)


def _claude_call(record: _Record) -> list[Event]:
    extra = {"speed": "fast"} if record.text("speed") == "fast" else {}
    return [
        UsageEvent(
            model=record.text("model"),
            input_tokens=record.count("input_tokens"),
            output_tokens=record.count("output_tokens"),
            cache_read_tokens=record.count("cache_read_tokens"),
            cache_write_tokens=record.count("cache_creation_tokens"),
            cost_usd=cost_of(record.attributes.get("cost_usd", record.attributes.get("cost"))),
            provider="anthropic",
            timestamp=record.time,
            event_id=record.id,
            subagent_id=record.text("agent.name")[:100],
            response_id=record.text("request_id")[:MAX_ID],
            extra=extra,
        )
    ]


def _claude_answer(record: _Record) -> list[Event]:
    response = record.text("response")
    return [] if not response or response == "<REDACTED>" else record.message("assistant", response)


def _claude_tool(record: _Record) -> list[Event]:
    size = record.attributes.get("tool_result_size_bytes")
    output = record.text("error", "error_type") or (f"({size} bytes, which the agent does not send)" if size is not None else "")
    arguments = parsed(record.text("tool_input", "tool_parameters")) or {}
    return record.tool(record.text("tool_name", "name") or "unknown", record.text("tool_use_id"), arguments, output, is_error=record.failed)


def _failure(record: _Record) -> list[Event]:
    status = record.attributes.get("status_code", record.attributes.get("http.response.status_code"))
    words = [
        "The model call failed:",
        str(status)[:20] if status not in (None, "", "undefined") else "",
        record.text("error", "error.message", "category"),
    ]
    return record.message("system", " ".join(word for word in words if word))


def _codex_sse(record: _Record) -> list[Event]:
    """Codex tells of every event of the stream; the last one, once it has counts, is the call. Its input includes the cached part, its output the reasoning."""
    if record.text("event.kind") != "response.completed" or "input_token_count" not in record.attributes:
        return (
            _failure(record)
            if record.text("error.message") and record.text("event.kind") in ("response.failed", "response.completed")
            else []
        )
    return [_inclusive(record, "input_token_count", "cached_token_count", ("output_token_count",), "openai")]


def _gemini_call(record: _Record) -> list[Event]:
    events: list[Event] = [
        _inclusive(
            record,
            "input_token_count",
            "cached_content_token_count",
            ("output_token_count", "thoughts_token_count"),
            "google",
            "tool_token_count",
        )
    ]
    text = record.text("response_text")
    return record.message("assistant", text) + events if text else events


def _inclusive(record: _Record, input_: str, cached: str, output: tuple[str, ...], provider: str, more_input: str = "") -> UsageEvent:
    total, read = record.count(input_), record.count(cached)
    return UsageEvent(
        model=record.text("model", "slug").rsplit("/", 1)[-1],
        input_tokens=max(0, total - read) + (record.count(more_input) if more_input else 0),
        output_tokens=sum(record.count(name) for name in output),
        cache_read_tokens=min(read, total) if total else read,
        provider=provider,
        timestamp=record.time,
        event_id=record.id,
    )


def _codex_tool(record: _Record) -> list[Event]:
    return record.tool(
        record.text("tool_name") or "unknown",
        record.text("call_id"),
        parsed(record.text("arguments")) or {},
        record.text("output", "error.message"),
        is_error=record.failed,
    )


def _gemini_tool(record: _Record) -> list[Event]:
    arguments = record.attributes.get("function_args")
    length = record.attributes.get("content_length")
    output = record.text("error") or (f"({length} characters, which the agent does not send)" if length is not None else "")
    name = record.text("function_name") or "unknown"
    return record.tool(name, "", parsed(arguments) or {}, output, is_error=record.failed or bool(record.text("error")))


def _compaction(record: _Record) -> list[Event]:
    """The summary itself is not sent. A compaction that failed has summed up nothing."""
    if record.failed:
        return record.message("system", f"Summing up the context failed: {record.text('error') or 'no reason was given'}")
    return [
        CompactionEvent(
            trigger=record.text("trigger")[:40] or "auto",
            pre_tokens=record.count("pre_tokens") or record.count("tokens_before"),
            summary="",
            messages_compacted=0,
            timestamp=record.time,
            event_id=record.id,
        )
    ]


READERS: dict[tuple[str, str], Callable[[_Record], list[Event]]] = {
    (CLAUDE_CODE, "user_prompt"): _prompt,
    (CLAUDE_CODE, "api_request"): _claude_call,
    (CLAUDE_CODE, "assistant_response"): _claude_answer,
    (CLAUDE_CODE, "tool_result"): _claude_tool,
    (CLAUDE_CODE, "api_error"): _failure,
    (CLAUDE_CODE, "api_refusal"): _failure,
    (CLAUDE_CODE, "compaction"): _compaction,
    (CODEX, "user_prompt"): _prompt,
    (CODEX, "sse_event"): _codex_sse,
    (CODEX, "tool_result"): _codex_tool,
    (GEMINI_CLI, "user_prompt"): _prompt,
    (GEMINI_CLI, "api_response"): _gemini_call,
    (GEMINI_CLI, "tool_call"): _gemini_tool,
    (GEMINI_CLI, "api_error"): _failure,
    (GEMINI_CLI, "chat_compression"): _compaction,
}
