"""From the metrics of coding agents to what they counted in which session. Pure.

Counted only beyond the calls that log events told of (services.coding_agents). Points of one session, model and time are one reading:
the agents send each kind of token as its own point, and the cost as its own metric.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sessions_app.otlp.decode import CUMULATIVE, EPOCH, Point, Rejected, as_text, moment
from sessions_app.otlp.logs import CLAUDE_CODE, CODEX, GEMINI_CLI, PREFIXES, SESSION_ID, agent_of_service, first_text, person
from sessions_app.services.coding_agents import Reading

TOKENS = {"claude_code.token.usage": CLAUDE_CODE, "gemini_cli.token.usage": GEMINI_CLI}
COSTS = {"claude_code.cost.usage": CLAUDE_CODE}
# How each agent calls the kinds of token. Gemini's input includes the cached part; its thoughts are billed as output.
COLUMNS = {
    CLAUDE_CODE: {
        "input": "input_tokens",
        "output": "output_tokens",
        "cacheRead": "cache_read_tokens",
        "cacheCreation": "cache_write_tokens",
    },
    GEMINI_CLI: {
        "input": "input_tokens",
        "tool": "input_tokens",
        "output": "output_tokens",
        "thought": "output_tokens",
        "cache": "cache_read_tokens",
    },
}
PROVIDERS = {CLAUDE_CODE: "anthropic", CODEX: "openai", GEMINI_CLI: "google"}


@dataclass(slots=True)
class MeteredSession:
    """What one request's metrics tell of a coding agent's session."""

    agent: str
    session_id: str
    user_id: str = ""
    readings: dict[tuple[str, datetime, datetime], Reading] = field(default_factory=dict)


def read_metrics(points: list[Point]) -> tuple[list[MeteredSession], list[Rejected]]:
    """Return what each session's points tell, and the points that were not understood. What agents measure beside tokens and cost (time, lines,
    commits) is understood, and nothing that a session keeps."""
    sessions: dict[tuple[str, str], MeteredSession] = {}
    rejected: list[Rejected] = []
    for point in points:
        agent = next((agent for prefix, agent in PREFIXES.items() if point.metric.startswith(prefix)), "")
        if not agent:
            # An agent's own runtime may be measured along with it; that says nothing of a session either.
            if not agent_of_service(point.resource):
                rejected.append(_not_taken("unknown_metric", "No metric of Claude Code, Codex CLI or Gemini CLI.", point))
            continue
        if point.metric not in TOKENS and point.metric not in COSTS:
            continue
        if point.value is None or isinstance(point.value, bool) or point.value < 0 or not point.time_ns:
            rejected.append(_not_taken("invalid_usage", "A count needs a number from 0 up and a time.", point))
            continue
        if not point.value:
            continue
        session_id = first_text(point, SESSION_ID)
        if not session_id:
            rejected.append(_not_taken("no_session_id", "The point names no session (session.id).", point))
            continue
        column = ""
        if point.metric in TOKENS:
            column = COLUMNS[agent].get(str(point.attributes.get("type")), "")
            if not column or int(point.value) != point.value:
                rejected.append(
                    _not_taken("unknown_metric", "The point's type names no kind of token, or its value is no whole number.", point)
                )
                continue
        one = sessions.setdefault((agent, session_id), MeteredSession(agent, session_id))
        one.user_id = one.user_id or person(point)
        _add(one, point, column)
    for one in sessions.values():
        if one.agent == GEMINI_CLI:
            for reading in one.readings.values():
                cached = reading.counts.get("cache_read_tokens", 0)
                reading.counts["input_tokens"] = max(0, reading.counts.get("input_tokens", 0) - cached)
    return list(sessions.values()), rejected


def _add(session: MeteredSession, point: Point, column: str) -> None:
    model = first_text(point, ("model",)).rsplit("/", 1)[-1]
    end = point.time or EPOCH
    start = min(moment(point.start_ns) or EPOCH, end)
    if point.temporality != CUMULATIVE and not point.start_ns:
        start = end  # a delta that does not say since when: of that moment alone
    reading = session.readings.setdefault(
        (model, start, end), Reading(model=model, start=start, end=end, counts={}, provider=PROVIDERS[session.agent])
    )
    if column:
        reading.counts[column] = reading.counts.get(column, 0) + int(point.value or 0)
    else:
        reading.cost_usd = (reading.cost_usd or Decimal(0)) + Decimal(str(point.value))


def _not_taken(reason: str, detail: str, point: Point) -> Rejected:
    return Rejected(reason, detail, as_text({"metric": point.metric, "value": point.value, "attributes": point.attributes}))
