"""Text and QR forms: the documented examples, layouts, parts, and everything chats do to pasted text."""

import base64
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offset_engine import files
from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.signing import Commit, Invoice, Receipt
from offset_engine.core.values import Currency, HashResult, PrivateKey, RandValue, RelayAddress
from offset_engine.errors import FileError
from offset_engine.files import (
    Answer,
    Content,
    Form,
    FriendCard,
    Invite,
    Role,
    Servers,
    Style,
    Terms,
    Ticket,
    read_any,
    to_json,
    to_json_line,
    to_qr_parts,
    to_qr_text,
    to_text,
)
from tests.covers import covers

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "artifacts.json").read_text())
ARMOURED = (
    "offset1:invoice:SQE8JAqCywN4hH3oohWMnWBqavW9zH0UMZEXYUIs3QbOWwNVU0Td_d8VeBk_O_djGyVtnTtIDiX8oX7nW"
    "McCvyFKeCmciAMTEtAQMiBjaG9jb2xhdGUgYmFycw:PTzt"
)
SIGNATURE = "2HQVrPU-YQvOWSut8dLIeRr1_iBrWjFi9m7VK9K6nlNUkUQBPGw1HJVU8IjGpJvb4R3R0KO-nm7IfDDACbZHAg"

INVOICE = files.parse_invoice(json.dumps(VECTORS["invoice"]))
SIGNED = files.parse_invoice(
    json.dumps(
        {
            **VECTORS["invoice"],
            "created": 1_700_000_000,
            "expires": 1_700_086_400,
            "decimals": 2,
            "sig": SIGNATURE,
        }
    )
)
COMMIT = files.parse_commit(json.dumps(VECTORS["cases"][5]["commit"]))
RECEIPT = files.parse_receipt(json.dumps(VECTORS["cases"][5]["receipt"]))


def key(number: int) -> Any:
    return public_key_of(PrivateKey(bytes([number]) * 32))


RELAY = RelayAddress(key(1), "relay.example.org:4567")
OTHER = RelayAddress(key(2), "192.0.2.7:4567")
INDEX = RelayAddress(key(3), "index.example.org:8000")
SERVERS = Servers(RELAY, RelayAddress(RELAY.public_key, RELAY.address))
CARD = FriendCard(
    INVOICE.dest_public_key, (RELAY, OTHER), "Alice", (Terms(Currency("USD"), 2, 500_00),)
)
INVITE = Invite(CARD, SERVERS)
NONCE = RandValue(bytes(range(16)))
CONTENTS: list[Content] = [
    INVOICE,
    SIGNED,
    COMMIT,
    RECEIPT,
    FriendCard(key(4), (RELAY, OTHER)),
    CARD,
    FriendCard(key(4), (), "", (), "node.example.org:9876"),
    Ticket(key(5), "relay.example.org:4567", Role.RELAY),
    Ticket(key(5), "index.example.org:4567", Role.INDEX),
    SERVERS,
    Servers(RELAY, INDEX),
    INVITE,
    Invite(FriendCard(key(6), (RELAY,)), None),
    Invite(CARD, SERVERS, NONCE),
    Invite(FriendCard(key(6), (RELAY,), address="node.example.org:9876"), None, NONCE),
    Answer(CARD, files.invite_hash(INVITE)),
]


def only(text: str) -> Content:
    [artifact] = read_any(text)
    return artifact.content


def armour(word: str, packed: bytes) -> str:
    body, check = (
        base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        for raw in (packed, sha512_256(b"offset1" + packed)[:3])
    )
    return f"offset1:{word}:{body}:{check}"


# --- layouts ------------------------------------------------------------------------------------


@covers("MGR-11")
def test_the_documented_invoice_and_the_documented_sizes() -> None:
    assert to_text(INVOICE) == ARMOURED
    assert only(ARMOURED) == INVOICE
    relays = tuple(RelayAddress(relay.public_key, relay.address) for relay in (RELAY, OTHER))
    samples = (INVOICE, COMMIT, RECEIPT, FriendCard(key(4), relays))
    assert [len(files.pack(one)) for one in samples] == [91, 206, 207, 137]


def test_a_signed_invoice_has_its_extras_as_tags() -> None:
    packed = files.pack(SIGNED)
    bare = files.pack(INVOICE)
    tags = b"\x01\x04\x65\x53\xf1\x00" + b"\x02\x04\x65\x55\x42\x80" + b"\x03\x40"
    tags += SIGNED.signature or b""
    assert packed == b"I\x02" + bare[2:] + b"\x04" + tags + b"\x04\x01\x02"
    assert files.unpack(packed) == SIGNED


def test_servers_name_one_key_and_one_address_once() -> None:
    address = b"\x16relay.example.org:4567"
    expected = b"S\x01" + b"\x01" + RELAY.public_key + b"\x01" + address + b"\x00\x00\x00\x00"
    assert files.pack(SERVERS) == expected


def test_an_invite_holds_every_key_and_address_once() -> None:
    packed = files.pack(Invite(CARD, Servers(RELAY, INDEX)))
    for raw in (CARD.public_key, RELAY.public_key, OTHER.public_key, INDEX.public_key):
        assert packed.count(raw) == 1
    for place in (RELAY, OTHER, INDEX):
        assert packed.count(place.address.encode()) == 1
    assert packed == b"".join(
        (
            b"V\x01\x04",
            *(CARD.public_key, RELAY.public_key, OTHER.public_key, INDEX.public_key),
            b"\x03\x16relay.example.org:4567\x0e192.0.2.7:4567\x16index.example.org:8000",
            b"\x02\x01\x00\x02\x01",
            b"\x05Alice",
            b"\x01\x03USD\x02\x02\xc3\x50",
            b"\x01\x01\x00\x03\x02",
        )
    )


def test_an_answer_quotes_the_invite_it_answers() -> None:
    fields = files.pack(INVITE)[2:]
    expected = sha512_256(sha512_256(b"offset/v1/invite") + fields)
    assert files.invite_hash(INVITE) == expected
    assert files.pack(Answer(CARD, expected)).endswith(expected)
    other = Invite(FriendCard(CARD.public_key, CARD.relays, "Bob", CARD.terms), SERVERS)
    assert files.invite_hash(other) != expected


def test_an_invites_nonce_is_a_tag_that_its_answer_counts_in() -> None:
    made = Invite(CARD, SERVERS, NONCE)
    fields = files.pack(INVITE)[2:]
    assert files.pack(made) == b"V\x02" + fields + b"\x01\x08\x10" + NONCE
    expected = sha512_256(sha512_256(b"offset/v1/invite") + fields + NONCE)
    assert files.invite_hash(made) == expected
    # A nonce of zeros is none at all, however it is written.
    zeros = b"V\x02" + fields + b"\x01\x08\x10" + bytes(16)
    assert files.unpack(zeros) == INVITE
    assert "nonce" not in files.to_json(INVITE)
    with pytest.raises(FileError, match="wrong length"):
        files.unpack(b"V\x02" + fields + b"\x01\x08\x0f" + bytes(15))
    with pytest.raises(FileError, match="twice"):
        files.unpack(b"V\x02" + fields + b"\x02" + (b"\x08\x10" + NONCE) * 2)
    assert ("nonce", NONCE.to_text()) in files.describe(made).rows


@covers("RMP-32")
@pytest.mark.parametrize("content", CONTENTS, ids=lambda one: type(one).__name__)
def test_every_form_reads_back(content: Content) -> None:
    assert only(to_text(content)) == content
    assert only(to_qr_text(content)) == content
    assert only(to_qr_text(content).lower()) == content
    for chars in (100, 150, 300):
        assert only("\n".join(to_qr_parts(content, chars))) == content
    bare = Ticket(content.public_key, content.address) if isinstance(content, Ticket) else content
    for style in Style:
        assert only(to_json(content, style)) == bare
    assert only(to_json_line(content)) == bare
    assert "\n" not in to_json_line(content)


def test_qr_texts_need_only_the_alphanumeric_characters() -> None:
    allowed = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    for content in CONTENTS:
        for text in (to_qr_text(content), *to_qr_parts(content, 90)):
            assert set(text) <= allowed


def test_unknown_tags_are_skipped() -> None:
    packed = files.pack(INVOICE)
    tagged = b"I\x02" + packed[2:] + b"\x03" + b"\x63\x02hi" + b"\x04\x01\x02" + b"\xfe\x00"
    content = only(armour("invoice", tagged))
    assert isinstance(content, Invoice)
    assert (content.decimals, content.description) == (2, "2 chocolate bars")
    for one in (COMMIT, RECEIPT, SERVERS, INVITE):
        raw = files.pack(one)
        assert files.unpack(raw[:1] + b"\x02" + raw[2:] + b"\x01\x01\x01\x05") == one


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"Q\x01", "a kind of thing this version does not know"),
        (b"I\x03", "a newer version"),
        (b"I\x01abc", "ends in the middle of its invoice id"),
        (files.pack(INVOICE)[:-1], "ends in the middle of its description"),
        (files.pack(INVOICE) + b"\x00", "something follows its end"),
        (files.pack(INVOICE).replace(b"\x03USD", b"\x03\xff\xfe\xfd"), "currency is no Unicode"),
        (files.pack(INVOICE).replace(b"\x03USD", b"\x11" + b"U" * 17), "more than 16 bytes"),
        (files.pack(INVOICE).replace(b"\x03\x13\x12", b"\x04\x00\x13\x12"), "made it wrongly"),
        (files.pack(INVOICE).replace(b"\x03\x13\x12\xd0", b"\x11" + b"\x01" * 17), "too large"),
        (files.pack(RECEIPT).replace(b"\x01\x03\x13", b"\x02\x03\x13"), "neither true nor false"),
        (files.pack(SIGNED).replace(b"USD", b"EUR"), "something in it was changed"),
        (files.pack(SIGNED)[:-3] + b"\x03\x00\x00", "tag 3 occurs twice"),
        (files.pack(SERVERS)[:-1] + b"\x07", "names a server that is not in it"),
        (b"V\x01" + bytes(8), "it has no key"),
        (b"F\x01" + key(1) + b"\x11", "more than 16 relays"),
        (b"F\x01" + bytes(32) + b"\x00", "not a usable key"),
        (b"L\x01" + bytes(32) + b"\x03a:1", "not a usable key"),
    ],
)
def test_a_wrong_layout_is_said_in_a_sentence(packed: bytes, said: str) -> None:
    with pytest.raises(FileError, match=said):
        files.unpack(packed)


def test_what_has_no_text_form_says_so() -> None:
    secret = files.Identity(PrivateKey(bytes(32)))
    card = files.RemoteCard(key(1), "a:1", PrivateKey(bytes(32)))
    for content in (secret, card, files.AppTicket(key(1), files.Permissions())):
        with pytest.raises(FileError, match="has no text form; hand it over as a file"):
            to_text(content)
    with pytest.raises(FileError, match="say which it is"):
        to_text(Ticket(key(1), "a:1"))
    with pytest.raises(FileError, match="the address is longer than 255 bytes"):
        to_text(Ticket(key(1), "a" * 256, Role.RELAY))


# --- parts --------------------------------------------------------------------------------------


def test_parts_are_as_documented_and_equally_long() -> None:
    parts = to_qr_parts(COMMIT, 120)
    packed = files.pack(COMMIT)
    mark = sha512_256(b"offset1" + packed)[:2].hex().upper()
    assert [part[:9] for part in parts] == [f"O$C3{n}{mark}" for n in (1, 2, 3)]
    assert len({len(part) for part in parts[:-1]}) == 1
    assert len(parts[-1]) <= len(parts[0]) <= 120
    assert "".join(part[9:] for part in parts) == base64.b32encode(packed).rstrip(b"=").decode()
    assert to_qr_parts(COMMIT, 400) == [to_qr_text(COMMIT)]


def test_parts_are_read_in_any_order_twice_and_mixed_with_others() -> None:
    parts = to_qr_parts(COMMIT, 100)
    assert len(parts) == 4
    for order in ((3, 1, 0, 2), (2, 0, 0, 3, 1, 2)):
        assert only(" ".join(parts[n] for n in order)) == COMMIT
    others = to_qr_parts(RECEIPT, 200)
    mixed = [*(one for pair in zip(parts, others, strict=False) for one in pair), *parts[2:]]
    found = read_any("\n".join(mixed))
    assert [one.content for one in found] == [COMMIT, RECEIPT]
    assert {one.form for one in found} == {Form.PARTS}


def test_what_is_wrong_with_parts_is_named() -> None:
    parts = to_qr_parts(COMMIT, 120)
    others = to_qr_parts(RECEIPT, 120)
    for text, said in (
        (parts[0] + "\n" + parts[2], r"part 2 of 3 of this QR code \(commit\) is missing"),
        (parts[0], "part 2 and 3 of 3"),
        ("\n".join([*parts[:2], others[2]]), "parts of different QR codes .* and part 3 of 3 of"),
        ("\n".join([*parts[:2], parts[2][:-1]]), "do not fit together: one is damaged"),
        ("\n".join([*parts[:2], parts[2][:-1] + "A"]), "do not fit together: one is damaged"),
        ("O$Q11ABCDAAAA", "of a kind this version does not know"),
        ("O$I12ABCDAAAA", "its number is impossible"),
        ("O$I99ABCDAAAA", "its number is impossible"),
        ("O$I1", "cut off"),
    ):
        with pytest.raises(FileError, match=said):
            read_any(text)
    with pytest.raises(FileError, match="does not fit into 8 QR codes of 40 characters"):
        to_qr_parts(COMMIT, 40)
    with pytest.raises(FileError, match="does not fit into 8 QR codes of 9 characters"):
        to_qr_parts(COMMIT, 9)


def test_words_after_a_part_do_not_matter() -> None:
    parts = to_qr_parts(COMMIT, 120)
    assert only("\nOK\n".join(parts) + "\nYES\nTHANKS") == COMMIT
    assert only("\nok\n".join(part.lower() for part in parts) + "\nthanks") == COMMIT


# --- what chats do ------------------------------------------------------------------------------

TEXTS: dict[str, tuple[str, Content]] = {
    "text": (to_text(COMMIT), COMMIT),
    "QR": (to_qr_text(COMMIT), COMMIT),
    "QR in lower case": (to_qr_text(COMMIT).lower(), COMMIT),
    "JSON": (to_json(COMMIT), COMMIT),
    "one line": (to_json_line(COMMIT), COMMIT),
    "stctrl": (to_json_line(COMMIT, Style.STCTRL), COMMIT),
    "parts": ("\n".join(to_qr_parts(COMMIT, 150)), COMMIT),
    "nested": (to_json_line(CARD), CARD),
    "signed": (to_text(SIGNED), SIGNED),
}


def wrapped(text: str, width: int = 72) -> str:
    return "\n".join(
        line[start : start + width]
        for line in text.split("\n")
        for start in range(0, len(line), width)
    )


def quoted(text: str) -> str:
    return "\n".join("> " + line for line in text.split("\n"))


DAMAGES: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: text,
    "space around": lambda text: f"\n\n   {text}   \n",
    "a sentence around": lambda text: f"Here you are:\n{text}\nThanks a lot!",
    "quoting": quoted,
    "quoting twice": lambda text: quoted(quoted(text)),
    "72 columns": wrapped,
    "72 columns, quoted": lambda text: quoted(wrapped(text)),
    "quoted, no space": lambda text: wrapped(text).replace("\n", "\n>"),
    "windows": lambda text: wrapped(text).replace("\n", "\r\n"),
    "a chat": lambda text: f"Alice, 14:03: {text}",
    "another chat": lambda text: f"[01.11.23, 14:03:22] Alice B.: {text}",
    "a third chat": lambda text: f"11/1/23, 14:03 - Alice: {text}",
    "backticks": lambda text: f"`{text}`",
    "a code block": lambda text: f"```\n{wrapped(text)}\n```",
    "no-break spaces": lambda text: f"\u00a0{wrapped(text)}".replace("\n", "\n\u00a0"),
    "no-break spaces between words": lambda text: f"Here: {text}".replace(" ", "\u00a0"),
    "zero width": lambda text: f"\u200b{wrapped(text)}".replace("\n", "\u200b\n\ufeff"),
    "a chat that breaks lines": lambda text: "\n".join(
        f"Alice, 14:{minute:02}: {line}"
        for minute, line in enumerate(wrapped(text, 60).split("\n"))
    ),
    "irc": lambda text: "\n".join(f"<alice> {line}" for line in wrapped(text).split("\n")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("form", TEXTS)
def test_pasted_text_survives(form: str, damage: str) -> None:
    text, content = TEXTS[form]
    assert only(DAMAGES[damage](text)) == content


def test_the_text_form_survives_zero_width_characters_anywhere() -> None:
    for mark in ("\u200b", "\u00ad", "\u2060"):
        assert only(mark.join(ARMOURED)) == INVOICE
        assert only(mark.join(to_qr_text(INVOICE))) == INVOICE
        assert only(mark.join("\n".join(to_qr_parts(INVOICE, 90)))) == INVOICE


def test_words_wrapped_at_spaces_keep_their_spaces() -> None:
    description = "a long list of things that were bought at the corner shop this morning " * 3
    invoice = Invoice(
        INVOICE.invoice_id, Currency("USD"), INVOICE.dest_public_key, 5, description.strip()
    )
    lines = textwrap.wrap(to_json_line(invoice), 60, break_on_hyphens=False, break_long_words=False)
    text = "\n".join(lines)
    assert only(f"Look:\n{text}") == invoice
    assert only(f"Look:\n{wrapped(to_json_line(invoice), 61)}") == invoice


def test_prefix_and_kind_may_be_written_in_capitals() -> None:
    assert only(ARMOURED.replace("offset1:invoice", "Offset1:INVOICE")) == INVOICE


def test_several_artifacts_are_found_in_their_order() -> None:
    invite = to_text(INVITE)
    parts = to_qr_parts(RECEIPT, 200)
    text = (
        f"Alice, 14:03: {ARMOURED}\nBob, 14:04: here is the commit\n{to_json(COMMIT)}\n"
        f"> {parts[1]}\n{invite} and the rest: {parts[0]} :{{"
    )
    found = read_any(text)
    assert [one.content for one in found] == [INVOICE, COMMIT, RECEIPT, INVITE]
    assert [one.form for one in found] == [Form.TEXT, Form.JSON, Form.PARTS, Form.TEXT]
    assert [one.content for one in read_any(f"[{to_json(COMMIT)}, {to_json(RECEIPT)}]")] == [
        COMMIT,
        RECEIPT,
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello Bob, lunch?", "neither a JSON object of ours in it nor a text"),
        (ARMOURED[:-1], "cut off"),
        (ARMOURED[:80], "cut off"),
        (ARMOURED.replace("VU0", "VU1"), "its check does not fit"),
        (ARMOURED.replace("PTzt", "PTzu"), "its check does not fit"),
        (ARMOURED.replace("invoice", "commit"), "says commit, but it holds: invoice"),
        (ARMOURED.replace("invoice", "bill"), "this version does not know; update the program"),
        (to_qr_text(INVOICE)[:-6], "cut off"),
        (to_qr_text(INVOICE)[:-1] + "A", "its check does not fit"),
        (f"{ARMOURED}\n{to_text(COMMIT)[:-30]}", "cut off"),
        (f"{ARMOURED}\n{to_json(COMMIT)[:-30]}", "it is not JSON text"),
        (to_json(CARD)[:-30], "it is not JSON text"),
        (f"look {to_json(CARD)[:-30]}", "it is not JSON text"),
        ("what is offset1: good for?", "cut off"),
        ("offset1:invoice:::::", "cut off|check does not fit"),
        ('see {"a": 1}', "its fields fit no kind of file"),
        ("x" * 70_000, "longer than 64 KiB"),
        ("é" * 40_000, "longer than 64 KiB"),
        ("\ud800", "neither a JSON object"),
    ],
)
def test_what_is_damaged_or_nothing_is_said(text: str, said: str) -> None:
    with pytest.raises(FileError, match=said):
        read_any(text)


def test_a_mention_of_the_prefix_does_not_disturb() -> None:
    assert only(f"copy the offset1: text below {{here}}:\n{ARMOURED}") == INVOICE
    assert only(f"is offset1: or O$ or offset1:this: right?\n{ARMOURED}") == INVOICE


def test_a_relay_inside_something_else_is_never_taken_for_a_ticket() -> None:
    place = {"publicKey": RELAY.public_key.to_text(), "address": RELAY.address}
    state = json.dumps({"state": {"relays": [place]}, "version": 1})
    for text in (state, f"look: {state}", state[:-1], '{"old": {"x": [' + json.dumps(place)):
        with pytest.raises(FileError):
            read_any(text)


def test_a_description_keeps_its_joiners() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u00a0 \u201cquoted\u201d > | `"
    invoice = Invoice(INVOICE.invoice_id, Currency("USD"), INVOICE.dest_public_key, 5, family)
    for text in (to_json(invoice), to_text(invoice)):
        assert only(text) == invoice
        assert only(f"Alice, 14:03: {text}") == invoice


# --- parse picks what is needed -----------------------------------------------------------------


def test_what_is_needed_is_taken_out_of_what_holds_it() -> None:
    assert files.parse(to_text(INVITE), FriendCard) == CARD
    assert files.parse(to_json(INVITE), FriendCard) == CARD
    assert files.parse(to_text(Answer(CARD, HashResult(bytes(32)))), FriendCard) == CARD
    both = Servers(RELAY, INDEX)
    for text in (to_text(both), to_json(both)):
        relay = files.parse(text, Ticket, Role.RELAY)
        index = files.parse(text, Ticket, Role.INDEX)
        assert (relay.address, index.address) == (RELAY.address, INDEX.address)
    plain = to_json(Ticket(key(1), "a:1"))
    assert files.parse(plain, Ticket, Role.RELAY).role is Role.RELAY


@pytest.mark.parametrize(
    ("text", "wanted", "role", "said"),
    [
        (ARMOURED, Commit, Role.ANY, "this is an invoice, but a commit is needed here"),
        (to_json(INVITE), Invoice, Role.ANY, "this is an invite, but an invoice is needed here"),
        (
            to_text(CONTENTS[8]),
            Ticket,
            Role.RELAY,
            "an index server's ticket, but a relay's ticket",
        ),
        (to_text(SERVERS), Ticket, Role.ANY, "a relay and an index server, but a ticket"),
        (f"{ARMOURED} {ARMOURED}", Invoice, Role.ANY, "there are 2 artifacts in this text"),
        (f"{ARMOURED} {to_text(COMMIT)}", Receipt, Role.ANY, "an invoice, a commit, but a receipt"),
    ],
)
def test_what_does_not_do_is_named(text: str, wanted: type[Content], role: Role, said: str) -> None:
    with pytest.raises(FileError, match=said):
        files.parse(text, wanted, role)
