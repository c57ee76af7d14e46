"""`settings`, `apps`: how a card behaves, and which other devices may use it. The card need not run.

Source: apps.md §5 S26, S38; design R8, R13.
"""

import argparse
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from offset_engine.cards import AppInfo, CardInfo, CardSettings, CardStore
from offset_engine.files import Permissions, write
from offset_engine.programs import card_flags
from offset_engine.programs.arguments import Commands, Json, Output, UsageError
from offset_engine.programs.control.session import NotPossibleError, has_person, need_new
from offset_engine.text import EntryError, fingerprint, safe
from offset_tui import setting_words
from offset_tui.headless import flags
from offset_tui.headless.printing import facts, table
from offset_tui.headless.session import add_flags

_SWITCHES: Final = {"collect": "auto_collect", "notify": "notifications", "stays": "stays_online"}
_TYPED: Final = ("fee", "lock", "inbox", "app", "serve")
_KEYS: Final = (*_SWITCHES, *_TYPED, "decimals")
_ANSWERS: Final = {"yes": True, "no": False}
_MAY: Final = tuple(one.name for one in fields(Permissions))


def add_parsers(commands: Commands) -> None:
    """Add the commands."""
    settings = commands.add("settings", "Show how a card is set, or change one thing.")
    settings.add_argument("key", nargs="?", choices=_KEYS, metavar="KEY", help=", ".join(_KEYS))
    settings.add_argument(
        "value",
        nargs="*",
        metavar="VALUE",
        help="yes or no, or what the key wants; decimals CURRENCY N",
    )
    flags.add_yes(settings, "do not ask, for decimals that change")
    add_flags(settings, _settings)
    apps = commands.add("apps", "List the other devices that may use a card, add or remove one.")
    what = apps.add_mutually_exclusive_group()
    what.add_argument("--add", metavar="NAME", help="make a key for a device; needs --out")
    what.add_argument("--remove", metavar="NAME", help="let this one no longer use the card")
    apps.add_argument(
        "--may", action="append", choices=_MAY, help="what the new one may do; may be repeated"
    )
    apps.add_argument("--out", metavar="FILE", help="where to write the new key, an .rcard; secret")
    add_flags(apps, _apps)


def _card(args: argparse.Namespace) -> tuple[CardStore, CardInfo]:
    store = card_flags.store_of(args)
    return store, card_flags.card_of(args, store)


# --- settings -----------------------------------------------------------------------------------


def _settings(args: argparse.Namespace, output: Output) -> None:
    store, card = _card(args)
    settings, problem = store.settings(card.name)
    if problem:
        output.note(f"warning: {problem}")
    if args.key is not None:
        settings = _changed(args, settings)
        store.save_settings(card.name, settings)
    used = tuple(one.currency for one in settings.currencies)
    rows = [
        one for one in setting_words.rows(settings, used, "") if one.key not in ("theme", "keys")
    ]
    words = [(f"{one.key}", f"{one.now:<24} {one.title}") for one in rows]
    words.append(("serve", f"{safe(settings.serve_address, 60) or 'none':<24} Servers for others"))
    output.result(_setting_values(card, settings), "\n".join(facts(words)))


def _changed(args: argparse.Namespace, settings: CardSettings) -> CardSettings:
    key: str = args.key
    values: list[str] = args.value
    if len(values) != (2 if key == "decimals" else 1):
        raise UsageError("give decimals a currency and a number, every other key one value")
    try:
        if key == "decimals":
            return _with_decimals(args, settings, *values)
        change: Mapping[str, Any]
        if key in _SWITCHES:
            change = {_SWITCHES[key]: _answer(values[0])}
        elif key == "serve":
            change = {"serve_address": values[0].strip()}
        else:
            change = setting_words.read(key, values[0])
    except (EntryError, argparse.ArgumentTypeError) as error:
        raise UsageError(f"{key}: {error}") from None
    return replace(settings, **change)


def _answer(text: str) -> bool:
    if text not in _ANSWERS:
        raise EntryError("say yes or no")
    return _ANSWERS[text]


def _with_decimals(
    args: argparse.Namespace, settings: CardSettings, typed: str, number: str
) -> CardSettings:
    currency, wanted = flags.a_currency(typed), setting_words.decimals(number)
    is_used = any(one.currency == currency for one in settings.currencies)
    now = settings.decimals_of(currency)
    if is_used and wanted != now and not args.yes:
        how = "" if has_person() else ", or leave it"
        warning = setting_words.decimals_warning(currency, now, wanted)
        raise NotPossibleError(f"{warning} Add --yes if that is meant{how}")
    return setting_words.with_decimals(settings, currency, wanted)


def _setting_values(card: CardInfo, settings: CardSettings) -> dict[str, Json]:
    return {
        "card": card.name,
        "collect": settings.auto_collect,
        "fee_permille": settings.auto_fee_permille,
        "lock_minutes": settings.auto_lock_minutes,
        "notify": settings.notifications,
        "inbox": settings.inbox or None,
        "stays": settings.stays_online,
        "app": settings.app_address or None,
        "serve": settings.serve_address or None,
        "currencies": [
            {"currency": one.currency, "decimals": one.decimals} for one in settings.currencies
        ],
    }


# --- apps ---------------------------------------------------------------------------------------


def _apps(args: argparse.Namespace, output: Output) -> None:
    if (args.add is None) != (args.out is None) or (args.may and args.add is None):
        raise UsageError(
            "--add, --out and --may belong together: a new device, its key's file, its rights"
        )
    store, card = _card(args)
    if args.add is not None:
        _add(args, output, store, card)
    elif args.remove is not None:
        store.remove_app(card.name, args.remove)
        output.result(
            {"removed": args.remove}, f"{safe(args.remove, 40)} can no longer use the card"
        )
    else:
        found = store.apps(card.name)
        rows = [(safe(one.name, 40), _key_of(one), _may_of(one)) for one in found]
        text = table(output, ("name", "key", "may"), rows) if rows else "no other device may use it"
        output.result({"apps": [_app_values(one) for one in found]}, text)


def _add(args: argparse.Namespace, output: Output, store: CardStore, card: CardInfo) -> None:
    need_new(args.out)
    granted = set(args.may or ("read",))
    permissions = Permissions(**{name: name in granted for name in _MAY})
    remote = store.new_app(card.name, args.add, permissions)
    write(args.out, remote)
    output.result(
        {"name": args.add, "output": args.out, "node_address": remote.node_address},
        f"wrote {args.out}: whoever has it can use the card as allowed, so hand it over in secret",
    )


def _key_of(app: AppInfo) -> str:
    return "?" if app.public_key is None else fingerprint(app.public_key)


def _may_of(app: AppInfo) -> str:
    if app.permissions is None:
        return safe(app.problem, 80)
    return ", ".join(name for name in _MAY if getattr(app.permissions, name)) or "nothing"


def _app_values(app: AppInfo) -> dict[str, Json]:
    allowed: list[Json] = []
    if app.permissions is not None:
        allowed = [name for name in _MAY if getattr(app.permissions, name)]
    return {
        "name": app.name,
        "public_key": None if app.public_key is None else app.public_key.to_text(),
        "may": allowed,
        "problem": app.problem or None,
    }
