"""`rob call`, `send`, `list` and `ping`: one question, one answer."""

from __future__ import annotations

from time import perf_counter

from ..errors import InvalidArgs, NoSuchMethod, NoSuchObject, call_error
from ..messages import Error, Invalid
from ..sync import Client
from .connecting import checked_address, checked_names, connected, json_line
from .output import write_result
from .render import render_name, render_text
from .signature import begins_with_signature, checked_depth, parse_arguments
from .words import Request, UsageError

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from typing import Any


def call(request: Request) -> None:
    """Prints the result, or the items of a stream as they come."""
    object_name, method = checked_names(request)
    address = checked_address(request)
    signed = begins_with_signature(request.rest)
    arguments: Any = _signed_arguments(request) if signed else None
    if not signed:
        from .typed_arguments import split_words  # what a signature says needs none of it

        split_words(request.rest)  # finds what is wrong whatever the types are
    with connected(address, request) as client:
        try:
            if not signed:
                arguments = _typed_arguments(client, object_name, method, request)
            _call(client, object_name, method, arguments, request)
        except InvalidArgs as error:
            if signed and len(request.rest) == 1:  # a signature that takes no word may have been meant as one
                error.args = (f"{error}; {_read_as_signature(request)}",)
            raise
        except NoSuchObject as error:
            from .live_names import with_suggestion

            raise with_suggestion(client, error, object_name) from error.__cause__
        except NoSuchMethod:
            from .live_names import description_of, method_in

            if signed and (known := description_of(client, object_name, request.patience)) and known.interface:
                method_in(known.interface, object_name, method)
            raise


def _signed_arguments(request: Request) -> Any:
    try:
        return parse_arguments(request.rest)
    except UsageError as error:
        if request.rest[0].isalpha():
            error.args = (f"{error}\n{_read_as_signature(request)}",)
        raise


def _read_as_signature(request: Request) -> str:
    word = request.rest[0]
    return f"{word!r} is read as a signature; as an argument it is NAME={word}"


def _typed_arguments(client: Client, object_name: str, method: str, request: Request) -> Any:
    """What the words mean by the types that the object's worker has told of, if it has.

    Raises UsageError, NoSuchMethod, and NoSuchObject where only the types could say what the words mean.
    """
    from .live_names import description_of, method_in
    from .typed_arguments import typed_arguments

    missing: NoSuchObject | None = None
    try:
        description = description_of(client, object_name, request.patience)
    except NoSuchObject as error:  # though a call may start it
        description, missing = None, error
    if description is None or description.interface is None:
        try:
            return parse_arguments(request.rest)
        except UsageError:
            if missing is not None:
                raise missing from None
            raise
    interface = description.interface
    described = method_in(interface, object_name, method)
    try:
        return checked_depth(typed_arguments(described, interface.definitions, request.rest))
    except UsageError as error:
        from .type_text import signature_text

        error.args = (f"{object_name}.{method}: {error}",)
        error.usage = (
            f"{object_name}.{signature_text(method, described)}; `rob describe {object_name} {method}` says more"
        )
        raise


def _call(client: Client, object_name: str, method: str, arguments: Any, request: Request) -> None:
    timeout = request.timeout if request.stream else request.patience
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
