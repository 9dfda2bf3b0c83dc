"""The call that is being answered, in log records."""

from __future__ import annotations

import logging

from .context import CurrentCall, current_call
from .messages import Caller


class CallContextFilter(logging.Filter):
    """Tells each log record of the call whose method has written it. It lets all records pass.

    Add it to a handler, and name what you want to see in its format:

        handler.addFilter(CallContextFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(ipc_object)s.%(ipc_method)s: %(message)s"))

    `ipc_object`, `ipc_method`, `ipc_call_id`; `ipc_caller`, as people read it ("'thermostat' (process 4711)"), and
    `ipc_caller_pid`, `ipc_caller_uid`, None where unknown; `ipc_deadline`, in seconds of `time.monotonic`, None for never;
    `ipc_headers`, a dict. Outside of a call the texts are empty, as are the headers, and the rest is None.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            call: CurrentCall | None = current_call()
        except LookupError:
            call = None
        caller = call.caller if call is not None else None
        record.ipc_object = call.object if call is not None else ""
        record.ipc_method = call.method if call is not None else ""
        record.ipc_call_id = call.call_id if call is not None else ""
        record.ipc_caller = "" if caller is None else _described(caller)
        record.ipc_caller_pid = caller.pid if caller is not None else None
        record.ipc_caller_uid = caller.uid if caller is not None else None
        record.ipc_deadline = call.deadline if call is not None else None
        record.ipc_headers = dict(call.headers) if call is not None else {}
        return True


def _described(caller: Caller) -> str:
    name = repr(caller.name) if caller.name else ""
    if caller.pid is None:
        return name
    return f"{name} (process {caller.pid})" if name else f"process {caller.pid}"
