"""What this machine does at best. A floor is the shortest of many runs, so ratios never flatter us."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from offset_engine.core.crypto import expand_seed, public_key_of, sha512_256, sign, verify
from offset_engine.core.values import PrivateKey, value

_ROUNDS: Final = 8
_REPEATS: Final = 25
_BUFFER_BYTES: Final = 200
"""About as long as what is signed in a payment."""
_SYNCS: Final = 60
_SYNC_BYTES: Final = 8_192
"""About what a small commit appends to the write-ahead log: two pages."""

SIGNS_PER_PAYMENT: Final = 1
VERIFIES_PER_PAYMENT: Final = 3
"""The seller signs its response; two mediators and the buyer verify it."""
TOKENS_ALONE: Final = 12
"""Move tokens of one payment alone over three hops: there, back, and there for the collect."""


@value
class CryptoFloor:
    """Shortest times of the primitives, in microseconds."""

    sign_us: float
    verify_us: float
    hash_us: float

    @property
    def payment_us(self) -> float:
        """What a payment costs at least if moving tokens cost nothing."""
        return SIGNS_PER_PAYMENT * self.sign_us + VERIFIES_PER_PAYMENT * self.verify_us

    @property
    def alone_us(self) -> float:
        """What one payment alone costs at least: 13 signatures, 15 verifications."""
        return self.payment_us + TOKENS_ALONE * (self.sign_us + self.verify_us)

    def better(self, other: "CryptoFloor") -> "CryptoFloor":
        """The lower of two floors, number by number."""
        return CryptoFloor(
            min(self.sign_us, other.sign_us),
            min(self.verify_us, other.verify_us),
            min(self.hash_us, other.hash_us),
        )


def measure_crypto() -> CryptoFloor:
    """Time the primitives as the core calls them; takes some 20 ms."""
    seed = PrivateKey(sha512_256(b"offset bench"))
    expanded, key = expand_seed(seed), public_key_of(seed)
    buffer = bytes(_BUFFER_BYTES)
    signature = sign(expanded, buffer)
    return CryptoFloor(
        _shortest_us(lambda: sign(expanded, buffer)),
        _shortest_us(lambda: verify(key, buffer, signature)),
        _shortest_us(lambda: sha512_256(buffer)),
    )


def _shortest_us(action: Callable[[], object]) -> float:
    shortest = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter_ns()
        for _ in range(_REPEATS):
            action()
        shortest = min(shortest, (time.perf_counter_ns() - started) / _REPEATS / 1000)
    return shortest


def measure_fsync_ms(directory: Path) -> float:
    """Median time to append two pages to a file in `directory` and sync it."""
    taken: list[int] = []
    page = os.urandom(_SYNC_BYTES)
    with (directory / "fsync.floor").open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter_ns()
            file.write(page)
            os.fsync(file.fileno())
            taken.append(time.perf_counter_ns() - started)
    (directory / "fsync.floor").unlink()
    return statistics.median(taken) / 1e6
