"""`rob services`, `start` and `stop`: what is started when its object is called, and what has become of it."""

from __future__ import annotations

from time import monotonic, sleep

from msgspec import to_builtins

from ..errors import call_error
from ..observation import ServiceState
from .connecting import ask_only_ours, checked_address, connected, json_line
from .output import write_result
from .quantities import age
from .render import render_message, render_name
from .words import Request

LOOK_EVERY = 0.1
"""Seconds between two looks at a service that starts or stops: soon for people."""


def services(request: Request) -> None:
    with connected(checked_address(request), request) as client:
        ask_only_ours(client, "services")
        found = client.call("rob", "services", timeout=request.patience, returns=list[ServiceState])
    write_result(json_line(to_builtins(found)) if request.json else text_of(found))


def start(request: Request) -> None:
    """Ends when the object is served. Raises ActivationFailed."""
    state = _change(request, "startService", ("starting", "stopping"))
    if state.state != "running":
        message = f"'{state.object}' cannot be started: {state.reason or f'it is {state.state}'}"
        raise call_error("activation_failed", message, object=state.object, delivered="no")
    _show(state, request)


def stop(request: Request) -> None:
    """Ends when the process does. Whoever calls it in the meantime starts it again."""
    _show(_change(request, "stopService", ("stopping",)), request)


def _change(request: Request, method: str, passing: tuple[str, ...]) -> ServiceState:
    """What has become of the service when it is in no passing state any more. Raises DeadlineExceeded."""
    [name] = request.names
    deadline = monotonic() + request.patience
    with connected(checked_address(request), request) as client:
        ask_only_ours(client, method)
        state = client.call("rob", method, {"object": name}, timeout=request.patience, returns=ServiceState)
        while state.state in passing:
            if monotonic() >= deadline:
                message = f"'{name}' is still {state.state} after {request.patience:g} s; `rob services` tells what becomes of it"
                raise call_error("deadline_exceeded", message, object=name, delivered="yes")
            sleep(LOOK_EVERY)
            found = client.call("rob", "services", timeout=request.patience, returns=list[ServiceState])
            state = next((one for one in found if one.object == name), ServiceState(name, "stopped"))
    return state


def _show(state: ServiceState, request: Request) -> None:
    if request.json:
        write_result(json_line(to_builtins(state)))
    else:
        process = f", process {state.pid}" if state.pid is not None else ""
        write_result(f"{render_name(state.object)} is {state.state}{process}\n")


def text_of(found: list[ServiceState]) -> str:
    """A line for each, and one more for why it failed."""
    if not found:
        return "no services: each is a file of the folders that `ipc-broker --services` names\n"
    head = ("OBJECT", "STATE", "SINCE", "PROCESS", "STARTED BY")
    rows = [head, *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines = []
    for row, state in zip(rows, [None, *found], strict=True):
        lines.append("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
        if state is not None and state.failures:
            times = "once" if state.failures == 1 else f"{state.failures} times in a row"
            lines.append(f"    failed {times}: {render_message(state.reason)}")
    return "".join(f"{line}\n" for line in lines)


def _row(state: ServiceState) -> tuple[str, str, str, str, str]:
    command = " ".join(map(render_name, state.exec))
    process = "-" if state.pid is None else str(state.pid)
    return render_name(state.object), state.state, age(state.seconds), process, state.systemd_unit or command
