"""What memory allows: reading blocks in random order as a search has to, without searching.

Source: routing.md §5.
"""

import numpy as np

from offset_engine.graph_array.jit import kernel
from offset_engine.graph_array.layout import COUNT, FRIEND, OUT, START, Ids, View, Words
from offset_engine.graph_array.search_kernels import capacity_of


@kernel
def _scan(view: View, state: Words, order: Ids, told: Words) -> int:
    """Read the blocks of these nodes, and one word for every friend with room; returns the edges read."""
    rows, _, nodes = view
    edges = seen = 0
    for index in range(order.shape[0]):
        start, count = nodes[order[index], START], nodes[order[index], COUNT]
        edges += count
        for slot in range(start, start + count):
            if capacity_of(rows, OUT, slot) >= told[0]:
                seen ^= state[rows[OUT, slot, FRIEND], 0]
    told[1] = seen  # nobody may leave the reading out
    return edges


def scan_blocks(view: View, state: Words, order: Ids, amount: int) -> int:
    """Read the blocks of the nodes in `order`; returns how many edges were read.

    Args:
        view: the graph.
        state: a row of words for every node, as searches have it.
        order: node numbers.
        amount: credits a hop must have room for, so that its friend is looked at.
    """
    return _scan(view, state, order, np.array((amount, 0), np.int64))
