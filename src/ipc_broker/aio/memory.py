"""`memory://NAME`: broker, clients and workers within one event loop, with no socket between them.

A connection is a pair of transports, each of which keeps what was sent to it until its protocol takes it, in a later turn
of the loop. They behave as sockets do: what was written is in order, and arrives also when it is followed by `close`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from ..address import Address
from ..credentials import Credentials
from ..errors import ConnectFailed, ListenFailed

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)

CAPACITY = 256 * 1024
"""Bytes on their way before a writer has to wait: about what Linux keeps for a Unix socket."""

CHUNK = 256 * 1024
"""Bytes given to a protocol at once, as by asyncio's own transports."""

_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, MemoryListener]] = WeakKeyDictionary()


class MemoryTransport(asyncio.Transport):
    """One end of a connection; `other` is the other one.

    For tests, an end can be out of order: while it is `held` nothing that was sent to it arrives, with a `latency` it
    arrives so many seconds later, and a `sieve` gets every piece before, and gives what is left of it.
    """

    other: MemoryTransport

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__({"credentials": _own_credentials()})
        self.latency = 0.0
        self.sieve: Callable[[bytes], bytes] | None = None
        self._held = False
        self._loop = loop
        self._protocol = protocol
        self._closing = False
        self._gone = False
        # What was sent to this end, and is not taken yet
        self._travelling: deque[bytes] = deque()
        self._latest = 0.0  # when the last of it arrives
        self._arrived = bytearray()
        self._pending = 0  # bytes of both
        self._end: tuple[Exception | None] | None = None  # what comes behind it
        self._end_told = False
        self._reading = True
        self._scheduled = False
        # What this end has sent
        self._end_sent = False
        self._high, self._low = 64 * 1024, 16 * 1024
        self._paused = False

    def __repr__(self) -> str:
        state = "closed" if self._gone else "closing" if self._closing else "held" if self._held else "open"
        return f"<MemoryTransport {state} incoming={self._pending} outgoing={self.other._pending}>"

    def __del__(self) -> None:
        if not self._closing:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=1)

    @property
    def held(self) -> bool:
        return self._held

    @held.setter
    def held(self, held: bool) -> None:
        self._held = held
        self._schedule()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # Writing

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._end_sent:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        if self.other._gone:
            self._break(BrokenPipeError("Broken pipe"))
            return
        self.other._receive(bytes(data))
        if not self._paused and self.get_write_buffer_size() > self._high:
            self._paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not (self._end_sent or self._closing):
            self._end_sent = True
            self.other._finish(None)

    def get_write_buffer_size(self) -> int:
        return max(self.other._pending - CAPACITY, 0)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def _taken(self) -> None:
        """The other end has taken something of what was written here."""
        left = self.get_write_buffer_size()
        if self._closing:
            if not left:
                self._lose(None)
        elif self._paused and left <= self._low:
            self._paused = False
            self._protocol.resume_writing()

    # Reading

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._schedule()

    def _receive(self, data: bytes) -> None:
        if self.sieve is not None:
            data = self.sieve(data)
        self._pending += len(data)
        now = self._loop.time()
        if self.latency or self._travelling:
            self._latest = max(now + self.latency, self._latest)  # nothing overtakes what was sent before
            self._travelling.append(data)
            self._loop.call_at(self._latest, self._arrive)
        else:
            self._arrived += data
            self._schedule()

    def _arrive(self) -> None:
        if self._travelling:
            self._arrived += self._travelling.popleft()
            self._schedule()

    def _finish(self, error: Exception | None) -> None:
        if self._end is None:
            self._end = (error,)
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self._closing:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self._held or not self._reading or self._closing:
            return
        try:
            if self._arrived:
                data = bytes(self._arrived[:CHUNK])
                del self._arrived[:CHUNK]
                self._pending -= len(data)
                self._protocol.data_received(data)
                self.other._taken()
                self._schedule()
            elif self._end is not None and not self._travelling and not self._end_told:
                self._end_told = True
                (error,) = self._end
                if error is not None:
                    self._break(error)
                elif not self._protocol.eof_received():
                    self.close()
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "a protocol failed", "exception": error, "transport": self, "protocol": self._protocol}
            )
            self._break(error)

    # Ending

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What was written still arrives."""
        if not self._closing:
            self._closing = True
            if not self.get_write_buffer_size():
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Of what was written, only what is on its way already arrives."""
        other = self.other
        if self.get_write_buffer_size() and not other._travelling:
            del other._arrived[CAPACITY:]
            other._pending = len(other._arrived)
        self._break(None)

    def cut(self, error: Exception) -> None:
        """Ends the connection for both ends, at once, and loses what is on its way."""
        for end in (self.other, self):
            end._closing = True
            end._lose(error)

    def _break(self, error: Exception | None) -> None:
        self._closing = True
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if self._gone:
            return
        self._gone = True
        other = self.other
        if other.get_write_buffer_size() and not other._held:
            other._break(BrokenPipeError("Broken pipe"))
        elif self._pending:
            other._finish(ConnectionResetError("Connection reset by peer"))
        elif not self._end_sent:
            other._finish(None)
        self._arrived.clear()
        self._travelling.clear()
        self._pending = 0
        self._protocol.connection_lost(error)


def _own_credentials() -> Credentials:
    if sys.platform == "win32":
        return Credentials(os.getpid())
    return Credentials(os.getpid(), os.getuid())


class MemoryListener:
    """Connects whoever opens its address in this event loop.

    `on_connection`, if set, is told of each connection before it is made: the name that the client gives itself, and both
    ends, the client's first. It may raise OSError.
    """

    def __init__(self, address: Address, factory: Callable[[], asyncio.Protocol]) -> None:
        self.address = address
        self.factory = factory
        self.on_connection: Callable[[str, MemoryTransport, MemoryTransport], None] | None = None
        self._names = _listeners.setdefault(asyncio.get_running_loop(), {})
        if address.location in self._names:
            raise ListenFailed(f"cannot listen on {address}: another broker listens there in this event loop")
        self._names[address.location] = self

    def close(self) -> None:
        """Its name is free again. May be called again."""
        if self._names.get(self.address.location) is self:
            del self._names[self.address.location]

    async def wait_closed(self) -> None:
        """A connection has its protocols in the moment that it is opened."""


def listener_at(name: str) -> MemoryListener | None:
    """The one that listens there in this event loop."""
    return _listeners.get(asyncio.get_running_loop(), {}).get(name)


def open_memory(address: Address, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
    """Raises ConnectFailed when nobody listens there in this event loop."""
    listener = listener_at(address.location)
    if listener is None:
        raise _nobody_at(address)
    loop = asyncio.get_running_loop()
    protocol, accepted = factory(), listener.factory()
    near, far = MemoryTransport(loop, protocol), MemoryTransport(loop, accepted)
    near.other, far.other = far, near
    if listener.on_connection is not None:
        try:
            listener.on_connection(getattr(protocol, "peer_name", ""), near, far)
        except OSError as error:
            near._closing = far._closing = True
            raise ConnectFailed(f"no connection to {address} ({error.strerror})") from error
    accepted.connection_made(far)
    protocol.connection_made(near)
    return protocol


def _nobody_at(address: Address) -> ConnectFailed:
    if any(address.location in names for names in list(_listeners.values())):
        return ConnectFailed(
            f"the broker at {address} runs in another event loop, and memory:// leads nowhere else; connect in that loop,"
            " or test with the fixture `ipc_broker`, whose broker has a real socket"
        )
    return ConnectFailed(
        f"no broker at {address} in this event loop; start one here, before anybody connects: `async with memory_broker:`"
        f' with the fixture, or `async with Broker(BrokerConfig(listen=["{address}"])):`'
    )
