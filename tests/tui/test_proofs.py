"""Receipts and signed balances somebody shows: what they prove."""

from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from offset_engine import files
from offset_engine.client import Receipt
from offset_engine.core.crypto import expand_seed, sha512_256, sign
from offset_engine.core.signing import BalanceInfo, TokenInfo, info_hash, move_token_buffer
from offset_engine.core.values import HashResult, RandValue
from offset_engine.files import Token
from offset_tui.app import OffsetApp
from offset_tui.screens.receipt import ReceiptScreen
from offset_tui.screens.token import TokenScreen
from offset_tui.widgets.artifact_box import ArtifactBox
from offset_tui.widgets.inputs import LineInput
from tests.tui import money_scenes as money
from tests.tui.scenes import OUSD, FakeDoor, key, seed
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio

BOUGHT = money.invoice()
GOOD = money.receipt(BOUGHT)


def _known() -> FakeDoor:
    return money.with_history(money.door(), money.paid_record(BOUGHT))


RECEIPTS = {
    "good": GOOD,
    "changed": replace(GOOD, total_dest_payment=5_00),
    "other-signer": money.receipt(BOUGHT, "Zoe"),
    "unknown": money.receipt(money.invoice(number=9)),
}


def _page(folder: Path) -> str:
    (page,) = folder.glob("*.txt")
    return page.read_text(encoding="utf-8")


async def _shown(app: OffsetApp, pilot: Pilot[None], receipt: Receipt) -> ReceiptScreen:
    screen = ReceiptScreen(receipt)
    await app.push_screen(screen)
    await until(pilot, lambda: screen._is_searched)
    await settled(app, pilot)
    return screen


@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize("name", RECEIPTS)
async def test_every_verdict_on_a_receipt(name: str, size: tuple[int, int]) -> None:
    async with running(_known(), size) as (app, pilot):
        await _shown(app, pilot, RECEIPTS[name])
        check_golden(app, f"receipt-{name}")


async def test_a_receipt_of_others_is_checked_against_a_pasted_invoice() -> None:
    async with running() as (app, pilot):
        screen = await _shown(app, pilot, GOOD)
        box = screen.query_one(ArtifactBox)
        await until(pilot, lambda: box.has_focus)
        box.post_message(events.Paste(files.to_text(GOOD)))
        await until(pilot, lambda: "this is no invoice" in picture(app))
        box.post_message(events.Paste(files.to_text(BOUGHT)))
        await until(pilot, lambda: "the seller has collected" in picture(app))
        assert not box.display


async def test_a_pasted_receipt_opens_its_review_and_writes_files(tmp_path: Path) -> None:
    async with running(_known()) as (app, pilot):
        app.post_message(events.Paste(files.to_text(GOOD)))
        await until(pilot, lambda: isinstance(app.screen, ReceiptScreen))
        await until(pilot, lambda: "the seller has collected" in picture(app))
        await pilot.press("E")
        await until(pilot, lambda: "Folder for the files" in picture(app))
        app.screen.query_one("#line", LineInput).value = str(tmp_path)
        await pilot.press("enter")
        await until(pilot, lambda: "Written" in picture(app))
    text = _page(tmp_path)
    assert "4.00 OUSD (400 credits)" in text
    assert "the seller has collected" in text


# --- signed balances ------------------------------------------------------------------------------


def _token(signer: str = "Bob", about: str = "Eve", balance: int = -12_00) -> Token:
    info = TokenInfo(key(signer), key(about), ((OUSD, BalanceInfo(balance, 0, 0)),), 0, 7)
    prefix, nonce = HashResult(sha512_256(b"prefix")), RandValue(bytes(16))
    signed = sign(expand_seed(seed(signer)), move_token_buffer(prefix, info_hash(info), nonce))
    return Token(prefix, nonce, signed, info)


TOKENS = {
    "good": _token(),
    "strangers": _token("Zoe", "Yan"),
    "changed": replace(_token(), info=replace(_token().info, move_token_counter=8)),
    "huge": _token(balance=-(2**127 - 1)),
}


@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize("name", TOKENS)
async def test_every_verdict_on_signed_balances(name: str, size: tuple[int, int]) -> None:
    async with running(money.door(), size) as (app, pilot):
        await app.push_screen(TokenScreen(TOKENS[name]))
        await settled(app, pilot)
        check_golden(app, f"token-{name}")


async def test_pasted_balances_open_their_review() -> None:
    async with running() as (app, pilot):
        app.post_message(events.Paste(files.to_json(TOKENS["good"])))
        await until(pilot, lambda: isinstance(app.screen, TokenScreen))
