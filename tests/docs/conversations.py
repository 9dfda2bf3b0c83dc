"""Replays the `wire` blocks of docs/protocol.md against a router, without sockets.

`NAME > MESSAGE` is sent to the broker and `NAME < MESSAGE` must be the next message that the broker sends to NAME. A name
stands for a connection, which is made where it comes first: the names that begin with `rust` are seed peers, `new` has
not said anything yet, and the others have said hello. The first is connection 1 of process 101, and so on. Messages are
shown in JSON, whatever is spoken. Nothing may be left unsaid.

Besides:

- `NAME has FEATURE...` makes the connection with these features of hello, among them an encoding if it is not JSON.
- `broker has LIMIT NUMBER...`, before all else, sets limits.
- `broker denies USER ACTION TARGET`: by the rule "an example". The connection of that name is that user's.
- The names that begin with `stranger` have to show a token.
- `NAME ends` breaks the connection, `NAME half-closes` ends what it sends.
- `NAME is closed`, `NAME is not read`, `NAME is read`: what the broker does with the connection now.
- `broker stops` and waits for the calls in flight, `broker ends` for no longer.
- `time passes SECONDS`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable

import msgspec

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.protocol.encodings import ENCODINGS
from ipc_broker.protocol.framing import HEADER_SIZE, FrameReader, write_length
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.router import Identity, Router
from ipc_broker.security.policy_file import parse_policy
from ipc_broker.security.principal import OWNER, Principal
from tests.seed.frames import Json

IDENTITY = Identity(version="0.1.0", epoch="8f14e45fceea167a", pid=4711)


class Conversation:
    def __init__(self) -> None:
        self._now = 0.0
        self._router = Router(IDENTITY, Limits(), self._now)
        self._peers: dict[str, Peer] = {}
        self._heard: dict[Peer, deque[Json]] = {}
        self._users: set[str] = set()

    def replay(self, text: str) -> None:
        for line in text.splitlines():
            self._line(line, *[*line.split(maxsplit=2), ""][:3])
        left = {name: list(self._heard[peer]) for name, peer in self._peers.items() if self._heard[peer]}
        assert left == {}, f"what is not shown: {json.dumps(left)}"

    def send(self, name: str, message: str) -> None:
        self._send(self._peer(name), message)
        self._listen()

    def heard(self, name: str) -> Json:
        """The next message that the broker has sent."""
        return self._heard[self._peer(name)].popleft()

    def _line(self, line: str, name: str, what: str, rest: str) -> None:
        match name, what, rest:
            case "broker", "has", limits:
                assert not self._peers, f"too late: {line}"
                self._router = Router(IDENTITY, _limits(limits.split()), self._now)
            case "broker", "denies", what:
                user, action, target = what.split()
                rule = f'[[rule]]\nname = "an example"\neffect = "deny"\nusers = "{user}"\n{action} = "{target}"\n'
                policy = parse_policy(f'default = "allow"\n{rule}', "policy.toml")
                self._router.gatekeeper.replace_policy(policy, self._now)
                self._users.add(user)
            case "broker", "stops", "":
                self._router.say_goodbye("the broker stops")
            case "broker", "ends", "":
                self._router.close(self._now)
            case "time", "passes", seconds:
                self._now += float(seconds)
                self._router.handle_timer(self._now)
            case _, "has", features:
                assert name not in self._peers, f"too late: {line}"
                self._connect(name, features.split())
            case _, ">", message:
                self.send(name, message)
            case _, "<", message:
                assert self._heard[self._peer(name)], f"nothing came instead of: {line}"
                came = self.heard(name)
                assert came == json.loads(message), f"{json.dumps(came)} came instead of: {line}"
            case _, "ends", "":
                self._router.disconnect(self._peer(name), self._now)
            case _, "half-closes", "":
                self._router.end_of_input(self._peer(name), self._now)
            case _, "is", "closed":
                assert self._peer(name).closing
            case _, "is", "read":
                assert self._peer(name).reads
            case _, "is", "not read":
                assert not self._peer(name).reads
            case _:
                raise AssertionError(f"not a line of a conversation: {line}")
        self._listen()

    def _peer(self, name: str) -> Peer:
        return self._peers[name] if name in self._peers else self._connect(name, ())

    def _connect(self, name: str, features: Iterable[str]) -> Peer:
        number = len(self._peers) + 1
        principal = Principal(1000, name) if name in self._users else OWNER
        who = None if name.startswith("stranger") else principal
        peer = self._peers[name] = self._router.connect(Credentials(pid=100 + number), self._now, who)
        self._heard[peer] = deque()
        self._listen()
        if not name.startswith(("new", "rust", "stranger")):
            encodings = [feature for feature in features if feature in ENCODINGS] or ["json"]
            args: Json = {"encodings": list(encodings), "features": list(features), "name": name}
            hello = {"call_id": "0", "object_name": "rob", "method": "hello", "args": args}
            self._send(peer, json.dumps({"Call": hello}))
            self._listen()
            self._heard[peer].clear()
            assert peer.prefix == f"{number}."
        return peer

    def _send(self, peer: Peer, message: str) -> None:
        speaks_json = peer.connection.codec.name == "json"
        body = message.encode() if speaks_json else msgspec.msgpack.encode(json.loads(message))
        self._router.receive(peer, write_length(len(body)) + body, self._now)

    def _listen(self) -> None:
        for peer, heard in self._heard.items():
            for frame in FrameReader().feed(peer.connection.data_to_send()):
                heard.append(_read(frame[HEADER_SIZE:]))
            self._router.written(peer, self._now)


def _limits(words: list[str]) -> Limits:
    given = {name: json.loads(number) for name, number in zip(words[::2], words[1::2], strict=True)}
    return msgspec.convert(given, Limits)


def _read(body: bytes) -> Json:
    """The answer to hello is in JSON, whatever was agreed on in it."""
    message: Json = json.loads(body) if body.startswith(b"{") else msgspec.msgpack.decode(body)
    return message
