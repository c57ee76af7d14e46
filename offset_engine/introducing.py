"""How two people become friends with two texts: an invite one sends, the answer the other sends back.

Pure: each function turns what a node reports and what a person pasted into commands and texts; whoever
calls it has the commands carried out and keeps what is to be remembered. The same steps serve the terminal
app and the command line.

    Alice   invite_to(...)       → invite text, `SentInvite` to remember
    Bob     accept_invite(...)   → commands, answer text, what Alice said she grants
    Alice   accept_answer(...)   → commands, what Bob said he grants; the invite is used up

Each invite is another one, even with the same terms, and the first answer that is accepted uses it up. Whoever
is a friend already stays who they are: `changes_of` says what would change, so that a person can agree.

A limit somebody says they grant is a promise, not a fact: the node learns what really passes when it pays.

Source: apps.md §7.5; PROTOCOL.md, "Files"; design R8, R31, R41.
"""

from collections.abc import Iterable
from typing import Final

from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    Batch,
    Command,
    EnableFriend,
    OpenFriendCurrency,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendRelays,
)
from offset_engine.core.reports import FriendReport, NodeReport
from offset_engine.core.values import (
    CREDITS_MAX,
    RELAYS_MAX,
    Currency,
    HashResult,
    NamedAddress,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    parse_address,
    value,
)
from offset_engine.errors import OffsetError
from offset_engine.files import Answer, FriendCard, Invite, Servers, Terms, invite_hash

SENT_INVITES_MAX: Final = 256
"""How many invites a card remembers; the oldest is forgotten first."""
ANSWERED_INVITES_MAX: Final = 1_024
"""How many of those that were answered; the oldest is forgotten first."""


NONCE_BYTES: Final = RandValue.SIZE
"""What makes each invite another one."""
USED_UP: Final = "this invite was answered already, and an invite makes one friend: make another one for this person"


class IntroductionError(OffsetError):
    """Two cards cannot be introduced like this; the sentence says what to do."""


@value
class SentInvite:
    """What to remember of an invite until its answer comes."""

    invite_hash: HashResult
    terms: tuple[Terms, ...]
    name: str
    """Whom it was meant for, as its sender calls them; "" = not said."""
    created_s: int
    """UTC seconds."""


@value
class AnsweredInvite:
    """An invite that is used up, and who answered it."""

    invite_hash: HashResult
    friend: PublicKey


@value
class Grant:
    """The limit one sets for a new friend in one currency, in credits, and the fee for forwarding."""

    currency: Currency
    max_debt: int
    rate: Rate = Rate()


@value
class Introduction:
    """What to have the node do, and what to remember of it."""

    batch: Batch
    friend: PublicKey
    told: tuple[Terms, ...]
    """What the other side says it grants us, per currency."""
    answer: Answer | None = None
    """To be sent back; None if nothing is expected."""
    is_known: bool = False
    """The friend was there already: only relays and limits change."""


@value
class LimitChange:
    """A limit we set for a friend, in credits."""

    currency: Currency
    before: int | None
    """None = the currency is not in use with them."""
    after: int


@value
class Changes:
    """What an introduction would change about somebody who is a friend already."""

    relays_before: tuple[RelayAddress, ...] = ()
    relays_after: tuple[RelayAddress, ...] = ()
    """The same if the relays stay."""
    limits: tuple[LimitChange, ...] = ()

    @property
    def has_relays(self) -> bool:
        """Whether the friend would be looked for at other relays."""
        return self.relays_before != self.relays_after

    def __bool__(self) -> bool:
        return self.has_relays or bool(self.limits)


def own_card(report: NodeReport, name: str, terms: Iterable[Terms] = ()) -> FriendCard:
    """The friend card of a node: its key, where it is reachable, and what it offers.

    Raises:
        IntroductionError: the node has no relay, so nobody could reach it.
    """
    relays = tuple(relay.relay for relay in report.relays)
    if not relays:
        raise IntroductionError(
            "this card has no relay yet, so nobody could reach it: add servers first"
        )
    return FriendCard(report.local_public_key, relays[:RELAYS_MAX], name, tuple(terms))


def invite_to(
    report: NodeReport,
    own_name: str,
    terms: Iterable[Terms],
    created_s: int,
    name: str = "",
    *,
    nonce: bytes,
) -> tuple[Invite, SentInvite]:
    """An invite that carries the first relay and index server, for somebody who may have none.

    Args:
        report: the node as it is.
        own_name: what the invite calls us.
        terms: what we offer.
        created_s: UTC seconds.
        name: whom it is for, as we call them.
        nonce: `NONCE_BYTES` nobody can guess, drawn for this invite alone.

    Raises:
        IntroductionError: the node has no relay.
    """
    card = own_card(report, own_name, terms)
    servers = None
    if report.index_servers:
        first = report.index_servers[0]
        servers = Servers(card.relays[0], RelayAddress(first.public_key, first.address))
    invite = Invite(card, servers, RandValue.of(nonce))
    return invite, SentInvite(invite_hash(invite), card.terms, name, created_s)


def use_servers(report: NodeReport, servers: Servers, name: str) -> tuple[Command, ...]:
    """Commands that make a node use a relay and an index server; nothing for those it has already.

    Raises:
        IntroductionError: an address cannot be dialled.
    """
    relay, index = _named(servers.relay, name), _named(servers.index, name)
    found: list[Command] = []
    if relay.relay not in {one.relay for one in report.relays}:
        found.append(AddRelay(relay))
    if index.relay not in {one.relay for one in report.index_servers}:
        found.append(AddIndexServer(index))
    return tuple(found)


def add_card(
    report: NodeReport, card: FriendCard, name: str, grants: Iterable[Grant] = ()
) -> Introduction:
    """Make the owner of a card a friend, or renew the relays of one who is.

    Raises:
        IntroductionError: it is our own card, it names no relay that can be dialled, or a limit is out of range.
    """
    if card.public_key == report.local_public_key:
        raise IntroductionError("this is your own card: send it to somebody else")
    relays = _relays(card)
    known = _friend(report, card.public_key)
    commands: list[Command] = []
    if known is None:
        if not relays:
            raise IntroductionError(
                "this card names no relay, so its owner cannot be reached: ask for a newer one"
            )
        commands += [AddFriend(card.public_key, relays, name), EnableFriend(card.public_key)]
    elif relays and known.remote_relays != relays:
        commands.append(SetFriendRelays(card.public_key, relays))
    for grant in grants:
        commands += _grant(known, card.public_key, grant)
    return Introduction(
        Batch(tuple(commands)), card.public_key, card.terms, is_known=known is not None
    )


def accept_invite(
    report: NodeReport, invite: Invite, own_name: str, name: str, grants: tuple[Grant, ...]
) -> Introduction:
    """Become the friend of whoever sent an invite, using their servers if the node has none of its own.

    Args:
        report: the node as it is.
        invite: what was pasted.
        own_name: what the answer calls us.
        name: what we call the sender.
        grants: limits we set for the sender.

    Raises:
        IntroductionError: as for `add_card`, or the node would have no relay.
    """
    joined: tuple[Command, ...] = ()
    relays = tuple(relay.relay for relay in report.relays)
    if invite.servers is not None and not (report.relays and report.index_servers):
        joined = use_servers(report, invite.servers, name)
        relays += tuple(one.relay.relay for one in joined if isinstance(one, AddRelay))
    if not relays:
        raise IntroductionError(
            "this card has no relay and the invite brings none: add servers first"
        )
    made = add_card(report, invite.card, name, grants)
    decimals = {terms.currency: terms.decimals for terms in invite.card.terms}
    terms = tuple(
        Terms(grant.currency, decimals.get(grant.currency, 255), grant.max_debt) for grant in grants
    )
    answer = Answer(
        FriendCard(report.local_public_key, relays[:RELAYS_MAX], own_name, terms),
        invite_hash(invite),
    )
    return Introduction(
        Batch((*joined, *made.batch.commands)),
        made.friend,
        made.told,
        answer,
        made.is_known,
    )


def is_renewal(report: NodeReport, answer: Answer, answered: Iterable[AnsweredInvite]) -> bool:
    """Whether a friend answers once more the invite that made them one: only relays are news then."""
    used = AnsweredInvite(answer.invite_hash, answer.card.public_key)
    return used in tuple(answered) and _friend(report, used.friend) is not None


def accept_answer(
    report: NodeReport,
    answer: Answer,
    sent: Iterable[SentInvite],
    name: str,
    answered: Iterable[AnsweredInvite] = (),
) -> Introduction:
    """Make whoever answered an invite a friend, with the limits that invite offered.

    Args:
        report: the node as it is.
        answer: what was pasted.
        sent: the invites that wait for an answer.
        name: what we call who answered.
        answered: the invites that are used up; a friend who answers theirs again has the relays renewed.

    Raises:
        IntroductionError: no invite of this card is answered by it, or one that was answered already; as
            for `add_card`.
    """
    used = tuple(answered)
    if is_renewal(report, answer, used):
        return add_card(report, answer.card, name)
    for invite in sent:
        if invite.invite_hash == answer.invite_hash:
            grants = [Grant(terms.currency, terms.limit_offered) for terms in invite.terms]
            return add_card(report, answer.card, name, grants)
    if any(one.invite_hash == answer.invite_hash for one in used):
        raise IntroductionError(USED_UP)
    raise IntroductionError(
        "this answers no invite of this card: open it with the card that sent the invite,"
        " or add the sender as a friend by hand"
    )


def changes_of(report: NodeReport, made: Introduction) -> Changes:
    """What an introduction would change about a friend; nothing if they are none yet."""
    known = _friend(report, made.friend)
    if known is None:
        return Changes()
    relays = known.remote_relays
    limits: list[LimitChange] = []
    used = {one.currency: one.max_debt for one in known.currencies}
    for command in made.batch.commands:
        if isinstance(command, SetFriendRelays):
            relays = command.relays
        elif isinstance(command, SetFriendCurrencyMaxDebt):
            before = used.get(command.currency)
            if before != command.max_debt:
                limits.append(LimitChange(command.currency, before, command.max_debt))
    return Changes(known.remote_relays, relays, tuple(limits))


def _grant(known: FriendReport | None, friend: PublicKey, grant: Grant) -> list[Command]:
    if not 0 <= grant.max_debt <= CREDITS_MAX:
        raise IntroductionError(f"a limit is between 0 and {CREDITS_MAX} credits")
    commands: list[Command] = [SetFriendCurrencyMaxDebt(friend, grant.currency, grant.max_debt)]
    if grant.rate != Rate():
        commands.append(SetFriendCurrencyRate(friend, grant.currency, grant.rate))
    used = () if known is None else tuple(one.currency for one in known.currencies)
    if grant.currency not in used:
        commands.append(OpenFriendCurrency(friend, grant.currency))
    return commands


def _friend(report: NodeReport, key: PublicKey) -> FriendReport | None:
    return next((one for one in report.friends if one.public_key == key), None)


def _relays(card: FriendCard) -> tuple[RelayAddress, ...]:
    """The card's relays that can be dialled, in canonical form."""
    found: list[RelayAddress] = []
    for relay in card.relays[:RELAYS_MAX]:
        try:
            found.append(RelayAddress(relay.public_key, parse_address(relay.address)))
        except ValueError:
            continue
    return tuple(found)


def _named(place: RelayAddress, name: str) -> NamedAddress:
    try:
        address = parse_address(place.address)
    except ValueError as problem:
        raise IntroductionError(f"the server's address cannot be dialled: {problem}") from None
    return NamedAddress(place.public_key, address, name)
