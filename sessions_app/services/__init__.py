"""Every write. One verb each; `now=None` is the clock, read once; all else goes through here: pages, API, admin, commands, importers."""

from sessions_app.services.lifecycle import (
    AUTO_CLOSED,
    HEARTBEAT,
    Continue,
    New,
    Opened,
    archive_session,
    close_session,
    create_session,
    open_session,
    reopen_session,
    resolve_session,
    set_session_facts,
    set_title_if_empty,
    touch_session,
)
from sessions_app.services.maintenance import CloseResult, Difference, RecountResult, close_stale_sessions, recount, remove_demo
from sessions_app.services.read_state import mark_all_read, mark_read
from sessions_app.services.transcript import Refusal, StoreResult, record_compaction, record_usage, save_message, store_events

__all__ = [
    "AUTO_CLOSED",
    "HEARTBEAT",
    "CloseResult",
    "Continue",
    "Difference",
    "New",
    "Opened",
    "RecountResult",
    "Refusal",
    "StoreResult",
    "archive_session",
    "close_session",
    "close_stale_sessions",
    "create_session",
    "mark_all_read",
    "mark_read",
    "open_session",
    "record_compaction",
    "record_usage",
    "recount",
    "remove_demo",
    "reopen_session",
    "resolve_session",
    "save_message",
    "set_session_facts",
    "set_title_if_empty",
    "store_events",
    "touch_session",
]
