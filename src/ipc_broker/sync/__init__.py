"""The blocking client: `from ipc_broker.sync import connect`. Imports no asyncio and starts no thread."""

from .client import Client as Client
from .client import connect as connect
from .subscription import Subscription as Subscription
