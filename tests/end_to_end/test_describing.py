"""Objects of workers that are processes, described to clients of all kinds."""

from __future__ import annotations

import pytest

from ipc_broker import InterfaceMismatch
from ipc_broker.sync import connect
from tests.cli.programs import PATIENCE
from tests.end_to_end.processes import seed_worker_at, worker_at
from tests.seed.client import SeedClient


class Math:
    def add(self, a: int, b: int) -> dict[str, int]:
        raise AssertionError("it is called elsewhere")


class Other:
    def add(self, a: str, b: str) -> dict[str, int]:
        raise AssertionError("it is called elsewhere")


def test_our_worker_tells_what_it_offers_and_a_seed_worker_nothing(bus: str) -> None:
    with (
        worker_at(bus) as worker,
        seed_worker_at(bus, "old"),
        connect(bus) as client,
        SeedClient(bus, timeout=PATIENCE) as seed,
    ):
        described = client.describe("math")
        [owner] = described.owners
        assert (owner.name, owner.pid, owner.state) == ("calculator", worker.pid, "serving")
        assert described.interface is not None
        assert described.interface.type == "Math"
        assert sorted(described.interface.methods) == ["add", "mul"]
        add = described.interface.methods["add"]
        assert [(one.name, one.schema) for one in add.parameters] == [
            ("a", {"type": "integer"}),
            ("b", {"type": "integer"}),
        ]
        assert add.returns == {"type": "object", "additionalProperties": {"type": "integer"}}
        run = client.describe("tape")
        assert run.interface is not None
        assert run.interface.methods["run"].stream

        old = client.describe("old")
        assert old.interface is None
        assert len(old.owners) == 1

        assert client.object("math", Math, check=True).add(20, 22) == {"sum": 42}
        with pytest.raises(InterfaceMismatch, match="takes integer as 'a' instead of string"):
            client.object("math", Other, check=True).add("20", "22")
        with pytest.raises(InterfaceMismatch, match="has not told what it offers"):
            client.object("old", Math, check=True).add(20, 22)
        assert client.object("old", Math).add(20, 22) == {"sum": 42}

        told = seed.call("rob", "describe", {"object": "math"})["Result"]["value"]
        assert isinstance(told, dict)
        assert isinstance(told["interface"], dict)
        assert told["interface"]["type"] == "Math"
