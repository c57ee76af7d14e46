"""The acceptance story over real nodes: two people become friends by two texts, and one pays the other.

Counted as `tui.md` and the issue of the app count: Enter, a shortcut, a paste or a list choice is one
interaction; typing and Tab are free.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from textual import events

from offset_engine import files
from offset_engine.client import Client, InvoiceTerms, PayStage, PublicKey
from offset_engine.core.crypto import public_key_of
from offset_engine.core.index import IndexLimits
from offset_engine.core.link import LinkLimits
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import PrivateKey, RelayAddress
from offset_engine.files import Answer, Content, Invite, Servers
from offset_engine.net.connection import NetLimits
from offset_engine.net.engine import Engine
from offset_engine.net.index_service import IndexService
from offset_engine.net.local_client import LocalClient
from offset_engine.net.relay_service import RelayService
from offset_engine.net.services import run_services
from offset_engine.net.transport import Endpoint
from offset_engine.notebook import Notebook
from offset_engine.store import MemoryStore
from offset_engine.text import fingerprint_words
from offset_engine.village import VILLAGE_TIMERS
from offset_tui.app import OffsetApp
from offset_tui.dialogs.pick import Pick
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import CardKind, OpenCard
from offset_tui.screens.accept import AcceptAnswerScreen, AcceptInviteScreen
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.invite import InviteScreen
from offset_tui.screens.use_servers import ServersScreen
from tests.covers import covers
from tests.tui.people_pilot import armed
from tests.tui.scenes import OUSD, FakeDoor, seed
from tests.tui.screens import Pilot, picture, running, settled, until

pytestmark = pytest.mark.anyio

INVITER_MAX = 8
INVITED_MAX = 5


@dataclass(slots=True)
class NodeDoor(FakeDoor):
    """A store with one card whose node is real."""

    real: Client | None = None
    public_key: PublicKey | None = None

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        """The real node."""
        assert self.real is not None
        assert self.public_key is not None
        return OpenCard(name, self.public_key, CardKind.LOCAL, self.real, False, self.chosen)


@dataclass(slots=True)
class Hands:
    """Somebody at a keyboard, counting."""

    app: OffsetApp
    pilot: Pilot[None]
    count: int = 0
    steps: list[str] = field(default_factory=list)

    async def press(self, key: str) -> None:
        """One interaction."""
        await armed(self.app, self.pilot)
        self.count += 1
        self.steps.append(key)
        await self.pilot.press(key)
        await settled(self.app, self.pilot)

    async def paste(self, text: str) -> None:
        """One interaction."""
        self.count += 1
        self.steps.append("paste")
        self.app.post_message(events.Paste(text))
        await settled(self.app, self.pilot)

    async def write(self, text: str) -> None:
        """Typing, and Tab as a tab: free."""
        await self.pilot.press(*("tab" if char == "\t" else char for char in text))
        await settled(self.app, self.pilot)

    async def see(self, screen: type[object]) -> None:
        """This screen comes."""
        await until(self.pilot, lambda: isinstance(self.app.screen, screen))
        await settled(self.app, self.pilot)

    async def read(self, text: str, seconds: float = 15) -> None:
        """This comes on the screen."""
        await until(self.pilot, lambda: text in picture(self.app), seconds)

    def shared(self) -> Content:
        """What the sharing screen shows."""
        screen = self.app.screen
        assert isinstance(screen, ShareScreen)
        return screen.content_shared


def node_door(name: str, engine: Engine) -> NodeDoor:
    """A card that nobody has used yet."""
    return NodeDoor(
        names=[name],
        kept=Notebook(),
        real=LocalClient(engine),
        public_key=public_key_of(seed(name)),
    )


@asynccontextmanager
async def two_cards() -> AsyncIterator[tuple[Servers, NodeDoor, NodeDoor]]:
    """`offset serve` on loopback, and the cards of Alice and Bob, which know nothing of each other."""
    identity = PrivateKey(seed("serve"))
    endpoint = Endpoint(identity, NetLimits(), LinkLimits())
    limits = RelayLimits(connects_per_minute_key=0, dials_per_key_max=64)
    quick = IndexLimits(tick_ms=500, updates_per_second=50, updates_burst=500)
    services = [RelayService(endpoint, limits), IndexService(endpoint, quick)]
    async with anyio.create_task_group() as tasks:
        (address,) = await tasks.start(run_services, endpoint, ("127.0.0.1:0",), services)
        engines = [
            Engine(seed(name), MemoryStore(public_key_of(seed(name))), VILLAGE_TIMERS)
            for name in ("Alice", "Bob")
        ]
        for engine in engines:
            await tasks.start(engine.run)
        place = RelayAddress(public_key_of(identity), address)
        alice, bob = (
            node_door(name, engine) for name, engine in zip(("Alice", "Bob"), engines, strict=True)
        )
        yield Servers(place, place), alice, bob
        tasks.cancel_scope.cancel()


async def invite(hands: Hands, servers: Servers) -> Invite:
    """Alice pastes the servers text, invites Bob up to 150 OUSD and copies one text."""
    await hands.paste(files.to_text(servers))
    await hands.see(ServersScreen)
    await hands.press("enter")
    await hands.read("relay 1/1")
    await hands.press("n")
    await hands.see(Pick)
    await hands.press("enter")
    await hands.see(InviteScreen)
    await hands.write("Bob\tOUSD\t\t150")
    await hands.press("enter")
    await hands.see(ShareScreen)
    await hands.press("y")
    made = hands.shared()
    assert isinstance(made, Invite)
    return made


async def accept(hands: Hands, made: Invite) -> Answer:
    """Bob pastes it, reviews it, trusts Alice up to 200 and copies the answer."""
    await hands.paste(files.to_text(made))
    await hands.see(AcceptInviteScreen)
    shown = picture(hands.app)
    assert "trusts you up to 150.00 OUSD" in shown
    assert fingerprint_words(made.card.public_key) in shown
    assert made.card.relays[0].address in shown
    await hands.write("200")
    assert "= 200.00 OUSD: the most you can lose if Alice disappears" in picture(hands.app)
    await hands.press("enter")
    await hands.see(ShareScreen)
    await hands.press("y")
    answer = hands.shared()
    assert isinstance(answer, Answer)
    await hands.press("q")
    return answer


@covers("RMP-39", "RMP-48")
async def test_two_people_become_friends_by_two_texts_and_one_pays() -> None:
    async with (
        two_cards() as (servers, alice_door, bob_door),
        running(alice_door) as (alice_app, alice_pilot),
        running(bob_door) as (bob_app, bob_pilot),
    ):
        alice, bob = Hands(alice_app, alice_pilot), Hands(bob_app, bob_pilot)
        made = await invite(alice, servers)
        answer = await accept(bob, made)
        await alice.paste(files.to_text(answer))
        await alice.see(AcceptAnswerScreen)
        await alice.press("enter")
        assert alice.count <= INVITER_MAX, alice.steps
        assert bob.count <= INVITED_MAX, bob.steps

        for hands in (alice, bob):
            await hands.press("5")
            await hands.press("enter")
            await hands.see(FriendScreen)
        await bob.read("OUSD  0 settled")
        await bob.read("can pay 150.00 · can be paid 200.00")
        await alice.read("OUSD  0 settled")
        await alice.read("can pay 200.00 · can be paid 150.00")
        await alice.read("● online")

        await pay(bob_door, alice_door)
        await bob.read("−2.00 you owe")
        await bob.read("can pay 148.00 · can be paid 202.00")
        await alice.read("+2.00 owes you")


async def pay(buyer: NodeDoor, seller: NodeDoor) -> None:
    """2.00 OUSD, through the clients; the screens for it have tests of their own."""
    assert buyer.real is not None
    assert seller.real is not None
    invoice = await seller.real.create_invoice(InvoiceTerms(OUSD, 2_00, decimals=2))
    with anyio.fail_after(20):
        payment = await buyer.real.pay(invoice, 0)
        state = await buyer.real.wait_pay(payment, PayStage.COMMITTED)
        assert state.commit is not None, state
        await seller.real.accept_commit(state.commit)
        done = await buyer.real.wait_pay(payment, PayStage.PAID)
    assert done.stage is PayStage.PAID
