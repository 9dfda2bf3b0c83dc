"""Runs the methods that a worker is called for: on the loop, or in a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import MsgspecError

from ..context import set_current_call
from ..interface import Arguments, Method, SharedObject
from ..messages import Call
from ..protocol.connection import Connection
from ..protocol.payload import Unsendable, decode_payload, encode_payload, reason_of
from ..session import Session

logger = logging.getLogger("ipc_broker")


class Executor:
    """Every call that it is given is answered by the session, once, unless its connection is gone by then."""

    def __init__(self, session: Session, flush: Callable[[], None], threads: int) -> None:
        self._session = session
        self._flush = flush
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        # By the identity of the call; the name of each task is that of the object.
        self._running: dict[int, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def call_method(self, method: Method, call: Call, connection: Connection) -> None:
        try:
            positional, named = method.arguments(call.args)
        except (MsgspecError, RecursionError) as error:
            self._session.fail(call, connection, "invalid_args", reason_of(error))
            return
        if method.is_async:
            self._start(call, connection, method.function(*positional, **named))
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
        for task in self._running.values():
            if object_name is None or task.get_name() == object_name:
                task.cancel()

    async def drain(self, timeout: float) -> None:
        """Lets what runs end; cancels what has not ended after `timeout` seconds."""
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=timeout)
            if late:
                logger.warning("%d calls did not end within %g s and are cancelled", len(late), timeout)
                for task in late:
                    task.cancel()
                await asyncio.wait(late)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, call: Call, connection: Connection, result: Awaitable[Any]) -> None:
        # In Python 3.12 and later asyncio.eager_task_factory makes this quicker where users set it.
        task = asyncio.get_running_loop().create_task(self._answer(call, connection, result), name=call.object_name)
        if not task.done():
            self._running[id(call)] = task

    async def _answer(self, call: Call, connection: Connection, result: Awaitable[Any]) -> None:
        set_current_call(call)
        try:
            payload = encode_payload(await result)
        except asyncio.CancelledError:
            self._session.fail(call, connection, "cancelled", f"'{call.object_name}' cancelled '{call.method}'")
        except Exception as error:
            self._raised(call, connection, error)
        else:
            self._session.answer(call, connection, payload)
        finally:
            self._running.pop(id(call), None)
            if not self._running:
                self._flush()  # no other call is running whose answer could be written with this one

    def _call_inline(self, call: Call, connection: Connection, method: Method, arguments: Arguments) -> None:
        context = contextvars.copy_context()
        context.run(set_current_call, call)
        try:
            payload = encode_payload(context.run(method.function, *arguments[0], **arguments[1]))
        except Exception as error:
            self._raised(call, connection, error)
        else:
            self._session.answer(call, connection, payload)

    async def _call_in_thread(self, method: Method, arguments: Arguments) -> Any:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ipc-broker-worker")
        context = contextvars.copy_context()
        positional, named = arguments
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._pool, lambda: context.run(method.function, *positional, **named))

    def _raised(self, call: Call, connection: Connection, error: Exception) -> None:
        kind = type(error).__name__
        if isinstance(error, Unsendable):
            kind, message = "TypeError", f"'{call.method}' returned what cannot be sent: {error}"
        else:
            message = str(error) or kind
        logger.warning("'%s.%s' raised", call.object_name, call.method, exc_info=error)
        self._session.fail(call, connection, "remote_error", message, type=kind)
