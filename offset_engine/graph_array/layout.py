"""How a currency's graph lies in memory: rows of slots, one block of slots per node.

A friendship `a – b` takes a slot in `a`'s block and one in `b`'s; each slot knows both directions, so a
search from either end reads one block from front to back and nothing else.

| array | index | holds |
|---|---|---|
| `rows` | `OUT`, slot of `u` | friend `v`, then what **v reports about u**: the hop `u → v` |
| `rows` | `INTO`, slot of `u` | friend `v`, then what **u reports about v**: the hop `v → u` |
| `rev` | slot of `u` | the slot of `u` in `v`'s block |
| `nodes` | node | where its block starts, friends, room, rank (the first bits of its key, to break ties) |

A row has 20 bytes: friend, capacity (low, high half), rate mul, rate add; the halves and rates are unsigned,
so who reads them masks them with `UNSIGNED`. Capacities of `SATURATED` credits and more stand there as
`SATURATED`; their exact values are kept in a dictionary.
"""

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from offset_engine.core.values import PublicKey

Rows: TypeAlias = NDArray[np.int32]
Ids: TypeAlias = NDArray[np.int32]
Words: TypeAlias = NDArray[np.int64]
View: TypeAlias = tuple[Rows, Ids, Ids]
"""`rows`, `rev`, `nodes`: replaced together when one of them grows, so a search keeps a whole one."""

OUT: Final = 0
INTO: Final = 1

FRIEND: Final = 0
LOW: Final = 1
HIGH: Final = 2
MUL: Final = 3
ADD: Final = 4
ROW_WORDS: Final = 5

START: Final = 0
COUNT: Final = 1
ROOM: Final = 2
RANK: Final = 3
NODE_WORDS: Final = 4

UNSIGNED: Final = 0xFFFFFFFF
SATURATED: Final = 1 << 62
"""Credits; more than any search that runs on arrays ever adds up."""
RANK_BITS: Final = 27
NODE_BITS: Final = 26
NODES_MAX: Final = (1 << NODE_BITS) - 2
SLOTS_MAX: Final = (1 << 31) - 1


def rank_of(key: "PublicKey") -> int:
    """The first bits of the key: which of two equally good nodes comes first."""
    return int.from_bytes(key[:4], "big") >> (32 - RANK_BITS)
