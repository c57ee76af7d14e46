"""The bytes that are hashed and signed, against numbers computed by independent programs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from offset_engine.core.crypto import (
    expand_seed,
    hash_lock,
    is_valid_identity,
    public_key_of,
    sha512_256,
    sign,
    speaks_first,
    verify,
)
from offset_engine.core.messages import (
    CurrencyOperations,
    ResetTerms,
    parse_operation,
    request_op,
)
from offset_engine.core.signing import (
    RESPONSE_PREFIX,
    RESPONSE_PREFIX_2020,
    BalanceInfo,
    Commit,
    Invoice,
    ResponseTerms,
    TokenInfo,
    commit_terms,
    genesis,
    info_hash,
    invoice_buffer,
    move_token_buffer,
    prefix_hash,
    response_buffer,
    response_hash,
    terms_hash,
    time_hash,
)
from offset_engine.core.token_channel import Incoming, Outgoing, new_channel
from offset_engine.core.values import (
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    Uid,
)
from tests.covers import covers

ALICE, BOB, CAROL = (PrivateKey(bytes([n]) * 32) for n in (1, 2, 3))
A, B, C = map(public_key_of, (ALICE, BOB, CAROL))
FST, USD = Currency("FST"), Currency("USD")
G = genesis(A, B)
REQUEST = request_op(
    Uid(b"\x11" * 16),
    hash_lock(PlainLock(b"\x33" * 32)),
    (B, C),
    (10, 10, 5),
    InvoiceId(b"\x55" * 32),
)


def test_hash_is_sha512_256():
    assert sha512_256(b"This is a test!").hex() == (
        "349c7ea7498d0432dcb0604a9ed37a8b65a90bfa166c91475f072a29e42da1fb"
    )


def test_keys_and_their_order():
    assert A.hex() == "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
    assert B.hex() == "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
    assert C.hex() == "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"
    assert speaks_first(B, A)
    assert speaks_first(C, B)
    assert not speaks_first(A, C)


@covers("PT01")
def test_genesis_is_the_same_for_both_sides():
    assert G.info_hash.hex() == "206cc22ea7a3f5b95e1853cb3f297705ffd2cf2aff59eb9b35e5abf44145205a"
    assert prefix_hash(G.old_token, (), None, None).hex() == (
        "01bed130ed5c7c7ac7a49ce9c896a3da1fc889ab5806226d8476d513239fc93c"
    )
    assert G.rand_nonce.hex() == "479919cfe2d4b7f38ca398ba7ede6110"
    low, high = new_channel(A, B), new_channel(B, A)
    assert isinstance(low.direction, Outgoing)
    assert isinstance(high.direction, Incoming)
    assert low.direction.move_token == G
    assert high.direction.last.new_token == G.new_token
    assert info_hash(high.direction.last.token_info) == G.info_hash


def test_first_move_token():
    relays = (RelayAddress(C, "127.0.0.1:1337"),)
    prefix = prefix_hash(G.new_token, (), relays, (FST, USD))
    info = info_hash(TokenInfo(B, A, (), 0, 1))
    buffer = move_token_buffer(prefix, info, RandValue(b"\x77" * 16))
    assert prefix.hex() == "791da6494459d66c7b1883064db42a92ebaa21a9682e9b5495decb33cce54de8"
    assert info.hex() == "d8ff434ad2b5daa4db36cb8c53f69db39bb7bdffb652ae756e0efe1aeb95ffb6"
    assert len(buffer) == 112
    assert sha512_256(buffer).hex() == (
        "1a47d1b79653b19e71af0b680e385baa71c2c0470a6876494cf9d5e15a29c40f"
    )
    assert sign(expand_seed(BOB), buffer).hex() == (
        "3f34156183a5b426f454e7f12a6f791b9ed126fff92fcf8d7862fcc187de2b33"
        "a345497f6ed875f9511ebd66f2ef467cc9a60e42f06fde30ecc646103990d207"
    )


def test_token_info():
    balances = ((FST, BalanceInfo(-5, 3, 2)), (USD, BalanceInfo(0, 0, 0)))
    info = TokenInfo(A, B, balances, 1, 7)
    assert info_hash(info).hex() == (
        "2335ab28c3b91abb134234f0d0dfa86ed968db5a4d324d765665835840fa031d"
    )
    assert info.flipped.flipped == info
    assert info.flipped.balances[0] == (FST, BalanceInfo(5, 2, 3))


def test_request_bytes():
    assert len(REQUEST.raw) == 201
    assert sha512_256(REQUEST.raw).hex() == (
        "932f00846f7d7e1157b0aa21b869b1d4f641b09960927e43f0067d44b1405470"
    )
    assert parse_operation(REQUEST.raw) == REQUEST
    operations = (CurrencyOperations(FST, (REQUEST,)),)
    assert prefix_hash(G.new_token, operations, None, None).hex() == (
        "831b3e78d2e5c99a734daee84e8568b798f4bfddeac03c1f70badcbe2b608a62"
    )


def _terms(*, is_complete: bool) -> ResponseTerms:
    return ResponseTerms(
        response_hash(REQUEST.request_id, RandValue(b"\x22" * 16)),
        REQUEST.src_hashed_lock,
        hash_lock(PlainLock(b"\x44" * 32)),
        is_complete,
        10,
        10,
        REQUEST.invoice_id,
        FST,
    )


@covers("PAY-17")
def test_response_is_signed_as_documented():
    buffer = response_buffer(_terms(is_complete=True))
    assert len(buffer) == 196
    assert response_hash(REQUEST.request_id, RandValue(b"\x22" * 16)).hex() == (
        "f6bab775f705af0fd8ffb58f2bbb4bf83baf747556409f713f7440728debb13a"
    )
    assert sha512_256(buffer).hex() == (
        "d75cb7da79bf2697cd00e253b6b969d62ba07aa90c6b495994be8833ba9e6356"
    )
    assert sign(expand_seed(CAROL), buffer).hex() == (
        "1891ad96ca59e398f74887663a94cad35530b19ff90a2254e2af724f04ef7edc"
        "bd2f31c251b7c3dbbabc1247d53b9301a863e03bed94039e08488f5948407901"
    )
    assert sha512_256(response_buffer(_terms(is_complete=False))).hex() == (
        "11f0d46f99a75f2054ce414e76529df06c22a8b294022bd5f5f878aafca6dac7"
    )


def test_the_2020_prefix_is_another_signature():
    terms = _terms(is_complete=True)
    assert response_buffer(terms, RESPONSE_PREFIX) != response_buffer(terms, RESPONSE_PREFIX_2020)
    assert sha512_256(response_buffer(terms, RESPONSE_PREFIX_2020)).hex() == (
        "ba8b89e103cafe345b20128cfa84648fda4944f53d2fb3e2b2d9e50448112989"
    )


@pytest.mark.parametrize("number", range(10))
def test_commits_of_the_vector_file_verify_under_their_prefix_only(number):
    vectors = json.loads((Path(__file__).parents[1] / "vectors" / "artifacts.json").read_text())
    case = vectors["cases"][number]
    if "commit" not in case:
        case = vectors["cases"][0]
    seller = PublicKey.from_text(vectors["seller"]["publicKey"])
    raw = case["commit"]
    commit = Commit(
        HashResult.from_text(raw["responseHash"]),
        PlainLock.from_text(raw["srcPlainLock"]),
        HashedLock.from_text(raw["destHashedLock"]),
        int(raw["destPayment"]),
        int(raw["totalDestPayment"]),
        InvoiceId.from_text(raw["invoiceId"]),
        Currency(raw["currency"]),
        Signature.from_text(raw["signature"]),
    )
    other = {RESPONSE_PREFIX: RESPONSE_PREFIX_2020, RESPONSE_PREFIX_2020: RESPONSE_PREFIX}
    prefix = case["prefix"]
    assert verify(seller, response_buffer(commit_terms(commit), prefix), commit.signature)
    assert not verify(
        seller, response_buffer(commit_terms(commit), other[prefix]), commit.signature
    )


def test_invoice_signature_of_the_sample():
    private = PrivateKey.from_text("gbIQ7i77i2os58lXFzZs1BjyOULq-S4dFKFkHUniGTU")
    invoice = Invoice(
        InvoiceId.from_text("PCQKgssDeIR96KIVjJ1gamr1vcx9FDGRF2FCLN0Gzls"),
        USD,
        public_key_of(private),
        1_250_000,
        "2 chocolate bars",
        1_700_000_000,
        1_700_086_400,
        2,
    )
    assert sign(expand_seed(private), invoice_buffer(invoice)).to_text() == (
        "2HQVrPU-YQvOWSut8dLIeRr1_iBrWjFi9m7VK9K6nlNUkUQBPGw1HJVU8IjGpJvb4R3R0KO-nm7IfDDACbZHAg"
    )
    for other in (
        replace(invoice, total_dest_payment=1),
        replace(invoice, decimals=3),
        replace(invoice, description="2 chocolate bar"),
        replace(invoice, expires=0),
    ):
        assert invoice_buffer(other) != invoice_buffer(invoice)


@covers("NT49")
def test_hash_clock():
    first = time_hash([sha512_256(bytes(16))])
    assert first.hex() == "64d486343dfd6749a2f0cbca0632b1eae072885b6f1b4f85b216885ecfeac56a"
    assert time_hash([sha512_256(b"\x01" * 16), first]).hex() == (
        "6b842a443a819bc45f98efff8fb9d75c965139ab25c63c6d2f4fb876680be887"
    )


@covers("PT53")
def test_content_cannot_be_cut_differently_under_one_hash():
    def prefix(currencies=None, relays=None):
        return prefix_hash(G.new_token, (), relays, currencies)

    assert prefix((Currency("AB"), Currency("C"))) != prefix((Currency("A"), Currency("BC")))
    one = (RelayAddress(C, "a.net:1"), RelayAddress(B, "b.net:1"))
    glued = (RelayAddress(C, "a.net:1" + B.decode("latin-1") + "b.net:1"),)
    assert prefix(relays=one) != prefix(relays=glued)
    assert prefix(()) != prefix(None)


def test_terms_hash_covers_every_field():
    terms = ResetTerms(Signature(b"r" * 64), 3, ((FST, -5),))
    hashes = {
        terms_hash(A, B, terms),
        terms_hash(B, A, terms),
        terms_hash(A, B, replace(terms, inconsistency_counter=4)),
        terms_hash(A, B, replace(terms, balances=((FST, 5),))),
        terms_hash(A, B, replace(terms, balances=((USD, -5),))),
        terms_hash(A, B, replace(terms, reset_token=Signature(b"s" * 64))),
    }
    assert len(hashes) == 6


@pytest.mark.parametrize(
    ("mul", "add", "amount", "fee"),
    [
        (0, 0, 100, 0),
        (0, 5, 15, 5),
        (0x80000000, 0, 10, 5),
        (0x80000000, 0, 11, 5),
        (0xFFFFFFFF, 0xFFFFFFFF, 1, 4294967295),
        (0x028F5C29, 1, 100, 2),
        (0xFFFFFFFF, 0xFFFFFFFF, 2**128 - 1, 340282366841710300949110269842519228414),
    ],
)
def test_fees(mul, add, amount, fee):
    assert Rate(mul, add).fee(amount) == fee


@pytest.mark.parametrize(
    ("mul", "add", "capacity", "payable"),
    [
        (0, 0, 10, 10),
        (0x12345678, 1, 100, 92),
        (0x00100000, 5, 200, 194),
        (0x20000000, 20, 300, 248),
        (0, 20, 19, 0),
        (0x80000000, 0, 15, 10),
    ],
)
def test_largest_payment_that_fits(mul, add, capacity, payable):
    assert Rate(mul, add).payable(capacity) == payable


@covers("PT80")
def test_keys_that_are_no_identity():
    assert not is_valid_identity(PublicKey(bytes(32)))
    assert not is_valid_identity(PublicKey(b"\x01" + bytes(31)))
    assert not is_valid_identity(PublicKey(b"\xff" * 32))
    assert not verify(PublicKey(bytes(32)), b"anything", Signature(bytes(64)))
    assert is_valid_identity(A)


def test_a_seed_is_no_signing_key() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        sign(bytes(PrivateKey(b"\x01" * 32)), b"message")
