"""Spans become sessions: named by any span of a trace, in whatever pieces they come; each message once; usage only from model calls."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from sessions_app import services
from sessions_app.models import DeadLetter, Session, UsageRecord
from tests.factories import make_session
from tests.otlp.tools import OTHER_TRACE, TRACE, Sender, assert_recount_finds_nothing, chat, only, said, span, traces

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_a_trace_without_a_name_is_a_session(sender: Sender) -> None:
    sender.send(traces(chat(1, [("user", "hi")], "hello"), chat(2, [("user", "other")], "world", trace=OTHER_TRACE)))
    assert {session.key for session in Session.objects.all()} == {TRACE, OTHER_TRACE}
    session = Session.objects.get(key=TRACE)
    assert (session.channel_id, session.user_id, session.title, session.total_turns) == ("main", "admin", "hi", 1)
    assert said(session) == [("user", "hi"), ("assistant", "hello")]
    assert_recount_finds_nothing()


@pytest.mark.parametrize("name", ["gen_ai.conversation.id", "session.id"])
def test_an_id_on_any_span_names_the_session_of_the_trace(sender: Sender, name: str) -> None:
    sender.send(traces(chat(1, [("user", "hi")], "hello", parent=2), span(2, {name: "c-1", "user.id": "alice"}, name="request")))
    session = only()
    assert (session.key, session.user_id) == ("c-1", "alice")
    assert UsageRecord.objects.get().user_id == "alice"


def test_a_trace_named_late_moves_to_its_session(sender: Sender) -> None:
    sender.send(traces(chat(1, [("user", "hi")], "hello", attributes={"gen_ai.conversation.id": "c-1", "user.id": "alice"})))
    sender.send(
        traces(chat(11, [("user", "hi"), ("assistant", "hello"), ("user", "and?")], "bye", trace=OTHER_TRACE, parent=12, second=60))
    )
    assert Session.objects.count() == 2
    assert_recount_finds_nothing()
    sender.send(traces(span(12, {"session.id": "c-1", "enduser.id": "alice"}, trace=OTHER_TRACE, second=60)))
    session = only()
    assert said(session) == [("user", "hi"), ("assistant", "hello"), ("user", "and?"), ("assistant", "bye")]
    assert [(one.turn, one.user_id) for one in session.usage.order_by("turn")] == [(1, "alice"), (2, "alice")]
    assert_recount_finds_nothing()
    sender.send(traces(chat(13, [("user", "hi"), ("user", "more")], "x", trace=OTHER_TRACE, second=120)))  # and stays there
    assert only().total_turns == 3
    assert_recount_finds_nothing()


def test_moving_into_a_session_whose_agent_nobody_knew(sender: Sender) -> None:
    session = make_session("main", "c-1", user_id="admin")
    services.record_usage(session.pk, model="gpt-4o", input_tokens=1, output_tokens=1)
    named = {"gen_ai.agent.name": "joker"}
    sender.send(traces(chat(1, [("user", "hi")], "hello", parent=2, attributes=named)))
    sender.send(traces(span(2, {"session.id": "c-1", **named})))
    session.refresh_from_db()
    assert (session.agent, session.total_turns) == ("joker", 2)
    assert_recount_finds_nothing()


def test_a_session_that_somebody_else_opened_is_not_removed(sender: Sender) -> None:
    made = make_session("main", "c-1", user_id="admin")
    sender.send(traces(chat(1, [("user", "hi")], "hello", parent=2, attributes={"session.id": "c-1"})))
    sender.send(traces(span(2, {"user.id": "alice"})))
    assert Session.objects.get(pk=made.pk).total_turns == 0
    assert Session.objects.get(user_id="alice").total_turns == 1
    assert_recount_finds_nothing()


def test_the_name_may_come_first_and_alone(sender: Sender) -> None:
    sender.send(traces(span(2, {"session.id": "c-1"}, name="GET /")))
    assert not Session.objects.exists()
    sender.send(traces(chat(1, [("user", "hi")], "hello", parent=2)))
    assert only().key == "c-1"


def test_a_resend_after_the_session_was_closed_changes_nothing(sender: Sender) -> None:
    document = traces(chat(1, [("user", "hi")], "hello", attributes={"gen_ai.conversation.id": "c"}))
    sender.send(document)
    services.close_session(only().pk)
    sender.send(document)
    assert only().total_turns == 1
    sender.send(traces(chat(1, [("user", "hi")], "hello", trace=OTHER_TRACE, attributes={"gen_ai.conversation.id": "c"})))
    assert Session.objects.count() == 2  # a new trace of that conversation begins a new session


def test_history_is_stored_once_and_repeated_words_as_often_as_they_were_said(sender: Sender) -> None:
    sender.send(
        traces(
            chat(1, [("system", "be kind"), ("user", "yes")], "ok"),
            chat(2, [("system", "be kind"), ("user", "yes"), ("assistant", "ok"), ("user", "yes")], "ok", second=10),
        )
    )
    assert said(only()) == [("system", "be kind"), ("user", "yes"), ("assistant", "ok"), ("user", "yes"), ("assistant", "ok")]


def test_the_same_prompt_in_another_trace_without_history_was_said_again(sender: Sender) -> None:
    name = {"gen_ai.conversation.id": "c"}
    first = traces(chat(1, [("system", "be kind"), ("user", "yes")], "ok", attributes=name))
    second = traces(chat(2, [("system", "be kind"), ("user", "yes")], "ok", attributes=name, trace=OTHER_TRACE, second=60))
    for document in (first, second, second, first):
        sender.send(document)
    assert said(only()) == [("system", "be kind"), ("user", "yes"), ("assistant", "ok"), ("user", "yes"), ("assistant", "ok")]


def test_tools_are_tool_messages_once_however_often_they_are_told(sender: Sender) -> None:
    call = {"type": "tool_call", "id": "call_12345678", "name": "weather", "arguments": {"city": "Bonn"}}
    answer = {"type": "tool_call_response", "id": "call_12345678", "response": "rain"}
    ask = [{"role": "user", "parts": [{"type": "text", "content": "weather?"}]}]
    history = [*ask, {"role": "assistant", "parts": [call]}, {"role": "tool", "parts": [answer]}]
    sender.send(
        traces(
            chat(
                1,
                [],
                attributes={
                    "gen_ai.input.messages": json.dumps(ask),
                    "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [call]}]),
                },
            ),
            span(
                2,
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": "weather",
                    "gen_ai.tool.call.id": "call_12345678",
                    "gen_ai.tool.call.arguments": '{"city":"Bonn"}',
                    "gen_ai.tool.call.result": "rain",
                },
                second=2,
            ),
            chat(3, [], "take a coat", second=4, attributes={"gen_ai.input.messages": json.dumps(history)}),
        )
    )
    session = only()
    assert [role for role, _ in said(session)] == ["user", "tool_use", "tool_result", "assistant"]
    assert list(session.messages.exclude(tool_name="").values_list("tool_name", "tool_call_id")) == [("weather", "call_12345678")] * 2
    assert session.tool_call_count == 1
    assert_recount_finds_nothing()


def test_a_failed_tool_is_an_error(sender: Sender) -> None:
    attributes = {"openinference.span.kind": "TOOL", "tool.name": "shell", "input.value": '{"cmd": "x"}'}
    sender.send(traces(span(1, attributes, status={"code": 2, "message": "no such command"})))
    session = only()
    assert (session.tool_call_count, session.error_count) == (1, 1)
    assert "no such command" in session.messages.get(role="tool_result").content


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 60, "gen_ai.usage.cache_creation.input_tokens": 30, "gen_ai.usage.output_tokens": 5}, (10, 5, 60, 30)),
        ({"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 5}, (100, 5, 0, 0)),
        ({"llm.token_count.prompt": 100, "llm.token_count.completion": 5, "llm.token_count.prompt_details.cache_read": 40}, (60, 5, 40, 0)),
        ({"ai.usage.promptTokens": 100, "ai.usage.completionTokens": 5}, (100, 5, 0, 0)),
        ({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read_input_tokens": 60, "gen_ai.usage.output_tokens": 5}, (10, 5, 60, 0)),  # kept apart
    ],
)  # fmt: skip
def test_counts_are_disjoint(sender: Sender, given: dict[str, int], counts: tuple[int, ...]) -> None:
    sender.send(traces(span(1, {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", **given})))
    record = UsageRecord.objects.get()
    assert (record.input_tokens, record.output_tokens, record.cache_read_tokens, record.cache_write_tokens) == counts


def test_only_spans_that_are_one_call_are_counted(sender: Sender) -> None:
    sums = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5, "gen_ai.request.model": "gpt-4o"}
    sender.send(
        traces(
            span(1, {**sums, "gen_ai.operation.name": "invoke_agent"}),
            span(2, {**sums, "openinference.span.kind": "AGENT"}, parent=1),
            span(3, sums, parent=2),  # looks like a call, and stands above one
            chat(4, [("user", "hi")], "hello", parent=3),
        )
    )
    assert UsageRecord.objects.get().event_id == f"{TRACE}:{4:016x}"


def test_a_call_that_led_to_another_agents_call_is_counted_beside_it(sender: Sender) -> None:
    sender.send(
        traces(
            chat(1, [("user", "hi")], "hello"),
            span(2, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ask"}, parent=1),
            span(3, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}, parent=2),
            chat(4, [("user", "please")], "yes", parent=3),
        )
    )
    assert UsageRecord.objects.count() == 2


def test_parents_in_a_circle_and_long_chains_end(sender: Sender) -> None:
    circle = [chat(1, [("user", "a")], parent=2), chat(2, [("user", "b")], parent=1), chat(3, [("user", "c")], parent=3)]
    sender.send(traces(*circle, *[span(number, {"gen_ai.request.model": "m"}, parent=number - 1) for number in range(10, 3000)]))
    assert only().total_turns <= 3


def test_a_conversation_id_names_the_session_before_a_session_id(sender: Sender) -> None:
    sender.send(
        traces(
            span(2, {"session.id": "browser"}, name="GET /"),
            chat(1, [("user", "hi")], parent=2, second=1, attributes={"gen_ai.conversation.id": "c-1"}),
        )
    )
    assert only().key == "c-1"


def test_a_message_has_a_limit(sender: Sender, settings: Any) -> None:
    settings.API_MAX_MESSAGE_BYTES = 1000
    rejected, words = sender.rejected(traces(chat(1, [("user", "x" * 1001)], "hello")))
    assert (rejected, "1,000 bytes" in words) == (1, True)
    assert said(only()) == [("assistant", "hello")]
    assert only().total_turns == 1


def test_a_sum_that_comes_after_its_calls_is_not_counted(sender: Sender) -> None:
    sender.send(traces(chat(4, [("user", "hi")], "hello", parent=3)))
    sender.send(traces(span(3, {"gen_ai.usage.input_tokens": 10, "gen_ai.request.model": "gpt-4o", "llm.request.type": "chat"})))
    assert UsageRecord.objects.count() == 1


def test_model_cost_and_agent(sender: Sender) -> None:
    attributes = {
        "gen_ai.response.model": "publishers/google/models/gemini-2.5-flash",
        "operation.cost": 0.25,
        "gen_ai.agent.name": "joker",
    }
    sender.send(traces(chat(1, [("user", "hi")], "hello", attributes=attributes), resource={"service.name": "shop"}))
    record = UsageRecord.objects.get()
    assert (record.model, record.cost_usd, record.cost_source) == ("gemini-2.5-flash", Decimal("0.25"), "reported")
    assert only().agent == "joker"


def test_a_cost_of_zero_says_nothing(sender: Sender) -> None:
    sender.send(traces(chat(1, [("user", "hi")], attributes={"gen_ai.usage.cost": 0.0}), resource={"service.name": "shop"}))
    assert UsageRecord.objects.get().cost_source == "computed"
    assert only().agent == "shop"


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "hello"},
        {"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi", "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.contents.0.message_content.text": "hello"},
        {"ai.prompt.messages": '[{"role":"user","content":[{"type":"text","text":"hi"}]}]', "ai.response.text": "hello"},
        {"gen_ai.prompt": '[{"role": "user", "content": "hi"}]', "gen_ai.completion": '{"role": "assistant", "content": "hello"}'},
        {"input.value": "hi", "output.value": "hello"},
        {"events": '[{"event.name":"gen_ai.user.message","role":"user","content":"hi"},{"event.name":"gen_ai.choice","index":0,"message":{"role":"assistant","content":"hello"}}]'},
    ],
    ids=["gen_ai.prompt.N", "openinference", "vercel", "langsmith", "values", "logfire"],
)  # fmt: skip
def test_every_family_says_what_was_said(sender: Sender, attributes: dict[str, str]) -> None:
    sender.send(traces(span(1, {"gen_ai.operation.name": "chat", **attributes})))
    assert said(only()) == [("user", "hi"), ("assistant", "hello")]


def test_span_events_say_what_was_said(sender: Sender) -> None:
    from tests.factories import T0
    from tests.otlp.tools import nano, pairs

    def event(name: str, **attributes: str) -> dict[str, Any]:
        return {"name": name, "timeUnixNano": nano(T0), "attributes": pairs(attributes)}

    old = [
        event("gen_ai.content.prompt", **{"gen_ai.prompt": '[{"role":"user","content":"hi"}]'}),
        event("gen_ai.content.completion", **{"gen_ai.completion": "hello"}),
    ]
    new = [
        event("gen_ai.system.message", content="be kind"),
        event("gen_ai.user.message", content="hi"),
        event("gen_ai.choice", message='{"content": "hello"}'),
    ]
    sender.send(
        traces(
            span(1, {"gen_ai.operation.name": "chat"}, events=old),
            span(2, {"gen_ai.operation.name": "chat"}, events=new, trace=OTHER_TRACE),
        )
    )
    assert said(Session.objects.get(key=TRACE)) == [("user", "hi"), ("assistant", "hello")]
    assert said(Session.objects.get(key=OTHER_TRACE)) == [("system", "be kind"), ("user", "hi"), ("assistant", "hello")]


def test_a_trace_of_another_world_is_kept_as_a_dead_letter(sender: Sender) -> None:
    document = traces(span(1, {"http.method": "GET"}, name="GET /"), span(2, {"db.system": "sqlite"}, name="SELECT", parent=1))
    assert sender.rejected(document)[0] == 2
    sender.send(document)
    assert not Session.objects.exists()
    assert {(one.door, one.reason, one.times) for one in DeadLetter.objects.all()} == {("traces", "no_genai_span", 2)}


def test_coding_agents_are_counted_from_their_logs_not_their_spans(sender: Sender) -> None:
    rejected, words = sender.rejected(traces(chat(1, [("user", "hi")], "hello"), resource={"service.name": "codex_cli_rs"}))
    assert rejected == 1
    assert "OTEL_LOGS_EXPORTER" in words
    assert not UsageRecord.objects.exists()


# --- whose telemetry it is ------------------------------------------------------------------------------------------------------------


def test_a_bound_token_writes_as_no_other() -> None:
    bound = Sender(user_id="alice", channel="slack", agent="shop-bot")
    bound.send(traces(chat(1, [("user", "hi")], "hello", attributes={"gen_ai.agent.name": "other", "session.id": "c"})))
    session = only()
    assert (session.user_id, session.channel_id, session.agent) == ("alice", "slack", "shop-bot")
    rejected, words = bound.rejected(traces(chat(2, [("user", "hi")], trace=OTHER_TRACE, attributes={"user.id": "bob"})))
    assert (rejected, "alice" in words) == (1, True)
    assert Session.objects.count() == 1


def test_a_bound_agent_stays_out_of_anothers_session() -> None:
    make_session("main", "c", user_id="admin", agent="other-bot")
    assert Sender(agent="shop-bot").rejected(traces(chat(1, [("user", "hi")], attributes={"session.id": "c"})))[0] == 1
    assert not UsageRecord.objects.exists()


def test_two_tokens_may_send_the_same_trace(sender: Sender) -> None:
    document = traces(chat(1, [("user", "hi")], "hello"))
    sender.send(document)
    Sender(user_id="bob").send(document)
    assert Session.objects.count() == 2
    assert_recount_finds_nothing()


def test_a_session_begun_by_python_goes_on(sender: Sender) -> None:
    made = make_session("main", "c", user_id="alice", messages=2)
    sender.send(traces(chat(1, [("user", "hi")], "hello", attributes={"session.id": "c", "user.id": "alice"})))
    assert only().pk == made.pk
    assert_recount_finds_nothing()
