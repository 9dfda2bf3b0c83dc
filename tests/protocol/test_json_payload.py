import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw, Struct, UnsetType

from ipc_broker.protocol.json_payload import decode_any, encode_payload, payload_decoder
from ipc_broker.protocol.payload import Unsendable
from tests.protocol.strategies import JSON_VALUES

UNSAYABLE = [b"x", bytearray(b"x"), memoryview(b"x"), math.nan, math.inf, -math.inf]
HASHABLE_UNSAYABLE = [b"x", math.nan, math.inf]


def type_name(value: object) -> str:
    return type(value).__name__


class Pair(NamedTuple):
    left: object
    right: object


class Model(Struct):
    first: object
    second: object = None


class ArrayModel(Struct, array_like=True):
    first: object
    second: object = None


@dataclass
class Data:
    first: object
    second: object = None


@dataclass(slots=True)
class SlottedData:
    first: object
    second: object = None


class _Attribute(NamedTuple):
    name: str


class Attrs:
    """As the library `attrs` would make it, which we do not depend on."""

    __attrs_attrs__ = (_Attribute("first"), _Attribute("second"))

    def __init__(self, first: object, second: object = None) -> None:
        self.first = first
        self.second = second


# Each puts a value into a container and says where it then is.
CONTAINERS: list[tuple[Callable[[Any], object], str]] = [
    (lambda value: [value], "[0]"),
    (lambda value: [1, "a", value], "[2]"),
    (lambda value: (None, value), "[1]"),
    (lambda value: Pair(1.5, value), "[1]"),
    (lambda value: {"key": value}, ".key"),
    (lambda value: {"a": 1, "key": value, "b": b"later"}, ".key"),
    (lambda value: {7: value}, ".7"),
    (lambda value: Model(value), ".first"),
    (lambda value: Model(1, value), ".second"),
    (lambda value: Data(1, value), ".second"),
    (lambda value: SlottedData(value), ".first"),
    (lambda value: Attrs(1, value), ".second"),
]


def refusal(value: object) -> str:
    with pytest.raises(Unsendable) as caught:
        encode_payload(value)
    return str(caught.value)


@given(JSON_VALUES)
def test_everything_json_can_say_survives_unchanged(value: object) -> None:
    back = decode_any(encode_payload(value))
    assert back == value
    assert repr(back) == repr(value), "types and the sign of zero are kept too"


@given(JSON_VALUES)
def test_a_payload_is_json_that_others_read(value: object) -> None:
    assert json.loads(bytes(encode_payload(value))) == value


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


WHEN = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((1, (2,)), [1, [2]]),
        ({"a"}, ["a"]),
        (frozenset([1.5]), [1.5]),
        ({1: "a"}, {"1": "a"}),
        (Pair(1, "a"), [1, "a"]),
        (Model(1, [2]), {"first": 1, "second": [2]}),
        (ArrayModel(1, 2), [1, 2]),
        (Data(1, {"a": None}), {"first": 1, "second": {"a": None}}),
        (SlottedData(1, 2), {"first": 1, "second": 2}),
        (Attrs(1, 2), {"first": 1, "second": 2}),
        (Colour.RED, "red"),
        ([Size.LARGE], [3]),
        ({Colour.RED: 1}, {"red": 1}),
        (WHEN, "2024-02-29T12:30:00Z"),
        ([WHEN.date()], ["2024-02-29"]),
        ([datetime.timedelta(seconds=90)], ["PT90S"]),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([Raw(b'{"a":1}')], [{"a": 1}]),
        (2**200, 2**200),
        ("\x00\x7f\u2028\U0001f600", "\x00\x7f\u2028\U0001f600"),
        ({"": {"a.b": "]"}}, {"": {"a.b": "]"}}),
    ],
    ids=type_name,
)
def test_what_has_a_form_in_json_takes_it(value: object, said: object) -> None:
    assert decode_any(encode_payload(value)) == said


class WithUnset(Struct):
    first: int
    second: int | UnsetType = UNSET


def test_an_unset_field_is_left_out() -> None:
    assert decode_any(encode_payload(WithUnset(1))) == {"first": 1}


@dataclass
class WithClassVar:
    raw: ClassVar[bytes] = b"not sent"
    first: int = 1


@dataclass
class WithInitVar:
    first: int
    seed: InitVar[int]


@dataclass
class WithUnsetField:
    first: int
    second: float = field(init=False)


@pytest.mark.parametrize("value", [WithClassVar(), WithInitVar(1, 2), WithUnsetField(1)], ids=type_name)
def test_a_dataclass_is_sent_by_the_fields_it_has(value: object) -> None:
    assert decode_any(encode_payload(value)) == {"first": 1}


@pytest.mark.parametrize("value", UNSAYABLE, ids=type_name)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    if isinstance(value, float):
        assert refusal(value) == f"JSON has no number {value} - at `$`"
    else:
        assert refusal(value) == "JSON has no bytes; encode them as text, with base64 for example - at `$`"


@given(st.sampled_from(UNSAYABLE), st.lists(st.sampled_from(CONTAINERS), max_size=6))
def test_it_is_refused_however_deep_it_stands_with_the_path_to_it(
    value: object, containers: list[tuple[Callable[[Any], object], str]]
) -> None:
    path = ""
    for put, step in containers:
        value = put(value)
        path = step + path
    assert refusal(value).endswith(f" - at `${path}`")


def test_it_is_refused_in_a_struct_that_is_sent_as_a_list() -> None:
    assert refusal([ArrayModel(1, math.nan)]).startswith("JSON has no number nan - at `$[0]")


@pytest.mark.parametrize("kind", [set, frozenset])
@pytest.mark.parametrize("value", HASHABLE_UNSAYABLE, ids=type_name)
def test_it_is_refused_in_sets(kind: Callable[[list[object]], object], value: object) -> None:
    assert refusal({"tags": kind([value])}).endswith(" - at `$.tags[0]`")


@pytest.mark.parametrize("value", HASHABLE_UNSAYABLE, ids=type_name)
def test_it_is_refused_as_a_key_with_the_path_of_the_map(value: object) -> None:
    assert refusal([{value: 1}]).endswith(" - at `$[0]`")


class WrongEnum(enum.Enum):
    BYTES = b"x"
    NAN = math.nan


class WrongFloatEnum(float, enum.Enum):
    NAN = math.nan


@pytest.mark.parametrize("value", [*WrongEnum, *WrongFloatEnum], ids=type_name)
def test_it_is_refused_as_the_value_of_an_enum(value: enum.Enum) -> None:
    assert refusal([value]).endswith(" - at `$[0]`")


@dataclass
class IterableData:
    first: float

    def __iter__(self) -> Iterator[str]:
        return iter(["what it yields is not what is sent"])


class IterableModel(Struct):
    first: float

    def __iter__(self) -> Iterator[str]:
        return iter(["what it yields is not what is sent"])


@pytest.mark.parametrize("value", [IterableData(math.nan), IterableModel(math.nan)], ids=type_name)
def test_it_is_refused_in_a_field_of_what_can_be_iterated_over(value: object) -> None:
    assert refusal(value) == "JSON has no number nan - at `$.first`"


@pytest.mark.parametrize(
    "value", [object(), 1j, range(3), iter([1]), {(1, 2): 3}, {None: 1}, "\ud800", {"\ud800": 1}], ids=type_name
)
def test_what_has_no_form_in_json_is_refused_at_the_whole(value: object) -> None:
    assert refusal([value]).endswith(" - at `$`")


def test_what_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    assert refusal(value) == "it is nested too deeply - at `$`"


@pytest.mark.parametrize("put", [lambda value: [value], lambda value: {"a": value}], ids=["list", "map"])
def test_at_any_depth_a_value_is_sent_or_refused(put: Callable[[object], object]) -> None:
    refused = set()
    for depth in (100, *range(900, 1010), 5000, 20_000):
        value: object = 1
        for _ in range(depth):
            value = put(value)
        try:
            encode_payload(value)
        except Unsendable as error:
            refused.add(str(error))
    assert refused <= {"it is nested too deeply - at `$`"}


def test_a_payload_is_converted_to_the_type_asked_for() -> None:
    payload = encode_payload({"first": 1, "second": [1, 2]})
    assert payload_decoder(Model)(payload) == Model(1, [1, 2])
    assert payload_decoder(dict[str, int | tuple[int, ...]])(payload)["second"] == (1, 2)
    assert payload_decoder(int | None)(Raw(b"null")) is None


def test_a_decoder_is_made_once_for_each_type() -> None:
    assert payload_decoder(Model).__self__ is payload_decoder(Model).__self__  # type: ignore[attr-defined]
