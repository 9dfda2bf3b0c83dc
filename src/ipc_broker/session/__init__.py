"""The brain of clients and workers, without I/O and without a clock."""

from .replies import deadline_exceeded as deadline_exceeded
from .session import BROKER_OBJECT as BROKER_OBJECT
from .session import WRITE_EARLY as WRITE_EARLY
from .session import Session as Session
from .shell import Reply as Reply
from .shell import Server as Server
from .shell import Sink as Sink
