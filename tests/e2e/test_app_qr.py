"""QR codes as a telephone sees them: from the cells of a terminal, read by zbar."""

import re
import shutil
from collections.abc import Iterator

import pytest

from offset_engine.files import Artifact, Commit, Invoice, read_any
from tests.covers import covers
from tests.e2e.tmux_screen import OFFSET, Pane, Tmux, needs_tmux, terminals
from tests.tui.test_qr import by_glyphs, decoded

pytestmark = needs_tmux

SIZES = [(80, 24), (120, 40)]


@pytest.fixture
def zbar() -> str:
    found = shutil.which("zbarimg")
    if found is None:
        pytest.skip("zbarimg is not installed (Debian: zbar-tools)")
    return found


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    with terminals() as opened:
        yield opened


def code(screen: str) -> list[str]:
    """The rows of the code: from the left edge, as wide as its quiet zone above."""
    rows = screen.splitlines()
    width = len(rows[0]) - len(rows[0].lstrip("█"))
    return [row.ljust(width)[:width] for row in rows if row.startswith("█")]


def scanned(eve: Pane, zbar: str) -> Artifact:
    """Hold a telephone before the screen until it has every part."""
    screen = eve.wait_for(lambda shown: shown.startswith("█████"))
    counted = re.search(r"part 1/(\d)", screen)
    count = int(counted[1]) if counted else 1
    if count > 1:
        eve.keys("Space")
        eve.wait_for("paused")
    parts = []
    for number in range(count):
        if number:
            before = code(eve.screen)
            eve.keys("Right")
            eve.wait_for(lambda shown, before=before: code(shown) != before)
        parts.append(decoded(zbar, by_glyphs(code(eve.wait_still(0.2)))))
    (found,) = read_any("\n".join(parts))
    return found


@covers("MOB-10", "MOB-16")
@pytest.mark.parametrize("size", SIZES)
def test_an_invoice_and_a_commit_are_read_off_the_screen(
    tmux: Tmux, zbar: str, size: tuple[int, int]
) -> None:
    eve = tmux.open("eve", [*OFFSET, "demo", "--seed", "7"], size=size)
    eve.wait_for("Tour 1/5")
    eve.keys("3")
    eve.wait_for("you can be paid up to")
    eve.type("4.00")
    eve.wait_for("= 4.00 OUSD")
    eve.keys("C-s")
    invoice = eve.artifact()
    eve.keys("v")
    found = scanned(eve, zbar).content
    assert isinstance(found, Invoice)
    assert found.total_dest_payment == 4_00
    assert found == read_any(invoice)[0].content

    eve.keys("q")
    eve.wait_for("offset1:invoice:")
    eve.keys("q")
    eve.wait_for("Open invoices")
    eve.keys("m")
    eve.wait_for("A loaf is 2.00")
    eve.keys("Enter")
    eve.wait_for("Pay 2.00 OUSD to Bob (P)")
    eve.press_armed("P")
    commit = eve.artifact()
    eve.keys("v")
    found = scanned(eve, zbar).content
    assert isinstance(found, Commit)
    assert found == read_any(commit)[0].content
