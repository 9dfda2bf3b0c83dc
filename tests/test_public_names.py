import ast
import inspect
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ipc_broker
from ipc_broker import errors

SOURCES = Path(ipc_broker.__file__).parents[1]

# Where people's programs find what, from the page of names that are fixed; and every exception.
NAMES = {
    "connect": "aio.connecting",
    "Client": "aio.client",
    "Worker": "aio.worker",
    "Broker": "aio.broker",
    "BrokerConfig": "config",
    "Limits": "config",
    "Event": "events",
    "Gap": "events",
    "SharedObject": "interface",
    "inline": "interface",
    "current_call": "context",
    "CallContextFilter": "call_logging",
    **{
        name: "errors"
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.IPCError)
    },
}


def modules_after(program: str) -> set[str]:
    """The modules that a fresh interpreter holds at the end of the program."""
    source = f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env=os.environ | {"PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    modules: list[str] = json.loads(finished.stdout.splitlines()[-1])
    return set(modules)


def ours_of(modules: set[str]) -> set[str]:
    return {name.removeprefix("ipc_broker.") for name in modules if name.startswith("ipc_broker.")}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_is_the_one_of_its_module(name: str) -> None:
    home = import_module(f"ipc_broker.{NAMES[name]}")
    assert getattr(ipc_broker, name) is getattr(home, name)


def test_all_and_dir_list_every_name() -> None:
    assert set(ipc_broker.__all__) == {*NAMES, "errors", "__version__"}
    assert len(set(ipc_broker.__all__)) == len(ipc_broker.__all__)
    assert set(ipc_broker.__all__) <= set(dir(ipc_broker))


def test_errors_is_the_module_and_the_version_is_text() -> None:
    assert ipc_broker.errors is errors
    assert [part.isdigit() for part in ipc_broker.__version__.split(".")[:2]] == [True, True]


def test_type_checkers_see_the_same_names() -> None:
    """They do not run `__getattr__`: the names are imported for them under TYPE_CHECKING."""
    tree = ast.parse(inspect.getsource(ipc_broker))
    (for_type_checkers,) = (node for node in tree.body if isinstance(node, ast.If))
    seen: dict[str, str] = {}
    for node in for_type_checkers.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "otherwise it is not public to them"
            seen[alias.name] = node.module or ""
    assert seen == NAMES | {"errors": ""}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ipc_broker' has no attribute 'Manager'"):
        ipc_broker.Manager  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Manager'"):
        exec("from ipc_broker import Manager")


def test_the_package_alone_imports_next_to_nothing() -> None:
    modules = modules_after("import ipc_broker")
    assert ours_of(modules) == {"version"}
    assert not {"asyncio", "msgspec", "click", "rich", "uvloop", "socket"} & modules


def test_an_exception_costs_no_more_than_its_module() -> None:
    modules = modules_after("from ipc_broker import NoSuchObject, errors")
    assert ours_of(modules) == {"version", "errors"}
    assert not {"asyncio", "msgspec"} & modules


def test_the_blocking_client_imports_no_asyncio_and_nothing_for_the_terminal() -> None:
    modules = modules_after(
        "import ipc_broker\n"
        "from ipc_broker.sync import connect\n"
        "from ipc_broker import BrokerConfig, Event, Gap, IPCError, errors\n"
        "ipc_broker.sync.connect"
    )
    assert {"sync", "sync.client", "session"} <= ours_of(modules)
    assert not {"asyncio", "uvloop", "click", "rich", "concurrent.futures"} & modules
    assert not {name for name in ours_of(modules) if name.startswith(("aio", "cli", "routing"))}


def test_the_asyncio_client_imports_no_broker_and_nothing_for_the_terminal() -> None:
    modules = modules_after("from ipc_broker import connect")
    assert "asyncio" in modules
    assert not {"click", "rich"} & modules
    assert not {name for name in ours_of(modules) if name.startswith(("aio.broker", "cli", "routing"))}
