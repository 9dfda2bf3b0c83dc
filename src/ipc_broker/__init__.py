"""ipc-broker: the bus that lets the programs on one machine talk.

The names below are imported when they are first used, so that a program pays only for what it needs:
`ipc_broker.sync` never imports asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .version import VERSION as __version__

if TYPE_CHECKING:
    from . import errors as errors
    from .aio.broker import Broker as Broker
    from .aio.client import Client as Client
    from .aio.connecting import connect as connect
    from .aio.worker import Worker as Worker
    from .call_logging import CallContextFilter as CallContextFilter
    from .config import BrokerConfig as BrokerConfig
    from .config import Limits as Limits
    from .context import current_call as current_call
    from .errors import ActivationFailed as ActivationFailed
    from .errors import CallCancelled as CallCancelled
    from .errors import CallError as CallError
    from .errors import ClientClosed as ClientClosed
    from .errors import ConfigError as ConfigError
    from .errors import ConnectFailed as ConnectFailed
    from .errors import ConnectionLost as ConnectionLost
    from .errors import DeadlineExceeded as DeadlineExceeded
    from .errors import InterfaceMismatch as InterfaceMismatch
    from .errors import InvalidArgs as InvalidArgs
    from .errors import IPCError as IPCError
    from .errors import ListenFailed as ListenFailed
    from .errors import NameTaken as NameTaken
    from .errors import NoSuchMethod as NoSuchMethod
    from .errors import NoSuchObject as NoSuchObject
    from .errors import Overloaded as Overloaded
    from .errors import PermissionDenied as PermissionDenied
    from .errors import RemoteError as RemoteError
    from .errors import TooLarge as TooLarge
    from .errors import UntrustedBroker as UntrustedBroker
    from .errors import WorkerLost as WorkerLost
    from .events import Event as Event
    from .events import Gap as Gap
    from .interface import SharedObject as SharedObject
    from .interface import inline as inline

_HOMES = {
    ".aio.broker": ("Broker",),
    ".aio.client": ("Client",),
    ".aio.connecting": ("connect",),
    ".aio.worker": ("Worker",),
    ".call_logging": ("CallContextFilter",),
    ".config": ("BrokerConfig", "Limits"),
    ".context": ("current_call",),
    ".events": ("Event", "Gap"),
    ".interface": ("SharedObject", "inline"),
    ".errors": (
        "ActivationFailed",
        "CallCancelled",
        "CallError",
        "ClientClosed",
        "ConfigError",
        "ConnectFailed",
        "ConnectionLost",
        "DeadlineExceeded",
        "IPCError",
        "InterfaceMismatch",
        "InvalidArgs",
        "ListenFailed",
        "NameTaken",
        "NoSuchMethod",
        "NoSuchObject",
        "Overloaded",
        "PermissionDenied",
        "RemoteError",
        "TooLarge",
        "UntrustedBroker",
        "WorkerLost",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", "errors", *_HOME_OF]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "errors":
        return import_module(".errors", __name__)
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
