"""What an artifact proves by itself, and how that is checked.

A commit or receipt carries the seller's signature; the key is the invoice's. The steps are done in the
order of `Check`, and the first that fails names the result. Both what the documentation says the seller
signs and what the program of 2020 signed are accepted, never silently: the verdict says which.

Source: apps.md §7.4, design R1, R2.
"""

import enum
from typing import Final

from offset_engine.core.crypto import sha512_256, verify
from offset_engine.core.signing import (
    RESPONSE_PREFIX,
    RESPONSE_PREFIX_2020,
    Commit,
    Invoice,
    Receipt,
    ResponseTerms,
    TokenInfo,
    commit_terms,
    info_hash,
    invoice_buffer,
    move_token_buffer,
    receipt_terms,
    response_buffer,
)
from offset_engine.core.values import HashResult, PublicKey, Signature, value
from offset_engine.files.artifacts import Token

TOKEN_PREFIX_2020: Final = "NEXT"


class Check(enum.StrEnum):
    """The steps of a verification, in order; the first that fails names the result."""

    INVOICE_ID = "it belongs to another invoice"
    CURRENCY = "its currency is not the invoice's"
    TOTAL = "its total is not the invoice's amount"
    PART = "the part is larger than the total"
    SIGNATURE = "the seller's signature does not fit: something was changed, or another node signed"


@value
class Verdict:
    """What came of checking a commit or receipt against its invoice."""

    failed: Check | None
    """The first check that failed; None: valid."""
    prefix: str | None = None
    """What the signed bytes begin with: `FUNDS_RESPONSE` (documented, ours) or `FUND_RESPONSE` (2020)."""
    is_complete: bool = True
    """False in a valid receipt: the seller was paid this part, completeness is not stated."""

    @property
    def is_valid(self) -> bool:
        """Every check holds."""
        return self.failed is None


PREFIX_SENTENCES: Final = {
    RESPONSE_PREFIX: "signed as the documentation says (FUNDS_RESPONSE)",
    RESPONSE_PREFIX_2020: "signed as the program of 2020 did (FUND_RESPONSE), "
    "not as the documentation says (FUNDS_RESPONSE)",
}


def verify_commit(invoice: Invoice, commit: Commit) -> Verdict:
    """Check a commit: the seller's node had everything reserved, and the holder knows the secret.

    It does not show that the reservation still exists, nor that it was not collected already.
    """
    return _verify(invoice, commit_terms(commit), commit.signature)


def verify_receipt(invoice: Invoice, receipt: Receipt) -> Verdict:
    """Check a receipt: the seller collected; it proves the payment to anybody, not who paid."""
    return _verify(invoice, receipt_terms(receipt), receipt.signature)


def _verify(invoice: Invoice, terms: ResponseTerms, signature: Signature) -> Verdict:
    if terms.invoice_id != invoice.invoice_id:
        return Verdict(Check.INVOICE_ID)
    if terms.currency != invoice.currency:
        return Verdict(Check.CURRENCY)
    if terms.total_dest_payment != invoice.total_dest_payment:
        return Verdict(Check.TOTAL)
    if terms.dest_payment > terms.total_dest_payment:
        return Verdict(Check.PART)
    for prefix in (RESPONSE_PREFIX, RESPONSE_PREFIX_2020):
        if verify(invoice.dest_public_key, response_buffer(terms, prefix), signature):
            return Verdict(None, prefix, terms.is_complete)
    return Verdict(Check.SIGNATURE)


# --- invoices -----------------------------------------------------------------------------------


class Vouched(enum.StrEnum):
    """What an invoice's own signature says."""

    SIGNED = "signed by the seller's key in it"
    UNSIGNED = "unsigned (original format): anybody could have changed it on its way"
    BROKEN = "the seller's signature does not fit: something in it was changed"


def verify_invoice(invoice: Invoice) -> Vouched:
    """Check an invoice's own signature; it stops changes, not another invoice in its place."""
    if invoice.signature is None:
        return Vouched.UNSIGNED
    if verify(invoice.dest_public_key, invoice_buffer(invoice), invoice.signature):
        return Vouched.SIGNED
    return Vouched.BROKEN


# --- tokens -------------------------------------------------------------------------------------


class TokenForm(enum.StrEnum):
    """Whose bytes a token's signature covers."""

    OURS = "signed as this program does (protocol version 1)"
    OF_2020 = "signed as the program of 2020 did (NEXT)"


class TokenCheck(enum.StrEnum):
    """The steps of a token's verification, in order."""

    SIGNATURE = "the signature does not fit: something was changed"
    SIGNER = "it was signed by another key than the expected friend's"
    REMOTE = "it is about somebody else than you"
    COUNTER = "it is older than the one you hold"


@value
class TokenVerdict:
    """What came of checking a token."""

    failed: TokenCheck | None
    """The first check that failed; None: valid."""
    form: TokenForm | None = None


def verify_token(
    token: Token,
    friend: PublicKey | None = None,
    local: PublicKey | None = None,
    since: Token | None = None,
) -> TokenVerdict:
    """Check a token: its signer acknowledged these balances at this counter.

    Args:
        token: what to check; later tokens of the same two supersede it.
        friend: who must have signed it; None: anybody.
        local: whom it must be about; None: anybody.
        since: a token of the same two it must not be older than.
    """
    form = _token_form(token)
    info = token.info
    if form is None:
        return TokenVerdict(TokenCheck.SIGNATURE)
    if friend is not None and info.local_public_key != friend:
        return TokenVerdict(TokenCheck.SIGNER)
    if local is not None and info.remote_public_key != local:
        return TokenVerdict(TokenCheck.REMOTE)
    if since is not None and _counters(info) < _counters(since.info):
        return TokenVerdict(TokenCheck.COUNTER)
    return TokenVerdict(None, form)


def _counters(info: TokenInfo) -> tuple[int, int]:
    return info.inconsistency_counter, info.move_token_counter


def _token_form(token: Token) -> TokenForm | None:
    info = token.info
    ours = move_token_buffer(token.prefix_hash, info_hash(info), token.rand_nonce)
    if verify(info.local_public_key, ours, token.new_token):
        return TokenForm.OURS
    parts = sha512_256(TOKEN_PREFIX_2020.encode()), token.prefix_hash, info_hash_2020(info)
    if verify(info.local_public_key, b"".join((*parts, token.rand_nonce)), token.new_token):
        return TokenForm.OF_2020
    return None


def info_hash_2020(info: TokenInfo) -> HashResult:
    """The hash of a token's numbers as the program of 2020 made it: no tag, no lengths of names."""
    parts = [info.local_public_key, info.remote_public_key, len(info.balances).to_bytes(8, "big")]
    for currency, balance in info.balances:
        parts += (
            currency.encode(),
            balance.balance.to_bytes(16, "big", signed=True),
            balance.local_pending_debt.to_bytes(16, "big"),
            balance.remote_pending_debt.to_bytes(16, "big"),
        )
    parts += (
        info.inconsistency_counter.to_bytes(8, "big"),
        info.move_token_counter.to_bytes(16, "big"),
    )
    return sha512_256(b"".join(parts))
