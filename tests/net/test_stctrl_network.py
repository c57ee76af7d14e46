"""`stctrl` on a live network: who is connected, payments in parts, units, percent, spellings of files."""

import json
import re
from pathlib import Path

import pytest

from offset_engine.client import InvoiceTerms, PayStage
from offset_engine.core.values import NamedAddress
from offset_engine.errors import FileError
from offset_engine.files import (
    PaymentHandle,
    load,
    load_invoice,
    load_receipt,
    verify_receipt,
    write_invoice,
)
from offset_engine.programs.control import buyer
from offset_engine.village import OUSD
from tests.covers import covers
from tests.net.test_payments import DIAMOND
from tests.net.test_stctrl import STRANGER, BobInVillage, bob_in_village
from tests.unit.test_json_output import keys

pytestmark = pytest.mark.anyio


async def asked(bob: BobInVillage, capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    await bob.run("--json", *argv)
    return json.loads(capsys.readouterr().out)


def written(path: str) -> dict:
    return json.loads(Path(path).read_text())


@covers("CTL-03", "CTL-04", "RMP-18")
async def test_the_connected_index_server_is_marked_and_relays_say_how_they_are(
    capsys: pytest.CaptureFixture[str],
):
    async with bob_in_village() as bob:
        client = bob.village.people["Bob"].client
        await client.add_index_server(NamedAddress(STRANGER, "127.0.0.1:1", "spare"))
        await client.add_relay(NamedAddress(STRANGER, "127.0.0.1:1", "nowhere"))
        await bob.run("info", "index")
        head, used, spare = capsys.readouterr().out.splitlines()
        assert head.split("  ")[0] == "index server name"
        assert (used.count(" (*) "), spare.count("(*)")) == (1, 0)
        assert used.endswith("  connected")
        assert spare.endswith("  not in use")
        one, other = (await asked(bob, capsys, "info", "index"))["index_servers"]
        assert (one["connected"], one["status"]) == (True, "connected")
        assert (other["connected"], other["status"]) == (False, "idle")
        await bob.run("info", "relays")
        _, good, bad = capsys.readouterr().out.splitlines()
        assert good.endswith("  connected")
        assert bad.startswith("nowhere ")
        assert "connected" not in bad
        relay, nowhere = (await asked(bob, capsys, "info", "relays"))["relays"]
        assert (relay["connected"], nowhere["connected"]) == (True, False)


async def receipt_is_written_before_the_payment_is_let_go(
    bob: BobInVillage, status: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise FileError("the disk is full")

    client = bob.village.people["Bob"].client
    with monkeypatch.context() as patched:
        patched.setattr(buyer, "write_receipt", full_disk)
        with pytest.raises(FileError, match="disk"):
            await bob.run(*status)
    assert [one.stage for one in await client.pays()] == [PayStage.PAID]
    assert load(status[3], PaymentHandle)


@covers("CTL-28", "CTL-29", "CTL-30", "FIX-29", "FIX-32", "PAY-11")
async def test_an_invoice_no_single_route_carries_is_paid_in_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    names = ("invoice", "payment", "commit", "receipt")
    invoice, payment, commit, receipt = (str(tmp_path / name) for name in names)
    async with bob_in_village(DIAMOND) as bob:
        daniel = bob.village.people["Daniel"].client
        asked_for = await daniel.create_invoice(InvoiceTerms(OUSD, 100_00))
        write_invoice(invoice, asked_for)
        pay = ("buyer", "pay-invoice", "-i", invoice, "-p", payment, "-c", commit)
        await bob.run(*pay, "--style", "stctrl", "--units", "2", "--max-fee", "0.02")
        assert "Total fees: 2\n" in capsys.readouterr().out
        assert set(written(payment)) == {"payment_id"}
        assert "src_plain_lock" in written(commit)
        (report,) = await bob.village.people["Bob"].client.pays()
        assert (report.stage, report.parts) == (PayStage.COMMITTED, 2)
        assert report.commit is not None
        await daniel.accept_commit(report.commit)
        status = ("buyer", "payment-status", "-p", payment, "-r", receipt, "--style", "both")
        await receipt_is_written_before_the_payment_is_let_go(bob, status, monkeypatch)
        await bob.run(*status)
        kept = written(receipt)
        assert kept["isComplete"] is kept["is_complete"] is True
        verdict = verify_receipt(asked_for, load_receipt(receipt))
        assert (verdict.is_valid, verdict.is_complete) == (True, True)


@covers("CTL-37")
async def test_json_is_one_object_with_keys_in_snake_case(capsys: pytest.CaptureFixture[str]):
    async with bob_in_village() as bob:
        daniel = bob.village.people["Daniel"].client
        invoice = await daniel.create_invoice(InvoiceTerms(OUSD, 500))
        payment_id = await bob.village.people["Bob"].client.pay(invoice, 1)
        await bob.village.people["Bob"].client.wait_pay(payment_id, PayStage.COMMITTED)
        for line in (
            *("relays", "index", "friends", "friend -n Charli", "public-key"),
            *("payments", "invoices", "history", "history -k resets"),
        ):
            found = keys(await asked(bob, capsys, "info", *line.split()))
            assert found
            assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", one) for one in found), found


@covers("CTL-20", "CTL-21", "CTL-31", "CTL-35")
async def test_limits_in_units_fees_in_percent_and_invoices_with_decimals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    charli = ("-n", "Charli", "-c", "OUSD")
    async with bob_in_village() as bob:
        await bob.run("config", "set-currency-max-debt", *charli, "-m", "12.5", "--units", "2")
        await bob.run("config", "set-currency-rate", *charli, "--percent", "0.5", "-a", "3")
        friend = await asked(bob, capsys, "info", "friend", "-n", "Charli")
        (currency,) = friend["currencies"]
        assert currency["max_debt"] == "1250"
        assert currency["rate"] == {"mul": 21_474_837, "add": 3, "percent": "0.500"}
        await bob.run("info", "friend", "-n", "Charli")
        assert "+ 3 (0.500 %)" in capsys.readouterr().out
        made = str(tmp_path / "i")
        sell = ("seller", "create-invoice", "-c", "OUSD", "-a", "1.25", "-i", made)
        await bob.run(*sell, "--units", "2", "--style", "stctrl")
        invoice = load_invoice(made)
        assert (invoice.total_dest_payment, invoice.decimals) == (125, 2)
        assert "dest_public_key" in written(made)
