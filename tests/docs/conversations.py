"""Replays the `wire` blocks of docs/protocol.md against a router, without sockets.

`NAME > MESSAGE` is sent to the broker and `NAME < MESSAGE` must be the next message that the broker sends to NAME.
`NAME ends` closes the connection, `NAME half-closes` ends what it sends. A name stands for a connection, which is made
where it comes first: the names that begin with `rust` are seed peers, `new` has not said anything yet, and the others
have said hello. The first is connection 1 of process 101, and so on. Nothing may be left unsaid.
"""

from __future__ import annotations

import json
from collections import deque

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.protocol.framing import HEADER_SIZE, FrameReader, write_length
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.router import Identity, Router
from tests.seed.frames import Json

IDENTITY = Identity(version="0.1.0", epoch="8f14e45fceea167a", pid=4711)


class Conversation:
    def __init__(self) -> None:
        self._router = Router(IDENTITY, Limits(), 0.0)
        self._peers: dict[str, Peer] = {}
        self._heard: dict[Peer, deque[Json]] = {}

    def replay(self, text: str) -> None:
        for line in text.splitlines():
            name, what, message = [*line.split(maxsplit=2), ""][:3]
            peer = self._peer(name)
            match what:
                case ">":
                    self._send(peer, message.encode())
                case "<":
                    assert self._heard[peer], f"nothing came instead of: {line}"
                    heard = self._heard[peer].popleft()
                    assert heard == json.loads(message), f"{json.dumps(heard)} came instead of: {line}"
                case "ends":
                    self._router.disconnect(peer, 0.0)
                case "half-closes":
                    self._router.end_of_input(peer, 0.0)
                case _:
                    raise AssertionError(f"not a line of a conversation: {line}")
            self._listen()
        left = {name: list(self._heard[peer]) for name, peer in self._peers.items() if self._heard[peer]}
        assert left == {}, f"what is not shown: {json.dumps(left)}"

    def _peer(self, name: str) -> Peer:
        if name not in self._peers:
            number = len(self._peers) + 1
            peer = self._peers[name] = self._router.connect(Credentials(pid=100 + number))
            self._heard[peer] = deque()
            if not name.startswith(("new", "rust")):
                hello = {"call_id": "0", "object_name": "rob", "method": "hello", "args": {"name": name}}
                self._send(peer, json.dumps({"Call": hello}).encode())
                self._listen()
                self._heard[peer].clear()
                assert peer.prefix == f"{number}."
        return self._peers[name]

    def _send(self, peer: Peer, body: bytes) -> None:
        self._router.receive(peer, write_length(len(body)) + body, 0.0)

    def _listen(self) -> None:
        for peer, heard in self._heard.items():
            frames = FrameReader().feed(peer.connection.data_to_send())
            heard.extend(json.loads(frame[HEADER_SIZE:]) for frame in frames)
