"""What the blocking client asks of an object."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..description import ObjectDescription
from ..errors import NoSuchObject
from ..session import BROKER_OBJECT
from ..session.describing import ANSWER, require_described
from .retrying import wait_to_retry
from .waiting import deadline_in

if TYPE_CHECKING:
    from .client import Client


def describe(client: Client, object_name: str, timeout: float | None) -> ObjectDescription:
    """Raises NoSuchObject, and NoSuchMethod where the broker cannot tell."""
    deadline = deadline_in(timeout)
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        try:
            answer = client.call(BROKER_OBJECT, "describe", {"object": object_name}, timeout=left, returns=ANSWER)
        except NoSuchObject as error:
            error.object = object_name
            wait_to_retry(client.link, client.calls, error, deadline)
        else:
            return require_described(answer, client.address)
