"""What tools' results cost: the rule, by hand."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from sessions_app.attribution import Call, Compacted, Text, attribute

READ, NEW = Decimal("0.000001"), Decimal("0.00001")


def call(read: int, uncached: int, output: int = 0, *, thread: str = "", priced: bool = True) -> Call:
    return Call(thread, read, uncached, output, READ if priced else None, NEW if priced else None)


def test_growth_between_two_calls_is_the_result_and_later_calls_carry_it() -> None:
    share = attribute([call(0, 1000, 100), Text("", 4000, "Read"), call(1100, 900, 50), call(2050, 10), call(2060, 10)])["Read"]
    assert (share.tokens, share.measured) == (900, 900)
    assert share.carried == 2700
    # once as new input, then twice from the cache
    assert share.cost_usd == Decimal("0.009") + 2 * Decimal("0.0009")


def test_growth_is_shared_by_length_with_what_else_came() -> None:
    shares = attribute([call(0, 1000), Text("", 3000, "Read"), Text("", 600, "Bash"), Text("", 400), call(1000, 400)])
    assert (shares["Read"].tokens, shares["Bash"].tokens) == (300, 60)


def test_without_growth_a_token_is_four_characters() -> None:
    shares = attribute([Text("", 400, "Read"), call(0, 1000), Text("", 400, "Bash"), call(0, 500)])
    assert (shares["Read"].tokens, shares["Read"].measured) == (100, 0)
    assert (shares["Bash"].tokens, shares["Bash"].measured) == (100, 0)


def test_growth_beyond_a_token_a_character_is_not_the_texts() -> None:
    assert attribute([call(0, 1000), Text("", 50, "Edit"), call(1000, 9000)])["Edit"].tokens == 50


def test_compaction_ends_what_is_carried() -> None:
    share = attribute([call(0, 1000), Text("", 4000, "Read"), call(1000, 1000), Compacted(""), call(0, 500), call(500, 10)])["Read"]
    assert share.carried == 1000


def test_a_thread_carries_its_own() -> None:
    events = [call(0, 1000), call(0, 1000, thread="a"), Text("a", 4000, "Read"), call(1000, 100), call(1000, 1000, thread="a")]
    assert attribute(events)["Read"].carried == 1000


def test_a_lost_cache_is_paid_as_new_input() -> None:
    share = attribute([call(0, 1000), Text("", 4000, "Read"), call(1000, 1000), call(0, 2100)])["Read"]
    assert share.cost_usd == Decimal("0.02")


def test_no_call_is_charged_more_than_it_read() -> None:
    share = attribute([Text("", 400_000, "Read"), call(0, 1000), call(0, 10)])["Read"]
    assert share.carried == 1010


def test_without_a_price_the_dollars_are_unknown_and_partly_is_partly() -> None:
    assert attribute([Text("", 400, "Read"), call(0, 1000, priced=False)])["Read"].cost_usd is None
    share = attribute([Text("", 400, "Read"), call(0, 1000), call(1000, 1, priced=False)])["Read"]
    assert (share.cost_usd, share.unpriced) == (Decimal("0.001"), 100)


def test_a_result_that_no_call_read_costs_nothing() -> None:
    assert attribute([call(0, 1000), Text("", 400, "Read")]) == {}


EVENTS = st.lists(
    st.one_of(
        st.builds(Text, st.sampled_from(["", "a"]), st.integers(0, 10**6), st.sampled_from(["", "Read", "Bash"])),
        st.builds(call, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5)),
        st.builds(Compacted, st.sampled_from(["", "a"])),
    ),
    max_size=30,
)


@given(EVENTS)
def test_never_more_than_the_calls_cost(events: list[Text | Call | Compacted]) -> None:
    paid = sum(event.cache_read * READ + event.uncached * NEW for event in events if isinstance(event, Call))
    shares = attribute(events).values()
    assert all(share.dollars >= 0 for share in shares)
    assert sum(share.dollars for share in shares) <= float(paid) * (1 + 1e-6) + 1e-6
