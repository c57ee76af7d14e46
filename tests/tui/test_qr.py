"""QR codes on screen, read back by a reader that is not ours: zbar, from the cells of the terminal."""

import shutil
import subprocess
from itertools import pairwise

import pytest
import segno
from rich.color import ColorTriplet
from textual.app import App
from textual.geometry import Size
from textual.pilot import Pilot
from textual.strip import Strip

from offset_engine.core.crypto import public_key_of
from offset_engine.core.signing import Commit, Invoice
from offset_engine.core.values import (
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RelayAddress,
    Signature,
)
from offset_engine.files import (
    FriendCard,
    Identity,
    read_any,
    to_qr_parts,
    to_qr_text,
)
from offset_tui.dialogs.qr import QrScreen
from offset_tui.qr.fit import ALPHANUMERIC_MAX, Plan, Unfit, fit_content, fit_text, rows
from offset_tui.qr.widget import QrWidget

pytestmark = pytest.mark.anyio

INVOICE = Invoice(
    InvoiceId(b"\x05" * 32), Currency("OUSD"), PublicKey(b"\x07" * 32), 12000,
)  # fmt: skip
COMMIT = Commit(
    HashResult(b"\x01" * 32), PlainLock(b"\x02" * 32), HashedLock(b"\x03" * 32), 12000, 12000,
    InvoiceId(b"\x05" * 32), Currency("OUSD"), Signature(b"\x09" * 64),
)  # fmt: skip
CARD = FriendCard(
    public_key_of(PrivateKey(b"\x0a" * 32)),
    tuple(
        RelayAddress(public_key_of(PrivateKey(bytes([n]) * 32)), f"relay{n}.example.org:5000")
        for n in (1, 2)
    ),
)
TERMINALS = [(80, 24), (120, 40)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def zbar() -> str:
    found = shutil.which("zbarimg")
    if found is None:
        pytest.skip("zbarimg is not installed (Debian: zbar-tools)")
    return found


def decoded(zbar: str, lines: list[list[bool]]) -> str:
    """What zbar reads in a picture; True is light. Every dot becomes 4 × 4."""
    width = len(lines[0]) * 4
    picture = b"P5 %d %d 255\n" % (width, len(lines) * 4)
    for line in lines:
        picture += bytes(255 * dot for dot in line for _ in range(4)) * 4
    command = [zbar, "-q", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable", "-"]
    done = subprocess.run(command, input=picture, capture_output=True, check=False, timeout=20)
    return done.stdout.decode().strip()


def by_glyphs(lines: list[str]) -> list[list[bool]]:
    """The picture that the characters alone draw: one dot across, two down."""
    picture = []
    for line in lines:
        picture.append([glyph in "█▀" for glyph in line])
        picture.append([glyph in "█▄" for glyph in line])
    return picture


def by_colors(strips: list[Strip]) -> list[list[bool]]:
    """The picture that ink and paper of every cell draw."""
    picture = []
    for strip in strips:
        upper, lower = [], []
        for segment in strip:
            ink, paper = (
                color is not None and color.triplet == ColorTriplet(255, 255, 255)
                for color in (segment.style.color, segment.style.bgcolor)
            )
            for glyph in segment.text:
                upper.append(ink if glyph in "█▀" else paper)
                lower.append(ink if glyph in "█▄" else paper)
        picture += [upper, lower]
    return picture


def screen_strips(app: App) -> list[Strip]:
    return app.screen._compositor.render_strips(app.size)


def screen_text(app: App) -> list[str]:
    return [strip.text for strip in screen_strips(app)]


async def opened(pilot: Pilot, screen: QrScreen) -> QrScreen:
    await pilot.app.push_screen(screen)
    await pilot.pause()
    return screen


# --- what fits ----------------------------------------------------------------------------------


def test_the_table_of_capacities_is_that_of_the_standard() -> None:
    assert len(ALPHANUMERIC_MAX) == 40
    for version in (*range(1, 11), 14, 27, 40):
        characters = ALPHANUMERIC_MAX[version - 1]
        made = segno.make_qr("A" * characters, error="l", boost_error=False)
        assert (made.version, made.mode) == (version, "alphanumeric")
        if version < 40:
            assert segno.make_qr("A" * (characters + 1), error="l").version == version + 1


@pytest.mark.parametrize(
    ("height", "border", "chars", "size"),
    [
        (24, 4, 154, (23, 45)), (24, 2, 195, (23, 45)), (24, 1, 224, (24, 47)),
        (22, 4, 114, (21, 41)), (22, 2, 154, (21, 41)), (22, 1, 195, (22, 43)),
        (40, 4, 619, (39, 77)), (40, 2, 667, (39, 77)), (40, 1, 758, (40, 79)),
    ],
)  # fmt: skip
def test_every_row_of_the_table_of_sizes_is_used_in_full(
    height: int, border: int, chars: int, size: tuple[int, int]
) -> None:
    plan = fit_text("A" * chars, height, 80)
    assert isinstance(plan, Plan)
    assert (plan.border, (plan.rows, plan.columns)) == (border, size)
    assert not isinstance(fit_text("A" * (chars + 1), height, 80), Plan) or border > 1


def test_error_correction_is_better_where_it_is_free() -> None:
    plan = fit_text("A" * 26, 40, 80)
    assert isinstance(plan, Plan)
    assert (plan.codes[0].version, plan.codes[0].error) == (2, "Q")


def test_a_large_artifact_is_cut_into_the_fewest_parts_of_one_size() -> None:
    plan = fit_content(COMMIT, 24, 80)
    assert isinstance(plan, Plan)
    assert [code.text for code in plan.codes] == to_qr_parts(COMMIT, 195)
    assert plan.border >= 2
    assert len({code.version for code in plan.codes}) == 1
    (read,) = read_any("\n".join(code.text for code in plan.codes))
    assert read.content == COMMIT


def test_what_does_not_fit_says_what_it_needs() -> None:
    assert fit_text("A" * 360, 24, 80) == Unfit(
        "needs 30 rows, you have 24: make the window taller, or copy the text"
    )
    assert fit_text("A" * 300, 60, 40) == Unfit(
        "needs 55 columns, you have 40: make the window wider, or copy the text"
    )
    assert fit_content(COMMIT, 10, 20) == Unfit(
        "needs 16 rows and 31 columns, you have 10 and 20: make the window larger, or copy the text"
    )
    assert fit_text("A" * 5000, 500, 500) == Unfit(
        "this is too long for a QR code: copy the text, or write a file"
    )
    assert isinstance(fit_text("", 24, 80), Unfit)
    for room in [(0, 0), (-3, 80), (24, 1)]:
        assert isinstance(fit_content(INVOICE, *room), Unfit)


def test_what_eight_of_the_largest_cannot_hold_has_no_code() -> None:
    relays = tuple(RelayAddress(CARD.public_key, f"{n}{'a' * 200}.org:5000") for n in range(250))
    assert fit_content(FriendCard(CARD.public_key, relays), 24, 80) == Unfit(
        "this is too long for QR codes: copy the text, or write a file"
    )


def test_a_narrow_border_is_taken_when_a_wider_one_leaves_too_little() -> None:
    plan = fit_content(COMMIT, 16, 31)
    assert isinstance(plan, Plan)
    assert (plan.border, len(plan.codes)) == (1, 5)


def test_secrets_have_no_code() -> None:
    assert isinstance(fit_content(Identity(PrivateKey(bytes(32))), 60, 200), Unfit)


def test_cells_that_look_alike_are_one_run() -> None:
    plan = fit_content(INVOICE, 24, 80)
    assert isinstance(plan, Plan)
    drawn = rows(plan.codes[0].modules, plan.border)
    assert len(drawn) == plan.rows
    for line in drawn:
        assert sum(len(run.text) for run in line) == plan.columns
        assert all(a[1:] != b[1:] for a, b in pairwise(line))


@pytest.mark.parametrize("content", [INVOICE, CARD, COMMIT])
def test_coloured_spaces_show_the_same_code(zbar: str, content: Invoice) -> None:
    plan = fit_content(content, 41, 82, is_ascii=True)
    assert isinstance(plan, Plan)
    texts = []
    for code in plan.codes:
        drawn = rows(code.modules, plan.border, is_ascii=True)
        assert all(run.text.isspace() for line in drawn for run in line)
        assert all(sum(len(run.text) for run in line) == plan.columns for line in drawn)
        dots = [[run.paper == "#ffffff" for run in line for _ in run.text[::2]] for line in drawn]
        texts.append(decoded(zbar, dots))
    assert texts == [code.text for code in plan.codes]


# --- on screen ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", TERMINALS)
@pytest.mark.parametrize("content", [INVOICE, CARD, COMMIT], ids=["invoice", "card", "commit"])
async def test_codes_decode_from_the_cells_of_the_screen(
    zbar: str, size: tuple[int, int], content: Invoice
) -> None:
    app = App()
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot, QrScreen(content, caption="120.00 OUSD to Bob"))
        qr = screen.widget
        assert qr is not None
        texts = []
        for number in range(len(qr.plan.codes)):
            assert qr.part == number
            texts.append(decoded(zbar, by_glyphs(screen_text(app))))
            assert decoded(zbar, by_colors(screen_strips(app))) == texts[-1]
            qr.turn()
            await pilot.pause()
        (read,) = read_any("\n".join(texts))
        assert read.content == content
        assert "120.00 OUSD" in "\n".join(screen_text(app))


async def test_swapping_glyphs_keeps_the_colours(zbar: str) -> None:
    app = App()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, QrScreen(INVOICE))
        before = screen_text(app)
        await pilot.press("i")
        await pilot.pause()
        assert screen_text(app) != before
        assert decoded(zbar, by_colors(screen_strips(app))) == to_qr_text(INVOICE)
        on_a_light_terminal = [[not dot for dot in line] for line in by_glyphs(screen_text(app))]
        assert decoded(zbar, on_a_light_terminal) == to_qr_text(INVOICE)


async def test_parts_turn_pause_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the turns made here: on a busy machine the clock's own would come in between.
    monkeypatch.setattr("offset_tui.qr.widget.PART_S", 3_600)
    app = App()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, QrScreen(COMMIT))
        qr = screen.widget
        assert qr is not None
        count = len(qr.plan.codes)
        assert "part 1/" in "\n".join(screen_text(app))
        qr.turn()
        await pilot.pause()
        assert f"part 2/{count}" in "\n".join(screen_text(app))
        await pilot.press("space")
        qr.turn()
        await pilot.pause()
        assert f"part 2/{count}, paused" in "\n".join(screen_text(app))
        await pilot.press("left", "left")
        assert qr.part == count - 1
        await pilot.press("right")
        assert qr.part == 0
        await pilot.press("space")
        qr.turn()
        assert qr.part == 1


async def test_one_code_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, QrScreen(INVOICE))
        qr = screen.widget
        assert qr is not None
        drawn = []
        monkeypatch.setattr(qr, "refresh", lambda **_kw: drawn.append(1))
        qr.turn()
        qr.step(1)
        qr.show(qr.plan)
        assert drawn == []
        assert qr.render_line(99).cell_length == qr.size.width
        assert qr.get_content_height(Size(0, 0), Size(0, 0), 0) == qr.plan.rows


async def test_a_smaller_window_takes_parts_and_a_tiny_one_says_what_is_missing() -> None:
    app = App()
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, QrScreen(COMMIT, caption="the commit"))
        assert screen.widget is not None
        assert len(screen.widget.plan.codes) == 1
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert len(screen.widget.plan.codes) > 1
        await pilot.resize_terminal(60, 10)
        await pilot.pause()
        assert screen.widget is None
        text = " ".join(" ".join(screen_text(app)).split())
        assert "QR code: needs 16 rows, you have 10" in text
        assert "make the window taller, or copy the text" in text
        await pilot.press("space", "left", "i")
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert screen.widget is not None
        assert len(screen.widget.plan.codes) == 1


async def test_words_go_where_the_code_needs_the_room() -> None:
    app = App()
    async with app.run_test(size=(50, 24)) as pilot:
        screen = await opened(pilot, QrScreen(INVOICE, caption="120.00 OUSD"))
        assert isinstance(screen.widget, QrWidget)
        assert screen.has_class("-bare")
        await pilot.press("t")
        await pilot.pause()
        assert "120.00 OUSD" in "\n".join(screen_text(app))
        await pilot.press("t")
        await pilot.pause()
        assert screen.has_class("-bare")
        await pilot.resize_terminal(120, 40)
        await pilot.press("t")
        await pilot.pause()
        assert "120.00 OUSD" in "\n".join(screen_text(app))
        assert screen.widget is not None


async def test_a_code_too_large_for_words_beside_it_can_be_exchanged_for_them() -> None:
    app = App()
    async with app.run_test(size=(30, 24)) as pilot:
        screen = await opened(pilot, QrScreen("A" * 40, caption="120.00 OUSD"))
        assert screen.widget is not None
        await pilot.press("t")
        await pilot.pause()
        assert screen.widget is None
        assert "120.00 OUSD" in "\n".join(screen_text(app))
        assert "the code alone" in "\n".join(screen_text(app))
        await pilot.press("t")
        await pilot.pause()
        assert screen.widget is not None


async def test_the_caption_of_a_stranger_does_nothing() -> None:
    app = App()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, QrScreen(INVOICE, caption="[/] [b]x[/b] \x1b]52;c;eA==\x07\u202e"))
        text = "\n".join(screen_text(app))
        assert "[/] [b]x[/b] ␛]52" in text
        assert "\x1b" not in text


async def test_no_toast_covers_a_code() -> None:
    app = App()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot, QrScreen(INVOICE))
        before = screen_text(app)
        app.notify("4 payments received", markup=False)
        await pilot.pause()
        assert screen_text(app) == before


async def test_ascii_draws_coloured_spaces_and_q_goes_back(zbar: str) -> None:
    app = App()
    async with app.run_test(size=(120, 41)) as pilot:
        screen = await opened(pilot, QrScreen(INVOICE, is_ascii=True))
        assert all(line.isascii() for line in screen_text(app))
        dots = [line[::2] for line in by_colors(screen_strips(app))[::2]]
        assert decoded(zbar, dots) == to_qr_text(INVOICE)
        await pilot.press("q")
        await pilot.pause()
        assert app.screen is not screen
