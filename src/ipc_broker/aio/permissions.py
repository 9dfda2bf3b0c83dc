"""The files that say who may do what, policy and tokens: read when the broker starts, and again when they change."""

from __future__ import annotations

import logging
import os
import time

from ..config import BrokerConfig
from ..errors import ConfigError
from ..identity.files import read_trusted
from ..identity.users import as_known, forget_users
from ..routing.router import Router
from ..security.policy import Policy
from ..security.policy_file import parse_policy
from ..security.tokens import Tokens, parse_tokens

logger = logging.getLogger("ipc_broker")

LOOK_EVERY = 1.0
"""Seconds between two looks at the file of tokens: one that is revoked holds no longer."""

Version = tuple[int, int, int] | None


class Permissions:
    """Both as they were last read. The router is told of all that changes."""

    def __init__(self, config: BrokerConfig) -> None:
        """Raises ConfigError for a policy or tokens that cannot be read; then there is no broker."""
        self._read(config)
        self._trouble = ""

    def _read(self, config: BrokerConfig) -> None:
        """Raises ConfigError, and then nothing has changed."""
        version = _version_of(config.tokens)  # before: a file that changes meanwhile is read again
        policy, tokens = read_policy(config.policy), read_tokens(config.tokens)
        self._policy, self._tokens = policy, tokens
        self._file, self._seen = config.tokens, version

    @property
    def has_tokens(self) -> bool:
        """Whether `look` is to be called: there is a file of tokens, or there may be one soon."""
        return bool(self._file)

    def tell(self, router: Router, now: float) -> None:
        """To be called when the router is new."""
        router.gatekeeper.replace_policy(self._policy, now)
        router.gatekeeper.replace_tokens(self._tokens, time.time(), now)

    def reload(self, router: Router, config: BrokerConfig, now: float) -> None:
        """Reads both anew; when one of them makes no sense, both stay as they were. Raises ConfigError."""
        self._read(config)
        self._trouble = ""
        forget_users()
        self.tell(router, now)
        logger.info("%d rules and %d tokens hold now", len(self._policy.rules), len(self._tokens.records))

    def look(self, router: Router, now: float) -> None:
        """Heeds what has changed among the tokens, and which have expired: to be called every `LOOK_EVERY` seconds."""
        version = _version_of(self._file)
        if version != self._seen:
            try:
                self._tokens = read_tokens(self._file)
            except ConfigError as error:
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    logger.error("the tokens stay as they were: %s", error)
            else:
                self._seen, self._trouble = version, ""
                logger.info("%d tokens hold now", len(self._tokens.records))
        router.gatekeeper.replace_tokens(self._tokens, time.time(), now)


def read_policy(file: str) -> Policy:
    """That without rules where there is no file. Raises ConfigError."""
    return parse_policy(read_trusted(file), file, as_known) if file else Policy()


def read_tokens(file: str) -> Tokens:
    """None where the file is not there: it comes with the first token. Raises ConfigError."""
    if not file or not os.path.exists(file):
        return Tokens()
    return parse_tokens(read_trusted(file), file)


def _version_of(file: str) -> Version:
    try:
        found = os.stat(file) if file else None
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)
