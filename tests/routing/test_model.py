"""The router against a simple model of it: random peers do random things, and each gets exactly what it should."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, publish, register, result, subscribe
from tests.seed.frames import Message, frame_of

# Few of each, so that they meet.
NAMES = st.sampled_from(["math", "text"])
TOPICS = st.sampled_from(["a", "b"])
NUMBERS = st.sampled_from(["1", "2", "3"])


class Asked(NamedTuple):
    """A call that its worker was given, under the id it knows."""

    caller: Modelled
    call_id: str
    worker: Modelled
    worker_id: str
    object_name: str


class Modelled:
    """A peer, and what the model knows of it."""

    def __init__(self, bus: Bus, *, seed: bool) -> None:
        self.raw = RawPeer(bus) if seed else extended_peer(bus)
        self.seed = seed
        self.subscriptions: set[tuple[str, str]] = set()
        self.calls: dict[str, Asked] = {}
        self.held: list[Message] = []
        self.expected: list[Message] = []
        self.half_closed = False

    def send(self, message: Message) -> None:
        self.raw.send(message)
        self.raw.bus.settle()

    def gets_event(self, message: Message) -> None:
        (self.held if self.seed and self.calls else self.expected).append(message)

    def gets_answer(self, message: Message) -> None:
        self.expected.append(message)
        if not self.calls:
            self.expected += self.held
            self.held = []

    def receive(self) -> list[Message]:
        return [plain(message) for message in self.raw.receive()]


def plain(message: Message) -> Message:
    """An error without its text and without what only extended peers get."""
    if "Error" not in message:
        return message
    return refusal(cast("str | None", message["Error"]["call_id"]), str(message["Error"]["object_name"]))


def refusal(call_id: str | None, object_name: str) -> Message:
    return error(call_id, object_name, "")


class RouterModel(RuleBasedStateMachine):
    peers: Bundle[Modelled] = Bundle("peers")

    def __init__(self) -> None:
        super().__init__()
        self.bus = Bus()
        self.connected: list[Modelled] = []
        self.owners: dict[str, Modelled] = {}
        self.in_flight: list[Asked] = []
        self.numbers = count()
        self.late_answers = 0

    # Connections

    @initialize(target=peers, kinds=st.lists(st.booleans(), min_size=3, max_size=5))
    def start(self, kinds: list[bool]) -> MultipleResults[Modelled]:
        started = [self.connect_one(seed) for seed in kinds]
        self.register(started[0], "math")
        return multiple(*started)

    @rule(target=peers, seed=st.booleans())
    def connect(self, seed: bool) -> Modelled:
        return self.connect_one(seed)

    def connect_one(self, seed: bool) -> Modelled:
        peer = Modelled(self.bus, seed=seed)
        self.connected.append(peer)
        return peer

    @rule(peer=consumes(peers))
    def disconnect(self, peer: Modelled) -> None:
        self.connected.remove(peer)
        self.forget_calls_of(peer)
        self.lose_services_of(peer)
        peer.raw.disconnect()
        assert peer.raw.ended

    @rule(peer=consumes(peers))
    def end_input(self, peer: Modelled) -> None:
        """A seed peer that waits for answers stays until it has them; no rule uses it any more."""
        peer.half_closed = True
        if not peer.seed:
            self.connected.remove(peer)
            self.forget_calls_of(peer)
        self.lose_services_of(peer)
        peer.raw.link.end_input()
        assert peer.raw.ended or peer.calls

    @rule(peer=consumes(peers))
    def announce_an_oversize_frame(self, peer: Modelled) -> None:
        """It is told, and out of the router at once."""
        peer.raw.send_bytes((65_537).to_bytes(4, "big"))
        peer.expected.append(refusal(None, "rob"))
        self.lose_calls_given_to(peer)
        self.connected.remove(peer)
        self.forget_calls_of(peer)
        self.lose_services_of(peer)
        assert self.new_messages(peer) == []
        assert peer.raw.ended

    @rule(peer=peers)
    def send_what_is_no_message(self, peer: Modelled) -> None:
        peer.raw.send_bytes(frame_of(b"garbage"))
        self.bus.settle()
        peer.expected.append(refusal(None, "rob"))
        self.lose_calls_given_to(peer)

    @rule(peer=peers)
    def send_a_broken_call(self, peer: Modelled) -> None:
        """It was no answer, so that the calls the peer was given go on."""
        peer.raw.send_bytes(frame_of(b'{"Call":{"call_id":"broken","object_name":"math"}}'))
        self.bus.settle()
        peer.expected.append(refusal("broken", "rob"))

    # Names

    @rule(peer=peers, name=NAMES)
    def register_name(self, peer: Modelled, name: str) -> None:
        self.register(peer, name)

    def register(self, peer: Modelled, name: str) -> None:
        peer.send(register(name))
        if self.owners.setdefault(name, peer) is peer:
            peer.expected.append({"Registered": {"object_name": name}})
        else:
            peer.expected.append(refusal(None, name))

    @rule(peer=peers, name=NAMES)
    def unregister(self, peer: Modelled, name: str) -> None:
        owned = self.owners.get(name) is peer
        call_id = self.call_rob(peer, "unregister", {"object_name": name})
        if owned:
            del self.owners[name]
            self.lose_calls([asked for asked in self.in_flight if asked.worker is peer and asked.object_name == name])
        peer.expected.append(result(call_id, "rob", owned))

    # Events

    @rule(peer=peers, name=NAMES, topic=TOPICS)
    def subscribe(self, peer: Modelled, name: str, topic: str) -> None:
        peer.send(subscribe(name, topic))
        peer.subscriptions.add((name, topic))
        peer.expected.append({"Subscribed": {"object_name": name, "topic": topic}})

    @rule(peer=peers, name=NAMES, topic=TOPICS)
    def unsubscribe(self, peer: Modelled, name: str, topic: str) -> None:
        call_id = self.call_rob(peer, "unsubscribe", {"object_name": name, "topic": topic})
        peer.expected.append(result(call_id, "rob", (name, topic) in peer.subscriptions))
        peer.subscriptions.discard((name, topic))

    @rule(peer=peers, name=NAMES, topic=TOPICS)
    def publish(self, peer: Modelled, name: str, topic: str) -> None:
        message = publish(name, topic, next(self.numbers))
        peer.send(message)
        for subscriber in self.connected:
            if (name, topic) in subscriber.subscriptions:
                subscriber.gets_event({"Event": message["Publish"]})

    # Calls

    @rule(peer=peers, name=NAMES, number=NUMBERS)
    def call(self, peer: Modelled, name: str, number: str) -> None:
        call_id = f"{peer.raw.prefix}{number}"
        value = next(self.numbers)
        peer.send(call(call_id, name, "m", value))
        worker = self.owners.get(name)
        if worker is None or call_id in peer.calls:
            peer.expected.append(refusal(call_id, name))
            return
        # A worker that calls itself as a seed gets the call before events that wait. All else has come already.
        [given] = [fields for message in self.new_messages(worker) if (fields := message.get("Call"))]
        assert given == {**given, "object_name": name, "method": "m", "args": value}
        asked = Asked(peer, call_id, worker, str(given["call_id"]), name)
        assert asked.worker_id not in {other.worker_id for other in self.in_flight if other.worker is worker}
        peer.calls[call_id] = asked
        self.in_flight.append(asked)

    @rule(data=st.data(), fails=st.booleans())
    def answer(self, data: st.DataObject, fails: bool) -> None:
        if not self.in_flight:
            return
        asked = data.draw(st.sampled_from(self.in_flight))
        if fails:
            answer = error(asked.worker_id, asked.object_name, "no")
        else:
            answer = result(asked.worker_id, asked.object_name, next(self.numbers))
        asked.worker.send(answer)
        self.end(asked, plain(self.under_callers_id(answer, asked)))

    @rule(peer=peers, data=st.data())
    def forge(self, peer: Modelled, data: st.DataObject) -> None:
        given_to_others = [asked for asked in self.in_flight if asked.worker is not peer]
        own = {asked.worker_id for asked in self.in_flight if asked.worker is peer}
        forgeable = [asked for asked in given_to_others if not {asked.worker_id, asked.call_id} & own]
        if forgeable:
            asked = data.draw(st.sampled_from(forgeable))
            peer.send(result(asked.worker_id, asked.object_name, "forged"))
            peer.send(error(asked.call_id, asked.object_name, "forged"))
            self.late_answers += 2

    # What always holds

    @invariant()
    def everybody_got_exactly_what_it_should(self) -> None:
        for peer in self.connected:
            self.new_messages(peer)
        for peer in [peer for peer in self.connected if peer.half_closed and not peer.calls]:
            assert peer.raw.ended
            self.connected.remove(peer)

    @invariant()
    def the_router_knows_what_the_model_knows(self) -> None:
        router = self.bus.router
        assert len(router.peers) == len(self.connected)
        assert {name: router.names.owner(name) for name in router.names} == {
            name: peer.raw.peer for name, peer in self.owners.items()
        }
        assert router.subscriptions.count == sum(len(peer.subscriptions) for peer in self.connected)
        assert router.calls.in_flight == len(self.in_flight) == sum(len(peer.calls) for peer in self.connected)
        assert router.totals.late_answers == self.late_answers
        assert router.backpressure.dropped == 0

    def teardown(self) -> None:
        for peer in self.connected:
            peer.raw.disconnect()
        self.bus.assert_empty()

    # The model

    def new_messages(self, peer: Modelled) -> list[Message]:
        """What came and has to be looked at: calls. Everything else must be what is expected, in this order."""
        received = peer.receive()
        calls = [message for message in received if "Call" in message]
        others = [message for message in received if "Call" not in message]
        expected, peer.expected = peer.expected, []
        assert others == expected
        return calls

    def call_rob(self, peer: Modelled, method: str, args: dict[str, str]) -> str:
        call_id = f"{peer.raw.prefix}rob{next(self.numbers)}"
        peer.send(call(call_id, "rob", method, dict(args)))
        return call_id

    def end(self, asked: Asked, answer: Message) -> None:
        self.in_flight.remove(asked)
        del asked.caller.calls[asked.call_id]
        asked.caller.gets_answer(answer)

    def lose_calls(self, lost: list[Asked]) -> None:
        for asked in lost:
            self.end(asked, refusal(asked.call_id, asked.object_name))

    def lose_calls_given_to(self, peer: Modelled) -> None:
        self.lose_calls([asked for asked in self.in_flight if asked.worker is peer])

    def lose_services_of(self, peer: Modelled) -> None:
        peer.subscriptions.clear()
        self.lose_calls_given_to(peer)
        for name in [name for name, owner in self.owners.items() if owner is peer]:
            del self.owners[name]

    def forget_calls_of(self, caller: Modelled) -> None:
        self.in_flight = [asked for asked in self.in_flight if asked.caller is not caller]
        caller.calls.clear()
        caller.held.clear()

    @staticmethod
    def under_callers_id(answer: Message, asked: Asked) -> Message:
        return {kind: {**fields, "call_id": asked.call_id} for kind, fields in answer.items()}


TestRouterModel = RouterModel.TestCase
TestRouterModel.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, derandomize=True)
