"""Rebalancing: moving credit along a cycle of friends, out to the first of them and back from the last.

It is a payment of an invoice of our own, which the node opens here; `paying` carries it out like any other
wish, collects it in the step in which it is complete, and cancels the invoice when the wish fails.

Source: design R20; PROTOCOL.md, "Paying"; routing.md §7.4.
"""

from offset_engine.core import paying, selling
from offset_engine.core.api import AddInvoice, CommandFault, Rebalance
from offset_engine.core.draft import Draft
from offset_engine.core.payer import Cycle, Intent
from offset_engine.core.signing import Invoice
from offset_engine.core.values import InvoiceId


def rebalance(draft: Draft, command: Rebalance) -> CommandFault | None:
    """Take up a wish to move credit along a cycle; the same wish again changes nothing."""
    if draft.has_dropped_intent(command.payment_id):
        # Forgotten a moment ago: it has ended, and is not begun again.
        return None
    cycle = Cycle(command.first_friend, command.last_friend)
    known = draft.state.intents.get(command.payment_id)
    if known is not None:
        is_same = _is_same(known, command, cycle)
        return None if is_same else CommandFault.PAYMENT_ALREADY_OPEN
    if not paying.are_amounts_fine(command.amount, command):
        return CommandFault.INVALID_AMOUNT
    ends = [end for end in (cycle.first_friend, cycle.last_friend) if end is not None]
    if not ends or len(set(ends)) < len(ends):
        return CommandFault.INVALID_ARGUMENT
    if any(end not in draft.state.friends for end in ends):
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if not paying.has_room(draft):
        return CommandFault.LIMIT_REACHED
    invoice = Invoice(
        InvoiceId(draft.env.random(32)),
        command.currency,
        draft.state.local_public_key,
        command.amount,
        created=draft.env.wall_ms // 1000,
    )
    fault = selling.add_invoice(draft, AddInvoice(invoice))
    if fault is None:
        paying.take_up(draft, command, invoice, cycle)
    return fault


def _is_same(known: Intent, command: Rebalance, cycle: Cycle) -> bool:
    mine = (known.cycle, known.invoice.currency, known.invoice.total_dest_payment)
    return mine == (cycle, command.currency, command.amount)
