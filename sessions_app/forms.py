"""Query string or POST -> checked filter object, and back to a query string."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
