"""A wish to pay that only history knows any more is not paid a second time."""

import anyio
import pytest

from offset_engine.client import InvoiceTerms, PayStage
from offset_engine.core.api import Batch, ForgetPay, Pay
from offset_engine.village import OUSD, Friendship, open_village

pytestmark = pytest.mark.anyio

PAIR = (Friendship("Bob", "Charli", OUSD, 100_00, 100_00),)


async def test_a_forgotten_wish_is_not_paid_again():
    async with open_village(3, friendships=PAIR, relay_count=1, on_disk=False) as village:
        buyer, seller = village.people["Bob"].client, village.people["Charli"].client
        invoice = await seller.create_invoice(InvoiceTerms(OUSD, 5_00, "chocolate"))
        payment_id = await buyer.pay(invoice, 0)
        state = await buyer.wait_pay(payment_id, PayStage.COMMITTED)
        assert state.commit is not None
        await seller.accept_commit(state.commit)
        with anyio.fail_after(10):
            paid = await buyer.wait_pay(payment_id)
        await buyer.command(ForgetPay(payment_id))
        await buyer.command(Pay(payment_id, invoice, 0))
        await buyer.command(Batch((Pay(payment_id, invoice, 0),)))
        await buyer.command(Batch((Pay(payment_id, invoice, 0), Pay(payment_id, invoice, 0))))
        again = await buyer.pay_report(payment_id)
        assert again is not None
        assert (again.stage, again.receipt) == (PayStage.PAID, paid.receipt)
        assert not village.people["Bob"].running.state.intents
        assert not village.people["Bob"].running.state.payments
        await village.settle()
        assert village.balances()[OUSD] == {"Bob": -5_00, "Charli": 5_00}
