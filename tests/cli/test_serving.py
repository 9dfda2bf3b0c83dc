"""`rob serve` as a process: an object of the current folder, until it is ended."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from ipc_broker.sync import Client, connect
from tests.cli.programs import Ended, rob, rob_running
from tests.end_to_end.processes import until

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")

SHOP = """\
class Shop:
    def price(self, item: str) -> int:
        return 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a module that can be served."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@needs_signals
def test_a_class_of_the_current_folder_is_served_until_ctrl_c(bus: str, folder: Path) -> None:
    with rob_running(bus, "serve", "shop:Shop", "--name", "shop", cwd=folder) as serving, connect(bus) as client:
        assert serving.note == f"rob: 'shop' (shop:Shop) is served at {bus}; Ctrl-C ends\n"
        assert client.call("shop", "price", {"item": "lamp"}) == 5
        described = client.describe("shop")
        assert described.interface is not None
        assert described.interface.type == "Shop"
        assert serving.interrupt() == Ended(0, "", "")
        assert not client.has("shop")


def test_several_share_a_name(bus: str, folder: Path) -> None:
    words = ["serve", "shop:Shop", "--name", "shops", "--mode", "shared", "--concurrency", "3", "--json"]
    with rob_running(bus, *words, cwd=folder) as one, rob_running(bus, *words, cwd=folder) as other:
        for serving in (one, other):
            assert json.loads(serving.note) == {"info": f"'shops' (shop:Shop) is served at {bus}; Ctrl-C ends"}
        with connect(bus) as client:
            described = client.describe("shops")
        assert [(owner.state, owner.concurrency) for owner in described.owners] == [("serving", 3)] * 2


def test_what_cannot_be_served(bus: str) -> None:
    ended = rob("serve", "json:loads", "--name", "x", "--json", address=bus)
    assert (ended.status, json.loads(ended.errors)["code"]) == (2, "cannot_load")
    ended = rob("serve", "calendar:Calendar", "--name", "math", address=bus)
    assert ended.status == 1
    assert ended.errors.startswith("rob: the name 'math' is taken by ")


def test_it_waits_for_a_broker_until_the_timeout(address: str) -> None:
    ended = rob("serve", "calendar:Calendar", "--name", "x", "--timeout", "0.1", address=address)
    assert ended.status == 3
    waits, ends = ended.errors.splitlines()
    assert "; waiting for it" in waits
    assert ends == f"rob: nothing could be served within 0.1 s: there is no broker at {address}"


@needs_signals
def test_it_is_served_anew_when_its_source_changes(bus: str, folder: Path) -> None:
    words = ["serve", "shop:Shop", "--name", "changing", "--reload"]
    with rob_running(bus, *words, cwd=folder) as serving, connect(bus) as client:
        assert serving.note == (
            f"rob: 'changing' (shop:Shop) is served at {bus}, and anew when it changes; Ctrl-C ends\n"
        )
        (folder / "shop.py").write_text(SHOP.replace("5", "1234"))
        assert serving.errors.readline() == "rob: shop.py changed: loading shop:Shop again\n"
        assert serving.errors.readline() == "rob: 'changing' (shop:Shop) is served again\n"
        until(lambda: _price(client) == 1234, "the new source")
        (folder / "shop.py").write_text("class")
        assert serving.errors.readline() == "rob: shop.py changed: loading shop:Shop again\n"
        told = serving.errors.readline()
        assert told.startswith("rob: shop cannot be imported: invalid syntax")
        assert told.endswith("what was there before goes on; waiting for a change\n")
        assert _price(client) == 1234
        serving.process.send_signal(signal.SIGTERM)
        assert serving.ended() == Ended(0, "", "")
        assert not client.has("changing")


def _price(client: Client) -> object:
    return client.call("changing", "price", {"item": "lamp"})


def test_a_name_that_is_taken_ends_it_also_when_it_would_reload(bus: str, folder: Path) -> None:
    with rob_running(bus, "serve", "shop:Shop", "--name", "math", "--reload", cwd=folder) as serving:
        ended = serving.ended()
    assert (ended.status, ended.output, ended.errors) == (1, "", "")
    assert serving.note.startswith("rob: the name 'math' is taken by ")
