"""A broker as a program: until a signal ends it, and with what systemd gives to it and wants to know."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence

from ..config import BrokerConfig
from ..errors import ConfigError
from .broker import Broker
from .inherited import inherited_sockets, with_sockets
from .notifying import Notifier
from .signals import on_hangup_signal, on_stop_signal

logger = logging.getLogger("ipc_broker")


async def run_broker(
    config: BrokerConfig,
    ready: asyncio.Future[Broker] | None = None,
    reread: Callable[[], BrokerConfig] | None = None,
    optional_services: Sequence[str] = (),
) -> None:
    """A broker until SIGINT or SIGTERM; then it closes, at once when a second one comes. Raises ListenFailed, ConfigError.

    On SIGHUP policy, tokens and services are read anew, of the configuration that `reread` gives; when something is wrong with
    that, it is logged and all stays as it was. The broker takes the sockets that systemd passes, and tells systemd its state.
    """
    sockets = inherited_sockets(os.environ, os.getpid())
    broker = Broker(with_sockets(config, sockets), sockets=sockets, optional_services=optional_services)
    notifier = Notifier(os.environ, os.getpid())
    program = _Program(broker, notifier, (lambda: config) if reread is None else reread)
    with (
        on_stop_signal(program.stop),
        on_hangup_signal(program.reload, program.stop),  # before anybody can know that it runs
        contextlib.closing(notifier),
    ):
        async with broker:
            program.has_started()
            if ready is not None:
                ready.set_result(broker)
            await broker.serve()
            notifier.stopping()
            logger.info("stopping")


class _Program:
    """What its signals do."""

    def __init__(self, broker: Broker, notifier: Notifier, reread: Callable[[], BrokerConfig]) -> None:
        self._broker = broker
        self._notifier = notifier
        self._reread = reread
        self._has_started = False
        self._reload_later = False

    def has_started(self) -> None:
        self._has_started = True
        self._notifier.ready(self._status)
        if self._reload_later:
            self.reload()

    def stop(self) -> None:
        if self._broker.stopping:
            logger.info("stopping at once")
            self._broker.close_at_once()
        self._broker.stop()

    def reload(self) -> None:
        if not self._has_started:
            self._reload_later = True
            return
        self._notifier.reloading()
        try:
            self._broker.reload(self._reread())
        except ConfigError as error:
            logger.error("policy, tokens and services stay as they were: %s", error)
        self._notifier.ready(self._status)

    @property
    def _status(self) -> str:
        return f"listens on {', '.join(self._broker.addresses)}"
