"""Files and texts under random content: every form reads back, any text is read or refused."""

import json
import string
from typing import Any

import hypothesis.strategies as st
from hypothesis import assume, given

from offset_engine import files
from offset_engine.core.crypto import expand_seed, public_key_of, sign
from offset_engine.core.signing import (
    BalanceInfo,
    Commit,
    Invoice,
    Receipt,
    TokenInfo,
    invoice_buffer,
)
from offset_engine.core.values import (
    U64_MAX,
    U128_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PaymentId,
    PlainLock,
    PrivateKey,
    RandValue,
    RelayAddress,
    Signature,
)
from offset_engine.errors import FileError
from offset_engine.files import (
    Answer,
    AppTicket,
    Content,
    FriendCard,
    Identity,
    Invite,
    PaymentHandle,
    Permissions,
    RemoteCard,
    Role,
    Servers,
    Style,
    Terms,
    Ticket,
    Token,
    describe,
    kind_of_content,
    public_values,
    read_any,
    to_json,
    to_json_line,
    to_qr_parts,
    to_qr_text,
    to_text,
)
from tests.strategies import fixed

I128_MAX = 2**127 - 1
private_keys = st.integers(0, 5).map(lambda n: PrivateKey(bytes([n]) * 32))
keys = private_keys.map(public_key_of)


def short(bytes_max: int, min_size: int = 0) -> st.SearchStrategy[str]:
    text = st.text(st.characters(exclude_categories=["Cs"]), min_size=min_size, max_size=bytes_max)
    return text.filter(lambda one: len(one.encode()) <= bytes_max)


u64 = st.integers(0, U64_MAX)
u128 = st.one_of(st.sampled_from([0, 1, U128_MAX]), st.integers(0, U128_MAX))
currencies = short(16).map(Currency)
places = st.builds(RelayAddress, keys, st.sampled_from(["a:1", "b:2", "é"]) | short(255))
roles = st.sampled_from([Role.RELAY, Role.INDEX])
terms = st.builds(Terms, currencies, st.integers(0, 255), u128)


@st.composite
def invoices(draw: st.DrawFn) -> Invoice:
    seller = draw(private_keys)
    values: list[Any] = [
        draw(fixed(InvoiceId)),
        draw(currencies),
        public_key_of(seller),
        draw(u128),
        draw(short(255)),
        draw(st.just(0) | u64),
        draw(st.just(0) | u64),
        draw(st.integers(0, 255)),
    ]
    if not draw(st.booleans()):
        return Invoice(*values)
    return Invoice(*values, sign(expand_seed(seller), invoice_buffer(Invoice(*values))))


commits = st.builds(
    Commit,
    fixed(HashResult),
    fixed(PlainLock),
    fixed(HashedLock),
    u128,
    u128,
    fixed(InvoiceId),
    currencies,
    fixed(Signature),
)
receipts = st.builds(
    Receipt,
    fixed(HashResult),
    fixed(InvoiceId),
    currencies,
    fixed(PlainLock),
    fixed(PlainLock),
    st.booleans(),
    u128,
    u128,
    fixed(Signature),
)
cards = st.builds(
    FriendCard,
    keys,
    st.lists(places, max_size=4).map(tuple),
    short(128),
    st.lists(terms, max_size=3).map(tuple),
    short(255),
)
servers = st.builds(Servers, places, places)
packable: st.SearchStrategy[Content] = st.one_of(
    invoices(),
    commits,
    receipts,
    cards,
    servers,
    st.builds(Ticket, keys, short(255), roles),
    st.builds(Invite, cards, st.none() | servers, fixed(RandValue)),
    st.builds(Answer, cards, fixed(HashResult)),
)
balances = st.builds(BalanceInfo, st.integers(-I128_MAX - 1, I128_MAX), u128, u128)
infos = st.builds(
    TokenInfo,
    keys,
    keys,
    st.dictionaries(currencies, balances, max_size=3).map(
        lambda found: tuple(sorted(found.items(), key=lambda pair: pair[0].encode()))
    ),
    u64,
    u128,
)
others: st.SearchStrategy[Content] = st.one_of(
    st.builds(Identity, private_keys),
    st.builds(Ticket, keys, short(256)),
    st.builds(AppTicket, keys, st.builds(Permissions, *[st.booleans()] * 6)),
    st.builds(RemoteCard, keys, short(256), private_keys),
    st.builds(PaymentHandle, fixed(PaymentId)),
    st.builds(Token, fixed(HashResult), fixed(RandValue), fixed(Signature), infos),
)
contents = st.one_of(packable, others)


def only(text: str) -> Content:
    [artifact] = read_any(text)
    return artifact.content


@given(contents, st.sampled_from(Style))
def test_json_reads_back(content: Content, style: Style) -> None:
    bare = Ticket(content.public_key, content.address) if isinstance(content, Ticket) else content
    assert only(to_json(content, style)) == bare
    assert only(to_json_line(content, style)) == bare


@given(packable, st.integers(60, 400))
def test_texts_read_back(content: Content, chars: int) -> None:
    assert files.unpack(files.pack(content)) == content
    assert only(to_text(content)) == content
    assert only(to_qr_text(content)) == content
    try:
        parts = to_qr_parts(content, chars)
    except FileError:
        return
    assert only("\n".join(reversed(parts))) == content
    assert max(map(len, parts)) <= chars


@given(st.lists(packable, min_size=1, max_size=4), st.integers(30, 90), st.booleans())
def test_several_texts_survive_wrapping_and_quoting(
    several: list[Content], width: int, is_quoted: bool
) -> None:
    lines = []
    for content in several:
        text = to_text(content)
        lines += [text[start : start + width] for start in range(0, len(text), width)]
        lines.append("and so on")
    mark = "> " if is_quoted else ""
    assert [one.content for one in read_any("\n".join(mark + line for line in lines))] == several


@given(packable, st.data())
def test_a_changed_character_never_passes(content: Content, data: st.DataObject) -> None:
    text = to_text(content)
    place = data.draw(st.integers(text.index(":", 8) + 1, len(text) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_"))
    assume(text[place] != other)
    try:
        found = only(text[:place] + other + text[place + 1 :])
    except FileError:
        return
    # Base64's last character may hold bits that mean nothing.
    assert found == content


@given(contents)
def test_descriptions_hold_no_secret_and_no_control_character(content: Content) -> None:
    said = describe(content)
    everything = " ".join([said.title, said.proves, *(f"{a} {b}" for a, b in said.rows)])
    assert everything.isprintable()
    everything += json.dumps(public_values(content))
    if isinstance(content, Identity):
        assert content.private_key.to_text() not in everything
    if isinstance(content, RemoteCard):
        assert content.app_private_key.to_text() not in everything
    hidden = {"private_key", "app_private_key", "src_plain_lock", "dest_plain_lock"}
    assert not hidden & set(public_values(content))
    assert kind_of_content(content).value == said.title


@given(st.binary(max_size=120))
def test_any_bytes_are_unpacked_or_refused(raw: bytes) -> None:
    for head in (b"", b"I\x01", b"F\x02", b"S\x01", b"V\x01", b"A\x02"):
        try:
            content = files.unpack(head + raw)
        except FileError:
            continue
        assert files.unpack(files.pack(content)) == content


pieces = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            *("offset1:", "OFFSET1:", "invoice:", "O$I21ABCD", "O$", "{", "}", '{"publicKey":'),
            *(':"a"', ",", "[", "]", "\n", "> ", "`", "Alice, 14:03: ", "\u200b", "\ufeff"),
            *("1e3", "true", "null", '"relays"', '"address"', "ABCDEFGH234567", "\ud800"),
        ]
    ),
    packable.map(to_text).map(lambda text: text[: len(text) // 2]),
    contents.map(to_json_line).map(lambda text: text[: len(text) // 2]),
    contents.map(to_json_line),
)


@given(st.lists(pieces, max_size=12).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_any(text)
    except FileError as error:
        assert str(error).isprintable()  # noqa: PT017 - a refusal is as good as a reading
        return
    assert found
    for artifact in found:
        describe(artifact.content)
