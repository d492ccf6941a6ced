"""Query string or POST -> checked filter object, and back to a query string."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from django import forms
from django.http import QueryDict

from sessions_app.queries import cursors

STATES = {"inbox": "Inbox", "all": "All", "open": "Open", "closed": "Closed", "archived": "Archived"}


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """What the list shows: the whole state of the page, as it stands in the URL. complaints: what was asked for and is not known."""

    state: str = "inbox"
    channel: str = ""
    unread: bool | None = None
    after: str = ""
    complaints: list[str] = field(default_factory=list)

    @property
    def is_narrowed(self) -> bool:
        """Tell whether a filter is set beside the place itself."""
        return bool(self.channel) or self.unread is not None

    @property
    def section(self) -> str:
        """Return the rail's entry that this list is."""
        return f"channel:{self.channel}" if self.channel and self.state == "inbox" else self.state

    def query(self, **changes: Any) -> str:
        """Return the query string of this filter with some fields changed, "" for the plain inbox. Any change but of `after` starts at the first page."""
        wanted = replace(self, **({"after": ""} | changes))
        values = QueryDict(mutable=True)
        if wanted.state != "inbox":
            values["state"] = wanted.state
        if wanted.channel:
            values["channel"] = wanted.channel
        if wanted.unread is not None:
            values["read"] = "unread" if wanted.unread else "read"
        if wanted.after:
            values["after"] = wanted.after
        return values.urlencode()


class SessionFilterForm(forms.Form):
    """Read ?state=&channel=&read=&after=. Never raises: a value that is not known falls back to the default, and the page says so."""

    state = forms.ChoiceField(choices=list(STATES.items()), required=False)
    channel = forms.SlugField(max_length=50, required=False)
    read = forms.ChoiceField(choices=[("unread", "Unread"), ("read", "Read")], required=False)
    after = forms.CharField(max_length=200, required=False)

    def session_filter(self, channels: set[str]) -> SessionFilter:
        """Return the filter. channels: the slugs that exist."""
        complaints = []
        self.is_valid()
        clean = self.cleaned_data
        for name in ("state", "channel", "read", "after"):
            if name in self.errors:
                complaints.append(f"{name} \u201c{str(self.data.get(name, ''))[:60]}\u201d")
        channel = clean.get("channel", "")
        if channel and channel not in channels:
            complaints.append(f"channel \u201c{channel}\u201d")
            channel = ""
        read = clean.get("read", "")
        after = clean.get("after", "")
        if after and cursors.decode(after) is None:
            complaints.append("the page's place")
            after = ""
        return SessionFilter(
            state=clean.get("state") or "inbox",
            channel=channel,
            unread={"unread": True, "read": False}.get(read),
            after=after,
            complaints=complaints,
        )


class WantedForm(forms.Form):
    """A POST that says the state it wants: 1 or 0, never "toggle"."""

    wanted = forms.TypedChoiceField(choices=[("1", "yes"), ("0", "no")], coerce=lambda value: value == "1")

    @classmethod
    def of(cls, data: QueryDict, name: str) -> bool | None:
        """Return the wanted state of the field `name`, None when it says neither."""
        form = cls({"wanted": data.get(name, "")})
        return form.cleaned_data["wanted"] if form.is_valid() else None


PERIODS = {"7d": "7 days", "30d": "30 days", "90d": "90 days", "month": "This month", "all": "All time"}
# Beyond these years a date is a typing error, and its first moment may be no time at all in another zone.
FIRST_DATE, LAST_DATE = date(1970, 1, 1), date(2200, 1, 1)


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
    since = forms.DateField(input_formats=["%Y-%m-%d"], required=False)
    until = forms.DateField(input_formats=["%Y-%m-%d"], required=False)
    through = forms.DateField(input_formats=["%Y-%m-%d"], required=False)

    def cost_filter(self, today: date) -> CostFilter:
        """Return the filter. today: the business day on which the presets end."""
        self.is_valid()
        clean = self.cleaned_data
        complaints = [f"{name} \u201c{str(self.data.get(name, ''))[:60]}\u201d" for name in self.fields if name in self.errors]
        dates = {}
        for name in ("since", "until", "through"):
            value = clean.get(name)
            if value is not None and not FIRST_DATE <= value <= LAST_DATE:
                complaints.append(f"{name} \u201c{value}\u201d")
            elif value is not None:
                dates[name] = value
        since, until = dates.get("since"), dates.get("until")
        if until is None and "through" in dates:
            until = dates["through"] + timedelta(days=1)
        if since is not None and until is not None and since >= until:
            complaints.append(f"a range from {since} that ends before it begins")
            since = until = None
        if since is None and until is None:
            period = clean.get("period") or "30d"
            return CostFilter(period, *period_range(period, today), complaints)
        return CostFilter("", since, until, complaints)


def period_range(period: str, today: date) -> tuple[date | None, date | None]:
    """Return the days of a preset, half-open, today the last of them."""
    if period == "all":
        return None, None
    first = today.replace(day=1) if period == "month" else today - timedelta(days=int(period.removesuffix("d")) - 1)
    return first, today + timedelta(days=1)
