"""A soak: `make soak`, or `python -m tests.soak --minutes 10`. Steady load and churn; ends with 1 when something is wrong.

A line a minute tells calls and events a second, the latency of calls, memory and descriptors of the long-lived processes, and
what the broker counts: connections, objects, subscriptions, calls in flight, retained values.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from types import FrameType

from tests.soak.runner import LONG_LIVED, Outcome, Soak


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, help="of what the short lives do (default: a new one)")
    parser.add_argument("--trace", choices=LONG_LIVED, default="", help="tell where the memory of this process grows")
    given = parser.parse_args(arguments)
    if given.minutes <= 0:
        parser.error("--minutes must be above 0")
    if sys.platform != "linux":
        print("the soak reads /proc: run it on Linux", file=sys.stderr)
        return 1
    seed = given.seed if given.seed is not None else secrets.randbits(32)
    print(f"seed {seed}", flush=True)
    soak = Soak(given.minutes * 60, seed, lambda line: print(line, flush=True), given.trace)

    def leave(number: int, frame: FrameType | None) -> None:
        soak.interrupt()

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        outcome = soak.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    print(report(outcome))
    if given.trace and soak.trace_file.exists():
        print(soak.trace_file.read_text(), end="")
        soak.trace_file.unlink()
    return 1 if outcome.fault_count else 0


def report(outcome: Outcome) -> str:
    lines = [f"{outcome.lives:,} short lives" if not outcome.interrupted else "ended before its time"]
    lines += [f"- {fault}" for fault in outcome.faults]
    lines.append(f"faults: {outcome.fault_count or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
