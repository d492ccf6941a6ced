"""The operations under /api/v1/: the door (token, limits, JSON) is behind them; each calls a write or a query, and answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from ninja import Query, Router
from ninja.security import HttpBearer
from pydantic import Field

from sessions_app import exporting, queries
from sessions_app.api import answers, batch, schema, writes
from sessions_app.api.auth import Caller, caller_of
from sessions_app.api.limits import read_body
from sessions_app.api.problems import Problem, json_response
from sessions_app.api.schema import ProblemAnswer
from sessions_app.day_rows import day_start
from sessions_app.errors import SessionNotFound
from sessions_app.models import Session
from sessions_app.queries import cursors
from sessions_app.services.cleaning import is_storable_time
from sessions_app.services.lifecycle import channel_named

MAX_LIMIT = 200  # sessions on a page
MAX_ROWS = 1000  # messages or model calls on a page
LAST_NUMBER = 2**63 - 1


class Door(HttpBearer):
    """A bearer token with a scope; for a write also the body, read within its limits before anything looks at it."""

    def __init__(self, scope: Literal["read", "write"]) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Caller:
        caller = caller_of(request, self.scope)
        if self.scope == "write" and read_body(request) and not is_json(request.content_type or ""):
            raise Problem(
                415,
                "wrong_content_type",
                f"Content-Type is {(request.content_type or 'missing')[:80]!r}; send application/json.",
                field="Content-Type",
            )
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Any:  # what HttpBearer calls, if __call__ were its own
        raise NotImplementedError


def is_json(content_type: str) -> bool:
    return content_type == "application/json" or (content_type.startswith("application/") and content_type.endswith("+json"))


writer, reader = Door("write"), Door("read")
router = Router()

NOT_ALLOWED = dict.fromkeys((401, 403, 429, 503), ProblemAnswer)
BAD_BODY = {**NOT_ALLOWED, **dict.fromkeys((400, 409, 413, 415, 422), ProblemAnswer)}
BAD_WRITE = {**BAD_BODY, 404: ProblemAnswer}
BAD_READ = {**NOT_ALLOWED, 404: ProblemAnswer, 422: ProblemAnswer}
BAD_QUERY = {**NOT_ALLOWED, 422: ProblemAnswer}

Word = Annotated[str, Field(max_length=255, pattern=r"^[^\x00]*$")]
Path = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
Trigger = Annotated[str, Field(max_length=260, pattern=r"^(|person|heartbeat|cron|cron:[^\x00]+)$")]
Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000_000)]
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2200, 1, 1))]


def answered(
    request: HttpRequest, what: str, body: Any, action: Callable[[Caller, datetime], tuple[int, answers.JSON]], session_id: str = ""
) -> HttpResponse:
    """Do what leaves no row with its event id, once, and answer it."""
    caller, now = called(request), timezone.now()
    event_id = event_id_of(request, body)
    done = writes.settled(lambda: writes.once(caller, event_id, what, body, lambda: action(caller, now), now, session_id))
    return response_of(done)


def stored(request: HttpRequest, body: schema.Event, write: Callable[..., writes.Done], session_id: str) -> HttpResponse:
    """Store one event of a session, and answer it."""
    caller, now = called(request), timezone.now()
    event_id = event_id_of(request, body)
    return response_of(writes.settled(lambda: write(caller, session_id, body, event_id, now)))


def response_of(done: writes.Done) -> HttpResponse:
    response = json_response(done.status, done.body)
    if done.replayed:
        response["Idempotent-Replayed"] = "true"
    return response


def called(request: HttpRequest) -> Caller:
    caller: Caller = request.auth  # type: ignore[attr-defined]  # Door's answer
    return caller


def event_id_of(request: HttpRequest, body: schema.Event | None) -> str | None:
    """Return the event's id: from the body, else from the header. Raises Problem when the two differ."""
    header = request.META.get("HTTP_IDEMPOTENCY_KEY", "").strip()
    if len(header) > 255:
        raise Problem(422, "invalid_value", "Idempotency-Key: at most 255 characters.", field="Idempotency-Key")
    own = body.event_id if body else None
    if header and own and header != own:
        raise Problem(422, "invalid_value", "event_id and the header Idempotency-Key name two ids. Send one of them.", field="event_id")
    return own or header or None


def path_id(session_id: str) -> str:
    """Return the id of the path as it is written everywhere, so that two spellings of one id are one event; what is no id stays."""
    try:
        return str(writes.UUID(session_id))
    except ValueError:
        raise SessionNotFound(session_id) from None


# --- writing --------------------------------------------------------------------------------------------------------------------------


@router.post("/sessions/open", auth=writer, tags=["Sessions"], response={200: schema.OpenedAnswer, 201: schema.OpenedAnswer, **BAD_BODY})
def open_session(request: HttpRequest, body: schema.OpenBody) -> HttpResponse:
    """Continue the open session of (channel, key, user), or open one: in one step, however many call at once. One that was silent for longer than
    the gap is closed, and a new one opened."""
    return answered(request, "open", body, lambda caller, now: writes.open_session(caller, body, now))


@router.post("/sessions/resolve", auth=writer, tags=["Sessions"], response={200: schema.ResolvedAnswer, **BAD_BODY})
def resolve_session(request: HttpRequest, body: schema.ResolveBody) -> HttpResponse:
    """Find the open session, and close it when it was silent for too long; open none."""
    return answered(request, "resolve", body, lambda caller, now: writes.resolve_session(caller, body, now))


@router.post("/sessions", auth=writer, tags=["Sessions"], response={200: schema.SessionAnswer, 201: schema.SessionAnswer, **BAD_BODY})
def create_session(request: HttpRequest, body: schema.CreateBody) -> HttpResponse:
    """Open a new session. 409 session_already_open when there is one under this channel, key and user."""
    return answered(request, "create", body, lambda caller, now: writes.create_session(caller, body, now))


@router.patch("/sessions/{session_id}", auth=writer, tags=["Sessions"], response={200: schema.SessionAnswer, **BAD_WRITE})
def update_session(request: HttpRequest, session_id: str, body: schema.PatchBody) -> HttpResponse:
    """Change title, summary, tags, read, archived: what is named, all or nothing."""
    at = path_id(session_id)
    return answered(request, "update", body, lambda caller, now: writes.update_session(caller, at, body, now), at)


@router.post("/sessions/{session_id}/close", auth=writer, tags=["Sessions"], response={200: schema.SessionAnswer, **BAD_WRITE})
def close_session(request: HttpRequest, session_id: str, body: schema.CloseBody | None = None) -> HttpResponse:
    """Close the session, with a summary. Again is harmless; messages that come later are kept."""
    at, sent = path_id(session_id), body or schema.CloseBody.model_validate({})
    return answered(request, "close", sent, lambda caller, now: writes.close_session(caller, at, sent, now), at)


@router.post("/sessions/{session_id}/reopen", auth=writer, tags=["Sessions"], response={200: schema.SessionAnswer, **BAD_WRITE})
def reopen_session(request: HttpRequest, session_id: str, body: schema.PlainBody | None = None) -> HttpResponse:
    """Undo a close. 409 session_already_open when another session has taken its place."""
    at, sent = path_id(session_id), body or schema.PlainBody.model_validate({})
    return answered(request, "reopen", sent, lambda caller, now: writes.reopen_session(caller, at, now), at)


@router.post("/sessions/{session_id}/touch", auth=writer, tags=["Sessions"], response={200: schema.SessionAnswer, **BAD_WRITE})
def touch_session(request: HttpRequest, session_id: str, body: schema.PlainBody | None = None) -> HttpResponse:
    """Count activity that leaves no message; the gap begins anew."""
    at, sent = path_id(session_id), body or schema.PlainBody.model_validate({})
    return answered(request, "touch", sent, lambda caller, now: writes.touch_session(caller, at, now), at)


@router.post(
    "/sessions/{session_id}/messages",
    auth=writer,
    tags=["Events"],
    response={200: schema.MessageAnswer, 201: schema.MessageAnswer, **BAD_WRITE},
)
def save_message(request: HttpRequest, session_id: str, body: schema.MessageBody) -> HttpResponse:
    """Store one message, whole. A closed session keeps it and stays closed."""
    return stored(request, body, writes.save_message, session_id)


@router.post(
    "/sessions/{session_id}/usage", auth=writer, tags=["Events"], response={200: schema.UsageAnswer, 201: schema.UsageAnswer, **BAD_WRITE}
)
def record_usage(request: HttpRequest, session_id: str, body: schema.UsageBody) -> HttpResponse:
    """Store the tokens and the cost of one model call."""
    return stored(request, body, writes.record_usage, session_id)


@router.post(
    "/sessions/{session_id}/compactions",
    auth=writer,
    tags=["Events"],
    response={200: schema.CompactionAnswer, 201: schema.CompactionAnswer, **BAD_WRITE},
)
def record_compaction(request: HttpRequest, session_id: str, body: schema.CompactionBody) -> HttpResponse:
    """Note that older messages were summed up."""
    return stored(request, body, writes.record_compaction, session_id)


@router.post("/turns", auth=writer, tags=["Events"], response={200: schema.TurnAnswer, 201: schema.TurnAnswer, **BAD_WRITE})
def save_turn(request: HttpRequest, body: schema.TurnBody) -> HttpResponse:
    """What an agent does in one turn: open or name the session, its new messages, its usage. In one transaction, all or nothing."""
    return answered(request, "turn", body, lambda caller, now: writes.save_turn(caller, body, now))


@router.post("/batch", auth=writer, tags=["Events"], response={200: schema.BatchAnswer, **BAD_BODY})
def store_batch(request: HttpRequest, body: schema.BatchBody) -> HttpResponse:
    """Up to 1,000 events, in their order, in one transaction. A bad one is refused with its reason, and the others are stored all the same. Give each
    an event_id, and the whole batch may be sent again."""
    caller, now = called(request), timezone.now()
    event_id = event_id_of(request, None)
    done = writes.settled(lambda: writes.once(caller, event_id, "batch", body, lambda: (200, batch.store(caller, body.events, now)), now))
    return response_of(done)


# --- reading --------------------------------------------------------------------------------------------------------------------------


@router.get("/sessions", auth=reader, tags=["Sessions"], response={200: schema.SessionsAnswer, **BAD_QUERY})
def list_sessions(
    request: HttpRequest,
    status: Annotated[
        Literal[queries.STATUSES], Query(description="inbox = not archived; stale = open, and idle beyond its channel's gap")  # type: ignore[valid-type]
    ] = "inbox",
    unread: Annotated[bool | None, Query()] = None,
    channel: Annotated[Word | None, Query()] = None,
    user_id: Annotated[Word | None, Query()] = None,
    agent: Annotated[Word | None, Query()] = None,
    project: Annotated[Path | None, Query()] = None,
    model: Annotated[Word | None, Query()] = None,
    trigger: Annotated[Trigger | None, Query(description="person, heartbeat, cron (any), or cron:NAME")] = None,
    has_errors: Annotated[bool | None, Query()] = None,
    cost_min: Annotated[Dollars | None, Query(description="Dollars, of what is priced.")] = None,
    cost_max: Annotated[Dollars | None, Query()] = None,
    since: Annotated[Day | None, Query(description="A day in the site's zone: sessions that were still going on then or later.")] = None,
    until: Annotated[Day | None, Query(description="Sessions that began before this day.")] = None,
    tag: Annotated[Word | None, Query()] = None,
    text: Annotated[Word | None, Query(description="A part of the title, the key or the summary.")] = None,
    sort: Annotated[Literal[queries.SORTS], Query(description="All falling.")] = "activity",  # type: ignore[valid-type]
    after: Annotated[str | None, Query(description="A page's next_cursor, or its searched_to.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
) -> HttpResponse:
    """The sessions that the token may see, newest activity first. Filters go together, as on the page of the inbox."""
    if after and cursors.decode(after) is None:
        raise bad_cursor()
    if channel:
        channel_named(channel)
    page = queries.session_page(
        queries.SessionFilter(
            status=status,
            unread=unread,
            channel=channel or "",
            user_id=user_id or "",
            agent=agent or "",
            project=project or "",
            model=model or "",
            trigger=trigger or "",
            has_errors=has_errors,
            cost_min=cost_min,
            cost_max=cost_max,
            since=since,
            until=until,
            tag=tag or "",
            text=text or "",
            sort=sort,
        ),
        viewer=called(request).viewer(),
        after=after or None,
        limit=limit,
    )
    rows = [answers.session_row(row) for row in page.rows]
    return json_response(200, {"sessions": rows, "next_cursor": page.next_cursor, "searched_to": page.searched_to})


@router.get("/sessions/{session_id}", auth=reader, tags=["Sessions"], response={200: schema.SessionDetail, **BAD_READ})
def get_session(request: HttpRequest, session_id: str) -> HttpResponse:
    """One session, archived or not."""
    session = queries.session_row(session_id, called(request).viewer())
    if session is None:
        raise SessionNotFound(session_id)
    session.refresh_from_db(fields=["summary", "extra"])  # which a row leaves behind
    return json_response(200, answers.session_detail(session))


@router.get(
    "/sessions/{session_id}/export",
    auth=reader,
    tags=["Sessions"],
    response=BAD_READ,
    openapi_extra={"responses": {200: {"description": "JSON Lines", "content": {exporting.JSON_LINES: {"schema": {"type": "string"}}}}}},
)
def export_session(request: HttpRequest, session_id: str) -> StreamingHttpResponse:
    """The whole session as JSON Lines, sent as it is read: `manage.py import_sessions` takes it in again, here or elsewhere."""
    pieces = exporting.export(session_of(request, session_id), "json", now=timezone.now())
    return StreamingHttpResponse(pieces, content_type=exporting.JSON_LINES)


@router.get("/sessions/{session_id}/messages", auth=reader, tags=["Events"], response={200: schema.MessagesAnswer, **BAD_READ})
def list_messages(
    request: HttpRequest,
    session_id: str,
    after: Annotated[int, Query(ge=0, le=LAST_NUMBER, description="A page's next_cursor.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 200,
) -> HttpResponse:
    """The messages in order of storing, whole. A page may hold fewer than `limit` where they are long."""
    page = queries.message_page(session_of(request, session_id), after=after, limit=limit)
    return json_response(200, {"messages": [answers.message(row) for row in page.rows], "next_cursor": text(page.next_cursor)})


@router.get("/sessions/{session_id}/usage", auth=reader, tags=["Costs"], response={200: schema.SessionUsageAnswer, **BAD_READ})
def session_usage(
    request: HttpRequest,
    session_id: str,
    after: Annotated[int, Query(ge=0, le=LAST_NUMBER, description="A page's next_cursor.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 200,
) -> HttpResponse:
    """What a session used: its totals, and its model calls in order of storing."""
    session = session_of(request, session_id)
    page = queries.usage_page(session, after=after, limit=limit)
    totals = answers.totals(queries.usage_summary(session))
    return json_response(
        200, {**totals, "records": [answers.usage_record(row) for row in page.rows], "next_cursor": text(page.next_cursor)}
    )


@router.get("/costs", auth=reader, tags=["Costs"], response={200: schema.CostsAnswer, **BAD_QUERY})
def costs(
    request: HttpRequest,
    since: Annotated[
        str | None, Query(description="From this moment on: a time with its zone, or a date (its day begins in the time zone of the site).")
    ] = None,
    until: Annotated[str | None, Query(description="Up to, and not including, this moment.")] = None,
    by: Annotated[Literal["user", "model", "day", "tool"] | None, Query(description="Only this split.")] = None,
) -> HttpResponse:
    """What all sessions that the token may see used and cost."""
    overview = queries.cost_overview(moment(since, "since"), moment(until, "until"), viewer=called(request).viewer())
    return json_response(200, answers.costs(overview, settings.TIME_ZONE, by))


def session_of(request: HttpRequest, session_id: str) -> Session:
    session = queries.get_session(session_id, viewer=called(request).viewer())
    if session is None:
        raise SessionNotFound(session_id)
    return session


def text(cursor: int | None) -> str | None:
    """A cursor is a word to a client, whatever it is to us."""
    return None if cursor is None else str(cursor)


def bad_cursor() -> Problem:
    return Problem(422, "invalid_value", "after: this is no cursor. Send a page's next_cursor as it was.", field="after")


def moment(value: str | None, field: str) -> datetime | None:
    """Return the time that a query names: with its zone, or a date, whose day begins in the site's zone. Raises Problem."""
    if not value:
        return None
    try:
        parsed = day_start(date.fromisoformat(value)) if len(value) <= 10 else datetime.fromisoformat(value)
        if parsed.tzinfo is None:
            raise Problem(422, "invalid_value", f"{field}: a time needs its zone, such as 2026-09-01T00:00:00Z.", field=field)
        found = parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if not is_storable_time(found):
        words = f"{field}: a time such as 2026-09-01T00:00:00Z, or a date such as 2026-09-01, between 1970 and 8999. In a URL, + is written %2B."
        raise Problem(422, "invalid_value", words, field=field)
    return found
