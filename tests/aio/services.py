"""Brokers with services, whose processes are real."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ipc_broker import Broker, BrokerConfig, connect
from ipc_broker.aio.client import Client
from ipc_broker.observation import ServiceState
from ipc_broker.routing.service import Service

WORKER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("service_process.py"))]


def write_service(folder: Path, name: str, **fields: Any) -> None:
    """`fields` in the words of the file; without any it is a worker that works."""
    fields = {"exec": WORKER} | fields
    said: dict[str, Any] = {"object": name} | fields
    lines = [f"{key} = {_toml(value)}\n" for key, value in said.items() if value is not None]
    (folder / f"{name}.toml").write_text("".join(lines), encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


@asynccontextmanager
async def services_at(address: str, folder: Path, **settings: Any) -> AsyncIterator[tuple[Broker, Client]]:
    """A broker with the services of the folder, and a client."""
    config = BrokerConfig(listen=(address,), services=(str(folder),), **settings)
    async with Broker(config) as broker, connect(broker.addresses[0]) as client:
        yield broker, client


def service_of(broker: Broker, name: str) -> Service:
    service = broker.router.services.find(name)
    assert service is not None
    return service


def state_of(broker: Broker, name: str) -> ServiceState:
    return service_of(broker, name).tell(0.0)


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only what its parent has not waited for."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
    except NotADirectoryError:  # no /proc
        os.kill(pid, 0)
        return True
