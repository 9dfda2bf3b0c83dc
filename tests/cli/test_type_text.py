from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.cli.description_lines import object_lines, tree_lines
from ipc_broker.cli.render import render_line
from ipc_broker.cli.terminal import Span
from ipc_broker.cli.type_text import TypeText, quoted, signature_text
from ipc_broker.description import Interface, MethodDescription, ObjectDescription, Owner, Parameter, Schema
from ipc_broker.interface import methods_of
from ipc_broker.observation import TopicState
from ipc_broker.schemas import interface_of
from tests.cli.shop import Shop

SHOP = interface_of(Shop(), methods_of(Shop()))


def text_of(lines: list[list[Span]]) -> str:
    return "\n".join("".join(span.text for span in line) for line in lines)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({}, "Any"),
        ({"type": "integer", "minimum": 1}, "int"),
        ({"type": ["string", "null"]}, "str | None"),
        ({"anyOf": [{"type": "number"}, {"type": "number"}]}, "float"),
        ({"type": "string", "format": "email"}, "str"),
        ({"type": "string", "contentEncoding": "base64"}, "bytes"),
        ({"type": "array"}, "list[Any]"),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True}, "set[bool]"),
        ({"type": "array", "prefixItems": [{}, {"type": "null"}], "minItems": 2, "maxItems": 2}, "tuple[Any, None]"),
        ({"type": "object"}, "dict[str, Any]"),
        ({"type": "object", "additionalProperties": {"$ref": "#/definitions/Box"}}, "dict[str, Box]"),
        ({"enum": ["a", 1, None, True]}, 'Literal["a", 1, None, True]'),
        ({"enum": [1.5]}, "Any"),
        ({"title": "Socket"}, "Any"),
    ],
)
def test_types_as_text(schema: Schema, text: str) -> None:
    assert TypeText().of(schema) == text


def test_a_type_that_has_no_end_is_cut() -> None:
    schema: Schema = {}
    for _ in range(100):
        schema = {"type": "array", "items": schema}
    assert TypeText().of(schema).endswith("Any" + "]" * 21)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("close", "close() -> None"),
        ("label", "label(id: int, /, **labels: str) -> dict[str, str]"),
        ("total", "total(*prices: float, discount: float = 0.0) -> float"),
        ("order", "order(lamp: Lamp, count: int = 1, *, express: bool = False) -> UUID"),
        ("find", "find(name: str | None = None, tags: set[str] = set()) -> list[Lamp | Cable]"),
        ("ticks", "ticks(count: int = 2) -> Iterator[datetime]"),
    ],
)
def test_signatures(method: str, text: str) -> None:
    assert signature_text(method, SHOP.methods[method]) == text


def test_a_default_that_cannot_be_told_or_is_long() -> None:
    parameters = (Parameter("a", required=False), Parameter("b", required=False, default="x" * 50))
    assert signature_text("go", MethodDescription(parameters=parameters)) == "go(a: Any = ..., b: Any = ...) -> Any"


@given(st.text())
def test_texts_in_quotes(text: str) -> None:
    assert eval(quoted(text), {}) == text


def test_long_signatures_have_a_line_for_each_parameter() -> None:
    shown = text_of(object_lines(ObjectDescription("shop", interface=SHOP), "order", 40))
    assert shown.startswith(
        "order(\n    lamp: Lamp,\n    count: int = 1,\n    *,\n    express: bool = False,\n) -> UUID\n    Gives the number"
    )


def test_who_serves_it() -> None:
    owners = (
        Owner("first", 12, concurrency=8, running=3),
        Owner(address="192.168.1.2:7", state="standby"),
        Owner(),
    )
    description = ObjectDescription("job queue", "shared", owners, 2, Interface("Jobs"))
    assert text_of(object_lines(description, "", 80)) == (
        "job queue  Jobs\n"
        "served by 'first' (process 12), 3 of at most 8 calls at once\n"
        "stands by: 192.168.1.2:7\n"
        "served by a program without a name\n"
        "mode shared\n"
        "2 calls waiting for room\n"
        "\n"
        "It has no methods."
    )
    topics = [TopicState("job queue", "done", 2), TopicState("job queue", ">", 1, True)]
    assert text_of(tree_lines("job queue", description, topics)) == (
        "job queue  Jobs, served by 'first' (process 12) and 1 more\n"
        "├── topic done  2 subscribers\n"
        "└── topic >  1 subscriber, retained"
    )


@given(st.text(), st.text(), st.text(), st.text())
def test_what_others_say_does_not_steer_the_terminal(name: str, doc: str, parameter: str, value: str) -> None:
    method = MethodDescription(doc, (Parameter(parameter, {"enum": [value]}, required=False, default=value),))
    definition = {"type": "object", "properties": {parameter: {"type": "string"}}, "description": doc, "title": name}
    returning = MethodDescription(returns={"$ref": f"#/definitions/{name}"})
    interface = Interface(name, doc, {name: method, "get": returning}, {name: definition})
    description = ObjectDescription(name, name, (Owner(name, 1, address=doc),), interface=interface)
    lines = [*object_lines(description, "", 80), *tree_lines(name, description, [TopicState(name, parameter)])]
    for line in lines:
        for span in line:
            assert render_line(span.text) == span.text
