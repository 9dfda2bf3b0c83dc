"""Forks a short life many times a second: `python -m tests.soak.churn ADDRESS TICK SEED`, until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback

from tests.soak.lives import Plan, live, plan
from tests.soak.reports import READY, Final, Tally, tell_final

PERIOD = 0.1
"""Seconds between two births."""

LONGEST = 20
"""Seconds after which a life that hangs is ended."""

MOST_ALIVE = 20
"""On a slow machine no more are born until some have gone."""


class Churn:
    def __init__(self, address: str, seed: int, tally: Tally) -> None:
        self.final = Final()
        self._address = address
        self._seed = seed
        self._tally = tally
        self._alive: dict[int, Plan] = {}

    def bear(self) -> None:
        if len(self._alive) >= MOST_ALIVE:
            return
        chosen = plan(self._seed, self.final.lives)
        self.final.lives += 1
        if sys.platform != "win32":
            pid = os.fork()
            if not pid:
                self._live(chosen)
            self._alive[pid] = chosen

    def bury(self, *, wait: bool = False) -> None:
        if sys.platform == "win32":
            return
        while self._alive:
            pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
            if not pid:
                break
            ended = self._alive.pop(pid)
            due = -signal.SIGKILL if ended.killed else 0
            status = os.waitstatus_to_exitcode(status)
            if status == -signal.SIGALRM:
                self._tally.fault(f"{ended} hung for {LONGEST} s")
            elif status != due:
                self._tally.fault(f"{ended} ended with status {status}")
            if ended.killed:
                self.final.killed += 1
                self.final.wills += ended.will

    def _live(self, chosen: Plan) -> None:
        """In the child, which never returns from here."""
        status = 1
        try:
            if sys.platform != "win32":
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
                signal.alarm(LONGEST)
            live(self._address, chosen)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def main(address: str, tick: float, seed: int) -> None:
    if sys.platform == "win32":
        raise SystemExit("the soak needs Linux")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    tally = Tally()
    churn = Churn(address, seed, tally)
    print(READY, flush=True)
    birth = told = time.monotonic()
    while signal.sigtimedwait([signal.SIGTERM], max(min(birth, told + tick) - time.monotonic(), 0.0)) is None:
        now = time.monotonic()
        churn.bury()
        if now >= birth:
            churn.bear()
            birth = max(birth + PERIOD, now)
        if now >= told + tick:
            tally.tell()
            told += tick
    churn.bury(wait=True)
    tally.tell()
    tell_final(churn.final)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
