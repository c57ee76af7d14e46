"""Two texts make a friendship, and everything that does not fit is said in a sentence."""

from dataclasses import replace

import pytest

from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    EnableFriend,
    OpenFriendCurrency,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendRelays,
)
from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.report import report
from offset_engine.core.reports import NodeReport
from offset_engine.core.state import NodeState
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    NamedAddress,
    PrivateKey,
    PublicKey,
    Rate,
    RelayAddress,
)
from offset_engine.files import Answer, Invite, Terms, invite_hash, read_any, to_text
from offset_engine.introducing import (
    NONCE_BYTES,
    AnsweredInvite,
    Changes,
    Grant,
    IntroductionError,
    LimitChange,
    accept_answer,
    accept_invite,
    add_card,
    changes_of,
    invite_to,
    own_card,
    use_servers,
)

OUSD = Currency("OUSD")
NOW_S = 1_795_000_000
NONCE = b"\x07" * NONCE_BYTES


def key(name: str) -> PublicKey:
    return public_key_of(PrivateKey(sha512_256(name.encode())))


SERVER = NamedAddress(key("server"), "192.0.2.1:3000", "Alice")


def node(name: str, *servers: NamedAddress) -> NodeReport:
    """What a node without friends reports."""
    return replace(report(NodeState(key(name))), relays=servers, index_servers=servers)


ALICE = node("Alice", SERVER)
BOB = node("Bob")


def invite() -> Invite:
    made, _ = invite_to(ALICE, "Alice", [Terms(OUSD, 2, 150_00)], NOW_S, "Bob", nonce=NONCE)
    return made


def test_invite_and_answer_make_both_sides_friends() -> None:
    made, sent = invite_to(ALICE, "Alice", [Terms(OUSD, 2, 150_00)], NOW_S, "Bob", nonce=NONCE)
    (pasted,) = read_any(to_text(made))
    assert pasted.content == made
    bobs = accept_invite(BOB, made, "Bob", "Alice", (Grant(OUSD, 200_00, Rate(0, 1)),))
    assert bobs.batch.commands == (
        AddRelay(SERVER),
        AddIndexServer(SERVER),
        AddFriend(key("Alice"), (SERVER.relay,), "Alice"),
        EnableFriend(key("Alice")),
        SetFriendCurrencyMaxDebt(key("Alice"), OUSD, 200_00),
        SetFriendCurrencyRate(key("Alice"), OUSD, Rate(0, 1)),
        OpenFriendCurrency(key("Alice"), OUSD),
    )
    assert bobs.told == (Terms(OUSD, 2, 150_00),)
    answer = bobs.answer
    assert answer is not None
    assert answer.card.relays == (SERVER.relay,)
    assert answer.card.terms == (Terms(OUSD, 2, 200_00),)
    alices = accept_answer(ALICE, answer, [sent], "Bob")
    assert alices.batch.commands == (
        AddFriend(key("Bob"), (SERVER.relay,), "Bob"),
        EnableFriend(key("Bob")),
        SetFriendCurrencyMaxDebt(key("Bob"), OUSD, 150_00),
        OpenFriendCurrency(key("Bob"), OUSD),
    )
    assert alices.told == (Terms(OUSD, 2, 200_00),)
    assert alices.answer is None


def test_own_servers_are_kept_when_an_invite_brings_others() -> None:
    own = NamedAddress(key("own"), "192.0.2.9:3000", "mine")
    bobs = accept_invite(node("Bob", own), invite(), "Bob", "Alice", ())
    assert not any(isinstance(one, AddRelay | AddIndexServer) for one in bobs.batch.commands)
    assert bobs.answer is not None
    assert bobs.answer.card.relays == (own.relay,)


def test_servers_that_are_there_already_are_not_added_again() -> None:
    servers = invite().servers
    assert servers is not None
    assert use_servers(ALICE, servers, "again") == ()


def test_a_known_friend_gets_new_relays_and_limits_only() -> None:
    first = add_card(ALICE, own_card(node("Bob", SERVER), "Bob"), "Bob", [Grant(OUSD, 5)])
    assert not first.is_known
    state = NodeState(key("Alice"))
    known = replace(ALICE, friends=(friend_of(state),))
    elsewhere = NamedAddress(key("other"), "192.0.2.7:3000")
    again = add_card(known, own_card(node("Bob", elsewhere), "Bob"), "Bob", [Grant(OUSD, 7)])
    assert again.is_known
    assert again.batch.commands == (
        SetFriendRelays(key("Bob"), (elsewhere.relay,)),
        SetFriendCurrencyMaxDebt(key("Bob"), OUSD, 7),
    )
    same = add_card(known, own_card(node("Bob", SERVER), "Bob"), "Bob")
    assert same.batch.commands == ()


def test_two_invites_with_the_same_terms_are_two() -> None:
    terms = [Terms(OUSD, 2, 150_00)]
    (first, for_bob), (second, for_carol) = (
        invite_to(ALICE, "Alice", terms, NOW_S, name, nonce=bytes([at]) * NONCE_BYTES)
        for at, name in ((1, "Bob"), (2, "Carol"))
    )
    assert for_bob.invite_hash != for_carol.invite_hash
    # Knowing the card and guessing the terms is not enough.
    guessed = Answer(own_card(node("Eve", SERVER), "Bob"), invite_hash(Invite(first.card, None)))
    with pytest.raises(IntroductionError, match="no invite of this card"):
        accept_answer(ALICE, guessed, [for_bob, for_carol], "Bob")
    answer = Answer(own_card(node("Carol", SERVER), "Carol"), invite_hash(second))
    assert accept_answer(ALICE, answer, [for_bob, for_carol], "Carol").friend == key("Carol")


def test_an_answered_invite_is_used_up_and_its_friend_may_renew_relays() -> None:
    sent = invite_to(ALICE, "Alice", [Terms(OUSD, 2, 9)], NOW_S, "Bob", nonce=NONCE)[1]
    used = AnsweredInvite(sent.invite_hash, key("Bob"))
    eves = Answer(own_card(node("Eve", SERVER), "Eve"), sent.invite_hash)
    with pytest.raises(IntroductionError, match="answered already"):
        accept_answer(ALICE, eves, [], "Eve", [used])
    known = replace(ALICE, friends=(friend_of(NodeState(key("Alice"))),))
    elsewhere = NamedAddress(key("other"), "192.0.2.7:3000")
    again = Answer(own_card(node("Bob", elsewhere), "Bob"), sent.invite_hash)
    made = accept_answer(known, again, [], "Bob", [used])
    assert made.batch.commands == (SetFriendRelays(key("Bob"), (elsewhere.relay,)),)
    with pytest.raises(IntroductionError, match="answered already"):
        accept_answer(ALICE, again, [], "Bob", [used])  # he is no friend any more


def test_what_an_introduction_changes_about_a_friend_is_told() -> None:
    bob = friend_of(NodeState(key("Alice")))
    known = replace(ALICE, friends=(bob,))
    elsewhere = NamedAddress(key("other"), "192.0.2.7:3000")
    other = Currency("BREAD")
    limit = bob.currencies[0].max_debt
    grants = [Grant(OUSD, limit + 1), Grant(other, 5)]
    made = add_card(known, own_card(node("Bob", elsewhere), "Bob"), "Bob", grants)
    assert changes_of(known, made) == Changes(
        (SERVER.relay,),
        (elsewhere.relay,),
        (LimitChange(OUSD, limit, limit + 1), LimitChange(other, None, 5)),
    )
    same = add_card(known, own_card(node("Bob", SERVER), "Bob"), "Bob", [Grant(OUSD, limit)])
    assert not changes_of(known, same)
    assert not changes_of(ALICE, add_card(ALICE, own_card(node("Bob", SERVER), "Bob"), "Bob"))


def friend_of(state: NodeState):
    """Bob, as Alice's report shows him."""
    from tests.tui.scenes import friend, line  # noqa: PLC0415 - a report made by hand

    bob = friend("Bob", line(OUSD))
    return replace(bob, public_key=key("Bob"), remote_relays=(SERVER.relay,))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(IntroductionError, match="no relay"):
        own_card(BOB, "Bob")
    with pytest.raises(IntroductionError, match="your own card"):
        add_card(ALICE, own_card(ALICE, "Alice"), "me")
    made, sent = invite_to(ALICE, "Alice", [], NOW_S, nonce=NONCE)
    answer = accept_invite(BOB, made, "Bob", "Alice", ()).answer
    assert answer is not None
    with pytest.raises(IntroductionError, match="no invite of this card"):
        accept_answer(ALICE, answer, [replace(sent, invite_hash=invite_hash(invite()))], "Bob")
    with pytest.raises(IntroductionError, match="no relay"):
        accept_invite(BOB, replace(made, servers=None), "Bob", "Alice", ())
    with pytest.raises(IntroductionError, match="limit"):
        add_card(ALICE, own_card(node("Bob", SERVER), "Bob"), "B", [Grant(OUSD, CREDITS_MAX + 1)])
    unreachable = replace(
        own_card(node("Bob", SERVER), "Bob"), relays=(RelayAddress(key("r"), "nonsense"),)
    )
    with pytest.raises(IntroductionError, match="cannot be reached"):
        add_card(ALICE, unreachable, "Bob")
    assert made.servers is not None
    bad = replace(made.servers, relay=RelayAddress(key("r"), "nonsense"))
    with pytest.raises(IntroductionError, match="cannot be dialled"):
        use_servers(BOB, bad, "x")
