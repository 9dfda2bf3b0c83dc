from __future__ import annotations

import json
import signal
import sys

import pytest

from ipc_broker.cli.listening import shown
from ipc_broker.events import Event, Gap
from ipc_broker.sync import connect
from tests.cli.programs import Ended, broker_at, rob, rob_listen

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")


def test_events_are_shown_as_they_come(bus: str) -> None:
    with rob_listen(bus, "sensor", "shown") as listener:
        assert listener.note == "listening to sensor shown; Ctrl-C ends\n"
        assert rob("send", "sensor", "shown", "s", "25.6°C", address=bus).status == 0
        assert [listener.output.readline() for _ in range(3)] == ["\n", "Result:\n", '"25.6°C"\n']
        assert rob("send", "sensor", "shown", "(ii)", "1", "-2", address=bus).status == 0
        assert [listener.output.readline() for _ in range(5)] == [
            "\n",
            "Result:\n",
            "List:\n",
            "   0 :: 1\n",
            "   1 :: -2\n",
        ]
        assert listener.process.poll() is None


def test_count_ends_it(bus: str) -> None:
    with rob_listen(bus, "sensor", "counted", "--count", "2") as listener, connect(bus) as client:
        assert listener.note == "listening to sensor counted; 2 events, or Ctrl-C, ends\n"
        for number in range(3):
            client.publish("sensor", "counted", number)
        assert listener.ended() == Ended(0, "\nResult:\n0\n\nResult:\n1\n", "")


def test_json(bus: str) -> None:
    with rob_listen(bus, "sensor", "json", "--json", "--count", "1") as listener, connect(bus) as client:
        assert listener.note == '{"listening":{"object":"sensor","topic":"json"}}\n'
        client.publish("sensor", "json", {"°": [1]})
        assert listener.ended() == Ended(0, '{"object":"sensor","topic":"json","value":{"°":[1]}}\n', "")


def test_a_timeout_without_a_count_is_a_good_end(bus: str) -> None:
    ended = rob("listen", "sensor", "silent", "--timeout", "0.05", address=bus)
    assert ended == Ended(0, "", "listening to sensor silent; Ctrl-C ends\n")


def test_a_count_that_is_not_reached(bus: str) -> None:
    with rob_listen(bus, "sensor", "few", "--count", "3", "--timeout", "1") as listener, connect(bus) as client:
        client.publish("sensor", "few", 1)
        ended = listener.ended()
    assert ended == Ended(1, "\nResult:\n1\n", "rob: 1 of 3 events came within 1 s\n")


@needs_signals
def test_ctrl_c_is_a_good_end(bus: str) -> None:
    with rob_listen(bus, "sensor", "interrupted") as listener:
        listener.process.send_signal(signal.SIGINT)
        assert listener.ended() == Ended(0, "", "")


def test_a_reader_that_goes_away_ends_it_quietly(bus: str) -> None:
    with rob_listen(bus, "sensor", "closed") as listener, connect(bus) as client:
        client.publish("sensor", "closed", 1)
        assert [listener.output.readline() for _ in range(3)] == ["\n", "Result:\n", "1\n"]
        listener.output.close()
        client.publish("sensor", "closed", 2)
        assert listener.process.wait(30) == 0
        assert listener.process.stderr is not None
        assert listener.process.stderr.read() == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_it_goes_on_with_the_next_broker(address: str, as_json: bool) -> None:
    with broker_at(address) as broker:
        listening = rob_listen(address, "sensor", "again", "--count", "1", *(["--json"] if as_json else []))
        with listening as listener:
            assert listener.note
            broker.stop()
            with broker_at(address), connect(address) as client:
                errors = listener.process.stderr
                assert errors is not None
                notes = [errors.readline() for _ in range(3)]
                client.publish("sensor", "again", 1)
                ended = listener.ended()
    said = [
        ("info", f"the broker at {address} says goodbye (the broker stops)"),
        ("info", f"the connection to {address} was lost (the broker closed it); connecting again"),
        ("info", f"connected to {address} again"),
    ]
    if as_json:
        assert [json.loads(note) for note in notes] == [{level: message} for level, message in said]
        assert [json.loads(line) for line in ended.output.splitlines()] == [
            {"object": "sensor", "topic": "again", "missed": None},
            {"object": "sensor", "topic": "again", "value": 1},
        ]
    else:
        assert notes == [f"rob: {message}\n" for _, message in said]
        assert ended.output == "\nMissed:\nan unknown number of events\n\nResult:\n1\n"
    assert (ended.status, ended.errors) == (0, "")


def test_gaps() -> None:
    gap = Gap("sensor", "temperature", missed=3)
    assert shown(gap, as_json=True) == '{"object":"sensor","topic":"temperature","missed":3}\n'
    assert shown(gap, as_json=False) == "\nMissed:\n3 events\n"
    assert shown(Gap("a", "b"), as_json=True) == '{"object":"a","topic":"b","missed":null}\n'
    assert shown(Gap("a", "b"), as_json=False) == "\nMissed:\nan unknown number of events\n"
    assert shown(Event("a", "b", None), as_json=False) == "\nResult:\nnull\n"
    assert shown(Event("a", "b", 1, retained=True), as_json=False) == "\nResult (retained):\n1\n"
    assert shown(Event("a", "b", 1, retained=True), as_json=True) == (
        '{"object":"a","topic":"b","value":1,"retained":true}\n'
    )
    assert shown(Event("a", "b", 1), as_json=False, named=True) == "\nResult a b:\n1\n"
    assert shown(gap, as_json=False, named=True) == "\nMissed sensor temperature:\n3 events\n"


def test_with_wildcards_each_event_is_named(bus: str) -> None:
    with rob_listen(bus, "room.*", ">", "--count", "2") as listener, connect(bus) as client:
        client.publish("room.kitchen", "light.on", 1)
        client.publish("hall", "light.on", 2)
        client.publish("room.bath", "door", 3)
        expected = "\nResult room.kitchen light.on:\n1\n\nResult room.bath door:\n3\n"
        assert listener.ended() == Ended(0, expected, "")


def test_of_a_group_one_gets_each_event(bus: str) -> None:
    with (
        rob_listen(bus, "jobs", "new", "--group", "g", "--count", "1", "--json") as one,
        rob_listen(bus, "jobs", "new", "--group", "g", "--count", "1", "--json") as other,
        connect(bus) as client,
    ):
        client.publish("jobs", "new", 1)
        client.publish("jobs", "new", 2)
        outputs = sorted(listener.ended().output for listener in (one, other))
        assert [json.loads(output)["value"] for output in outputs] == [1, 2]


def test_a_pattern_that_makes_no_sense(bus: str) -> None:
    ended = rob("listen", "a.>.b", "x", address=bus)
    assert (ended.status, ended.output) == (1, "")
    assert (
        ended.errors
        == "rob: the pattern 'a.>.b' has something behind '>', which stands for all the rest (invalid_args)\n"
    )
