"""A card without a node: a client that shows what it is given and notes what it is asked, and a door to it.

Everything is the same on every run: keys are hashes of names, the clock stands still at a date of 2026.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from offset_engine.cards.settings import CardSettings
from offset_engine.client import (
    Batch,
    Client,
    Command,
    CommandFault,
    CommandRefusedError,
    HistoryEntry,
    HistoryKind,
    InvoiceTerms,
    Notice,
    RequestRoutes,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
    Watcher,
)
from offset_engine.core.app_messages import AppPermissions
from offset_engine.core.crypto import expand_seed, public_key_of, sha512_256, sign
from offset_engine.core.reports import (
    Connections,
    CurrencyReport,
    FriendReport,
    InvoiceRecord,
    InvoiceReport,
    NodeReport,
    PayReport,
    PendingReport,
    ServerReport,
    ServerState,
)
from offset_engine.core.signing import DECIMALS_NONE, Invoice, invoice_buffer
from offset_engine.core.values import (
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    Rate,
)
from offset_engine.files import Terms
from offset_engine.notebook import Notebook, merged
from offset_tui.doors import (
    AppKey,
    BackupView,
    CardDoor,
    CardInfo,
    CardKind,
    CardPlace,
    DoorEvents,
    NeedsPassphraseError,
    OpenCard,
)

OUSD = Currency("OUSD")
HOURS = Currency("HOURS")
NOW_MS = 1_795_000_000_000
"""UTC: 2026-11-18."""


def seed(name: str) -> PrivateKey:
    """A private key that belongs to a name."""
    return PrivateKey(sha512_256(f"scene {name}".encode()))


def key(name: str) -> PublicKey:
    """The public key that belongs to a name."""
    return public_key_of(seed(name))


def server(name: str, port: int = 3000) -> NamedAddress:
    """A relay or index server."""
    return NamedAddress(key(name), f"127.0.0.1:{port}", name)


def line(
    currency: Currency = OUSD,
    balance: int | None = 0,
    max_debt: int = 200_00,
    rate: Rate = Rate(),  # noqa: B008 - a value
    out: int = 0,
    into: int = 0,
    *,
    is_open: bool = True,
) -> CurrencyReport:
    """One currency with a friend."""
    return CurrencyReport(currency, rate, max_debt, is_open, False, balance, out, into)


def friend(name: str, *currencies: CurrencyReport, is_online: bool = True) -> FriendReport:
    """A friend in order."""
    return FriendReport(
        public_key=key(name),
        name=name,
        remote_relays=(server("relay").relay,),
        is_enabled=True,
        is_online=is_online,
        is_consistent=True,
        is_quarantined=False,
        is_unreadable=False,
        currencies=currencies,
        remote_currencies=tuple(one.currency for one in currencies),
        local_terms=None,
        remote_terms=None,
        last_incoming=None,
        token_info=None,
        has_token=True,
        pending=sum(1 for one in currencies if one.local_pending_debt or one.remote_pending_debt),
        lost=(),
    )


def report(*friends: FriendReport, is_connected: bool = True) -> NodeReport:
    """A node with one relay and one index server."""
    relay, index = server("relay"), server("index", 3001)
    state = ServerState.CONNECTED if is_connected else ServerState.WAITING
    return NodeReport(
        key("Eve"),
        (relay,),
        (index,),
        tuple(sorted(friends, key=lambda one: (one.name, one.public_key))),
        0,
        0,
        Connections(
            (ServerReport(relay.public_key, state, ""),),
            (ServerReport(index.public_key, state, ""),),
        ),
    )


def village_report() -> NodeReport:
    """Eve's friends, as most pictures show them."""
    return report(
        friend("Bob", line(balance=12_00), line(HOURS, -2_50, 20_00)),
        friend("Charli", line(balance=-31_45, max_debt=150_00, rate=Rate(21474837, 1))),
        friend("Daniel", line(balance=0, out=5_00), is_online=False),
        friend("Grace", line(balance=None)),
    )


TOLD = (
    Notebook()
    .with_told(key("Bob"), (Terms(OUSD, 2, 150_00), Terms(HOURS, 2, 10_00)))
    .with_told(key("Charli"), (Terms(OUSD, 2, 100_00),))
)


@dataclass(slots=True)
class FakeWatcher(Watcher):
    """Tells nothing but what the test says."""

    client: "FakeClient"
    seen: int = 0

    async def next(self) -> tuple[Notice, ...]:
        """Wait until the test changes something."""
        while self.seen == self.client.version:
            await self.client.changed.wait()
        self.seen = self.client.version
        return ()


@dataclass(slots=True)
class FakeClient(Client):
    """See the module; set its fields and call `tell`."""

    shown: NodeReport = field(default_factory=village_report)
    pay_list: list[PayReport] = field(default_factory=list)
    invoice_list: list[InvoiceReport] = field(default_factory=list)
    pending_list: list[PendingReport] = field(default_factory=list)
    past: dict[HistoryKind, list[HistoryEntry]] = field(default_factory=dict)
    asked: list[Command | Batch] = field(default_factory=list)
    """Every command, in order."""
    routes: dict[RoutesWish, list[RoutesResult]] = field(default_factory=dict)
    """Answers to questions about routes, the last of which is given again and again."""
    questions: list[RequestRoutes] = field(default_factory=list)
    refusal: CommandFault | None = None
    """Refuse the next commands with this."""
    version: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)

    def tell(self) -> None:
        """Something changed."""
        self.version += 1
        self.changed.set()
        self.changed = anyio.Event()

    @property
    def is_connected(self) -> bool:
        """Always."""
        return True

    @property
    def permissions(self) -> AppPermissions:
        """Everything."""
        return AppPermissions(True, True, True, True, True, True)

    @property
    def node(self) -> PublicKey | None:
        """The card's key."""
        return self.shown.local_public_key

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        """Note it."""
        self.asked.append(command)
        if self.refusal is not None:
            raise CommandRefusedError(self.refusal, "")
        return ()

    async def report(self) -> NodeReport:
        """What the test shows."""
        return self.shown

    async def reports(self) -> AsyncGenerator[NodeReport, None]:
        """Again whenever the test says so."""
        seen = -1
        while True:
            while seen == self.version:
                await self.changed.wait()
            seen = self.version
            yield self.shown

    async def pay_report(self, payment_id: PaymentId) -> PayReport | None:
        """From the list."""
        return next((one for one in self.pay_list if one.payment_id == payment_id), None)

    async def invoice_report(self, invoice_id: InvoiceId) -> InvoiceReport | InvoiceRecord | None:
        """From the list, or history."""
        past = [one.record for one in self.past.get(HistoryKind.INVOICES, [])]
        records = [one for one in past if isinstance(one, InvoiceRecord)]
        known: list[InvoiceReport | InvoiceRecord] = [*self.invoice_list, *records]
        return next((one for one in known if one.invoice.invoice_id == invoice_id), None)

    async def pays(self) -> tuple[PayReport, ...]:
        """The list."""
        return tuple(self.pay_list)

    async def invoices(self) -> tuple[InvoiceReport, ...]:
        """The list."""
        return tuple(self.invoice_list)

    async def pending(self, limit: int = 1_000, skip: int = 0) -> tuple[PendingReport, ...]:
        """The list."""
        return tuple(self.pending_list[skip : skip + limit])

    async def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = 100
    ) -> list[HistoryEntry]:
        """A page."""
        entries = [one for one in self.past.get(kind, []) if before is None or one.number < before]
        return sorted(entries, key=lambda one: -one.number)[:limit]

    async def ask_routes(self, question: RequestRoutes) -> RoutesResult:
        """What the test says; else no server answers."""
        self.questions.append(question)
        answers = self.routes.get(question.wish, [])
        if not answers:
            return RoutesResult(question.request_id, RoutesOutcome.UNANSWERED)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def sign_invoice(self, terms: InvoiceTerms) -> Invoice:
        """Signed with the scene's key, its id made of what it asks."""
        created = NOW_MS // 1000
        unsigned = Invoice(
            InvoiceId(sha512_256(f"{terms}".encode())),
            terms.currency,
            self.shown.local_public_key,
            terms.amount,
            terms.description,
            created,
            0 if terms.lasts_s is None else created + terms.lasts_s,
            DECIMALS_NONE if terms.decimals is None else terms.decimals,
        )
        return replace(unsigned, signature=sign(expand_seed(seed("Eve")), invoice_buffer(unsigned)))

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Watcher]:
        """Changes the test tells."""
        yield FakeWatcher(self, self.version)


@dataclass(slots=True)
class FakeDoor(CardDoor):
    """A store with one card, open at once; notes what it is asked."""

    client: FakeClient = field(default_factory=FakeClient)
    kept: Notebook = TOLD
    chosen: CardSettings = field(default_factory=CardSettings)
    names: list[str] = field(default_factory=lambda: ["Eve"])
    done: list[str] = field(default_factory=list)
    """What was asked, as words."""
    events: DoorEvents | None = None
    is_ssh: bool = False

    @property
    def is_over_ssh(self) -> bool:
        """As the test says."""
        return self.is_ssh

    @property
    def first(self) -> str | None:
        """The first card, if there is one."""
        return self.names[0] if self.names else None

    def set_events(self, events: DoorEvents) -> None:
        """Keep it."""
        self.events = events

    async def cards(self) -> tuple[CardInfo, ...]:
        """All of them."""
        return tuple(
            CardInfo(name, key(name), CardKind.LOCAL, CardPlace.HERE if at == 0 else CardPlace.OFF)
            for at, name in enumerate(self.names)
        )

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        """The card of the scene."""
        self.done.append(f"open {name}")
        return OpenCard(name, key("Eve"), CardKind.LOCAL, self.client, False, self.chosen)

    async def close(self, name: str) -> None:
        """Noted."""
        self.done.append(f"close {name}")

    async def leave_running(self, name: str) -> OpenCard:
        """Noted."""
        self.done.append(f"leave running {name}")
        return await self.open(name)

    async def go_offline(self, name: str) -> None:
        """Noted."""
        self.done.append(f"go offline {name}")

    async def test(self, name: str, passphrase: str | None = None) -> AppPermissions:
        """Everything."""
        return self.client.permissions

    async def check_passphrase(self, name: str, passphrase: str) -> None:
        """Only `right` is."""
        if passphrase != "right":
            raise NeedsPassphraseError("wrong passphrase")

    async def create(self, name: str, passphrase: str | None = None) -> CardInfo:
        """One more."""
        self.names.append(name)
        self.done.append(f"create {name}")
        return CardInfo(name, key(name), CardKind.LOCAL, CardPlace.OFF)

    async def add_remote(self, name: str, text: str) -> CardInfo:
        """One more."""
        self.names.append(name)
        return CardInfo(name, key(name), CardKind.REMOTE, CardPlace.OFF)

    async def rename(self, name: str, new_name: str) -> None:
        """Noted."""
        self.names[self.names.index(name)] = new_name

    async def set_enabled(self, name: str, *, is_enabled: bool) -> None:
        """Noted."""
        self.done.append(f"enabled {name} {is_enabled}")

    async def set_passphrase(self, name: str, old: str | None, new: str | None) -> None:
        """Noted."""
        self.done.append(f"passphrase {name}")

    async def remove(self, name: str) -> Path:
        """One less."""
        self.names.remove(name)
        return Path("trash") / name

    async def backup(
        self, name: str, target: Path, passphrase: str, card_passphrase: str | None = None
    ) -> None:
        """Noted."""
        self.done.append(f"backup {name} {target}")

    async def read_backup(self, source: Path, passphrase: str) -> BackupView:
        """A backup of the scene's card."""
        return BackupView("Eve", key("Eve"), NOW_MS, "an older copy may cost what was paid since")

    async def restore(self, source: Path, passphrase: str, name: str | None = None) -> CardInfo:
        """Noted."""
        self.done.append(f"restore {source}")
        return await self.create(name or "restored")

    async def new_app_key(self, name: str, app_name: str, permissions: AppPermissions) -> str:
        """A text that stands for a secret."""
        self.done.append(f"app key {name} {app_name}")
        return "{}"

    async def apps(self, name: str) -> tuple[AppKey, ...]:
        """None."""
        return ()

    async def remove_app(self, name: str, app_name: str) -> None:
        """Noted."""
        self.done.append(f"remove app {app_name}")

    async def settings(self, name: str) -> CardSettings:
        """What the test set."""
        return self.chosen

    async def save_settings(self, name: str, settings: CardSettings) -> None:
        """Kept."""
        self.chosen = settings

    async def notebook(self, name: str) -> Notebook:
        """What the test set."""
        return self.kept

    async def save_notebook(self, name: str, before: Notebook, after: Notebook) -> Notebook:
        """Kept."""
        self.kept = merged(before, after, self.kept)
        return self.kept

    async def run_servers(self, name: str, address: str) -> OpenCard:
        """Noted."""
        self.done.append(f"run servers {address}")
        return await self.open(name)

    async def stop_servers(self, name: str) -> OpenCard:
        """Noted."""
        self.done.append("stop servers")
        return await self.open(name)
