"""The long-lived blocking client, shared by its threads: `python -m tests.soak.blocking_client ADDRESS TICK`, until SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from ipc_broker.sync import Client, connect
from ipc_broker.sync.subscription import Subscription
from tests.soak.load import CALLS, GROUP, ITEMS, OBJECT, PERIOD, PUBLISHERS, RETAIN_EVERY, STREAM_EVERY, Intake, value
from tests.soak.reports import READY, TIMEOUT, Final, Tally, in_words, tell_final

OWN = "blocking"

LOOK_AROUND = 0.2
"""Seconds after which a thread that waits for events looks whether it should end."""


class Load:
    """Two threads call, one publishes, and one takes the events of each subscription."""

    def __init__(self, client: Client, tally: Tally) -> None:
        self._client = client
        self._tally = tally
        self._stopping = threading.Event()
        self._all_came = threading.Event()
        self._group_published = 0
        self._group = Intake(tally, "group", group=True)
        self._intakes = [Intake(tally, topic) for topic in ("steady.*", "state.>")]
        subscribe = client.subscribe
        taken = list(zip((subscribe(OBJECT, "steady.*"), subscribe(OBJECT, "state.>")), self._intakes, strict=True))
        taken.append((subscribe(OBJECT, "group.*", group=GROUP), self._group))
        self._takers = [self._thread(self._take, *one) for one in taken]
        self._workers = [
            self._thread(self._publish_all),
            self._thread(self._call_all, CALLS[:2], True),
            self._thread(self._call_all, CALLS[2:], False),
        ]

    def end(self) -> Final:
        """All that was published by anybody has come, or is told to be lost."""
        self._stopping.set()
        for thread in self._workers:
            thread.join(2 * TIMEOUT)
        due = len(self._intakes) * len(PUBLISHERS)
        deadline = time.monotonic() + TIMEOUT
        while (ended := sum(len(intake.ended) for intake in self._intakes)) < due and time.monotonic() < deadline:
            time.sleep(PERIOD)
        if ended < due:
            self._tally.fault(f"{due - ended} of {due} topics did not come to their last event within {TIMEOUT:g} s")
        self._client.call("rob", "ping", timeout=TIMEOUT)  # what the broker has routed until now comes before that
        self._all_came.set()
        for thread in self._takers:
            thread.join(2 * TIMEOUT)
        return Final(group_published=self._group_published, group_received=self._group.received)

    def _thread(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except Exception as error:
                self._tally.fault(f"the thread of {work.__name__} ended: {in_words(error)}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _take(self, subscription: Subscription, intake: Intake) -> None:
        while not self._all_came.is_set() or subscription.pending:
            try:
                event = subscription.get(LOOK_AROUND)
            except TimeoutError:
                continue
            intake.take(event)
        subscription.close()

    def _publish_all(self) -> None:
        publish = self._client.publish
        number = 0
        for number in self._rounds():
            publish(OBJECT, f"group.{OWN}", value(number))
            self._group_published += 1
            if number % RETAIN_EVERY == 0:
                publish(OBJECT, f"state.{OWN}", value(number // RETAIN_EVERY), retain=True)
            publish(OBJECT, f"steady.{OWN}", value(number))
        # The last of the plain topic comes when everything else has.
        publish(OBJECT, f"state.{OWN}", value(number // RETAIN_EVERY + 1, last=True), retain=True)
        publish(OBJECT, f"steady.{OWN}", value(number + 1, last=True))
        self._client.drain()

    def _call_all(self, calls: tuple[tuple[str, str], ...], streams: bool) -> None:
        for number in self._rounds():
            for name, method in calls:
                with self._tally.call(f"{name}.{method}"):
                    result = self._client.call(name, method, {"a": number, "b": 1}, timeout=TIMEOUT)
                    if result != number + 1:
                        self._tally.fault(f"{name}.{method} gave {result!r} where {number + 1} was due")
            if streams and number % STREAM_EVERY == 0:
                with self._tally.call("tape.count"):
                    came = list(self._client.stream("tape", "count", {"stop": ITEMS}, timeout=TIMEOUT))
                    if came != list(range(ITEMS)):
                        self._tally.fault(f"tape.count gave {len(came)} items where {ITEMS} in order were due")

    def _rounds(self) -> Iterator[int]:
        due, number = time.monotonic(), 0
        while not self._stopping.is_set():
            yield number
            number += 1
            due += PERIOD
            self._stopping.wait(max(due - time.monotonic(), 0.0))


def main(address: str, tick: float) -> None:
    if sys.platform == "win32":
        raise SystemExit("the soak needs Linux")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the threads inherit it; this one waits for it
    tally = Tally()
    with connect(address, name=OWN) as client:
        load = Load(client, tally)
        print(READY, flush=True)
        while signal.sigtimedwait([signal.SIGTERM], tick) is None:
            tally.tell()
        final = load.end()
    tally.tell()
    tell_final(final)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
