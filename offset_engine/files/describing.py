"""Says in words what an artifact is, without any secret in it.

Foreign text is quoted with everything escaped that could move a cursor, hide or reverse itself.
Amounts stand as credits; where decimals are stated the reading with a point stands beside them.

Source: apps.md §7.4, design R8.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final, TypeAlias

from offset_engine.core.crypto import public_key_of
from offset_engine.core.signing import DECIMALS_NONE, BalanceInfo, Commit, Invoice, Receipt
from offset_engine.core.values import RelayAddress, value
from offset_engine.errors import FileError
from offset_engine.files.artifacts import (
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
    Role,
    SealedIdentity,
    Servers,
    Ticket,
    Token,
    is_secret,
    kind_of_content,
)
from offset_engine.files.json_forms import json_values
from offset_engine.files.packing import invite_hash
from offset_engine.files.verifying import verify_invoice, verify_token
from offset_engine.json_fields import Json, Style, spelled
from offset_engine.text import format_amount
from offset_engine.text import quoted as shown

Rows: TypeAlias = tuple[tuple[str, str], ...]

_SECRETS: Final = ("privateKey", "appPrivateKey", "srcPlainLock", "destPlainLock")


@value
class Description:
    """An artifact in words."""

    title: str
    """`an invoice` and the like."""
    rows: Rows
    """Label and what to say."""
    proves: str
    """What it proves by itself, in a sentence."""


def describe(content: Content) -> Description:
    """Describe an artifact; secrets are left out."""
    return Description(kind_of_content(content).value, _rows(content), _proves(content))


def public_values(content: Content) -> dict[str, Json]:
    """The fields of its file in snake_case for `--json`, secrets left out, public keys added."""
    values = {key: one for key, one in json_values(content).items() if key not in _SECRETS}
    if isinstance(content, Identity):
        values["publicKey"] = public_key_of(content.private_key).to_text()
    if isinstance(content, RemoteCard):
        values["appPublicKey"] = public_key_of(content.app_private_key).to_text()
    return spelled(values, Style.STCTRL)


def amount_text(credits_: int, currency: str, decimals: int) -> str:
    """`1250000 credits USD`, and the reading with a point if decimals are stated."""
    whole = f"{credits_} credits {shown(currency)}"
    if decimals in (0, DECIMALS_NONE):
        return whole
    amount = format_amount(credits_, decimals, group="", ascii_only=True)
    return f"{amount} {shown(currency)} ({whole})"


def _moment(seconds: int) -> str:
    try:
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds after 1970, a time no calendar has"
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


# --- rows ---------------------------------------------------------------------------------------


def _rows(content: Content) -> Rows:  # noqa: C901, PLR0911, PLR0912 - one line a kind
    match content:
        case Identity():
            return (("public key", public_key_of(content.private_key).to_text()),)
        case SealedIdentity():
            return (("public key", content.public_key.to_text()), ("passphrase", "needed"))
        case Ticket():
            return (("public key", content.public_key.to_text()), _address(content.address))
        case AppTicket():
            allowed = _allowed(content.permissions)
            return (("public key", content.public_key.to_text()), ("may", allowed))
        case FriendCard():
            return _card_rows(content)
        case RemoteCard():
            return (
                ("node", content.node_public_key.to_text()),
                _address(content.node_address),
                ("app", public_key_of(content.app_private_key).to_text()),
            )
        case Invoice():
            return _invoice_rows(content)
        case Commit():
            return _part_rows(content)
        case Receipt():
            complete = "yes" if content.is_complete else "not stated: the receipt of one part"
            return (*_part_rows(content), ("complete", complete))
        case PaymentHandle():
            return (("payment id", content.payment_id.to_text()),)
        case Token():
            return _token_rows(content)
        case Servers():
            return _servers_rows(content)
        case Invite():
            servers = () if content.servers is None else _servers_rows(content.servers)
            nonce = () if content.nonce == NO_NONCE else (("nonce", content.nonce.to_text()),)
            return (*_card_rows(content.card), *servers, *nonce)
        case Answer():
            return (*_card_rows(content.card), ("answers invite", content.invite_hash.to_text()))


def _address(address: str) -> tuple[str, str]:
    return "address", shown(address)


def _place(place: RelayAddress) -> str:
    return f"{place.public_key.to_text()} at {shown(place.address)}"


def _allowed(permissions: Permissions) -> str:
    given: Mapping[str, bool] = {
        "read": permissions.read,
        "routes": permissions.routes,
        "buyer": permissions.buyer,
        "seller": permissions.seller,
        "transactions": permissions.transactions,
        "config": permissions.config,
    }
    return ", ".join(name for name, is_given in given.items() if is_given) or "nothing"


def _card_rows(card: FriendCard) -> Rows:
    rows = [("name", shown(card.name))] if card.name else []
    rows.append(("public key", card.public_key.to_text()))
    rows += [("relay", _place(relay)) for relay in card.relays] or [("relay", "none")]
    if card.address:
        rows.append(_address(card.address))
    for terms in card.terms:
        offered = amount_text(terms.limit_offered, terms.currency, terms.decimals)
        rows.append(("offers you a limit of", offered))
    return tuple(rows)


def _servers_rows(servers: Servers) -> Rows:
    return ("relay offered", _place(servers.relay)), ("index server offered", _place(servers.index))


def _invoice_rows(invoice: Invoice) -> Rows:
    amount = amount_text(invoice.total_dest_payment, invoice.currency, invoice.decimals)
    rows = [("amount", amount)]
    if invoice.description:
        rows.append(("description", shown(invoice.description)))
    rows += [
        ("seller", invoice.dest_public_key.to_text()),
        ("invoice id", invoice.invoice_id.to_text()),
    ]
    if invoice.created:
        rows.append(("created", _moment(invoice.created)))
    if invoice.expires:
        rows.append(("expires", _moment(invoice.expires)))
    return tuple(rows)


def _part_rows(proof: Commit | Receipt) -> Rows:
    total = amount_text(proof.total_dest_payment, proof.currency, DECIMALS_NONE)
    rows = [("total", total)]
    if proof.dest_payment != proof.total_dest_payment:
        rows.append(("this part", amount_text(proof.dest_payment, proof.currency, DECIMALS_NONE)))
    return (
        *rows,
        ("invoice id", proof.invoice_id.to_text()),
        ("response hash", proof.response_hash.to_text()),
    )


def _token_rows(token: Token) -> Rows:
    info = token.info
    return (
        ("signed by", info.local_public_key.to_text()),
        ("about", info.remote_public_key.to_text()),
        ("inconsistency counter", str(info.inconsistency_counter)),
        ("move token counter", str(info.move_token_counter)),
        *(
            (
                f"the signer's balance in {shown(currency)}",
                _balance(balance),
            )
            for currency, balance in info.balances
        ),
    )


def _balance(info: BalanceInfo) -> str:
    frozen = f"{info.local_pending_debt}, frozen by the other {info.remote_pending_debt}"
    return f"{info.balance}, frozen by the signer {frozen}"


# --- what it proves -----------------------------------------------------------------------------


def _proves(content: Content) -> str:
    match content:
        case Invoice():
            return _capital(verify_invoice(content).value)
        case Token():
            return _token_proves(content)
        case Commit():
            return (
                "Needs its invoice to be checked. A valid commit shows that the seller's node had the "
                "whole sum reserved; not that it is still reserved, nor whether it was collected"
            )
        case Receipt():
            return (
                "Needs its invoice to be checked. A valid receipt proves to anybody that the "
                "invoice was paid; not by whom"
            )
        case Invite():
            return _invite_proves(content)
        case Ticket(role=Role.ANY):
            return (
                "Nothing: it is not signed. Its fields do not say whether it is a node's, a relay's "
                "or an index server's"
            )
        case SealedIdentity():
            return "Whoever has this file and its passphrase can act with its key"
        case _ if is_secret(content):
            return "Whoever has this file can act with its key: keep it to yourself"
        case _:
            return "Nothing: it is not signed, so trust it as far as the way it came"


def _token_proves(token: Token) -> str:
    form = verify_token(token).form
    if form is None:
        return "The signature does not fit: something was changed"
    return f"The signer acknowledged these balances at this counter; {form.value}"


def _invite_proves(invite: Invite) -> str:
    try:
        quoted = f". An answer to it quotes {invite_hash(invite).to_text()}"
    except FileError:  # an address too long for the text form, which an answer's hash is made of
        quoted = ", and it is too long to be answered"
    return f"Nothing: it is not signed{quoted}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
