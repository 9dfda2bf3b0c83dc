"""Whatever stands in a file, it is a table or a ConfigError that names the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.errors import ConfigError
from ipc_broker.toml import parse_toml


def test_a_table() -> None:
    assert parse_toml('a = 1\n[b]\nc = "d"', "x.toml") == {"a": 1, "b": {"c": "d"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a =", "x.toml is no TOML: Invalid value (at end of document)"),
        ("a = " + "9" * 5000, "x.toml is no TOML: Exceeds the limit"),
        ("a = " + "[" * 5000, "x.toml is no TOML that can be read: it is nested too deeply"),
    ],
    ids=["no value", "a long number", "nested deeply"],
)
def test_what_is_wrong(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, "x.toml")
    assert caught.value.message.startswith(expected)


@given(st.text(alphabet="ab=[]{}\"'.,\n#0T:-1eE+_\\u\0", max_size=30))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        said = str(parse_toml(text, "x.toml"))
    except ConfigError as error:
        said = error.message
    assert said.startswith(("{", "x.toml is no TOML"))
