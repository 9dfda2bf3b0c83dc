"""Connecting and listening at an address: Unix sockets, TCP and Windows named pipes, under one `asyncio.Protocol`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from ..address import Address
from ..errors import ConfigError, ConnectFailed, ListenFailed
from .unix import listen_unix, open_unix

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)

WRITE_CHUNK = 256 * 1024
"""Bytes handed to a transport at once."""


async def open_connection(address: Address, factory: Callable[[], AnyProtocol], timeout: float | None) -> AnyProtocol:
    """Raises ConnectFailed, which says how to start a broker; ConfigError where the platform lacks the transport."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            match address.scheme:
                case "unix":
                    protocol = await open_unix(address, factory)
                case "tcp":
                    _, protocol = await loop.create_connection(factory, address.location, address.port)
                case "pipe":
                    protocol = await _open_pipe(loop, address, factory)
                case "tls":
                    raise _no_tls(address)
    except TimeoutError as error:
        if timeout is None or error.errno is not None:  # the kernel gave up, not we
            raise connect_failed(address, error) from error
        raise ConnectFailed(f"no broker answered at {address} within {timeout:g} s") from error
    except OSError as error:
        raise connect_failed(address, error) from error
    return protocol


def connect_failed(address: Address, error: OSError) -> ConnectFailed:
    """What a person reads who has no broker running."""
    reason = error.strerror or str(error)
    return ConnectFailed(f"no broker at {address} ({reason}); start one with: ipc-broker --listen {address}")


class Listener(Protocol):
    """Something that accepts connections. `address` has the real port where 0 was asked for."""

    address: Address

    def close(self) -> None:
        """Accepts no more. Connections that are open stay open."""


async def listen(address: Address, factory: Callable[[], asyncio.Protocol]) -> Listener:
    """Raises ListenFailed, which says who is in the way; ConfigError where the platform lacks the transport."""
    try:
        match address.scheme:
            case "unix":
                return await listen_unix(address, factory)
            case "tcp":
                return await _TcpListener.start(address, factory)
            case "pipe":
                return await _PipeListener.start(address, factory)
            case "tls":
                raise _no_tls(address)
    except OSError as error:
        if isinstance(error, ListenFailed):
            raise
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason += "; is another broker running there?"
        raise ListenFailed(f"cannot listen on {address}: {reason}") from error


class _TcpListener:
    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self.address = address

    @classmethod
    async def start(cls, address: Address, factory: Callable[[], asyncio.Protocol]) -> _TcpListener:
        server = await asyncio.get_running_loop().create_server(factory, address.location, address.port, backlog=1024)
        port = server.sockets[0].getsockname()[1]
        return cls(server, Address("tcp", address.location, port))

    def close(self) -> None:
        self._server.close()


class _PipeListener:
    def __init__(self, servers: list[_ClosesPipe], address: Address) -> None:
        self._servers = servers
        self.address = address

    @classmethod
    async def start(cls, address: Address, factory: Callable[[], asyncio.Protocol]) -> _PipeListener:
        return cls(await _start_serving_pipe(address, factory), address)

    def close(self) -> None:
        for server in self._servers:
            server.close()


class _ClosesPipe(Protocol):
    def close(self) -> None: ...


def raise_descriptor_limit() -> None:
    """Lets this process hold as many connections as the system's hard limit allows."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # macOS reports no hard limit and refuses to have none.
        wanted = min(hard, 1_048_576) if hard != resource.RLIM_INFINITY else 10_240
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _no_tls(address: Address) -> ConfigError:
    return ConfigError(f"{address}: this version does not speak TLS yet; use tcp:// on the loopback interface")


if sys.platform == "win32":

    def _proactor(loop: asyncio.AbstractEventLoop, address: Address) -> asyncio.ProactorEventLoop:
        if not isinstance(loop, asyncio.ProactorEventLoop):
            raise ConfigError(f"{address}: named pipes need asyncio's ProactorEventLoop, which is Windows' default")
        return loop

    async def _open_pipe(
        loop: asyncio.AbstractEventLoop, address: Address, factory: Callable[[], AnyProtocol]
    ) -> AnyProtocol:
        path = rf"\\.\pipe\{address.location}"
        create = cast(Any, _proactor(loop, address).create_pipe_connection)  # typeshed: only StreamReaderProtocol
        _, protocol = await create(factory, path)
        return cast(AnyProtocol, protocol)

    async def _start_serving_pipe(address: Address, factory: Callable[[], asyncio.Protocol]) -> list[_ClosesPipe]:
        path = rf"\\.\pipe\{address.location}"
        serve = cast(Any, _proactor(asyncio.get_running_loop(), address).start_serving_pipe)
        if _is_served(path):
            raise ListenFailed(
                f"cannot listen on {address}: another process serves this pipe; stop it or choose another"
            )
        servers: list[_ClosesPipe] = await serve(factory, path)
        return servers

    def _is_served(path: str) -> bool:
        # The loop asks for the first instance of the pipe, which refuses a second server, but not on every Windows.
        import _winapi

        try:
            _winapi.WaitNamedPipe(path, 1)
        except FileNotFoundError:
            return False
        except OSError as error:
            return error.winerror == _winapi.ERROR_SEM_TIMEOUT
        return True

else:

    async def _open_pipe(
        loop: asyncio.AbstractEventLoop, address: Address, factory: Callable[[], AnyProtocol]
    ) -> AnyProtocol:
        raise _no_pipes(address)

    async def _start_serving_pipe(address: Address, factory: Callable[[], asyncio.Protocol]) -> list[_ClosesPipe]:
        raise _no_pipes(address)

    def _no_pipes(address: Address) -> ConfigError:
        return ConfigError(f"{address}: named pipes are Windows'; use unix:///path or tcp://127.0.0.1:5123")
