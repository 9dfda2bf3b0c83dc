"""A transport that fails when the test wants it to."""

from __future__ import annotations

from collections.abc import Callable

from ipc_broker.sync.transport import Transport


class FaultyTransport:
    """As the real one, until a test sets what happens instead."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.send_instead: Callable[[bytes], None] | None = None
        self.recv_instead: Callable[[], bytes] | None = None
        self.refused = b""  # what `refuse` has kept
        self.close = inner.close
        self.disown = inner.disown

    @property
    def in_doubt(self) -> bool:
        return self.inner.in_doubt

    @in_doubt.setter
    def in_doubt(self, in_doubt: bool) -> None:
        self.inner.in_doubt = in_doubt

    def send(self, data: bytes, timeout: float | None) -> None:
        if self.send_instead is not None:
            self.send_instead(data)
        else:
            self.inner.send(data, timeout)

    def recv(self, timeout: float | None) -> bytes:
        if self.recv_instead is None:
            return self.inner.recv(timeout)
        data = self.recv_instead()
        self.in_doubt = True
        return data

    def refuse(self) -> None:
        """From now on the kernel takes nothing."""

        def send(data: bytes) -> None:
            self.refused += data
            raise TimeoutError("nothing is taken")

        self.send_instead = send

    def accept(self) -> None:
        """The kernel takes something again. What it did not take goes out with the next `send`."""

        def send(data: bytes) -> None:
            refused, self.refused, self.send_instead = self.refused, b"", None
            self.inner.send(refused + data, 1)

        self.send_instead = send

    def fail_after_half(self, error: BaseException) -> None:
        """The next `send` puts out one half of the data, and raises."""

        def send(data: bytes) -> None:
            self.send_instead = None
            self.inner.send(data[: len(data) // 2], 1)
            raise error

        self.send_instead = send
