"""What clients show, and where they have it from."""

from __future__ import annotations

import pytest

from ipc_broker.destination import Destination
from ipc_broker.errors import ConfigError


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        (None, None, ""),
        (None, "ipcb_a_b", "ipcb_a_b"),
        ("ipcb_c_d", "ipcb_a_b", "ipcb_c_d"),
        ("", "ipcb_a_b", ""),
        ("ipcb_a_b\n", None, "ipcb_a_b"),
        (None, "ipcb_a_b\r\n", "ipcb_a_b"),
    ],
)
def test_a_token(argument: str | None, variable: str | None, expected: str) -> None:
    environ = {} if variable is None else {"BROKER_TOKEN": variable}
    assert Destination("unix:///x", environ, token=argument).token == expected


@pytest.mark.parametrize("token", ["\udcff", "é", "x" * 1025])
def test_what_is_no_token_is_not_shown(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Destination("unix:///x", {"BROKER_TOKEN": token})
    assert token not in caught.value.message
