"""One node: `step(state, events, env)` is everything that can happen to it.

    events ──▶ step ──▶ Step(state, effects, records, touched)
                          1 the engine saves old→new and the records in one transaction
                          2 then it carries out the effects

`step` is total: nothing a friend, a server or the user sends makes it raise. State is a value: `step`
forks what it changes and leaves the state it was given alone. Tokens are built once, after all events.

Source: PROTOCOL.md, "Node"; design R20 to R32.
"""

from typing import assert_never

from offset_engine.core import (
    buying,
    inquiring,
    paying,
    rebalancing,
    selling,
    settings,
    transit,
)
from offset_engine.core.api import (
    AckClosePayment,
    AddFriend,
    AddIndexServer,
    AddInvoice,
    AddRelay,
    Batch,
    CancelInvoice,
    CancelPay,
    CloseFriendCurrency,
    CollectInvoice,
    Command,
    CommandFault,
    CommitInvoice,
    ConfirmFee,
    CreatePayment,
    CreateTransaction,
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    ForgetPay,
    Notice,
    OpenFriendCurrency,
    Pay,
    Rebalance,
    Reconnect,
    RegisterCommit,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveIndexServer,
    RemoveRelay,
    RequestClosePayment,
    RequestRoutes,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.draft import Draft
from offset_engine.core.events import (
    AskRoutes,
    CapacitiesChanged,
    CloseLink,
    CommandDone,
    CommandGiven,
    ConnectionsChanged,
    Effect,
    Event,
    FriendDirty,
    FriendOffline,
    LinkAdopted,
    MessageArrived,
    Notify,
    ReconnectNow,
    RoutesArrived,
    Started,
    Step,
    Touched,
    UnreadableArrived,
    Woken,
)
from offset_engine.core.friend import SentOnLink
from offset_engine.core.friend import outgoing as friend_outgoing
from offset_engine.core.messages import FriendMessage, RoutesResponse
from offset_engine.core.state import (
    Env,
    GroupUnsealed,
    InquiryUnanswered,
    InvoiceExpiry,
    NodeState,
    PartStuck,
    QuestionUnanswered,
)
from offset_engine.core.values import PublicKey

__all__ = [
    "AskRoutes",
    "CapacitiesChanged",
    "CloseLink",
    "CommandDone",
    "CommandGiven",
    "ConnectionsChanged",
    "Effect",
    "Env",
    "Event",
    "FriendDirty",
    "FriendOffline",
    "LinkAdopted",
    "MessageArrived",
    "NodeState",
    "Notify",
    "ReconnectNow",
    "RoutesArrived",
    "SentOnLink",
    "Started",
    "Step",
    "Touched",
    "UnreadableArrived",
    "Woken",
    "next_deadline_ms",
    "outgoing",
    "step",
]


def step(state: NodeState, events: tuple[Event, ...], env: Env) -> Step:
    """Let everything in `events` happen, in order, then build the tokens that can go."""
    draft = Draft(state, env)
    for event in events:
        _handle(draft, event)
        _follow(draft)
    transit.flush(draft)
    # While tokens are built, requests may turn out impossible and currencies open.
    while draft.news or draft.has_new_ways:
        _follow(draft)
        transit.flush(draft)
    return draft.finish()


def _follow(draft: Draft) -> None:
    """Let wishes to pay react to what an event did."""
    paying.take_news(draft)
    if draft.has_new_ways:
        draft.has_new_ways = False
        paying.friend_is_back(draft)


def next_deadline_ms(state: NodeState) -> int | None:
    """When (monotonic ms) to give the node a `Woken`, or None."""
    return state.agenda.next_ms()


def outgoing(
    state: NodeState, key: PublicKey, sent: SentOnLink
) -> tuple[tuple[FriendMessage, ...], SentOnLink]:
    """What to send to a friend on a free link, given what already left on that link.

    Take it from a saved state only.
    """
    friend = state.friends.get(key)
    if friend is None or not friend.is_enabled:
        return (), sent
    return friend_outgoing(friend, state.own_relays, sent)


def _handle(draft: Draft, event: Event) -> None:
    match event:
        case MessageArrived():
            transit.receive(draft, event.friend, event.link_id, event.message)
        case CommandGiven():
            _command(draft, event)
        case LinkAdopted():
            transit.adopt_link(draft, event.friend, event.link_id)
        case FriendOffline():
            transit.go_offline(draft, event.friend)
        case UnreadableArrived():
            transit.receive_unreadable(draft, event.friend, event.link_id)
        case RoutesArrived():
            _take_routes(draft, event.response)
        case Woken():
            _wake(draft)
        case Started():
            for key in tuple(draft.state.friends):
                transit.go_offline(draft, key)
            paying.take_news(draft)
            paying.resume(draft)
            selling.resume(draft)
            draft.mark_settings()
        case _:
            assert_never(event)


def _take_routes(draft: Draft, response: RoutesResponse) -> None:
    """Wishes and programs ask; an answer is for whichever of them asked."""
    if not paying.take_routes(draft, response):
        inquiring.take_routes(draft, response)


def _wake(draft: Draft) -> None:
    if (soonest := draft.state.agenda.next_ms()) is None or soonest > draft.env.now_ms:
        return
    for key in draft.agenda.take_due(draft.env.now_ms):
        match key:
            case PartStuck():
                paying.give_up_part(draft, key)
            case QuestionUnanswered():
                paying.give_up_question(draft, key)
            case GroupUnsealed():
                selling.give_up_group(draft, key)
            case InvoiceExpiry():
                selling.expire(draft, key)
            case InquiryUnanswered(request_id):
                inquiring.give_up(draft, request_id)
            case _:
                assert_never(key)


# --- commands -----------------------------------------------------------------------------------


def _command(draft: Draft, event: CommandGiven) -> None:
    """Carry out one command or a batch; a batch with a fault anywhere changes nothing.

    Every command looks before it changes anything, so a single one needs no draft of its own.
    """
    command = event.command
    commands = command.commands if isinstance(command, Batch) else (command,)
    inner = draft if len(commands) == 1 else Draft(draft.state, draft.env)
    notices: list[Notice] = []
    for one in commands:
        mine: list[Notice] = []
        fault = _carry_out(inner, one, mine)
        paying.take_news(inner)
        if fault is not None:
            # What the commands before it said was undone with them.
            detail = type(one).__name__
            draft.effects.append(CommandDone(event.number, fault, detail, tuple(mine)))
            return
        notices += mine
    if inner is not draft:
        draft.absorb(inner)
    draft.effects.append(CommandDone(event.number, None, "", tuple(notices)))


def _carry_out(  # noqa: C901, PLR0911 - one line for each command
    draft: Draft, command: Command, notices: list[Notice]
) -> CommandFault | None:
    match command:
        case (
            CreatePayment()
            | CreateTransaction()
            | RequestClosePayment()
            | AckClosePayment()
            | RequestRoutes()
        ):
            return _buy(draft, command, notices)
        case Pay():
            return paying.pay(draft, command)
        case Rebalance():
            return rebalancing.rebalance(draft, command)
        case ConfirmFee():
            return paying.confirm_fee(draft, command)
        case CancelPay(payment_id):
            return paying.cancel_pay(draft, payment_id)
        case ForgetPay(payment_id):
            return paying.forget_pay(draft, payment_id)
        case AddInvoice():
            return selling.add_invoice(draft, command)
        case CancelInvoice(invoice_id):
            return selling.cancel_invoice(draft, invoice_id)
        case RegisterCommit(commit):
            return selling.register_commit(draft, commit)
        case CollectInvoice(invoice_id, force):
            return selling.collect_invoice(draft, invoice_id, force=force)
        case CommitInvoice():
            return selling.commit_invoice(draft, command)
        case _:
            return _set(draft, command)


_Buy = CreatePayment | CreateTransaction | RequestClosePayment | AckClosePayment | RequestRoutes
_Set = (
    AddRelay
    | RemoveRelay
    | AddIndexServer
    | RemoveIndexServer
    | AddFriend
    | RemoveFriend
    | EnableFriend
    | DisableFriend
    | SetFriendRelays
    | SetFriendName
    | SetFriendCurrencyRate
    | SetFriendCurrencyMaxDebt
    | OpenFriendCurrency
    | CloseFriendCurrency
    | RemoveFriendCurrency
    | ResetFriendChannel
    | DisputeFriend
    | Reconnect
)


def _buy(draft: Draft, command: _Buy, notices: list[Notice]) -> CommandFault | None:
    match command:
        case CreatePayment():
            return buying.create_payment(draft, command)
        case CreateTransaction():
            return _create_transaction(draft, command, notices)
        case RequestClosePayment(payment_id):
            notices.append(buying.close_payment(draft, payment_id))
            return None
        case AckClosePayment():
            return buying.acknowledge(draft, command)
        case RequestRoutes():
            return inquiring.ask(draft, command)
        case _:
            assert_never(command)


def _create_transaction(
    draft: Draft, command: CreateTransaction, notices: list[Notice]
) -> CommandFault | None:
    """Every attempt gets exactly one result: now if it is refused or known, else when it is answered."""
    fault = buying.create_transaction(draft, command)
    if fault is not None:
        failure = TransactionOutcome.FAILURE
        notices.append(TransactionResult(command.payment_id, command.request_id, failure, None))
        return fault
    result = buying.transaction_result(draft, command.payment_id, command.request_id)
    if result is not None:
        notices.append(result)
    return None


def _set(  # noqa: C901, PLR0911, PLR0912 - one line for each command
    draft: Draft, command: _Set
) -> CommandFault | None:
    match command:
        case AddRelay():
            return settings.add_relay(draft, command)
        case RemoveRelay(key):
            return settings.remove_relay(draft, key)
        case AddIndexServer():
            return settings.add_index_server(draft, command)
        case RemoveIndexServer(key):
            return settings.remove_index_server(draft, key)
        case AddFriend():
            return settings.add_friend(draft, command)
        case RemoveFriend():
            return settings.remove_friend(draft, command)
        case EnableFriend(key):
            return settings.enable_friend(draft, key)
        case DisableFriend(key):
            return settings.disable_friend(draft, key)
        case SetFriendRelays():
            return settings.set_friend_relays(draft, command)
        case SetFriendName():
            return settings.set_friend_name(draft, command)
        case ResetFriendChannel():
            return settings.reset_channel(draft, command)
        case DisputeFriend(key):
            return settings.dispute(draft, key)
        case Reconnect():
            draft.effects.append(ReconnectNow())
            return None
        case _:
            return _set_currency(draft, command)


def _set_currency(
    draft: Draft,
    command: (
        SetFriendCurrencyRate
        | SetFriendCurrencyMaxDebt
        | OpenFriendCurrency
        | CloseFriendCurrency
        | RemoveFriendCurrency
    ),
) -> CommandFault | None:
    match command:
        case SetFriendCurrencyRate():
            return settings.set_rate(draft, command)
        case SetFriendCurrencyMaxDebt():
            return settings.set_max_debt(draft, command)
        case OpenFriendCurrency(key, currency):
            return settings.open_currency(draft, key, currency)
        case CloseFriendCurrency(key, currency):
            return settings.close_currency(draft, key, currency)
        case RemoveFriendCurrency():
            return settings.remove_currency(draft, command)
        case _:
            assert_never(command)
