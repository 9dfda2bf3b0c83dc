"""The broker's brain in memory: a router with well-behaved peers, and for every input a connection that is not.

That connection owns names and subscriptions, has calls in flight and is given some, so that what it says hits something.
All ids are the same for every input, so that one alone does what it does among the others.
"""

from __future__ import annotations

import hashlib
from mmap import mmap
from random import Random

from ipc_broker.config import Limits, Quotas
from ipc_broker.credentials import Credentials
from ipc_broker.messages import (
    Call,
    Error,
    Goodbye,
    Invalid,
    Item,
    Message,
    RegisterObject,
    Result,
    Subscribe,
)
from ipc_broker.protocol.codec import Codec, Decoded
from ipc_broker.protocol.connection import Connection, Role, State
from ipc_broker.protocol.encodings import JSON, MSGPACK
from ipc_broker.protocol.framing import HEADER_SIZE
from ipc_broker.protocol.lending import FIRST, SLOT_SIZE
from ipc_broker.routing.names import Name
from ipc_broker.routing.peer import Peer
from ipc_broker.routing.router import Identity, Router
from ipc_broker.security.principal import OWNER, Principal
from tests.fuzz import corpus, inputs, standing
from tests.fuzz import router_setup as setup
from tests.fuzz.coverage import Coverage
from tests.fuzz.inputs import Input

LIMITS = Limits(
    heartbeat=0.0,  # the others, which say nothing meanwhile, are not to be given up
    max_frame=65_536,
    backlog=2000,
    stall=2.0,
    outbox=512 * 1024,
    names=20,
    subscriptions=20,
    calls=20,
    waiting=3,
    retained=4096,
    resume=30.0,
)


QUOTAS = Quotas(connections=5, names=8, subscriptions=8, calls=8, queued=100_000, rate=200)


_PROCESS = Credentials(pid=4712, uid=1000)


class _Tokens:
    """Tokens of sessions that no input can have guessed, the same in every run."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        self._last += 1
        return hashlib.sha256(b"%d" % self._last).hexdigest()[:24]


class Player:
    """A peer of the router, and its own end of the connection, with which everything that comes is read."""

    def __init__(
        self, router: Router, coverage: Coverage, now: float, principal: Principal | None = OWNER, refusal: str = ""
    ) -> None:
        self.peer: Peer = router.connect(_PROCESS, now, principal, refusal)
        self.peer.shell = self
        self.end = Connection(Role.CLIENT, _nothing)
        self.takes = True
        self.came = b""
        self.unread = b""
        """What it has said while it was not read from: where there is a socket, that waits there."""
        self.given: list[Call] = []
        """The calls that it has read and not answered."""
        self._coverage = coverage

    def read(self) -> list[Decoded]:
        """What came since the last time. Nothing that a broker sends may be senseless to the one it is for."""
        data, self.came = self.came, b""
        if not data:
            return []
        received = []
        if self.end.state is State.SEED and self.peer.prefix and data:
            # The answer to hello; from what follows on, the agreed encoding is used.
            stop = HEADER_SIZE + int.from_bytes(data[:HEADER_SIZE])
            received = self.end.receive_data(data[:stop])
            self.end.extend(self.peer.connection.codec.name, 65_536, 65_536)
            data = data[stop:]
        received += self.end.receive_data(data)
        messages: list[Decoded] = []
        for message, frame in received:
            assert not isinstance(message, Invalid), f"the broker sent {self.peer} {bytes(frame)!r}: {message.reason}"
            messages.append(message)
            if isinstance(message, Call):
                self.given.append(message)
            self._coverage.sent(message)
        return messages


def _nothing() -> None:
    pass


class RouterTarget:
    name = "router"

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage
        self.now = 1000.0
        self.router = router = Router(Identity("1.2.3", "epoch", 4711), LIMITS, self.now, _Tokens(), QUOTAS)
        router.memories.open = self._open_memory
        router.gatekeeper.replace_policy(standing.POLICY, self.now)
        router.gatekeeper.replace_tokens(standing.TOKENS, standing.TODAY, self.now)
        self.caller = self._extended(JSON, "caller")
        self.worker = self._extended(MSGPACK, "worker", RegisterObject("probe"))
        self.listener = self._extended(MSGPACK, "listener", Subscribe("probe", "tick", id=1, credit=setup.MOST_CREDIT))
        names = [RegisterObject("theirs"), RegisterObject("single", concurrency=1), RegisterObject("shared", "shared")]
        everything = Subscribe(">", ">", id=1, credit=setup.MOST_CREDIT)
        self.partner = self._extended(MSGPACK, "partner", *names, RegisterObject("standing"), everything)
        self.seed_partner = self._player(JSON, RegisterObject("old"))
        self.seed_listener = self._player(JSON, Subscribe("probe", "tick"), Subscribe("sensor", "temp"))
        self.players = [self.caller, self.worker, self.listener, self.partner, self.seed_partner, self.seed_listener]
        assert self.seed_listener.peer.id == setup.GHOST - 1
        for player in self.players:
            player.read()
        # Once: a worker is told who calls before the first call.
        self._probe()
        self._say(self.partner, MSGPACK.encode(Call("4.0", "theirs", "wait", MSGPACK.null)))
        self._answer_all(self.partner, Random(0))
        self.partner.read()
        self.at_rest = self._tables()

    def _open_memory(self, pid: int, descriptor: int, token: str, size: int) -> mmap:
        """What the fuzzed connection may have lent."""
        if not descriptor:
            raise PermissionError(13, "Permission denied")
        memory = mmap(-1, size)
        for slot, frame in enumerate(setup.LENT):
            start = FIRST + slot * SLOT_SIZE
            memory[start : start + len(frame)] = frame
        return memory

    # Inputs

    def make(self, number: int, rng: Random) -> Input:
        state = rng.choice(setup.STATES)
        scene = setup.SEED_SCENE if state in ("before hello", "seed") else setup.EXTENDED_SCENE
        opening = [corpus.rob_call(rng, scene, "hello")] if state == "before hello" else []
        encoding = "msgpack" if state == "msgpack" else "json"
        return inputs.make(number, f"router, {state}", rng, scene, encoding, opening)

    def play(self, given: Input) -> None:
        router = self.router
        state = given.target.partition(", ")[2]
        way = given.way
        choices = Random(int(way * 2**53))
        if choices.random() < 0.4:
            self._leave_ghost()
        router._last_id = setup.FUZZED - 1
        router.calls._last_rewritten = 0
        who = standing.choose(Random(int(way * 2**53) + 1))
        self.coverage.standings[who] += 1
        fuzzed = Player(router, self.coverage, self.now, standing.PRINCIPALS[who])
        if state in ("json", "msgpack"):
            self._say(fuzzed, JSON.encode(setup.hello(state, "fuzzed", f"epoch-{setup.GHOST}", standing.SHOWN[who])))
        for ours, theirs in zip(setup.SETUP[state], setup.PARTNER_SETUP, strict=True):
            if choices.random() < 0.5:
                self._say(fuzzed, ours)
                self._say(self.partner, theirs)
                if ours is setup.SETUP[state][0]:
                    self._say(self.seed_partner, setup.SEED_PARTNER_SETUP)
        fuzzed.takes = choices.random() < 0.85
        with self.coverage.fuzzing():
            for piece in given.pieces:
                self._say(fuzzed, piece)
        fuzzed.takes = True
        self._flush(fuzzed)
        if state == "before hello" and fuzzed.peer.prefix:
            self._follow(fuzzed)
        if choices.random() < 0.3:
            self._advance(choices.choice((0.06, 0.6, 2.5)))
            with self.coverage.fuzzing():
                self._say(fuzzed, b"")  # it may be read from again
        for player in self.players:
            player.read()
        standing.check(fuzzed.peer, self.partner.given + self.seed_partner.given)
        if choices.random() < 0.2:
            self._replace_policy(fuzzed)
        if choices.random() < 0.5:
            self._answer_all(self.partner, choices)
            self._answer_all(self.seed_partner, choices)
        for player in self.players:
            player.read()
        self._probe()
        if inputs.is_whole(given.pieces):
            self._ask_after(fuzzed)
        self._end(fuzzed, choices)
        self._check_rest()

    def check(self) -> None:
        """What is asked less often: what the broker says of itself."""
        self._say(self.caller, setup.STATS)
        [answer] = self.caller.read()
        assert isinstance(answer, Result)
        stats = JSON.decode_any(answer.value)
        counted = {name: stats[name] for name in ("calls_in_flight", "calls_waiting", "retained")}
        assert counted == {"calls_in_flight": 0, "calls_waiting": 0, "retained": 0}, stats
        assert stats["connections"] == len(self.players), stats
        assert (stats["objects"], stats["subscriptions"]) == (6, 4), stats

    def close(self) -> None:
        """It holds nothing open."""

    def _replace_policy(self, fuzzed: Player) -> None:
        """By one that allows less, and back."""
        for policy in (standing.NARROW, standing.POLICY):
            self.router.gatekeeper.replace_policy(policy, self.now)
            self._flush(fuzzed)
            standing.check(fuzzed.peer, [])

    # The peers

    def _player(self, codec: Codec, *messages: Message) -> Player:
        player = Player(self.router, self.coverage, self.now)
        self._say(player, b"".join(map(codec.encode, messages)))
        return player

    def _extended(self, codec: Codec, name: str, *messages: Message) -> Player:
        player = self._player(JSON, setup.hello(codec.name, name))
        self._say(player, b"".join(map(codec.encode, messages)))
        return player

    def _leave_ghost(self) -> None:
        self.router._last_id = setup.GHOST - 1
        ghost = Player(self.router, self.coverage, self.now)
        self._say(ghost, JSON.encode(setup.hello("json", "ghost")))
        self._say(ghost, setup.GHOST_SETUP)
        self._disconnect(ghost)

    def _answer_all(self, player: Player, choices: Random) -> None:
        """The partner answers what it was given: with a result, an error, or a stream."""
        codec = player.peer.connection.codec
        player.read()
        calls, player.given = player.given, []
        for call in calls:
            answers: list[Message] = [Result(call.call_id, call.object_name, codec.encode_payload([1]))]
            if call.credit and player.peer.prefix:
                item = Item(call.call_id, codec.encode_payload("item"))
                answers = [item, item, Result(call.call_id, call.object_name, codec.null, ended=True)]
            elif choices.random() < 0.3:
                answers = [Error(call.call_id, call.object_name, "it went wrong")]
            self._say(player, b"".join(map(codec.encode, answers)))

    # The shell

    def _say(self, player: Player, data: bytes) -> None:
        data = player.unread + data
        if not player.peer.reads:
            player.unread = data
            return
        player.unread = b""
        if data and player.peer in self.router.peers:
            with self.coverage.counting(player.peer):
                self.router.receive(player.peer, data, self.now)
            self._flush()

    def _flush(self, also: Player | None = None) -> None:
        router, woken = self.router, self.router.woken
        if also is not None:
            woken.append(also.peer)
        for peer in woken:  # more may be appended on the way
            player: Player = peer.shell
            connection = peer.connection
            while connection.queued and player.takes:
                player.came += connection.data_to_send()
                router.written(peer, self.now)
            if peer.closing and not connection.queued:
                router.disconnect(peer, self.now)
        woken.clear()

    def _advance(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(100):
            deadline = self.router.next_deadline()
            if deadline is None or deadline > self.now:
                return
            self.router.handle_timer(self.now)
            self._flush()
        raise AssertionError(f"the router would have its timer run for ever: {deadline} at {self.now}")

    def _disconnect(self, player: Player) -> None:
        self.router.disconnect(player.peer, self.now)
        self._flush()

    # What must still be true

    def _probe(self) -> None:
        """Two peers that have nothing to do with it: a call is answered, an event is delivered, in the right bytes."""
        self._say(self.caller, setup.PROBE_CALL)
        self._expect(self.worker, setup.PROBE_GIVEN)
        self.worker.given.clear()
        self._say(self.worker, setup.PROBE_RESULT)
        self._expect(self.caller, setup.PROBE_ANSWER)
        self._say(self.caller, setup.PROBE_PUBLISH)
        self._expect(self.listener, setup.PROBE_EVENT)
        self._expect(self.seed_listener, setup.PROBE_SEED_EVENT)
        self._say(self.worker, setup.PROBE_BATCH)  # whose route is known now
        self._expect(self.listener, setup.PROBE_EVENTS)
        self._expect(self.seed_listener, setup.PROBE_SEED_EVENTS)
        self._say(self.listener, setup.PROBE_CREDIT)

    def _expect(self, player: Player, frame: bytes) -> None:
        data = player.came
        if not data.endswith(frame):
            raise AssertionError(f"{player.peer} should have got {frame!r} at the end of {data!r}")
        for message in player.read()[:-1]:
            # `Caller` precedes the first call, `Pause` may come with any.
            assert type(message).__name__ in ("Caller", "Pause", "Resume", "Event"), message

    def _follow(self, fuzzed: Player) -> None:
        """It has said hello, in whatever way, and now others are told who it is."""
        codec = fuzzed.peer.connection.codec
        messages: list[Message] = [
            RegisterObject("named"),
            Call("8.1", "theirs", "wait", codec.null),
            Call("8.2", "old", "wait", codec.null),
        ]
        self._say(fuzzed, b"".join(map(codec.encode, messages)))
        if "named" in self.router.names:
            self._say(self.partner, MSGPACK.encode(RegisterObject("named")))
            self._say(self.seed_partner, JSON.encode(RegisterObject("named")))

    def _ask_after(self, fuzzed: Player) -> None:
        """Whoever was not sent away is still served."""
        fuzzed.read()
        peer = fuzzed.peer
        if peer not in self.router.peers or not peer.reads:
            self.coverage.ends["paused" if peer in self.router.peers else "sent away"] += 1
            return
        if peer.principal is None:
            self._say(fuzzed, JSON.encode(Call("ping", "rob", "ping", JSON.null)))
            assert peer not in self.router.peers, f"{peer} is a stranger, and stayed"
            self.coverage.ends["turned away"] += 1
            return
        call_id = f"{peer.prefix}ping"
        self._say(fuzzed, peer.connection.codec.encode(Call(call_id, "rob", "ping", peer.connection.codec.null)))
        answers = [one for one in fuzzed.read() if isinstance(one, Result | Error) and one.call_id == call_id]
        assert len(answers) == 1, f"{peer} asked for an answer and got {answers}"
        self.coverage.ends["stayed"] += 1

    def _end(self, fuzzed: Player, choices: Random) -> None:
        way = choices.random()
        if way < 0.15:
            self._say(fuzzed, fuzzed.peer.connection.codec.encode(Goodbye()))
        elif way < 0.4 and fuzzed.peer in self.router.peers:
            self.router.end_of_input(fuzzed.peer, self.now)
            self._flush()
            self._answer_all(self.partner, choices)
        self._disconnect(fuzzed)
        for player in (self.partner, self.seed_partner):  # what was cancelled is still at work until it is answered
            self._answer_all(player, choices)
        fuzzed.read()
        assert not fuzzed.peer.connection.queued

    def _check_rest(self) -> None:
        """When the fuzzed peer has gone, and its session is forgotten, nothing of it is left."""
        retained = self.router.events.retained
        for object_name, topic, _ in list(retained.find(">", ">")):
            retained.clear(object_name, topic)
        self._advance(LIMITS.resume + 1)
        for player in self.players:
            player.read()
        tables = self._tables()
        if tables != self.at_rest:
            raise AssertionError(f"not all is as it was:\n{_difference(self.at_rest, tables)}")

    def _tables(self) -> list[tuple[object, ...]]:
        router = self.router
        events, calls = router.events, router.calls
        kept = (len(events.retained), events.retained.size, len(events.sessions), len(events.backpressure.full))
        routes = (events.subscriptions.count, events.subscriptions._patterns.count, len(events.subscriptions._literal))
        looking = (len(router.taps.watchers), len(router.observers), router.closed)
        gatekeeper = router.gatekeeper
        directs = router.directs
        assert directs.leaving <= router.peers, directs.leaving
        paths = (len(directs._of_peer), len(directs._of_object))
        standing_here = (len(router.accounts), len(gatekeeper._shown), len(gatekeeper._strangers), *paths)
        whole = (len(router.peers), len(router.names), calls.in_flight, calls.waiting, router.next_deadline())
        waiting = [(name, len(found.waiting), len(found.members), len(found.standby)) for name, found in _names(router)]
        return [
            whole,
            kept,
            routes,
            looking,
            standing_here,
            *waiting,
            *(_table(player.peer) for player in self.players),
        ]


def _names(router: Router) -> list[tuple[str, Name]]:
    return [(name, found) for name in router.names if (found := router.names.find(name)) is not None]


def _table(peer: Peer) -> tuple[object, ...]:
    running = sum([one.running for one in peer.registrations.values()])
    owned = (len(peer.registrations), running, len(peer.subscriptions), len(peer.calls), len(peer.serving))
    known = (len(peer.knows), len(peer.known_to), len(peer.waits_for), peer.paused, peer.reads, peer.will)
    feed = peer.feed
    waits = (peer.connection.queued, feed.backlog_bytes if feed is not None else 0, peer.connection.state)
    return (peer.name or peer.id, *owned, *known, *waits)


def _difference(before: list[tuple[object, ...]], after: list[tuple[object, ...]]) -> str:
    lines = [f"  {row} -> {now}" for row, now in zip(before, after, strict=False) if row != now]
    return "\n".join(lines or [f"  {len(before)} rows -> {len(after)}: {after}"])
