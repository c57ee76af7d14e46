"""The other kinds of files: app tickets, friends, remote cards, handles, tokens, servers, invites."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from offset_engine import disk, files
from offset_engine.core.crypto import expand_seed, public_key_of, sign
from offset_engine.core.signing import BalanceInfo, TokenInfo, info_hash, move_token_buffer
from offset_engine.core.values import (
    Currency,
    HashResult,
    PaymentId,
    PrivateKey,
    PublicKey,
    RandValue,
    RelayAddress,
    Signature,
)
from offset_engine.errors import FileError
from offset_engine.files import (
    AppTicket,
    Content,
    FriendCard,
    Identity,
    Invite,
    Kind,
    PaymentHandle,
    Permissions,
    RemoteCard,
    Role,
    Servers,
    Style,
    Terms,
    Ticket,
    Token,
    TokenCheck,
    TokenForm,
    Vouched,
    describe,
    file_name,
    kind_of_content,
    load_any,
    parse,
    read_any,
    to_json,
    verify_invoice,
    verify_token,
)
from tests.covers import covers

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "artifacts.json").read_text())
SELLER_KEY = "3f3fFXgZPzv3YxslbZ07SA4l_KF-51jHAr8hSngpnIg"
RELAYS = [
    {
        "publicKey": "CqryKc4bZxUq4GA57TeezbeojmgLEF1gHwmU6cqWvVw",
        "address": "relay.example.org:4567",
    },
    {"publicKey": "EjdWwgDSJ8m314Pl_lNrWtKryhOjB01Oq1R5qXxd9kA", "address": "192.0.2.7:4567"},
]
EXAMPLES: dict[Kind, dict[str, Any]] = {
    Kind.IDENTITY: {"privateKey": "gbIQ7i77i2os58lXFzZs1BjyOULq-S4dFKFkHUniGTU"},
    Kind.TICKET: {"publicKey": SELLER_KEY, "address": "node.example.org:9876"},
    Kind.APP_TICKET: {
        "publicKey": "gSjvWCURJqzZVmR34hzLrU1-7zaRXI_QSQmcuNbVSL4",
        "permissions": {"routes": True, "buyer": True, "seller": True, "config": False},
    },
    Kind.FRIEND: {"publicKey": SELLER_KEY, "relays": RELAYS},
    Kind.REMOTE_CARD: {
        "nodePublicKey": SELLER_KEY,
        "nodeAddress": "node.example.org:9876",
        "appPrivateKey": "tzFXXI8PM3m9WHl5EeTz28TB-x87eGzghQ9CWaJVUsQ",
    },
    Kind.INVOICE: VECTORS["invoice"],
    Kind.COMMIT: VECTORS["cases"][5]["commit"],
    Kind.RECEIPT: VECTORS["cases"][5]["receipt"],
    Kind.PAYMENT: {"payment_id": "8NHPDQKOG3p_0xBe1MjhLg"},
    Kind.TOKEN: {
        "prefix_hash": "tvDm1nZFAIdPIm2ww8XmhhTkrIgvK6t4hXRCKdQVbS0",
        "rand_nonce": "oyPaZlJOnBWn-G9aLn6QXw",
        "new_token": "4mbV9kqcwiu6DTEILT6bguTPAOApGVXg49peUSbR6RcN8RPTOrYtlp2cFqnKmMZ7CmSbOeyMTXNWrKU0jrNMBA",
        "token_info": {
            "mc": {
                "local_public_key": SELLER_KEY,
                "remote_public_key": "ck2goUMTxvNmVlngwtZjUq2CQP9-V6giERhGm4BD7uA",
                "balances": [
                    {
                        "currency": "USD",
                        "balance_info": {
                            "balance": "1250000",
                            "local_pending_debt": "0",
                            "remote_pending_debt": "0",
                        },
                    }
                ],
            },
            "counters": {"inconsistency_counter": 0, "move_token_counter": "7"},
        },
    },
    Kind.SERVERS: {"relay": RELAYS[0], "index": RELAYS[1]},
    Kind.INVITE: {
        "publicKey": SELLER_KEY,
        "relays": RELAYS,
        "nodeName": "Alice",
        "currencies": [{"currency": "USD", "limitOffered": "50000", "decimals": 2}],
        "servers": {"relay": RELAYS[0], "index": RELAYS[1]},
    },
    Kind.ANSWER: {
        "publicKey": SELLER_KEY,
        "relays": [],
        "inviteHash": "ZkIzkN0htRkY5TtTWL_cWw8Tlhkgc0idbrC9R3E5P0Q",
    },
}


def only(values: object) -> Content:
    [artifact] = read_any(json.dumps(values))
    return artifact.content


def key(number: int) -> PublicKey:
    return public_key_of(PrivateKey(bytes([number]) * 32))


@covers("FIX-44")
@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_documented_example_is_read_and_written_as_it_was(kind: Kind) -> None:
    values = EXAMPLES[kind]
    content = only(values)
    assert kind_of_content(content) is kind
    style = Style.STCTRL if kind in (Kind.PAYMENT, Kind.TOKEN) else Style.MOBILE
    assert json.loads(to_json(content, style)) == values
    assert describe(content).title == kind


def test_only_what_the_command_line_wrote_so_is_written_in_snake_case() -> None:
    spelled = {
        kind
        for kind, values in EXAMPLES.items()
        if "_" in to_json(only(values), Style.STCTRL)
        and any("_" in name for name in json.loads(to_json(only(values), Style.STCTRL)))
    }
    assert spelled == {Kind.INVOICE, Kind.COMMIT, Kind.RECEIPT, Kind.PAYMENT, Kind.TOKEN}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_missing_field_is_named(kind: Kind) -> None:
    optional = {"nodeName", "currencies", "description"}
    wanted = type(only(EXAMPLES[kind]))
    for name in EXAMPLES[kind]:
        if name in optional:
            continue
        rest = {one: value for one, value in EXAMPLES[kind].items() if one != name}
        try:
            parse(json.dumps(rest), wanted)
        except FileError as error:
            assert "is missing: expected" in str(error) or "is needed here" in str(error)  # noqa: PT017
        else:
            pytest.fail(f"{kind} without {name} was read")


def changed(kind: Kind, path: str, value: object) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(EXAMPLES[kind]))
    *way, last = path.split(".")
    inner: Any = values
    for step in way:
        inner = inner[int(step) if step.isdigit() else step]
    inner[last] = value
    return values


@covers("FIX-41")
@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        (Kind.FRIEND, "relays", {}, '"relays" must be a list of at most 16 objects, not an object'),
        (Kind.FRIEND, "relays", RELAYS * 9, "at most 16 objects, it has 18"),
        (Kind.FRIEND, "relays", ["x"], '"relays[0]" must be an object, not text'),
        (Kind.FRIEND, "relays.1.address", "x" * 257, '"relays[1].address" must be an address'),
        (Kind.FRIEND, "relays.1.publicKey", "AA", '"relays[1].publicKey" must be 32 bytes'),
        (Kind.FRIEND, "relays.1.publicKey", "A" * 43, '"relays[1].publicKey" is not a usable key'),
        (Kind.FRIEND, "nodeName", "x" * 129, "text of at most 128 bytes, it has 129"),
        (Kind.INVITE, "currencies.0.decimals", 256, '"currencies[0].decimals" must be a whole'),
        (Kind.APP_TICKET, "permissions", [], '"permissions" must be an object, not a list'),
        (Kind.APP_TICKET, "permissions.buyer", 1, '"permissions.buyer" must be true or false'),
        (Kind.REMOTE_CARD, "nodePublicKey", "A" * 43, '"nodePublicKey" is not a usable key'),
        (Kind.SERVERS, "index", None, '"index" must be an object, not null'),
        (Kind.TOKEN, "token_info.mc.balances", 5, "must be an object with at most 1024 objects"),
        (Kind.TOKEN, "token_info.counters.move_token_counter", "-1", "tokenInfo.counters.moveTo"),
    ],
)
def test_a_wrong_field_inside_is_named_with_its_path(
    kind: Kind, path: str, value: object, said: str
) -> None:
    with pytest.raises(FileError) as caught:
        only(changed(kind, path, value))
    assert said in str(caught.value)


@covers("FIX-41")
def test_a_balance_has_127_bits_and_a_sign() -> None:
    path = "token_info.mc.balances.0.balance_info.balance"
    for good in (2**127 - 1, -(2**127), "-5", "-0"):
        token = only(changed(Kind.TOKEN, path, str(good)))
        assert isinstance(token, Token)
        assert token.info.balances[0][1].balance == int(good)
    for bad in (str(2**127), str(-(2**127) - 1), "9" * 5_000, "-" + "9" * 5_000):
        with pytest.raises(FileError, match="it is outside"):
            only(changed(Kind.TOKEN, path, bad))
    for bad in ("--5", "+5", "-", "1e3"):
        with pytest.raises(FileError, match="must be a whole number from -"):
            only(changed(Kind.TOKEN, path, bad))


def test_addresses_may_be_wrapped_as_old_samples_have_them() -> None:
    wrapped = changed(Kind.FRIEND, "relays.0.address", {"address": {"address": "a:1"}})
    card = only(wrapped)
    assert isinstance(card, FriendCard)
    assert card.relays[0].address == "a:1"


@covers("MGR-03")
def test_what_an_app_ticket_does_not_say_means_what_it_meant_in_2020() -> None:
    base = EXAMPLES[Kind.APP_TICKET]
    [artifact] = read_any(json.dumps(base))
    assert artifact.content == AppTicket(
        PublicKey.from_text(base["publicKey"]),
        Permissions(routes=True, buyer=True, seller=True, transactions=True),
    )
    assert artifact.warnings == ()
    [artifact] = read_any(json.dumps({**base, "permissions": {"config": True, "read": False}}))
    assert isinstance(artifact.content, AppTicket)
    assert artifact.content.permissions == Permissions(config=True, read=False)
    assert artifact.warnings == tuple(
        f'field "permissions.{name}" is missing and counts as false'
        for name in ("routes", "buyer", "seller")
    )


def test_what_is_odd_or_unknown_is_reported_not_refused() -> None:
    text = SELLER_KEY[:-1] + "j"
    [artifact] = read_any(json.dumps({"publicKey": text, "address": "a:1", "name": "x", "n_o": 1}))
    assert artifact.content == Ticket(PublicKey.from_text(SELLER_KEY), "a:1")
    assert artifact.warnings == (
        'field "publicKey" ends in bits that mean nothing; they were ignored',
    )
    assert artifact.unknown == ("name", "nO")


def test_a_relays_ticket_is_told_by_its_files_extension(tmp_path: Path) -> None:
    for name, role in (("a.relay", Role.RELAY), ("b.INDEX", Role.INDEX), ("c.ticket", Role.ANY)):
        (tmp_path / name).write_text(json.dumps(EXAMPLES[Kind.TICKET]))
        [artifact] = load_any(tmp_path / name)
        assert isinstance(artifact.content, Ticket)
        assert artifact.content.role is role


def test_a_file_may_be_named_as_file_managers_copy_it(tmp_path: Path) -> None:
    path = tmp_path / "my file.invoice"
    files.write(path, only(EXAMPLES[Kind.INVOICE]))
    for name in (f"file://{tmp_path}/my%20file.invoice", f"FILE://localhost{path}", str(path)):
        assert files.load(name, files.Invoice) == only(EXAMPLES[Kind.INVOICE])
    assert str(disk.path_of("file:x")) == "file:x"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_is_for_nobody_else_is_written_so(kind: Kind, tmp_path: Path) -> None:
    files.write(tmp_path / "file", only(EXAMPLES[kind]))
    mode = stat.S_IMODE((tmp_path / "file").stat().st_mode)
    is_private = kind in (Kind.IDENTITY, Kind.REMOTE_CARD, Kind.COMMIT)
    assert (mode & 0o077 == 0) == is_private


@covers("FIX-40")
def test_names_of_files_say_what_is_in_them_and_differ() -> None:
    invoice = only(EXAMPLES[Kind.INVOICE])
    assert file_name(invoice, "2 chocolate bars", "2024-05-01") == (
        "invoice-2-chocolate-bars-3c240a82-2024-05-01.invoice"
    )
    card = only(EXAMPLES[Kind.FRIEND])
    assert file_name(card, "", "2024-05-01") == "friend-ddfddf15-2024-05-01.friend"
    assert file_name(card, "../../etc/\0 Ünï" * 9, "2024-05-01").startswith("friend-etc-n-etc-n-")
    handle = only(EXAMPLES[Kind.PAYMENT])
    assert file_name(handle, "Bob", "2024-05-01") == "payment-bob-2024-05-01.payment"


# --- tokens -------------------------------------------------------------------------------------


def ours(counter: int = 7) -> Token:
    private_key = PrivateKey(bytes([1]) * 32)
    info = TokenInfo(
        public_key_of(private_key),
        key(2),
        ((Currency("EUR"), BalanceInfo(-5, 1, 2)), (Currency("USD"), BalanceInfo(9, 0, 0))),
        0,
        counter,
    )
    prefix, nonce = HashResult(bytes(32)), RandValue(bytes(16))
    buffer = move_token_buffer(prefix, info_hash(info), nonce)
    return Token(prefix, nonce, sign(expand_seed(private_key), buffer), info)


@covers("VFY-01")
def test_a_token_says_as_whose_bytes_it_was_signed() -> None:
    assert verify_token(parse(json.dumps(EXAMPLES[Kind.TOKEN]), Token)).form is TokenForm.OF_2020
    assert verify_token(ours()).form is TokenForm.OURS
    assert verify_token(parse(to_json(ours(), Style.STCTRL), Token)).form is TokenForm.OURS
    damaged = changed(Kind.TOKEN, "token_info.mc.balances.0.balance_info.balance", "1250001")
    assert verify_token(parse(json.dumps(damaged), Token)).failed is TokenCheck.SIGNATURE


@covers("VFY-01")
def test_a_token_is_compared_with_what_one_expects() -> None:
    token = ours()
    assert verify_token(token, key(1), key(2), ours(7)).failed is None
    assert verify_token(token, key(3)).failed is TokenCheck.SIGNER
    assert verify_token(token, key(1), key(3)).failed is TokenCheck.REMOTE
    assert verify_token(token, key(1), key(2), ours(8)).failed is TokenCheck.COUNTER


def test_the_phones_spelling_of_a_token_is_read_too() -> None:
    values = json.loads(to_json(ours()))
    balances = values["tokenInfo"]["mc"]["balances"]
    values["tokenInfo"]["mc"]["balances"] = {
        one["currency"]: one["balanceInfo"] for one in reversed(balances)
    }
    assert only(values) == ours()
    balances.append(balances[0])
    with pytest.raises(FileError, match="names a currency twice"):
        only(changed(Kind.TOKEN, "token_info.mc.balances", balances))
    with pytest.raises(FileError, match="has a currency longer than 16 bytes"):
        only(changed(Kind.TOKEN, "token_info.mc.balances", {"x" * 17: balances[0]["balanceInfo"]}))


def test_a_currency_of_the_phones_spelling_keeps_its_underscores() -> None:
    info = {"balance": "1", "localPendingDebt": "0", "remotePendingDebt": "0"}
    token = only(changed(Kind.TOKEN, "token_info.mc.balances", {"my_coin": info}))
    assert isinstance(token, Token)
    assert token.info.balances[0][0] == "my_coin"


# --- words --------------------------------------------------------------------------------------


def test_foreign_text_is_quoted_and_cannot_act() -> None:
    nasty = '\x1b[2J\u202eevil\u2066 "q" \\ \n\u200b' + "x" * 400
    said = files.shown(nasty)
    assert said.isprintable()
    assert said.startswith('"\\x1b[2J\\u202eevil\\u2066 \\"q\\" \\\\ \\x0a\\u200bxxx')
    assert said.endswith('x…"')
    card = FriendCard(key(1), (RelayAddress(key(2), nasty[:200]),), nasty[:60])
    assert all(text.isprintable() for _, text in describe(card).rows)


def test_amounts_stand_as_credits_and_with_their_point() -> None:
    for decimals, said in (
        (2, '12500.00 "USD" (1250000 credits "USD")'),
        (7, '0.1250000 "USD" (1250000 credits "USD")'),
        (0, '1250000 credits "USD"'),
        (255, '1250000 credits "USD"'),
    ):
        invoice = only({**EXAMPLES[Kind.INVOICE], "decimals": decimals})
        assert describe(invoice).rows[0] == ("amount", said)


def test_every_description_says_what_is_proven() -> None:
    said = {kind: describe(only(values)).proves for kind, values in EXAMPLES.items()}
    assert "keep it to yourself" in said[Kind.IDENTITY]
    assert "unsigned" in said[Kind.INVOICE].lower()
    assert "signed as the program of 2020 did" in said[Kind.TOKEN]
    assert "An answer to it quotes" in said[Kind.INVITE]
    assert "Its fields do not say whether" in said[Kind.TICKET]
    long = Invite(FriendCard(key(1), (RelayAddress(key(2), "x" * 256),)), None)
    assert "too long to be answered" in describe(long).proves


def test_times_beyond_any_calendar_are_said_all_the_same() -> None:
    invoice = files.Invoice(
        files.parse_invoice(json.dumps(EXAMPLES[Kind.INVOICE])).invoice_id,
        Currency("USD"),
        key(1),
        5,
        created=1_700_000_000,
        expires=2**64 - 1,
    )
    rows = dict(describe(invoice).rows)
    assert rows["created"] == "2023-11-14 22:13:20 UTC"
    assert "a time no calendar has" in rows["expires"]


def test_an_invoices_own_signature_has_three_answers() -> None:
    invoice = files.parse_invoice(json.dumps(EXAMPLES[Kind.INVOICE]))
    assert verify_invoice(invoice) is Vouched.UNSIGNED
    broken = files.Invoice(
        invoice.invoice_id,
        invoice.currency,
        invoice.dest_public_key,
        5,
        signature=Signature(bytes(64)),
    )
    assert verify_invoice(broken) is Vouched.BROKEN


def test_nothing_else_counts_as_secret() -> None:
    secrets = {kind for kind, values in EXAMPLES.items() if files.is_secret(only(values))}
    assert secrets == {Kind.IDENTITY, Kind.REMOTE_CARD}
    assert isinstance(only(EXAMPLES[Kind.IDENTITY]), Identity)
    assert isinstance(only(EXAMPLES[Kind.REMOTE_CARD]), RemoteCard)
    assert only(EXAMPLES[Kind.PAYMENT]) == PaymentHandle(
        PaymentId.from_text("8NHPDQKOG3p_0xBe1MjhLg")
    )
    terms = only(EXAMPLES[Kind.INVITE])
    assert isinstance(terms, Invite)
    assert terms.card.terms == (Terms(Currency("USD"), 2, 50_000),)
    assert isinstance(terms.servers, Servers)
