"""Whatever stands in the place of an attribute, a message, an id or a time: an answer of the protocol, and numbers that add up."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.otlp.convert import to_protobuf
from tests.otlp.test_agents import call as claude_call
from tests.otlp.test_agents import claude, tokens
from tests.otlp.tools import Sender, assert_recount_finds_nothing, chat, logs, span, traces

texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "\x00", "\ud800", "NaN", "1e999", "-1", "[[", '[{"role":1}]', '{"messages":[[]]}', "9" * 30])
)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
anything = st.recursive(
    st.one_of(texts, numbers), lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)), max_leaves=8
)
messages = st.recursive(
    st.one_of(texts, numbers),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "parts", "type", "text", "tool_calls", "function", "name", "arguments", "id", "function_call", "message", "choices", "candidates"]),
            st.one_of(inner, st.sampled_from(["user", "tool", "tool_call", "tool_call_response", "text", "reasoning"])),
            max_size=5,
        ),
    ),
    max_leaves=12,
)  # fmt: skip
MESSAGE_KEYS = [
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt", "gen_ai.completion", "events",
    "ai.prompt.messages", "ai.response.toolCalls", "input.value", "output.value", "llm.prompts", "pydantic_ai.all_messages",
]  # fmt: skip


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [here] if here else []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += paths(inner, (*here, key))
    return found


DOCUMENTS = [
    (
        "traces",
        traces(
            chat(1, [("user", "hi")], "hello", attributes={"session.id": "c", "user.id": "u", "gen_ai.usage.cost": 0.5}),
            span(
                2,
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": "t",
                    "gen_ai.tool.call.id": "call_12345678",
                    "gen_ai.tool.call.result": "r",
                },
            ),
            span(
                3,
                {
                    "openinference.span.kind": "LLM",
                    "llm.input_messages.0.message.role": "user",
                    "llm.input_messages.0.message.content": "x",
                },
            ),
        ),
    ),
    ("logs", logs(claude_call(), claude("user_prompt", prompt="p"), claude("tool_result", tool_name="t", success="true"))),
    ("metrics", tokens()),
]
slow = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.django_db
@slow
@given(st.data())
def test_any_value_in_any_place(data: st.DataObject) -> None:
    kind, document = data.draw(st.sampled_from(DOCUMENTS))
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(paths(document)))
        here: Any = document
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = data.draw(anything)
        if not isinstance(document, dict) or not paths(document):
            break
    sender = Sender()
    body = json.dumps(document).encode()
    answer = sender.post(kind, body, "application/json")
    assert answer.status_code in (200, 400), (answer.content, body)
    assert sender.post(kind, body, "application/json").status_code == answer.status_code
    assert_recount_finds_nothing()


@pytest.mark.django_db
@slow
@given(st.dictionaries(st.sampled_from(MESSAGE_KEYS), messages, max_size=4), st.sampled_from(["chat", "invoke_agent", "execute_tool", ""]))
def test_any_message(found: dict[str, Any], operation: str) -> None:
    attributes = {"gen_ai.operation.name": operation, **{key: json.dumps(value) for key, value in found.items()}}
    sender = Sender()
    for _ in range(2):
        answer = sender.post("traces", json.dumps(traces(span(1, attributes))).encode(), "application/json")
        assert answer.status_code == 200, answer.content
    assert_recount_finds_nothing()


@pytest.mark.django_db
@slow
@given(st.data())
def test_broken_protobuf(data: st.DataObject) -> None:
    kind, document = data.draw(st.sampled_from(DOCUMENTS))
    body = bytearray(to_protobuf(document))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    answer = Sender().post(kind, bytes(body[: data.draw(st.integers(1, len(body)))]), "application/x-protobuf")
    assert answer.status_code in (200, 400), answer.content
    assert_recount_finds_nothing()
