"""Run simulator seeds: `python -m tests.sim --seeds 0:500 --jobs 2`, or look at one with `--seed S --trace`."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path

from tests.sim.faults import draw
from tests.sim.world import SimulationError, World, simulate

KEPT = Path(__file__).with_name("seeds.txt")
"""Seeds that failed once: they run first for ever."""


def kept_seeds() -> list[int]:
    """Seeds of `seeds.txt`, in order."""
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return [int(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


def run_seed(seed: int) -> tuple[int, int, str | None]:
    """One seed: (seed, steps, what failed)."""
    try:
        world = simulate(seed)
    except SimulationError as failure:
        return seed, 0, str(failure)
    return seed, world.step_count, None


def main() -> int:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", default="0:100", help="FROM:TO, TO not included")
    parser.add_argument("--seed", type=int, help="only this one, in this process")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every step")
    parser.add_argument("--hash", action="store_true", help="with --seed: print the trace's hash")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop after so long, --seeds only begins")
    parser.add_argument("--failures", type=int, default=20, help="stop after so many")
    parser.add_argument("--keep", action="store_true", help="add failing seeds to seeds.txt")
    parser.add_argument("--full", action="store_true", help="print whole failures, not summaries")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _run_one(arguments)
    return _run_many(arguments)


def _run_one(arguments: argparse.Namespace) -> int:
    world = World(draw(arguments.seed), keeps_trace=arguments.trace, hashes_trace=arguments.hash)
    try:
        world.run()
    except SimulationError as failure:
        if arguments.trace:
            print("\n".join(world.trace_lines()))
        print(failure)
        return 1
    if arguments.trace:
        print("\n".join(world.trace_lines()))
    if arguments.hash:
        print(world.trace_hash)
    print(f"seed {arguments.seed}: {world.step_count} steps, {world.now} ms")
    return 0


def _run_many(arguments: argparse.Namespace) -> int:
    first, last = (int(part) for part in arguments.seeds.split(":"))
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    later: Iterable[int] = range(first, last) if end is None else count(first)
    started = time.monotonic()
    done = steps = 0
    failed: list[int] = []
    for seed, seed_steps, failure in _results(later, arguments.jobs, end):
        done += 1
        steps += seed_steps
        if failure is None:
            continue
        failed.append(seed)
        print(failure if arguments.full else failure.splitlines()[-1][:400], flush=True)
        if len(failed) >= arguments.failures:
            print(f"stopped after {len(failed)} failures")
            break
    if arguments.keep and failed:
        known = kept_seeds()
        with KEPT.open("a") as file:
            file.writelines(f"{seed}\n" for seed in failed if seed not in known)
    seconds = time.monotonic() - started
    print(
        f"{done} seeds, {len(failed)} failed, {steps} steps, {seconds:.1f} s,"
        f" {done / seconds:.2f} seeds/s"
    )
    if failed:
        print("failed:", *sorted(failed))
    return 1 if failed else 0


def _results(
    later: Iterable[int], jobs: int, end: float | None
) -> Iterator[tuple[int, int, str | None]]:
    """Kept seeds first, then the others, at most two a process waiting."""
    kept = kept_seeds()

    def seeds() -> Iterator[int]:
        yield from kept
        for seed in later:
            if end is not None and time.monotonic() > end:
                return
            if seed not in kept:
                yield seed

    if jobs <= 1:
        yield from map(run_seed, seeds())
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = []
        for seed in seeds():
            waiting.append(pool.submit(run_seed, seed))
            while len(waiting) >= 2 * jobs:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


if __name__ == "__main__":
    sys.exit(main())
