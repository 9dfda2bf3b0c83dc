"""Brokers at pipes, within a test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ipc_broker import BrokerConfig

PATIENCE = 20.0
USERS = "S-1-5-32-545"
"""The group of all users of a machine."""


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(bounded())


def config_at(name: str, **settings: Any) -> BrokerConfig:
    return BrokerConfig(listen=(f"pipe://{name}",), grace=0, **settings)
