"""Display only: money, tokens, durations, times and icons as the design reference writes them.

Plain functions returning safe strings, so that views may use them as well and a long list costs no template work per cell.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions_app import icons, pictures, tool_calls
from sessions_app.models import Message, UsageRecord
from sessions_app.pictures import Attachment
from sessions_app.tool_calls import CallGroup, ToolCall

register = template.Library()

NANO = Decimal("0.000000001")
CENT = Decimal("0.01")
HUNDREDTH_CENT = Decimal("0.0001")

CHANNEL_ICONS = {"main": "message-square", "telegram": "send", "email": "mail", "slack": "hash", "cli": "terminal"}
# by tool_calls.KINDS
TOOL_ICONS = {
    "shell": "square-terminal",
    "stdin": "square-terminal",
    "read": "file-text",
    "edit": "file-pen-line",
    "write": "file-pen-line",
    "patch": "file-pen-line",
    "search": "text-search",
    "glob": "list-filter",
    "fetch": "globe",
    "web": "globe",
    "agent": "bot",
    "todo": "clipboard-list",
    "plan": "clipboard-list",
    "ask": "message-circle",
    "skill": "brain",
    "image": "image",
}


# --- icons -------------------------------------------------------------------------------------------------------------


@register.simple_tag
def icon(name: str, extra_class: str = "") -> SafeString:
    return icons.icon(name, extra_class)


@register.simple_tag
def icon_sprite() -> SafeString:
    return icons.sprite()


@register.simple_tag
def channel_icon(slug: str) -> SafeString:
    """Return the icon of a channel; a channel that the operator made gets the plain bubble."""
    return icons.icon(CHANNEL_ICONS.get(slug, "message-circle"))


@register.simple_tag
def tool_icon(kind: str) -> SafeString:
    """Return the icon of a kind of tool; one that we know nothing of gets the wrench."""
    return icons.icon(TOOL_ICONS.get(kind, "wrench"))


# --- messages ----------------------------------------------------------------------------------------------------------


@register.filter
def tool_label(name: str) -> str:
    """Return a tool's name as a reader wants it."""
    return tool_calls.display_name(name) or "unknown"


@register.simple_tag
def usage_words(usage: UsageRecord) -> SafeString:
    """Return a model call's tokens in words: what it read and from where, the cache's share of that, what it wrote."""
    share = f" ({100 * usage.cache_read_tokens / usage.total_input_tokens:.0f} %)" if usage.cache_read_tokens else ""
    parts = ((usage.cache_read_tokens, f"cached{share}"), (usage.cache_write_tokens, "stored"), (usage.input_tokens, "new"))
    read = [f"{tokens_text(count)} {word}" for count, word in parts if count]
    exact = ", ".join(f"{count:,} {word}" for count, word in (*parts, (usage.output_tokens, "out")))
    return format_html(
        '<span title="{}">{} in{}</span><span>{} out</span>',
        f"Tokens: {exact}",
        tokens_text(usage.total_input_tokens),
        f": {' + '.join(read)}" if len(read) > 1 else "",
        tokens_text(usage.output_tokens),
    )


@register.filter
def grouped(calls: list[ToolCall]) -> list[ToolCall | CallGroup]:
    """Fold long runs of calls that went well."""
    return tool_calls.grouped(calls)


@register.filter
def files(message: Message) -> list[Attachment]:
    """Return the files that came with a prompt or an answer."""
    return pictures.of_message(message)


# --- money -------------------------------------------------------------------------------------------------------------


def money_text(value: Decimal) -> str:
    """Return dollars without the sign: two decimals from a dollar, four below. 0 has two: it is exact, not a rounded crumb."""
    value = Decimal(value)
    if value == 0:
        return "0.00"
    step = CENT if abs(value) >= 1 else HUNDREDTH_CENT
    rounded = value.quantize(step, ROUND_HALF_EVEN)
    if rounded == 0:
        return "<0.0001" if value > 0 else ">-0.0001"
    return f"{rounded:,}"


def _money(value: Decimal | None, sign: str) -> SafeString:
    if value is None:
        return format_html('<data class="money is-unknown" value="" title="{}">unknown</data>', "No known price")
    value = Decimal(value)
    exact = value.quantize(NANO, ROUND_HALF_EVEN)
    text = money_text(value)
    shown = f"{text[0]}{sign}{text[1:]}" if text[0] in "<>-" else f"{sign}{text}"
    small = " is-small" if 0 < abs(value) < 1 else ""
    return format_html('<data class="money{}" value="{}" title="${}">{}</data>', small, f"{exact:f}", f"{exact:,f}", shown)


@register.filter
def money(value: Decimal | None) -> SafeString:
    """Return dollars with the sign, all nine decimals on hover; None is the word, never $0.00."""
    return _money(value, "$")


@register.filter
def ledger_money(value: Decimal | None) -> SafeString:
    """Return dollars without the sign, for tables that have the unit in the header."""
    return _money(value, "")


# --- counts ------------------------------------------------------------------------------------------------------------


@register.filter
def thousands(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def tokens_text(value: int) -> str:
    """Return 688, 1,904, 48.8 k, 3.91 M, 2.7 G: three or four figures, the exact number belongs on hover."""
    if abs(value) < 10_000:
        return f"{value:,}"
    # 999,950 would round to "1000.0 k"
    if abs(value) < 999_950:
        return f"{value / 1_000:.1f} k"
    if abs(value) < 999_950_000:
        millions = value / 1_000_000
        return f"{millions:.2f} M" if abs(millions) < 10 else f"{millions:.1f} M"
    return f"{value / 1_000_000_000:,.2f} G"


@register.filter
def tokens(value: int | None) -> SafeString | str:
    """Return a token count, short, with the exact number on hover."""
    if value is None:
        return ""
    return format_html('<data value="{}" title="{} tokens">{}</data>', value, f"{value:,}", tokens_text(value))


@register.filter
def plural(count: int, words: str) -> str:
    """Return "1 session", "1,204 sessions". words: "session" or "entry,entries"."""
    one, _, many = words.partition(",")
    return f"{count:,} {one if count == 1 else (many or one + 's')}"


# --- times -------------------------------------------------------------------------------------------------------------


@register.filter
def duration(value: timedelta | float | None) -> str:
    """Return a span of time in its two telling units: 0.4 s, 38 s, 4 min 06 s, 1 h 19 min, 3 d 4 h."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 0:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days:,} d {hours} h" if hours and days < 100 else f"{days:,} d"


def exact_text(moment: datetime) -> str:
    """Return the time to the second with the site's zone, for hover."""
    local = timezone.localtime(moment)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


def day_text(day: date, *, year: bool) -> str:
    return f"{day.day} {day:%b %Y}" if year else f"{day.day} {day:%b}"


def ago_text(moment: datetime, now: datetime) -> str:
    """Return "just now", "2 min ago", "3 h ago" within a day, then the day. The same words stand in app.js, which keeps them fresh."""
    seconds = (now - moment).total_seconds()
    if seconds < -60:
        return f"{timezone.localtime(moment):%Y-%m-%d %H:%M}"
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h ago"
    local, today = timezone.localtime(moment).date(), timezone.localtime(now).date()
    return day_text(local, year=local.year != today.year)


def _time(moment: datetime, text: str, css: str, attributes: str = "") -> SafeString:
    shown = timezone.localtime(moment).isoformat(timespec="seconds")
    return format_html(
        '<time{} datetime="{}" title="{}"{}>{}</time>',
        format_html(' class="{}"', css) if css else "",
        shown,
        exact_text(moment),
        SafeString(attributes),
        text,
    )


@register.simple_tag(takes_context=True)
def ago(context: dict[str, Any], moment: datetime | None, css: str = "") -> SafeString | str:
    """Return how long ago, exact on hover. Uses the context's `now`, so that one page has one clock."""
    if moment is None:
        return ""
    return _time(moment, ago_text(moment, context.get("now") or timezone.now()), css, " data-ago")


@register.simple_tag
def clock(moment: datetime | None, css: str = "") -> SafeString | str:
    """Return the time of day in the site's zone, exact on hover."""
    if moment is None:
        return ""
    return _time(moment, f"{timezone.localtime(moment):%H:%M}", css)


@register.simple_tag(takes_context=True)
def day_and_clock(context: dict[str, Any], moment: datetime | None, css: str = "") -> SafeString | str:
    """Return "Today, 09:12", "Yesterday, 22:48", "19 Nov, 08:00", "19 Nov 2025, 08:00"."""
    if moment is None:
        return ""
    local = timezone.localtime(moment)
    today = timezone.localtime(context.get("now") or timezone.now()).date()
    return _time(moment, f"{day_name(local.date(), today)}, {local:%H:%M}", css)


def day_name(day: date, today: date) -> str:
    """Return Today, Yesterday, "Thu 19 Nov" within this year, else with the year."""
    if day == today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return f"{day:%a} {day_text(day, year=day.year != today.year)}"


@register.filter
def is_stale(session: Any, now: datetime) -> bool:
    """Tell whether an open session has been idle for its channel's gap: Session.is_stale, with its argument."""
    return bool(session.is_stale(now))


# --- the four token buckets --------------------------------------------------------------------------------------------

BUCKETS = (("cache-read", "Cache read"), ("cache-write", "Cache write"), ("input", "Input"), ("output", "Output"))


@register.simple_tag
def bucket_bar(cache_read: int, cache_write: int, input_tokens: int, output_tokens: int) -> SafeString:
    """Return the bar of the four token buckets as SVG, cheap to dear, with the exact counts for screen readers."""
    counts = (cache_read, cache_write, input_tokens, output_tokens)
    total = sum(counts)
    label = ", ".join(f"{name.lower()} {count:,}" for (_, name), count in zip(BUCKETS, counts, strict=True))
    pieces, left = [], 0.0
    for (css, _), count in zip(BUCKETS, counts, strict=True):
        width = 100 * count / total if total else 0.0
        if width:
            pieces.append(f'<rect class="fill is-{css}" x="{left:.2f}%" width="{width:.2f}%" height="100%"/>')
        left += width
    return format_html('<svg role="img" aria-label="{} tokens">{}</svg>', label[:1].upper() + label[1:], SafeString("".join(pieces)))
