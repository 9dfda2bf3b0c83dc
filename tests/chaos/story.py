"""Runs that never were, for the tests of the checker: everybody does all right, until a test has it otherwise."""

from __future__ import annotations

from tests.chaos.checker import check
from tests.chaos.faults import Fault
from tests.chaos.history import Broker, Deed, End, History
from tests.chaos.plan import Actor, Plan, Serves, Subscribes, What
from tests.chaos.traces import (
    Acknowledged,
    AnyRecord,
    Called,
    Cut,
    Drained,
    Failed,
    Got,
    Missed,
    Publishing,
    Ran,
    Ready,
    Returned,
    Settled,
    Subscribed,
)

CALM, CLOSING, END = 50.0, 60.0, 70.0

ACTORS = (
    Actor("broker", "broker"),
    Actor("worker", "worker", serves=(Serves("math"), Serves("queue", "shared", 1))),
    Actor("caller", "caller", calls=("math", "queue")),
    Actor("publisher", "publisher", topics=(("news", "a"), ("news", "b"), ("news", "state"))),
    Actor("plain", "subscriber", subscribes=(Subscribes("news", "a"),)),
    Actor("wild", "subscriber", subscribes=(Subscribes("news", ">"),)),
    Actor("latest", "subscriber", subscribes=(Subscribes("news", ">", overflow="latest"),)),
    Actor("one", "subscriber", subscribes=(Subscribes("jobs", "*", group="g"),)),
    Actor("two", "subscriber", subscribes=(Subscribes("jobs", "*", group="g"),)),
)


class Story:
    """All start at 0, are ready at 1 and subscribed from 1 to 2, and end in good order from `CLOSING` on."""

    def __init__(self, *, resume: float = 4.0) -> None:
        self.plan = Plan(seed=1, seconds=20.0, restarts=False, transport="unix", actors=ACTORS, actions=())
        assert self.plan.resume == resume
        self.deeds: list[Deed] = []
        self.ends: list[End] = []
        self.traces: dict[str, list[AnyRecord]] = {}
        self.broker = Broker(
            rss=(30_000_000, 30_100_000),
            descriptors=(14, 14),
            stats={"connections": 1, "objects": 0, "subscriptions": 0, "calls_in_flight": 0, "calls_waiting": 0},
        )
        self.died: tuple[str, ...] = ()
        for actor in ACTORS:
            self.starts(f"{actor.name}#1", 0.0)

    def starts(self, process: str, at: float) -> None:
        self.does("start", process, at)
        self.says(process, Ready(at=at + 1))
        if self.plan.actor(process.partition("#")[0]).kind == "subscriber":
            self.says(process, Subscribed(at=at + 2, subscription=0, since=at + 1))

    def does(self, what: What, process: str, at: float) -> None:
        self.deeds.append(Deed(what=what, process=process, since=at, at=at))
        if what == "kill":
            self.ends_with(process, -9, at)
        elif what == "cut":
            self.says(process, Cut(at=at))

    def ends_with(self, process: str, status: int, at: float) -> None:
        self.deeds.append(Deed(what="end", process=process, since=at, at=at))
        self.ends.append(End(process=process, status=status, said=()))

    def says(self, process: str, *records: AnyRecord) -> None:
        self.traces.setdefault(process, []).extend(records)

    # Calls, all of them of `math`

    def calls(self, id: str, at: float, *, object: str = "math", timeout: float = 3.0, takes: float = 0.0) -> None:
        self.says(
            "caller#1", Called(at=at, id=id, object=object, method="work", timeout=timeout, takes=takes, expects=42)
        )

    def runs(self, id: str, at: float, worker: str = "worker#1") -> None:
        self.says(worker, Ran(at=at, id=id))

    def returns(self, id: str, at: float, value: int = 42, echo: str = "", by: str = "worker#1") -> None:
        self.says("caller#1", Returned(at=at, id=id, value=value, echo=echo or id, by=by))

    def fails(self, id: str, at: float, code: str, delivered: str) -> None:
        self.says("caller#1", Failed(at=at, id=id, code=code, delivered=delivered, message=""))

    # Events: number n is published at 10 + n / 10, and got a hundredth of a second later

    def publishes(
        self, *numbers: int, object: str = "news", topic: str = "a", retain: bool = False, process: str = "publisher#1"
    ) -> None:
        for number in numbers:
            self.says(
                process,
                Publishing(at=10 + number / 10, number=number, object=object, topic=topic, retain=retain),
            )

    def acknowledges(self, number: int, at: float) -> None:
        self.says("publisher#1", Acknowledged(at=at, number=number))

    def drains(self, number: int, at: float = CLOSING + 1) -> None:
        self.says("publisher#1", Drained(at=at, number=number))

    def gets(
        self,
        subscriber: str,
        *numbers: int,
        object: str = "news",
        topic: str = "a",
        retained: bool = False,
        by: str = "publisher#1",
    ) -> None:
        for number in numbers:
            self.says(
                subscriber,
                Got(
                    at=10.01 + number / 10,
                    subscription=0,
                    by=by,
                    number=number,
                    object=object,
                    topic=topic,
                    retained=retained,
                ),
            )

    def misses(self, subscriber: str, count: int | None, at: float = 15.0) -> None:
        self.says(subscriber, Missed(at=at, subscription=0, count=count))

    def settles(self, *subscribers: str, at: float = CLOSING + 2) -> None:
        for subscriber in subscribers:
            self.says(subscriber, Settled(at=at + 0.1, subscription=0, since=at))

    # The end

    def history(self) -> History:
        deeds, ends = list(self.deeds), list(self.ends)
        ended = {end.process for end in ends}
        for process in dict.fromkeys(deed.process for deed in self.deeds):
            if process not in ended:
                stopped = any(deed.process == process and deed.what == "stop" for deed in self.deeds)
                if not stopped:
                    deeds.append(Deed(what="stop", process=process, since=CLOSING, at=CLOSING))
                deeds.append(Deed(what="end", process=process, since=END, at=END))
                ends.append(End(process=process, status=0, said=()))
        return History(
            self.plan,
            deeds,
            self.traces,
            ends,
            calm=CLOSING,  # so that nobody has to show that it is back, but where a test says otherwise
            closing=CLOSING,
            broker=self.broker,
            died=self.died,
        )

    def faults(self) -> list[Fault]:
        return check(self.history())

    def kinds(self) -> list[str]:
        return [fault.kind for fault in self.faults()]
