"""`rob mock`: serves what was recorded, and answers as it was answered then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from msgspec import UNSET

from .. import RemoteError, current_call
from ..messages import Call
from ..protocol.connection import Connection
from .connecting import checked_address, note
from .failures import NoRecording
from .quantities import counted
from .replaying import read_lines
from .serving import AnnouncedWorker, log_for_workers, run, serve_until_stopped
from .takes import MethodTakes, Take, takes_of
from .words import Request


def mock(request: Request) -> None:
    """Until Ctrl-C, SIGTERM or the timeout. With `--delay` answers take as long as they took.

    Raises UsageError, NoRecording, NameTaken, ConnectFailed.
    """
    path = request.names[0]
    address = checked_address(request)
    objects = takes_of(read_lines(path))
    if not objects:
        raise NoRecording(f"{path} has no calls that could be answered")
    log_for_workers(request.log_level or "", as_json=request.json)
    takes = sum(take.answered for methods in objects.values() for one in methods.values() for take in one)
    names = ", ".join(f"'{name}'" for name in objects)
    told = f"serving {names} as in {counted(takes, 'recorded call')} at {address}; Ctrl-C ends"
    worker = MockWorker(address, objects, lambda: note("info", told, as_json=request.json), delays=request.delay)
    run(serve_until_stopped(worker, request.timeout))


class MockWorker(AnnouncedWorker):
    """`objects` are the takes by object and method."""

    def __init__(
        self,
        address: str,
        objects: Mapping[str, Mapping[str, MethodTakes]],
        when_served: Callable[[], object],
        *,
        delays: bool = False,
    ) -> None:
        super().__init__(address, "rob mock", when_served)
        self._takes = objects
        self._delays = delays
        self._chosen: dict[str, Take] = {}
        """By the id of the call, until its method begins."""
        for name, methods in objects.items():
            for method, takes in methods.items():
                function: partial[Any] = partial(self._stream if takes.streams else self._answer)
                function.__name__ = method  # type: ignore[attr-defined]  # under which it is exposed
                self.method(name)(function)

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
