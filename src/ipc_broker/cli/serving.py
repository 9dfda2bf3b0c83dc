"""`rob serve`: an object of the current folder on the bus, without a line of code."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, get_args

from msgspec import Struct

from ..aio.signals import on_stop_signal
from ..aio.worker import Mode, Worker
from ..errors import ConnectFailed, IPCError
from .connecting import check_name, checked_address, note
from .failures import CannotLoad
from .loading import Target, load, look_here_too, parse_target
from .output import log_to_stderr
from .words import Request, UsageError

T = TypeVar("T")


class Service(Struct, frozen=True):
    """What is served where, as one process tells it to another."""

    target: Target
    name: str
    mode: Mode
    concurrency: int | None
    address: str
    timeout: float | None = None
    log_level: str = ""
    json: bool = False

    def tell(self, what: str, level: str = "info") -> None:
        note(level, what, as_json=self.json)


def serve(request: Request) -> None:
    """Until Ctrl-C, SIGTERM or the timeout. Raises UsageError, CannotLoad, NameTaken, ConnectFailed."""
    service = _service(request)
    look_here_too()
    if request.reload:
        from .reloading import serve_anew

        serve_anew(service)
    else:
        log_for_workers(service.log_level, as_json=service.json)
        how = "stands by" if service.mode == "standby" else "is served"
        told = f"'{service.name}' ({service.target}) {how} at {service.address}; Ctrl-C ends"
        run(serve_until_stopped(serving(service, lambda: service.tell(told)), service.timeout))


def _service(request: Request) -> Service:
    target = parse_target(request.names[0])
    if not request.name:
        raise UsageError("--name NAME is missing: under which name is it to be served?")
    check_name("--name", request.name)
    modes: tuple[Mode, ...] = get_args(Mode)
    wanted = request.mode or "exclusive"
    mode = next((mode for mode in modes if mode == wanted), None)
    if mode is None:
        raise UsageError(f"--mode takes one of {', '.join(modes)}; given {wanted!r}")
    address = checked_address(request)
    return Service(
        target, request.name, mode, request.concurrency, address, request.timeout, request.log_level or "", request.json
    )


class AnnouncedWorker(Worker):
    """Calls `when_served` as soon as all that it serves is registered, and again after a reconnect."""

    def __init__(self, address: str, name: str, when_served: Callable[[], object]) -> None:
        super().__init__(address, name=name)
        self.has_served = False
        self._when_served = when_served
        self._registered: set[str] = set()

    def registered(self, name: str, error: IPCError | None) -> None:
        super().registered(name, error)
        if error is None:
            self._registered.add(name)
            if len(self._registered) == len(self.client.link.session.serving.exposed):
                self._registered.clear()
                self.has_served = True
                self._when_served()


def serving(service: Service, when_served: Callable[[], object]) -> AnnouncedWorker:
    """Loads the object. Raises CannotLoad."""
    worker = AnnouncedWorker(service.address, service.name, when_served)
    try:
        worker.add(service.name, load(service.target), mode=service.mode, concurrency=service.concurrency)
    except TypeError as error:  # a type hint that cannot be checked
        raise CannotLoad(str(error)) from error
    return worker


async def serve_until_stopped(worker: AnnouncedWorker, timeout: float | None) -> None:
    """By Ctrl-C, SIGTERM or the timeout. Raises NameTaken, and ConnectFailed when nothing was served by then."""
    is_over = False

    def end() -> None:
        nonlocal is_over
        is_over = True
        worker.stop()

    with on_stop_signal(worker.stop):
        if timeout is not None:
            asyncio.get_running_loop().call_later(timeout, end)
        await worker.serve()
    if is_over and not worker.has_served:
        raise ConnectFailed(f"nothing could be served within {timeout:g} s: there is no broker at {worker.address}")


def run(main: Coroutine[Any, Any, T]) -> T:
    """On the loop that workers run on."""
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    return uvloop.run(main)


# What the worker has to say: that it waits for a broker, that a method raised


def log_for_workers(log_level: str, *, as_json: bool) -> None:
    """`log_level` is "" when none was asked for; then it is not logged yet."""
    if as_json:
        logger = logging.getLogger("ipc_broker")
        logger.addHandler(_Documents())
        logger.propagate = False
    elif not log_level:
        log_to_stderr("warn")


class _Documents(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.levelname.lower(), self.format(record), as_json=True)
