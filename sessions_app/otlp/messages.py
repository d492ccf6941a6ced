"""What a span says was said: the message attributes and events of every family of instrumentation -> messages in order. Pure.

Families: GenAI semantic conventions (messages as JSON attributes now, numbered attributes and span events before), OpenInference, the
Vercel AI SDK; inside them the message shapes of OpenAI, Anthropic and Gemini, which instrumentations pass on as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sessions_app.otlp.decode import Span, as_text

USER, ASSISTANT, SYSTEM, TOOL = "user", "assistant", "system", "tool"
ROLES = {
    "user": USER,
    "human": USER,
    "assistant": ASSISTANT,
    "model": ASSISTANT,
    "ai": ASSISTANT,
    "system": SYSTEM,
    "developer": SYSTEM,
    "tool": TOOL,
    "function": TOOL,
}
CALLS = {"tool_call", "tool_use", "tool-call", "function_call"}  # the types that a part or item of a tool call may bear
RESULTS = {"tool_call_response", "tool_result", "tool-result", "function_call_output"}
THOUGHTS = {"reasoning", "thinking"}
EVENT_ROLES = {
    "gen_ai.system.message": SYSTEM,
    "gen_ai.user.message": USER,
    "gen_ai.assistant.message": ASSISTANT,
    "gen_ai.tool.message": TOOL,
}


@dataclass(slots=True)
class Word:
    """One message as a span tells it. role: of events.ROLES. call_id, name, value: of a tool's call (its arguments) and result (its output)."""

    role: str
    text: str = ""
    call_id: str = ""
    name: str = ""
    value: Any = None
    is_error: bool = False
    parts: list[Any] = field(default_factory=list)  # what is no text: images and the like, as it came


def input_words(span: Span) -> list[Word]:
    """Return what was sent to the model, instructions first: the first family that says anything."""
    found = span.attributes
    instructions = [Word(SYSTEM, text) for text in _texts(parsed(found.get("gen_ai.system_instructions")))]
    messages = _message_list(found.get("gen_ai.input.messages"))
    if not messages and "llm.input_messages.0.message.role" in found:
        messages = numbered(found, "llm.input_messages.", "message")
    if not messages and ("gen_ai.prompt.0.content" in found or "gen_ai.prompt.0.role" in found):
        messages = numbered(found, "gen_ai.prompt.", "")
    if not messages:
        messages = _of_events(span, output=False)
    if not messages and "events" in found:
        messages = [one for one in _message_list(found["events"]) if one.get("event.name") != "gen_ai.choice"]
    for key in (
        "ai.prompt.messages",
        "ai.prompt",
        "gen_ai.prompt",
        "gen_ai.content.prompt",
        "llm.prompts",
        "input.value",
        "traceloop.entity.input",
    ):
        if messages:
            break
        if key in found:
            messages = _loose(found[key], USER)
    return instructions + words(messages, USER)


def output_words(span: Span) -> list[Word]:
    """Return what the model answered: the first family that says anything."""
    found = span.attributes
    messages = _message_list(found.get("gen_ai.output.messages"))
    if not messages and any(key.startswith("llm.output_messages.0.") for key in found):
        messages = numbered(found, "llm.output_messages.", "message")
    if not messages and ("gen_ai.completion.0.content" in found or "gen_ai.completion.0.role" in found):
        messages = numbered(found, "gen_ai.completion.", "")
    if not messages:
        messages = _of_events(span, output=True)
    if not messages and "events" in found:
        messages = [_choice(one) for one in _message_list(found["events"]) if one.get("event.name") == "gen_ai.choice"]
    if not messages and ("ai.response.text" in found or "ai.response.toolCalls" in found or "ai.response.object" in found):
        text = found.get("ai.response.text") or found.get("ai.response.object") or found.get("ai.result.text") or ""
        calls = parsed(found.get("ai.response.toolCalls"))
        content = [{"type": "text", "text": text}] if text else []
        content += [{**one, "type": "tool-call"} for one in calls if isinstance(one, dict)] if isinstance(calls, list) else []
        messages = [{"role": ASSISTANT, "content": content}]
    for key in ("gen_ai.completion", "gen_ai.content.completion", "output.value", "traceloop.entity.output"):
        if messages:
            break
        if key in found:
            messages = _loose(found[key], ASSISTANT)
    return words(messages, ASSISTANT)


def run_words(span: Span) -> tuple[list[Word], list[Word]]:
    """Return what an agent's or a chain's span tells of the whole run, for a trace whose calls say nothing: the history, and the answer."""
    for key in ("pydantic_ai.all_messages", "all_messages_events"):
        if key in span.attributes and (messages := _message_list(span.attributes[key])):
            return words(messages, USER), []
    return input_words(span), output_words(span)


def words(messages: list[dict[str, Any]], default_role: str) -> list[Word]:
    """Unfold messages into words: texts, thoughts, calls, results, each its own. A result that names no call answers the oldest unanswered one."""
    found: list[Word] = []
    waiting: list[Word] = []
    for message in messages:
        for word in _unfold(message, default_role):
            if word.role == "tool_use":
                waiting.append(word)
            elif word.role == "tool_result" and waiting:
                call = next((one for one in waiting if one.call_id and one.call_id == word.call_id), None)
                if call is None and not word.call_id:
                    call = waiting[0]
                    word.call_id = call.call_id
                if call is not None:
                    word.name = word.name or call.name
                    waiting.remove(call)
            found.append(word)
    return found


def parsed(value: Any) -> Any:
    """Return what a JSON text says, the value itself when it is none; nothing about it is trusted yet."""
    if isinstance(value, str) and value[:1] in "[{" and value:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def numbered(attributes: dict[str, Any], prefix: str, inner: str) -> list[dict[str, Any]]:
    """Build messages from attributes such as llm.input_messages.0.message.tool_calls.1.tool_call.id."""
    tree: dict[str, Any] = {}
    length = len(prefix)
    for key, value in attributes.items():
        if key.startswith(prefix):
            steps = key[length:].split(".")
            if len(steps) > 12:
                continue
            here = tree
            for step in steps[:-1]:
                here = here.setdefault(step, {})
                if not isinstance(here, dict):
                    break
            else:
                here.setdefault(steps[-1], value)
    found = []
    for one in _in_order(tree):
        message = one.get(inner) if inner else one
        if not isinstance(message, dict):
            continue
        made = dict(message)
        contents = [_content_of(part) for part in _in_order(message.get("contents"))]
        if contents and not made.get("content"):
            made["content"] = contents
        calls = [call.get("tool_call", call) for call in _in_order(message.get("tool_calls"))]
        if calls:
            made["tool_calls"] = [{**call, "id": call.get("id", "")} for call in calls if isinstance(call, dict)]
        elif message.get("function_call_name"):
            made["tool_calls"] = [{"name": message["function_call_name"], "arguments": message.get("function_call_arguments_json")}]
        found.append(made)
    return found


def _content_of(part: dict[str, Any]) -> dict[str, Any]:
    inner = part.get("message_content", part)
    return {"type": "text", **inner} if isinstance(inner, dict) and "text" in inner else {"type": "other", "value": inner}


def _in_order(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield the branches of a numbered tree by their number."""
    if isinstance(tree, dict):
        for key in sorted((key for key in tree if key.isdecimal() and len(key) < 8), key=int):
            if isinstance(tree[key], dict):
                yield tree[key]


def _message_list(value: Any) -> list[dict[str, Any]]:
    data = parsed(value)
    if isinstance(data, dict):
        data = data.get("messages", [data])
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _loose(value: Any, role: str) -> list[dict[str, Any]]:
    """Read an attribute that may hold a message list, one message, an answer of a provider, or any text."""
    data = parsed(value)
    if isinstance(data, dict):
        inner = data.get("messages") or data.get("contents") or data.get("prompt") or data.get("input")
        if isinstance(data.get("choices"), list):  # an OpenAI chat completion
            inner = [one.get("message") for one in data["choices"] if isinstance(one, dict)]
        elif isinstance(data.get("candidates"), list):  # Gemini's
            inner = [one.get("content") for one in data["candidates"] if isinstance(one, dict)]
        if isinstance(inner, str):
            return [{"role": role, "content": inner}]
        if isinstance(inner, list) and (found := [_with_role(one, role) for one in inner if isinstance(one, dict | str)]):
            system = data.get("system")
            return [{"role": SYSTEM, "content": system}, *found] if isinstance(system, str) and system else found
        if "role" in data or ("content" in data and isinstance(data["content"], str | list)):
            return [data]
        return [{"role": role, "content": as_text(data)}] if data else []
    if isinstance(data, list):
        if data and all(isinstance(one, str) for one in data):
            return [{"role": role, "content": one} for one in data]
        found = [one for one in data if isinstance(one, dict)]
        if any(one.keys() & {"role", "parts", "content", "text", "type"} for one in found):
            return [_with_role(one, role) for one in found]
        return [{"role": role, "content": as_text(data)}] if data else []
    if data is None or data == "":
        return []
    return [{"role": role, "content": data if isinstance(data, str) else as_text(data)}]


def _with_role(one: Any, role: str) -> dict[str, Any]:
    return {"role": role, "content": one} if isinstance(one, str) else one if "role" in one else {**one, "role": role}


def _of_events(span: Span, *, output: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for event in span.events:
        attributes = event.attributes
        if event.name == "gen_ai.choice":
            if output:
                found.append(_choice(attributes))
        elif event.name in EVENT_ROLES:
            if not output:
                found.append({"role": EVENT_ROLES[event.name], **_opened(attributes)})
        elif event.name == "gen_ai.client.inference.operation.details":
            found += _message_list(attributes.get("gen_ai.output.messages" if output else "gen_ai.input.messages"))
        elif event.name == ("gen_ai.content.completion" if output else "gen_ai.content.prompt"):
            found += _loose(attributes.get("gen_ai.completion" if output else "gen_ai.prompt"), ASSISTANT if output else USER)
    return found


def _opened(attributes: dict[str, Any]) -> dict[str, Any]:
    """An event's attributes with what is JSON text in them read."""
    made = {key.removeprefix("gen_ai.event."): value for key, value in attributes.items()}
    for key in ("content", "tool_calls", "message"):
        if key in made and (key != "content" or str(made[key])[:2] == "[{"):
            made[key] = parsed(made[key])
    return made


def _choice(attributes: dict[str, Any]) -> dict[str, Any]:
    opened = _opened(attributes)
    message = opened.get("message")
    if isinstance(message, dict):
        return {"role": ASSISTANT, **message}
    return {"role": ASSISTANT, **opened, **({"content": message} if isinstance(message, str) else {})}


# --- one message -> its words ---------------------------------------------------------------------------------------------------------


def _unfold(message: dict[str, Any], default_role: str) -> Iterator[Word]:
    kind = message.get("type")
    if isinstance(kind, str) and (kind in CALLS or kind in RESULTS):  # an item of the Responses API, which is a message of its own
        yield from _part(message, ASSISTANT if kind in CALLS else TOOL, [])
        return
    role = ROLES.get(str(message.get("role") or "").lower(), default_role)
    content = message.get("parts", message.get("content"))
    if isinstance(content, str) and content.startswith('[{"') and (calls := _calls_in(content)):
        content, message = None, {**message, "tool_calls": calls}
    if role == TOOL and not isinstance(content, list) and not message.get("tool_calls"):
        if content is not None:
            yield Word(
                "tool_result",
                call_id=_name(message.get("tool_call_id") or message.get("id")),
                name=_name(message.get("name")),
                value=parsed(content),
            )
        return
    others: list[Any] = []
    texts: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        for word in _part(part, role, others):
            if word.role == role:
                texts.append(word.text)
                continue
            if texts:
                yield Word(role, "\n".join(texts))
                texts = []
            yield word
    if texts or others:
        yield Word(
            role if role != TOOL else "tool_result",
            "\n".join(texts),
            parts=others,
            value="\n".join(texts) or others,
            call_id=_name(message.get("tool_call_id")),
        )
    listed = message.get("tool_calls")
    for call in listed if isinstance(listed, list) else ():
        if isinstance(call, dict):
            yield from _part({"type": "tool_call", **call, **_dict(call.get("function"))} | {"type": "tool_call"}, role, others)


def _calls_in(content: str) -> list[dict[str, Any]]:
    """Return the tool calls when a text is a JSON list of them, as some frameworks write them."""
    data = parsed(content)
    if isinstance(data, list) and data and all(isinstance(one, dict) and isinstance(one.get("function"), dict) for one in data):
        return data
    return []


def _part(part: Any, role: str, others: list[Any]) -> Iterator[Word]:
    if part is None:
        return
    if not isinstance(part, dict):
        yield Word(role, part if isinstance(part, str) else as_text(part))
        return
    kind = str(part.get("type") or "")
    if isinstance(call := part.get("function_call", part.get("functionCall")), dict):
        yield Word("tool_use", call_id=_name(call.get("id")), name=_name(call.get("name")), value=call.get("args", call.get("arguments")))
    elif isinstance(answer := part.get("function_response", part.get("functionResponse")), dict):
        yield Word("tool_result", call_id=_name(answer.get("id")), name=_name(answer.get("name")), value=answer.get("response"))
    elif kind in CALLS:
        arguments = next((part[key] for key in ("arguments", "args", "input") if key in part), None)
        yield Word("tool_use", call_id=_call_id(part), name=_name(part.get("name") or part.get("toolName")), value=parsed(arguments))
    elif kind in RESULTS:
        output = next((part[key] for key in ("response", "result", "output", "content") if key in part), None)
        yield Word(
            "tool_result",
            call_id=_call_id(part),
            name=_name(part.get("name") or part.get("toolName")),
            value=parsed(output),
            is_error=part.get("is_error") is True or part.get("isError") is True,
        )
    elif kind in THOUGHTS:
        text = part.get("content") or part.get("thinking") or part.get("text")
        if isinstance(text, str) and text:
            yield Word("thinking", text)
    else:
        text = part.get("text", part.get("content"))
        if isinstance(text, str):
            if text:
                yield Word(role, text)
        else:
            others.append(part)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list):
        found = [one if isinstance(one, str) else one.get("content", one.get("text")) for one in value if isinstance(one, str | dict)]
        return [text for text in found if isinstance(text, str) and text]
    return []


def _call_id(part: dict[str, Any]) -> str:
    return next((_name(part[key]) for key in ("id", "call_id", "tool_use_id", "tool_call_id", "toolCallId") if part.get(key)), "")


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
