"""`rob serve --reload`: the object in a process of its own, and in a new one when its sources change.

The new process stands by for the name before the old one gives it up, so that no caller finds nobody there; what the old
one was called for, it still answers. A process that cannot load the object says why, and the old one goes on.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from multiprocessing.connection import Connection, wait
from time import monotonic, sleep

from msgspec.structs import replace

from ..errors import NameTaken
from .changes import SourceFiles
from .failures import CannotLoad, CountNotReached
from .loading import folders_of, look_here_too
from .output import log_to_stderr, use_utf8
from .serving import Service, log_for_workers, run, serve_until_stopped, serving

LOOK_EVERY = 0.5
"""Seconds between two looks at the sources."""

STOP_TIMEOUT = 12.0
"""Seconds until a process that was asked to stop is killed: it may have calls to end."""

_SERVES, _FAILED, _TAKEN = "serves", "failed", "taken"


def serve_anew(service: Service) -> None:
    """Until Ctrl-C, SIGTERM or the timeout. Raises CannotLoad for a module that there is not, NameTaken, CountNotReached."""
    files = SourceFiles(folders_of(service.target))
    with _sigterm_as_ctrl_c():
        reloader = _Reloader(service, files)
        try:
            reloader.run()
        except KeyboardInterrupt:
            return
        finally:
            reloader.stop()


class _Reloader:
    def __init__(self, service: Service, files: SourceFiles) -> None:
        self._service = service
        self._files = files
        self._current: _Child | None = None
        """Has the name."""
        self._next: _Child | None = None
        """Is loading."""
        self._leaving: list[_Child] = []
        self._has_served = False

    def run(self) -> None:
        timeout = self._service.timeout
        end = inf if timeout is None else monotonic() + timeout
        self._start()
        while (now := monotonic()) < end:
            self._hear_for(min(LOOK_EVERY, end - now))
            if changed := self._files.changed():
                names = ", ".join(path.name for path in changed[:3]) + (", ..." if len(changed) > 3 else "")
                self._service.tell(f"{names} changed: loading {self._service.target} again")
                self._start()
        if not self._has_served:
            raise CountNotReached(f"nothing could be served within {timeout:g} s")

    def stop(self) -> None:
        for child in (self._current, self._next):
            self._dismiss(child)
        deadline = monotonic() + STOP_TIMEOUT
        for child in self._leaving:
            child.end(deadline)

    def _start(self) -> None:
        self._dismiss(self._next)
        service = self._service
        if self._has_served and service.mode == "exclusive":
            service = replace(service, mode="standby")  # behind the one that is to give the name up
        self._next = _Child(service)

    def _dismiss(self, child: _Child | None) -> None:
        if child is not None:
            child.ask_to_stop()
            self._leaving.append(child)

    def _hear_for(self, seconds: float) -> None:
        self._leaving = [child for child in self._leaving if child.process.is_alive()]
        children = [child for child in (self._current, self._next) if child is not None]
        if not children:
            sleep(seconds)
            return
        ready = wait([child.pipe for child in children], seconds)
        for child in children:
            if child.pipe in ready:
                self._hear(child)

    def _hear(self, child: _Child) -> None:
        what, text = child.news()
        if what == _SERVES:
            if child is self._next:
                self._serves(child)
            return
        if what == _TAKEN and not self._has_served:
            raise NameTaken(text)
        self._dismiss(child)
        if child is self._current:
            self._current = None
        else:
            self._next = None
        goes_on = "; what was there before goes on" if self._current is not None else ""
        self._service.tell(f"{text}{goes_on}; waiting for a change", "error")

    def _serves(self, child: _Child) -> None:
        self._dismiss(self._current)
        self._current, self._next = child, None
        service = self._service
        what = f"'{service.name}' ({service.target}) is served"
        if self._has_served:
            service.tell(f"{what} again")
        else:
            service.tell(f"{what} at {service.address}, and anew when it changes; Ctrl-C ends")
        self._has_served = True


class _Child:
    """One process that serves; it tells once that it does, or why it does not."""

    def __init__(self, service: Service) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve_in_child, args=(service, theirs))
        with _without_ctrl_c():  # which is for us, who tell it
            self.process.start()
        theirs.close()

    def news(self) -> tuple[str, str]:
        try:
            what, text = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(STOP_TIMEOUT)
            return _FAILED, f"the process that served it ended with status {self.process.exitcode}"
        return str(what), str(text)

    def ask_to_stop(self) -> None:
        """May be called again."""
        self.pipe.close()

    def end(self, deadline: float) -> None:
        self.process.join(max(deadline - monotonic(), 0.0))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


_SPAWN = multiprocessing.get_context("spawn")


def _serve_in_child(service: Service, pipe: Connection) -> None:
    use_utf8()
    if service.log_level:
        log_to_stderr(service.log_level)
    log_for_workers(service.log_level, as_json=service.json)
    look_here_too()
    sys.dont_write_bytecode = True  # which a change within the same second would not make stale
    threading.Thread(target=_stop_when_closed, args=(pipe,), daemon=True).start()

    def tell(what: str, text: str = "") -> None:
        try:
            pipe.send((what, text))
        except OSError:  # nobody is there any more, which the thread notices too
            return

    try:
        run(serve_until_stopped(serving(service, lambda: tell(_SERVES)), None))
    except CannotLoad as error:
        tell(_FAILED, str(error))
    except NameTaken as error:
        tell(_TAKEN, str(error))


def _stop_when_closed(pipe: Connection) -> None:
    """The other end is closed to stop this process, or because that process is gone."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        signal.raise_signal(signal.SIGTERM)  # which ends an import, and makes a worker stop in good order


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A process that is started meanwhile inherits that it does not end by Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
