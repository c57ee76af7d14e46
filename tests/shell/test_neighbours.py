"""The neighbours of the practice village buy, sell and talk, all by texts."""

from collections.abc import AsyncIterator

import anyio
import pytest

from offset_engine import files
from offset_engine.client import InvoiceTerms, PayStage
from offset_engine.neighbours import Neighbours, wait_for_line
from offset_engine.village import OUSD, TOUR_CAST, open_village

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def eves() -> AsyncIterator[Neighbours]:
    async with (
        open_village(7, friendships=TOUR_CAST, relays_each=2, on_disk=False) as village,
        anyio.create_task_group() as tasks,
    ):
        yield Neighbours(village, "Eve", tasks)
        tasks.cancel_scope.cancel()


async def bought(eves: Neighbours, seller: str, max_fee: int) -> int:
    """Eve buys what a neighbour sells; returns the fee she paid."""
    client = eves.village.people["Eve"].client
    await eves.offer(seller)
    offer = eves.lines[-1]
    (found,) = files.read_any(offer.artifact)
    assert isinstance(found.content, files.Invoice)
    payment_id = await client.pay(found.content, max_fee)
    report = await client.wait_pay(payment_id, PayStage.COMMITTED)
    assert report.commit is not None, report
    eves.tell(seller, files.to_text(report.commit))
    await wait_for_line(eves, lambda line: "Paid, thank you" in line.text, offer.number)
    done = await client.wait_pay(payment_id)
    assert done.stage is PayStage.PAID
    return done.fee


async def test_bread_costs_no_fee_and_the_repair_051_through_charli(eves: Neighbours) -> None:
    await eves.village.wait_until_reported()
    assert await bought(eves, "Bob", 0) == 0
    assert await bought(eves, "Daniel", 1_00) == 51


async def test_a_neighbour_pays_an_invoice_and_hands_back_the_commit(eves: Neighbours) -> None:
    client = eves.village.people["Eve"].client
    invoice = await client.create_invoice(InvoiceTerms(OUSD, 4_00, "chocolate"))
    eves.tell("Farid", f"here it is\n> {files.to_text(invoice)}")
    line = await wait_for_line(eves, lambda line: "My commit" in line.text)
    (found,) = files.read_any(line.artifact)
    assert isinstance(found.content, files.Commit)
    await client.accept_commit(found.content)
    await wait_for_line(eves, lambda line: "receipt" in line.text)


async def test_words_are_answered_and_nonsense_harms_nobody(eves: Neighbours) -> None:
    eves.tell("Bob", "hello")
    await wait_for_line(eves, lambda line: "Nice to hear" in line.text)
    eves.tell("Bob", "I would like to buy")
    await wait_for_line(eves, lambda line: bool(line.artifact))
    stranger = eves.lines[-1].artifact
    eves.tell("Farid", stranger)
    await wait_for_line(eves, lambda line: "not yours" in line.text)
    eves.tell("Nobody", "hello?")
    eves.tell("Bob", "")
    assert all(line.recipient != "Nobody" for line in eves.lines)


async def test_a_payment_still_works_when_a_relay_has_died(eves: Neighbours) -> None:
    await bought(eves, "Bob", 1_00)
    assert eves.stop_relay() == "relay 1"
    with anyio.fail_after(20):
        assert await bought(eves, "Bob", 1_00) == 0
