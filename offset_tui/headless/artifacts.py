"""What is given to a command: a file, a text as it was pasted, or `-` for standard input.

Source: design R9; apps.md §7.5.
"""

import re
from collections.abc import Sequence
from typing import Final, TypeVar

from offset_engine.errors import FileError
from offset_engine.files import Artifact, Content, kind_of_content, load_any, read_any
from offset_engine.programs.arguments import read_input

_C = TypeVar("_C", bound=Content)
_PASTED: Final = re.compile(r"\s*(?:offset1\s*:|O\$|\{)|[\s\S]*\boffset1:", re.IGNORECASE)


def given(place: str) -> list[Content]:
    """Everything of ours in what was given; at least one.

    Raises:
        FileError: it cannot be read, or nothing of ours is in it.
    """
    if place == "-":
        return [one.content for one in _pasted(read_input("-"), "standard input")]
    if _PASTED.match(place):
        return [one.content for one in _pasted(place, "this text")]
    return [one.content for one in load_any(place)]


def given_one(place: str, wanted: type[_C], hint: str) -> _C:
    """The one thing of this type in what was given.

    Args:
        place: what was given.
        wanted: the type.
        hint: the sentence's end if something else was given.

    Raises:
        FileError: as `given`, or there is none or several of the type.
    """
    found = given(place)
    fitting = [one for one in found if isinstance(one, wanted)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise FileError(f"there are {len(fitting)} of the same kind in it; give one at a time")
    raise FileError(f"this is {kinds(found)}: {hint}")


def kinds(found: Sequence[Content]) -> str:
    """What was found, in words."""
    return ", ".join(dict.fromkeys(kind_of_content(one).value for one in found))


def _pasted(text: str, where: str) -> list[Artifact]:
    try:
        return read_any(text)
    except FileError as error:
        raise FileError(f"{where}: {error}") from None
