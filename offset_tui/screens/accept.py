"""Accepting an invite, and accepting the answer to one of ours: look, set limits, go on.

Source: apps.md §7.5; issue of the app, "The acceptance story"; design R8, R41.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType

from offset_engine.client import Batch, Currency
from offset_engine.errors import OffsetError
from offset_engine.files import Answer, FriendCard, Invite, Terms, invite_hash
from offset_engine.introducing import (
    Grant,
    Introduction,
    SentInvite,
    accept_answer,
    accept_invite,
    add_card,
    changes_of,
    is_renewal,
)
from offset_engine.text import (
    EntryError,
    fingerprint,
    fingerprint_words,
    format_amount,
    readings_text,
    safe,
)
from offset_tui import people, state
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.high_limit import may_trust_so_much
from offset_tui.dialogs.share import ShareScreen
from offset_tui.keymap import pick
from offset_tui.screens.form import (
    FormScreen,
    checked_name,
    field_row,
)
from offset_tui.widgets.inputs import AmountInput, LineInput

_UNSTATED = 255


class IntroductionForm(FormScreen):
    """What both reviews share: the other side's card in words, and one name field."""

    SECTION = "friends"
    TOPIC = "introduce"
    CARD: FriendCard

    def own_decimals(self, terms: Terms) -> int:
        """Digits this card shows for a currency: its own, else what the other side states (design R8)."""
        if self.uses(terms.currency):
            return self.session.decimals(terms.currency)
        return 0 if terms.decimals == _UNSTATED else min(terms.decimals, people.DECIMALS_MAX)

    def reading(self, terms: Terms) -> str:
        """The limit offered; both readings where the two sides count different digits."""
        mine = self.own_decimals(terms)
        if self.is_mismatch(terms):
            readings = readings_text(terms.limit_offered, mine, terms.decimals)
            return f"{readings} ({terms.currency})"
        return people.money(terms.limit_offered, terms.currency, mine)

    def is_mismatch(self, terms: Terms) -> bool:
        """Whether the two sides would read one number as different amounts."""
        theirs = 0 if terms.decimals == _UNSTATED else terms.decimals
        return theirs != self.own_decimals(terms)

    def is_own(self) -> bool:
        """Whether it is our own card that came back."""
        return self.CARD.public_key == self.session.snapshot.report.local_public_key

    def known_name(self) -> str:
        """What we call the sender already; "" if they are no friend yet."""
        names = state.friend_names(self.session.snapshot.report)
        return names.get(self.CARD.public_key, "")

    def card_lines(self) -> Text:
        """Name, key, words."""
        card = self.CARD
        shown = Text.assemble((safe(card.name, 40) or "(no name)", "bold"))
        shown.append(f" · {fingerprint(card.public_key)}\n")
        shown.append(f"{fingerprint_words(card.public_key)}\n", "bold")
        shown.append("Compare these words by voice before you trust somebody with money.\n", "dim")
        return shown

    def offer(self, terms: Terms) -> Text:
        """The limit offered, what was said before if that was another one, and a warning about digits."""
        shown = Text.assemble((self.reading(terms), "bold"))
        said = self.session.notebook.told_by(self.CARD.public_key, terms.currency)
        if self.known_name() and said is not None and said != terms.limit_offered:
            shown.append(f" (until now {format_amount(said, self.own_decimals(terms))})", "")
        shown.append("\n")
        if self.is_mismatch(terms):
            shown.append("! the two of you count different digits after the point\n", "bold")
        return shown

    def known_lines(self) -> Text:
        """What becomes of the relays of somebody who is a friend already; nothing for somebody new."""
        known = self.session.snapshot.friend(self.CARD.public_key)
        if known is None:
            return Text()
        shown = Text(f"\nThis is your friend {self.known_name()} already.")
        try:
            made = add_card(self.session.snapshot.report, self.CARD, "")
        except OffsetError:
            return shown  # `submit` says what is wrong with it
        change = changes_of(self.session.snapshot.report, made)
        if not change.has_relays:
            shown.append(" The relays stay as they are.\n")
            return shown
        shown.append(" Where you reach them changes:\n")
        for words, relay in people.relay_changes(change.relays_before, change.relays_after):
            shown.append(f"  {words:<6}", "bold" if words != "stays" else "")
            shown.append(
                f"{people.server_words(relay.address)}  key {fingerprint(relay.public_key)}\n"
            )
        return shown

    def limit_before(self, currency: Currency, after: int | None = None) -> str:
        """` (now 200.00)` where a friend's limit would be another one, or is not chosen yet."""
        known = self.session.snapshot.friend(self.CARD.public_key)
        if known is None:
            return ""
        held = {one.currency: one.max_debt for one in known.currencies}
        before = held.get(currency)
        if before is None:
            return " (new with them)"
        return (
            ""
            if before == after
            else f" (now {format_amount(before, self.session.decimals(currency))})"
        )

    def taken_names(self) -> list[str]:
        """Names of other friends."""
        friends = self.session.snapshot.report.friends
        return [one.name for one in friends if one.public_key != self.CARD.public_key]

    def who(self) -> str:
        """The sender as the name field has it."""
        found = self.query("#name")
        typed = found.first(LineInput).value.strip() if found else self.CARD.name
        return safe(typed, 24) or "them"

    async def may_count_differently(self, terms: Sequence[Terms]) -> bool:
        """Ask before anything is agreed in a currency both sides count differently (design R8)."""
        odd = [one for one in terms if self.is_mismatch(one)]
        if not odd:
            return True
        lines = "\n".join(f"- {self.reading(one)}" for one in odd)
        question = (
            f"You and {self.who()} count different digits after the point:\n{lines}\n\n"
            "Credits are what is agreed. Go on only if you both know which reading is meant."
        )
        dialog = Confirm("Different decimals", question, "Go on", "y")
        return await self.host.push_screen_wait(dialog) is True

    async def introduce(self, made: Introduction, terms: Sequence[Terms]) -> bool:
        """Fix decimals, have the node do it, and note what the other side says it grants."""
        session = self.session
        for one in terms:
            kept, _ = await self.do(session.use_currency(one.currency, self.own_decimals(one)))
            if not kept:
                return False
        if made.batch.commands:
            done, _ = await self.do(session.client.command(Batch(made.batch.commands)))
            if not done:
                return False
        await self.do(session.save_notebook(session.notebook.with_told(made.friend, made.told)))
        return True


class AcceptInviteScreen(IntroductionForm):
    """An invite somebody sent: look at it, set limits, get the answer to send back."""

    VERB = "Accept and make the answer"
    # The one number that is asked for; the name is filled in already.
    AUTO_FOCUS = "#limit0"

    def __init__(self, invite: Invite) -> None:
        super().__init__()
        self.invite = invite
        self.CARD = invite.card

    def head(self) -> Text:
        """Who invites, where they are reached, what they offer."""
        shown = Text.assemble(("Somebody invites you\n", "bold underline"))
        shown.append_text(self.card_lines())
        servers = self.invite.servers
        report = self.session.snapshot.report
        if servers is not None:
            shown.append(f"servers: {people.server_words(servers.relay.address)}")
            if servers.index.address != servers.relay.address:
                shown.append(f" and {people.server_words(servers.index.address)}")
            has_own = bool(report.relays and report.index_servers)
            shown.append(" (you keep your own)\n" if has_own else " (you will use them too)\n")
        for one in self.invite.card.terms:
            shown.append("trusts you up to ")
            shown.append_text(self.offer(one))
        if not self.invite.card.terms:
            shown.append("offers no currency: you can agree on one later\n")
        shown.append_text(self.known_lines())
        return shown

    def blocked(self) -> str:
        """Our own invite came back, or the card has no way to be reached."""
        if self.is_own():
            sent = {one.invite_hash for one in self.session.notebook.invites}
            whose = "you made it" if invite_hash(self.invite) in sent else "it is of this card"
            return f"This is your own invite: {whose}. Send it to the other person; q goes back."
        return ""

    def fields(self) -> ComposeResult:
        """A name, and one limit per currency offered."""
        name = people.typable(self.known_name() or self.invite.card.name)
        yield field_row(
            "What you call them", LineInput(name, id="name", max_length=people.NAME_CHARS_MAX)
        )
        for at, one in enumerate(self.invite.card.terms):
            limit = AmountInput(self.own_decimals(one), id=f"limit{at}", least=0)
            yield field_row("You trust them up to", limit)

    def changed(self) -> None:
        """Every limit says what can be lost."""
        for at, one in enumerate(self.invite.card.terms):
            if not self.query(f"#limit{at}"):
                return
            loss = people.loss_words(self.who())
            field = self.query_one(f"#limit{at}", AmountInput)
            try:
                limit = field.credits() if field.value.strip() else None
            except EntryError:
                limit = None
            if limit is None:
                loss = f"{one.currency}{self.limit_before(one.currency)}: {loss}"
            elif limit == 0:
                loss = people.trust_words(self.who(), 0, one.currency, field.decimals)
            else:
                before = self.limit_before(one.currency, limit)
                loss = f"= {people.money(limit, one.currency, field.decimals)}{before}: {loss}"
            self.echo(f"limit{at}", loss)

    async def submit(self) -> None:
        """Become friends on this side, and hand the answer over."""
        name = checked_name(self.text("name"), self.taken_names())
        terms = self.invite.card.terms
        grants = tuple(
            Grant(one.currency, self.amount(f"limit{at}")) for at, one in enumerate(terms)
        )
        counted = tuple(
            (one, self.own_decimals(two)) for one, two in zip(grants, terms, strict=True)
        )
        if not await may_trust_so_much(self, self.who(), counted):
            return
        session = self.session
        try:
            made = accept_invite(session.snapshot.report, self.invite, session.name, name, grants)
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
            return
        if not await self.may_count_differently(terms) or not await self.introduce(made, terms):
            return
        if made.answer is not None:
            who = safe(name, 24)
            await self.host.push_screen_wait(
                ShareScreen(
                    made.answer,
                    f"Answer for {who}",
                    f"Send this text back to {who}. As soon as they have opened it you are connected,"
                    " and can pay and be paid."
                    f"\nYour words, to compare by voice: "
                    f"{fingerprint_words(session.snapshot.report.local_public_key)}",
                )
            )
        self.close()


class AcceptAnswerScreen(IntroductionForm):
    """The answer to an invite of ours: look at it, and be friends."""

    VERB = "Accept: be friends"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("answer.by_hand")]
    AUTO_FOCUS = "#submit"

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.CARD = answer.card

    def _sent(self) -> SentInvite | None:
        wanted = self.answer.invite_hash
        return next(
            (one for one in self.session.notebook.invites if one.invite_hash == wanted), None
        )

    def _is_renewal(self) -> bool:
        """Whether a friend answers again what made them one."""
        session = self.session
        return is_renewal(session.snapshot.report, self.answer, session.notebook.answered)

    def head(self) -> Text:
        """Who answers, and what each side grants."""
        shown = Text.assemble(("The answer to your invite\n", "bold underline"))
        shown.append_text(self.card_lines())
        sent = self._sent()
        if self._is_renewal():
            shown.append_text(self.known_lines())
            shown.append("Limits stay as they are.\n")
            return shown
        if sent is None:
            return shown
        if sent.name:
            shown.append(f"\nyou invited {safe(sent.name, 40)}\n")
        for one in sent.terms:
            amount = people.money(
                one.limit_offered, one.currency, self.session.decimals(one.currency)
            )
            before = self.limit_before(one.currency, one.limit_offered)
            shown.append(
                f"you trust them up to {amount}{before}: the most you can lose if they disappear\n"
            )
        for one in self.answer.card.terms:
            shown.append("they trust you up to ")
            shown.append_text(self.offer(one))
        shown.append_text(self.known_lines())
        return shown

    def blocked(self) -> str:
        """It is ours, or answers nothing of this card."""
        if self.is_own():
            return "This is your own answer: send it to the person who invited you. q goes back."
        if self._is_renewal():
            return ""
        if self._sent() is None:
            wanted = self.answer.invite_hash
            if any(one.invite_hash == wanted for one in self.session.notebook.answered):
                return (
                    "This invite was answered already, and an invite makes one friend: make another one"
                    " for this person."
                )
            return (
                "It answers no invite of this card that is still open: open it with the card that sent"
                " the invite, ask for a new round, or press f to add the sender as a friend by hand."
            )
        return ""

    def fields(self) -> ComposeResult:
        """A name."""
        sent = self._sent()
        name = people.typable(
            self.known_name() or (sent.name if sent else "") or self.answer.card.name
        )
        yield field_row(
            "What you call them", LineInput(name, id="name", max_length=people.NAME_CHARS_MAX)
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """By hand only where nothing else is possible."""
        if action == "by_hand":
            if not self.host.has_session or self._is_renewal():
                return False
            return self._sent() is None and not self.is_own()
        return super().check_action(action, parameters)

    def action_by_hand(self) -> None:
        """The card in it is as good as any friend card."""
        from offset_tui.screens.add_friend import AddFriendScreen  # noqa: PLC0415 - only then

        self.host.switch_screen(AddFriendScreen(self.answer.card))

    async def submit(self) -> None:
        """Add the friend with the limits of the invite."""
        name = checked_name(self.text("name"), self.taken_names())
        session = self.session
        # Another program may have taken an answer to the same invite since this was opened.
        await self.host.read_notebook()
        try:
            book = session.notebook
            made = accept_answer(
                session.snapshot.report, self.answer, book.invites, name, book.answered
            )
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
            return
        terms = self.answer.card.terms
        if not await self.may_count_differently(terms) or not await self.introduce(made, terms):
            return
        book = session.notebook.with_answer(self.answer.invite_hash, made.friend)
        await self.do(session.save_notebook(book))
        self.finish()
        said = "is your friend now: you can pay each other as soon as both are online"
        if made.is_known:
            said = "is your friend already: what was new in it counts now"
        self.host.tell(f"{safe(name, 24)} {said}")
