"""Foreign text, amounts, fees, keys and times as people see and type them."""

import datetime as dt
import time
from itertools import combinations

import pytest

from offset_engine import text
from offset_engine.core.signing import DECIMALS_NONE
from offset_engine.core.values import CREDITS_MAX, U32_MAX, PublicKey, Rate
from offset_engine.text import (
    EntryError,
    balance_text,
    cells,
    clip_cells,
    duration,
    fingerprint,
    fingerprint_words,
    format_amount,
    format_percent,
    format_rate,
    iso_local,
    iso_offset,
    money_text,
    name_and_key,
    pad_cells,
    parse_amount,
    parse_percent,
    parse_rate,
    quoted,
    readings_text,
    relative,
    safe,
    share_text,
    skeleton,
    tidy_amount,
)
from offset_engine.text.words import WORDS
from offset_engine.village import HALF_PERCENT

KEY = PublicKey(b"\x01" * 32)
UTC = dt.UTC
EAST = dt.timezone(dt.timedelta(hours=2))


# --- foreign text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Bob the baker, 2nd", "Bob the baker, 2nd"),
        ("Zoë 日本 Ωmega", "Zoë 日本 Ωmega"),
        ("Zoe\u0308", "Zoë"),
        ("\x1b]52;c;eA==\x07", "␛]52;c;eA==␇"),
        ("\x9b31m", "‹9B›31m"),
        ("a\nb\tc\x7f", "a␊b␉c␡"),
        ("a\u202eb\u2066", "a‹202E›b‹2066›"),
        ("a\u200bb\xa0c\xad", "a‹200B›b‹A0›c‹AD›"),
        ("\u3164\u2800\u115f", "‹3164›‹2800›‹115F›"),
        ("\u034fa", "‹34F›a"),
        ("a\u17b4", "a‹17B4›"),
        ("❤\ufe0f ok", "❤ ok"),
        ("a\U000e0100b\U000e0041", "a‹E0100›b‹E0041›"),
        ("\ud800", "‹D800›"),
        ("\ue000\U0010fffe", "‹E000›‹10FFFE›"),
        ("[/] [@click=app.quit]x[/]", "[/] [@click=app.quit]x[/]"),
        ("x" + "\u0300" * 2 + "y", "x\u0300\u0300y"),
        ("x" + "\u0300" * 9 + "y", "x\u0300\u0300‹+7›y"),
        ("x" + "\u0300" * 9, "x\u0300\u0300‹+7›"),
        ("\u0301x", "◌\u0301x"),
        ("", ""),
    ],
)
def test_foreign_text_neither_acts_nor_hides(raw: str, shown: str) -> None:
    assert safe(raw) == shown


def test_foreign_text_is_cut_in_cells_not_in_characters() -> None:
    assert safe("日本語" * 40, 20) == "日本語日本語日本語…"
    assert safe("abcdef", 6) == "abcdef"
    assert safe("abcdefg", 6) == "abcde…"
    assert safe("abc", 0) == safe("abc", -5) == ""
    assert safe("\u200d" * 40, 12) == "‹200D›‹200D…"


def test_what_was_left_out_before_composing_is_marked_too() -> None:
    assert safe("a" + "\ufe0f" * 5000 + "b", 20) == "a…"
    started = time.perf_counter()
    assert safe("e" + "\u0301\u0316" * 500_000, 64).startswith("é")
    assert time.perf_counter() - started < 0.5


def test_clipping_and_padding_count_cells() -> None:
    assert clip_cells("日本語", 6) == "日本語"
    assert clip_cells("日本語", 5) == "日本…"
    assert clip_cells("日本語", 4) == "日…"
    assert clip_cells("日本語", 1) == "…"
    assert clip_cells("日本語", 1, "...") == ""
    assert clip_cells("abcdef", 5, "...") == "ab..."
    assert clip_cells("abc", 0) == clip_cells("abc", -1) == ""
    assert pad_cells("日本", 6) == "日本  "
    assert pad_cells("日本", 6, "right") == "  日本"
    assert pad_cells("a", 4, "center") == " a  "
    assert pad_cells("abcdef", 3) == "abcdef"
    assert cells("日本a") == 5


def test_commands_quote_foreign_text_with_escapes() -> None:
    assert quoted('a"b\\c d é\x1b\u202e') == r'"a\"b\\c d é\x1b\u202e"'
    assert quoted("x" * 301) == '"' + "x" * 300 + '…"'


def test_a_cluster_that_is_wider_than_its_start_is_cut_off_whole() -> None:
    for width in range(8):
        for nasty in ("👩‍👩‍👧‍👦" * 4, "🇩🇪🇩🇪🇩🇪", "❤️❤️❤️❤️", "a\u0301" * 10):
            assert cells(clip_cells(nasty, width)) <= width


@pytest.mark.parametrize(
    "name",
    [
        "\u0412\u043eb",
        "B0b",
        "bob",
        " BOB ",
        "b\u200bob",
        "Bób",
        "B-o-b",
        "\uff22ob",
        "\u0392\u039f\u0392",
    ],
)
def test_names_that_look_alike_have_one_skeleton(name: str) -> None:
    assert skeleton(name) == skeleton("Bob")


def test_an_ordinary_name_is_shown_as_it_is_and_its_skeleton_is_its_letters() -> None:
    every = "".join(map(chr, range(0x20, 0x7F)))
    assert safe(every, len(every)) is every
    assert safe(every, len(every) - 1).endswith("…")
    # Letters and digits are left, small, and those that look alike as one of them: 0 o, 1 i | l.
    letters = "abcdefghljklmnopqrstuvwxyz"
    assert skeleton(every) == f"ol23456789{letters}{letters}l"


def test_names_that_look_different_have_not() -> None:
    names = ["Bob", "Rob", "Bobby", "!!!", "???", "日本", "日木", ""]
    assert len({skeleton(name) for name in names}) == len(names)
    assert skeleton("barn") == skeleton("bam")
    assert skeleton("Ill") == skeleton("l1|") == skeleton("lIi")


# --- amounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credits_", "decimals", "options", "shown"),
    [
        (0, 2, {}, "0.00"),
        (5, 2, {}, "0.05"),
        (-1200, 2, {}, "−12.00"),
        (-1200, 2, {"ascii_only": True}, "-12.00"),
        (125_000, 2, {}, "1,250.00"),
        (125_000, 2, {"sign": True}, "+1,250.00"),
        (0, 2, {"sign": True}, "0.00"),
        (-125_000, 2, {"group": " ", "sign": True}, "−1 250.00"),
        (1_000_000, 0, {"group": "'"}, "1'000'000"),
        (1_000_000, DECIMALS_NONE, {"group": ""}, "1000000"),
        (999, 0, {}, "999"),
        (1, 20, {}, "0.00000000000000000001"),
        (1, -3, {}, "1"),
    ],
)
def test_amounts_are_shown_in_full(credits_: int, decimals: int, options: dict, shown: str) -> None:
    assert format_amount(credits_, decimals, **options) == shown


def test_the_largest_amount_keeps_every_digit() -> None:
    for decimals in (0, 2, 38, 254):
        for number in (CREDITS_MAX, -CREDITS_MAX, -(2**127), 2**128 - 1):
            shown = format_amount(number, decimals)
            digits = "".join(c for c in shown if c in "0123456789").lstrip("0")
            assert digits == str(abs(number))


def test_a_balance_says_who_owes() -> None:
    assert balance_text(12_345, 2) == "+123.45 owes you"
    assert balance_text(-1_200, 2) == "−12.00 you owe"
    assert balance_text(-1_200_000, 2, group=" ", ascii_only=True) == "-12 000.00 you owe"
    assert balance_text(0, 2) == "0 settled"


def test_money_names_its_currency() -> None:
    assert money_text(125_000, "USD", 2) == "1,250.00 USD"
    assert money_text(-5, "U\x1bD", 0, ascii_only=True) == "-5 U␛D"


def test_two_readings_of_one_amount_stand_side_by_side() -> None:
    assert readings_text(10_000, 2, 3) == (
        "10000 credits: 100.00 with your 2 decimals, 10.000 with their 3 decimals"
    )
    assert readings_text(10, 1, DECIMALS_NONE) == (
        "10 credits: 1.0 with your 1 decimal, 10 with their 0 decimals"
    )


@pytest.mark.parametrize(
    ("typed", "decimals", "credits_"),
    [
        ("1", 2, 100),
        ("0.01", 2, 1),
        ("12.5", 2, 1250),
        ("12.50", 2, 1250),
        ("  7  ", 2, 700),
        ("007", 2, 700),
        ("1,250", 2, 125_000),
        ("1 250.5", 2, 125_050),
        ("1'250'000", 0, 1_250_000),
        ("12,345", DECIMALS_NONE, 12_345),
        ("170141183460469231731687303715884105727", 0, CREDITS_MAX),
    ],
)
def test_amounts_are_read(typed: str, decimals: int, credits_: int) -> None:
    assert parse_amount(typed, decimals) == credits_


@pytest.mark.parametrize(
    ("typed", "words", "at"),
    [
        ("", "type an amount, for example 12.50", None),
        ("   ", "type an amount", None),
        ("1,25", "a comma stands at place 2 where the point belongs: write 1.25", 1),
        (" 1 2", "a space stands at place 3 where the point belongs: write 1.2", 2),
        ("0,12", "write 0.12", 1),
        ("0,125", "digits from place 1 are grouped wrongly", 0),
        ("1,2500", "digits from place 3 are grouped wrongly", 2),
        ("1234,567", "digits from place 1 are grouped wrongly", 0),
        ("1,25,000", "digits from place 3 are grouped wrongly", 2),
        ("1,,250", "digits from place 3 are grouped wrongly", 2),
        (",250", "digits from place 1 are grouped wrongly", 0),
        ("1,250,", "digits from place 7 are grouped wrongly", 6),
        ("1,", "digits from place 3 are grouped wrongly", 2),
        ("1'000,000", "a comma stands at place 6 where an apostrophe grouped before", 5),
        ("1.250,00", "a comma stands after the point, at place 6", 5),
        ("1.250.000", "a second point stands at place 6", 5),
        ("5.", "digits are missing after the point at place 2", 1),
        (".5", "write a 0 before the point at place 1", 0),
        ("1.234", "this currency has 2 decimals: 3 digits stand after the point at place 2", 4),
        ("+5", "no sign: look at “+”, place 1", 0),
        ("−5", "no sign", 0),
        ("5-", "no sign: look at “-”, place 2", 1),
        ("1e5", "without an exponent: look at “e”, place 2", 1),
        ("1_000", "look at “_”, place 2", 1),
        ("USD 5", "look at “U”, place 1", 0),
        ("e", "only digits and one point", 0),
        ("\uff11\uff12", "only the digits 0 to 9", 0),
        ("1٣", "only the digits 0 to 9", 1),
        ("½", "only the digits 0 to 9", 0),
        ("1\xa0000", "only a plain space may group digits: look at “‹A0›”", 1),
        ("1\n", "only a plain space", 1),
        ("1\x1b[0m", "look at “␛”", 1),
        ("0", "the least possible here is 0.01", None),
        ("9" * 39, "the most possible here is 1,701,411,834", None),
        ("1" * 63, "an amount has at most 62 characters", None),
    ],
)
def test_what_is_wrong_with_an_amount_is_said_with_its_place(
    typed: str, words: str, at: int | None
) -> None:
    with pytest.raises(EntryError) as caught:
        parse_amount(typed, 2)
    assert words in str(caught.value)
    assert caught.value.at == at


def test_decimals_decide_what_may_stand_after_the_point() -> None:
    with pytest.raises(EntryError, match="no decimals: leave out the point at place 2"):
        parse_amount("1.0", 0)
    with pytest.raises(EntryError, match="grouped wrongly"):
        parse_amount("1,25", 0)
    with pytest.raises(EntryError, match=r"where the point belongs: write 0\.125"):
        parse_amount("0,125", 3)
    assert parse_amount("1,250", 3) == 1_250_000


def test_limits_may_be_zero_and_have_their_own_bounds() -> None:
    assert parse_amount("0", 2, least=0) == 0
    with pytest.raises(EntryError, match=r"the most possible here is 10\.00"):
        parse_amount("10.01", 2, most=1000)


def test_a_mile_of_digits_is_refused_at_once() -> None:
    started = time.perf_counter()
    for junk in ("1" * 1_000_000, "1," * 500_000, " " * 1_000_000):
        with pytest.raises(EntryError):
            parse_amount(junk, 2)
    assert time.perf_counter() - started < 0.5


def test_a_pasted_amount_is_tidied_before_it_is_read() -> None:
    for pasted in ("1\u2019250.50", " 1\u202f250.50\n", "1\xa0250.50", "\n1\u2009250.50"):
        assert parse_amount(tidy_amount(pasted), 2) == 125_050


# --- fees ---------------------------------------------------------------------------------------


def test_half_a_percent_of_the_documentation_costs_what_it_says() -> None:
    rate = parse_rate("0.5 % + 0.01", 2)
    assert rate == HALF_PERCENT
    assert rate.fee(100_00) == 51
    assert format_rate(rate, 2) == "0.5 % + 0.01"


@pytest.mark.parametrize(
    ("typed", "rate", "shown"),
    [
        ("free", Rate(), "free"),
        (" Free ", Rate(), "free"),
        ("0", Rate(), "free"),
        ("0 % + 0.00", Rate(), "free"),
        ("0.5%", Rate(21_474_837, 0), "0.5 %"),
        ("1% + .5", None, "in the part after +: write a 0 before the point at place 2"),
        ("0.01 + 1%", Rate(42_949_673, 1), "1 % + 0.01"),
        ("1,000", Rate(0, 100_000), "1,000.00"),
        ("99.99999997 %", Rate(U32_MAX, 0), "99.99999997 %"),
        ("1% + 2%", None, "each part once"),
        ("1 + 2", None, "each part once"),
        ("1 + x%", None, "“x” at place 5 does not belong into a percentage"),
        ("", None, "type an amount"),
        ("x", None, "only digits and one point"),
        ("1% +", None, "in the part after +: type an amount"),
        ("42949672.96", None, "the most possible here is 42,949,672.95"),
        ("1" * 101, None, "a fee has at most 100 characters"),
    ],
)
def test_fees_are_read_and_shown(typed: str, rate: Rate | None, shown: str) -> None:
    if rate is None:
        with pytest.raises(EntryError) as caught:
            parse_rate(typed, 2)
        assert shown in str(caught.value)
    else:
        assert parse_rate(typed, 2) == rate
        assert format_rate(rate, 2) == shown


def test_a_place_is_counted_in_the_whole_fee() -> None:
    with pytest.raises(EntryError) as caught:
        parse_rate("1% + 0.x", 2)
    assert caught.value.at == 7


@pytest.mark.parametrize(
    ("typed", "words", "at"),
    [
        ("0,5 %", "“,” at place 2 does not belong into a percentage: write 0.5 with a point", 1),
        (" -1", "“-” at place 2 does not belong into a percentage: write it like 0.5 %", 1),
        ("1\u0663", "place 2", 1),
        ("", "written like 0.5 %", 0),
        ("%", "written like 0.5 %", 0),
        ("1.%", "written like 0.5 %", 0),
        (".5", "written like 0.5 %", 0),
        ("1.2.3", "written like 0.5 %", 0),
        ("100", "less than 100 %", 0),
        ("99.99999999", "less than 100 %", 0),
        ("0.123456789", "at most 8 digits after the point", 10),
        ("0" * 31, "at most 30 characters", 0),
    ],
)
def test_what_is_wrong_with_a_percentage_is_said(typed: str, words: str, at: int) -> None:
    with pytest.raises(EntryError) as caught:
        parse_percent(typed)
    assert words in str(caught.value)
    assert caught.value.at == at


def test_the_smallest_shares_have_a_name_too() -> None:
    for mul in (0, 1, 2, 3, 43, 21_474_837, U32_MAX - 1, U32_MAX):
        assert parse_percent(format_percent(mul)) == mul
    assert format_percent(0) == "0 %"
    assert format_percent(1) == "0.00000002 %"


def test_a_fee_is_told_as_share_of_the_amount() -> None:
    assert share_text(51, 10_000) == "0.51 %"
    assert share_text(1, 1_000_000) == "0.01 %"
    assert share_text(0, 10_000) == share_text(0, 0) == "0 %"
    assert share_text(5, 0) == "500.00 %"


# --- keys ---------------------------------------------------------------------------------------


def test_a_key_has_a_short_form_and_words() -> None:
    assert fingerprint(KEY) == "zxsw-aaqk"
    assert fingerprint_words(KEY) == "zinc jaguar quilt copper wagon dancer puzzle glacier"
    other = PublicKey(b"\x01" * 31 + b"\x02")
    assert fingerprint(other) != fingerprint(KEY)
    assert not set(fingerprint_words(other).split()) <= set(fingerprint_words(KEY).split())


def test_a_name_stands_beside_its_key_within_the_room() -> None:
    assert name_and_key("Bob", KEY) == "Bob · zxsw-aaqk"
    assert name_and_key("", KEY) == "zxsw-aaqk"
    assert cells(name_and_key("B" * 99, KEY, 30)) == 30
    assert name_and_key("Charli", KEY, 5) == "Cha… · zxsw-aaqk"
    assert name_and_key("\x1bBob", KEY) == "␛Bob · zxsw-aaqk"


def test_no_word_is_mistaken_for_another() -> None:
    assert len(WORDS) == 256
    assert list(WORDS) == sorted(set(WORDS))
    assert all(3 <= len(word) <= 7 and word.isascii() and word.islower() for word in WORDS)
    assert len({word[:4] for word in WORDS}) == 256
    assert all(_edits(one, other) >= 3 for one, other in combinations(WORDS, 2))


def _edits(one: str, other: str) -> int:
    line = list(range(len(other) + 1))
    for row, a in enumerate(one, 1):
        new = [row]
        for column, b in enumerate(other, 1):
            new.append(min(line[column] + 1, new[-1] + 1, line[column - 1] + (a != b)))
        line = new
    return line[-1]


# --- times --------------------------------------------------------------------------------------

NOW = 1_795_442_709_000  # 2026-11-23 14:05:09 UTC


@pytest.mark.parametrize(
    ("away_s", "ago", "ahead"),
    [
        (0, "now", "now"),
        (9, "now", "now"),
        (42, "42 s ago", "in 42 s"),
        (60, "1 min ago", "in 1 min"),
        (3_599, "59 min ago", "in 59 min"),
        (7_300, "2 h ago", "in 2 h"),
        (86_399, "23 h ago", "in 23 h"),
        (86_400, "2026-11-22 14:05", "2026-11-24 14:05"),
    ],
)
def test_times_are_relative_within_a_day(away_s: int, ago: str, ahead: str) -> None:
    assert relative(NOW, NOW - 1000 * away_s, UTC) == ago
    assert relative(NOW, NOW + 1000 * away_s, UTC) == ahead


def test_times_are_local_on_screen_and_carry_their_offset_in_exports() -> None:
    assert iso_local(NOW, UTC) == "2026-11-23 14:05"
    assert iso_local(NOW, EAST) == "2026-11-23 16:05"
    assert iso_offset(NOW, EAST) == "2026-11-23T16:05:09+02:00"
    assert iso_local(NOW) == dt.datetime.fromtimestamp(NOW / 1000).strftime(  # noqa: DTZ006
        "%Y-%m-%d %H:%M"
    )


def test_impossible_times_are_called_so() -> None:
    for impossible in (2**63 - 1, -(2**63), 10**400, 253_402_300_799_000):
        for zone in (None, UTC, EAST):
            assert iso_local(impossible, zone) in {"a time no calendar has", "9999-12-31 23:59"}
            assert isinstance(iso_offset(impossible, zone), str)
            assert isinstance(relative(NOW, impossible, zone), str)


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (-5, "0 s"),
        (999, "0 s"),
        (42_000, "42 s"),
        (180_000, "3 min"),
        (7_500_000, "2 h 5 min"),
        (7_200_000, "2 h"),
        (273_600_000, "3 d 4 h"),
        (86_400_000, "1 d"),
    ],
)
def test_durations_have_at_most_two_units(ms: int, shown: str) -> None:
    assert duration(ms) == shown


def test_all_names_promised_are_there() -> None:
    assert all(hasattr(text, name) for name in text.__all__)
