"""A node as a whole: commands and their faults, batches, effects, routes for programs, privacy."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from offset_engine.core.api import (
    AckClosePayment,
    AddFriend,
    AddIndexServer,
    AddInvoice,
    AddRelay,
    Batch,
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
    OpenFriendCurrency,
    Pay,
    PaymentStatus,
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
    TransactionResult,
)
from offset_engine.core.codec import encode_friend_message
from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.draft import Draft
from offset_engine.core.events import (
    CapacitiesChanged,
    CommandDone,
    CommandGiven,
    ConnectionsChanged,
    FriendDirty,
    Woken,
)
from offset_engine.core.friend import CurrencyConfig
from offset_engine.core.node import next_deadline_ms, step
from offset_engine.core.payer import PayStage
from offset_engine.core.payment import PaymentStage
from offset_engine.core.signing import (
    RESPONSE_PREFIX,
    Commit,
    Invoice,
    commit_terms,
    invoice_buffer,
    response_buffer,
)
from offset_engine.core.state import Agenda, GroupUnsealed
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    FRIENDS_MAX,
    INDEX_SERVERS_MAX,
    NAME_BYTES_MAX,
    RELAYS_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    NamedAddress,
    PrivateKey,
    PublicKey,
    Rate,
    RelayAddress,
    Signature,
)
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    answer_routes,
    befriend,
    chain,
    new_invoice,
    open_payment,
    part,
    send_over,
    status,
    strand_token,
    uid,
    wish,
    with_index,
)

USD = Currency("USD")
BAD_KEY = PublicKey(bytes(32))


def key(number: int) -> PublicKey:
    return public_key_of(PrivateKey(number.to_bytes(32, "big")))


def server(number: int, address: str = "10.0.0.1:1", name: str = "") -> NamedAddress:
    return NamedAddress(key(number), address, name)


# --- every fault --------------------------------------------------------------------------------


class Scene:
    """A and B, friends; B has an invoice of 10."""

    def __init__(self) -> None:
        self.wires, (self.a, self.b) = chain("a", "b")
        self.invoice = new_invoice(self.b, 10)

    def commit(self) -> Commit:
        """The commit of payment 1, as soon as the request has arrived."""
        payment = open_payment(self.a, self.invoice, 1)
        assert send_over(payment, 1, (self.a, self.b), 10) is None
        self.wires.run()
        commit = status(self.a, payment).commit
        assert commit is not None
        return commit

    def transaction(self, **changes: object) -> CommandFault | None:
        if not self.a.state.payments:
            open_payment(self.a, self.invoice, 1)
        good = CreateTransaction(wish(1), uid(1), (self.a.key, self.b.key), 10, 0)
        return self.a.do(replace(good, **changes))  # type: ignore[arg-type]

    def broken(self, card: Card, other: Card) -> Card:
        assert card.do(DisputeFriend(other.key)) is None
        self.wires.run()
        return card


def incomplete(scene: Scene) -> CommandFault | None:
    commit = scene.commit()
    scene.broken(scene.b, scene.a)
    return scene.b.do(CommitInvoice(commit))


def exposed(scene: Scene) -> CommandFault | None:
    scene.commit()
    return scene.a.do(RemoveFriend(scene.b.key))


def used_id(scene: Scene) -> CommandFault | None:
    scene.commit()
    other = replace(scene.invoice, invoice_id=InvoiceId(b"o" * 32))
    return send_over(open_payment(scene.a, other, 2), 1, (scene.a, scene.b), 10)


def full(scene: Scene) -> CommandFault | None:
    strand_token(scene.wires, scene.a, scene.b)
    open_payment(scene.a, replace(scene.invoice, total_dest_payment=1_000), 1)
    request = scene.transaction(dest_payment=1)
    assert request is None
    ready = scene.a.friend(scene.b)
    ready.own.items *= 512
    return scene.transaction(request_id=uid(2), dest_payment=1)


def closed(scene: Scene) -> CommandFault | None:
    open_payment(scene.a, scene.invoice, 1)
    scene.a.do(RequestClosePayment(wish(1)))
    return scene.transaction()


def wrong_ack(scene: Scene) -> CommandFault | None:
    open_payment(scene.a, scene.invoice, 1)
    scene.a.do(RequestClosePayment(wish(1)))
    return scene.a.do(AckClosePayment(wish(1), uid(9)))


def early_ack(scene: Scene) -> CommandFault | None:
    open_payment(scene.a, scene.invoice, 1)
    return scene.a.do(AckClosePayment(wish(1), uid(9)))


def offline(scene: Scene) -> CommandFault | None:
    scene.wires.offline(scene.a, scene.b)
    return scene.transaction()


def swapped(scene: Scene) -> CommandFault | None:
    scene.broken(scene.b, scene.a)
    return scene.a.do(ResetFriendChannel(scene.b.key, HashResult(bytes(32))))


def unsigned(scene: Scene) -> CommandFault | None:
    forged = replace(scene.invoice, signature=Signature(bytes(64)))
    return scene.a.do(Pay(wish(1), forged, 0))


def wrong_stage(scene: Scene) -> CommandFault | None:
    assert scene.a.do(Pay(wish(1), scene.invoice, 0)) is None
    return scene.a.do(ConfirmFee(wish(1), CREDITS_MAX))


def dearer_than_shown(scene: Scene) -> CommandFault | None:
    seller = Card("c", 3)
    with_index(scene.a)
    assert scene.a.do(Pay(wish(1), new_invoice(seller, 8), 100, confirm_above=0)) is None
    answer_routes(scene.a, (part(scene.a, scene.b, seller, amount=8, fee=2),))
    assert scene.a.intent(wish(1)).stage is PayStage.FEE_TO_CONFIRM
    return scene.a.do(ConfirmFee(wish(1), 1))


FAULTS: dict[CommandFault, Callable[[Scene], CommandFault | None]] = {
    CommandFault.INVALID_ARGUMENT: lambda s: s.a.do(AddFriend(s.a.key, (), "me")),
    CommandFault.LIMIT_REACHED: lambda s: s.a.do(
        *(AddRelay(server(number + 1)) for number in range(RELAYS_MAX + 1))
    ),
    CommandFault.FRIEND_DOES_NOT_EXIST: lambda s: s.a.do(EnableFriend(key(9))),
    CommandFault.FRIEND_EXISTS: lambda s: s.a.do(AddFriend(s.b.key, (), "b")),
    CommandFault.PENDING_EXPOSURE: exposed,
    CommandFault.CURRENCY_NOT_CONFIGURED: lambda s: s.a.do(RemoveFriendCurrency(s.b.key, USD)),
    CommandFault.NOT_INVITED_TO_RESET: lambda s: s.a.do(
        ResetFriendChannel(s.b.key, HashResult(bytes(32)))
    ),
    CommandFault.RESET_TERMS_MISMATCH: swapped,
    CommandFault.CHANNEL_INCONSISTENT: lambda s: s.broken(s.a, s.b).do(DisputeFriend(s.b.key)),
    CommandFault.PAYMENT_ALREADY_OPEN: lambda s: s.a.do(
        *(CreatePayment(wish(1), s.invoice.invoice_id, FST, 10, s.b.key) for _ in range(2))
    ),
    CommandFault.PAYMENT_DOES_NOT_EXIST: lambda s: s.a.do(CancelPay(wish(1))),
    CommandFault.OPEN_PAYMENT_NOT_FOUND: lambda s: s.transaction(payment_id=wish(9)),
    CommandFault.NEW_TRANSACTIONS_NOT_ALLOWED: closed,
    CommandFault.NOT_FIRST_IN_ROUTE: lambda s: s.transaction(route=(s.b.key,)),
    CommandFault.PAYMENT_DEST_NOT_LAST_IN_ROUTE: lambda s: s.transaction(
        route=(s.a.key, s.b.key, key(9))
    ),
    CommandFault.INVALID_ROUTE: lambda s: s.transaction(route=(s.a.key, s.b.key, s.b.key)),
    CommandFault.FRIEND_NOT_READY: offline,
    CommandFault.REQUEST_ALREADY_IN_PROGRESS: used_id,
    CommandFault.PENDING_USER_REQUESTS_FULL: full,
    CommandFault.INVALID_AMOUNT: lambda s: s.transaction(dest_payment=0),
    CommandFault.ACK_STATE_INVALID: early_ack,
    CommandFault.ACK_MISMATCH: wrong_ack,
    CommandFault.INVOICE_ALREADY_EXISTS: lambda s: s.b.do(AddInvoice(s.invoice)),
    CommandFault.INVOICE_DOES_NOT_EXIST: lambda s: s.a.do(CollectInvoice(s.invoice.invoice_id)),
    CommandFault.INVALID_COMMIT: lambda s: s.b.do(
        CommitInvoice(replace(s.commit(), signature=Signature(bytes(64))))
    ),
    CommandFault.COMMIT_INCOMPLETE: incomplete,
    CommandFault.NOT_COMMITTED: lambda s: s.b.do(CollectInvoice(s.invoice.invoice_id)),
    CommandFault.WRONG_STAGE: wrong_stage,
    CommandFault.FEE_CHANGED: dearer_than_shown,
    CommandFault.INVOICE_INVALID: unsigned,
}


def test_every_fault_but_the_full_disk_is_a_commands_doing() -> None:
    others = {CommandFault.STORE_FULL, CommandFault.PERMISSION_DENIED}
    assert set(CommandFault) - set(FAULTS) == others


@pytest.mark.parametrize("fault", list(FAULTS), ids=lambda fault: fault.value)
def test_every_fault_can_be_met(fault: CommandFault) -> None:
    assert FAULTS[fault](Scene()) is fault


@pytest.mark.parametrize("fault", list(FAULTS), ids=lambda fault: fault.value)
def test_a_refused_command_changes_nothing(fault: CommandFault) -> None:
    scene = Scene()
    cards = {id(scene.a): scene.a, id(scene.b): scene.b}
    seen: list[tuple[Card, object]] = []
    for card in cards.values():
        card.do = _watched(card, seen)  # type: ignore[method-assign]
    FAULTS[fault](scene)
    card, before = seen[-1]
    assert _parts(card) == before


def _watched(card: Card, seen: list[tuple[Card, object]]) -> Callable[..., CommandFault | None]:
    do = card.do

    def watched(*commands: Command) -> CommandFault | None:
        seen.append((card, _parts(card)))
        return do(*commands)

    return watched


def _parts(card: Card) -> object:
    state = card.state
    return (
        state.relays,
        state.index_servers,
        dict(state.friends),
        dict(state.payments),
        dict(state.intents),
        dict(state.invoices),
        dict(state.closed_invoices),
        dict(state.outgoing_ids),
        dict(state.payers),
        dict(state.questions),
        next_deadline_ms(state),
    )


# --- batches ------------------------------------------------------------------------------------


def test_a_batch_happens_altogether_or_not_at_all() -> None:
    _, (a, b) = chain("a", "b")
    before = _parts(a)
    fault = a.do(
        SetFriendName(b.key, "somebody"),
        AddRelay(server(5)),
        AddIndexServer(server(6)),
        CreatePayment(wish(1), InvoiceId(bytes(32)), FST, 5, b.key),
        Pay(wish(2), Invoice(InvoiceId(bytes(32)), FST, b.key, 5), 0),
        AddInvoice(Invoice(InvoiceId(b"i" * 32), FST, a.key, 5), a.env.wall_ms + 9),
        RequestRoutes(uid(1), FST, 5, b.key),
        RemoveFriend(key(9)),
    )
    assert fault is CommandFault.FRIEND_DOES_NOT_EXIST
    assert a.done[-1].detail == "RemoveFriend"
    assert _parts(a) == before
    assert not a.questions
    assert not a.notices
    assert not a.records


def test_later_commands_of_a_batch_see_what_earlier_ones_did() -> None:
    card, other = Card("a", 1), Card("b", 2)
    fault = card.do(
        AddFriend(other.key, (), "b"),
        EnableFriend(other.key),
        SetFriendCurrencyMaxDebt(other.key, FST, 7),
        OpenFriendCurrency(other.key, FST),
        RemoveFriend(other.key),
        AddFriend(other.key, (), "b again"),
        SetFriendName(other.key, "b at last"),
    )
    assert fault is None
    friend = card.friend(other)
    assert (friend.name, friend.is_enabled, friend.configs) == ("b at last", False, {})


def test_a_refused_batch_tells_nothing_of_what_was_undone() -> None:
    _, (a, b) = chain("a", "b")
    payment = open_payment(a, new_invoice(b, 5), 1)
    fault = a.do(RequestClosePayment(payment), RemoveFriend(key(9)))
    assert fault is CommandFault.FRIEND_DOES_NOT_EXIST
    assert a.done[-1].notices == ()
    assert a.state.payments[payment].stage is PaymentStage.NEW
    fault = a.do(
        RequestClosePayment(payment),
        CreateTransaction(wish(9), uid(1), (a.key, b.key), 5, 0),
    )
    assert fault is CommandFault.OPEN_PAYMENT_NOT_FOUND
    (notice,) = a.done[-1].notices
    assert isinstance(notice, TransactionResult)


def test_a_command_is_answered_with_its_own_number_and_only_its_own_notices() -> None:
    _, (a, b) = chain("a", "b")
    payment = open_payment(a, new_invoice(b, 5), 1)
    one = CommandGiven(70, RequestClosePayment(payment))
    two = CommandGiven(71, Batch((SetFriendName(b.key, "x"), RequestClosePayment(wish(9)))))
    done = [effect for effect in a.feed(one, two) if isinstance(effect, CommandDone)]
    assert [(effect.number, effect.fault, len(effect.notices)) for effect in done] == [
        (70, None, 1),
        (71, None, 1),
    ]
    stages = [effect.notices[0].stage for effect in done
              if isinstance(effect.notices[0], PaymentStatus)]  # fmt: skip
    assert stages == ["canceled", None]


# --- values no file could hold --------------------------------------------------------------------

_BAD_INVOICES: list[dict[str, object]] = [
    {"description": "\ud800"},
    {"description": "x" * 256},
    {"created": -1},
    {"created": 2**64},
    {"expires": -1},
    {"expires": 2**64},
    {"decimals": -1},
    {"decimals": 256},
]


@pytest.mark.parametrize("change", _BAD_INVOICES, ids=str)
@pytest.mark.parametrize("is_signed", [False, True])
def test_values_no_file_could_hold_are_refused(change: dict[str, object], is_signed: bool) -> None:
    scene = Scene()
    bad = replace(scene.invoice, **change)  # type: ignore[arg-type]
    if is_signed:
        bad = replace(bad, signature=Signature(bytes(64)))
    assert scene.a.do(Pay(wish(1), bad, 0)) is CommandFault.INVOICE_INVALID
    other = replace(bad, invoice_id=InvoiceId(b"o" * 32))
    assert scene.b.do(AddInvoice(other)) is CommandFault.INVALID_ARGUMENT


@pytest.mark.parametrize("amount", [-1, 0, 11, CREDITS_MAX + 1, 2**128])
def test_commits_with_impossible_amounts_are_refused(amount: int) -> None:
    scene = Scene()
    commit = scene.commit()
    for command in (CommitInvoice, RegisterCommit):
        fault = scene.b.do(command(replace(commit, dest_payment=amount)))
        assert fault is CommandFault.INVALID_COMMIT


def test_a_signed_invoice_is_checked() -> None:
    scene = Scene()
    signed = replace(scene.invoice, signature=scene.b.env.sign(invoice_buffer(scene.invoice)))
    dearer = replace(signed, total_dest_payment=11)
    assert scene.a.do(Pay(wish(1), dearer, 0)) is CommandFault.INVOICE_INVALID
    assert scene.a.do(Pay(wish(1), signed, 0)) is None


# --- settings -----------------------------------------------------------------------------------


def test_servers_are_replaced_by_key_even_when_the_list_is_full() -> None:
    card = Card("a", 1)
    for limit, add, of in (
        (RELAYS_MAX, AddRelay, lambda: card.state.relays),
        (INDEX_SERVERS_MAX, AddIndexServer, lambda: card.state.index_servers),
    ):
        assert card.do(*(add(server(n + 1)) for n in range(limit))) is None  # type: ignore[operator]
        assert card.do(add(server(99))) is CommandFault.LIMIT_REACHED  # type: ignore[operator]
        moved = server(3, "10.0.0.9:9", "moved")
        assert card.do(add(moved)) is None  # type: ignore[operator]
        assert len(of()) == limit
        assert of()[2] == moved
    assert card.do(RemoveRelay(key(3)), RemoveIndexServer(key(3))) is None
    assert len(card.state.relays) == RELAYS_MAX - 1
    assert card.do(RemoveRelay(key(3))) is None  # again is fine
    assert card.state.own_relays == tuple(one.relay for one in card.state.relays)


@pytest.mark.parametrize(
    "bad",
    [
        server(1, "no port"),
        server(1, "EXAMPLE.org:1"),
        server(1, name="x" * (NAME_BYTES_MAX + 1)),
        server(1, name="\ud800"),
        NamedAddress(BAD_KEY, "10.0.0.1:1"),
    ],
)
def test_servers_nobody_could_reach_are_refused(bad: NamedAddress) -> None:
    card = Card("a", 1)
    assert card.do(AddRelay(bad)) is CommandFault.INVALID_ARGUMENT
    assert card.do(AddIndexServer(bad)) is CommandFault.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "relays",
    [
        (RelayAddress(key(1), "nowhere"),),
        (RelayAddress(key(1), "10.0.0.1:1"), RelayAddress(key(1), "10.0.0.2:1")),
        (RelayAddress(BAD_KEY, "10.0.0.1:1"),),
        tuple(RelayAddress(key(n + 1), "10.0.0.1:1") for n in range(RELAYS_MAX + 1)),
    ],
)
def test_a_friends_relays_must_be_few_and_reachable(relays: tuple[RelayAddress, ...]) -> None:
    _, (a, b) = chain("a", "b")
    assert a.do(SetFriendRelays(b.key, relays)) is CommandFault.INVALID_ARGUMENT
    assert a.do(AddFriend(key(9), relays, "x")) is CommandFault.INVALID_ARGUMENT


@covers("PRV-01")
def test_a_friend_is_a_key_and_a_label_of_ours() -> None:
    _, (a, b) = chain("a", "b")
    for bad in (a.key, BAD_KEY):
        assert a.do(AddFriend(bad, (), "x")) is CommandFault.INVALID_ARGUMENT
    assert a.do(AddFriend(key(9), (), "x" * 129)) is CommandFault.INVALID_ARGUMENT
    assert a.do(SetFriendName(b.key, "\ud800")) is CommandFault.INVALID_ARGUMENT
    assert a.do(SetFriendName(b.key, "Bob, the baker")) is None
    assert a.friend(b).name == "Bob, the baker"
    relays = (RelayAddress(key(1), "10.0.0.1:1"),)
    effects = a.feed(CommandGiven(1, SetFriendRelays(b.key, relays)))
    assert ConnectionsChanged() in effects
    assert a.friend(b).remote_relays == relays
    assert ConnectionsChanged() not in a.feed(CommandGiven(2, SetFriendRelays(b.key, relays)))
    stranger = key(9)
    for command in (
        SetFriendName(stranger, "x"),
        SetFriendRelays(stranger, ()),
        RemoveFriend(stranger),
        DisableFriend(stranger),
        SetFriendCurrencyRate(stranger, FST, Rate()),
        CloseFriendCurrency(stranger, FST),
        RemoveFriendCurrency(stranger, FST),
    ):
        assert a.do(command) is CommandFault.FRIEND_DOES_NOT_EXIST


def test_friends_have_a_limit() -> None:
    _, (a, b) = chain("a", "b")
    for number in range(FRIENDS_MAX):
        a.state.friends[PublicKey(number.to_bytes(32, "big"))] = a.friend(b)
    assert a.do(AddFriend(key(9), (), "x")) is CommandFault.LIMIT_REACHED


def test_enabling_and_disabling_again_changes_nothing() -> None:
    _, (a, b) = chain("a", "b")
    assert ConnectionsChanged() not in a.feed(CommandGiven(1, EnableFriend(b.key)))
    assert ConnectionsChanged() in a.feed(CommandGiven(2, DisableFriend(b.key)))
    assert not a.friend(b).is_online
    assert ConnectionsChanged() not in a.feed(CommandGiven(3, DisableFriend(b.key)))


def test_an_inconsistent_friend_is_only_removed_by_force() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.do(DisputeFriend(b.key)) is None
    wires.run()
    assert a.do(RemoveFriend(b.key)) is CommandFault.PENDING_EXPOSURE
    assert a.do(RemoveFriend(b.key, force=True)) is None
    assert not a.state.friends


@covers("PAY-21", "PAY-23")
def test_settings_of_a_currency_are_made_by_whatever_comes_first() -> None:
    _, (a, b) = chain("a", "b")
    beer = Currency("beer/crate")
    assert a.do(CloseFriendCurrency(b.key, beer)) is None
    assert a.friend(b).configs[beer] == CurrencyConfig(Rate(0, 0), 0, is_open=False)
    assert a.do(SetFriendCurrencyRate(b.key, beer, Rate(1, 2))) is None
    assert a.do(SetFriendCurrencyMaxDebt(b.key, beer, 3)) is None
    assert a.friend(b).configs[beer] == CurrencyConfig(Rate(1, 2), 3, is_open=False)
    assert a.do(OpenFriendCurrency(b.key, beer)) is None
    assert a.do(SetFriendCurrencyMaxDebt(b.key, beer, 4)) is None
    assert a.friend(b).configs[beer] == CurrencyConfig(Rate(1, 2), 4, is_open=True)
    assert a.do(CloseFriendCurrency(b.key, beer)) is None
    assert a.do(SetFriendCurrencyMaxDebt(b.key, beer, 5)) is None
    assert not a.friend(b).configs[beer].is_open  # editing never opens what a person closed
    assert a.do(SetFriendCurrencyRate(b.key, beer, Rate(2**32, 0))) is (
        CommandFault.INVALID_ARGUMENT
    )
    for bad in (-1, CREDITS_MAX + 1):
        fault = a.do(SetFriendCurrencyMaxDebt(b.key, beer, bad))
        assert fault is CommandFault.INVALID_AMOUNT


def test_currencies_with_a_friend_have_a_limit() -> None:
    wires, (a, b) = chain("a", "b")
    commands = [
        SetFriendCurrencyRate(b.key, Currency(f"C{number:02}"), Rate())
        for number in range(ACTIVE_CURRENCIES_MAX)
    ]
    assert a.do(*commands[:-1]) is None
    assert a.do(commands[-1]) is CommandFault.LIMIT_REACHED
    wires.run()
    channel = b.friend(a).consistent
    assert channel is not None
    assert len(channel.active_remote) == ACTIVE_CURRENCIES_MAX


# --- effects and what was touched ---------------------------------------------------------------


def test_a_step_names_what_it_touched_and_nothing_else() -> None:
    _, (a, b) = chain("a", "b")
    invoice = Invoice(InvoiceId(b"i" * 32), FST, a.key, 5)
    cases: list[tuple[Command, str, object]] = [
        (SetFriendName(b.key, "x"), "friends", (b.key,)),
        (CreatePayment(wish(1), invoice.invoice_id, FST, 5, b.key), "payments", (wish(1),)),
        (AddInvoice(invoice), "invoices", (invoice.invoice_id,)),
        (AddIndexServer(server(3)), "settings", True),
    ]
    nothing = {"friends": (), "payments": (), "intents": (), "invoices": (), "settings": False}
    for number, (command, field, expected) in enumerate(cases):
        result = step(a.state, (CommandGiven(number, command),), a.env)
        touched = {name: getattr(result.touched, name) for name in nothing}
        if field == "settings":  # every friend is looked at: it may have to be told of relays
            touched["friends"] = ()
        assert touched == nothing | {field: expected}
        assert isinstance(result.state.friends, dict)
    seller = Invoice(InvoiceId(b"i" * 32), FST, b.key, 5)
    result = step(a.state, (CommandGiven(9, Pay(wish(2), seller, 0)),), a.env)
    assert result.touched.intents == (wish(2),)
    assert len(result.touched.payments) == 1


def test_a_step_leaves_the_state_it_was_given_alone() -> None:
    wires, (a, b) = chain("a", "b")
    before = a.state
    frozen = _parts(a)
    copies = {key: friend.fork() for key, friend in before.friends.items()}
    assert a.do(Pay(wish(1), new_invoice(b, 5), 0)) is None
    wires.run()
    after, a.state = a.state, before
    assert _parts(a) == frozen
    assert before.friends == copies
    assert after.friends != copies


def test_nothing_to_do_means_nothing_said() -> None:
    _, (a, _b) = chain("a", "b")
    result = step(a.state, (), a.env)
    assert result.effects == ()
    assert result.records == ()
    assert step(a.state, (Woken(),), a.env).effects == ()


def test_capacities_and_messages_are_announced_with_the_change() -> None:
    _, (a, b) = chain("a", "b")
    effects = a.feed(CommandGiven(1, SetFriendCurrencyMaxDebt(b.key, FST, 1)))
    assert CapacitiesChanged() in effects
    effects = a.feed(CommandGiven(2, SetFriendCurrencyRate(b.key, USD, Rate())))
    assert FriendDirty(b.key) in effects


# --- the agenda ---------------------------------------------------------------------------------


def deadline(number: int) -> GroupUnsealed:
    return GroupUnsealed(InvoiceId(number.to_bytes(32, "big")), HashedLock(bytes(32)))


def test_deadlines_come_soonest_first_and_can_be_moved_and_dropped() -> None:
    agenda = Agenda()
    assert agenda.next_ms() is None
    for number, at in ((1, 30), (2, 10), (3, 20)):
        agenda.set(deadline(number), at)
    copy = agenda.fork()
    agenda.set(deadline(2), 40)
    agenda.drop(deadline(9))
    assert agenda.next_ms() == 20
    assert agenda.take_due(30) == [deadline(3), deadline(1)]
    assert (len(agenda), agenda.next_ms()) == (1, 40)
    assert copy.next_ms() == 10
    assert len(copy) == 3


def test_dropped_deadlines_leave_no_heap_of_rubbish() -> None:
    agenda = Agenda()
    agenda.set(deadline(0), 5)
    for number in range(1, 1_000):
        agenda.set(deadline(number), number)
        agenda.drop(deadline(number))
    assert len(agenda._heap) < 100
    assert agenda.next_ms() == 5


# --- a cyclic payment ---------------------------------------------------------------------------


def test_a_card_may_pay_itself_around_a_circle() -> None:
    cards = [Card(name, number) for number, name in enumerate("amn", 1)]
    a, m, n = cards
    wires = Wires(*cards)
    for one, other in ((a, m), (m, n), (n, a)):
        befriend(one, other)
        wires.connect(one, other)
    wires.run()
    payment = open_payment(a, new_invoice(a, 5), 1)
    assert send_over(payment, 1, (a, m, n, a), 5) is None
    wires.run()
    commit = status(a, payment).commit
    assert commit is not None
    assert a.do(CommitInvoice(commit)) is None
    wires.run()
    assert (a.balance(m), a.balance(n)) == (-5, 5)
    assert status(a, payment).stage == "success"


# --- privacy ------------------------------------------------------------------------------------


@covers("PRV-02")
def test_no_byte_that_reaches_the_seller_names_the_buyer() -> None:
    wires, (a, m, n, b) = chain("a", "m", "n", "b")
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, m, n, b), 5) is None
    wires.run()
    commit = status(a, payment).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    heard = [encode_friend_message(message) for _, dest, message in wires.log if dest == "b"]
    handed = response_buffer(commit_terms(commit)) + commit.src_plain_lock + commit.signature
    assert len(heard) > 2
    for raw in (*heard, handed):
        assert a.key not in raw
        assert m.key not in raw
    assert any(b.key in encode_friend_message(message) for _, _, message in wires.log)
    assert m.key not in repr(b.state).encode()


@covers("PRV-01", "PRV-05")
def test_friends_hear_keys_and_relays_and_no_names() -> None:
    a, b = Card("alice-in-private", 1), Card("bob-in-private", 2)
    assert a.do(AddRelay(server(5, "relay.example.org:7", "my own words"))) is None
    wires = Wires(a, b)
    befriend(a, b)
    wires.connect(a, b)
    wires.run()
    said = b"".join(encode_friend_message(message) for _, _, message in wires.log)
    assert b"relay.example.org:7" in said
    for word in (b"private", b"my own words", b"127.0.0.1", b"baker"):
        assert word not in said
    assert b.friend(a).remote_relays == (server(5, "relay.example.org:7").relay,)


def test_what_a_person_imported_is_told_apart_from_what_the_friend_announced() -> None:
    a, b = Card("a", 1), Card("b", 2)
    assert a.do(AddRelay(server(5, "relay.example.org:7", "mine"))) is None
    wires = Wires(a, b)
    befriend(a, b)
    typed = b.friend(a).imported
    assert typed == b.friend(a).remote_relays
    wires.connect(a, b)
    wires.run()
    announced = (server(5, "relay.example.org:7").relay,)
    assert b.friend(a).remote_relays == announced
    assert b.friend(a).imported == typed
    assert b.do(SetFriendRelays(a.key, announced)) is None
    assert b.friend(a).imported == announced


@covers("PAY-17")
def test_a_payment_takes_one_signature_of_the_seller_whatever_the_route() -> None:
    wires, cards = chain("a", "m", "n", "b")
    a, m, n, b = cards
    signers: list[str] = []
    for card in cards:
        card.env.sign = _counted(card, signers)  # type: ignore[method-assign]
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, m, n, b), 5) is None
    wires.run()
    commit = status(a, payment).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    receipt = status(a, payment).receipt
    assert receipt is not None
    assert signers == ["b"]
    assert commit.signature == receipt.signature


def _counted(card: Card, signers: list[str]) -> Callable[[bytes], Signature]:
    sign = card.env.sign
    tag = sha512_256(RESPONSE_PREFIX.encode())

    def counted(message: bytes) -> Signature:
        if message.startswith(tag):
            signers.append(card.name)
        return sign(message)

    return counted


# --- drafts -------------------------------------------------------------------------------------


def test_a_draft_hands_out_only_ledgers_that_are_there() -> None:
    wires, (a, b) = chain("a", "b")
    draft = Draft(a.state, a.env)
    assert draft.ledger(key(9), FST) is None
    assert draft.ledger(b.key, USD) is None
    ledger = draft.ledger(b.key, FST)
    assert ledger is not None
    assert ledger is draft.ledger(b.key, FST)
    assert ledger is not a.ledger(b)
    assert a.do(DisputeFriend(b.key)) is None
    wires.run()
    assert Draft(a.state, a.env).ledger(b.key, FST) is None


def test_an_answer_to_a_request_that_is_gone_is_not_queued() -> None:
    _, (a, b) = chain("a", "b")
    draft = Draft(a.state, a.env)
    draft.refuse(b.key, FST, uid(9))
    draft.refuse(key(9), FST, uid(9))
    assert not draft.state.friends[b.key].backwards.items


def test_a_draft_can_put_a_finished_channel_in_place_twice() -> None:
    _, (a, b) = chain("a", "b")
    draft = Draft(a.state, a.env)
    channel = a.friend(b).consistent
    assert channel is not None
    one, two = channel.fork(), channel.fork()
    friend = draft.friend_with(b.key, one)
    assert draft.friend_with(b.key, two) is friend
    assert friend.channel is two
    assert a.friend(b).channel is channel
