"""From what the requests tell to the services, one transaction a request; what could not be taken comes back with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings

from sessions_app.api.auth import DEFAULT_CHANNEL, DEFAULT_USER, Caller
from sessions_app.day_rows import writing
from sessions_app.errors import EventIdReused, SessionError
from sessions_app.events import Event, MessageEvent, UsageEvent
from sessions_app.models import Session, UsageRecord
from sessions_app.otlp.decode import LogRecord, Point, Rejected, Span, as_text
from sessions_app.otlp.logs import GEMINI_CLI, AgentSession, agent_of_service, as_span, is_model_call, read_logs
from sessions_app.otlp.metrics import MeteredSession, read_metrics
from sessions_app.otlp.traces import Said, Trace, read_traces
from sessions_app.services.cleaning import is_storable_time
from sessions_app.services.coding_agents import OTLP, TELEMETRY, store_readings, store_telemetry
from sessions_app.services.lifecycle import LoggedSession, open_logged_sessions
from sessions_app.services.traces import TracePart, TracePlace, open_traces, trace_event_id, trace_owners, trace_usage
from sessions_app.services.transcript import StoreResult, store_batch

CLI = "cli"


def source_of(caller: Caller) -> str:
    """Name the source of a token's telemetry: its ids never meet those that the same token sends to the API."""
    return OTLP + caller.source


# --- traces ---------------------------------------------------------------------------------------------------------------------------


def take_spans(spans: list[Span], caller: Caller, *, now: datetime) -> list[Rejected]:
    """Store what the spans tell. Returns those that were not taken."""
    rejected: list[Rejected] = []
    traces: list[Trace] = []
    for trace in read_traces(_without_coding_agents(spans, rejected)):
        rejected += trace.rejected
        others = trace.users - {caller.user_id}
        if caller.user_id and others:
            detail = f"This token writes as user {caller.user_id!r} only; the trace names {min(others)[:80]!r}."
            rejected.append(Rejected("token_bound", detail, as_text({"traceId": trace.trace_id, "user": min(others)}), trace.spans))
        else:
            traces.append(trace)
    with writing():
        _take_traces(traces, caller, now, rejected)
    return rejected


def _without_coding_agents(spans: list[Span], rejected: list[Rejected]) -> list[Span]:
    """Leave away the spans of the agents whose calls are counted from their log events: counted from both, each call would be two. Gemini CLI sends
    both whatever it is told, and its spans tell nothing that its logs do not; the other two send spans only when asked to, and are told to stop."""
    agents: dict[int, str] = {}  # by resource, which thousands of spans share
    kept = []
    for span in spans:
        resource = id(span.resource)
        if resource not in agents:
            agents[resource] = agent_of_service(span.resource)
        if not agents[resource]:
            kept.append(span)
    if len(kept) < len(spans):
        redundant = sum(agents[id(span.resource)] == GEMINI_CLI for span in spans)
        named = sorted({agent for agent in agents.values() if agent} - {GEMINI_CLI})
        if not named:
            return kept
        detail = f"The sessions of {', '.join(named)} are kept from their logs and metrics: set OTEL_LOGS_EXPORTER=otlp there, and no trace exporter."
        rejected.append(Rejected("coding_agent_spans", detail, as_text({"agents": named}), len(spans) - len(kept) - redundant))
    return kept


def _take_traces(traces: list[Trace], caller: Caller, now: datetime, rejected: list[Rejected]) -> None:
    source = source_of(caller)
    parts = [
        TracePart(
            trace_id=trace.trace_id,
            conversation=trace.conversation,
            user_id=trace.user_id,
            agent=trace.agent,
            speaks=trace.speaks,
            started_at=trace.start,
            has_content=trace.is_agentic,
        )
        for trace in traces
        if trace.is_agentic or trace.conversation or trace.user_id
    ]
    places = open_traces(
        parts,
        source=source,
        channel=caller.channel or DEFAULT_CHANNEL,
        user_id=caller.user_id or DEFAULT_USER,
        bound_agent=caller.agent,
        now=now,
    )
    taken: list[tuple[Trace, TracePlace]] = []
    for trace in traces:
        place = places.get(trace.trace_id)
        if place is None:  # a trace of another world: a web server's, a database's
            rejected.extend(
                Rejected("no_genai_span", "The trace has no span of a model, an agent or a tool.", as_text({"span": name}), times)
                for name, times in trace.unnamed.items()
            )
        elif place.is_foreign:
            detail = f"This token writes as agent {caller.agent!r} only; the session is another agent's."
            rejected.append(Rejected("token_bound", detail, as_text({"traceId": trace.trace_id}), trace.spans))
        elif place.session is not None:
            taken.append((trace, place))
    _leave_out_sums(taken, source)
    batch = _batch(taken, source, rejected)
    if batch:
        results = store_batch([(session, events) for session, events in batch.values()], source=source, now=now)
        _note_refused(batch.values(), results, rejected)


def _leave_out_sums(taken: list[tuple[Trace, TracePlace]], source: str) -> None:
    """Drop the usage of a span that turns out to stand above calls that an earlier request brought, or to tell of one of them again."""
    known = {trace.trace_id: trace for trace, place in taken if place.was_known and trace.usage}
    if not known:
        return
    parents: set[str] = set()
    answers: dict[str, str] = {}
    counts: dict[str, tuple[int, ...]] = {}
    for record in trace_usage(source, list(known)):
        parents.add(str(record.extra.get("parent_span_id", "")))
        answers[record.response_id] = record.event_id
        counts[record.event_id] = _counts(record)
    for trace in known.values():
        trace.usage = [
            one
            for one in trace.usage
            if one.extra["span_id"] not in parents
            and answers.get(one.response_id, one.event_id) == one.event_id
            # A call's span and its log record bear the same id and two times.
            and counts.get(one.event_id) != _counts(one)
        ]


def _counts(call: UsageEvent | UsageRecord) -> tuple[int, ...]:
    return call.input_tokens, call.output_tokens, call.cache_read_tokens, call.cache_write_tokens


def _batch(taken: list[tuple[Trace, TracePlace]], source: str, rejected: list[Rejected]) -> dict[Any, tuple[Session, list[Event]]]:
    """Return each session's events: the messages that it does not have yet, in the order of time, and the calls."""
    said: list[tuple[Session, bool, Said]] = []
    usage: list[tuple[Session, UsageEvent]] = []
    for trace, place in taken:
        session = place.session
        if session is None:
            continue
        told = trace.said
        if trace.fallback and not (trace.speaks or place.spoke):
            told = sorted(trace.fallback + trace.said, key=_time)
        said += [(session, place.is_new, one) for one in told if _fits(one.event, rejected)]
        usage += [(session, one) for one in trace.usage]
    said.sort(key=lambda item: _time(item[2]))
    owners = trace_owners(source, list({trace_event_id(session, one.digest, one.place) for session, is_new, one in said if not is_new}))
    batch: dict[Any, tuple[Session, list[Event]]] = {}
    for session, is_new, one in said:
        number = one.place
        while True:
            event_id = trace_event_id(session, one.digest, number)
            owner = owners.get(event_id)
            if owner is None and number > one.place and not is_new:
                owners |= trace_owners(source, [event_id])
                owner = owners.get(event_id)
            if owner is None:
                owners[event_id] = one.owner
                one.event.event_id = event_id
                if one.owner:
                    one.event.extra["owner"] = one.owner
                batch.setdefault(session.pk, (session, []))[1].append(one.event)
                break
            if not one.owner or not owner or owner == one.owner:
                break  # the session has it
            number += 1
    for session, call in usage:
        batch.setdefault(session.pk, (session, []))[1].append(call)
    return batch


def _fits(event: Event, rejected: list[Rejected]) -> bool:
    """Whether a message is no longer than a message may be."""
    limit = settings.API_MAX_MESSAGE_BYTES
    if (
        not isinstance(event, MessageEvent)
        or len(event.content) * 4 <= limit
        or len(event.content.encode("utf-8", "surrogatepass")) <= limit
    ):
        return True
    detail = f"A message is longer than {limit:,} bytes."
    rejected.append(Rejected("message_too_large", detail, as_text({"role": event.role, "content": event.content[:1000]})))
    return False


def _time(said: Said) -> float:
    return said.event.timestamp.timestamp() if said.event.timestamp else 0.0


def _note_refused(batch: Iterable[tuple[Session, list[Event]]], results: Sequence[StoreResult], rejected: list[Rejected]) -> None:
    """Note what the store refused. A message under a known id with other words is the same message told otherwise, and known."""
    for (session, events), result in zip(batch, results, strict=True):
        for refusal in result.refused:
            event = events[refusal.index]
            if isinstance(event, MessageEvent) and isinstance(refusal.error, EventIdReused):
                continue
            rejected.append(
                Rejected(refusal.error.code, refusal.error.detail, as_text({"session": str(session.pk), "event": _shown(event)}))
            )


def _shown(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}


# --- coding agents --------------------------------------------------------------------------------------------------------------------


def take_records(records: list[LogRecord], caller: Caller, *, now: datetime) -> list[Rejected]:
    """Store what coding agents' log records tell, and the model calls that others' do. Returns those that were not taken."""
    calls = [record for record in records if is_model_call(record)]
    told, rejected = read_logs([record for record in records if not is_model_call(record)] if calls else records)
    with writing():
        if calls:
            rejected += take_spans([as_span(record) for record in calls], caller, now=now)
        opened = _open_agent_sessions(told, caller, now, rejected)
        batch = [(session, [event for event in one.events if _fits(event, rejected)]) for one, session in opened]
        results = store_telemetry(batch, source=source_of(caller), now=now)
        for (_, events), result in zip(batch, results, strict=True):
            for refusal in result.refused:
                shown = as_text(_shown(events[refusal.index])) if len(result.rows) == len(events) else refusal.error.detail
                rejected.append(Rejected(refusal.error.code, refusal.error.detail, shown))
    return rejected


def take_points(points: list[Point], caller: Caller, *, now: datetime) -> list[Rejected]:
    """Store what coding agents' metrics counted beyond their log events. Returns the points that were not taken."""
    told, rejected = read_metrics(points)
    with writing():
        for one, session in _open_agent_sessions(told, caller, now, rejected):
            try:
                store_readings(session, one.readings.values(), source=source_of(caller), now=now)
            except SessionError as error:
                rejected.append(Rejected(error.code, error.detail, as_text({"session": one.session_id})))
    return rejected


def _open_agent_sessions(
    told: Sequence[AgentSession | MeteredSession], caller: Caller, now: datetime, rejected: list[Rejected]
) -> list[tuple[Any, Session]]:
    """Return the sessions that the importer would make of the same agents' logs, in the order of their ids; noting those that cannot be, or lie outside
    what the token is bound to."""
    opened: list[tuple[Any, Session]] = []
    groups: dict[tuple[str, str], list[Any]] = {}
    for one in told:
        if caller.agent and one.agent != caller.agent:
            _refuse(one, "token_bound", f"This token writes as agent {caller.agent!r} only, not as {one.agent}.", rejected)
        else:
            groups.setdefault((one.agent, caller.user_id or one.user_id or DEFAULT_USER), []).append(one)
    for (agent, user_id), some in sorted(groups.items(), key=lambda item: item[0]):
        logged = [
            LoggedSession(agent_session_id=one.session_id, started_at=_begun(one, now), extra={TELEMETRY: True})
            for one in sorted(some, key=lambda one: one.session_id)
        ]
        found = open_logged_sessions(agent, logged, user_id=user_id, channel=caller.channel or CLI, now=now)
        for one in some:
            result = found[one.session_id]
            if isinstance(result, SessionError):
                _refuse(one, result.code, result.detail, rejected)
            elif not caller.may_write_to(result.session):
                _refuse(one, "token_bound", "The session lies outside what this token is bound to.", rejected)
            else:
                opened.append((one, result.session))
    return sorted(opened, key=lambda pair: pair[1].pk)


def _refuse(one: AgentSession | MeteredSession, reason: str, detail: str, rejected: list[Rejected]) -> None:
    times = len(one.events) if isinstance(one, AgentSession) else len(one.readings)
    rejected.append(Rejected(reason, detail, as_text({"agent": one.agent, "session": one.session_id}), max(1, times)))


def _begun(one: AgentSession | MeteredSession, now: datetime) -> datetime | None:
    begun = one.started_at if isinstance(one, AgentSession) else min((end for _, _, end in one.readings), default=None)
    return min(begun, now) if is_storable_time(begun) else None
