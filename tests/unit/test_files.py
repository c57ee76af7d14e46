"""Artifacts: read in every spelling, refused with a sentence, written atomically, verified."""

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from offset_engine import disk, files
from offset_engine.core.crypto import expand_seed, public_key_of, sign
from offset_engine.core.signing import Invoice, invoice_buffer
from offset_engine.core.values import (
    U128_MAX,
    Currency,
    InvoiceId,
    PrivateKey,
    PublicKey,
    Signature,
    Uid,
)
from offset_engine.errors import FileError
from offset_engine.files import Check, Ticket
from offset_engine.json_fields import Kind, Style, kind_of, parse_object
from tests.covers import covers

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "artifacts.json").read_text())
SELLER = PrivateKey.from_text(VECTORS["seller"]["privateKey"])
INVOICE: dict[str, Any] = VECTORS["invoice"]
PLAIN_2020: dict[str, Any] = next(
    c for c in VECTORS["cases"] if c["prefix"] == "FUND_RESPONSE" and c["case"] == "plain"
)
COMMIT: dict[str, Any] = PLAIN_2020["commit"]
RECEIPT: dict[str, Any] = PLAIN_2020["receipt"]
TICKET = {"publicKey": INVOICE["destPublicKey"], "address": "relay.example.org:4567"}

LOADERS: list[tuple[dict[str, Any], Callable[[Any], object]]] = [
    ({"privateKey": VECTORS["seller"]["privateKey"]}, files.load_identity),
    (TICKET, files.load_ticket),
    (INVOICE, files.load_invoice),
    (COMMIT, files.load_commit),
    (RECEIPT, files.load_receipt),
]


def text_of(values: object) -> str:
    return json.dumps(values)


def snake(values: dict[str, Any]) -> dict[str, Any]:
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in k): v for k, v in values.items()}


def changed(base: dict[str, Any], **other: object) -> str:
    return text_of({**base, **other})


# --- reading ------------------------------------------------------------------------------------


def test_reads_the_documented_examples() -> None:
    invoice = files.parse_invoice(text_of(INVOICE))
    assert invoice.dest_public_key == public_key_of(SELLER)
    assert (invoice.total_dest_payment, invoice.currency) == (1_250_000, "USD")
    assert (invoice.description, invoice.signature) == ("2 chocolate bars", None)
    assert files.parse_ticket(text_of(TICKET)) == Ticket(public_key_of(SELLER), TICKET["address"])


@covers("FIX-32", "VFY-06")
@pytest.mark.parametrize(("values", "load"), LOADERS)
def test_both_spellings_alone_or_together_mean_the_same(
    values: dict[str, Any], load: Callable[[Any], object], tmp_path: Path
) -> None:
    found = []
    for number, one in enumerate((values, snake(values), {**snake(values), **values})):
        path = tmp_path / str(number)
        path.write_text(text_of(one))
        found.append(load(path))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("values", "load"), LOADERS)
def test_two_values_for_one_field_are_a_conflict(
    values: dict[str, Any], load: Callable[[Any], object], tmp_path: Path
) -> None:
    key = next(k for k in snake(values) if "_" in k)
    path = tmp_path / "file"
    path.write_text(text_of({**values, key: "other"}))
    with pytest.raises(FileError, match="file: conflicting fields"):
        load(path)


def test_one_key_twice_is_a_conflict_too() -> None:
    with pytest.raises(FileError, match='conflicting fields: "isComplete"'):
        files.parse_receipt(text_of(RECEIPT)[:-1] + ', "isComplete": 1}')


@pytest.mark.parametrize(("values", "load"), LOADERS)
def test_every_field_is_needed(
    values: dict[str, Any], load: Callable[[Any], object], tmp_path: Path
) -> None:
    for key in [k for k in values if k != "description"]:
        path = tmp_path / key
        path.write_text(text_of({k: v for k, v in values.items() if k != key}))
        with pytest.raises(FileError) as caught:
            load(path)
        assert f'field "{key}" is missing' in str(caught.value)


def test_a_missing_description_is_empty() -> None:
    bare = {k: v for k, v in INVOICE.items() if k != "description"}
    assert files.parse_invoice(text_of(bare)).description == ""


@covers("FIX-33")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"destPayment": 1.5}, "must be a whole number from 0 to"),
        ({"destPayment": True}, "must be a whole number from 0 to"),
        ({"destPayment": "1e3"}, "must be a whole number from 0 to"),
        ({"destPayment": "-1"}, "must be a whole number from 0 to"),
        ({"destPayment": "\u0661"}, "must be a whole number from 0 to"),
        ({"destPayment": -1}, "it is outside"),
        ({"destPayment": str(U128_MAX + 1)}, "it is outside"),
        ({"destPayment": "9" * 9_000}, "it is outside"),
        ({"destPayment": None}, "not null"),
        ({"invoiceId": 7}, '"invoiceId" must be 32 bytes as base64 text, not a number'),
        ({"invoiceId": INVOICE["invoiceId"][:-1]}, "43 characters"),
        ({"invoiceId": INVOICE["invoiceId"] + "AA"}, "a character is missing, too many or wrong"),
        ({"invoiceId": "*" * 43}, "a character is missing, too many or wrong"),
        ({"currency": "x" * 17}, '"currency" must be text of at most 16 bytes, it has 17'),
        ({"currency": "€" * 6}, "it has 18"),
        ({"currency": "\ud800"}, "it is no Unicode"),
        ({"currency": []}, "not a list"),
        ({"description": "é" * 128}, "it has 256"),
        ({"description": {}}, "not an object"),
        ({"expires": "soon"}, "not text"),
        ({"decimals": 256}, "it is outside"),
        ({"sig": "A" * 86}, "the seller's signature does not fit this invoice"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(FileError) as caught:
        files.parse_invoice(changed(INVOICE, **change))
    assert sentence in str(caught.value)


def test_numbers_may_be_text_or_integers_with_leading_zeros() -> None:
    for form in ("1250000", 1250000, "0" * 5_000 + "1250000"):
        invoice = files.parse_invoice(changed(INVOICE, destPayment=form))
        assert invoice.total_dest_payment == 1_250_000
    largest = files.parse_invoice(changed(INVOICE, destPayment=str(U128_MAX)))
    assert largest.total_dest_payment == U128_MAX


def test_base64_is_read_in_either_alphabet_with_padding_or_space() -> None:
    key = INVOICE["destPublicKey"]
    for form in (key + "=", f" {key}\n", key.replace("-", "+").replace("_", "/")):
        assert files.parse_invoice(changed(INVOICE, destPublicKey=form)).dest_public_key == (
            public_key_of(SELLER)
        )


def test_addresses_and_currencies_are_kept_as_they_stand() -> None:
    assert files.parse_ticket(changed(TICKET, address="any thing")).address == "any thing"
    wrapped = {"address": {"address": "host:1"}}
    assert files.parse_ticket(changed(TICKET, address=wrapped)).address == "host:1"
    assert files.parse_invoice(changed(INVOICE, currency="₪ new")).currency == "₪ new"
    with pytest.raises(FileError, match="it has 257"):
        files.parse_ticket(changed(TICKET, address="x" * 257))


def test_a_ticket_with_a_key_nobody_can_have_is_refused() -> None:
    with pytest.raises(FileError, match="not a usable key"):
        files.parse_ticket(changed(TICKET, publicKey=PublicKey(bytes(32)).to_text()))


def test_the_wrong_kind_of_file_is_named() -> None:
    with pytest.raises(FileError, match="this is an invoice, but a ticket is needed here"):
        files.parse_ticket(text_of(INVOICE))
    with pytest.raises(FileError, match="this is a commit, but a receipt is needed here"):
        files.parse_receipt(text_of(COMMIT))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"privateKey": ""}, Kind.IDENTITY),
        ({"public_key": "", "permissions": {}}, Kind.APP_TICKET),
        ({"publicKey": "", "relays": [], "address": ""}, Kind.FRIEND),
        ({"node_public_key": "", "app_private_key": ""}, Kind.REMOTE_CARD),
        (RECEIPT, Kind.RECEIPT),
        (COMMIT, Kind.COMMIT),
        (snake(INVOICE), Kind.INVOICE),
        ({"payment_id": ""}, Kind.PAYMENT),
        ({"token_info": {}}, Kind.TOKEN),
        (TICKET, Kind.TICKET),
        ({"relays": [], "servers": None}, Kind.INVITE),
        ({"relays": [], "invite_hash": ""}, Kind.ANSWER),
        ({"relay": {}, "index": {}}, Kind.SERVERS),
        ({"something": "else"}, None),
    ],
)
def test_a_kind_is_told_by_its_fields(values: dict[str, Any], kind: Kind | None) -> None:
    assert kind_of(parse_object(text_of(values))) is kind


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there is nothing in it"),
        ("\ufeff \n", "there is nothing in it"),
        ("hello", "neither a JSON object of ours in it nor a text"),
        ("[1]", "neither a JSON object of ours in it nor a text"),
        ("null", "neither a JSON object of ours in it nor a text"),
        ('{"a": NaN}', "it is not JSON text"),
        ('{"a":' * 5_000, "more than 64 braces"),
        ('{"a":' * 50 + "[" * 60_000, "nested too deeply"),
        ("[" * 60_000, "neither a JSON object of ours in it nor a text"),
        ('{"a": ' + "9" * 5_000 + "}", "it is not JSON text"),
    ],
)
def test_what_holds_nothing_of_ours_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(FileError, match=sentence):
        files.parse_invoice(text)


def test_a_byte_order_mark_and_white_space_do_not_matter() -> None:
    assert files.parse_invoice("\ufeff \n" + text_of(INVOICE) + "\n\n").currency == "USD"


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin1"))))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(FileError):
        files.parse_receipt(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(INVOICE)), junk=JSON)
def test_any_json_in_a_field_is_read_or_refused(key: str, junk: object) -> None:
    try:
        invoice = files.parse_invoice(changed(INVOICE, **{key: junk}))
    except FileError:
        return
    assert files.parse_invoice(files.invoice_json(invoice)) == invoice


# --- writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", list(Style))
def test_what_is_written_reads_back(style: Style, tmp_path: Path) -> None:
    invoice = files.parse_invoice(text_of(INVOICE))
    commit = files.parse_commit(text_of(COMMIT))
    receipt = files.parse_receipt(text_of(RECEIPT))
    ticket = files.parse_ticket(text_of(TICKET))
    files.write_invoice(tmp_path / "i", invoice, style=style)
    files.write_commit(tmp_path / "c", commit, style=style)
    files.write_receipt(tmp_path / "r", receipt, style=style)
    files.write_ticket(tmp_path / "t", ticket, style=style)
    assert files.load_invoice(tmp_path / "i") == invoice
    assert files.load_commit(tmp_path / "c") == commit
    assert files.load_receipt(tmp_path / "r") == receipt
    assert files.load_ticket(tmp_path / "t") == ticket


def test_the_default_style_is_the_phone_apps() -> None:
    invoice = files.parse_invoice(text_of(INVOICE))
    assert json.loads(files.invoice_json(invoice)) == INVOICE
    assert json.loads(files.commit_json(files.parse_commit(text_of(COMMIT)))) == COMMIT
    receipt = files.parse_receipt(text_of(RECEIPT))
    assert json.loads(files.receipt_json(receipt)) == RECEIPT
    assert json.loads(files.receipt_json(receipt, Style.STCTRL)) == snake(RECEIPT)
    assert json.loads(files.receipt_json(receipt, Style.BOTH)) == {**snake(RECEIPT), **RECEIPT}


@covers("FIX-31")
def test_a_signed_invoice_keeps_what_is_signed() -> None:
    unsigned = Invoice(
        InvoiceId.from_text(INVOICE["invoiceId"]),
        Currency("USD"),
        public_key_of(SELLER),
        1_250_000,
        "2 chocolate bars",
        1_700_000_000,
        1_700_086_400,
        2,
    )
    signature = Signature.from_text(
        "2HQVrPU-YQvOWSut8dLIeRr1_iBrWjFi9m7VK9K6nlNUkUQBPGw1HJVU8IjGpJvb4R3R0KO-nm7IfDDACbZHAg"
    )
    assert sign(expand_seed(SELLER), invoice_buffer(unsigned)) == signature
    text = files.invoice_json(
        Invoice(
            unsigned.invoice_id,
            unsigned.currency,
            unsigned.dest_public_key,
            unsigned.total_dest_payment,
            unsigned.description,
            unsigned.created,
            unsigned.expires,
            unsigned.decimals,
            signature,
        )
    )
    assert files.parse_invoice(text).signature == signature
    for key, other in {
        "destPayment": "1250001",
        "currency": "EUR",
        "description": "3 bars",
        "created": 1,
        "expires": 0,
        "decimals": 3,
    }.items():
        with pytest.raises(FileError, match="something in it was changed"):
            files.parse_invoice(changed(json.loads(text), **{key: other}))


def test_a_file_is_never_replaced_without_force(tmp_path: Path) -> None:
    path = tmp_path / "card.ident"
    files.write_identity(path, SELLER)
    other = PrivateKey(bytes(32))
    with pytest.raises(FileError, match="exists already"):
        files.write_identity(path, other)
    assert files.load_identity(path) == SELLER
    files.write_identity(path, other, force=True)
    assert files.load_identity(path) == other
    assert [p.name for p in tmp_path.iterdir()] == ["card.ident"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    files.write_identity(tmp_path / "secret", SELLER)
    files.write_commit(tmp_path / "commit", files.parse_commit(text_of(COMMIT)))
    files.write_ticket(tmp_path / "public", files.parse_ticket(text_of(TICKET)))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert (modes["secret"], modes["commit"]) == (0o600, 0o600)
    assert modes["public"] & 0o400

    (tmp_path / "open").write_text("old")
    files.write_identity(tmp_path / "open", SELLER, force=True)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="no space left on device"):
        disk.write_file(path, "new", force=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        path.write_text("theirs")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(FileError, match="exists already"):
        disk.write_file(path, "ours")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_links_still_gets_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    disk.write_file(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    with pytest.raises(FileError, match="exists already"):
        disk.write_file(tmp_path / "file", "newer")


def test_what_killed_processes_were_writing_goes_with_the_next_write(tmp_path: Path) -> None:
    leftover = tmp_path / f".offset-{'0' * 16}.tmp"
    others = [tmp_path / name for name in (".offset-x.tmp", f"offset-{'0' * 16}.tmp", "file")]
    for path in (leftover, *others):
        path.write_text("secret")
    directory = tmp_path / f".offset-{'1' * 16}.tmp"
    directory.mkdir()
    disk.write_file(tmp_path / "other", "new")
    assert sorted(tmp_path.iterdir()) == sorted([*others, directory, tmp_path / "other"])
    disk.clear_leftovers(tmp_path / "missing")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps open files by itself")
def test_what_somebody_is_just_writing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", real)
        disk.write_file(tmp_path / "second", "2")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    disk.write_file(tmp_path / "first", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps open files by itself")
@pytest.mark.parametrize("when", ["before the lock", "with the lock", "without locks"])
def test_a_file_cleared_away_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    real = disk.hold

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(disk, "hold", real)
        if when == "without locks":
            raise OSError(95, "Operation not supported")
        for path in tmp_path.glob(".offset-*"):
            path.unlink()
        if when == "with the lock":
            raise BlockingIOError

    monkeypatch.setattr(disk, "hold", meanwhile)
    disk.write_file(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_paths_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b" " * (disk.FILE_BYTES_MAX + 1))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path, sentence in (
        (tmp_path / "none", "cannot read .*none: there is no such file"),
        (tmp_path, "this is a directory"),
        (big, "longer than 64 KiB"),
        (binary, "not UTF-8 text"),
        ("a\0b", "not a name a file can have"),
        ("", 'cannot read "": this is not a name a file can have'),
    ):
        with pytest.raises(FileError, match=sentence):
            files.load_identity(path)
    for path, sentence in (
        (tmp_path / "none" / "file", "cannot write .*: there is no such file or directory"),
        (tmp_path, "this is a directory"),
        ("a\0b", "not a name a file can have"),
    ):
        with pytest.raises(FileError, match=sentence):
            disk.write_file(path, "text", force=True)


# --- verifying ----------------------------------------------------------------------------------

FAILURES = {
    "invalid: destPayment exceeds totalDestPayment": Check.PART,
    "invalid: currency differs from the invoice": Check.CURRENCY,
}


@covers("FIX-30")
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: f"{c['prefix']} {c['case']}")
def test_every_case_of_the_vectors(case: dict[str, Any]) -> None:
    invoice = files.parse_invoice(text_of(INVOICE))
    verdicts = []
    if "commit" in case:
        verdicts.append(files.verify_commit(invoice, files.parse_commit(text_of(case["commit"]))))
    verdicts.append(files.verify_receipt(invoice, files.parse_receipt(text_of(case["receipt"]))))
    for verdict in verdicts:
        assert verdict.failed is FAILURES.get(case["expect"])
        assert verdict.is_valid == case["expect"].startswith("valid")
        assert verdict.prefix == (case["prefix"] if verdict.is_valid else None)
        assert verdict.is_complete == ("warning" not in case["expect"])


VARIATIONS: list[tuple[dict[str, Any], str | None, Check | None, str | None]] = [
    ({}, None, None, "FUND_RESPONSE"),
    (
        {},
        "5lKOR458NegiU8Q0y9QwuTn8m_i6bSgtaSItTiscR-NQ4HM4N6V9iPr1bL-DOA_awsh3gWDk74uczrngcmkHCw",
        None,
        "FUNDS_RESPONSE",
    ),
    (
        {"destPayment": "500000"},
        "fEYM5DmMnl7jYrgGgNMfxucitMoRm9ubeus0aEUeeazfMVP1uhLlnQwFqbdxodZ9P5vyvlVImh86WALhKWWEDg",
        None,
        "FUND_RESPONSE",
    ),
    (
        {"destPayment": "2000000"},
        "F8xefJPWViBxFqMleEzyWTW2Dddt8Tzs4A829nvjhChAdtoragEL6hhngdv1JVoyn6JFHuoI1xxb3N1Wk02IAQ",
        Check.PART,
        None,
    ),
    (
        {"currency": "EUR"},
        "MXIZ2Vuz77iA-u2f20E7vn8wBJNgXjZrZKMDi8BzO9MRdESClL8cVoH_uFbbZmRxsGpYO2cH_hn2Uhgh5WSLCQ",
        Check.CURRENCY,
        None,
    ),
    ({"totalDestPayment": "1250001"}, None, Check.TOTAL, None),
    ({"destPayment": "1249999"}, None, Check.SIGNATURE, None),
]


@pytest.mark.parametrize(("change", "signature", "failed", "prefix"), VARIATIONS)
def test_the_documented_variations(
    change: dict[str, Any], signature: str | None, failed: Check | None, prefix: str | None
) -> None:
    invoice = files.parse_invoice(text_of(INVOICE))
    signed = {**change, "signature": signature} if signature else change
    for verdict in (
        files.verify_commit(invoice, files.parse_commit(changed(COMMIT, **signed))),
        files.verify_receipt(invoice, files.parse_receipt(changed(RECEIPT, **signed))),
    ):
        assert (verdict.failed, verdict.prefix) == (failed, prefix)


def test_an_incomplete_part_is_valid_with_a_warning() -> None:
    receipt = files.parse_receipt(
        changed(
            RECEIPT,
            isComplete=False,
            signature="Awt6RLNyKmnZfydtlYLbeWgf5mGRmDjmhu42xj3LQNzuu-Un0WwK79YwJdDa0USHTyxf9U9Ax3xR71KH1IFrDw",
        )
    )
    verdict = files.verify_receipt(files.parse_invoice(text_of(INVOICE)), receipt)
    assert (verdict.is_valid, verdict.is_complete) == (True, False)


BINARY = [
    "responseHash",
    "srcPlainLock",
    "destHashedLock",
    "destPlainLock",
    "signature",
    "invoiceId",
]


@given(key=st.sampled_from(BINARY), position=st.integers(0, 63), bit=st.integers(0, 7))
def test_one_flipped_bit_never_verifies(key: str, position: int, bit: int) -> None:
    def flip(values: dict[str, Any]) -> str:
        cls = Signature if key == "signature" else InvoiceId
        raw = bytearray(cls.from_text(values[key]))
        raw[position % len(raw)] ^= 1 << bit
        return changed(values, **{key: cls(raw).to_text()})

    expected = Check.INVOICE_ID if key == "invoiceId" else Check.SIGNATURE
    invoice = files.parse_invoice(text_of(INVOICE))
    if key in COMMIT:
        verdict = files.verify_commit(invoice, files.parse_commit(flip(COMMIT)))
        assert verdict.failed is expected
    if key in RECEIPT:
        verdict = files.verify_receipt(invoice, files.parse_receipt(flip(RECEIPT)))
        assert verdict.failed is expected


def test_another_sellers_invoice_never_verifies() -> None:
    other = public_key_of(PrivateKey(bytes(range(32)))).to_text()
    invoice = files.parse_invoice(changed(INVOICE, destPublicKey=other))
    commit = files.parse_commit(text_of(COMMIT))
    assert files.verify_commit(invoice, commit).failed is Check.SIGNATURE


def test_ids_and_locks_are_of_their_own_types() -> None:
    commit = files.parse_commit(text_of(COMMIT))
    assert "secret" in repr(commit.src_plain_lock)
    assert type(commit.invoice_id) is InvoiceId
    assert type(commit.invoice_id) is not Uid
