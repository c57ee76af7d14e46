"""A user's own keys: `keymap.toml` in the configuration directory, read and checked before anything is painted.

    [keys]
    "app.import" = "ctrl+y"
    "list.remove" = ["d", "delete"]

On the left stand ids of `keymap`, on the right the keys that act instead of the usual ones. Whatever cannot work
is refused with one sentence: a key terminals do not send, a key that types a character where one is typing, a key
of something else on the same screen.

Source: tui.md §5, §14.
"""

import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module, resources
from pathlib import Path
from typing import Any, Final

import platformdirs
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import _character_to_key
from textual.screen import ModalScreen, Screen

from offset_engine.disk import read_file
from offset_engine.errors import OffsetError
from offset_engine.text import safe
from offset_tui.keymap import GLOBAL, WIDGETS, Key, known

FILE_NAME: Final = "keymap.toml"
KEYS_MAX: Final = 4
"""Keys of one action."""
_NAMES: Final = frozenset(
    {
        *(f"f{number}" for number in range(1, 11)),
        *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
        *("space", "escape", "enter", "insert", "delete"),
        *(f"ctrl+{letter}" for letter in string.ascii_lowercase),
        *map(_character_to_key, map(chr, range(0x21, 0x7F))),
    }
)
"""Keys every terminal sends, as Textual calls them."""
_NEVER: Final = {
    "tab": "it moves from field to field",
    "shift+tab": "it moves from field to field",
    "backspace": "it rubs out",
    "ctrl+a": "the program screen takes it",
    "ctrl+b": "tmux takes it",
    "ctrl+c": "it copies what is selected",
    "ctrl+h": "terminals send it for backspace",
    "ctrl+i": "terminals send it for tab",
    "ctrl+j": "terminals send it for enter",
    "ctrl+m": "terminals send it for enter",
    "ctrl+s": "terminals stop at it",
    "ctrl+z": "it would stop the program",
}
_EDITING: Final = frozenset(f"ctrl+{letter}" for letter in "defkuvwxy")
"""What text fields do themselves with these."""


_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class KeymapError(OffsetError):
    """A keymap file cannot be used; the text says why and names the file."""


def path() -> Path:
    """Where the file is, whether or not there is one."""
    return platformdirs.user_config_path("offset", appauthor=False) / FILE_NAME


def load() -> dict[str, str]:
    """Id → keys separated by commas, as Textual writes them; empty without a file.

    Raises:
        KeymapError: the file cannot be read or used.
    """
    where = path()
    if not where.exists():
        return {}
    try:
        text = read_file(where)
    except OffsetError as problem:
        raise KeymapError(str(problem)) from None
    try:
        chosen = parse(text)
        check(chosen)
    except KeymapError as problem:
        raise KeymapError(f"{where}: {problem}") from None
    return whole(chosen)


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """Id → keys as Textual writes them, each of them usable by itself.

    Raises:
        KeymapError: it is no such file.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KeymapError(f"this is no TOML: {safe(str(error), 100)}") from None
    strange = next((name for name in values if name != "keys"), None)
    if strange is not None:
        raise KeymapError(
            f'{safe(strange, 40)} is not known here: the file has one table, [keys], with lines like "list.new" = "a"'
        )
    table = values.get("keys", {})
    if not isinstance(table, Mapping):
        raise KeymapError("keys must be a table: [keys]")
    return {name: _keys_of(name, given) for name, given in _flat(table)}


def _flat(table: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """`list.new = "a"` without quotation marks is a table in a table in TOML; it means the same here."""
    for name, given in table.items():
        if isinstance(given, Mapping):
            yield from _flat(given, f"{before}{name}.")
        else:
            yield f"{before}{name}", given


def _keys_of(name: str, given: object) -> tuple[str, ...]:
    key = known().get(name)
    if key is None:
        near = get_close_matches(name, known(), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise KeymapError(f"there is no action {safe(name, 40)}{hint}")
    texts = _texts(given)
    if not texts:
        raise KeymapError(f'{name} needs a key like "a" or "ctrl+y", or a list of keys')
    if len(texts) > KEYS_MAX:
        raise KeymapError(f"{name} has more than {KEYS_MAX} keys")
    found = tuple(dict.fromkeys(_key(key, one) for one in texts))
    if key.is_for_typing and all(_types(one) for one in found):
        raise KeymapError(
            f"{name} is used while something is typed: give it a key like ctrl+g or f2 as well"
        )
    return found


def _texts(given: object) -> list[str]:
    """Keys as they were written; none if this is no key."""
    if isinstance(given, list):
        return given if all(isinstance(one, str) and one for one in given) else []
    if not isinstance(given, str):
        return []
    parts = [given] if len(given) == 1 else given.split(",")
    return [one if len(one) == 1 else one.strip() for one in parts] if all(parts) else []


def _key(key: Key, text: str) -> str:
    """A key as Textual calls it.

    Raises:
        KeymapError: it is none, or none that can be used for this.
    """
    shown = safe(text, 20)
    name = _character_to_key(text) if len(text) == 1 else text
    name = name if name in _NAMES else text.lower()
    is_usual = name in key.keys.split(",")
    if name in _NEVER and not is_usual:
        raise KeymapError(f"{shown} cannot be the key of {key.id}: {_NEVER[name]}")
    if name not in _NAMES:
        raise KeymapError(
            f"{shown} is no key every terminal sends: use a letter, digit or sign, f1 to f10,"
            " ctrl with a letter, space, an arrow, home, end, insert or delete"
        )
    if name == "enter" and not is_usual:
        raise KeymapError(
            f"enter cannot be the key of {key.id}: it opens and confirms, and never pays"
        )
    if key.is_for_typing and name in _EDITING:
        raise KeymapError(f"{shown} cannot be the key of {key.id}: text fields use it to edit")
    return name


def _types(key: str) -> bool:
    """Whether a field takes this key as a character, or to move in it."""
    return not (key.startswith("ctrl+") or key == "escape" or (key[0] == "f" and key[1:].isdigit()))


def check(chosen: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a key that would be the key of two actions on one screen.

    Raises:
        KeymapError: names both, and the screen.
    """
    if not chosen:
        return
    usual = {name: tuple(one.keys.split(",")) for name, one in known().items()}
    keys = {**usual, **chosen}
    for screen, ids in scopes().items():
        for name in sorted(set(chosen) & ids):
            for other in sorted(ids - {name}):
                both = set(keys[name]) & set(keys[other]) - (set(usual[name]) & set(usual[other]))
                if both:
                    raise KeymapError(
                        f"{min(both)} would be the key of both {name} and {other} on {screen}"
                    )


def scopes() -> dict[str, frozenset[str]]:
    """Screen → ids of the actions that meet there."""
    everywhere = frozenset(key.id for key in (*GLOBAL, *WIDGETS))
    found = {}
    for screen in sorted(set(screen_classes()), key=lambda one: one.__name__):
        own = frozenset(
            one.id
            for above in screen.__mro__
            if issubclass(above, DOMNode)
            for one in above.__dict__.get("BINDINGS", ())
            if isinstance(one, Binding) and one.id
        )
        name = _CAPITAL.sub(" ", screen.__name__.removesuffix("Screen")).lower()
        found[f"the screen {name}"] = own if issubclass(screen, ModalScreen) else own | everywhere
    return found


def screen_classes() -> Iterator[type[Screen[Any]]]:
    """Every screen class of the app; their modules are loaded."""
    for package in ("screens", "dialogs", "demo"):
        for file in resources.files(f"offset_tui.{package}").iterdir():
            name = file.name.removesuffix(".py")
            if name != file.name and name.isidentifier() and name not in ("__init__", "run"):
                import_module(f"offset_tui.{package}.{name}")
    waiting: list[type[Screen[Any]]] = list(Screen.__subclasses__())
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__.startswith("offset_tui."):
            yield one


def whole(chosen: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """For `App.set_keymap`: with a key changed, Textual forgets what else was on it, so that is named too."""
    taken = {key for name in chosen for key in known()[name].keys.split(",")}
    beside = {name: one.keys for name, one in known().items() if taken & set(one.keys.split(","))}
    return {**beside, **{name: ",".join(keys) for name, keys in chosen.items()}}


def changed(keys: Mapping[str, str]) -> int:
    """How many actions have other keys than usual."""
    return sum(1 for name, chosen in keys.items() if chosen != known()[name].keys)
