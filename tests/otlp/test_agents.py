"""Claude Code, Codex CLI and Gemini CLI by their log events and metrics: one session with what the importer makes, nothing counted twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from sessions_app import services
from sessions_app.models import DeadLetter, Session, TraceSession, UsageRecord
from tests.factories import T0
from tests.otlp.tools import (
    Sender,
    any_value,
    assert_recount_finds_nothing,
    chat,
    everything,
    logs,
    metrics,
    only,
    pairs,
    point,
    record,
    said,
    span,
    traces,
)

pytestmark = pytest.mark.django_db
SONNET = "claude-sonnet-4-5-20250929"
CALL = {
    "model": SONNET,
    "input_tokens": "100",  # Claude Code writes numbers as text
    "output_tokens": "20",
    "cache_read_tokens": "3000",
    "cache_creation_tokens": "400",
    "cost_usd": "0.0123",
    "duration_ms": "1500",
}


def claude(name: str, second: float = 0, session: str = "s-1", **attributes: Any) -> dict[str, Any]:
    return record(f"claude_code.{name}", {"session.id": session, "user.id": "f" * 64, "terminal.type": "xterm", **attributes}, second)


def call(second: float = 0, session: str = "s-1", **changes: Any) -> dict[str, Any]:
    return claude("api_request", second, session, **{**CALL, **changes})


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
def test_claude_code(sender: Sender, protobuf: bool) -> None:
    document = logs(
        claude("user_prompt", 0, prompt="fix the bug", prompt_length="11"),
        call(2),
        claude("tool_decision", 3, tool_name="Bash", decision="accept"),
        claude(
            "tool_result", 4, tool_name="Bash", tool_use_id="toolu_1", success="false", error="exit 1", tool_input='{"command": "make"}'
        ),
        claude("api_error", 5, error="Overloaded", status_code="529", model=SONNET),
        call(6, speed="fast", cost_usd="0", **{"agent.name": "reviewer"}),
        claude("assistant_response", 7, response="done"),
        claude("compaction", 8, trigger="auto", success="true", pre_tokens="150000", post_tokens="9000"),
    )
    for _ in range(2):  # the second time changes nothing
        sender.send(document, protobuf=protobuf)
        session = only()
        assert (session.agent, session.agent_session_id, session.channel_id, session.key) == ("claude-code", "s-1", "cli", "s-1")
        assert (session.user_id, session.title, session.tool_call_count, session.error_count) == ("admin", "fix the bug", 1, 1)
        assert [role for role, _ in said(session)] == ["user", "tool_use", "tool_result", "system", "assistant"]
        assert session.compactions.get().pre_tokens == 150_000
        first, second = session.usage.order_by("turn")
        assert (first.input_tokens, first.output_tokens, first.cache_read_tokens, first.cache_write_tokens) == (100, 20, 3000, 400)
        assert (first.cost_usd, first.cost_source, first.model) == (Decimal("0.0123"), "reported", SONNET)
        assert (second.cost_source, second.subagent_id, second.extra) == ("computed", "reviewer", {"speed": "fast"})
        assert_recount_finds_nothing()
    assert not DeadLetter.objects.exists()


def test_codex(sender: Sender) -> None:
    def codex(name: str, second: float, **attributes: Any) -> dict[str, Any]:
        common = {"event.name": f"codex.{name}", "conversation.id": "c-1", "model": "gpt-5.1-codex", "user.email": "alice@example.com"}
        made = record(f"codex.{name}", {**common, **attributes}, second)
        return {**made, "attributes": [one for one in made["attributes"] if one["value"] != {"stringValue": name}]}

    counts = {
        "input_token_count": "1000",
        "cached_token_count": 600,
        "output_token_count": "50",
        "reasoning_token_count": 30,
        "tool_token_count": "1050",
    }
    sender.send(
        logs(
            codex("conversation_starts", 0, provider_name="OpenAI"),
            codex("user_prompt", 1, prompt="[REDACTED]", prompt_length="5"),
            codex("sse_event", 2, **{"event.kind": "response.created"}),
            codex("sse_event", 3, **{"event.kind": "response.completed"}),
            codex("sse_event", 3, **{"event.kind": "response.completed"}, **counts),
            codex("tool_result", 4, tool_name="shell", call_id="call_1", arguments='{"command":["ls"]}', output="a.py", success="true"),
        )
    )  # fmt: skip
    session = only()
    assert (session.agent, session.agent_session_id, session.user_id, session.title) == ("codex", "c-1", "alice@example.com", "")
    used = session.usage.get()
    assert (used.input_tokens, used.output_tokens, used.cache_read_tokens, used.model) == (400, 50, 600, "gpt-5.1-codex")
    assert "5 characters" in said(session)[0][1]
    assert [role for role, _ in said(session)] == ["user", "tool_use", "tool_result"]
    assert not DeadLetter.objects.exists()


def test_gemini(sender: Sender) -> None:
    def gemini(name: str, second: float, **attributes: Any) -> dict[str, Any]:
        made = record(f"gemini_cli.{name}", {"session.id": "g-1", **attributes}, second)
        return {
            **made,
            "body": any_value("A sentence."),
            "attributes": [*made["attributes"], {"key": "event.name", "value": any_value(f"gemini_cli.{name}")}],
        }

    counts = {
        "input_token_count": 1000,
        "cached_content_token_count": 600,
        "output_token_count": 50,
        "thoughts_token_count": 30,
        "tool_token_count": 7,
    }
    sender.send(
        logs(
            gemini("config", 0, model="gemini-2.5-pro"),
            gemini("user_prompt", 1, prompt="hello", prompt_length=5),
            gemini("api_request", 2, model="gemini-2.5-pro"),
            gemini("api_response", 3, model="gemini-2.5-pro", response_text="hi", **counts),
            gemini("tool_call", 4, function_name="read_file", function_args='{"path": "x"}', success=False, error="not found"),
            gemini("api_error", 5, model="gemini-2.5-pro", error="quota", status_code=429),
        )
    )
    session = only()
    used = session.usage.get()
    assert (used.input_tokens, used.output_tokens, used.cache_read_tokens) == (407, 80, 600)
    assert [role for role, _ in said(session)] == ["user", "assistant", "tool_use", "tool_result", "system"]
    assert (session.agent, session.error_count) == ("gemini-cli", 1)
    assert not DeadLetter.objects.exists()


def test_what_is_not_understood_is_kept_and_said(sender: Sender) -> None:
    rejected, words = sender.rejected(
        logs(
            call(),
            claude("brand_new_event"),
            claude("api_request", 1, session="", **CALL),
            call(2, input_tokens="many"),
            {"body": {"stringValue": "a web server's line"}, "timeUnixNano": "0"},
            {**call(3), "timeUnixNano": "9223372036854775807000"},
            call(4, input_tokens="999999999999"),
        )
    )
    assert rejected == 6
    reasons = {"unknown_event", "no_session_id", "invalid_usage", "unknown_log", "invalid_time"}
    assert {one.reason for one in DeadLetter.objects.all()} == reasons
    assert all(reason in words for reason in reasons)
    assert only().total_turns == 1


def test_a_bound_token_keeps_to_its_own() -> None:
    Sender(user_id="bob").send(logs(call()))
    assert only().user_id == "bob"
    assert Sender(user_id="alice").rejected(logs(call(60)))[0] == 1
    assert Sender(agent="codex").rejected(logs(call(60)))[0] == 1
    assert only().total_turns == 1


# --- the agent's own log --------------------------------------------------------------------------------------------------------------

LOG = Path(__file__).parents[1] / "logs" / "claude-code"
MAIN = "11111111-aaaa-4aaa-8aaa-111111111111"


def import_log() -> None:
    call_command("import_sessions", str(LOG), verbosity=0, json=True)


def logged() -> dict[str, Any]:
    return {key: value for key, value in everything().items() if MAIN in key}


def test_the_imported_log_replaces_what_telemetry_told(sender: Sender) -> None:
    import_log()
    alone = logged()
    session = Session.objects.get(agent_session_id=MAIN)
    last = session.messages.order_by("timestamp").last().timestamp  # type: ignore[union-attr]
    Session.objects.all().delete()
    services.recount()
    before = (last - T0).total_seconds() - 1
    told = logs(
        claude("user_prompt", before, MAIN, prompt="hello"),
        call(before, MAIN),
        claude("tool_result", before, MAIN, tool_name="Bash", tool_use_id="t"),
    )
    sender.send(told)
    sender.send(logs(call(before + 3600, MAIN)))  # after the log's end
    assert Session.objects.get(agent_session_id=MAIN).total_turns == 2
    import_log()
    session = Session.objects.get(agent_session_id=MAIN)
    assert session.usage.filter(source=sender.source).count() == 1
    assert not session.messages.filter(source=sender.source).exists()
    assert session.total_turns == 1 + len(alone[f"cli {MAIN} admin"][2])
    assert_recount_finds_nothing()
    sender.send(told)  # late: the log has covered it
    sender.send(logs(call(before - 100, MAIN)))
    session.refresh_from_db()
    assert session.total_turns == 1 + len(alone[f"cli {MAIN} admin"][2])
    import_log()
    assert_recount_finds_nothing()


def test_the_last_call_of_the_log_is_known_by_its_numbers(sender: Sender) -> None:
    """Its telemetry bears the time at which the answer was whole, a little after the log's last line; a call with other numbers is another call."""
    sender.send(logs(call(2), call(3, output_tokens="21")))
    session = only()
    line = {"model": SONNET, "input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 3000, "cache_write_tokens": 400}
    services.record_usage(session.pk, **line, timestamp=T0, source="claude-code", event_id="line")
    services.replace_telemetry([session])
    assert list(session.usage.order_by("output_tokens").values_list("source", "output_tokens")) == [
        ("claude-code", 20),
        (sender.source, 21),
    ]
    assert_recount_finds_nothing()


# --- metrics --------------------------------------------------------------------------------------------------------------------------


def tokens(end: float = 60, start: float = 0, *, factor: int = 1, temporality: int = 1) -> dict[str, Any]:
    """What Claude Code's counters say of CALL, so many times."""
    counts = {"input": 100, "output": 20, "cacheRead": 3000, "cacheCreation": 400}
    points = [
        point(value * factor, {"session.id": "s-1", "model": SONNET, "type": kind}, start=start, end=end) for kind, value in counts.items()
    ]
    document = metrics("claude_code.token.usage", *points, temporality=temporality)
    cost = metrics(
        "claude_code.cost.usage",
        point(0.0123 * factor, {"session.id": "s-1", "model": SONNET}, start=start, end=end),
        temporality=temporality,
    )
    document["resourceMetrics"] += cost["resourceMetrics"]
    return document


def counted() -> list[tuple[int, int, int, int, Decimal | None]]:
    rows = UsageRecord.objects.order_by("timestamp", "pk")
    return [(one.input_tokens, one.output_tokens, one.cache_read_tokens, one.cache_write_tokens, one.cost_usd) for one in rows]


ONE = (100, 20, 3000, 400, Decimal("0.0123"))


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
def test_metrics_alone_are_counted_once(sender: Sender, protobuf: bool) -> None:
    for _ in range(2):
        sender.send(tokens(), protobuf=protobuf)
        assert counted() == [ONE]
    sender.send(tokens(120, 60), protobuf=protobuf)
    assert counted() == [ONE, ONE]
    assert (only().agent, only().key, only().channel_id) == ("claude-code", "s-1", "cli")
    assert_recount_finds_nothing()


@pytest.mark.parametrize("metrics_first", [False, True])
def test_metrics_count_only_what_no_log_event_told(sender: Sender, metrics_first: bool) -> None:
    documents = [tokens(factor=3), logs(call(10), call(20))]
    for document in documents if metrics_first else documents[::-1]:
        sender.send(document)
        assert_recount_finds_nothing()
    assert sorted(one[0] for one in counted()) == [100, 100, 100]
    assert sum(one[4] or 0 for one in counted()) == Decimal("0.0369")
    sender.send(logs(call(30)))
    assert [one[0] for one in counted()] == [100, 100, 100]  # now told, so no longer from the metric
    assert not UsageRecord.objects.filter(event_id__startswith="metric:").exists()
    sender.send(tokens(factor=3))
    assert len(counted()) == 3
    assert_recount_finds_nothing()


def test_a_running_total_counts_once(sender: Sender) -> None:
    for end, factor in ((60, 1), (120, 2), (180, 3), (120, 2)):
        sender.send(tokens(end, factor=factor, temporality=2))
        assert_recount_finds_nothing()
    assert [one[:4] for one in counted()] == [(300, 60, 9000, 1200)]


def test_an_imported_log_covers_the_metrics_of_its_time(sender: Sender) -> None:
    sender.send(tokens())
    session = only()
    services.store_events(session, [], source="claude-code", imported=True)
    services.record_usage(
        session.pk, model=SONNET, input_tokens=1, output_tokens=1, timestamp=T0 + timedelta(minutes=5), source="claude-code", event_id="x"
    )
    session.refresh_from_db()
    services.replace_telemetry([session])
    assert [one[:2] for one in counted()] == [(1, 1)]
    sender.send(tokens())
    assert [one[:2] for one in counted()] == [(1, 1)]
    assert_recount_finds_nothing()


def test_gemini_metrics_are_disjoint(sender: Sender) -> None:
    counts = {"input": 1000, "output": 50, "thought": 30, "cache": 600, "tool": 7}
    sender.send(
        metrics(
            "gemini_cli.token.usage",
            *[point(value, {"session.id": "g", "model": "gemini-2.5-pro", "type": kind}) for kind, value in counts.items()],
        )
    )
    assert [one[:4] for one in counted()] == [(407, 80, 600, 0)]


def test_metrics_that_say_nothing_of_a_session(sender: Sender) -> None:
    sender.send(metrics("claude_code.active_time.total", point(3.5, {"session.id": "s-1"})))
    assert not DeadLetter.objects.exists()
    assert sender.rejected(metrics("http.server.duration", point(5, {})))[0] == 1
    assert sender.rejected(metrics("claude_code.token.usage", point(5, {"type": "input", "model": SONNET})))[0] == 1
    assert sender.rejected(metrics("claude_code.token.usage", point(-5, {"session.id": "s", "type": "input"})))[0] == 1
    assert {one.reason for one in DeadLetter.objects.all()} == {"unknown_metric", "no_session_id", "invalid_usage"}
    assert not UsageRecord.objects.exists()


def test_gemini_cannot_but_send_spans_and_they_are_left_aside(sender: Sender) -> None:
    call = span(1, {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gemini-2.5-pro", "gen_ai.usage.input_tokens": 5})
    for resource in ({"service.name": "gemini-cli"}, {"service.name": "gemini-cli-core"}):
        assert sender.send(traces(call, resource=resource)).json() == {}
    assert not DeadLetter.objects.exists() and not Session.objects.exists()
    mixed = traces(call, resource={"service.name": "gemini-cli"})
    mixed["resourceSpans"] += traces(call, resource={"service.name": "claude-code"})["resourceSpans"]
    rejected, words = sender.rejected(mixed)
    assert (rejected, "claude-code" in words, "gemini" in words) == (1, True, False)


def call_record(second: float, **more: Any) -> dict[str, Any]:
    """A model call as the GenAI semantic conventions have it as a log record, with its messages as lists and maps."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Where is my parcel?"}]}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "It arrives tomorrow."}]}],
    }
    made = record("gen_ai.client.inference.operation.details", {}, second)
    return {
        "timeUnixNano": made["timeUnixNano"],
        "eventName": "gen_ai.client.inference.operation.details",
        "attributes": pairs(attributes | more.pop("attributes", {})),
        **more,
    }


def test_a_model_call_as_a_log_record(sender: Sender) -> None:
    document = logs(call_record(1, attributes={"gen_ai.conversation.id": "c-1"}), resource={"service.name": "support-bot"})
    for protobuf in (False, True):
        sender.send(document, protobuf=protobuf)
    session = only()
    assert (session.key, session.channel_id, session.agent, session.total_turns) == ("c-1", "main", "support-bot", 1)
    assert said(session) == [("user", "Where is my parcel?"), ("assistant", "It arrives tomorrow.")]
    assert not DeadLetter.objects.exists()
    sender.send(logs(call_record(60, attributes={"gen_ai.conversation.id": "c-1"})))  # another call of the same conversation
    assert only().total_turns == 2
    assert_recount_finds_nothing()


@pytest.mark.parametrize("span_first", [True, False])
def test_a_model_call_as_span_and_as_log_record_is_one(sender: Sender, span_first: bool) -> None:
    one = chat(7, [("user", "Where is my parcel?")], "It arrives tomorrow.", input_tokens=120, output_tokens=9)
    told = call_record(1.5, traceId=one["traceId"], spanId=one["spanId"])
    documents = [traces(one), logs(told)]
    for document in documents if span_first else reversed(documents):
        assert sender.send(document).json() == {}
    session = only()
    assert said(session) == [("user", "Where is my parcel?"), ("assistant", "It arrives tomorrow.")]
    assert (session.key, session.total_turns, session.input_tokens) == (one["traceId"], 1, 120)
    assert_recount_finds_nothing()


def test_traces_of_a_month_ago_are_forgotten_and_their_sessions_stay(sender: Sender) -> None:
    for number, days in enumerate((40, 31, 29, 0)):
        sender.send(traces(chat(number + 1, [("user", "hi")], "hello", trace=f"{number + 1:032x}")))
        TraceSession.objects.filter(trace_id=f"{number + 1:032x}").update(seen_at=T0 - timedelta(days=days))
    assert services.forget_traces(now=T0) == 2
    assert services.forget_traces(now=T0) == 0
    assert TraceSession.objects.count() == 2 and Session.objects.count() == 4
