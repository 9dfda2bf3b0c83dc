"""Plays inputs, one after the other, and checks what must be true after each and after many."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from tests.fuzz.coverage import Coverage
from tests.fuzz.inputs import Input, rng_of
from tests.fuzz.router_target import RouterTarget
from tests.fuzz.session_target import SessionTarget
from tests.fuzz.words_target import WordsTarget
from tests.fuzz.worker_target import WorkerTarget

MOST_SECONDS = 2.0
"""Of the processor, for one input: nearly all take less than a hundredth of that."""

CHECK_EVERY = 1000
MOST_FAULTS = 10
"""Different ones, after which a run ends."""

BLOCKS_FOR_NOTHING = 3000
"""Of memory, which may be more at the end than at a fifth: caches of the interpreter."""


class Target(Protocol):
    """Something that inputs are played to. It raises whatever is wrong."""

    def make(self, number: int, rng: Random) -> Input: ...
    def play(self, given: Input) -> None: ...
    def check(self) -> None: ...
    def close(self) -> None: ...


TARGETS: dict[str, tuple[Callable[[Coverage], Target], float]] = {
    "router": (RouterTarget, 0.45),
    "session": (SessionTarget, 0.25),
    "worker": (WorkerTarget, 0.1),
    "words": (WordsTarget, 0.2),
}
"""With the share of the inputs that each of them gets."""


class Hang(Exception):
    """An input took too long."""


@dataclass(frozen=True)
class Fault:
    """`given` is None when it is not known which of the inputs since the last check has done it."""

    number: int
    given: Input | None
    error: str
    where: str


@dataclass
class Outcome:
    coverage: Coverage
    played: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    faults: list[Fault] = field(default_factory=list)
    blocks: tuple[int, int] | None = None
    """Of memory, when a fifth was played and at the end."""


class Runner:
    """`told` hears of every fault at once: a run may be ended before its report."""

    def __init__(
        self,
        seed: int,
        targets: dict[str, tuple[Callable[[Coverage], Target], float]] = TARGETS,
        told: Callable[[Fault], None] = lambda fault: None,
    ) -> None:
        self._seed = seed
        self._told = told
        self._makers = targets
        self._names = list(targets)
        self._weights = [share for _, share in targets.values()]
        self._targets: dict[str, Target] = {}
        self.outcome = Outcome(Coverage())

    def input(self, number: int) -> Input:
        """It depends on nothing but the seed and its number."""
        rng = rng_of(self._seed, number)
        [name] = rng.choices(self._names, self._weights)
        return self._target(name).make(number, rng)

    def play(self, first: int, count: int, progress: Callable[[str], None] = lambda line: None) -> Outcome:
        try:
            return self._play_all(first, count, progress)
        finally:
            for name in list(self._targets):
                self._drop(name)

    def _play_all(self, first: int, count: int, progress: Callable[[str], None]) -> Outcome:
        outcome = self.outcome
        started = told = time.perf_counter()
        checked = first
        blocks = 0
        with _quiet_log(), _watch() as watch:
            for number in range(first, first + count):
                self._play_one(number, watch)
                outcome.played += 1
                if (number + 1 - first) % CHECK_EVERY == 0 or number + 1 == first + count:
                    self._check_all(checked, number)
                    checked = number + 1
                if number + 1 - first == count // 5 and not outcome.faults:
                    blocks = _blocks()
                if len(outcome.faults) >= MOST_FAULTS:
                    break
                if time.perf_counter() - told > 60:
                    told = time.perf_counter()
                    progress(f"{outcome.played:,} of {count:,}, {outcome.played / (told - started):,.0f}/s")
        if blocks and not outcome.faults:
            outcome.blocks = blocks, _blocks()
            if outcome.blocks[1] - blocks > BLOCKS_FOR_NOTHING:
                error = f"memory grows: {blocks:,} blocks after {count // 5:,} inputs, {outcome.blocks[1]:,} at the end"
                self._found(Fault(first + count - 1, None, error, "memory"))
        outcome.seconds = time.perf_counter() - started
        return outcome

    def _play_one(self, number: int, watch: Callable[[bool], None]) -> None:
        given = self.input(number)
        name = given.target.partition(",")[0]
        started = time.perf_counter()
        watch(True)
        try:
            self._target(name).play(given)
        except Exception as error:
            watch(False)
            self._failed(number, given, error)
            self._drop(name)
        finally:
            watch(False)
        took = time.perf_counter() - started
        outcome = self.outcome
        outcome.coverage.played(given)
        if took > outcome.slowest[0]:
            outcome.slowest = took, number

    def _check_all(self, first: int, last: int) -> None:
        for name, target in list(self._targets.items()):
            try:
                target.check()
            except Exception as error:
                self._failed(first, None, error)
                self._drop(name)

    def _failed(self, number: int, given: Input | None, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{os.path.basename(one.filename)}:{one.lineno}" for one in reversed(frames[-3:]))
        where = f"{type(error).__name__} at {where}"
        if all(known.where != where for known in self.outcome.faults):
            text = "".join(traceback.format_exception(error))
            self._found(Fault(number, given, text, where))

    def _found(self, fault: Fault) -> None:
        self.outcome.faults.append(fault)
        self._told(fault)

    def _drop(self, name: str) -> None:
        """The next input for it finds a new one."""
        self._targets.pop(name).close()

    def _target(self, name: str) -> Target:
        target = self._targets.get(name)
        if target is None:
            target = self._targets[name] = self._makers[name][0](self.outcome.coverage)
        return target


def describe(fault: Fault, seed: int) -> str:
    """All that is needed to have it again."""
    lines = [f"input {fault.number}: {fault.where}", fault.error.rstrip()]
    given = fault.given
    if given is not None:
        lines.append(f"{given.target}; {', '.join(given.labels) or 'as it should be'}")
        lines += [f"piece {place}: {_shown(piece)}" for place, piece in enumerate(given.pieces)]
        if given.words:
            lines.append(f"words: {_short(repr(list(given.words)))}")
        lines.append(f"again: make fuzz ARGS='--seed {seed} --only {fault.number}'")
    first = max(fault.number - CHECK_EVERY, 0)
    lines.append(f"with those before it: make fuzz ARGS='--seed {seed} --first {first} --inputs {2 * CHECK_EVERY}'")
    return "\n".join(lines)


def _shown(piece: bytes) -> str:
    return f"{len(piece)} bytes, {_short(piece.hex())}\n    {_short(repr(piece))}"


def _short(text: str) -> str:
    return text if len(text) <= 1000 else f"{text[:500]} ... {text[-500:]}"


def _blocks() -> int:
    """Blocks of memory in use, with what is kept only to be quicker let go."""
    for name, module in list(sys.modules.items()):
        if name.startswith("ipc_broker"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    gc.collect()
    gc.collect()
    return sys.getallocatedblocks()


class _Formatting(logging.Handler):
    """Makes the text of each record, as a log does, and writes it nowhere."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


@contextmanager
def _quiet_log() -> Iterator[None]:
    logger = logging.getLogger("ipc_broker")
    handler, propagate, level = _Formatting(), logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        logger.setLevel(level)


@contextmanager
def _watch() -> Iterator[Callable[[bool], None]]:
    """A clock of the time that this process has worked; where it runs out while it is on, `Hang` is raised there."""
    if sys.platform == "win32":  # which has no such clock
        yield lambda on: None
        return

    def ring(number: int, frame: Any) -> None:
        raise Hang(f"more than {MOST_SECONDS:g} s of work for one input")

    def arm(on: bool) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS if on else 0)

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        yield arm
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
