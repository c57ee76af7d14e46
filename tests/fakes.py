"""Stand-ins for the world around the core: a hand-moved environment, and friends joined by perfect wires."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddInvoice,
    Batch,
    Command,
    CommandFault,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    Notice,
    OpenFriendCurrency,
    Pay,
    PaymentStatus,
    RequestClosePayment,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.crypto import expand_seed, public_key_of, sign, verify
from offset_engine.core.events import (
    AskRoutes,
    CloseLink,
    CommandDone,
    CommandGiven,
    Effect,
    Event,
    FriendDirty,
    FriendOffline,
    LinkAdopted,
    MessageArrived,
    Notify,
    RoutesArrived,
    Started,
    Woken,
)
from offset_engine.core.friend import Friend
from offset_engine.core.messages import (
    FriendMessage,
    Part,
    RouteChoice,
    RoutesRequest,
    RoutesResponse,
)
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.node import SentOnLink, next_deadline_ms, outgoing, step
from offset_engine.core.payer import Intent, PayStage
from offset_engine.core.reports import Record
from offset_engine.core.signing import Invoice
from offset_engine.core.state import NodeState, derive_outgoing_ids, derive_payers
from offset_engine.core.token_channel import Incoming, Outgoing
from offset_engine.core.values import (
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    Rate,
    Signature,
    Timers,
    Uid,
)

FST = Currency("FST")


@dataclass
class ManualEnv:
    """An environment whose clocks stand still until a test moves them."""

    identity: PrivateKey
    seed: int = 0
    now_ms: int = 1_000
    wall_ms: int = 1_700_000_000_000
    timers: Timers = field(default_factory=Timers)

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.seed}/{self.identity.hex()}")
        self._expanded = expand_seed(self.identity)

    def random(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def sign(self, message: bytes) -> Signature:
        return sign(self._expanded, message)

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool:
        return verify(public_key, message, signature)


class Card:
    """One real core with its environment and everything it said."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.identity = PrivateKey(bytes([number]) * 32)
        self.env = ManualEnv(self.identity)
        self.state = NodeState(public_key_of(self.identity))
        self.sent: dict[PublicKey, SentOnLink] = {}
        self.dirty: dict[PublicKey, None] = {}
        self.notices: list[Notice] = []
        self.records: list[Record] = []
        self.questions: list[RoutesRequest] = []
        self.closed_links: list[PublicKey] = []
        self.done: list[CommandDone] = []
        self._number = 0
        self.feed(Started())

    @property
    def key(self) -> PublicKey:
        return self.state.local_public_key

    def feed(self, *events: Event) -> tuple[Effect, ...]:
        result = step(self.state, events, self.env)
        self.state = result.state
        self.records += result.records
        for effect in result.effects:
            match effect:
                case FriendDirty(friend):
                    self.dirty[friend] = None
                case Notify(notice):
                    self.notices.append(notice)
                case CommandDone():
                    self.done.append(effect)
                    self.notices += effect.notices
                case AskRoutes(request):
                    self.questions.append(request)
                case CloseLink(friend):
                    self.closed_links.append(friend)
                case _:
                    pass
        return result.effects

    def do(self, *commands: Command) -> CommandFault | None:
        """Carry out commands as one batch and return the fault, if any."""
        self._number += 1
        self.feed(CommandGiven(self._number, Batch(commands)))
        return self.done[-1].fault

    def friend(self, other: "Card") -> Friend:
        return self.state.friends[other.key]

    def ledger(self, other: "Card", currency: Currency = FST) -> Ledger:
        channel = self.friend(other).consistent
        assert channel is not None
        return channel.ledgers[currency]

    def balance(self, other: "Card", currency: Currency = FST) -> int:
        return self.ledger(other, currency).balance

    def frozen(self) -> int:
        return sum(
            ledger.local_pending_debt + ledger.remote_pending_debt
            for friend in self.state.friends.values()
            if friend.consistent is not None
            for ledger in friend.consistent.ledgers.values()
        )

    def pass_time(self, ms: int) -> None:
        """Move both clocks and wake the node at every deadline on the way."""
        end = self.env.now_ms + ms
        while (at := next_deadline_ms(self.state)) is not None and at <= end:
            self.env.wall_ms += max(0, at - self.env.now_ms)
            self.env.now_ms = max(at, self.env.now_ms)
            self.feed(Woken())
        self.env.wall_ms += end - self.env.now_ms
        self.env.now_ms = end

    def intent(self, payment_id: PaymentId) -> Intent:
        return self.state.intents[payment_id]


Tap = Callable[[Card, Card, FriendMessage], FriendMessage | None]


class Wires:
    """Perfect wires between cards: every message passes through the real codec, in order."""

    def __init__(self, *cards: Card) -> None:
        self.cards = {card.key: card for card in cards}
        self._link = 0
        self.up: dict[tuple[PublicKey, PublicKey], int] = {}
        self.log: list[tuple[str, str, FriendMessage]] = []
        self.tap: Tap | None = None

    def connect(self, a: Card, b: Card) -> None:
        self._link += 1
        for one, other in ((a, b), (b, a)):
            self.up[one.key, other.key] = self._link
            one.sent[other.key] = SentOnLink()
            one.feed(LinkAdopted(other.key, self._link))

    def cut(self, a: Card, b: Card) -> None:
        """Lose the connection; both sides notice at once, nobody counts as offline yet."""
        self.up.pop((a.key, b.key), None)
        self.up.pop((b.key, a.key), None)

    def offline(self, a: Card, b: Card) -> None:
        self.cut(a, b)
        a.feed(FriendOffline(b.key))
        b.feed(FriendOffline(a.key))

    def restart(self, card: Card, state: NodeState) -> None:
        """Put a loaded state in place, as after a crash."""
        for other in self.cards.values():
            self.cut(card, other)
        card.state = state
        card.sent.clear()
        card.dirty.clear()
        card.feed(Started())

    def deliver_one(self) -> bool:
        """Deliver what one card has to say to one friend; False when all is quiet."""
        for card in self.cards.values():
            for key in list(card.dirty):
                link = self.up.get((card.key, key))
                del card.dirty[key]
                if link is None:
                    continue
                messages, card.sent[key] = outgoing(card.state, key, card.sent[key])
                if messages:
                    self._deliver(card, self.cards[key], link, messages)
                    return True
        return False

    def _deliver(
        self, src: Card, dest: Card, link: int, messages: tuple[FriendMessage, ...]
    ) -> None:
        for message in messages:
            self.log.append((src.name, dest.name, message))
            through = message if self.tap is None else self.tap(src, dest, message)
            if through is None or self.up.get((src.key, dest.key)) != link:
                continue
            decoded = decode_friend_message(encode_friend_message(through))
            assert decoded == through
            dest.feed(MessageArrived(src.key, link, through))

    def run(self, limit: int = 10_000) -> int:
        """Deliver until all is quiet; returns how many times something was delivered."""
        count = 0
        while self.deliver_one():
            count += 1
            assert count < limit, "the cards never stop talking"
        return count


def befriend(
    a: Card,
    b: Card,
    limits: tuple[int, int] = (100, 100),
    currencies: tuple[Currency, ...] = (FST,),
    rates: tuple[Rate, Rate] = (Rate(), Rate()),
) -> None:
    """Make two cards friends; `limits` = (what a grants b, what b grants a), rates likewise."""
    for one, other, limit, rate in ((a, b, limits[0], rates[0]), (b, a, limits[1], rates[1])):
        fault = one.do(AddFriend(other.key, (), other.name), EnableFriend(other.key))
        assert fault is None
        for currency in currencies:
            fault = one.do(
                SetFriendCurrencyMaxDebt(other.key, currency, limit),
                SetFriendCurrencyRate(other.key, currency, rate),
                OpenFriendCurrency(other.key, currency),
            )
            assert fault is None


def new_invoice(seller: Card, total: int, number: int = 1, currency: Currency = FST) -> Invoice:
    """Open an invoice at the seller."""
    invoice = Invoice(InvoiceId(bytes([number]) * 32), currency, seller.key, total)
    assert seller.do(AddInvoice(invoice)) is None
    return invoice


def wish(number: int) -> PaymentId:
    return PaymentId(bytes([number]) * 16)


def uid(number: int) -> Uid:
    return Uid(bytes([number]) * 16)


def pay_and_collect(
    wires: Wires, buyer: Card, seller: Card, invoice: Invoice, number: int, max_fee: int = 1_000
) -> Intent:
    """Pay, hand the commit over, collect; returns the finished wish."""
    assert buyer.do(Pay(wish(number), invoice, max_fee)) is None
    wires.run()
    commit = buyer.intent(wish(number)).commit
    if commit is not None:
        assert seller.do(CommitInvoice(commit)) is None
        wires.run()
    return buyer.intent(wish(number))


def with_index(card: Card) -> None:
    """Give a card an index server, so that it asks for routes."""
    server = NamedAddress(card.key, "127.0.0.1:1", "index")
    assert card.do(AddIndexServer(server)) is None


# --- scenes -------------------------------------------------------------------------------------


def chain(
    *names: str,
    limits: tuple[int, int] = (100, 100),
    charges: Mapping[str, Rate] | None = None,
    currency: Currency = FST,
) -> tuple[Wires, list[Card]]:
    """Cards in a row, each a friend of the next, online and quiet.

    `limits` = (what each grants the next, what each grants the one before); `charges` = what a
    mediator takes for requests that arrive from the one before it.
    """
    cards = [Card(name, number) for number, name in enumerate(names, 1)]
    wires = Wires(*cards)
    for before, after in pairwise(cards):
        rate = (charges or {}).get(after.name, Rate())
        befriend(before, after, limits, (currency,), (Rate(), rate))
        wires.connect(before, after)
    wires.run()
    return wires, cards


def diamond(limits: tuple[int, int] = (100, 100)) -> tuple[Wires, list[Card]]:
    """Two ways from a to b: over m, and over n; returned as a, m, n, b."""
    a, m, n, b = cards = [Card(name, number) for number, name in enumerate("amnb", 1)]
    wires = Wires(*cards)
    for one, other in ((a, m), (a, n), (m, b), (n, b)):
        befriend(one, other, limits)
        wires.connect(one, other)
    wires.run()
    return wires, cards


def reloaded(state: NodeState) -> NodeState:
    """The same state as after saving, a crash and loading: live parts forgotten, derived ones new."""
    friends = {key: friend.fork() for key, friend in state.friends.items()}
    for friend in friends.values():
        friend.link_id, friend.is_online = None, False
        friend.wants_token, friend.unreadable_ms = False, None
    intents = {key: intent.fork() for key, intent in state.intents.items()}
    for intent in intents.values():
        intent.question, intent.is_direct_tried = None, False
        intent.misses, intent.avoided = 0, ()
        intent.is_bold = intent.wants_other_server = False
    return NodeState(
        state.local_public_key,
        state.relays,
        state.index_servers,
        friends,
        {key: payment.fork() for key, payment in state.payments.items()},
        intents,
        {key: invoice.fork() for key, invoice in state.invoices.items()},
        dict(state.closed_invoices),
        dict(state.penalties),
        derive_outgoing_ids(friends.values()),
        payers=derive_payers(intents.values(), state.payments),
    )


def strand_token(wires: Wires, holder: Card, other: Card) -> None:
    """Lose the connection unnoticed and leave the token with `other`: what `holder` sends now waits."""
    wires.cut(holder, other)
    channel = holder.friend(other).consistent
    assert channel is not None
    if isinstance(channel.direction, Incoming):
        assert holder.do(SetFriendCurrencyRate(other.key, Currency("STRAND"), Rate())) is None
    channel = holder.friend(other).consistent
    assert channel is not None
    assert isinstance(channel.direction, Outgoing)


def give_token(wires: Wires, src: Card, dest: Card) -> None:
    """Let `src` say something and nothing more, so that `dest` owns the token."""
    news = SetFriendCurrencyRate(dest.key, Currency("NEWS" + src.name), Rate())
    assert src.do(news) is None
    wires.run()
    channel = dest.friend(src).consistent
    assert channel is not None
    assert isinstance(channel.direction, Incoming)


def assert_mirrored(one: Card, other: Card) -> None:
    """Both ends of a quiet friendship hold the same numbers and the same pending requests."""
    mine, theirs = one.friend(other).consistent, other.friend(one).consistent
    assert mine is not None
    assert theirs is not None
    assert mine.ledgers.keys() == theirs.ledgers.keys()
    for currency, ledger in mine.ledgers.items():
        mirror = theirs.ledgers[currency]
        assert ledger.info == mirror.info.flipped
        for sent, received in ((ledger.local, mirror.remote), (mirror.local, ledger.remote)):
            assert {key: (it.request, it.response) for key, it in sent.items()} == {
                key: (it.request, it.response) for key, it in received.items()
            }


def assert_settled(*cards: Card) -> None:
    """Nothing is frozen or queued anywhere, and all balances sum up to zero."""
    total = 0
    for card in cards:
        assert card.frozen() == 0, card.name
        assert not card.state.outgoing_ids
        for friend in card.state.friends.values():
            assert not friend.backwards.items
            assert not friend.forwarded.items
            assert not friend.own.items
            channel = friend.consistent
            assert channel is not None
            total += sum(ledger.balance for ledger in channel.ledgers.values())
    assert total == 0


# --- routes -------------------------------------------------------------------------------------


def part(*cards: Card, amount: int, fee: int = 0) -> Part:
    """One route of an index server's answer."""
    return Part(tuple(card.key for card in cards), amount, fee, amount + fee)


def answer_routes(card: Card, *choices: tuple[Part, ...], code: int = 0) -> None:
    """Answer the newest route question of a card."""
    question = card.questions[-1]
    offered = tuple(RouteChoice(0, parts) for parts in choices)
    card.feed(RoutesArrived(RoutesResponse(question.request_id, code, 0, 0, offered)))


def find_no_way(card: Card, *, code: int = 1) -> None:
    """Answer every question of a card with "no way", until its wishes give up."""
    count = -1
    while len(card.questions) != count:
        count = len(card.questions)
        answer_routes(card, code=code)
        card.pass_time(count * card.env.timers.route_retry_ms)


def pay_over(
    wires: Wires,
    invoice: Invoice,
    number: int,
    *parts: Part,
    max_fee: int = 1_000_000,
) -> Intent:
    """Pay an invoice over these routes, as if an index server had named them; delivers everything."""
    buyer = wires.cards[parts[0].keys[0]]
    if not buyer.state.index_servers:
        with_index(buyer)
    assert buyer.do(Pay(wish(number), invoice, max_fee)) is None
    if buyer.intent(wish(number)).stage is PayStage.SEARCHING:
        answer_routes(buyer, parts)
    wires.run()
    return buyer.intent(wish(number))


# --- the primitives, as programs of the original's kind use them ----------------------------------


def open_payment(buyer: Card, invoice: Invoice, number: int) -> PaymentId:
    """CreatePayment for an invoice."""
    fault = buyer.do(
        CreatePayment(
            wish(number),
            invoice.invoice_id,
            invoice.currency,
            invoice.total_dest_payment,
            invoice.dest_public_key,
        )
    )
    assert fault is None
    return wish(number)


def send_over(
    payment_id: PaymentId, number: int, route: tuple[Card, ...], amount: int, fees: int = 0
) -> CommandFault | None:
    """CreateTransaction at the first card of the route."""
    keys = tuple(card.key for card in route)
    return route[0].do(CreateTransaction(payment_id, uid(number), keys, amount, fees))


def outcomes(card: Card, number: int) -> list[TransactionOutcome]:
    """Every result the card reported for one transaction, in order."""
    return [
        notice.outcome
        for notice in card.notices
        if isinstance(notice, TransactionResult) and notice.request_id == uid(number)
    ]


def status(card: Card, payment_id: PaymentId) -> PaymentStatus:
    """RequestClosePayment: take no more transactions and say how the payment stands."""
    assert card.do(RequestClosePayment(payment_id)) is None
    answer = card.done[-1].notices[-1]
    assert isinstance(answer, PaymentStatus)
    return answer


# --- payments by hand ---------------------------------------------------------------------------


def start_payment(
    invoice: Invoice, route: tuple[Card, ...], number: int, fees: int = 0
) -> CommandFault | None:
    """Open payment `number` and send all of the invoice over one route, buyer and seller included."""
    payment_id = open_payment(route[0], invoice, number)
    return send_over(payment_id, number, route, invoice.total_dest_payment, fees)


def transfer(
    wires: Wires, route: tuple[Card, ...], amount: int, number: int, fees: int = 0
) -> bool:
    """A whole payment over one route, committed and collected; False if it was refused."""
    buyer, seller = route[0], route[-1]
    invoice = new_invoice(seller, amount, number)
    if start_payment(invoice, route, number, fees) is not None:
        return False
    wires.run()
    commit = status(buyer, wish(number)).commit
    if commit is None:
        return False
    fault = seller.do(CommitInvoice(commit))
    wires.run()
    return fault is None
