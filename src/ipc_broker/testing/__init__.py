"""For tests: brokers that start in milliseconds, faults on demand, and a clock that moves when the test says so.

pytest has both brokers as the fixtures `memory_broker` and `ipc_broker`; docs/testing.md shows what they are good for.
"""

from .background import BackgroundBroker as BackgroundBroker
from .clock import Clock as Clock
from .memory_broker import MemoryBroker as MemoryBroker
