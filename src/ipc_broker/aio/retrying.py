"""Asking again: what a lost connection has kept from the broker, or a new one has not seen yet, is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..errors import CallError, ConnectionLost, DeadlineExceeded, NoSuchObject
from ..session import ASK_EVERY, BROKER_OBJECT, Session, not_there_yet
from ..session.values import DEFAULT_TIMEOUT
from .link import Link

Question = Callable[[Session, "asyncio.Future[Any]", float], None]
"""Has the session send something; it is given where the answer goes, and the time."""


async def ask(link: Link, question: Question) -> Any:
    """What the broker answers to something that does no harm when it is asked twice. Raises CallError, ClientClosed.

    It is asked once more when the connection is lost; not for ever, since the question may be why that was lost.
    """
    link.require_own_loop()
    try:
        async with asyncio.timeout(DEFAULT_TIMEOUT):
            try:
                return await _ask_once(link, question)
            except ConnectionLost:
                return await _ask_once(link, question)
    except DeadlineExceeded:
        raise
    except TimeoutError as error:
        raise DeadlineExceeded(f"the broker at {link.address} did not answer within {DEFAULT_TIMEOUT:g} s") from error


async def _ask_once(link: Link, question: Question) -> Any:
    await link.wait_ready(None)
    answer: asyncio.Future[Any] = link.loop.create_future()
    question(link.session, answer, link.loop.time())
    return await answer


async def wait_for(link: Link, object_name: str) -> None:
    """Until somebody serves the object."""
    link.require_own_loop()
    while True:
        await link.wait_ready(None)
        session = link.session
        if session.welcome is None:  # the Rust crate's broker has no events of its objects
            if await ask(link, lambda session, answer, _: session.names.has(object_name, answer)):
                return None
            await asyncio.sleep(ASK_EVERY)
            continue
        registered: asyncio.Future[None] = link.loop.create_future()
        try:
            session.names.wait_for(object_name, registered)
            return await registered
        except ConnectionLost:
            link.require_open()
        finally:
            session.names.forget(object_name, registered)


async def wait_to_retry(link: Link, error: CallError, deadline: float | None) -> None:
    """Returns when it is worth making the call again that failed so: no worker got it. Raises `error` when it is final."""
    if error.delivered != "no":
        raise error
    if isinstance(error, ConnectionLost):
        link.require_open()
        return
    if (
        not isinstance(error, NoSuchObject)
        or error.object in (None, BROKER_OBJECT)
        or link.loop.time() >= link.settled_at
    ):
        raise error
    ends_early = deadline is not None and deadline < link.settled_at
    try:
        async with asyncio.timeout_at(deadline if ends_early else link.settled_at):
            await wait_for(link, error.object)
    except TimeoutError:
        raise not_there_yet(error) if ends_early else error from None
