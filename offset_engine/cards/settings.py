"""How one card is shown and what it does by itself: a small file, `settings.json`, without secrets.

Reading is strict: a file with anything wrong in it counts for nothing as a whole, because half of somebody's
settings would surprise more than none. The card then works with the defaults, says so, and the file is
kept under another name when new settings are saved.

Source: design R8; apps.md S38; PROTOCOL.md, "Card store".
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from offset_engine.cards.values import need_version
from offset_engine.core.values import (
    CURRENCY_BYTES_MAX,
    WALL_MS_MAX,
    Currency,
    parse_address,
    value,
)
from offset_engine.disk import read_file, write_file
from offset_engine.errors import FileError
from offset_engine.json_fields import Fields, Json, Style, parse_object, pretty

SETTINGS_VERSION: Final = 1
CURRENCIES_MAX: Final = 256
DECIMALS_DEFAULT: Final = 2
DECIMALS_MAX: Final = 38
"""More digits than the largest amount has."""
AUTO_LOCK_MINUTES_MAX: Final = 1_440
_INBOX_BYTES_MAX: Final = 4_096
_ADDRESS_BYTES_MAX: Final = 256


@value
class CurrencyView:
    """How a currency is shown on this card."""

    currency: Currency
    decimals: int
    """Digits after the point, 0 to `DECIMALS_MAX`; fixed when the card first uses the currency."""


@value
class CardSettings:
    """See the module; change one with `dataclasses.replace`."""

    currencies: tuple[CurrencyView, ...] = ()
    """In the order they are shown."""
    stays_online: bool | None = None
    """Whether the card runs on when its terminal goes; None = the owner was not asked yet."""
    auto_lock_minutes: int = 0
    """Minutes without a key until the screen is locked; 0 = never."""
    auto_collect: bool = False
    """Collect as soon as a good commit is there."""
    auto_fee_permille: int = 0
    """Agree to fees of up to this many thousandths of the amount without asking; 0 = always ask."""
    notifications: bool = True
    inbox: str = ""
    """A folder whose new files are imported; "" = none."""
    app_address: str = ""
    """`host:port` where apps of other devices reach this card; "" = only this computer's programs do."""
    serve_address: str = ""
    """`host:port` where this card runs a relay and an index server for others; "" = it runs none."""
    backed_up_ms: int | None = None
    """UTC ms of the last backup."""

    def decimals_of(self, currency: Currency) -> int:
        """Digits after the point in amounts of this currency."""
        found = (one.decimals for one in self.currencies if one.currency == currency)
        return next(found, DECIMALS_DEFAULT)

    def with_currency(self, currency: Currency, decimals: int = DECIMALS_DEFAULT) -> "CardSettings":
        """The same with this currency at the end; one that is there already stays as it is."""
        if any(one.currency == currency for one in self.currencies):
            return self
        return replace(self, currencies=(*self.currencies, CurrencyView(currency, decimals)))


def load_settings(path: Path) -> tuple[CardSettings, str]:
    """Read a settings file.

    Returns:
        The settings, and "" or a sentence saying why they are the defaults.
    """
    if not path.exists():
        return CardSettings(), ""
    try:
        fields = Fields(parse_object(read_file(path)))
        need_version(fields, SETTINGS_VERSION)
        return settings_from(fields), ""
    except FileError as error:
        return CardSettings(), f"the settings in {path} are not used, but the defaults: {error}"


def save_settings(path: Path, settings: CardSettings) -> None:
    """Write a settings file; one that could not be read is kept under another name.

    Raises:
        FileError: it cannot be written, or a setting is out of range.
    """
    text = pretty({"version": SETTINGS_VERSION, **settings_values(settings)}, Style.MOBILE)
    # What could not be read back would silently become the defaults.
    settings_from(Fields(parse_object(text)))
    if load_settings(path)[1]:
        _keep_aside(path)
    write_file(path, text + "\n", secret=True, force=True)


def settings_from(fields: Fields) -> CardSettings:
    """Read settings from the fields of an object.

    Raises:
        FileError: one is missing, wrong or out of range.
    """
    currencies = tuple(
        CurrencyView(_currency(one), one.number("decimals", DECIMALS_MAX))
        for one in fields.objects("currencies", CURRENCIES_MAX)
    )
    if len({one.currency for one in currencies}) != len(currencies):
        raise FileError('field "currencies" names a currency twice')
    addresses = _address(fields, "appAddress"), _address(fields, "serveAddress")
    if all(addresses) and len({one.rpartition(":")[2] for one in addresses}) == 1:
        raise FileError('the addresses "appAddress" and "serveAddress" need two different ports')
    return CardSettings(
        currencies=currencies,
        stays_online=fields.flag("staysOnline") if fields.has("staysOnline") else None,
        auto_lock_minutes=fields.number("autoLockMinutes", AUTO_LOCK_MINUTES_MAX),
        auto_collect=fields.flag("autoCollect"),
        auto_fee_permille=fields.number("autoFeePermille", 1_000),
        notifications=fields.flag("notifications"),
        inbox=fields.text("inbox", _INBOX_BYTES_MAX),
        app_address=addresses[0],
        serve_address=addresses[1],
        backed_up_ms=(
            fields.number("backedUpMs", WALL_MS_MAX) if fields.has("backedUpMs") else None
        ),
    )


def settings_values(settings: CardSettings) -> dict[str, Json]:
    """The fields of settings, for a file."""
    return {
        "currencies": [
            {"currency": one.currency, "decimals": one.decimals} for one in settings.currencies
        ],
        "staysOnline": settings.stays_online,
        "autoLockMinutes": settings.auto_lock_minutes,
        "autoCollect": settings.auto_collect,
        "autoFeePermille": settings.auto_fee_permille,
        "notifications": settings.notifications,
        "inbox": settings.inbox,
        "appAddress": settings.app_address,
        "serveAddress": settings.serve_address,
        "backedUpMs": settings.backed_up_ms,
    }


def _currency(fields: Fields) -> Currency:
    try:
        return Currency.of(fields.text("currency", CURRENCY_BYTES_MAX))
    except ValueError as error:
        raise FileError(f'field "currency" is no currency: {error}') from None


def _address(fields: Fields, key: str) -> str:
    text = fields.text(key, _ADDRESS_BYTES_MAX)
    try:
        return parse_address(text) if text else ""
    except ValueError as error:
        raise FileError(f'field "{key}" is no address: {error}') from None


def _keep_aside(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.unread-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise FileError(f"cannot keep {path} aside: {error.strerror}") from None
