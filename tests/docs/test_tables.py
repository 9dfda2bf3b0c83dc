"""The tables of the documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from ipc_broker import description, messages
from ipc_broker.config import Limits, Quotas
from ipc_broker.errors import CallError, call_error
from ipc_broker.messages import Hello, Message, Welcome
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import JSON
from ipc_broker.routing import backpressure, calls, driver, nonsense, retained, sessions
from ipc_broker.routing.names import MODES
from ipc_broker.routing.subscriptions import OVERFLOWS
from ipc_broker.security.policy_file import WrittenRule
from ipc_broker.session import streams, subscriptions
from ipc_broker.session.settings import FEATURES
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.conversations import Conversation
from tests.test_layers import DOOR, LEVEL_0, MAY_IMPORT

README = ROOT / "README.md"
PROTOCOL = ROOT / "docs" / "protocol.md"
SECURITY = ROOT / "docs" / "security.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"

_NAME = re.compile(r"`([^`]+)`")
_PACKAGE = re.compile(r" *(?:src/)?(\w+)/(?: |$)")
_MODULES = re.compile(r"\w+\.py")


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
            rows.append([cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")])
    assert found, f"{document.name} has no table {header}"
    return found


def table(document: Path, header: str) -> list[list[str]]:
    [rows] = tables(document, header)
    return rows


def fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


MESSAGE_TYPES: tuple[type[msgspec.Struct], ...] = get_args(Message)

# How the table of fields calls the types of `messages.py`.
_TYPES = {
    "Name": "name",
    "Name | None": "name or null",
    "Count": "count",
    "Count | None": "count or null",
    "int | None": "integer or null",
    "str": "string",
    "bool": "boolean",
    "Raw": "any",
    "Raw | UnsetType": "any",
    "dict[str, str] | UnsetType": "map of strings",
}


def test_messages_and_their_fields() -> None:
    rows = table(PROTOCOL, "| type | fields | sent by | answered with |")
    assert {row[0]: names(row[1]) for row in rows} == {f"`{kind.__name__}`": fields(kind) for kind in MESSAGE_TYPES}


def test_fields_with_their_types_and_defaults() -> None:
    said = {
        (kind, field): (row[2], row[3])
        for row in table(PROTOCOL, "| field | in | type | default | what |")
        for field in names(row[0])
        for kind in names(row[1])
    }
    assert said == {
        (kind.__name__, field.encode_name): (_TYPES[kind.__annotations__[field.name]], default_of(field))
        for kind in MESSAGE_TYPES
        for field in msgspec.structs.fields(kind)
    }


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    return "left out" if field.default is msgspec.UNSET else f"`{msgspec.json.encode(field.default).decode()}`"


def test_what_the_broker_takes() -> None:
    [sentence] = re.findall(r"The broker takes (.*?) and no other types", flat(PROTOCOL))
    everybody, extended = map(names, sentence.split("extended peers also"))
    assert known_to_the_broker(Connection(Role.BROKER, lambda: None)) == everybody
    connection = Connection(Role.BROKER, lambda: None)
    connection.extend(JSON.name, 65_536, 65_536)
    assert known_to_the_broker(connection) == [*everybody, *extended]


def known_to_the_broker(connection: Connection) -> list[str]:
    [(refusal, _)] = connection.receive_data(b'\0\0\0\x09{"No":{}}')
    assert isinstance(refusal, messages.Invalid)
    return refusal.reason.partition("known here: ")[2].split(", ")


def test_modes_and_overflows() -> None:
    modes = table(PROTOCOL, "| mode | who may come besides | which worker gets a call |")
    assert [row[0] for row in modes] == [f"`{mode}`" for mode in MODES]
    overflows = table(PROTOCOL, "| overflow | what happens |")
    assert [row[0] for row in overflows] == [f'`"{overflow}"`' for overflow in OVERFLOWS]


def test_features() -> None:
    rows = table(PROTOCOL, "| feature | the peer promises | a peer without it |")
    assert {row[0].strip("`") for row in rows} == driver.FEATURES
    assert [row[0].strip("`") for row in rows] == list(FEATURES)


def test_what_our_clients_give_in_credit() -> None:
    text = flat(PROTOCOL)
    assert f"this package begin with {streams.WINDOW:,} bytes and give back" in text
    assert f"this package begin with {subscriptions.WINDOW:,} bytes and give" in text
    assert f"as soon as {subscriptions.GRANT:,} are consumed" in text


def flat(document: Path) -> str:
    """Its text on one line."""
    return " ".join(document.read_text(encoding="utf-8").split())


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
    rows = table(PROTOCOL, "| limit | default | of | over it |")
    assert {row[0]: row[1] for row in rows} == {
        f"`{name}`": str(value) for name, value in msgspec.structs.asdict(Limits()).items()
    }
    assert f"with their names and {retained.ENTRY_SIZE} for each" in flat(PROTOCOL)


def test_quotas() -> None:
    rows = table(SECURITY, "| quota | default | of one user, over all connections | over it |")
    assert {row[0]: row[1] for row in rows} == {
        f"`{name}`": str(value) for name, value in msgspec.structs.asdict(Quotas()).items()
    }


def test_fields_of_a_policy() -> None:
    rows = table(SECURITY, "| field | what it is about |")
    assert [row[0].strip("`") for row in rows] == fields(WrittenRule)


def test_limits_that_are_no_settings() -> None:
    numbers = [int(row[1]) for row in table(PROTOCOL, "| what | at most | over it |")]
    assert numbers == [
        messages.MAX_NAME,
        calls.MOST_HEADERS,
        driver.MOST_WILL,
        description.MOST_BYTES,
        sessions.MOST_DETACHED,
        nonsense.MOST_INVALID,
        backpressure.OVERRUN,
    ]


def test_what_rob_counts() -> None:
    text = '{"Call":{"call_id":"1.1","object_name":"rob","method":"stats","args":null}}'
    conversation = Conversation()
    conversation.send("caller", text)
    answer: Any = conversation.heard("caller")
    stats = answer["Result"]["value"]
    [result] = [row[2] for row in table(PROTOCOL, "| method | `args` | result |") if row[0] == "`stats`"]
    assert names(result) == list(stats)
    [said] = re.findall(r"The `totals` are counted since the start: (.*? `dropped` events)\.", flat(PROTOCOL))
    assert names(said) == list(stats["totals"])


@pytest.mark.parametrize("code", [row[0].strip("`") for row in table(PROTOCOL, "| code | from | when |")])
def test_codes_of_errors_are_known(code: str) -> None:
    assert code == "name_taken" or type(call_error(code, "")) is not CallError


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
    [plan] = [block.text for block in blocks_of(ARCHITECTURE) if block.kind == "text"]
    shown: dict[str, set[str]] = {}
    opened = ""
    for line in plan.splitlines():
        if (package := _PACKAGE.match(line)) is not None:
            opened = package[1]
        owner = opened if line.startswith("    ") or package is not None else "ipc_broker"
        shown.setdefault(owner, set()).update(_MODULES.findall(line.strip().partition("  ")[0]))
    folder = ROOT / "src" / "ipc_broker"
    there = {
        path.name: {module.name for module in path.glob("*.py") if not module.name.startswith("__")}
        for path in folder.iterdir()
        if (path / "__init__.py").exists()
    }
    assert shown.pop("ipc_broker") - {"__init__.py"} == {
        module.name for module in folder.glob("*.py") if not module.name.startswith("__")
    }
    assert shown == there
