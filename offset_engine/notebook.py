"""What a card's owner wants remembered that is no business of the node: promises, notes, holds, sent invites.

Nothing here moves money or changes what a node does; losing it loses comfort only. It is one small JSON file
per card, written whole. Every list is limited: the oldest entry goes first.

Source: PROTOCOL.md, "Files"; issue of the app, "Screens".
"""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Final, TypeVar

from offset_engine.core.values import (
    CREDITS_MAX,
    WALL_MS_MAX,
    Currency,
    HashResult,
    PublicKey,
    value,
)
from offset_engine.errors import FileError
from offset_engine.files import Terms
from offset_engine.introducing import (
    ANSWERED_INVITES_MAX,
    SENT_INVITES_MAX,
    AnsweredInvite,
    SentInvite,
)
from offset_engine.json_fields import Fields, Json, Style, parse_object, pretty

_T = TypeVar("_T")
VERSION: Final = 1
NOTES_MAX: Final = 10_000
NOTE_BYTES_MAX: Final = 500
TOLD_MAX: Final = 10_000
HOLDS_MAX: Final = 1_000


@value
class Told:
    """A limit somebody said they grant us; it is what they said, not what the node knows."""

    friend: PublicKey
    currency: Currency
    limit: int
    """Credits."""


@value
class Hold:
    """An invoice whose commit is good but not collected yet: its owner's reminder."""

    invoice_id: str
    """Base64, as in files."""
    until_ms: int
    """UTC ms."""


@value
class Notebook:
    """See the module. Methods return a changed copy."""

    invites: tuple[SentInvite, ...] = ()
    told: tuple[Told, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """(payment or invoice id in base64, private note)."""
    holds: tuple[Hold, ...] = ()
    handed: tuple[str, ...] = ()
    """Payments whose commit the owner says was handed over."""
    answered: tuple[AnsweredInvite, ...] = ()
    """Invites that are used up."""
    _limits: dict[tuple[PublicKey, Currency], int] = field(init=False, repr=False, compare=False)
    _texts: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Screens ask once per row; the first of several entries about one thing counts."""
        limits = {(one.friend, one.currency): one.limit for one in reversed(self.told)}
        object.__setattr__(self, "_limits", limits)
        object.__setattr__(self, "_texts", dict(reversed(self.notes)))

    def with_invite(self, sent: SentInvite) -> "Notebook":
        """Remember an invite until its answer comes."""
        return replace(self, invites=(*self.invites, sent)[-SENT_INVITES_MAX:])

    def without_invite(self, invite_hash: HashResult) -> "Notebook":
        """Forget one invite with this hash; those of older versions could share it."""
        found = [at for at, one in enumerate(self.invites) if one.invite_hash == invite_hash]
        if not found:
            return self
        return replace(self, invites=self.invites[: found[0]] + self.invites[found[0] + 1 :])

    def with_answer(self, invite_hash: HashResult, friend: PublicKey) -> "Notebook":
        """An invite was answered by who is a friend now: it is used up."""
        used = AnsweredInvite(invite_hash, friend)
        kept = tuple(one for one in self.answered if one != used)
        return replace(
            self.without_invite(invite_hash), answered=(*kept, used)[-ANSWERED_INVITES_MAX:]
        )

    def with_told(self, friend: PublicKey, terms: tuple[Terms, ...]) -> "Notebook":
        """Remember what a friend says they grant; newer words replace older ones."""
        said = {(friend, one.currency): one.limit_offered for one in terms}
        kept = tuple(one for one in self.told if (one.friend, one.currency) not in said)
        new = tuple(Told(friend, currency, limit) for (_, currency), limit in said.items())
        return replace(self, told=(*kept, *new)[-TOLD_MAX:])

    def told_by(self, friend: PublicKey, currency: Currency) -> int | None:
        """The limit a friend said they grant us, in credits; None if they did not say."""
        return self._limits.get((friend, currency))

    def note(self, about: str) -> str:
        """The private note on a payment or invoice; "" if there is none."""
        return self._texts.get(about, "")

    def with_note(self, about: str, text: str) -> "Notebook":
        """Write, change or (with "") remove a note."""
        kept = tuple(one for one in self.notes if one[0] != about)
        added = ((about, text),) if text else ()
        return replace(self, notes=(*kept, *added)[-NOTES_MAX:])

    def with_hold(self, invoice_id: str, until_ms: int | None) -> "Notebook":
        """Remind of an invoice at a time; None removes the reminder."""
        kept = tuple(one for one in self.holds if one.invoice_id != invoice_id)
        added = () if until_ms is None else (Hold(invoice_id, until_ms),)
        return replace(self, holds=(*kept, *added)[-HOLDS_MAX:])

    def with_handed(self, payment_id: str) -> "Notebook":
        """The commit of this payment was handed over."""
        if payment_id in self.handed:
            return self
        return replace(self, handed=(*self.handed, payment_id)[-NOTES_MAX:])


def merged(before: Notebook, after: Notebook, now: Notebook) -> Notebook:
    """What is to be kept when one program changed `before` to `after` while another wrote `now`.

    What either added stays, what either removed goes; where both said something about one thing, `after` counts.
    """
    return Notebook(
        _merged(before.invites, after.invites, now.invites)[-SENT_INVITES_MAX:],
        _newest(_merged(before.told, after.told, now.told), _told_about)[-TOLD_MAX:],
        _newest(_merged(before.notes, after.notes, now.notes), _noted_about)[-NOTES_MAX:],
        _newest(_merged(before.holds, after.holds, now.holds), _held)[-HOLDS_MAX:],
        _merged(before.handed, after.handed, now.handed)[-NOTES_MAX:],
        _merged(before.answered, after.answered, now.answered)[-ANSWERED_INVITES_MAX:],
    )


def _merged(before: tuple[_T, ...], after: tuple[_T, ...], now: tuple[_T, ...]) -> tuple[_T, ...]:
    known, wanted = set(before), set(after)
    kept = tuple(one for one in now if one in wanted or one not in known)
    present = set(kept)
    return kept + tuple(one for one in after if one not in known and one not in present)


def _newest(items: tuple[_T, ...], about: Callable[[_T], object]) -> tuple[_T, ...]:
    """The last item about each thing, in the order they stand."""
    last = {about(item): at for at, item in enumerate(items)}
    return tuple(item for at, item in enumerate(items) if last[about(item)] == at)


def _told_about(told: Told) -> object:
    return told.friend, told.currency


def _noted_about(note: tuple[str, str]) -> object:
    return note[0]


def _held(hold: Hold) -> object:
    return hold.invoice_id


def to_json(book: Notebook) -> str:
    """The file's text."""
    values: dict[str, Json] = {
        "version": VERSION,
        "invites": [_invite_values(one) for one in book.invites],
        "told": [
            {
                "friend": one.friend.to_text(),
                "currency": one.currency,
                "limit": str(one.limit),
            }
            for one in book.told
        ],
        "notes": [{"about": about, "text": text} for about, text in book.notes],
        "holds": [{"invoiceId": one.invoice_id, "untilMs": one.until_ms} for one in book.holds],
        "handed": [{"about": one} for one in book.handed],
        "answered": [
            {"inviteHash": one.invite_hash.to_text(), "friend": one.friend.to_text()}
            for one in book.answered
        ],
    }
    return pretty(values, Style.MOBILE)


def _invite_values(sent: SentInvite) -> dict[str, Json]:
    return {
        "inviteHash": sent.invite_hash.to_text(),
        "name": sent.name,
        "createdS": sent.created_s,
        "terms": [
            {
                "currency": terms.currency,
                "decimals": terms.decimals,
                "limitOffered": str(terms.limit_offered),
            }
            for terms in sent.terms
        ],
    }


def from_json(text: str) -> Notebook:
    """Read the file's text.

    Raises:
        FileError: it is damaged or of a newer version.
    """
    fields = Fields(parse_object(text))
    version = fields.number("version", 2**31)
    if version > VERSION:
        raise FileError(f"this notebook is of a newer version ({version}): update Offset")
    return Notebook(
        tuple(_invite(one) for one in fields.objects("invites", SENT_INVITES_MAX)),
        tuple(_told(one) for one in fields.objects("told", TOLD_MAX)),
        tuple(
            (one.text("about", 64), one.text("text", NOTE_BYTES_MAX))
            for one in fields.objects("notes", NOTES_MAX)
        ),
        tuple(
            Hold(one.text("invoiceId", 64), one.number("untilMs", WALL_MS_MAX))
            for one in fields.objects("holds", HOLDS_MAX)
        ),
        tuple(one.text("about", 64) for one in fields.objects("handed", NOTES_MAX)),
        tuple(
            AnsweredInvite(one.fixed("inviteHash", HashResult), one.fixed("friend", PublicKey))
            for one in _newer(fields, "answered", ANSWERED_INVITES_MAX)
        ),
    )


def _newer(fields: Fields, name: str, most: int) -> list[Fields]:
    """A list that notebooks of older versions do not have."""
    return fields.objects(name, most) if fields.has(name) else []


def _invite(fields: Fields) -> SentInvite:
    terms = tuple(
        Terms(
            _currency(one),
            one.number("decimals", 255),
            one.number("limitOffered", CREDITS_MAX),
        )
        for one in fields.objects("terms", 64)
    )
    return SentInvite(
        fields.fixed("inviteHash", HashResult),
        terms,
        fields.text("name", 128),
        fields.number("createdS", WALL_MS_MAX),
    )


def _told(fields: Fields) -> Told:
    return Told(
        fields.fixed("friend", PublicKey),
        _currency(fields),
        fields.number("limit", CREDITS_MAX),
    )


def _currency(fields: Fields) -> Currency:
    try:
        return Currency.of(fields.currency("currency"))
    except ValueError as problem:
        raise FileError(f'field "currency" cannot be used: {problem}') from None
