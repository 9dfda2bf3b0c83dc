"""The tables of the documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from ipc_broker import messages
from ipc_broker.config import Limits
from ipc_broker.errors import call_error
from ipc_broker.messages import Hello, Welcome
from ipc_broker.protocol.codec import MESSAGE_TYPES
from tests.docs.blocks import ROOT
from tests.docs.conversations import Conversation
from tests.test_layers import DOOR, LEVEL_0, MAY_IMPORT

README = ROOT / "README.md"
PROTOCOL = ROOT / "docs" / "protocol.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

_NAME = re.compile(r"`([^`]+)`")


def names(cell: str) -> list[str]:
    return _NAME.findall(cell)


def tables(document: Path, header: str) -> list[list[list[str]]]:
    """The rows of every table whose first line is `header`, and the cells of each row."""
    found: list[list[list[str]]] = []
    rows: list[list[str]] | None = None
    for line in document.read_text(encoding="utf-8").splitlines():
        if line == header:
            rows = []
            found.append(rows)
        elif not line.startswith("|"):
            rows = None
        elif rows is not None and not line.startswith("| ---"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert found, f"{document.name} has no table {header}"
    return found


def table(document: Path, header: str) -> list[list[str]]:
    [rows] = tables(document, header)
    return rows


def fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def test_messages_and_their_fields() -> None:
    rows = table(PROTOCOL, "| type | fields | sent by | answered with |")
    assert {row[0]: names(row[1]) for row in rows} == {f"`{kind.__name__}`": fields(kind) for kind in MESSAGE_TYPES}


def test_longest_name() -> None:
    assert f"at most {messages.MAX_NAME:,} characters" in PROTOCOL.read_text(encoding="utf-8")


def test_fields_of_hello() -> None:
    arguments = table(PROTOCOL, "| field | type | default | what |")
    given = {row[0].strip("`"): row[2].strip("`") for row in arguments}
    assert msgspec.json.decode(msgspec.json.encode(Hello())) == {
        name: msgspec.json.decode(value) for name, value in given.items()
    }
    assert [row[0].strip("`") for row in table(PROTOCOL, "| field | type | what |")] == fields(Welcome)


def test_methods_of_rob() -> None:
    methods = ", ".join(row[0].strip("`") for row in table(PROTOCOL, "| method | `args` | result |"))
    error = {
        "call_id": "1.1",
        "object_name": "rob",
        "message": f"'rob' has no method 'x'; it has {methods}",
        "code": "no_such_method",
        "delivered": "no",
    }
    call = '{"Call":{"call_id":"1.1","object_name":"rob","method":"x","args":null}}'
    answer = msgspec.json.encode({"Error": error}).decode()
    Conversation().replay(f"caller > {call}\ncaller < {answer}")


def test_limits() -> None:
    rows = table(PROTOCOL, "| limit | default | over it |")
    assert {row[0]: row[1] for row in rows} == {
        f"`{name}`": str(value) for name, value in msgspec.structs.asdict(Limits()).items()
    }


@pytest.mark.parametrize("row", table(README, "| code | class | when |"), ids=lambda row: row[0].strip("`"))
def test_errors(row: list[str]) -> None:
    [code], [kind, *also] = names(row[0]), names(row[1])
    error = call_error(code, "")
    assert type(error).__name__ == kind
    assert set(also) <= {base.__name__ for base in type(error).__mro__}


def test_layers() -> None:
    short = {"L0": LEVEL_0, "nothing": (), "the package's public names": (DOOR,)}
    held: dict[str, set[str]] = {}
    for layers, allowed in table(ARCHITECTURE, "| layer | may import |"):
        parts = [short[part] if part in short else tuple(names(part)) for part in allowed.split(", ")]
        held |= {layer: {name for part in parts for name in part} for layer in names(layers)}
    assert held == {layer: set(allowed) for layer, allowed in MAY_IMPORT.items()}


def test_every_module_has_its_place_in_the_plan() -> None:
    plan = ARCHITECTURE.read_text(encoding="utf-8")
    packages = {path.parent for path in (ROOT / "src" / "ipc_broker").rglob("*.py")}
    shown = {package for package in packages if package.name not in ("cli", "sync")}
    modules = [path.name for package in shown for path in package.glob("*.py") if not path.name.startswith("__")]
    assert [name for name in modules if name not in plan] == []
