"""A card store that behaves: cards come and go, servers and friends a client adds are there afterwards."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from offset_engine.client import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    AppPermissions,
    Batch,
    Command,
    Currency,
    Notice,
    OpenFriendCurrency,
    PublicKey,
    RelayAddress,
    RemoveIndexServer,
    RemoveRelay,
    SetFriendCurrencyMaxDebt,
)
from offset_engine.core.reports import Connections, NodeReport, ServerReport, ServerState
from offset_engine.errors import OffsetError, TransportError
from offset_engine.files import (
    Answer,
    FriendCard,
    Invite,
    RemoteCard,
    Servers,
    Terms,
    invite_hash,
    to_json_line,
    to_text,
)
from offset_engine.notebook import Notebook
from offset_tui.doors import (
    AppKey,
    AppSettings,
    BackupView,
    CardInfo,
    CardKind,
    CardPlace,
    NeedsPassphraseError,
    OpenCard,
)
from tests.tui import scenes
from tests.tui.scenes import NOW_MS, OUSD, FakeClient, FakeDoor, key, line, seed

SERVED = RelayAddress(key("host"), "offset.example.org:3000")
SERVERS = Servers(SERVED, SERVED)
ALICE = FriendCard(key("Alice"), (SERVED,), "Alice", (Terms(OUSD, 2, 150_00),))
INVITE = Invite(ALICE, SERVERS)
ANSWER = Answer(FriendCard(key("Bob"), (SERVED,), "Bob", ()), invite_hash(INVITE))
RCARD = RemoteCard(key("Office"), "office.example.org:3001", seed("app"))


def fresh_report(name: str = "Bob") -> NodeReport:
    """A card just made."""
    return NodeReport(key(name), (), (), (), 0, 0, Connections())


@dataclass(slots=True)
class LivelyClient(FakeClient):
    """Servers and friends that are added are there, and connected."""

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        """Carry out what the journeys need."""
        told = await FakeClient.command(self, command)
        for one in command.commands if isinstance(command, Batch) else (command,):
            self._apply(one)
        self.tell()
        return told

    def _apply(self, command: Command) -> None:
        shown = self.shown
        match command:
            case AddRelay():
                shown = replace(shown, relays=(*shown.relays, command.relay))
            case AddIndexServer():
                shown = replace(shown, index_servers=(*shown.index_servers, command.server))
            case RemoveRelay():
                kept = tuple(o for o in shown.relays if o.public_key != command.public_key)
                shown = replace(shown, relays=kept)
            case RemoveIndexServer():
                kept = tuple(o for o in shown.index_servers if o.public_key != command.public_key)
                shown = replace(shown, index_servers=kept)
            case AddFriend():
                shown = replace(shown, friends=(*shown.friends, _friend(command)))
            case SetFriendCurrencyMaxDebt() | OpenFriendCurrency():
                shown = _with_currency(shown, command.friend, command.currency)
            case _:
                return
        self.shown = replace(
            shown,
            connections=Connections(
                tuple(_up(one.public_key) for one in shown.relays),
                tuple(_up(one.public_key) for one in shown.index_servers),
            ),
        )


def _friend(command: AddFriend):
    return replace(scenes.friend(command.name), public_key=command.friend)


def _with_currency(shown: NodeReport, friend: PublicKey, currency: Currency) -> NodeReport:
    def changed(one):
        if one.public_key != friend or any(c.currency == currency for c in one.currencies):
            return one
        return replace(one, currencies=(*one.currencies, line(currency)))

    return replace(shown, friends=tuple(changed(one) for one in shown.friends))


def _up(public_key: PublicKey) -> ServerReport:
    return ServerReport(public_key, ServerState.CONNECTED, "")


@dataclass(slots=True)
class StoreDoor(FakeDoor):
    """See the module; starts empty."""

    client: FakeClient = field(default_factory=lambda: LivelyClient(shown=fresh_report()))
    kept: Notebook = field(default_factory=Notebook)
    names: list[str] = field(default_factory=list)
    infos: dict[str, CardInfo] = field(default_factory=dict)
    opened: str | None = None
    app_keys: tuple[AppKey, ...] = ()
    granted: AppPermissions = AppPermissions(read=True, buyer=True)  # noqa: RUF009 - a value
    is_test_failing: bool = False
    is_backup_failing: bool = False
    kept_app: AppSettings = field(default_factory=AppSettings)

    @property
    def first(self) -> str | None:
        """Only if there is exactly one."""
        return next(iter(self.infos)) if len(self.infos) == 1 else None

    async def cards(self) -> tuple[CardInfo, ...]:
        """By name."""
        return tuple(self.infos[name] for name in sorted(self.infos))

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        """Open, if the passphrase is right."""
        info = self.infos[name]
        if info.is_locked and passphrase != "right":
            raise NeedsPassphraseError("wrong passphrase")
        if info.problem:
            raise OffsetError(info.problem)
        self.done.append(f"open {name}")
        self.opened = name
        if info.place is CardPlace.OFF:
            self.infos[name] = replace(info, place=CardPlace.HERE)
        address = self.chosen.serve_address
        text = ""
        if address:
            place = RelayAddress(key(name), address)
            text = to_text(Servers(place, place))
        shown = self.client.shown.local_public_key
        return OpenCard(name, shown, info.kind, self.client, False, self.chosen, "", text)

    async def close(self, name: str) -> None:
        """Off."""
        self.done.append(f"close {name}")
        self.infos[name] = replace(self.infos[name], place=CardPlace.OFF)

    async def leave_running(self, name: str) -> OpenCard:
        """From now on in the background."""
        self.done.append(f"leave running {name}")
        self.chosen = replace(self.chosen, stays_online=True)
        return await self.open(name, "right")

    async def go_offline(self, name: str) -> None:
        """Off."""
        self.done.append(f"go offline {name}")
        await self.close(name)

    async def create(self, name: str, passphrase: str | None = None) -> CardInfo:
        """One more."""
        if name in self.infos:
            raise OffsetError(f"there is a card {name} already: choose another name")
        self.done.append(f"create {name}{' with passphrase' if passphrase else ''}")
        info = CardInfo(
            name, key(name), CardKind.LOCAL, CardPlace.OFF, is_locked=passphrase is not None
        )
        self.infos[name] = info
        return info

    async def add_remote(self, name: str, text: str) -> CardInfo:
        """One more that runs elsewhere."""
        self.done.append(f"add remote {name}")
        info = CardInfo(
            name, RCARD.node_public_key, CardKind.REMOTE, CardPlace.OFF, address=RCARD.node_address
        )
        self.infos[name] = info
        return info

    async def test(self, name: str, passphrase: str | None = None) -> AppPermissions:
        """As the scene says."""
        self.done.append(f"test {name}")
        if self.is_test_failing:
            raise TransportError("office.example.org:3001 does not answer")
        return self.granted

    async def rename(self, name: str, new_name: str) -> None:
        """Another name."""
        self.done.append(f"rename {name} {new_name}")
        self.infos[new_name] = replace(self.infos.pop(name), name=new_name)

    async def set_enabled(self, name: str, *, is_enabled: bool) -> None:
        """On or off."""
        self.infos[name] = replace(self.infos[name], is_enabled=is_enabled)

    async def set_passphrase(self, name: str, old: str | None, new: str | None) -> None:
        """Only with the right old one."""
        if self.infos[name].is_locked and old != "right":
            raise NeedsPassphraseError("wrong passphrase")
        self.infos[name] = replace(self.infos[name], is_locked=new is not None)

    async def remove(self, name: str) -> Path:
        """One less."""
        self.done.append(f"remove {name}")
        del self.infos[name]
        return Path("trash") / name

    async def backup(
        self, name: str, target: Path, passphrase: str, card_passphrase: str | None = None
    ) -> None:
        """Remembered in the settings."""
        if self.is_backup_failing:
            raise OffsetError(f"{target} cannot be written: no space left")
        self.done.append(f"backup {name} {target.name}")
        self.chosen = replace(self.chosen, backed_up_ms=NOW_MS)

    async def read_backup(self, source: Path, passphrase: str) -> BackupView:
        """Only with the right passphrase."""
        if passphrase != "right":
            raise NeedsPassphraseError("wrong passphrase")
        return BackupView(
            "Eve",
            key("Eve"),
            NOW_MS - 86_400_000,
            "This backup is a day old.\n\nWhat was paid since is not in it: every friend has to confirm"
            " before this card signs anything, and where you disagree you see both numbers.",
        )

    async def restore(self, source: Path, passphrase: str, name: str | None = None) -> CardInfo:
        """One more."""
        self.done.append(f"restore {source.name}")
        info = CardInfo(name or "Eve", key("Eve"), CardKind.LOCAL, CardPlace.OFF)
        self.infos[info.name] = info
        return info

    async def new_app_key(self, name: str, app_name: str, permissions: AppPermissions) -> str:
        """A secret of the scene."""
        self.done.append(f"app key {name} {app_name}")
        self.app_keys = (*self.app_keys, AppKey(app_name, key(app_name), permissions))
        return to_json_line(RCARD)

    async def apps(self, name: str) -> tuple[AppKey, ...]:
        """As the scene says."""
        return self.app_keys

    async def remove_app(self, name: str, app_name: str) -> None:
        """One less."""
        self.app_keys = tuple(one for one in self.app_keys if one.name != app_name)

    async def run_servers(self, name: str, address: str) -> OpenCard:
        """The card uses them itself too."""
        if ":" not in address:
            raise OffsetError("an address ends in ':' and a port from 1 to 65535")
        self.done.append(f"run servers {address}")
        self.chosen = replace(self.chosen, serve_address=address)
        place = scenes.NamedAddress(key(name), address, "own")
        await self.client.command(Batch((AddRelay(place), AddIndexServer(place))))
        return await self.open(name, "right")

    async def stop_servers(self, name: str) -> OpenCard:
        """None from now on."""
        self.done.append("stop servers")
        self.chosen = replace(self.chosen, serve_address="")
        return await self.open(name, "right")

    async def app_settings(self) -> AppSettings:
        """Kept."""
        return self.kept_app

    async def save_app_settings(self, settings: AppSettings) -> None:
        """Kept."""
        self.kept_app = settings


def with_cards(**changes: CardInfo) -> StoreDoor:
    """A store with Eve's card, as every section needs one, and those given."""
    door = StoreDoor(client=LivelyClient(), kept=scenes.TOLD)
    door.infos["Eve"] = CardInfo("Eve", key("Eve"), CardKind.LOCAL, CardPlace.OFF)
    door.infos.update(changes)
    return door


__all__ = ["ALICE", "ANSWER", "INVITE", "RCARD", "SERVERS", "StoreDoor", "with_cards"]
