"""TLS for `tls://` addresses: what a client trusts, and what a broker shows."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping

from .config import Tls
from .errors import ConfigError

logger = logging.getLogger("ipc_broker")

TlsOption = ssl.SSLContext | str | os.PathLike[str]
"""What clients give: the file of the CA that has signed the broker's certificate, or a context that is used as it is."""


def client_context(option: TlsOption | None, environ: Mapping[str, str]) -> ssl.SSLContext:
    """For clients. Without an option the CA is `BROKER_CA` in the environment, else those that the system trusts.

    `BROKER_CERTIFICATE` and `BROKER_KEY` name the client's own certificate, if it has one. Raises ConfigError.
    """
    if isinstance(option, ssl.SSLContext):
        return option
    authority = os.fspath(option) if option is not None else environ.get("BROKER_CA") or None
    certificate = environ.get("BROKER_CERTIFICATE")
    try:
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate:
            context.load_cert_chain(certificate, environ.get("BROKER_KEY"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificates in {certificate or authority} cannot be used: {_reason(error)}") from error
    return context


class ServerContext:
    """The broker's context. When one of its files has changed, new connections get the new ones."""

    def __init__(self, settings: Tls) -> None:
        """Raises ConfigError."""
        self._settings = settings
        self._seen = self._versions()
        self._context = _server_context(settings)

    def current(self) -> ssl.SSLContext:
        """For the next connection. Files that make no sense are told of once, and the earlier ones stay."""
        versions = self._versions()
        if versions != self._seen:
            self._seen = versions
            try:
                self._context = _server_context(self._settings)
                logger.info("the certificate of %s was read again", self._settings.certificate)
            except ConfigError as error:
                logger.error("the certificate stays as it was: %s", error)
        return self._context

    def _versions(self) -> list[tuple[int, int] | None]:
        return [
            _version_of(file) for file in (self._settings.certificate, self._settings.key, self._settings.client_ca)
        ]


def _server_context(settings: Tls) -> ssl.SSLContext:
    """Raises ConfigError."""
    if not settings.certificate or not settings.key:
        raise ConfigError("tls:// needs a certificate and its key: tls.certificate and tls.key in the settings")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    what = settings.certificate
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca:
            what = settings.client_ca
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{what} cannot be used: {_reason(error)}") from error
    return context


def _version_of(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
