"""One app's session: permissions, ownership, the report in pieces, changes, and bounds. No sockets."""

import dataclasses
import typing

import pytest

from offset_engine.core import api, app_session, reports
from offset_engine.core import app_messages as m
from offset_engine.core.app_codec import decode_node_message, encode_app_message
from offset_engine.core.app_messages import ALL_PERMISSIONS, AppPermissions, Permission
from offset_engine.core.app_owners import (
    LOCAL_OWNER,
    MAILBOXES_MAX,
    OWNED_MAX,
    RESULTS_MAX,
    ROUTES_RESULTS_MAX,
    AppOwners,
    Thing,
    is_open_in,
)
from offset_engine.core.app_report import REMOVED_REMEMBERED, ReportBook, ReportMirror
from offset_engine.core.app_session import PERMISSION_OF, QUEUE_MESSAGES_MAX, AppSession
from offset_engine.core.friend import Friend
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import RoutesRequest
from offset_engine.core.report import report
from offset_engine.core.reports import Connections, ServerReport, ServerState
from offset_engine.core.signing import Commit, Invoice
from offset_engine.core.state import Inquiry, NodeState
from offset_engine.core.token_channel import new_channel
from offset_engine.core.values import (
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    Rate,
    Signature,
    Uid,
)
from offset_engine.errors import InvariantError
from tests.covers import covers
from tests.unit.store_samples import rich_state

NODE = PublicKey(b"n" * 32)
ANN, BEA = PublicKey(b"a" * 32), PublicKey(b"b" * 32)
FRIEND = PublicKey(b"f" * 32)
USD = Currency("USD")
PAYMENT, INVOICE_ID = PaymentId(b"p" * 16), InvoiceId(b"i" * 32)
UID = Uid(b"u" * 16)
INVOICE = Invoice(INVOICE_ID, USD, NODE, 100)
COMMIT = Commit(
    HashResult(bytes(32)),
    PlainLock(bytes(32)),
    HashedLock(bytes(32)),
    100,
    100,
    INVOICE_ID,
    USD,
    Signature(bytes(64)),
)
EPOCH = Uid(b"e" * 16)


class Desk:
    """What the sessions of one node share."""

    def __init__(self) -> None:
        self.book = ReportBook(EPOCH)
        self.owners = AppOwners(lambda _thing: False)

    def session(
        self, owner: PublicKey = ANN, permissions: AppPermissions = ALL_PERMISSIONS
    ) -> AppSession:
        """A session past its greeting."""
        session = AppSession(owner, permissions, NODE, self.book, self.owners)
        (welcome,) = said(session)
        assert welcome == m.Welcome(1, 1, NODE, permissions)
        assert session.received(encode_app_message(m.Hello())) is None
        return session


def said(session: AppSession) -> list[m.NodeMessage]:
    found = []
    while (payload := session.take()) is not None:
        message = decode_node_message(payload)
        assert message is not None
        found.append(message)
    return found


def ask(session: AppSession, what: typing.Any, number: int = 7) -> m.Request | None:
    return session.received(encode_app_message(m.Request(number, what)))


def do(session: AppSession, what: typing.Any) -> bool:
    """Ask and, if it is allowed, say that it was done; returns whether it was."""
    request = ask(session, what)
    if request is None:
        (denied,) = said(session)
        assert isinstance(denied, m.Result)
        assert denied.fault is api.CommandFault.PERMISSION_DENIED
        return False
    if isinstance(what, m.Watch):
        session.watch(request.number, what)
    else:
        session.finish(request.number, m.Done())
    return said(session) == [m.Result(7, None, "", m.Done())]


def only(*permissions: Permission) -> AppPermissions:
    return AppPermissions(**{one.value: True for one in permissions})


# --- greeting -----------------------------------------------------------------------------------


@covers("APS-01", "APS-14")
def test_says_what_the_app_may_do_before_anything_else() -> None:
    Desk().session(permissions=only(Permission.READ))


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([m.Request(1, m.Sync())], CloseCode.PROTOCOL),
        ([m.Hello(), m.Hello()], CloseCode.PROTOCOL),
        ([m.Hello(2)], CloseCode.VERSION),
    ],
)
def test_ends_with_whoever_does_not_greet(messages: list[m.AppMessage], code: CloseCode) -> None:
    desk = Desk()
    session = AppSession(ANN, ALL_PERMISSIONS, NODE, desk.book, desk.owners)
    for message in messages:
        assert session.received(encode_app_message(message)) is None
    assert session.ended is not None
    assert session.ended.code is code


def test_ends_with_whoever_follows_no_protocol() -> None:
    session = Desk().session()
    assert session.received(b"\xc1") is None
    assert session.ended is not None
    assert session.ended.code is CloseCode.PROTOCOL
    assert said(session) == []


# --- permissions --------------------------------------------------------------------------------

SAMPLES: list[typing.Any] = [
    api.AddRelay(NamedAddress(FRIEND, "relay.example:1")),
    api.RemoveRelay(FRIEND),
    api.AddIndexServer(NamedAddress(FRIEND, "index.example:1")),
    api.RemoveIndexServer(FRIEND),
    api.AddFriend(FRIEND, (), "x"),
    api.RemoveFriend(FRIEND),
    api.EnableFriend(FRIEND),
    api.DisableFriend(FRIEND),
    api.SetFriendRelays(FRIEND, ()),
    api.SetFriendName(FRIEND, "y"),
    api.SetFriendCurrencyRate(FRIEND, USD, Rate()),
    api.SetFriendCurrencyMaxDebt(FRIEND, USD, 1),
    api.OpenFriendCurrency(FRIEND, USD),
    api.CloseFriendCurrency(FRIEND, USD),
    api.RemoveFriendCurrency(FRIEND, USD),
    api.ResetFriendChannel(FRIEND, HashResult(bytes(32))),
    api.DisputeFriend(FRIEND),
    api.Pay(PAYMENT, INVOICE, 1),
    api.ConfirmFee(PAYMENT, 3),
    api.CancelPay(PAYMENT),
    api.ForgetPay(PAYMENT),
    api.CreatePayment(PAYMENT, INVOICE_ID, USD, 1, FRIEND),
    api.CreateTransaction(PAYMENT, UID, (NODE, FRIEND), 1, 0),
    api.RequestClosePayment(PAYMENT),
    api.AckClosePayment(PAYMENT, UID),
    api.RequestRoutes(UID, USD, 1, FRIEND),
    api.AddInvoice(INVOICE),
    api.CancelInvoice(INVOICE_ID),
    api.RegisterCommit(COMMIT),
    api.CollectInvoice(INVOICE_ID),
    api.CommitInvoice(COMMIT),
    api.Rebalance(PAYMENT, USD, 1, FRIEND, None, 1),
    api.Reconnect(),
    m.Sync(),
    m.Watch(is_on=True),
    m.GetPay(PAYMENT),
    m.GetInvoice(INVOICE_ID),
    m.ListPays(),
    m.ListInvoices(),
    m.ListPending(),
    m.ListHistory(reports.HistoryKind.PAYMENTS),
    m.ListResults(),
    m.SignInvoice(USD, 1, "", None, None),
]


def test_every_request_has_its_permission_stated() -> None:
    kinds = (*typing.get_args(api.Command), *typing.get_args(m.Question))
    assert [type(one) for one in SAMPLES] == [*kinds]
    assert set(PERMISSION_OF) == set(kinds)


@covers("APS-05", "APS-06", "FIX-04")
@pytest.mark.parametrize("what", SAMPLES, ids=lambda what: type(what).__name__)
def test_each_request_needs_its_permission_and_no_other(what: typing.Any) -> None:
    needed = PERMISSION_OF[type(what)]
    looking = isinstance(what, m.GetPay | m.GetInvoice | m.ListPays | m.ListInvoices)
    for permission in Permission:
        is_enough = needed in (None, permission)
        is_enough |= looking and permission is Permission.TRANSACTIONS
        assert do(Desk().session(permissions=only(permission)), what) is is_enough
    assert do(Desk().session(permissions=AppPermissions()), what) is (needed is None)


def test_a_batch_needs_the_permissions_of_all_its_commands() -> None:
    batch = api.Batch((api.EnableFriend(FRIEND), api.Pay(PAYMENT, INVOICE, 1)))
    desk = Desk()
    assert do(desk.session(permissions=only(Permission.CONFIG, Permission.BUYER)), batch)
    for alone in (Permission.CONFIG, Permission.BUYER):
        assert not do(desk.session(permissions=only(alone)), batch)


def test_a_denied_request_says_which_permission_is_missing_and_the_session_goes_on() -> None:
    session = Desk().session(permissions=only(Permission.READ))
    assert ask(session, api.EnableFriend(FRIEND), 3) is None
    (denied,) = said(session)
    assert denied == m.Result(
        3,
        api.CommandFault.PERMISSION_DENIED,
        'the app needs the permission "config" for EnableFriend',
        None,
    )
    assert session.ended is None
    assert do(session, m.Watch(is_on=True))


def test_changed_permissions_count_at_once() -> None:
    desk = Desk()
    session = desk.session(permissions=only(Permission.CONFIG))
    assert do(session, api.EnableFriend(FRIEND))
    session.set_permissions(only(Permission.READ))
    assert said(session) == [m.PermissionsChanged(only(Permission.READ))]
    assert not do(session, api.EnableFriend(FRIEND))
    session.set_permissions(only(Permission.READ))
    assert said(session) == []


# --- ownership ----------------------------------------------------------------------------------

BUYER, SELLER = only(Permission.BUYER), only(Permission.SELLER)


def test_what_an_app_made_is_out_of_reach_for_others_without_transactions() -> None:
    desk = Desk()
    assert do(desk.session(ANN, BUYER), api.Pay(PAYMENT, INVOICE, 1))
    assert do(desk.session(ANN, SELLER), api.AddInvoice(INVOICE))
    for what in (m.GetPay(PAYMENT), api.CancelPay(PAYMENT), api.RequestClosePayment(PAYMENT)):
        assert not do(desk.session(BEA, BUYER), what)
        assert do(desk.session(BEA, only(Permission.BUYER, Permission.TRANSACTIONS)), what)
        assert do(desk.session(ANN, BUYER), what)
    for what in (m.GetInvoice(INVOICE_ID), api.CommitInvoice(COMMIT)):
        assert not do(desk.session(BEA, SELLER), what)
        assert do(desk.session(ANN, SELLER), what)


def test_who_knows_the_id_of_something_nobody_owns_may_use_it() -> None:
    assert do(Desk().session(ANN, BUYER), m.GetPay(PAYMENT))
    assert not Desk().session(ANN, BUYER).may_see(PAYMENT)
    assert Desk().session(ANN).may_see(PAYMENT)


def test_a_refused_command_owns_nothing() -> None:
    desk = Desk()
    session = desk.session(ANN, BUYER)
    request = ask(session, api.Pay(PAYMENT, INVOICE, 1))
    assert request is not None
    session.finish(request.number, None, api.CommandFault.INVOICE_INVALID, "Pay")
    assert said(session) == [m.Result(7, api.CommandFault.INVOICE_INVALID, "Pay", None)]
    assert desk.owners.owner_of(PAYMENT) is None
    assert do(desk.session(BEA, BUYER), api.Pay(PAYMENT, INVOICE, 1))
    assert desk.owners.owner_of(PAYMENT) == BEA


# --- results and changes ------------------------------------------------------------------------


def tell(desk: Desk, notice: api.Notice, *sessions: AppSession) -> None:
    is_result = not isinstance(notice, api.PayChanged | api.InvoiceChanged)
    apps = desk.owners.keep(notice) if is_result else ()  # type: ignore[arg-type]
    for session in sessions:
        session.told(notice, apps)


SUCCESS = api.TransactionResult(PAYMENT, UID, api.TransactionOutcome.SUCCESS, None)
FAILURE = api.TransactionResult(PAYMENT, UID, api.TransactionOutcome.FAILURE, None)
STATUS = api.PaymentStatus(PAYMENT, "canceled", 0, None, None, UID)
ROUTES = api.RoutesResult(UID, api.RoutesOutcome.NONE)


@covers("APS-07", "APS-11", "CMP-12")
def test_results_go_to_every_connection_of_the_asker_and_to_nobody_else() -> None:
    desk = Desk()
    ann, again, bea = desk.session(ANN), desk.session(ANN), desk.session(BEA)
    for session in (ann, again, bea):
        assert do(session, m.Watch(is_on=True))
    assert do(ann, api.CreateTransaction(PAYMENT, UID, (NODE, FRIEND), 1, 0))
    tell(desk, SUCCESS, ann, again, bea)
    assert said(ann) == said(again) == [m.Changed((SUCCESS,))]
    assert said(bea) == []


def test_a_closed_payment_is_told_its_owner_and_who_closed_it() -> None:
    desk = Desk()
    ann, bea = desk.session(ANN), desk.session(BEA)
    for session in (ann, bea):
        assert do(session, m.Watch(is_on=True))
    assert do(ann, api.CreatePayment(PAYMENT, INVOICE_ID, USD, 1, FRIEND))
    assert do(bea, api.RequestClosePayment(PAYMENT))
    tell(desk, STATUS, ann, bea)
    assert said(ann) == said(bea) == [m.Changed((STATUS,))]


@covers("APS-08", "APS-09", "PT79")
def test_results_can_be_fetched_again_until_the_payment_is_acknowledged() -> None:
    desk = Desk()
    first = desk.session(ANN)
    assert do(first, api.CreatePayment(PAYMENT, INVOICE_ID, USD, 1, FRIEND))
    assert do(first, api.CreateTransaction(PAYMENT, UID, (NODE, FRIEND), 1, 0))
    tell(desk, SUCCESS)
    tell(desk, FAILURE)
    tell(desk, STATUS)
    for _ in range(2):
        session = desk.session(ANN)
        session.list_results(1)
        assert said(session) == [m.Result(1, None, "", m.Done((FAILURE, STATUS)))]
    other = desk.session(BEA)
    other.list_results(1)
    assert said(other) == [m.Result(1, None, "", m.Done(()))]
    assert do(desk.session(ANN), api.AckClosePayment(PAYMENT, UID))
    assert desk.owners.results(ANN) == ()


def test_what_is_kept_for_apps_is_bounded() -> None:
    owners = AppOwners(lambda _thing: False)
    for number in range(OWNED_MAX + 1):
        payment_id = PaymentId(number.to_bytes(16, "big"))
        owners.claim(ANN, api.Pay(payment_id, INVOICE, 1))
    assert owners.owner_of(PaymentId((249).to_bytes(16, "big"))) is None
    assert owners.owner_of(PaymentId((250).to_bytes(16, "big"))) == ANN
    for number in range(RESULTS_MAX + 10):
        uid = Uid(number.to_bytes(16, "big"))
        owners.claim(ANN, api.CreateTransaction(PAYMENT, uid, (), 1, 0))
        owners.keep(dataclasses.replace(SUCCESS, request_id=uid))
    assert len(owners.results(ANN)) == RESULTS_MAX
    for number in range(ROUTES_RESULTS_MAX + 10):
        uid = Uid(number.to_bytes(16, "little"))
        owners.claim(BEA, api.RequestRoutes(uid, USD, 1, FRIEND))
        owners.keep(api.RoutesResult(uid, api.RoutesOutcome.NONE))
    assert 0 < len(owners.results(BEA)) <= ROUTES_RESULTS_MAX
    for number in range(MAILBOXES_MAX):
        owner = PublicKey(bytes([1, number]) * 16)
        uid = Uid(bytes([2, number]) * 8)
        owners.claim(owner, api.RequestRoutes(uid, USD, 1, FRIEND))
        owners.keep(api.RoutesResult(uid, api.RoutesOutcome.NONE))
    assert owners.results(ANN) == ()


def test_an_app_that_makes_very_many_things_pushes_out_nobody_elses() -> None:
    desk = Desk()
    shop = AppPermissions(seller=True)
    ann, bea = desk.session(ANN, shop), desk.session(BEA, shop)
    assert do(ann, api.AddInvoice(INVOICE))
    for number in range(3 * OWNED_MAX):
        other = InvoiceId(number.to_bytes(32, "big"))
        assert do(bea, api.AddInvoice(dataclasses.replace(INVOICE, invoice_id=other)))
    assert desk.owners.owner_of(INVOICE_ID) == ANN
    assert not do(bea, api.CancelInvoice(INVOICE_ID))
    assert do(ann, api.CancelInvoice(INVOICE_ID))


def test_what_is_open_keeps_its_owner_however_much_else_its_app_makes() -> None:
    still_open: dict[Thing, None] = {}
    owners = AppOwners(still_open.__contains__)
    ids = [InvoiceId(number.to_bytes(32, "big")) for number in range(4 * OWNED_MAX)]
    for at, one in enumerate(ids):
        owners.claim(ANN, api.AddInvoice(dataclasses.replace(INVOICE, invoice_id=one)))
        if at % 2:
            still_open[one] = None
    assert all(owners.owner_of(one) == ANN for one in ids[1::2])
    known = [one for one in ids[::2] if owners.owner_of(one) is not None]
    assert known == ids[::2][-len(known) :]  # the oldest are forgotten first
    assert OWNED_MAX // 2 < len(known) <= OWNED_MAX + 250


def test_what_is_open_at_a_node_is_known_for_every_kind_of_thing() -> None:
    state = rich_state()
    state.outgoing_ids[UID] = FRIEND
    state.inquiries[Uid(b"q" * 16)] = Inquiry(
        RoutesRequest(
            *(Uid(b"q" * 16), 0, USD, 1, FRIEND, None, None),
            *(1, 1, 2, (), ()),
        )
    )
    assert all(is_open_in(state, one) for one in (*state.payments, *state.invoices))
    assert all(
        is_open_in(state, one) == (one in state.payments or it.ended_ms is None)
        for one, it in state.intents.items()
    )
    assert {it.ended_ms is None for it in state.intents.values()} == {True, False}
    assert is_open_in(state, UID)
    assert is_open_in(state, Uid(b"q" * 16))
    for unknown in (Uid(b"z" * 16), InvoiceId(b"z" * 32), PaymentId(b"z" * 16)):
        assert not is_open_in(state, unknown)


def test_changes_are_told_once_each_and_only_to_watchers_who_may_see_them() -> None:
    desk = Desk()
    quiet, watching = desk.session(ANN), desk.session(ANN)
    narrow = desk.session(BEA, BUYER)
    for session in (watching, narrow):
        assert do(session, m.Watch(is_on=True))
    mine = PaymentId(b"m" * 16)
    assert do(narrow, api.Pay(mine, INVOICE, 1))
    for notice in (api.PayChanged(PAYMENT), api.PayChanged(mine), api.PayChanged(PAYMENT)):
        tell(desk, notice, quiet, watching, narrow)
    assert said(quiet) == []
    assert said(watching) == [m.Changed((api.PayChanged(PAYMENT), api.PayChanged(mine)))]
    assert said(narrow) == [m.Changed((api.PayChanged(mine),))]
    assert do(watching, m.Watch(is_on=False))
    tell(desk, api.PayChanged(mine), watching)
    assert said(watching) == []


def test_too_many_changes_become_look_at_everything() -> None:
    session = Desk().session()
    assert do(session, m.Watch(is_on=True))
    for number in range(m.CHANGES_MAX + 1):
        session.told(api.PayChanged(PaymentId(number.to_bytes(16, "big"))), ())
    assert said(session) == [m.Changed(())]
    session.told(api.PayChanged(PAYMENT), ())
    assert said(session) == [m.Changed((api.PayChanged(PAYMENT),))]


def test_changes_of_others_are_dropped_with_the_permission_to_see_them() -> None:
    session = Desk().session(ANN)
    assert do(session, m.Watch(is_on=True))
    session.told(api.PayChanged(PAYMENT), ())
    session.set_permissions(BUYER)
    assert said(session) == [m.PermissionsChanged(BUYER)]


def test_an_app_that_does_not_read_its_answers_is_let_go() -> None:
    session = Desk().session()
    for number in range(QUEUE_MESSAGES_MAX):
        request = ask(session, m.ListResults(), number)
        assert request is not None
        session.list_results(number)
    assert session.ended is None
    assert ask(session, m.ListResults()) is not None
    session.list_results(1)
    assert session.ended is not None
    assert session.ended.code is CloseCode.OVERLOADED


def test_long_answers_count_by_their_bytes() -> None:
    session = Desk().session()
    page = m.PendingPage(
        (reports.PendingReport(FRIEND, Currency("C" * 16), UID, True, 1, False, 1),) * 1_000
    )
    answered = 0
    while session.ended is None:
        assert ask(session, m.ListPending()) is not None
        session.finish(7, page)
        answered += 1
    assert session.ended.code is CloseCode.OVERLOADED
    assert 20 < answered < 60


def test_an_answer_that_cannot_be_told_ends_this_connection_only() -> None:
    session = Desk().session()
    assert ask(session, m.GetPay(PAYMENT)) is not None
    session.finish(7, m.PendingPage(() * 3), None, "fine")
    assert said(session) == [m.Result(7, None, "fine", m.PendingPage(()))]
    assert ask(session, m.GetPay(PAYMENT)) is not None
    bad = Invoice(INVOICE_ID, Currency("A B"), NODE, 100)
    session.finish(7, m.Signed(bad))
    assert session.ended is not None
    assert session.ended.code is CloseCode.UNAVAILABLE


# --- the report ---------------------------------------------------------------------------------


def with_friends(state: NodeState, friends: dict[PublicKey, Friend]) -> NodeState:
    return dataclasses.replace(state, friends=friends)


def people(count: int) -> dict[PublicKey, Friend]:
    keys = [PublicKey(number.to_bytes(32, "big")) for number in range(1, count + 1)]
    return {key: Friend(key, f"friend {key[-1]}", (), new_channel(NODE, key)) for key in keys}


def renamed(friend: Friend, name: str) -> Friend:
    return dataclasses.replace(friend, name=name)


def sync(session: AppSession, mirror: ReportMirror, *, is_following: bool = False) -> int:
    """Ask for the report; returns how many friends were told."""
    question = m.Sync(mirror.epoch, mirror.revision, is_following)
    assert ask(session, question, 9) is not None
    session.sync(9, question)
    *pieces, result = said(session)
    assert result == m.Result(9, None, "", m.Done())
    return take(mirror, pieces)


def take(mirror: ReportMirror, pieces: list[m.NodeMessage]) -> int:
    count = 0
    for piece in pieces:
        assert isinstance(piece, m.Report)
        assert mirror.take(piece)
        count += len(piece.friends)
    return count


@covers("APS-01", "APS-02", "CMP-11")
def test_the_report_arrives_whole_and_then_only_what_changed() -> None:
    desk, mirror = Desk(), ReportMirror()
    session = desk.session()
    state = rich_state()
    desk.book.update(state)
    assert sync(session, mirror) == len(state.friends)
    assert mirror.report() == report(state)
    assert sync(session, mirror) == 0
    key = next(iter(state.friends))
    state = with_friends(state, {**state.friends, key: renamed(state.friends[key], "other")})
    assert desk.book.update(state) == (key,)
    assert sync(session, mirror) == 1
    assert mirror.report() == report(state)
    state = dataclasses.replace(state, relays=())
    assert desk.book.update(state) == (None,)
    assert sync(session, mirror) == 0
    assert mirror.report() == report(state)


@covers("APS-02", "RMP-18")
def test_a_relay_that_answers_again_is_news_for_the_head_of_the_report() -> None:
    desk, mirror = Desk(), ReportMirror()
    session, state = desk.session(), rich_state()
    waiting = Connections((ServerReport(NODE, ServerState.WAITING, "no answer"),))
    desk.book.update(state, waiting)
    sync(session, mirror)
    shown = mirror.report()
    assert shown == desk.book.report() == report(state, waiting)
    assert shown.listening_relays == ()
    listening = Connections((ServerReport(NODE, ServerState.CONNECTED, ""),))
    assert desk.book.update(state, listening) == (None,)
    assert desk.book.update(state, listening) == ()
    assert sync(session, mirror) == 0
    shown = mirror.report()
    assert shown == report(state, listening)
    assert (shown.listening_relays, shown.connected_index) == ((NODE,), None)


def test_nothing_can_be_reported_before_somebody_looked() -> None:
    with pytest.raises(InvariantError):
        Desk().book.report()


def test_a_long_report_comes_in_pieces_and_counts_only_when_complete() -> None:
    desk, mirror = Desk(), ReportMirror()
    session = desk.session()
    state = NodeState(NODE, friends=people(150))
    desk.book.update(state)
    question = m.Sync()
    assert ask(session, question) is not None
    session.sync(7, question)
    *pieces, _ = said(session)
    assert len(pieces) == 3
    for piece in pieces[:-1]:
        assert take(mirror, [piece]) > 0
        assert mirror.report() is None
    take(mirror, pieces[-1:])
    assert mirror.report() == report(state)


def test_what_changes_between_two_pieces_is_told_with_the_last() -> None:
    desk, mirror = Desk(), ReportMirror()
    session = desk.session()
    state = NodeState(NODE, friends=people(150))
    desk.book.update(state)
    question = m.Sync()
    assert ask(session, question) is not None
    session.sync(7, question)
    first = session.take()
    assert first is not None
    piece = decode_node_message(first)
    assert isinstance(piece, m.Report)
    told = piece.friends[0].public_key
    state = with_friends(state, {**state.friends, told: renamed(state.friends[told], "new")})
    session.report_changed(desk.book.update(state))
    *rest, _ = said(session)
    take(mirror, [piece, *rest])
    assert mirror.report() == report(state)


def test_a_follower_is_told_of_every_change_and_a_slow_one_less_often() -> None:
    desk, mirror = Desk(), ReportMirror()
    session = desk.session()
    state = NodeState(NODE, friends=people(3))
    desk.book.update(state)
    sync(session, mirror, is_following=True)
    key = next(iter(state.friends))
    for number in range(500):
        name = f"name {number}"
        state = with_friends(state, {**state.friends, key: renamed(state.friends[key], name)})
        session.report_changed(desk.book.update(state))
    pieces = said(session)
    assert len(pieces) == 1
    take(mirror, pieces)
    assert mirror.report() == report(state)
    sync(session, mirror)
    session.report_changed(desk.book.update(with_friends(state, {})))
    assert said(session) == []


def test_a_reconnected_app_is_told_only_what_it_missed() -> None:
    desk, mirror = Desk(), ReportMirror()
    state = NodeState(NODE, friends=people(10))
    desk.book.update(state)
    sync(desk.session(), mirror)
    first, second, *_ = state.friends
    friends = {**state.friends, second: renamed(state.friends[second], "new")}
    del friends[first]
    state = with_friends(state, friends)
    desk.book.update(state)
    assert sync(desk.session(), mirror) == 1
    assert mirror.report() == report(state)


def test_a_revision_of_another_run_or_of_the_future_begins_anew() -> None:
    state = NodeState(NODE, friends=people(4))
    for epoch, revision in ((Uid(b"x" * 16), 1), (EPOCH, 99)):
        desk, mirror = Desk(), ReportMirror()
        desk.book.update(state)
        session = desk.session()
        question = m.Sync(epoch, revision)
        assert ask(session, question) is not None
        session.sync(7, question)
        piece, _ = said(session)
        assert isinstance(piece, m.Report)
        assert piece.since is None
        take(mirror, [piece])
        assert mirror.report() == report(state)


def test_the_mirror_refuses_what_does_not_go_on_from_what_it_knows() -> None:
    mirror = ReportMirror()
    head = m.ReportHead(NODE, (), (), 0, 0, Connections())
    assert mirror.take(m.Report(EPOCH, None, 5, head, (), ()))
    assert mirror.report() is not None
    assert not mirror.take(m.Report(EPOCH, 6, 7, None, (), ()))
    assert mirror.report() is None
    assert (mirror.epoch, mirror.revision) == (None, 0)
    assert mirror.take(m.Report(EPOCH, None, 5, head, (), ()))
    assert not mirror.take(m.Report(Uid(b"x" * 16), 5, 6, None, (), ()))


def test_removed_friends_are_remembered_up_to_a_bound() -> None:
    desk, mirror = Desk(), ReportMirror()
    state = NodeState(NODE, friends=people(REMOVED_REMEMBERED + 5))
    desk.book.update(state)
    sync(desk.session(), mirror)
    first = next(iter(state.friends))
    state = with_friends(state, {first: state.friends[first]})
    desk.book.update(state)
    assert desk.book.changed_since(EPOCH, 1) is None
    sync(desk.session(), mirror)
    assert mirror.report() == report(state)


def test_a_friend_that_is_added_again_is_there_again() -> None:
    desk, mirror = Desk(), ReportMirror()
    session = desk.session()
    state = NodeState(NODE, friends=people(2))
    desk.book.update(state)
    sync(session, mirror)
    key = next(iter(state.friends))
    rest = {other: friend for other, friend in state.friends.items() if other != key}
    desk.book.update(with_friends(state, rest))
    sync(session, mirror)
    desk.book.update(state)
    sync(session, mirror)
    assert mirror.report() == report(state)


def test_without_read_a_follower_is_told_nothing_any_more() -> None:
    desk, mirror = Desk(), ReportMirror()
    session = desk.session()
    state = NodeState(NODE, friends=people(2))
    desk.book.update(state)
    sync(session, mirror, is_following=True)
    session.set_permissions(BUYER)
    session.report_changed(desk.book.update(with_friends(state, {})))
    assert said(session) == [m.PermissionsChanged(BUYER)]


def test_no_app_can_have_the_key_that_stands_for_local_programs() -> None:
    from offset_engine.core.crypto import is_valid_identity  # noqa: PLC0415

    assert not is_valid_identity(LOCAL_OWNER)


def test_what_does_not_fit_into_a_message_is_cut_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, mirror = Desk(), ReportMirror()
    state = NodeState(NODE, friends=people(60))
    desk.book.update(state)
    session = desk.session()
    monkeypatch.setattr(app_session, "MESSAGE_BYTES_MAX", 3_000)
    question = m.Sync()
    assert ask(session, question) is not None
    session.sync(7, question)
    *pieces, _ = said(session)
    assert len(pieces) > 3
    take(mirror, pieces)
    assert mirror.report() == report(state)
    assert ask(session, m.ListPending()) is not None
    entry = reports.PendingReport(FRIEND, USD, UID, True, 1, False, 1)
    session.finish(7, m.PendingPage((entry,) * 100))
    limit = api.CommandFault.LIMIT_REACHED
    assert said(session) == [m.Result(7, limit, "an answer so long", None)]
    monkeypatch.setattr(app_session, "MESSAGE_BYTES_MAX", 10)
    assert ask(session, question) is not None
    session.sync(7, question)
    assert session.take() is None
    assert session.ended is not None
    assert session.ended.code is CloseCode.UNAVAILABLE
