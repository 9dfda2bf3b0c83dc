"""Who may import whom, and what only the shells may touch.

The sources are read, not run, so that an import inside a function counts like any other. So does one under
`TYPE_CHECKING`: whoever needs another's types depends on it as much, and cannot be read or changed without it. (Within
a layer that is how two modules may know each other's types.) Only the package's own `__init__` is outside the table: it
is the door to everything, and imports nothing until it is asked. Through it go programs as users write them: in the
package that is the demo's worker.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import ipc_broker

PACKAGE = Path(ipc_broker.__file__).parent

LEVEL_0 = (
    "address",
    "allocation",
    "compatibility",
    "config",
    "credentials",
    "deadlines",
    "description",
    "driver",
    "errors",
    "events",
    "fitting",
    "forking",
    "hints",
    "messages",
    "observation",
    "remote",
    "toml",
    "version",
)

DOOR = ""

# A layer is a module or a package, without the `ipc_broker.` before it; a module's layer is the longest name that fits.
# A layer may import itself and what stands behind it.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LEVEL_0, LEVEL_0),
    "config_sources": LEVEL_0,
    "protocol": LEVEL_0,
    "security": LEVEL_0,
    "activation": LEVEL_0,
    "activation.folders": ("activation", "identity", *LEVEL_0),
    "routing": ("security", "activation", "interface", "schemas", "protocol", *LEVEL_0),
    "session": ("protocol", *LEVEL_0),
    # A call made within a method ends with it: `context` says so with the error that the caller would get.
    "context": ("errors", "messages"),
    # Apart from it: a program that only calls need not import `logging`.
    "call_logging": ("context", "messages"),
    "interface": ("protocol", *LEVEL_0),
    "schemas": ("interface", *LEVEL_0),
    # For clients, which hold a class against an object.
    "conformance": ("schemas", *LEVEL_0),
    # What the system tells; shells of both kinds ask.
    "identity": LEVEL_0,
    "shared_memory": (),
    "tls": LEVEL_0,
    "destination": ("identity", "tls", *LEVEL_0),
    "aio.signals": (),
    "aio.accepting": LEVEL_0,
    "aio.unix": ("aio.accepting", "identity", *LEVEL_0),
    "aio.memory": LEVEL_0,
    "aio.large": ("protocol", *LEVEL_0),
    "aio.pipes": ("aio.accepting", "destination", "identity", *LEVEL_0),
    "aio.transport": ("aio.memory", "aio.pipes", "aio.unix", "destination", *LEVEL_0),
    "aio.listening": ("identity", "aio.accepting", "aio.memory", "aio.pipes", "aio.unix", *LEVEL_0),
    "aio.gate": ("identity", "security", *LEVEL_0),
    "aio.permissions": ("identity", "routing", "security", *LEVEL_0),
    "aio.inherited": LEVEL_0,
    "aio.notifying": (),
    "aio.processes": ("activation", *LEVEL_0),
    "aio.units": ("aio.processes", "activation", *LEVEL_0),
    "aio.launching": ("aio.processes", "aio.units", "routing", "activation", *LEVEL_0),
    "aio.broker": (
        "aio.gate",
        "aio.inherited",
        "aio.large",
        "aio.launching",
        "aio.listening",
        "aio.permissions",
        "aio.transport",
        "aio.unix",
        "activation",
        "activation.folders",
        "tls",
        "routing",
        "protocol",
        "shared_memory",
        *LEVEL_0,
    ),
    "aio.running": ("aio.broker", "aio.inherited", "aio.notifying", "aio.signals", *LEVEL_0),
    # Clients and workers, and what they share.
    "aio": (
        "aio.accepting",
        "aio.large",
        "aio.signals",
        "aio.transport",
        "destination",
        "identity",
        "tls",
        "session",
        "context",
        "conformance",
        "interface",
        "schemas",
        "protocol",
        "shared_memory",
        *LEVEL_0,
    ),
    # Its calls, too, inherit from the method that makes them; it serves no objects.
    "sync": (
        "destination",
        "identity",
        "tls",
        "session",
        "context",
        "conformance",
        "protocol",
        "shared_memory",
        *LEVEL_0,
    ),
    # It looks into what a peer is sent, and so into the protocol.
    "testing": ("aio", "aio.broker", "aio.memory", "protocol", *LEVEL_0),
    "pytest_plugin": ("testing",),
    "cli": (
        DOOR,
        "config_sources",
        "aio",
        "aio.broker",
        "aio.running",
        "aio.signals",
        "cli.mocking",
        "sync",
        "security",
        "activation",
        "activation.folders",
        "identity",
        "tls",
        *LEVEL_0,
    ),
    # Its worker answers with whatever error was recorded, which no method can raise.
    "cli.mocking": (DOOR, "cli", "aio", "protocol", *LEVEL_0),
    "__main__": ("cli",),
}

BELOW_THE_SHELLS = (
    *LEVEL_0,
    "protocol",
    "security",
    "activation",
    "routing",
    "session",
    "context",
    "call_logging",
    "interface",
    "schemas",
    "conformance",
)
ONLY_FOR_SHELLS = {"asyncio", "selectors", "signal", "socket", "threading", "time"}
# The same by other doors, and the door behind which this test could not see.
WAYS_AROUND = {"_thread", "concurrent", "importlib", "multiprocessing", "select", "ssl", "subprocess", "uvloop"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
NEVER_FOR = {"sync": {"asyncio", "concurrent", "uvloop", "click", "rich"}}


class Import(NamedTuple):
    """`module` is absolute, one of ours without its `ipc_broker.`; `name` is what is taken from it, if any."""

    line: int
    ours: bool
    module: str
    name: str = ""


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PACKAGES = {module for module, path in SOURCES.items() if path.name == "__init__.py"}


def layer_of(module: str) -> str | None:
    """None for a module that has no place in the table."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return DOOR if module == DOOR else next((name for name in names if name in MAY_IMPORT), None)


def imports_of(module: str, tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                here = f"ipc_broker.{module}".rstrip(".").split(".")
                package = here[: len(here) - node.level + (module in PACKAGES)]
                source = ".".join([*package, *source.split(".")]).rstrip(".")
            for alias in node.names:
                yield _import(node.lineno, source, alias.name)


def _import(line: int, module: str, name: str = "") -> Import:
    if module.partition(".")[0] != "ipc_broker":
        return Import(line, False, module, name)
    module = module.removeprefix("ipc_broker").removeprefix(".")
    inner = f"{module}.{name}".removeprefix(".")
    return Import(line, True, inner, "") if inner in SOURCES else Import(line, True, module, name)


def faults_of(module: str, source: str) -> list[str]:
    """What the module must not do, one line for each."""
    layer = layer_of(module)
    if layer is None:
        return [f"{module} has no layer: give it a row in MAY_IMPORT"]
    if layer == DOOR:
        return []
    tree = ast.parse(source)
    imports = list(imports_of(module, tree))
    faults = [
        f"{module}:{found.line}: {layer} may not import {found.module or 'the package itself'}"
        for found in imports
        if found.ours and (target := layer_of(found.module)) != layer and target not in MAY_IMPORT[layer]
    ]
    forbidden = NEVER_FOR.get(layer, set())
    if layer in BELOW_THE_SHELLS:
        forbidden = forbidden | ONLY_FOR_SHELLS | WAYS_AROUND
        faults += [f"{module}:{line}: {layer} may not {what}" for line, what in _hidden_input(tree, imports)]
    faults += [
        f"{module}:{found.line}: {layer} may not import {found.module}"
        for found in imports
        if not found.ours and found.module.partition(".")[0] in forbidden
    ]
    return faults


def _hidden_input(tree: ast.Module, imports: list[Import]) -> Iterator[tuple[int, str]]:
    """What no brain may read: the environment; and an import that this test would not see."""
    yield from (
        (found.line, "read the environment") for found in imports if found.module == "os" and found.name in ENVIRONMENT
    )
    names_of_os = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "os"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in names_of_os and node.attr in ENVIRONMENT:
                yield node.lineno, "read the environment"
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield node.lineno, "import by __import__"


@pytest.mark.parametrize("module", [module for module in SOURCES if module != DOOR])
def test_every_module_imports_only_what_its_layer_may(module: str) -> None:
    assert faults_of(module, SOURCES[module].read_text(encoding="utf-8")) == []


def test_the_door_imports_nothing_of_ours_but_the_version_until_it_is_asked() -> None:
    tree = ast.parse(SOURCES[DOOR].read_text(encoding="utf-8"))
    at_once = ast.Module([node for node in tree.body if not isinstance(node, ast.If | ast.FunctionDef)], [])
    assert [found.module for found in imports_of(DOOR, at_once) if found.ours] == ["version"]


def test_the_table_speaks_of_layers_that_there_are() -> None:
    assert set(MAY_IMPORT) <= set(SOURCES)
    assert {layer for allowed in MAY_IMPORT.values() for layer in allowed} <= {DOOR, *MAY_IMPORT}
    assert set(BELOW_THE_SHELLS) | set(NEVER_FOR) <= set(MAY_IMPORT)


# The checker itself: each text stands in for the source of the module.


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("errors", "from .protocol import codec", "errors may not import protocol.codec"),
        ("messages", "import ipc_broker.protocol.codec", "messages may not import protocol.codec"),
        ("config", "from . import session", "config may not import session"),
        ("protocol.codec", "from ..routing.peer import Peer", "protocol may not import routing.peer"),
        ("routing.router", "from ..session import Session", "routing may not import session"),
        ("routing", "from ..session.session import Session", "routing may not import session.session"),
        ("session.session", "from ipc_broker.routing import router", "session may not import routing.router"),
        ("session.session", "from .. import aio", "session may not import aio"),
        ("session.session", "from .. import connect", "session may not import the package itself"),
        ("sync.client", "from ipc_broker import Client", "sync may not import the package itself"),
        ("aio.client", "from ..routing.peer import Peer", "aio may not import routing.peer"),
        ("aio.client", "from .broker import Broker", "aio may not import aio.broker"),
        ("aio.broker", "from ..session import Session", "aio.broker may not import session"),
        ("aio.broker", "from .client import Client", "aio.broker may not import aio.client"),
        ("sync.client", "from ..aio.client import Client", "sync may not import aio.client"),
        ("sync.client", "from ..interface import Method", "sync may not import interface"),
        ("sync.client", "import asyncio", "sync may not import asyncio"),
        ("context", "from .session import Session", "context may not import session"),
        ("context", "from time import monotonic", "context may not import time"),
        ("cli.rob", "from ..routing.router import Router", "cli may not import routing.router"),
        ("routing.router", "def f():\n    from ..session import Session", "routing may not import session"),
        ("routing.router", "if TYPE_CHECKING:\n    from ..session import Session", "routing may not import session"),
        ("routing.router", "if TYPE_CHECKING:\n    import asyncio", "routing may not import asyncio"),
        ("routing.router", "import asyncio", "routing may not import asyncio"),
        ("protocol.codec", "import asyncio.streams as s", "protocol may not import asyncio.streams"),
        ("session.session", "def f():\n    from time import monotonic", "session may not import time"),
        ("errors", "import socket", "errors may not import socket"),
        ("deadlines", "import selectors", "deadlines may not import selectors"),
        ("session.session", "from threading import Lock", "session may not import threading"),
        ("routing.driver", "import json, signal", "routing may not import signal"),
        ("routing.driver", "import importlib", "routing may not import importlib"),
        ("routing.driver", "__import__('time').time()", "routing may not import by __import__"),
        ("config", "import os\nx = os.environ['A']", "config may not read the environment"),
        ("config", "import os as o\ndef f():\n    return o.getenv('A')", "config may not read the environment"),
        ("config", "from os import environ", "config may not read the environment"),
        ("somewhere.new", "", "somewhere.new has no layer"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str, fault: str) -> None:
    faults = faults_of(module, source)
    assert len(faults) == 1
    assert fault in faults[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("config", "import tomllib\nfrom .address import parse_address\nfrom . import errors"),
        ("protocol.codec", "from .framing import HEADER_SIZE\nfrom ..messages import Call\nimport msgspec"),
        ("protocol", "from .codec import encode\nfrom ..errors import IPCError"),
        ("routing.router", "import logging\nfrom . import peer\nfrom ..protocol.codec import encode"),
        ("routing.peer", "if TYPE_CHECKING:\n    from .calls import PendingCall"),
        ("aio.broker", "import asyncio, os\nfrom ..routing.router import Router\nos.environ"),
        ("aio.client", "from ..session import Session\nfrom .link import Link"),
        ("sync.client", "import socket, threading, time\nfrom ..session import Session\nfrom ..context import inherit"),
        ("cli.rob", "import os\nfrom ..sync import connect\nfrom ..config import BrokerConfig\nos.environ"),
        ("session.session", "def f(environ, time):\n    self.environ, time.socket"),
        ("routing.router", "from asynciolike import x\nfrom ..protocol import connection"),
    ],
)
def test_what_is_allowed_is_no_fault(module: str, source: str) -> None:
    assert faults_of(module, source) == []


def test_a_fault_names_the_module_and_the_line() -> None:
    assert faults_of("routing.router", "import logging\n\nimport time\n") == [
        "routing.router:3: routing may not import time"
    ]
