"""What the inputs have reached, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ipc_broker.errors import CallError
from ipc_broker.messages import Error
from ipc_broker.protocol.codec import Decoded
from ipc_broker.routing.peer import Peer
from tests.fuzz.inputs import Input

_CODES = {"without a code"} | {kind.code for kind in CallError.__subclasses__()} | {"name_taken"}


class Coverage:
    def __init__(self) -> None:
        self.inputs: Counter[str] = Counter()
        """By their target and its state."""
        self.changes: Counter[str] = Counter()
        """What was done to them."""
        self.messages: Counter[str] = Counter()
        """What the fuzzed side understood, by type; `Invalid` is what it refused."""
        self.refusals: Counter[str] = Counter()
        """The errors that were sent meanwhile, by their code."""
        self.ends: Counter[str] = Counter()
        """What became of the fuzzed connection, and of the words."""
        self.standings: Counter[str] = Counter()
        """Who the fuzzed peer of a router was."""
        self._fuzzing = False

    def played(self, given: Input) -> None:
        self.inputs[given.target] += 1
        self.changes.update(given.labels or ("none",))

    @contextmanager
    def fuzzing(self) -> Iterator[None]:
        """While an input is given: only then are messages counted."""
        self._fuzzing = True
        try:
            yield
        finally:
            self._fuzzing = False

    def count_messages(self, session: Any) -> None:
        """From now on."""
        session._handlers = _Counted(session._handlers, self)

    @contextmanager
    def counting(self, peer: Peer) -> Iterator[None]:
        """While a router is given what comes from the peer. What it may say afterwards may be handled by others."""
        handlers, counted = peer.handlers, _Counted(peer.handlers, self)
        peer.handlers = counted
        try:
            yield
        finally:
            if peer.handlers is counted:
                peer.handlers = handlers

    def taken(self, kind: type) -> None:
        if self._fuzzing:
            self.messages[kind.__name__] += 1

    def sent(self, message: Decoded) -> None:
        if isinstance(message, Error):
            code = message.code or "without a code"
            self.refusals[code if code in _CODES else "another code"] += 1

    def report(self) -> str:
        lines = []
        for title in ("inputs", "changes", "messages", "refusals", "standings", "ends"):
            counter: Counter[str] = getattr(self, title)
            counts = ", ".join(f"{name} {count:,}" for name, count in counter.most_common())
            lines.append(f"{title}: {counts}")
        return "\n".join(lines)


class _Counted(dict[type, Any]):
    """The handlers of a brain; each look for one is a message."""

    def __init__(self, handlers: dict[type, Any], coverage: Coverage) -> None:
        super().__init__()
        self._handlers = handlers
        self._coverage = coverage

    def __getitem__(self, kind: type) -> Any:
        self._coverage.taken(kind)
        return self._handlers[kind]
