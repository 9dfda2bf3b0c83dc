"""`rob.services`, `rob.startService`, `rob.stopService`, and RegisterService."""

from __future__ import annotations

import logging

import msgspec
import pytest

from ipc_broker.activation.definition import ServiceDefinition
from ipc_broker.observation import Inspection
from ipc_broker.security.policy import Policy
from ipc_broker.security.policy_file import parse_policy
from ipc_broker.security.principal import Principal
from tests.memory import Bus, RawPeer
from tests.messages import call, refused, register, result
from tests.routing.launching import FakeLauncher, launcher_of, state_of
from tests.routing.peers import error_from, json_peer, packed_peer
from tests.seed.frames import Json, Message

DISK = ServiceDefinition(object="disk", exec=("worker", "--disk"))
PAPER = ServiceDefinition(object="paper", systemd_unit="paper.service")


@pytest.fixture
def launcher(bus: Bus) -> FakeLauncher:
    return launcher_of(bus, PAPER, DISK)


class StrangersPeer(RawPeer):
    """Of a user who is admitted, and not the broker's own."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        principal = Principal(uid=1000, user="somebody")
        self.peer.principal = principal
        bus.router.gatekeeper.admit(self.peer, principal, bus.now)


def ask(peer: RawPeer, method: str, args: Json = None) -> Message:
    peer.send(call(f"{peer.prefix}1", "rob", method, args))
    [answer] = peer.receive()
    return answer


def test_services_are_listed_by_their_objects(bus: Bus, launcher: FakeLauncher) -> None:
    peer = json_peer(bus)
    bus.now += 1.5
    disk: Json = {"object": "disk", "state": "stopped", "seconds": 1.5, "exec": ["worker", "--disk"]}
    paper: Json = {"object": "paper", "state": "stopped", "seconds": 1.5, "systemd_unit": "paper.service"}
    assert ask(peer, "services") == result(f"{peer.prefix}1", "rob", [disk, paper])


def test_start_and_stop(bus: Bus, launcher: FakeLauncher) -> None:
    peer = json_peer(bus)
    assert ask(peer, "startService", {"object": "disk"})["Result"]["value"] == {
        "object": "disk",
        "state": "starting",
        "seconds": 0.0,
        "exec": ["worker", "--disk"],
    }
    assert launcher.starts == ["disk"]
    answer = ask(peer, "stopService", {"object": "disk"})["Result"]["value"]
    assert isinstance(answer, dict)
    assert answer["state"] == "stopping"
    assert launcher.stopping == {"disk"}


def test_what_is_no_service_is_neither_started_nor_stopped(bus: Bus, launcher: FakeLauncher) -> None:
    peer = packed_peer(bus, "math")
    for method in ("startService", "stopService"):
        answer = error_from(ask(peer, method, {"object": "math"}))
        assert answer.code == "no_such_object"
        assert answer.message == "there is no service of 'math'; `rob services` lists all"


def test_whom_this_broker_has_not_started_it_does_not_stop(bus: Bus, launcher: FakeLauncher) -> None:
    packed_peer(bus, "disk", name="tester")
    answer = error_from(ask(packed_peer(bus), "stopService", {"object": "disk"}))
    assert answer.message == "'disk' is served by 'tester', which this broker has not started; stop it yourself"


def test_a_broker_that_stops_is_asked_in_vain(bus: Bus, launcher: FakeLauncher) -> None:
    peer = packed_peer(bus)
    bus.router.say_goodbye("the broker stops")
    bus.flush()
    peer.receive()
    assert error_from(ask(peer, "startService", {"object": "disk"})).code == "activation_failed"
    assert launcher.starts == []


@pytest.mark.parametrize("method", ["services", "startService", "stopService"])
def test_they_are_not_for_everybody(bus: Bus, launcher: FakeLauncher, method: str) -> None:
    stranger = StrangersPeer(bus)
    assert "Result" in stranger.hello()
    answer = error_from(ask(stranger, method, {"object": "disk"}))
    assert answer.code == "permission_denied"
    assert "may not administer this broker: the default" in answer.message
    assert launcher.starts == []


def test_inspect_tells_calls_that_wait_for_a_service(bus: Bus, launcher: FakeLauncher) -> None:
    caller = json_peer(bus)
    caller.send(call(f"{caller.prefix}0", "disk", "free"))
    inspection = msgspec.convert(ask(caller, "inspect")["Result"]["value"], Inspection)
    assert [one.state for one in inspection.calls] == ["waiting for its service"]


# Whose the names of services are


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (Policy(), False),
        (parse_policy('default = "allow"', "p"), False),
        (parse_policy('[[rule]]\nname = "r"\nusers = ["somebody"]\nregister = ["disk"]', "p"), True),
    ],
)
def test_a_name_with_a_service_is_its_owners_unless_a_rule_says_otherwise(
    bus: Bus, launcher: FakeLauncher, policy: Policy, allowed: bool
) -> None:
    """Else whoever is admitted could take it while the service does not run, and get the calls that start it."""
    bus.router.gatekeeper.replace_policy(policy, bus.now)
    stranger = StrangersPeer(bus)
    assert "Result" in stranger.hello()
    stranger.send(register("disk"))
    [answer] = stranger.receive()
    assert ("Registered" in answer) is allowed
    if not allowed:
        assert error_from(answer).code == "permission_denied"
    owner = packed_peer(bus)
    owner.send(register("disk"))
    assert ("Registered" in owner.receive()[0]) is not allowed


# RegisterService


def register_service(object_name: str, service_name: str) -> Message:
    return {"RegisterService": {"object_name": object_name, "service_name": service_name}}


@pytest.mark.parametrize("service_name", ["math", "math.service"])
def test_a_peer_may_say_which_unit_serves_an_object(bus: Bus, launcher: FakeLauncher, service_name: str) -> None:
    bus.router.services.allow_units = frozenset({"math.service"})
    seed = RawPeer(bus)
    seed.send(register_service("math", service_name), register_service("math", service_name))
    assert seed.receive() == []
    assert state_of(bus, "math").systemd_unit == "math.service"
    seed.send(call("1", "math", "add"))
    seed.receive()
    assert launcher.starts == ["math"]


@pytest.mark.parametrize(
    ("object_name", "service_name", "why"),
    [
        ("math", "other", "the unit 'other.service' is not among those that programs may name (allow_units)"),
        ("math", "--all", "systemd_unit: '--all.service' is no name of a service unit, as in 'disk.service'"),
        ("math", "../../x", "systemd_unit: '../../x.service' is no name of a service unit, as in 'disk.service'"),
        ("math", "a b", "systemd_unit: 'a b.service' is no name of a service unit, as in 'disk.service'"),
        ("rob", "math", "object: 'rob' is the broker's own"),
        ("disk", "math", "a file defines its service"),
    ],
)
def test_others_are_refused_and_logged(
    bus: Bus,
    launcher: FakeLauncher,
    object_name: str,
    service_name: str,
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus.router.services.allow_units = frozenset({"math.service"})
    peer, seed = packed_peer(bus), RawPeer(bus)
    wish = register_service(object_name, service_name)
    with caplog.at_level(logging.WARNING, "ipc_broker"):
        peer.send(wish)
        [answer] = peer.receive()
    text = error_from(answer).message
    assert answer == refused("RegisterService", object_name, "permission_denied", text)
    assert why in text
    assert caplog.records[-1].message.endswith(f"refused, {text}")
    seed.send(wish)
    assert seed.receive() == []
    assert bus.router.services.find("math") is None


def test_a_file_that_says_the_same_is_no_reason_to_refuse(bus: Bus, launcher: FakeLauncher) -> None:
    bus.router.services.allow_units = frozenset({"paper.service"})
    peer = packed_peer(bus)
    peer.send(register_service("paper", "paper"))
    assert peer.receive() == []


def test_what_peers_have_said_stays_when_the_files_are_read_again_and_files_weigh_more(
    bus: Bus, launcher: FakeLauncher
) -> None:
    bus.router.services.allow_units = frozenset({"math.service"})
    peer = packed_peer(bus)
    peer.send(register_service("math", "math"))
    peer.receive()
    bus.router.services.replace([DISK], bus.now)
    assert state_of(bus, "math").systemd_unit == "math.service"
    bus.router.services.replace([ServiceDefinition(object="math", exec=("calculator",))], bus.now)
    assert state_of(bus, "math").exec == ("calculator",)
    bus.router.services.replace([], bus.now)
    assert bus.router.services.find("math") is None


def test_it_is_for_those_who_may_administer(bus: Bus, launcher: FakeLauncher) -> None:
    bus.router.services.allow_units = frozenset({"math.service"})
    stranger = StrangersPeer(bus)
    stranger.send(register_service("math", "math"))
    assert stranger.receive() == [], "it speaks the protocol of the Rust crate"
    extended = StrangersPeer(bus)
    assert "Result" in extended.hello()
    extended.send(register_service("math", "math"))
    [answer] = extended.receive()
    assert error_from(answer).code == "permission_denied"
    assert bus.router.services.find("math") is None
