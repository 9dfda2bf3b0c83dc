"""Events are counted by their numbers; probes and ends are none."""

from __future__ import annotations

import sys

import pytest

from benchmarks.peers.flow import END, PROBE, event, subscribe
from benchmarks.peers.orders import READY, Subscribe
from benchmarks.peers.peer import Ends, Take

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the peers are measured over Unix sockets")


def taken(kind: str, *numbers: int, topics: int = 1) -> list[tuple[int, int]]:
    """How many events each subscriber counted, and how many of them came too late."""

    def subscriber(address: str, topic: str, take: Take) -> None:
        for number in numbers:
            if take(event(number, 16)):
                return
        raise AssertionError("the end was not taken for the last")

    async def asyncio_subscriber(address: str, topic: str, take: Take) -> None:
        subscriber(address, topic, take)

    ends = Ends(asyncio_subscriber=asyncio_subscriber) if kind == "asyncio" else Ends(subscriber=subscriber)
    received = subscribe(ends, Subscribe("nowhere", ["t"] * topics))
    assert all(each.ended > 0 for each in received)
    return [(each.count, each.disordered) for each in received]


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
def test_all_subscribers_count_their_own(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert taken(kind, PROBE, PROBE, 0, 1, 2, END, topics=3) == [(3, 0)] * 3
    assert capsys.readouterr().out.split() == [READY]


def test_gaps_are_losses_and_no_disorder() -> None:
    assert taken("asyncio", PROBE, 0, 5, 9, END) == [(3, 0)]


def test_what_comes_after_a_later_one_is_counted() -> None:
    assert taken("asyncio", PROBE, 0, 2, 1, 3, 3, END) == [(5, 2)]


def test_an_event_has_its_size() -> None:
    assert [len(event(7, size)) for size in (8, 64)] == [8, 64]
    assert event(7, 8) == bytes(7) + b"\x07"
