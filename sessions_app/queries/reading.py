"""What the reader of one session sees: a window of its messages, its landmarks, its sub-agents, what a search inside it finds.

The cost of each is bounded by what is shown, not by the session: windows and landmarks are read by keyset from an index, long texts are cut
by the database, and sums over the whole session read its model calls alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from django.db.models import BooleanField, Case, Count, F, IntegerField, Max, Min, Q, QuerySet, Sum, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Left, Length

from sessions_app import cut_json
from sessions_app.models import Compaction, Message, ReadMark, ReadWatermark, Session, UsageRecord
from sessions_app.money import ZERO
from sessions_app.queries import cursors
from sessions_app.queries.session_filter import SessionFilter
from sessions_app.queries.sessions import SORT_COLUMNS, matching

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MODES = ("all", "conversation", "tools", "errors")
TOOL_ROLES = ("tool_use", "tool_result")
# What a person said, in the words of its partial index: SQLite does not take one whose condition comes as parameters.
PROMPTS = RawSQL("role = 'user'", [], output_field=BooleanField())
# Messages of one window at most, and what they may weigh together, in elements of the page as guessed from their length.
WINDOW_MESSAGES = 120
WINDOW_WEIGHT = 2_600
# Messages shown before the place that was asked for.
LEAD = 12
# Characters of a message that are read for the page: of a call enough for the diff of an edit, of a result a little more than is shown.
CALL_CHARACTERS, RESULT_CHARACTERS, PROSE_CHARACTERS = 64_000, 16_000, 24_000
# A sub-agent's thread up to this long comes with its call; a longer one when it is opened.
SHORT_THREAD = 16
SHORT_THREADS = 64  # messages of them together in one window
# Prompts, errors, compactions and sub-agents in the outline, each at most.
LANDMARKS = 200
LANDMARK_CHARACTERS = 160
# Bars of the chart; more turns than that share one.
BARS = 60
# Matches of a search inside a session that are counted and stepped through.
MATCHES = 500
# What stands around every call and result.
FRAME = (
    '{"type": "tool_use", "id": "", "name": "", "input": {"type": "tool_result", "tool_use_id": "", "content": "", "is_error": true, false}'
)
SUBAGENTS = 500


class Place(NamedTuple):
    """Where a message stands in its thread."""

    timestamp: datetime
    pk: int

    @property
    def cursor(self) -> str:
        return cursors.encode(self.timestamp, self.pk)


def place_of(cursor: str) -> Place | None:
    """Return the place that a cursor names, None for a broken one."""
    found = cursors.decode(cursor)
    if found is None or not isinstance(found[0], datetime) or not found[1].isdecimal() or len(found[1]) > 18:
        return None
    return Place(found[0], int(found[1]))


def where(message: Message) -> Place:
    return Place(message.timestamp, message.pk)


@dataclass(slots=True)
class Window:
    """Messages of one thread in order of time, and the compactions among them.

    before: the place of the message in front of the first one, None where the thread begins. after: the last message's place where more
    follow, else None. last: the last message's place, or the one that was asked from when nothing follows it.
    """

    messages: list[Message]
    compactions: list[Compaction]
    before: Place | None = None
    after: Place | None = None
    last: Place | None = None


@dataclass(slots=True)
class SubAgentRow:
    """One sub-agent's thread. line: how it begins. call: the call that started it, where a log tells; parent: that call's own thread, "" the main one.
    cost: of its own model calls, total_cost: with those of the sub-agents it started; None = none of them has a price."""

    subagent_id: str
    message_count: int
    first: Place
    last_at: datetime
    line: str = ""
    agent_type: str = ""
    call_id: str = ""
    call: Message | None = None
    parent: str = ""
    turns: int = 0
    unpriced: int = 0
    tokens: int = 0
    cost: Decimal = ZERO
    total_cost: Decimal = ZERO
    models: list[str] = field(default_factory=list)
    children: list[SubAgentRow] = field(default_factory=list)


@dataclass(slots=True)
class Totals:
    """models: of every model call of the session, the most used first. by_thread: (calls, unpriced, tokens, cost, models) of each thread."""

    models: list[str]
    by_thread: dict[str, tuple[int, int, int, Decimal, list[str]]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One turn of the main thread, or several that share a bar: tokens of each bucket, on average of its calls."""

    first: int
    last: int
    calls: int
    cache_read: int
    cache_write: int
    input: int
    output: int

    @property
    def total(self) -> int:
        return self.cache_read + self.cache_write + self.input + self.output

    @property
    def context(self) -> int:
        return self.cache_read + self.cache_write + self.input


@dataclass(slots=True)
class Landmarks:
    """What one jumps to, of the whole session. Each at most LANDMARKS, around the place that was asked for; is_cut says of which there are more."""

    prompts: list[Message]
    errors: list[Message]
    compactions: list[Compaction]
    bars: list[Bar]
    cut: set[str] = field(default_factory=set)


class Match(NamedTuple):
    pk: int
    timestamp: datetime
    subagent_id: str


# --- messages, cut -----------------------------------------------------------------------------------------------------


def _cut(rows: QuerySet[Message]) -> QuerySet[Message]:
    most = Case(
        When(role="tool_use", then=Value(CALL_CHARACTERS)),
        When(role="tool_result", then=Value(RESULT_CHARACTERS)),
        default=Value(PROSE_CHARACTERS),
        output_field=IntegerField(),
    )
    return rows.defer("content").annotate(part=Left("content", most), whole=Length("content"))


def _fetch(rows: Iterable[Message]) -> list[Message]:
    """Return the rows of `_cut` with `content` cut and `characters` the whole length. What was JSON is JSON again."""
    found = list(rows)
    for message in found:
        part: str = message.part  # type: ignore[attr-defined]
        whole: int = message.whole  # type: ignore[attr-defined]
        if message.role in TOOL_ROLES and whole > len(part):
            part = cut_json.complete(part)
        message.content = part
        message.characters = whole  # type: ignore[attr-defined]
    return found


def _weight(message: Message) -> int:
    if message.role == "tool_result":
        return 4  # stands inside its call
    if message.role == "tool_use":
        return 36
    return 14 + len(message.content) // 60


def _thread(session: Session, thread: str, show: str) -> QuerySet[Message]:
    """Return the messages that a mode keeps of a thread; errors come of all threads together."""
    rows = Message.objects.filter(session=session)
    if show == "errors":
        return rows.filter(is_error=True)
    rows = rows.filter(subagent_id=thread)
    if show == "conversation":
        return rows.filter(role__in=("user", "assistant"))
    return rows.filter(role__in=TOOL_ROLES) if show == "tools" else rows


def _from(rows: QuerySet[Message], place: Place, *, inclusive: bool = False) -> QuerySet[Message]:
    tie = Q(timestamp=place.timestamp, **{"pk__gte" if inclusive else "pk__gt": place.pk})
    # the bare bound lets the index find the first row; the tie alone would be checked row by row
    return rows.filter(Q(timestamp__gt=place.timestamp) | tie, timestamp__gte=place.timestamp).order_by("timestamp", "pk")


def _until(rows: QuerySet[Message], place: Place) -> QuerySet[Message]:
    tie = Q(timestamp=place.timestamp, pk__lt=place.pk)
    return rows.filter(Q(timestamp__lt=place.timestamp) | tie, timestamp__lte=place.timestamp).order_by("-timestamp", "-pk")


def _fitting(messages: Sequence[Message], limit: int, most: int) -> int:
    """Return how many of the messages fit into a window: at most `limit` and of weight `most`, one always; no turn torn apart if that can be."""
    weight = count = 0
    for message in messages[:limit]:
        weight += _weight(message)
        if count and weight > most:
            break
        count += 1
    if count == len(messages):
        return count
    whole = count
    while whole and messages[whole].response_id and messages[whole - 1].response_id == messages[whole].response_id:
        whole -= 1
    return whole or count


def window(
    session: Session,
    *,
    thread: str = "",
    show: str = "all",
    at: Place | None = None,
    newer: Place | None = None,
    older: Place | None = None,
    from_end: bool = False,
    limit: int = WINDOW_MESSAGES,
) -> Window:
    """Return one window: around `at`, after `newer`, before `older`, the last one (from_end), or the first."""
    rows = _thread(session, thread, show)
    following: list[Message] = []
    preceding: list[Message] = []  # newest first
    if older is not None or from_end:
        back = _until(rows, older) if older is not None else rows.order_by("-timestamp", "-pk")
        preceding = _fetch(_cut(back)[: limit + 1])
    elif at is not None:
        following = _fetch(_cut(_from(rows, at, inclusive=True))[: limit + 1])
        preceding = _fetch(_cut(_until(rows, at))[: LEAD + 1])
    elif newer is not None:
        following = _fetch(_cut(_from(rows, newer))[: limit + 1])
    else:
        following = _fetch(_cut(rows.order_by("timestamp", "pk"))[: limit + 1])
    lead = WINDOW_WEIGHT // 4 if at is not None else 0
    ahead = _fitting(following, limit, WINDOW_WEIGHT - lead)
    behind = _fitting(preceding, LEAD, lead) if at is not None else _fitting(preceding, limit, WINDOW_WEIGHT)
    messages = [*reversed(preceding[:behind]), *following[:ahead]]
    found = Window(messages, [], before=newer, last=where(messages[-1]) if messages else newer)
    if behind < len(preceding):
        found.before = where(preceding[behind])
    if ahead < len(following):
        found.after = where(messages[-1])
    elif older is not None:
        found.after = where(messages[-1]) if messages else None
    if show == "all":
        found.compactions = _compactions(session, thread, found)
    return found


def _compactions(session: Session, thread: str, window: Window) -> list[Compaction]:
    """Return the compactions of a window: those after the message in front of it, up to its last one."""
    rows = Compaction.objects.filter(session=session)
    if window.before is not None:
        rows = rows.filter(timestamp__gt=window.before.timestamp)
    if window.after is not None:
        rows = rows.filter(timestamp__lte=window.after.timestamp)
    cut = rows.defer("summary").annotate(part=Left("summary", PROSE_CHARACTERS)).order_by("timestamp", "pk")
    found: list[Compaction] = [row for row in cut if row.extra.get("subagent_id", "") == thread]
    for row in found:
        row.summary = row.part  # type: ignore[attr-defined]
    return found


def short_threads(session: Session, rows: Iterable[SubAgentRow]) -> dict[str, list[Message]]:
    """Return the messages of those sub-agents that are short enough to come with their call, SHORT_THREADS messages together at most."""
    wanted, left = [], SHORT_THREADS
    for row in rows:
        if row.message_count <= min(SHORT_THREAD, left):
            wanted.append(row.subagent_id)
            left -= row.message_count
    found: dict[str, list[Message]] = {}
    if wanted:
        messages = Message.objects.filter(session=session, subagent_id__in=wanted).order_by("timestamp", "pk")
        for message in _fetch(_cut(messages)[:SHORT_THREADS]):
            found.setdefault(message.subagent_id, []).append(message)
    return found


@dataclass(slots=True)
class Pairs:
    """Calls and results, paired by id over the borders of a window. result_of: a call's pk -> its result; call_of: a result's pk -> its call,
    where that was loaded; answered: the pk of every result that has a call somewhere."""

    result_of: dict[int, Message]
    call_of: dict[int, Message]
    answered: set[int]


def pairs(session: Session, messages: Sequence[Message], *, with_calls: bool = False) -> Pairs:
    """Pair the calls and results among the messages, with the other half read where it stands elsewhere: results always, calls when asked.

    An id that was used again (a log that repeats itself) pairs its first call with its first result, and so on.
    """
    here = {message.pk: message for message in messages if message.role in TOOL_ROLES and message.tool_call_id}
    if not here:
        return Pairs({}, {}, set())
    ids = {message.tool_call_id for message in here.values()}
    # the exclusion names the partial index
    slim = Message.objects.filter(session=session, tool_call_id__in=ids).exclude(tool_call_id="").order_by("timestamp", "pk")
    calls: dict[tuple[str, str], list[int]] = {}
    results: dict[tuple[str, str], list[int]] = {}
    for pk, role, call_id, thread in slim.values_list("pk", "role", "tool_call_id", "subagent_id"):
        if role in TOOL_ROLES:
            (calls if role == "tool_use" else results).setdefault((call_id, thread), []).append(pk)
    paired = [both for key, some in calls.items() for both in zip(some, results.get(key, ()), strict=False)]
    missing = {result for call, result in paired if call in here and result not in here}
    if with_calls:
        missing |= {call for call, result in paired if result in here and call not in here}
    here |= {message.pk: message for message in _fetch(_cut(Message.objects.filter(pk__in=missing)))} if missing else {}
    return Pairs(
        result_of={call: here[result] for call, result in paired if result in here},
        call_of={result: here[call] for call, result in paired if call in here},
        answered={result for _, result in paired},
    )


def usage_of(session: Session, messages: Iterable[Message]) -> dict[str, UsageRecord]:
    """Return the model calls that wrote these messages, by response id."""
    responses = {message.response_id for message in messages if message.response_id}
    rows = UsageRecord.objects.filter(session=session, response_id__in=responses).exclude(response_id="").order_by("pk")
    return {record.response_id: record for record in rows}


def answer_before(session: Session, thread: str, place: Place | None) -> Message | None:
    """Return the last message in front of a place that a model wrote: what model was at work there."""
    if place is None:
        return None
    rows = Message.objects.filter(session=session, subagent_id=thread)
    earlier = Q(timestamp__lt=place.timestamp) | Q(timestamp=place.timestamp, pk__lte=place.pk)
    return (
        rows.filter(earlier, timestamp__lte=place.timestamp)
        .exclude(response_id="")
        .order_by("-timestamp", "-pk")
        .only("response_id")
        .first()
    )


# --- places ------------------------------------------------------------------------------------------------------------


def find_message(session: Session, pk: int) -> Message | None:
    """Return a message without its text; for a result its call, where the reader sees it."""
    slim = Message.objects.filter(session=session).only("timestamp", "subagent_id", "role", "tool_call_id")
    message = slim.filter(pk=pk).first()
    if message is None or message.role != "tool_result" or not message.tool_call_id:
        return message
    calls = slim.filter(role="tool_use", tool_call_id=message.tool_call_id, subagent_id=message.subagent_id)
    return calls.exclude(tool_call_id="").order_by("timestamp", "pk").first() or message


def message_of_turn(session: Session, turn: int) -> int | None:
    """Return the pk of the first message that a turn's model call wrote, or of the last one before it."""
    record = UsageRecord.objects.filter(session=session, turn=turn).order_by("pk").first()
    if record is None:
        return None
    rows = Message.objects.filter(session=session, subagent_id=record.subagent_id)
    # a turn's messages stand close before its end: those of one answer are few
    near = rows.filter(timestamp__lte=record.timestamp).order_by("-timestamp", "-pk").values_list("pk", "response_id")[:WINDOW_MESSAGES]
    found = list(near)
    own = [pk for pk, response_id in found if response_id and response_id == record.response_id]
    if own:
        return own[-1]
    later = rows.filter(timestamp__gte=record.timestamp).order_by("timestamp", "pk").values_list("pk", flat=True).first()
    return later if later is not None else (found[0][0] if found else None)


def last_read(session: Session, viewer: User) -> datetime | None:
    """Return how far this viewer has read the session, by our clock; None for never, and where it was put back to unread."""
    mark = ReadMark.objects.filter(viewer=viewer, session=session).first()
    watermark = ReadWatermark.objects.filter(viewer=viewer).values_list("at", flat=True).first()
    if mark is not None and mark.is_unread and (watermark is None or mark.at > watermark):
        return None
    known = [at for at in (mark.at if mark is not None else None, watermark) if at is not None]
    return max(known, default=None)


def last_seen(session: Session, read_at: datetime) -> int:
    """Return the pk of the newest message that was stored by then; 0 for none. Reads what is new since, from the end."""
    rows = Message.objects.filter(session=session, received_at__lte=read_at).order_by("-pk")
    return rows.values_list("pk", flat=True).first() or 0


def first_new(session: Session, seen: int) -> Message | None:
    """Return the first message, by time, of the main thread that was stored after `seen`."""
    rows = Message.objects.filter(session=session, subagent_id="", pk__gt=seen).order_by("pk")
    found = list(rows.only("timestamp", "subagent_id", "role", "tool_call_id")[:WINDOW_MESSAGES])
    return min(found, key=where, default=None)


# --- the whole session: landmarks, sub-agents, totals --------------------------------------------------------------------


def landmarks(session: Session, *, around: Place | None = None) -> Landmarks:
    """Return the outline of the whole session, around a place where it has more than is shown."""
    rows = Message.objects.filter(session=session)
    slim = ("timestamp", "role", "tool_name", "tool_call_id", "subagent_id", "extra")
    found = Landmarks([], [], [], [])

    def some(name: str, rows: QuerySet[Message]) -> list[Message]:
        rows = rows.only(*slim).annotate(line=Left("content", LANDMARK_CHARACTERS * 4))
        first: list[Message] = list(rows.order_by("timestamp", "pk")[: LANDMARKS + 1])
        if len(first) <= LANDMARKS:
            return first
        found.cut.add(name)
        if around is None or where(first[LANDMARKS // 2]) > around:
            return first[:LANDMARKS]
        half = LANDMARKS // 2
        return [*reversed(_until(rows, around)[:half]), *_from(rows, around, inclusive=True)[:half]]

    found.prompts = [row for row in some("prompts", rows.filter(PROMPTS, subagent_id="")) if not row.extra.get("is_meta")]
    found.errors = some("errors", rows.filter(is_error=True))
    compactions = Compaction.objects.filter(session=session).defer("summary").order_by("timestamp", "pk")[: LANDMARKS + 1]
    found.compactions = [row for row in compactions if not row.extra.get("subagent_id")]
    if len(found.compactions) > LANDMARKS:
        found.cut.add("compactions")
        del found.compactions[LANDMARKS:]
    found.bars = bars(session)
    return found


def bars(session: Session) -> list[Bar]:
    """Return the tokens of the main thread's model calls, in at most BARS bars."""
    if not session.last_turn:
        return []
    width = -(-session.last_turn // BARS)
    rows = (
        UsageRecord.objects.filter(session=session, subagent_id="")
        .annotate(bar=(F("turn") - 1) / Value(width))
        .values_list("bar")
        .annotate(
            Min("turn"),
            Max("turn"),
            Count("pk"),
            Sum("cache_read_tokens"),
            Sum("cache_write_tokens"),
            Sum("input_tokens"),
            Sum("output_tokens"),
        )
        .order_by("bar")
    )
    return [Bar(first, last, calls, *(int(total) // calls for total in totals)) for _, first, last, calls, *totals in rows]


def totals(session: Session) -> Totals:
    """Sum the session's model calls by thread and model."""
    rows = (
        UsageRecord.objects.filter(session=session)
        .values_list("subagent_id", "model")
        .annotate(
            calls=Count("pk"),
            unpriced=Count("pk", filter=Q(cost_source="unknown")),
            tokens=Sum(F("input_tokens") + F("cache_read_tokens") + F("cache_write_tokens") + F("output_tokens")),
            cost=Sum("cost_usd"),
        )
        .order_by()
    )
    models: dict[str, int] = {}
    threads: dict[str, tuple[int, int, int, Decimal, list[str]]] = {}
    for thread, model, calls, unpriced, tokens, cost in rows:
        models[model] = models.get(model, 0) + calls
        known = threads.get(thread, (0, 0, 0, ZERO, []))
        threads[thread] = (known[0] + calls, known[1] + unpriced, known[2] + int(tokens), known[3] + (cost or ZERO), [*known[4], model])
    return Totals(sorted(models, key=lambda model: (-models[model], model)), threads)


def subagents(session: Session, sums: Totals | None = None) -> dict[str, SubAgentRow]:
    """Return the session's sub-agents by id, in order of their beginning, with the call that started each.

    sums: of the session, where the caller has them. A log tells the call on the sub-agent's own messages (parent_tool_call_id) or on the call's
    result (subagent_id); some never tell.
    """
    threads = (
        Message.objects.filter(session=session)
        .exclude(subagent_id="")
        .values_list("subagent_id")
        .annotate(Count("pk"), Min("timestamp"), Min("pk"), Max("timestamp"))
        .order_by()
    )
    rows = [SubAgentRow(name, count, Place(first, pk), last) for name, count, first, pk, last in threads]
    found = {row.subagent_id: row for row in sorted(rows, key=lambda row: row.first)[:SUBAGENTS]}
    if not found:
        return {}
    firsts = Message.objects.filter(pk__in=[row.first.pk for row in found.values()]).annotate(line=Left("content", LANDMARK_CHARACTERS * 4))
    for name, extra, line in firsts.values_list("subagent_id", "extra", "line"):
        found[name].line = line
        found[name].call_id = _word(extra.get("parent_tool_call_id"))
        found[name].agent_type = _word(extra.get("agent_type"))
    results = Message.objects.filter(session=session, role="tool_result", extra__has_key="subagent_id")
    for call_id, extra in results.order_by("pk").values_list("tool_call_id", "extra"):
        if (row := found.get(_word(extra.get("subagent_id")))) is not None:
            row.call_id = row.call_id or call_id
            row.agent_type = row.agent_type or _word(extra.get("agent_type"))
    starters = {row.call_id or row.subagent_id for row in found.values()}
    calls = (
        Message.objects.filter(session=session, tool_call_id__in=starters, role="tool_use")
        .exclude(tool_call_id="")
        .order_by("-timestamp", "-pk")
    )
    by_id = {call.tool_call_id: call for call in _fetch(_cut(calls)[: 2 * SUBAGENTS])}
    sums = sums or totals(session)
    for row in found.values():
        row.turns, row.unpriced, row.tokens, row.cost, row.models = sums.by_thread.get(row.subagent_id, (0, 0, 0, ZERO, []))
        call = by_id.get(row.call_id or row.subagent_id)
        # one that is said to have started itself, or to belong to a thread that nobody knows, stands alone
        if call is not None and call.subagent_id != row.subagent_id and (not call.subagent_id or call.subagent_id in found):
            row.call, row.parent = call, call.subagent_id
            if row.parent:
                found[row.parent].children.append(row)
    for row in found.values():
        row.total_cost = _total(row, set())
    return found


def _total(row: SubAgentRow, seen: set[str]) -> Decimal:
    if row.subagent_id in seen:
        return ZERO
    seen.add(row.subagent_id)
    return row.cost + sum((_total(child, seen) for child in row.children), ZERO)


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


# --- search inside -------------------------------------------------------------------------------------------------------


def matches(session: Session, text: str) -> list[Match]:
    """Return the messages of all threads that contain the text, whatever its case, in order of time: MATCHES + 1 at most."""
    condition = Q()
    for words in _spellings(text):
        condition |= Q(content__icontains=words)
        if (inside := json.dumps(words, ensure_ascii=False)[1:-1]) != words:
            # a call and a result are kept as JSON, where a quote and a new line are written otherwise
            condition |= Q(role__in=TOOL_ROLES, content__icontains=inside)
    rows = Message.objects.filter(condition, session=session).order_by("timestamp", "pk")
    if text.lower() not in FRAME:
        return [Match(*row) for row in rows.values_list("pk", "timestamp", "subagent_id")[: MATCHES + 1]]
    # The words of the JSON around a call are nobody's: what was found there has to be found in what it holds as well.
    found = []
    for pk, timestamp, thread, role, content in rows.values_list("pk", "timestamp", "subagent_id", "role", "content").iterator(
        chunk_size=20
    ):
        if role not in TOOL_ROLES or text.lower() in _held(content).lower():
            found.append(Match(pk, timestamp, thread))
            if len(found) > MATCHES:
                break
    return found


def _held(content: str) -> str:
    """Return what a call or a result holds, as JSON text; content that is not our JSON as it stands."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(data, dict) or data.get("type") not in TOOL_ROLES:
        return content
    held = [data.get("name"), data.get("input")] if data["type"] == "tool_use" else [data.get("content")]
    return " ".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in held)


def _spellings(text: str) -> Collection[str]:
    # SQLite folds the case of ASCII letters alone
    return {text} if text.isascii() else {text, text.lower(), text.upper(), text.capitalize(), text.title()}


# --- the list around it --------------------------------------------------------------------------------------------------


def neighbours(session: Session, filter: SessionFilter, *, viewer: User | None, now: datetime) -> tuple[Session | None, Session | None]:
    """Return the sessions before and after this one in a list, each with its title; None at either end."""
    rows = matching(filter, viewer=viewer, now=now).only("title")
    column = SORT_COLUMNS[filter.sort]
    value = getattr(session, column)
    # the bare bound lets the index find the first row
    above = rows.filter(Q(**{f"{column}__gt": value}) | Q(**{column: value}, pk__gt=session.pk), **{f"{column}__gte": value})
    below = rows.filter(Q(**{f"{column}__lt": value}) | Q(**{column: value}, pk__lt=session.pk), **{f"{column}__lte": value})
    return above.order_by(column, "pk").first(), below.order_by(f"-{column}", "-pk").first()
