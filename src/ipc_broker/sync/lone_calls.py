"""A call that is alone on its direct connection, as nearly all are of a program that calls often: in as few steps as can be.

Whatever is not as usual goes on, from where it is, on the way that all calls can take (calls.py, direct.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.pieces import holds_large
from ..session.values import value_of
from .waiting import Answer

if TYPE_CHECKING:
    from .calls import Calls
    from .link import Link

NOT_ALONE = object()
"""In the place of a result: the call was not made."""

SHORTEST = 0.05
"""Seconds that a call must have for this way, on which nobody looks at its deadline at first."""

LARGEST = 32 * 1024
"""Bytes of arguments; what is larger takes long anyway."""


class LoneCalls:
    """Those of one link; `calls` are all of that."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self._link = link
        self._calls = calls
        self._direct = link.direct
        self._path_of = link.session.directs.open_path
        self._begin, self._end = link.session.begin_alone, link.session.end_alone

    def call(
        self, object_name: str, method: str, args: Any, returns: Any, timeout: float | None, deadline: float | None
    ) -> Any:
        """What the method returned, or `NOT_ALONE`. Raises CallError."""
        path = self._path_of(object_name)
        link, direct = self._link, self._direct
        if path is None or link.closed or direct.unfinished or (timeout is not None and timeout < SHORTEST):
            return NOT_ALONE
        if holds_large(args):
            return NOT_ALONE
        transport = direct.transport_of(path)
        codec = path.connection.codec
        try:
            payload = codec.encode_any(args)
        except Exception:  # it is told on the other way
            return NOT_ALONE
        if transport is None or len(payload) > LARGEST:
            return NOT_ALONE
        answer = Answer()
        call_id = ""
        try:
            with link.lock:
                begun = self._begin(path, object_name, method, payload, answer, timeout)
                if begun is None:
                    return NOT_ALONE
                call_id, frame = begun
            try:
                data = transport.exchange(frame)
            except OSError as error:
                direct.failed(path, error, frame)
            else:
                if data is not None:
                    try:
                        result = codec.decode_result(data, returns)
                    except Exception:  # likewise
                        pass
                    else:
                        if result.call_id == call_id:
                            with link.lock:
                                if self._end(path, call_id):
                                    return result.value
                    direct.received(path, data)
            payload = self._calls.answer_to(call_id, path, answer, object_name, method, timeout, deadline)
        except BaseException:  # Ctrl-C
            if call_id:
                self._calls.give_up(call_id, path)
            raise
        return value_of(payload, codec, returns, object_name, method)
