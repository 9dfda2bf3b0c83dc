from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from ipc_broker.cli.failures import NoRecording
from ipc_broker.cli.recording import VERSION, Header, Line, is_json, payload_fields, read_recording, write_line

PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def written(*lines: Line) -> bytes:
    file = io.BytesIO()
    write_line(file, Header(VERSION, "2026-01-05T10:00:00+00:00"))
    for line in lines:
        write_line(file, line)
    return file.getvalue()


def read(data: bytes) -> list[Line]:
    return list(read_recording("tape.jsonl", io.BytesIO(data)))


@given(PAYLOADS)
def test_payloads_come_back_as_they_were(payload: Any) -> None:
    [line] = read(written(Line("event", **payload_fields(payload))))
    assert line.payload == payload
    assert type(line.payload) is type(payload)


def test_what_json_cannot_say_is_messagepack() -> None:
    assert payload_fields({"a": [1, None, 0.5]}) == {"value": {"a": [1, None, 0.5]}}
    assert payload_fields(b"\x00") == {"msgpack": "xAEA"}
    assert payload_fields(UNSET) == {}
    assert not is_json(float("nan"))
    assert not is_json({1: 2})
    assert not is_json([datetime.now(UTC)])
    assert Line("event").payload is UNSET
    assert Line("event", value=None).payload is None


def test_a_line_says_what_there_is_to_say() -> None:
    line = Line("call", call="1.2", object="math", method="add", value=None)
    assert written(line).splitlines()[1] == (
        b'{"kind":"call","call":"1.2","object":"math","method":"add","value":null}'
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"hello\n", "tape.jsonl is no recording: its first line is not what `rob record` writes"),
        (b"[1]\n", "tape.jsonl is no recording"),
        (b'{"kind":"event"}\n', "tape.jsonl is no recording"),
        (b'{"ipc_broker_recording":2}\n', "of version 2, and this program reads version 1"),
        (written() + b"{\n", "tape.jsonl is broken: line 2"),
        (written() + b'{"kind":"event","msgpack":"&"}\n', "tape.jsonl is broken: line 2"),
        (written() + b'{"kind":"event","msgpack":"kQ=="}\n', "tape.jsonl is broken: line 2"),
        (written(Line("event", object="x" * 1025)), "line 2 has a name of more than 1024 characters"),
    ],
)
def test_what_is_no_recording(data: bytes, expected: str) -> None:
    with pytest.raises(NoRecording) as caught:
        read(data)
    assert expected in str(caught.value)


def test_an_empty_file_has_no_header() -> None:
    with pytest.raises(NoRecording, match="is empty"):
        read(b"")


def test_fields_of_a_newer_program_are_left_alone() -> None:
    assert read(written() + b'{"kind":"event","colour":"red"}\n\n') == [Line("event")]
