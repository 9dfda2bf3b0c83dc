"""What the threads of a blocking client send, and what they wait for then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw

from ..errors import ConnectionLost, DeadlineExceeded
from ..protocol.codec import Codec
from ..protocol.pieces import Payload
from ..session import BROKER_OBJECT, ClientSubscription, deadline_exceeded
from ..session.direct import Path
from ..session.shell import UNHEARD
from ..session.streams import Incoming
from .link import Link
from .waiting import Answer

LOOK_EVERY = 64 * 1024
"""Bytes published after which it is looked whether the broker asks for a pause."""


class Calls:
    """Over one link. Everything raises ClientClosed when that was closed.

    Payloads come encoded as the connection was when they were made. Where it is another one by now, that raises ConnectionLost
    with `delivered` "no", as for a call that was surely not sent: they are to be made anew.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._session = link.session
        self._unread = 0  # bytes published since it was looked for a pause

    def call(
        self,
        object_name: str,
        method: str,
        args: Payload,
        codec: Codec,
        timeout: float | None,
        deadline: float | None,
        headers: Mapping[str, str] | None = None,
    ) -> Raw:
        """The undecoded result. Raises CallError."""
        link = self._link
        if link.closed:
            link.require_open()
        if link.direct.unfinished:
            link.direct.connect()
        answer = Answer()
        try:
            with link.lock:
                self._require_codec(codec)
                call_id = self._session.call(object_name, method, args, answer, None, timeout, headers=headers)
                path = self._session.directs.of_call(call_id)
            return self.answer_to(call_id, path, answer, object_name, method, timeout, deadline)
        except BaseException:  # Ctrl-C, before anybody knew its id
            with link.lock:
                begun = self._session.call_with_reply(answer)
            if begun is not None:
                self.give_up(*begun)
            raise

    def answer_to(
        self,
        call_id: str,
        path: Path | None,
        answer: Answer,
        object_name: str,
        method: str,
        timeout: float | None,
        deadline: float | None,
    ) -> Raw:
        """Sends a call that is queued, over its direct connection if it has a `path`, and waits. Raises CallError."""
        link = self._link
        try:
            if path is None or not link.direct.exchange(path, answer, deadline):
                link.sender.flush(deadline)
                if not link.wait_until(answer.done, deadline):
                    raise TimeoutError
        except BaseException as error:  # Ctrl-C too: nobody waits for the answer any more
            self.give_up(call_id, path)
            if type(error) is TimeoutError:
                raise deadline_exceeded(object_name, method, timeout) from None
            raise
        if answer.exception is not None:
            raise answer.exception
        value: Raw = answer.value
        return value

    def give_up(self, call_id: str, path: Path | None) -> None:
        """Nobody waits for it any more. Tells the worker; the broker knows the deadline by itself."""
        if path is not None:
            self._link.direct.abandon(path, call_id)
        with self._link.lock:
            self._session.cancel(call_id)
        self._link.sender.flush_now()

    def open_stream(
        self,
        incoming: Incoming,
        args: Payload,
        timeout: float | None,
        deadline: float | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Raises CallError."""
        link = self._link
        link.require_open()
        with link.lock:
            self._require_codec(incoming.codec)
            incoming.open(args, None, timeout, headers)
        try:
            link.sender.flush(deadline)
        except BaseException as error:
            self.cancel_stream(incoming)
            if type(error) is TimeoutError:
                raise deadline_exceeded(incoming.object_name, incoming.method, timeout) from None
            raise

    def take(self, incoming: Incoming, deadline: float | None) -> Raw | None:
        """The next item; None at the end. Raises TimeoutError when the deadline has passed."""
        link = self._link
        while True:
            if link.was_forked:
                link.require_open()
            with link.lock:
                value = incoming.take()
                ended = incoming.ended  # looked at together: another thread may read the last item and the end
            if value is not None:
                if self._session.queued or link.sender.left_behind:
                    link.sender.flush_now()
                return value
            if ended:
                return None
            if not link.wait_until(lambda: incoming.ready, deadline):
                raise TimeoutError

    def cancel_stream(self, incoming: Incoming) -> None:
        if not self._link.was_forked:
            link = self._link
            with link.lock:
                incoming.cancel()
                link.turns.call_done()
                if link.turns.led and self._session.ready:  # by a thread that may wait for it: any answer wakes that
                    self._session.names.has(BROKER_OBJECT, UNHEARD)
            link.sender.flush_now()

    def abandon_stream(self, incoming: Incoming) -> None:
        """As `cancel_stream`, for a finalizer."""
        if not self._link.was_forked:
            self._link.sender.abandon(incoming)

    def taken(self, subscription: ClientSubscription, size: int) -> None:
        """An event was consumed: the broker may send more."""
        link = self._link
        if link.was_forked:
            return
        with link.lock:
            has_to_write = subscription.taken(size)
        if has_to_write or link.sender.left_behind:
            link.sender.flush_now()

    def ask(self, question: Callable[[Answer], None], deadline: float | None) -> Any:
        """What the broker answers to what `question` has the session send, which must do no harm when it is asked twice.

        It is, when the connection is lost; not for ever, since the question may be why that was lost. Raises DeadlineExceeded.
        """
        asked = False
        while True:
            try:
                return self.ask_once(question, deadline)
            except ConnectionLost as error:
                if asked:
                    raise
                asked = error.delivered != "no"

    def ask_once(self, question: Callable[[Answer], None], deadline: float | None) -> Any:
        """Raises DeadlineExceeded, ConnectionLost."""
        link = self._link
        link.wait_ready(deadline)
        answer = Answer()
        with link.lock:
            question(answer)
        try:
            link.sender.flush(deadline)
            answered = link.wait_until(answer.done, deadline)
        except TimeoutError:
            answered = False
        if not answered:
            raise DeadlineExceeded(f"the broker at {link.address} did not answer in time")
        return answer.result()

    def publish(self, publish: Callable[[], int], codec: Codec, deadline: float | None) -> None:
        """Returns when the event is with the kernel. Raises DeadlineExceeded when the broker takes nothing; it is sent later.

        Waits before while the broker asks for a pause. Nobody may be reading, so it looks for that itself now and then.
        """
        link, session = self._link, self._session
        link.require_open()
        if self._unread > LOOK_EVERY:
            self._unread = 0
            link.turns.look(lambda: session.paused)  # events that nobody takes now may stand before a `Pause`
        if session.paused:
            # After that time it is sent all the same: a broker that still wants less does not read it.
            link.wait_until(lambda: not session.paused, deadline)
        with link.lock:
            self._require_codec(codec)
            self._unread += publish()
            connection = session.connection
        try:
            link.sender.flush(deadline)
        except TimeoutError:
            if session.connection is connection:
                message = f"the broker at {link.address} takes nothing; the event is sent when it does"
                raise DeadlineExceeded(message) from None
        if session.connection is not connection:
            if link.torn is connection:
                raise ConnectionLost("the connection was lost while the event was sent: it may not have been routed")
            link.wait_ready(deadline)  # what was not sent goes out with the next connection

    def _require_codec(self, codec: Codec) -> None:
        connection = self._session.connection
        if connection is not None and connection.codec is not codec:
            raise ConnectionLost("the connection is another one by now, with another encoding", delivered="no")
