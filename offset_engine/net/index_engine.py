"""Which graph engine an index server uses, and what it takes on with it.

| engine | needs | nodes | edges |
|---|---|---|---|
| `pure` | nothing | 100 000 | 1 000 000 |
| `array` | the extra `index` | 1 000 000 | 10 000 000 |
| `auto` | | `array` if its libraries are installed, else `pure` | |

Both give the same answers. Source: design R46; PROTOCOL.md, "Index servers: routes".
"""

from typing import Final

from offset_engine.core.graph import Graph
from offset_engine.core.index import FederationLimits, IndexLimits
from offset_engine.core.route_terms import GraphEngine
from offset_engine.core.values import value
from offset_engine.graph_array import array_graph, is_available

ENGINES: Final = ("auto", "pure", "array")

_TEN_TIMES: Final = 10
_SCANNED_MAX: Final = 400_000
"""Edges one question may look at: up to 30 ms in arrays, less than half of what the pure engine takes."""


@value
class IndexEngine:
    """An empty graph, and limits that fit it."""

    graph: GraphEngine
    limits: IndexLimits
    federation: FederationLimits


def index_engine(name: str) -> IndexEngine:
    """Make the engine of this name, one of `ENGINES`.

    Raises:
        EngineMissingError: the array engine is asked for and its libraries are not installed.
    """
    if name == "pure" or (name == "auto" and not is_available()):
        return IndexEngine(Graph(), IndexLimits(), FederationLimits())
    limits, federation = IndexLimits(), FederationLimits()
    return IndexEngine(
        array_graph(),
        IndexLimits(
            nodes_max=limits.nodes_max * _TEN_TIMES,
            edges_max=limits.edges_max * _TEN_TIMES,
            scanned_query_max=_SCANNED_MAX,
        ),
        FederationLimits(
            nodes_remote_max=federation.nodes_remote_max * _TEN_TIMES,
            nodes_per_peer_max=federation.nodes_per_peer_max * _TEN_TIMES,
            edges_remote_max=federation.edges_remote_max * _TEN_TIMES,
            edges_per_peer_max=federation.edges_per_peer_max * _TEN_TIMES,
        ),
    )
