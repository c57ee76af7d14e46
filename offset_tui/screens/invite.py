"""Inviting somebody: a name, a currency, a limit, and one text to send.

Source: apps.md §7.5, §6.11 (RMP-39); issue of the app, "First run"; design R8.
"""

from rich.text import Text
from textual.app import ComposeResult

from offset_engine.client import NAME_BYTES_MAX
from offset_engine.errors import OffsetError
from offset_engine.files import Terms
from offset_engine.introducing import NONCE_BYTES, invite_to
from offset_engine.text import fingerprint_words, safe
from offset_tui import people
from offset_tui.dialogs.high_limit import may_trust_so_much
from offset_tui.dialogs.share import ShareScreen
from offset_tui.screens.currency_form import CurrencyForm
from offset_tui.screens.form import FieldError, field_row
from offset_tui.widgets.inputs import LineInput


class InviteScreen(CurrencyForm):
    """See the module."""

    SECTION = "friends"
    TOPIC = "introduce"
    VERB = "Make the invite"

    def who(self) -> str:
        """The person, once a name is typed."""
        found = self.query("#name")
        typed = found.first(LineInput).value.strip() if found else ""
        return safe(typed, 24) or "them"

    def head(self) -> Text:
        """What happens with it."""
        shown = Text.assemble(("Invite somebody\n", "bold"))
        shown.append(
            "You send them one text, they send one back, and you are friends. Nothing is owed or"
            " granted before you have opened their answer."
        )
        return shown

    def blocked(self) -> str:
        """Nobody could reach a card without servers."""
        if self.session.snapshot.report.relays:
            return ""
        return (
            "This card has no servers yet, so nobody could reach it. Paste the servers text somebody"
            " gave you (q, then c), or have the other person invite you: an invite brings servers."
        )

    def fields(self) -> ComposeResult:
        """Who, and what they may owe."""
        yield field_row("Who is it for", LineInput(id="name", max_length=people.NAME_CHARS_MAX))
        known = self.suggested()
        yield from self.currency_fields(known[0] if known else "", has_fee=False)

    async def submit(self) -> None:
        """Make the text, remember what it offers, and hand it over."""
        name = self.text("name")
        if len(name.encode(errors="replace")) > NAME_BYTES_MAX:
            raise FieldError("name", f"a name has at most {NAME_BYTES_MAX} bytes")
        made = self.grant()
        if made is None:
            raise FieldError("currency", "required")
        if not await may_trust_so_much(self, self.who(), (made,)):
            return
        grant, decimals = made
        session = self.session
        terms = (Terms(grant.currency, decimals, grant.max_debt),)
        created_s = self.host.clock() // 1_000
        try:
            report = session.snapshot.report
            nonce = self.host.random_bytes(NONCE_BYTES)
            invite, sent = invite_to(report, session.name, terms, created_s, name, nonce=nonce)
        except OffsetError as problem:
            raise FieldError("currency", str(problem)) from None
        is_kept, _ = await self.do(session.use_currency(grant.currency, decimals))
        is_kept = (
            is_kept
            and (await self.do(session.save_notebook(session.notebook.with_invite(sent))))[0]
        )
        if is_kept:
            who = safe(name, 24) or "them"
            amount = people.money(grant.max_debt, grant.currency, decimals)
            words = fingerprint_words(report.local_public_key)
            await self.host.push_screen_wait(
                ShareScreen(
                    invite,
                    f"Invite for {safe(name, 24) or 'a friend'}: up to {amount}",
                    f"1  Send this text to {who}, and to nobody else: whoever has it can answer it."
                    f"\n2  {who} sends an answer back: paste it here, or anywhere in the app."
                    f"\nYour words, to compare by voice: {words}",
                )
            )
            self.close()
