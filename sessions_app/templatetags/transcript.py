"""Display only: the chart of the outline, and the places it links to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sessions_app.models import Compaction
from sessions_app.queries.reading import Bar, Place

register = template.Library()

HEIGHT = 80.0  # pixels of the highest bar


@register.simple_tag
def turn_chart(bars: Sequence[Bar], base: str) -> SafeString:
    """Return the tokens of each turn as stacked bars, each a link to its place. One bar: one model call of the main thread, or the average of
    several; height: its tokens, of which all but the output are what the context held."""
    most = max((bar.total for bar in bars), default=0) or 1
    step = 100 / max(len(bars), 20)
    links = []
    for number, bar in enumerate(bars):
        turns = f"Turn {bar.first}" if bar.first == bar.last else f"Turns {bar.first} to {bar.last}, on average"
        words = f"{turns}: {bar.total:,} tokens, {bar.context:,} of them context"
        top, pieces = HEIGHT, []
        for css, count in (("cache-read", bar.cache_read), ("cache-write", bar.cache_write), ("input", bar.input), ("output", bar.output)):
            if count:
                height = max(1.0, HEIGHT * count / most)
                top -= height
                pieces.append((css, f"{number * step + step * 0.1:.2f}%", f"{step * 0.8:.2f}%", f"{max(top, 0):.1f}", f"{height:.1f}"))
        shapes = format_html_join("", '<rect class="fill is-{}" x="{}" width="{}" y="{}" height="{}"/>', pieces)
        url = f"{base}turn={bar.first}"
        links.append(
            format_html(
                '<a href="{}" hx-get="{}" hx-target="#entries" data-turn="{}" aria-label="{}"><title>{}</title>{}</a>',
                url,
                url,
                bar.first,
                words,
                words,
                shapes,
            )
        )
    return format_html(
        '<svg class="turns" role="group" aria-label="Tokens of each turn, at most {}">{}<line class="base" x1="0" x2="100%" y1="80.5" y2="80.5"/></svg>',
        f"{most:,}",
        format_html_join("", "{}", ((link,) for link in links)),
    )


@register.simple_tag
def cursor_before(compaction: Compaction) -> str:
    """Return the cursor after which a window begins with this compaction."""
    return Place(compaction.timestamp - timedelta(microseconds=1), 0).cursor
