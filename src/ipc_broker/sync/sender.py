"""How several threads write to one connection."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from ..protocol.connection import Connection
from ..session.streams import Incoming
from .transport import NothingSent
from .waiting import lock_timeout

if TYPE_CHECKING:
    from .link import Link

_RETRY = 0.05  # seconds, while the kernel or another thread does not take what is to be sent


class Sender:
    """One thread at a time writes what all have queued. Deadlines are of `time.monotonic`, None for ever."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._busy = False
        self._waiting: list[threading.Lock] = []
        self.left_behind = False
        """Something is to be sent by whoever sends now, or waits next."""
        self._abandoned: deque[Incoming] = deque()  # streams that are to be cancelled then

    def flush(self, deadline: float | None) -> None:
        """Raises TimeoutError when the kernel does not take all in time; the next flush goes on with the rest."""
        while True:
            freed = self._send_all(deadline)
            if freed is None:
                if not self.left_behind:
                    return
            elif deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"the broker at {self._link.address} takes nothing")
            else:  # not for ever: whoever sends may be interrupted before it calls us
                freed.acquire(timeout=min(_RETRY, lock_timeout(deadline)) if deadline is not None else _RETRY)

    def _send_all(self, deadline: float | None) -> threading.Lock | None:
        """What is queued; or, while another thread sends, what that releases when it has done so."""
        link = self._link
        mine = False
        connection: Connection | None = None
        data = b""
        try:
            with link.lock:
                if self._busy:
                    freed = threading.Lock()
                    freed.acquire()
                    self._waiting.append(freed)
                    return freed
                mine = self._busy = True  # in this order, and nowhere else: Ctrl-C may come anywhere
                rest, self.left_behind = self.left_behind, False
                while self._abandoned:
                    self._abandoned.popleft().cancel()
                transport, connection = link.transport, link.session.connection
                data = connection.data_to_send() if connection is not None else b""
            if connection is not None and transport is not None and (data or rest):
                transport.send(data, None if deadline is None else deadline - time.monotonic())
        except TimeoutError:
            self.left_behind = True
            raise
        except NothingSent as error:
            assert connection is not None
            link.lose(error.strerror or str(error), connection, unsent=data)
        except OSError as error:
            assert connection is not None
            link.lose(error.strerror or str(error), connection, torn=True)
        except BaseException:
            if connection is not None:  # part of a frame may be out, and nobody knows how much of it
                link.lose("sending was interrupted", connection, torn=True)
            raise
        finally:
            if mine:
                self._busy = False
                if self._waiting:
                    self._call_waiting()
        return None

    def _call_waiting(self) -> None:
        with self._link.lock:
            waiting, self._waiting = self._waiting, []
        for freed in waiting:
            freed.release()

    def flush_now(self) -> None:
        """What cannot be sent at once is left behind."""
        self.left_behind = True  # first: whoever sends now looks at it afterwards
        try:
            self.flush(time.monotonic())
        except TimeoutError:
            return

    def flush_rest(self, deadline: float | None) -> float | None:
        """Sends what was left behind. When that is not all, it is tried again at the time that it gives."""
        self.flush_now()
        if not self.left_behind:
            return deadline
        retry = time.monotonic() + _RETRY
        return retry if deadline is None or retry < deadline else deadline

    def abandon(self, incoming: Incoming) -> None:
        """Cancels a stream, for a finalizer: it may run in the middle of anything, and while its thread holds our locks."""
        self._abandoned.append(incoming)
        self.left_behind = True
        if self._link.lock.acquire(blocking=False):
            self._link.lock.release()
            self.flush_now()
