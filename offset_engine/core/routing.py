"""What a node tells index servers: from whom it could receive how much, and what it charges.

Source: PROTOCOL.md, "Index servers"; payments.md §1.7; network.md §4.3.
"""

from offset_engine.core.friend import Friend
from offset_engine.core.messages import Edge
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.state import NodeState
from offset_engine.core.values import CREDITS_MAX


def receive_capacity(ledger: Ledger, max_debt: int) -> int:
    """Credits a friend could send us now."""
    return max(0, min(CREDITS_MAX, max_debt - ledger.balance - ledger.remote_pending_debt))


def edges(state: NodeState) -> tuple[Edge, ...]:
    """Every edge to report, ascending by friend and currency: exact, unrounded."""
    found: list[Edge] = []
    for key in sorted(state.friends):
        found += friend_edges(state.friends[key])
    return tuple(found)


def friend_edges(friend: Friend) -> tuple[Edge, ...]:
    """What to report of one friend: nothing unless it is reachable and the currency is open."""
    channel = friend.consistent
    if channel is None or not friend.is_talking:
        return ()
    found: list[Edge] = []
    for currency in sorted(channel.ledgers):
        config = friend.configs.get(currency)
        if config is not None and config.is_open and not config.is_removing:
            capacity = receive_capacity(channel.ledgers[currency], config.max_debt)
            found.append(Edge(friend.public_key, currency, capacity, config.rate))
    return tuple(found)
