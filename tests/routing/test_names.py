from __future__ import annotations

import pytest

from ipc_broker.config import Limits
from ipc_broker.credentials import Credentials
from ipc_broker.routing.names import Names
from ipc_broker.routing.peer import Peer
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, error, error_of, event, publish, refused, register, subscribe
from tests.routing.peers import ids_of
from tests.seed.frames import Message


def a_peer(number: int) -> Peer:
    return Peer(number, Credentials(), lambda peer: None)


def test_names_belong_to_whoever_came_first_until_given_up() -> None:
    names, first, second = Names(), a_peer(1), a_peer(2)
    registration = names.register("math", first)
    assert registration.peer is first
    assert names.register("math", second) is registration
    assert names.register("math", first) is registration
    assert (first.registrations, second.registrations) == ({"math": registration}, {})
    found = names.find("math")
    assert found is not None
    assert found.members == [registration]
    names.unregister(registration)
    assert first.registrations == {}
    assert names.find("math") is None
    assert names.register("math", second).peer is second


def test_names_are_listed_and_counted() -> None:
    names, peer = Names(), a_peer(1)
    names.register("b", peer)
    names.register("a", peer)
    assert sorted(names) == ["a", "b"]
    assert len(names) == 2
    assert "a" in names
    assert "c" not in names


# Through the router


def test_the_owner_keeps_its_name_and_the_second_is_told_who_has_it(bus: Bus) -> None:
    owner = extended_peer(bus, "math", name="calculator", credentials=Credentials(pid=1234))
    seed, extended = RawPeer(bus), extended_peer(bus)
    for second in (seed, extended):
        second.send(register("math"))
        [message] = second.receive()
        assert error_of(message)["call_id"] is None
        assert error_of(message)["object_name"] == "math"
        assert error_of(message)["message"] == "the name 'math' is taken by 'calculator' (process 1234)"
    text = "the name 'math' is taken by 'calculator' (process 1234)"
    extended.send(register("math"))
    expected = refused("RegisterObject", "math", "name_taken", text)
    expected["Error"]["data"] = {"owner": "calculator", "pid": 1234}
    assert extended.receive() == [expected]
    seed.send(register("math"))
    assert seed.receive() == [error(None, "math", text)]
    seed.send(call("1", "math", "add"))
    assert ids_of(owner.receive()) == [f"{seed.peer.id}.1"]


def test_a_name_registered_again_by_its_owner_stays_its(bus: Bus) -> None:
    owner = RawPeer(bus, "math")
    owner.register("math")
    assert list(bus.router.names) == ["math"]


def test_the_process_of_a_peer_without_credentials_is_what_hello_said(bus: Bus) -> None:
    owner = RawPeer(bus)
    owner.hello(name="calculator", pid=99)
    owner.register("math")
    second = RawPeer(bus)
    second.send(register("math"))
    assert "'calculator' (process 99)" in str(error_of(second.receive()[0])["message"])


def test_hello_cannot_claim_another_process_than_the_transport_saw(bus: Bus) -> None:
    peer = RawPeer(bus, credentials=Credentials(pid=1234))
    peer.hello(name="liar", pid=99)
    assert peer.peer.credentials.pid == 1234


@pytest.mark.parametrize("end", ["disconnect", "end of input", "unregister"])
def test_a_lost_owner_frees_its_name(bus: Bus, end: str) -> None:
    owner, second = extended_peer(bus, "math"), RawPeer(bus)
    if end == "disconnect":
        owner.disconnect()
    elif end == "end of input":
        owner.link.end_input()
    else:
        owner.send(call(f"{owner.prefix}1", "rob", "unregister", {"object_name": "math"}))
    second.register("math")


def test_only_the_owner_can_unregister(bus: Bus) -> None:
    RawPeer(bus, "math")
    other = RawPeer(bus)
    other.send(call("1", "rob", "unregister", {"object_name": "math"}))
    assert other.receive() == [{"Result": {"call_id": "1", "object_name": "rob", "value": False}}]
    assert "math" in bus.router.names


@pytest.mark.parametrize(("name", "code"), [("rob", "name_taken"), ("", "invalid_args")])
def test_rob_and_the_empty_name_cannot_be_registered(bus: Bus, name: str, code: str) -> None:
    seed, extended = RawPeer(bus), extended_peer(bus)
    for peer in (seed, extended):
        peer.send(register(name))
    text = str(error_of(seed.receive()[0])["message"])
    [answer] = extended.receive()
    assert answer == refused("RegisterObject", name, code, text)
    assert len(bus.router.names) == 0


def test_an_error_without_call_for_a_seed_peer_has_exactly_the_seeds_three_fields() -> None:
    bus = Bus(Limits(names=1, subscriptions=1))
    RawPeer(bus, "math")
    seed = RawPeer(bus)
    seed.subscribe("sensor", "a")
    nonsense: Message = {"Nonsense": {}}
    for wish in (register("math"), register(""), publish("rob", "x"), subscribe("sensor", "b"), nonsense):
        seed.send(wish)
        [answer] = seed.receive()
        assert list(error_of(answer)) == ["call_id", "object_name", "message"]
        assert error_of(answer)["call_id"] is None


def test_a_name_over_the_length_limit_is_refused(bus: Bus) -> None:
    peer = RawPeer(bus, "n" * 1024)
    peer.send(register("n" * 1025))
    assert "1024" in str(error_of(peer.receive()[0])["message"])


def test_the_limit_of_names_is_named_and_giving_one_up_makes_room() -> None:
    bus = Bus(Limits(names=2))
    peer = extended_peer(bus, "a", "b")
    peer.send(register("c"))
    text = "this connection has 2 objects, which is the limit (names)"
    assert peer.receive() == [refused("RegisterObject", "c", "overloaded", text)]
    peer.send(call(f"{peer.prefix}1", "rob", "unregister", {"object_name": "a"}))
    peer.receive()
    peer.register("c")
    extended_peer(bus, "d")


def test_registering_and_losing_names_are_events_of_rob(bus: Bus) -> None:
    watcher, seed_watcher = extended_peer(bus), RawPeer(bus)
    for peer in (watcher, seed_watcher):
        peer.subscribe("rob", "object.registered")
        peer.subscribe("rob", "object.lost")
    worker = extended_peer(bus, "b", "a", "c")
    worker.send(call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "b"}))
    bus.settle()
    worker.disconnect()
    expected = [
        event("rob", topic, {"object": name})
        for topic, name in [
            ("object.registered", "b"),
            ("object.registered", "a"),
            ("object.registered", "c"),
            ("object.lost", "b"),
            ("object.lost", "a"),
            ("object.lost", "c"),
        ]
    ]
    assert watcher.receive() == expected
    assert seed_watcher.receive() == expected


def test_a_refused_registration_is_no_event(bus: Bus) -> None:
    RawPeer(bus, "math")
    watcher = RawPeer(bus)
    watcher.subscribe("rob", "object.registered")
    second = RawPeer(bus)
    second.send(register("math"))
    second.receive()
    assert watcher.receive() == []


def test_no_name_can_forge_a_line_of_the_log(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "ipc_broker")
    name = "math\n\x1b[2J WARNING forged\r\u2028"
    peer = extended_peer(bus, name, name=name)
    peer.send(
        {"RegisterService": {"object_name": name, "service_name": name}},
        {name: {}},
        call(f"{peer.prefix}1", "rob", "unregister", {"object_name": name}),
    )
    peer.receive()
    second = extended_peer(bus, name, name=name)
    peer.send(register(name))
    peer.receive()
    second.disconnect()
    assert len(caplog.records) == 6  # served, service, no message, lost, served, lost
    for record in caplog.records:
        assert "math\\n" in record.getMessage()
        assert record.getMessage().isprintable()


def test_only_the_broker_publishes_as_rob(bus: Bus) -> None:
    watcher = RawPeer(bus)
    watcher.subscribe("rob", "object.lost")
    seed, extended = RawPeer(bus), extended_peer(bus)
    for publisher in (seed, extended):
        publisher.send(publish("rob", "object.lost", {"object": "math"}))
    text = "only the broker publishes as 'rob'"
    assert seed.receive() == [error(None, "rob", text)]
    assert extended.receive() == [refused("Publish", "rob", "permission_denied", text)]
    assert watcher.receive() == []


def test_has_object_knows_registered_names_and_rob(bus: Bus) -> None:
    RawPeer(bus, "math")
    asker = RawPeer(bus)
    for name, exists in [("math", True), ("rob", True), ("ghost", False)]:
        asker.send({"HasObject": {"object_name": name}})
        assert asker.receive() == [{"HasObjectResult": {"object_name": name, "exists": exists}}]
