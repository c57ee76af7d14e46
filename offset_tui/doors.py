"""What the app needs from the process it runs in: cards to open, and a way to leave them running.

The app never sees a node, a thread or a process: it gets a `Client` and is told when it stops working.
`offset_tui.main` implements `CardDoor` for real, the practice village and the tests with stand-ins. Every
method is called on the app's event loop and may be awaited there: slow work happens elsewhere.

Whatever fails raises an `OffsetError` whose text is the sentence to show; nothing is half done then.
Source: design R47; issue of the app, "Process shape".
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from offset_engine.cards.settings import CardSettings
from offset_engine.client import AppPermissions, Client, PublicKey
from offset_engine.errors import OffsetError
from offset_engine.files import Artifact, Servers, Ticket
from offset_engine.notebook import Notebook


class CardKind(Enum):
    """Where the node of a card is."""

    LOCAL = "local"
    """On this computer, in the card store."""
    REMOTE = "remote"
    """At an address, reached with an app key (.rcard)."""


class CardPlace(Enum):
    """What a card is doing now."""

    OFF = "off"
    HERE = "here"
    """Runs inside this program, and stops with it."""
    BACKGROUND = "background"
    """Runs in a process of its own (`offset run`); the app attaches to it."""


@dataclass(frozen=True, slots=True)
class CardInfo:
    """One card of the store, also if it cannot be opened."""

    name: str
    public_key: PublicKey | None
    """Of the card; None while a locked card does not tell."""
    kind: CardKind
    place: CardPlace
    is_enabled: bool = True
    is_locked: bool = False
    """It needs its passphrase to be opened."""
    address: str = ""
    """Of the node of a remote card."""
    problem: str = ""
    """Why it cannot be opened, as a sentence; empty if it can."""
    warning: str = ""
    """What is not as it should be although it can be used, as a sentence; empty if nothing is."""


@dataclass(frozen=True, slots=True)
class OpenCard:
    """A card ready for use."""

    name: str
    public_key: PublicKey
    kind: CardKind
    client: Client
    is_attached: bool
    """Its node is in another process: closing the app does not stop it."""
    settings: CardSettings
    settings_problem: str = ""
    """A sentence if its settings could not be read: then these are the defaults."""
    servers_text: str = ""
    """Text form of the relay and index server it runs for others, to hand out; empty if it runs none."""


@dataclass(frozen=True, slots=True)
class AppKey:
    """An app that may use a card."""

    name: str
    public_key: PublicKey | None
    permissions: AppPermissions | None
    problem: str = ""
    """Why its ticket cannot be read; empty if it can."""


@dataclass(frozen=True, slots=True)
class BackupView:
    """What a backup holds."""

    name: str
    public_key: PublicKey
    taken_ms: int
    warning: str
    """What using an older copy may cost, as paragraphs."""


class NeedsPassphraseError(OffsetError):
    """The card is locked, and the passphrase is missing or wrong."""


@dataclass(frozen=True, slots=True)
class AppOptions:
    """How the app was started."""

    is_read_only: bool = False
    """Nothing can be changed or paid."""
    has_mouse: bool = True
    is_ascii: bool = False
    """No glyphs beyond ASCII."""
    is_low_bandwidth: bool = False
    """Nothing blinks or moves by itself, and news are shown twice a second at most."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The user's own keys by the id of their action, as `user_keys.load` gives them."""
    given: tuple[Artifact, ...] = ()
    """What the command line named: reviewed once a card is open."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What is set for the app as a whole, whichever card is open."""

    theme: str = ""
    """Name of a theme; "" = the app's own."""


@dataclass(frozen=True, slots=True)
class ChatLine:
    """One message of the village chat."""

    number: int
    """Ascending, from 1."""
    sender: str
    recipient: str
    text: str
    artifact: str = ""
    """Text form of what comes with it; "" if nothing does."""


class VillageChat(Protocol):
    """The practice village's way to hand texts to somebody: what a messenger is elsewhere."""

    you: str
    """The villager whose card is open."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Everybody one can write to."""

    @property
    @abstractmethod
    def lines(self) -> tuple[ChatLine, ...]:
        """Every message kept, oldest first."""

    @abstractmethod
    def name_of(self, key: PublicKey) -> str | None:
        """Who has this key."""

    @abstractmethod
    def send(self, name: str, text: str) -> None:
        """Write to a neighbour; the answer comes as a line."""

    @abstractmethod
    def offer(self, name: str) -> None:
        """Ask a neighbour for an invoice over what they sell."""

    @abstractmethod
    def stop_relay(self) -> None:
        """Have the relay die that everybody uses first."""


class DoorEvents(Protocol):
    """What the app is told, always on its own event loop."""

    @abstractmethod
    def card_died(self, name: str, reason: str) -> None:
        """The node of an open card stopped by itself; its client answers nothing any more."""

    @abstractmethod
    def card_connection(self, name: str, is_connected: bool, reason: str) -> None:  # noqa: FBT001
        """The connection to an attached or remote card was lost or came back; it is retried meanwhile."""


class Keeper(Protocol):
    """Keeps what a card's owner chose and noted; all that a `Session` needs of a door."""

    @abstractmethod
    async def settings(self, name: str) -> CardSettings:
        """The settings on disk; the defaults where there are none."""

    @abstractmethod
    async def save_settings(self, name: str, settings: CardSettings) -> None:
        """Keep them; addresses take effect the next time the card is opened."""

    @abstractmethod
    async def notebook(self, name: str) -> Notebook:
        """What the owner wants remembered besides, as it is now; an empty one where there is none.

        Other programs write it too, so it is asked for again and again: cheap while nothing changed.
        """

    @abstractmethod
    async def save_notebook(self, name: str, before: Notebook, after: Notebook) -> Notebook:
        """Keep what was changed between two states; what others changed meanwhile stays.

        Returns:
            What is kept now, with what others changed.
        """


class CardDoor(Keeper, Protocol):
    """See the module."""

    @property
    @abstractmethod
    def is_over_ssh(self) -> bool:
        """Whether the terminal may go away while the computer goes on: ask about staying online."""

    @property
    @abstractmethod
    def first(self) -> str | None:
        """The card asked for on the command line, else the one used last; None = show the list."""

    @property
    def is_one_named(self) -> bool:
        """Whether one card was asked for by name: the others are left alone then."""
        return False

    @abstractmethod
    def set_events(self, events: DoorEvents) -> None:
        """Tell this app from now on; called once, on its running event loop."""

    @property
    def chat(self) -> VillageChat | None:
        """Neighbours to hand texts to; only the practice village has them."""
        return None

    # --- using cards ----------------------------------------------------------------------------

    @abstractmethod
    async def cards(self) -> tuple[CardInfo, ...]:
        """Every card of the store, by name."""

    @abstractmethod
    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        """Start a card here, or attach to it where it runs; an open one is just returned.

        A card that stays online is started in a process of its own, so that nothing that happens to
        the terminal happens to it.

        Raises:
            NeedsPassphraseError: it is locked and `passphrase` does not open it.
        """

    @abstractmethod
    async def close(self, name: str) -> None:
        """Let go of a card: one that runs here stops (10 s at most), any other goes on."""

    @abstractmethod
    async def leave_running(self, name: str) -> OpenCard:
        """Have a local card run in the background from now on, also next time; returns the new door to it.

        The client given before ends. It takes about a second.
        """

    @abstractmethod
    async def go_offline(self, name: str) -> None:
        """Stop a local card wherever it runs, and do not leave it running next time."""

    @abstractmethod
    async def test(self, name: str, passphrase: str | None = None) -> AppPermissions:
        """Connect to a remote card and return what may be done with it."""

    async def known_servers(self) -> tuple[Servers | Ticket, ...]:
        """The list of servers on this computer; a door that has none has an empty one."""
        return ()

    async def app_settings(self) -> AppSettings:
        """What was set for the app as a whole; a door that keeps nothing has the defaults."""
        return AppSettings()

    async def save_app_settings(self, settings: AppSettings) -> None:
        """Keep it, where there is a place for it."""

    @abstractmethod
    async def check_passphrase(self, name: str, passphrase: str) -> None:
        """Return if it is the right one: for a locked screen, where the card itself goes on.

        Raises:
            NeedsPassphraseError: it is not.
        """

    # --- the store ------------------------------------------------------------------------------

    @abstractmethod
    async def create(self, name: str, passphrase: str | None = None) -> CardInfo:
        """Make a new local card; it is not opened."""

    @abstractmethod
    async def add_remote(self, name: str, text: str) -> CardInfo:
        """Keep a remote card, given as the text of a .rcard; it is not opened."""

    @abstractmethod
    async def rename(self, name: str, new_name: str) -> None:
        """Call a closed card something else."""

    @abstractmethod
    async def set_enabled(self, name: str, *, is_enabled: bool) -> None:
        """A disabled card is kept but never opened."""

    @abstractmethod
    async def set_passphrase(self, name: str, old: str | None, new: str | None) -> None:
        """Lock a local card with a passphrase, change it, or (None) take the lock away."""

    @abstractmethod
    async def remove(self, name: str) -> Path:
        """Take a closed card out of the store; returns the directory it was moved to."""

    @abstractmethod
    async def backup(
        self, name: str, target: Path, passphrase: str, card_passphrase: str | None = None
    ) -> None:
        """Write an encrypted backup, also while it runs; never over an existing file."""

    @abstractmethod
    async def read_backup(self, source: Path, passphrase: str) -> BackupView:
        """Look into a backup without restoring it."""

    @abstractmethod
    async def restore(self, source: Path, passphrase: str, name: str | None = None) -> CardInfo:
        """Make a card from a backup; its friends have to confirm before it signs anything (design R25)."""

    @abstractmethod
    async def new_app_key(self, name: str, app_name: str, permissions: AppPermissions) -> str:
        """Let another device use this card (at `CardSettings.app_address`); returns the secret .rcard text."""

    @abstractmethod
    async def apps(self, name: str) -> tuple[AppKey, ...]:
        """Every app that may use this card."""

    @abstractmethod
    async def remove_app(self, name: str, app_name: str) -> None:
        """Take the permission of an app away; its open connections end within half a second."""

    # --- servers for a household ----------------------------------------------------------------

    @abstractmethod
    async def run_servers(self, name: str, address: str) -> OpenCard:
        """Have an open local card run a relay and an index server too, reached at `address` (host:port).

        Also next time. The card is started anew with them wherever it runs: the client given before ends,
        and the returned door has `servers_text`.

        Raises:
            TransportError: the address cannot be listened at; the card goes on without servers.
        """

    @abstractmethod
    async def stop_servers(self, name: str) -> OpenCard:
        """The opposite, with the same consequences; nothing happens if it runs none."""
