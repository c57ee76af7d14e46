"""Carrying out a wish to pay: search, ask about the fee, send parts, plan refused ones again, hand out the commit.

Driven by events only, and by what `buying` reports in `draft.news`; see `payer` for the states.
A direct friend is paid over the direct link first, with or without an index server.

Source: design R20, R21; PROTOCOL.md, "Paying".
"""

from typing import Final

from offset_engine.core import buying
from offset_engine.core.api import (
    CommandFault,
    ConfirmFee,
    CreatePayment,
    CreateTransaction,
    Pay,
    PayChanged,
    PaymentRecord,
    TransactionOutcome,
)
from offset_engine.core.crypto import is_valid_identity
from offset_engine.core.draft import Draft, PartEnd, PaymentNews, TransactionNews
from offset_engine.core.events import AskRoutes
from offset_engine.core.index import RouteCode
from offset_engine.core.index_session import check_choice
from offset_engine.core.messages import RouteChoice, RoutesRequest, RoutesResponse
from offset_engine.core.payer import Intent, PayFailure, PayStage, PlannedPart
from offset_engine.core.payment import PaymentStage
from offset_engine.core.signing import Invoice, invoice_buffer, is_sound_invoice
from offset_engine.core.state import NodeState, PartStuck, QuestionUnanswered
from offset_engine.core.values import (
    CREDITS_MAX,
    FINISHED_INTENTS_REMEMBERED,
    OPEN_PAYMENTS_MAX,
    PAYMENT_ATTEMPTS_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_PARTS_MAX,
    ROUTE_ROUNDS_MAX,
    Currency,
    PaymentId,
    PublicKey,
    Uid,
)

ROUTE_KEYS_ASKED: Final = 20
"""Longest route asked for; longer ones pay more fees than they are worth."""
_ENDED: Final = (PayStage.PAID, PayStage.FAILED)
_OPEN: Final = (PayStage.SEARCHING, PayStage.FEE_TO_CONFIRM, PayStage.SENDING)
_UNANSWERED: Final = Uid(bytes(16))
"""Stands for the question that waits for a friend to come online instead of an index server."""
_BUSY: Final = Uid(b"\x01" * 16)
"""Stands for the question that waits until a busy index server may be asked again."""

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
    is_total_fine = 1 <= invoice.total_dest_payment <= CREDITS_MAX
    is_ask_fine = command.confirm_above is None or 0 <= command.confirm_above <= CREDITS_MAX
    if not is_total_fine or not is_ask_fine or not 0 <= command.max_fee <= CREDITS_MAX:
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
    _make_room(draft)
    if len(draft.state.intents) >= OPEN_PAYMENTS_MAX:
        return CommandFault.LIMIT_REACHED
    draft.put_intent(
        Intent(
            command.payment_id,
            invoice,
            command.max_fee,
            command.confirm_above,
            draft.env.wall_ms,
        )
    )
    _search(draft, command.payment_id)
    return None


def _is_being_paid(draft: Draft, invoice: Invoice) -> bool:
    """Whether another wish pays this invoice or has paid it: two windows, or two programs, meant the same."""
    wanted = invoice.invoice_id
    return any(
        intent.invoice.invoice_id == wanted
        and (intent.ended_ms is None or intent.stage is PayStage.PAID)
        and intent.invoice.dest_public_key == invoice.dest_public_key
        for intent in draft.state.intents.values()
    )


def _make_room(draft: Draft) -> None:
    """Forget the oldest finished wishes beyond the number remembered; history keeps them."""
    excess = len(draft.state.intents) - FINISHED_INTENTS_REMEMBERED
    if excess <= 0:
        return
    ended = [key for key, it in draft.state.intents.items() if it.stage in _ENDED]
    for intent_id in ended[:excess]:
        draft.drop_intent(intent_id)


def confirm_fee(draft: Draft, command: ConfirmFee) -> CommandFault | None:
    """The user agrees to the fee shown."""
    known = draft.state.intents.get(command.payment_id)
    if known is None:
        return CommandFault.PAYMENT_DOES_NOT_EXIST
    if known.stage is not PayStage.FEE_TO_CONFIRM:
        return CommandFault.WRONG_STAGE
    fee = known.fee + sum(part.fee for part in known.planned)
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
    seller, currency = intent.invoice.dest_public_key, intent.invoice.currency
    own = draft.state.local_public_key
    missing = _missing(intent)
    if _is_ready(draft.state, seller, currency) and not intent.is_direct_tried:
        # What the friend grants us is its secret, so trying is the only way to know.
        intent.is_direct_tried = True
        intent.planned = (PlannedPart((own, seller), missing, 0),)
        _consider(draft, intent)
    elif _must_wait(draft.state, intent):
        _wait(draft, intent, _UNANSWERED, draft.env.timers.friend_wait_ms)
    elif not draft.state.index_servers:
        _fail(draft, intent_id, intent.setback or PayFailure.NO_INDEX)
    elif intent.rounds >= ROUTE_ROUNDS_MAX:
        _fail(draft, intent_id, intent.setback or PayFailure.NO_ROUTE)
    else:
        _ask(draft, intent, missing)


def _must_wait(state: NodeState, intent: Intent) -> bool:
    """Whether nobody can be sent through yet, or only the seller itself would do and is away."""
    if not ready_friends(state, intent.invoice.currency):
        return True
    seller = state.friends.get(intent.invoice.dest_public_key)
    is_hoped_for = seller is not None and seller.is_enabled and not intent.is_direct_tried
    return is_hoped_for and not state.index_servers


def _is_expired(draft: Draft, intent: Intent) -> bool:
    return 0 < intent.invoice.expires <= draft.env.wall_ms // 1000


def _missing(intent: Intent) -> int:
    under_way = sum(part.amount for part in intent.parts.values())
    return intent.invoice.total_dest_payment - under_way


def _is_ready(state: NodeState, key: PublicKey, currency: Currency) -> bool:
    friend = state.friends.get(key)
    return friend is not None and friend.is_ready(currency)


def ready_friends(state: NodeState, currency: Currency) -> tuple[PublicKey, ...]:
    """Friends that can take a request in this currency now, ascending by key."""
    return tuple(sorted(key for key, friend in state.friends.items() if friend.is_ready(currency)))


def _ask(draft: Draft, intent: Intent, amount: int) -> None:
    intent.rounds += 1
    question = Uid(draft.env.random(16))
    _wait(draft, intent, question, draft.env.timers.route_answer_ms)
    draft.effects.append(AskRoutes(_question(intent, question, amount)))


def _question(intent: Intent, question: Uid, amount: int) -> RoutesRequest:
    return RoutesRequest(
        question,
        0,
        intent.invoice.currency,
        amount,
        intent.invoice.dest_public_key,
        None,
        None,
        CREDITS_MAX,
        ROUTE_PARTS_MAX,
        ROUTE_KEYS_ASKED,
        intent.excluded,
        (),
    )


def _wait(draft: Draft, intent: Intent, question: Uid, wait_ms: int) -> None:
    _stop_waiting(draft, intent)
    intent.question = question
    key = QuestionUnanswered(intent.intent_id, question)
    draft.agenda.set(key, draft.env.now_ms + wait_ms)
    if question not in (_UNANSWERED, _BUSY):
        draft.set_question(question, intent.intent_id)


def _stop_waiting(draft: Draft, intent: Intent) -> None:
    if intent.question is not None:
        draft.agenda.drop(QuestionUnanswered(intent.intent_id, intent.question))
        draft.set_question(intent.question, None)
        intent.question = None


def take_routes(draft: Draft, response: RoutesResponse) -> bool:
    """An index server answered; False if the question was not one of a wish to pay."""
    intent_id = draft.state.questions.get(response.request_id)
    if intent_id is None:
        return False
    intent = draft.intent(intent_id)
    _stop_waiting(draft, intent)
    if response.code == RouteCode.BUSY:
        intent.setback = intent.setback or PayFailure.NO_INDEX
        _wait(draft, intent, _BUSY, draft.env.timers.route_busy_ms)
        return True
    plan = _choose(draft, intent, response)
    if plan is None:
        _fail(draft, intent_id, _no_route_reason(intent, response))
    else:
        intent.planned = plan
        _consider(draft, intent)
    return True


def _choose(
    draft: Draft, intent: Intent, response: RoutesResponse
) -> tuple[PlannedPart, ...] | None:
    """The cheapest choice that is honest; a lying server's choices are passed over."""
    if response.code != RouteCode.OK:
        return None
    state, currency = draft.state, intent.invoice.currency
    question = _question(intent, response.request_id, _missing(intent))
    friends = ready_friends(state, currency)
    honest: list[tuple[int, int, RouteChoice]] = []
    for choice in response.choices:
        if check_choice(choice, question, state.local_public_key, friends, CREDITS_MAX) is None:
            fee = sum(part.fee for part in choice.parts)
            honest.append((fee, len(choice.parts), choice))
    if not honest:
        return None
    best = min(honest, key=lambda entry: entry[:2])[2]
    return tuple(PlannedPart(part.keys, part.amount, part.fee) for part in best.parts)


def _no_route_reason(intent: Intent, response: RoutesResponse) -> PayFailure:
    if intent.excluded and intent.setback is not None:
        return intent.setback
    if response.code == RouteCode.UNREACHABLE:
        return PayFailure.SELLER_UNREACHABLE
    return PayFailure.NO_ROUTE


def give_up_question(draft: Draft, key: QuestionUnanswered) -> None:
    """Nobody answered in time, or no friend came online."""
    known = draft.state.intents.get(key.intent_id)
    if known is None or known.question != key.question:
        return
    intent = draft.intent(key.intent_id)
    _stop_waiting(draft, intent)
    is_alone = key.question == _UNANSWERED
    if is_alone and not ready_friends(draft.state, intent.invoice.currency):
        # Either the only way is the seller, who is away, or none of our friends is there.
        seller = draft.state.friends.get(intent.invoice.dest_public_key)
        is_seller_away = seller is not None and not seller.is_online
        reason = PayFailure.SELLER_UNREACHABLE if is_seller_away else PayFailure.OWN_LIMIT
        _fail(draft, key.intent_id, reason)
    elif is_alone or key.question == _BUSY:
        if is_alone and not draft.state.index_servers:
            # Others are there, but nobody who could tell a way to this seller.
            intent.is_direct_tried = True
            intent.setback = intent.setback or PayFailure.SELLER_UNREACHABLE
        _search(draft, key.intent_id)
    else:
        _fail(draft, key.intent_id, PayFailure.NO_INDEX)


def friend_is_back(draft: Draft) -> None:
    """A friend came online: wishes that waited for one go on."""
    waiting = [key for key, it in draft.state.intents.items() if it.question == _UNANSWERED]
    for intent_id in waiting:
        intent = draft.intent(intent_id)
        if ready_friends(draft.state, intent.invoice.currency):
            _stop_waiting(draft, intent)
            _search(draft, intent_id)


# --- sending ------------------------------------------------------------------------------------


def _consider(draft: Draft, intent: Intent) -> None:
    """Judge the fee of a plan: too much, to be confirmed, or fine."""
    fee = intent.fee + sum(part.fee for part in intent.planned)
    if fee > intent.max_fee:
        _fail(draft, intent.intent_id, PayFailure.FEE_ABOVE_LIMIT)
    elif intent.confirm_above is not None and fee > intent.confirm_above:
        intent.stage = PayStage.FEE_TO_CONFIRM
        draft.notify(PayChanged(intent.intent_id))
    else:
        _send(draft, intent)


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
        _exclude(intent, (part.route[0], part.route[1]))
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


def _exclude(intent: Intent, edge: tuple[PublicKey, PublicKey]) -> None:
    if edge not in intent.excluded:
        intent.excluded = (*intent.excluded, edge)[-ROUTE_EXCLUDED_MAX:]


def _learn(intent: Intent, part: PlannedPart) -> None:
    """A part came back and nobody says where from: avoid another of its edges each time.

    The edges behind the first one are tried first: what our own friend can take we know best.
    """
    edges = list(zip(part.route, part.route[1:], strict=False))
    fresh = [edge for edge in (*edges[1:], edges[0]) if edge not in intent.excluded]
    if fresh:
        _exclude(intent, fresh[0])


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
    if intent.stage is PayStage.COMMITTED and news.end is PartEnd.WAY_DIED:
        # The commit is out: what is alive behind the dead channel can still be collected.
        intent.failure = PayFailure.UNKNOWN
    if news.outcome is TransactionOutcome.SUCCESS and intent.stage in _OPEN:
        # Accepted, but the sum has to be called complete as well.
        _watch_part(draft, intent_id, news.request_id)
    elif news.outcome is TransactionOutcome.FAILURE:
        part = intent.parts.pop(news.request_id, None)
        if part is not None and intent.stage in _OPEN:
            _take_setback(intent, part, news.end)
            if not intent.parts or news.end is PartEnd.WAY_DIED:
                # A seller that still holds something under this lock would refuse more of it, and
                # what may be alive behind a dead channel must never complete a sum.
                _withhold(draft, intent)
            _stop_waiting(draft, intent)
            _search(draft, intent_id)
    elif news.outcome is TransactionOutcome.COMPLETE and intent.stage in _OPEN:
        # Only the first time: a seller that calls several parts complete changes nothing.
        intent.stage = PayStage.COMMITTED
        intent.planned = ()
        intent.commit = draft.state.payments[news.payment_id].commit
        _stop_waiting(draft, intent)
        buying.close_payment(draft, news.payment_id)
        draft.notify(PayChanged(intent_id))


def _take_setback(intent: Intent, part: PlannedPart, end: PartEnd) -> None:
    if end is not PartEnd.NEVER_LEFT:
        intent.setback = PayFailure.REFUSED
        if intent.rounds > 0:
            # Before the first question it was the direct try: the index server may know why.
            _learn(intent, part)
    elif intent.rounds > 0:
        # It never got anywhere, so nothing was learnt and the question does not count.
        intent.rounds -= 1
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
    _learn(intent, part)
    intent.attempts += 1
    intent.setback = PayFailure.STUCK
    intent.is_direct_tried = True
    _withhold(draft, intent)
    if intent.attempts >= PAYMENT_ATTEMPTS_MAX:
        _fail(draft, key.intent_id, PayFailure.STUCK)
    else:
        intent.rounds = 0
        _stop_waiting(draft, intent)
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
    if payment_id in draft.state.payments:
        buying.withhold(draft, payment_id)


def _fail(draft: Draft, intent_id: PaymentId, reason: PayFailure) -> None:
    intent = draft.intent(intent_id)
    _stop_waiting(draft, intent)
    intent.planned = ()
    fee = intent.fee
    _withhold(draft, intent)
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
