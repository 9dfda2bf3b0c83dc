"""Opening a connection: `connect`, which is awaited or entered."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, Any

from ..destination import Destination
from .callbacks import Notified
from .client import Client

if TYPE_CHECKING:
    from ..tls import TlsOption


def connect(
    address: str | None = None,
    *,
    timeout: float | None = 5.0,
    name: str = "",
    token: str | None = None,
    tls: TlsOption | None = None,
    trust_users: Collection[str] | None = None,
    on_connect: Notified | None = None,
    on_disconnect: Notified | None = None,
) -> Connecting:
    """`async with connect() as client`, or `client = await connect()`.

    `address` defaults to `BROKER_ADDR` in the environment, then to the platform's default. Fails at once with
    ConnectFailed when nothing listens there, after `timeout` seconds when nothing answers. `name` is shown to people.
    `on_connect` and `on_disconnect`, functions or coroutine functions without arguments, are called for each connection,
    the first included, and for its end, whatever ends it; one at a time.

    `token` was made for whoever connects by `ipc-broker token` (default: `BROKER_TOKEN`); `tls` is the CA of a tls:// broker, a
    file or an SSLContext (default: `BROKER_CA`, then the system's). The broker must be run by this user, by root, or by one of
    `trust_users` (default: `BROKER_TRUST`): UntrustedBroker otherwise, before anything is sent.
    """
    destination = Destination(address, os.environ, token=token, tls=tls, trust_users=trust_users)
    return Connecting(Client(destination, name=name, on_connect=on_connect, on_disconnect=on_disconnect), timeout)


class Connecting:
    """A client that is not connected yet: await it, or enter it."""

    def __init__(self, client: Client, timeout: float | None) -> None:
        self._client = client
        self._timeout = timeout

    async def _open(self) -> Client:
        await self._client.link.open(self._timeout)
        return self._client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        return await self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        await self._client.leave(drain=kind is None)
