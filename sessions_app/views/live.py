"""What is new since a page was rendered: the page asks every few seconds, and 204 is the usual answer.

A page carries a token of what it shows. It comes back in the header Live-Token, and every answer brings the next one there. Unchanged costs one
statement (queries.live.pulse). Changed, the page's own reads are asked again and compared with the token, row by row, so that only what differs
for this viewer is rendered: rows that changed, rows that came in, the rail's counts.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.signing import BadSignature, Signer
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sessions_app import access, queries
from sessions_app.htmx import SignedInRequest
from sessions_app.models import Session
from sessions_app.queries.live import pulse, row_state
from sessions_app.views import filters
from sessions_app.views.page import rail_context

MAX_ROWS = 100  # rows a token remembers; of 20 bytes each, so that it fits into a header that every proxy passes
WINDOW = 50  # rows of the list's beginning that are compared
HEADER = "Live-Token"
NOT_LOOKED = bytes(8)


@dataclass(frozen=True, slots=True)
class Live:
    """Where a page asks what is new, and the token of what it shows."""

    url: str
    token: str


@dataclass(slots=True)
class Shown:
    """What a page shows, as its token says. pulse: of the last look, NOT_LOOKED before the first. rail: a digest of the rail's counts.
    rows: session -> the state of its row."""

    pulse: bytes = NOT_LOOKED
    rail: bytes = bytes(4)
    rows: dict[UUID, bytes] = field(default_factory=dict)

    def signed(self, viewer: User) -> str:
        """Return it signed for this viewer: the ids in it are asked for without another look at whose they are."""
        body = self.pulse + self.rail + b"".join(pk.bytes + state for pk, state in list(self.rows.items())[:MAX_ROWS])
        return _signer(viewer).sign(urlsafe_b64encode(body).decode())

    @classmethod
    def of(cls, token: str, viewer: User) -> Shown:
        """Return what the token says; of none, and of one that was not made for this viewer, that nothing is shown."""
        try:
            body = urlsafe_b64decode(_signer(viewer).unsign(token))
        except (BadSignature, ValueError):
            return cls()
        rows = [body[at : at + 20] for at in range(12, len(body), 20)]
        return cls(body[:8], body[8:12], {UUID(bytes=row[:16]): row[16:] for row in rows})


def _signer(viewer: User) -> Signer:
    return Signer(salt=f"sessions_app.live:{viewer.pk}")


def live_of(viewer: User, query: str, rows: Sequence[Session], *, is_first_page: bool = True) -> Live:
    """Return where a page with these rows asks, and its first token. query: the list's, without its place. On later pages of a list nothing comes in
    at the top, so that only their rows are kept fresh. Costs no query."""
    path = reverse("sessions:live")
    if not is_first_page:
        query = "only=rows"
    shown = Shown(rows={row.pk: row_state(row) for row in rows[:MAX_ROWS]})
    return Live(f"{path}?{query}" if query else path, shown.signed(viewer))


@never_cache
@require_safe
def live(request: SignedInRequest) -> HttpResponse:
    """Answer 204 where nothing changed for this viewer, else the changed rows and the rail. ?only=counts: a page without a list; ?only=rows: a page
    that begins further down."""
    viewer, now = request.user, timezone.now()
    shown = Shown.of(request.headers.get(HEADER, ""), viewer)
    seen = pulse(viewer, list(shown.rows), now=now)
    if seen == shown.pulse:
        return HttpResponse(status=204)
    # What follows is read after the pulse, so that nothing can change unseen in between.
    rail = rail_context(request)
    rail_digest = blake2b(repr(rail).encode(), digest_size=4).digest()
    rows, arrived = _rows(request, shown, rail, now)
    # The pulse of other rows than those it was taken of is another: with new ones, the next request looks once more.
    token = Shown(seen, rail_digest, {pk: row_state(row) for pk, row in rows.items()})
    changed = access.with_may_change(viewer, [row for pk, row in rows.items() if shown.rows.get(pk) != token.rows[pk]])
    if not changed and rail_digest == shown.rail:
        response = HttpResponse(status=204)
    else:
        query = request.GET.copy()
        query.pop("only", None)
        context: dict[str, Any] = {
            "now": now,
            "arrived": [row for row in changed if row.pk in arrived],
            "changed": [row for row in changed if row.pk not in arrived],
            "query": query.urlencode(),
            "list_query": query.urlencode(),
        }
        response = HttpResponse(render_to_string("sessions_app/_changes.html", rail | context, request))
    response[HEADER] = token.signed(viewer)
    return response


def _rows(request: SignedInRequest, shown: Shown, rail: dict[str, Any], now: datetime) -> tuple[dict[UUID, Session], set[UUID]]:
    """Return the rows that the page knows from now on, and which of them came in: they are new above something that it shows."""
    viewer, only = request.user, request.GET.get("only")
    if only == "counts":
        return {}, set()
    first: dict[UUID, Session] = {}
    if only != "rows":
        state = filters.list_state(request, filters.channels_of(rail["rail"]), now=now)
        first = {row.pk: row for row in queries.session_page(state.filter, viewer=viewer, limit=WINDOW, now=now).rows}
    # Rows that left the list, or its beginning, stay where they stand, as what they are now.
    others = queries.session_rows([pk for pk in shown.rows if pk not in first], viewer=viewer)
    found = first | {row.pk: row for row in others}
    order = [*(pk for pk in shown.rows if pk in found), *(pk for pk in first if pk not in shown.rows)][:MAX_ROWS]
    # What only moved up from below, because a row above it left, did not come in. Below a page that was not full there was nothing.
    places = [at for at, pk in enumerate(first) if pk in shown.rows]
    last = max(places, default=-1) if len(shown.rows) >= WINDOW else len(first)
    arrived = {pk for at, pk in enumerate(first) if at < last and pk not in shown.rows}
    return {pk: found[pk] for pk in order}, arrived
