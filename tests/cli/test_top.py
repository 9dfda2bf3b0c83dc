"""`rob top` and `rob why` as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ipc_broker.observation import Inspection
from ipc_broker.sync import Client, connect
from tests.cli.programs import PATIENCE, ROB, Ended, broker_at, environment, rob
from tests.end_to_end.processes import until
from tests.seed.broker import SeedBroker, running


def test_a_document_for_each_interval(bus: str) -> None:
    with (
        connect(bus, name="web") as client,
        subprocess.Popen(
            [sys.executable, *ROB, "top", "--json", "--interval", "0.1", "--count", "2", "--address", bus],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=environment(),
        ) as top,
    ):
        while top.poll() is None:
            client.call("math", "add", {"a": 1, "b": 2})
            client.publish("sensor", "heat", 1)
        assert top.stdout is not None
        documents: list[dict[str, Any]] = [json.loads(line) for line in top.stdout]
    assert (top.returncode, len(documents)) == (0, 2)
    for document in documents:
        assert document["seconds"] > 0
        assert document["calls_per_second"] > 0
        assert document["published_per_second"] > 0
        objects = {one["object"]: one for one in document["objects"]}
        assert objects["math"]["calls_per_second"] == document["calls_per_second"]
        assert 0 < objects["math"]["p50"] <= objects["math"]["p99"] < PATIENCE
        assert objects["sensor"]["events_per_second"] == document["published_per_second"]
        assert "web" in [one["name"] for one in document["connections"]]


def test_tables_are_plain_without_a_terminal(bus: str) -> None:
    ended = rob("top", "--interval", "0.05", "--count", "1", address=bus)
    assert (ended.status, ended.errors) == (0, "")
    assert ended.output.startswith("ipc-broker ")
    assert "\nobject  calls/s  p50  p99  in flight  waiting  errors/s  events/s\n" in ended.output
    assert "\x1b" not in ended.output


def test_top_ends_with_its_timeout(bus: str) -> None:
    assert rob("top", "--interval", "0.05", "--timeout", "0.2", "--json", address=bus).status == 0
    ended = rob("top", "--interval", "50", "--timeout", "0.1", "--count", "2", address=bus)
    assert ended == Ended(1, "", "rob: 0 of 2 intervals were over within 0.1 s\n")


# rob why


def test_nothing_is_stuck(bus: str) -> None:
    ended = rob("why", address=bus)
    assert ended == Ended(0, "Nothing is stuck: no call is in flight; every subscriber keeps up.\n", "")


def test_a_call_that_takes_long_and_a_caller_that_was_lost(address: str) -> None:
    program = f"from ipc_broker.sync import connect; import os; connect({address!r}, name='gone'); os._exit(1)"
    with broker_at(address), connect(address, name="web") as client, connect(address) as looker:
        subprocess.run([sys.executable, "-c", program], env=environment(), check=False)
        with subprocess.Popen([sys.executable, "-c", _STUCK, address], env=environment()) as worker:
            try:
                client.wait_for("gpu", PATIENCE)
                with client.stream("gpu", "think", timeout=None):
                    until(lambda: _oldest(looker) > 1.0, "a call that takes long")
                    told = rob("why", address=address)
                    document = json.loads(rob("why", "--json", address=address).output)
            finally:
                worker.kill()
    assert (told.status, told.errors) == (0, "")
    lines = told.output.splitlines()
    assert lines[0] == "Calls that take long"
    assert lines[1].startswith("  'think' of 'gpu' has been at its worker 'gpu worker' (process ")
    assert "Gone without goodbye" in lines
    assert lines[-1].startswith("  'gone' (process ")
    assert [finding["topic"] for finding in document["findings"]] == ["calls", "departures"]
    assert [call["object"] for call in document["calls"]] == ["gpu"]


_STUCK = """
import sys, time
from ipc_broker import Worker

worker = Worker(sys.argv[1], name="gpu worker")

@worker.method("gpu")
def think():
    time.sleep(1000)

worker.run()
"""


def _oldest(client: Client) -> float:
    inspection = client.call("rob", "inspect", returns=Inspection)
    return max((one.age for one in inspection.calls), default=0.0)


def test_the_rust_crates_broker_does_not_tell() -> None:
    with running(SeedBroker()) as broker:
        ended = rob("top", address=broker.address)
    expected = f"rob: the broker at {broker.address} is the Rust crate's: it does not tell what happens on the bus"
    assert ended == Ended(1, "", f"{expected} (no_such_method)\n")
