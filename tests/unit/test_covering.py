"""Fees a seller covers: what the invoice asks for and says, and what it means for both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_engine.text import EntryError
from offset_tui import covering
from tests.covers import covers


@covers("RMP-03")
@given(st.integers(1, 2**127 - 1), st.integers(0, 2**127 - 1), st.integers(0, 2**127 - 1))
def test_with_fees_up_to_what_is_covered_nobody_pays_more_than_the_price(
    price: int, cover: int, fee: int
) -> None:
    if cover >= price:
        with pytest.raises(EntryError):
            covering.asked(price, cover)
        assert covering.words(price, cover, "OUSD", 2) == ""
    else:
        asked = covering.asked(price, cover)
        assert asked >= 1
        assert (asked + fee <= price) == (fee <= cover)


def test_the_invoice_says_price_and_cover() -> None:
    said = "bike (price 1,000.00 OUSD; the seller covers fees up to 0.50)"
    assert covering.described("bike", 1_000_00, 50, "OUSD", 2) == said
    assert covering.described("", 1_000_00, 50, "OUSD", 2).startswith("(price")
    assert covering.described("bike", 1_000_00, 0, "OUSD", 2) == "bike"
    with pytest.raises(EntryError, match="too long"):
        covering.described("b" * 250, 1_000_00, 50, "OUSD", 2)


def test_the_form_says_what_both_get_and_pay() -> None:
    assert covering.words(100_00, 50, "OUSD", 2) == (
        "you get 99.50; the buyer pays 100.00 OUSD at most while fees are not above 0.50,"
        " and less if they are lower"
    )
    assert covering.words(100_00, 0, "OUSD", 2) == ""
