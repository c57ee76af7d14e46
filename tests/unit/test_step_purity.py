"""`step` is a function: it leaves the state it was given alone, repeats itself exactly, and names all it touched."""

import copy
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from offset_engine.core.api import (
    AckClosePayment,
    AddInvoice,
    AddRelay,
    CancelInvoice,
    CancelPay,
    CloseFriendCurrency,
    CollectInvoice,
    Command,
    CommitInvoice,
    ConfirmFee,
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    ForgetPay,
    OpenFriendCurrency,
    Pay,
    Rebalance,
    Reconnect,
    RegisterCommit,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveIndexServer,
    RemoveRelay,
    RequestRoutes,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendName,
    SetFriendRelays,
)
from offset_engine.core.crypto import sha512_256
from offset_engine.core.events import (
    CommandGiven,
    Effect,
    Event,
    FriendOffline,
    Step,
    UnreadableArrived,
)
from offset_engine.core.friend import Queue
from offset_engine.core.messages import InconsistencyMessage, ResetTerms
from offset_engine.core.node import MessageArrived, step
from offset_engine.core.payer import PayStage
from offset_engine.core.report import friend_report, report
from offset_engine.core.signing import Invoice
from offset_engine.core.state import Agenda, NodeState
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    InvoiceId,
    NamedAddress,
    RelayAddress,
    Signature,
    Timers,
)
from offset_engine.store.interface import touched_between
from offset_engine.store.rows import changes_between
from tests.fakes import (
    FST,
    Card,
    Wires,
    answer_routes,
    befriend,
    new_invoice,
    part,
    start_payment,
    status,
    strand_token,
    transfer,
    uid,
    wish,
    with_index,
)

USD = Currency("USD")


def frozen_copy(thing: object) -> object:
    """Everything a state holds, as nested tuples that share nothing changeable with it."""
    if isinstance(thing, Agenda):
        return ("agenda", tuple(sorted((repr(k), at) for k, at in thing._at.items())))
    if isinstance(thing, Queue):
        return ("queue", thing.first, frozen_copy(thing.items))
    if isinstance(thing, dict):
        return tuple((frozen_copy(key), frozen_copy(one)) for key, one in thing.items())
    if isinstance(thing, list | tuple):
        return tuple(frozen_copy(one) for one in thing)
    if is_dataclass(thing):
        values = tuple(frozen_copy(getattr(thing, one.name)) for one in fields(thing))
        return (type(thing).__name__, values)
    if isinstance(thing, bytes):
        return bytes(thing)
    return copy.copy(thing) if not isinstance(thing, str) else str(thing)


class WatchedCard(Card):
    """A card that checks each of its steps."""

    seen: dict[str, None]
    trace: list[bytes]

    def __init__(self, name: str, number: int) -> None:
        self.seen, self.trace = {}, []
        self.is_watching = True
        super().__init__(name, number)

    def feed(self, *events: Event) -> tuple[Effect, ...]:
        if not self.is_watching:
            return super().feed(*events)
        old = self.state
        before = frozen_copy(old)
        rehearsal = copy.deepcopy(self.env)
        expected = step(old, events, rehearsal)
        assert frozen_copy(old) == before, f"changed by {events}"
        effects = super().feed(*events)
        assert frozen_copy(old) == before, f"changed by {events}"
        assert frozen_copy(self.state) == frozen_copy(expected.state), "not repeatable"
        assert effects == expected.effects
        insist_all_touched(old, expected)
        for event in events:
            self.seen[type(event).__name__] = None
            command = getattr(event, "command", None)
            for one in getattr(command, "commands", ()):
                self.seen[type(one).__name__] = None
        self.trace.append(sha512_256(repr((frozen_copy(self.state), effects)).encode()))
        return effects


def insist_all_touched(old: NodeState, result: Step) -> None:
    """A save that looks only at what the step named writes the same rows as one that looks everywhere."""
    named = changes_between(old, result.state, result.touched)
    full = changes_between(old, result.state, touched_between(old, result.state))
    for kind in ("upserts", "deletes"):
        one, other = getattr(named, kind), getattr(full, kind)
        for table in {**one, **other}:
            assert sorted(map(repr, one.get(table, ()))) == sorted(
                map(repr, other.get(table, ()))
            ), table


def scenario() -> list[WatchedCard]:
    """A bit of everything that can happen to a node."""
    a, m, n, b = cards = [WatchedCard(name, k) for k, name in enumerate("amnb", 1)]
    wires = Wires(*cards)
    for one, other in ((a, m), (a, n), (m, b), (n, b)):
        befriend(one, other)
        wires.connect(one, other)
    wires.run()
    with_index(a)
    _pay_in_parts(wires, (a, m, n, b))
    _rebalance(wires, (a, m, n, b))
    _primitives(wires, (a, m, b))
    _settings(wires, (a, m, b))
    _trouble(wires, (a, m, n, b))
    return cards


def _pay_in_parts(wires: Wires, cards: tuple[WatchedCard, ...]) -> None:
    a, m, n, b = cards
    invoice = new_invoice(b, 10)
    assert a.do(Pay(wish(1), invoice, 5, 0)) is None
    answer_routes(a, (part(a, m, b, amount=6, fee=1), part(a, n, b, amount=4, fee=1)))
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    wires.run()
    commit = a.intent(wish(1)).commit
    assert commit is not None
    assert b.do(RegisterCommit(commit)) is None
    assert b.do(CollectInvoice(invoice.invoice_id)) is None
    wires.run()
    assert a.do(ForgetPay(wish(1))) is None
    assert a.do(Pay(wish(2), new_invoice(b, 5, 2), 5)) is None
    a.pass_time(60_000)
    assert a.do(Pay(wish(3), new_invoice(b, 5, 3), 5), CancelPay(wish(3))) is None
    a.do(RequestRoutes(uid(9), FST, 5, b.key))


def _rebalance(wires: Wires, cards: tuple[WatchedCard, ...]) -> None:
    """Once round, and once in vain; where it failed is remembered, and cleared by a payment."""
    a, m, n, b = cards
    assert a.do(Rebalance(wish(4), FST, 3, m.key, None, 5), Reconnect()) is None
    answer_routes(a, (part(a, m, b, n, a, amount=3),))
    wires.run()
    assert a.intent(wish(4)).stage is PayStage.PAID
    assert b.do(CloseFriendCurrency(n.key, FST)) is None
    assert a.do(Rebalance(wish(5), FST, 3, m.key, None, 5)) is None
    answer_routes(a, (part(a, m, b, n, a, amount=3),))
    wires.run()
    assert a.state.penalties
    assert a.do(CancelPay(wish(5))) is None
    assert b.do(OpenFriendCurrency(n.key, FST)) is None
    assert a.do(Pay(wish(6), new_invoice(b, 3, 6), 0)) is None
    answer_routes(a, code=1)
    answer_routes(a, (part(a, m, b, amount=3),))
    wires.run()
    assert (FST, m.key, b.key) not in a.state.penalties


def _primitives(wires: Wires, cards: tuple[WatchedCard, ...]) -> None:
    a, m, b = cards
    assert transfer(wires, (a, m, b), 3, 10)
    ack = status(a, wish(10)).ack_uid
    assert ack is not None
    assert a.do(AckClosePayment(wish(10), ack)) is None
    assert start_payment(new_invoice(b, 4, 11), (a, m, b), 11) is None
    wires.run()
    assert b.do(CancelInvoice(InvoiceId(b"\x0b" * 32))) is None
    wires.run()
    invoice = Invoice(InvoiceId(b"\x0c" * 32), FST, b.key, 4)
    assert b.do(AddInvoice(invoice, b.env.wall_ms + 1_000)) is None
    assert start_payment(invoice, (a, m, b), 12) is None
    wires.run()
    b.pass_time(10_000_000)
    wires.run()


def _settings(wires: Wires, cards: tuple[WatchedCard, ...]) -> None:
    a, m, b = cards
    relay = NamedAddress(b.key, "a.net:1", "r")
    commands: list[Command] = [
        AddRelay(relay),
        RemoveRelay(relay.public_key),
        SetFriendName(m.key, "new name"),
        SetFriendRelays(m.key, (RelayAddress(b.key, "b.net:2"),)),
        SetFriendCurrencyMaxDebt(m.key, USD, 7),
        CloseFriendCurrency(m.key, USD),
        RemoveFriendCurrency(m.key, USD),
        RemoveIndexServer(a.key),
    ]
    for command in commands:
        assert a.do(command) is None
        wires.run()
    assert a.do(SetFriendName(m.key, "x"), RemoveFriend(m.key)) is not None, "all or nothing"
    assert a.do(DisableFriend(m.key)) is None
    assert a.do(EnableFriend(m.key)) is None
    wires.cut(a, m)
    wires.connect(a, m)
    wires.run()


def _trouble(wires: Wires, cards: tuple[WatchedCard, ...]) -> None:
    a, m, n, b = cards
    strand_token(wires, m, b)
    assert start_payment(new_invoice(b, 4, 20), (a, m, b), 20) is None
    wires.run()
    m.feed(FriendOffline(b.key))
    wires.run()
    wires.connect(m, b)
    wires.run()
    assert start_payment(new_invoice(b, 4, 21), (a, m, b), 21) is None
    wires.run()
    m.feed(UnreadableArrived(b.key, wires.up[m.key, b.key]))
    terms = ResetTerms(Signature(bytes(64)), 1, ((FST, 3),))
    m.feed(MessageArrived(b.key, wires.up[m.key, b.key], InconsistencyMessage(terms)))
    wires.run()
    offered = friend_report(b.friend(m), b.key).remote_terms
    assert offered is not None
    assert b.do(ResetFriendChannel(m.key, offered.terms_hash)) is None
    wires.run()
    assert a.do(DisputeFriend(n.key)) is None
    wires.run()
    assert a.do(RemoveFriend(n.key, force=True)) is None
    for card in (a, m, b):
        wires.restart(card, card.state)
    for one, other in ((a, m), (m, b)):
        wires.connect(one, other)
    wires.run()
    assert transfer(wires, (a, m, b), 1, 30) or m.do(DisputeFriend(b.key)) is None


@pytest.fixture(scope="module")
def cards() -> list[WatchedCard]:
    return scenario()


def test_no_step_changes_the_state_it_was_given_or_forgets_what_it_touched(
    cards: list[WatchedCard],
) -> None:
    seen = {name for card in cards for name in card.seen}
    events = {
        "Started",
        "LinkAdopted",
        "FriendOffline",
        "MessageArrived",
        "UnreadableArrived",
        "CommandGiven",
        "RoutesArrived",
        "Woken",
    }
    assert events <= seen, events - seen
    commands = {one.__name__ for one in Command.__args__}  # type: ignore[attr-defined]
    assert commands <= seen, commands - seen


def test_a_report_changes_nothing(cards: list[WatchedCard]) -> None:
    for card in cards:
        before = frozen_copy(card.state)
        assert report(card.state) == report(card.state)
        assert frozen_copy(card.state) == before


def test_the_same_events_give_the_same_states_whatever_the_hash_seed() -> None:
    """Bytes and strings hash differently in every process; no result may depend on it."""
    script = (
        "from tests.unit.test_step_purity import scenario\n"
        "print([one.hex() for card in scenario() for one in card.trace])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert len(said[0]) > 1_000


def test_several_events_in_one_step_are_the_same_as_one_after_the_other() -> None:
    """Only tokens are built later: commands of one batch of events share one move token."""

    def world() -> tuple[Wires, Card, Card]:
        a, b = Card("a", 1), Card("b", 2)
        wires = Wires(a, b)
        befriend(a, b)
        wires.connect(a, b)
        wires.run()
        return wires, a, b

    invoices = [Invoice(InvoiceId(bytes([n]) * 32), FST, Card("b", 2).key, n) for n in (1, 2, 3)]
    ends = []
    for together in (False, True):
        wires, a, b = world()
        events = [CommandGiven(n, AddInvoice(one)) for n, one in enumerate(invoices)]
        if together:
            b.feed(*events)
        else:
            for event in events:
                b.feed(event)
        events = [CommandGiven(n, Pay(wish(n), one, 0)) for n, one in enumerate(invoices)]
        if together:
            a.feed(*events)
        else:
            for event in events:
                a.feed(event)
        wires.run()
        for n in range(3):
            commit = a.intent(wish(n)).commit
            assert commit is not None
            assert b.do(CommitInvoice(commit)) is None
        wires.run()
        ends.append((a.balance(b), b.balance(a), a.frozen(), len(wires.log) > 0))
    assert ends[0] == ends[1] == (-6, 6, 0, True)


def test_waiting_times_come_from_the_environment_only() -> None:
    a = Card("a", 1)
    a.env.timers = Timers(friend_wait_ms=5)
    invoice = Invoice(InvoiceId(bytes(32)), FST, Card("b", 2).key, 1)
    assert a.do(Pay(wish(1), invoice, 0)) is None
    a.pass_time(4)
    assert a.intent(wish(1)).ended_ms is None
    a.pass_time(1)
    assert a.intent(wish(1)).ended_ms is not None
