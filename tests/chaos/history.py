"""A run as it was: its plan, what was done to each process and when, and what each has written down. Nothing here judges."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from msgspec import Struct

from tests.chaos.plan import Actor, Plan, What
from tests.chaos.traces import AnyRecord, Cut, Ready

RETURN = 2.5
"""Seconds within which whoever has lost its connection is back, to be called and subscribed as before."""

NOTICED = 1.0
"""Seconds until everybody knows of what was done to a process."""


class Deed(Struct, frozen=True):
    """What was done to a process, between `since` and `at`."""

    what: What | Literal["end"]
    process: str
    since: float
    at: float


class End(Struct, frozen=True):
    """How a process ended, and what it said."""

    process: str
    status: int
    said: tuple[str, ...]


class Span(Struct, frozen=True):
    """From one moment to another."""

    begins: float
    ends: float

    def meets(self, other: Span) -> bool:
        return self.begins <= other.ends and other.begins <= self.ends

    def overlap(self, other: Span) -> float:
        return max(min(self.ends, other.ends) - max(self.begins, other.begins), 0.0)


FOREVER = float("inf")


class Broker(Struct, frozen=True):
    """What is seen of the broker from outside, before the run and after it, when all others had gone."""

    rss: tuple[int, int]
    descriptors: tuple[int, int]
    stats: dict[str, int]


class Life:
    """One process of an actor. `dying` is when its end may have begun, whatever it was; `leaving` when it was to be good."""

    def __init__(self, process: str, actor: Actor, deeds: list[Deed], trace: list[AnyRecord]) -> None:
        self.process = process
        self.actor = actor
        self.trace = trace
        self.born = next((deed.since for deed in deeds if deed.what == "start"), 0.0)
        self.up = next((deed.at for deed in deeds if deed.what == "start"), 0.0)
        self.killed = next((deed.since for deed in deeds if deed.what == "kill"), FOREVER)
        self.leaving = next((deed.since for deed in deeds if deed.what == "stop"), FOREVER)
        self.gone = next((deed.at for deed in deeds if deed.what == "end"), FOREVER)
        self.dying = min(self.killed, self.leaving, self.gone)
        self.ready = next((record.at for record in trace if isinstance(record, Ready)), FOREVER)
        self.frozen = list(self._frozen(deeds))
        self.cuts = list(self._cuts(deeds))

    def frozen_for(self, span: Span) -> float:
        return sum(frozen.overlap(span) for frozen in self.frozen)

    def _frozen(self, deeds: list[Deed]) -> Iterator[Span]:
        for deed in deeds:
            if deed.what == "freeze":
                ends = (later.at for later in deeds if later.what in ("thaw", "kill", "end") and later.at > deed.at)
                yield Span(deed.since, min(ends, default=FOREVER))

    def _cuts(self, deeds: list[Deed]) -> Iterator[Span]:
        for deed in deeds:
            if deed.what == "cut":
                done = (record.at for record in self.trace if isinstance(record, Cut) and record.at >= deed.since)
                yield Span(deed.since, min(done, default=self.gone))


class History:
    """`calm` is when nothing more was done to anybody, and `closing` when all were asked to end."""

    def __init__(
        self,
        plan: Plan,
        deeds: list[Deed],
        traces: dict[str, list[AnyRecord]],
        ends: list[End],
        *,
        calm: float,
        closing: float,
        broker: Broker | None = None,
        died: tuple[str, ...] = (),
        lag: float = 0.0,
    ) -> None:
        """`died` are processes that ended unasked; `lag` is how late, at most, the run itself was woken, in seconds."""
        self.plan = plan
        self.deeds = deeds
        self.ends = ends
        self.calm = calm
        self.closing = closing
        self.broker = broker
        self.died = died
        self.lag = lag
        self.lives: dict[str, Life] = {}
        for process in dict.fromkeys(deed.process for deed in deeds):
            own = [deed for deed in deeds if deed.process == process]
            actor = plan.actor(process.partition("#")[0])
            self.lives[process] = Life(process, actor, own, traces.get(process, []))

    def of_kind(self, kind: str) -> list[Life]:
        return [life for life in self.lives.values() if life.actor.kind == kind]

    def serving(self, object: str) -> list[Life]:
        return [life for life in self.of_kind("worker") if any(one.object == object for one in life.actor.serves)]

    @cached_property
    def broker_losses(self) -> list[Span]:
        """From each end of a broker until the next one listens."""
        brokers = sorted(self.of_kind("broker"), key=lambda life: life.born)
        # The last one may end at the end of the run, when nobody is there any more.
        ends = [Span(one.dying, one.gone) for one in brokers if one.dying < self.closing]
        ups = [life.up for life in brokers]
        return [Span(end.begins, min((up for up in ups if up > end.begins), default=FOREVER)) for end in ends]

    @cached_property
    def broker_frozen(self) -> list[Span]:
        return [span for life in self.of_kind("broker") for span in life.frozen]

    def losses(self, life: Life) -> list[Span]:
        """When the process lost its connection, or its life, without having been asked to end, until it had noticed."""
        lost = [*life.cuts, *self.broker_losses]
        if life.killed < FOREVER:
            lost.append(Span(life.killed, life.gone))
        noticed: list[Span] = []
        for span in sorted(lost, key=lambda span: span.begins):
            awake = [frozen.ends for frozen in life.frozen if frozen.begins <= span.ends + NOTICED]
            if span.ends >= life.born:
                noticed.append(Span(span.begins, max([span.ends, *awake]) + NOTICED))
        return noticed

    def present(self, life: Life) -> list[Span]:
        """When the process surely was registered.

        A broker that comes back counts as if it had never gone: for two seconds sessions do not believe it that an object
        is not there, and workers are back in less, unless they are frozen.
        """
        spans: list[Span] = []
        begins = life.ready
        for cut in life.cuts:
            spans.append(Span(begins, cut.begins))
            begins = max(begins, cut.ends + RETURN)
        spans.append(Span(begins, life.dying))
        for loss in self.broker_losses:
            returning = Span(loss.begins, loss.ends + RETURN)
            disturbances = [frozen for frozen in life.frozen if frozen.meets(returning)]
            disturbances += [cut for cut in life.cuts if cut.meets(returning)]
            for disturbance in disturbances:
                spans = [
                    part
                    for span in spans
                    for part in (
                        Span(span.begins, min(span.ends, loss.begins)),
                        Span(max(span.begins, disturbance.ends + RETURN), span.ends),
                    )
                ]
        return [span for span in spans if span.begins < span.ends]

    def is_newcomer(self, life: Life, at: float) -> bool:
        """Whether it has connected for the first time to a broker to which workers may still have been on their way back.

        Only sessions that were there before wait for them.
        """
        return any(loss.begins < life.ready and at < loss.ends + RETURN for loss in self.broker_losses)

    def always_served(self, object: str, span: Span) -> bool:
        """Whether some worker surely was registered at every moment."""
        present = sorted(
            (one for life in self.serving(object) for one in self.present(life)), key=lambda one: one.begins
        )
        covered = span.begins
        for one in present:
            if one.begins <= covered < one.ends:
                covered = one.ends
        return covered > span.ends

    def touched(self, lives: list[Life], span: Span) -> bool:
        """Whether anything was done to one of them, or to the broker, in that time; or they were only being born."""
        for life in lives:
            harms = [*life.frozen, *life.cuts, Span(life.born, life.ready), Span(life.dying, life.gone)]
            if any(harm.meets(span) for harm in harms if harm.begins < FOREVER):
                return True
        return any(harm.meets(span) for harm in [*self.broker_losses, *self.broker_frozen])
