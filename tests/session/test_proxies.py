from __future__ import annotations

import pytest

from ipc_broker.session.proxies import ObjectProxy


def test_a_proxys_methods_take_their_arguments_by_position_or_by_name() -> None:
    proxy = ObjectProxy(lambda *call: call, "math")
    assert proxy.add(1, None) == ("math", "add", [1, None])
    assert proxy.add(a=1, b=None) == ("math", "add", {"a": 1, "b": None})
    assert proxy.add() == ("math", "add", None)
    with pytest.raises(TypeError, match=r"math\.add: give all arguments by position or all by name"):
        proxy.add(1, b=2)


def test_a_proxy_has_no_private_methods() -> None:
    proxy = ObjectProxy(lambda *call: call, "math")
    assert not hasattr(proxy, "_private")
    assert not hasattr(proxy, "__len__")
    assert repr(proxy) == "<ObjectProxy 'math'>"
