"""A few seeds of the simulator, and that one seed is one run whatever the interpreter's hash seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.covers import covers
from tests.sim.__main__ import kept_seeds
from tests.sim.faults import Fault, draw
from tests.sim.world import STEPS_MIN, SimulationError, World, simulate

ROOT = Path(__file__).parents[2]


@covers("PT26", "PT27", "PT28", "PT82")
@pytest.mark.parametrize("seed", [*kept_seeds(), *range(10)])
def test_a_network_stays_safe_under_faults_and_settles_after_them(seed: int) -> None:
    world = simulate(seed)
    assert world.trouble_steps >= STEPS_MIN


@pytest.mark.slow
@covers("PT26", "PT27", "PT28", "PT82")
@pytest.mark.parametrize("first", range(100, 600, 50))
def test_many_networks_stay_safe_and_settle(first: int) -> None:
    for seed in range(first, first + 50):
        simulate(seed)


@covers("PT81")
def test_a_hostile_friend_reaches_nobody_but_its_friends() -> None:
    seeds = [seed for seed in range(200) if draw(seed).hostile is not None]
    for seed in seeds[:5]:
        simulate(seed)


def test_a_failure_names_seed_plan_and_last_steps() -> None:
    world = World(draw(3))
    world._settle = lambda _when: 1 // 0  # type: ignore[method-assign, assignment]
    with pytest.raises(SimulationError) as failure:
        world.run()
    text = str(failure.value)
    assert text.startswith("seed 3 at ")
    assert "plan: Plan(seed=3" in text
    assert "ZeroDivisionError" in text
    assert " step " in text


def test_every_fault_is_drawn_and_some_seeds_have_few() -> None:
    plans = [draw(seed) for seed in range(200)]
    assert {fault for plan in plans for fault in plan.faults} == set(Fault)
    assert min(len(plan.faults) for plan in plans) <= 1
    assert {3, 8} <= {plan.node_count for plan in plans} <= set(range(3, 9))


def _hash_of_run(seed: int, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--seed", str(seed), "--hash"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 7, 11])
def test_a_seed_is_one_run_whatever_the_hash_seed(seed: int) -> None:
    assert _hash_of_run(seed, "1") == _hash_of_run(seed, "4242")
