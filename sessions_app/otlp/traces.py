"""From spans to what happened in which session: messages, tool calls, usage. Pure.

Usage comes only from a span that is one model call: agents and loops repeat the sum of their calls. A call's input repeats the conversation
so far, so each message is known by what it says and by which of the messages that say the same it is: the first "yes", the second "yes".
`store` keeps those that the session does not have yet.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from itertools import islice
from typing import Any

from sessions_app.events import MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.otlp.decode import Rejected, Span, as_text
from sessions_app.otlp.messages import Word, input_words, output_words, parsed, run_words

# --- the names of things, new ones first ----------------------------------------------------------------------------------------------

CONVERSATION = ("gen_ai.conversation.id", "session.id", "langfuse.session.id", "ai.telemetry.metadata.sessionId")
USER = ("user.id", "enduser.id", "langfuse.user.id", "ai.telemetry.metadata.userId")
RESPONSE_MODEL = ("gen_ai.response.model", "ai.response.model")
REQUEST_MODEL = ("gen_ai.request.model", "llm.model_name", "embedding.model_name", "ai.model.id")
PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider")
RESPONSE_ID = ("gen_ai.response.id", "ai.response.id")
INPUT = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens", "ai.usage.inputTokens",
    "ai.usage.promptTokens", "ai.usage.tokens",
)  # fmt: skip
OUTPUT = (
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion", "llm.usage.completion_tokens",
    "ai.usage.outputTokens", "ai.usage.completionTokens",
)  # fmt: skip
CACHE_READ = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.details.cache_read_tokens",
    "gen_ai.usage.cached_input_tokens", "llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens",
)  # fmt: skip
CACHE_WRITE = (
    "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.details.cache_write_tokens",
    "llm.token_count.prompt_details.cache_write",
)  # fmt: skip
COST = ("gen_ai.usage.cost", "operation.cost", "llm.cost.total", "gen_ai.cost.total_cost")
CALL_OPERATIONS = {"chat", "text_completion", "generate_content", "embeddings", "completion", "embedding"}
CALL_KINDS = {"LLM", "EMBEDDING"}
TOOL_ARGUMENTS = (
    "gen_ai.tool.call.arguments", "tool_arguments", "ai.toolCall.args", "input.value", "tool.parameters", "traceloop.entity.input",
)  # fmt: skip
TOOL_OUTPUT = ("gen_ai.tool.call.result", "tool_response", "ai.toolCall.result", "output.value", "traceloop.entity.output")
MAX_ID = 255
MAX_ABOVE = 50  # spans between a call and its agent
MAX_UNNAMED = 1000  # calls of one history without an id that are looked for
REAL_ID = 8  # characters; a shorter id of a tool call (call_1) comes again in every run
FAMILIES = ("gen_ai.", "llm.", "openinference.", "ai.", "traceloop.", "langsmith.", "embedding.")


@dataclass(slots=True)
class Said:
    """A message on its way. digest and place: what it says, and which of those that say the same it is. owner: the span of an answer, the trace of a
    prompt that came without history; "" = may repeat what any call said. See `store`."""

    event: MessageEvent
    digest: str
    place: int
    owner: str = ""


@dataclass(slots=True)
class Trace:
    """What one request tells of a trace. fallback: what the run as a whole says, for a trace whose calls say nothing."""

    trace_id: str
    conversation: str = ""
    user_id: str = ""
    users: set[str] = field(default_factory=set)
    agent: str = ""
    start: datetime | None = None
    spans: int = 0
    is_agentic: bool = False
    speaks: bool = False  # whether its model calls tell what was said
    said: list[Said] = field(default_factory=list)
    fallback: list[Said] = field(default_factory=list)
    usage: list[UsageEvent] = field(default_factory=list)
    unnamed: Counter[str] = field(
        default_factory=Counter
    )  # spans of another world (HTTP, databases) by name, where the trace has nothing else
    rejected: list[Rejected] = field(default_factory=list)


def read_traces(spans: list[Span]) -> list[Trace]:
    """Return what each trace among the spans tells."""
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    return [_Reader(trace_id, some).read() for trace_id, some in by_trace.items()]


def is_model_call(span: Span) -> bool | None:
    """Tell whether a span is one model call; None where only its having a model and usage speaks for it."""
    found = span.attributes
    operation = found.get("gen_ai.operation.name")
    if operation in CALL_OPERATIONS:
        return True
    kind = found.get("openinference.span.kind")
    if kind is not None:
        return kind in CALL_KINDS
    if operation is not None:
        return False
    vercel = found.get("ai.operationId")
    if isinstance(vercel, str):
        return vercel.endswith((".doGenerate", ".doStream", ".doEmbed"))
    if found.get("llm.request.type") in ("chat", "completion", "embedding", "rerank"):
        return True
    if found.get("langfuse.observation.type") in ("generation", "embedding"):
        return True
    if "traceloop.span.kind" in found or is_tool(span):
        return False
    return None


def is_tool(span: Span) -> bool:
    found = span.attributes
    return (
        found.get("gen_ai.operation.name") == "execute_tool"
        or found.get("openinference.span.kind") == "TOOL"
        or found.get("ai.operationId") == "ai.toolCall"
        or found.get("traceloop.span.kind") == "tool"
        or ("gen_ai.tool.name" in found and "gen_ai.request.model" not in found)
    )


def _is_agent(span: Span) -> bool:
    return (
        span.attributes.get("gen_ai.operation.name") in ("invoke_agent", "create_agent")
        or span.attributes.get("openinference.span.kind") == "AGENT"
    )


class _Reader:
    """The reading of one trace's spans."""

    def __init__(self, trace_id: str, spans: list[Span]) -> None:
        self.spans = sorted(spans, key=lambda span: (span.start_ns, span.span_id))
        self.by_id = {span.span_id: span for span in self.spans}
        self.trace = Trace(trace_id, spans=len(spans))
        self.tool_calls: dict[str, dict[str, None]] = {}  # the ids by the tool's name, in their order; "" = of all tools

    def read(self) -> Trace:
        trace = self.trace
        self.find_names()
        calls = self.find_calls()
        told: list[tuple[Span, list[Word], list[Word]]] = []
        runs: list[Span] = []
        tools: list[Span] = []
        for span in self.spans:
            if span.span_id in calls:
                trace.is_agentic = True
                told.append((span, input_words(span), output_words(span)))
                self.use(span)
            elif is_tool(span):
                trace.is_agentic = True
                tools.append(span)
            elif any(key.startswith(FAMILIES) for key in span.attributes):
                trace.is_agentic = True
                runs.append(span)
            else:
                trace.unnamed[span.name[:100]] += 1
        own_words = {span.span_id: self.tool_words(span) for span in tools}
        self.find_tool_calls([*(word for _, _, answer in told for word in answer), *(words[0] for words in own_words.values() if words)])
        for span, history, answer in told:
            self.say(span, history, answer, trace.said)
        trace.speaks = bool(trace.said)
        if not trace.speaks:
            for span in runs:
                history, answer = run_words(span)
                self.say(span, history, answer, trace.fallback)
        for span in tools:
            self.say_tool(span, own_words[span.span_id])
        trace.said.sort(key=_by_time)
        trace.fallback.sort(key=_by_time)
        return trace

    def find_names(self) -> None:
        trace = self.trace
        for name in CONVERSATION:
            trace.conversation = trace.conversation or next(
                (named for span in self.spans if (named := _name(span.attributes, (name,)) or _name(span.resource, (name,)))), ""
            )
        for span in self.spans:
            found, resource = span.attributes, span.resource
            if user := _name(found, USER) or _name(resource, USER):
                trace.users.add(user)
                trace.user_id = trace.user_id or user
            trace.agent = trace.agent or _name(found, ("gen_ai.agent.name",), 100) or _name(resource, ("gen_ai.agent.name",), 100)
        first = self.spans[0]
        service = _name(first.resource, ("service.name",), 100)
        if not trace.agent and not service.startswith("unknown_service"):  # what SDKs say when nobody has said anything
            trace.agent = service
        trace.start = next((span.start for span in self.spans if span.start_ns), None)

    def find_calls(self) -> set[str]:
        """Return the ids of the spans that are one model call. One above another (two instrumentations of one call, or a loop that looks
        like a call) is its sum."""
        candidates = {}
        for span in self.spans:
            verdict = is_model_call(span)
            if verdict is None:
                verdict = _has(span, REQUEST_MODEL + RESPONSE_MODEL) and (_has(span, INPUT) or _has(span, OUTPUT))
            if verdict:
                candidates[span.span_id] = span
        sums: set[str] = set()
        seen: set[tuple[str, bool]] = set()
        for span in candidates.values():
            if not (_has(span, INPUT) or _has(span, OUTPUT)):
                continue
            # A call that stands above a tool or an agent made a call of its own before that one did.
            is_apart = False
            above = self.by_id.get(span.parent_id)
            while above is not None and (above.span_id, is_apart) not in seen:
                seen.add((above.span_id, is_apart))
                if not (is_apart and is_model_call(above)):
                    sums.add(above.span_id)
                is_apart = is_apart or is_tool(above) or _is_agent(above)
                above = self.by_id.get(above.parent_id)
        return {span_id for span_id in candidates if span_id not in sums}

    # --- a model call ---------------------------------------------------------------------------------------------------------------

    def use(self, span: Span) -> None:
        found = span.attributes
        counts = []
        for names in (INPUT, OUTPUT, CACHE_READ, CACHE_WRITE):
            value = _first(found, names)
            count = _count(value)
            if count is None:
                self.trace.rejected.append(
                    Rejected("invalid_usage", f"A token count must be a whole number, not {str(value)[:40]!r}.", _brief(span))
                )
                return
            counts.append(count)
        total, output, read, written = counts
        if not any(counts):
            return
        model = _name(found, RESPONSE_MODEL) or _name(found, REQUEST_MODEL)
        extra: dict[str, Any] = {"trace_id": span.trace_id, "span_id": span.span_id}
        if span.parent_id:
            extra["parent_span_id"] = span.parent_id
        if span.end_ns > span.start_ns:
            extra["duration_ms"] = (span.end_ns - span.start_ns) // 1_000_000
        cost = _cost(found)
        self.trace.usage.append(
            UsageEvent(
                model=model.rsplit("/", 1)[-1],
                # By the conventions the input includes what the cache served and stored. Where it is less than those, the sender kept them apart.
                input_tokens=total - read - written if total >= read + written else total,
                output_tokens=output,
                cache_read_tokens=read,
                cache_write_tokens=written,
                cost_usd=cost,
                provider=_name(found, PROVIDER, 100),
                timestamp=span.end,
                event_id=f"{span.trace_id}:{span.span_id}",
                response_id=_response_id(span),
                extra=extra,
            )
        )

    # --- what was said --------------------------------------------------------------------------------------------------------------

    def say(self, span: Span, history: list[Word], answer: list[Word], into: list[Said]) -> None:
        """Add a call's messages. A prompt is only surely a repeat when an answer stands before it; otherwise it may be said again, in another
        trace, with the same words."""
        places: Counter[str] = Counter()
        is_fresh = all(word.role in ("system", "user") for word in history)
        agent = self.agent_of(span)
        told: Counter[tuple[str, str]] = Counter()
        for word in history:
            self.name_call(word, told)
            self.add(span, word, places, span.trace_id if is_fresh and word.role == "user" else "", span.start, agent, "", into)
        response_id = _response_id(span) if answer else ""
        for word in answer:
            self.name_call(word, told)
            self.add(span, word, places, span.span_id, span.end, agent, response_id, into)

    def add(
        self,
        span: Span,
        word: Word,
        places: Counter[str],
        owner: str,
        time: datetime | None,
        agent: str,
        response_id: str,
        into: list[Said],
    ) -> None:
        event = _event(word)
        if event is None:
            return
        digest = _digest(word, event)
        is_tool_word = word.role in ("tool_use", "tool_result")
        event.timestamp = time
        if word.role in ("assistant", "thinking", "tool_use"):
            event.agent = agent
        event.response_id = response_id
        event.extra = {"trace_id": span.trace_id, "span_id": span.span_id}
        if word.parts:
            event.extra["parts"] = word.parts
        into.append(Said(event, digest, places[digest], "" if is_tool_word else owner))
        if not (is_tool_word and len(word.call_id) >= REAL_ID):  # a call's id stands for one call, however often it is told
            places[digest] += 1

    def tool_words(self, span: Span) -> list[Word]:
        """Return the call and, where there is one, the result that a tool's own span tells of."""
        found = span.attributes
        name = _name(found, ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name")) or span.name[:MAX_ID]
        call_id = _name(found, ("gen_ai.tool.call.id", "tool_call.id", "ai.toolCall.id", "tool.id"))
        if call_id == name:  # no id at all, but a name in its place
            call_id = ""
        arguments = _first(found, TOOL_ARGUMENTS)
        output = _first(found, TOOL_OUTPUT)
        words = [Word("tool_use", call_id=call_id, name=name, value=parsed(arguments))]
        if output is not None or span.is_error:
            value = parsed(output) if output is not None else span.status_message or "failed"
            words.append(Word("tool_result", call_id=call_id, name=name, value=value, is_error=span.is_error))
        return words

    def find_tool_calls(self, words: list[Word]) -> None:
        """Note the ids of the calls that the trace knows, in their order, for those who tell of a call without its id."""
        for word in words:
            if word.role == "tool_use" and len(word.call_id) >= REAL_ID:
                for name in (word.name, ""):
                    self.tool_calls.setdefault(name, {})[word.call_id] = None

    def name_call(self, word: Word, told: Counter[tuple[str, str]]) -> None:
        """Give a history's call or result without an id that of the trace's call of this tool and this number."""
        if word.role not in ("tool_use", "tool_result") or word.call_id:
            return
        place = told[word.role, word.name]
        told[word.role, word.name] += 1
        word.call_id = next(islice(self.tool_calls.get(word.name, {}), place, None), "") if place < MAX_UNNAMED else ""

    def say_tool(self, span: Span, words: list[Word]) -> None:
        agent = self.agent_of(span)
        if not words[0].call_id:
            ids = self.tool_calls.get(words[0].name, {})
            # The span's own id tells this call from another of the same tool with the same arguments.
            own = next(iter(ids)) if len(ids) == 1 else f"span-{span.span_id}"
            for word in words:
                word.call_id = own
        for word, time in zip(words, (span.start, span.end), strict=False):
            self.add(span, word, Counter(), "", time, agent, "", self.trace.said)

    def agent_of(self, span: Span) -> str:
        """Return the agent whose span this is or lies in, where that is another than the session's."""
        here: Span | None = span
        for _ in range(MAX_ABOVE):  # parents may stand in a circle
            if here is None:
                break
            if agent := _name(here.attributes, ("gen_ai.agent.name",), 100):
                return agent if agent != self.trace.agent else ""
            here = self.by_id.get(here.parent_id)
        return ""


def _event(word: Word) -> MessageEvent | None:
    if word.role == "tool_use":
        return tool_use(word.call_id, word.name, word.value if word.value is not None else {})
    if word.role == "tool_result":
        value = word.value if word.value is not None else word.text
        made = tool_result(word.call_id, value if isinstance(value, str | list) else as_text(value), is_error=word.is_error)
        made.tool_name = word.name or None
        return made
    if not word.text and not word.parts:
        return None
    return MessageEvent(role=word.role, content=word.text or f"({len(word.parts)} attachments)")


def _digest(word: Word, event: MessageEvent) -> str:
    """Digest what a message says, the same for the same however it is written. A tool's call and result are known by the call's id alone, because
    the call, the history and the tool's own span each write arguments and results in their own way."""
    if word.role in ("tool_use", "tool_result"):
        if len(word.call_id) >= REAL_ID:
            text = f"{word.role}\0{word.call_id}"
        else:
            text = f"{word.role}\0{word.name}\0{_canonical(word.value)}"
    else:
        text = f"{event.role}\0{event.content.strip()}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()


def _canonical(value: Any) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    except (ValueError, TypeError, RecursionError):
        return as_text(value)


def _by_time(said: Said) -> float:
    return said.event.timestamp.timestamp() if said.event.timestamp else 0.0


def _first(found: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if (value := found.get(name)) is not None:
            return value
    return None


def _name(found: dict[str, Any], names: tuple[str, ...], length: int = MAX_ID) -> str:
    for name in names:
        value = found.get(name)
        if isinstance(value, str) and value:
            return value[:length]
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)[:length]
    return ""


def _has(span: Span, names: tuple[str, ...]) -> bool:
    return any(name in span.attributes for name in names)


def _count(value: Any) -> int | None:
    """Return a token count, 0 for none; None for what is no whole number. Whether it is too large or negative, the store says."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return None


def _cost(found: dict[str, Any]) -> Decimal | None:
    """Return a cost that is reported and above zero; an agent's habitual 0 says nothing."""
    value = _first(found, COST)
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost > 0 else None


def _response_id(span: Span) -> str:
    return _name(span.attributes, RESPONSE_ID) or f"{span.trace_id}:{span.span_id}"


def _brief(span: Span) -> str:
    return as_text({"traceId": span.trace_id, "spanId": span.span_id, "name": span.name, "attributes": span.attributes})
