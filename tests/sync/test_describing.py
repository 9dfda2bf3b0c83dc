"""What objects say of themselves, asked by the blocking client, and classes that are held against it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from ipc_broker import InterfaceMismatch, NoSuchMethod, NoSuchObject, SharedObject
from ipc_broker.errors import DeadlineExceeded
from ipc_broker.sync import Client
from tests.catalogue import Catalogue, Place
from tests.sync.bus import Bus, InThread


class Fits(Protocol):
    def price(self) -> str: ...
    def places(self, count: int) -> Iterator[Place]: ...


class Lacks(Protocol):
    def cost(self) -> int: ...


class Opaque(SharedObject):
    async def call(self, method: str, args: Any) -> Any:
        return method


def test_an_object_is_described_with_who_serves_it(our_client: Client) -> None:
    described = our_client.describe("tape")
    assert described.object == "tape"
    assert [owner.pid for owner in described.owners] == [os.getpid()]
    assert described.interface is not None
    assert described.interface.methods["count"].stream
    with pytest.raises(NoSuchObject, match="No such object 'ghost'") as caught:
        our_client.describe("ghost")
    assert caught.value.object == "ghost"


def test_a_class_is_checked_at_once(our_bus: Bus, our_client: Client) -> None:
    our_bus.add("catalogue", Catalogue())
    our_bus.add("opaque", Opaque())
    our_client.wait_for("opaque", 10)
    catalogue = our_client.object("catalogue", Fits, check=True)
    assert catalogue.price() == "0.10"
    assert len(list(catalogue.places(2))) == 2
    with pytest.raises(InterfaceMismatch, match="compared with Lacks, 'catalogue' has changed: 'cost'"):
        our_client.object("catalogue", Lacks, check=True)
    with pytest.raises(InterfaceMismatch, match="its worker has not told what it offers"):
        our_client.object("opaque", Lacks, check=True)
    with pytest.raises(NoSuchObject):
        our_client.object("ghost", Fits, check=True)
    with pytest.raises(TypeError, match="typed by a class"):
        our_client.object("catalogue", len, check=True)


def test_a_broker_of_the_rust_crate_cannot_tell(seed_client: Client) -> None:
    with pytest.raises(NoSuchMethod, match="cannot describe objects"):
        seed_client.describe("math")
    with pytest.raises(NoSuchMethod, match="cannot describe objects"):
        seed_client.object("math", Fits, check=True)


def test_after_a_reconnect_the_worker_is_waited_for(our_bus: Bus, our_client: Client) -> None:
    our_bus.stop_broker()
    our_bus.start_broker()
    assert our_client.has("rob")
    with pytest.raises(DeadlineExceeded, match="'catalogue' was not served yet, shortly after a reconnect"):
        our_client.describe("catalogue", timeout=0.05)
    describing = InThread(lambda: our_client.describe("catalogue"))
    our_bus.add("catalogue", Catalogue())
    assert describing.result().object == "catalogue"
