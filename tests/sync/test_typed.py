"""Objects typed by a class, with the blocking client."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import pytest

from ipc_broker.errors import InvalidArgs, NoSuchMethod, RemoteError
from ipc_broker.sync import Client, connect
from ipc_broker.testing import BackgroundBroker
from tests.catalogue import LAMP, RESULTS, SINCE, BlockingCatalogue, Catalogue, Place
from tests.sync.bus import Bus


@pytest.fixture
def catalogue_client(ipc_broker: BackgroundBroker) -> Iterator[Client]:
    ipc_broker.serve("catalogue", Catalogue())
    with connect() as client:
        yield client


@pytest.mark.parametrize("method", RESULTS)
def test_results_are_what_the_class_says(method: str, catalogue_client: Client) -> None:
    typed: Any = catalogue_client.object("catalogue", Catalogue)
    assert getattr(typed, method)() == RESULTS[method]
    bind: Any = catalogue_client.bind
    assert bind("catalogue", getattr(Catalogue, method))() == RESULTS[method]


def test_arguments_are_checked_here_and_converted_there(catalogue_client: Client) -> None:
    catalogue = catalogue_client.object("catalogue", BlockingCatalogue)
    assert catalogue.dearer(LAMP, by=Decimal(2)).price == Decimal("14.50")
    assert catalogue.dearer(item=LAMP).price == Decimal("13.50")
    with pytest.raises(TypeError, match=r"BlockingCatalogue\.dearer\(\): missing a required argument: 'item'"):
        cast(Any, catalogue).dearer()
    with pytest.raises(InvalidArgs, match=r"at `\$\.item`"):
        cast(Any, catalogue).dearer("lamp")


def test_an_object_that_is_not_what_the_class_says(catalogue_client: Client) -> None:
    catalogue = catalogue_client.object("catalogue", BlockingCatalogue)
    with pytest.raises(RemoteError, match="'catalogue' answered 'wrong' with something else than int"):
        catalogue.wrong()
    with pytest.raises(NoSuchMethod, match="has no method 'lacking'"):
        catalogue.lacking()
    with pytest.raises(AttributeError, match="did you mean 'lamp'"):
        cast(Any, catalogue).lampe()


def test_streams(catalogue_client: Client) -> None:
    places = [Place(0, SINCE), Place(1, SINCE)]
    assert list(catalogue_client.object("catalogue", BlockingCatalogue).places(2)) == places
    assert list(catalogue_client.bind("catalogue", Catalogue.numbers)(2)) == [0, 1]
    with catalogue_client.bind("catalogue", Catalogue.places)(2) as stream:
        assert next(stream) == places[0]


def test_what_a_proxy_asks_of_all_its_calls(catalogue_client: Client) -> None:
    headers = {"tenant": "a"}
    for proxy in (
        catalogue_client.object("catalogue", BlockingCatalogue, timeout=None, headers=headers),
        catalogue_client.object("catalogue", timeout=None, headers=headers),
    ):
        assert proxy.told() == {"headers": headers, "has_deadline": False}
    assert list(catalogue_client.object("catalogue", BlockingCatalogue, headers=headers).headers()) == [headers]


def test_typed_objects_at_a_broker_of_the_rust_crate(bus: Bus, client: Client) -> None:
    class Math:
        def add(self, a: int, b: int) -> dict[str, int]:
            raise AssertionError("the class's own code never runs")

    assert client.object("math", Math).add(1, b=2) == {"sum": 3}
    assert client.bind("math", Math.add)(a=1, b=2) == {"sum": 3}
