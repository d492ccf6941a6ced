"""The list's filters as a person sees them: the words of a filter, its chips, and the menu that adds one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from sessions_app import queries
from sessions_app.day_rows import day_of
from sessions_app.forms import LIST_PERIODS, SORT_WORDS, STATUS_WORDS, ListState, SessionFilterForm
from sessions_app.htmx import SignedInRequest, render_fragment, wants_fragment
from sessions_app.models import Channel
from sessions_app.queries import Facet, SessionFilter
from sessions_app.templatetags.sessionsite import day_text
from sessions_app.views.page import rail_context, render_page


def list_path(query: str) -> str:
    """Return the list's address. The whole inbox is named even where nothing has to be: a bare address is the viewer's default view."""
    return f"{reverse('sessions:list')}?{query or 'status=inbox'}"


def channels_of(rail: queries.RailCounts) -> dict[str, Channel]:
    """Return the channels that the viewer has sessions on, by slug."""
    return {channel.slug: channel for channel, _ in rail.channels}


def list_state(request: SignedInRequest, channels: Iterable[str], *, now: Any = None) -> ListState:
    """Return the list that the request's query string asks for; a POST has there the list it was sent from."""
    return SessionFilterForm(request.GET).chosen(set(channels), day_of(now or timezone.now()))


# --- chips ----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chip:
    """One restriction of the list. word: what is restricted; value: to what; query: the list without it."""

    word: str
    value: str
    query: str


def chips(state: ListState, channels: Mapping[str, Channel], today: date) -> list[Chip]:
    """Return every restriction of the list, each with the list without it."""
    filter, found = state.filter, []

    def add(word: str, value: str, **without: Any) -> None:
        found.append(Chip(word, value, state.query(**without)))

    if filter.status != "inbox":
        add("Status", STATUS_WORDS[filter.status].lower(), status="inbox")
    if filter.unread is not None:
        add("", "Unread" if filter.unread else "Read", unread=None)
    if filter.channel:
        add("Channel", channels[filter.channel].label if filter.channel in channels else filter.channel, channel="")
    for word, attribute in (("User", "user_id"), ("Agent", "agent"), ("Project", "project"), ("Model", "model")):
        if value := getattr(filter, attribute):
            add(word, value, **{attribute: ""})
    if filter.trigger:
        add("Started by", trigger_words(filter.trigger), trigger="")
    if filter.has_errors is not None:
        add("", "With errors" if filter.has_errors else "Without errors", has_errors=None)
    if filter.cost_min is not None or filter.cost_max is not None:
        add("Cost", cost_words(filter), cost_min=None, cost_max=None)
    if filter.since or filter.until:
        add("Active", LIST_PERIODS[state.period].lower() if state.period else date_words(filter, today), since=None, until=None)
    if filter.tag:
        add("Tag", filter.tag, tag="")
    if filter.text:
        add("Text", f"\u201c{filter.text}\u201d", text="")
    return found


def trigger_words(trigger: str) -> str:
    """Return a trigger as people say it."""
    return {"person": "a person", "cron": "any cron job", "heartbeat": "heartbeat"}.get(trigger, trigger.removeprefix("cron:"))


def cost_words(filter: SessionFilter) -> str:
    low, high = filter.cost_min, filter.cost_max
    if low is not None and high is not None:
        return f"{_dollars(low)} to {_dollars(high)}"
    return f"{_dollars(low)} or more" if low is not None else f"{_dollars(high)} or less" if high is not None else ""


def _dollars(amount: Decimal) -> str:
    """Return a bound as it was meant: $5, $0.50, $0.005. Only what is not whole has decimals, two at least."""
    whole, _, rest = f"{amount.normalize():f}".partition(".")
    return f"${int(whole):,}.{rest:0<2}" if rest else f"${int(whole):,}"


def date_words(filter: SessionFilter, today: date) -> str:
    """Return the days of the filter, the last one as people say it."""
    since, through = filter.since, filter.until and filter.until - timedelta(days=1)
    year = any(day is not None and day.year != today.year for day in (since, through))
    if since and through:
        return day_text(since, year=year) if since == through else f"{day_text(since, year=year)} to {day_text(through, year=year)}"
    if since:
        return f"since {day_text(since, year=year)}"
    return f"until {day_text(through, year=year)}" if through else ""


# --- the menu -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a filter. count: "12", "1,000+" or "" where it is not cheap; query: the list with it."""

    label: str
    count: str
    query: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The values of one filter. chosen: the words of the one that is set, ""."""

    key: str
    title: str
    options: list[Option]
    chosen: str


def groups(state: ListState, facets: Mapping[str, list[Facet]]) -> list[Group]:
    """Return what the menu offers: for each filter its values, the most frequent first."""
    made = []

    def add(key: str, title: str, attribute: str, values: Iterable[tuple[Any, str, str]]) -> None:
        current = getattr(state.filter, attribute)
        options = [Option(label, count, state.query(**{attribute: value}), value == current) for value, label, count in values]
        made.append(
            Group(
                key,
                title,
                options,
                next((option.label for option in options if option.is_chosen and current not in ("", None, "inbox")), ""),
            )
        )

    def offered(name: str) -> list[tuple[Any, str, str]]:
        return [(facet.value, facet.label or facet.value, facet_count(facet)) for facet in facets.get(name, []) if facet.value]

    read = {"unread": (True, "Unread"), "read": (False, "Read")}
    add(
        "read",
        "Read state",
        "unread",
        [(*read[facet.value], facet_count(facet)) for facet in facets.get("read", []) if facet.value in read],
    )
    status_counts = {facet.value: facet_count(facet) for facet in facets.get("status", [])}
    add("status", "Status", "status", [(status, words, status_counts.get(status, "")) for status, words in STATUS_WORDS.items()])
    add("channel", "Channel", "channel", offered("channel"))
    add("user", "User", "user_id", offered("user"))
    add("agent", "Agent", "agent", offered("agent"))
    add("project", "Project", "project", offered("project"))
    add("model", "Model", "model", offered("model"))
    triggers = [(value, trigger_words(value), count) for value, _, count in offered("trigger")]
    if any(value.startswith("cron:") for value, _, _ in triggers):
        triggers.insert(0, ("cron", trigger_words("cron"), ""))
    add("trigger", "Started by", "trigger", triggers)
    add("errors", "Errors", "has_errors", [(True, "With errors", ""), (False, "Without errors", "")])
    add("tag", "Tag", "tag", offered("tag"))
    return [group for group in made if group.options]


def facet_count(facet: Facet) -> str:
    return "" if facet.count is None else f"{facet.count:,}{'' if facet.is_exact else '+'}"


def hidden_fields(state: ListState, **without: Any) -> list[tuple[str, str]]:
    """Return the rest of the list's state for a form that sets some of it by GET."""
    return [(name, str(value)) for name, value in QueryDict(state.query(**without)).items()]


@require_safe
def session_filters(request: SignedInRequest) -> HttpResponse:
    """Offer every filter with the values it can take. htmx puts it into the list's menu; without script it is a page of its own."""
    now = timezone.now()
    rail = rail_context(request)
    channels = channels_of(rail["rail"])
    state = list_state(request, channels, now=now)
    context = rail | {
        "now": now,
        "state": state,
        "groups": groups(state, queries.session_facets(state.filter, viewer=request.user, now=now)),
        "periods": [(words, state.query(period=period), state.period == period) for period, words in LIST_PERIODS.items()],
        "period_words": LIST_PERIODS.get(state.period) or date_words(state.filter, day_of(now)),
        "cost_words": cost_words(state.filter),
        "through": state.filter.until and state.filter.until - timedelta(days=1),
        "date_fields": hidden_fields(state, since=None, until=None),
        "cost_fields": hidden_fields(state, cost_min=None, cost_max=None),
        "words_fields": hidden_fields(state, project="", tag=""),
        "query": state.query(),
        "list_path": list_path(state.query()),
    }
    if wants_fragment(request):
        return render_fragment(request, "sessions_app/session_filters.html#filter-options", context | {"in_menu": True})
    return render_page(request, "sessions_app/session_filters.html", context, section=state.section)


def sort_options(state: ListState) -> list[tuple[str, str, bool]]:
    """Return (words, query, whether it is this one) of each order of the list."""
    return [(words, state.query(sort=sort), state.filter.sort == sort) for sort, words in SORT_WORDS.items()]
