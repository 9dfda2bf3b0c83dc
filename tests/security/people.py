"""Those who are let in, in tests of what they may do."""

from __future__ import annotations

from ipc_broker.security.principal import Principal

ROOT = Principal(0, "root", frozenset({"root"}), is_owner=True)
ALICE = Principal(1000, "alice", frozenset({"alice", "operators"}))
BOB = Principal(1001, "bob", frozenset({"bob"}))
CI = Principal(token="ci", role="builder")
"""Somebody over the network, with a token."""
