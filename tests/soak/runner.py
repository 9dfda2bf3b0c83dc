"""Runs the processes of a soak, samples them at each tick, and collects what is wrong."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ipc_broker.errors import IPCError
from ipc_broker.sync import Client, connect
from tests.soak.judge import (
    DESCRIPTORS,
    LEAST_SAMPLES,
    allowed_blocks,
    allowed_memory,
    allowed_peers,
    growth,
)
from tests.soak.latencies import Latencies
from tests.soak.processes import Process, SoakFailed, descriptors, memory
from tests.soak.reports import FINAL, READY, REPORT, TIMEOUT, Final, Report

LONG_LIVED = ("broker", "worker", "asyncio", "blocking")
COUNTS = ("connections", "objects", "subscriptions", "calls_in_flight", "retained")
NEVER = ("dropped", "invalid_messages")

RESUME = 30.0
"""Seconds for which the broker counts what lost connections miss; a short run must get beyond them as well."""

TICK = 1.0
INTERVAL = 60.0
LEAST_INTERVALS = 5
MOST_FAULTS = 20


@dataclass
class Interval:
    """What one line of the report tells."""

    began: float
    latencies: Latencies = field(default_factory=Latencies)
    calls: int = 0
    events: int = 0


@dataclass
class Sample:
    """Of one tick, in bytes and pieces."""

    resident: dict[str, int]
    anonymous: dict[str, int]
    descriptors: dict[str, int]
    stats: dict[str, Any]

    def own_descriptors(self, name: str) -> int:
        """Without those of the broker's connections."""
        return self.descriptors[name] - (self.stats["connections"] if name == "broker" else 0)


@dataclass
class Outcome:
    samples: list[Sample] = field(default_factory=list)
    blocks: dict[str, list[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    fault_count: int = 0
    lives: int = 0
    interrupted: bool = False

    def fault(self, text: str) -> None:
        self.fault_count += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)


class Soak:
    """`tell` gets the lines of the report. `traced` is one of `LONG_LIVED`, whose growth then stands in `trace_file`."""

    def __init__(self, seconds: float, seed: int, tell: Callable[[str], None], traced: str = "") -> None:
        self.outcome = Outcome()
        self._seconds = seconds
        self._seed = seed
        self._tell = tell
        self._traced = traced
        self._tick = min(TICK, seconds / 30)
        self._interval = min(INTERVAL, seconds / LEAST_INTERVALS)
        self._resume = min(RESUME, seconds / 12)
        self.trace_file = Path(tempfile.gettempdir()) / f"soak-{traced}-{seed}.txt"
        self._processes: dict[str, Process] = {}

    def run(self) -> Outcome:
        """Until the time is over, or `interrupt`; then nothing of it is left. What goes wrong is a fault of the outcome."""
        outcome = self.outcome
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            try:
                address = f"unix://{folder}/bus.sock"
                self._start(address)
                with connect(address, name="runner") as client:
                    self._watch(client)
                    if not outcome.interrupted:
                        self._end(client)
                if not outcome.interrupted:
                    self._stop("broker")
            except (SoakFailed, IPCError, OSError) as error:
                outcome.fault(f"the run broke off: {type(error).__name__}: {error}")
            finally:
                self._stop_all()
        self._judge()
        return outcome

    def interrupt(self) -> None:
        """For a signal's handler: the run ends at its next tick."""
        self.outcome.interrupted = True

    def _stop_all(self) -> None:
        """The lives first, which wait for events; then both clients, which wait for each other's last."""
        if (churn := self._processes.get("churn")) is not None:
            churn.stop()
        for name in ("asyncio", "blocking"):
            if name in self._processes:
                self._processes[name].ask_to_stop()
        for process in reversed(self._processes.values()):
            process.stop()

    def _start(self, address: str) -> None:
        tick = str(self._tick)
        limits = ["--limit-resume", str(self._resume)]
        self._open("broker", "ipc_broker", "--listen", address, "--log-level", "warn", *limits)
        deadline = time.monotonic() + 30
        while True:  # at this log level it does not say that it listens
            try:
                connect(address).close()
                break
            except IPCError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self._open("worker", "tests.soak.worker_process", address, tick).line(READY)
        self._open("asyncio", "tests.soak.asyncio_client", address, tick).line(READY)
        self._open("blocking", "tests.soak.blocking_client", address, tick).line(READY)
        self._open("churn", "tests.soak.churn", address, tick, str(self._seed)).line(READY)

    def _open(self, name: str, module: str, *arguments: str) -> Process:
        traced: list[str] = []
        if name == self._traced:
            first, second = self._seconds / 3, self._seconds * 0.95
            traced = ["tests.soak.traced", str(first), str(second), str(self.trace_file)]
        process = self._processes[name] = Process(name, ["-m", *traced, module, *arguments])
        return process

    def _watch(self, client: Client) -> None:
        outcome = self.outcome
        started = time.monotonic()
        interval = Interval(started)
        self._tell(heading())
        now = started
        while now < started + self._seconds and not outcome.interrupted:
            for name in ("worker", "asyncio", "blocking", "churn"):
                self._take_reports(name, interval)
            outcome.samples.append(self._sample(client))
            now = time.monotonic()
            if now >= interval.began + self._interval:
                self._tell(line_of(now - started, now - interval.began, interval, outcome.samples[-1]))
                interval = Interval(now)
        if interval.calls:
            self._tell(line_of(now - started, now - interval.began, interval, outcome.samples[-1]))

    def _take_reports(self, name: str, interval: Interval) -> None:
        outcome = self.outcome
        for line in self._processes[name].lines(REPORT):
            report = msgspec.json.decode(line, type=Report)
            self._add_faults(name, report)
            interval.calls += report.calls
            interval.events += report.events
            interval.latencies.merge(report.latencies, report.worst)
        outcome.blocks.setdefault(name, []).append(report.blocks)

    def _add_faults(self, name: str, report: Report) -> None:
        for text in report.told:
            self.outcome.fault(f"{name}: {text}")
        self.outcome.fault_count += report.faults - len(report.told)

    def _sample(self, client: Client) -> Sample:
        pids = {name: self._processes[name].pid for name in LONG_LIVED}
        both = {name: memory(pid) for name, pid in pids.items()}
        return Sample(
            {name: one[0] for name, one in both.items()},
            {name: one[1] for name, one in both.items()},
            {name: descriptors(pid) for name, pid in pids.items()},
            client.call("rob", "stats", timeout=TIMEOUT),
        )

    def _end(self, client: Client) -> None:
        """In good order, the churn first; what should be left is compared with what is."""
        churn = self._final("churn")
        for name in ("asyncio", "blocking"):
            self._processes[name].ask_to_stop()
        finals = {name: self._final(name) for name in ("asyncio", "blocking")}
        self.outcome.lives = churn.lives
        published = sum(final.group_published for final in finals.values())
        received = sum(final.group_received for final in finals.values())
        if published != received:
            self.outcome.fault(f"{published:,} events were published to the group, its members got {received:,}")
        if finals["asyncio"].wills != churn.wills:
            self.outcome.fault(f"{churn.wills} wills were due, {finals['asyncio'].wills} came")
        self._stop("worker")
        left = {"connections": 1, "objects": 0, "subscriptions": 0, "calls_in_flight": 0, "calls_waiting": 0}
        deadline = time.monotonic() + self._resume + 5
        while wrong := self._differences(client, left):
            if time.monotonic() > deadline or self.outcome.interrupted:
                self.outcome.fault(f"when all had gone the broker still had: {', '.join(wrong)}")
                break
            time.sleep(0.1)

    def _differences(self, client: Client, left: dict[str, int]) -> list[str]:
        stats = client.call("rob", "stats", timeout=TIMEOUT)
        return [f"{name} {stats[name]}" for name, count in left.items() if stats[name] != count]

    def _final(self, name: str) -> Final:
        process = self._processes[name]
        process.ask_to_stop()
        final = msgspec.json.decode(process.line(FINAL), type=Final)
        for text in process.noise:  # the reports of the ticks since then
            if text.startswith(REPORT):
                self._add_faults(name, msgspec.json.decode(text[len(REPORT) :], type=Report))
        self._stop(name)
        return final

    def _stop(self, name: str) -> None:
        process = self._processes[name]
        if status := process.stop():
            self.outcome.fault(f"{name} ended with status {status}")
        noise = [line for line in process.noise if not line.startswith(REPORT)]
        process.noise.clear()
        if noise:
            self.outcome.fault(f"{name} said:" + "".join(f"\n      {line}" for line in noise[-20:]))

    def _judge(self) -> None:
        outcome = self.outcome
        samples = outcome.samples
        if len(samples) < LEAST_SAMPLES:
            if not outcome.interrupted:
                outcome.fault(f"only {len(samples)} samples were taken: they tell nothing of growth")
            return
        seconds = len(samples) * self._tick
        grown = [
            *(
                growth(f"{name}'s memory, in bytes,", [one.anonymous[name] for one in samples], allowed_memory(seconds))
                for name in LONG_LIVED
                if name != self._traced  # which keeps books of its own
            ),
            *(
                growth(f"{name}'s blocks of memory", outcome.blocks[name], allowed_blocks(seconds))
                for name in LONG_LIVED
                if name in outcome.blocks
            ),
            *(
                growth(f"{name}'s descriptors", [one.own_descriptors(name) for one in samples], DESCRIPTORS)
                for name in LONG_LIVED
            ),
            *(
                growth(f"the broker's {name}", [one.stats[name] for one in samples], allowed_peers(seconds))
                for name in COUNTS
            ),
        ]
        for one in grown:
            if one is not None:
                outcome.fault(str(one))
        for name in NEVER:
            if count := samples[-1].stats["totals"][name]:
                outcome.fault(f"the broker's {name}: {count}")


def heading() -> str:
    names = "".join(f"{name + ' MiB':>13}{'fds':>5}" for name in LONG_LIVED)
    return f"{'s':>5}{'calls/s':>9}{'events/s':>10}{'p50 ms':>8}{'p99 ms':>8}{'worst':>8}{names}  peers names subs calls kept"


def line_of(elapsed: float, seconds: float, interval: Interval, sample: Sample) -> str:
    times = (interval.latencies.percentile(50), interval.latencies.percentile(99), interval.latencies.worst)
    shown = "".join(f"{1000 * one:>8.2f}" for one in times)
    names = "".join(f"{sample.resident[name] / 2**20:>13.2f}{sample.descriptors[name]:>5}" for name in LONG_LIVED)
    counts = "".join(f"{sample.stats[name]:>6}" for name in COUNTS)
    rates = f"{interval.calls / seconds:>9,.0f}{interval.events / seconds:>10,.0f}"
    return f"{elapsed:>5.0f}{rates}{shown}{names}{counts}"
