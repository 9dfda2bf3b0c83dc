"""Memory that a client shares with who is at the other end of a connection, for what is large. See protocol/lending.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..messages import Memory

if TYPE_CHECKING:
    from ..protocol.connection import Connection
    from .shell import OwnMemory

MakeMemory = Callable[[int], "OwnMemory"]
"""Of so many bytes. Raises OSError."""


class Sharing:
    """Of one connection. There is none, whatever is called, without `make_memory`: the other end takes none, say."""

    def __init__(self, connection: Connection | None = None, make_memory: MakeMemory | None = None) -> None:
        self._connection = connection
        self._make = make_memory
        self._memory: OwnMemory | None = None
        """What the other end has been told of, and has not opened yet."""

    @property
    def is_to_come(self) -> bool:
        """Whether `begin` would do anything."""
        return self._make is not None

    def begin(self) -> None:
        """Something large has come or is to go: what follows it is lent, if it can be. May be called again."""
        make, self._make = self._make, None
        if make is not None and self._connection is not None:
            from ..protocol.lending import SIZE, Lending  # here, since few programs have anything large

            try:
                self._memory = make(SIZE)
            except OSError:  # it is sent, as before
                return
            self._connection.share(Lending(self._memory.memory, is_maker=True))
            self._connection.send(Memory(self._memory.descriptor, self._memory.token))

    def answered(self, message: Memory) -> None:
        """The other end has opened it, or cannot. Nobody else needs to be able to, from now on."""
        memory, self._memory = self._memory, None
        if memory is None or self._connection is None or self._connection.lending is None:
            return
        if message.token == memory.token:
            self._connection.lending.may_lend = True
        else:
            self._connection.share(None)
        memory.close()

    def end(self) -> None:
        """With the connection. What somebody has a view of stays until nobody has."""
        self._make = self._memory = None
        if self._connection is not None:
            self._connection.share(None)
