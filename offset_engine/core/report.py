"""What a node shows of itself: reports and pages, made from a state, never kept.

Source: PROTOCOL.md, "Reports"; design R30.
"""

from collections.abc import Iterator

from offset_engine.core.friend import CurrencyConfig, Friend
from offset_engine.core.invoice import OpenInvoice
from offset_engine.core.messages import ResetTerms
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.payer import Intent, PayFailure, PayStage, PlannedPart
from offset_engine.core.reports import (
    Connections,
    CurrencyReport,
    FriendReport,
    InvoiceReport,
    NodeReport,
    PartReport,
    PayReport,
    PendingReport,
    TermsReport,
)
from offset_engine.core.signing import terms_hash
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import (
    Incoming,
    Inconsistent,
    MoveTokenHashed,
    are_terms_acceptable,
)
from offset_engine.core.values import ROUTE_PARTS_MAX, Currency, PublicKey


def report(state: NodeState, connections: Connections = Connections()) -> NodeReport:  # noqa: B008  a value
    """The whole node; friends ascending by name, then key."""
    friends = [friend_report(friend, state.local_public_key) for friend in state.friends.values()]
    return NodeReport(
        state.local_public_key,
        state.relays,
        state.index_servers,
        tuple(sorted(friends, key=lambda one: (one.name, one.public_key))),
        len(state.invoices),
        sum(1 for intent in state.intents.values() if intent.ended_ms is None),
        connections,
    )


def friend_report(friend: Friend, local: PublicKey) -> FriendReport:
    """One friend."""
    channel = friend.channel
    consistent = friend.consistent
    ours, theirs = _terms(friend, local)
    return FriendReport(
        friend.public_key,
        friend.name,
        friend.remote_relays,
        friend.is_enabled,
        friend.is_online,
        consistent is not None,
        friend.is_quarantined,
        friend.unreadable_ms is not None,
        _currencies(friend),
        consistent.active_remote if consistent is not None else (),
        ours,
        theirs,
        _signed(channel.last_incoming),
        consistent.token_info if consistent is not None else None,
        consistent is not None and isinstance(consistent.direction, Incoming),
        sum(
            len(ledger.local) + len(ledger.remote)
            for ledger in (consistent.ledgers.values() if consistent is not None else ())
        ),
        friend.lost,
    )


def _signed(last: MoveTokenHashed | None) -> MoveTokenHashed | None:
    """A friend's last token, unless it is the one every channel begins with, which nobody signed."""
    if last is None:
        return None
    info = last.token_info
    is_first = not info.inconsistency_counter and not info.move_token_counter
    return None if is_first else last


def _currencies(friend: Friend) -> tuple[CurrencyReport, ...]:
    channel = friend.consistent
    ledgers = channel.ledgers if channel is not None else {}
    found: list[CurrencyReport] = []
    for currency in sorted({*friend.configs, *ledgers}):
        config = friend.configs.get(currency, CurrencyConfig())
        ledger = ledgers.get(currency)
        found.append(
            CurrencyReport(
                currency,
                config.rate,
                config.max_debt,
                config.is_open,
                config.is_removing,
                None if ledger is None else ledger.balance,
                0 if ledger is None else ledger.local_pending_debt,
                0 if ledger is None else ledger.remote_pending_debt,
            )
        )
    return tuple(found)


def _terms(friend: Friend, local: PublicKey) -> tuple[TermsReport | None, TermsReport | None]:
    channel = friend.channel
    if not isinstance(channel, Inconsistent):
        return None, None
    ours = _terms_report(channel.local_terms, (local, friend.public_key), 1)
    if channel.remote_terms is None:
        return ours, None
    theirs = _terms_report(
        channel.remote_terms,
        (friend.public_key, local),
        -1,
        is_acceptable=are_terms_acceptable(channel.remote_terms, channel.consistent_counter),
    )
    return ours, theirs


def _terms_report(
    terms: ResetTerms,
    ends: tuple[PublicKey, PublicKey],
    sign: int,
    *,
    is_acceptable: bool = False,
) -> TermsReport:
    return TermsReport(
        terms_hash(*ends, terms),
        terms.inconsistency_counter,
        tuple((currency, sign * balance) for currency, balance in terms.balances),
        is_acceptable,
    )


def pending(state: NodeState) -> Iterator[PendingReport]:
    """Every transaction in flight, friend by friend."""
    for key in sorted(state.friends):
        channel = state.friends[key].consistent
        if channel is None:
            continue
        for currency in sorted(channel.ledgers):
            yield from _ledger_pending(channel.ledgers[currency], key, currency)


def _ledger_pending(ledger: Ledger, key: PublicKey, currency: Currency) -> Iterator[PendingReport]:
    for entries, is_outgoing in ((ledger.local, True), (ledger.remote, False)):
        for request_id, entry in entries.items():
            yield PendingReport(
                key,
                currency,
                request_id,
                is_outgoing,
                entry.request.freeze,
                entry.response is not None,
                entry.since_ms,
            )


def pay_report(intent: Intent) -> PayReport:
    """One wish to pay. Failed is safe to pay again unless its commit may still be used."""
    planned = sum(part.fee for part in intent.planned)
    return PayReport(
        intent.intent_id,
        intent.invoice,
        intent.stage,
        intent.failure,
        intent.max_fee,
        intent.fee + planned,
        len(intent.parts) + len(intent.planned),
        intent.stage is PayStage.FAILED and intent.failure is not PayFailure.UNKNOWN,
        intent.commit,
        intent.receipt,
        intent.created_ms,
        intent.ended_ms,
        tuple(_part_report(part) for part in (*intent.parts.values(), *intent.planned))[
            :ROUTE_PARTS_MAX
        ],
    )


def _part_report(part: PlannedPart) -> PartReport:
    return PartReport(part.route[1], len(part.route) - 2, part.amount, part.fee)


def invoice_report(invoice: OpenInvoice) -> InvoiceReport:
    """One open invoice."""
    frozen = sum(
        member.dest_payment + member.left_fees
        for group in invoice.groups.values()
        for member in group.members.values()
    )
    return InvoiceReport(
        invoice.invoice,
        invoice.created_ms,
        invoice.expires_ms,
        frozen,
        any(group.is_sealed for group in invoice.groups.values()),
        invoice.registered,
    )
