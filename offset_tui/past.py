"""What is over: pages of a node's history, and proofs of it written to files.

Source: apps.md §5 S11; design R28.
"""

from pathlib import Path
from typing import Final

from offset_engine import files
from offset_engine.client import Client, HistoryEntry, HistoryKind
from offset_engine.disk import expanded, write_file
from offset_engine.files import Content

HISTORY_PAGE: Final = 1_000
HISTORY_PAGES_MAX: Final = 20
"""Pages looked through for one payment."""


async def entries(client: Client, kind: HistoryKind, pages: int = 1) -> list[HistoryEntry]:
    """Entries of a history, newest first.

    Raises:
        OffsetError: the node does not answer or may not tell.
    """
    found: list[HistoryEntry] = []
    before: int | None = None
    for _ in range(pages):
        page = await client.history(kind, before, HISTORY_PAGE)
        found += page
        if len(page) < HISTORY_PAGE:
            break
        before = page[-1].number
    return found


def write_bundle(
    typed: str, contents: tuple[Content, ...], about: str, day: str, page: str
) -> tuple[Path, list[str]]:
    """Write artifacts and a page beside each other; only their owner may read them.

    Args:
        typed: the folder's path; made if missing.
        contents: artifacts; the page is named like the first.
        about: what they are about, foreign text.
        day: date for the names.
        page: plain text; "" writes none.

    Returns:
        The folder, and the names of the files.

    Raises:
        OffsetError: a file exists or cannot be written.
        OSError: the folder cannot be made.
    """
    folder = expanded(typed)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = [files.file_name(one, about, day) for one in contents]
    for name, content in zip(names, contents, strict=True):
        files.write(folder / name, content, private=True)
    if page:
        text_name = Path(names[0]).stem + ".txt"
        write_file(folder / text_name, page, secret=True)
        names.append(text_name)
    return folder, names
