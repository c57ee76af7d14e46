"""Strangers ask an index server for the dearest routes there are, as fast as they can; others do not notice.

The worst question is one without an answer: payer and payee in two big parts of the graph without a link, so
that every search goes on until its budget is used up. The graph is smaller than NT61's, but larger than any
budget, so that no question costs more in a larger one.
"""

import time
from collections import Counter

import anyio
import pytest

from offset_engine.bench.trust_graphs import friendships, node_keys
from offset_engine.core.codec import decode_index_server_message, encode_index_client_message
from offset_engine.core.crypto import expand_seed, sign
from offset_engine.core.graph import Graph
from offset_engine.core.index import AckCode, IndexLimits, RouteCode
from offset_engine.core.messages import (
    Edge,
    IndexUpdate,
    RoutesRequest,
    RoutesResponse,
    TimeHash,
    UpdateAck,
)
from offset_engine.core.route_terms import GraphEngine, RouteKind, RouteQuery
from offset_engine.core.signing import index_update_buffer
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_KEYS_MAX,
    ROUTE_PARTS_MAX,
    HashResult,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)
from offset_engine.net.index_service import IndexService
from offset_engine.net.servers import run_services
from offset_engine.net.transport import PURPOSE_INDEX, Connection, Endpoint, dial
from tests.covers import covers
from tests.net.loopback import endpoint, key_of, owner, until
from tests.routes.judge import CURRENCY, edge

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PART_NODES = 20_000
"""In each of the two parts: 200 000 hops, as many as one question may look at."""
SERVER, WATCHER = endpoint(70), endpoint(71)
FLOODERS = [endpoint(seed) for seed in range(72, 75)]
WAITING = 10
"""Questions each of them has under way, always."""
FLOOD_S = 8
TICK_MS = 200
LATE_MS_MAX = 1_000
"""Nobody else waits longer, for anything."""
ANSWER_S_MAX = 2


def two_parts(graph: GraphEngine) -> list[PublicKey]:
    """Fill it; who wants to flood lives in the first part. Returns people of the second."""
    found: list[PublicKey] = []
    for part in range(2):
        found = node_keys(PART_NODES, part)
        reports: dict[PublicKey, list[Edge]] = {key: [] for key in found}
        for u, v, _, _ in friendships("ba", PART_NODES, part):
            reports[found[u]].append(edge(found[v], (1_000, 0, 0)))
            reports[found[v]].append(edge(found[u], (1_000, 0, 0)))
        if part == 0:
            for flooder in FLOODERS:
                reports[key_of(flooder)] = [edge(found[0], (1_000, 0, 0))]
                reports[found[0]].append(edge(key_of(flooder), (1_000, 0, 0)))
        for key, edges in reports.items():
            graph.replace_node(key, edges)
    return found


def dear_question(number: int, dest: PublicKey) -> bytes:
    uid = Uid(number.to_bytes(Uid.SIZE, "big"))
    limits = (CREDITS_MAX, ROUTE_PARTS_MAX, ROUTE_KEYS_MAX)
    request = RoutesRequest(uid, RouteKind.PAY, CURRENCY, 500, dest, None, None, *limits, (), ())
    return encode_index_client_message(request)


class Flood:
    """One stranger's questions, and what came back."""

    def __init__(self, connection: Connection, dests: list[PublicKey]) -> None:
        self.codes: Counter[RouteCode] = Counter()
        self._connection = connection
        self._dests = dests
        self._asked = 0
        connection.deliver_to(self._received)
        for _ in range(WAITING):
            self._ask()

    def _ask(self) -> None:
        dest = self._dests[self._asked % len(self._dests)]
        self._connection.send_nowait(dear_question(self._asked, dest))
        self._asked += 1

    def _received(self, payload: bytes) -> None:
        message = decode_index_server_message(payload)
        if isinstance(message, RoutesResponse):
            self.codes[RouteCode(message.code)] += 1
            self._ask()


class Watcher:
    """Somebody who only wants to be a node: reports edges, hears ticks, and pings."""

    def __init__(self, who: Endpoint, connection: Connection) -> None:
        self._who = who
        self._connection = connection
        self._counter = 0
        self._sent_s = 0.0
        self._heard_s = time.perf_counter()
        self.acked = anyio.Event()
        self.late_ms: dict[str, list[float]] = {"update": [], "tick": [], "ping": []}
        self.acks: Counter[AckCode] = Counter()
        connection.on_pong = self.late_ms["ping"].append
        self.tick: HashResult | None = None
        connection.deliver_to(self._received)

    def _received(self, payload: bytes) -> None:
        now_s = time.perf_counter()
        match decode_index_server_message(payload):
            case TimeHash(time_hash):
                self.tick = time_hash
                self.late_ms["tick"].append((now_s - self._heard_s) * 1000 - TICK_MS)
                self._heard_s = now_s
            case UpdateAck() as ack:
                self.acks[AckCode(ack.code)] += 1
                self.late_ms["update"].append((now_s - self._sent_s) * 1000)
                self.acked.set()
            case _:
                pass

    async def report(self) -> None:
        """Say something new and wait until the server has it."""
        assert self.tick is not None
        head = (key_of(self._who), Uid(bytes(Uid.SIZE)), self._counter, True)
        edges = (edge(key_of(SERVER), (10 + self._counter, 0, 0)),)
        fields = (*head, self.tick, RandValue(bytes(RandValue.SIZE)), edges)
        unsigned = IndexUpdate(*fields, Signature(bytes(Signature.SIZE)))
        signature = sign(expand_seed(self._who.identity), index_update_buffer(unsigned))
        self._counter += 1
        self.acked, self._sent_s = anyio.Event(), time.perf_counter()
        update = IndexUpdate(*fields, signature)
        self._connection.send_nowait(encode_index_client_message(update))
        await self.acked.wait()

    async def live(self) -> None:
        """Report and ping while others flood."""
        end_s = time.perf_counter() + FLOOD_S
        while time.perf_counter() < end_s:
            self._connection.ping()
            await self.report()
            await anyio.sleep(0.5)


def test_the_dearest_question_is_answered_in_time() -> None:
    graph = Graph()
    dests = two_parts(graph)
    source = key_of(FLOODERS[0])
    query = RouteQuery(CURRENCY, source, dests[7], 500, CREDITS_MAX, ROUTE_PARTS_MAX)
    started_s = time.perf_counter()
    result = graph.route(query)
    took_s = time.perf_counter() - started_s
    print(f"\nthe dearest question: {took_s * 1000:.0f} ms, {result.scanned} edges")
    assert not result.choices
    assert took_s < ANSWER_S_MAX


@covers("NT61")
async def test_a_flood_of_questions_delays_no_updates_ticks_and_pings() -> None:
    service = IndexService(SERVER, IndexLimits(tick_ms=TICK_MS))
    dests = two_parts(service.graph)
    async with anyio.create_task_group() as servers, owner() as tasks:
        (address,) = await servers.start(run_services, SERVER, ["127.0.0.1:0"], [service])
        server = key_of(SERVER)
        line = await dial(WATCHER, tasks, address, server, PURPOSE_INDEX)
        lines = [await dial(who, tasks, address, server, PURPOSE_INDEX) for who in FLOODERS]
        watcher = Watcher(WATCHER, line)
        await until(lambda: watcher.tick)
        floods = [Flood(line, dests) for line in lines]
        with anyio.move_on_after(10 * FLOOD_S):
            await watcher.live()
        servers.cancel_scope.cancel()
    codes = sum((flood.codes for flood in floods), Counter())
    print(f"\nanswers: {dict(codes)}")
    for what, late_ms in watcher.late_ms.items():
        print(f"{what}: {len(late_ms)}, at most {max(late_ms):.0f} ms late")
    assert codes[RouteCode.BUSY]
    assert set(watcher.acks) == {AckCode.OK}
    assert all(max(late_ms) < LATE_MS_MAX for late_ms in watcher.late_ms.values())
