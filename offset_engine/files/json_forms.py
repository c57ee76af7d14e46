"""Artifacts as JSON: one reader and one writer for each kind.

The fields are the original's (apps.md §1); ours are added where they say something and are ignored by
the programs of 2020. An invite and an answer are friend files with a field more, so those programs can
read them too.

Source: apps.md §1, §7.1 to §7.3, §7.5; design R2, R4, R8, R9, R13.
"""

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from offset_engine import sealed
from offset_engine.core.crypto import verify
from offset_engine.core.signing import (
    DECIMALS_NONE,
    BalanceInfo,
    Commit,
    Invoice,
    Receipt,
    TokenInfo,
    invoice_buffer,
)
from offset_engine.core.values import (
    CURRENCY_BYTES_MAX,
    DESCRIPTION_BYTES_MAX,
    NAME_BYTES_MAX,
    RELAYS_MAX,
    U64_MAX,
    U128_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PaymentId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    RelayAddress,
    Signature,
    is_text,
)
from offset_engine.errors import FileError
from offset_engine.files.artifacts import (
    CARD_TERMS_MAX,
    NO_NONCE,
    Answer,
    AppTicket,
    Content,
    FriendCard,
    Identity,
    Invite,
    PaymentHandle,
    Permissions,
    RemoteCard,
    SealedIdentity,
    Servers,
    Terms,
    Ticket,
    Token,
    check_keys,
)
from offset_engine.json_fields import Fields, Json, Kind, Style, one_line, pretty

_I128_MAX: Final = 2**127 - 1
_SEALED_CHARS_MAX: Final = 1_024
_BALANCES_MAX: Final = 1_024
"""Currencies of a token; more do not fit a file anyway."""


def read_fields(fields: Fields, kind: Kind) -> Content:
    """Read the fields of one kind.

    Raises:
        FileError: one is missing or wrong, a key belongs to nobody, or a signature does not fit.
    """
    content = _READERS[kind](fields)
    check_keys(content)
    return content


def to_json(content: Content, style: Style = Style.MOBILE) -> str:
    """The text of the artifact's file: two spaces, no line break at the end."""
    return pretty(json_values(content), _style_of(content, style))


def to_json_line(content: Content, style: Style = Style.MOBILE) -> str:
    """The same on one line without spaces, as the phone app put it into QR codes."""
    return one_line(json_values(content), _style_of(content, style))


def _style_of(content: Content, style: Style) -> Style:
    """The original's command line wrote only these in snake_case; it cannot read others so."""
    if isinstance(content, Invoice | Commit | Receipt | PaymentHandle | Token):
        return style
    return Style.MOBILE


# --- readers ------------------------------------------------------------------------------------


def _identity(fields: Fields) -> Identity:
    return Identity(fields.fixed("privateKey", PrivateKey))


def _sealed_identity(fields: Fields) -> SealedIdentity:
    raw = sealed.from_text(fields.text("sealedPrivateKey", _SEALED_CHARS_MAX))
    sealed.check(raw, sealed.Purpose.IDENTITY)
    return SealedIdentity(fields.fixed("publicKey", PublicKey), raw)


def _ticket(fields: Fields) -> Ticket:
    return Ticket(fields.fixed("publicKey", PublicKey), fields.address("address"))


def _app_ticket(fields: Fields) -> AppTicket:
    inner = fields.object("permissions")
    flags = {}
    for name in ("routes", "buyer", "seller", "config"):
        if not inner.has(name):
            fields.warnings.append(f'field "permissions.{name}" is missing and counts as false')
        flags[name] = inner.flag(name, default=False)
    permissions = Permissions(
        **flags,
        read=inner.flag("read", default=True),
        transactions=inner.flag("transactions", default=flags["buyer"] or flags["seller"]),
    )
    return AppTicket(fields.fixed("publicKey", PublicKey), permissions)


def _place(fields: Fields) -> RelayAddress:
    return RelayAddress(fields.fixed("publicKey", PublicKey), fields.address("address"))


def _friend(fields: Fields) -> FriendCard:
    terms = fields.objects("currencies", CARD_TERMS_MAX) if fields.has("currencies") else []
    return FriendCard(
        fields.fixed("publicKey", PublicKey),
        tuple(_place(one) for one in fields.objects("relays", RELAYS_MAX)),
        fields.text("nodeName", NAME_BYTES_MAX, default=""),
        tuple(
            Terms(
                one.currency("currency"),
                one.number("decimals", DECIMALS_NONE, default=DECIMALS_NONE),
                one.number("limitOffered", U128_MAX),
            )
            for one in terms
        ),
        fields.address("address") if fields.has("address") else "",
    )


def _remote_card(fields: Fields) -> RemoteCard:
    return RemoteCard(
        fields.fixed("nodePublicKey", PublicKey),
        fields.address("nodeAddress"),
        fields.fixed("appPrivateKey", PrivateKey),
    )


def _invoice(fields: Fields) -> Invoice:
    invoice = Invoice(
        invoice_id=fields.fixed("invoiceId", InvoiceId),
        currency=fields.currency("currency"),
        dest_public_key=fields.fixed("destPublicKey", PublicKey),
        total_dest_payment=fields.number("destPayment", U128_MAX),
        description=fields.text("description", DESCRIPTION_BYTES_MAX, default=""),
        created=fields.number("created", U64_MAX, default=0),
        expires=fields.number("expires", U64_MAX, default=0),
        decimals=fields.number("decimals", DECIMALS_NONE, default=DECIMALS_NONE),
        signature=fields.fixed("sig", Signature) if fields.has("sig") else None,
    )
    check_invoice(invoice)
    return invoice


def check_invoice(invoice: Invoice) -> None:
    """Insist that an invoice, if it is signed, is signed by its seller.

    Raises:
        FileError: the signature does not fit.
    """
    if invoice.signature is not None and not verify(
        invoice.dest_public_key, invoice_buffer(invoice), invoice.signature
    ):
        raise FileError(
            "the seller's signature does not fit this invoice: something in it was changed; "
            "ask the seller for it again"
        )


def _commit(fields: Fields) -> Commit:
    return Commit(
        response_hash=fields.fixed("responseHash", HashResult),
        src_plain_lock=fields.fixed("srcPlainLock", PlainLock),
        dest_hashed_lock=fields.fixed("destHashedLock", HashedLock),
        dest_payment=fields.number("destPayment", U128_MAX),
        total_dest_payment=fields.number("totalDestPayment", U128_MAX),
        invoice_id=fields.fixed("invoiceId", InvoiceId),
        currency=fields.currency("currency"),
        signature=fields.fixed("signature", Signature),
    )


def _receipt(fields: Fields) -> Receipt:
    return Receipt(
        response_hash=fields.fixed("responseHash", HashResult),
        invoice_id=fields.fixed("invoiceId", InvoiceId),
        currency=fields.currency("currency"),
        src_plain_lock=fields.fixed("srcPlainLock", PlainLock),
        dest_plain_lock=fields.fixed("destPlainLock", PlainLock),
        is_complete=fields.flag("isComplete"),
        dest_payment=fields.number("destPayment", U128_MAX),
        total_dest_payment=fields.number("totalDestPayment", U128_MAX),
        signature=fields.fixed("signature", Signature),
    )


def _payment(fields: Fields) -> PaymentHandle:
    return PaymentHandle(fields.fixed("paymentId", PaymentId))


def _token(fields: Fields) -> Token:
    info = fields.object("tokenInfo")
    ledgers = info.object("mc")
    counters = info.object("counters")
    return Token(
        fields.fixed("prefixHash", HashResult),
        fields.fixed("randNonce", RandValue),
        fields.fixed("newToken", Signature),
        TokenInfo(
            ledgers.fixed("localPublicKey", PublicKey),
            ledgers.fixed("remotePublicKey", PublicKey),
            _balances(ledgers),
            counters.number("inconsistencyCounter", U64_MAX),
            counters.number("moveTokenCounter", U128_MAX),
        ),
    )


def _balances(ledgers: Fields) -> tuple[tuple[Currency, BalanceInfo], ...]:
    """A sorted list in files of the command line, an object by currency in reports of the phone."""
    if ledgers.is_list("balances"):
        found = [
            (one.currency("currency"), _balance(one.object("balanceInfo")))
            for one in ledgers.objects("balances", _BALANCES_MAX)
        ]
    else:
        found = [
            (_currency_name(name), _balance(one))
            for name, one in ledgers.named_objects("balances", _BALANCES_MAX)
        ]
    found.sort(key=lambda pair: pair[0].encode())
    if len({currency for currency, _ in found}) != len(found):
        raise FileError('field "tokenInfo.mc.balances" names a currency twice')
    return tuple(found)


def _currency_name(name: str) -> Currency:
    if not is_text(name, CURRENCY_BYTES_MAX):
        raise FileError(
            f'field "tokenInfo.mc.balances" has a currency longer than {CURRENCY_BYTES_MAX} bytes'
        )
    return Currency(name)


def _balance(fields: Fields) -> BalanceInfo:
    return BalanceInfo(
        fields.integer("balance", -_I128_MAX - 1, _I128_MAX),
        fields.number("localPendingDebt", U128_MAX),
        fields.number("remotePendingDebt", U128_MAX),
    )


def _servers(fields: Fields) -> Servers:
    return Servers(_place(fields.object("relay")), _place(fields.object("index")))


def _invite(fields: Fields) -> Invite:
    servers = _servers(fields.object("servers")) if fields.has("servers") else None
    nonce = fields.fixed("nonce", RandValue) if fields.has("nonce") else NO_NONCE
    return Invite(_friend(fields), servers, nonce)


def _answer(fields: Fields) -> Answer:
    return Answer(_friend(fields), fields.fixed("inviteHash", HashResult))


_READERS: Final[Mapping[Kind, Callable[[Fields], Content]]] = {
    Kind.IDENTITY: _identity,
    Kind.SEALED_IDENTITY: _sealed_identity,
    Kind.TICKET: _ticket,
    # Fields never say the role; who needs one gives it to the ticket.
    Kind.RELAY: _ticket,
    Kind.INDEX: _ticket,
    Kind.APP_TICKET: _app_ticket,
    Kind.FRIEND: _friend,
    Kind.REMOTE_CARD: _remote_card,
    Kind.INVOICE: _invoice,
    Kind.COMMIT: _commit,
    Kind.RECEIPT: _receipt,
    Kind.PAYMENT: _payment,
    Kind.TOKEN: _token,
    Kind.SERVERS: _servers,
    Kind.INVITE: _invite,
    Kind.ANSWER: _answer,
}


# --- writers ------------------------------------------------------------------------------------


def json_values(content: Content) -> dict[str, Json]:  # noqa: C901, PLR0911, PLR0912 - one line a kind
    """The fields of the artifact's file under camelCase names; secrets are in it."""
    match content:
        case Identity():
            return {"privateKey": content.private_key.to_text()}
        case SealedIdentity():
            return {
                "publicKey": content.public_key.to_text(),
                "sealedPrivateKey": sealed.to_text(content.sealed),
            }
        case Ticket():
            return {"publicKey": content.public_key.to_text(), "address": content.address}
        case AppTicket():
            return _app_ticket_values(content)
        case FriendCard():
            return _friend_values(content)
        case RemoteCard():
            return {
                "nodePublicKey": content.node_public_key.to_text(),
                "nodeAddress": content.node_address,
                "appPrivateKey": content.app_private_key.to_text(),
            }
        case Invoice():
            return _invoice_values(content)
        case Commit():
            return _commit_values(content)
        case Receipt():
            return _receipt_values(content)
        case PaymentHandle():
            return {"paymentId": content.payment_id.to_text()}
        case Token():
            return _token_values(content)
        case Servers():
            return _servers_values(content)
        case Invite():
            return _invite_values(content)
        case Answer():
            return {**_friend_values(content.card), "inviteHash": content.invite_hash.to_text()}
        case _:
            assert_never(content)


def _app_ticket_values(ticket: AppTicket) -> dict[str, Json]:
    permissions = ticket.permissions
    flags: dict[str, Json] = {
        "routes": permissions.routes,
        "buyer": permissions.buyer,
        "seller": permissions.seller,
        "config": permissions.config,
    }
    # Ours are written only where they differ from what their absence means.
    if not permissions.read:
        flags["read"] = False
    if permissions.transactions != (permissions.buyer or permissions.seller):
        flags["transactions"] = permissions.transactions
    return {"publicKey": ticket.public_key.to_text(), "permissions": flags}


def _place_values(place: RelayAddress) -> dict[str, Json]:
    return {"publicKey": place.public_key.to_text(), "address": place.address}


def _friend_values(card: FriendCard) -> dict[str, Json]:
    values: dict[str, Json] = {
        "publicKey": card.public_key.to_text(),
        "relays": [_place_values(relay) for relay in card.relays],
    }
    if card.address:
        values["address"] = card.address
    if card.name:
        values["nodeName"] = card.name
    if card.terms:
        values["currencies"] = [_terms_values(one) for one in card.terms]
    return values


def _terms_values(terms: Terms) -> dict[str, Json]:
    values: dict[str, Json] = {"currency": terms.currency, "limitOffered": str(terms.limit_offered)}
    if terms.decimals != DECIMALS_NONE:
        values["decimals"] = terms.decimals
    return values


def _invoice_values(invoice: Invoice) -> dict[str, Json]:
    values: dict[str, Json] = {
        "invoiceId": invoice.invoice_id.to_text(),
        "currency": invoice.currency,
        "destPublicKey": invoice.dest_public_key.to_text(),
        "destPayment": str(invoice.total_dest_payment),
        "description": invoice.description,
    }
    if invoice.created:
        values["created"] = invoice.created
    if invoice.expires:
        values["expires"] = invoice.expires
    if invoice.decimals != DECIMALS_NONE:
        values["decimals"] = invoice.decimals
    if invoice.signature is not None:
        values["sig"] = invoice.signature.to_text()
    return values


def _commit_values(commit: Commit) -> dict[str, Json]:
    return {
        "responseHash": commit.response_hash.to_text(),
        "srcPlainLock": commit.src_plain_lock.to_text(),
        "destHashedLock": commit.dest_hashed_lock.to_text(),
        "destPayment": str(commit.dest_payment),
        "totalDestPayment": str(commit.total_dest_payment),
        "invoiceId": commit.invoice_id.to_text(),
        "currency": commit.currency,
        "signature": commit.signature.to_text(),
    }


def _receipt_values(receipt: Receipt) -> dict[str, Json]:
    return {
        "responseHash": receipt.response_hash.to_text(),
        "invoiceId": receipt.invoice_id.to_text(),
        "currency": receipt.currency,
        "srcPlainLock": receipt.src_plain_lock.to_text(),
        "destPlainLock": receipt.dest_plain_lock.to_text(),
        "isComplete": receipt.is_complete,
        "destPayment": str(receipt.dest_payment),
        "totalDestPayment": str(receipt.total_dest_payment),
        "signature": receipt.signature.to_text(),
    }


def _token_values(token: Token) -> dict[str, Json]:
    info = token.info
    return {
        "prefixHash": token.prefix_hash.to_text(),
        "randNonce": token.rand_nonce.to_text(),
        "newToken": token.new_token.to_text(),
        "tokenInfo": {
            "mc": {
                "localPublicKey": info.local_public_key.to_text(),
                "remotePublicKey": info.remote_public_key.to_text(),
                "balances": [
                    {
                        "currency": currency,
                        "balanceInfo": {
                            "balance": str(balance.balance),
                            "localPendingDebt": str(balance.local_pending_debt),
                            "remotePendingDebt": str(balance.remote_pending_debt),
                        },
                    }
                    for currency, balance in info.balances
                ],
            },
            "counters": {
                "inconsistencyCounter": info.inconsistency_counter,
                "moveTokenCounter": str(info.move_token_counter),
            },
        },
    }


def _invite_values(invite: Invite) -> dict[str, Json]:
    servers = None if invite.servers is None else _servers_values(invite.servers)
    values: dict[str, Json] = {**_friend_values(invite.card), "servers": servers}
    if invite.nonce != NO_NONCE:
        values["nonce"] = invite.nonce.to_text()
    return values


def _servers_values(servers: Servers) -> dict[str, Json]:
    return {"relay": _place_values(servers.relay), "index": _place_values(servers.index)}
