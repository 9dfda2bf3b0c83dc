"""Where a broker listens: `unix:///path`, `tcp://host:port`, `tls://host:port`, `pipe://name`.

A bare `host:port` is TCP and a bare path a Unix socket, as in the `BROKER_ADDR` of the Rust crate's programs.
`memory://name` is for tests: broker and clients in one event loop, without a socket.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from .errors import ConfigError

DEFAULT_PORT = 5123
DEFAULT_TCP = f"tcp://127.0.0.1:{DEFAULT_PORT}"
DEFAULT_LOCAL = "pipe://ipc_broker" if sys.platform == "win32" else "unix:///tmp/ipc_broker.sock"

# sun_path of the kernels: 108 bytes on Linux, 104 on macOS and the BSDs, with the terminating zero.
_UNIX_PATH_LIMIT = 107 if sys.platform == "linux" else 103


class Address(Struct, frozen=True):
    """One address, parsed.

    `location` is the path of a Unix socket, the name of a pipe or in memory, or the host; `port` is for TCP and TLS only.
    """

    scheme: Literal["unix", "tcp", "tls", "pipe", "memory"]
    location: str
    port: int = 0

    def __str__(self) -> str:
        if self.scheme in ("tcp", "tls"):
            host = f"[{self.location}]" if ":" in self.location else self.location
            return f"{self.scheme}://{host}:{self.port}"
        return f"{self.scheme}://{self.location}"


def parse_address(text: str) -> Address:
    """Raises ConfigError, which shows the accepted forms."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        if text.startswith(("unix:", "tcp:", "tls:", "pipe:", "memory:")):
            raise _wrong(text, "two slashes stand behind the scheme")
        if "/" in text or "\\" in text:
            scheme, rest = "unix", text
        elif ":" in text:
            scheme, rest = "tcp", text
        else:
            raise _wrong(text, "no scheme, no port and no path")
    if not rest or "\0" in rest:
        raise _wrong(text, "nothing behind the scheme" if not rest else "a zero byte")
    try:
        size = len(rest.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise _wrong(text, "it holds what no file or host can be named") from None
    match scheme:
        case "unix":
            if size > _UNIX_PATH_LIMIT:
                raise _wrong(text, f"the path is longer than the {_UNIX_PATH_LIMIT} bytes a Unix socket may have")
            return Address("unix", rest)
        case "pipe":
            if "\\" in rest or "/" in rest:
                raise _wrong(text, r"the name of a pipe holds no \ or / (the pipe is \\.\pipe\NAME)")
            return Address("pipe", rest)
        case "memory":
            return Address("memory", rest)
        case "tcp" | "tls":
            host, separator, port = rest.rpartition(":")
            if not separator or not host:
                raise _wrong(text, "host or port is missing")
            if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
                raise _wrong(text, f"the port {port!r} is no number from 0 to 65535")
            if host.startswith("[") and host.endswith("]"):
                host = host[1:-1]
            elif ":" in host:
                raise _wrong(text, "an IPv6 host stands in brackets: tcp://[::1]:5123")
            if not host:
                raise _wrong(text, "host or port is missing")
            return Address(scheme, host, int(port))
        case _:
            raise _wrong(text, f"unknown scheme {scheme!r}")


def resolve_address(argument: str | None, environ: Mapping[str, str]) -> Address:
    """Where a client or worker connects: its argument, else `BROKER_ADDR`, else the platform's default."""
    return parse_address(argument or environ.get("BROKER_ADDR") or DEFAULT_LOCAL)


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"not an address: {text!r} ({why}); give unix:///path, tcp://host:port, tls://host:port or pipe://name"
    )
