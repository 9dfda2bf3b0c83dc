"""`rob record`, `replay` and `mock`: what happens on one bus, and again on another."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ipc_broker import Event, InvalidArgs, NoSuchMethod, RemoteError
from ipc_broker.cli.recording import VERSION, Header, Line, write_line
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE, Ended, broker_at, rob, rob_running

RECORDS = 18
"""Of a call two, of a stream of two items four, of an event one."""

VALUES = (b"\x00", {"celsius": 21.5}, None, "last")


@pytest.fixture(scope="module")
def recording(bus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls, a stream, errors and events, as they went over `bus`."""
    path = tmp_path_factory.mktemp("recording") / "tape.jsonl"
    words = ["record", str(path), "--count", str(RECORDS), "--json"]
    with connect(bus, name="web") as client, rob_running(bus, *words) as record:
        assert json.loads(record.note) == {"recording": {"object": "", "method": ""}}
        for number in (1, 2):
            client.call("math", "add", {"a": 1, "b": number})
        assert list(client.stream("math", "count", [2])) == [1, 2]
        for arguments in ([1, 0], {"a": 1}):
            with pytest.raises((RemoteError, InvalidArgs)):
                client.call("math", "divide", arguments)
        client.call("echo", "binary")
        for value in VALUES:
            client.publish("sensor.kitchen", "heat", value, retain=value == "last")
        ended = record.ended()
    assert (ended.status, ended.errors) == (0, "")
    counts = {"calls": 6, "answers": 6, "items": 2, "events": 4, "unanswered": 0, "missed": 0, "without_payload": 0}
    assert json.loads(ended.output) == counts
    return path


def tape(folder: Path, *lines: Line) -> str:
    path = folder / "tape.jsonl"
    with path.open("wb") as file:
        write_line(file, Header(VERSION))
        for line in lines:
            write_line(file, line)
    return str(path)


def test_a_file_that_is_there_is_left_alone(bus: str, recording: Path) -> None:
    before = recording.read_bytes()
    ended = rob("record", str(recording), address=bus)
    assert ended.status == 2
    assert ended.errors.startswith(f"rob: {recording} is there already: remove it, or record to another file\n")
    assert recording.read_bytes() == before


def test_a_recording_goes_to_standard_output(bus: str) -> None:
    with connect(bus) as client, rob_running(bus, "record", "-", "sensor.*", "--count", "1") as record:
        assert record.note == "recording sensor.* to standard output; Ctrl-C ends\n"
        client.publish("door", "open", True)
        client.publish("sensor.attic", "heat", 5)
        ended = record.ended()
    assert (ended.status, ended.errors) == (0, "recorded 0 calls, 0 answers, 1 event\n")
    header, event = map(json.loads, ended.output.splitlines())
    assert header["object"] == "sensor.*"
    assert (event["kind"], event["object"], event["value"], event["time"]) == ("event", "sensor.attic", 5, 0.0)


def test_a_recording_ends_quietly_when_nobody_reads_it_any_more(bus: str) -> None:
    with connect(bus) as client, rob_running(bus, "record", "-", "sensor.*") as record:
        record.output.close()
        client.publish("sensor.attic", "heat", 5)
        assert (record.process.wait(PATIENCE), record.errors.read()) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="others cannot limit the files of another process")
def test_a_recording_for_which_there_is_no_room(bus: str, tmp_path: Path) -> None:
    if sys.platform != "linux":
        return  # type checkers read no marks
    import resource

    path = tmp_path / "tape.jsonl"
    with connect(bus) as client, rob_running(bus, "record", str(path), "sensor.*") as record:
        resource.prlimit(record.process.pid, resource.RLIMIT_FSIZE, (1000, 1000))
        client.publish("sensor.attic", "heat", "x" * 1000)
        ended = record.ended()
    assert (ended.status, ended.errors) == (1, f"rob: cannot write {path}: File too large\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_ends_a_recording(bus: str, tmp_path: Path) -> None:
    with rob_running(bus, "record", str(tmp_path / "tape.jsonl"), "nobody") as record:
        assert record.interrupt() == Ended(0, "", "recorded 0 calls, 0 answers, 0 events\n")


def test_too_few_records(bus: str, tmp_path: Path) -> None:
    ended = rob("record", str(tmp_path / "tape.jsonl"), "nobody", "--count", "2", "--timeout", "0.05", address=bus)
    assert (ended.status, ended.errors.splitlines()[-1]) == (1, "rob: 0 of 2 records came within 0.05 s")


def test_events_are_published_again_in_their_order(bus: str, recording: Path) -> None:
    with connect(bus) as client, client.subscribe("sensor.*", "heat") as events:
        client.clear("sensor.kitchen", "heat")
        ended = rob("replay", str(recording), "--speed", "10", address=bus)
        client.drain()  # its answer comes behind all that was routed before
        came = [event for event in (events.get(timeout=0.0) for _ in range(events.pending)) if isinstance(event, Event)]
    assert (ended.status, ended.output) == (0, "")
    assert ended.errors.splitlines()[-1] == "published 4 events"
    assert [event.value for event in came if not event.retained] == list(VALUES)


def test_events_are_published_with_their_time_between_them(bus: str, tmp_path: Path) -> None:
    path = tape(
        tmp_path, *(Line("event", time=time, object="slow", method="tick", value=time) for time in (0.0, 1000.0))
    )
    with connect(bus) as client, client.subscribe("slow", "tick") as events:
        ended = rob("replay", path, "--timeout", "0.1", address=bus)
        client.drain()
        assert events.pending == 1
    assert (ended.status, ended.errors.splitlines()[-1]) == (1, "rob: 1 of 2 events were published within 0.1 s")
    assert rob("replay", path, "--speed", "1e6", "--json", address=bus) == Ended(
        0, '{"published":2,"left_out":0}\n', ""
    )


def test_calls_are_answered_as_they_were(recording: Path, address: str) -> None:
    with broker_at(address), rob_running(address, "mock", str(recording)) as mock, connect(address) as client:
        assert mock.note == f"rob: serving 'math', 'echo' as in 6 recorded calls at {address}; Ctrl-C ends\n"
        for _ in range(2):
            assert client.call("math", "add", {"b": 2, "a": 1}) == {"sum": 3}
        assert list(client.stream("math", "count", [2])) == [1, 2]
        with pytest.raises(RemoteError) as raised:
            client.call("math", "divide", [1, 0])
        assert (raised.value.type, str(raised.value)) == ("ZeroDivisionError", "division by zero")
        with pytest.raises(InvalidArgs, match="Object missing required field `b`"):
            client.call("math", "divide", {"a": 1})
        with pytest.raises(InvalidArgs, match=r"\(a=1, b=9\) was not recorded; what was: \(a=1, b=1\), \(a=1, b=2\)"):
            client.call("math", "add", {"a": 1, "b": 9})
        with pytest.raises(NoSuchMethod, match="it has: add, count, divide"):
            client.call("math", "subtract")
        binary, not_a_number = client.call("echo", "binary")
        assert binary == b"\x00\xff"
        assert not_a_number != not_a_number


def test_with_delay_answers_take_as_long_as_they_took(tmp_path: Path, address: str) -> None:
    answer = Line("result", call="1", object="a", method="b", value="late", size=1, seconds=0.2)
    path = tape(tmp_path, Line("call", call="1", object="a", method="b", value=None), answer)
    with broker_at(address), rob_running(address, "mock", path, "--delay") as mock, connect(address) as client:
        assert mock.note.startswith("rob: serving 'a' as in 1 recorded call at ")
        with pytest.raises(TimeoutError):
            client.call("a", "b", timeout=0.1)
        assert client.call("a", "b", timeout=None) == "late"


def test_a_recording_without_calls_cannot_be_a_mock(tmp_path: Path, address: str) -> None:
    path = tape(tmp_path, Line("event", object="a", method="b", value=1))
    assert rob("mock", path, address=address) == Ended(2, "", f"rob: {path} has no calls that could be answered\n")
