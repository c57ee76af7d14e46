"""Values: sizes, texts, currencies, addresses, and that values are immutable and redacted."""

import pytest

from offset_engine.core.values import (
    Currency,
    PlainLock,
    PrivateKey,
    PublicKey,
    Rate,
    Uid,
    is_text,
    parse_address,
)
from tests.covers import covers

KEY = PublicKey(bytes(range(32)))


def test_fixed_bytes_insist_on_their_length():
    assert PublicKey.of(bytes(32)) == bytes(32)
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            PublicKey.of(bytes(size))


def test_text_form_round_trips_in_both_alphabets():
    text = KEY.to_text()
    assert len(text) == 43
    assert PublicKey.from_text(text) == KEY
    assert PublicKey.from_text(f"  {text}=\n") == KEY
    fancy = PublicKey(b"\xfb\xff" * 16)
    standard = fancy.to_text().replace("-", "+").replace("_", "/")
    assert PublicKey.from_text(standard) == fancy


@pytest.mark.parametrize("text", ["", "A", "AAAA", "!" * 43, "A" * 42, "A" * 44, "é" * 43])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="PublicKey"):
        PublicKey.from_text(text)


def test_secrets_never_show():
    for secret in (PrivateKey(b"s" * 32), PlainLock(b"s" * 32)):
        assert "secret" in repr(secret)
        assert "secret" in f"{secret}"
        assert "ss" not in repr(secret)
    assert repr(Uid(b"u" * 16)) == "Uid(dXV1dXV1)"


@covers("PAY-23")
@pytest.mark.parametrize("name", ["A", "FST", "x" * 16, "!", "~", "OUSD-2"])
def test_any_printable_name_is_a_currency(name):
    assert Currency.of(name) == name


@pytest.mark.parametrize("name", ["", "x" * 17, "a b", "a\0", "é", "a\n", "\x7f"])
def test_other_names_are_not(name):
    with pytest.raises(ValueError, match="currency"):
        Currency.of(name)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("Relay.Example.ORG:65535", "relay.example.org:65535"),
        ("a.b.:80", "a.b:80"),
        ("[0:0::1]:4567", "[::1]:4567"),
        ("[::FFFF]:1", "[::ffff]:1"),
        ("localhost:9", "localhost:9"),
        ("xn--bcher-kva.example:9", "xn--bcher-kva.example:9"),
    ],
)
def test_addresses_have_one_form(text, canonical):
    assert parse_address(text) == canonical
    assert parse_address(canonical) == canonical


@covers("NT42")
@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "host",
        "host:",
        "host:0",
        "host:01",
        "host:65536",
        "host:99999",
        "host:+1",
        "-a.net:1",
        "a-.net:1",
        "a..net:1",
        "1.2.3:1",
        "1.2.3.4.5:1",
        "256.1.1.1:1",
        "01.2.3.4:1",
        "[::1%eth0]:1",
        "[1.2.3.4]:1",
        "[::1:1",
        "bücher.example:1",
        "a b:1",
        "a" * 64 + ".net:1",
        "x." * 140 + "net:1",
    ],
)
def test_anything_else_is_no_address(text):
    with pytest.raises(ValueError, match=r"address|host|brackets"):
        parse_address(text)


def test_rates_have_a_range():
    assert Rate(0, 0).is_valid
    assert Rate(2**32 - 1, 2**32 - 1).is_valid
    assert not Rate(2**32, 0).is_valid
    assert not Rate(0, -1).is_valid


def test_text_is_counted_in_bytes():
    assert is_text("é" * 4, 8)
    assert not is_text("é" * 5, 8)
    assert not is_text("\ud800", 8)


def test_values_hash_and_compare_by_content():
    assert Rate(1, 2) == Rate(1, 2)
    assert hash(Rate(1, 2)) == hash(Rate(1, 2))
    assert Rate(1, 2) != Rate(2, 1)
