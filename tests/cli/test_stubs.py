"""The source that `rob stubs` writes: that it is legal, means what the interface says, and holds nothing of anybody else."""

from __future__ import annotations

import ast
import itertools
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.cli.legal_names import Scope, as_class, as_constant, as_field, is_legal
from ipc_broker.cli.literals import comment, docstring, literal
from ipc_broker.cli.stubs import stubs_of
from ipc_broker.compatibility import changes
from ipc_broker.description import Interface, MethodDescription, Parameter
from ipc_broker.interface import methods_of
from ipc_broker.protocol.encodings import JSON
from ipc_broker.remote import remote_methods
from ipc_broker.schemas import interface_of
from tests.cli.shop import Shop

SHOP = interface_of(Shop(), methods_of(Shop()))

_NUMBERS = itertools.count()


@contextmanager
def imported(source: str) -> Iterator[types.ModuleType]:
    name = f"stubs_under_test_{next(_NUMBERS)}"
    module = types.ModuleType(name)
    sys.modules[name] = module
    try:
        exec(compile(source, name, "exec"), module.__dict__)
        yield module
    finally:
        del sys.modules[name]


def described_by(source: str, name: str) -> Interface:
    """What the Protocol says, by the same way that check=True takes."""
    with imported(source) as module:
        protocol = getattr(module, name)
        methods = remote_methods(protocol)
        for method in methods.values():
            JSON.decoder(method.returns)  # which a typed proxy does
        return interface_of(protocol, methods)


def stub(interface: Interface, object_name: str = "thing", *, blocking: bool = False) -> str:
    return stubs_of(object_name, interface, blocking=blocking)[0]


def one_method(*parameters: Parameter, returns: Any = None, **definitions: Any) -> Interface:
    method = MethodDescription(parameters=parameters, returns=returns or {})
    return Interface("Api", methods={"go": method}, definitions=definitions)


@pytest.mark.parametrize("blocking", [False, True])
def test_the_class_says_what_the_worker_says(blocking: bool) -> None:
    source, name = stubs_of("shop", SHOP, blocking=blocking)
    assert name == "Shop"
    assert changes(described_by(source, name), SHOP) == []
    assert changes(SHOP, described_by(source, name)) == []
    assert ("async def" in source) is not blocking
    assert ("-> AsyncIterator[Lamp]" in source, "-> Iterator[Lamp]" in source) == (not blocking, blocking)


def test_types_as_python_has_them() -> None:
    source = stub(SHOP)
    for line in (
        '    async def store(self, content: bytes, kind: Literal["raw", "zip"] = "raw") -> int: ...',
        "    async def opened(self, day: date) -> datetime | None: ...",
        "    async def list(self) -> list_[int]: ...",
        "    async def price(self, color: Color, level: Level = Level.VALUE_2) -> Decimal: ...",
        "    async def label(self, id: int, /, **labels: str) -> dict[str, str]: ...",
        "    async def total(self, *prices: float, discount: float = 0.0) -> float: ...",
        '    WARM_WHITE = "warm white"',
        "    length_in_m: Annotated[float, Meta(gt=0)]",
        "    level: Level = Level.VALUE_1",
        "    boxes: list_[Box] = field(default_factory=list_)",
        "from builtins import list as list_",
        "from uuid import UUID",
    ):
        assert line in source.splitlines(), source


@pytest.mark.parametrize(
    ("object_name", "interface", "expected"),
    [
        ("sensor-hub.2", Interface(), "class SensorHub2(Protocol):\n    pass\n"),
        ("?", Interface(), "class Api(Protocol):\n    pass\n"),
        ("x", Interface("Protocol"), "class Protocol_2(Protocol):\n    pass\n"),
        ("x", Interface("list", "What it does."), 'class List(Protocol):\n    """What it does."""\n'),
        (
            "x",
            one_method(Parameter("class", {"type": "integer"})),
            "class Api(Protocol):\n    # 'go' is left out: Python cannot write it. client.call() can.\n\n    pass\n",
        ),
        (
            "x",
            one_method(Parameter("a"), Parameter("class", required=False), Parameter("__b", required=False)),
            "class Api(Protocol):\n    async def go(self, a: Any) -> Any: ...\n",
        ),
        (
            "x",
            one_method(Parameter("a", required=False, default="x\"'\n"), Parameter("b", kind="keyword")),
            "class Api(Protocol):\n    async def go(self, a: Any = 'x\"\\'\\n', *, b: Any) -> Any: ...\n",
        ),
    ],
)
def test_names_that_python_has_otherwise(object_name: str, interface: Interface, expected: str) -> None:
    source, name = stubs_of(object_name, interface, blocking=False)
    assert source.endswith(expected), source
    described_by(source, name)


def test_fields_and_defaults() -> None:
    box = {
        "type": "object",
        "properties": {
            "date": {"type": "string", "format": "date"},
            "int": {"type": "integer", "default": 1},
            "in m": {"type": "number", "default": 0.5},
            "in_m": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "when": {"type": "string", "format": "uuid", "default": "12345678-1234-5678-1234-567812345678"},
            "UNSET": {"type": "array", "items": {"type": "integer"}, "default": [1]},
        },
        "required": ["date"],
    }
    interface = one_method(returns={"$ref": "#/definitions/Box"}, Box=box)
    source = stub(interface)
    for line in (
        "    date: date_",
        "    int: int_ = 1",
        "    in_m_2: float = 0.5",
        "    in_m: str | None = None",
        "    when: UUID | UnsetType = UNSET_",
        "    UNSET: list[int_] | UnsetType = UNSET_",
    ):
        assert line in source.splitlines(), source
    assert changes(interface, described_by(source, "Api")) == []


def test_lists_as_classes() -> None:
    pair = {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string", "default": ""}], "minItems": 1}
    interface = one_method(returns={"$ref": "#/definitions/Pair"}, Pair=pair)
    source = stub(interface)
    assert "class Pair(Struct, frozen=True, kw_only=True, array_like=True):" in source
    assert changes(interface, described_by(source, "Api")) == []

    pair |= {"maxItems": 2}
    interface = one_method(returns={"$ref": "#/definitions/Pair"}, Pair=pair)
    source = stub(interface)
    assert 'class Pair(NamedTuple):\n    field_0: int\n    field_1: str = ""\n' in source
    assert changes(interface, described_by(source, "Api")) == []


def test_what_msgspec_cannot_tell_apart_is_anything() -> None:
    union = {"anyOf": [{"type": "string"}, {"type": "string", "format": "uuid"}, {"type": "null"}]}
    assert "-> Any: ..." in stub(one_method(returns=union))
    classes = {"A": {"type": "object", "properties": {"x": {}}}, "B": {"type": "object", "properties": {"x": {}}}}
    either = {"anyOf": [{"$ref": "#/definitions/A"}, {"$ref": "#/definitions/B"}]}
    assert "-> Any: ..." in stub(one_method(returns=either, **classes))


# What comes from the bus may come from an enemy


WORDS = [
    "x",
    "x):\n    import os",
    '"""',
    "\\",
    "'",
    "class",
    "int",
    "date",
    "self",
    "a b",
    "__init__",
    "\u202e",
    "\r",
    "{x}",
    "ﬁ",
    "",
    "_x",
]
names = st.sampled_from(WORDS) | st.text(max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | names,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
references = st.sampled_from(["#/definitions/A", "#/definitions/B", "#/definitions/x y"])
leaves = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "array", "object", "null", "boolean"]) | json_values,
        "enum": st.lists(names | st.integers(-3, 3) | json_values, max_size=3),
        "format": st.sampled_from(["date-time", "date", "uuid", "decimal", "email"]) | json_values,
        "contentEncoding": st.just("base64"),
        "minimum": json_values,
        "exclusiveMinimum": json_values,
        "maxLength": json_values,
        "minItems": json_values,
        "multipleOf": json_values,
        "pattern": json_values,
        "default": json_values,
        "title": names,
        "description": st.text() | names,
        "x-more": json_values,
    },
)
schemas = st.recursive(
    leaves | st.fixed_dictionaries({"$ref": references}),
    lambda inner: (
        st.fixed_dictionaries(
            {"type": st.sampled_from(["array", "object"])},
            optional={
                "items": inner,
                "uniqueItems": st.just(True),
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "minItems": st.integers(0, 2),
                "maxItems": st.integers(0, 2),
                "properties": st.dictionaries(names, inner, max_size=3),
                "required": st.lists(names, max_size=2),
                "additionalProperties": inner | st.just(False),
                "description": st.text() | names,
            },
        )
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=4,
)
parameters = st.builds(
    Parameter,
    names,
    schemas,
    st.sampled_from(["", "positional", "keyword", "list", "map"]),
    st.booleans(),
    json_values,
)
interfaces = st.builds(
    Interface,
    names,
    st.text() | names,
    st.dictionaries(
        names,
        st.builds(
            MethodDescription, st.text() | names, st.lists(parameters, max_size=3).map(tuple), schemas, st.booleans()
        ),
        max_size=3,
    ),
    st.dictionaries(st.sampled_from(["A", "B", "x y"]) | names, schemas, max_size=3),
)

HARMLESS = (
    ast.ImportFrom,
    ast.ClassDef,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.AnnAssign,
    ast.Assign,
    ast.Expr,
    ast.Pass,
)
"""The statements that there may be."""


@given(names, interfaces, st.booleans())
def test_whatever_comes_from_the_bus_is_harmless_and_legal(
    object_name: str, interface: Interface, blocking: bool
) -> None:
    source, name = stubs_of(object_name, interface, blocking=blocking)
    assert all(char.isprintable() or char == "\n" for char in source)
    tree = ast.parse(source)
    imports = {"__future__", "builtins", "collections.abc", "datetime", "decimal", "enum", "msgspec", "typing", "uuid"}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            assert isinstance(node, HARMLESS), source
        if isinstance(node, ast.ImportFrom):
            assert node.module in imports, source
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), source
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func).rstrip("_") in ("field", "Meta"), source
    described = described_by(source, name)
    for method, one in described.methods.items():
        assert one.stream is interface.methods[method].stream
        assert {given.name for given in one.parameters} <= {
            given.name for given in interface.methods[method].parameters
        }


@given(st.text() | names)
def test_texts_as_docstrings_and_comments(text: str) -> None:
    source = "\n".join(docstring(text, "    "))
    found = ast.get_docstring(ast.parse(f"class A:\n{source}").body[0], clean=False)  # type: ignore[arg-type]
    assert (found or "").split() == text.split()
    assert ast.parse(comment(text, "")).body == []


@given(json_values)
def test_values_as_literals(value: Any) -> None:
    written = literal(value)
    if written is not None:
        assert ast.literal_eval(written) == value
        assert written.isprintable()


@given(names)
def test_names_are_made_legal(name: str) -> None:
    assert as_class(name) == "" or is_legal(as_class(name))
    assert is_legal(as_field(name))
    assert is_legal(as_constant(name))


def test_names_that_are_legal() -> None:
    assert is_legal("x")
    assert is_legal("größe")
    for name in ("class", "ﬁ", "__x", "a b", "", "1x", "µ"):  # the last is read as another letter
        assert not is_legal(name)
    assert (as_class("sensor-2.hub"), as_class("2"), as_field("in m"), as_field("class")) == (
        "Sensor2Hub",
        "",
        "in_m",
        "class_",
    )
    assert (as_constant("warm white"), as_constant(-1), as_constant("1a"), as_constant("?")) == (
        "WARM_WHITE",
        "VALUE_MINUS_1",
        "VALUE_1A",
        "VALUE",
    )
    scope = Scope(["x"])
    assert [scope.take("x"), scope.take("x"), scope.take("y"), scope.take("y_"), scope.take("y_")] == [
        "x_2",
        "x_3",
        "y",
        "y_",
        "y_2",
    ]
