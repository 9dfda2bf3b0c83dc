"""`rob call`, `send`, `list` and `ping`: one question, one answer."""

from __future__ import annotations

from time import perf_counter

from ..errors import InvalidArgs, call_error
from ..messages import Error, Invalid
from .connecting import checked_address, checked_names, connected, json_line
from .output import write_result
from .render import render_name, render_text
from .signature import parse_arguments
from .words import Request


def call(request: Request) -> None:
    """Prints the result, or the items of a stream as they come."""
    object_name, method = checked_names(request)
    address = checked_address(request)
    arguments = parse_arguments(request.rest)
    timeout = request.timeout if request.stream else request.patience
    with connected(address, request) as client:
        if "streams" not in client.protocol.features and not request.stream:
            _show(client.call(object_name, method, arguments, timeout=timeout), request)
            return
        items = client.stream(object_name, method, arguments, timeout=timeout, headers=request.headers)
        try:
            for item in items:
                _show(item, request)
        except InvalidArgs:
            if request.stream or not items.returned:
                raise
            _show(items.value, request)
        except KeyboardInterrupt:
            items.close()  # the method ends too
            if not request.stream:
                raise


def _show(value: object, request: Request) -> None:
    write_result(json_line(value) if request.json else render_text(value))


def send(request: Request) -> None:
    object_name, topic = checked_names(request)
    address = checked_address(request)
    value = parse_arguments(request.rest)
    with connected(address, request) as client:
        refusals: list[Error | Invalid] = []
        client.link.session.on_notice = refusals.append
        client.publish(object_name, topic, value, retain=request.retain)
        client.drain(request.patience)
        for refusal in refusals:
            if isinstance(refusal, Error):
                raise call_error(refusal.code, refusal.message, object=object_name, delivered="no")


def list_objects(request: Request) -> None:
    with connected(checked_address(request), request) as client:
        names = client.objects(timeout=request.patience)
    write_result(json_line(names) if request.json else "".join(f"{render_name(name)}\n" for name in names))


def ping(request: Request) -> None:
    address = checked_address(request)
    with connected(address, request) as client:
        started = perf_counter()
        client.call("rob", "ping", timeout=request.patience)
        milliseconds = (perf_counter() - started) * 1000
        broker = client.broker
    if request.json:
        version, pid = (broker.version, broker.pid) if broker is not None else (None, None)
        answer = {"address": address, "version": version, "pid": pid, "milliseconds": round(milliseconds, 3)}
        write_result(json_line(answer))
    else:
        who = f"ipc-broker {broker.version}, process {broker.pid}" if broker is not None else "the Rust crate's broker"
        write_result(f"{address} answered in {milliseconds:.2f} ms ({who})\n")
