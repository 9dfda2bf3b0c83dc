"""Processes that talk without the broker between them, and are killed, frozen, stopped or forked meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ipc_broker
from ipc_broker import errors
from ipc_broker.cli.children import Child
from ipc_broker.session.direct import ASK_AFTER
from ipc_broker.sync import Client, connect
from tests.cli.programs import PATIENCE, broker_at, environment
from tests.end_to_end.processes import until, worker_at
from tests.end_to_end.test_leftovers import descriptors
from tests.identity.strangers import as_root, line_of, stranger
from tests.sync.bus import InThread

if sys.platform != "linux":
    pytest.skip("only Linux has sockets without a file", allow_module_level=True)

FOR_EVER = 3600.0
FORKING = Path(__file__).with_name("direct_forking_process.py")


def go_direct(client: Client, object_name: str, method: str, args: object) -> None:
    def is_direct() -> bool:
        client.call(object_name, method, args)
        return object_name in client.link.session.directs._paths

    for _ in range(ASK_AFTER):
        client.call(object_name, method, args)
    until(is_direct, f"{object_name} is called directly")


@contextmanager
def direct_call(address: str, worker: Child) -> Iterator[InThread[object]]:
    """A blocking client whose call of `gate.wait` goes directly and waits there."""
    with connect(address) as client:
        for _ in range(ASK_AFTER):
            with pytest.raises(errors.CallError):
                client.call("gate", "wait", [])

        def is_direct() -> bool:
            with pytest.raises(errors.CallError):
                client.call("gate", "wait", [])
            return "gate" in client.link.session.directs._paths

        until(is_direct, "the gate is called directly")
        calling: InThread[object] = InThread(lambda: client.call("gate", "wait", [1], timeout=FOR_EVER))
        worker.wait_for_line("1 calls wait", PATIENCE)
        yield calling


def test_callers_of_a_killed_worker_learn_it_at_once(local_bus: str) -> None:
    with worker_at(local_bus) as worker, direct_call(local_bus, worker) as calling:
        worker.kill()
        error = calling.error()
        assert isinstance(error, errors.WorkerLost)
        assert error.delivered == "maybe"


def test_callers_of_a_frozen_worker_learn_it_from_the_broker(local_address: str) -> None:
    with (
        broker_at(local_address, "--limit-heartbeat", "1"),
        worker_at(local_address) as worker,
        direct_call(local_address, worker) as calling,
    ):
        worker.send_signal(signal.SIGSTOP)
        try:
            assert isinstance(calling.error(), errors.WorkerLost)
        finally:
            worker.send_signal(signal.SIGCONT)
        with connect(local_address) as client:
            client.wait_for("math", PATIENCE)
            go_direct(client, "math", "add", [1, 2])


def test_callers_of_a_killed_broker_learn_it_and_go_on_with_the_next(local_address: str) -> None:
    with worker_at_later(local_address) as worker:
        with broker_at(local_address) as broker:
            worker.wait_for_line("registered", PATIENCE)
            with direct_call(local_address, worker) as calling:
                broker.kill()
                # The worker lets its callers go when it hears of it, which may be before they do.
                assert isinstance(calling.error(), errors.ConnectionLost | errors.WorkerLost)
        with broker_at(local_address), connect(local_address) as client:
            client.wait_for("math", PATIENCE)
            go_direct(client, "math", "add", [1, 2])


@contextmanager
def worker_at_later(address: str) -> Iterator[Child]:
    """A worker that waits for its broker."""
    program = Path(__file__).with_name("worker_process.py")
    with Child("worker", ["-W", "error", str(program), address], environment()) as worker:
        yield worker


def test_a_caller_that_is_killed_cancels_what_it_has_called(local_bus: str) -> None:
    program = (
        "import sys\n"
        "from ipc_broker import CallError\n"
        "from ipc_broker.sync import connect\n"
        "client = connect(sys.argv[1])\n"
        "while 'gate' not in client.link.session.directs._paths:\n"
        "    try:\n"
        "        client.call('gate', 'wait', [])\n"
        "    except CallError:\n"
        "        pass\n"
        "client.call('gate', 'wait', [1], timeout=None)\n"
    )
    with worker_at(local_bus) as worker:
        before = descriptors(worker.pid)
        with Child("caller", ["-c", program, local_bus], environment()) as caller:
            worker.wait_for_line("1 calls wait", PATIENCE)
            caller.kill()
            worker.wait_for_line("a call that waited was cancelled", PATIENCE)
        until(lambda: descriptors(worker.pid) <= before + 1, "the worker holds its connection to the broker only")


def test_no_call_is_lost_while_workers_come_and_go(local_bus: str) -> None:
    """Each stops in good order while callers of both kinds call as fast as they can; the next one is there already."""

    def call_on() -> int:
        with connect(local_bus) as client:
            return count_until_stopped(lambda number: client.call("math", "add", [number, 1]))

    async def call_on_together() -> int:
        async with ipc_broker.connect(local_bus) as client:

            async def one() -> int:
                number = 0
                while not stopped:
                    assert await client.call("math", "add", [number, 1]) == {"sum": number + 1}
                    number += 1
                return number

            return sum(await asyncio.gather(*(one() for _ in range(8))))

    def count_until_stopped(call: Callable[[int], object]) -> int:
        number = 0
        while not stopped:
            assert call(number) == {"sum": number + 1}
            number += 1
        return number

    stopped = False
    program = (
        "import sys\n"
        "from ipc_broker import Worker\n"
        "class Math:\n"
        "    async def add(self, a: int, b: int) -> dict[str, int]:\n"
        "        return {'sum': a + b}\n"
        "worker = Worker(sys.argv[1], on_connect=lambda: print('connected', flush=True))\n"
        "worker.add('math', Math(), mode='standby')\n"
        "worker.run()\n"
    )
    workers = [Child("worker 0", ["-W", "error", "-c", program, local_bus], environment())]
    try:
        with connect(local_bus) as looking:
            looking.wait_for("math", PATIENCE)
            calling = [InThread(call_on), InThread(call_on), InThread(lambda: asyncio.run(call_on_together()))]
            for number in range(1, 5):
                workers.append(Child(f"worker {number}", ["-W", "error", "-c", program, local_bus], environment()))
                until(lambda: len(looking.describe("math").owners) == 2, "the next worker stands by")
                assert workers[-2].stop() == 0
            stopped = True
            for one in calling:
                assert one.result(PATIENCE) > 0
    finally:
        stopped = True
        for worker in workers:
            worker.stop()


def test_a_child_of_a_process_that_calls_or_is_called_directly_holds_nothing_of_it(local_bus: str) -> None:
    program = [sys.executable, "-W", "error", str(FORKING), local_bus]
    ended = subprocess.run(program, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    said = dict(line.split(": ", 1) for line in ended.stdout.splitlines())
    assert said == {"child holds": "[]", "parent calls": "3", "child ended with": "0"}


@as_root
def test_another_user_who_listens_where_the_worker_did_is_not_called(local_bus: str) -> None:
    """The worker is gone; its address is taken before its callers have heard of it."""
    program = (
        "s = socket.socket(socket.AF_UNIX); s.bind('\\0' + sys.argv[1]); s.listen(); print('listens', flush=True); "
        "c, _ = s.accept(); print(c.recv(1000) or 'nothing', flush=True)"
    )
    address = f"ipc-broker-test-{os.getpid()}-{time.monotonic_ns()}"
    with worker_at(local_bus), connect(local_bus) as client, stranger(program, address) as process:
        assert line_of(process) == "listens"
        offered = client.link.session.directs.on_offer
        assert offered is not None
        client.link.session.directs.on_offer = lambda name, offer: offered(
            name, ipc_broker.messages.DirectOffer(address, process.pid)
        )
        for number in range(3 * ASK_AFTER):
            assert client.call("math", "add", [number, 1]) == {"sum": number + 1}
        assert line_of(process) == "nothing"
