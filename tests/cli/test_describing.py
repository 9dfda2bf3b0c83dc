"""`rob describe`, `rob tree`, `rob stubs` and `rob wait` as processes; for what stubs are good is in test_stubs_in_use.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.cli.programs import PATIENCE, SHOP, Ended, environment, rob
from tests.seed.broker import SeedBroker, running


def test_describe(bus: str) -> None:
    ended = rob("describe", "math", address=bus)
    assert (ended.status, ended.errors) == (0, "")
    assert re.sub(r"process \d+", "process N", ended.output) == (
        "math  Calculator\n"
        "served by process N\n"
        "\n"
        "add(a: int, b: int) -> dict[str, int]\n"
        "count(to: int) -> Iterator[int]\n"
        "count_for_ever() -> Iterator[int]\n"
        "divide(a: int, b: int) -> float\n"
        "tenant() -> str\n"
        "wait(seconds: float) -> None\n"
    )


def test_describe_a_method_with_its_types(shop: str) -> None:
    assert rob("describe", "shop", "sales", address=shop) == Ended(
        0,
        "sales(count: int) -> Iterator[Lamp]\n"
        "    Each as it happens.\n"
        "\n"
        "class Lamp:\n"
        '    type: Literal["Lamp"]\n'
        "    color: Color\n"
        "    level: Level = 1\n"
        "    place: Point | None = None\n"
        "\n"
        'type Color = Literal["red", "warm white"]\n'
        "    What a lamp may shine in.\n"
        "\n"
        "type Level = Literal[1, 2]\n"
        "\n"
        "class Point:\n"
        "    A place in the shop.\n"
        "    x: float\n"
        "    y: float = 0.0\n",
        "",
    )


def test_describe_as_json(shop: str) -> None:
    told = json.loads(rob("describe", "shop", "--json", address=shop).output)
    assert told["object"] == "shop"
    assert told["owners"][0]["name"] == "shop"
    assert {"order", "sales", "list"} < told["interface"]["methods"].keys()
    told = json.loads(rob("describe", "shop", "close", "--json", address=shop).output)
    assert told["interface"]["methods"] == {"close": {"returns": {"type": "null"}}}


def test_an_opaque_object(shop: str) -> None:
    ended = rob("describe", "opaque", address=shop)
    assert ended.status == 0
    assert "Opaque: its worker tells nothing of its methods." in ended.output
    assert "interface" not in json.loads(rob("describe", "opaque", "--json", address=shop).output)
    for words in (["describe", "opaque", "give"], ["stubs", "opaque"]):
        ended = rob(*words, address=shop)
        assert (ended.status, ended.output) == (1, "")
        assert ended.errors.startswith("rob: nobody can tell what 'opaque' offers: ")


@pytest.mark.parametrize("command", ["describe", "stubs", "tree"])
def test_names_that_were_probably_meant(bus: str, command: str) -> None:
    expected = "rob: No such object 'mth'; did you mean math? (no_such_object)\n"
    assert rob(command, "mth", address=bus) == Ended(1, "", expected)


def test_a_method_that_was_probably_meant(bus: str) -> None:
    expected = "rob: 'math' has no method 'ad'; did you mean add? (no_such_method)\n"
    assert rob("describe", "math", "ad", address=bus) == Ended(1, "", expected)
    ended = rob("describe", "math", "add", "b", address=bus)
    assert (ended.status, ended.errors.splitlines()[0]) == (2, "rob: too many words, from 'b' on")


def test_tree(bus: str) -> None:
    assert rob("send", "door", "state", "s", "open", "--retain", address=bus).status == 0
    ended = rob("tree", address=bus)
    assert (ended.status, ended.errors) == (0, "")
    shown = re.sub(r"process \d+", "process N", ended.output)
    assert shown.startswith(
        "door  served by nobody\n└── topic state  retained\necho  Echo, served by process N\n├── back("
    )
    assert "\n├── add(a: int, b: int) -> dict[str, int]\n" in shown
    assert shown.endswith("└── wait(seconds: float) -> None\nrob  the broker itself: rob tree rob\n")
    assert rob("tree", "door", address=bus).output == "door  served by nobody\n└── topic state  retained\n"
    assert "├── describe(object: str) -> ObjectDescription\n" in rob("tree", "rob", address=bus).output
    told = {one["object"]: one for one in json.loads(rob("tree", "--json", address=bus).output)}
    assert told["math"]["methods"]["divide"] == "divide(a: int, b: int) -> float"
    assert told["door"]["topics"] == [{"object": "door", "topic": "state", "retained": True}]
    assert (told["door"]["served"], told["echo"]["served"], told["echo"]["opaque"]) == (False, True, False)


def test_a_broker_of_the_rust_crate() -> None:
    with running(SeedBroker()) as broker:
        assert rob("tree", address=broker.address).output == "rob  the broker itself: rob tree rob\n"
        ended = rob("describe", "rob", address=broker.address)
        assert ended.status == 1
        assert "cannot describe objects" in ended.errors


def test_wait(bus: str, shop: str) -> None:
    assert rob("wait", "math", "echo", address=bus) == Ended(0, "math is served\necho is served\n", "")
    assert json.loads(rob("wait", "math", "--json", address=bus).output)["object"] == "math"
    expected = "rob: nobody served 'mth' within 0.5 s; did you mean math?\n"
    assert rob("wait", "math", "mth", "--timeout", "0.5", address=bus) == Ended(1, "math is served\n", expected)
    ended = rob("wait", "a", "b", "--timeout", "0.5", "--json", address=bus)
    assert (ended.status, ended.output) == (1, "")
    assert json.loads(ended.errors) == {"code": "timeout", "message": "nobody served 'a', 'b' within 0.5 s"}


def test_wait_for_what_comes_later(bus: str) -> None:
    from ipc_broker.sync import connect

    with connect(bus) as client:
        waiting = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "ipc_broker.cli.rob", "wait", "shop", "--address", bus],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        with waiting, client.subscribe("rob", "object.registered") as events:
            serving = subprocess.Popen([sys.executable, "-W", "error", SHOP, bus], env=environment())
            with serving:
                try:
                    events.get(PATIENCE)
                    output, _ = waiting.communicate(timeout=PATIENCE)
                finally:
                    serving.terminate()
    assert (waiting.returncode, output) == (0, b"shop is served\n")


@pytest.mark.parametrize("words", [["tree"], ["describe", "a"], ["stubs", "a"], ["wait", "a"]], ids=" ".join)
def test_without_a_broker(words: list[str], address: str) -> None:
    ended = rob(*words, address=address)
    assert (ended.status, ended.output) == (3, "")
    assert ended.errors.startswith(f"rob: no broker at {address}")


def test_stubs_as_json(bus: str) -> None:
    told = json.loads(rob("stubs", "math", "--json", address=bus).output)
    assert (told["object"], told["class"]) == ("math", "Calculator")
    assert told["source"] == rob("stubs", "math", address=bus).output
