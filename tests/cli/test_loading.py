from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc_broker.cli.failures import CannotLoad
from ipc_broker.cli.loading import Target, folders_of, load, look_here_too, parse_target
from ipc_broker.cli.words import UsageError

SHOP = '''\
"""A shop."""
from os import getcwd
from abc import ABC, abstractmethod

class Till:
    def total(self, prices: list[float]) -> float:
        return sum(prices)
    class Drawer:
        def open(self) -> None: ...

class Needs:
    def __init__(self, host, port, *rest, retries=3): ...

class Broken:
    def __init__(self):
        raise RuntimeError("no database")

class Abstract(ABC):
    @abstractmethod
    def total(self): ...

till = Till()
number = 5

def hello(name: str = "you") -> str:
    return "hello " + name

def _private(): ...
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with sources in it; what is imported from there is forgotten."""
    for name, text in {
        "shop_here": SHOP,
        "needs_here": "import no_such_thing_anywhere",
        "syntax_here": "x = 1\ndef (",
        "raises_here": "\n\n1 / 0",
        "exits_here": "import sys; sys.exit(4)",
        "listed_here": "__all__ = ['one']\ndef one(): ...\ndef two(): ...",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    package = tmp_path / "pack_here"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("class Deep:\n    def go(self) -> int:\n        return 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    look_here_too()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded(text: str) -> Any:
    return load(parse_target(text))


def refusal(text: str) -> str:
    with pytest.raises(CannotLoad) as caught:
        loaded(text)
    return str(caught.value)


def test_a_class_becomes_an_instance_and_an_instance_stays_itself() -> None:
    assert loaded("shop_here:Till").total([1, 2]) == 3
    assert loaded("shop_here:till") is sys.modules["shop_here"].till
    assert type(loaded("shop_here:Till.Drawer")).__name__ == "Drawer"
    assert loaded("pack_here.inner:Deep").go() == 1


def test_a_module_is_its_own_functions() -> None:
    served = loaded("shop_here")
    assert [name for name in dir(served) if not name.startswith("_")] == ["hello"]
    assert served.hello("x") == "hello x"
    assert (type(served).__name__, type(served).__doc__) == ("shop_here", "A shop.")
    assert [name for name in dir(loaded("listed_here")) if not name.startswith("_")] == ["one"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop_her:Till", "; did you mean shop_here?"),
        ("no_such_thing_anywhere", "there is no module 'no_such_thing_anywhere', neither in "),
        ("pack_here.outer:Deep", "there is no module 'outer' in the package pack_here"),
        (
            "needs_here",
            "needs_here needs the module 'no_such_thing_anywhere', which is not installed (needs_here.py, line 1)",
        ),
        ("syntax_here:X", "syntax_here cannot be imported: "),
        (
            "raises_here:X",
            "importing 'raises_here' raised ZeroDivisionError: division by zero (raises_here.py, line 3)",
        ),
        ("exits_here:X", "importing 'exits_here' raised SystemExit: 4 (exits_here.py, line 1)"),
        ("shop_here:Til", "shop_here has no 'Til'; did you mean Till?"),
        ("shop_here:nothing", "shop_here has no 'nothing'; it has Till, Needs, Broken, Abstract, till, hello"),
        ("raises_here.x", "importing 'raises_here.x' raised ZeroDivisionError"),
        (
            "shop_here:Needs",
            "Needs cannot be made without host, port; make one in shop_here, as in `needs = Needs(host=..., port=...)`, and "
            "serve shop_here:needs",
        ),
        ("shop_here:Broken", "Broken() raised RuntimeError: no database (shop_here.py, line 16)"),
        ("shop_here:Abstract", "Abstract() raised TypeError: Can't instantiate abstract class Abstract"),
        ("shop_here:number", "shop_here:number is int: a value, without methods of its own to serve"),
        ("shop_here:hello", "shop_here:hello is a function; shop_here alone serves all the functions of that module"),
        ("pack_here", "pack_here defines no public functions; to serve a class of it say pack_here:Class"),
    ],
)
def test_whatever_is_wrong_is_named(text: str, expected: str) -> None:
    assert expected in refusal(text)


@pytest.mark.parametrize("text", ["", "a..b", "a:", ":Class", "a b", "a:b c", "-x"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(UsageError, match=r"TARGET is package\.module:Class"):
        parse_target(text)


def test_a_file_is_no_module() -> None:
    with pytest.raises(UsageError, match=r"not a file; did you mean shop:Till\?"):
        parse_target("shop.py:Till")
    with pytest.raises(UsageError, match=r"not a file; did you mean lib\.shop\?"):
        parse_target(str(Path("lib") / "shop.py"))
    with pytest.raises(UsageError, match=r"not a file; did you mean shop:Till\?"):
        parse_target(f".{os.sep}shop.py:Till")


def test_a_file_elsewhere(tmp_path: Path) -> None:
    for folder in (tmp_path, Path("..") / "lib"):
        with pytest.raises(UsageError) as raised:
            parse_target(f"{folder / 'shop.py'}:Till")
        assert str(raised.value) == f"TARGET is a module, not a file: shop:Till, in the folder {folder}"


def test_the_folders_of_a_package_and_of_a_single_module(folder: Path) -> None:
    assert folders_of(Target("pack_here.inner", "Deep")) == [folder / "pack_here"]
    assert folders_of(Target("shop_here", "Till")) == [folder]
    assert folders_of(Target("syntax_here", "X")) == [folder]  # it is not imported for that
    with pytest.raises(CannotLoad, match="no module 'no_such_thing_anywhere'"):
        folders_of(Target("no_such_thing_anywhere", ""))
    with pytest.raises(CannotLoad, match="no file of its own"):
        folders_of(Target("sys", ""))
