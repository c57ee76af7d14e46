"""The one index server of a simulated network, as stale or silent as the plan says."""

from typing import TYPE_CHECKING

from offset_engine.core.events import RoutesArrived
from offset_engine.core.graph import Graph
from offset_engine.core.index import RouteCode
from offset_engine.core.messages import RoutesRequest, RoutesResponse
from offset_engine.core.route_terms import RouteKind, RouteQuery
from offset_engine.core.routing import edges

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World


class Index:
    """One index server everybody uses, as stale as the plan says."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._graph = Graph()
        self.is_down = False

    def report(self, machine: "Machine") -> None:
        """Take a node's edges."""
        if not self.is_down:
            self._graph.replace_node(machine.key, edges(machine.state))

    def ask(self, machine: "Machine", request: RoutesRequest) -> None:
        """Answer after a while, if the server is up."""
        boot = machine.boot
        self._world.after(2 * self._world.latency(), lambda: self._answer(machine, boot, request))

    def _answer(self, machine: "Machine", boot: int, request: RoutesRequest) -> None:
        if self.is_down:
            return
        found = self._graph.route(
            RouteQuery(
                request.currency,
                machine.key,
                request.dest,
                request.amount,
                request.max_fee,
                request.max_parts,
                request.max_keys,
                request.first_friend,
                request.last_friend,
                request.exclude_edges,
                request.exclude_nodes,
                kind=RouteKind(request.kind),
            )
        )
        code = RouteCode.NONE
        if found.reachable:
            is_enough = found.reachable >= request.amount
            code = RouteCode.OK if is_enough else RouteCode.PARTIAL
        response = RoutesResponse(request.request_id, code, found.reachable, 0, found.choices)
        machine.routes(RoutesArrived(response), boot)
