"""Two friends, and three in a line, under random commands, lost links, repeated messages and restarts.

After every rule: I1–I5, I10, I15, I16, I18–I20 (functions of `tests.sim`); at the end everything comes to rest,
balances sum up to nothing, and nothing stays frozen once every invoice is over.
"""

from collections import deque
from typing import ClassVar

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from offset_engine.core.api import (
    CancelInvoice,
    CloseFriendCurrency,
    Command,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriendCurrency,
    RequestClosePayment,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_engine.core.events import Event, FriendOffline, LinkAdopted, MessageArrived, Woken
from offset_engine.core.friend import SentOnLink
from offset_engine.core.messages import FriendMessage
from offset_engine.core.node import outgoing
from offset_engine.core.report import friend_report
from offset_engine.core.signing import Invoice
from offset_engine.core.token_channel import Inconsistent
from offset_engine.core.values import Currency, PublicKey, Rate
from tests.fakes import FST, Card, Wires, befriend, new_invoice, uid, wish
from tests.property.mortal import AllHonest, MortalCard
from tests.sim.history import History
from tests.sim.invariants import (
    check_node,
    i01_agreement,
    i01_mirror,
    i06_conservation,
    i15_token,
    i26_codec,
    insist,
)

USD = Currency("USD")
PAYMENTS_MAX = 60


class Lane:
    """One direction of a connection: messages on their way, in order."""

    def __init__(self, src: MortalCard, dest: MortalCard) -> None:
        self.src, self.dest = src, dest
        self.link: int | None = None
        self.sent = SentOnLink()
        self.flying: deque[FriendMessage] = deque()
        self.last: FriendMessage | None = None
        """The last one that arrived on this connection."""

    def join(self, link: int) -> None:
        self.link, self.sent, self.last = link, SentOnLink(), None
        self.flying.clear()

    def cut(self) -> None:
        self.link, self.last = None, None
        self.flying.clear()


class Friends(RuleBasedStateMachine):
    """Cards in a line; subclasses say how many."""

    names: ClassVar[str] = "ab"

    def __init__(self) -> None:
        super().__init__()
        self.circle = AllHonest()
        self.history = History(self.circle)
        self.cards = [MortalCard(name, n, self.history) for n, name in enumerate(self.names, 1)]
        self.pairs = list(zip(self.cards, self.cards[1:], strict=False))
        wires = Wires(*self.cards)
        for one, other in self.pairs:
            befriend(one, other, rates=(Rate(0, 1), Rate(1 << 29, 0)))
            wires.connect(one, other)
        wires.run()
        self.lanes = {
            (src.key, dest.key): Lane(src, dest)
            for pair in self.pairs
            for src, dest in (pair, pair[::-1])
        }
        self.links = 1_000
        self.invoices: list[tuple[Card, Card, Invoice]] = []
        """Payment n is that of `invoices[n - 1]`: (buyer, seller, invoice)."""
        self.parts = 0
        for pair in self.pairs:
            self._connect(*pair)

    # --- links ------------------------------------------------------------------------------------

    def _connect(self, one: MortalCard, other: MortalCard) -> None:
        self.links += 1
        for src, dest in ((one, other), (other, one)):
            self.lanes[src.key, dest.key].join(self.links)
            src.feed(LinkAdopted(dest.key, self.links))

    def _cut(self, one: MortalCard, other: MortalCard) -> None:
        for src, dest in ((one, other), (other, one)):
            self.lanes[src.key, dest.key].cut()

    def _lane(self, number: int) -> Lane:
        lanes = list(self.lanes.values())
        return lanes[number % len(lanes)]

    def _card(self, number: int) -> MortalCard:
        return self.cards[number % len(self.cards)]

    def _write(self, lane: Lane) -> bool:
        if lane.link is None:
            return False
        messages, lane.sent = outgoing(lane.src.state, lane.dest.key, lane.sent)
        for message in messages:
            self.history.i16_no_equivocation(lane.src.key, lane.dest.key, message)
            i26_codec(message)
        lane.flying.extend(messages)
        return bool(messages)

    def _deliver(self, lane: Lane) -> bool:
        if lane.link is None or not lane.flying:
            return False
        lane.last = lane.flying.popleft()
        lane.dest.feed(MessageArrived(lane.src.key, lane.link, lane.last))
        return True

    @rule(number=st.integers(0, 3))
    def write(self, number: int) -> None:
        self._write(self._lane(number))

    @rule(number=st.integers(0, 3))
    def deliver(self, number: int) -> None:
        self._deliver(self._lane(number))

    @rule(number=st.integers(0, 2), deadline=st.booleans())
    def deliver_together(self, number: int, deadline: bool) -> None:
        """Everything on its way to one card arrives in a single step."""
        card = self._card(number)
        events: list[Event] = [Woken()] if deadline else []
        for lane in self.lanes.values():
            if lane.dest is card and lane.link is not None:
                self._write(lane)
                events += [MessageArrived(lane.src.key, lane.link, one) for one in lane.flying]
                lane.last = lane.flying[-1] if lane.flying else lane.last
                lane.flying.clear()
        card.feed(*events)

    @rule(rounds=st.integers(1, 30))
    def talk(self, rounds: int) -> None:
        """Some ordinary conversation."""
        for _ in range(rounds):
            moved = False
            for lane in self.lanes.values():
                moved |= self._write(lane)
                moved |= self._deliver(lane)
            if not moved:
                return

    @rule()
    def meet(self) -> None:
        """Whoever lost each other meets again, and makes up."""
        for one, other in self.pairs:
            self._meet(one, other)
            lane = self.lanes[one.key, other.key]
            if isinstance(one.state.friends[other.key].channel, Inconsistent):
                self.talk(3)
                self._accept(lane)
                self.talk(3)

    def _meet(self, one: MortalCard, other: MortalCard) -> None:
        is_wanted = self._may_talk(one, other) and self._may_talk(other, one)
        if is_wanted and self.lanes[one.key, other.key].link is None:
            self._connect(one, other)

    @rule(number=st.integers(0, 3))
    def repeat(self, number: int) -> None:
        """I18: the last message once more."""
        lane = self._lane(number)
        if lane.last is not None and lane.link is not None:
            owed = [card.frozen() for card in self.cards]
            lane.dest.feed(MessageArrived(lane.src.key, lane.link, lane.last))
            assert [card.frozen() for card in self.cards] == owed

    @rule(number=st.integers(0, 1), how=st.sampled_from(["again", "again", "cut", "long"]))
    def lose(self, number: int, how: str) -> None:
        """A connection breaks: replaced at once, for a while, or longer than the grace time."""
        one, other = self.pairs[number % len(self.pairs)]
        self._cut(one, other)
        if how == "again":
            self._meet(one, other)
        elif how == "long":
            one.feed(FriendOffline(other.key))
            other.feed(FriendOffline(one.key))

    def _may_talk(self, src: Card, dest: Card) -> bool:
        friend = src.state.friends.get(dest.key)
        return friend is not None and friend.is_enabled

    @rule(number=st.integers(0, 2))
    def restart(self, number: int) -> None:
        card = self._card(number)
        for pair in self.pairs:
            if card in pair:
                self._cut(*pair)
        card.restart()
        for pair in self.pairs:
            if card in pair:
                self._meet(*pair)

    @rule(number=st.integers(0, 2), ms=st.sampled_from([1_000, 20_000, 90_000]))
    def pass_time(self, number: int, ms: int) -> None:
        self._card(number).pass_time(ms)

    # --- payments ---------------------------------------------------------------------------------

    @rule(
        backwards=st.booleans(),
        length=st.integers(2, 3),
        total=st.one_of(st.integers(1, 60), st.just(100)),
        share=st.sampled_from([1, 1, 1, 2, 3]),
        fees=st.integers(5, 14),
        currency=st.sampled_from([FST, FST, FST, FST, USD]),
        rounds=st.integers(0, 12),
    )
    @precondition(lambda self: len(self.invoices) < PAYMENTS_MAX)
    def pay(  # noqa: PLR0917
        self,
        backwards: bool,
        length: int,
        total: int,
        share: int,
        fees: int,
        currency: Currency,
        rounds: int,
    ) -> None:
        """Open an invoice and a payment for it, and send all of it or a part."""
        line = self.cards[::-1] if backwards else self.cards
        line = line[: min(length, len(line))]
        buyer, seller = line[0], line[-1]
        number = len(self.invoices) + 1
        invoice = new_invoice(seller, total, number, currency)
        assert buyer.do(_open(number, invoice)) is None
        self.invoices.append((buyer, seller, invoice))
        self.meet()
        self._send(number, -(-total // share), fees)
        self.talk(rounds)

    def _send(self, number: int, amount: int, fees: int) -> None:
        buyer, seller, _ = self.invoices[number - 1]
        self.parts += 1
        route = self._route(buyer, seller)
        buyer.do(CreateTransaction(wish(number), uid(self.parts), route, amount, fees))

    @rule(number=st.integers(0, 3), fees=st.integers(0, 14), rounds=st.integers(0, 12))
    @precondition(lambda self: self.invoices and self.parts < 250)
    def send_rest(self, number: int, fees: int, rounds: int) -> None:
        """Send what is missing of a payment, newest first."""
        number = len(self.invoices) - number % len(self.invoices)
        buyer, _, invoice = self.invoices[number - 1]
        payment = buyer.state.payments.get(wish(number))
        self._send(number, invoice.total_dest_payment - (payment.sum if payment else 0), fees)
        self.talk(rounds)

    def _route(self, buyer: Card, seller: Card) -> tuple[PublicKey, ...]:
        one, other = self.cards.index(buyer), self.cards.index(seller)  # type: ignore[arg-type]
        step = 1 if other > one else -1
        return tuple(self.cards[n].key for n in range(one, other + step, step))

    @rule(number=st.integers(0, PAYMENTS_MAX))
    @precondition(lambda self: self.invoices)
    def commit(self, number: int) -> None:
        """The buyer hands over what it has, and the seller collects; either may come too late."""
        number = len(self.invoices) - number % len(self.invoices)
        buyer, seller, _ = self.invoices[number - 1]
        payment = buyer.state.payments.get(wish(number))
        if payment is not None and not payment.transactions:
            return
        assert buyer.do(RequestClosePayment(wish(number))) is None
        payment = buyer.state.payments.get(wish(number))
        if payment is not None and payment.commit is not None:
            seller.do(CommitInvoice(payment.commit))

    @rule(number=st.integers(0, PAYMENTS_MAX))
    @precondition(lambda self: self.invoices)
    def cancel_invoice(self, number: int) -> None:
        _, seller, invoice = self.invoices[number % len(self.invoices)]
        seller.do(CancelInvoice(invoice.invoice_id))

    # --- settings ---------------------------------------------------------------------------------

    @rule(
        number=st.integers(0, 3),
        what=st.sampled_from(["limit", "rate", "open", "open", "close", "add", "remove"]),
        amount=st.sampled_from([1_000, 100, 200, 10, 0]),
        currency=st.sampled_from([FST, USD]),
    )
    def decide(self, number: int, what: str, amount: int, currency: Currency) -> None:
        lane = self._lane(number)
        key = lane.dest.key
        decisions: dict[str, tuple[Command, ...]] = {
            "limit": (SetFriendCurrencyMaxDebt(key, currency, amount),),
            "rate": (SetFriendCurrencyRate(key, currency, Rate(0, amount % 7)),),
            "open": (OpenFriendCurrency(key, currency),),
            "close": (CloseFriendCurrency(key, currency),),
            "add": (SetFriendCurrencyMaxDebt(key, USD, 100), OpenFriendCurrency(key, USD)),
            "remove": (RemoveFriendCurrency(key, currency),),
        }
        lane.src.do(*decisions[what])

    @rule(
        number=st.integers(0, 3),
        how=st.sampled_from(["dispute", "dispute", "accept", "enable", "disable"]),
    )
    def upset(self, number: int, how: str) -> None:
        """Somebody wants no more of a friend, or makes up with it."""
        lane = self._lane(number)
        key = lane.dest.key
        match how:
            case "disable":
                self._cut(lane.src, lane.dest)
                lane.src.do(DisableFriend(key))
            case "enable":
                lane.src.do(EnableFriend(key))
            case "dispute":
                self.circle.is_broken = True
                lane.src.do(DisputeFriend(key))
            case _:
                self._accept(lane)

    def _accept(self, lane: Lane) -> None:
        friend = lane.src.state.friends[lane.dest.key]
        terms = friend_report(friend, lane.src.key).remote_terms
        if terms is not None and terms.is_acceptable:
            lane.src.do(ResetFriendChannel(lane.dest.key, terms.terms_hash))

    # --- what must hold ---------------------------------------------------------------------------

    @invariant()
    def every_node_is_sound(self) -> None:
        for card in self.cards:
            check_node(card.state, tuple(card.state.friends))

    @invariant()
    def both_ends_agree(self) -> None:
        for one, other in self.pairs:
            ours = one.state.friends[other.key].consistent
            theirs = other.state.friends[one.key].consistent
            if ours is None or theirs is None:
                continue
            if ours.inconsistency_counter == theirs.inconsistency_counter:
                i15_token(ours, theirs)
                i01_agreement(ours, theirs)

    # --- the end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Everybody comes back, disagreements are settled, invoices end: nothing stays frozen."""
        for one, other in self.pairs:
            self._cut(one, other)
            for src, dest in ((one, other), (other, one)):
                src.do(EnableFriend(dest.key))
            self._connect(one, other)
        self._settle()
        for _, seller, invoice in self.invoices:
            seller.do(CancelInvoice(invoice.invoice_id))
        self._settle()
        for card in self.cards:
            assert card.frozen() == 0, card.name
            for payment in card.state.payments.values():
                assert not payment.transactions
        i06_conservation(card.state for card in self.cards)
        for one, other in self.pairs:
            ours, theirs = one.friend(other).consistent, other.friend(one).consistent
            assert ours is not None
            assert theirs is not None
            assert ours.ledgers.keys() == theirs.ledgers.keys()
            for currency, ledger in ours.ledgers.items():
                i01_mirror(ledger, theirs.ledgers[currency], currency)

    def _settle(self) -> None:
        for _ in range(6):
            self._talk_until_quiet()
            broken = [
                lane
                for lane in self.lanes.values()
                if isinstance(lane.src.state.friends[lane.dest.key].channel, Inconsistent)
            ]
            if not broken:
                return
            self._accept(broken[0])
        raise AssertionError("the friends cannot agree any more")

    def _talk_until_quiet(self) -> None:
        for _ in range(200):
            moved = False
            for lane in self.lanes.values():
                moved |= self._write(lane)
                while self._deliver(lane):
                    moved = True
            if not moved:
                return
        insist(False, "I9 the friends never stop talking")


def _open(number: int, invoice: Invoice) -> CreatePayment:
    return CreatePayment(
        wish(number),
        invoice.invoice_id,
        invoice.currency,
        invoice.total_dest_payment,
        invoice.dest_public_key,
    )


class Line(Friends):
    """Three cards in a line: one mediates."""

    names: ClassVar[str] = "amb"


TestTwoFriends = Friends.TestCase
TestTwoFriends.settings = settings(stateful_step_count=40)
TestThreeInALine = Line.TestCase
TestThreeInALine.settings = settings(stateful_step_count=50)
