"""Query string or POST -> checked filter object, and back to a query string."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.http import QueryDict

from sessions_app.models import KEY_LENGTH, MODEL_LENGTH, PROJECT_LENGTH
from sessions_app.queries import SORTS, STATUSES, SessionFilter, cursors
from sessions_app.queries.session_filter import period_range

STATUS_WORDS = {"inbox": "Inbox", "all": "All", "open": "Open", "closed": "Closed", "stale": "Stale", "archived": "Archived"}
SORT_WORDS = {"activity": "Newest", "started": "Last started", "cost": "Dearest", "messages": "Longest"}
LIST_PERIODS = {"today": "Today", "yesterday": "Yesterday", "7d": "Last 7 days", "30d": "Last 30 days", "month": "This month"}
# Beyond these years a date is a typing error, and its first moment may be no time at all in another zone.
FIRST_DATE, LAST_DATE = date(1970, 1, 1), date(2200, 1, 1)
# name in the URL -> field of SessionFilter, for the words that stand there as they are
WORDS_IN_URL = {
    "channel": "channel",
    "user": "user_id",
    "agent": "agent",
    "project": "project",
    "model": "model",
    "trigger": "trigger",
    "tag": "tag",
    "q": "text",
}


@dataclass(frozen=True, slots=True)
class ListState:
    """What the list shows: the whole state of the page, as it stands in the URL.

    period: a key of LIST_PERIODS from which the filter's dates were made, "" where they were given by hand; a link keeps the period, so that
    "this month" is the month of whoever opens it. after: a page's cursor. complaints: what was asked for and is not known."""

    filter: SessionFilter = field(default_factory=SessionFilter)
    period: str = ""
    after: str = ""
    complaints: tuple[str, ...] = ()

    @property
    def is_narrowed(self) -> bool:
        """Tell whether a filter is set beside the place itself."""
        return replace(self.filter, sort="activity") != SessionFilter(status=self.filter.status)

    @property
    def section(self) -> str:
        """Return the rail's entry that this list is, "" for none of them."""
        place = replace(self.filter, sort="activity", unread=None)
        if place == SessionFilter(status=place.status):
            return place.status
        return f"channel:{place.channel}" if place == SessionFilter(channel=place.channel) else ""

    def first_page(self) -> ListState:
        """Return the same list from its beginning."""
        return replace(self, after="")

    def query(self, *, after: str = "", **changes: Any) -> str:
        """Return the query string of this list with some fields of the filter (or the period) changed, always in the same order; "" for the plain
        inbox. It begins at the first page unless `after` says where."""
        period = changes.pop("period", None if {"since", "until"} & set(changes) else self.period) or ""
        wanted = replace(self.filter, **changes)
        values = QueryDict(mutable=True)
        if wanted.status != "inbox":
            values["status"] = wanted.status
        if wanted.unread is not None:
            values["read"] = "unread" if wanted.unread else "read"
        for name, attribute in WORDS_IN_URL.items():
            if word := getattr(wanted, attribute):
                values[name] = word
        if wanted.has_errors is not None:
            values["errors"] = "1" if wanted.has_errors else "0"
        for name in ("cost_min", "cost_max"):
            if (amount := getattr(wanted, name)) is not None:
                values[name] = f"{amount.normalize():f}"
        if period:
            values["period"] = period
        else:
            for name in ("since", "until"):
                if (day := getattr(wanted, name)) is not None:
                    values[name] = day.isoformat()
        if wanted.sort != "activity":
            values["sort"] = wanted.sort
        if after:
            values["after"] = after
        return values.urlencode()


def _word(length: int, *, strip: bool = False) -> forms.CharField:
    return forms.CharField(max_length=length, required=False, strip=strip)


def _day() -> forms.DateField:
    return forms.DateField(input_formats=["%Y-%m-%d"], required=False)


def _dollars() -> forms.DecimalField:
    return forms.DecimalField(min_value=0, max_value=1_000_000_000, max_digits=19, decimal_places=9, required=False)


class SessionFilterForm(forms.Form):
    """Read the list's query string. Never raises: a value that is not known falls back to the default, and the page says so."""

    status = forms.ChoiceField(choices=[(status, status) for status in STATUSES], required=False)
    read = forms.ChoiceField(choices=[("unread", "Unread"), ("read", "Read")], required=False)
    channel = forms.SlugField(max_length=50, required=False)
    user = _word(KEY_LENGTH)
    agent = _word(100)
    project = _word(PROJECT_LENGTH)
    model = _word(MODEL_LENGTH)
    trigger = _word(KEY_LENGTH + 5)
    tag = _word(KEY_LENGTH, strip=True)
    q = _word(200, strip=True)
    errors = forms.ChoiceField(choices=[("1", "with"), ("0", "without")], required=False)  # type: ignore[assignment]  # the metaclass takes it out of the way
    cost_min = _dollars()
    cost_max = _dollars()
    period = forms.ChoiceField(choices=list(LIST_PERIODS.items()), required=False)
    since = _day()
    until = _day()
    through = _day()
    sort = forms.ChoiceField(choices=[(sort, sort) for sort in SORTS], required=False)
    after = forms.CharField(max_length=200, required=False)

    def chosen(self, channels: Collection[str], today: date) -> ListState:
        """Return the list that is asked for. channels: the slugs that exist. today: the business day on which the periods end."""
        self.is_valid()
        clean = self.cleaned_data
        wrong = super().errors  # the class's own `errors` is a field
        complaints = [_complaint(name, self.data.get(name, "")) for name in self.fields if name in wrong]
        words = {attribute: clean.get(name) or "" for name, attribute in WORDS_IN_URL.items()}
        if words["channel"] and words["channel"] not in channels:
            complaints.append(_complaint("channel", words["channel"]))
            words["channel"] = ""
        if words["trigger"] not in ("", "person", "cron", "heartbeat") and not words["trigger"].startswith("cron:"):
            complaints.append(_complaint("trigger", words["trigger"]))
            words["trigger"] = ""
        cost_min, cost_max = clean.get("cost_min"), clean.get("cost_max")
        if cost_min is not None and cost_max is not None and cost_min > cost_max:
            complaints.append(f"costs from {cost_min} to {cost_max}")
            cost_min = cost_max = None
        since, until = _dates(clean, complaints)
        period = "" if since or until else clean.get("period") or ""
        if period:
            since, until = period_range(period, today)
        sort = clean.get("sort") or "activity"
        after = clean.get("after") or ""
        place = cursors.decode(after)
        if after and (place is None or isinstance(place[0], datetime) != (sort in ("activity", "started"))):
            complaints.append("the page's place")
            after = ""
        chosen = SessionFilter(
            status=clean.get("status") or "inbox",
            unread={"unread": True, "read": False}.get(clean.get("read", "")),
            has_errors={"1": True, "0": False}.get(clean.get("errors", "")),
            cost_min=cost_min,
            cost_max=cost_max,
            since=since,
            until=until,
            sort=sort,
            **words,
        )
        return ListState(chosen, period, after, tuple(complaints))


def _complaint(name: str, value: Any) -> str:
    return f"{name} \u201c{str(value)[:60]}\u201d"


def _dates(clean: dict[str, Any], complaints: list[str]) -> tuple[date | None, date | None]:
    """Return the days asked for, half-open, by ?since=&until= or ?since=&through= (the last day); add what is none to the complaints."""
    dates = {}
    for name in ("since", "until", "through"):
        value = clean.get(name)
        if value is not None and not FIRST_DATE <= value <= LAST_DATE:
            complaints.append(_complaint(name, value))
        elif value is not None:
            dates[name] = value
    since, until = dates.get("since"), dates.get("until")
    if until is None and "through" in dates:
        until = dates["through"] + timedelta(days=1)
    if since is not None and until is not None and since >= until:
        complaints.append(f"a range from {since} that ends before it begins")
        return None, None
    return since, until


class WantedForm(forms.Form):
    """A POST that says the state it wants: 1 or 0, never "toggle"."""

    wanted = forms.TypedChoiceField(choices=[("1", "yes"), ("0", "no")], coerce=lambda value: value == "1")

    @classmethod
    def of(cls, data: QueryDict, name: str) -> bool | None:
        """Return the wanted state of the field `name`, None when it says neither."""
        form = cls({"wanted": data.get(name, "")})
        return form.cleaned_data["wanted"] if form.is_valid() else None


class ActionForm(forms.Form):
    """One thing to do to the sessions that were ticked (session, again and again), or with all=1 to everything that the list's filter matches.

    verb may stay away where a field says it: a form that was sent from the field of the summary or of the tag has no button pressed."""

    verb = forms.CharField(max_length=20, required=False)
    all = forms.BooleanField(required=False)
    summary = forms.CharField(max_length=2000, required=False)
    tag = forms.CharField(max_length=255, required=False)

    def clean(self) -> dict[str, Any]:
        clean = super().clean() or self.cleaned_data
        clean["verb"] = clean.get("verb") or ("tag" if clean.get("tag") else "close" if clean.get("summary") else "")
        if not clean["verb"]:
            self.add_error("verb", "Choose what to do with them.")
        if not clean.get("all") and not self.session_ids():
            self.add_error("all", "Nothing is selected.")
        return clean

    def session_ids(self) -> list[UUID]:
        """Return the ids that were ticked; what is no id is left out, like a session that is not there."""
        found = []
        for value in self.data.getlist("session"):  # type: ignore[attr-defined]  # a QueryDict
            with suppress(ValueError):
                found.append(UUID(value))
        return found

    def complaint(self) -> str:
        """Say what is wrong with it."""
        return " ".join(str(word) for words in self.errors.values() for word in words)


class ViewForm(forms.Form):
    """Save the list's filter as a view: a new one by its name, or in the place of one that is there."""

    name = forms.CharField(max_length=100, required=False)
    replace = forms.UUIDField(required=False)
    is_shared = forms.BooleanField(required=False)
    is_default = forms.BooleanField(required=False)


PERIODS = {"7d": "7 days", "30d": "30 days", "90d": "90 days", "month": "This month", "all": "All time"}


@dataclass(frozen=True, slots=True)
class CostFilter:
    """The range of the cost page: business days, since <= day < until, None = no bound. period: a key of PERIODS, "" for a range given by hand."""

    period: str
    since: date | None
    until: date | None
    complaints: list[str] = field(default_factory=list)

    @property
    def through(self) -> date | None:
        """Return the last day of the range, as people say it."""
        return None if self.until is None else self.until - timedelta(days=1)


class CostFilterForm(forms.Form):
    """Read ?period= or ?since=&until= (half-open) or ?since=&through= (the last day). Never raises: a value that is not known falls back to the
    default, and the page says so."""

    period = forms.ChoiceField(choices=list(PERIODS.items()), required=False)
    since = _day()
    until = _day()
    through = _day()

    def cost_filter(self, today: date) -> CostFilter:
        """Return the filter. today: the business day on which the presets end."""
        self.is_valid()
        clean = self.cleaned_data
        complaints = [_complaint(name, self.data.get(name, "")) for name in self.fields if name in self.errors]
        since, until = _dates(clean, complaints)
        if since is None and until is None:
            period = clean.get("period") or "30d"
            return CostFilter(period, *period_range(period, today), complaints)
        return CostFilter("", since, until, complaints)


class PreferenceForm(forms.Form):
    """A POST that changes how the site looks or listens to keys; what it does not name stays."""

    theme = forms.ChoiceField(choices=[("system", "As the system"), ("light", "Light"), ("dark", "Dark")], required=False)
    density = forms.ChoiceField(choices=[("comfortable", "Comfortable"), ("compact", "Compact")], required=False)
    keys = forms.ChoiceField(choices=[("1", "on"), ("0", "off")], required=False)

    def given(self) -> dict[str, Any]:
        """Return what was named, as services.set_preference takes it."""
        changes: dict[str, Any] = {name: self.cleaned_data[name] for name in ("theme", "density") if self.cleaned_data[name]}
        if changes.get("theme") == "system":
            changes["theme"] = ""
        if self.cleaned_data["keys"]:
            changes["keys"] = self.cleaned_data["keys"] == "1"
        return changes
