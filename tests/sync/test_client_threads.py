"""Many threads share one blocking client: one of those that wait leads, the others follow."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from ipc_broker import Event, Gap, errors
from ipc_broker.sync import Client, Subscription
from tests.sync.bus import PATIENCE, Bus, InThread, take
from tests.sync.faulty_transport import FaultyTransport


class Waiting:
    """A thread that waits for an event, or for anything else that `wait_until` takes."""

    def __init__(self, client: Client, events: Subscription, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = client
        self._asked = threading.Event()
        self._done = events.done
        monkeypatch.setattr(events, "done", self._ask)

    def _ask(self) -> bool:
        self._asked.set()
        return self._done()

    def begun(self) -> None:
        """Returns when the thread leads, or stands among the followers."""
        assert self._asked.wait(PATIENCE)
        self._client.publish("begun", "waiting")  # takes the lock under which the thread got its place


def test_sixteen_threads_call_at_once(bus: Bus, client: Client) -> None:
    def call_often(thread: int) -> list[object]:
        return [client.call("echo", "back", [f"{thread}/{number}"]) for number in range(100)]

    threads = [InThread(lambda thread=thread: call_often(thread)) for thread in range(16)]  # type: ignore[misc]
    for thread, running in enumerate(threads):
        assert running.result() == [f"{thread}/{number}" for number in range(100)]
    assert repr(client) == f"<Client {bus.address} connected calls=0>"


def test_threads_do_all_that_a_client_can_do_at_once(bus: Bus, client: Client) -> None:
    def subscribe_often() -> None:
        for number in range(30):
            topic = f"{threading.get_ident()}-{number}"
            with client.subscribe("own", topic) as events:
                client.publish("own", topic, number)
                assert take(events, 1) == [number]

    def ask_often() -> None:
        for _ in range(30):
            assert client.has("math")
            assert not client.has("nobody")
            assert "math" in client.objects()
            client.drain()

    def time_out_often() -> None:
        for _ in range(30):
            with pytest.raises(errors.DeadlineExceeded):
                client.call("gate", "wait", ["never"], timeout=0.001)

    work: list[Callable[[], None]] = [subscribe_often, ask_often, time_out_often] * 4
    for running in [InThread(function) for function in work]:
        running.result(20)
    assert client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_slow_call_delays_nobody(bus: Bus, client: Client) -> None:
    slow = InThread(lambda: client.call("gate", "wait", ["slow"]))
    bus.entered("slow")
    for number in range(20):
        assert client.call("echo", "back", [number]) == number
    assert not slow.done
    bus.open("slow")
    assert slow.result() == "slow"


def test_one_thread_takes_events_while_others_call(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        taking = InThread(lambda: take(events, 500))
        callers = [InThread(lambda: [client.call("math", "add", [n, n]) for n in range(100)]) for _ in range(4)]
        bus.publish("sensor", "heat", *range(500))
        assert taking.result() == list(range(500))
        for caller in callers:
            assert caller.result() == [{"sum": 2 * n} for n in range(100)]


def test_events_of_several_threads_come_once_and_in_the_order_of_each(bus: Bus, client: Client) -> None:
    """While one of them writes, those of the others are put together."""

    def publish(thread: int) -> None:
        for number in range(400):
            client.publish("sensor", "heat", [thread, number])
            if number % 50 == 0:
                assert client.call("echo", "back", [number]) == number

    with client.subscribe("sensor", "heat") as events:
        threads = [InThread(lambda thread=thread: publish(thread)) for thread in range(6)]  # type: ignore[misc]
        came = take(events, 6 * 400)
        for running in threads:
            running.result()
        for thread in range(6):
            assert [number for who, number in came if who == thread] == list(range(400))
        client.drain()
        assert events.pending == 0


def test_several_threads_share_one_subscription(bus: Bus, client: Client) -> None:
    with client.subscribe("sensor", "heat") as events:
        takers = [InThread(lambda: take(events, 50)) for _ in range(4)]
        bus.publish("sensor", "heat", *range(200))
        taken = [taker.result() for taker in takers]
        assert sorted(number for one in taken for number in one) == list(range(200))
        assert all(one == sorted(one) for one in taken)


def test_the_time_of_a_follower_passes(bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    events = client.subscribe("sensor", "heat")
    waiting = Waiting(client, events, monkeypatch)
    leader = InThread(events.get)
    waiting.begun()
    for _ in range(3):
        with pytest.raises(errors.DeadlineExceeded):
            client.call("gate", "wait", ["follower"], timeout=0.02)
        with pytest.raises(TimeoutError):
            client.subscribe("sensor", "light").get(timeout=0.02)
    assert client.call("math", "add", [1, 2]) == {"sum": 3}
    bus.publish("sensor", "heat", 1)
    assert leader.result() == Event("sensor", "heat", 1)
    bus.open("follower")
    assert client.call("gate", "wait", ["follower"]) == "follower"


def test_the_time_of_the_leader_passes(bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (client.subscribe("sensor", topic) for topic in ("first", "second", "third"))
    leading = Waiting(client, first, monkeypatch)
    leader = InThread(lambda: first.get(timeout=0.3))
    leading.begun()
    followers = []
    for events in (second, third):
        following = Waiting(client, events, monkeypatch)
        followers.append(InThread(events.get))
        following.begun()
    assert isinstance(leader.error(), TimeoutError)
    bus.publish("sensor", "second", 2)
    assert followers[0].result() == Event("sensor", "second", 2)
    bus.publish("sensor", "third", 3)
    assert followers[1].result() == Event("sensor", "third", 3)


def test_a_leader_that_has_its_answer_hands_the_lead_over(
    bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = [str(number) for number in range(5)]
    threads = []
    for topic in topics:
        events = client.subscribe("sensor", topic)
        waiting = Waiting(client, events, monkeypatch)
        threads.append(InThread(events.get))
        waiting.begun()
    for topic, thread in zip(topics, threads, strict=True):
        bus.publish("sensor", topic, topic)
        assert thread.result() == Event("sensor", topic, topic)


# Ctrl-C


def interrupt_main_thread() -> None:
    """SIGINT as from the keyboard: it wakes the main thread from what it waits for."""
    if sys.platform == "win32":
        pytest.skip("a signal wakes no thread there")
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal wakes no thread there")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_leader_hands_the_lead_over(bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, others = client.subscribe("sensor", "mine"), client.subscribe("sensor", "others")
    leading, following = Waiting(client, mine, monkeypatch), Waiting(client, others, monkeypatch)
    followers: list[InThread[object]] = []

    def interrupt() -> None:
        leading.begun()
        followers.append(InThread(others.get))
        following.begun()
        interrupt_main_thread()

    interrupting = InThread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        mine.get(timeout=PATIENCE)
    interrupting.result()
    bus.publish("sensor", "others", 1)
    assert followers[0].result() == Event("sensor", "others", 1)
    bus.publish("sensor", "mine", 2)
    assert mine.get(PATIENCE) == Event("sensor", "mine", 2)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal wakes no thread there")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_follower_is_not_handed_the_lead(
    bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, mine, last = (client.subscribe("sensor", topic) for topic in ("first", "mine", "last"))
    leading, following, behind = (Waiting(client, events, monkeypatch) for events in (first, mine, last))
    leader = InThread(first.get)
    leading.begun()
    followers: list[InThread[object]] = []

    def interrupt() -> None:
        following.begun()
        followers.append(InThread(last.get))
        behind.begun()
        interrupt_main_thread()

    interrupting = InThread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        mine.get(timeout=PATIENCE)
    interrupting.result()
    bus.publish("sensor", "first", 1)
    assert leader.result() == Event("sensor", "first", 1)
    bus.publish("sensor", "last", 2)
    assert followers[0].result() == Event("sensor", "last", 2)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal wakes no thread there")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_call_is_forgotten(bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    wait_until = client.link.wait_until

    def tell_and_wait(done: Callable[[], bool], timeout: float | None) -> bool:
        waiting.set()
        return wait_until(done, timeout)

    monkeypatch.setattr(client.link, "wait_until", tell_and_wait)

    def interrupt() -> None:
        bus.entered("mine")
        assert waiting.wait(PATIENCE)  # it has sent all
        client.publish("begun", "waiting")
        interrupt_main_thread()

    interrupting = InThread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.call("gate", "wait", ["mine"], timeout=PATIENCE)
    interrupting.result()
    assert repr(client) == f"<Client {bus.address} connected calls=0>"
    bus.open("mine")
    assert client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_loss_that_a_sender_finds_ends_calls_and_not_subscriptions(
    bus: Bus, transports: list[FaultyTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(bus.address)
    waiting = []
    for topic in ("first", "second", "third"):
        events = client.subscribe("sensor", topic)
        place = Waiting(client, events, monkeypatch)
        waiting.append(InThread(events.get))
        place.begun()
    calling = InThread(lambda: client.call("gate", "wait", ["x"], timeout=None))
    bus.entered("x")
    transports[0].send_instead = break_pipe
    with pytest.raises(errors.ConnectionLost, match="broken by the test"):
        client.call("math", "add")
    assert isinstance(calling.error(), errors.ConnectionLost)
    client.has("math")  # it is connected again, and subscribed before that
    for one, topic in zip(waiting, ("first", "second", "third"), strict=True):
        if bus.is_seed:
            assert one.result() == Gap("sensor", topic, None)
        else:
            bus.publish("sensor", topic, topic)
            assert one.result() == Event("sensor", topic, topic)
    client.close()


class GatedLock:
    """One thread has to wait for the test before it gets the lock."""

    def __init__(self, lock: threading.Lock, thread: threading.Thread) -> None:
        self._lock = lock
        self._thread = thread
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __enter__(self) -> None:
        if threading.current_thread() is self._thread:
            self.reached.set()
            assert self.opened.wait(PATIENCE)
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


def test_a_loss_that_is_found_while_the_lead_is_handed_over(
    bus: Bus, transports: list[FaultyTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was offered the lead has what it waits for already: the next in line has to get the lead instead."""
    client = Client(bus.address)
    first, last = client.subscribe("sensor", "first"), client.subscribe("sensor", "last")
    leading, behind = Waiting(client, first, monkeypatch), Waiting(client, last, monkeypatch)
    leader = InThread(first.get)
    leading.begun()
    asked, is_done = threading.Event(), threading.Event()

    def done() -> bool:
        asked.set()
        return is_done.is_set()

    offered = InThread(lambda: client.link.wait_until(done, None))
    assert asked.wait(PATIENCE)
    client.publish("begun", "waiting")
    follower = InThread(last.get)
    behind.begun()
    lock = GatedLock(client.link.lock, offered.thread)
    monkeypatch.setattr(client.link, "lock", lock)
    bus.publish("sensor", "first", 1)
    assert leader.result() == Event("sensor", "first", 1)
    assert lock.reached.wait(PATIENCE)
    is_done.set()
    transports[0].send_instead = break_pipe
    with pytest.raises(errors.ConnectionLost):
        client.call("math", "add")
    lock.opened.set()
    assert offered.result()
    client.has("math")  # it is connected again, and subscribed before that
    if bus.is_seed:
        assert follower.result() == Gap("sensor", "last", None)
    else:
        bus.publish("sensor", "last", 2)
        assert follower.result() == Event("sensor", "last", 2)
    client.close()


def break_pipe(data: bytes) -> None:
    raise BrokenPipeError("broken by the test")


def test_descriptors_are_closed(bus: Bus) -> None:
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        client = Client(bus.address)
        client.call("math", "add", [1, 2])
        client.close()
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the broker's ends may be closed a moment later
