"""The price of one call: the package's own arithmetic, our fallbacks for names it does not know, never a guess."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.pricing import NANO, price_call

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def by_package(
    model: str, provider: str, new: int, output: int, read: int, write: int, long_write: int, at: datetime, speed: str = ""
) -> Decimal | None:
    usage = Usage(
        input_tokens=new + read + write,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=long_write,
    )
    context = {"speed": speed} if speed else None
    try:
        price = calc_price(usage, model, provider_id=provider or None, genai_request_timestamp=at, price_context=context)
    except LookupError:
        return None
    return price.total_price.quantize(NANO, ROUND_HALF_EVEN)


def price(model: str, provider: str = "", **fields: Any) -> Decimal | None:
    fields = {"input_tokens": 1000, "output_tokens": 100, "at": AT, **fields}
    return price_call(model=model, provider=provider, **fields)


def test_a_call_by_hand() -> None:
    # claude-opus-4-6: 5, 25, 0.5, 6.25 and for an hour 10 dollars a million
    dollars = price("claude-opus-4-6", "anthropic", cache_read_tokens=10_000, cache_write_tokens=2000, cache_write_1h_tokens=500)
    assert dollars == Decimal("0.005") + Decimal("0.0025") + Decimal("0.005") + Decimal("0.009375") + Decimal("0.005")


def test_every_model_of_the_table_as_the_package_has_it() -> None:
    checked = 0
    for number, provider in enumerate(providers):
        for model in provider.models:
            for speed in ("", "fast"):
                seed = number * 977 + len(model.id) * 31
                at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=seed * 13 % 24_000)
                counts = (seed * 7 % 500_000, seed % 9000, seed * 3 % 300_000, seed * 5 % 40_000, seed * 5 % 40_000 // 3)
                want = by_package(model.id, provider.id, *counts, at, speed)
                prices = model.get_prices(at).__dict__
                if want is None or (prices and not {"input_mtok", "output_mtok"} & prices.keys()):
                    continue  # speech and pages have no price by the token: unknown, not nothing
                new, output, read, write, long_write = counts
                got = price_call(
                    model=model.id,
                    provider=provider.id,
                    input_tokens=new,
                    output_tokens=output,
                    cache_read_tokens=read,
                    cache_write_tokens=write,
                    cache_write_1h_tokens=long_write,
                    at=at,
                    speed=speed,
                )
                assert got == want, (provider.id, model.id, speed)
                checked += 1
    assert checked > 3000


tokens = st.integers(0, 400_000)
MODELS = [
    ("claude-opus-4-6", "anthropic"), ("claude-sonnet-4-5-20250929", "anthropic"), ("claude-opus-4-8", "anthropic"),
    ("claude-haiku-4-5-20251001", ""), ("gpt-5.5", "openai"), ("gpt-5.2-codex", ""), ("gemini-2.5-pro", "google"),
    ("deepseek-chat", "deepseek"), ("glm-5.2", ""),
]  # fmt: skip


@given(
    name=st.sampled_from(MODELS),
    counts=st.tuples(tokens, tokens, tokens, tokens),
    long_write=tokens,
    at=st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (the zone is added)
    speed=st.sampled_from(["", "fast"]),
)
def test_tiers_dates_long_writes_and_speed_as_the_package_has_them(
    name: tuple[str, str], counts: tuple[int, int, int, int], long_write: int, at: datetime, speed: str
) -> None:
    new, output, read, write = counts
    long_write = min(long_write, write)
    got = price_call(
        model=name[0],
        provider=name[1],
        input_tokens=new,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        cache_write_1h_tokens=long_write,
        at=at,
        speed=speed,
    )
    assert got == by_package(*name, new, output, read, write, long_write, at, speed)


def test_the_date_of_the_call_decides() -> None:
    before, after = (price("claude-opus-4-6", input_tokens=250_000, at=datetime(2026, 3, day, tzinfo=UTC)) for day in (12, 13))
    assert before is not None and after is not None
    assert before > after  # the dearer tier for long contexts ended on the 13th


def test_fast_mode_is_dearer() -> None:
    usual, fast, unheard_of = (price("claude-opus-4-8", "anthropic", speed=speed) for speed in ("standard", "fast", "warp"))
    assert usual is not None
    assert fast == 2 * usual
    assert unheard_of == usual
    assert price("claude-sonnet-4-6", "anthropic", speed="fast") == price("claude-sonnet-4-6", "anthropic")


@pytest.mark.parametrize(
    ("name", "provider", "same_as"),
    [
        ("gpt-5.5-2026-03-05", "openai", "gpt-5.5"),
        ("gpt-5.5-2026-03-05", "", "gpt-5.5"),
        ("GPT-5.5", "", "gpt-5.5"),
        ("glm-5.2", "zhipuai-coding-plan", "glm-5.2"),
        ("gpt-5.6-sol", "packyapi", "gpt-5.6-sol"),
        ("projects/p/locations/europe-central2/publishers/google/models/gemini-2.5-flash", "", "gemini-2.5-flash"),
        ("projects/p/locations/l/publishers/google/models/gemini-2.5-flash", "gcp.vertex_ai", "gemini-2.5-flash"),
        ("claude-sonnet-4.6", "", "claude-sonnet-4-6"),
        ("gpt-5.1-codex", "", "gpt-5.1"),
        ("gemini-3.1-pro-preview-customtools", "", "gemini-3.1-pro-preview"),
    ],
)
def test_names_that_lead_to_a_known_model(name: str, provider: str, same_as: str) -> None:
    assert price(name, provider) == price(same_as)
    assert price(same_as)


@pytest.mark.parametrize(
    "name",
    [
        "<synthetic>", "delivery-mirror", "gateway-injected", "unknown", "", " ", "/", "gpt-5.3-codex-spark", "codex-auto-review",
        "aide-gpt-5", "gpt-4.5-turbo", "qwen3.5:9b", "-2026-01-01", "\ud800\x00", "x" * 100_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("provider", ["", "openai", "anthropic", "openclaw", "\x00"])
def test_an_unknown_model_has_no_price(name: str, provider: str) -> None:
    assert price(name, provider) is None


def test_speech_has_no_price_by_the_token() -> None:
    assert price("whisper-1", "openai") is None


def test_nothing_costs_nothing() -> None:
    assert price("claude-opus-4-6", input_tokens=0, output_tokens=0) == 0


def test_nine_decimals_rounded_half_even() -> None:
    # gpt-5.4 reads its cache at 0.25 dollars a million
    assert price("gpt-5.4", "openai", input_tokens=0, output_tokens=0, cache_read_tokens=1) == Decimal("0.000000250")
    dollars = price("claude-haiku-4-5-20251001", input_tokens=3, output_tokens=0)
    assert dollars is not None
    assert dollars.as_tuple().exponent == -9


def test_more_long_writes_than_writes_count_as_all_of_them() -> None:
    most = price("claude-opus-4-6", cache_write_tokens=10, cache_write_1h_tokens=10)
    assert price("claude-opus-4-6", cache_write_tokens=10, cache_write_1h_tokens=50) == most


def test_no_connection_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert price("claude-opus-4-5") is not None
    assert price("no-such-model-anywhere") is None


def test_the_table_is_loaded_at_the_first_price_only() -> None:
    code = "import sys, sessions_app.pricing as p; print('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
