"""The price of one model call, from the tables that genai-prices ships. The only module that knows that package.

Pure: tokens, model and date in, dollars or None (no known price) out; nothing is ever fetched. Tiers for long contexts apply to
one request, so price every call and never a sum of calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

NANO = Decimal("0.000000001")
MILLION = Decimal(1_000_000)

# Echoes and placeholders that agents write where a model's name stands: no call was made, so none may match a price by accident.
NOT_MODELS = frozenset({"<synthetic>", "delivery-mirror", "gateway-injected", "unknown"})

DATE_SUFFIX = re.compile(r"[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6})$")


class Priced(NamedTuple):
    """What a model's name led to. has_variants: prices may depend on the speed (only at the provider's own models)."""

    model: ModelInfo
    provider: Provider
    has_variants: bool


def price_call(
    *,
    model: str,
    provider: str = "",
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
    at: datetime,
    speed: str = "",
) -> Decimal | None:
    """Return the dollars of one call, rounded half-even to nine decimals; None when no price is known.

    The four counts are disjoint (input_tokens is the uncached part, cache_write_1h_tokens a part of the cache writes) and not
    negative. at: when the call was made; prices change by date. speed: "fast" where the provider sells that apart.
    """
    found = _find(model, provider)
    if found is None:
        return None
    context = {"speed": speed} if speed and found.has_variants else None
    prices = found.model.get_prices(at, context).__dict__
    # A part of the writes by definition; a log that says otherwise must not make the rest negative.
    long_writes = min(cache_write_1h_tokens, cache_write_tokens)
    total_input = input_tokens + cache_read_tokens + cache_write_tokens
    input_rate = _rate(prices, "input_mtok", total_input)
    output_rate = _rate(prices, "output_mtok", total_input)
    if input_rate is None and output_rate is None and any(price is not None for price in prices.values()):
        return None  # priced by something else than text, such as speech by the hour; an entry without any price is a free model
    if input_rate is None or output_rate is None or "requests_kcount" in prices:
        return _price_by_package(found, at, context, total_input, output_tokens, cache_read_tokens, cache_write_tokens, long_writes)
    # Kinds without a price of their own cost what the wider kind costs, as genai-prices has it: a read or a write is input.
    read_rate = _rate(prices, "cache_read_mtok", total_input)
    write_rate = _rate(prices, "cache_write_mtok", total_input)
    long_rate = _rate(prices, "cache_write_1h_mtok", total_input)
    read_rate = input_rate if read_rate is None else read_rate
    write_rate = input_rate if write_rate is None else write_rate
    long_rate = write_rate if long_rate is None else long_rate
    dollars_per_million = (
        input_rate * input_tokens
        + output_rate * output_tokens
        + read_rate * cache_read_tokens
        + write_rate * (cache_write_tokens - long_writes)
        + long_rate * long_writes
    )
    return (dollars_per_million / MILLION).quantize(NANO, ROUND_HALF_EVEN)


class InputRates(NamedTuple):
    """Dollars of one token that goes in: uncached, from the cache, into the cache for five minutes, and for an hour."""

    new: Decimal
    read: Decimal
    write: Decimal
    long_write: Decimal


def input_rates(*, model: str, provider: str = "", total_input_tokens: int, at: datetime, speed: str = "") -> InputRates | None:
    """Return what a token cost that went into one call of this size; None where no price by the token is known."""
    found = _find(model, provider)
    if found is None:
        return None
    prices = found.model.get_prices(at, {"speed": speed} if speed and found.has_variants else None).__dict__
    new = _rate(prices, "input_mtok", total_input_tokens)
    if new is None:
        return None
    read, write, long_write = (_rate(prices, f"cache_{kind}_mtok", total_input_tokens) for kind in ("read", "write", "write_1h"))
    read = new if read is None else read
    write = new if write is None else write
    return InputRates(*(rate / MILLION for rate in (new, read, write, write if long_write is None else long_write)))


def _rate(prices: dict[str, Any], key: str, total_input: int) -> Decimal | None:
    """Return the dollars per million tokens that hold for a request of this size; None where the model has no such price."""
    price = prices.get(key)
    if price is None or type(price) is Decimal:
        return price
    rate: Decimal = price.base
    for tier in price.tiers:
        if total_input > tier.start:
            rate = tier.price
    return rate


def _price_by_package(
    found: Priced, at: datetime, context: dict[str, str] | None, total_input: int, output: int, read: int, write: int, long_writes: int
) -> Decimal | None:
    """Price by genai-prices' own arithmetic (85 us instead of 4): a model with another shape of price than ours."""
    from genai_prices import Usage

    usage = Usage(
        input_tokens=total_input,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=long_writes,
    )
    try:
        price = found.model.calc_price(usage, found.provider, genai_request_timestamp=at, price_context=context)
    except ValueError:  # a table that cannot price these counts at all
        return None
    return price.total_price.quantize(NANO, ROUND_HALF_EVEN)


@lru_cache(maxsize=4096)  # the search costs milliseconds for an unknown name; bounded, because names come from strangers
def _find(model: str, provider: str) -> Priced | None:
    """Return the table's model for a name as sent, or None. A provider it does not know (a reseller) is left out of the search."""
    from genai_prices.data_snapshot import get_snapshot

    if not model or model.lower() in NOT_MODELS:
        return None
    snapshot = get_snapshot()
    for provider_id in (provider, None) if provider else (None,):
        for name in _names(model):
            try:
                known_provider, known_model = snapshot.find_provider_model(name, None, provider_id, None)
            except LookupError:
                continue
            own = any(known_model is other for other in known_provider.models)
            return Priced(known_model, known_provider, own and bool(known_model.price_variants))
    return None


def _names(model: str) -> Iterator[str]:
    """Yield the names to look for: as sent, the last part of a resource path, both without the date of their release."""
    yield model
    last = model.rstrip("/").rsplit("/", 1)[-1]
    if last and last != model:
        yield last
    for name in dict.fromkeys((model, last)):
        bare = DATE_SUFFIX.sub("", name)
        if bare and bare != name:
            yield bare
