"""Runs the methods that a worker is called for: on the loop, or in a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from msgspec import MsgspecError

from ..context import set_current_call
from ..interface import Arguments, Method, SharedObject
from ..messages import Call
from ..protocol.connection import Connection
from ..protocol.payload import Unsendable, decode_payload, encode_payload, reason_of
from .link import Link

logger = logging.getLogger("ipc_broker")


class _Run(NamedTuple):
    task: asyncio.Task[None]
    call: Call
    connection: Connection
    result: Awaitable[Any]


class Executor:
    """Every call that it is given is answered by the session, once, unless its connection is gone by then."""

    def __init__(self, link: Link, threads: int) -> None:
        self._link = link
        self._session = link.session
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._running: dict[int, _Run] = {}  # by the identity of the call

    def __len__(self) -> int:
        return len(self._running)

    def call_method(self, method: Method, call: Call, connection: Connection) -> None:
        try:
            positional, named = method.arguments(call.args)
        except Exception as error:  # also whatever the types' own __init__ raise
            self._session.fail(call, connection, "invalid_args", reason_of(error))
            return
        if method.is_async:
            try:
                result = method.function(*positional, **named)
            except TypeError as error:  # **named may hold what Python itself fills in
                self._raised(call, connection, error)
            else:
                self._start(call, connection, result)
        elif method.inline:
            self._call_inline(call, connection, method, (positional, named))
        else:
            self._start(call, connection, self._call_in_thread(method, (positional, named)))

    def call_shared(self, target: SharedObject, call: Call, connection: Connection) -> None:
        try:
            args = decode_payload(call.args)
        except (MsgspecError, RecursionError) as error:
            self._session.fail(call, connection, "invalid_args", reason_of(error))
        else:
            self._start(call, connection, target.call(call.method, args))

    def cancel(self, object_name: str | None = None) -> None:
        """The `async def` calls of one object, or all. What runs in a thread goes on there, and its result is dropped."""
        for run in list(self._running.values()):
            if object_name is None or run.call.object_name == object_name:
                run.task.add_done_callback(partial(self._never_began, run))
                run.task.cancel()

    def _never_began(self, run: _Run, task: asyncio.Task[None]) -> None:
        if self._running.pop(id(run.call), None) is not None:
            if inspect.iscoroutine(run.result):
                run.result.close()
            self._cancelled(run.call, run.connection)

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
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, call: Call, connection: Connection, result: Awaitable[Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(call, connection, result), name=call.object_name)
        if not task.done():  # an eager task may be
            self._running[id(call)] = _Run(task, call, connection, result)

    async def _answer(self, call: Call, connection: Connection, result: Awaitable[Any]) -> None:
        set_current_call(call)
        try:
            payload = encode_payload(await result)
        except asyncio.CancelledError:
            self._cancelled(call, connection)
        except BaseException as error:  # sys.exit in a method ends the call, not the worker
            self._raised(call, connection, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            # No other call is running whose answer could be written with this one.
            self._link.urgent = len(self._running) <= 1
            self._session.answer(call, connection, payload)
        finally:
            self._running.pop(id(call), None)

    def _call_inline(self, call: Call, connection: Connection, method: Method, arguments: Arguments) -> None:
        context = contextvars.copy_context()
        context.run(set_current_call, call)
        try:
            payload = encode_payload(context.run(method.function, *arguments[0], **arguments[1]))
        except BaseException as error:
            self._raised(call, connection, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            self._session.answer(call, connection, payload)

    async def _call_in_thread(self, method: Method, arguments: Arguments) -> Any:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ipc-broker-worker")
        context = contextvars.copy_context()
        run = asyncio.get_running_loop().run_in_executor
        value, error = await run(self._pool, context.run, _outcome, method, arguments)
        if error is not None:
            raise error
        return value

    def _cancelled(self, call: Call, connection: Connection) -> None:
        self._session.fail(call, connection, "cancelled", f"'{call.object_name}' cancelled '{call.method}'")

    def _raised(self, call: Call, connection: Connection, error: BaseException) -> None:
        kind = type(error).__name__
        if isinstance(error, Unsendable):
            kind, message = "TypeError", f"'{call.method}' returned what cannot be sent: {error}"
        else:
            message = _text_of(error) or kind
        logger.warning("%r raised", f"{call.object_name}.{call.method}", exc_info=error)
        self._session.fail(call, connection, "remote_error", message, type=kind)


def _outcome(method: Method, arguments: Arguments) -> tuple[Any, BaseException | None]:
    """A future cannot hold every exception: not StopIteration, for one, and SystemExit would end the loop."""
    try:
        return method.function(*arguments[0], **arguments[1]), None
    except BaseException as error:
        return None, error


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:
        return f"<its text cannot be had: {type(another).__name__}>"
