"""`rob mock`: serves what was recorded, and answers as it was answered then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from msgspec import UNSET

from .. import RemoteError, current_call
from ..aio.worker import Worker
from ..errors import IPCError
from ..messages import Call
from ..protocol.connection import Connection
from .connecting import checked_address, note
from .failures import NoRecording
from .quantities import counted
from .replaying import read_lines
from .serving import log_for_workers, run, serve_until_stopped
from .takes import MethodTakes, Take, takes_of
from .words import Request


def mock(request: Request) -> None:
    """Until Ctrl-C or SIGTERM. With `--delay` answers take as long as they took. Raises NoRecording, NameTaken."""
    path = request.names[0]
    address = checked_address(request)
    objects = takes_of(read_lines(path))
    if not objects:
        raise NoRecording(f"{path} has no calls that could be answered")
    log_for_workers(request.log_level or "", as_json=request.json)

    def tell(message: str) -> None:
        note("info", message, as_json=request.json)

    run(serve_until_stopped(MockWorker(address, objects, tell, delays=request.delay)))


class MockWorker(Worker):
    """`objects` are the takes by object and method; `tell` is told when all are served."""

    def __init__(
        self,
        address: str,
        objects: Mapping[str, Mapping[str, MethodTakes]],
        tell: Callable[[str], None],
        *,
        delays: bool = False,
    ) -> None:
        super().__init__(address, name="rob mock")
        self._takes = objects
        self._tell = tell
        self._delays = delays
        self._chosen: dict[str, Take] = {}
        """By the id of the call, until its method begins."""
        self._unserved = set(objects)
        for name, methods in objects.items():
            for method, takes in methods.items():
                function: partial[Any] = partial(self._stream if takes.streams else self._answer)
                function.__name__ = method  # type: ignore[attr-defined]  # under which it is exposed
                self.method(name)(function)

    def registered(self, name: str, error: IPCError | None) -> None:
        super().registered(name, error)
        if error is None:
            self._unserved.discard(name)
            if not self._unserved:
                self._unserved = set(self._takes)
                names = ", ".join(f"'{name}'" for name in self._takes)
                takes = sum(
                    take.answered for methods in self._takes.values() for one in methods.values() for take in one
                )
                self._tell(f"serving {names} as in {counted(takes, 'recorded call')} at {self.address}; Ctrl-C ends")

    def call(self, call: Call, connection: Connection) -> None:
        takes = self._takes.get(call.object_name, {}).get(call.method)
        if takes is None:
            super().call(call, connection)  # which says what there is
            return
        serving = self.client.link.session.serving
        args = connection.codec.decode_any(call.args)
        take = takes.next(args)
        if take is None:
            serving.fail(call, connection, "invalid_args", takes.refusal(args))
        elif take.end is not None and take.end.kind == "error" and not take.items:
            end = take.end
            data = UNSET if end.payload in (UNSET, None) else connection.codec.encode_payload(end.payload)

            def fail() -> None:
                serving.fail(call, connection, end.code, end.message, type=end.type, data=data)

            self.client.link.loop.call_later(end.seconds if self._delays else 0.0, fail)
        else:
            self._chosen[call.call_id] = take
            super().call(call, connection)

    def cancel(self, call_id: str) -> None:
        self._chosen.pop(call_id, None)  # its method may never begin
        super().cancel(call_id)

    async def _answer(self, *args: Any, **named: Any) -> Any:
        take = self._chosen.pop(current_call().call_id)
        assert take.end is not None
        if self._delays:
            await asyncio.sleep(take.end.seconds)
        return take.end.payload

    async def _stream(self, *args: Any, **named: Any) -> AsyncIterator[Any]:
        take = self._chosen.pop(current_call().call_id)
        began = self.client.link.loop.time()

        async def until(seconds: float) -> None:
            if self._delays:
                await asyncio.sleep(began + seconds - self.client.link.loop.time())

        for seconds, item in take.items:
            await until(seconds)
            yield item
        end = take.end
        if end is None or end.kind == "cancel":  # its caller had enough; nobody knows what would have come
            return
        await until(end.seconds)
        if end.kind == "error":
            error: RemoteError = type(end.type or "RemoteError", (RemoteError,), {})(end.message, data=end.payload)
            raise error
        if end.payload is not UNSET:  # to a caller that took no stream the items came as one list
            for item in end.payload if isinstance(end.payload, list) else [end.payload]:
                yield item
