"""Objects typed by a class, with the asyncio client."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import pytest

from ipc_broker.errors import InvalidArgs, NoSuchMethod, RemoteError
from tests.aio.bus import bus, rest_of
from tests.catalogue import LAMP, RESULTS, SINCE, AsyncCatalogue, Catalogue, Place


@pytest.mark.parametrize("method", RESULTS)
async def test_results_are_what_the_class_says(method: str, address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        typed: Any = client.object("catalogue", Catalogue)
        assert await getattr(typed, method)() == RESULTS[method]
        bind: Any = client.bind
        assert await bind("catalogue", getattr(Catalogue, method))() == RESULTS[method]


async def test_arguments_are_checked_here_and_converted_there(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        catalogue = client.object("catalogue", AsyncCatalogue)
        dearer = await catalogue.dearer(LAMP, by=Decimal(2))
        assert dearer.price == Decimal("14.50")
        assert (await catalogue.dearer(item=LAMP)).price == Decimal("13.50")
        with pytest.raises(TypeError, match=r"AsyncCatalogue\.dearer\(\): missing a required argument: 'item'"):
            await cast(Any, catalogue).dearer()
        with pytest.raises(InvalidArgs, match=r"at `\$\.item`"):
            await cast(Any, catalogue).dearer("lamp")


async def test_an_object_that_is_not_what_the_class_says(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        catalogue = client.object("catalogue", AsyncCatalogue)
        with pytest.raises(RemoteError, match="'catalogue' answered 'wrong' with something else than int"):
            await catalogue.wrong()
        with pytest.raises(NoSuchMethod, match="has no method 'lacking'"):
            await catalogue.lacking()
        with pytest.raises(AttributeError, match="did you mean 'lamp'"):
            await cast(Any, catalogue).lampe()


async def test_streams(address: str) -> None:
    async with bus(address, catalogue=Catalogue()) as client:
        places = [Place(0, SINCE), Place(1, SINCE)]
        catalogue = client.object("catalogue", AsyncCatalogue)
        assert await rest_of(catalogue.places(2)) == places
        assert await rest_of(client.bind("catalogue", Catalogue.places)(count=2)) == places
        assert await rest_of(client.bind("catalogue", Catalogue.numbers)(2)) == [0, 1]
        async with client.bind("catalogue", Catalogue.places)(2) as stream:
            assert await anext(stream) == places[0]


async def test_a_stream_can_be_awaited_as_its_type_may_say(address: str) -> None:
    """Without a `yield`, `async def` with an iterator as its hint is a coroutine that returns one."""
    async with bus(address, catalogue=Catalogue()) as client:
        assert await rest_of(await client.object("catalogue", AsyncCatalogue).numbers(3)) == [0, 1, 2]
        opened = await client.stream("catalogue", "numbers", [2])
        assert "open" in repr(opened)
        assert await rest_of(opened) == [0, 1]


async def test_what_a_proxy_asks_of_all_its_calls(address: str) -> None:
    headers = {"tenant": "a"}
    async with bus(address, catalogue=Catalogue()) as client:
        for proxy in (
            client.object("catalogue", AsyncCatalogue, timeout=None, headers=headers),
            client.object("catalogue", timeout=None, headers=headers),
        ):
            assert await proxy.told() == {"headers": headers, "has_deadline": False}
        assert await client.object("catalogue", AsyncCatalogue).told() == {"headers": {}, "has_deadline": True}
        assert await rest_of(client.object("catalogue", AsyncCatalogue, headers=headers).headers()) == [headers]
        headers["tenant"] = "b"
        assert (await proxy.told())["headers"] == {"tenant": "a"}
