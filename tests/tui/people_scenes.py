"""Friends in every state, strange names and huge amounts, for the screens about people."""

from dataclasses import replace

from offset_engine.core.crypto import expand_seed, sha512_256, sign
from offset_engine.core.reports import FriendReport, NodeReport, TermsReport
from offset_engine.core.signing import BalanceInfo, TokenInfo, info_hash, move_token_buffer
from offset_engine.core.token_channel import MoveTokenHashed
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    HashResult,
    RandValue,
    Rate,
    RelayAddress,
)
from offset_engine.files import FriendCard, Invite, Servers, Terms
from tests.tui.scenes import (
    HOURS,
    OUSD,
    FakeClient,
    FakeDoor,
    friend,
    key,
    line,
    report,
    seed,
    server,
)

ESC_NAME = "Bob\x1b]52;c;aGk=\x07"
RLO_NAME = "Bob\u202egnp.exe"
MARKUP_NAME = "[@click=app.quit]pay me[/] [/]"
LOOKS_LIKE_BOB = "B\u043eb"
"""With a Cyrillic letter."""
HOSTILE = (
    ESC_NAME,
    RLO_NAME,
    MARKUP_NAME,
    LOOKS_LIKE_BOB,
    "漢字の友だち",
    "👩‍👩‍👧 family",
    "n" * 120,
    "",
)


def door(*friends: FriendReport, **more: object) -> FakeDoor:
    """A card with these friends."""
    return FakeDoor(FakeClient(report(*friends)), **more)  # type: ignore[arg-type]


def states() -> tuple[FriendReport, ...]:
    """One friend in each state."""
    return (
        friend("Anna", line(balance=5_00)),
        friend("Ben", line(balance=-1_00), is_online=False),
        replace(friend("Carla", line(balance=2_00), is_online=False), is_enabled=False),
        inconsistent("Dora"),
        replace(friend("Emil", line(balance=7_00)), is_quarantined=True),
        unreadable("Frida"),
        friend("Gina"),
    )


def unreadable(name: str) -> FriendReport:
    """What this friend sends cannot be read."""
    return replace(friend(name, line(balance=3_00), is_online=False), is_unreadable=True)


def inconsistent(name: str, *, is_known: bool = True, is_acceptable: bool = True) -> FriendReport:
    """Each side proposes other balances: we lose 2.00 OUSD and gain 1.00 HOURS with theirs."""
    mine = TermsReport(_hash("mine"), 1, ((HOURS, 4_00), (OUSD, 12_00)), is_acceptable=False)
    theirs = TermsReport(
        _hash("theirs"), 1, ((HOURS, 5_00), (OUSD, 10_00)), is_acceptable=is_acceptable
    )
    return replace(
        friend(name, line(balance=None), line(HOURS, None, 20_00)),
        is_consistent=False,
        local_terms=mine,
        remote_terms=theirs if is_known else None,
        remote_currencies=(),
    )


def hostile() -> tuple[FriendReport, ...]:
    """Names that try things."""
    return (
        friend("Bob", line(balance=1_00)),
        *(friend(name, line(balance=at)) for at, name in enumerate(HOSTILE)),
    )


def huge() -> tuple[FriendReport, ...]:
    """The largest amounts there are."""
    return (
        friend("Bob", line(balance=CREDITS_MAX, max_debt=CREDITS_MAX, rate=Rate(2**31, 2**31))),
        friend("Charli", line(balance=-CREDITS_MAX, max_debt=CREDITS_MAX, into=CREDITS_MAX)),
    )


def signed(name: str = "Bob") -> FriendReport:
    """A friend who signed balances: +12.00 OUSD for us."""
    info = TokenInfo(key(name), key("Eve"), ((OUSD, BalanceInfo(-12_00, 0, 3_00)),), 1, 42)
    prefix, nonce = _hash("prefix"), RandValue(bytes(16))
    token = sign(expand_seed(seed(name)), move_token_buffer(prefix, info_hash(info), nonce))
    return replace(
        friend(name, line(balance=12_00)),
        last_incoming=MoveTokenHashed(prefix, info, nonce, token),
    )


def private_relays(name: str = "Bob") -> FriendReport:
    """A friend with a public relay, one of ours, one in a foreign house and one without any sense."""
    return replace(
        friend(name, line(balance=12_00)),
        remote_relays=(
            RelayAddress(key("away"), "relay.example.org:3000"),
            server("relay").relay,
            RelayAddress(key("house"), "192.168.7.7:3000"),
        ),
    )


PLACES = tuple(
    RelayAddress(key(f"place {at}"), f"{name}.example.org:3000")
    for at, name in enumerate(("old", "club", "new"))
)
"""Where somebody is reached."""


def card(name: str, *terms: Terms, relays: tuple[RelayAddress, ...] | None = None) -> FriendCard:
    """A friend card."""
    places = (RelayAddress(key("their relay"), "relay.example.org:3000"),)
    return FriendCard(key(name), places if relays is None else relays, name, terms)


def invite(name: str = "Alice", limit: int = 150_00, decimals: int = 2) -> Invite:
    """An invite with servers."""
    place = RelayAddress(key("their relay"), "relay.example.org:3000")
    return Invite(card(name, Terms(OUSD, decimals, limit)), Servers(place, place))


def without_servers(node: NodeReport) -> NodeReport:
    """A card that nobody can reach yet."""
    return replace(node, relays=(), index_servers=(), connections=type(node.connections)())


def _hash(name: str) -> HashResult:
    return HashResult(sha512_256(name.encode()))


SHELLS = Currency("SHELLS")
