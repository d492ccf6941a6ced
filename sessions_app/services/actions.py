"""What a viewer does to many sessions at once, and its undo.

An action works through its sessions in batches, each a short transaction of its own with a constant number of statements (see `verbs`), so that
nobody waits long for the write lock. How far it is stands in its row: whoever calls `run_action` next goes on from there, after a restart as
well, and two who call it at once take turns. There is no job queue: the page calls it again until it is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone

from sessions_app import day_rows
from sessions_app.errors import ActionNotFound, CannotUndo, InvalidAction, SessionNotFound
from sessions_app.id_sets import IdBatch, among
from sessions_app.models import Action, ActionItem, ReadWatermark, SavedView, Session, SessionQuerySet, changes_what_they_see
from sessions_app.services.cleaning import storable
from sessions_app.services.facts import MAX_TAGS, clean_tags
from sessions_app.services.lifecycle import parse_id
from sessions_app.services.read_state import mark_all_read
from sessions_app.services.verbs import VERBS

if TYPE_CHECKING:
    from django.contrib.auth.models import User

READ_ALL = "read_all"  # the watermark's verb
MAX_SELECTED = 1000  # ids in one selection: more than a page shows
SECONDS = 2.0  # that one call works, unless it is told otherwise
DEADLOCK = "40P01"  # PostgreSQL's word for it
MAX_TRIES = 20  # of a batch that another writer came between
ACTIONS_KEPT = timedelta(days=90)  # the history of who did what; what undo needs goes earlier (UNDO_HOURS)
PRUNED_AT_ONCE = 2000  # rows in one transaction


# From a cursor ("" = the beginning) and a number to the next so many ids. Services know no queries, so whoever calls hands it in.
Source = Callable[[str, int], IdBatch]


@dataclass(frozen=True, slots=True)
class ActionResult:
    """How far an action, or its undo, is. words: whole sentences, for a toast. done, total: sessions looked at, of how many (None: not known).
    changed: what undo would give back; of an undo: what it gave back. refused: reason -> how many; reasons: not_there, not_yours, key_taken,
    too_many_tags. left_alone: of an undo, changed since by somebody. finished: False = call again."""

    action_id: int
    verb: str
    words: str
    done: int
    total: int | None
    changed: int
    refused: dict[str, int]
    left_alone: int
    finished: bool
    can_undo: bool
    is_undo: bool


class Pace:
    """How many sessions a batch has: as many as keep the write lock for about AIM, measured at each one. longest: seconds, of all so far."""

    AIM = 0.04  # seconds; the promise is 0.1, and one batch in many is slow for reasons of its own
    # Below LEAST most of the time is that of the statements themselves: smaller batches would only make more of them.
    FIRST, LEAST, MOST = 400, 250, 4000

    def __init__(self) -> None:
        self.size = self.FIRST
        self.longest = 0.0

    def learn(self, taken: float) -> None:
        """Choose the next size by the seconds that the last batch took."""
        self.longest = max(self.longest, taken)
        self.size = max(self.LEAST, min(self.MOST, int(self.size * max(0.25, min(2.0, self.AIM / taken)))))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction, and learn from how long it took from its first statement to the commit."""
        started: float | None = None
        try:
            with day_rows.writing():
                started = perf_counter()  # after BEGIN, which on SQLite waits for the lock
                yield
        finally:
            if started is not None:
                self.learn(perf_counter() - started)


def start_action(
    verb: str,
    *,
    viewer: User,
    session_ids: Sequence[UUID | str] | None = None,
    session_filter: dict[str, Any] | None = None,
    summary: str = "",
    tag: str = "",
    total: int | None = None,
    now: datetime | None = None,
) -> Action:
    """Write down what is to be done, to a selection or to everything that a filter matches; `run_action` does it. summary: of a close. tag: of tag and
    untag. total: how many the page said there are, where it knows. Raises InvalidAction."""
    if verb not in VERBS:
        raise InvalidAction(f"There is no action {str(verb)[:20]!r}. Actions: {', '.join(VERBS)}.", field="verb")
    if (session_ids is None) == (session_filter is None):
        raise InvalidAction("Say what it is for: a selection, or a filter.", field="session_ids")
    selection = None
    if session_ids is not None:
        if len(session_ids) > MAX_SELECTED:
            raise InvalidAction(f"{len(session_ids):,} sessions; at most {MAX_SELECTED:,} can be selected.", field="session_ids")
        try:
            selection = [str(one) for one in dict.fromkeys(map(parse_id, session_ids))]
        except SessionNotFound as error:
            raise InvalidAction(error.detail, field="session_ids") from None
        if not selection:
            raise InvalidAction("Nothing is selected.", field="session_ids")
        total = len(selection)
    value = ""
    if verb == "close":
        value = storable(summary)
    elif verb in ("tag", "untag"):
        (value,) = clean_tags([tag])
    return Action.objects.create(
        viewer=viewer,
        verb=verb,
        value=value,
        selection=selection,
        session_filter=session_filter,
        total=total,
        created_at=now or timezone.now(),
    )


def act(
    verb: str,
    *,
    viewer: User,
    session_ids: Sequence[UUID | str],
    summary: str = "",
    tag: str = "",
    seconds: float = SECONDS,
    now: datetime | None = None,
) -> ActionResult:
    """Do it to a selection: start and run in one call. Raises InvalidAction."""
    action = start_action(verb, viewer=viewer, session_ids=session_ids, summary=summary, tag=tag, now=now)
    return run_action(action.pk, viewer=viewer, seconds=seconds, now=now)


def run_action(
    action_id: int,
    *,
    viewer: User,
    source: Source | None = None,
    seconds: float = SECONDS,
    pace: Pace | None = None,
    now: datetime | None = None,
) -> ActionResult:
    """Go on with an action, or with its undo, for so many seconds (one batch at least); again until it is finished. source: where the ids of a
    filter's action come from. Raises ActionNotFound."""
    now = now or timezone.now()
    action = _own(action_id, viewer)
    pace = pace or Pace()
    deadline = monotonic() + seconds
    tries = 0
    while action.is_running:
        try:
            action = _undo_batch(action, viewer, pace, now) if action.undo_began_at else _do_batch(action, viewer, source, pace, now)
            tries = 0
        except (IntegrityError, OperationalError) as error:
            # Another session was opened under a key between the look and the write, or two writers waited for each other: the batch is
            # rolled back, and what the other wrote can be seen now.
            tries += 1
            is_deadlock = getattr(error.__cause__, "sqlstate", None) == DEADLOCK
            if tries > MAX_TRIES or not (is_deadlock or isinstance(error, IntegrityError)):
                raise
            pace.size = max(1, pace.size // 2)
        if monotonic() >= deadline:
            break
    return result_of(action, now)


def undo_action(
    action_id: int, *, viewer: User, seconds: float = SECONDS, pace: Pace | None = None, now: datetime | None = None
) -> ActionResult:
    """Give back what the action changed, where it still is as the action left it; one that still runs is stopped first. Again, or `run_action`, until it
    is finished. Raises ActionNotFound, CannotUndo."""
    now = now or timezone.now()
    with transaction.atomic():
        action = _locked(action_id, viewer)
        if action.undo_began_at is None:
            if not action.keeps_items or action.created_at <= now - undo_time():
                raise CannotUndo(f"It is longer ago than {settings.UNDO_HOURS} hours; what was before is not kept any more.")
            action.undo_began_at, action.is_running = now, True
            action.save(update_fields=["undo_began_at", "is_running"])
    return run_action(action.pk, viewer=viewer, seconds=seconds, pace=pace, now=now)


def mark_everything_read(*, viewer: User, now: datetime | None = None) -> ActionResult:
    """Mark the whole inbox read: the viewer's watermark, one row whatever the number of sessions."""
    now = now or timezone.now()
    with transaction.atomic():
        former = ReadWatermark.objects.select_for_update().filter(viewer=viewer).values_list("at", flat=True).first()
        mark_all_read(viewer, now=now)
        moved = former is None or former < now
        action = Action.objects.create(
            viewer=viewer,
            verb=READ_ALL,
            created_at=now,
            finished_at=now,
            former_watermark=former,
            changed=int(moved),
            words="Everything is marked read." if moved else "Everything was read already.",
            is_running=False,
        )
    return result_of(action, now)


def undo_time() -> timedelta:
    """Return how long an action can be undone."""
    return timedelta(hours=settings.UNDO_HOURS)


# --- a batch ----------------------------------------------------------------------------------------------------------------------------


def _do_batch(action: Action, viewer: User, source: Source | None, pace: Pace, now: datetime) -> Action:
    """Do the next batch, and return the action as it stands then."""
    if action.selection is not None:
        start = int(action.cursor or 0)
        end = start + pace.size
        batch = IdBatch([UUID(one) for one in action.selection[start:end]], str(end) if end < len(action.selection) else "")
    elif source is not None:
        batch = source(action.cursor, pace.size)
    else:
        raise InvalidAction("An action on a filter needs to be told where its sessions come from.")
    verb = VERBS[action.verb]
    with pace.transaction():
        current = _locked(action.pk, viewer)
        if current.cursor != action.cursor or current.undo_began_at is not None or not current.is_running:
            return current  # another caller was here meanwhile
        action = current
        refused = dict(action.refused)
        seen = may = _lock_sessions(Session.objects.visible_to(viewer), batch.ids)
        if verb.changes_session and not changes_what_they_see(viewer):
            may = list(Session.objects.changeable_by(viewer).filter(pk__in=among(seen)).values_list("pk", flat=True))
        for reason, count in (("not_there", len(batch.ids) - len(seen)), ("not_yours", len(seen) - len(may))):
            if count:
                refused[reason] = refused.get(reason, 0) + count
        if may:
            action.changed += verb.do(action, may, refused)
        action.done += len(batch.ids)
        action.refused = refused
        action.cursor = batch.next_cursor
        if not batch.next_cursor:
            action.finished_at, action.is_running = now, False
            action.total = action.done
        action.words = words_of(action)
        action.save(update_fields=["changed", "done", "refused", "cursor", "finished_at", "is_running", "total", "words"])
    return action


def _undo_batch(action: Action, viewer: User, pace: Pace, now: datetime) -> Action:
    """Give back the next batch, and return the action as it stands then."""
    items = ActionItem.objects.filter(action=action).order_by("session_id")
    if action.undo_cursor:
        items = items.filter(session_id__gt=action.undo_cursor)
    size = pace.size
    found = list(items.values_list("session_id", flat=True)[: size + 1])
    ids, more = found[:size], len(found) > size
    with pace.transaction():
        current = _locked(action.pk, viewer)
        if current.undo_cursor != action.undo_cursor or not current.is_running:
            return current
        action = current
        if action.verb == READ_ALL:
            given, of = int(_give_back_watermark(action)), action.changed
        else:
            there = _lock_sessions(Session.objects.all(), ids)
            given, of = (VERBS[action.verb].undo(action, there) if there else 0), len(ids)
        action.given_back += given
        action.left_alone += of - given
        if ids:
            action.undo_cursor = ids[-1]
        if not more:
            action.undone_at, action.is_running = now, False
            action.finished_at = action.finished_at or now
        action.words = words_of(action)
        action.save(update_fields=["given_back", "left_alone", "undo_cursor", "undone_at", "finished_at", "is_running", "words"])
    return action


def _give_back_watermark(action: Action) -> bool:
    mark = ReadWatermark.objects.filter(viewer=action.viewer, at=action.created_at)
    if not action.changed:
        return False
    if action.former_watermark is None:
        return bool(mark.delete()[0])
    return bool(mark.update(at=action.former_watermark))


def _own(action_id: int, viewer: User) -> Action:
    action = Action.objects.filter(pk=action_id, viewer=viewer).first()
    if action is None:
        raise ActionNotFound(action_id)
    action.viewer = viewer  # with the permissions that were asked for already
    return action


def _locked(action_id: int, viewer: User) -> Action:
    action = Action.objects.select_for_update(no_key=True).filter(pk=action_id, viewer=viewer).first()
    if action is None:
        raise ActionNotFound(action_id)
    action.viewer = viewer
    return action


def _lock_sessions(rows: SessionQuerySet, ids: Sequence[UUID]) -> list[UUID]:
    """Lock those of the sessions that are among the rows, in the order of their ids, as every writer of several does; return their ids."""
    return list(rows.filter(pk__in=among(ids)).select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk", flat=True))


# --- in words ---------------------------------------------------------------------------------------------------------------------------


def result_of(action: Action, now: datetime) -> ActionResult:
    is_undo = action.undo_began_at is not None
    return ActionResult(
        action_id=action.pk,
        verb=action.verb,
        words=action.words,
        done=action.given_back + action.left_alone if is_undo else action.done,
        total=action.changed if is_undo else action.total,
        changed=action.given_back if is_undo else action.changed,
        refused=dict(action.refused),
        left_alone=action.left_alone,
        finished=not action.is_running,
        can_undo=bool(action.changed) and not is_undo and action.keeps_items and action.created_at > now - undo_time(),
        is_undo=is_undo,
    )


# reason -> words for one and for several
REFUSED = {
    "not_there": ("1 is not there any more.", "{} are not there any more."),
    "not_yours": ("1 is not yours to change.", "{} are not yours to change."),
    "key_taken": (
        "1 could not be reopened: another session is open under its key.",
        "{} could not be reopened: another session is open under their key.",
    ),
    "too_many_tags": (f"1 has {MAX_TAGS} tags already.", f"{{}} have {MAX_TAGS} tags already."),
}
ALREADY = {
    "read": "read already",
    "unread": "unread already",
    "archive": "archived already",
    "restore": "not archived",
    "close": "closed already",
    "reopen": "open already",
    "tag": "tagged so already",
    "untag": "not tagged so",
}


def words_of(action: Action) -> str:
    """Tell what came of an action so far, or of its undo."""
    if action.undo_began_at is not None:
        return _undo_words(action)
    done = VERBS[action.verb].done
    if action.value and action.verb in ("tag", "untag"):
        done += f" \u201c{action.value}\u201d"
    if action.is_running:
        return f"{_sessions(action.changed)} {done} so far."
    if action.total == 1 and action.changed:
        return f"{done[0].upper()}{done[1:]}."
    refused = [
        (one if count == 1 else several).format(f"{count:,}")
        for reason, (one, several) in REFUSED.items()
        if (count := action.refused.get(reason, 0))
    ]
    sentences = [f"{_sessions(action.changed)} {done}."] if action.changed or not refused else []
    same = action.done - action.changed - sum(action.refused.values())
    if not action.changed and same and not refused:
        sentences = [f"Nothing to do: {'it was' if same == 1 else f'all {same:,} were'} {ALREADY[action.verb]}."]
    return " ".join(sentences + refused)


def _undo_words(action: Action) -> str:
    if action.verb == READ_ALL:
        return "Undone." if action.given_back else "Nothing was undone: more was marked read since."
    if action.is_running:
        return f"{_sessions(action.given_back)} given back so far."
    left = ""
    if action.left_alone:
        left = (
            f"{action.left_alone:,} {'was left alone: it has' if action.left_alone == 1 else 'were left alone: they have'} changed since."
        )
    if action.given_back == 1 and not left:
        return "Undone."
    return f"Undone: {_sessions(action.given_back)} as before. {left}".strip()


def _sessions(count: int) -> str:
    return f"{count:,} session{'' if count == 1 else 's'}"


# --- housekeeping -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PruneResult:
    """items: of actions that can no longer be undone. actions: older than ACTIONS_KEPT. views: deleted ones that nobody brought back."""

    items: int
    actions: int
    views: int


def prune_actions(*, should_stop: Callable[[], bool] = lambda: False, now: datetime | None = None) -> PruneResult:
    """Delete what undo no longer needs, and old history, in batches; safe to repeat, also twice at once."""
    now = now or timezone.now()
    items = actions = 0
    while not should_stop():
        action = Action.objects.filter(keeps_items=True, created_at__lte=now - undo_time()).order_by("created_at").first()
        if action is None:
            break
        some = list(ActionItem.objects.filter(action=action).order_by("session_id").values_list("pk", flat=True)[:PRUNED_AT_ONCE])
        items += ActionItem.objects.filter(pk__in=some).delete()[0] if some else 0
        if len(some) < PRUNED_AT_ONCE:
            Action.objects.filter(pk=action.pk).update(keeps_items=False, is_running=False, selection=None)
    while not should_stop():
        old = Action.objects.order_by("pk").values_list("pk", "created_at", "keeps_items")[:PRUNED_AT_ONCE]
        some = [pk for pk, created_at, keeps_items in old if created_at <= now - ACTIONS_KEPT and not keeps_items]
        if not some:
            break
        actions += Action.objects.filter(pk__in=some).delete()[0]
    views = SavedView.objects.filter(deleted_at__lte=now - undo_time()).delete()[0]
    return PruneResult(items, actions, views)
