"""What objects say of themselves, asked by the asyncio client, and classes that are held against it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from ipc_broker import DeadlineExceeded, InterfaceMismatch, NoSuchMethod, NoSuchObject, SharedObject, connect
from ipc_broker.driver import Rob
from tests.aio.bus import any_broker_at, broker_at, bus, rest_of, serving, until
from tests.catalogue import Catalogue, Place


class Fits(Protocol):
    async def price(self) -> str: ...
    def places(self, count: int) -> AsyncIterator[Place]: ...


class Lacks(Protocol):
    async def price(self) -> str: ...
    async def cost(self) -> int: ...
    def places(self, count: int) -> AsyncIterator[Place]: ...


class Opaque(SharedObject):
    async def call(self, method: str, args: Any) -> Any:
        return method


async def test_an_object_is_described_with_who_serves_it(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        described = await client.describe("catalogue")
        assert described.object == "catalogue"
        assert [owner.pid for owner in described.owners] == [os.getpid()]
        assert described.interface is not None
        assert described.interface.type == "Catalogue"
        places = described.interface.methods["places"]
        assert places.stream
        assert [(one.name, one.schema) for one in places.parameters] == [("count", {"type": "integer"})]


async def test_what_cannot_be_described(address: str) -> None:
    async with bus(address, opaque=Opaque()) as client:
        assert (await client.describe("opaque")).interface is None
        with pytest.raises(NoSuchObject, match="No such object 'ghost'") as caught:
            await client.describe("ghost")
        assert caught.value.object == "ghost"


async def test_the_broker_describes_itself_by_the_class_that_types_it(address: str) -> None:
    async with bus(address) as client:
        interface = (await client.describe("rob")).interface
        assert interface is not None
        assert [one.name for one in interface.methods["describe"].parameters] == ["object"]
        assert interface.methods["ping"].parameters == ()
        assert interface.methods["monitor"].stream
        rob = client.object("rob", Rob, check=True)
        assert await rob.ping() == "pong"
        assert await rob.describe("rob") == await client.describe("rob")


async def test_a_class_that_fits_is_checked_once(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        catalogue = client.object("catalogue", Fits, check=True, headers={"a": "b"})
        assert await catalogue.price() == "0.10"
        assert len(await rest_of(catalogue.places(2))) == 2
        asked = client.describe
        client.describe = None  # type: ignore[method-assign, assignment]  # whoever asks again fails
        assert await catalogue.price() == "0.10"
        client.describe = asked  # type: ignore[method-assign]  # as it was


async def test_a_stream_may_be_the_first_call(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        assert len(await rest_of(client.object("catalogue", Fits, check=True).places(2))) == 2
        with pytest.raises(InterfaceMismatch, match="'cost'"):
            await rest_of(client.object("catalogue", Lacks, check=True).places(2))


async def test_many_calls_at_once_may_be_the_first(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        catalogue = client.object("catalogue", Fits, check=True)
        assert await asyncio.gather(*(catalogue.price() for _ in range(10))) == ["0.10"] * 10


async def test_no_method_is_called_of_an_object_that_does_not_fit(address: str) -> None:
    called: list[str] = []

    class Served:
        async def price(self) -> str:
            called.append("price")
            return ""

    async with bus(address, catalogue=Served(), opaque=Opaque()) as client:
        catalogue = client.object("catalogue", Lacks, check=True)
        for _ in range(2):
            with pytest.raises(InterfaceMismatch, match="compared with Lacks, 'catalogue' has changed: 'cost'"):
                await catalogue.price()
        assert called == []
        with pytest.raises(InterfaceMismatch, match="its worker has not told what it offers"):
            await client.object("opaque", Fits, check=True).price()
        with pytest.raises(NoSuchObject):
            await client.object("ghost", Fits, check=True).price()
        with pytest.raises(TypeError, match="typed by a class"):
            client.object("catalogue", len, check=True)


async def test_a_broker_of_the_rust_crate_cannot_tell(address: str) -> None:
    async with any_broker_at("seed", address) as where, connect(where) as client:
        with pytest.raises(NoSuchMethod, match="cannot describe objects"):
            await client.describe("rob")
        with pytest.raises(NoSuchMethod, match="cannot describe objects"):
            await client.object("math", Fits, check=True).price()


async def test_after_a_reconnect_the_worker_is_waited_for(address: str) -> None:
    async with broker_at(address) as broker:
        where = broker.addresses[0]
        client = await connect(where)
    await until(lambda: not client.link.session.ready)
    async with broker_at(address):
        await until(lambda: client.link.session.ready)
        with pytest.raises(DeadlineExceeded, match="'catalogue' was not served yet, shortly after a reconnect"):
            await client.describe("catalogue", timeout=0.05)
        describing = asyncio.ensure_future(client.describe("catalogue"))
        async with serving(where, catalogue=Catalogue()):
            assert (await describing).object == "catalogue"
        await client.close()
