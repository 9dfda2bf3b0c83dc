"""The router against a simple model of it: random peers do random things, and each gets exactly what it should.

Peers are of three kinds: seed peers, and extended ones that speak JSON or MessagePack. Nobody is slow here.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import cast

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

from tests.memory import Bus
from tests.messages import call, error, event, publish, result, subscribe
from tests.routing.modelled import Asked, Modelled, Serving, Wanted, in_any_order, plain, refusal, text_of
from tests.routing.peers import cancel, register_as
from tests.routing.subscribers import PLENTY, event_for
from tests.seed.frames import Json, Message, frame_of

# Few of each, so that they meet.
KINDS = st.sampled_from(["seed", "json", "packed"])
NAMES = st.sampled_from(["math", "text"])
MODES = st.sampled_from(["exclusive", "shared", "standby"])
TOPICS = st.sampled_from(["a", "b.c"])
NAME_PATTERNS = st.sampled_from(["math", "text", "*", ">"])
TOPIC_PATTERNS = st.sampled_from(["a", "b.c", "*", "b.*", ">"])
GROUPS = st.sampled_from(["", "", "g", "h"])
NUMBERS = st.sampled_from(["1", "2", "3"])
IDS = st.integers(1, 3)


class RouterModel(RuleBasedStateMachine):
    peers: Bundle[Modelled] = Bundle("peers")

    def __init__(self) -> None:
        super().__init__()
        self.bus = Bus()
        self.connected: list[Modelled] = []
        self.members: dict[str, list[Serving]] = {}
        self.standby: dict[str, list[Serving]] = {}
        self.in_flight: list[Asked] = []
        self.numbers = count()
        self.late_answers = 0
        # Events by the group that was to get each: which of its members does is not modelled.
        self.due_to_groups: Counter[tuple[Wanted, str]] = Counter()

    # Connections

    @initialize(target=peers, kinds=st.lists(KINDS, min_size=3, max_size=5))
    def start(self, kinds: list[str]) -> MultipleResults[Modelled]:
        started = [self.connect_one(kind) for kind in kinds]
        self.register(started[0], "math", "exclusive")
        return multiple(*started)

    @rule(target=peers, kind=KINDS)
    def connect(self, kind: str) -> Modelled:
        return self.connect_one(kind)

    def connect_one(self, kind: str) -> Modelled:
        peer = Modelled(self.bus, kind)
        self.connected.append(peer)
        return peer

    @rule(peer=consumes(peers))
    def disconnect(self, peer: Modelled) -> None:
        self.connected.remove(peer)
        self.lose_services_of(peer)
        self.forget_calls_of(peer)
        peer.raw.disconnect()
        assert peer.raw.ended

    @rule(peer=consumes(peers))
    def end_input(self, peer: Modelled) -> None:
        """A seed peer that waits for answers stays until it has them; no rule uses it any more."""
        peer.half_closed = True
        stays = peer.seed and bool(peer.calls)
        if not stays:
            self.connected.remove(peer)
        self.lose_services_of(peer)
        if not stays:
            self.forget_calls_of(peer)
        peer.raw.link.end_input()
        assert peer.raw.ended or peer.calls

    @rule(peer=consumes(peers))
    def announce_an_oversize_frame(self, peer: Modelled) -> None:
        """It is told, and out of the router at once."""
        peer.raw.send_bytes((2**31).to_bytes(4, "big"))
        peer.expected.append(refusal(None, "rob"))
        self.lose_calls_given_to(peer)
        self.connected.remove(peer)
        self.lose_services_of(peer)
        self.forget_calls_of(peer)
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
        peer.send({"Call": {"call_id": "broken", "object_name": "math"}})
        peer.expected.append(refusal("broken", "rob"))

    # Names

    @rule(peer=peers, name=NAMES, mode=MODES)
    def register_name(self, peer: Modelled, name: str, mode: str) -> None:
        self.register(peer, name, mode)

    def register(self, peer: Modelled, name: str, mode: str) -> None:
        peer.send(register_as(name, mode))
        members, standby = self.members.get(name, []), self.standby.get(name, [])
        if any(serving.peer is peer for serving in [*members, *standby]):
            pass
        elif not members or (mode == members[0].mode == "shared"):
            self.members[name] = [*members, Serving(peer, mode)]
        elif mode == "standby":
            self.standby[name] = [*standby, Serving(peer, mode)]
        else:
            peer.expected.append(refusal(None, name))
            return
        peer.expected.append({"Registered": {"object_name": name}})
        if not members:
            self.announce("object.registered", name)

    @rule(peer=peers, name=NAMES)
    def unregister(self, peer: Modelled, name: str) -> None:
        call_id = self.call_rob(peer, "unregister", object_name=name)
        peer_serves = self.serves(peer, name)
        if peer_serves:
            self.lose_calls([asked for asked in self.in_flight if asked.worker is peer and asked.object_name == name])
            self.give_up(peer, name)
        peer.expected.append(result(call_id, "rob", peer_serves))

    def serves(self, peer: Modelled, name: str) -> bool:
        return any(serving.peer is peer for serving in [*self.members.get(name, []), *self.standby.get(name, [])])

    def give_up(self, peer: Modelled, name: str) -> None:
        before = self.members[name]
        standby = [serving for serving in self.standby.get(name, []) if serving.peer is not peer]
        members = [serving for serving in before if serving.peer is not peer]
        if not members:
            members, standby = standby[:1], standby[1:]
        self.members[name], self.standby[name] = members, standby
        if len(before) == 1 and before[0].peer is peer:
            self.announce("object.lost", name)
            if members:
                self.announce("object.registered", name)

    # Events

    @rule(peer=peers, name=NAMES, topic=TOPICS)
    def subscribe(self, peer: Modelled, name: str, topic: str) -> None:
        peer.send(subscribe(name, topic))
        peer.plain.add((name, topic))
        peer.expected.append({"Subscribed": {"object_name": name, "topic": topic}})

    @rule(peer=peers, name=NAMES, topic=TOPICS)
    def unsubscribe(self, peer: Modelled, name: str, topic: str) -> None:
        call_id = self.call_rob(peer, "unsubscribe", object_name=name, topic=topic)
        peer.expected.append(result(call_id, "rob", (name, topic) in peer.plain))
        peer.plain.discard((name, topic))

    @rule(peer=peers, id=IDS, name=NAME_PATTERNS, topic=TOPIC_PATTERNS, group=GROUPS)
    def subscribe_by_id(self, peer: Modelled, id: int, name: str, topic: str, group: str) -> None:
        if peer.seed:
            return
        message = subscribe(name, topic)
        message["Subscribe"] |= {"id": id, "credit": PLENTY, "group": group}
        peer.send(message)
        if id in peer.by_id:
            peer.expected.append(refusal(None, name))
        else:
            peer.by_id[id] = Wanted(name, topic, group)
            peer.expected.append({"Subscribed": {"object_name": name, "topic": topic, "id": id}})

    @rule(peer=peers, id=IDS)
    def unsubscribe_by_id(self, peer: Modelled, id: int) -> None:
        call_id = self.call_rob(peer, "unsubscribe", id=id)
        peer.expected.append(result(call_id, "rob", peer.by_id.pop(id, None) is not None))

    @rule(peer=peers, name=NAMES, topic=TOPICS, acknowledged=st.booleans())
    def publish(self, peer: Modelled, name: str, topic: str, acknowledged: bool) -> None:
        message = publish(name, topic, next(self.numbers))
        if acknowledged and not peer.seed:
            message["Publish"]["call_id"] = "ack"
        peer.send(message)
        self.expect_event(name, topic, message["Publish"]["args"])
        if acknowledged and not peer.seed:
            peer.expected.append(result("ack", name))

    @rule(peer=peers, name=NAME_PATTERNS, topic=TOPIC_PATTERNS)
    def publish_what_is_refused(self, peer: Modelled, name: str, topic: str) -> None:
        """As the broker; or to a pattern, which a seed peer may do."""
        is_pattern = bool({"*", ">"} & {*name.split("."), *topic.split(".")})
        if not is_pattern or peer.seed:
            name = "rob"
        peer.send(publish(name, topic, "refused"))
        peer.expected.append(refusal(None, name))

    def announce(self, topic: str, name: str) -> None:
        self.expect_event("rob", topic, {"object": name})

    def expect_event(self, name: str, topic: str, value: Json) -> None:
        groups = set()
        for peer in self.connected:
            for id, wanted in peer.by_id.items():
                if wanted.is_for(name, topic):
                    if wanted.group:
                        groups.add(wanted)
                    else:
                        peer.gets_event(event_for(id, name, topic, value))
            if (name, topic) in peer.plain:
                peer.gets_event(event(name, topic, value))
        self.due_to_groups.update((wanted, text_of(event(name, topic, value))) for wanted in groups)

    # Calls

    @rule(peer=peers, name=NAMES, number=NUMBERS)
    def call(self, peer: Modelled, name: str, number: str) -> None:
        call_id = f"{peer.raw.prefix}{number}"
        value = next(self.numbers)
        peer.send(call(call_id, name, "m", value))
        members = self.members.get(name)
        if not members or call_id in peer.calls:
            peer.expected.append(refusal(call_id, name))
            return
        # A worker that calls itself as a seed gets the call before events that wait. All else has come already.
        [(worker, given)] = [
            (serving.peer, fields)
            for serving in members
            for message in self.new_messages(serving.peer)
            if (fields := message.get("Call"))
        ]
        assert given == {**given, "object_name": name, "method": "m", "args": value}
        running = Counter(asked.worker for asked in self.in_flight if asked.object_name == name)
        assert running[worker] == min(running[serving.peer] for serving in members)
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

    @rule(peer=peers, number=NUMBERS)
    def cancel(self, peer: Modelled, number: str) -> None:
        """Also calls that were answered long ago."""
        if peer.seed:
            return
        call_id = f"{peer.raw.prefix}{number}"
        peer.send(cancel(call_id))
        asked = peer.calls.pop(call_id, None)
        if asked is not None:
            self.in_flight.remove(asked)
            self.tell_that_it_is_cancelled(asked)

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
        assert not self.due_to_groups
        for peer in [peer for peer in self.connected if peer.half_closed and not peer.calls]:
            assert peer.raw.ended
            self.connected.remove(peer)

    @invariant()
    def the_router_knows_what_the_model_knows(self) -> None:
        router = self.bus.router
        assert len(router.peers) == len(self.connected)
        known = {name: router.names.find(name) for name in router.names}
        served = {name: members for name, members in self.members.items() if members}
        assert {name: {one.peer for one in found.members} for name, found in known.items() if found} == {
            name: {serving.peer.raw.peer for serving in members} for name, members in served.items()
        }
        assert {name: [one.peer for one in found.standby] for name, found in known.items() if found} == {
            name: [serving.peer.raw.peer for serving in self.standby.get(name, [])] for name in served
        }
        subscriptions = sum(len(peer.plain) + len(peer.by_id) for peer in self.connected)
        assert router.events.subscriptions.count == subscriptions
        assert router.calls.in_flight == len(self.in_flight) == sum(len(peer.calls) for peer in self.connected)
        assert router.totals.late_answers == self.late_answers
        assert router.events.backpressure.dropped == 0

    def teardown(self) -> None:
        for peer in self.connected:
            peer.raw.disconnect()
        self.bus.assert_empty()

    # The model

    def new_messages(self, peer: Modelled) -> list[Message]:
        """What came and has to be looked at: calls. Everything else must be what is expected, in this order."""
        calls, others = [], []
        for message in peer.receive():
            if "Call" in message:
                calls.append(message)
            elif not self.was_due_to_a_group(peer, message):
                others.append(message)
        expected, peer.expected = peer.expected, []
        assert in_any_order(others) == in_any_order(expected)
        return calls

    def was_due_to_a_group(self, peer: Modelled, message: Message) -> bool:
        fields = dict(message.get("Event", {}))
        wanted = peer.by_id.get(cast(int, fields.pop("subscription", 0)))
        due = wanted, text_of({"Event": fields})
        if wanted is None or not wanted.group:
            return False
        assert self.due_to_groups[cast(tuple[Wanted, str], due)] > 0, message
        self.due_to_groups -= Counter([cast(tuple[Wanted, str], due)])
        return True

    def call_rob(self, peer: Modelled, method: str, **args: Json) -> str:
        self.everybody_got_exactly_what_it_should()
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
        peer.plain.clear()
        peer.by_id.clear()
        self.lose_calls_given_to(peer)
        for name in sorted(self.members):
            if self.serves(peer, name):
                self.give_up(peer, name)

    def forget_calls_of(self, caller: Modelled) -> None:
        for asked in caller.calls.values():
            self.in_flight.remove(asked)
            self.tell_that_it_is_cancelled(asked)
        caller.calls.clear()
        caller.held.clear()

    @staticmethod
    def tell_that_it_is_cancelled(asked: Asked) -> None:
        if not asked.worker.seed:
            asked.worker.expected.append(cancel(asked.worker_id))

    @staticmethod
    def under_callers_id(answer: Message, asked: Asked) -> Message:
        return {kind: {**fields, "call_id": asked.call_id} for kind, fields in answer.items()}


TestRouterModel = RouterModel.TestCase
TestRouterModel.settings = settings(max_examples=60, stateful_step_count=50, deadline=None, derandomize=True)
