"""The blocking client's transport over a Windows named pipe.

A pipe opened as a file serialises reads with writes and knows no time-out; overlapped I/O has neither fault. One read
may stay pending between calls of ``recv``, and one write between calls of ``send``, so that a time-out loses nothing.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import _winapi
    import contextlib
    import math
    import threading
    import time
    from collections import deque
    from typing import Final, Self

    from ..identity.pipe_ends import open_end
    from .transport import NothingSent

    READ_SIZE: Final = 65536
    WRITE_SIZE: Final = 65536  # of one write, which the kernel holds in memory that does not page
    LONGEST_WAIT: Final = 0xFFFFFFFE  # milliseconds; one more means for ever
    LONGEST_BUSY_WAIT: Final = 0.25  # seconds; Ctrl-C does not interrupt WaitNamedPipe
    ERROR_SEM_TIMEOUT: Final = 121
    ERROR_PIPE_NOT_CONNECTED: Final = 233

    class PipeTransport:
        """One connection to a named pipe. ``recv``, ``send`` and ``close`` may each be called from another thread."""

        def __init__(self, handle: int) -> None:
            self._lock = threading.Lock()  # held while an operation starts or ends, not while it is waited for
            self._handle: int | None = handle
            self.in_doubt = False  # whether bytes were taken from the system that `recv` may not have given
            self._reading: _winapi.Overlapped | None = None
            self._writing: _winapi.Overlapped | None = None
            self._unwritten: deque[bytes] = deque()  # behind the write that is pending

        @classmethod
        def connect(cls, name: str, timeout: float | None) -> Self:
            r"""Open ``\\.\pipe\NAME``, waiting up to ``timeout`` seconds while all its instances are taken.

            Raises FileNotFoundError at once when there is no such pipe, TimeoutError when it stayed busy.
            """
            path = rf"\\.\pipe\{name}"
            deadline = _deadline(timeout)
            while True:
                try:
                    return cls(open_end(path))
                except OSError as error:
                    if error.winerror != _winapi.ERROR_PIPE_BUSY:
                        raise
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(f"the pipe {path} stayed busy for {timeout} s")
                try:
                    _winapi.WaitNamedPipe(path, max(1, min(_milliseconds(deadline), int(LONGEST_BUSY_WAIT * 1000))))
                except OSError as error:
                    if error.winerror != ERROR_SEM_TIMEOUT:
                        raise

        def send(self, data: bytes, timeout: float | None) -> None:
            """Write all of ``data``.

            One call at a time; a ``recv`` may wait meanwhile. Raises TimeoutError when the other end does not take it, and
            loses nothing by it: the next call goes on with the rest. Any other OSError means that the connection is gone;
            NothingSent that none of ``data`` has left.
            """
            deadline = _deadline(timeout)
            idle = self._writing is None and not self._unwritten
            self._unwritten += [data[start : start + WRITE_SIZE] for start in range(0, len(data), WRITE_SIZE)]
            while True:
                with self._lock:
                    handle = self._open_handle()
                    if self._writing is None:
                        if not self._unwritten:
                            return
                        try:
                            self._writing, _ = _winapi.WriteFile(handle, self._unwritten.popleft(), overlapped=True)
                        except OSError as error:
                            if idle:
                                raise NothingSent(*error.args) from error
                            raise
                        idle = False
                    operation = self._writing
                if not _wait(operation, deadline):
                    raise TimeoutError(f"{len(data)} bytes could not be written to the pipe within {timeout} s")
                with self._lock:
                    self._open_handle()
                    self._writing = None
                    operation.GetOverlappedResult(False)  # all of it, or OSError

        def recv(self, timeout: float | None) -> bytes:
            """Wait up to ``timeout`` seconds for at least one byte; ``b""`` means that the other end has closed.

            One call at a time. Raises TimeoutError when nothing came, and loses nothing by it.
            """
            with self._lock:
                handle = self._open_handle()
                if self._reading is None:
                    try:
                        self._reading, _ = _winapi.ReadFile(handle, READ_SIZE, overlapped=True)
                    except OSError as error:
                        return _end_of_stream(error)
                operation = self._reading
            if not _wait(operation, _deadline(timeout)):
                raise TimeoutError(f"nothing came from the pipe within {timeout} s")
            with self._lock:
                self._open_handle()
                self.in_doubt = True
                self._reading = None
                try:
                    operation.GetOverlappedResult(False)
                except OSError as error:
                    return _end_of_stream(error)
                return bytes(operation.getbuffer() or b"")

        def close(self) -> None:
            """Close the pipe. A ``recv`` or ``send`` that waits in another thread raises ConnectionAbortedError."""
            with self._lock:
                handle, self._handle = self._handle, None
                if handle is None:
                    return
                for operation in (self._reading, self._writing):
                    if operation is not None:
                        operation.cancel()
                        with contextlib.suppress(OSError):  # it failed before it could be cancelled
                            operation.GetOverlappedResult(True)
                _winapi.CloseHandle(handle)

        @property
        def handle(self) -> int:
            """For who asks Windows about the pipe. Raises ConnectionAbortedError when it was closed."""
            return self._open_handle()

        def _open_handle(self) -> int:
            if self._handle is None:
                raise ConnectionAbortedError("the pipe was closed by this program")
            return self._handle

        def disown(self) -> None:
            """Windows has no fork."""

    def _end_of_stream(error: OSError) -> bytes:
        if error.winerror in (_winapi.ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED):
            return b""
        raise error

    def _deadline(timeout: float | None) -> float | None:
        return None if timeout is None else time.monotonic() + timeout

    def _milliseconds(deadline: float | None) -> int:
        if deadline is None:
            return LONGEST_WAIT
        return min(max(0, math.ceil((deadline - time.monotonic()) * 1000)), LONGEST_WAIT)

    def _wait(operation: _winapi.Overlapped, deadline: float | None) -> bool:
        """Whether the operation ended by then. Ctrl-C interrupts this wait in the main thread."""
        while True:
            try:
                ended = _winapi.WaitForMultipleObjects([operation.event], False, _milliseconds(deadline))
            except InterruptedError:  # a signal's handler ran and did not raise
                continue
            if ended != _winapi.WAIT_TIMEOUT:
                return True
            if deadline is not None:
                return False
