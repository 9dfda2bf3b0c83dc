"""The direct connections of a blocking client. See session/direct.py.

One call at a time goes over each: the thread that makes it is alone with the socket. Others go through the broker meanwhile.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ..identity.direct import AVAILABLE, connect_to_worker
from ..messages import DirectOffer
from ..session.direct import Path
from .transport import NothingSent, SocketTransport
from .waiting import Answer, earlier

if TYPE_CHECKING:
    from ..session.shell import OwnMemory
    from .direct_transport import DirectTransport
    from .link import Link

LOOK_EVERY = 1.0
"""Seconds without an answer after which it is looked whether the broker has said that the worker is gone, or frozen."""


class DirectCalls:
    """Those of one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._directs = link.session.directs
        self._transports: dict[Path, DirectTransport] = {}
        self.transport_of = self._transports.get
        self._offers: list[tuple[str, DirectOffer]] = []
        self._new: list[Path] = []
        self.unfinished = False
        """Whether `connect` has something to do: somebody was named, or was asked to let us in."""
        if AVAILABLE and link.address.scheme == "unix":
            self._directs.most_in_flight = 1
            self._directs.on_offer = self._offered
            link.session.make_memory = _make_memory

    def _offered(self, object_name: str, offer: DirectOffer) -> None:
        """With the lock held."""
        self._offers.append((object_name, offer))
        self.unfinished = True

    def connect(self) -> None:
        """To all that were offered; waits for nobody. Where that fails, calls go through the broker as before."""
        with self._link.lock:
            self.unfinished = False
            offers, self._offers = self._offers, []
            new, self._new = self._new, []
            for path in [path for path in self._transports if path.is_done]:  # they are closed already
                del self._transports[path]
        for path in new:
            self._look_whether_let_in(path)
        for object_name, offer in offers:
            self._connect(object_name, offer)
        self._link.sender.flush_now()

    def _connect(self, object_name: str, offer: DirectOffer) -> None:
        from .direct_transport import DirectTransport  # here, since many programs call so seldom that they need none

        try:
            transport = DirectTransport(connect_to_worker(offer))
        except OSError:
            return
        with self._link.lock:
            path = self._directs.open(object_name, offer, _nothing, sys.maxsize, transport.close)
            if path is not None:
                self._transports[path] = transport
                transport.read_large_directly(path.connection)
                self._directs.begin(path)
        if path is None:
            transport.close()
            return
        try:
            transport.send(path.connection.data_to_send(), 0.0)
        except OSError:
            self.give_up(path)
        else:
            self._wait_on(path)

    def _look_whether_let_in(self, path: Path) -> None:
        transport = self._transports.get(path)
        if transport is None:
            return
        try:
            self._read(path, transport, 0.0)
        except TimeoutError:
            self._wait_on(path)
        except OSError:
            self.give_up(path)
        else:
            if path.is_new:
                self._wait_on(path)
            elif path.is_done:
                self.give_up(path)

    def _wait_on(self, path: Path) -> None:
        with self._link.lock:
            self._new.append(path)
            self.unfinished = True

    def exchange(self, path: Path, answer: Answer, deadline: float | None) -> bool:
        """Sends the call that is queued there, and waits for its answer. False: it goes through the broker after all.

        Raises TimeoutError; then, as after any other exception, `abandon` is to follow.
        """
        transport = self._transports.get(path)
        if transport is None:  # another thread has heard that it has ended
            return answer.done()
        data = path.connection.data_to_send()
        try:
            transport.send(data, None if deadline is None else deadline - time.monotonic())
            while not answer.done() and path.in_flight:
                self._wait(path, transport, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            self.failed(path, error, data)
        if path.is_done:
            self.give_up(path)
        return answer.done()

    def failed(self, path: Path, error: OSError, data: bytes) -> None:
        """`data` was to be sent."""
        with self._link.lock:
            if isinstance(error, NothingSent):
                path.connection.take_back(data)
            self._lose(path, error.strerror or str(error))

    def _wait(self, path: Path, transport: SocketTransport, deadline: float | None) -> None:
        until = earlier(deadline, time.monotonic() + LOOK_EVERY)
        try:
            self._read(path, transport, until - time.monotonic())
        except TimeoutError:
            if until == deadline:
                raise
            self._link.turns.look(lambda: not path.in_flight)

    def _read(self, path: Path, transport: SocketTransport, timeout: float) -> None:
        """Raises TimeoutError."""
        self.received(path, transport.recv(timeout))

    def received(self, path: Path, data: bytes) -> None:
        with self._link.lock:
            if not data:
                self._lose(path, "its worker closed the connection")
            elif not self._directs.receive_data(path, data):
                self._lose(path, "its worker sent what is no answer")

    def abandon(self, path: Path, call_id: str) -> None:
        """Nobody waits for the call any more. If it is on its way there the connection ends with it, before others may use it."""
        with self._link.lock:
            if self._directs.has_taken(call_id, path):
                self._link.session.cancel(call_id)
                self._lose(path, "the connection to its worker was given up")

    def give_up(self, path: Path) -> None:
        """Its worker ends what it does for us. May be called again."""
        with self._link.lock:
            self._lose(path, "the connection to its worker was given up")

    def _lose(self, path: Path, why: str) -> None:
        transport = self._transports.pop(path, None)
        if transport is not None:
            self._directs.lost(path, why)
            transport.close()

    def disown(self) -> None:
        for transport in self._transports.values():
            transport.disown()


def _make_memory(size: int) -> OwnMemory:
    from ..shared_memory import make_memory  # likewise

    return make_memory(size)


def _nothing() -> None:
    """Whoever calls sends it too."""
