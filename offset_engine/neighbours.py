"""The neighbours of the practice village: they sell, they buy, and they talk. Everything they say is a text.

The village chat is what post, messengers and voices are in the real world: the way invoices, commits and
receipts get from one person to the other. A neighbour who is handed a commit collects it; who is handed an
invoice pays it and hands back the commit; whatever else one says is answered in a sentence.

Source: issue of the app, "Practice village"; design §3.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from offset_engine import files
from offset_engine.client import (
    Client,
    CommandRefusedError,
    Commit,
    Invoice,
    InvoiceTerms,
    PayStage,
    Receipt,
)
from offset_engine.core.values import value
from offset_engine.errors import FileError, OffsetError
from offset_engine.sentences import failure_sentence, fault_sentence
from offset_engine.village import DECIMALS, OUSD, Village

LINES_MAX: Final = 500
MESSAGE_CHARS_MAX: Final = 8_000
FEE_MAX: Final = 5_00
"""What a neighbour pays on top at most."""


@value
class Ware:
    """What somebody sells."""

    description: str
    amount: int
    """Credits of OUSD."""
    words: str
    """How it is offered."""


WARES: Final = {
    "Bob": Ware("a loaf of bread", 2_00, "Fresh bread! A loaf is 2.00. Here is the invoice:"),
    "Charli": Ware("dark chocolate", 3_50, "One bar of dark chocolate, 3.50. The invoice:"),
    "Daniel": Ware("car repair", 100_00, "Your car is ready. That is 100.00, the invoice:"),
    "Farid": Ware("a haircut", 12_00, "A haircut is 12.00. Here you are:"),
    "Grace": Ware("guitar lesson", 20_00, "The lesson was 20.00. My invoice:"),
}


@value
class ChatLine:
    """One message."""

    number: int
    """Ascending, from 1."""
    sender: str
    """A neighbour, or the name of the card whose owner walks through the village."""
    recipient: str
    text: str
    artifact: str = ""
    """The text form of what comes with it; "" if nothing does."""


@dataclass(slots=True)
class Neighbours:
    """See the module; `you` is the villager who is a person."""

    village: Village
    you: str
    tasks: TaskGroup
    lines: deque[ChatLine] = field(default_factory=lambda: deque(maxlen=LINES_MAX))
    on_line: Callable[[ChatLine], None] | None = None
    """Told every new line, on the village's loop."""
    _count: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody one can talk to."""
        return tuple(sorted(name for name in self.village.people if name != self.you))

    def _client(self, name: str) -> Client:
        return self.village.people[name].client

    def _add(self, sender: str, recipient: str, text: str, artifact: str = "") -> None:
        self._count += 1
        line = ChatLine(self._count, sender, recipient, text, artifact)
        self.lines.append(line)
        if self.on_line is not None:
            self.on_line(line)

    def _say(self, name: str, text: str, artifact: str = "") -> None:
        self._add(name, self.you, text, artifact)

    # --- selling --------------------------------------------------------------------------------

    async def offer(self, name: str) -> None:
        """Have a neighbour send an invoice for what they sell."""
        ware = WARES.get(name)
        if ware is None:
            self._say(name, "I have nothing to sell today.")
            return
        await self._offer(name, ware)

    async def _offer(self, name: str, ware: Ware) -> None:
        terms = InvoiceTerms(OUSD, ware.amount, ware.description, decimals=DECIMALS)
        invoice = await self._client(name).create_invoice(terms)
        self._say(name, ware.words, files.to_text(invoice))

    # --- talking --------------------------------------------------------------------------------

    def tell(self, name: str, text: str) -> None:
        """Say something to a neighbour; the answer comes as a line, in its own time."""
        kept = text.strip()[:MESSAGE_CHARS_MAX]
        if not kept or name not in self.village.people:
            return
        found = _artifacts(kept)
        words = "" if found else kept
        self._add(self.you, name, words, kept if found else "")
        self.tasks.start_soon(self._answer, name, found, kept)

    async def _answer(self, name: str, found: tuple[files.Content, ...], text: str) -> None:
        try:
            if not found:
                await self._chat(name, text)
            for content in found:
                await self._take(name, content)
        except CommandRefusedError as refused:
            self._say(name, f"That did not work: {fault_sentence(refused.fault, refused.detail)}.")
        except OffsetError as problem:
            self._say(name, f"That did not work: {problem}.")

    async def _chat(self, name: str, text: str) -> None:
        wanted = text.casefold()
        if any(word in wanted for word in ("buy", "invoice", "sell", "offer", "have")):
            await self.offer(name)
        else:
            self._say(name, 'Nice to hear from you. Say "buy" if you want what I sell.')

    async def _take(self, name: str, content: files.Content) -> None:
        match content:
            case Invoice():
                await self._pay(name, content)
            case Commit():
                await self._collect(name, content)
            case Receipt():
                self._say(name, "A receipt: I will keep it with my papers.")
            case _:
                self._say(name, "I do not need that, but thank you.")

    async def _collect(self, name: str, commit: Commit) -> None:
        await self._client(name).accept_commit(commit)
        self._say(name, "Paid, thank you! Here you are.")

    async def _pay(self, name: str, invoice: Invoice) -> None:
        if invoice.dest_public_key != self.village.people[self.you].key:
            self._say(name, "That invoice is not yours, so I will not pay it.")
            return
        client = self._client(name)
        self._say(name, "Let me pay that ...")
        payment_id = await client.pay(invoice, FEE_MAX)
        report = await client.wait_pay(payment_id, PayStage.COMMITTED)
        if report.commit is None:
            self._say(name, f"I cannot: {failure_sentence(report.failure)}.")
            return
        self._say(name, "The money is reserved for you. My commit:", files.to_text(report.commit))
        done = await client.wait_pay(payment_id)
        if done.stage is PayStage.PAID:
            self._say(name, "I have the receipt. Thank you!")

    # --- the village itself ---------------------------------------------------------------------

    def stop_relay(self) -> str:
        """Have the relay die that everybody uses first; returns its name."""
        return self.village.stop_relay(0).name


def _artifacts(text: str) -> tuple[files.Content, ...]:
    try:
        return tuple(one.content for one in files.read_any(text))
    except FileError:
        return ()


async def wait_for_line(
    neighbours: Neighbours, fact: Callable[[ChatLine], bool], after: int = 0, timeout_s: float = 20
) -> ChatLine:
    """Wait until somebody has said such a thing after line number `after`; for tests and the tour that walks itself.

    Raises:
        TimeoutError: nobody did.
    """
    with anyio.fail_after(timeout_s):
        while True:
            for line in neighbours.lines:
                if line.number > after and fact(line):
                    return line
            await anyio.sleep(0.02)
