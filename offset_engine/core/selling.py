"""The seller: which requests an invoice accepts, and how it ends: collected, cancelled or expired.

Source: PROTOCOL.md, "Invoices"; payments.md §5.8; design R24, R27.
"""

from offset_engine.core.api import AddInvoice, CommandFault, CommitInvoice, InvoiceChanged
from offset_engine.core.crypto import hash_lock
from offset_engine.core.draft import Draft
from offset_engine.core.invoice import ClosedInvoice, Group, Member, OpenInvoice
from offset_engine.core.messages import RequestOp, collect_op, response_op
from offset_engine.core.reports import InvoiceRecord
from offset_engine.core.signing import (
    Commit,
    ResponseTerms,
    commit_terms,
    is_sound_commit,
    is_sound_invoice,
    response_buffer,
    response_hash,
)
from offset_engine.core.state import GroupUnsealed, InvoiceExpiry
from offset_engine.core.values import (
    CREDITS_MAX,
    GROUP_REQUESTS_MAX,
    INVOICE_GROUPS_MAX,
    OPEN_INVOICES_MAX,
    WALL_MS_MAX,
    Currency,
    HashedLock,
    InvoiceId,
    PlainLock,
    PublicKey,
    RandValue,
)

# --- requests for an invoice --------------------------------------------------------------------


def accept_request(draft: Draft, key: PublicKey, currency: Currency, request: RequestOp) -> None:
    """A request has reached us as its seller: sign a response, or cancel it."""
    invoice_id, lock = request.invoice_id, request.src_hashed_lock
    if (
        not _is_by_its_way(draft, key, currency, request)
        or not _fits_invoice(draft, currency, request)
        or not _find_room(draft, request)
    ):
        draft.refuse(key, currency, request.request_id)
        return
    invoice = draft.invoice(invoice_id)
    group = invoice.groups.get(lock)
    if group is None:
        group = Group(PlainLock(draft.env.random(32)))
        invoice.groups[lock] = group
    is_complete = group.sum + request.dest_payment == invoice.invoice.total_dest_payment
    nonce = RandValue(draft.env.random(16))
    terms = ResponseTerms(
        response_hash(request.request_id, nonce),
        lock,
        hash_lock(group.dest_plain_lock),
        is_complete,
        request.dest_payment,
        request.total_dest_payment,
        invoice_id,
        currency,
    )
    response = response_op(
        request.request_id,
        terms.dest_hashed_lock,
        is_complete,
        nonce,
        draft.env.sign(response_buffer(terms)),
    )
    group.members[key, request.request_id] = Member(
        key, request.dest_payment, request.left_fees, response
    )
    draft.answer(key, currency, response, invoice_id)
    _watch_group(draft, invoice_id, lock, is_sealed=is_complete)
    group.is_sealed = is_complete
    if is_complete:
        draft.notify(InvoiceChanged(invoice_id))


def _is_by_its_way(draft: Draft, key: PublicKey, currency: Currency, request: RequestOp) -> bool:
    """Whether a request that we sent round to ourselves comes from the friend its route ends with.

    Anybody on the way can send it to us sooner and keep the fees of all the others for moving nothing.
    Others may use the id of a request that we sent to somebody else.
    """
    sent_to = draft.state.outgoing_ids.get(request.request_id)
    if sent_to is None:
        return True
    channel = draft.state.friends[sent_to].consistent
    ledger = None if channel is None else channel.ledgers.get(currency)
    sent = None if ledger is None else ledger.local.get(request.request_id)
    if sent is None:
        return True
    *_, last, end = (draft.state.local_public_key, sent_to, *sent.request.route)
    return last == key or end != draft.state.local_public_key


def _watch_group(draft: Draft, invoice_id: InvoiceId, lock: HashedLock, *, is_sealed: bool) -> None:
    key = GroupUnsealed(invoice_id, lock)
    if is_sealed:
        draft.agenda.drop(key)
    else:
        draft.agenda.set(key, draft.env.now_ms + draft.env.timers.group_unsealed_ms)


def _fits_invoice(draft: Draft, currency: Currency, request: RequestOp) -> bool:
    invoice = draft.state.invoices.get(request.invoice_id)
    if invoice is None or invoice.registered is not None:
        return False
    is_late = invoice.expires_ms is not None and draft.env.wall_ms >= invoice.expires_ms
    return (
        not is_late
        and currency == invoice.invoice.currency
        and request.total_dest_payment == invoice.invoice.total_dest_payment
        and request.dest_payment <= request.total_dest_payment
    )


def _find_room(draft: Draft, request: RequestOp) -> bool:
    """Whether the request fits into its buyer's group; may evict a smaller stranger's group."""
    known = draft.state.invoices[request.invoice_id]
    group = known.groups.get(request.src_hashed_lock)
    if group is not None:
        return (
            not group.is_sealed
            and len(group.members) < GROUP_REQUESTS_MAX
            and group.sum + request.dest_payment <= known.invoice.total_dest_payment
        )
    if len(known.groups) < INVOICE_GROUPS_MAX:
        return True
    unsealed = [(other.sum, lock) for lock, other in known.groups.items() if not other.is_sealed]
    smallest = min(unsealed, default=None)
    if smallest is None or smallest[0] >= request.dest_payment:
        return False
    cancel_group(draft, draft.invoice(request.invoice_id), smallest[1])
    return True


def drop_member(draft: Draft, invoice_id: InvoiceId, key: PublicKey, request: RequestOp) -> None:
    """A request vanished with its channel; a sealed group stays sealed."""
    known = draft.state.invoices.get(invoice_id)
    if known is None or request.src_hashed_lock not in known.groups:
        return
    invoice = draft.invoice(invoice_id)
    group = invoice.groups[request.src_hashed_lock]
    group.members.pop((key, request.request_id), None)
    if not group.members and not group.is_sealed:
        del invoice.groups[request.src_hashed_lock]
        draft.agenda.drop(GroupUnsealed(invoice_id, request.src_hashed_lock))


def cancel_group(draft: Draft, invoice: OpenInvoice, lock: HashedLock) -> None:
    """Send back what has come under this lock."""
    group = invoice.groups.pop(lock)
    for key, request_id in group.members:
        draft.refuse(key, invoice.invoice.currency, request_id)
    draft.agenda.drop(GroupUnsealed(invoice.invoice.invoice_id, lock))


# --- commands -----------------------------------------------------------------------------------


def add_invoice(draft: Draft, command: AddInvoice) -> CommandFault | None:
    """Open an invoice of ours; an id is used once."""
    invoice = command.invoice
    invoice_id = invoice.invoice_id
    if invoice_id in draft.state.invoices or invoice_id in draft.state.closed_invoices:
        return CommandFault.INVOICE_ALREADY_EXISTS
    if not 1 <= invoice.total_dest_payment <= CREDITS_MAX:
        return CommandFault.INVALID_AMOUNT
    is_ours = invoice.dest_public_key == draft.state.local_public_key
    if not is_ours or not is_sound_invoice(invoice):
        return CommandFault.INVALID_ARGUMENT
    if command.expires_ms is not None and not 0 <= command.expires_ms <= WALL_MS_MAX:
        return CommandFault.INVALID_ARGUMENT
    if len(draft.state.invoices) >= OPEN_INVOICES_MAX:
        return CommandFault.LIMIT_REACHED
    draft.put_invoice(OpenInvoice(invoice, draft.env.wall_ms, command.expires_ms))
    watch_expiry(draft, invoice_id)
    draft.notify(InvoiceChanged(invoice_id))
    return None


def cancel_invoice(draft: Draft, invoice_id: InvoiceId) -> CommandFault | None:
    """End an invoice and give everything pending for it back."""
    if invoice_id not in draft.state.invoices:
        return CommandFault.INVOICE_DOES_NOT_EXIST
    invoice = draft.invoice(invoice_id)
    for lock in tuple(invoice.groups):
        cancel_group(draft, invoice, lock)
    _finish(draft, invoice, None, 0)
    return None


def register_commit(draft: Draft, commit: Commit) -> CommandFault | None:
    """Verify a commit and keep it; collecting or refunding is decided later."""
    known = draft.state.invoices.get(commit.invoice_id)
    if known is None:
        return CommandFault.INVOICE_DOES_NOT_EXIST
    fault = _commit_fault(draft, known, commit)
    if fault is not None:
        return fault
    if known.registered != commit:
        draft.invoice(commit.invoice_id).registered = commit
        draft.notify(InvoiceChanged(commit.invoice_id))
    return None


def collect_invoice(draft: Draft, invoice_id: InvoiceId, *, force: bool) -> CommandFault | None:
    """Collect an invoice whose commit was registered; again is fine."""
    known = draft.state.invoices.get(invoice_id)
    if known is None:
        closed = draft.state.closed_invoices.get(invoice_id)
        is_paid = closed is not None and closed.is_paid
        return None if is_paid else CommandFault.INVOICE_DOES_NOT_EXIST
    if known.registered is None:
        return CommandFault.NOT_COMMITTED
    return _collect(draft, known.registered, force=force)


def commit_invoice(draft: Draft, command: CommitInvoice) -> CommandFault | None:
    """Verify a commit and collect; repeating it after success is fine."""
    commit = command.commit
    closed = draft.state.closed_invoices.get(commit.invoice_id)
    if closed is not None and closed.is_paid:
        return None if closed.commit == commit else CommandFault.INVALID_COMMIT
    known = draft.state.invoices.get(commit.invoice_id)
    if known is None:
        return CommandFault.INVOICE_DOES_NOT_EXIST
    return _commit_fault(draft, known, commit) or _collect(draft, commit, force=command.force)


def _commit_fault(draft: Draft, known: OpenInvoice, commit: Commit) -> CommandFault | None:
    """Whether a commit is one of ours, for this invoice, in this currency, for this sum."""
    invoice = known.invoice
    group = known.groups.get(hash_lock(commit.src_plain_lock))
    is_ours = (
        is_sound_commit(commit)
        and known.registered in (None, commit)
        and commit.currency == invoice.currency
        and commit.total_dest_payment == invoice.total_dest_payment
        and group is not None
        and group.is_sealed
        and commit.dest_hashed_lock == hash_lock(group.dest_plain_lock)
        and _is_signed(draft, group, commit)
    )
    return None if is_ours else CommandFault.INVALID_COMMIT


def _is_signed(draft: Draft, group: Group, commit: Commit) -> bool:
    """Whether we signed what the commit says; looking at what is kept saves verifying it."""
    for (_, request_id), member in group.members.items():
        response = member.response
        if response.is_complete and response.signature == commit.signature:
            return (
                member.dest_payment == commit.dest_payment
                and response_hash(request_id, response.rand_nonce) == commit.response_hash
            )
    signed = response_buffer(commit_terms(commit))
    return draft.env.verify(draft.state.local_public_key, signed, commit.signature)


def _collect(draft: Draft, commit: Commit, *, force: bool) -> CommandFault | None:
    lock = hash_lock(commit.src_plain_lock)
    group = draft.state.invoices[commit.invoice_id].groups[lock]
    total = draft.state.invoices[commit.invoice_id].invoice.total_dest_payment
    if not group.members or (group.sum != total and not force):
        return CommandFault.COMMIT_INCOMPLETE
    invoice = draft.invoice(commit.invoice_id)
    group = invoice.groups.pop(lock)
    currency = invoice.invoice.currency
    for key, request_id in group.members:
        collect = collect_op(request_id, commit.src_plain_lock, group.dest_plain_lock)
        draft.answer(key, currency, collect, None)
    for other in tuple(invoice.groups):
        cancel_group(draft, invoice, other)
    received = sum(member.dest_payment + member.left_fees for member in group.members.values())
    _finish(draft, invoice, commit, min(received, CREDITS_MAX))
    return None


def _finish(draft: Draft, invoice: OpenInvoice, commit: Commit | None, received: int) -> None:
    invoice_id = invoice.invoice.invoice_id
    for is_confirming in (False, True):
        draft.agenda.drop(InvoiceExpiry(invoice_id, is_confirming))
    draft.close_invoice(ClosedInvoice(invoice_id, commit is not None, commit))
    draft.records.append(
        InvoiceRecord(
            invoice.invoice,
            commit is not None,
            received,
            invoice.created_ms,
            draft.env.wall_ms,
            commit,
        )
    )
    draft.notify(InvoiceChanged(invoice_id))


# --- time ---------------------------------------------------------------------------------------


def resume(draft: Draft) -> None:
    """After loading: wait for what every invoice waits for."""
    for invoice_id, invoice in draft.state.invoices.items():
        watch_expiry(draft, invoice_id)
        for lock, group in invoice.groups.items():
            if not group.is_sealed:
                _watch_group(draft, invoice_id, lock, is_sealed=False)


def watch_expiry(draft: Draft, invoice_id: InvoiceId) -> None:
    """Look at an invoice when it expires by the wall clock."""
    expires_ms = draft.state.invoices[invoice_id].expires_ms
    if expires_ms is not None:
        wait_ms = max(0, expires_ms - draft.env.wall_ms)
        draft.agenda.set(InvoiceExpiry(invoice_id), draft.env.now_ms + wait_ms)


def give_up_group(draft: Draft, key: GroupUnsealed) -> None:
    """A group has waited too long for its missing part."""
    known = draft.state.invoices.get(key.invoice_id)
    group = known.groups.get(key.src_hashed_lock) if known is not None else None
    if group is not None and not group.is_sealed:
        cancel_group(draft, draft.invoice(key.invoice_id), key.src_hashed_lock)


def expire(draft: Draft, key: InvoiceExpiry) -> None:
    """Expiry acts when it is seen twice, so that one jump of the clock cancels nothing."""
    known = draft.state.invoices.get(key.invoice_id)
    if known is None or known.expires_ms is None or known.registered is not None:
        return
    timers = draft.env.timers
    if draft.env.wall_ms < known.expires_ms:
        watch_expiry(draft, key.invoice_id)
    elif not key.is_confirming:
        again = InvoiceExpiry(key.invoice_id, is_confirming=True)
        draft.agenda.set(again, draft.env.now_ms + timers.expiry_confirm_ms)
    else:
        _expire_groups(draft, known)


def _expire_groups(draft: Draft, known: OpenInvoice) -> None:
    assert known.expires_ms is not None  # noqa: S101 - the caller looked
    invoice = draft.invoice(known.invoice.invoice_id)
    for lock in [lock for lock, group in invoice.groups.items() if not group.is_sealed]:
        cancel_group(draft, invoice, lock)
    left_ms = known.expires_ms + draft.env.timers.group_sealed_grace_ms - draft.env.wall_ms
    if invoice.groups and left_ms > 0:
        again = InvoiceExpiry(invoice.invoice.invoice_id, is_confirming=True)
        draft.agenda.set(again, draft.env.now_ms + left_ms)
    else:
        cancel_invoice(draft, invoice.invoice.invoice_id)
