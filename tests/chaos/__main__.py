"""Chaos by hand: `make chaos`, or `python -m tests.chaos --seconds 60 --seed 1`. Ends with 1 when a promise was broken."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.plan import make_plan
from tests.chaos.report import command, describe, summary
from tests.chaos.scenario import play


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of all that is done, together (default: 60)")
    parser.add_argument("--seed", type=int, help="what is done; the same seed gives the same plan (default: a new one)")
    parser.add_argument(
        "--broker",
        choices=("stays", "restarts", "both"),
        default="both",
        help="whether the broker is killed, frozen and stopped too; both: one after the other (default)",
    )
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else secrets.randbits(32)
    shares = {"stays": [(False, 1.0)], "restarts": [(True, 1.0)], "both": [(False, 0.6), (True, 0.4)]}[given.broker]
    wrong = False
    for restarts, share in shares:
        wrong |= not _plays_well(seed, given.seconds * share, restarts)
    return 1 if wrong else 0


def _plays_well(seed: int, seconds: float, restarts: bool) -> bool:
    plan = make_plan(seed, seconds, restarts=restarts)
    print(f"{command(plan)}  ({'the broker comes and goes' if restarts else 'the broker stays'})", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    history = play(plan, folder)
    print(summary(history), flush=True)
    faults = check(history)
    if not faults:
        shutil.rmtree(folder)
        print("faults: none", flush=True)
        return True
    print(f"\n{describe(faults, history)}\n\nagain: {command(plan)}\nthe traces: {folder}", file=sys.stderr, flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
