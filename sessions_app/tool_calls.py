"""What a tool call did: one telling line, its input and output as a reader wants them, and how it ended.

Pure: a call's message and its result's in, plain objects out, every text already safe HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sessions_app import rendering
from sessions_app.models import Message
from sessions_app.rendering import Diff, Shown, one_line

# Characters of a tool's telling argument on its one line.
ARGUMENT_LIMIT = 200

# What tells most of a call, best first.
TELLING = (
    *("command", "cmd", "file_path", "notebook_path", "path", "filename", "pattern", "query", "url", "description", "prompt"),
    *("skill", "subject", "title", "name", "message", "text", "question", "input"),
)
EXIT_CODE = re.compile(r"^(?:Error: )?(?:Process exited with|Exit) code:? (-?\d+)", re.IGNORECASE | re.MULTILINE)
EXIT_CODE_WITHIN = 300  # characters of the output


@dataclass(slots=True)
class Part:
    """One labelled text inside a tool call. message: where the whole text is read, when it was cut."""

    label: str
    text: Shown | None = None
    diff: Diff | None = None
    message: Message | None = None


@dataclass(slots=True)
class ToolCall:
    """A call and its result; either may be missing: on another page, or never written."""

    anchor: str
    name: str
    argument: str
    call: Message | None
    result: Message | None = None
    parts: list[Part] = field(default_factory=list)
    stat: str = ""
    diff: Diff | None = None
    verdict: str = ""
    is_bad: bool = False
    # the sub-agent that the call started (turns.SubAgent), shown inside it
    thread: Any = None

    @property
    def took(self) -> timedelta | None:
        if self.call is None or self.result is None or self.result.timestamp < self.call.timestamp:
            return None
        return self.result.timestamp - self.call.timestamp


def describe(call: Message | None, result: Message | None, *, project: str = "") -> ToolCall:
    """Return one call with its result; one of the two may be missing. project: the folder that paths are shown from."""
    message = call or result
    assert message is not None
    name = message.tool_name or "unknown"
    arguments = tool_arguments(call.content) if call is not None else None
    argument = telling_argument(arguments)
    if project.startswith("/"):
        argument = argument.removeprefix(f"{project}/")
    found = ToolCall(f"m{message.pk}", name, argument, call, result)
    if call is not None:
        found.diff = edit_diff(arguments)
        found.parts += _input_parts(arguments, call, found.diff)
    if result is not None:
        output = tool_output(result.content)
        found.parts.append(Part("Output", rendering.plain(output), message=result))
        found.is_bad = result.is_error
        exit_code = EXIT_CODE.search(output[:EXIT_CODE_WITHIN]) if found.is_bad else None
        found.verdict = (f"exit {exit_code[1]}" if exit_code else "failed") if found.is_bad else "ok"
        lines = output.rstrip("\n").count("\n") + 1 if output.strip() else 0
        if lines > 1 and found.diff is None:
            found.stat = f"{lines:,} lines"
    return found


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def tool_arguments(content: str) -> Any:
    """Return a tool_use message's input; content that is not our JSON is the input itself."""
    data = _json(content)
    return data.get("input") if isinstance(data, dict) and data.get("type") == "tool_use" else content


def tool_output(content: str) -> str:
    """Return a tool_result message's output as text: of a list of blocks the texts, and for the others what they are."""
    data = _json(content)
    output = data.get("content") if isinstance(data, dict) and data.get("type") == "tool_result" else content
    return _output_text(output)


def _output_text(output: Any) -> str:
    if output is None:
        return ""
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "\n".join(_block_text(block) for block in output)
    return _pretty(output)


def _block_text(block: Any) -> str:
    if isinstance(block, dict):
        if isinstance(block.get("text"), str):
            return block["text"]
        if block.get("type") in ("image", "input_image"):
            return "[image]"
    return block if isinstance(block, str) else _pretty(block)


def _pretty(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return str(value)


def telling_argument(arguments: Any) -> str:
    """Return the one argument that tells most of a call, on one line."""
    if isinstance(arguments, dict):
        for name in TELLING:
            value = arguments.get(name)
            if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
                # ["bash", "-lc", "git status"]: the script is the telling word
                value = value[-1] if len(value) > 1 and value[-2] in ("-c", "-lc") else " ".join(value)
            if isinstance(value, str) and value.strip():
                return one_line(value, ARGUMENT_LIMIT)
        texts: Iterable[str] = (value for value in arguments.values() if isinstance(value, str) and value.strip())
        return one_line(next(iter(texts), ""), ARGUMENT_LIMIT)
    if isinstance(arguments, str):
        return one_line(arguments, ARGUMENT_LIMIT)
    return "" if arguments is None else one_line(json.dumps(arguments, ensure_ascii=False)[: 4 * ARGUMENT_LIMIT], ARGUMENT_LIMIT)


def edit_diff(arguments: Any) -> Diff | None:
    """Return what an edit changes, when the call says so by old_string and new_string."""
    if not isinstance(arguments, dict):
        return None
    old, new = arguments.get("old_string"), arguments.get("new_string")
    return rendering.diff(old, new) if isinstance(old, str) and isinstance(new, str) else None


def _input_parts(arguments: Any, message: Message, diff: Diff | None) -> list[Part]:
    if diff is not None:
        return [Part("Changes", diff=diff, message=message)]
    if isinstance(arguments, dict):
        command = arguments.get("command") or arguments.get("cmd")
        if isinstance(command, str):
            rest = {name: value for name, value in arguments.items() if name not in ("command", "cmd", "description")}
            parts = [Part("Command", rendering.plain(command), message=message)]
            return parts + ([Part("Other arguments", rendering.plain(_pretty(rest)), message=message)] if rest else [])
        if len(arguments) == 1 and isinstance(value := next(iter(arguments.values())), str):
            return [Part("Input", rendering.plain(value), message=message)]
    if arguments in (None, {}, ""):
        return []
    text = arguments if isinstance(arguments, str) else _pretty(arguments)
    return [Part("Input", rendering.plain(text), message=message)]


def pretty_arguments(content: str) -> str:
    """Return a tool_use message's input as indented JSON, or as it stands when it is text."""
    arguments = tool_arguments(content)
    return arguments if isinstance(arguments, str) else _pretty(arguments)
