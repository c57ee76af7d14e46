"""The hash clock: proof that something was signed recently, without anybody having a right clock.

A tick is the hash of fresh randomness and of the neighbours' newest ticks, so whoever signs over it
signed after all of them were made. What a tick was made of is the next link of a chain that proves the
same to servers further away:

```
node signs over T0 ──▶ S0: T0 is a tick of mine ──[list of T0]──▶ S1: hashes to T0, and names my T1
                                                ──[list of T0, list of T1]──▶ S2: … and names my T2
```

A server can withhold ticks, but nobody can make an old signature look fresh. One `HashClock` per server.
Source: PROTOCOL.md, "Index servers" and "Index servers: federation"; design R12.
"""

from collections import deque

from offset_engine.core.crypto import sha512_256
from offset_engine.core.signing import time_hash
from offset_engine.core.values import CHAIN_LINK_HASHES_MAX, CHAIN_LINKS_MAX, HashResult


class HashClock:
    """The last ticks of one server, and what each was made of."""

    def __init__(self, window_ticks: int) -> None:
        self._window = window_ticks
        self._count = 0
        self._ticks: dict[HashResult, tuple[int, tuple[HashResult, ...]]] = {}
        self._order: deque[HashResult] = deque()

    def tick(self, random: bytes, heard: tuple[HashResult, ...] = ()) -> HashResult:
        """Make the next tick from 16 random bytes and the neighbours' newest ticks."""
        items = (sha512_256(random), *heard)
        newest = time_hash(items)
        self._count += 1
        self._ticks[newest] = (self._count, items)
        self._order.append(newest)
        if len(self._order) > self._window:
            self._ticks.pop(self._order.popleft(), None)
        return newest

    @property
    def newest(self) -> HashResult:
        """The latest tick; there must have been one."""
        return self._order[-1]

    def proves(
        self, signed: HashResult, chain: tuple[tuple[HashResult, ...], ...] = ()
    ) -> tuple[int, tuple[HashResult, ...]] | None:
        """Whether something signed over `signed` was signed within the window.

        Args:
            signed: a tick of this server, or of another one.
            chain: leads from that one back to this server: each link lists what a tick in the link
                before it was made of.

        Returns:
            The number of the own tick it proves (greater = later) and what that tick was made of,
            which is the next link of the chain; None if it proves nothing.
        """
        if len(chain) > CHAIN_LINKS_MAX or any(len(x) > CHAIN_LINK_HASHES_MAX for x in chain):
            return None
        known: tuple[HashResult, ...] = (signed,)
        for link in chain:
            if time_hash(link) not in known:
                return None
            known = link
        return max((self._ticks[one] for one in known if one in self._ticks), default=None)
