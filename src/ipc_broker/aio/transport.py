"""Connecting to an address: Unix sockets, TCP, Windows named pipes and memory, under one `asyncio.Protocol`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from ..address import Address
from ..destination import Destination
from ..errors import ConnectFailed, UntrustedBroker
from .memory import open_memory
from .pipes import open_pipe
from .unix import open_unix

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)

WRITE_CHUNK = 256 * 1024
"""Bytes handed to a transport at once."""


def write_at_once(transport: asyncio.Transport) -> bool:
    """Makes it say when it has not written all; and whether that is over TLS, where an end of input is the end of all."""
    is_tls = transport.get_extra_info("sslcontext") is not None
    # 0 means for uvloop to write at once instead of at the end of the loop's turn, and for asyncio's TLS never to go on.
    transport.set_write_buffer_limits(high=1 if is_tls else 0)
    return is_tls


async def open_connection(
    destination: Destination, factory: Callable[[], AnyProtocol], timeout: float | None
) -> AnyProtocol:
    """Raises ConnectFailed, which says how to start a broker; ConfigError where the platform lacks the transport.

    UntrustedBroker, where the broker is a stranger's; over sockets that is for the protocol to find out.
    """
    loop, address = asyncio.get_running_loop(), destination.address
    try:
        async with asyncio.timeout(timeout):
            match address.scheme:
                case "unix":
                    protocol = await open_unix(address, factory)
                case "tcp":
                    _, protocol = await loop.create_connection(factory, address.location, address.port)
                case "pipe":
                    protocol = await open_pipe(destination, factory)
                case "memory":
                    protocol = open_memory(address, factory)
                case "tls":
                    _, protocol = await loop.create_connection(
                        factory, address.location, address.port, ssl=destination.ssl_context
                    )
    except TimeoutError as error:
        if timeout is None or error.errno is not None:  # the kernel gave up, not we
            raise connect_failed(address, error) from error
        raise ConnectFailed(f"no broker answered at {address} within {timeout:g} s") from error
    except (ConnectFailed, UntrustedBroker):
        raise
    except OSError as error:
        raise connect_failed(address, error) from error
    return protocol


def connect_failed(address: Address, error: OSError) -> ConnectFailed | UntrustedBroker:
    """What a person reads who has no broker running."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return UntrustedBroker(
            f"the certificate of {address} is not to be trusted ({error.verify_message}): nothing was sent. Name the CA that"
            " has signed it with tls=FILE, or BROKER_CA"
        )
    if isinstance(error, ssl.SSLError):
        return ConnectFailed(f"{address} speaks no TLS that we can use ({error.reason or error})")
    reason = error.strerror or str(error)
    return ConnectFailed(f"no broker at {address} ({reason}); start one with: ipc-broker --listen {address}")
