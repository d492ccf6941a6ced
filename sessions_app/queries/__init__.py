"""Every read: typed arguments in, rows or frozen values out; nothing is saved. `viewer=None` is the system itself, which sees everything."""

from sessions_app.queries.costs import (
    CostOverview,
    DayCost,
    DayModelCost,
    ModelCost,
    ToolUse,
    Totals,
    UserCost,
    cost_overview,
    dearest_models,
)
from sessions_app.queries.sessions import (
    STATES,
    RailCounts,
    SessionPage,
    get_session,
    list_sessions,
    rail_counts,
    session_page,
    session_row,
    unread_count,
)
from sessions_app.queries.transcripts import TranscriptPage, UsageSummary, get_message, get_messages, session_usage, transcript

__all__ = [
    "STATES",
    "CostOverview",
    "DayCost",
    "DayModelCost",
    "ModelCost",
    "RailCounts",
    "SessionPage",
    "ToolUse",
    "Totals",
    "TranscriptPage",
    "UsageSummary",
    "UserCost",
    "cost_overview",
    "dearest_models",
    "get_message",
    "get_messages",
    "get_session",
    "list_sessions",
    "rail_counts",
    "session_page",
    "session_row",
    "session_usage",
    "transcript",
    "unread_count",
]
