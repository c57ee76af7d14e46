"""One more currency with a friend: name, limit, fee and whether it is open, on one form.

Source: apps.md §5 S33 (MOB-37); design R8, R31.
"""

from rich.text import Text
from textual.app import ComposeResult

from offset_engine.client import (
    Batch,
    Command,
    Currency,
    OpenFriendCurrency,
    PublicKey,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_engine.text import fingerprint
from offset_tui import people, state
from offset_tui.dialogs.high_limit import may_trust_so_much
from offset_tui.screens.currency_form import CurrencyForm
from offset_tui.screens.form import FieldError
from offset_tui.widgets.tick import Tick


class CurrencyScreen(CurrencyForm):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    VERB = "Use this currency"

    def __init__(self, key: PublicKey) -> None:
        super().__init__()
        self.key = key

    def who(self) -> str:
        """The friend."""
        return state.friend_names(self.session.snapshot.report).get(self.key, "this friend")

    def suggested(self) -> list[Currency]:
        """What the friend lists and we do not use with them yet, then what is used elsewhere."""
        friend = self.session.snapshot.friend(self.key)
        if friend is None:
            return []
        used = {one.currency for one in friend.currencies}
        known = [*friend.remote_currencies, *self.used_currencies()]
        return [one for one in dict.fromkeys(known) if one not in used]

    def head(self) -> Text:
        """Whom it is with, and what they use."""
        shown = Text.assemble((f"A currency with {self.who()} · {fingerprint(self.key)}", "bold"))
        friend = self.session.snapshot.friend(self.key)
        used = set() if friend is None else {one.currency for one in friend.currencies}
        theirs = [] if friend is None else [c for c in friend.remote_currencies if c not in used]
        if theirs:
            shown.append(f"\n{self.who()} would use {', '.join(theirs)} with you")
        return shown

    def blocked(self) -> str:
        """The friend may be gone."""
        is_gone = self.session.snapshot.friend(self.key) is None
        return "This friend is no longer on this card." if is_gone else ""

    def fields(self) -> ComposeResult:
        """The currency, and whether payments of others may pass at once."""
        known = self.suggested()
        yield from self.currency_fields(known[0] if len(known) == 1 else "", has_fee=True)
        yield Tick("open: payments of others may pass at once", value=True, id="open")

    async def submit(self) -> None:
        """Set limit and fee, and open it."""
        made = self.grant()
        if made is None:
            raise FieldError("currency", "required")
        grant, decimals = made
        friend = self.session.snapshot.friend(self.key)
        if friend is not None and any(one.currency == grant.currency for one in friend.currencies):
            raise FieldError("currency", "this currency is in use with this friend already")
        if not await may_trust_so_much(self, self.who(), (made,)):
            return
        commands: list[Command] = [
            SetFriendCurrencyMaxDebt(self.key, grant.currency, grant.max_debt),
            SetFriendCurrencyRate(self.key, grant.currency, grant.rate),
        ]
        if self.is_on("open"):
            commands.append(OpenFriendCurrency(self.key, grant.currency))
        is_kept, _ = await self.do(self.session.use_currency(grant.currency, decimals))
        if not is_kept:
            return
        is_done, _ = await self.do(self.session.client.command(Batch(tuple(commands))))
        if is_done:
            self.close()
            said = people.money(grant.max_debt, grant.currency, decimals)
            self.host.tell(f"{grant.currency} with {self.who()}: you trust them up to {said}")
