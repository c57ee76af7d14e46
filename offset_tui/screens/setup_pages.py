"""The pages of the first run: what they show and what was typed into them. They do nothing by themselves.

Source: tui.md §7, §14; issue of the app, "First run".
"""

from pathlib import Path
from typing import Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widgets import Label, Static

from offset_engine.client import AppPermissions
from offset_engine.files import Artifact, Invite, RemoteCard
from offset_engine.text import fingerprint, iso_local, safe
from offset_tui import reviews
from offset_tui.dialogs.backup import problem_of
from offset_tui.doors import BackupView
from offset_tui.screens.unlock import PASSPHRASE_MAX
from offset_tui.widgets.inputs import LineInput, PasteArea, Problem
from offset_tui.widgets.tick import Tick

NAME_MAX: Final = 64
_WELCOME: Final = (
    "Offset is a credit card powered by trust. You and your friends keep small balances with each other,"
    " each within a limit you choose yourself, and over friends of friends you can pay people you have"
    " never met. There is no bank and no company: your key and your balances stay on this computer. Nothing"
    " is sent anywhere before you agree to it.\n"
)
_PASTE: Final = "Paste what somebody gave you, or press Enter to begin without anything."
_WHAT: Final = (
    "It may be an invite, a servers text, a friend card; or type the path of a file: a backup of a card, or a"
    " .rcard, the key to a card that runs elsewhere. You see what it is before it is used."
    "\n\nEnter goes on, Esc goes back a step."
)
_WHO_LEARNS: Final = (
    "Nobody learns of this card yet. Its key is made and kept on this computer. Friends you invite will see"
    " the card's name and key; servers you choose later see key and network address."
)
_REMOTE: Final = (
    "Whoever has this .rcard can use the card: keep the file secret, and delete copies you no longer"
    " need. Enter connects to the address above, and shows what you may do there."
)


class WelcomeBox(PasteArea):
    """Takes anything; Enter, and a paste, send it."""

    class Sent(Message):
        """Go on with this text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Sent(self.text))
            return
        await super()._on_key(event)
        event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        await super()._on_paste(event)
        if self.text.strip():
            self.post_message(self.Sent(self.text))


class Page(VerticalScroll, can_focus=False):
    """One page; what is wrong and what is going on is said at its end."""

    def say_busy(self, words: str) -> None:
        """Something slow goes on."""
        self.say_more(Text(words, "dim"))

    def say_more(self, words: Text) -> None:
        """What came of it; nothing takes no room."""
        busy = self.query_one(".busy", Static)
        busy.update(words)
        busy.display = bool(words)

    def line(self, id: str) -> LineInput:
        """A field."""
        return self.query_one(f"#{id}", LineInput)

    def foot(self) -> ComposeResult:
        """Where problems and progress are said."""
        yield Problem()
        busy = Static(classes="busy", markup=False)
        busy.display = False
        yield busy


class WelcomePage(Page):
    """What this is, and one box."""

    def compose(self) -> ComposeResult:
        """Six lines, the box, what it takes."""
        yield Static(Text(_WELCOME))
        yield Static(Text(_PASTE, "bold"))
        yield WelcomeBox(id="given")
        yield Problem()
        yield Static(Text(_WHAT, "dim"), classes="busy", markup=False)


class NamePage(Page):
    """Name, and what can wait: passphrase, backup."""

    def __init__(self, *, id: str, classes: str, is_over_ssh: bool) -> None:
        super().__init__(id=id, classes=classes)
        self._is_over_ssh = is_over_ssh

    def compose(self) -> ComposeResult:
        """One form, so that Enter after the name is enough."""
        yield Static(id="given-words", markup=False)
        name = LineInput(id="card-name", max_length=NAME_MAX)
        yield _field("Name of the card", name, is_first=True)
        yield Static(Text("Friends see it in invites; you can change it.", "dim"))
        yield _field(
            "Passphrase",
            _secret("passphrase", "empty = none; nobody can recover it"),
            is_first=True,
        )
        yield _field("The same again", _secret("again", ""))
        yield _field(
            "Backup file",
            LineInput(id="backup", placeholder="empty = later; Home reminds you", max_length=1_024),
        )
        yield _field(
            "Its passphrase", _secret("backup-passphrase", "whoever finds the file needs it")
        )
        box = Tick(
            Text("Stay online when this terminal goes (you came over SSH)"),
            True,
            id="stays",
            compact=True,
        )
        box.display = self._is_over_ssh
        yield box
        yield from self.foot()
        yield Static(Text(_WHO_LEARNS, "dim"), classes="note")

    def begin(self, pasted: Artifact | None) -> None:
        """Say what will happen with what was pasted."""
        words = "No servers and no friends yet: they come next."
        if pasted is not None:
            words = f"You gave {_called(pasted)}: you look at it as soon as the card exists."
        self.query_one("#given-words", Static).update(Text(words))

    @property
    def card_name(self) -> str:
        """As typed."""
        return self.line("card-name").value.strip()

    @property
    def passphrase(self) -> str:
        """Of the card; "" = none."""
        return self.line("passphrase").value

    @property
    def backup_path(self) -> str:
        """Where to; "" = later."""
        return self.line("backup").value.strip()

    @property
    def backup_passphrase(self) -> str:
        """Of the backup."""
        return self.line("backup-passphrase").value

    @property
    def stays_online(self) -> bool | None:
        """What was chosen; None = not asked."""
        return self.query_one("#stays", Tick).value if self._is_over_ssh else None

    def clear_backup(self) -> None:
        """It is written."""
        self.line("backup").value = ""
        self.line("backup-passphrase").value = ""

    def problem(self) -> tuple[str, str]:
        """(what is wrong, the field) or two empty strings."""
        if not self.card_name:
            return "give the card a name, like your own", "#card-name"
        if self.passphrase != self.line("again").value:
            return "type the passphrase twice, the same both times", "#again"
        if self.backup_path or self.backup_passphrase:
            wrong = problem_of(self.backup_path, self.backup_passphrase)
            focus = "#backup-passphrase" if "passphrase" in wrong else "#backup"
            return (wrong, focus) if wrong else ("", "")
        return "", ""


class RemotePage(Page):
    """A card that runs elsewhere: whose, where, what it allows."""

    is_tested: bool = False
    """It answered."""

    def compose(self) -> ComposeResult:
        """What the file says, a name, the result of the test."""
        yield Static(id="remote-words", markup=False)
        yield _field("What you call it", LineInput(id="remote-name", max_length=NAME_MAX))
        yield from self.foot()
        yield Static(Text(_REMOTE, "dim"), classes="note")

    def begin(self, card: RemoteCard) -> None:
        """Another .rcard."""
        self.is_tested = False
        shown = Text("key      ")
        shown.append(f"{fingerprint(card.node_public_key)}\n", "bold")
        shown.append("address  ")
        shown.append(f"{safe(card.node_address, 60)}\n", "bold")
        self.query_one("#remote-words", Static).update(shown)
        self.say_busy("")

    @property
    def card_name(self) -> str:
        """As typed."""
        return self.line("remote-name").value.strip()

    def show_test(self, granted: AppPermissions | None) -> None:
        """What came of the test."""
        self.is_tested = granted is not None
        if granted is None:
            self.say_busy(
                "The card is kept; Enter tests it again, and on Cards t does. Is its node running?"
            )
            return
        words = Text("It answers. You may: ", "bold")
        words.append(permission_words(granted))
        words.append("\nEnter opens it.", "bold")
        self.say_more(words)


class RestorePage(Page):
    """A backup: whose, of when, what an older copy may cost."""

    def compose(self) -> ComposeResult:
        """The path, the passphrase, what is in it, a name."""
        yield Static(id="restore-words", markup=False)
        yield _field(
            "Its passphrase", _secret("restore-passphrase", "as given when it was written")
        )
        yield _field("What you call it", LineInput(id="restore-name", max_length=NAME_MAX))
        yield from self.foot()

    def begin(self, path: Path) -> None:
        """Another file."""
        self.query_one("#restore-words", Static).update(Text(f"Backup {safe(str(path), 200)}\n"))
        self.line("restore-passphrase").value = ""
        self.show_view(None)

    @property
    def passphrase(self) -> str:
        """Of the backup."""
        return self.line("restore-passphrase").value

    @property
    def card_name(self) -> str:
        """As typed."""
        return self.line("restore-name").value.strip()

    def show_view(self, view: BackupView | None) -> None:
        """What is in it; None = not known (yet)."""
        name = self.line("restore-name")
        row = name.parent
        if row is not None:
            row.display = view is not None
        shown = Text()
        if view is not None:
            name.value = safe(view.name, NAME_MAX)
            shown.append(f"{safe(view.name, 40)} · {fingerprint(view.public_key)}", "bold")
            shown.append(f", written {iso_local(view.taken_ms)}\n\n")
            shown.append(safe_lines(view.warning))
            shown.append("\n\nEnter makes the card from it.", "bold")
            name.focus()
        self.say_more(shown)


def permission_words(granted: AppPermissions) -> str:
    """What an app may do, in words."""
    words = (
        (granted.read, "see friends and balances"),
        (granted.buyer, "pay"),
        (granted.seller, "get paid"),
        (granted.config, "change friends and limits"),
        (granted.transactions, "see all payments"),
        (granted.routes, "ask for routes"),
    )
    return ", ".join(text for is_on, text in words if is_on) or "nothing"


def safe_lines(text: str) -> str:
    """Paragraphs of ours, each line made safe."""
    return "\n".join(safe(one, 2_000) for one in text.split("\n"))


def _called(pasted: Artifact) -> str:
    content = pasted.content
    if isinstance(content, Invite):
        name = safe(content.card.name, 30).strip() or "somebody"
        return f"an invite of {name} · {fingerprint(content.card.public_key)}"
    return reviews.kind_of(content).value


def _field(label: str, field: LineInput, *, is_first: bool = False) -> Horizontal:
    classes = "setup-field -first" if is_first else "setup-field"
    return Horizontal(Label(Text(label)), field, classes=classes)


def _secret(id: str, hint: str) -> LineInput:
    return LineInput(id=id, password=True, placeholder=hint, max_length=PASSPHRASE_MAX)
