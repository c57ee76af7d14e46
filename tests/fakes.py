"""Stand-ins for the world around the core: a hand-moved environment, and friends joined by perfect wires."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddInvoice,
    Batch,
    Command,
    CommandFault,
    CommitInvoice,
    EnableFriend,
    Notice,
    OpenFriendCurrency,
    Pay,
    Record,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
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
    Started,
    Woken,
)
from offset_engine.core.friend import Friend
from offset_engine.core.messages import FriendMessage, RoutesRequest
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.node import SentOnLink, next_deadline_ms, outgoing, step
from offset_engine.core.payer import Intent
from offset_engine.core.signing import Invoice
from offset_engine.core.state import NodeState
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


def new_invoice(
    seller: Card, total: int, number: int = 1, currency: Currency = FST
) -> Invoice:
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
