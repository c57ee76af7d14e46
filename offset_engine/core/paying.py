"""Carrying out a wish to pay: search, ask about the fee, send parts, plan refused ones again, hand out the commit.

Driven by events only, and by what `buying` reports in `draft.news`; see `payer` for the states. A direct
friend is paid over the direct link first, with or without an index server; `searching` asks for other ways.

A wish that `rebalancing` took up pays an invoice of our own, which is collected with the commit, and
cancelled should nothing come of it.

Source: design R20, R21; PROTOCOL.md, "Paying".
"""

from typing import Final

from offset_engine.core import buying, searching, selling
from offset_engine.core.api import (
    CommandFault,
    CommitInvoice,
    ConfirmFee,
    CreatePayment,
    CreateTransaction,
    Pay,
    PayChanged,
    Rebalance,
    TransactionOutcome,
)
from offset_engine.core.crypto import hash_lock, is_valid_identity
from offset_engine.core.draft import Draft, PartEnd, PaymentNews, TransactionNews
from offset_engine.core.index import RouteCode
from offset_engine.core.messages import RoutesResponse
from offset_engine.core.payer import Cycle, Intent, PayFailure, PayStage, PlannedPart
from offset_engine.core.payment import PaymentStage
from offset_engine.core.reports import PaymentRecord
from offset_engine.core.searching import stop_waiting
from offset_engine.core.signing import Commit, Invoice, invoice_buffer, is_sound_invoice
from offset_engine.core.state import NodeState, PartStuck, QuestionUnanswered
from offset_engine.core.values import (
    CREDITS_MAX,
    FINISHED_INTENTS_REMEMBERED,
    OPEN_PAYMENTS_MAX,
    PAYMENT_ATTEMPTS_MAX,
    ROUTE_MISSES_MAX,
    ROUTE_ROUNDS_MAX,
    HashedLock,
    InvoiceId,
    PaymentId,
    Uid,
)

_ENDED: Final = (PayStage.PAID, PayStage.FAILED)
_OPEN: Final = (PayStage.SEARCHING, PayStage.FEE_TO_CONFIRM, PayStage.SENDING)

# --- commands -----------------------------------------------------------------------------------


def pay(draft: Draft, command: Pay) -> CommandFault | None:
    """Take up a wish to pay; the same wish again changes nothing."""
    if draft.has_dropped_intent(command.payment_id):
        # Forgotten a moment ago: it has ended, and is not paid again.
        return None
    known = draft.state.intents.get(command.payment_id)
    if known is not None:
        is_same = known.invoice == command.invoice
        return None if is_same else CommandFault.PAYMENT_ALREADY_OPEN
    invoice = command.invoice
    if not are_amounts_fine(invoice.total_dest_payment, command):
        return CommandFault.INVALID_AMOUNT
    if not is_sound_invoice(invoice):
        return CommandFault.INVOICE_INVALID
    seller = invoice.dest_public_key
    if seller == draft.state.local_public_key or not is_valid_identity(seller):
        return CommandFault.INVALID_ARGUMENT
    if invoice.signature is not None and not draft.env.verify(
        seller, invoice_buffer(invoice), invoice.signature
    ):
        return CommandFault.INVOICE_INVALID
    if _is_being_paid(draft, invoice):
        return CommandFault.PAYMENT_ALREADY_OPEN
    if not has_room(draft):
        return CommandFault.LIMIT_REACHED
    take_up(draft, command, invoice)
    return None


def take_up(
    draft: Draft, command: Pay | Rebalance, invoice: Invoice, cycle: Cycle | None = None
) -> None:
    """Begin with a wish that was found to be sound."""
    wall_ms = draft.env.wall_ms
    intent = Intent(
        command.payment_id,
        invoice,
        command.max_fee,
        command.confirm_above,
        wall_ms,
        cycle=cycle,
    )
    draft.put_intent(intent)
    _search(draft, command.payment_id)


def are_amounts_fine(total: int, command: Pay | Rebalance) -> bool:
    """Whether the amount and both limits on the fee are in range."""
    is_ask_fine = command.confirm_above is None or 0 <= command.confirm_above <= CREDITS_MAX
    return 1 <= total <= CREDITS_MAX and is_ask_fine and 0 <= command.max_fee <= CREDITS_MAX


def _is_being_paid(draft: Draft, invoice: Invoice) -> bool:
    """Whether another wish pays this invoice or has paid it: two windows, or two programs, meant the same."""
    wanted = invoice.invoice_id
    return any(
        intent.invoice.invoice_id == wanted
        and (intent.ended_ms is None or intent.stage is PayStage.PAID)
        and intent.invoice.dest_public_key == invoice.dest_public_key
        for intent in draft.state.intents.values()
    )


def has_room(draft: Draft) -> bool:
    """Forget the oldest finished wishes beyond the number remembered, and say whether one more fits.

    History keeps what is forgotten.
    """
    excess = len(draft.state.intents) - FINISHED_INTENTS_REMEMBERED
    if excess > 0:
        ended = [key for key, it in draft.state.intents.items() if it.stage in _ENDED]
        for intent_id in ended[:excess]:
            draft.drop_intent(intent_id)
    return len(draft.state.intents) < OPEN_PAYMENTS_MAX


def confirm_fee(draft: Draft, command: ConfirmFee) -> CommandFault | None:
    """The user agrees to the fee shown."""
    known = draft.state.intents.get(command.payment_id)
    if known is None:
        return CommandFault.PAYMENT_DOES_NOT_EXIST
    if known.stage is not PayStage.FEE_TO_CONFIRM:
        return CommandFault.WRONG_STAGE
    fee = _fee_with(known, known.planned)
    if fee > command.at_most:
        return CommandFault.FEE_CHANGED
    intent = draft.intent(command.payment_id)
    if _is_expired(draft, intent):
        _fail(draft, command.payment_id, PayFailure.EXPIRED)
        return None
    # Agreed up to this much: planning again may not exceed it without asking.
    intent.confirm_above = fee
    _send(draft, intent)
    return None


def cancel_pay(draft: Draft, intent_id: PaymentId) -> CommandFault | None:
    """Give a payment up while its commit does not exist."""
    known = draft.state.intents.get(intent_id)
    if known is None:
        return CommandFault.PAYMENT_DOES_NOT_EXIST
    if known.stage not in _OPEN:
        return CommandFault.WRONG_STAGE
    _fail(draft, intent_id, PayFailure.CANCELED)
    return None


def forget_pay(draft: Draft, intent_id: PaymentId) -> CommandFault | None:
    """Drop a finished payment from the live state."""
    known = draft.state.intents.get(intent_id)
    if known is None:
        return CommandFault.PAYMENT_DOES_NOT_EXIST
    if known.stage not in _ENDED:
        return CommandFault.WRONG_STAGE
    draft.drop_intent(intent_id)
    return None


# --- searching ----------------------------------------------------------------------------------


def _search(draft: Draft, intent_id: PaymentId) -> None:
    """Find routes for what is not under way yet."""
    intent = draft.intent(intent_id)
    intent.stage = PayStage.SEARCHING if not intent.parts else PayStage.SENDING
    if _is_expired(draft, intent):
        _fail(draft, intent_id, PayFailure.EXPIRED)
        return
    if intent.cycle is not None and not _is_invoice_open(draft, intent):
        # Somebody cancelled the invoice by itself: nothing can come round any more.
        _fail(draft, intent_id, PayFailure.CANCELED)
        return
    seller, currency = intent.invoice.dest_public_key, intent.invoice.currency
    own = draft.state.local_public_key
    missing = _missing(intent)
    if searching.is_ready(draft.state, seller, currency) and not intent.is_direct_tried:
        # What the friend grants us is its secret, so trying is the only way to know.
        intent.is_direct_tried = True
        intent.planned = (PlannedPart((own, seller), missing, 0),)
        _consider(draft, intent)
    elif _must_wait(draft.state, intent):
        wait_ms = draft.env.timers.friend_wait_ms
        searching.wait(draft, intent, searching.FRIEND_AWAY, wait_ms)
    elif not draft.state.index_servers:
        _fail(draft, intent_id, intent.setback or PayFailure.NO_INDEX)
    elif intent.rounds >= ROUTE_ROUNDS_MAX:
        _fail(draft, intent_id, intent.setback or PayFailure.NO_ROUTE)
    else:
        searching.ask(draft, intent, missing)


def _is_invoice_open(draft: Draft, intent: Intent) -> bool:
    """Of a cycle: whether what comes round can still be collected."""
    return intent.invoice.invoice_id in draft.state.invoices


def _must_wait(state: NodeState, intent: Intent) -> bool:
    """Whether nobody can be sent through yet, or only the seller itself would do and is away."""
    if not searching.has_way(state, intent):
        return True
    seller = state.friends.get(intent.invoice.dest_public_key)
    is_hoped_for = seller is not None and seller.is_enabled and not intent.is_direct_tried
    return is_hoped_for and not state.index_servers


def _is_expired(draft: Draft, intent: Intent) -> bool:
    return 0 < intent.invoice.expires <= draft.env.wall_ms // 1000


def _missing(intent: Intent) -> int:
    under_way = sum(part.amount for part in intent.parts.values())
    return intent.invoice.total_dest_payment - under_way


def take_routes(draft: Draft, response: RoutesResponse) -> bool:
    """An index server answered; False if the question was not one of a wish to pay."""
    intent_id = draft.state.questions.get(response.request_id)
    if intent_id is None:
        return False
    intent = draft.intent(intent_id)
    stop_waiting(draft, intent)
    if response.code == RouteCode.BUSY:
        intent.setback = intent.setback or PayFailure.NO_INDEX
        intent.wants_other_server = True
        searching.wait(draft, intent, searching.SERVER_BUSY, draft.env.timers.route_busy_ms)
        return True
    plan = searching.choose(draft, intent, response, _missing(intent))
    is_affordable = plan is not None and _fee_with(intent, plan) <= intent.max_fee
    if intent.avoided and not is_affordable:
        # Where other payments failed there may be the only way, or the only one that is cheap enough.
        intent.avoided = ()
        intent.is_bold = True
        intent.rounds -= 1
        _search(draft, intent_id)
    elif plan is None:
        _take_miss(draft, intent, response)
    else:
        intent.planned = plan
        _consider(draft, intent)
    return True


def _take_miss(draft: Draft, intent: Intent, response: RoutesResponse) -> None:
    """No way is known: look again soon, because whoever has just come online is still reporting."""
    if intent.misses >= ROUTE_MISSES_MAX:
        _fail(draft, intent.intent_id, searching.no_route_reason(intent, response))
        return
    intent.misses += 1
    intent.rounds -= 1
    has_looked = response.code in (RouteCode.NONE, RouteCode.UNREACHABLE, RouteCode.PARTIAL)
    intent.wants_other_server = intent.misses == 2 or not has_looked
    pause_ms = intent.misses * draft.env.timers.route_retry_ms
    searching.wait(draft, intent, searching.NO_WAY_YET, pause_ms)


def give_up_question(draft: Draft, key: QuestionUnanswered) -> None:
    """Nobody answered in time, no friend came online, or a pause is over."""
    known = draft.state.intents.get(key.intent_id)
    if known is None or known.question != key.question:
        return
    intent = draft.intent(key.intent_id)
    stop_waiting(draft, intent)
    is_alone = key.question == searching.FRIEND_AWAY
    if is_alone and not searching.has_way(draft.state, intent):
        # Either the only way is the seller, who is away, or none of our friends is there.
        seller = draft.state.friends.get(intent.invoice.dest_public_key)
        is_seller_away = seller is not None and not seller.is_online
        reason = PayFailure.SELLER_UNREACHABLE if is_seller_away else PayFailure.OWN_LIMIT
        _fail(draft, key.intent_id, reason)
    elif is_alone or key.question in (searching.SERVER_BUSY, searching.NO_WAY_YET):
        if is_alone and not draft.state.index_servers:
            # Others are there, but nobody who could tell a way to this seller.
            intent.is_direct_tried = True
            intent.setback = intent.setback or PayFailure.SELLER_UNREACHABLE
        _search(draft, key.intent_id)
    else:
        _fail(draft, key.intent_id, PayFailure.NO_INDEX)


def friend_is_back(draft: Draft) -> None:
    """A friend came online: wishes that waited for one go on."""
    away = searching.FRIEND_AWAY
    waiting = [key for key, it in draft.state.intents.items() if it.question == away]
    for intent_id in waiting:
        intent = draft.intent(intent_id)
        if searching.has_way(draft.state, intent):
            stop_waiting(draft, intent)
            _search(draft, intent_id)


# --- sending ------------------------------------------------------------------------------------


def _consider(draft: Draft, intent: Intent) -> None:
    """Judge the fee of a plan: too much, to be confirmed, or fine."""
    fee = _fee_with(intent, intent.planned)
    if fee > intent.max_fee:
        _fail(draft, intent.intent_id, PayFailure.FEE_ABOVE_LIMIT)
    elif intent.confirm_above is not None and fee > intent.confirm_above:
        intent.stage = PayStage.FEE_TO_CONFIRM
        draft.notify(PayChanged(intent.intent_id))
    else:
        _send(draft, intent)


def _fee_with(intent: Intent, plan: tuple[PlannedPart, ...]) -> int:
    return intent.fee + sum(part.fee for part in plan)


def _send(draft: Draft, intent: Intent) -> None:
    intent.stage = PayStage.SENDING
    if intent.payment_id is None and not _open_payment(draft, intent):
        _fail(draft, intent.intent_id, PayFailure.OWN_LIMIT)
        return
    planned, intent.planned = intent.planned, ()
    failed: list[PlannedPart] = []
    for part in planned:
        request_id = Uid(draft.env.random(16))
        command = CreateTransaction(
            _payment_id(intent), request_id, part.route, part.amount, part.fee
        )
        if buying.create_transaction(draft, command) is None:
            intent.parts[request_id] = part
            _watch_part(draft, intent.intent_id, request_id)
        else:
            failed.append(part)
    draft.notify(PayChanged(intent.intent_id))
    for part in failed:
        searching.exclude(intent, (part.route[0], part.route[1]))
    if failed:
        _search(draft, intent.intent_id)


def _watch_part(draft: Draft, intent_id: PaymentId, request_id: Uid) -> None:
    stuck = PartStuck(intent_id, request_id)
    draft.agenda.set(stuck, draft.env.now_ms + draft.env.timers.part_stuck_ms)


def _payment_id(intent: Intent) -> PaymentId:
    payment_id = intent.payment_id
    assert payment_id is not None  # noqa: S101 - `_open_payment` ran
    return payment_id


def _open_payment(draft: Draft, intent: Intent) -> bool:
    """False if too many payments are open."""
    payment_id = PaymentId(draft.env.random(16))
    invoice = intent.invoice
    command = CreatePayment(
        payment_id,
        invoice.invoice_id,
        invoice.currency,
        invoice.total_dest_payment,
        invoice.dest_public_key,
    )
    if buying.create_payment(draft, command) is not None:
        return False
    intent.payment_id = payment_id
    draft.set_payer(payment_id, intent.intent_id)
    return True


# --- what became of the parts -------------------------------------------------------------------


def take_news(draft: Draft) -> None:
    """React to everything that happened to own payments; more may happen meanwhile."""
    while draft.news:
        news = draft.news.pop(0)
        intent_id = draft.state.payers.get(news.payment_id)
        if intent_id is None:
            continue
        if isinstance(news, TransactionNews):
            _take_result(draft, intent_id, news)
        else:
            _take_end(draft, intent_id, news)


def _take_result(draft: Draft, intent_id: PaymentId, news: TransactionNews) -> None:
    intent = draft.intent(intent_id)
    draft.agenda.drop(PartStuck(intent_id, news.request_id))
    arrived = intent.parts.get(news.request_id)
    if arrived is not None and news.outcome is not TransactionOutcome.FAILURE:
        searching.forgive(draft, intent, arrived)
    if intent.stage is PayStage.COMMITTED and news.end is PartEnd.WAY_DIED:
        # The commit is out: what is alive behind the dead channel can still be collected.
        intent.failure = PayFailure.UNKNOWN
    if news.outcome is TransactionOutcome.SUCCESS and intent.stage in _OPEN:
        # Accepted, but the sum has to be called complete as well.
        _watch_part(draft, intent_id, news.request_id)
    elif news.outcome is TransactionOutcome.FAILURE:
        part = intent.parts.pop(news.request_id, None)
        if part is not None and intent.stage in _OPEN:
            _take_setback(draft, intent, part, news.end)
            if not intent.parts or news.end is PartEnd.WAY_DIED:
                # A seller that still holds something under this lock would refuse more of it, and
                # what may be alive behind a dead channel must never complete a sum.
                _withhold(draft, intent)
            stop_waiting(draft, intent)
            _search(draft, intent_id)
    elif news.outcome is TransactionOutcome.COMPLETE and intent.stage in _OPEN:
        # Only the first time: a seller that calls several parts complete changes nothing.
        intent.stage = PayStage.COMMITTED
        intent.planned = ()
        intent.commit = draft.state.payments[news.payment_id].commit
        stop_waiting(draft, intent)
        buying.close_payment(draft, news.payment_id)
        draft.notify(PayChanged(intent_id))
        if intent.cycle is not None:
            _collect_own(draft, intent.invoice.invoice_id, intent.commit)


def _collect_own(draft: Draft, invoice_id: InvoiceId, commit: Commit | None) -> None:
    """The whole amount has come round to us: collect it, or give it back if a part was lost meanwhile."""
    assert commit is not None  # noqa: S101 - complete means that there is one
    if selling.commit_invoice(draft, CommitInvoice(commit)) is not None:
        selling.cancel_invoice(draft, invoice_id)


def _take_setback(draft: Draft, intent: Intent, part: PlannedPart, end: PartEnd) -> None:
    # Before the first question it was the direct try: the index server may know why that failed.
    was_planned = intent.rounds > 0 or len(part.route) > 2
    if end is not PartEnd.NEVER_LEFT:
        intent.setback = PayFailure.REFUSED
        is_own_refusal = intent.cycle is not None and not _is_invoice_open(draft, intent)
        if was_planned and not is_own_refusal:
            searching.learn(intent, part)
            if end is PartEnd.CAME_BACK:
                searching.blame(draft, intent, part, part.amount)
    elif was_planned:
        # It never got anywhere, so nothing was learnt and the question does not count.
        intent.rounds = max(0, intent.rounds - 1)
    else:
        intent.is_direct_tried = False


def _take_end(draft: Draft, intent_id: PaymentId, news: PaymentNews) -> None:
    payment = draft.state.payments[news.payment_id]
    if payment.stage is PaymentStage.CANCELED:
        # Only a payment whose commit was handed out still counts for its wish when it ends so:
        # the seller gave everything back although it could have collected.
        draft.drop_payment(news.payment_id)
        lost = draft.state.intents[intent_id].failure
        _fail(draft, intent_id, PayFailure.REFUSED if lost is None else lost)
        return
    receipt = payment.receipt
    if payment.stage is not PaymentStage.SUCCESS or receipt is None:
        # Several collects in one move token: the first of them ended the wish.
        return
    if not receipt.is_complete and payment.transactions:
        # A seller may answer parts under several locks; the whole receipt may still come.
        return
    intent = draft.intent(intent_id)
    intent.receipt = receipt
    _end(draft, intent, PayStage.PAID, None)
    buying.forget(draft, news.payment_id)


def give_up_part(draft: Draft, key: PartStuck) -> None:
    """A part has not been answered for too long: never release this payment, try with another."""
    known = draft.state.intents.get(key.intent_id)
    part = known.parts.get(key.request_id) if known is not None else None
    if known is None or part is None or known.stage not in _OPEN:
        return
    intent = draft.intent(key.intent_id)
    sent = draft.state.payments[_payment_id(intent)].transactions[key.request_id]
    if sent.response is None:
        searching.learn(intent, part)
        # Who does not answer would not answer for less either.
        searching.blame(draft, intent, part, 1)
    intent.attempts += 1
    intent.setback = PayFailure.STUCK
    intent.is_direct_tried = True
    _withhold(draft, intent)
    if intent.attempts >= PAYMENT_ATTEMPTS_MAX:
        _fail(draft, key.intent_id, PayFailure.STUCK)
    else:
        intent.rounds = 0
        stop_waiting(draft, intent)
        _search(draft, key.intent_id)


def _withhold(draft: Draft, intent: Intent) -> None:
    """Give the current payment up for good; its commit is never handed out."""
    payment_id = intent.payment_id
    if payment_id is None:
        return
    for request_id in intent.parts:
        draft.agenda.drop(PartStuck(intent.intent_id, request_id))
    intent.parts = {}
    intent.payment_id = None
    draft.set_payer(payment_id, None)
    payment = draft.state.payments.get(payment_id)
    if payment is not None:
        if intent.cycle is not None:
            _send_back(draft, intent.invoice.invoice_id, hash_lock(payment.src_plain_lock))
        buying.withhold(draft, payment_id)


def _send_back(draft: Draft, invoice_id: InvoiceId, lock: HashedLock) -> None:
    """What has come round under a lock that will never open goes back the way it came."""
    known = draft.state.invoices.get(invoice_id)
    if known is not None and lock in known.groups:
        selling.cancel_group(draft, draft.invoice(invoice_id), lock)


def _fail(draft: Draft, intent_id: PaymentId, reason: PayFailure) -> None:
    intent = draft.intent(intent_id)
    stop_waiting(draft, intent)
    intent.planned = ()
    fee = intent.fee
    _withhold(draft, intent)
    if intent.cycle is not None:
        # What has come round to us goes back the way it came.
        selling.cancel_invoice(draft, intent.invoice.invoice_id)
    _end(draft, intent, PayStage.FAILED, reason, fee)


def _end(
    draft: Draft,
    intent: Intent,
    stage: PayStage,
    failure: PayFailure | None,
    fee: int | None = None,
) -> None:
    intent.stage = stage
    intent.failure = failure
    intent.ended_ms = draft.env.wall_ms
    draft.records.append(
        PaymentRecord(
            intent.intent_id,
            intent.invoice,
            intent.fee if fee is None else fee,
            stage,
            failure,
            intent.created_ms,
            draft.env.wall_ms,
            intent.receipt,
        )
    )
    draft.notify(PayChanged(intent.intent_id))


# --- restart ------------------------------------------------------------------------------------


def resume(draft: Draft) -> None:
    """After loading: search again, and give unanswered parts their time again."""
    for intent_id, known in tuple(draft.state.intents.items()):
        if known.stage is PayStage.SEARCHING or (
            known.stage is PayStage.SENDING and _missing(known) > 0
        ):
            _search(draft, intent_id)
        if known.stage in _OPEN:
            for request_id in draft.state.intents[intent_id].parts:
                _watch_part(draft, intent_id, request_id)
