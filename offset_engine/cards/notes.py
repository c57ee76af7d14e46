"""The notebook of a card on disk: a small file beside the settings, for its owner only.

Several programs may have a card open: the app, and commands of the same user. Each hands in what it changed,
so that none takes away what another wrote meanwhile.

Source: PROTOCOL.md, "Card store"; `offset_engine.notebook`.
"""

import time
from pathlib import Path

from offset_engine import notebook
from offset_engine.cards.backup import NOTEBOOK_BYTES_MAX
from offset_engine.disk import write_file
from offset_engine.errors import FileError
from offset_engine.notebook import Notebook


def load_notebook(path: Path) -> Notebook:
    """Read it; without a file, or with a damaged one, which is put aside, an empty one.

    Raises:
        FileError: it is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(NOTEBOOK_BYTES_MAX + 1)
        # What is longer breaks off, and is damaged like anything else that is no notebook.
        return notebook.from_json(raw[:NOTEBOOK_BYTES_MAX].decode())
    except FileNotFoundError:
        return Notebook()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except (FileError, UnicodeDecodeError):
        path.replace(path.with_name(f"{path.name}.unread-{time.time_ns() // 1_000_000}"))
        return Notebook()


def change_notebook(path: Path, before: Notebook, after: Notebook) -> Notebook:
    """Keep what was changed between two states; returns what is in the file then.

    Raises:
        FileError: it cannot be read or written.
    """
    kept = notebook.merged(before, after, load_notebook(path))
    write_file(path, notebook.to_json(kept) + "\n", secret=True, force=True)
    return kept
