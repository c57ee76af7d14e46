"""A bill shared among people: the shares come out to the last credit, and invoices find back to their bill."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_engine.client import Currency
from offset_engine.text import EntryError
from offset_tui import bills
from offset_tui.bills import PEOPLE_MAX, Known, Person, Share, read_people, split
from tests.covers import covers
from tests.tui import money_scenes as money


@pytest.mark.parametrize(
    ("typed", "people"),
    [
        ("2", (Person("person 1", None), Person("person 2", None))),
        ("Bob", (Person("Bob", None),)),
        ("Bob, Dora 12.50", (Person("Bob", None), Person("Dora", 12_50))),
        ("  Bob  the 2nd ,Eva Maria 3", (Person("Bob the 2nd", None), Person("Eva Maria", 3_00))),
        ("Henry 8", (Person("Henry", 8_00),)),
    ],
)
def test_people_are_a_number_or_names_with_amounts(typed: str, people: tuple[Person, ...]) -> None:
    assert read_people(typed, 2) == people


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "write how many"),
        ("Bob,,Dora", "write how many"),
        ("0", "1 to 32"),
        ("33", "1 to 32"),
        ("9" * 50, "1 to 32"),
        (",".join("b" * 40), "1 to 32"),
        ("Bob 1.234", "Bob: "),
        ("Bob 0", "Bob: "),
        ("b" * 61, "at most 60"),
    ],
)
def test_what_is_no_list_of_people_is_refused(typed: str, why: str) -> None:
    with pytest.raises(EntryError, match=why):
        read_people(typed, 2)


def test_what_cannot_be_divided_is_paid_by_the_first() -> None:
    people = read_people("3", 2)
    assert split(100_00, people, 2, is_mine_too=False)[0] == (
        Share("person 1", 33_34),
        Share("person 2", 33_33),
        Share("person 3", 33_33),
    )
    shares, own = split(100_00, people, 2, is_mine_too=True)
    assert ([one.amount for one in shares], own) == ([25_00] * 3, 25_00)


def test_amounts_typed_stay_and_the_rest_is_shared() -> None:
    people = read_people("Bob, Dora 12.50, Grace", 2)
    assert [one.amount for one in split(50_00, people, 2, is_mine_too=False)[0]] == [
        18_75,
        12_50,
        18_75,
    ]


@pytest.mark.parametrize(
    ("total", "typed", "is_mine_too"),
    [(10_00, "Bob 4, Dora 5", False), (10_00, "Bob 11, Dora", True), (2, "3", False)],
)
def test_shares_that_do_not_make_the_total_are_refused(
    total: int, typed: str, is_mine_too: bool
) -> None:
    with pytest.raises(EntryError, match="the shares make"):
        split(total, read_people(typed, 2), 2, is_mine_too=is_mine_too)


@covers("RMP-40")
@given(
    st.integers(1, 2**127 - 1),
    st.lists(st.one_of(st.none(), st.integers(1, 2**127 - 1)), min_size=1, max_size=PEOPLE_MAX),
    st.booleans(),
)
def test_the_shares_make_the_total_exactly(
    total: int, amounts: list[int | None], is_mine_too: bool
) -> None:
    people = [Person(str(at), amount) for at, amount in enumerate(amounts)]
    try:
        shares, own = split(total, people, 2, is_mine_too=is_mine_too)
    except EntryError:
        return
    assert sum(one.amount for one in shares) + own == total
    assert all(one.amount >= 1 for one in shares)
    equal = [s.amount for s, p in zip(shares, people, strict=True) if p.amount is None]
    assert not equal or max(equal) - min([*equal, own] if is_mine_too else equal) <= 1


def _bill(what: str, count: int, first: int, created: int = 1_000) -> list[Known]:
    return [
        money.sale(
            replace(
                money.invoice(10_00, bills.describe(what, number, count, "40.00 OUSD"), "Eve"),
                invoice_id=money.invoice(number=first + number).invoice_id,
                created=created + number,
            )
        )
        for number in range(1, count + 1)
    ]


@covers("RMP-40")
def test_shares_find_back_to_their_bill_newest_first() -> None:
    old, new = _bill("lunch", 2, 10, 1_000), _bill("dinner (late)", 3, 20, 2_000)
    alone = money.sale(money.invoice(seller="Eve"))
    found = bills.bills([new[2], old[1], alone, new[0], old[0], new[1]])
    assert [(one.what, one.parts) for one in found] == [
        ("dinner (late)", tuple(new)),
        ("lunch", tuple(old)),
    ]


def test_two_bills_that_read_the_same_stay_two() -> None:
    monday, tuesday = _bill("lunch", 2, 10, 1_000), _bill("lunch", 2, 20, 90_000)
    found = bills.bills([*tuesday, *monday])
    assert [one.parts for one in found] == [tuple(tuesday), tuple(monday)]


@pytest.mark.parametrize(
    "text",
    [
        "share 1 of 2",
        "x (share 3 of 2, 1 in all)",
        "x (share 1 of 2, 1 in all) y",
        "(share 0 of 1, 1 in all)",
    ],
)
def test_other_invoices_are_no_bill(text: str) -> None:
    assert bills.bills([money.sale(money.invoice(1, text, "Eve"))]) == ()


def test_a_bill_says_how_far_it_is() -> None:
    first, second = _bill("lunch", 2, 10)
    paid = money.sold(first.invoice)
    assert bills.bills([first, second])[0].state(2) == "0 of 2 paid, 20.00 OUSD to come"
    assert bills.bills([paid, second])[0].state(2) == "1 of 2 paid, 10.00 OUSD to come"
    assert bills.bills([paid, money.sold(second.invoice)])[0].state(2) == "everybody has paid"
    assert bills.bills([first])[0].currency == Currency("OUSD")


def test_a_description_that_gets_too_long_is_refused() -> None:
    with pytest.raises(EntryError, match="too long"):
        bills.describe("x" * 250, 1, 2, "1 OUSD")
