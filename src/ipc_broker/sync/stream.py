"""A stream of items that a method yields elsewhere, for the blocking client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar, cast

from ..context import inherit
from ..errors import ConnectionLost, NoSuchObject
from ..session import deadline_exceeded
from ..session.streams import Incoming
from ..session.values import payload_of, value_of
from .calls import Calls
from .link import Link
from .retrying import wait_to_retry
from .waiting import deadline_in

T = TypeVar("T")


class Stream(Generic[T]):
    """What `client.stream` gives: iterate over it, in `with` or plainly.

    The method runs from the first item that is asked for, or from entering the block, and no further ahead than a window of
    256 KiB. Leaving the loop or the block cancels it. What the method raises is raised behind its last item.
    """

    def __init__(
        self,
        link: Link,
        calls: Calls,
        object_name: str,
        method: str,
        args: Any,
        returns: Any,
        *,
        timeout: float | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        self.object = object_name
        self.method = method
        self._link = link
        self._calls = calls
        self._args = args
        self._returns = returns
        self._timeout = timeout
        self._headers = headers
        self._begun = False  # an item has come
        self._deadline: float | None = None
        self._incoming: Incoming | None = None

    def __repr__(self) -> str:
        incoming = self._incoming
        if incoming is None:
            return f"<Stream {self.object!r} {self.method!r} not started>"
        state = "ended" if incoming.ended else "open"
        return f"<Stream {self.object!r} {self.method!r} {state} pending={incoming.pending}>"

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            incoming = self._started()
            try:
                value = self._calls.take(incoming, self._deadline)
            except TimeoutError:
                self.close()
                raise deadline_exceeded(self.object, self.method, self._timeout) from None
            if value is not None:
                break
            error, incoming.error = incoming.error, None
            if self._begun or not isinstance(error, ConnectionLost | NoSuchObject):
                raise error if error is not None else StopIteration
            wait_to_retry(self._link, self._calls, error, self._deadline)
            self._incoming = None
        self._begun = True
        return cast(T, value_of(value, incoming.codec, self._returns, self.object, self.method))

    @property
    def returned(self) -> bool:
        """Whether the method has returned a value instead of streaming; `value` is that."""
        return self._incoming is not None and self._incoming.returned is not None

    @property
    def value(self) -> Any:
        incoming = self._incoming
        if incoming is None or incoming.returned is None:
            raise ValueError(f"'{self.object}.{self.method}' has returned no value")
        return value_of(incoming.returned, incoming.codec, self._returns, self.object, self.method)

    def close(self) -> None:
        """Cancels the method, if it still runs. May be called again."""
        if self._incoming is not None and not self._incoming.ended:
            self._calls.cancel_stream(self._incoming)

    def _started(self) -> Incoming:
        if self._incoming is None:
            self._incoming = self._opened()
        return self._incoming

    def _opened(self) -> Incoming:
        given = self._timeout if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)
        self._timeout, headers = inherit(given, self._headers, time.monotonic, self.object, self.method)
        self._deadline = deadline_in(self._timeout)
        while True:
            self._link.wait_ready(self._deadline)
            incoming = Incoming(self._link.session, self.object, self.method)
            payload = payload_of(self._args, incoming.codec, self.object, self.method)
            try:
                self._calls.open_stream(incoming, payload, self._timeout, self._deadline, headers)
                return incoming
            except ConnectionLost as error:
                if error.delivered != "no":
                    raise

    def __del__(self) -> None:
        # A plain `for` that is left by `break` drops its iterator and says nothing.
        if self._incoming is not None and not self._incoming.ended:
            self._calls.abandon_stream(self._incoming)
