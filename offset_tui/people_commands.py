"""What the command palette offers about friends from anywhere: `Limit for Bob …`, and the like.

Matching is our own: Textual's looks at every way the letters can stand in a sentence, which is too much for a
thousand friends, and its results are markup, which a friend's name must never be.

| a typed word | worth |
|---|---|
| begins a word of the entry | 3 |
| is inside a word | 2 |
| its letters are in a word, in order (from three letters on) | 1 |
| none of these | no hit |

Source: tui.md §5, §6.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from offset_engine.client import PublicKey

HITS_MAX: Final = 50
_BEST: Final = 3
_LETTERS_MIN: Final = 3
"""Fewer letters in order say nothing."""
_WORDS_MAX: Final = 8
"""Typed words that are looked at."""


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that can be done about a friend."""

    title: str
    """With `{}` for the name."""
    help: str
    words: tuple[str, ...]
    """What somebody may type to find it, without capitals."""
    action: str
    """Of the friend's screen; "" = only open it."""
    key: str = ""
    """The key of that action there, if it is about one currency."""


VERBS: Final = (
    Verb("Friend {}", "Everything about this friend.", ("friend", "show"), ""),
    Verb(
        "Limit for {} …",
        "Set the most this friend may owe you.",
        ("limit", "trust", "credit", "for"),
        "limit",
        "l",
    ),
    Verb(
        "Fee for {} …",
        "Set what you charge for passing payments on.",
        ("fee", "charge", "rate", "for"),
        "fee",
        "f",
    ),
    Verb(
        "Open or close a currency with {} …",
        "Let payments of others pass, or stop them.",
        ("open", "close", "currency", "with"),
        "open",
        "o",
    ),
    Verb("Rename {} …", "Call this friend something else.", ("rename", "name", "call"), "edit"),
    Verb(
        "Rebalance with {} …",
        "Move what is owed towards zero, along a circle of friends.",
        ("rebalance", "zero", "settle", "move", "with"),
        "rebalance",
        "z",
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    """One entry."""

    score: float
    """On the scale of Textual's own hits: higher is better."""
    verb: Verb
    friend: PublicKey
    name: str

    @property
    def title(self) -> str:
        """As it is shown; plain text, never markup."""
        return self.verb.title.format(self.name)


def found_in(query: str, names: Iterable[tuple[PublicKey, str]]) -> list[Found]:
    """The best entries for what was typed, at most `HITS_MAX`; costs little per friend.

    Args:
        query: as typed.
        names: what each friend is called, safe to show, in the order to prefer.
    """
    typed = tuple(query.casefold().split()[:_WORDS_MAX])
    if not typed:
        return []
    by_verb = [(verb, tuple(_worth(word, verb.words) for word in typed)) for verb in VERBS]
    wanted = tuple(max(worths[at] for _, worths in by_verb) == 0 for at in range(len(typed)))
    hits = _hits(typed, by_verb, wanted, names)
    best = heapq.nsmallest(HITS_MAX, hits, key=lambda one: one[:2])
    most = _BEST * len(typed)
    scale = 3 * len(query) / most
    return [Found(-worth * scale, verb, key, name) for worth, _, verb, key, name in best]


def _hits(
    typed: tuple[str, ...],
    by_verb: list[tuple[Verb, tuple[int, ...]]],
    must_be_name: tuple[bool, ...],
    names: Iterable[tuple[PublicKey, str]],
) -> Iterator[tuple[int, int, Verb, PublicKey, str]]:
    """(minus worth, number, verb, friend, name) of whatever matches; the numbers ascend."""
    number = 0
    for key, name in names:
        parts = tuple(name.casefold().split())
        of_name = tuple(_worth(word, parts) for word in typed)
        if any(must and not worth for must, worth in zip(must_be_name, of_name, strict=True)):
            continue
        for verb, of_verb in by_verb:
            worths = tuple(map(max, of_name, of_verb))
            if all(worths):
                number += 1
                yield -sum(worths), number, verb, key, name


def _worth(word: str, parts: tuple[str, ...]) -> int:
    """How well a typed word matches the best of some words; 0 = not at all."""
    best = 0
    for part in parts:
        if part.startswith(word):
            return _BEST
        if best < _BEST - 1 and word in part:
            best = _BEST - 1
        elif not best and len(word) >= _LETTERS_MIN and _in_order(word, part):
            best = 1
    return best


def _in_order(word: str, part: str) -> bool:
    letters = iter(part)
    return all(letter in letters for letter in word)
