"""Runs the methods that a worker is called for: on the loop, or in a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from msgspec import UNSET, MsgspecError, Raw, UnsetType

from ..context import RunningCall, set_running_call
from ..errors import CallError
from ..interface import Arguments, Method, SharedObject
from ..messages import Call
from ..protocol.connection import Connection
from ..protocol.payload import Unsendable, reason_of
from ..protocol.pieces import Payload
from ..session import ItemTooLarge
from .link import Link
from .starting import Starter
from .streaming import Outgoing

logger = logging.getLogger("ipc_broker")

_STREAMED = object()
"""The result of a call whose items have gone out already."""


class _Run(NamedTuple):
    task: asyncio.Task[None]
    call: Call
    connection: Connection
    result: Awaitable[Any]
    stream: Outgoing | None
    deadline: float | None


class Executor:
    """Every call that it is given is answered by the session, once, unless its connection is gone by then."""

    def __init__(self, link: Link, threads: int) -> None:
        self._link = link
        self._serving = link.session.serving
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._starter: Starter | None = None
        self._running: dict[str, _Run] = {}  # by the id of the call
        self._starting: str | None = None
        """The object whose method takes its first step; None: it was cancelled in that."""
        self._alone: Call | None = None
        """The call that takes its first step, if its result is to be given to whoever has begun it."""
        self._result: Payload | None = None

    def __len__(self) -> int:
        return len(self._running)

    def call_method(self, method: Method, call: Call, connection: Connection) -> None:
        try:
            arguments = method.arguments(call.args, connection.codec)
        except Exception as error:  # also whatever the types' own __init__ raise
            self._serving.fail(call, connection, "invalid_args", reason_of(error))
            return
        if method.is_async:
            try:
                result = method.function(*arguments[0], **arguments[1])
            except TypeError as error:  # **named may hold what Python itself fills in
                self._raised(call, connection, error)
            else:
                self._start(call, connection, result)
        elif method.is_stream:
            self._start_stream(method, arguments, call, connection)
        elif method.inline:
            self._call_inline(call, connection, method, arguments)
        else:
            self._start(call, connection, self._in_thread(partial(method.function, *arguments[0], **arguments[1])))

    def call_alone(self, method: Method, call: Call, connection: Connection) -> Payload | None:
        """The result of an `async def` that does not wait, for its caller to be answered with; else as `call_method`."""
        self._alone = call
        try:
            self.call_method(method, call, connection)
        finally:
            self._alone = None
        result, self._result = self._result, None
        return result

    def call_shared(self, target: SharedObject, call: Call, connection: Connection) -> None:
        try:
            args = connection.codec.decode_any(call.args)
        except (MsgspecError, ValueError, RecursionError) as error:
            self._serving.fail(call, connection, "invalid_args", reason_of(error))
        else:
            self._start(call, connection, target.call(call.method, args))

    def cancel_call(self, call_id: str) -> None:
        """If it still runs."""
        run = self._running.get(call_id)
        if run is not None:
            self._cancel(run)

    def cancel(self, object_name: str | None = None) -> None:
        """The `async def` calls of one object, or all. What runs in a thread goes on there, and its result is dropped."""
        if object_name is None or self._starting == object_name:
            self._starting = None
        for run in list(self._running.values()):
            if object_name is None or run.call.object_name == object_name:
                self._cancel(run)

    def cancel_of(self, connection: Connection) -> None:
        """Those that came over this connection."""
        for run in list(self._running.values()):
            if run.connection is connection:
                self._cancel(run)

    def end_overdue(self, now: float) -> None:
        """Those that came directly and whose time is over: their callers may not be able to say so, and the broker cannot."""
        for run in list(self._running.values()):
            is_over = run.deadline is not None and run.deadline <= now and self._came_directly(run.connection)
            if is_over and not run.task.cancelling():
                self._cancel(run)

    def _came_directly(self, connection: Connection) -> bool:
        return connection is not self._link.session.connection

    def add_credit(self, call_id: str, size: int) -> None:
        run = self._running.get(call_id)
        if run is not None and run.stream is not None:
            run.stream.add_credit(size)

    def _cancel(self, run: _Run) -> None:
        run.task.add_done_callback(partial(self._never_began, run))
        run.task.cancel()

    def _never_began(self, run: _Run, task: asyncio.Task[None]) -> None:
        if self._running.get(run.call.call_id) is run:
            del self._running[run.call.call_id]
            if inspect.iscoroutine(run.result):
                run.result.close()
            self._cancelled(run.call, run.connection, run.deadline)

    async def wait_for_direct(self) -> None:
        """Until the calls have ended that came directly and run now."""
        running = [run.task for run in self._running.values() if self._came_directly(run.connection)]
        if running:
            await asyncio.wait(running)

    async def drain(self, timeout: float) -> None:
        """Lets what runs end; cancels what has not ended after `timeout` seconds, and waits as long for that."""
        if self._running:
            _, late = await asyncio.wait([run.task for run in self._running.values()], timeout=timeout)
            if late:
                logger.warning("%d calls did not end within %g s and are cancelled", len(late), timeout)
                self.cancel()
                _, stuck = await asyncio.wait(late, timeout=timeout)
                if stuck:
                    logger.warning("%d calls catch their cancellation and are left alone", len(stuck))

    def close(self) -> None:
        """Nothing more is to be started. May be called again."""
        if self._starter is not None:
            self._starter.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(
        self, call: Call, connection: Connection, result: Awaitable[Any], stream: Outgoing | None = None
    ) -> None:
        loop = self._link.loop
        deadline = loop.time() + call.timeout_ms / 1000 if call.timeout_ms else None
        answering = self._answer(call, connection, result, deadline)
        if self._starter is None:
            self._starter = Starter(loop)
        self._starting = call.object_name
        context = contextvars.copy_context()
        task: asyncio.Task[None] | None
        if self._link.consumer_woken:  # it gets its turn first
            task = loop.create_task(answering, name=call.object_name, context=context)
        else:
            task = self._starter.start(answering, context, call.object_name)
        if task is not None and not task.done():  # an eager task may be
            run = self._running[call.call_id] = _Run(task, call, connection, result, stream, deadline)
            if self._starting is None:
                self._cancel(run)

    def _start_stream(self, method: Method, arguments: Arguments, call: Call, connection: Connection) -> None:
        """To a caller that takes no stream the items come as one list."""
        make = partial(method.function, *arguments[0], **arguments[1])
        stream = Outgoing(self._serving, call, connection)
        if not call.credit:
            result = _list_of(make()) if method.is_async_stream else self._list_in_thread(stream, make)
        elif method.is_async_stream:
            result = _streamed(stream, make())
        else:
            result = self._stream_from_thread(stream, make)
        self._start(call, connection, result, stream)

    async def _list_in_thread(self, stream: Outgoing, make: Callable[[], Any]) -> Any:
        try:
            return await self._in_thread(partial(stream.list_in_thread, make))
        finally:
            stream.give_up()

    async def _stream_from_thread(self, stream: Outgoing, make: Callable[[], Any]) -> Any:
        try:
            await self._in_thread(partial(stream.send_all_from_thread, make))
        finally:
            stream.give_up()  # however this ends, the thread must not wait for ever
        return _STREAMED

    async def _answer(self, call: Call, connection: Connection, result: Awaitable[Any], deadline: float | None) -> None:
        set_running_call(RunningCall(call, deadline, self._serving.caller_of))
        try:
            value = await result
            payload = None if value is _STREAMED else connection.codec.encode_value(value)
        except asyncio.CancelledError:
            self._cancelled(call, connection, deadline)
        except BaseException as error:  # sys.exit in a method ends the call, not the worker
            self._raised(call, connection, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            if payload is None:
                self._serving.end_stream(call, connection)
            elif self._alone is call:
                self._result = payload
            else:
                # No other call is running whose answer could be written with this one.
                self._link.writer.urgent = len(self._running) <= 1
                self._serving.answer(call, connection, payload)
        finally:
            run = self._running.get(call.call_id)
            if run is not None and run.call is call:
                del self._running[call.call_id]

    def _enter(self, call: Call) -> None:
        deadline = self._link.loop.time() + call.timeout_ms / 1000 if call.timeout_ms else None
        set_running_call(RunningCall(call, deadline, self._serving.caller_of))

    def _call_inline(self, call: Call, connection: Connection, method: Method, arguments: Arguments) -> None:
        context = contextvars.copy_context()
        context.run(self._enter, call)
        try:
            value = context.run(method.function, *arguments[0], **arguments[1])
            payload = connection.codec.encode_value(value)
        except BaseException as error:
            context.run(self._raised, call, connection, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            self._serving.answer(call, connection, payload)

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ipc-broker-worker")
        context = contextvars.copy_context()
        run = asyncio.get_running_loop().run_in_executor
        outcome = await run(self._pool, context.run, _outcome, function)
        value, error = outcome
        outcome.clear()  # the thread's frames may still have it, and the exception them
        if error is not None:
            try:
                raise error
            finally:
                del error  # or it would hold this frame, and its own, and views that the method was called with
        return value

    def _cancelled(self, call: Call, connection: Connection, deadline: float | None) -> None:
        if deadline is not None and self._came_directly(connection) and deadline <= self._link.loop.time():
            why = f"'{call.object_name}' did not answer '{call.method}' within {call.timeout_ms / 1000:g} s"
            self._serving.fail(call, connection, "deadline_exceeded", why)
            return
        self._serving.fail(call, connection, "cancelled", f"'{call.object_name}' cancelled '{call.method}'")

    def _raised(self, call: Call, connection: Connection, error: BaseException) -> None:
        if isinstance(error, ItemTooLarge):
            self._serving.fail(call, connection, "too_large", str(error))
            return
        kind = type(error).__name__
        data: Raw | UnsetType = UNSET
        if isinstance(error, Unsendable):
            kind, message = "TypeError", f"'{call.method}' returned what cannot be sent: {error}"
        else:
            message = _text_of(error) or kind
            data = _data_of(error, connection)
        logger.warning("%r raised", f"{call.object_name}.{call.method}", exc_info=error)
        self._serving.fail(call, connection, "remote_error", message, type=kind, data=data)


def _outcome(function: Callable[[], Any]) -> list[Any]:
    """What it gave, and what it raised.

    A future cannot hold every exception: not StopIteration, for one, and SystemExit would end the loop.
    """
    try:
        return [function(), None]
    except BaseException as error:
        return [None, error]


async def _list_of(items: Any) -> list[Any]:
    return [item async for item in items]


async def _streamed(stream: Outgoing, items: AsyncGenerator[Any, None]) -> Any:
    await stream.send_all(items)
    return _STREAMED


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:
        return f"<its text cannot be had: {type(another).__name__}>"


def _data_of(error: BaseException, connection: Connection) -> Raw | UnsetType:
    """What a method attached to the exception that it raised: `raise RemoteError("...", data={...})`."""
    data = error.data if isinstance(error, CallError) else None
    if data is None:
        return UNSET
    try:
        return connection.codec.encode_payload(data)
    except Unsendable:
        return UNSET
