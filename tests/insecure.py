"""Brokers of tests at TCP addresses: only Linux says whose a connection there is, so elsewhere they let everybody in."""

from __future__ import annotations

from ipc_broker.identity.sock_diag import tells_users

INSECURE = not tells_users("127.0.0.1")

IN_ENVIRONMENT = {"IPC_BROKER_INSECURE": "true"} if INSECURE else {}
"""The same for a broker that is a process."""
