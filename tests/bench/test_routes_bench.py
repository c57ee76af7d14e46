"""`offset bench routes`: it ends, names its figures, and searches within a few times the speed of memory."""

import json

import pytest

from offset_engine.bench import BenchError, Figures, RoutesPlan, measure_routes
from offset_engine.bench.trust_graphs import KINDS, NODES_MIN, friendships, node_keys
from offset_engine.graph_array import is_available
from offset_engine.programs import bench

pytestmark = pytest.mark.slow

KIND_FIGURES = {"p50_ms", "p99_ms", "scanned_edges_p50", "success"}
PROMISED = {
    "single", "multi", "no_answer", "cycle", "bytes_per_edge", "updates_per_second",
    "queries_per_second", "floor_ns_per_edge",
}  # fmt: skip
NEEDS_ARRAYS = pytest.mark.skipif(
    not is_available(), reason="the array engine needs the extra `index`"
)
FLOORS_MAX = 30
"""In caches the floor is a few ns; a search takes four to six times as long."""


def of(figures: Figures, kind: str, name: str) -> float:
    found = figures[kind]
    assert isinstance(found, dict)
    number = found[name]
    assert isinstance(number, int | float)
    return number


def check(figures: Figures) -> None:
    assert figures.keys() >= PROMISED
    for kind in ("single", "multi", "no_answer", "cycle"):
        found = figures[kind]
        assert isinstance(found, dict)
        assert found.keys() >= KIND_FIGURES
        assert 0 < of(figures, kind, "p50_ms") <= of(figures, kind, "p99_ms")
    assert of(figures, "single", "success") > 0.9
    assert of(figures, "multi", "success") > 0.8
    assert of(figures, "no_answer", "success") == 0
    assert of(figures, "cycle", "success") > 0.5
    assert 0.5 < of(figures, "stale", "first_try_success") <= of(figures, "stale", "success") <= 1
    assert json.loads(json.dumps(figures)) == figures


@NEEDS_ARRAYS
@pytest.mark.parametrize("kind", KINDS)
def test_the_array_engine_finds_routes_among_ten_thousand(kind: str) -> None:
    figures = measure_routes(RoutesPlan(nodes=10_000, kind=kind, queries=50, stream_s=0.2))
    check(figures)
    assert figures["engine"] == "array"
    bytes_per_edge, floor = figures["bytes_per_edge"], figures["floor_ns_per_edge"]
    assert isinstance(bytes_per_edge, float)
    assert bytes_per_edge <= 64
    assert isinstance(floor, float)
    assert of(figures, "no_answer", "ns_per_edge") <= FLOORS_MAX * floor
    # Two balls that meet see far fewer edges than there are.
    assert of(figures, "single", "scanned_edges_p50") <= 3_000


def test_the_pure_engine_is_measured_without_libraries() -> None:
    figures = measure_routes(RoutesPlan(nodes=1_000, queries=20, stream_s=0.1, is_array=False))
    check(figures)
    assert figures["engine"] == "pure"


def test_impossible_networks_are_refused() -> None:
    for plan, words in (
        (RoutesPlan(kind="star"), "ba or ws"),
        (RoutesPlan(nodes=NODES_MIN - 1), "at least 20 nodes"),
        (
            RoutesPlan(nodes=100_001, is_array=False),
            r"at most 100000 nodes; .*offset-card\[index\]",
        ),
    ):
        with pytest.raises(BenchError, match=words):
            measure_routes(plan)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_what_they_are_described_to_be(kind: str) -> None:
    found = friendships(kind, 5_000, 3)
    assert found == friendships(kind, 5_000, 3) != friendships(kind, 5_000, 4)
    assert len({frozenset(one[:2]) for one in found}) == len(found)
    assert all(one != other for one, other, _, _ in found)
    reports = [report for one in found for report in one[2:]]
    rooms = sorted(capacity for capacity, _, _ in reports)
    assert 150 <= rooms[len(rooms) // 2] <= 185
    assert 600 <= rooms[len(rooms) * 9 // 10] <= 720
    assert 0.45 <= sum(not mul for _, mul, _ in reports) / len(reports) <= 0.55
    degrees = [0] * 5_000
    for one, other, _, _ in found:
        degrees[one] += 1
        degrees[other] += 1
    assert min(degrees) > 0
    assert (max(degrees) > 100) == (kind == "ba")


@NEEDS_ARRAYS
@pytest.mark.parametrize("kind", KINDS)
def test_networks_in_arrays_are_of_the_same_kind(kind: str) -> None:
    import numpy as np  # noqa: PLC0415 - an extra

    from offset_engine.bench.trust_arrays import friendship_arrays  # noqa: PLC0415

    pairs, reports = friendship_arrays(kind, 5_000, 3)
    again, _ = friendship_arrays(kind, 5_000, 3)
    assert (pairs == again).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    codes = pairs.max(axis=1).astype(np.int64) * 5_000 + pairs.min(axis=1)
    assert len(np.unique(codes)) == len(pairs) > 24_500
    degrees = np.bincount(pairs.ravel(), minlength=5_000)
    assert degrees.min() > 0
    assert (degrees.max() > 100) == (kind == "ba")
    assert 150 <= np.median(reports[:, [0, 3]]) <= 185
    assert 0.45 <= (reports[:, [1, 4]] == 0).mean() <= 0.55


def test_keys_differ() -> None:
    assert len(set(node_keys(1_000, 1))) == 1_000


def test_the_program_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["routes", "--nodes", "500", "--kind", "ws", "--queries", "5", "--json"]
    assert bench.run(argv) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures.keys() >= PROMISED
    assert (figures["nodes"], figures["kind"]) == (500, "ws")


def test_without_libraries_the_program_says_what_it_measures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offset_engine.graph_array.find_spec", lambda name: None)
    assert bench.run(["routes", "--nodes", "300", "--queries", "5"]) == 0
    out, err = capsys.readouterr()
    assert "nodes (ba, pure engine)" in out
    assert "one route: p50" in out
    assert out.isascii()
    assert "measures the pure engine" in err
    assert "offset-card[index]" in err


@pytest.mark.parametrize("wrong", [["--nodes", "19"], ["--nodes", "4000001"], ["--kind", "star"]])
def test_wrong_networks_are_refused_with_usage(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.run(["routes", *wrong])
    assert caught.value.code == 2
    assert "usage: offset bench routes" in capsys.readouterr().err
