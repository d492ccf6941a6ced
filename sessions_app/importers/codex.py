"""Codex CLI's logs: `$CODEX_HOME/sessions/YYYY/MM/DD/rollout-<local time>-<session id>.jsonl`, also in `archived_sessions/`.

One line is {timestamp, type, payload}. Tokens stand in a running total; a request is the difference to the total before. User and agent
text appears twice, as an event and as a response item: whichever comes first is shown. Format as seen in versions 0.39 to 0.140.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from sessions_app.events import CompactionEvent, MessageEvent, UsageEvent
from sessions_app.importers.lines import (
    FIRST_YEAR,
    LAST_YEAR,
    count_of,
    digest_of,
    head_records,
    name_of,
    read_time,
    records,
    to_json,
    tool_result,
    tool_use,
)
from sessions_app.importers.logs import LogItem, LogWarning, SessionEvent, SessionFacts, Skipped

AGENT = "codex"

# What stands in a user's response item and was typed by nobody.
INJECTED = (
    "<environment_context>",
    "<user_instructions>",
    "<turn_aborted>",
    "<permissions",
    "<collaboration_mode>",
    "<apps_instructions>",
    "<skill",
    "<plugins_instructions>",
    "<model_switch>",
    "<personality_spec>",
    "<INSTRUCTIONS>",
    "<subagent_notification>",
    "<user_shell_command>",
    "<codex_",
    "# AGENTS.md instructions",
)
# How Codex hands its own summary to the next context.
SUMMARY_BEGINS = "Another language model started to solve this problem"
IDE_REQUEST = "## My request for Codex:"
LINE_TYPES = frozenset({"session_meta", "turn_context", "event_msg", "response_item", "compacted"})
UNKNOWN_MODEL = "unknown"
# The head of a tool's output, where Codex writes exit code and duration.
RESULT_HEAD = 400


def recognise(path: Path, head: bytes) -> bool:
    """Tell whether a file is one of Codex': its name, or a line of its shape."""
    if path.name.startswith("rollout-") and path.suffix == ".jsonl" and b"{" in head[:4]:
        return True
    if any(isinstance(record.get("payload"), dict) and record.get("type") in LINE_TYPES for record in head_records(head)):
        return True
    # A first line longer than the head can't be parsed: its keys come first.
    return b"\n" not in head and b'"type":"session_meta"' in head and b'"payload":' in head


def group(paths: list[Path]) -> list[list[Path]]:
    """Every rollout stands alone: sub-agents and forks are sessions of their own. By name, which begins with the time: a fork's parent
    comes first, also when it lies in the archive, and keeps the tokens that both hold."""
    return [[path] for path in sorted(paths, key=lambda path: (path.name, path))]


def companions(path: Path) -> list[Path]:
    """Return nothing: a sub-agent's rollout is a session of its own."""
    return []


def read(paths: list[Path]) -> Iterator[LogItem]:
    """Yield what the files of one group hold, in their order."""
    for path in paths:
        yield from _Reader(path).read_file()


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.sid = ""
        self.facts = SessionFacts(agent_session_id="")
        self.announced: tuple[str, ...] | None = None
        self.provider = ""
        self.model = UNKNOWN_MODEL
        self.last_time: datetime | None = None
        self.assumed_zone = False
        self.skipped: Counter[str] = Counter()
        self.out: list[LogItem] = []
        self.event_prefix = ""
        # Running totals: input, cached, output, reasoning, total.
        self.totals: tuple[int, ...] | None = None
        self.resets = 0
        self.root = ""  # the session whose totals these are: a fork begins with a copy of its parent's lines
        self.context_tokens = 0
        self.compacted_from = 0  # messages up to the last compaction
        self.messages = 0
        # Which model call a message belongs to. A new one begins with the first output after a counted usage and new input.
        self.call = 0
        self.call_counted = True
        self.call_answered = True
        self.aborted: tuple[str, str, datetime | None] | None = None  # response id, model, time of a request that was broken off
        self.abort_shown = False
        # Texts shown once whose second appearance is still to come, by where they stood first.
        self.shown: dict[str, Counter[str]] = {"event": Counter(), "item": Counter()}
        self.last_prompt: str | None = None  # a person's message from a response item, until anything else is shown

    # --- lines ------------------------------------------------------------------------------------------------------------------

    def read_file(self) -> Iterator[LogItem]:
        path, out = self.path, self.out
        try:
            with path.open("rb", buffering=1 << 20) as file:
                for number, line in enumerate(file, 1):
                    self.number = number
                    try:
                        record = orjson.loads(line)
                    except ValueError:
                        found, reason = records(line)
                        for index, record in enumerate(found):
                            self.safe_record(record, line, index)
                        if reason:
                            self.warn(reason)
                    else:
                        self.safe_record(record, line, 0)
                    if out:
                        yield from out
                        out.clear()
        except OSError as error:
            yield LogWarning(path, self.number, f"cannot be read: {error.strerror or error}")
        if self.announced is not None and self.announced != self.state():
            self.announce()
            yield from out
            out.clear()
        yield Skipped({kind: count for kind, count in self.skipped.items() if count})

    def warn(self, reason: str) -> None:
        self.out.append(LogWarning(self.path, self.number, reason))

    def safe_record(self, record: Any, line: bytes, index: int) -> None:
        if type(record) is not dict:
            self.warn(f"not a record but a JSON {type(record).__name__}")
            return
        try:
            self.record(record, line, index)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
            self.warn(f"unexpected shape: {type(error).__name__}: {str(error)[:100]}")

    def record(self, record: dict[str, Any], line: bytes, index: int) -> None:
        self.assumed_zone = False
        stamp = record.get("timestamp", record.get("created_at"))
        if stamp is not None:
            self.set_time(stamp)
        if self.facts.started_at is None:
            self.facts.started_at = self.last_time
        kind = record.get("type")
        payload = record.get("payload")
        if type(payload) is not dict:
            # Before version 0.30 a line was the item itself, and the first line the header.
            if kind is None and type(record.get("id")) is str and "timestamp" in record:
                self.session_meta(record)
            elif kind in ITEMS or (kind is None and type(record.get("role")) is str):
                self.named(line, index)
                self.response_item("message" if kind is None else kind, record)
            else:
                self.skip(kind)
            return
        if kind == "response_item":
            self.named(line, index)
            self.response_item(payload.get("type"), payload)
        elif kind == "event_msg":
            what = payload.get("type")
            if what == "token_count":
                self.token_count(payload.get("info"))
            elif what in EVENTS:
                self.named(line, index)
                EVENTS[what](self, payload)
            else:
                self.skip(f"event_msg/{what}")
        elif kind == "turn_context":
            self.turn_context(payload)
        elif kind == "session_meta":
            self.session_meta(payload)
        elif kind == "compacted":
            self.named(line, index)
            self.compacted(payload)
        else:
            self.skip(kind)

    def skip(self, kind: object) -> None:
        self.skipped[kind[:60] if type(kind) is str else "no type"] += 1

    def named(self, line: bytes, index: int) -> None:
        """Take the line's digest as its name: Codex gives its lines none, and the same line in an archived copy is the same."""
        if not self.sid:
            self.begin(_id_of(self.path))
        self.event_prefix = f"{self.sid}:{digest_of(line, index)}:"

    def set_time(self, stamp: object) -> None:
        try:
            moment = datetime.fromisoformat(stamp)  # type: ignore[arg-type]
            if moment.tzinfo is not None and FIRST_YEAR <= moment.year < LAST_YEAR:
                self.last_time = moment
                return
        except (ValueError, TypeError):
            pass
        moment_or_none, self.assumed_zone = read_time(stamp)
        self.last_time = moment_or_none or self.last_time

    # --- the session as a whole -------------------------------------------------------------------------------------------------

    def begin(self, session_id: str) -> None:
        self.sid = self.facts.agent_session_id = session_id
        self.root = self.root or session_id

    def session_meta(self, payload: dict[str, Any]) -> None:
        session_id = name_of(payload.get("id")) or name_of(payload.get("session_id"))
        if self.sid:
            # Again on every resume. Another id: a fork's copy of its parent's lines, whose tokens are the parent's.
            if session_id and session_id != self.sid:
                self.root = session_id
            return
        self.begin(session_id or _id_of(self.path))
        facts = self.facts
        facts.project = _text(payload.get("cwd"))
        self.provider = name_of(payload.get("model_provider"))
        git = payload.get("git")
        if type(git) is dict:
            facts.git_branch = _text(git.get("branch"))
            for key in ("repository_url", "commit_hash"):
                if name_of(git.get(key)):
                    facts.extra[key] = git[key]
        started, _ = read_time(payload.get("timestamp"))
        facts.started_at = started or facts.started_at
        for key in ("originator", "cli_version", "thread_source", "forked_from_id", "parent_thread_id", "agent_nickname", "agent_role"):
            if name_of(payload.get(key)):
                facts.extra[key] = payload[key]
        source = payload.get("source")
        spawn = source.get("subagent") if type(source) is dict else None
        spawn = spawn.get("thread_spawn") if type(spawn) is dict else None
        if type(spawn) is dict:
            for key in ("parent_thread_id", "agent_nickname", "agent_role"):
                if name_of(spawn.get(key)):
                    facts.extra.setdefault(key, spawn[key])
        self.root = facts.extra.get("forked_from_id") or self.sid

    def turn_context(self, payload: dict[str, Any]) -> None:
        if model := name_of(payload.get("model")):
            self.model = model
        if not self.facts.project:
            self.facts.project = _text(payload.get("cwd"))

    def state(self) -> tuple[str, ...]:
        return (self.facts.project, self.facts.title, self.facts.git_branch)

    def announce(self) -> None:
        self.announced = self.state()
        facts = self.facts
        self.out.append(
            SessionFacts(
                agent_session_id=facts.agent_session_id,
                project=facts.project,
                title=facts.title,
                git_branch=facts.git_branch,
                started_at=facts.started_at,
                extra=dict(facts.extra),
            )
        )

    def emit(self, event: MessageEvent | UsageEvent | CompactionEvent) -> None:
        if self.announced is None:
            self.announce()
        if self.assumed_zone:
            event.extra["assumed_utc"] = True
        if type(event) is MessageEvent:
            self.messages += 1
            self.last_prompt = None
        self.out.append(SessionEvent(self.sid, event))

    def say(self, role: str, text: str, part: int = 0, *, response: bool = False, titles: bool = True, **extra: Any) -> None:
        self.emit(
            MessageEvent(
                role=role,
                content=text,
                timestamp=self.last_time,
                event_id=f"{self.event_prefix}{part}",
                response_id=self.response_id() if response else "",
                is_error=extra.get("level") == "error",
                titles=titles,
                extra=extra,
            )
        )

    def is_second(self, where: str, text: str) -> bool:
        """Tell whether this text was shown before from the other place; if not, remember that it is shown now."""
        text = text.strip()
        other = self.shown["item" if where == "event" else "event"]
        if other[text] > 0:
            other[text] -= 1
            return True
        self.shown[where][text] += 1
        return False

    # --- which call wrote it ----------------------------------------------------------------------------------------------------

    def response_id(self) -> str:
        """Return the id of the model call whose output is being read."""
        if self.call_counted and self.call_answered:
            self.call += 1
            self.call_counted = self.call_answered = False
        return f"{self.sid}:{self.call}"

    def new_input(self) -> None:
        """What follows answers a person: no output before it belongs to the same call, counted or not."""
        self.call_counted = self.call_answered = True
        for texts in self.shown.values():
            texts.clear()

    # --- response items ---------------------------------------------------------------------------------------------------------

    def response_item(self, kind: object, payload: dict[str, Any]) -> None:
        handler = ITEMS.get(kind) if type(kind) is str else None
        if handler is None:
            self.skip(f"response_item/{kind}")
        else:
            handler(self, payload)

    def message(self, payload: dict[str, Any]) -> None:
        role = payload.get("role")
        content = payload.get("content", payload.get("message"))
        texts: list[str] = []
        attachments: list[dict[str, Any]] = []
        if type(content) is str:
            texts.append(content)
        elif type(content) is list:
            for block in content:
                if type(block) is not dict:
                    continue
                if type(block.get("text")) is str:
                    texts.append(block["text"])
                elif block.get("type") in ("input_image", "image"):
                    attachments.append(_image(block.get("image_url")))
        text = "\n".join(texts)
        if role == "assistant":
            if text and not self.is_second("item", text):
                self.say("assistant", text, response=True)
            return
        if not text and not attachments:
            self.skip("response_item/message without text")
            return
        injected = role != "user" or (all(one.startswith(INJECTED) for one in texts if one.strip()) and not attachments)
        if injected:
            self.abort_shown = self.abort_shown or text.startswith("<turn_aborted>")
            self.say("system", text, titles=False, is_meta=True)
            return
        if attachments:
            # The words around a picture are Codex' markup: <image name=[Image #1]> before it, </image> behind it.
            texts = [one for one in texts if not one.startswith("<image") and one != "</image>"]
            text = "\n".join(texts)
        if self.is_second("item", text):
            return
        self.new_input()
        self.shown["item"][text.strip()] += 1
        self.prompt(text, attachments)
        self.last_prompt = text

    def prompt(self, text: str, attachments: list[dict[str, Any]]) -> None:
        _, found, request = text.partition(IDE_REQUEST)
        if found and not self.facts.title:
            self.facts.title = request.strip()[:500]  # an editor puts its own words before the person's
        extra: dict[str, Any] = {"attachments": attachments} if attachments else {}
        self.say("user", text, **extra)

    def reasoning(self, payload: dict[str, Any]) -> None:
        parts = [block for key in ("summary", "content") for block in (payload.get(key) or ()) if type(block) is dict]
        texts = [block["text"] for block in parts if type(block.get("text")) is str and block["text"].strip()]
        self.response_id()
        if not texts:
            self.skip("response_item/reasoning (encrypted)")
        for part, text in enumerate(texts):
            if not self.is_second("item", text):
                self.say("thinking", text, part, response=True)

    def called(self, payload: dict[str, Any], name: str, arguments: Any) -> str:
        call_id = name_of(payload.get("call_id")) or name_of(payload.get("id"))
        self.emit(
            tool_use(call_id, name, arguments, timestamp=self.last_time, event_id=f"{self.event_prefix}0", response_id=self.response_id())
        )
        return call_id

    def function_call(self, payload: dict[str, Any]) -> None:
        function = payload.get("function")
        name = name_of(payload.get("name")) or (name_of(function.get("name")) if type(function) is dict else "") or "unknown"
        if namespace := name_of(payload.get("namespace")):
            name = f"{namespace}.{name}"
        self.called(payload, name, _arguments(payload.get("arguments")))

    def custom_tool_call(self, payload: dict[str, Any]) -> None:
        self.called(payload, name_of(payload.get("name")) or "unknown", payload.get("input"))

    def local_shell_call(self, payload: dict[str, Any]) -> None:
        self.called(payload, "local_shell", payload.get("action"))

    def web_search_call(self, payload: dict[str, Any]) -> None:
        self.called(payload, "web_search", payload.get("action"))

    def tool_search_call(self, payload: dict[str, Any]) -> None:
        self.called(payload, "tool_search", _arguments(payload.get("arguments")))

    def image_generation_call(self, payload: dict[str, Any]) -> None:
        call_id = self.called(payload, "image_generation", {"revised_prompt": payload.get("revised_prompt")})
        data = payload.get("result")
        if type(data) is str and data:
            source = {"type": "base64", "media_type": "image/png", "data": data}
            self.answered(call_id, [{"type": "image", "source": source}], part=1)

    def function_call_output(self, payload: dict[str, Any]) -> None:
        output = payload.get("output", payload.get("tools", payload.get("result", "")))
        failed = False
        extra: dict[str, Any] = {}
        if type(output) is dict:
            failed = output.get("success") is False
            output = output.get("content", output)
        if type(output) is str:
            code, seconds = _outcome(output)
            failed = failed or bool(code)
            if code:
                extra["exit_code"] = code
            if seconds is not None:
                extra["duration_ms"] = round(seconds * 1000)
        self.answered(name_of(payload.get("call_id")), output, is_error=failed, **extra)

    def answered(self, call_id: str, output: Any, *, part: int = 0, is_error: bool = False, **extra: Any) -> None:
        self.call_answered = True
        self.emit(
            tool_result(
                call_id,
                output,
                is_error=is_error,
                timestamp=self.last_time,
                event_id=f"{self.event_prefix}{part}",
                extra=extra,
            )
        )

    def other_agent(self, payload: dict[str, Any]) -> None:
        """A message between agents."""
        content = payload.get("content")
        texts = (
            [block["text"] for block in content if type(block) is dict and type(block.get("text")) is str] if type(content) is list else []
        )
        if texts:
            names = {key: payload[key] for key in ("author", "recipient") if name_of(payload.get(key))}
            self.say("system", "\n".join(texts), titles=False, **names)

    # --- events -----------------------------------------------------------------------------------------------------------------

    def user_message(self, payload: dict[str, Any]) -> None:
        text = _text(payload.get("message"))
        images = payload.get("images")
        attachments = [_image(url) for url in images] if type(images) is list else []
        # The response item before it may hold more around the same words.
        is_repeated = self.last_prompt is not None and text.strip() in self.last_prompt
        if (not text and not attachments) or self.is_second("event", text) or is_repeated:
            return
        self.new_input()
        self.shown["event"][text.strip()] += 1
        self.prompt(text, attachments)

    def agent_message(self, payload: dict[str, Any]) -> None:
        text = _text(payload.get("message"))
        if text and not self.is_second("event", text):
            self.say("assistant", text, response=True)
        elif text:
            self.response_id()

    def agent_reasoning(self, payload: dict[str, Any]) -> None:
        text = _text(payload.get("text"))
        if text.strip() and not self.is_second("event", text):
            self.say("thinking", text, response=True)

    def task_started(self, payload: dict[str, Any]) -> None:
        self.call_counted = self.call_answered = True

    def turn_aborted(self, payload: dict[str, Any]) -> None:
        # The request that was broken off is billed, and its tokens show in the next total only.
        if not self.call_counted:
            self.aborted = (f"{self.sid}:{self.call}", self.model, self.last_time)
        else:
            self.aborted = ("", self.model, self.last_time)
        self.call_counted = self.call_answered = True
        if not self.abort_shown:
            self.say("system", f"Turn aborted: {_text(payload.get('reason')) or 'no reason given'}", titles=False)
        self.abort_shown = False

    def error(self, payload: dict[str, Any]) -> None:
        error = payload.get("error")
        text = _text(payload.get("message")) or (_text(error.get("message")) if type(error) is dict else "")
        self.say("system", text or to_json(payload), titles=False, level="error")

    def thread_name(self, payload: dict[str, Any]) -> None:
        name = payload.get("thread_name")
        if type(name) is str and name.strip():
            self.facts.title = name.strip()

    def compacted(self, payload: dict[str, Any]) -> None:
        summary = _text(payload.get("message"))
        history = payload.get("replacement_history")
        if not summary and type(history) is list:
            for item in reversed(history):
                content = item.get("content") if type(item) is dict else None
                texts = (
                    [block["text"] for block in content if type(block) is dict and type(block.get("text")) is str]
                    if type(content) is list
                    else []
                )
                if texts and texts[0].startswith(SUMMARY_BEGINS):
                    summary = "\n".join(texts)
                    break
        self.call_counted = self.call_answered = True
        extra = {} if summary else {"encrypted": True}
        count, self.compacted_from = self.messages - self.compacted_from, self.messages
        self.emit(
            CompactionEvent(
                trigger="auto",
                pre_tokens=self.context_tokens,
                summary=summary,
                messages_compacted=count,
                timestamp=self.last_time,
                event_id=f"{self.event_prefix}compaction",
                extra=extra,
            )
        )

    # --- tokens -----------------------------------------------------------------------------------------------------------------

    def token_count(self, info: Any) -> None:
        """Count the request between the last running total and this one."""
        if not self.sid:
            self.begin(_id_of(self.path))
        usage = info.get("total_token_usage") if type(info) is dict else None
        if type(usage) is not dict:
            self.skip("event_msg/token_count without totals")
            return
        total = _counts(usage)
        if total is None:
            self.warn("usage with impossible counts: not counted")
            return
        last = _counts(info.get("last_token_usage"))
        if last is not None:
            self.context_tokens = last[0] + last[2]
        before = self.totals
        if total == before:
            self.skip("event_msg/token_count repeated")
            return
        self.totals = total
        if before is not None and total[0] + total[2] < before[0] + before[2]:
            # A smaller total: counting began anew, and what the new total already holds is this request.
            self.resets += 1
            request = last if last is not None and last[0] + last[2] <= total[0] + total[2] else total
            self.count(request, total, "")
            return
        if before is None:
            is_copy = self.root != self.sid
            # A fork that did not copy its parent's counts still goes on from the parent's total.
            delta = last if is_copy and last is not None else total
        else:
            delta = tuple(max(0, now - then) for now, then in zip(total, before, strict=True))
        rest = tuple(max(0, whole - part) for whole, part in zip(delta, last, strict=True)) if last is not None else ()
        if (
            last is not None
            and before is not None
            and self.aborted is not None
            and (rest[0] or rest[2])
            and all(map(int.__le__, last, delta))
        ):
            # Two requests, and long contexts are priced by the request: the one broken off, then the one that was reported.
            self.count(rest, total, ":aborted")
            self.count(last, total, "")
        else:
            self.count(delta, total, "")
        self.aborted = None

    def count(self, tokens: tuple[int, ...], total: tuple[int, ...], suffix: str) -> None:
        new, cached, output, reasoning = tokens
        cached = min(cached, new)
        if not new and not output:
            return
        response_id, model, timestamp = f"{self.sid}:{self.call}", self.model, self.last_time
        if suffix and self.aborted is not None:
            response_id, model, timestamp = self.aborted
        else:
            self.call_counted = True
        if count_of(new) is None or count_of(output) is None:
            self.warn("usage with impossible counts: not counted")
            return
        # The running total names the request: a fork repeats its parent's totals, and they count once.
        reset = f"#{self.resets}" if self.resets else ""
        self.emit(
            UsageEvent(
                model=model,
                provider=self.provider,
                input_tokens=new - cached,
                output_tokens=output,
                cache_read_tokens=cached,
                timestamp=timestamp,
                event_id=f"{self.root}:{'-'.join(map(str, total))}{reset}{suffix}",
                response_id=response_id,
                replaces=True,
                extra={"reasoning_output_tokens": reasoning} if reasoning else {},
            )
        )


ITEMS = {
    "message": _Reader.message,
    "reasoning": _Reader.reasoning,
    "function_call": _Reader.function_call,
    "function_call_output": _Reader.function_call_output,
    "custom_tool_call": _Reader.custom_tool_call,
    "custom_tool_call_output": _Reader.function_call_output,
    "local_shell_call": _Reader.local_shell_call,
    "web_search_call": _Reader.web_search_call,
    "tool_search_call": _Reader.tool_search_call,
    "tool_search_output": _Reader.function_call_output,
    "image_generation_call": _Reader.image_generation_call,
    "agent_message": _Reader.other_agent,
}

EVENTS = {
    "user_message": _Reader.user_message,
    "agent_message": _Reader.agent_message,
    "agent_reasoning": _Reader.agent_reasoning,
    "task_started": _Reader.task_started,
    "turn_aborted": _Reader.turn_aborted,
    "error": _Reader.error,
    "stream_error": _Reader.error,
    "thread_name_updated": _Reader.thread_name,
}


def _id_of(path: Path) -> str:
    """Return the session id in a rollout's name, else the whole stem."""
    stem = path.stem
    return stem[-36:] if stem.startswith("rollout-") and len(stem) > 44 and stem[-37] == "-" else stem


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _arguments(value: object) -> Any:
    """Return a call's arguments, which are JSON inside a string; as they stand when they are not."""
    if type(value) is not str:
        return value
    try:
        return orjson.loads(value)
    except ValueError:
        return value


def _image(url: object) -> dict[str, Any]:
    """Return an image by its data URL as {"media_type", "data" in base64}, any other by its address."""
    url = url.get("url") if type(url) is dict else url
    if type(url) is not str:
        return {"media_type": ""}
    head, comma, data = url.partition(";base64,")
    if comma and head.startswith("data:"):
        return {"media_type": head[5:100], "data": data}
    return {"media_type": "", "url": url}


def _outcome(output: str) -> tuple[int, float | None]:
    """Return exit code and seconds that a shell tool wrote at the head of its output (0 and None when it wrote none)."""
    if output.startswith('{"output"'):
        try:
            detail = orjson.loads(output)["metadata"]
            code, seconds = detail.get("exit_code"), detail.get("duration_seconds")
        except (ValueError, KeyError, TypeError, AttributeError):
            return 0, None
        return (code if type(code) is int else 0), (seconds if type(seconds) in (int, float) else None)
    head = output[:RESULT_HEAD].partition("Output:\n")[0]
    code = _number_after(head, "Process exited with code ")
    if code is None:
        code = _number_after(head, "Exit code: ")
    return int(code or 0), _number_after(head, "Wall time: ")


def _number_after(text: str, label: str) -> float | None:
    at = text.find(label)
    if at < 0:
        return None
    word = text[at + len(label) : at + len(label) + 24].split(maxsplit=1)
    try:
        number = float(word[0])
    except (ValueError, IndexError):
        return None
    return number if -1e9 < number < 1e9 else None


def _counts(usage: object) -> tuple[int, ...] | None:
    """Return input, cached, output and reasoning tokens; None when they are no counts."""
    if type(usage) is not dict:
        return None
    found = [_whole(usage.get(key)) for key in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")]
    return None if None in found else tuple(found)  # type: ignore[arg-type]


def _whole(value: object) -> int | None:
    if value is None:
        return 0
    return value if type(value) is int and 0 <= value < 1 << 53 else None
