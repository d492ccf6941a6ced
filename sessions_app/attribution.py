"""What the results of tools cost: a rule, not a bill. Pure.

A tool itself costs nothing; what it answered does, because every later model call reads it again. So a result is charged, at every later call
of its thread up to the next compaction, its tokens at that call's price: at the first one the price of what is new (uncached input and cache
writes, as that call mixed them), afterwards the price of a cache read for as much as the call read from the cache, and of new input for the rest.

Nobody says how many tokens a result has. Between two calls of a thread the context grows by what was added in between; that growth, as the
provider counted it, is shared among the texts that were added, by their length. Where there is no growth to read (before the first call, after a
compaction, when the agent dropped something) a token is taken for four characters. No call is charged more tokens than it read.

These dollars are a part of what the model calls cost, told a second way. They belong in no sum with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

CHARACTERS_PER_TOKEN = 4
# More tokens than this for each character are not the text's: the agent changed its tools or instructions as well.
TOKENS_PER_CHARACTER = 1


@dataclass(frozen=True, slots=True)
class Text:
    """Something that came into a thread's context. tool: whose result it is; "" = a prompt, or anything else."""

    thread: str
    characters: int
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A model call. read_rate, new_rate: dollars of one token from the cache, and of one that is not; None = no known price."""

    thread: str
    cache_read: int
    uncached: int
    output: int
    read_rate: Decimal | None
    new_rate: Decimal | None


@dataclass(frozen=True, slots=True)
class Compacted:
    """The thread's context begins anew."""

    thread: str


@dataclass(slots=True)
class Share:
    """tokens: of the tool's results, once. carried: the same as often as a call read them. dollars: of the priced ones; unpriced: carried tokens
    without a price. measured: how many of `tokens` come from the growth of the context."""

    tokens: float = 0
    carried: float = 0
    dollars: float = 0
    unpriced: float = 0
    measured: float = 0

    @property
    def cost_usd(self) -> Decimal | None:
        """The dollars, None where none of what was carried has a price."""
        return None if self.unpriced and not self.dollars else Decimal(f"{self.dollars:.9f}")


@dataclass(slots=True)
class _Thread:
    context: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # tokens by tool
    waiting: list[Text] = field(default_factory=list)
    before: int | None = None  # the context after the last call


def attribute(events: Iterable[Text | Call | Compacted]) -> dict[str, Share]:
    """Return each tool's share. events: in order of time, a call before the messages it wrote. Costs calls times tools."""
    threads: dict[str, _Thread] = defaultdict(_Thread)
    shares: dict[str, Share] = defaultdict(Share)
    for event in events:
        thread = threads[event.thread]
        if isinstance(event, Text):
            thread.waiting.append(event)
        elif isinstance(event, Compacted):
            threads[event.thread] = _Thread()
        else:
            _charge(thread, event, shares)
    return dict(shares)


def _charge(thread: _Thread, call: Call, shares: dict[str, Share]) -> None:
    total = call.cache_read + call.uncached
    characters = sum(text.characters for text in thread.waiting)
    grown = total - thread.before if thread.before is not None else 0
    is_measured = grown > 0 and characters > 0
    new: dict[str, float] = defaultdict(float)
    for text in thread.waiting:
        if not text.tool:
            continue
        if is_measured:
            tokens = min(grown * text.characters / characters, text.characters * TOKENS_PER_CHARACTER)
        else:
            tokens = text.characters / CHARACTERS_PER_TOKEN
        new[text.tool] += tokens
        share = shares[text.tool]
        share.tokens += tokens
        share.measured += tokens if is_measured else 0
    thread.waiting.clear()
    old_total, new_total = sum(thread.context.values()), sum(new.values())
    # what the thread is thought to hold cannot be more than what was read
    scale = min(1.0, total / (old_total + new_total)) if old_total + new_total else 1.0
    cached = min(1.0, call.cache_read / (old_total * scale)) if old_total and scale else 0.0
    for tool, tokens in thread.context.items():
        _add(shares[tool], tokens * scale * cached, call.read_rate)
        _add(shares[tool], tokens * scale * (1 - cached), call.new_rate)
    for tool, tokens in new.items():
        _add(shares[tool], tokens * scale, call.new_rate)
        thread.context[tool] += tokens
    thread.before = total + call.output


def _add(share: Share, tokens: float, rate: Decimal | None) -> None:
    share.carried += tokens
    if rate is None:
        share.unpriced += tokens
    else:
        share.dollars += tokens * float(rate)
