from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.cli.completing import KINDS as COMPLETED_KINDS
from ipc_broker.cli.completing import MODES, SHELLS, Line, candidates, is_safe
from ipc_broker.cli.completion_scripts import SCRIPTS
from ipc_broker.cli.monitoring import KINDS
from ipc_broker.cli.words import COMMANDS, OPTIONS
from ipc_broker.description import Interface, MethodDescription, Parameter
from ipc_broker.interface import methods_of
from ipc_broker.schemas import interface_of
from tests.cli.shop import Shop

SHOP = interface_of(Shop(), methods_of(Shop()))
LETTERS = MethodDescription(parameters=(Parameter("kind", {"enum": ["b", "x"]}),))


class Bus:
    def objects(self) -> list[str]:
        return ["echo", "rob", "shop", "$(reboot)", "a b", "-x"]

    def interface(self, object_name: str) -> Interface | None:
        return {"shop": SHOP, "letters": Interface(methods={"go": LETTERS})}.get(object_name)

    def topics(self, object_name: str) -> list[tuple[str, str]]:
        known = [("door", "state"), ("shop", "sold"), ("shop", "`reboot`")]
        return [one for one in known if object_name in ("", one[0])]


class Nothing:
    def objects(self) -> list[str]:
        return []

    def interface(self, object_name: str) -> Interface | None:
        return None

    def topics(self, object_name: str) -> list[tuple[str, str]]:
        return []


def completed(line: str) -> list[str] | None:
    *before, current = line.split(" ")
    found = candidates(Line(before), current, Bus())
    return None if found is None else [one.word for one in found]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", list(COMMANDS)),
        ("li", ["listen", "list"]),
        ("call ", ["echo", "rob", "shop"]),
        ("call sh", ["shop"]),
        ("call shop p", ["price", "pack"]),
        ("call ghost ", []),
        ("call shop price ", ["red", "color=", "level="]),
        ("call shop price c", ["color="]),
        ("call shop price color=", ["color=red"]),
        ("call shop price color=red ", ["level="]),
        ("call shop price color=red level=", ["level=1", "level=2"]),
        ("call shop price red ", ["1", "2", "level="]),
        ("call shop order x ", ["count=", "express="]),
        ("call shop order express=t", ["express=true"]),
        ("call shop label ", []),
        ("call shop ghost ", []),
        ("call shop price {ss} ", []),
        ("call letters go ", ["x", "kind="]),
        ("call letters go kind=", ["kind=b", "kind=x"]),
        ("send ", ["echo", "rob", "shop", "door"]),
        ("send shop ", ["sold"]),
        ("listen door s", ["state"]),
        ("listen shop sold ", []),
        ("describe shop o", ["open_for", "opened", "order"]),
        ("describe shop order ", []),
        ("monitor shop s", ["sales", "store", "sold"]),
        ("wait echo ", ["rob", "shop"]),
        ("tree d", ["door"]),
        ("record ", None),
        ("record f.jsonl ", ["echo", "rob", "shop", "door"]),
        ("completion ", list(SHELLS)),
        ("frobnicate ", []),
        ("ping ", []),
        ("--ti", ["--timeout"]),
        ("--st", []),
        ("call --st", ["--stream"]),
        ("call --stream --st", []),
        ("call --header a=b --hea", ["--header"]),
        ("call --timeout ", []),
        ("call --timeout 1 sh", ["shop"]),
        ("call --timeout=1 sh", ["shop"]),
        ("call -- --", []),
        ("--log-level ", ["trace", "debug", "info", "warn", "error"]),
        ("--log-level=d", ["--log-level=debug"]),
        ("serve m:C --mode s", ["shared", "standby"]),
        ("monitor --only call,ans", ["call,answer"]),
        ("monitor --only=call,ans", ["--only=call,answer"]),
    ],
)
def test_how_a_line_may_go_on(line: str, words: list[str] | None) -> None:
    found = completed(line)
    assert (sorted(found) if found else found) == (sorted(words) if words else words)


@pytest.mark.parametrize("line", ["call ", "call shop ", "call shop price ", "send ", "send shop ", "monitor shop "])
def test_without_a_broker_nothing_of_it_is_known(line: str) -> None:
    *before, current = line.split(" ")
    assert candidates(Line(before), current, Nothing()) == []


def test_what_is_said_of_candidates() -> None:
    found = candidates(Line(["call", "shop", "order"]), "", Bus()) or []
    about = {one.word: one.about for one in found}
    assert about == {
        "lamp=": "Lamp",
        "count=": "int, may be left out",
        "express=": "bool, may be left out",
    }
    found = candidates(Line(["call", "shop"]), "order", Bus()) or []
    assert [one.about for one in found] == ["Gives the number of the order."]


@pytest.mark.parametrize(
    "name", ["a b", "$(x)", "`x`", "a;b", "a'b", 'a"b', "a|b", "~", "a*", "a\nb", "\u202ea", "", "a\\b"]
)
def test_names_that_a_shell_would_read_otherwise_are_not_offered(name: str) -> None:
    assert not is_safe(name)


def test_all_that_can_be_offered_is_there() -> None:
    assert set(COMPLETED_KINDS) == set(KINDS)
    assert SCRIPTS.keys() == set(SHELLS)
    assert OPTIONS["mode"].help.startswith(f"{', '.join(MODES[:2])} or {MODES[2]}")


@given(st.lists(st.sampled_from(["call", "shop", "order", "--", "--timeout", "--json", "=", "a=", "x", ""])), st.text())
def test_whatever_was_typed_there_is_an_answer(before: list[str], current: str) -> None:
    for one in candidates(Line(before), current, Bus()) or ():
        assert one.word.startswith(current)
        assert is_safe(one.word)
