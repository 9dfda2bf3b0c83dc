"""`rob monitor`: which records it shows, and how it ends."""

from __future__ import annotations

import json
import re
import sys

import pytest
from msgspec import UNSET

from ipc_broker import RemoteError
from ipc_broker.cli.monitoring import document_of, kinds_of
from ipc_broker.cli.watching import Seen
from ipc_broker.cli.words import UsageError
from ipc_broker.observation import Record
from ipc_broker.sync import connect
from tests.cli.programs import Ended, broker_at, rob, rob_running


def test_kinds() -> None:
    assert kinds_of("call") == {"call"}
    assert kinds_of("answer,object") == {"item", "result", "error", "cancel", "registered", "lost"}
    assert {"call", "event", "connected"} < kinds_of("")
    with pytest.raises(UsageError, match=r"given 'evnt'; did you mean event\?"):
        kinds_of("call,evnt")


def test_a_document_has_what_there_is_to_say() -> None:
    record = Record("event", time=3.0, object="a", method="b", peer="'c'", size=1, count=2)
    said = {"kind": "event", "at": 1000.25, "object": "a", "method": "b", "peer": "'c'", "size": 1, "count": 2}
    assert document_of(Seen(record, 1000.25, None)) == said | {"value": None}
    assert document_of(Seen(record, 1000.25, UNSET)) == said


def test_calls_answers_and_events_as_documents(bus: str) -> None:
    with connect(bus, name="web") as client, rob_running(bus, "monitor", "--json", "--count", "5") as monitor:
        assert json.loads(monitor.note) == {"watching": {"object": "", "method": ""}}
        client.call("math", "add", {"a": 1, "b": 2}, headers={"tenant": "x"})
        with pytest.raises(RemoteError):
            client.call("math", "divide", [1, 0])
        client.publish("sensor", "heat", b"\x00")
        ended = monitor.ended()
    assert (ended.status, ended.errors) == (0, "")
    call, result, _, error, event = map(json.loads, ended.output.splitlines())
    assert (call["kind"], call["value"], call["headers"]) == ("call", {"a": 1, "b": 2}, {"tenant": "x"})
    assert (result["kind"], result["value"], result["call"]) == ("result", {"sum": 3}, call["call"])
    assert result["seconds"] > 0
    assert (error["kind"], error["code"], error["type"]) == ("error", "remote_error", "ZeroDivisionError")
    assert (event["kind"], event["method"], event["value"]) == ("event", "heat", {"base64": "AA=="})


def test_lines_for_people_are_plain_without_a_terminal(bus: str) -> None:
    with connect(bus, name="web") as client, rob_running(bus, "monitor", "math", "--count", "2") as monitor:
        assert monitor.note == "watching math; 2 records, or Ctrl-C, ends\n"
        client.publish("sensor", "heat", 1)
        client.call("math", "add", {"a": 1, "b": 2})
        ended = monitor.ended()
    assert (ended.status, ended.errors) == (0, "")
    call, result = ended.output.splitlines()
    assert re.fullmatch(r"[\d:.]{12}    #1 →          math\.add\(a=1, b=2\)  'web' \(process \d+\)", call)
    assert re.fullmatch(
        r"[\d:.]{12}    #1 ← +[\d.]+ .s math\.add \{\"sum\":3\}  connection \d+ \(process \d+\)", result
    )


def test_only_some_kinds(bus: str) -> None:
    with connect(bus) as client, rob_running(bus, "monitor", "--only", "event", "--count", "1", "--json") as monitor:
        client.call("math", "add", {"a": 1, "b": 2})
        client.publish("sensor", "heat", 1)
        assert json.loads(monitor.ended().output)["kind"] == "event"


def test_a_long_payload_is_left_out_unless_it_is_asked_for(bus: str) -> None:
    with (
        connect(bus) as client,
        rob_running(bus, "monitor", "big", "--count", "1") as monitor,
        rob_running(bus, "monitor", "big", "--count", "1", "--full") as full,
    ):
        client.publish("big", "value", "x" * 10_000)
        assert "big value (9.77 KiB)" in monitor.ended().output
        assert "x" * 10_000 in full.ended().output


def test_how_it_ends(bus: str) -> None:
    assert rob("monitor", "nobody", "--timeout", "0.05", address=bus).status == 0
    ended = rob("monitor", "nobody", "--timeout", "0.05", "--count", "2", address=bus)
    assert (ended.status, ended.errors.splitlines()[-1]) == (1, "rob: 0 of 2 records came within 0.05 s")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_ends_it(bus: str) -> None:
    with rob_running(bus, "monitor") as monitor:
        assert monitor.interrupt() == Ended(0, "", "")


def test_a_broker_that_comes_back_is_watched_again(address: str) -> None:
    with broker_at(address) as broker, rob_running(address, "monitor", "--only", "event", "--count", "1") as monitor:
        broker.stop()
        with broker_at(address), connect(address) as client:
            assert "watching from here on" in monitor.output.readline()
            client.publish("sensor", "heat", 1)
            ended = monitor.ended()
    assert ended.status == 0
    assert "sensor heat 1" in ended.output
    assert ended.errors.splitlines()[-1] == f"rob: connected to {address} again"
