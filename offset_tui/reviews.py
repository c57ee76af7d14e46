"""Which screen opens for a text or file somebody gave us. Nothing is done before it was looked at there.

Source: design R48 (importing never acts); tui.md §10.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, TypeVar

from textual.screen import Screen

from offset_engine import files
from offset_engine.errors import FileError
from offset_engine.files import Artifact, Content, Kind, kind_of_content

_T = TypeVar("_T")
Review = Callable[[_T], Screen[None]]

_REVIEWS: Final[dict[type[object], Review[Any]]] = {}


def reviews(wanted: type[_T]) -> Callable[[Review[_T]], Review[_T]]:
    """Decorator: this makes the screen for contents of a type."""

    def keep(review: Review[_T]) -> Review[_T]:
        _REVIEWS[wanted] = review
        return review

    return keep


def read(text: str) -> list[Artifact]:
    """Every artifact in a text; several parts of one QR code count as one.

    Raises:
        FileError: there is none, or it is damaged; the sentence says how.
    """
    found = files.read_any(text)
    if not found:
        raise FileError("there is no Offset text in it: no invoice, commit, friend card or invite")
    return found


def screen_for(content: Content) -> Screen[None] | None:
    """The screen that shows a content and asks what to do; None if there is nothing to do with it."""
    import_module("offset_tui.screens.registry")
    review = _REVIEWS.get(type(content))
    return None if review is None else review(content)


def kind_of(content: Content) -> Kind:
    """What a content is, for words."""
    return kind_of_content(content)
