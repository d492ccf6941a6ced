"""What can go wrong in the domain: few errors, each with a stable code and the HTTP status it maps to.

Their words are for people: what was refused, and what to do. Raised by the services, translated once at each edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID


class SessionError(Exception):
    """Any refusal of the domain. code: stable, for programs; field: the argument at fault, "" = none."""

    code = "session_error"
    http_status = 422

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class SessionNotFound(SessionError):
    code = "session_not_found"
    http_status = 404

    def __init__(self, session_id: object) -> None:
        super().__init__(f"There is no session {str(session_id)[:64]!r}.", field="session_id")


class SessionAlreadyOpen(SessionError):
    """Another session is open under the same (channel, key, user). session_id: that one."""

    code = "session_already_open"
    http_status = 409

    def __init__(self, session_id: UUID) -> None:
        super().__init__(f"Session {session_id} is already open for this channel, key and user. Continue it, or close it first.")
        self.session_id = session_id


class SessionIdTaken(SessionError):
    """An export's session has the id of another one."""

    code = "session_id_taken"
    http_status = 409

    def __init__(self, session_id: UUID) -> None:
        super().__init__(
            f"Session {session_id} is another one here: its channel, key or user differ from the export's. Nothing of the export was taken.",
            field="session_id",
        )


class UnknownChannel(SessionError):
    """known: the slugs there are."""

    code = "unknown_channel"

    def __init__(self, channel: object, known: Iterable[str]) -> None:
        self.known = sorted(known)
        super().__init__(f"There is no channel {str(channel)[:64]!r}. Known channels: {', '.join(self.known) or 'none'}.", field="channel")


class InvalidSession(SessionError):
    """A key, user, agent or trigger that no session can carry (empty where it may not be, or too long)."""

    code = "invalid_session"


class ActionNotFound(SessionError):
    code = "action_not_found"
    http_status = 404

    def __init__(self, action_id: object) -> None:
        super().__init__(f"There is no action {str(action_id)[:20]!r}.")


class InvalidAction(SessionError):
    """An action that cannot be done so: an unknown verb, nothing chosen, a tag that is none."""

    code = "invalid_action"


class CannotUndo(SessionError):
    code = "cannot_undo"
    http_status = 409


class ViewNotFound(SessionError):
    """Not there, or not the viewer's to change: both look the same."""

    code = "view_not_found"
    http_status = 404

    def __init__(self, view_id: object) -> None:
        super().__init__(f"There is no view {str(view_id)[:64]!r}.")


class InvalidView(SessionError):
    code = "invalid_view"


class NotAllowed(SessionError):
    """Seen, but not this viewer's to do."""

    code = "not_allowed"
    http_status = 403


class InvalidMessage(SessionError):
    code = "invalid_message"


class InvalidUsage(SessionError):
    code = "invalid_usage"


class InvalidToken(SessionError):
    """An API token that cannot be made so."""

    code = "invalid_token"


class EventIdReused(SessionError):
    """The same event id came from the same source before, with another body."""

    code = "event_id_reused"
    http_status = 409

    def __init__(self, event_id: str) -> None:
        super().__init__(f"Event id {event_id[:80]!r} was used before for something else. Send a new id for a new event.", field="event_id")


class WrongTimeZone(SessionError):
    """The days in the store were cut in another time zone than the one the site was started with."""

    code = "wrong_time_zone"
    http_status = 500

    def __init__(self, stored: str, configured: str) -> None:
        super().__init__(
            f"The days in this store were cut in {stored}, but TIME_ZONE is {configured}. "
            f"Set TIME_ZONE={stored} again, or cut all days anew with: manage.py recount --time-zone {configured}"
        )
        self.stored = stored
