"""What the operator's commands do to many sessions at once: close the stale ones, rebuild cached numbers, remove the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import Count, F, Max, Min, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from sessions_app import day_rows, session_groups
from sessions_app.events import Event
from sessions_app.models import Channel, Message, Session, UsageRecord
from sessions_app.services.lifecycle import AUTO_CLOSED, MAX_GAP_MINUTES, change, channel_named
from sessions_app.services.transcript import store_new_sessions

BATCH = 500  # sessions in one transaction: well below 100 ms of write lock
Stop = Callable[[], bool]


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class CloseResult:
    """session_ids: what was closed, or would be. stopped: whether the caller asked to stop before the end."""

    session_ids: list[UUID]
    by_channel: dict[str, int]
    stopped: bool


def close_stale_sessions(
    *,
    channel: str | None = None,
    older_than_minutes: int | None = None,
    dry_run: bool = False,
    should_stop: Stop = never,
    now: datetime | None = None,
) -> CloseResult:
    """Close open sessions idle for their channel's gap or longer, with the summary of resolve_session.
    older_than_minutes: this instead of each channel's gap, and then channels without a gap too. In batches, each in its own transaction; two runs at
    once close each session once. Raises UnknownChannel."""
    now = now or timezone.now()
    channels = [channel_named(channel)] if channel else list(Channel.objects.all())
    closed: list[UUID] = []
    by_channel: dict[str, int] = {}
    for row in channels:
        gap = row.gap_minutes if older_than_minutes is None else older_than_minutes
        if gap is None:
            continue
        stale = Session.objects.filter(
            channel=row, closed_at=None, last_message_at__lte=now - timedelta(minutes=min(gap, MAX_GAP_MINUTES))
        ).order_by("last_message_at", "pk")
        if dry_run:
            found = list(stale.values_list("pk", flat=True))
            closed += found
            by_channel[row.slug] = len(found)
            continue
        while True:
            if should_stop():
                return CloseResult(closed, by_channel, stopped=True)
            with day_rows.writing() as tally:
                some = list(
                    stale.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked).values_list("pk", flat=True)[
                        :BATCH
                    ]
                )
                # A session that spoke again after it was chosen is not stale any more: the filter is asked once more while it is locked.
                stale.order_by().filter(pk__in=some).update(closed_at=now, summary=AUTO_CLOSED)
                session_groups.place_all(some, tally)
            if not some:
                break
            closed += some
            by_channel[row.slug] = by_channel.get(row.slug, 0) + len(some)
    return CloseResult(closed, by_channel, stopped=False)


def store_demo(batch: Sequence[tuple[Session, list[Event]]], *, now: datetime | None = None) -> None:
    """Store new demo sessions, whose own facts are set, with all their events, in one transaction. What is written of an event, its price, the
    sessions' numbers and the day rows come from the same code as everybody's; only the sessions themselves are inserted in bulk.
    Raises the first refusal, and then stores nothing."""
    with day_rows.writing():
        for result in store_new_sessions(batch, now=now):
            for refusal in result.refused:
                raise refusal.error


def remove_demo(*, should_stop: Stop = never, progress: Callable[[int], None] | None = None) -> int:
    """Delete the demo sessions with all that belongs to them, and take their numbers out of the day rows. Returns how many."""
    removed = 0
    while not should_stop():
        with day_rows.writing() as tally:
            some = list(Session.objects.filter(is_demo=True).order_by("pk")[:BATCH])
            if not some:
                break
            names = {session.pk: day_rows.session_names(session) for session in some}
            for record in UsageRecord.objects.filter(session__in=some).iterator():
                tally.add(*day_rows.usage_entry(names[record.session_id], record), times=-1)
            for message in (
                Message.objects.filter(session__in=some, role__in=("tool_use", "tool_result")).defer("content", "extra").iterator()
            ):
                if entry := day_rows.tool_entry(names[message.session_id], message):
                    tally.add(*entry, times=-1)
            session_groups.take_away(list(names), tally)
            Session.objects.filter(pk__in=list(names)).delete()
        removed += len(some)
        if progress:
            progress(removed)
    day_rows.delete_empty()
    return removed


# --- recount --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """A cached number that was wrong. where: the table, and the row in words."""

    where: str
    column: str
    cached: object
    counted: object


@dataclass(slots=True)
class RecountResult:
    """differences: what was wrong, the first MAX_DIFFERENCES of them; total: how many there were. stopped: the caller asked to stop before the end."""

    sessions: int = 0
    day_rows: int = 0
    total: int = 0
    stopped: bool = False
    differences: list[Difference] = field(default_factory=list)

    def note(self, difference: Difference) -> None:
        self.total += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(difference)


MAX_DIFFERENCES = 1000


def recount(
    *, time_zone: str | None = None, dry_run: bool = False, should_stop: Stop = never, progress: Callable[[int], None] | None = None
) -> RecountResult:
    """Rebuild every cached number from the records, and say what differed. time_zone: cut the days anew in this zone, and keep it in the store.
    Writers may go on meanwhile: each batch of sessions, and then the day tables, are locked while they are compared.
    Raises WrongTimeZone when the store's zone is another than TIME_ZONE and none is given."""
    if time_zone is None:
        day_rows.check_time_zone()
    result = RecountResult()
    for some in _batches_of_sessions():
        if should_stop():
            result.stopped = True
            return result
        with day_rows.writing() as tally:
            _recount_sessions(some, result, dry_run, tally)
        result.sessions += len(some)
        if progress:
            progress(result.sessions)
    if time_zone:
        # All of them or none: half of the days in one zone and half in the other would add up to nothing.
        with transaction.atomic():
            _recount_days(ZoneInfo(time_zone), result, dry_run, should_stop)
            if result.stopped:
                transaction.set_rollback(True)
            elif not dry_run:
                day_rows.keep_time_zone(time_zone, replace=True)
    else:
        _recount_days(day_rows.business_zone(), result, dry_run, should_stop)
    if not result.stopped:
        with transaction.atomic():
            for where, column, cached, true in session_groups.compare_and_replace(dry_run=dry_run):
                result.note(Difference(where, column, cached, true))
    return result


def rebuild_numbers(session_ids: Sequence[UUID]) -> None:
    """Rebuild the cached numbers of these sessions from their records, for a caller that has moved or removed some; the day rows are its own business."""
    with day_rows.writing() as tally:
        _recount_sessions(list(session_ids), RecountResult(), dry_run=False, tally=tally)


def _batches_of_sessions() -> Iterator[list[UUID]]:
    last: UUID | None = None
    while True:
        rows = Session.objects.order_by("pk")
        some = list((rows.filter(pk__gt=last) if last else rows).values_list("pk", flat=True)[:BATCH])
        if not some:
            return
        yield some
        last = some[-1]


def _recount_sessions(ids: list[UUID], result: RecountResult, dry_run: bool, tally: day_rows.Tally) -> None:
    sessions = list(Session.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"))
    said: dict[UUID, Any] = {
        row["session_id"]: row
        for row in Message.objects.filter(session_id__in=ids)
        .values("session_id")
        .annotate(
            count=Count("pk"), calls=Count("pk", filter=Q(role="tool_use")), errors=Count("pk", filter=Q(role="tool_result", is_error=True))
        )
        .order_by()
    }
    main = UsageRecord.objects.filter(session=OuterRef("session"), subagent_id="").order_by("-pk").values("model")[:1]
    first = UsageRecord.objects.filter(session=OuterRef("session")).order_by("pk").values("model")[:1]
    priced = Q(cost_usd__isnull=False)
    spent: dict[UUID, Any] = {
        row["session_id"]: row
        for row in UsageRecord.objects.filter(session_id__in=ids)
        .values("session_id")
        .annotate(
            total_turns=Count("pk"),
            unpriced_turns=Count("pk", filter=~priced),
            last=Max("turn"),
            input=Sum("input_tokens"),
            output=Sum("output_tokens"),
            cache_read=Sum("cache_read_tokens"),
            cache_write=Sum("cache_write_tokens"),
            priced=Sum(F("input_tokens") + F("output_tokens") + F("cache_read_tokens") + F("cache_write_tokens"), filter=priced),
            cost=Sum("cost_usd"),
            newest=Coalesce(Subquery(main), Subquery(first)),
        )
        .order_by()
    }
    for session in sessions:
        words, money = said.get(session.pk, {}), spent.get(session.pk, {})
        counted = {
            "message_count": words.get("count", 0) + session.touch_count,
            "tool_call_count": words.get("calls", 0),
            "error_count": words.get("errors", 0),
            "total_turns": money.get("total_turns", 0),
            "unpriced_turns": money.get("unpriced_turns", 0),
            "last_turn": money.get("last", 0),
            "input_tokens": money.get("input", 0),
            "output_tokens": money.get("output", 0),
            "cache_read_tokens": money.get("cache_read", 0),
            "cache_write_tokens": money.get("cache_write", 0),
            "priced_tokens": money.get("priced") or 0,
            "cost_usd": money.get("cost") or 0,
            "model": money.get("newest", ""),
        }
        wrong = {column: value for column, value in counted.items() if getattr(session, column) != value}
        for column, value in wrong.items():
            result.note(Difference(f"session {session.pk}", column, getattr(session, column), value))
        for column, value in wrong.items():
            setattr(session, column, value)
        misplaced = session_groups.misplaced(session)
        for column, (old, new) in misplaced.items():
            result.note(Difference(f"session {session.pk}", column, old, new))
        if (wrong or misplaced) and not dry_run:
            change(session, tally, **wrong)
    for pk, (cached_tags, counted_tags) in session_groups.compare_tags(ids).items():
        result.note(Difference(f"session {pk}", "tags", cached_tags, counted_tags))
        if not dry_run:
            session_groups.index_tags([pk])


def _recount_days(zone: ZoneInfo, result: RecountResult, dry_run: bool, should_stop: Stop) -> None:
    """Compare and mend a day after the other, each in its own transaction: the whole of a large store at once would keep writers waiting for
    minutes, and take a gigabyte."""
    for day in _days(zone):
        if should_stop():
            result.stopped = True
            return
        with transaction.atomic():
            day_rows.lock_tables()
            counted = _count_day(day, zone)
            result.day_rows += len(counted.rows())
            for where, column, cached, true in day_rows.compare_and_replace(day, counted, dry_run=dry_run):
                result.note(Difference(where, column, cached, true))


def _days(zone: ZoneInfo) -> list[date]:
    """Return the days that have records or day rows. A day that begins while this runs is written whole by whoever begins it."""
    days = day_rows.stored_days()
    for rows in (UsageRecord.objects.all(), Message.objects.exclude(tool_name="")):
        after: datetime | None = None
        while first := (rows if after is None else rows.filter(timestamp__gte=after)).aggregate(first=Min("timestamp"))["first"]:
            day = first.astimezone(zone).date()
            days.add(day)
            after = day_rows.day_start(day_rows.next_day(day), zone)
    return sorted(days)


def _count_day(day: date, zone: ZoneInfo) -> day_rows.Tally:
    counted = day_rows.Tally()
    span = {"timestamp__gte": day_rows.day_start(day, zone), "timestamp__lt": day_rows.day_start(day_rows.next_day(day), zone)}
    names = ("session__user_id", "session__channel_id", "session__agent", "session__project", "session__triggered_by")
    usage = (
        UsageRecord.objects.filter(**span)
        .values_list(*names, "user_id", "model", "cost_source")
        .annotate(*(Sum(column) for column in day_rows.USAGE_MEASURES[1:]), turns=Count("pk"))
        .order_by()
    )
    for owner, channel, agent, project, triggered_by, user_id, model, cost_source, *sums in usage.iterator(chunk_size=2000):
        *tokens, cost, turns = sums
        fact = day_rows.UsageFact(day, owner, channel, agent, project, triggered_by or "", user_id, model, cost_source)
        counted.add(fact, (turns, *tokens, day_rows.to_nano(cost or 0)))
    is_call, is_error = Q(role="tool_use"), Q(role="tool_result", is_error=True)
    tools = (
        Message.objects.filter(is_call | is_error, **span)
        .exclude(tool_name="")
        .values_list(*names, "tool_name")
        .annotate(calls=Count("pk", filter=is_call), errors=Count("pk", filter=is_error))
        .order_by()
    )
    for owner, channel, agent, project, triggered_by, tool_name, calls, errors in tools.iterator(chunk_size=2000):
        counted.add(day_rows.ToolFact(day, owner, channel, agent, project, triggered_by or "", tool_name), (calls, errors))
    return counted
