"""The brain of clients and workers, without I/O and without a clock."""

from .names import ASK_EVERY as ASK_EVERY
from .names import BROKER_OBJECT as BROKER_OBJECT
from .replies import deadline_exceeded as deadline_exceeded
from .replies import not_there_yet as not_there_yet
from .serving import ItemTooLarge as ItemTooLarge
from .serving import Serving as Serving
from .session import WRITE_EARLY as WRITE_EARLY
from .session import Session as Session
from .settings import Agreement as Agreement
from .settings import Settings as Settings
from .shell import STREAM_ENDED as STREAM_ENDED
from .shell import Reply as Reply
from .shell import Server as Server
from .shell import Sink as Sink
from .shell import StreamReply as StreamReply
from .subscriptions import ClientSubscription as ClientSubscription
