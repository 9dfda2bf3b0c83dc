"""What workers tell of their objects: what is taken, what is logged of its changes, what others are told."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from ipc_broker.description import MOST_BYTES
from ipc_broker.routing import interfaces
from tests.memory import Bus, RawPeer
from tests.messages import call, error_of, register
from tests.routing.peers import json_peer, packed_peer, register_as
from tests.seed.frames import Json, Message

ADD: dict[str, Any] = {"methods": {"add": {"parameters": [{"name": "a", "schema": {"type": "integer"}}]}}}
ADD_MORE: dict[str, Any] = {"methods": {**ADD["methods"], "sub": {"doc": "Takes away."}}}
OTHER: dict[str, Any] = {"methods": {"add": {"parameters": [{"name": "a", "schema": {"type": "string"}}]}}}


def tell(peer: RawPeer, interface: Any, object_name: str = "math", **fields: Json) -> Message:
    """Registers; gives the answer."""
    message = register(object_name)
    message["RegisterObject"] |= {"interface": interface, **fields}
    peer.send(message)
    [answer] = [one for one in peer.receive() if "Event" not in one]
    return answer


def told(peer: RawPeer, interface: Any, object_name: str = "math", **fields: Json) -> None:
    assert tell(peer, interface, object_name, **fields) == {"Registered": {"object_name": object_name}}


def describe(peer: RawPeer, object_name: str = "math") -> dict[str, Any]:
    peer.send(call(f"{peer.prefix}describe", "rob", "describe", {"object": object_name}))
    [answer] = peer.receive()
    value: Any = answer["Result"]["value"]
    assert isinstance(value, dict)
    return value


# What is told of it


@pytest.mark.parametrize("of_worker", [json_peer, packed_peer])
@pytest.mark.parametrize("of_asker", [RawPeer, json_peer, packed_peer])
def test_an_interface_is_told_as_it_came_in_any_encoding(bus: Bus, of_worker: Any, of_asker: Any) -> None:
    worker, asker = of_worker(bus, name="worker"), of_asker(bus)
    interface = {
        "type": "Calculator",
        "doc": "Adds \u00e4.",
        "methods": {"add": {"doc": "", "parameters": [{"name": "a", "default": [1, None, 2.5]}], "odd": 1}},
        "definitions": {"T": {"type": "object", "x-more": [True]}},
    }
    told(worker, interface)
    described = describe(asker)
    assert described.pop("interface") == interface
    assert described == {"object": "math", "owners": [{"name": "worker"}]}


def test_an_object_that_was_registered_without_is_opaque(bus: Bus) -> None:
    seed, old, asker = RawPeer(bus, "text"), json_peer(bus, "lamp"), json_peer(bus)
    assert seed.peer in bus.router.peers
    for name, worker in (("text", seed), ("lamp", old)):
        described = describe(asker, name)
        assert "interface" not in described
        assert len(described["owners"]) == 1
        assert worker.peer.registrations[name].interface is None


def test_who_serves_it_and_how(bus: Bus) -> None:
    workers = [json_peer(bus, name=f"w{number}") for number in range(3)]
    for worker in workers:
        worker.send(register_as("shared", "shared", 2))
    spare = json_peer(bus, name="spare")
    workers[0].send(register_as("alone"))
    bus.settle()
    spare.send(register_as("alone", "standby"))
    caller = json_peer(bus)
    for number in range(7):
        caller.send(call(f"{caller.prefix}{number}", "shared", "work"))
    bus.settle()
    assert describe(caller, "shared") == {
        "object": "shared",
        "mode": "shared",
        "waiting": 1,
        "owners": [{"name": f"w{number}", "concurrency": 2, "running": 2} for number in range(3)],
    }
    assert describe(caller, "alone")["owners"] == [{"name": "w0"}, {"name": "spare", "state": "standby"}]


def test_of_several_that_share_a_name_the_oldest_that_told_something_counts(bus: Bus) -> None:
    opaque, old, new = json_peer(bus), json_peer(bus), json_peer(bus)
    opaque.send(register_as("math", "shared"))
    bus.settle()
    told(new, ADD_MORE, mode="shared")
    told(old, ADD, mode="shared")
    caller = json_peer(bus)
    for number in range(5):
        assert describe(caller)["interface"] == ADD
        caller.send(call(f"{caller.prefix}{number}", "math", "add"))  # takes turns
        bus.settle()
    old.disconnect()
    caller.receive()
    assert describe(caller)["interface"] == ADD_MORE


def test_the_interface_of_who_takes_over(bus: Bus) -> None:
    owner, spare, asker = json_peer(bus), json_peer(bus), json_peer(bus)
    told(owner, ADD)
    told(spare, ADD_MORE, mode="standby")
    assert describe(asker)["interface"] == ADD
    owner.disconnect()
    assert describe(asker)["interface"] == ADD_MORE


def test_an_object_may_be_registered_again_with_another_interface_or_none(bus: Bus) -> None:
    worker, asker = json_peer(bus), json_peer(bus)
    asker.subscribe("rob", "object.registered")
    told(worker, ADD)
    told(worker, ADD_MORE)
    assert len([one for one in asker.receive() if "Event" in one]) == 1, "it was there all the time"
    assert describe(asker)["interface"] == ADD_MORE
    worker.register("math")
    assert "interface" not in describe(asker)


# What is refused


def refused(peer: RawPeer, interface: Any) -> dict[str, Json]:
    answer = error_of(tell(peer, interface))
    assert (answer["call_id"], answer["object_name"], answer["type"]) == (None, "math", "RegisterObject")
    return answer


MALFORMED: list[tuple[Any, str]] = [
    (None, "$"),
    ([], "$"),
    ("add", "$"),
    ({"methods": []}, "$.methods"),
    ({"methods": {"add": 1}}, "$.methods[...]"),
    ({"methods": {"add": {"parameters": [{}]}}}, "name"),
    ({"methods": {"add": {"parameters": [{"name": 1}]}}}, "name"),
    ({"methods": {"add": {"parameters": [{"name": "a", "kind": "odd"}]}}}, "kind"),
    ({"methods": {"add": {"parameters": [{"name": "a", "schema": True}]}}}, "schema"),
    ({"methods": {"add": {"stream": "yes"}}}, "stream"),
    ({"methods": {"add": {"returns": []}}}, "returns"),
    ({"definitions": {"T": 1}}, "$.definitions"),
    ({"type": None}, "$.type"),
]


@pytest.mark.parametrize(("interface", "path"), MALFORMED)
def test_what_is_no_interface_is_refused_with_its_path(bus: Bus, interface: Any, path: str) -> None:
    worker = json_peer(bus)
    answer = refused(worker, interface)
    assert answer["code"] == "invalid_args"
    assert "the interface is none" in str(answer["message"])
    assert path in str(answer["message"])
    assert "math" not in bus.router.names
    told(worker, ADD)
    refused(worker, interface)
    assert describe(worker)["interface"] == ADD, "it is served as before"


def test_an_interface_that_is_too_large_is_refused(bus: Bus) -> None:
    worker = json_peer(bus, max_frame=1_000_000)
    around = len(json.dumps({"doc": ""}, separators=(",", ":")))
    answer = refused(worker, {"doc": "x" * (MOST_BYTES - around + 1)})
    assert answer["code"] == "too_large"
    assert f"{MOST_BYTES + 1} bytes" in str(answer["message"])
    told(worker, {"doc": "x" * (MOST_BYTES - around)})
    assert len(describe(worker)["interface"]["doc"]) == MOST_BYTES - around


def test_an_interface_that_json_cannot_say_is_refused(bus: Bus) -> None:
    worker = packed_peer(bus)
    for value in (b"bytes", float("nan")):
        answer = refused(worker, {"definitions": {"T": {"default": value}}})
        assert answer["code"] == "invalid_args"
        assert "JSON cannot say the interface" in str(answer["message"])


def test_what_is_nested_too_deeply_is_refused(bus: Bus) -> None:
    worker = json_peer(bus, max_frame=1_000_000)
    deep = b'{"items":' * 20_000 + b"{}" + b"}" * 20_000
    body = b'{"RegisterObject":{"object_name":"math","interface":{"definitions":{"T":%b}}}}' % deep
    worker.send_bytes(len(body).to_bytes(4) + body)
    [answer] = map(error_of, worker.receive())
    assert "too deeply" in str(answer["message"])
    assert worker.peer in bus.router.peers


def test_who_asks_in_an_encoding_that_cannot_say_it_is_told_so(bus: Bus) -> None:
    worker, asker = json_peer(bus), packed_peer(bus)
    told(worker, {"definitions": {"T": {"maximum": 10**30}}})
    asker.send(call(f"{asker.prefix}1", "rob", "describe", {"object": "math"}))
    [answer] = map(error_of, asker.receive())
    assert answer["code"] == "invalid_args"
    assert "cannot be said here" in str(answer["message"])


def test_an_interface_over_the_frame_of_who_asks_is_an_error(bus: Bus) -> None:
    worker, asker = json_peer(bus, max_frame=1_000_000), RawPeer(bus)
    told(worker, {"doc": "x" * 70_000})
    asker.send(call("1", "rob", "describe", {"object": "math"}))
    [answer] = map(error_of, asker.receive())
    assert "over the limit of 65536 bytes" in str(answer["message"])


# What is logged of changes


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "ipc_broker")
    return caplog


def changed(log: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What was logged of changed interfaces since the last time."""
    found = [(one.levelno, one.getMessage()) for one in log.records if "changed interface" in one.getMessage()]
    log.clear()
    return found


def test_changes_are_logged_as_compatible_or_not(bus: Bus, log: pytest.LogCaptureFixture) -> None:
    worker = json_peer(bus, name="worker")
    told(worker, ADD)
    assert changed(log) == []
    told(worker, ADD)
    told(worker, {**ADD, "doc": "Only words."})
    assert changed(log) == []
    told(worker, ADD_MORE)
    assert changed(log) == [(logging.INFO, "'worker' serves 'math' with a changed interface, compatible: 'sub' is new")]
    told(worker, OTHER)
    [(level, text)] = changed(log)
    assert level == logging.WARNING
    assert text == (
        "'worker' serves 'math' with a changed interface, not compatible:"
        " 'add' takes string as 'a' instead of integer; 'sub' is gone"
    )


@pytest.mark.parametrize(("first", "second"), [(json_peer, packed_peer), (packed_peer, json_peer)])
def test_changes_are_found_after_the_worker_was_gone_and_in_another_encoding(
    bus: Bus, log: pytest.LogCaptureFixture, first: Any, second: Any
) -> None:
    worker = first(bus)
    told(worker, ADD)
    worker.disconnect()
    told(second(bus), ADD)
    assert changed(log) == []
    told(second(bus), OTHER, "text")
    for peer in [*bus.links]:
        bus.links[peer].disconnect()
    told(second(bus), OTHER)
    assert [level for level, _ in changed(log)] == [logging.WARNING]


def test_many_changes_are_counted(bus: Bus, log: pytest.LogCaptureFixture) -> None:
    worker = json_peer(bus)
    told(worker, {"methods": {f"m{number}": {} for number in range(50)}})
    told(worker, {})
    [(_, text)] = changed(log)
    assert text.count("is gone") == interfaces.MOST_LOGGED
    assert text.endswith("; and 30 more")


ODD: list[Any] = [1, None, True, "x", [], [1], {}, {"a": 1}, [[]], [None], "#/definitions/T", {"$ref": 1}]


KEYWORDS = "$ref anyOf enum type properties required additionalProperties items prefixItems minimum format"


@pytest.mark.parametrize("keyword", KEYWORDS.split())
def test_whatever_stands_in_a_schema_the_broker_compares_it(
    bus: Bus, log: pytest.LogCaptureFixture, keyword: str
) -> None:
    """A worker in another language may say anything; nobody else may notice."""
    worker = json_peer(bus)
    for one in ODD:
        for other in ODD:
            for schema in ({keyword: one}, {"type": "object", keyword: other}, {"type": "array", keyword: other}):
                told(worker, {"methods": {"add": {"returns": schema}}, "definitions": {"T": {keyword: one}}})
    assert describe(worker)["object"] == "math"


def test_endless_schemas_end_nothing(bus: Bus) -> None:
    worker = json_peer(bus)
    endless = {"T": {"anyOf": [{"$ref": "#/definitions/T"}]}}
    told(worker, {"methods": {"add": {"returns": {"$ref": "#/definitions/T"}}}, "definitions": endless})
    told(worker, {"methods": {"add": {"returns": {"type": "integer"}}}, "definitions": endless})
    deep = b'{"items":' * 200 + b"%b" + b"}" * 200
    for innermost in (b"{}", b'{"type":"string"}'):
        schema = json.loads(deep % innermost)
        told(worker, {"methods": {"add": {"returns": schema}}})
    assert describe(worker)["object"] == "math"


# What is remembered


def test_one_interface_of_many_workers_is_kept_once(bus: Bus) -> None:
    workers = [json_peer(bus) for _ in range(3)]
    for worker in workers:
        told(worker, ADD, mode="shared")
    kept = [worker.peer.registrations["math"].interface for worker in workers]
    assert kept[0] is not None
    assert kept[0] is kept[1] is kept[2]


def test_what_is_remembered_is_bounded(
    bus: Bus, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interfaces, "MOST_REMEMBERED", 20_000)
    known = bus.router.registrar.interfaces
    worker = json_peer(bus)
    for number in range(50):
        told(worker, {"doc": "x" * 1000, **ADD}, f"o{number}")
        assert sum(one.size for one in known._last.values()) == known._size <= 20_000
    told(worker, {"doc": "x" * 30_000}, "large")
    assert (len(known._last), known._size) == (0, 0)
    for interface in (ADD, OTHER, ADD):
        told(worker, interface)
    assert len(changed(log)) == 2
    assert describe(worker, "o0")["interface"]["doc"] == "x" * 1000, "of what is served nothing is forgotten"
