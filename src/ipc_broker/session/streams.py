"""A stream as its consumer sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from msgspec import Raw

from ..errors import InvalidArgs
from ..protocol.codec import Codec
from ..protocol.pieces import Payload
from .session import Session
from .shell import STREAM_ENDED

WINDOW = 256 * 1024
"""Bytes of items that may be on their way to one consumer."""


class Incoming:
    """What came of one stream and was not taken (`StreamReply`). The shell says when to look: `changed` is called then."""

    def __init__(self, session: Session, object_name: str, method: str) -> None:
        self.object_name = object_name
        self.method = method
        self.call_id = ""
        self.codec: Codec = session.codec
        self.ended = False
        self.error: BaseException | None = None
        self.returned: Raw | None = None
        """The value of a method that does not stream."""
        self._session = session
        self._items: deque[tuple[Raw, int]] = deque()
        self._credit_due = 0

    def open(self, args: Payload, now: float | None, timeout: float | None, headers: Mapping[str, str] | None) -> None:
        """Calls the method. Raises what `Session.call` raises."""
        if not self._session.supports("streams"):
            raise InvalidArgs("this broker speaks the Rust crate's protocol: it has no streams", delivered="no")
        self.call_id = self._session.call(
            self.object_name, self.method, args, self, now, timeout, headers=headers, credit=WINDOW
        )

    @property
    def ready(self) -> bool:
        """Whether there is something to take, or the end."""
        return self.ended or bool(self._items)

    @property
    def pending(self) -> int:
        """Items that have come and were not taken."""
        return len(self._items)

    def take(self) -> Raw | None:
        """The next item, None when there is none; its bytes are given back to whoever sends."""
        if not self._items:
            return None
        value, size = self._items.popleft()
        self._credit_due += size
        if self._credit_due >= WINDOW // 2 and not self.ended:
            self._session.give_credit(self.call_id, self._credit_due)
            self._credit_due = 0
        return value

    def cancel(self) -> None:
        """Nobody takes the rest."""
        if not self.ended:
            self.ended = True
            self._session.cancel(self.call_id)
        self._items.clear()

    def changed(self) -> None:
        """For the shell to override: something came."""

    # What the session tells

    def done(self) -> bool:
        return self.ended

    def item(self, value: Raw, size: int) -> None:
        self._items.append((value, size))
        self.changed()

    def set_result(self, result: Any, /) -> None:
        if result is not STREAM_ENDED:
            self.returned = result
            self.error = InvalidArgs(
                f"'{self.object_name}.{self.method}' is no stream, it has returned one value; use call()",
                object=self.object_name,
                method=self.method,
            )
        self.ended = True
        self.changed()

    def set_exception(self, exception: BaseException, /) -> None:
        self.error = exception
        self.ended = True
        self.changed()
