"""Streams when threads share a client, and when they end in the middle of something."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from ipc_broker import Event, errors
from ipc_broker.sync import Client, connect
from ipc_broker.sync.stream import Stream
from tests.sync.bus import PATIENCE, Bus, InThread, take
from tests.sync.faulty_transport import FaultyTransport
from tests.sync.scripted_broker import ScriptedBroker


def test_threads_with_streams_calls_and_events_at_once(our_bus: Bus, our_client: Client) -> None:
    def stream_often() -> None:
        for _ in range(5):
            assert list(our_client.stream("tape", "count", [200])) == list(range(200))

    def leave_often() -> None:
        for _ in range(10):
            for number in our_client.stream("tape", "count", [100_000]):
                if number == 20:
                    break

    def call_often() -> None:
        for number in range(100):
            assert our_client.call("echo", "back", [number]) == number

    with our_client.subscribe("sensor", "heat") as events:
        work: list[Callable[[], None]] = [stream_often, leave_often, call_often] * 2
        working = [InThread(function) for function in work]
        taking = InThread(lambda: take(events, 300))
        our_bus.publish("sensor", "heat", *range(300))
        for one in working:
            one.result(20)
        assert taking.result() == list(range(300))
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}
    assert our_client.link.session.calls_in_flight == 0


def test_two_streams_by_turns_in_one_thread(our_client: Client) -> None:
    """Each has a window of its own: the items of one wait while the other is taken from."""
    first = our_client.stream("tape", "count", [20_000])
    second = our_client.stream("tape", "count", [20_000])
    for number in range(20_000):
        assert next(first) == number
        assert next(second) == number
    assert list(first) == list(second) == []


def test_two_threads_share_one_stream(our_client: Client) -> None:
    with our_client.stream("tape", "count", [2000]) as numbers:
        halves = [InThread(lambda: list(numbers)) for _ in range(2)]
        taken = [half.result() for half in halves]
    assert all(half == sorted(half) for half in taken)
    assert sorted(number for half in taken for number in half) == list(range(2000))


def test_a_stream_that_waits_delays_no_call(our_client: Client) -> None:
    items = our_client.stream("tape", "run", {"pause": 3600.0})
    assert next(items)[0] == 1
    waiting = InThread(lambda: next(items))
    for number in range(20):
        assert our_client.call("echo", "back", [number]) == number
    assert not waiting.done
    items.close()
    our_client.call("echo", "back", [1])  # wakes whoever waits
    assert isinstance(waiting.error(), StopIteration)


class HeldLock:
    """One thread has to wait for the test when it has let go of the lock."""

    def __init__(self, lock: threading.Lock, thread: threading.Thread) -> None:
        self._lock = lock
        self._thread = thread
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()
        if threading.current_thread() is self._thread:
            self.reached.set()
            assert self.opened.wait(PATIENCE)


def test_the_last_items_are_not_lost_when_another_thread_reads_the_end() -> None:
    with ScriptedBroker() as broker:
        client = broker.connect_as_ours()
        lines = client.stream("logs", "tail")
        taking = InThread(lambda: next(lines))
        call = broker.read("Call")
        item = {"Item": {"call_id": call["call_id"], "value": 1}}
        broker.send(item)
        assert taking.result() == 1
        leading = InThread(lambda: client.call("math", "add"))
        other = broker.read("Call")
        begin = threading.Event()

        def take_all() -> list[object]:
            assert begin.wait(PATIENCE)
            return list(lines)

        consumer = InThread(take_all)
        lock = HeldLock(client.link.lock, consumer.thread)
        client.link.lock = lock  # type: ignore[assignment]
        begin.set()
        assert lock.reached.wait(PATIENCE)  # it has seen that there is no item
        broker.send(item)
        broker.send({"Result": {"call_id": call["call_id"], "object_name": "logs", "value": None, "ended": True}})
        broker.answer(other, 3)
        assert leading.result() == 3
        lock.opened.set()
        assert consumer.result() == [1]
        client.close()


# Finalizers, which run wherever they like


def stream_in_a_cycle(client: Client) -> None:
    """A stream that runs, and that only the garbage collector can find."""
    items = client.stream("tape", "run", {"pause": 0.001})
    next(items)
    cycle: list[object] = [items]
    cycle.append(cycle)


def test_a_stream_that_is_collected_while_its_thread_holds_the_lock(our_bus: Bus, our_client: Client) -> None:
    def collect() -> bool:
        gc.collect()
        return True

    gc.disable()
    try:
        stream_in_a_cycle(our_client)
        waiting = InThread(lambda: our_client.link.wait_until(collect, None))  # which is asked under the lock
        assert waiting.result()
    finally:
        gc.enable()
    our_bus.stream_closed()
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}


def test_a_stream_that_is_collected_while_something_arrives(our_bus: Bus, our_client: Client) -> None:
    receive = our_client.link.session.receive_data

    def collect_and_receive(data: bytes) -> None:
        gc.collect()
        receive(data)

    gc.disable()
    try:
        stream_in_a_cycle(our_client)
        our_client.link.session.receive_data = collect_and_receive  # type: ignore[method-assign]
        calling = InThread(lambda: our_client.call("math", "add", [1, 2]))
        assert calling.result() == {"sum": 3}
    finally:
        gc.enable()
    our_bus.stream_closed()


def test_a_stream_that_is_collected_while_its_thread_sends(our_bus: Bus, transports: list[FaultyTransport]) -> None:
    with connect(our_bus.address) as client:
        transport = transports[0]

        def collect_and_send(data: bytes) -> None:
            gc.collect()
            transport.inner.send(data, 1)

        gc.disable()
        try:
            stream_in_a_cycle(client)
            transport.send_instead = collect_and_send
            publishing = InThread(lambda: client.publish("sensor", "heat", 1))
            publishing.result()
        finally:
            gc.enable()
        our_bus.stream_closed()


def test_a_stream_that_is_collected_while_another_thread_reads(our_bus: Bus, our_client: Client) -> None:
    """The reader is busy with what came; it is the one to send what the collector could not."""
    receive = our_client.link.session.receive_data
    busy, go_on = threading.Event(), threading.Event()

    def wait_and_receive(data: bytes) -> None:
        busy.set()
        assert go_on.wait(PATIENCE)
        receive(data)

    items = [our_client.stream("tape", "run", {"pause": 3600.0})]
    next(items[0])
    with our_client.subscribe("sensor", "heat") as events:
        our_client.link.session.receive_data = wait_and_receive  # type: ignore[method-assign]
        taking = InThread(lambda: take(events, 2))
        our_bus.publish("sensor", "heat", 1)
        assert busy.wait(PATIENCE)
        dropping = InThread(items.clear)
        dropping.result()
        go_on.set()
        our_bus.stream_closed()
        our_bus.publish("sensor", "heat", 2)
        assert taking.result() == [1, 2]


# Ctrl-C


@pytest.mark.skipif(sys.platform == "win32", reason="a signal wakes no thread there")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_the_middle_of_a_stream_cancels_it(
    our_bus: Bus, our_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()
    wait_until = our_client.link.wait_until

    def tell_and_wait(done: Callable[[], bool], deadline: float | None) -> bool:
        waiting.set()
        return wait_until(done, deadline)

    def interrupt() -> None:
        assert waiting.wait(PATIENCE)
        with our_client.link.lock:  # it has its place
            pass
        ident = threading.main_thread().ident
        assert ident is not None
        if sys.platform != "win32":
            signal.pthread_kill(ident, signal.SIGINT)

    def take_on() -> None:
        with our_client.stream("tape", "run", {"pause": 3600.0}, timeout=PATIENCE) as items:
            next(items)
            monkeypatch.setattr(our_client.link, "wait_until", tell_and_wait)
            interrupting = InThread(interrupt)
            try:
                next(items)
            finally:
                interrupting.result()

    with pytest.raises(KeyboardInterrupt):
        take_on()
    our_bus.stream_closed()
    assert our_client.call("math", "add", [1, 2]) == {"sum": 3}


def test_ctrl_c_while_messages_are_handled_loses_the_connection(our_bus: Bus, our_client: Client) -> None:
    """Some of what came is lost then: nobody else may wait for it for ever."""
    receive = our_client.link.session.receive_data

    def interrupted(data: bytes) -> None:
        raise KeyboardInterrupt

    def interrupted_call() -> object:
        our_client.link.session.receive_data = interrupted  # type: ignore[method-assign]
        try:
            return our_client.call("gate", "wait", ["x"])
        finally:
            our_client.link.session.receive_data = receive  # type: ignore[method-assign]

    calling = InThread(interrupted_call)
    our_bus.entered("x")
    other = InThread(lambda: our_client.call("gate", "wait", ["y"]))
    our_bus.entered("y")
    asking = InThread(lambda: our_client.has("math"))  # the answer is what comes
    assert isinstance(calling.error(), KeyboardInterrupt)
    assert isinstance(other.error(), errors.ConnectionLost)
    assert asking.result(), "it was not asked again"


def test_ctrl_c_while_bytes_are_taken_loses_the_connection(our_client: Client) -> None:
    """What was taken from the kernel is gone: the rest would be read from the middle of a frame."""
    transport = our_client.link.transport
    assert transport is not None
    recv = transport.recv

    def interrupted(timeout: float | None) -> bytes:
        recv(timeout)
        raise KeyboardInterrupt

    transport.recv = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        our_client.call("echo", "back", [1])
    assert not our_client.link.session.opened
    assert our_client.call("echo", "back", [2]) == 2


def test_a_stream_that_is_closed_by_another_thread_ends_where_it_is_waited_for(
    our_bus: Bus, our_client: Client
) -> None:
    class Slow:
        async def items(self) -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

    our_bus.add("slow", Slow())
    our_client.wait_for("slow", 10)
    for others in (0, 1):
        stream = our_client.stream("slow", "items")
        assert next(stream) == 1
        waiting = [InThread(lambda: our_client.call("gate", "wait", ["x"])) for _ in range(others)]
        ending = InThread(lambda stream=stream: list(stream))  # type: ignore[misc]
        while not our_client.link.turns.led or len(our_client.link.turns.followers) < others:
            assert not ending.done
        stream.close()
        assert ending.result() == []
        if others:
            our_bus.open("x")
            assert waiting[0].result() == "x"


class InterruptedLock:
    """Ctrl-C comes when one thread has just let go of the lock."""

    def __init__(self, lock: threading.Lock, thread: threading.Thread) -> None:
        self._lock = lock
        self._thread: threading.Thread | None = thread

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()
        if threading.current_thread() is self._thread:
            self._thread = None
            raise KeyboardInterrupt


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_ctrl_c_leaves_no_place_of_a_thread_that_is_gone(our_bus: Bus, our_client: Client, role: str) -> None:
    link = our_client.link
    with our_client.subscribe("sensor", "first") as first, our_client.subscribe("sensor", "last") as last:
        leader = InThread(first.get) if role == "follower" else None
        while leader is not None and not link.turns.led:
            our_client.publish("nobody", "listens")
        begin = threading.Event()

        def wait() -> None:
            assert begin.wait(PATIENCE)
            link.wait_until(lambda: False, None)

        interrupted = InThread(wait)
        link.lock = InterruptedLock(link.lock, interrupted.thread)  # type: ignore[assignment]
        begin.set()
        assert isinstance(interrupted.error(), KeyboardInterrupt)
        behind = InThread(last.get)
        our_bus.publish("sensor", "first", 1)
        if leader is not None:
            assert leader.result() == Event("sensor", "first", 1)
        our_bus.publish("sensor", "last", 2)
        assert behind.result() == Event("sensor", "last", 2)


def test_a_stream_says_what_it_is(our_client: Client) -> None:
    items: Stream[int] = our_client.stream("tape", "count", [2], returns=int)
    assert (items.object, items.method) == ("tape", "count")
    assert list(items) == [0, 1]
    assert repr(items) == "<Stream 'tape' 'count' ended pending=0>"
