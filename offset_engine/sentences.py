"""What a node's answers mean, in words for people: one place for `stctrl` and the terminal app. Pure.

Sentences begin in lower case and end without a full stop, so that a program can put something in front.
Nothing foreign is in them.

Source: PROTOCOL.md, "Commands"; style.md §4.7.
"""

from typing import Final

from offset_engine.core.api import CommandFault
from offset_engine.core.payer import PayFailure
from offset_engine.core.reports import ServerState
from offset_engine.core.values import CREDITS_MAX

FAULTS: Final = {
    CommandFault.INVALID_ARGUMENT: "the node refuses this value",
    CommandFault.LIMIT_REACHED: "the node holds as many of these as it can",
    CommandFault.FRIEND_DOES_NOT_EXIST: "the node has no such friend any more",
    CommandFault.FRIEND_EXISTS: "the node has this friend already",
    CommandFault.PENDING_EXPOSURE: "something is owed or pending with this friend",
    CommandFault.CURRENCY_NOT_CONFIGURED: "this currency is not in use with this friend",
    CommandFault.NOT_INVITED_TO_RESET: "the friend's terms for a reset are not known yet",
    CommandFault.RESET_TERMS_MISMATCH: "the friend's terms changed meanwhile; look at them again",
    CommandFault.CHANNEL_INCONSISTENT: "both sides disagree about what is owed; "
    "that has to be settled with the friend first",
    CommandFault.PAYMENT_ALREADY_OPEN: "this is being paid already",
    CommandFault.PAYMENT_DOES_NOT_EXIST: "the node has no such payment",
    CommandFault.OPEN_PAYMENT_NOT_FOUND: "the node has no such open payment",
    CommandFault.NEW_TRANSACTIONS_NOT_ALLOWED: "the payment is closed; nothing can be added to it",
    CommandFault.NOT_FIRST_IN_ROUTE: "the route does not begin at this node",
    CommandFault.PAYMENT_DEST_NOT_LAST_IN_ROUTE: "the route does not end at the seller",
    CommandFault.INVALID_ROUTE: "the route is no way through the network",
    CommandFault.FRIEND_NOT_READY: "the friend the route begins with is not online, or not "
    "ready for this currency",
    CommandFault.REQUEST_ALREADY_IN_PROGRESS: "this request is on its way already",
    CommandFault.PENDING_USER_REQUESTS_FULL: "too many requests wait for this friend; try again "
    "in a moment",
    CommandFault.INVALID_AMOUNT: f"amounts are from 1 to {CREDITS_MAX} credits",
    CommandFault.ACK_STATE_INVALID: "the payment is not over yet",
    CommandFault.ACK_MISMATCH: "this is not the result the payment ended with",
    CommandFault.INVOICE_ALREADY_EXISTS: "the node knows this invoice already",
    CommandFault.INVOICE_DOES_NOT_EXIST: "the node has no such open invoice",
    CommandFault.INVALID_COMMIT: "the node has no complete payment waiting that fits this commit",
    CommandFault.COMMIT_INCOMPLETE: "a part of the payment is gone: nothing was collected",
    CommandFault.NOT_COMMITTED: "the node has no commit for this invoice yet",
    CommandFault.WRONG_STAGE: "the payment has gone too far for that",
    CommandFault.INVOICE_INVALID: "the node refuses this invoice: it is damaged",
    CommandFault.STORE_FULL: "the node's disk is full",
    CommandFault.FEE_CHANGED: "the fee is higher now than the one you were shown; look at it again",
    CommandFault.PERMISSION_DENIED: "the node does not allow this app to do that",
}
"""Why a command was refused; nothing changed."""

FAILURES: Final = {
    PayFailure.NO_ROUTE: "no route to the seller can carry this amount",
    PayFailure.SELLER_UNREACHABLE: "the seller's node could not be reached",
    PayFailure.FEE_ABOVE_LIMIT: "the fees would be higher than allowed",
    PayFailure.REFUSED: "the seller's node, or one on the way, refused it; limits and fees that "
    "changed moments ago need a few seconds to be known, so try again in a moment",
    PayFailure.STUCK: "a node on the way does not answer",
    PayFailure.NO_INDEX: "no index server can be asked for a route",
    PayFailure.OWN_LIMIT: "no friend lets us owe that much more",
    PayFailure.EXPIRED: "the invoice has expired",
    PayFailure.CANCELED: "it was canceled",
    PayFailure.UNKNOWN: "a friend's channel broke after the commit was handed out: "
    "the seller may still be able to collect, so do not pay again before asking the seller",
}
"""Why a payment failed."""

SERVER_STATES: Final = {
    ServerState.IDLE: "not in use",
    ServerState.CONNECTING: "connecting",
    ServerState.CONNECTED: "connected",
    ServerState.WAITING: "not reached",
    ServerState.REFUSED: "refused",
}
"""How things stand with a relay or an index server, in a word or two."""


def fault_sentence(fault: CommandFault, detail: str = "") -> str:
    """Why a command was refused.

    Args:
        fault: the node's answer.
        detail: what the node said besides; shown only where it says more than the fault.
    """
    is_telling = fault is CommandFault.PERMISSION_DENIED and detail
    return f"{FAULTS[fault]}: {detail}" if is_telling else FAULTS[fault]


def failure_sentence(failure: PayFailure | None) -> str:
    """Why a payment failed; None = no reason is known."""
    return "it failed" if failure is None else FAILURES[failure]
