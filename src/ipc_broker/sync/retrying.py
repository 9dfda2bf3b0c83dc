"""Calling again: what a lost connection has kept from the broker, or a new one has not seen yet, is no answer."""

from __future__ import annotations

import time

from ..errors import CallError, ClientClosed, ConnectionLost, NoSuchObject
from ..session import ASK_EVERY, BROKER_OBJECT, not_there_yet
from .calls import Calls
from .link import Link
from .waiting import Answer, earlier


def wait_for(link: Link, calls: Calls, object_name: str, deadline: float | None) -> bool:
    """Until somebody serves the object. False when the deadline has passed."""
    session = link.session
    while True:
        link.wait_ready(deadline)
        if session.welcome is None:  # the Rust crate's broker has no events of its objects
            if calls.ask(lambda answer: session.names.has(object_name, answer), deadline):
                return True
            next_time = time.monotonic() + ASK_EVERY
            link.wait_until(lambda: link.closed, earlier(deadline, next_time))
            link.require_open()
            if deadline is not None and deadline <= next_time:
                return False
            continue
        registered = Answer()
        try:
            with link.lock:
                session.names.wait_for(object_name, registered)
            link.sender.flush(deadline)
            if not link.wait_until(registered.done, deadline):
                return False
            registered.result()
            return True
        except ConnectionLost:
            link.require_open()
        finally:
            with link.lock:
                session.names.forget(object_name, registered)
            link.sender.flush_now()


def wait_to_retry(link: Link, calls: Calls, error: CallError, deadline: float | None) -> None:
    """Returns when it is worth making the call again that failed so: no worker got it. Raises `error` when it is final."""
    if error.delivered != "no":
        raise error
    if isinstance(error, ConnectionLost):
        link.wait_ready(deadline)
        return
    if (
        not isinstance(error, NoSuchObject)
        or error.object in (None, BROKER_OBJECT)
        or time.monotonic() >= link.settled_at
    ):
        raise error
    until = earlier(deadline, link.settled_at)
    try:
        served = wait_for(link, calls, error.object, until)
    except (TimeoutError, ClientClosed):
        served = False
    if not served:
        raise not_there_yet(error) if until < link.settled_at else error
