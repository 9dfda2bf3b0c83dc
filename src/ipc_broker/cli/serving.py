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
from ..errors import IPCError
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
    log_level: str = ""
    json: bool = False

    def tell(self, what: str, level: str = "info") -> None:
        note(level, what, as_json=self.json)


def serve(request: Request) -> None:
    """Until Ctrl-C or SIGTERM. Raises UsageError, CannotLoad, NameTaken."""
    service = _service(request)
    look_here_too()
    if request.reload:
        from .reloading import serve_anew

        serve_anew(service)
    else:
        log_for_workers(service.log_level, as_json=service.json)
        run(serve_until_stopped(ServingWorker(service)))


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
    return Service(target, request.name, mode, request.concurrency, address, request.log_level or "", request.json)


class ServingWorker(Worker):
    """With the object, loaded; `registered` is told and, if given, `when_served` is called. Raises CannotLoad."""

    def __init__(self, service: Service, when_served: Callable[[], object] | None = None) -> None:
        super().__init__(service.address, name=service.name)
        self._service = service
        self._when_served = when_served
        try:
            self.add(service.name, load(service.target), mode=service.mode, concurrency=service.concurrency)
        except TypeError as error:  # a type hint that cannot be checked
            raise CannotLoad(str(error)) from error

    def registered(self, name: str, error: IPCError | None) -> None:
        super().registered(name, error)
        if error is None:
            if self._when_served is not None:
                self._when_served()
            else:
                how = "stands by" if self._service.mode == "standby" else "is served"
                self._service.tell(f"'{name}' ({self._service.target}) {how} at {self.address}; Ctrl-C ends")


async def serve_until_stopped(worker: Worker) -> None:
    """By Ctrl-C or SIGTERM. Raises NameTaken."""
    with on_stop_signal(worker.stop):
        await worker.serve()


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
