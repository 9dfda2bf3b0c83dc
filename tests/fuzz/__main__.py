"""Fuzzing by hand: `make fuzz`, or `python -m tests.fuzz --inputs 1000000 --seed 1`. Ends with 1 when something is wrong."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.fuzz.runner import Outcome, Runner, describe


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many (default: 1000000)")
    parser.add_argument("--seed", type=int, help="which; the same seed gives the same inputs (default: a new one)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first (default: 0)")
    parser.add_argument("--only", type=int, metavar="K", help="just input K, which is shown")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else secrets.randbits(32)
    print(f"seed {seed}", flush=True)
    runner = Runner(seed, told=lambda fault: print(f"\n{describe(fault, seed)}\n", file=sys.stderr, flush=True))
    if given.only is not None:
        print(runner.input(given.only))
        outcome = runner.play(given.only, 1)
    else:
        outcome = runner.play(given.first, given.inputs, lambda line: print(line, flush=True))
    print(report(outcome))
    return 1 if outcome.faults else 0


def report(outcome: Outcome) -> str:
    rate = outcome.played / outcome.seconds if outcome.seconds else 0
    took, number = outcome.slowest
    lines = [
        f"{outcome.played:,} inputs in {outcome.seconds:,.1f} s, {rate:,.0f}/s; the slowest, {number}, took {took * 1000:.0f} ms",
        outcome.coverage.report(),
    ]
    if outcome.blocks is not None:
        lines.append(f"memory: {outcome.blocks[0]:,} blocks after a fifth, {outcome.blocks[1]:,} at the end")
    lines.append(f"faults: {len(outcome.faults) or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
