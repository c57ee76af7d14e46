"""Every kind of client keeps the same promises."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from offset_engine.client import Client
from offset_engine.village import CENT, OUSD, Friendship, Village, open_village
from tests.covers import covers
from tests.shell.conformance import CHECKS, Check, Party

pytestmark = pytest.mark.anyio

CHAIN = (
    Friendship("Bob", "Charli", OUSD, 100_00, 100_00, one_charges=CENT, other_charges=CENT),
    Friendship("Charli", "Daniel", OUSD, 100_00, 100_00),
)


@dataclass
class LocalParty:
    """Bob and Daniel through `LocalClient`."""

    village: Village

    @property
    def buyer(self) -> Client:
        return self.village.people["Bob"].client

    @property
    def seller(self) -> Client:
        return self.village.people["Daniel"].client

    async def restart(self) -> None:
        for name in ("Bob", "Daniel"):
            await self.village.switch_off(name)
        for name in ("Bob", "Daniel"):
            await self.village.switch_on(name)
        await self.village.wait_until_ready()

    async def stop(self) -> None:
        await self.village.switch_off("Bob")


@asynccontextmanager
async def local_party() -> AsyncIterator[Party]:
    async with open_village(3, friendships=CHAIN, relay_count=1, on_disk=False) as village:
        yield LocalParty(village)


@covers("PAY-01", "PAY-06", "PAY-07", "PAY-08", "PAY-15", "FIX-01", "CTL-04", "RMP-18")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_local_client(check: Check):
    async with local_party() as party:
        await check(party)
