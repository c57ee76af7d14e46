"""Amounts, fees and foreign text, for inputs nobody thought of."""

from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from offset_engine.core.values import CREDITS_MAX, U32_MAX, Rate
from offset_engine.text import (
    EntryError,
    cells,
    clip_cells,
    format_amount,
    format_percent,
    format_rate,
    parse_amount,
    parse_percent,
    parse_rate,
    safe,
    skeleton,
)

T = TypeVar("T")
amounts = st.one_of(
    st.integers(0, 10_000_000),
    st.integers(0, CREDITS_MAX),
    st.integers(0, 127).map(lambda bits: 2**bits - 1),
)
decimals = st.one_of(st.integers(0, 8), st.integers(0, 255))
typed = st.one_of(st.text("0123456789,. '", max_size=20), st.text(max_size=70))


def outcome(read: Callable[[], T], text: str) -> T | None:
    """What was read, or None after a look at the sentence."""
    problem: EntryError | None = None
    try:
        return read()
    except EntryError as error:
        problem = error
    assert str(problem).isprintable()
    assert problem.at is None or 0 <= problem.at <= len(text)
    return None


@given(amounts, decimals, st.sampled_from([",", " ", "'", ""]))
def test_every_amount_reads_back_as_it_is_shown(credits_: int, places: int, group: str) -> None:
    shown = format_amount(credits_, places, group=group)
    assert parse_amount(shown, places, least=0) == credits_


@given(typed, decimals)
def test_what_is_typed_is_an_amount_or_a_sentence_with_a_place(text: str, places: int) -> None:
    credits_ = outcome(lambda: parse_amount(text, places), text)
    if credits_ is None:
        return
    assert 1 <= credits_ <= CREDITS_MAX
    # The same number, read by somebody else.
    plain = Fraction(text.translate(str.maketrans("", "", " ,'")))
    assert plain * 10 ** (places % 255) == credits_


@given(typed, decimals)
def test_what_is_typed_is_a_fee_or_a_sentence(text: str, places: int) -> None:
    outcome(lambda: parse_percent(text), text)
    outcome(lambda: parse_rate(text, places), text)


@given(st.integers(0, 99_99999997), amounts)
def test_no_fee_is_less_than_what_was_typed(hundred_millionths: int, amount: int) -> None:
    shown = format_amount(hundred_millionths, 8)
    rate = Rate(parse_percent(shown))
    assert rate.is_valid
    exact = Fraction(hundred_millionths, 100 * 10**8)
    assert rate.fee(amount) >= int(amount * exact)
    assert Fraction(rate.mul, 2**32) - exact < Fraction(1, 2**32)


@given(st.integers(0, U32_MAX), st.integers(0, U32_MAX), decimals)
def test_every_rate_reads_back_as_it_is_shown(mul: int, add: int, places: int) -> None:
    assert parse_percent(format_percent(mul)) == mul
    shown = format_rate(Rate(mul, add), places)
    if len(shown) <= 100:
        assert parse_rate(shown, places) == Rate(mul, add)


nasty = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\u0301\u0316\u200d\ufe0f\u3164\u202e\x1b\x9b👩🇩日a "),
    ),
    max_size=60,
)


@given(nasty, st.integers(0, 40))
def test_foreign_text_keeps_within_its_cells_and_shows_only_what_is_printable(
    text: str, width: int
) -> None:
    shown = safe(text, width)
    assert cells(shown) <= width
    assert shown.isprintable()
    assert not set(shown) & set("\u3164\u2800\u115f\u1160\uffa0\u034f")
    assert cells(clip_cells(text, width)) <= width
    assert isinstance(skeleton(text), str)
