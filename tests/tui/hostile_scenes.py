"""Every screen and dialog over a card whose friends, invoices, servers and apps try whatever they can.

Source: tui.md §15, the hostile fixture.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from textual.screen import Screen

from offset_engine.client import AppPermissions, PayFailure, PayStage, PendingReport
from offset_engine.core.values import CREDITS_MAX, Currency, Rate, RelayAddress, Uid
from offset_engine.files import Answer, Servers, Terms, invite_hash
from offset_engine.text import safe
from offset_tui.app import OffsetApp
from offset_tui.demo.chat import ChatScreen
from offset_tui.dialogs.add_server import AddServerDialog
from offset_tui.dialogs.base import Ask, Confirm, Notice, TypeToConfirm
from offset_tui.dialogs.edits import FeeDialog, LimitDialog, RenameDialog, ToldDialog
from offset_tui.dialogs.fields import Field, FieldsDialog, Switch
from offset_tui.dialogs.hand_over import HandOverScreen
from offset_tui.dialogs.importing import ImportDialog
from offset_tui.dialogs.invoice_share import InvoiceQrScreen, InvoiceShareScreen
from offset_tui.dialogs.pick import Decide, Pick
from offset_tui.dialogs.qr import QrScreen
from offset_tui.dialogs.secret_share import SecretShareScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.dialogs.share_text import TextShareScreen
from offset_tui.dispute_words import letter
from offset_tui.doors import AppKey, CardInfo, CardKind, CardPlace, ChatLine, VillageChat
from offset_tui.keymap import TABS
from offset_tui.screens.accept import AcceptAnswerScreen, AcceptInviteScreen
from offset_tui.screens.add_friend import AddFriendScreen
from offset_tui.screens.apps import AppsScreen
from offset_tui.screens.bills import BillsScreen
from offset_tui.screens.commit import CommitScreen
from offset_tui.screens.connect import ConnectScreen
from offset_tui.screens.currency import CurrencyScreen
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.friend_relays import FriendRelaysScreen
from offset_tui.screens.friend_token import FriendTokenScreen
from offset_tui.screens.help import TopicScreen
from offset_tui.screens.inconsistent import InconsistentScreen
from offset_tui.screens.invite import InviteScreen
from offset_tui.screens.invoice import InvoiceScreen
from offset_tui.screens.logs import LogScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.payment import PaymentScreen
from offset_tui.screens.pending import PendingScreen
from offset_tui.screens.rebalance import RebalanceScreen
from offset_tui.screens.receipt import ReceiptScreen
from offset_tui.screens.setup import SetupScreen
from offset_tui.screens.split import SplitScreen
from offset_tui.screens.token import TokenScreen
from offset_tui.screens.unlock import LockScreen
from offset_tui.screens.use_servers import ServersScreen
from offset_tui.state import Line
from tests.tui import money_scenes as money
from tests.tui import people_scenes as people
from tests.tui.card_scenes import RCARD, LivelyClient, StoreDoor
from tests.tui.scenes import OUSD, TOLD, friend, key, line, report, server
from tests.tui.test_proofs import TOKENS

LONG = "x" * 400
NAMES = (*people.HOSTILE[:-1], LONG, money.HOSTILE)
AMOUNTS = (0, 1, CREDITS_MAX, -CREDITS_MAX)
MARKUP = Currency("[@click=app.q]")
"""A currency may be called so."""
EVIL = NAMES[0]
_SHORT = money.HOSTILE[:60]
"""As long as a dialog has room for."""
_WORDS = money.HOSTILE[:190]
"""As many bytes as a node takes."""

_SHARE = f"{_SHORT} (share 1 of 2, {_SHORT} in all)"

_BOUGHT = money.invoice(CREDITS_MAX, _WORDS, EVIL, number=11)
_SOLD = money.invoice(CREDITS_MAX, _WORDS, "Eve", number=12)
_HELD = money.invoice(1, _WORDS, "Eve", number=13, currency=MARKUP)


class Chat(VillageChat):
    """Neighbours nobody would like."""

    you = "Eve"
    names = NAMES
    lines = tuple(ChatLine(at, name, "Eve", money.HOSTILE) for at, name in enumerate(NAMES, 1))

    def name_of(self, key: object) -> str:
        """Always that one."""
        return EVIL

    def send(self, name: str, text: str) -> None:
        """Nobody answers."""

    def offer(self, name: str) -> None:
        """Nobody answers."""

    def stop_relay(self) -> None:
        """Nothing to stop."""


class HostileDoor(StoreDoor):
    """A village with that chat."""

    @property
    def chat(self) -> VillageChat:
        """What neighbours say."""
        return Chat()


def door() -> StoreDoor:
    """The card."""
    friends = [
        friend(name, line(balance=AMOUNTS[at % 4], max_debt=CREDITS_MAX), line(MARKUP, at))
        for at, name in enumerate(NAMES)
    ]
    friends[0] = replace(people.signed(EVIL), currencies=friends[0].currencies)
    friends[1] = replace(people.inconsistent(NAMES[1]), name=NAMES[1])
    shown = report(*friends)
    evil_relay = replace(server("another relay"), address=f"[{EVIL}", name=money.HOSTILE)
    shown = replace(shown, relays=(*shown.relays, evil_relay))
    client = LivelyClient(shown=shown)
    client.pay_list = [
        money.pay(PayStage.FEE_TO_CONFIRM, _BOUGHT, fee=CREDITS_MAX, parts=2),
        money.pay(PayStage.COMMITTED, money.invoice(1, _WORDS, number=14), number=2),
        replace(money.failed(PayFailure.UNKNOWN), payment_id=money.payment_id(3)),
    ]
    client.invoice_list = [
        money.reserved(_SOLD),
        money.sale(_HELD),
        money.sale(money.invoice(CREDITS_MAX, _SHARE, "Eve", number=19)),
    ]
    client.pending_list = [
        PendingReport(key(EVIL), MARKUP, Uid(bytes(16)), True, CREDITS_MAX, False, 0)
    ]
    made = HostileDoor(client=client, kept=TOLD)
    money.with_history(
        made,
        money.paid_record(money.invoice(CREDITS_MAX, _WORDS, EVIL, number=15), 5),
        money.sold(money.invoice(0, _WORDS, "Eve", number=16)),
    )
    for name in ("Eve", NAMES[2][:32]):
        made.infos[name] = CardInfo(
            name,
            key(name),
            CardKind.LOCAL,
            CardPlace.HERE if name == "Eve" else CardPlace.OFF,
            problem="" if name == "Eve" else money.HOSTILE,
        )
    made.app_keys = tuple(AppKey(one, key(one), AppPermissions(read=True)) for one in NAMES)
    return made


def first(made: StoreDoor) -> StoreDoor:
    """With only one card that opens by itself."""
    made.infos = {"Eve": made.infos["Eve"]}
    return made


_LINE = Line(
    key(EVIL),
    safe(EVIL),
    MARKUP,
    balance=CREDITS_MAX,
    i_grant=CREDITS_MAX,
    granted=CREDITS_MAX,
    pending_out=0,
    pending_in=0,
    is_open=True,
    is_removing=False,
)
_ADDRESS = RelayAddress(key("their relay"), "relay.example.org:3000")
_INVITE = replace(people.invite(), card=people.card(_SHORT, Terms(OUSD, 2, CREDITS_MAX)))
_FORM = (Field("one", "One", safe(EVIL)), Switch("two", "Two"))

Make = Callable[[], Screen[Any]]
SCREENS: Final[dict[str, Make]] = {
    "review": lambda: PayReviewScreen(money.invoice(CREDITS_MAX, money.HOSTILE, "Zoe", number=17)),
    "review of a friend's": lambda: PayReviewScreen(money.invoice(0, LONG, EVIL, number=18)),
    "payment with a fee": lambda: PaymentScreen(money.payment_id(1)),
    "payment committed": lambda: PaymentScreen(money.payment_id(2)),
    "payment failed": lambda: PaymentScreen(money.payment_id(3)),
    "invoice reserved": lambda: InvoiceScreen(_SOLD.invoice_id),
    "invoice open": lambda: InvoiceScreen(_HELD.invoice_id),
    "commit": lambda: CommitScreen(money.commit(_SOLD)),
    "receipt": lambda: ReceiptScreen(money.receipt(_BOUGHT)),
    "token": lambda: TokenScreen(TOKENS["huge"]),
    **{
        f"friend {at}": partial(FriendScreen, key(name))
        for at, name in enumerate(NAMES)
        if at in (0, 2, 7)
    },
    "friend relays": lambda: FriendRelaysScreen(key(EVIL)),
    "rebalance": lambda: RebalanceScreen(key(EVIL)),
    "friend token": lambda: FriendTokenScreen(key(EVIL)),
    "inconsistent": lambda: InconsistentScreen(key(NAMES[1])),
    "currency": lambda: CurrencyScreen(key(EVIL)),
    "invite": InviteScreen,
    "accept invite": lambda: AcceptInviteScreen(_INVITE),
    "accept answer": lambda: AcceptAnswerScreen(Answer(_INVITE.card, invite_hash(_INVITE))),
    "add friend": lambda: AddFriendScreen(people.card(_SHORT)),
    "servers": lambda: ServersScreen(Servers(_ADDRESS, _ADDRESS)),
    "apps": lambda: AppsScreen("Eve"),
    "bills": BillsScreen,
    "split": lambda: SplitScreen(lambda _: None),
    "pending": PendingScreen,
    "connect": ConnectScreen,
    "setup": SetupScreen,
    "chat": lambda: ChatScreen(Chat()),
}
"""Name → a screen over a section."""
DIALOGS: Final[dict[str, Make]] = {
    "confirm": lambda: Confirm("Sure?", safe(money.HOSTILE, 400), "Yes"),
    "type to confirm": lambda: TypeToConfirm("Sure?", safe(money.HOSTILE, 400), "word", "Yes"),
    "notice": lambda: Notice("So it is", safe(money.HOSTILE, 400)),
    "ask": lambda: Ask("What?", safe(money.HOSTILE, 400), "value"),
    "pick": lambda: Pick("Which?", "One:", [(str(at), safe(n)) for at, n in enumerate(NAMES)]),
    "decide": lambda: Decide("Which?", "One:", [(str(at), safe(n)) for at, n in enumerate(NAMES)]),
    "import": ImportDialog,
    "add server": lambda: AddServerDialog(report()),
    "fields": lambda: FieldsDialog("Form", safe(money.HOSTILE, 200), _FORM),
    "limit": lambda: LimitDialog(_LINE, 2),
    "told": lambda: ToldDialog(_LINE, 2),
    "fee": lambda: FeeDialog(_LINE, Rate(2**32 - 1, 2**32 - 1), 2),
    "rename": lambda: RenameDialog(money.HOSTILE, lambda _: ""),
    "lock": lambda: LockScreen(money.HOSTILE),
    "log": lambda: LogScreen(None),
    "topic": lambda: TopicScreen("start"),
    "share": lambda: ShareScreen(money.invoice(1, _SHORT), money.HOSTILE),
    "share invoice": lambda: InvoiceShareScreen(_SOLD, money.HOSTILE),
    "qr of an invoice": lambda: InvoiceQrScreen(_SOLD, money.HOSTILE),
    "hand over": lambda: HandOverScreen(money.commit(_SOLD), money.HOSTILE, lambda: None),
    "qr": lambda: QrScreen(money.commit(_SOLD), money.HOSTILE),
    "secret": lambda: SecretShareScreen(RCARD, money.HOSTILE),
    "words": lambda: TextShareScreen(
        letter(people.inconsistent(NAMES[1]), (EVIL, key(EVIL)), lambda _: 2), EVIL, "x.txt"
    ),
}
"""Name → what is shown over a screen."""
SECTIONS: Final = tuple(mode for _, mode, _ in TABS)
ALL: Final = (*SECTIONS, *SCREENS, *DIALOGS)


async def open_scene(app: OffsetApp, name: str) -> None:
    """Show a section, a screen or a dialog."""
    if name in SECTIONS:
        app.action_section(name)
    else:
        await app.push_screen({**SCREENS, **DIALOGS}[name]())
