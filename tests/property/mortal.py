"""Cards that keep their state in a store and can die at any durable write, and wires that can be cut at any message.

    step → (before save) → save → (after save) → first half of the effects → (half sent) → the rest

What leaves is taken from saved state only, as the engine does. `Story` lets people want something until they have it.
"""

from dataclasses import dataclass, field
from enum import Enum

from offset_engine.core.api import (
    Command,
    CommandFault,
    CommitInvoice,
    Pay,
    Rebalance,
    ResetFriendChannel,
)
from offset_engine.core.events import (
    AskRoutes,
    CommandDone,
    Effect,
    Event,
    FriendDirty,
    FriendOffline,
    MessageArrived,
    RoutesArrived,
    Started,
)
from offset_engine.core.messages import FriendMessage, Part, RouteChoice, RoutesResponse
from offset_engine.core.node import outgoing, step
from offset_engine.core.payer import PayStage
from offset_engine.core.report import friend_report
from offset_engine.core.searching import NO_WAY_YET
from offset_engine.core.signing import Invoice
from offset_engine.core.state import NodeState
from offset_engine.core.values import PublicKey
from offset_engine.store import MemoryStore, touched_between
from tests.fakes import Card, Wires, wish
from tests.sim.history import History
from tests.sim.invariants import check_node, i27_persistence


class Point(Enum):
    """Where a node dies."""

    BEFORE_SAVE = "before save"
    AFTER_SAVE = "after save"
    HALF_SENT = "half sent"


class Died(Exception):  # noqa: N818 - it is no error
    """The power went out."""


class AllHonest:
    """Nobody ever breaks a channel, except where a test says so."""

    def __init__(self) -> None:
        self.is_broken = False

    def is_clean(self, node: PublicKey, friend: PublicKey) -> bool:
        return not self.is_broken


class MortalCard(Card):
    """A card on a memory store that dies at one chosen save."""

    def __init__(self, name: str, number: int, history: History) -> None:
        self.store: MemoryStore | None = None
        self.history = history
        self.saves = 0
        self.dies_at: tuple[int, Point] | None = None
        self.wires: Wires | None = None
        super().__init__(name, number)
        self.store = MemoryStore(self.key)
        nothing = NodeState(self.key)
        self.store.save(nothing, self.state, touched_between(nothing, self.state), ())

    def feed(self, *events: Event) -> tuple[Effect, ...]:
        if self.store is None:
            return super().feed(*events)
        old = self.state
        result = step(old, events, self.env)
        self.saves += 1
        dies = self.dies_at[1] if self.dies_at and self.dies_at[0] == self.saves else None
        if dies is Point.BEFORE_SAVE:
            raise Died
        self.store.save(old, result.state, result.touched, result.records)
        self.state = result.state
        self.records += result.records
        check_node(self.state, result.touched.friends)
        self.history.observe(old, events, result)
        if dies is Point.AFTER_SAVE:
            raise Died
        effects = result.effects
        if dies is Point.HALF_SENT:
            effects = effects[: len(effects) // 2]
        for effect in effects:
            self._carry_out(effect)
        if dies is Point.HALF_SENT:
            self._write()
            raise Died
        return effects

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case FriendDirty(friend):
                self.dirty[friend] = None
            case CommandDone():
                self.done.append(effect)
                self.notices += effect.notices
            case AskRoutes(request):
                self.questions.append(request)
            case _:
                pass

    def _write(self) -> None:
        """Let leave what the effects so far allow, as a writer between two effects would."""
        assert self.wires is not None
        for key in self.dirty:
            link = self.wires.up.get((self.key, key))
            if link is not None:
                messages, self.sent[key] = outgoing(self.state, key, self.sent[key])
                self.wires._deliver(self, self.wires.cards[key], link, messages)

    def restart(self) -> None:
        """Come back with what was saved."""
        assert self.store is not None
        self.dies_at = None
        self.store = self.store.crash()
        loaded = self.store.load()
        i27_persistence(self.state, loaded)
        self.state = loaded
        self.sent.clear()
        self.dirty.clear()
        self.questions.clear()
        self.feed(Started())


@dataclass
class Story:
    """People who want something: the buyer pays an invoice, the seller collects, both repair channels."""

    cards: list[MortalCard]
    friendships: list[tuple[MortalCard, MortalCard]]
    wires: Wires
    history: History
    invoice: Invoice
    routes: tuple[Part, ...]
    accepters: dict[tuple[str, str], None] = field(default_factory=dict)
    """(who, about whom): accepts whatever terms the friend offers."""
    wish_number: int = 1

    @property
    def buyer(self) -> MortalCard:
        return self.cards[0]

    @property
    def seller(self) -> MortalCard:
        return self.cards[-1]

    def live(self) -> None:
        """Go on until nobody wants anything any more; whoever dies comes back, lost links are joined."""
        for _ in range(60):
            dying: MortalCard | None = None
            try:
                self.wires.run()
                is_done = not self._want()
                if is_done and not any(card.dirty for card in self.cards) and self._all_joined():
                    return
                self._join()
            except Died:
                dying = next(card for card in self.cards if card.dies_at is not None)
            if dying is not None:
                self._come_back(dying)
        raise AssertionError("people never got what they wanted")

    def _come_back(self, card: MortalCard) -> None:
        for other in self.cards:
            self.wires.cut(card, other)
        card.restart()
        self._join()

    def _all_joined(self) -> bool:
        return all((one.key, other.key) in self.wires.up for one, other in self.friendships)

    def _join(self) -> None:
        for one, other in self.friendships:
            if (one.key, other.key) not in self.wires.up:
                self.wires.connect(one, other)

    def _want(self) -> bool:
        """Let everybody do what he would do now; False if nobody wants anything."""
        wants = self._repair()
        wants |= self._answer_questions()
        wants |= self._pay()
        wants |= self._collect()
        return wants

    def _repair(self) -> bool:
        wants = False
        for card in self.cards:
            for other in self.cards:
                friend = card.state.friends.get(other.key)
                if (card.name, other.name) not in self.accepters or friend is None:
                    continue
                terms = friend_report(friend, card.key).remote_terms
                if terms is not None:
                    wants = True
                    card.do(ResetFriendChannel(other.key, terms.terms_hash))
        return wants

    def _answer_questions(self) -> bool:
        wants = bool(self.buyer.questions)
        for question in self.buyer.questions:
            # The very part that is missing, or everything; never a detour that changes the balances.
            missing = tuple(one for one in self.routes if one.amount == question.amount)
            choices = (RouteChoice(0, missing or self.routes),)
            answer = RoutesResponse(question.request_id, 0, question.amount, 0, choices)
            self.buyer.feed(RoutesArrived(answer))
        self.buyer.questions.clear()
        return wants

    def _pay(self) -> bool:
        intent = self.buyer.state.intents.get(wish(self.wish_number))
        if intent is not None and intent.stage is PayStage.FAILED:
            # Failed is always safe to pay again.
            self.wish_number += 1
            assert self.wish_number < 5
            intent = None
        if intent is not None and intent.question == NO_WAY_YET:
            self.buyer.pass_time(3 * self.buyer.env.timers.route_retry_ms)
        if intent is None:
            if not self._is_agreed():
                return True
            self.buyer.do(self._command())
            return True
        return intent.stage not in {PayStage.PAID, PayStage.COMMITTED}

    def _command(self) -> Command:
        return Pay(wish(self.wish_number), self.invoice, 1_000)

    def _is_agreed(self) -> bool:
        return all(
            one.state.friends[other.key].consistent is not None
            and other.state.friends[one.key].consistent is not None
            for one, other in self.friendships
        )

    def _collect(self) -> bool:
        invoice_id = self.invoice.invoice_id
        closed = self.seller.state.closed_invoices.get(invoice_id)
        intent = self.buyer.state.intents.get(wish(self.wish_number))
        if closed is not None:
            return intent is None or intent.stage is not PayStage.PAID
        if intent is None or intent.commit is None:
            return False
        fault = self.seller.do(CommitInvoice(intent.commit))
        assert fault in (None, CommandFault.INVALID_COMMIT)
        return True

    # --- the end --------------------------------------------------------------------------------

    @property
    def balances(self) -> tuple[int, ...]:
        """Every balance, to be compared with an undisturbed run."""
        return tuple(one.balance(other, self.invoice.currency) for one, other in self.friendships)


class Round(Story):
    """The buyer moves credit round, to the first card and back from the last; nobody else has to collect."""

    def _command(self) -> Command:
        ends = (self.routes[0].keys[1], self.routes[0].keys[-2])
        amount = self.invoice.total_dest_payment
        return Rebalance(wish(self.wish_number), self.invoice.currency, amount, *ends, 1_000)

    def _collect(self) -> bool:
        return False


def cut_at(story: Story, number: int, *, delivers: bool) -> None:
    """Lose the connection at the n-th message from now, before it arrives or right after."""
    seen = 0

    def tap(src: Card, dest: Card, message: FriendMessage) -> FriendMessage | None:
        nonlocal seen
        seen += 1
        if seen != number:
            return message
        if delivers:
            link = story.wires.up[src.key, dest.key]
            dest.feed(MessageArrived(src.key, link, message))
        story.wires.cut(src, dest)
        return None

    story.wires.tap = tap


def vanish_at(story: Story, number: int) -> None:
    """Lose the link at the n-th message for longer than the grace time."""
    seen = 0

    def tap(src: Card, dest: Card, message: FriendMessage) -> FriendMessage | None:
        nonlocal seen
        seen += 1
        if seen != number:
            return message
        story.wires.cut(src, dest)
        src.feed(FriendOffline(dest.key))
        dest.feed(FriendOffline(src.key))
        return None

    story.wires.tap = tap
