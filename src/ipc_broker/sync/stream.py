"""A stream of items that a method yields elsewhere, for the blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, cast

from ..session import deadline_exceeded
from ..session.streams import Incoming
from ..session.values import value_of
from .link import Link
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
        start: Callable[[], tuple[Incoming, float | None]],
        object_name: str,
        method: str,
        returns: Any,
    ) -> None:
        """`start` gives what comes, and the seconds that it may take."""
        self.object = object_name
        self.method = method
        self._link = link
        self._start = start
        self._returns = returns
        self._timeout: float | None = None
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
        incoming = self._started()
        try:
            value = self._link.take(incoming, self._deadline)
        except TimeoutError:
            self.close()
            raise deadline_exceeded(self.object, self.method, self._timeout) from None
        if value is None:
            error, incoming.error = incoming.error, None
            raise error if error is not None else StopIteration
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
            self._link.cancel_stream(self._incoming)

    def _started(self) -> Incoming:
        if self._incoming is None:
            started = time.monotonic()
            self._incoming, self._timeout = self._start()
            self._deadline = deadline_in(self._timeout, started)
        return self._incoming

    def __del__(self) -> None:
        # A plain `for` that is left by `break` drops its iterator and says nothing.
        if self._incoming is not None and not self._incoming.ended:
            self._link.abandon_stream(self._incoming)
