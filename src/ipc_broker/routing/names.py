"""Which connections own which objects' names, and the calls that wait for one of them to have room."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..messages import Call
from .peer import Peer

if TYPE_CHECKING:
    from .interfaces import KnownInterface
    from .pending import PendingCall
    from .service import Service

BROKER_OBJECT = "rob"
"""The broker's own object; nobody else can register it or publish as it."""

MODES = ("exclusive", "shared", "standby")


class Registration:
    """One connection that serves a name. `concurrency` is how many calls it takes at once, 0 for any number."""

    __slots__ = ("concurrency", "interface", "mode", "name", "peer", "running")

    def __init__(self, peer: Peer, name: Name, mode: str, concurrency: int) -> None:
        self.peer = peer
        self.name = name
        self.mode = mode
        self.concurrency = concurrency
        self.running = 0
        self.interface: KnownInterface | None = None

    @property
    def has_room(self) -> bool:
        return not self.concurrency or self.running < self.concurrency

    def __repr__(self) -> str:
        return f"<Registration {self.name.object_name!r} of {self.peer.describe()} {self.mode} running={self.running}>"


class Name:
    """A name that somebody serves, or whose service can be started: its members (one, unless they share it), and who
    stands by.
    """

    __slots__ = ("members", "object_name", "service", "sole", "standby", "waiting", "waiting_bytes")

    def __init__(self, object_name: str) -> None:
        self.object_name = object_name
        self.members: list[Registration] = []
        self.standby: deque[Registration] = deque()
        self.waiting: OrderedDict[PendingCall, tuple[Call, bytes]] = OrderedDict()
        """Calls that no member has room for, or that nobody serves yet, in order, each with its message and frame."""
        self.waiting_bytes = 0
        """Of these frames."""
        self.sole: Registration | None = None
        """The member that every call goes to, where there is nothing to choose: the usual case, quick to ask."""
        self.service: Service | None = None
        """What starts somebody who serves it; it sees each call."""

    @property
    def lasts(self) -> bool:
        """Whether calls that wait here have somebody to wait for."""
        return bool(self.members) or (self.service is not None and self.service.comes)

    def pick(self) -> Registration | None:
        """The member with the fewest calls in flight; None when none has room."""
        if self.service is not None and not self.service.lets_pass():
            return None
        best: Registration | None = None
        for member in self.members:
            if member.has_room and (best is None or member.running < best.running):
                best = member
        if best is not None and len(self.members) > 1:  # the next of those that are as idle comes next
            self.members.remove(best)
            self.members.append(best)
        return best

    def settle(self) -> None:
        """After every change: whoever stands by takes over where nobody is left."""
        if not self.members and self.standby:
            self.members.append(self.standby.popleft())
        alone = len(self.members) == 1 and not self.members[0].concurrency and self.service is None
        self.sole = self.members[0] if alone else None


class Names:
    """An owner keeps its name until it gives it up or its connection ends."""

    __slots__ = ("_kept", "_names", "find")

    def __init__(self) -> None:
        self._kept: dict[str, Name] = {}
        self._names: dict[str, Name] = {}
        self.find = self._names.get  # object name -> Name | None; bound once, for every call asks

    def register(self, object_name: str, peer: Peer, mode: str = "exclusive", concurrency: int = 0) -> Registration:
        """The peer's registration; or, where the name is taken, the owner's."""
        if (own := peer.registrations.get(object_name)) is not None:
            own.concurrency = concurrency
            own.name.settle()
            return own
        name = self._names.get(object_name)
        if name is None:
            name = self._names[object_name] = self._kept.get(object_name) or Name(object_name)
        registration = Registration(peer, name, mode, concurrency)
        if not name.members or (mode == "shared" and name.members[0].mode == "shared"):
            name.members.append(registration)
        elif mode == "standby":
            name.standby.append(registration)
        else:
            return name.members[0]
        name.settle()
        peer.registrations[object_name] = registration
        return registration

    def unregister(self, registration: Registration) -> None:
        """Gives the registration up; the name goes with the last one."""
        name = registration.name
        del registration.peer.registrations[name.object_name]
        (name.members if registration in name.members else name.standby).remove(registration)
        name.settle()
        if not name.members:
            del self._names[name.object_name]

    def keep(self, object_name: str) -> Name:
        """The name, which stays this one whoever serves it, and while nobody does, until `let_go`."""
        known = self._kept.get(object_name) or self._names.get(object_name)
        name = self._kept[object_name] = known or Name(object_name)
        return name

    def let_go(self, name: Name) -> None:
        del self._kept[name.object_name]

    def __iter__(self) -> Iterator[str]:
        """Those that somebody serves."""
        return iter(self._names)

    def __contains__(self, object_name: str) -> bool:
        return object_name in self._names

    def __len__(self) -> int:
        return len(self._names)
