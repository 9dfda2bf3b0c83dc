"""What will happen in a run: who takes part, and who is killed, frozen, cut off, stopped and started again, when.

All of it comes from the seed. How the processes meet each other does not: that is up to the machine.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec
from msgspec import Struct

Kind = Literal["broker", "worker", "caller", "publisher", "subscriber"]
Client = Literal["asyncio", "blocking"]
What = Literal["start", "kill", "freeze", "thaw", "cut", "stop"]

STALL = 0.5
"""Seconds that publishers wait for a subscriber; those that are frozen take longer than that, now and then."""

BACKLOG = 100_000
"""Bytes that wait for a subscriber before its publishers have to."""

WAITING = 30
"""Calls that may wait for a worker of one object."""

LONG = 15.0
"""Seconds from which on a run is long: more take part, and are frozen for longer."""

HARMS_OF_BROKER: tuple[What, ...] = ("kill", "kill", "freeze", "stop")

GRACE = 0.5
"""Seconds that a broker which is stopped gives to the calls in flight."""


class Serves(Struct, frozen=True):
    object: str
    mode: Literal["exclusive", "shared", "standby"] = "exclusive"
    concurrency: int | None = None


class Subscribes(Struct, frozen=True):
    """After one event in fifty the subscriber takes none for up to `dozes` seconds."""

    object: str
    topic: str
    group: str = ""
    overflow: Literal["", "drop_oldest", "latest"] = ""
    dozes: float = 0.0


class Actor(Struct, frozen=True):
    """Somebody who takes part, as one process after another. Nothing is ever done to those that are not `mortal`."""

    name: str
    kind: Kind
    client: Client = "asyncio"
    mortal: bool = True
    serves: tuple[Serves, ...] = ()
    calls: tuple[str, ...] = ()
    """The objects that it calls; publishers may do so too."""
    parallel: int = 0
    """Calls at once."""
    topics: tuple[tuple[str, str], ...] = ()
    """What it publishes to: object and topic. The topic `state` is retained."""
    subscribes: tuple[Subscribes, ...] = ()


class Action(Struct, frozen=True):
    """To be done `at` so many seconds after the start."""

    at: float
    what: What
    actor: str


class Plan(Struct, frozen=True):
    """`restarts`: the broker is killed, frozen, stopped and started again as well."""

    seed: int
    seconds: float
    restarts: bool
    transport: Literal["unix", "tcp"]
    actors: tuple[Actor, ...]
    actions: tuple[Action, ...]

    @property
    def is_long(self) -> bool:
        return self.seconds >= LONG

    @property
    def longest_freeze(self) -> float:
        """Seconds; less than a heartbeat takes to be missed."""
        return _longest_freeze(self.seconds)

    @property
    def resume(self) -> float:
        """Seconds for which a lost connection's subscriptions go on counting: more than a freeze."""
        return 2 * self.longest_freeze

    def actor(self, name: str) -> Actor:
        return next(actor for actor in self.actors if actor.name == name)

    def serving(self, object: str) -> list[Actor]:
        return [actor for actor in self.actors if any(one.object == object for one in actor.serves)]

    def limited(self, object: str) -> bool:
        """Whether calls of the object may have to wait in line."""
        return any(one.concurrency for actor in self.actors for one in actor.serves if one.object == object)

    def describe(self) -> str:
        lines = [f"{self.seconds:g} s over {self.transport}, seed {self.seed}"]
        for actor in self.actors:
            given = msgspec.structs.asdict(actor)
            said = ", ".join(
                f"{name} {given[name]!r}" for name in ("serves", "calls", "topics", "subscribes") if given[name]
            )
            lines.append(f"  {actor.name}: {actor.client} {actor.kind}{'' if actor.mortal else ', spared'}; {said}")
        lines += [f"  {action.at:7.3f} {action.what} {action.actor}" for action in self.actions]
        return "\n".join(lines)


def make_plan(seed: int, seconds: float, *, restarts: bool = False) -> Plan:
    """The same for the same arguments."""
    rng = Random(f"{seed} {restarts}")
    actors = _actors(rng, large=seconds >= LONG)
    return Plan(
        seed=seed,
        seconds=seconds,
        restarts=restarts,
        transport=rng.choices(("unix", "tcp"), (2, 1))[0],
        actors=tuple(actors),
        actions=tuple(_actions(rng, actors, seconds, restarts)),
    )


def _actors(rng: Random, *, large: bool) -> list[Actor]:
    """The objects: `safe`, whose worker nobody touches; `shared`, by several workers; `jobs`, with few at once; `deputy`,
    with one that stands by; `lone`, with one worker that comes and goes."""
    risky = ("shared", "jobs", "deputy", "lone")
    actors = [
        Actor("broker", "broker", mortal=False),
        Actor("anchor", "worker", mortal=False, serves=(Serves("safe"),)),
        Actor("worker-1", "worker", serves=(Serves("shared", "shared"), Serves("jobs", "shared", 2))),
        Actor("worker-2", "worker", serves=(Serves("shared", "shared"), Serves("deputy", "standby"))),
        Actor("worker-3", "worker", serves=(Serves("jobs", "shared", 2), Serves("deputy", "standby"), Serves("lone"))),
        Actor("quiet-caller", "caller", mortal=False, calls=("safe",), parallel=4),
        Actor("caller-1", "caller", calls=("safe", *risky), parallel=20),
        Actor("caller-2", "caller", "blocking", calls=("safe", *risky), parallel=6),
        _publisher("publisher-1", "asyncio", calls=("safe", *risky)),
        _publisher("publisher-2", "blocking"),
        Actor("subscriber-1", "subscriber", subscribes=_subscriptions(rng, "publisher-1", slow=False)),
        Actor("subscriber-2", "subscriber", "blocking", subscribes=_subscriptions(rng, "publisher-2", slow=True)),
        Actor("subscriber-3", "subscriber", mortal=False, subscribes=_subscriptions(rng, "publisher-2", slow=False)),
    ]
    if large:
        actors += [
            Actor("worker-4", "worker", serves=(Serves("shared", "shared"), Serves("deputy", "standby"))),
            Actor("quiet-blocking-caller", "caller", "blocking", mortal=False, calls=("safe",), parallel=2),
            Actor("caller-3", "caller", calls=risky, parallel=40),
            _publisher("publisher-3", "asyncio"),
            _publisher("publisher-4", "blocking", calls=("safe", *risky)),
            Actor("subscriber-4", "subscriber", subscribes=_subscriptions(rng, "publisher-3", slow=True)),
            Actor("subscriber-5", "subscriber", "blocking", subscribes=_subscriptions(rng, "publisher-4", slow=False)),
        ]
    return actors


def _publisher(name: str, client: Client, calls: tuple[str, ...] = ()) -> Actor:
    topics = tuple((f"news.{name}", topic) for topic in ("a", "b", "b.c", "state"))
    return Actor(name, "publisher", client, calls=calls, parallel=2 if calls else 0, topics=topics)


def _subscriptions(rng: Random, publisher: str, *, slow: bool) -> tuple[Subscribes, ...]:
    dozes = rng.uniform(0.3, 1.5) if slow else 0.0
    return (
        rng.choice(
            (
                Subscribes(f"news.{publisher}", "a", dozes=dozes),
                Subscribes(f"news.{publisher}", "b.c", overflow="drop_oldest", dozes=dozes),
                Subscribes(f"news.{publisher}", "a", overflow="latest", dozes=dozes),
            )
        ),
        rng.choice(
            (
                Subscribes("news.*", ">", dozes=dozes),
                Subscribes(f"news.{publisher}", "b.*"),
                Subscribes(">", "state"),
                Subscribes("news.*", "b", overflow="drop_oldest", dozes=dozes),
            )
        ),
        Subscribes("news.*", "a", group="share", dozes=dozes / 4),
    )


def _actions(rng: Random, actors: list[Actor], seconds: float, restarts: bool) -> list[Action]:
    actions: list[Action] = []
    freeze = _longest_freeze(seconds)
    mortal = [actor for actor in actors if actor.mortal]
    busy = {actor.name: 0.0 for actor in mortal}  # until when something is being done to it
    now = 0.3
    while now < seconds:
        free = [actor for actor in mortal if busy[actor.name] <= now]
        if free:
            actor = rng.choice(free)
            harms: tuple[What, ...] = ("kill", "kill", "freeze", "freeze", "cut", "stop")
            what = rng.choice(harms)
            done = _harm(rng, actor.name, what, now, freeze)
            actions += done
            # What was started again is let alone until it is likely to be at work.
            busy[actor.name] = done[-1].at + rng.uniform(0.5, 2.0)
        now += rng.expovariate(2.5)
    if restarts:
        now = rng.uniform(0.5, 1.5)
        while now < seconds:
            done = _harm(rng, "broker", rng.choice(HARMS_OF_BROKER), now, freeze)
            actions += done
            now = done[-1].at + rng.uniform(2.0, 5.0)
    return sorted((action for action in actions if action.at < seconds), key=lambda action: action.at)


def _longest_freeze(seconds: float) -> float:
    return 2.0 if seconds >= LONG else 1.0


def _harm(rng: Random, name: str, what: What, now: float, longest_freeze: float) -> list[Action]:
    """What is done to an actor, and how it is set right again."""
    done = [Action(now, what, name)]
    if what == "freeze":
        now += rng.uniform(0.1, longest_freeze)
        if rng.random() < 0.75:
            return [*done, Action(now, "thaw", name)]
        done.append(Action(now, "kill", name))
    if what != "cut":
        done.append(Action(now + rng.uniform(0.05, 1.0), "start", name))
    return done
