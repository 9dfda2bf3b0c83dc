"""What a process inherits by a fork and must not use: the connections of its parent.

Two processes that talk over one connection would read each other's answers. In the child each client is told, gives up
its copies of the descriptors, so that the parent alone keeps its connections open, and refuses to be used.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """Something with a connection."""

    def forked(self) -> None:
        """This process is the child of the one that it belongs to. What locks it has may be held for ever here."""


_open: WeakSet[Inherited] = WeakSet()

disown_in_children = _open.add
"""`forked` of it will be called in each child of this process."""


def give_up(descriptor: int) -> None:
    """Ends this process's part in what stands behind it; the number stays taken, since an object means to close it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _in_child() -> None:
    for inherited in list(_open):
        inherited.forked()
    _open.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
