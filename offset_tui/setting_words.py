"""The rows of the settings: what they are called, what they say now, and how what is typed is read. Pure.

Source: apps.md §5 S38; design R8.
"""

from dataclasses import dataclass, replace
from typing import Final

from offset_engine.cards.settings import (
    AUTO_LOCK_MINUTES_MAX,
    DECIMALS_MAX,
    CardSettings,
    CurrencyView,
)
from offset_engine.client import Currency
from offset_engine.disk import expanded
from offset_engine.errors import FileError
from offset_engine.text import EntryError, format_amount, safe

_INBOX_MAX: Final = 4_096
THEMES: Final = (
    ("offset-dark", "Dark"),
    ("offset-light", "Light"),
    ("offset-mono", "Without colours"),
    ("ansi-dark", "The terminal's own 16 colours, dark"),
    ("ansi-light", "The terminal's own 16 colours, light"),
)
STAY_CHOICES: Final = (
    ("yes", "Yes: it runs in the background, also when the app is closed"),
    ("no", "No: it is online only while the app is open"),
)
DECIMALS_QUESTION: Final = (
    f"Digits after the point, 0 to {DECIMALS_MAX}. The node counts whole credits; this only says how they are"
    " shown and typed on this card. Your friends' cards have their own:"
)
_EXPLAINED: Final = {
    "decimals": "How credits of this currency are shown and typed. Fixed when first used, because old numbers"
    " look different after a change.",
    "collect": "A good commit is collected as soon as the card has it, unless you put it on hold.",
    "fee": "Fees up to this share of the amount are agreed to without asking. 0 asks every time.",
    "lock": "After so many minutes without a key the screen asks for the card's passphrase. The card goes on."
    " It needs a passphrase: p on Cards.",
    "notify": "A short message when something new needs you while you are not typing.",
    "inbox": "Files that come into this folder are offered for review. They are never acted on, changed or"
    " removed.",
    "stays": "Whether the card goes on in the background when the app is closed or the terminal is gone.",
    "app": "Where other devices with a key (.rcard) reach this card. It listens there the next time it is"
    " opened. Empty: only programs on this computer.",
    "theme": "Colours. Everything colour says is also said in words.",
    "keys": 'Which keys do what: Help, "Settings", says how to choose them. The file, read at the start:',
}
_QUESTIONS: Final = {
    "fee": (
        "Agree to fees by itself",
        "Up to which share of the amount, in percent with one digit, like 0.5? 0 asks every time.",
    ),
    "lock": ("Lock the screen", "After how many minutes without a key? 0 = never."),
    "inbox": ("Inbox folder", "Path of a folder; empty = none."),
    "app": ("Address for other devices", "HOST:PORT where they reach this computer; empty = none."),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row."""

    key: str
    title: str
    now: str


def rows(
    settings: CardSettings, currencies: tuple[Currency, ...], theme: str, own_keys: int = 0
) -> tuple[Setting, ...]:
    """All of them, in order; `own_keys` is the number of keys from the user's file."""
    shown = tuple(
        Setting(
            f"decimals {one}",
            f"Decimals of {safe(one, 16)}",
            f"{settings.decimals_of(one)}   (100 credits are {_hundred(settings.decimals_of(one))})",
        )
        for one in currencies
    )
    return (
        Setting("collect", "Collect by itself", _yes(settings.auto_collect)),
        Setting("fee", "Agree to fees by itself", _fee(settings.auto_fee_permille)),
        Setting("lock", "Lock the screen", _lock(settings.auto_lock_minutes)),
        Setting("notify", "Say when something needs you", _yes(settings.notifications)),
        Setting("inbox", "Inbox folder", safe(settings.inbox, 60) or "none"),
        Setting("stays", "Stays online in the background", _stays(settings.stays_online)),
        Setting("app", "Address for other devices", safe(settings.app_address, 60) or "none"),
        Setting("theme", "Theme (of the app)", dict(THEMES).get(theme, theme)),
        Setting("keys", "Keys (of the app)", f"{own_keys} of your own" if own_keys else "as usual"),
        *shown,
    )


def _hundred(decimals_: int) -> str:
    return format_amount(100, decimals_)


def _yes(is_on: bool) -> str:  # noqa: FBT001 - the only thing it is given
    return "yes" if is_on else "no"


def _fee(permille: int) -> str:
    return f"up to {permille / 10:g} % of the amount" if permille else "ask every time"


def _lock(minutes: int) -> str:
    return (
        f"after {minutes} minute{'' if minutes == 1 else 's'} without a key" if minutes else "never"
    )


def _stays(wanted: bool | None) -> str:  # noqa: FBT001 - the only thing it is given
    return "not asked yet" if wanted is None else _yes(wanted)


def problem(text: str) -> str:
    """Why the defaults are used; "" if they are not."""
    return safe(text, 400) if text else ""


def explained(key: str) -> str:
    """What a row means."""
    return _EXPLAINED[key.partition(" ")[0]]


def question(key: str) -> tuple[str, str]:
    """(title, question) of a setting that is typed."""
    return _QUESTIONS[key]


def typed(key: str, settings: CardSettings) -> str:
    """What stands in the field at first."""
    return {
        "fee": f"{settings.auto_fee_permille // 10}.{settings.auto_fee_permille % 10}",
        "lock": str(settings.auto_lock_minutes),
        "inbox": settings.inbox,
        "app": settings.app_address,
    }[key]


def read(key: str, text: str) -> dict[str, object]:
    """Fields of `CardSettings` to change.

    Raises:
        EntryError: what was typed cannot be read; the text says why.
    """
    bare = text.strip()
    match key:
        case "fee":
            return {"auto_fee_permille": _permille(bare)}
        case "lock":
            return {"auto_lock_minutes": _whole(bare, AUTO_LOCK_MINUTES_MAX, "minutes")}
        case "inbox":
            if len(bare.encode(errors="replace")) > _INBOX_MAX:
                raise EntryError("this path is too long")
            if bare:
                _need_path(bare)
            return {"inbox": bare}
        case _:
            return {"app_address": bare}


def _need_path(bare: str) -> None:
    try:
        expanded(bare)
    except FileError as error:
        raise EntryError(str(error)) from None


def _whole(bare: str, most: int, what: str) -> int:
    if not (
        bare.isascii() and bare.isdigit() and len(bare) <= len(str(most)) and int(bare) <= most
    ):
        raise EntryError(f"type whole {what} from 0 to {most}")
    return int(bare)


def _permille(bare: str) -> int:
    whole, point, tenth = bare.removesuffix("%").strip().partition(".")
    is_whole = whole.isascii() and whole.isdigit() and len(whole) <= 3
    is_tenth = not point or (tenth.isascii() and tenth.isdigit() and len(tenth) == 1)
    if not (is_whole and is_tenth) or int(whole) * 10 + int(tenth or 0) > 1_000:
        raise EntryError("type a percentage from 0 to 100 with at most one digit after the point")
    return int(whole) * 10 + int(tenth or 0)


def decimals(text: str) -> int:
    """Digits after the point.

    Raises:
        EntryError: it is no number, or out of range.
    """
    return _whole(text.strip(), DECIMALS_MAX, "digits")


def decimals_warning(currency: Currency, now: int, wanted: int) -> str:
    """What a change does, with both readings of one number."""
    return (
        f"From now on {currency} is shown with {wanted} digits after the point instead of {now}: what was"
        f" {format_amount(100_000, now)} is then shown as {format_amount(100_000, wanted)}. Nothing that is"
        " owed changes, but what you type means something else, and your friends still read it their way."
    )


def with_decimals(settings: CardSettings, currency: Currency, wanted: int) -> CardSettings:
    """The settings with this currency shown so."""
    known = settings.with_currency(currency, wanted)
    views = tuple(
        CurrencyView(one.currency, wanted) if one.currency == currency else one
        for one in known.currencies
    )
    return replace(known, currencies=views)
