"""A friend card: somebody new on one form, or new relays of somebody known, old and new side by side.

Source: apps.md §5 S29 (MOB-32, MOB-33), §6.11 (RMP-31); design R31, R41.
"""

from rich.text import Text
from textual.app import ComposeResult

from offset_engine.client import Batch, Command, Currency, EnableFriend, RelayAddress
from offset_engine.errors import OffsetError
from offset_engine.files import FriendCard, Terms
from offset_engine.introducing import Grant, add_card
from offset_engine.text import fingerprint, safe
from offset_tui import people
from offset_tui.dialogs.high_limit import may_trust_so_much
from offset_tui.screens.accept import IntroductionForm
from offset_tui.screens.currency_form import CurrencyForm
from offset_tui.screens.form import checked_name, field_row
from offset_tui.widgets.inputs import LineInput
from offset_tui.widgets.tick import Tick


class AddFriendScreen(CurrencyForm, IntroductionForm):
    """See the module."""

    SECTION = "friends"
    TOPIC = "introduce"
    VERB = "Go on"
    MAY_SKIP = True

    def __init__(self, card: FriendCard) -> None:
        super().__init__()
        self.card = card
        self.CARD = card

    def who(self) -> str:
        """The name typed so far."""
        return IntroductionForm.who(self)

    def suggested(self) -> list[Currency]:
        """What the card offers, then what is used here."""
        offered = [one.currency for one in self.card.terms]
        return list(dict.fromkeys([*offered, *self.used_currencies()]))

    def head(self) -> Text:
        """Whose card it is; for a friend what would change."""
        known = self._known()
        title = "New relays of a friend" if known else "A friend card"
        shown = Text.assemble((f"{title}\n", "bold underline"))
        shown.append_text(self.card_lines())
        if known is None:
            for relay in self.card.relays:
                shown.append(f"reached at {people.server_words(relay.address)}\n")
            for one in self.card.terms:
                shown.append(f"would trust you up to {self.reading(one)}\n")
            return shown
        shown.append(f"\nThis is your friend {self.known_name()} already.\n")
        old = self.session.snapshot.friend(self.card.public_key)
        shown.append("\nrelays now:\n" + _listed(() if old is None else old.remote_relays))
        shown.append("\nrelays in this card:\n" + _listed(self.card.relays))
        return shown

    def _known(self) -> str | None:
        return self.known_name() or None

    def blocked(self) -> str:
        """Our own card, or nothing new."""
        if self.is_own():
            return "This is your own friend card: send it to somebody else. q goes back."
        if not self.card.relays:
            return "This card names no relay, so its owner cannot be reached: ask for a newer one."
        if self._known() is not None:
            try:
                made = add_card(self.session.snapshot.report, self.card, "")
            except OffsetError as problem:
                return str(problem)
            if not made.batch.commands:
                return "Nothing in it is new: you have the same relays already. q goes back."
        return ""

    def fields(self) -> ComposeResult:
        """For somebody new: everything on one form. For a friend: nothing but the button."""
        if self._known() is not None:
            return
        name = LineInput(
            people.typable(self.card.name), id="name", max_length=people.NAME_CHARS_MAX
        )
        yield field_row("What you call them", name)
        offered = [one.currency for one in self.card.terms]
        yield from self.currency_fields(offered[0] if offered else "", has_fee=True)
        yield Tick("connect now", value=True, id="enable")

    async def submit(self) -> None:
        """Add them, or renew the relays."""
        report = self.session.snapshot.report
        is_known = self._known() is not None
        name = self.known_name()
        grants: tuple[Grant, ...] = ()
        terms: tuple[Terms, ...] = ()
        if not is_known:
            name = checked_name(self.text("name"), self.taken_names())
            made_grant = self.grant()
            if made_grant is not None:
                if not await may_trust_so_much(self, self.who(), (made_grant,)):
                    return
                grants = (made_grant[0],)
                terms = self._terms_of(made_grant[0].currency, made_grant[1])
        try:
            made = add_card(report, self.card, name, grants)
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
            return
        if not await self.may_count_differently([one for one in terms if one in self.card.terms]):
            return
        commands = made.batch.commands
        if not is_known and not self.is_on("enable"):
            commands = _without_enabling(commands)
        if await self._do_it(commands, terms):
            told = made.told
            await self.do(
                self.session.save_notebook(self.session.notebook.with_told(made.friend, told))
            )
            self.finish()
            said = "has new relays" if is_known else "is your friend now"
            self.host.tell(
                f"{safe(name, 24)} {said}"
                + ("" if is_known else "; they have to add your card too (y shares it)")
            )

    def _terms_of(self, currency: Currency, decimals: int) -> tuple[Terms, ...]:
        offered = tuple(one for one in self.card.terms if one.currency == currency)
        return offered or (Terms(currency, decimals, 0),)

    async def _do_it(self, commands: tuple[Command, ...], terms: tuple[Terms, ...]) -> bool:
        for one in terms:
            decimals = self.decimals(one.currency)
            kept, _ = await self.do(self.session.use_currency(one.currency, decimals))
            if not kept:
                return False
        done, _ = await self.do(self.session.client.command(Batch(commands)))
        return done


def _without_enabling(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    return tuple(one for one in commands if not isinstance(one, EnableFriend))


def _listed(relays: tuple[RelayAddress, ...]) -> str:
    lines = [
        f"  {people.server_words(one.address)}   key {fingerprint(one.public_key)}\n"
        for one in relays
    ]
    return "".join(lines) or "  none\n"
