"""What a thread waits for, and until when. All times are of `time.monotonic`, None for ever."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from msgspec import Struct


class Answer(Struct, eq=False):
    """The reply to one question (`session.Reply`)."""

    _done: bool = False
    value: Any = None
    exception: BaseException | None = None

    def done(self) -> bool:
        return self._done

    def set_result(self, result: Any, /) -> None:
        self.value = result
        self._done = True

    def set_exception(self, exception: BaseException, /) -> None:
        self.exception = exception
        self._done = True

    def result(self) -> Any:
        if self.exception is not None:
            raise self.exception
        return self.value


def deadline_in(timeout: float | None, now: float | None = None) -> float | None:
    if timeout is None or timeout == math.inf:
        return None
    return (time.monotonic() if now is None else now) + timeout


def earlier(deadline: float | None, moment: float) -> float:
    return moment if deadline is None else min(deadline, moment)


def lock_timeout(deadline: float | None) -> float:
    """As `Lock.acquire` takes it."""
    return -1 if deadline is None else min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
