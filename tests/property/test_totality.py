"""Whatever arrives, `step` gives a next state that can be stored: random bytes, messages, answers and commands (PT81).

Values are well typed but otherwise wild: every boundary of every range, known ids and keys, text of any kind.
"""

import dataclasses
import types
import typing
from enum import Enum
from functools import cache

import hypothesis.strategies as st
from hypothesis import given, settings

from offset_engine.core.api import AddIndexServer, Batch, Command
from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.events import (
    CommandGiven,
    Event,
    FriendOffline,
    LinkAdopted,
    MessageArrived,
    RoutesArrived,
    Started,
    UnreadableArrived,
    Woken,
)
from offset_engine.core.friend import SentOnLink
from offset_engine.core.messages import (
    CancelOp,
    CollectOp,
    CurrencyOperations,
    FriendMessage,
    MoveTokenMessage,
    Operation,
    RequestOp,
    ResponseOp,
    RoutesResponse,
    cancel_op,
    collect_op,
    request_op,
)
from offset_engine.core.node import next_deadline_ms, outgoing, step
from offset_engine.core.report import pay_report, pending, report
from offset_engine.core.routing import edges
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Incoming
from offset_engine.core.values import (
    CREDITS_MAX,
    U32_MAX,
    U64_MAX,
    U128_MAX,
    Currency,
    FixedBytes,
    InvoiceId,
    NamedAddress,
    PublicKey,
    Uid,
)
from offset_engine.errors import DecodeError
from offset_engine.store import MemoryStore, touched_between
from tests import strategies
from tests.covers import covers
from tests.fakes import FST, Card, Wires, befriend, new_invoice, start_payment, transfer
from tests.fakes_hostile import SECRET, ScriptedFriend, ask
from tests.sim.invariants import check_node, i27_persistence

USD = Currency("USD")
_M, _H, _FOE = Card("m", 1), Card("h", 2), 11
KEYS = (_M.key, _H.key, ScriptedFriend("foe", _FOE, Card("x", 99)).key, Card("z", _FOE + 1).key)

# --- wild values ------------------------------------------------------------------------------------

_BORDERS = (0, 1, 2, 10, 100, U32_MAX, 2**63 - 1, 2**63, U64_MAX, CREDITS_MAX, U128_MAX)
numbers = st.one_of(
    st.sampled_from([*_BORDERS, *(n + 1 for n in _BORDERS), *(-n for n in _BORDERS)]),
    st.integers(0, 120),
    st.integers(),
)
texts = st.one_of(
    st.sampled_from(["", "a.net:1", "127.0.0.1:80", "\ud800", "x" * 129, "ü" * 70, "a.net:99999"]),
    st.text(max_size=20),
)
currencies = st.sampled_from([FST, FST, USD, Currency("~"), Currency("A" * 16)])
keys = st.one_of(st.sampled_from(KEYS), st.sampled_from([PublicKey(bytes(32))]))


@cache
def of(hint: object) -> st.SearchStrategy[typing.Any]:
    """Wild values of a type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(of, arguments))
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return st.lists(of(arguments[0]), max_size=4).map(tuple)
        return st.tuples(*map(of, arguments))
    if not isinstance(hint, type):
        raise TypeError(hint)
    simple: dict[object, st.SearchStrategy[typing.Any]] = {
        int: numbers,
        bool: st.booleans(),
        str: texts,
        type(None): st.none(),
        Currency: currencies,
        PublicKey: keys,
        RoutesResponse: strategies.routes_responses,
    }
    if hint in simple:
        return simple[hint]
    if issubclass(hint, FixedBytes):
        # Few of them, so that commands meet what messages and other commands made.
        return st.integers(0, 5).map(lambda n: hint(bytes([n]) * hint.SIZE))
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    hints = typing.get_type_hints(hint)
    return st.builds(hint, **{one.name: of(hints[one.name]) for one in dataclasses.fields(hint)})


commands = of(Command)
operations = st.one_of(
    st.builds(
        request_op,
        of(Uid),
        st.just(ask(1, 1).src_hashed_lock),
        st.lists(keys, max_size=3).map(tuple),
        st.tuples(*(st.one_of(st.integers(0, 20), strategies.any_u128),) * 3),
        of(InvoiceId),
    ),
    st.builds(cancel_op, of(Uid)),
    st.builds(collect_op, of(Uid), st.just(SECRET), st.just(SECRET)),
    strategies.operations,
)
batches = st.dictionaries(currencies, st.lists(operations, min_size=1, max_size=4), max_size=2)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Anything but a message over a current link."""
    return draw(
        st.one_of(
            st.builds(CommandGiven, st.integers(0, 9), commands),
            st.builds(
                CommandGiven,
                st.integers(0, 9),
                st.builds(Batch, st.lists(commands, max_size=3).map(tuple)),
            ),
            st.builds(FriendOffline, keys),
            st.builds(LinkAdopted, keys, st.integers(0, 3)),
            st.builds(UnreadableArrived, keys, st.integers(0, 3)),
            st.builds(MessageArrived, keys, st.integers(0, 3), strategies.friend_messages),
            st.builds(RoutesArrived, strategies.routes_responses),
            st.just(Woken()),
            st.just(Started()),
        )
    )


# --- the world --------------------------------------------------------------------------------------


class Target:
    """A node with an honest friend and a foe, in the middle of some payments, on a store."""

    def __init__(self) -> None:
        self.m, self.h = Card("m", 1), Card("h", 2)
        self.wires = Wires(self.m, self.h)
        befriend(self.m, self.h)
        self.wires.connect(self.m, self.h)
        self.wires.run()
        self.m.do(AddIndexServer(NamedAddress(self.h.key, "i.net:1")))
        self.foe = ScriptedFriend("foe", _FOE, self.m)
        for number in range(3):
            new_invoice(self.m, 10, number)
        assert start_payment(new_invoice(self.h, 7, 9), (self.m, self.h), 3) is None
        self.wires.run()
        self.resave()

    def resave(self) -> None:
        """Begin a new store with what there is."""
        self.store = MemoryStore(self.m.key)
        nothing = NodeState(self.m.key)
        self.store.save(nothing, self.m.state, touched_between(nothing, self.m.state), ())

    def feed(self, *events: Event) -> None:
        """One step, saved as the engine saves it, and everything that reads the state."""
        result = step(self.m.state, events, self.m.env)
        self.store.save(self.m.state, result.state, result.touched, result.records)
        self.m.state = result.state
        check_node(self.m.state, tuple(self.m.state.friends))
        for key in self.m.state.friends:
            messages, _ = outgoing(self.m.state, key, SentOnLink())
            for message in messages:
                assert decode_friend_message(encode_friend_message(message)) == message
        report(self.m.state)
        tuple(pending(self.m.state))
        edges(self.m.state)
        for intent in self.m.state.intents.values():
            pay_report(intent)
        next_deadline_ms(self.m.state)

    def check_store(self) -> None:
        i27_persistence(self.m.state, self.store.load())


# --- tests ------------------------------------------------------------------------------------------


@covers("PT81")
@given(happenings=st.lists(st.one_of(events(), st.integers(1, 100_000)), max_size=25))
def test_no_command_or_event_breaks_a_step_or_the_store(happenings: list[Event | int]) -> None:
    target = Target()
    for happening in happenings:
        if isinstance(happening, int):
            target.m.env.now_ms += happening
            target.m.env.wall_ms += happening
            target.feed(Woken())
        else:
            target.feed(happening)
    target.check_store()


@covers("PT81")
@given(groups=st.lists(st.lists(events(), min_size=1, max_size=6), max_size=6))
def test_no_group_of_events_breaks_a_step_or_the_store(groups: list[list[Event]]) -> None:
    target = Target()
    for group in groups:
        target.feed(*group)
    target.check_store()


def _token(foe: ScriptedFriend, what: object, *, is_true: bool) -> FriendMessage | None:
    """What the foe can say of this: a raw message, or signed operations if it owns the token."""
    if isinstance(what, FriendMessage):
        return what
    assert isinstance(what, dict)
    foe.listen()
    if not foe.is_trusted or not isinstance(foe.channel.direction, Incoming):
        return None
    names = sorted(name for name in what if name in foe.channel.ledgers)
    if not is_true:
        batches = tuple(CurrencyOperations(name, tuple(what[name])) for name in names)
        return MoveTokenMessage(foe.forged(batches), token_wanted=True)
    chosen = {name: _possible(foe, name, what[name]) for name in names}
    chosen = {name: ops for name, ops in chosen.items() if ops}
    in_use = tuple(name for name, one in foe.channel.ledgers.items() if not one.is_zero)
    listed = tuple(sorted({*in_use, *chosen})) if None in what else None
    token, foe.channel = foe.sealed(chosen, listed)
    return MoveTokenMessage(token, token_wanted=True)


def _say(target: Target, what: object, *, is_true: bool) -> None:
    message = _token(target.foe, what, is_true=is_true)
    if message is not None:
        target.feed(MessageArrived(target.foe.key, target.foe.link, message))


def _possible(foe: ScriptedFriend, name: Currency, wanted: list[Operation]) -> list[Operation]:
    """The operations that a true ledger can carry out; the foe's honest view must survive."""
    ledger = foe.channel.ledgers[name].fork()
    found: list[Operation] = []
    for operation in wanted:
        match operation:
            case RequestOp() if (
                ledger.can_send_request(operation) and operation.freeze <= CREDITS_MAX
            ):
                ledger.send_request(operation, None, 0)
            case CancelOp() if operation.request_id in ledger.remote:
                ledger.send_cancel(operation)
            case ResponseOp() | CollectOp() | RequestOp() | CancelOp():
                continue
        found.append(operation)
    return found


@covers("PT81")
@given(
    said=st.lists(
        st.tuples(st.one_of(batches, batches, strategies.friend_messages), st.booleans()),
        max_size=20,
    )
)
def test_nothing_a_friend_says_reaches_beyond_its_friendship(
    said: list[tuple[object, bool]],
) -> None:
    target = Target()
    honest = target.m.friend(target.h).consistent
    assert honest is not None
    before = honest.ledgers[FST].balance
    for what, is_true in said:
        _say(target, what, is_true=is_true)
    target.check_store()
    target.wires.run()
    assert target.m.balance(target.h) == before
    assert target.foe.owed() in (0, *range(-7, 8))
    assert transfer(target.wires, (target.h, target.m), 2, 60)
    assert transfer(target.wires, (target.m, target.h), 3, 61)


_ROUTED = st.builds(
    request_op,
    of(Uid),
    st.just(ask(1, 1).src_hashed_lock),
    st.lists(keys, min_size=1, max_size=2).map(tuple),
    st.tuples(st.integers(1, 9), st.integers(9, 9), st.integers(0, 9)),
    of(InvoiceId),
)
_TALK = st.tuples(
    st.booleans(),
    st.one_of(
        batches,
        st.dictionaries(st.just(FST), st.lists(_ROUTED, min_size=1, max_size=2), min_size=1),
        st.just({None: ()}),
        st.just({}),
    ),
    st.booleans(),
)


@covers("PT81")
@given(groups=st.lists(st.lists(_TALK, min_size=1, max_size=3), max_size=12))
def test_several_foes_that_speak_in_one_step_cannot_break_it(
    groups: list[list[tuple[bool, object, bool]]],
) -> None:
    target = Target()
    foes = (target.foe, ScriptedFriend("foe2", _FOE + 1, target.m))
    target.resave()
    for group in groups:
        spoken: list[Event] = []
        for is_first, what, is_true in group:
            foe = foes[is_first]
            message = _token(foe, what, is_true=is_true)
            if message is not None:
                spoken.append(MessageArrived(foe.key, foe.link, message))
        target.feed(*spoken)
    target.check_store()
    target.wires.run()
    assert transfer(target.wires, (target.h, target.m), 2, 60)


@covers("PT81")
@settings(max_examples=300)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_a_message_or_an_error_and_never_anything_else(data: bytes) -> None:
    try:
        message = decode_friend_message(data)
    except DecodeError:
        return
    if message is not None:
        target = Target()
        target.feed(MessageArrived(target.foe.key, target.foe.link, message))


@given(place=st.integers(0, 2_000), change=st.integers(1, 255))
def test_a_damaged_true_message_moves_nothing(place: int, change: int) -> None:
    target = Target()
    foe = target.foe
    foe.take_token()
    token, _ = foe.sealed({FST: [ask(1, 5, invoice=1)]})
    data = encode_friend_message(MoveTokenMessage(token, token_wanted=False))
    try:
        message = decode_friend_message(strategies.damaged(data, place, change))
    except DecodeError:
        return
    if message is not None:
        target.feed(MessageArrived(foe.key, foe.link, message))
        assert foe.owed() == 0
        target.check_store()
