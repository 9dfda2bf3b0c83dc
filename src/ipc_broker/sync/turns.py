"""How threads wait for what comes over one connection, without a thread that reads it for them.

Of those that wait, one is the leader and reads for all; when it has what it waits for, it hands the lead to one of the
followers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .waiting import lock_timeout

if TYPE_CHECKING:
    from .link import Link

Done = Callable[[], bool]

_AGAIN = 0.5
"""Seconds after which a follower looks for itself: whoever was to hand it the lead may have been interrupted by Ctrl-C."""


_LONGEST_LOOK = 64
"""Reads; others may wait for what comes then, and ask for more without end."""


class Turns:
    """Who leads, and who follows. Deadlines are of `time.monotonic`, None for ever."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.led = False
        """Whether a thread reads, or is about to. Set with the lock held; cleared without, where Ctrl-C cannot come between."""
        self.followers: list[tuple[Done, threading.Lock]] = []

    def wait_until(self, done: Done, deadline: float | None) -> bool:
        """Reads the connection, or waits for the thread that reads it, until `done`. False when the deadline has passed.

        Connects again where there is no connection. Raises ConnectionLost when the client was closed. `done` is asked
        under the link's lock.
        """
        link = self._link
        while True:
            if link.tidings.due:
                link.tidings.tell()  # while no lock is held and somebody else may lead: it may use this client
            until = link.sender.flush_rest(deadline) if link.sender.left_behind else deadline
            leads = came = was_called = passed = False
            called: threading.Lock | None = None
            try:
                with link.lock:
                    if done():
                        self._pass_lead()  # it may have been offered to us
                        return True
                    if not self.led:
                        leads = self.led = True
                    else:
                        called = threading.Lock()
                        called.acquire()
                        self.followers.append((done, called))
                if called is not None:
                    was_called = called.acquire(
                        timeout=min(lock_timeout(until), _AGAIN) if until is not None else _AGAIN
                    )
                    passed = not was_called and until is not None and time.monotonic() >= until
                else:
                    came, passed = self._lead(done, until)
            finally:  # Ctrl-C may come anywhere
                if leads:
                    self.led = False  # here, where nothing can come in between
                    self.hand_over()
                elif called is not None and not was_called:
                    self._leave(done, called)
                elif link.sender.left_behind:
                    link.sender.flush_now()
            if came:
                if link.tidings.due:
                    link.tidings.tell()
                return True
            if passed and until is deadline:
                return done()

    def _lead(self, done: Done, deadline: float | None) -> tuple[bool, bool]:
        """Whether it is `done`, and whether the deadline has passed; neither when something is to be told first."""
        link = self._link
        while not done():
            if not link.read(deadline):
                return done(), True
            if deadline is not None and time.monotonic() >= deadline:
                return done(), True
            if link.tidings.due and not link.tidings.being_told:
                return done(), False
        return True, False

    def look(self, enough: Done) -> None:
        """Reads what has come, without waiting, unless another thread reads."""
        link = self._link
        leads = False
        try:
            with link.lock:
                if not self.led:
                    leads = self.led = True
            reads = _LONGEST_LOOK if leads else 0
            while reads and not enough() and link.read(0.0):
                reads -= 1
        finally:
            if leads:
                self.led = False
                self.hand_over()

    def hand_over(self) -> None:
        """The lead, which was given up by setting `led`, to a thread that waits."""
        link = self._link
        with link.lock:
            if self.followers:
                self._pass_lead()
        if link.sender.left_behind:
            link.sender.flush_now()

    def call_done(self) -> None:
        """With the lock held: followers that have what they wait for go on."""
        for one in [*self.followers]:
            done, called = one
            if done():
                self.followers.remove(one)  # first: Ctrl-C may come between the two, and a lock is released once
                called.release()

    def _leave(self, done: Done, called: threading.Lock) -> None:
        """A follower does not wait any longer."""
        with self._link.lock:
            if (done, called) in self.followers:
                self.followers.remove((done, called))
            else:
                self._pass_lead()  # it was offered to us in this very moment

    def _pass_lead(self) -> None:
        if self.followers and not self.led:
            self.followers.pop(0)[1].release()
