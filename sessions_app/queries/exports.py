"""A whole session, row by row, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sessions_app.models import Compaction, Message, Session, UsageRecord
from sessions_app.queries import reading
from sessions_app.queries.reading import Pairs, Window
from sessions_app.queries.transcripts import message_page, usage_page

PAGE = 500  # rows
PAGE_CHARACTERS = 2_000_000  # of messages held at once, unless one alone is longer


def all_messages(session: Session) -> Iterator[Message]:
    """Yield the messages in order of storing, whole."""
    after: int | None = 0
    while after is not None:
        page = message_page(session, after=after, limit=PAGE, max_characters=PAGE_CHARACTERS)
        yield from page.rows
        after = page.next_cursor


def all_usage(session: Session) -> Iterator[UsageRecord]:
    """Yield the model calls in order of storing."""
    after: int | None = 0
    while after is not None:
        page = usage_page(session, after=after, limit=PAGE)
        yield from page.rows
        after = page.next_cursor


def all_compactions(session: Session) -> Iterator[Compaction]:
    """Yield the compactions in order of storing."""
    after = 0
    while rows := list(Compaction.objects.filter(session=session, pk__gt=after).order_by("pk")[:50]):
        yield from rows
        after = rows[-1].pk


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window of one thread with what belongs to its messages: the other halves of its calls, and its model calls by response id."""

    window: Window
    pairs: Pairs
    usage: dict[str, UsageRecord]


def stretches(session: Session, thread: str = "") -> Iterator[Stretch]:
    """Yield one thread from its beginning to its end, in order of time, as the transcript reads it: its long texts are cut, see `whole`."""
    window = reading.window(session, thread=thread)
    while True:
        yield Stretch(window, reading.pairs(session, window.messages), reading.usage_of(session, window.messages))
        if window.after is None:
            return
        window = reading.window(session, thread=thread, newer=window.after)


def whole(message: Message) -> Message:
    """Return a message of a stretch with its whole text; a query where it was cut. One at a time, so that the memory stays bounded."""
    if getattr(message, "characters", 0) <= len(message.content):
        return message
    return Message.objects.get(pk=message.pk)


def whole_summary(compaction: Compaction) -> str:
    """Return a compaction's whole summary; a query where it was cut."""
    if len(compaction.summary) < reading.PROSE_CHARACTERS:
        return compaction.summary
    return Compaction.objects.get(pk=compaction.pk).summary


def threads(session: Session) -> Iterator[str]:
    """Yield the ids of all sub-agents of a session."""
    rows = Message.objects.filter(session=session).exclude(subagent_id="").order_by("subagent_id")
    yield from rows.values_list("subagent_id", flat=True).distinct().iterator()
