"""A transport that fails when the test wants it to."""

from __future__ import annotations

from collections.abc import Callable

from ipc_broker.sync.transport import Transport


class FaultyTransport:
    """As the real one, until a test sets what happens instead."""

    resumes = False

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.send_instead: Callable[[bytes], None] | None = None
        self.recv_instead: Callable[[], bytes] | None = None
        self.close = inner.close

    def send(self, data: bytes, timeout: float | None) -> None:
        if self.send_instead is not None:
            self.send_instead(data)
        else:
            self.inner.send(data, timeout)

    def recv(self, timeout: float | None) -> bytes:
        return self.recv_instead() if self.recv_instead is not None else self.inner.recv(timeout)

    def fail_after_half(self, error: BaseException) -> None:
        """The next `send` puts out one half of the data, and raises."""

        def send(data: bytes) -> None:
            self.send_instead = None
            self.inner.send(data[: len(data) // 2], 1)
            raise error

        self.send_instead = send
