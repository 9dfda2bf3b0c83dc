"""The worker: serves Python objects to whoever calls them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from msgspec.structs import replace

from ..description import Interface
from ..destination import Destination
from ..errors import ClientClosed, IPCError, NameTaken
from ..identity.direct import AVAILABLE
from ..interface import Method, SharedObject, method_of, methods_of
from ..messages import Call
from ..protocol.connection import Connection
from ..protocol.pieces import Payload
from ..schemas import interface_of
from .callbacks import Notified
from .client import Client
from .direct_server import DirectServer
from .executor import Executor
from .signals import on_stop_signal

if TYPE_CHECKING:
    from ..tls import TlsOption

logger = logging.getLogger("ipc_broker")

Function = TypeVar("Function", bound=Callable[..., Any])

Mode = Literal["exclusive", "shared", "standby"]

RETRY_NAME = 1.0
"""Seconds until a name that was taken after a reconnect is asked for again."""

WITHDRAW_TIMEOUT = 1.0
"""Seconds that the broker has to answer that the objects are served no more."""

PARTING_TIMEOUT = 0.5
"""Seconds that those who call directly have to leave by themselves; blocking clients learn it with their next call."""

DRAIN_TIMEOUT = 5.0
"""Seconds that running methods may take to end when the worker stops."""


class Worker:
    """Serves objects until it is stopped; waits for a broker, and connects again, for ever.

        worker = Worker()
        worker.add("math", Calculator())
        worker.run()

    Within asyncio: `await worker.serve()`, or `async with worker:`, in which the objects are registered. `async def`
    methods run on the event loop, `def` methods in a pool of `threads` threads, unless marked `inline`. The rest is as for
    `connect`.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        name: str = "",
        threads: int = 64,
        token: str | None = None,
        tls: TlsOption | None = None,
        trust_users: Collection[str] | None = None,
        on_connect: Notified | None = None,
        on_disconnect: Notified | None = None,
    ) -> None:
        destination = Destination(address, os.environ, token=token, tls=tls, trust_users=trust_users)
        self.client = Client(destination, name=name, on_connect=on_connect, on_disconnect=on_disconnect)
        link = self.client.link
        self._executor = Executor(link, threads)
        takes_direct_calls = AVAILABLE and link.address.scheme == "unix"
        self._direct = DirectServer(link, self, self._executor) if takes_direct_calls else None
        self._objects: dict[str, object] = {}
        self._registered_as: dict[str, tuple[str, int]] = {}  # mode and concurrency of each
        self._methods: dict[str, dict[str, Method]] = {}
        self._registrations: dict[str, asyncio.Future[None]] = {}
        self._stopping = asyncio.Event()
        self._serving = False
        self._takes_calls = False  # also until the broker knows that it serves no more

    @property
    def address(self) -> str:
        return self.client.address

    def __repr__(self) -> str:
        state = "serving" if self._serving else "stopped"
        return f"<Worker {self.address} {state} objects={list(self._objects)} calls={len(self._executor)}>"

    def add(self, name: str, target: object, *, mode: Mode = "exclusive", concurrency: int | None = None) -> None:
        """Serves the public methods of `target`, or a `SharedObject`, under `name`.

        With the mode "shared" several workers serve the name, and each call goes to the one with the fewest in flight;
        "standby" takes over when the owner is lost. `concurrency` caps the calls that run here at once; the rest wait in
        the broker. On a worker that serves already the registration goes out at once. Raises TypeError for a type hint that
        cannot be checked and for a class in place of an instance, ValueError for a name that is empty or that this worker
        serves already, and for a mode that there is not.
        """
        if not name:
            raise ValueError("an object needs a name that is not empty")
        if name in self._objects:
            raise ValueError(f"this worker serves '{name}' already; remove it first")
        if mode not in get_args(Mode):
            raise ValueError(f"there is no mode {mode!r}; there is {', '.join(get_args(Mode))}")
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency is at least 1, or None for no cap; given {concurrency}")
        self._methods[name] = {} if isinstance(target, SharedObject) else methods_of(target)
        self._objects[name] = target
        self._registered_as[name] = mode, concurrency or 0
        if self._serving:
            self._expose(name)

    def remove(self, name: str) -> None:
        """Stops serving the object; calls of it that run are cancelled, and their callers told."""
        if name not in self._objects:
            raise ValueError(f"this worker does not serve '{name}'; it serves {', '.join(self._objects) or 'nothing'}")
        del self._objects[name], self._methods[name], self._registered_as[name]
        if (first := self._registrations.pop(name, None)) is not None and not first.done():
            first.set_result(None)  # whoever enters the worker waits for the others only
        if self._serving:
            link = self.client.link
            link.session.withdraw(name, _nobody(link.loop), link.loop.time())
            self._executor.cancel(name)
            if self._direct is not None:
                self._direct.remove(name)

    def method(self, object_name: str) -> Callable[[Function], Function]:
        """Serves one function as a method of the object: `@worker.method("math")`."""

        def decorate(function: Function) -> Function:
            method = method_of(function.__name__, function, function)
            if object_name not in self._objects:
                self._objects[object_name] = _Functions()
                self._methods[object_name] = {}
                self._registered_as[object_name] = "exclusive", 0
            self._methods[object_name][method.name] = method
            if self._serving:  # also where it does already: its interface has changed
                self._expose(object_name)
            return function

        return decorate

    def run(self) -> None:
        """Serves until SIGINT or SIGTERM, then lets running calls end. Raises NameTaken."""
        if sys.platform == "win32":
            asyncio.run(self._run())
        else:
            import uvloop

            uvloop.run(self._run())

    async def _run(self) -> None:
        with on_stop_signal(self.stop):
            await self.serve()

    async def serve(self) -> None:
        """Serves until `stop`. Connects by itself outside of `async with worker`. Raises NameTaken."""
        if self._serving:
            await self._stopping.wait()
            return
        entering = asyncio.ensure_future(self._enter())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((entering, stopping), return_when=asyncio.FIRST_COMPLETED)
            if entering.done():
                await entering
                await stopping
        finally:
            for task in (entering, stopping):
                task.cancel()
            await asyncio.wait((entering, stopping))
            await self._leave()

    def stop(self) -> None:
        """Makes `serve` and `run` end."""
        self._stopping.set()

    async def __aenter__(self) -> Worker:
        """The objects are registered when this returns. Raises NameTaken."""
        try:
            await self._enter()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._leave()

    async def _enter(self) -> None:
        link = self.client.link
        if link.closed:
            raise ClientClosed("this worker has served already; make a new one")
        link.session.serving.server = self
        self._listen_for_direct_calls()
        await link.open_patiently()
        self._serving = self._takes_calls = True
        self._registrations = {name: link.loop.create_future() for name in self._objects}
        for name in self._objects:
            self._expose(name)
        await asyncio.gather(*self._registrations.values())

    def _listen_for_direct_calls(self) -> None:
        """Where that cannot be, all calls come through the broker."""
        direct = self._direct
        if direct is not None:
            try:
                direct.listen()
            except OSError as error:
                logger.debug("no direct calls: %s", error)
            else:
                self.client.link.session.serving.direct_server = direct

    async def _leave(self) -> None:
        """Takes no new calls, lets the running ones end, and closes."""
        link = self.client.link
        link.parting = True
        withdrawn: list[asyncio.Future[None]] = []
        if self._serving:
            for name in self._objects:
                withdrawn.append(_nobody(link.loop))
                link.session.withdraw(name, withdrawn[-1], link.loop.time(), keep_calls=True)
        self._serving = False
        try:
            if withdrawn:  # what the broker has sent until then is still answered
                await asyncio.wait(withdrawn, timeout=WITHDRAW_TIMEOUT)
            self._takes_calls = False
            if self._direct is not None:
                self._direct.send_back()
            await self._executor.drain(DRAIN_TIMEOUT)
            if self._direct is not None:
                await self._direct.let_go(PARTING_TIMEOUT)
        finally:
            self._executor.close()
            if self._direct is not None:
                self._direct.close()
            await link.close()
            if self._direct is not None:
                await self._direct.wait_closed()

    # What the session tells

    def call(self, call: Call, connection: Connection) -> None:
        methods = self._methods.get(call.object_name)
        if methods is None or not self._takes_calls:
            self._refuse(call, connection, "no_such_object", f"No such object '{call.object_name}'")
        elif (method := methods.get(call.method)) is not None:
            self._executor.call_method(method, call, connection)
        elif isinstance(target := self._objects[call.object_name], SharedObject):
            self._executor.call_shared(target, call, connection)
        else:
            known = ", ".join(methods) or "none"
            message = f"'{call.object_name}' has no method '{call.method}'; it has: {known}"
            self._refuse(call, connection, "no_such_method", message)

    def call_alone(self, call: Call, connection: Connection) -> Payload | None:
        methods = self._methods.get(call.object_name)
        method = methods.get(call.method) if methods is not None and self._takes_calls else None
        if method is not None and method.is_async:
            return self._executor.call_alone(method, call, connection)
        self.call(call, connection)
        return None

    def _refuse(self, call: Call, connection: Connection, code: str, message: str) -> None:
        self.client.link.session.serving.fail(call, connection, code, message)

    def cancel(self, call_id: str) -> None:
        self._executor.cancel_call(call_id)

    def credit(self, call_id: str, size: int) -> None:
        self._executor.add_credit(call_id, size)

    def registered(self, name: str, error: IPCError | None) -> None:
        first = self._registrations.pop(name, None)
        if first is not None and not first.done():
            if error is None:
                first.set_result(None)
            else:
                first.set_exception(error)
        elif error is not None:
            logger.warning("'%s' is not served: %s", name, error)
            if isinstance(error, NameTaken):
                self.client.link.loop.call_later(RETRY_NAME, self._ask_again, name)

    def interrupted(self) -> None:
        if self._direct is not None:
            self._direct.drop_all()
        self._executor.cancel()

    def _ask_again(self, name: str) -> None:
        if self._serving and name in self._objects and self.client.link.session.ready:
            self._expose(name)

    def _expose(self, name: str) -> None:
        target = self._objects[name]
        interface: Interface | None = None  # whoever answers to every name has nothing to tell
        if isinstance(target, _Functions):
            interface = replace(interface_of(target, self._methods[name]), type="", doc="")
        elif not isinstance(target, SharedObject):
            interface = interface_of(target, self._methods[name])
        self.client.link.session.serving.expose(name, *self._registered_as[name], interface)


class _Functions:
    """What stands behind an object that is made of single functions."""


def _nobody(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """A reply that nobody reads; a lost connection, which also takes the name away, is no news then."""
    future: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
