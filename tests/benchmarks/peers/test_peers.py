"""Every peer offers a thing or says why not, and can be looked at where its packages are not."""

from __future__ import annotations

import sys

import pytest

from benchmarks.peers import maths
from benchmarks.peers.__main__ import PEERS
from benchmarks.peers.peer import Peer, not_installed
from benchmarks.peers.place import no_program

LIBRARIES = {"Pyro5", "aiomqtt", "dbus_fast", "grpc", "nats", "redis", "rpyc", "zenoh", "zmq"}

each_peer = pytest.mark.parametrize("peer", [pytest.param(peer, id=peer.name) for peer in PEERS])


@each_peer
def test_what_is_not_offered_has_a_reason(peer: Peer) -> None:
    ends = peer.ends
    offered = {
        "blocking": ends.blocking is not None,
        "asyncio": ends.asyncio is not None,
        "in-flight": ends.asyncio is not None or ends.pipelining is not None,
        "events": (ends.publisher or ends.asyncio_publisher) is not None,
    }
    assert {name for name, there in offered.items() if not there} == set(peer.lacks) - {"echo", "idle"}
    assert all(peer.lacks.values())
    assert offered[peer.one_at_a_time]
    assert ((ends.subscriber or ends.asyncio_subscriber) is not None) == offered["events"]


@each_peer
def test_the_page_has_something_to_say_of_it(peer: Peer) -> None:
    assert peer.settings
    assert peer.promise.endswith(".")


def test_names_are_unique_and_lead_to_modules() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    assert all(sys.modules[peer.module] is not None for peer in PEERS)


def test_no_library_of_a_peer_is_imported() -> None:
    assert not LIBRARIES & set(sys.modules)


def test_what_is_missing_is_named() -> None:
    assert not_installed("msgspec") == ""
    assert "no-such-package is not installed" in not_installed("msgspec", "no-such-package")
    assert no_program("sh", "dash") == ""
    assert no_program("no-such-program", "some-package").endswith("`apt-get install some-package`")


def test_the_sum_is_worked_out_by_the_worker() -> None:
    assert maths.sum_of(maths.answer(maths.ADD, maths.args(10, 32))) == 42
    assert maths.sum_of(maths.answer("add", maths.args(1, 2))) == 3
    assert maths.answer(maths.ECHO, b"\x00\xff") == b"\x00\xff"
