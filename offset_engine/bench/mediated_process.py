"""Payments through somebody else's card: `python -m offset_engine.bench.mediated_process STORE CARD`.

A process with a relay, a buyer and a seller, both friends of the card, which it makes in the card store at
STORE and then lets go of. It speaks in lines:

    ready            the card is made, befriended and off: somebody else may run it
    online           the card was started elsewhere, and both friends are connected to it
    paid N           payments so far, once a second after it has read the line `go`; N per second are begun

It ends when its standard input does, so it never outlives whoever started it.
"""

import sys
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from offset_engine.bench.chain import Till
from offset_engine.bench.figures import BenchError
from offset_engine.cards import CardStore, running
from offset_engine.client import Client
from offset_engine.core.values import PublicKey, RelayAddress
from offset_engine.village import HOURS, OUSD, Friendship, Village, open_village

PER_SECOND: Final = 100
_IN_FLIGHT_MAX: Final = 64
_LIMIT: Final = 10**15
_CONNECT_S: Final = 30
_ENDS: Final = ("Buyer", "Seller")


async def _main(store: CardStore, name: str) -> None:
    # Friends in a currency nobody pays in here, so that every payment goes through the card.
    friendship = Friendship(*_ENDS, HOURS, 1, 1)
    async with (
        open_village(friendships=(friendship,), relay_count=1, on_disk=False) as village,
        anyio.create_task_group() as tasks,
    ):
        card = await _make_card(village, store, name)
        _say("ready")
        await _wait_for(village, card)
        _say("online")
        await _wait_for_line()
        tasks.start_soon(_pay, village, card, tasks)
        await anyio.to_thread.run_sync(sys.stdin.read)
        tasks.cancel_scope.cancel()


async def _make_card(village: Village, store: CardStore, name: str) -> PublicKey:
    """Make the card and both friendships, with the card running here for that long."""
    store.create(name)
    (relay,) = village.relays
    with store.open(name) as opened:
        async with running(opened) as card:
            key = card.engine.state.local_public_key
            await card.client.add_relay(relay)
            for person in (village.people[one] for one in _ENDS):
                place = RelayAddress(relay.public_key, relay.address)
                await _befriend(card.client, person.key, place, person.name)
                await _befriend(person.client, key, place, name)
            await _wait_for(village, key)
    return key


async def _befriend(client: Client, key: PublicKey, relay: RelayAddress, name: str) -> None:
    await client.add_friend(key, (relay,), name)
    await client.set_limit(key, OUSD, _LIMIT)


async def _wait_for(village: Village, card: PublicKey) -> None:
    with anyio.move_on_after(_CONNECT_S):
        for name in _ENDS:
            while not village.people[name].running.state.friends[card].is_ready(OUSD):  # noqa: ASYNC110 - nothing announces it
                await anyio.sleep(0.01)
        return
    raise BenchError("the card and its friends did not connect")


async def _pay(village: Village, card: PublicKey, tasks: TaskGroup) -> None:
    buyer, seller = (village.people[one] for one in _ENDS)
    till = Till(buyer.running, seller.running, (buyer.key, card, seller.key), 0)
    room, paid = anyio.Semaphore(_IN_FLIGHT_MAX), [0]

    async def one() -> None:
        async with room:
            await till.pay()
            paid[0] += 1

    begun, started = 0, anyio.current_time()
    while True:
        begun += 1
        tasks.start_soon(one)
        await anyio.sleep_until(started + begun / PER_SECOND)
        await room.acquire()  # a card that cannot keep up gets no heap of payments
        room.release()
        if not begun % PER_SECOND:
            _say(f"paid {paid[0]}")


async def _wait_for_line() -> None:
    await anyio.to_thread.run_sync(sys.stdin.readline)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(_main, CardStore(Path(sys.argv[1])), sys.argv[2])
