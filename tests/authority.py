"""A CA for tests, and what it has signed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trustme

from ipc_broker.config import Tls


class Authority:
    """`ca` is its certificate's file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def broker(self, *, client_ca: bool = False, name: str = "broker") -> Tls:
        """Settings of a broker on this machine, with a certificate of its own."""
        file = self._folder / f"{name}.pem"
        self._authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
        return Tls(certificate=str(file), key=str(file), client_ca=str(self.ca) if client_ca else "")

    def client(self, name: str) -> Path:
        """A certificate that was made for whoever has the name, with its key."""
        file = self._folder / f"client-{name}.pem"
        certificate = self._authority.issue_cert(f"{name}@example.org", common_name=name)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(file))
        return file


class Token(NamedTuple):
    text: str
    file: Path
