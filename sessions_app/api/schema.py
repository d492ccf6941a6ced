"""The words of the JSON API: what a client sends, checked and turned into events; and what it is answered.

Bodies are plain pydantic models. They refuse fields that they do not know: a misspelt one must not vanish. What is answered is declared here for
the OpenAPI document, and built in `answers.py` as plain dicts, since checking our own answers would cost more than making them.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.conf import settings
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StrictBool, StrictInt, WithJsonSchema

from sessions_app.api.limits import too_large
from sessions_app.events import ROLES, CompactionEvent, MessageEvent, UsageEvent
from sessions_app.models import KEY_LENGTH, MODEL_LENGTH, PROJECT_LENGTH

MAX_TOKENS = 100_000_000  # of one call
MAX_GAP_MINUTES = 52_704_000  # a hundred years
MAX_TURN = 2_000_000_000


def _text(value: Any) -> str:
    """Any text, also what no database can hold: the service turns that into U+FFFD and counts it, where pydantic's own str would refuse it."""
    if not isinstance(value, str):
        raise ValueError("it must be text")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it must be an object")
    return value


def _content(value: Any) -> str | dict[str, Any]:
    if not isinstance(value, str | dict):
        raise ValueError("it must be text, or for a tool message the object that it stands for")
    return value


def _list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Text = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string"})]
Object = Annotated[dict[str, Any], PlainValidator(_object), WithJsonSchema({"type": "object", "additionalProperties": True})]
Content = Annotated[
    str | dict[str, Any],
    PlainValidator(_content),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]}),
]
Name = Annotated[str, Field(max_length=KEY_LENGTH)]
ShortName = Annotated[str, Field(max_length=100)]
Slug = Annotated[str, Field(max_length=50)]
EventId = Annotated[str, Field(min_length=1, max_length=KEY_LENGTH)]
Tokens = Annotated[StrictInt, Field(ge=0, le=MAX_TOKENS)]
Turn = Annotated[StrictInt, Field(ge=0, le=MAX_TURN)]
Dollars = Annotated[
    Decimal,
    Field(ge=0, le=1_000_000),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1_000_000}, {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,30})?$"}]}
    ),
]
# A number could be seconds or milliseconds, and a time without a zone any of 24 moments.
Moment = Annotated[
    datetime,
    BeforeValidator(lambda value: _text(value)),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Event(Body):
    """What every event may carry."""

    event_id: EventId | None = Field(
        None,
        description="Your own id of this event, unique among all that this token sends. The same event again is answered as the first time, and done "
        "once. The header Idempotency-Key does the same.",
    )


# --- sessions: bodies -----------------------------------------------------------------------------------------------------------------


class SessionKey(Body):
    """What finds the open session of a channel."""

    key: Name = Field(
        description="A chat id, a thread, your own id: what finds the open session again on its channel.", examples=["chat-4711"]
    )
    channel: Slug | None = Field(None, description="Default: the token's channel, else main.", examples=["main"])
    user_id: Name | None = Field(None, description="Whose session it is. Default: the token's user, else admin.", examples=["alice"])


class NewSession(SessionKey):
    triggered_by: Name | None = Field(None, description="A cron job's name, or __heartbeat__; null: a person.")
    agent: ShortName = Field(
        "", description="The program that holds the conversation. Default: the token's agent.", examples=["support-bot"]
    )
    project: Annotated[str, Field(max_length=PROJECT_LENGTH)] = Field("", description="The folder or repository it works in.")


class OpenSession(NewSession):
    gap_minutes: Annotated[StrictInt, Field(ge=0, le=MAX_GAP_MINUTES)] | None = Field(
        None, description="Minutes of silence after which a new session begins. Left away: the channel's; null: never."
    )


class OpenBody(OpenSession, Event):
    pass


class ResolveBody(SessionKey, Event):
    gap_minutes: Annotated[StrictInt, Field(ge=0, le=MAX_GAP_MINUTES)] | None = Field(
        None, description="As in open. Left away: the channel's; null: never."
    )


class CreateBody(NewSession, Event):
    pass


class CloseBody(Event):
    summary: Text = Field("", description="What came of it. Closing again with another summary replaces it.")


class PlainBody(Event):
    """Nothing but an event id."""


class PatchBody(Event):
    """What is left away stays."""

    title: Text | None = Field(None, description='At most 100 characters are kept. "" takes the name away.')
    summary: Text | None = None
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=50)] | None = None
    read: StrictBool | None = Field(None, description="For the account of the token's user; of a token without one: for everybody.")
    archived: StrictBool | None = None


# --- what happens in a session: bodies ------------------------------------------------------------------------------------------------


class MessageFields(Body):
    role: Literal["user", "assistant", "system", "thinking", "tool_use", "tool_result"]
    content: Content = Field(
        description='The text, whole. Of a tool message: {"type": "tool_use", "id", "name", "input"} or {"type": "tool_result", "tool_use_id", '
        '"content", "is_error"}, as an object or as its JSON text.'
    )
    timestamp: Moment | None = Field(None, description="When it was said, with a zone. Default: now.", examples=["2026-09-01T12:00:00Z"])
    agent: ShortName = Field("", description="Who wrote it, where that is not the session's agent.")
    subagent_id: ShortName = Field("", description="The sub-agent's thread it belongs to.")
    response_id: Name = Field("", description="The model call that wrote it: the same as on its usage.")
    extra: Object = Field(default_factory=dict, description="Whatever else you know of it.")

    def event(self, event_id: str | None) -> MessageEvent:
        """Return it as the services take it. Raises Problem 413."""
        content = self.content if isinstance(self.content, str) else json.dumps(self.content, ensure_ascii=False)
        check_message_size(content)
        return MessageEvent(
            role=self.role,
            content=content,
            timestamp=self.timestamp,
            event_id=event_id or "",
            agent=self.agent,
            subagent_id=self.subagent_id,
            response_id=self.response_id,
            extra=self.extra,
        )


class UsageFields(Body):
    """One model call. The four counts are disjoint: what a provider reports as input often contains its cached tokens; take them out."""

    model: Annotated[str, Field(max_length=MODEL_LENGTH)] = Field(examples=["claude-sonnet-4-5"])
    input_tokens: Tokens = Field(description="Sent, and neither served nor stored by a cache.")
    output_tokens: Tokens = Field(description="Generated, reasoning included.")
    cache_read_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    cache_write_1h_tokens: Tokens = Field(0, description="The part of cache_write_tokens that is kept for an hour.")
    cost_usd: Dollars | None = Field(
        None, description="What it cost, if you know. Left away, null or 0: priced from the table at the time of the call, or unknown."
    )
    turn: Turn | None = Field(None, description="Its number in the session. Default: the next.")
    user_id: Name | None = Field(None, description="Who caused it. Default: the session's user.")
    provider: ShortName = Field("", examples=["anthropic"])
    timestamp: Moment | None = Field(None, description="When it was answered, with a zone. Default: now.")
    subagent_id: ShortName = ""
    response_id: Name = ""
    extra: Object = Field(default_factory=dict, description='Whatever else you know of it; {"speed": "fast"} takes part in the price.')

    def event(self, event_id: str | None) -> UsageEvent:
        return UsageEvent(
            model=self.model,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens,
            cost_usd=self.cost_usd or None,  # an agent that does not know writes 0 by habit
            turn=self.turn,
            user_id=self.user_id,
            provider=self.provider,
            timestamp=self.timestamp,
            event_id=event_id or "",
            subagent_id=self.subagent_id,
            response_id=self.response_id,
            extra=self.extra,
        )


class CompactionFields(Body):
    """Older messages were summed up; the originals stay."""

    trigger: Annotated[str, Field(max_length=40)] = Field(examples=["auto"])
    summary: Text
    pre_tokens: Tokens = Field(0, description="The size of the context before.")
    messages_compacted: Tokens = 0
    timestamp: Moment | None = None
    extra: Object = Field(default_factory=dict)

    def event(self, event_id: str | None) -> CompactionEvent:
        check_message_size(self.summary, "summary")
        return CompactionEvent(
            trigger=self.trigger,
            pre_tokens=self.pre_tokens,
            summary=self.summary,
            messages_compacted=self.messages_compacted,
            timestamp=self.timestamp,
            event_id=event_id or "",
            extra=self.extra,
        )


class MessageBody(MessageFields, Event):
    pass


class UsageBody(UsageFields, Event):
    pass


class CompactionBody(CompactionFields, Event):
    pass


# Whether a client leaves the other one away or sends null makes no difference.
ONE_OF_THE_TWO: dict[str, Any] = {
    "oneOf": [
        {"required": ["session_id"], "properties": {"session_id": {"type": "string"}, "session": {"type": "null"}}},
        {"required": ["session"], "properties": {"session": {"type": "object"}, "session_id": {"type": "null"}}},
    ]
}


class WhichSession(Body):
    """Exactly one of the two."""

    model_config = ConfigDict(json_schema_extra=ONE_OF_THE_TWO)

    session_id: str | None = Field(None, max_length=64, description="A session that you know.")
    session: OpenSession | None = Field(None, description="Or what finds it, or opens it: as in /sessions/open.")


class TurnBody(WhichSession, Event):
    messages: Annotated[list[MessageBody], Field(max_length=1000)] = Field(default_factory=list, description="The new ones, in order.")
    usage: Annotated[list[UsageBody], BeforeValidator(_list), Field(max_length=1000)] = Field(
        default_factory=list, description="The model calls that made them, in order; a single one may stand without the list."
    )


def check_message_size(text: str, field: str = "content") -> None:
    limit = settings.API_MAX_MESSAGE_BYTES
    if len(text) * 4 > limit and len(text.encode("utf-8", "surrogatepass")) > limit:
        raise too_large(f"The {field}", limit, field)


# --- the batch ------------------------------------------------------------------------------------------------------------------------


class BatchOpen(OpenBody):
    type: Literal["open"]


class BatchTurn(TurnBody):
    type: Literal["turn"]


class BatchMessage(MessageBody, WhichSession):
    type: Literal["message"]


class BatchUsage(UsageBody, WhichSession):
    type: Literal["usage"]


class BatchCompaction(CompactionBody, WhichSession):
    type: Literal["compaction"]


class BatchClose(CloseBody, WhichSession):
    type: Literal["close"]


class BatchReopen(PlainBody, WhichSession):
    type: Literal["reopen"]


class BatchTouch(PlainBody, WhichSession):
    type: Literal["touch"]


class BatchUpdate(PatchBody, WhichSession):
    type: Literal["update"]


BatchEvent = Annotated[
    BatchMessage | BatchUsage | BatchCompaction | BatchTurn | BatchOpen | BatchClose | BatchReopen | BatchTouch | BatchUpdate,
    Field(discriminator="type"),
]


class BatchBody(Body):
    """As it is taken: each event is checked on its own, so that a bad one does not take the others with it."""

    events: Annotated[list[Any], Field(max_length=settings.API_MAX_BATCH_EVENTS)]


class BatchDocument(Body):
    """As it is documented: up to 1,000 events, stored in their order."""

    events: Annotated[list[BatchEvent], Field(max_length=settings.API_MAX_BATCH_EVENTS)]


# --- answers --------------------------------------------------------------------------------------------------------------------------

Money = Annotated[str, Field(description="Dollars, exact, as text.", examples=["0.012345678"])]


class Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class SessionFacts(Answer):
    """What a writer is told of a session: whose it is and how it stands, never what was said in it."""

    id: str
    channel: str
    key: str
    user_id: str
    agent: str
    triggered_by: str | None
    created_at: datetime
    last_message_at: datetime
    closed_at: datetime | None
    is_closed: bool
    is_archived: bool
    message_count: int
    total_turns: int


class OpenedAnswer(Answer):
    session_id: str
    created: bool
    closed_session_id: str | None = Field(description="The one before, which was idle too long and was closed by this call: export it.")
    session: SessionFacts


class ResolvedAnswer(Answer):
    action: Literal["continue", "new"]
    session_id: str | None
    closed_session_id: str | None


class SessionAnswer(Answer):
    session: SessionFacts


class MessageAnswer(Answer):
    session_id: str
    message_id: int
    created: bool = Field(description="false: it was stored before")


class UsageAnswer(Answer):
    session_id: str
    usage_id: int
    turn: int
    cost_usd: Money | None
    cost_source: Literal["reported", "computed", "unknown"]
    created: bool


class CompactionAnswer(Answer):
    session_id: str
    compaction_id: int
    created: bool


class TurnAnswer(Answer):
    session_id: str
    created: bool = Field(description="whether this call opened the session")
    closed_session_id: str | None
    messages: list[MessageAnswer]
    usage: list[UsageAnswer]


class FieldError(Answer):
    field: str
    detail: str


class ProblemAnswer(BaseModel):
    """RFC 9457. `code` is stable and for programs, `detail` is for people, `field` is what was at fault."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None
    known_channels: list[str] = Field([], description="with unknown_channel")
    session_id: str = Field("", description="with session_already_open: the one that is open")
    errors: list[FieldError] = Field([], description="of several fields, each")


class BatchResult(BaseModel):
    status: int = Field(description="As of the event's own call: 201 new, 200 again or nothing new, 4xx refused.")
    session_id: str | None = None
    created: bool | None = Field(None, description="of an open or a turn: whether it opened the session")
    closed_session_id: str | None = None
    error: ProblemAnswer | None = None


class BatchAnswer(Answer):
    results: list[BatchResult] = Field(description="One for each event, in their order.")
    stored: int
    repeated: int
    refused: int


class SessionRow(SessionFacts):
    """A session as a reader sees it."""

    title: str
    project: str
    git_branch: str
    tags: list[str]
    archived_at: datetime | None
    is_read: bool
    tool_call_count: int
    error_count: int
    model: str
    input_tokens: int = Field(description="The uncached part.")
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    total_input_tokens: int
    priced_tokens: int
    unpriced_turns: int
    cost_usd: Money | None = Field(description="null: there are calls, and none of them has a known price")


class SessionDetail(SessionRow):
    summary: str
    extra: dict[str, Any]


class SessionsAnswer(Answer):
    sessions: list[SessionRow]
    next_cursor: str | None = Field(description="For `after`; null on the last page.")
    searched_to: str | None = Field(
        description="Where a search for costs, a tag, text or in another order stopped before the end: for `after`, to go on."
    )


class Message(Answer):
    id: int
    role: Literal[ROLES]  # type: ignore[valid-type]
    content: str
    timestamp: datetime
    received_at: datetime
    agent: str
    subagent_id: str
    response_id: str
    tool_name: str
    tool_call_id: str
    is_error: bool
    extra: dict[str, Any]


class MessagesAnswer(Answer):
    messages: list[Message]
    next_cursor: str | None


class UsageRecord(Answer):
    id: int
    turn: int
    model: str
    provider: str
    user_id: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    cost_usd: Money | None
    cost_source: Literal["reported", "computed", "unknown"]
    timestamp: datetime
    subagent_id: str
    response_id: str
    extra: dict[str, Any]


class Totals(Answer):
    total_input_tokens: int = Field(description="input + cache read + cache write")
    total_output_tokens: int
    total_cache_read: int
    total_cache_write: int
    total_cost_usd: Money | None
    total_turns: int
    input_tokens: int = Field(description="The uncached part.")
    priced_tokens: int
    unpriced_turns: int


class SessionUsageAnswer(Totals):
    records: list[UsageRecord]
    next_cursor: str | None


class UserCost(Totals):
    user_id: str


class ModelCost(Totals):
    model: str


class DayModelCost(Answer):
    model: str
    cost_usd: Money | None


class DayCost(Answer):
    date: str
    total_cost_usd: Money | None
    by_model: list[DayModelCost]


class ToolUse(Answer):
    tool_name: str
    invocations: int
    errors: int


class CostsAnswer(Totals):
    time_zone: str = Field(description="The zone in which days are cut.")
    by_user: list[UserCost] | None = Field(None, description="Dearest first; null when another split was asked for.")
    by_model: list[ModelCost] | None = None
    by_day: list[DayCost] | None = Field(None, description="Oldest first.")
    by_tool: list[ToolUse] | None = Field(None, description="Most used first.")
