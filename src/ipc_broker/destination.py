"""Where a client or worker connects, and with what it shows who it is and whom it trusts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from .address import Address, resolve_address
from .errors import ConfigError
from .identity.trust import trusted_users
from .messages import MAX_NAME

if TYPE_CHECKING:
    import ssl

    from .tls import TlsOption


class Destination:
    """`address`, `token` and `trusted`, from arguments and environment; `ssl_context` for tls:// addresses."""

    def __init__(
        self,
        address: str | None,
        environ: Mapping[str, str],
        *,
        token: str | None = None,
        tls: TlsOption | None = None,
        trust_users: Collection[str] | None = None,
    ) -> None:
        """Raises ConfigError."""
        self.address: Address = resolve_address(address, environ)
        self.token = (token if token is not None else environ.get("BROKER_TOKEN", "")).strip()  # of a file's last line
        if not self.token.isascii() or len(self.token) > MAX_NAME:
            raise ConfigError("token (BROKER_TOKEN): this is none; `ipc-broker token create` makes one")
        self.trusted = trusted_users(trust_users, environ)
        self.ssl_context: ssl.SSLContext | None = None
        if self.address.scheme == "tls":
            from .tls import client_context  # only for those: `ssl` is long to import

            self.ssl_context = client_context(tls, environ)
