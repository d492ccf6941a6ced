"""The demo: invented sessions that look like six weeks of a small company's agents, or, very many, like a year of a larger one's. Seeded, and fixed
relative to `now`: the same demo each time.

`plan` turns the scenarios of `demo_texts` into sessions with their events, a day after the other; pure. `write` stores a few of them one by one
through the services, as an agent would have; `write_many` stores very many in batches. Nothing of it is real, no agent's log is read.
"""

from __future__ import annotations

import gc
import json
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from sessions_app import day_rows, services
from sessions_app.demo_texts import (
    CHAT_ROUNDS,
    HAIKU,
    HEARTBEAT,
    HOUSE,
    LOCAL,
    OPUS,
    ROUND_SLOTS,
    ROUNDS,
    SCENARIOS,
    SONNET,
    Call,
    Compact,
    Note,
    Rounds,
    Say,
    Scenario,
    SubAgent,
    Think,
    User,
)
from sessions_app.events import CompactionEvent, Event, MessageEvent, UsageEvent, tool_result, tool_use
from sessions_app.models import Channel, Session
from sessions_app.services.cleaning import title_of

DAYS = 42
SEED = 20260901
DEFAULT_SESSIONS = 150
MANY = 2000  # from here on in batches, with invented colleagues, and short unless told otherwise
MESSAGES_A_SESSION, USAGE_A_SESSION = 3, 1  # of the many
YEAR, YEAR_FROM = 365, 200_000  # so many sessions are spread over a year of a larger company, and their messages left out, but for errors
PEOPLE, PROJECTS = 200, 60  # of that company; each works in a few of the projects
# What answered before today's models did: so many days ago and earlier.
FORMER_MODELS = {
    SONNET: ((260, "claude-3-7-sonnet-20250219"), (120, "claude-sonnet-4-20250514")),
    OPUS: ((240, "claude-3-opus-20240229"), (90, "claude-opus-4-1-20250805")),
    HAIKU: ((150, "claude-3-5-haiku-20241022"),),
}
TAGS = (("triage", 0.02), ("bug", 0.012), ("refund", 0.006), ("follow-up", 0.003), ("postmortem", 0.0004))
ERRORS, LONG = 0.08, 0.03  # the share of sessions with a failed call, and of those that went on for days
BATCH = 5000  # sessions in one transaction
BY_WEEKDAY = (1.0, 1.15, 1.1, 1.05, 0.95, 0.25, 0.2)  # Monday first
BY_HOUR = (0, 0, 0, 0, 0, 0, 1, 3, 7, 10, 11, 9, 5, 8, 10, 10, 8, 6, 4, 3, 3, 2, 1, 0)
GAP_MINUTES = {"telegram": 360, "slack": 360, "email": 1440}
# Tokens of an agent's instructions and tools, which open every context.
CONTEXT = {"claude-code": 38_000, "codex": 17_000, "research": 12_000, "ops-agent": 6_000, "ledger-bot": 7_000}
# What tools give back in earnest, and what models think unseen, is far longer than what reads well here: so many times.
RESULT_TIMES, ANSWER_TIMES = 40, 4
CACHE_SECONDS = 300  # a cache that nobody asked for that long is gone, and the next call writes the whole context again
PROVIDERS = {"claude": "anthropic", "gpt": "openai", "gemini": "google", HOUSE: "acme-gateway"}
FIRST_NAMES = (
    "ana bruno chloe daan elif farid greta hugo ines jonas katya luca maya nils olga priya quentin rosa sam tariq uma vera wim yara zoe"
)
LAST_NAMES = "adler berg costa diaz egger fischer garcia hansen ito jansen kaya lopez moreau nowak okoye park quist rossi silva tanaka ueda vogel weiss yilmaz zhou"


@dataclass(slots=True, kw_only=True)
class DemoSession:
    """One session of the demo with all that happens in it and becomes of it."""

    key: str
    scenario: Scenario
    user_id: str
    project: str
    title: str
    branch: str
    started_at: datetime
    ended_at: datetime = field(init=False)
    events: list[Event]
    closed_at: datetime | None = None
    summary: str = ""
    archived_at: datetime | None = None
    is_unread: bool = False
    tags: list[str] = field(default_factory=list)
    is_bare: bool = False  # its messages are left out


# --- one story ------------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Beat:
    """Something that happens `at` seconds after the session's start. content: of a message, or a compaction's summary; tool: name and call id."""

    at: float
    kind: str  # a message's role, "usage" or "compaction"
    content: str = ""
    tool: tuple[str, str] = ("", "")
    is_error: bool = False
    response: int = 0
    subagent: str = ""
    tokens: tuple[int, int, int] = (0, 0, 0)  # of a usage: from the cache, new to it, answered; of a compaction: context, messages


class _Teller:
    """Tells a scenario as beats, and keeps count of the context as it grows."""

    def __init__(self, scenario: Scenario, slots: dict[str, str], rng: random.Random) -> None:
        self.scenario, self.slots, self.rng = scenario, slots, rng
        self.beats: list[_Beat] = []
        self.clock = 0.0
        self.context = self.base = CONTEXT.get(scenario.agent, 2_500)
        self.fresh = 0
        self.cached_until = 0.0
        self.calls = self.responses = self.message_count = 0
        self.answer: list[str] = []  # of the response that is being written

    def tell(self) -> list[_Beat]:
        self.steps(self.scenario.steps, "")
        return self.beats

    def steps(self, steps: Sequence[Any], subagent: str) -> None:
        for number, step in enumerate(steps):
            if isinstance(step, User):
                self.end_response(subagent)
                self.clock += step.after_minutes * 60 if number else 0
                self.message("user", self.fill(step.text), subagent)
            elif isinstance(step, Note):
                self.end_response(subagent)
                self.message("system", self.fill(step.text), subagent)
            elif isinstance(step, Think):
                self.think_or_say("thinking", self.fill(step.text), subagent)
            elif isinstance(step, Say):
                self.think_or_say("assistant", self.fill(step.text), subagent)
            elif isinstance(step, Call):
                self.call(step.tool, self.fill_all(step.arguments), subagent)
                self.clock += step.seconds
                output = self.fill(step.output)
                if step.is_error and step.tool in ("Bash", "shell"):
                    output = f"Exit code 1\n{output}"
                self.result(output, step.is_error, subagent)
            elif isinstance(step, SubAgent):
                self.sub_agent(step, subagent)
            elif isinstance(step, Compact):
                self.end_response(subagent)
                summary = self.fill(step.summary)
                self.clock += 9
                self.beats.append(
                    _Beat(self.clock, "compaction", summary, (step.trigger, ""), tokens=(self.context, self.message_count, 0))
                )
                self.context, self.fresh = self.base, _tokens(summary)
            elif isinstance(step, Rounds):
                for _ in range(self.rng.randint(step.least, step.most)):
                    self.round(ROUNDS, subagent)
        self.end_response(subagent)

    def round(self, rounds: list[list[Any]], subagent: str) -> None:
        self.slots = {**self.slots, **{name: self.rng.choice(values) for name, values in ROUND_SLOTS.items()}}
        self.steps(self.rng.choice(rounds), subagent)

    def message(self, role: str, content: str, subagent: str, tool: tuple[str, str] = ("", ""), is_error: bool = False) -> None:
        response = self.responses if role in ("assistant", "thinking", "tool_use") else 0
        self.beats.append(_Beat(self.clock, role, content, tool, is_error, response, subagent))
        self.message_count += 1
        self.fresh += _tokens(content) * (RESULT_TIMES if role == "tool_result" else 1)

    def open_response(self) -> None:
        if not self.answer:
            self.responses += 1
            self.clock += 1.5 + self.rng.random() * 2
            self.answer.append("")

    def think_or_say(self, role: str, text: str, subagent: str) -> None:
        self.open_response()
        self.clock += len(text) / 120
        self.answer.append(text)
        self.message(role, text, subagent)

    def call(self, tool: str, arguments: dict[str, Any], subagent: str) -> None:
        self.open_response()
        self.calls += 1
        content = json.dumps(arguments, ensure_ascii=False)
        self.clock += len(content) / 160
        self.answer.append(content)
        self.message("tool_use", content, subagent, (tool, f"call_{self.calls:03}"))

    def result(self, output: str, is_error: bool, subagent: str) -> None:
        call_id = f"call_{self.calls:03}"
        self.end_response(subagent)
        self.message("tool_result", output, subagent, ("", call_id), is_error)

    def end_response(self, subagent: str) -> None:
        """Close the model call that wrote the last texts, with what it used."""
        if not self.answer:
            return
        written = sum(_tokens(text) for text in self.answer)
        cached, new = self.context, max(self.fresh - written, 0)
        if self.clock > self.cached_until:
            cached, new = 0, cached + new
        answered = ANSWER_TIMES * written + self.rng.randrange(20, 200)
        self.beats.append(_Beat(self.clock, "usage", response=self.responses, subagent=subagent, tokens=(cached, new, answered)))
        self.context += self.fresh
        self.fresh = 0
        self.cached_until = self.clock + CACHE_SECONDS
        self.answer = []

    def sub_agent(self, step: SubAgent, subagent: str) -> None:
        self.call("Task", {"description": self.fill(step.description), "prompt": self.fill(step.prompt)}, subagent)
        call_id = f"call_{self.calls:03}"
        self.end_response(subagent)
        outer = self.context, self.fresh, self.cached_until
        self.context, self.fresh, self.cached_until = self.base // 2, 0, 0.0
        name = call_id  # a thread that is called as the call that started it stands inside it
        self.clock += 0.5
        self.message("user", self.fill(step.prompt), name)
        self.steps(step.steps, name)
        self.context, self.fresh, self.cached_until = outer
        self.message("tool_result", self.fill(step.answer), subagent, ("", call_id))

    def fill(self, text: str) -> str:
        if "«" in text:
            for name, value in self.slots.items():
                text = text.replace(f"«{name}»", value)
        return text

    def fill_all(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, dict):
            return {name: self.fill_all(item) for name, item in value.items()}
        return [self.fill_all(item) for item in value] if isinstance(value, list) else value


def _tokens(text: str) -> int:
    """Guess a text's tokens: a fourth of its letters, more where a letter is a word."""
    return len(text.encode()) // 4 + 1


def date_slots(now: datetime, zone: ZoneInfo) -> dict[str, str]:
    """Return the slots that speak of dates: this month and the last, and three days ago."""
    today = now.astimezone(zone).date()
    last = today.replace(day=1) - timedelta(days=1)
    before = today - timedelta(days=3)
    return {
        "this_month": f"{today:%B}",
        "month": f"{last:%B}",
        "month_iso": f"{last:%Y-%m}",
        "three_days_ago": f"{before.day} {before:%B}",
        "three_days_ago_iso": f"{before:%Y-%m-%d}",
    }


# --- six weeks of them ------------------------------------------------------------------------------------------------------------------


def plan(
    *,
    sessions: int,
    now: datetime,
    zone: ZoneInfo,
    messages: int | None = None,
    usage: int | None = None,
    days: int = DAYS,
    seed: int = SEED,
) -> Iterator[DemoSession]:
    """Yield so many sessions of the days up to now, a day after the other, oldest first.
    messages, usage: how many in all, exactly; None = as many as the stories have. days: more than the six weeks are a larger company's."""
    return _Planner(sessions, now, zone, messages, usage, days, seed).sessions()


class _Planner:
    def __init__(self, sessions: int, now: datetime, zone: ZoneInfo, messages: int | None, usage: int | None, days: int, seed: int) -> None:
        self.count, self.now, self.zone, self.days, self.seed = sessions, now, zone, days, seed
        self.rng = random.Random(seed)
        self.dates = date_slots(now, zone)
        self.today = now.astimezone(zone).date()
        self.is_wide = days > DAYS
        self.messages = _Shares(messages, sessions)
        self.usage = _Shares(usage, sessions, pattern=(1,)) if self.is_wide else _Shares(usage, sessions)
        self.is_large = sessions >= MANY or self.is_wide
        self.colleagues = _colleagues(PEOPLE if self.is_wide else round(sessions**0.5 / 1.6)) if self.is_large else []
        self.told: dict[tuple[int, int], tuple[list[_Beat], dict[str, str]]] = {}
        self.made = 0
        self.numbers = {name: number for number, name in enumerate(self.colleagues)}
        self.recent: list[Scenario] = []

    def sessions(self) -> Iterator[DemoSession]:
        once = sorted((scenario for scenario in SCENARIOS if scenario.once is not None), key=lambda scenario: scenario.once or 0)[
            : self.count
        ]
        usual = [scenario for scenario in SCENARIOS if scenario.once is None]
        # Last night's watch, so that the morning's inbox has something unread.
        last_night = [scenario for scenario in usual if scenario.triggered_by and scenario.weight > 3][: max(self.count - len(once), 0)]
        placed: dict[int, list[tuple[datetime, Scenario]]] = {}
        for scenario in once:
            start = self.now - timedelta(days=scenario.once or 0)
            placed.setdefault(self.days_ago(start), []).append((start, scenario))
        for scenario in last_night:
            start = self.at(0, scenario)
            start -= timedelta(days=1) if start > self.now - timedelta(minutes=20) else timedelta(0)
            placed.setdefault(self.days_ago(start), []).append((start, scenario))
        rest = self.count - len(once) - len(last_night)
        weights = [self.business(ago) * (1.4 - 0.8 * ago / self.days) for ago in range(self.days)]
        share = _Shares(rest, self.days, weights)
        for ago in reversed(range(self.days)):
            begun = placed.get(ago, [])
            begun += [(self.at(ago, scenario), scenario) for scenario in self.choose(usual, ago, share.of(self.days - 1 - ago), begun)]
            for start, scenario in sorted(begun, key=lambda item: (item[0], item[1].title)):
                yield self.session(start, scenario)

    def business(self, days_ago: int) -> float:
        """How much people do on that day. The last three days are never quiet, whatever day it is: they are what a visitor sees first."""
        usual = BY_WEEKDAY[(self.today - timedelta(days=days_ago)).weekday()]
        return max(usual, 1.2) if days_ago < 3 else usual

    def choose(self, usual: list[Scenario], days_ago: int, count: int, begun: list[tuple[datetime, Scenario]]) -> list[Scenario]:
        """Choose what is told on one day. In a demo that a person looks at, the watch of a night is told once and a story not twice in a row."""
        human = self.business(days_ago)
        odds = [scenario.weight if scenario.triggered_by else scenario.weight * human for scenario in usual]
        if self.is_large:
            return self.rng.choices(usual, odds, k=count)
        chosen: list[Scenario] = []
        today = [scenario for _, scenario in begun]
        for number in range(count):
            works = number == 0 and human > 0.5  # somebody codes on every working day
            now = [
                odd * (0.02 if scenario in self.recent else 1) if not works or scenario.channel == "cli" else 0
                for scenario, odd in zip(usual, odds, strict=True)
            ]
            now = [0 if scenario.triggered_by and scenario in today else odd for scenario, odd in zip(usual, now, strict=True)]
            scenario = self.rng.choices(usual, now)[0]
            today.append(scenario)
            chosen.append(scenario)
            self.recent = [*self.recent[-5:], scenario]
        return chosen

    def days_ago(self, moment: datetime) -> int:
        return min(max((self.today - moment.astimezone(self.zone).date()).days, 0), self.days - 1)

    def at(self, days_ago: int, scenario: Scenario) -> datetime:
        """Choose when on that day a session of this kind begins."""
        day = self.today - timedelta(days=days_ago)
        hour = self.rng.choices(range(24), BY_HOUR)[0] if scenario.hour is None else scenario.hour
        minute = self.rng.random() * (60 if scenario.hour is None else 12)
        return datetime.combine(day, time(hour), tzinfo=self.zone) + timedelta(minutes=minute)

    def session(self, start: datetime, scenario: Scenario) -> DemoSession:
        index, rng = self.made, self.rng
        self.made += 1
        beats, slots = self.story(scenario, index)
        beats = _cut(beats, self.messages.of(index), self.usage.of(index), lambda: self.more(scenario, beats, slots))
        length = round(beats[-1].at, 3) if beats else 0.0
        if start + timedelta(seconds=length) > self.now and scenario.once is None:
            morning = self.now.astimezone(self.zone).replace(hour=6, minute=0)
            start = self.now - timedelta(seconds=length + 60 + rng.random() * max((self.now - morning).total_seconds() - length, 5400))
        # The stories told once are true to the minute of their end: "2 minutes ago".
        elif scenario.once is not None:
            start = self.now - timedelta(days=scenario.once) - timedelta(seconds=length)
        start = start.replace(microsecond=0)
        model = scenario.models[0] if scenario.once is not None or rng.random() < 0.7 else rng.choice(scenario.models)
        user_id, project = self.fill(self.user(scenario), slots), self.fill(scenario.project, slots)
        if self.is_wide:
            model = self.former(model, start)
        made = DemoSession(
            key=f"demo-{index + 1:06}",
            scenario=scenario,
            user_id=user_id,
            project=self.project_of(user_id) if project and self.is_wide else self.project(project),
            title=self.fill(scenario.title, slots),
            branch=self.fill(scenario.branch, slots),
            started_at=start,
            events=_events(beats, start, model, scenario.agent),
        )
        made.ended_at = start + timedelta(seconds=length)
        if self.is_wide:
            self.widen(made)
        self.fate(made, slots)
        return made

    def former(self, model: str, start: datetime) -> str:
        """Return the model that stood in this one's place then."""
        ago = (self.now - start).days
        return next((name for days, name in FORMER_MODELS.get(model, ()) if ago >= days), model)

    def project_of(self, user_id: str) -> str:
        """Choose one of the three projects that a person works in, mostly the first."""
        base = zlib.crc32(user_id.encode()) if user_id not in self.numbers else self.numbers[user_id]
        return f"project-{(base * 7 + self.rng.choices((0, 1, 2), (6, 3, 1))[0] * 11) % PROJECTS:02}"

    def widen(self, made: DemoSession) -> None:
        """What there is more of in a larger company's year: failed calls, sessions that go on for days, tags."""
        rng = self.rng
        if made.ended_at == made.started_at:
            made.ended_at += timedelta(seconds=rng.randrange(20, 5000))
        if rng.random() < LONG:
            made.ended_at += timedelta(hours=rng.choice((2, 5, 20, 50, 120, 400)) * (0.5 + rng.random()))
        made.ended_at = min(made.ended_at, self.now)
        made.is_bare = True
        if rng.random() < ERRORS:
            made.events.append(tool_result("call_001", "", is_error=True, timestamp=made.started_at))
        made.tags = [tag for tag, share in TAGS if rng.random() < share]

    def user(self, scenario: Scenario) -> str:
        chosen = scenario.users[0] if self.rng.random() < 0.55 else self.rng.choice(scenario.users)
        return self.rng.choice(self.colleagues) if self.colleagues and not scenario.triggered_by else chosen

    def project(self, name: str) -> str:
        return f"{name}-{self.rng.randrange(10)}" if name and self.is_large else name

    def story(self, scenario: Scenario, index: int) -> tuple[list[_Beat], dict[str, str]]:
        """Return the scenario's beats and slots, told anew for each session; of very many sessions sixteen tellings are used again."""
        variant = index % 16 if self.is_large else index
        key = (id(scenario), variant)
        if key not in self.told:
            rng = random.Random(f"{self.seed} {scenario.title} {variant}")
            slots = {**self.dates, **{name: rng.choice(values) for name, values in scenario.slots.items()}}
            self.told[key] = (_Teller(scenario, slots, rng).tell(), slots)
        return self.told[key]

    def more(self, scenario: Scenario, beats: list[_Beat], slots: dict[str, str]) -> Iterator[list[_Beat]]:
        """Yield further rounds for a story that shall be longer than it is."""
        rng = random.Random(f"{self.seed} {scenario.title} more")
        teller = _Teller(scenario, slots, rng)
        teller.clock = beats[-1].at if beats else 0.0
        teller.calls, teller.responses = 500, 500
        while True:
            teller.beats = []
            teller.round(ROUNDS if scenario.channel == "cli" else CHAT_ROUNDS, "")
            yield teller.beats

    def fill(self, text: str, slots: dict[str, str]) -> str:
        for name, value in slots.items():
            text = text.replace(f"«{name}»", value)
        return text

    def fate(self, made: DemoSession, slots: dict[str, str]) -> None:
        """Decide what became of the session: closed by whom, archived, unread."""
        scenario, rng, age = made.scenario, self.rng, self.now - made.ended_at
        gap = GAP_MINUTES.get(scenario.channel)
        if scenario.triggered_by:
            if scenario.triggered_by == HEARTBEAT or rng.random() < 0.85:
                made.closed_at, made.summary = made.ended_at + timedelta(seconds=2), "Finished."
            made.is_unread = age < timedelta(days=20 if self.is_wide else 2.2)
        elif scenario.summary and age > timedelta(hours=1) and (scenario.once is not None or rng.random() < 0.75):
            made.closed_at, made.summary = made.ended_at + timedelta(minutes=1 + rng.randrange(20)), self.fill(scenario.summary, slots)
        elif gap is not None and age > timedelta(minutes=gap) and scenario.once is None and rng.random() < 0.97:
            made.closed_at, made.summary = made.ended_at + timedelta(minutes=gap + rng.randrange(30)), services.AUTO_CLOSED
        elif gap is None and age > timedelta(days=3) and rng.random() < 0.8:
            made.closed_at = made.ended_at + timedelta(hours=1 + rng.randrange(30))
        if made.closed_at is not None:
            made.closed_at = min(made.closed_at, self.now)
            if scenario.archived or (age > timedelta(days=12) and rng.random() < 0.3):
                made.archived_at = min(made.closed_at + timedelta(days=2), self.now)
        if not scenario.triggered_by and made.archived_at is None and age < timedelta(days=5) and rng.random() < 0.12:
            made.is_unread = True


class _Shares:
    """Deals a total out to `count` places by weight, exactly: `of(place)` is whole, and all of them add up to the total."""

    PATTERN = (1, 2, 1, 3, 1, 1, 5, 2, 1, 4, 1, 2, 1, 8, 1, 2, 3, 1, 1, 2)  # few are long

    def __init__(self, total: int | None, count: int, weights: Sequence[float] | None = None, pattern: Sequence[int] = PATTERN) -> None:
        self.total, self.count, self.pattern = total, count, pattern
        self.sums = [0.0]
        if weights is not None:
            for weight in reversed(weights):
                self.sums.append(self.sums[-1] + weight)
        self.by_pattern = weights is None
        self.whole = self.up_to(count)

    def up_to(self, place: int) -> float:
        if not self.by_pattern:
            return self.sums[place]
        rounds, rest = divmod(place, len(self.pattern))
        return rounds * sum(self.pattern) + sum(self.pattern[:rest])

    def of(self, place: int) -> Any:
        """Return this place's share; None when there is no total to deal out."""
        if self.total is None:
            return None
        # The last edge is the whole, which a float may miss by a hair.
        before, after = (
            self.total if edge == self.count else int(self.total * self.up_to(edge) / self.whole) for edge in (place, place + 1)
        )
        return after - before


def _cut(beats: list[_Beat], messages: int | None, usage: int | None, more: Callable[[], Iterator[list[_Beat]]]) -> list[_Beat]:
    """Make a story exactly so many messages and model calls long: cut its end off, or let it go on."""
    if messages is None and usage is None:
        return beats
    kept: list[_Beat] = []
    left = [messages, usage]
    further: Iterator[list[_Beat]] | None = None
    part = beats
    while True:
        for beat in part:
            kind = 1 if beat.kind == "usage" else 0
            if beat.kind != "compaction":
                if left[kind] == 0:
                    continue
                if left[kind] is not None:
                    left[kind] -= 1  # type: ignore[operator]
            elif messages is not None and left[0] == 0:
                continue
            kept.append(beat)
        if not (left[0] or left[1]):
            return kept
        further = further or more()
        part = next(further)
        if messages is None:
            part = [beat for beat in part if beat.kind == "usage"]
        elif usage is None and not left[0]:
            return kept


@cache
def _colleagues(count: int) -> list[str]:
    """Return user names for a large demo."""
    names = [f"{first}.{last}" for last in LAST_NAMES.split() for first in FIRST_NAMES.split()]
    return [names[number % len(names)] + (str(number // len(names)) if number >= len(names) else "") for number in range(max(count, 8))]


def _events(beats: list[_Beat], start: datetime, model: str, agent: str) -> list[Event]:
    """Turn beats into what the services store."""
    events: list[Event] = []
    for beat in beats:
        when = start + timedelta(seconds=round(beat.at, 3))
        response = f"resp_{beat.response:04}" if beat.response else ""
        if beat.kind == "usage":
            events.append(_usage(beat, when, response, _helper_of(model) if beat.subagent else model))
        elif beat.kind == "compaction":
            pre_tokens, count, _ = beat.tokens
            events.append(
                CompactionEvent(trigger=beat.tool[0], pre_tokens=pre_tokens, summary=beat.content, messages_compacted=count, timestamp=when)
            )
        elif beat.kind == "tool_use":
            name, call_id = beat.tool
            events.append(
                tool_use(call_id, name, _arguments(beat.content), timestamp=when, subagent_id=beat.subagent, response_id=response)
            )
        elif beat.kind == "tool_result":
            events.append(tool_result(beat.tool[1], beat.content, is_error=beat.is_error, timestamp=when, subagent_id=beat.subagent))
        else:
            events.append(
                MessageEvent(role=beat.kind, content=beat.content, timestamp=when, subagent_id=beat.subagent, response_id=response)
            )
    return events


@cache
def _arguments(text: str) -> Any:
    return json.loads(text)


def _helper_of(model: str) -> str:
    """The smaller model that sub-agents get."""
    return HAIKU if model.startswith("claude") else model


def _usage(beat: _Beat, when: datetime, response: str, model: str) -> UsageEvent:
    """Split a call's tokens as its provider would: Anthropic writes caches and bills that, OpenAI and Google only read them, others know none."""
    cached, new, output = beat.tokens
    event = UsageEvent(
        model=model,
        provider=next((provider for prefix, provider in PROVIDERS.items() if model.startswith(prefix)), ""),
        input_tokens=cached + new,
        output_tokens=output,
        timestamp=when,
        subagent_id=beat.subagent,
        response_id=response,
    )
    if model.startswith("claude"):
        event.input_tokens, event.cache_read_tokens, event.cache_write_tokens = 4 + new % 23, cached, new
    elif model != LOCAL and model != HOUSE:
        event.cache_read_tokens = cached // 128 * 128
        event.input_tokens -= event.cache_read_tokens
    if model == HOUSE:  # its gateway says what it took
        event.cost_usd = (Decimal(event.input_tokens) * 4 + Decimal(output) * 16) / 10_000_000
    return event


# --- into the store ---------------------------------------------------------------------------------------------------------------------


def write(made: DemoSession) -> Session:
    """Store one session as an agent would have, one service after the other, each at its time."""
    with day_rows.writing():  # one session, one transaction: a site that is looked at meanwhile never sees half of one
        return _write(made, made.scenario)


def _write(made: DemoSession, scenario: Scenario) -> Session:
    session = services.create_session(
        scenario.channel,
        made.key,
        user_id=made.user_id,
        triggered_by=scenario.triggered_by,
        agent=scenario.agent,
        project=made.project,
        is_demo=True,
        now=made.started_at,
    )
    services.set_title_if_empty(session.pk, made.title, now=made.started_at)
    if made.branch:
        services.set_session_facts(session, git_branch=made.branch)
    services.store_events(session, made.events, now=made.ended_at)
    if made.is_unread != bool(scenario.triggered_by):  # what nobody watched is unread by itself, the others are not
        services.mark_read(session.pk, not made.is_unread, now=made.ended_at)
    if made.closed_at is not None:
        services.close_session(session.pk, made.summary, now=made.closed_at)
    if made.archived_at is not None:
        services.archive_session(session.pk, now=made.archived_at)
    return session


def write_many(many: Sequence[DemoSession], channels: dict[str, Channel], *, now: datetime) -> None:
    """Store sessions in one transaction, by the same functions that number and price every record."""
    services.store_demo([(_row(made, channels), made.events) for made in many], now=now)


def _row(made: DemoSession, channels: dict[str, Channel]) -> Session:
    scenario = made.scenario
    return Session(
        channel=channels[scenario.channel],
        key=made.key,
        user_id=made.user_id,
        triggered_by=scenario.triggered_by,
        agent=scenario.agent,
        project=made.project,
        git_branch=made.branch,
        title=title_of(made.title),
        is_demo=True,
        created_at=made.started_at,
        # follows the messages that are stored; where they are left out, it is where they would have ended
        last_message_at=made.ended_at if made.is_bare else made.started_at,
        closed_at=made.closed_at,
        archived_at=made.archived_at,
        summary=made.summary,
        unread_since=made.ended_at if made.is_unread else None,
        tags=made.tags,
    )


def make(
    *,
    sessions: int = DEFAULT_SESSIONS,
    messages: int | None = None,
    usage: int | None = None,
    days: int | None = None,
    now: datetime,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Make the demo and return how many sessions were stored: `sessions`, or fewer when asked to stop. days: None = six weeks, or a year of very many."""
    days = (YEAR if sessions >= YEAR_FROM else DAYS) if days is None else days
    is_large = sessions >= MANY or days > DAYS
    if is_large:
        messages = sessions * (0 if days > DAYS else MESSAGES_A_SESSION) if messages is None else messages
        usage = sessions * USAGE_A_SESSION if usage is None else usage
    planned = plan(sessions=sessions, now=now, zone=day_rows.business_zone(), messages=messages, usage=usage, days=days)
    done = 0
    if not is_large:
        for made in planned:
            if should_stop():
                break
            write(made)
            done += 1
            progress(done)
        return done
    channels = {channel.slug: channel for channel in Channel.objects.all()}
    with rare_collections():
        while not should_stop() and (some := list(islice(planned, BATCH))):
            write_many(some, channels, now=now)
            done += len(some)
            progress(done)
    return done


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for cycles of garbage seldom: a batch holds hundreds of thousands of objects and no cycle, and looking took a quarter of the time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
