from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from ipc_broker.errors import InvalidArgs, RemoteError
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.encodings import ENCODINGS, JSON, MSGPACK
from ipc_broker.protocol.pieces import together
from ipc_broker.session.values import names_after, payload_of, value_of

BOTH = pytest.mark.parametrize("codec", ENCODINGS.values(), ids=ENCODINGS)


def recursive() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


# Payloads


@BOTH
def test_what_goes_out_comes_back(codec: Codec) -> None:
    value = {"a": [1, 2.5, None, "ä"], "b": {}}
    assert value_of(together(payload_of(value, codec, "math", "add")), codec, Any, "math", "add") == value


@BOTH
@pytest.mark.parametrize("make", [object, lambda: "\ud800", recursive])
def test_what_cannot_be_sent_is_the_callers_error(codec: Codec, make: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgs, match=r"what 'math\.add' was given cannot be sent: .*`\$`$") as raised:
        payload_of(make(), codec, "math", "add")
    assert (raised.value.object, raised.value.method, raised.value.delivered) == ("math", "add", "no")


def test_bytes_and_numbers_that_are_not_finite_travel_where_the_encoding_has_them() -> None:
    for value in (b"\xff", float("inf")):
        assert value_of(together(payload_of(value, MSGPACK, "math", "add")), MSGPACK, Any, "math", "add") == value
        with pytest.raises(InvalidArgs, match="JSON has no"):
            payload_of([value], JSON, "math", "add")


@BOTH
def test_a_result_is_converted_to_the_type_that_was_asked_for(codec: Codec) -> None:
    payload = codec.encode_payload([1, 2])
    assert value_of(payload, codec, tuple[int, int], "math", "add") == (1, 2)


@BOTH
def test_a_result_that_does_not_fit_is_the_workers_error_and_says_where(codec: Codec) -> None:
    payload = codec.encode_payload({"a": "x"})
    with pytest.raises(RemoteError) as raised:
        value_of(payload, codec, dict[str, int], "math", "add")
    assert "'math' answered 'add' with something else than dict" in raised.value.message
    assert raised.value.message.endswith("Expected `int`, got `str` - at `$[...]`")
    assert (raised.value.type, raised.value.object, raised.value.method) == ("ValidationError", "math", "add")


@pytest.mark.parametrize(
    ("codec", "payload"), [(JSON, b"1e999"), (JSON, b"[" * 10_000), (MSGPACK, b"\xa1\xff"), (MSGPACK, b"\x91" * 10_000)]
)
def test_a_result_that_cannot_be_read_is_the_workers_error(codec: Codec, payload: bytes) -> None:
    with pytest.raises(RemoteError, match=r"'math' answered 'add' with something else"):
        value_of(Raw(payload), codec, Any, "math", "add")


# Names


def test_pages_of_names_go_on_behind_the_last() -> None:
    assert names_after([]) == {"after": ""}
    assert names_after(["a", "b"]) == {"after": "b"}
