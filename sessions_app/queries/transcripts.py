"""What was said in one session, and what it used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Length

from sessions_app.models import Compaction, Message, Session, UsageRecord
from sessions_app.money import ZERO
from sessions_app.queries.sessions import get_session

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_CHARACTERS = 20_000_000  # of the messages on one page: what a worker and a client can hold


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """A session's totals. Tokens whole; total_input_tokens = uncached input + cache read + cache write; total_cost_usd: dollars, the sum of the
    priced records; priced_tokens and unpriced_turns say how much of it that is."""

    total_input_tokens: int = 0
    total_output_tokens: int = 0
    total_cache_read: int = 0
    total_cache_write: int = 0
    total_cost_usd: Decimal = ZERO
    total_turns: int = 0
    input_tokens: int = 0
    priced_tokens: int = 0
    unpriced_turns: int = 0


@dataclass(frozen=True, slots=True)
class MessagePage:
    """rows: in order of storing. next_cursor: the last one's number; None on the last page."""

    rows: list[Message]
    next_cursor: int | None


@dataclass(frozen=True, slots=True)
class UsagePage:
    """The same of model calls."""

    rows: list[UsageRecord]
    next_cursor: int | None


def get_messages(session_id: UUID | str, *, viewer: User | None = None) -> QuerySet[Message]:
    """Return the session's messages in order of storing; none for an id that is not there for the viewer."""
    session = get_session(session_id, viewer=viewer)
    return Message.objects.none() if session is None else Message.objects.filter(session=session).order_by("pk")


def message_page(session: Session, *, after: int = 0, limit: int = 200, max_characters: int = MAX_CHARACTERS) -> MessagePage:
    """Return one page of the messages in order of storing, whole. A page ends early where its text, images included, would grow beyond max_characters;
    one message is always on it. after: the page before's next_cursor."""
    rows = Message.objects.filter(session=session, pk__gt=after).order_by("pk")
    characters = Length("content") + Length(Cast("extra", TextField()))
    found = list(rows.annotate(characters=characters).values_list("pk", "characters")[: limit + 1])
    total, last = 0, 0
    for number, (pk, characters) in enumerate(found[:limit]):
        total += characters
        if number and total > max_characters:
            break
        last = pk
    more = bool(found) and found[-1][0] > last
    return MessagePage(list(rows.filter(pk__lte=last)), last if more else None)


def usage_page(session: Session, *, after: int = 0, limit: int = 200) -> UsagePage:
    """Return one page of the session's model calls in order of storing. after: the page before's next_cursor."""
    found = list(UsageRecord.objects.filter(session=session, pk__gt=after).order_by("pk")[: limit + 1])
    more = len(found) > limit
    del found[limit:]
    return UsagePage(found, found[-1].pk if more else None)


def where_stored(source: str, kind: type[Message] | type[UsageRecord] | type[Compaction], event_ids: Collection[str]) -> dict[str, Session]:
    """Return the sessions in which the events of these ids are stored, by id; what is not stored is left out."""
    if not event_ids:
        return {}
    rows: QuerySet[Any] = kind._default_manager.filter(source=source, event_id__in=event_ids).exclude(event_id="")
    return {row.event_id: row.session for row in rows.select_related("session").only("event_id", "session")}


def get_message(session: Session, message_id: int) -> Message | None:
    """Return one message of this session, with its whole text."""
    return Message.objects.filter(session=session, pk=message_id).first()


def session_usage(session_id: UUID | str, *, viewer: User | None = None) -> UsageSummary:
    """Return the session's totals, from its cached numbers; zeros for an id that is not there for the viewer."""
    session = get_session(session_id, viewer=viewer)
    return UsageSummary() if session is None else usage_summary(session)


def usage_summary(session: Session) -> UsageSummary:
    """Return the totals of a session at hand."""
    return UsageSummary(
        total_input_tokens=session.total_input_tokens,
        total_output_tokens=session.output_tokens,
        total_cache_read=session.cache_read_tokens,
        total_cache_write=session.cache_write_tokens,
        total_cost_usd=session.cost_usd,
        total_turns=session.total_turns,
        input_tokens=session.input_tokens,
        priced_tokens=session.priced_tokens,
        unpriced_turns=session.unpriced_turns,
    )
